//! Simulated sources on a virtual clock: they answer what a scheduler asks, at
//! their rates and after their round trips.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Each test file takes what it needs.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use passalong_proto::pieces::PieceSet;
use passalong_proto::scheduler::{
    Arrival, MAX_PENDING, MAX_WINDOW, Order, PIECE_COST, PeerKey, PieceState, Scheduler,
};

/// How finely time passes.
pub(crate) const STEP: Duration = Duration::from_millis(10);
/// Bytes that arrive at once, at most.
const FRAME: u32 = 64 * 1024;

pub(crate) const MIB: u32 = 1 << 20;

/// One simulated peer.
#[derive(Debug)]
pub(crate) struct Source {
    /// Bytes a second.
    pub(crate) rate: f64,
    pub(crate) trip: Duration,
    /// Asked, it sends nothing, from this time on.
    pub(crate) mute_from: Duration,
    inbox: VecDeque<(Duration, Order)>,
    queue: VecDeque<(u32, u32)>,
    /// Bytes that it could have sent by now.
    credit: f64,
    /// Pieces that it sent whole.
    pub(crate) sent: u32,
    /// Bytes that it sent.
    pub(crate) bytes: u64,
}

/// A scheduler and its sources.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) scheduler: Scheduler,
    pub(crate) length: u32,
    pub(crate) now: Duration,
    pub(crate) sources: BTreeMap<PeerKey, Source>,
    /// How often each piece was asked for.
    pub(crate) asked: HashMap<u32, u32>,
    /// Every request, in order.
    pub(crate) requests: Vec<(PeerKey, Vec<u32>)>,
    pub(crate) cancelled: BTreeSet<(PeerKey, u32)>,
    /// Bytes that came for nothing.
    pub(crate) wasted: u64,
}

impl World {
    /// `count` wanted pieces of `length` bytes, and nobody there.
    pub(crate) fn of(count: u32, length: u32, seed: u64) -> World {
        let mut scheduler = Scheduler::equal(count, length, seed);
        for piece in 0..count {
            scheduler.want(piece);
            scheduler.open(piece);
        }
        World {
            scheduler,
            length,
            now: Duration::ZERO,
            sources: BTreeMap::new(),
            asked: HashMap::new(),
            requests: Vec::new(),
            cancelled: BTreeSet::new(),
            wasted: 0,
        }
    }

    /// A source joins that serves what it holds.
    pub(crate) fn join(&mut self, key: u64, rate: f64, trip_ms: u64, holds: Option<PieceSet>) {
        let peer = PeerKey(key);
        self.scheduler.joined(peer, self.now);
        match holds {
            Some(holds) => self.scheduler.set_holdings(peer, holds),
            None => self.scheduler.holds_all(peer),
        }
        self.scheduler.unchoked(peer, self.now);
        let source = Source {
            rate,
            trip: Duration::from_millis(trip_ms),
            mute_from: Duration::MAX,
            inbox: VecDeque::new(),
            queue: VecDeque::new(),
            credit: 0.0,
            sent: 0,
            bytes: 0,
        };
        self.sources.insert(peer, source);
    }

    pub(crate) fn leave(&mut self, key: u64) {
        self.scheduler.left(PeerKey(key));
        self.sources.remove(&PeerKey(key));
    }

    pub(crate) fn source(&mut self, key: u64) -> &mut Source {
        self.sources.get_mut(&PeerKey(key)).unwrap()
    }

    /// Takes all orders that there are.
    pub(crate) fn poll(&mut self) {
        let mut budget = i64::MAX;
        while let Some(order) = self.scheduler.poll(self.now, &mut budget) {
            let peer = match &order {
                Order::Request { peer, pieces } => {
                    for piece in pieces {
                        *self.asked.entry(*piece).or_default() += 1;
                    }
                    self.requests.push((*peer, pieces.clone()));
                    *peer
                }
                Order::Cancel { peer, pieces } => {
                    let pieces = pieces.iter().map(|piece| (*peer, *piece));
                    self.cancelled.extend(pieces);
                    *peer
                }
            };
            if let Some(source) = self.sources.get_mut(&peer) {
                source.inbox.push_back((self.now + source.trip, order));
            }
        }
        self.check_windows();
    }

    fn check_windows(&self) {
        assert!(self.scheduler.pending() <= MAX_PENDING);
        let cost = u64::from(self.length).max(PIECE_COST);
        for peer in self.sources.keys() {
            let asked = self.scheduler.asked_of(*peer).count() as u64;
            assert!(asked * cost <= MAX_WINDOW, "{asked} pieces of {peer:?}");
        }
    }

    /// A little time passes.
    pub(crate) fn step(&mut self) {
        self.poll();
        self.now += STEP;
        for key in self.sources.keys().copied().collect::<Vec<_>>() {
            self.serve(key);
        }
    }

    fn serve(&mut self, key: PeerKey) {
        let now = self.now;
        let source = self.sources.get_mut(&key).unwrap();
        while source.inbox.front().is_some_and(|(at, _)| *at <= now) {
            match source.inbox.pop_front() {
                Some((_, Order::Request { pieces, .. })) => {
                    source
                        .queue
                        .extend(pieces.into_iter().map(|piece| (piece, 0)));
                }
                Some((_, Order::Cancel { pieces, .. })) => {
                    for piece in pieces {
                        let before = source.queue.len();
                        source
                            .queue
                            .retain(|(queued, sent)| *queued != piece || *sent > 0);
                        if source.queue.len() < before {
                            self.scheduler.dropped(key, piece, now).unwrap();
                        }
                    }
                }
                None => {}
            }
        }
        if now >= source.mute_from {
            return;
        }
        source.credit += source.rate * STEP.as_secs_f64();
        if source.queue.is_empty() {
            source.credit = 0.0;
        }
        while let Some((piece, sent)) = source.queue.front_mut() {
            let part = FRAME.min(self.length - *sent);
            if source.credit < f64::from(part) {
                break;
            }
            source.credit -= f64::from(part);
            source.bytes += u64::from(part);
            let (piece, offset) = (*piece, *sent);
            *sent += part;
            if *sent == self.length {
                source.queue.pop_front();
                source.sent += 1;
            }
            match self.scheduler.came(key, piece, offset, part, now).unwrap() {
                Arrival::Part => {}
                Arrival::Unneeded => self.wasted += u64::from(part),
                Arrival::Whole => {
                    assert!(self.scheduler.stored(piece), "{piece} came twice");
                }
            }
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        let scheduler = &self.scheduler;
        (0..scheduler.count()).all(|piece| scheduler.state(piece) == PieceState::Stored)
    }

    /// Runs until everything is stored; gives the time it took.
    pub(crate) fn run(&mut self, at_most: Duration) -> Duration {
        let from = self.now;
        while !self.is_done() {
            assert!(self.now - from < at_most, "not done after {at_most:?}");
            self.step();
        }
        self.now - from
    }
}
