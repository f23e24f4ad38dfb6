//! How much may be handed over to a data channel before it is delivered.
//!
//! What waits there holds up control messages, which share the association with it,
//! so that it is no more than what gets away in a second. And it is no more than the
//! path holds, as [`Congestion`] measures it: an association's own control lets what
//! is on its way grow until a queue overflows (RFC 9260 §7.2), and the hundreds of
//! packets that are lost when it doubled cost it seconds. Times are since any
//! start, sizes in bytes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::congestion::Congestion;

/// Least bytes that may be ahead.
const LEAST: u64 = 64 * 1024;
/// How long what is ahead may take to get away.
const LONGEST: Duration = Duration::from_secs(1);
/// Over which time the rate is taken.
const SPAN: Duration = Duration::from_millis(250);
/// How many such times the best one counts of.
const SPANS: usize = 4;
/// What one packet of an association carries.
const PACKET: u64 = 1160;
/// Bytes whose time is taken as one.
const STEP: u64 = 4 * PACKET;
/// What was delivered between two looks farther apart is not known to have arrived
/// at the second one.
const FARTHEST: Duration = Duration::from_millis(20);

/// The limit of one data channel.
#[derive(Clone, Debug)]
pub struct Ahead {
    rate: Rate,
    path: Congestion,
    /// What is not delivered yet.
    handed: VecDeque<Handed>,
    /// The number of the last of them, and of the last one that was delivered.
    last: u64,
    arrived: u64,
    /// All bytes of those that were delivered.
    delivered: u64,
    /// When it was looked at last, and all bytes that were delivered by then.
    looked: Duration,
    seen: u64,
    /// Since then about as much was ahead as may be.
    was_busy: bool,
}

/// A step's worth of what was handed over.
#[derive(Clone, Copy, Debug)]
struct Handed {
    /// All bytes up to its end.
    upto: u64,
    at: Duration,
}

impl Default for Ahead {
    fn default() -> Ahead {
        Ahead {
            rate: Rate::default(),
            path: Congestion::around(PACKET),
            handed: VecDeque::new(),
            last: 0,
            arrived: 0,
            delivered: 0,
            looked: Duration::ZERO,
            seen: 0,
            was_busy: false,
        }
    }
}

impl Ahead {
    /// Bytes that may be ahead now.
    pub fn limit(&self) -> u64 {
        let longest = (self.rate.best() * LONGEST.as_secs_f64()) as u64;
        longest.min(self.path.window()).max(LEAST)
    }

    /// So much was handed over by `now`, of all that ever was.
    pub fn handed_over(&mut self, total: u64, now: Duration) {
        let known = self.handed.back().map_or(self.delivered, |last| last.upto);
        if total <= known {
            return;
        }
        let mut upto = known;
        while upto < total {
            // The first packet does not wait in the association, so that its time is
            // that of the path.
            let step = if self.handed.is_empty() { PACKET } else { STEP };
            upto = (upto + step).min(total);
            self.last += 1;
            self.handed.push_back(Handed { upto, at: now });
        }
        self.path.sent(self.last);
        self.was_busy |= total.saturating_sub(self.seen) > self.limit() / 2;
    }

    /// So much was delivered by `now`, of all that was ever handed over.
    pub fn delivered(&mut self, total: u64, now: Duration) {
        self.rate.delivered(total, now, self.limit());
        let is_measured = now.saturating_sub(self.looked) <= FARTHEST;
        self.looked = now;
        let before = self.arrived;
        while let Some(handed) = self.handed.front().copied()
            && handed.upto <= total
        {
            self.handed.pop_front();
            self.arrived += 1;
            if is_measured {
                let bytes = handed.upto.saturating_sub(self.delivered);
                self.path.acked(handed.at, bytes, !self.was_busy, now);
            }
            self.delivered = handed.upto;
        }
        let all = self.handed.back().map_or(total, |handed| handed.upto);
        let on_its_way = all.saturating_sub(total);
        if is_measured && self.arrived > before {
            self.path.acks_end(self.arrived, on_its_way, now);
        }
        self.was_busy = on_its_way > self.limit() / 2;
        self.seen = total;
    }
}

/// What gets away in a second.
#[derive(Clone, Debug, Default)]
struct Rate {
    /// When the span began, and what was delivered by then.
    since: Option<(Duration, u64)>,
    /// Bytes a second, the latest first.
    latest: [f64; SPANS],
}

impl Rate {
    fn best(&self) -> f64 {
        self.latest.iter().copied().fold(0.0, f64::max)
    }

    fn delivered(&mut self, total: u64, now: Duration, limit: u64) {
        let Some((at, before)) = self.since else {
            self.since = Some((now, total));
            return;
        };
        let took = now.saturating_sub(at);
        let bytes = total.saturating_sub(before);
        // A channel that got all of it away at once need not wait for the span.
        if took >= SPAN || (bytes >= limit && !took.is_zero()) {
            self.latest.rotate_right(1);
            self.latest[0] = bytes as f64 / took.as_secs_f64();
            self.since = Some((now, total));
        }
    }
}
