//! What the scheduler knows of one peer: what it holds, what it was asked for,
//! how fast it is.
//!
//! Invariant: every request stays in the list until it is answered, cancelled
//! or not.

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::Pace;
use super::{LEAST_WINDOW, MAX_WINDOW, PIECE_COST};
use crate::pieces::PieceSet;
use crate::tree::PIECE_LEN;
use crate::wire::MAX_OUTSTANDING;

/// The shortest silence that counts as one.
const SILENCE: Duration = Duration::from_secs(3);
/// The longest silence that does not, however slow the peer is.
const LONG_SILENCE: Duration = Duration::from_secs(30);
/// How long a peer that drops a request is not asked again, at first.
const REST: Duration = Duration::from_millis(250);
/// How long at most.
const LONG_REST: Duration = Duration::from_secs(8);

/// One request that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) piece: u32,
    /// Bytes of the piece that came.
    pub(super) got: u32,
    /// Not cancelled.
    pub(super) live: bool,
    /// When it was made, if nothing else was asked for at that time.
    pub(super) alone: Option<Duration>,
}

/// One connected peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) holds: PieceSet,
    /// Counted as holding everything.
    pub(super) full: bool,
    pub(super) choked: bool,
    /// In the order in which they were made.
    pub(super) requests: VecDeque<Request>,
    /// The piece after the last one that was asked for as missing.
    pub(super) run: Option<u32>,
    /// Cost of the requests that were not cancelled.
    pub(super) cost: u64,
    /// Bytes that were asked for, not cancelled, and are not here.
    pub(super) owed: u64,
    pub(super) pace: Pace,
    pub(super) least_window: u64,
    /// It was asked and sends nothing.
    pub(super) silent: bool,
    /// The last sign of it, or the first request after it owed nothing.
    pub(super) since: Duration,
    /// Not to be asked before this time.
    rest_until: Duration,
    rest: Duration,
}

/// What asking for a piece costs of the windows: its bytes, and not less than
/// what a message and a turn of the disk are worth.
pub(super) fn cost(length: u32) -> u64 {
    u64::from(length).max(PIECE_COST)
}

impl Peer {
    pub(super) fn new(count: u32, now: Duration) -> Peer {
        Peer {
            holds: PieceSet::none(count),
            full: false,
            choked: true,
            requests: VecDeque::new(),
            run: None,
            cost: 0,
            owed: 0,
            pace: Pace::default(),
            least_window: LEAST_WINDOW,
            silent: false,
            since: now,
            rest_until: Duration::ZERO,
            rest: REST,
        }
    }

    /// Cost that may be asked of it at once.
    pub(super) fn window(&self) -> u64 {
        if self.silent {
            // One request, to see whether it lives.
            return if self.requests.is_empty() { 1 } else { 0 };
        }
        self.pace.window().clamp(self.least_window, MAX_WINDOW)
    }

    /// Cost that may be asked of it now.
    pub(super) fn room(&self, now: Duration) -> u64 {
        if self.choked || now < self.rest_until || self.requests.len() >= MAX_OUTSTANDING {
            return 0;
        }
        self.window().saturating_sub(self.cost)
    }

    /// Whether so much room is worth a message.
    pub(super) fn has_room(&self, now: Duration) -> bool {
        let room = self.room(now);
        room > 0 && room >= (self.window() / 4).min(PIECE_LEN)
    }

    /// Whether it can be counted on to send something.
    pub(super) fn is_able(&self) -> bool {
        !self.choked && !self.silent
    }

    /// The place of a request in the list.
    pub(super) fn find(&self, piece: u32) -> Option<usize> {
        let mut requests = self.requests.iter();
        requests.position(|request| request.piece == piece)
    }

    /// A request is made.
    pub(super) fn ask(&mut self, piece: u32, length: u32, now: Duration) {
        let first = self.requests.is_empty();
        if first {
            self.since = now;
        }
        self.requests.push_back(Request {
            piece,
            got: 0,
            live: true,
            alone: first.then_some(now),
        });
        self.cost += cost(length);
        self.owed += u64::from(length);
    }

    /// The request at `place` is cancelled; says whether it was live.
    pub(super) fn cancel(&mut self, place: usize, length: u32) -> bool {
        match self.requests.get_mut(place) {
            Some(request) if request.live => {
                request.live = false;
                self.cost -= cost(length);
                self.owed -= u64::from(length - request.got);
                true
            }
            _ => false,
        }
    }

    /// The request at `place` is answered; says whether it was live.
    pub(super) fn settle(&mut self, place: usize, length: u32) -> bool {
        let live = self.cancel(place, length);
        self.requests.remove(place);
        if self.requests.is_empty() {
            self.pace.rest();
        }
        live
    }

    /// A sign of life that is no byte.
    pub(super) fn stirs(&mut self, now: Duration) {
        self.since = now;
    }

    /// Asked, it declines: it is left alone for a while.
    pub(super) fn declines(&mut self, now: Duration) {
        if now >= self.rest_until {
            self.rest_until = now + self.rest;
            self.rest = (self.rest * 2).min(LONG_REST);
        }
    }

    /// A piece came from it.
    pub(super) fn delivers(&mut self) {
        self.rest = REST;
        self.rest_until = Duration::ZERO;
    }

    /// Whether it was asked and nothing came for longer than is usual for it.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        let patience = (self.pace.usual() * 4).clamp(SILENCE, LONG_SILENCE);
        !self.requests.is_empty() && now.saturating_sub(self.since) > patience
    }

    /// Seconds until all that it owes, and `more` bytes, are here; silence so
    /// far counts as slowness.
    pub(super) fn seconds(&self, more: u64, now: Duration) -> f64 {
        let waited = match self.owed {
            0 => Duration::ZERO,
            _ => now.saturating_sub(self.since),
        };
        waited.as_secs_f64() + self.pace.seconds(self.owed + more)
    }
}
