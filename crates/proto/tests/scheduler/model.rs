//! A scheduler beside a plain model of it: any sequence of events leaves every
//! piece in one state and every request accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use passalong_proto::scheduler::{
    Arrival, MAX_PENDING, MAX_WINDOW, Order, PeerKey, PieceState, Scheduler,
};
use proptest::prelude::*;

use crate::{set, wanting};

const COUNT: u32 = 24;
const LENGTH: u32 = 300_000;

/// What may happen to a scheduler.
#[derive(Clone, Debug)]
enum Step {
    Join(u64, BTreeSet<u32>, bool),
    Leave(u64),
    Choke(u64),
    Unchoke(u64),
    /// A peer sends so many bytes of what it was asked for first.
    Send(u64, u32),
    /// A peer sends all of something that it was asked for.
    SendWhole(u64, prop::sample::Index),
    Drop(u64, prop::sample::Index),
    Refuse(u64, u32, u32),
    Holds(u64, u32),
    Store(prop::sample::Index),
    Reject(prop::sample::Index),
    Wait(u64),
    Pause(bool),
    Unwant(u32),
    /// Something that was not asked for.
    Invent(u64, u32, u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let peer = 0..5_u64;
    let place = any::<prop::sample::Index>();
    let holdings = prop_oneof![
        Just((0..COUNT).collect::<BTreeSet<u32>>()),
        prop::collection::btree_set(0..COUNT, 0..COUNT as usize),
    ];
    let step = prop_oneof![
        4 => (peer.clone(), holdings, any::<bool>()).prop_map(|(p, h, c)| Step::Join(p, h, c)),
        1 => peer.clone().prop_map(Step::Leave),
        1 => peer.clone().prop_map(Step::Choke),
        3 => peer.clone().prop_map(Step::Unchoke),
        6 => (peer.clone(), 1..LENGTH).prop_map(|(p, b)| Step::Send(p, b)),
        12 => (peer.clone(), place.clone()).prop_map(|(p, i)| Step::SendWhole(p, i)),
        3 => (peer.clone(), place.clone()).prop_map(|(p, i)| Step::Drop(p, i)),
        1 => (peer.clone(), 0..COUNT, 0..8_u32).prop_map(|(p, f, n)| Step::Refuse(p, f, n)),
        3 => (peer.clone(), 0..COUNT + 2).prop_map(|(p, n)| Step::Holds(p, n)),
        8 => place.clone().prop_map(Step::Store),
        2 => place.clone().prop_map(Step::Reject),
        4 => prop_oneof![0..300_u64, 0..9000_u64].prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => (0..COUNT).prop_map(Step::Unwant),
        2 => (peer, 0..COUNT + 2, 0..LENGTH, 1..LENGTH)
            .prop_map(|(p, n, o, b)| Step::Invent(p, n, o, b)),
    ];
    prop::collection::vec(step, 0..150)
}

/// What a test knows of a peer.
#[derive(Debug, Default)]
struct Known {
    holds: BTreeSet<u32>,
    choked: bool,
    /// What it was asked for and has not answered: bytes sent, not cancelled.
    open: BTreeMap<u32, (u32, bool)>,
}

/// A scheduler, and beside it all that should be so.
struct Model {
    scheduler: Scheduler,
    now: Duration,
    peers: BTreeMap<u64, Known>,
    received: BTreeMap<u32, u64>,
    paused: bool,
}

impl Model {
    fn new(seed: u64) -> Model {
        Model {
            scheduler: wanting(COUNT, LENGTH, seed),
            now: Duration::ZERO,
            peers: BTreeMap::new(),
            received: BTreeMap::new(),
            paused: false,
        }
    }

    fn apply(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Join(key, holds, choked) => {
                if self.peers.contains_key(&key) {
                    return;
                }
                let peer = PeerKey(key);
                self.scheduler.joined(peer, now);
                self.scheduler
                    .set_holdings(peer, set(COUNT, holds.iter().copied()));
                if !choked {
                    self.scheduler.unchoked(peer, now);
                }
                let open = BTreeMap::new();
                self.peers.insert(
                    key,
                    Known {
                        holds,
                        choked,
                        open,
                    },
                );
            }
            Step::Leave(key) => {
                self.peers.remove(&key);
                self.scheduler.left(PeerKey(key));
            }
            Step::Choke(key) => {
                if let Some(known) = self.peers.get_mut(&key) {
                    known.choked = true;
                }
                self.scheduler.choked(PeerKey(key), now);
            }
            Step::Unchoke(key) => {
                if let Some(known) = self.peers.get_mut(&key) {
                    known.choked = false;
                }
                self.scheduler.unchoked(PeerKey(key), now);
            }
            Step::Send(key, bytes) => {
                let open = self.peers.get(&key).map(|known| &known.open);
                if let Some((piece, (sent, _))) = open.and_then(BTreeMap::first_key_value) {
                    let (piece, sent) = (*piece, *sent);
                    self.send(key, piece, bytes.min(LENGTH - sent));
                }
            }
            Step::SendWhole(key, place) => {
                if let Some((piece, sent)) = self.some_open(key, &place) {
                    self.send(key, piece, LENGTH - sent);
                }
            }
            Step::Drop(key, place) => {
                if let Some((piece, _)) = self.some_open(key, &place) {
                    self.scheduler.dropped(PeerKey(key), piece, now).unwrap();
                    self.known(key).open.remove(&piece);
                }
            }
            Step::Refuse(key, first, count) => {
                let pieces = first..(first + count).min(COUNT);
                self.scheduler
                    .holds_no_more(PeerKey(key), pieces.clone(), now);
                if let Some(known) = self.peers.get_mut(&key) {
                    known.open.retain(|piece, _| !pieces.contains(piece));
                    known.holds.retain(|piece| !pieces.contains(piece));
                }
            }
            Step::Holds(key, piece) => {
                assert_eq!(self.scheduler.holds(PeerKey(key), piece), piece < COUNT);
                if let Some(known) = self.peers.get_mut(&key)
                    && piece < COUNT
                {
                    known.holds.insert(piece);
                }
            }
            Step::Store(place) => {
                if let Some(piece) = self.some_received(&place) {
                    assert!(self.scheduler.stored(piece));
                    self.received.remove(&piece);
                }
            }
            Step::Reject(place) => {
                if let Some(piece) = self.some_received(&place) {
                    let sender = self.received.remove(&piece).map(PeerKey);
                    assert_eq!(self.scheduler.rejected(piece), sender);
                }
            }
            Step::Wait(ms) => self.now += Duration::from_millis(ms),
            Step::Pause(paused) => {
                self.paused = paused;
                self.scheduler.set_paused(paused);
            }
            Step::Unwant(piece) => {
                self.scheduler.unwant(piece);
                self.received.remove(&piece);
            }
            Step::Invent(key, piece, offset, bytes) => {
                let known = self.peers.get(&key);
                let open = known.and_then(|known| known.open.get(&piece));
                if open.is_none_or(|(sent, _)| *sent != offset) {
                    let came = self.scheduler.came(PeerKey(key), piece, offset, bytes, now);
                    assert!(came.is_err());
                }
                if open.is_none() {
                    assert!(self.scheduler.dropped(PeerKey(key), piece, now).is_err());
                }
            }
        }
    }

    fn known(&mut self, key: u64) -> &mut Known {
        self.peers.get_mut(&key).unwrap()
    }

    fn some_open(&self, key: u64, place: &prop::sample::Index) -> Option<(u32, u32)> {
        let open = &self.peers.get(&key)?.open;
        let (piece, (sent, _)) = open.iter().nth(place.index(open.len().max(1)))?;
        Some((*piece, *sent))
    }

    fn some_received(&self, place: &prop::sample::Index) -> Option<u32> {
        let received = self.received.keys();
        received
            .copied()
            .nth(place.index(self.received.len().max(1)))
    }

    fn send(&mut self, key: u64, piece: u32, bytes: u32) {
        let (sent, live) = self.known(key).open[&piece];
        let live = live && self.scheduler.state(piece) == PieceState::Requested;
        let arrival = self
            .scheduler
            .came(PeerKey(key), piece, sent, bytes, self.now)
            .unwrap();
        let whole = sent + bytes == LENGTH;
        let expected = match (live, whole) {
            (false, _) => Arrival::Unneeded,
            (true, false) => Arrival::Part,
            (true, true) => Arrival::Whole,
        };
        assert_eq!(arrival, expected);
        if whole {
            self.known(key).open.remove(&piece);
        } else {
            self.known(key).open.insert(piece, (sent + bytes, live));
        }
        if arrival == Arrival::Whole {
            self.received.insert(piece, key);
        }
    }

    /// Carries out all orders, checking each.
    fn poll(&mut self) {
        let mut budget = i64::MAX;
        loop {
            let missing: BTreeSet<u32> = (0..COUNT)
                .filter(|piece| self.scheduler.state(*piece) == PieceState::Missing)
                .collect();
            let Some(order) = self.scheduler.poll(self.now, &mut budget) else {
                break;
            };
            match order {
                Order::Cancel { peer, pieces } => {
                    let known = self.known(peer.0);
                    for piece in pieces {
                        let (_, live) = known.open.get_mut(&piece).unwrap();
                        assert!(*live, "{piece} was cancelled twice");
                        *live = false;
                    }
                }
                Order::Request { peer, pieces } => {
                    assert!(!self.paused, "asked while paused");
                    let known = self.known(peer.0);
                    assert!(!known.choked, "a choked peer was asked");
                    for piece in pieces {
                        assert!(known.holds.contains(&piece), "{piece} is not there");
                        let is_open = |piece: &u32| known.open.contains_key(piece);
                        assert!(!is_open(&piece), "{piece} was asked twice of one peer");
                        let mut better = missing.intersection(&known.holds);
                        assert!(
                            missing.contains(&piece) || better.all(is_open),
                            "{piece} was asked twice while others were missing"
                        );
                        known.open.insert(piece, (0, true));
                    }
                }
            }
        }
        self.check();
    }

    fn owners(&self, piece: u32) -> Vec<u64> {
        let live = |known: &Known| known.open.get(&piece).is_some_and(|(_, live)| *live);
        let peers = self.peers.iter().filter(|(_, known)| live(known));
        peers.map(|(key, _)| *key).collect()
    }

    fn check(&self) {
        let scheduler = &self.scheduler;
        let cost = u64::from(LENGTH);
        let mut pending = 0;
        for piece in 0..COUNT {
            let owners = self.owners(piece);
            let state = scheduler.state(piece);
            match state {
                PieceState::Requested => assert!(matches!(owners.len(), 1..=2), "{owners:?}"),
                _ => assert_eq!(owners, Vec::<u64>::new(), "{piece} is {state:?}"),
            }
            let received = self.received.contains_key(&piece);
            assert_eq!(state == PieceState::Received, received);
            let stored = scheduler.stored_set().contains(piece);
            assert_eq!(state == PieceState::Stored, stored);
            pending += cost * (owners.len() as u64 + u64::from(received));
            let holders = self.peers.values();
            let copies = holders.filter(|known| known.holds.contains(&piece)).count();
            assert_eq!(scheduler.copies(piece) as usize, copies);
        }
        assert_eq!(scheduler.pending(), pending);
        assert!(pending <= MAX_PENDING);
        for (key, known) in &self.peers {
            let asked: BTreeSet<u32> = scheduler.asked_of(PeerKey(*key)).collect();
            let live = known.open.iter().filter(|(_, (_, live))| *live);
            assert_eq!(asked, live.map(|(piece, _)| *piece).collect());
            assert!(asked.len() as u64 * cost <= MAX_WINDOW);
            let wanted = |piece: &u32| {
                matches!(
                    scheduler.state(*piece),
                    PieceState::Closed | PieceState::Missing | PieceState::Requested
                )
            };
            let wants = known.holds.iter().any(wanted);
            assert_eq!(scheduler.wants_from(PeerKey(*key)), wants);
        }
    }

    /// Lets every peer answer everything, until nothing is left to do.
    fn finish(&mut self) {
        self.apply(Step::Pause(false));
        for key in self.peers.keys().copied().collect::<Vec<_>>() {
            self.apply(Step::Unchoke(key));
        }
        for _ in 0..2000 {
            self.poll();
            let states = (0..COUNT).map(|piece| (piece, self.scheduler.state(piece)));
            let mut open = states.filter(|(piece, state)| {
                !matches!(state, PieceState::Stored | PieceState::Unwanted)
                    && self.scheduler.copies(*piece) > 0
            });
            if open.next().is_none() && !self.scheduler.is_waiting() {
                break;
            }
            for key in self.peers.keys().copied().collect::<Vec<_>>() {
                while let Some((piece, (sent, _))) = self.known(key).open.first_key_value() {
                    let (piece, sent) = (*piece, *sent);
                    self.send(key, piece, LENGTH - sent);
                }
            }
            while let Some((piece, _)) = self.received.pop_first() {
                assert!(self.scheduler.stored(piece));
            }
            self.now += Duration::from_millis(100);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_piece_is_in_one_state_and_every_request_is_accounted_for(
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let mut model = Model::new(seed);
        for step in steps {
            model.apply(step);
            model.poll();
        }
    }

    #[test]
    fn what_somebody_alive_holds_always_arrives_in_the_end(
        steps in steps(),
        seed in any::<u64>(),
    ) {
        let mut model = Model::new(seed);
        for step in steps {
            model.apply(step);
            model.poll();
        }
        model.finish();
        for piece in 0..COUNT {
            let held = model.peers.values().any(|known| known.holds.contains(&piece));
            let state = model.scheduler.state(piece);
            let settled = matches!(state, PieceState::Stored | PieceState::Unwanted);
            prop_assert!(settled || !held, "{} is {:?}", piece, state);
        }
        prop_assert!(!model.scheduler.is_waiting());
    }
}
