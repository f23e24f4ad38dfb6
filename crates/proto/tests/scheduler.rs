//! Scheduling: which pieces are asked of which peers, whatever these do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use passalong_proto::pieces::PieceSet;
use passalong_proto::scheduler::{
    Arrival, LEAST_WINDOW, MAX_PENDING, MAX_WINDOW, Order, PIECE_COST, PeerKey, PieceState,
    Scheduler,
};
use proptest::prelude::*;

use sources::{MIB, World};

mod sources;

const COUNT: u32 = 24;
const LENGTH: u32 = 300_000;
const MINUTE: Duration = Duration::from_secs(60);

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn set(count: u32, pieces: impl IntoIterator<Item = u32>) -> PieceSet {
    let mut set = PieceSet::none(count);
    for piece in pieces {
        set.insert(piece);
    }
    set
}

/// A scheduler that wants all of its pieces.
fn wanting(count: u32, length: u32, seed: u64) -> Scheduler {
    World::of(count, length, seed).scheduler
}

fn orders(scheduler: &mut Scheduler, now: Duration) -> Vec<Order> {
    let mut budget = u64::MAX;
    std::iter::from_fn(|| scheduler.poll(now, &mut budget)).collect()
}

fn requested(orders: &[Order], of: u64) -> Vec<u32> {
    let pieces = orders.iter().filter_map(|order| match order {
        Order::Request { peer, pieces } if *peer == PeerKey(of) => Some(pieces),
        _ => None,
    });
    pieces.flatten().copied().collect()
}

fn cancelled(orders: &[Order], of: u64) -> Vec<u32> {
    let pieces = orders.iter().filter_map(|order| match order {
        Order::Cancel { peer, pieces } if *peer == PeerKey(of) => Some(pieces),
        _ => None,
    });
    pieces.flatten().copied().collect()
}

/// A peer that holds everything and answers.
fn join(scheduler: &mut Scheduler, peer: u64, now: Duration) {
    scheduler.joined(PeerKey(peer), now);
    scheduler.holds_all(PeerKey(peer));
    scheduler.unchoked(PeerKey(peer), now);
}

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
        let mut budget = u64::MAX;
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

    #[test]
    fn a_budget_is_passed_by_less_than_a_piece(budget in 0..20_000_000_u64, length in 1..MIB) {
        let mut scheduler = wanting(200, length, 1);
        for peer in 0..20 {
            join(&mut scheduler, peer, Duration::ZERO);
        }
        let mut left = budget;
        let mut asked = 0;
        while let Some(order) = scheduler.poll(Duration::ZERO, &mut left) {
            if let Order::Request { pieces, .. } = order {
                asked += pieces.len() as u64 * u64::from(length);
            }
        }
        prop_assert!(asked < budget + u64::from(length));
        prop_assert_eq!(left, budget.saturating_sub(asked));
        prop_assert!(budget == 0 || asked > 0);
    }
}

#[test]
fn the_rarest_pieces_are_asked_for_first() {
    let mut scheduler = wanting(8, 1000, 3);
    // Piece n is held by 8 - n peers besides the one that is asked.
    for other in 0..8 {
        scheduler.joined(PeerKey(other), Duration::ZERO);
        scheduler.set_holdings(PeerKey(other), set(8, 0..other as u32 + 1));
    }
    join(&mut scheduler, 100, Duration::ZERO);
    let asked = requested(&orders(&mut scheduler, Duration::ZERO), 100);
    assert_eq!(asked, [7, 6, 5, 4, 3, 2, 1, 0]);
}

#[test]
fn rarity_follows_peers_that_come_go_and_lose_pieces() {
    let mut scheduler = wanting(4, 1000, 0);
    let (a, b) = (PeerKey(1), PeerKey(2));
    scheduler.joined(a, Duration::ZERO);
    scheduler.holds_all(a);
    scheduler.joined(b, Duration::ZERO);
    scheduler.set_holdings(b, set(4, [0, 2]));
    let copies = |scheduler: &Scheduler| [0, 1, 2, 3].map(|piece| scheduler.copies(piece));
    assert_eq!(copies(&scheduler), [2, 1, 2, 1]);
    scheduler.holds_no_more(a, 2..4, Duration::ZERO);
    assert_eq!(copies(&scheduler), [2, 1, 1, 0]);
    scheduler.holds(b, 3);
    assert_eq!(copies(&scheduler), [2, 1, 1, 1]);
    scheduler.holds_all(b);
    assert_eq!(copies(&scheduler), [2, 2, 1, 1]);
    scheduler.left(a);
    assert_eq!(copies(&scheduler), [1, 1, 1, 1]);
    scheduler.left(b);
    assert_eq!(copies(&scheduler), [0, 0, 0, 0]);
}

#[test]
fn a_lone_source_is_read_in_sequence_from_a_place_of_ones_own() {
    let mut origins = BTreeSet::new();
    for seed in 0..20 {
        let mut world = World::of(50, MIB, seed);
        world.join(1, 20e6, 10, None);
        world.run(MINUTE);
        let order: Vec<u32> = world
            .requests
            .iter()
            .flat_map(|(_, pieces)| pieces.clone())
            .collect();
        let origin = world.scheduler.origin();
        let expected: Vec<u32> = (0..50).map(|piece| (origin + piece) % 50).collect();
        assert_eq!(order, expected);
        origins.insert(origin);
    }
    assert!(origins.len() > 10, "{origins:?}");
}

#[test]
fn a_peer_is_asked_for_two_pieces_until_its_rate_is_known() {
    let mut scheduler = wanting(100, MIB, 0);
    join(&mut scheduler, 1, Duration::ZERO);
    let asked = requested(&orders(&mut scheduler, Duration::ZERO), 1);
    assert_eq!(asked.len() as u64 * u64::from(MIB), LEAST_WINDOW);
    assert_eq!(orders(&mut scheduler, Duration::ZERO), []);
}

#[test]
fn small_pieces_are_asked_for_by_the_dozen() {
    let mut scheduler = wanting(10_000, 100, 0);
    join(&mut scheduler, 1, Duration::ZERO);
    let asked = requested(&orders(&mut scheduler, Duration::ZERO), 1);
    assert_eq!(asked.len() as u64, LEAST_WINDOW / PIECE_COST);
    assert!(asked.len() >= 64);
}

#[test]
fn windows_grow_with_rate_and_round_trip_up_to_their_bounds() {
    let window = |rate: f64, trip: u64| {
        let mut world = World::of(2000, MIB, 0);
        world.join(1, rate, trip, None);
        for _ in 0..1000 {
            world.step();
        }
        let all = world.scheduler.window_of(PeerKey(1)) as f64;
        all / f64::from(MIB)
    };
    assert_eq!(window(1e6, 20), 2.0, "never less than two pieces");
    let (near, far) = (window(10e6, 20), window(10e6, 400));
    assert!((4.0..6.5).contains(&near), "{near} MiB");
    assert!((8.0..10.5).contains(&far), "{far} MiB");
    assert_eq!(window(100e6, 50), 16.0, "never more than 16 MiB");
}

#[test]
fn a_fast_source_is_kept_busy_over_a_long_road() {
    let mut world = World::of(400, MIB, 0);
    world.join(1, 20e6, 200, None);
    let took = world.run(MINUTE).as_secs_f64();
    let least = 400.0 * f64::from(MIB) / 20e6;
    assert!(took < least * 1.15, "{took} s instead of {least} s");
}

#[test]
fn all_peers_together_owe_a_bounded_amount_however_many_they_are() {
    let mut scheduler = wanting(1000, MIB, 0);
    for peer in 0..100 {
        join(&mut scheduler, peer, Duration::ZERO);
    }
    orders(&mut scheduler, Duration::ZERO);
    assert_eq!(scheduler.pending(), MAX_PENDING);
}

#[test]
fn what_is_not_stored_yet_counts_as_owed() {
    let mut scheduler = wanting(1000, MIB, 0);
    for peer in 0..24 {
        join(&mut scheduler, peer, Duration::ZERO);
    }
    let first = orders(&mut scheduler, Duration::ZERO);
    let mut received = Vec::new();
    for peer in 0..24 {
        for piece in requested(&first, peer) {
            let came = scheduler.came(PeerKey(peer), piece, 0, MIB, Duration::ZERO);
            assert_eq!(came, Ok(Arrival::Whole));
            received.push(piece);
        }
    }
    assert_eq!(received.len(), 48);
    assert_eq!(orders(&mut scheduler, Duration::ZERO), [], "not stored");
    for piece in &received[..6] {
        scheduler.stored(*piece);
    }
    let asked: usize = (0..24)
        .map(|peer| scheduler.asked_of(PeerKey(peer)).count())
        .sum();
    assert_eq!(asked, 0);
    let more = orders(&mut scheduler, Duration::ZERO);
    let more: usize = (0..24).map(|peer| requested(&more, peer).len()).sum();
    assert_eq!(more, 6);
}

#[test]
fn equal_sources_share_the_work_and_add_up() {
    let time = |sources: u64| {
        let mut world = World::of(100, MIB, 7);
        for source in 0..sources {
            world.join(source, 5e6, 20, None);
        }
        let took = world.run(MINUTE).as_secs_f64();
        (took, world)
    };
    let (alone, _) = time(1);
    for sources in [2, 4, 8] {
        let (together, world) = time(sources);
        let gain = alone / together;
        assert!(gain > 0.93 * sources as f64, "{gain} times with {sources}");
        let fair = 100 / sources as u32;
        for source in world.sources.values() {
            assert!(source.sent.abs_diff(fair) <= fair / 4 + 2, "{source:?}");
        }
        assert!(world.wasted <= 2 * u64::from(MIB), "{}", world.wasted);
    }
}

#[test]
fn sources_share_the_work_by_their_rates() {
    let mut world = World::of(150, MIB, 7);
    world.join(1, 12e6, 20, None);
    world.join(2, 4e6, 60, None);
    world.join(3, 1e6, 200, None);
    let took = world.run(MINUTE).as_secs_f64();
    let least = 150.0 * f64::from(MIB) / 17e6;
    assert!(took < least * 1.1, "{took} s instead of {least} s");
}

#[test]
fn in_the_endgame_a_slow_peer_does_not_hold_up_the_end() {
    let mut world = World::of(40, MIB, 7);
    world.join(1, 20e6, 20, None);
    world.join(2, 20e3, 20, None);
    let took = world.run(MINUTE).as_secs_f64();
    world.poll();
    let least = 40.0 * f64::from(MIB) / 20e6;
    assert!(took < least + 1.0, "{took} s instead of {least} s");
    assert!(world.asked.values().all(|times| *times <= 2));
    let twice: Vec<u32> = world
        .asked
        .iter()
        .filter(|(_, times)| **times == 2)
        .map(|(piece, _)| *piece)
        .collect();
    assert!(!twice.is_empty());
    for piece in twice {
        let slow = world.cancelled.contains(&(PeerKey(2), piece));
        assert!(slow, "{piece} is not cancelled where it is not needed");
    }
}

#[test]
fn nothing_is_asked_twice_before_the_endgame() {
    let mut world = World::of(200, MIB, 7);
    world.join(1, 20e6, 20, None);
    world.join(2, 40e3, 20, None);
    let missing = |world: &World| {
        let states = (0..200).map(|piece| world.scheduler.state(piece));
        states.filter(|state| *state == PieceState::Missing).count()
    };
    while missing(&world) > 0 {
        assert!(world.asked.values().all(|times| *times == 1));
        world.step();
    }
    world.run(MINUTE);
    assert!(world.asked.values().any(|times| *times == 2));
}

#[test]
fn two_slow_copies_do_not_keep_a_fast_peer_from_a_piece() {
    let mut world = World::of(1, MIB, 0);
    world.join(1, 1e3, 20, None);
    for _ in 0..100 {
        world.step();
    }
    world.join(2, 5e3, 20, None);
    for _ in 0..100 {
        world.step();
    }
    let owes = |world: &World, key| world.scheduler.asked_of(PeerKey(key)).count();
    assert_eq!((owes(&world, 1), owes(&world, 2)), (1, 1));
    world.join(3, 5e6, 20, None);
    let took = world.run(MINUTE);
    assert!(took < seconds(2.0), "{took:?}");
}

#[test]
fn a_silent_peer_loses_its_requests_and_is_asked_for_little_until_it_sends_again() {
    let mut world = World::of(400, MIB, 7);
    world.join(1, 4e6, 20, None);
    world.join(2, 4e6, 20, None);
    for _ in 0..200 {
        world.step();
    }
    let now = world.now;
    world.source(2).mute_from = now;
    for _ in 0..500 {
        world.step();
    }
    let asked: Vec<u32> = world.scheduler.asked_of(PeerKey(2)).collect();
    assert_eq!(asked, [], "all is taken from it");
    assert!(!world.cancelled.is_empty());
    for (peer, _) in &world.cancelled {
        assert_eq!(*peer, PeerKey(2));
    }
    let before = world.source(2).sent;
    world.source(2).mute_from = Duration::MAX;
    let left = (0..400).filter(|piece| world.scheduler.state(*piece) != PieceState::Stored);
    let left = left.count() as f64 * f64::from(MIB);
    let took = world.run(MINUTE * 3).as_secs_f64();
    assert!(world.source(2).sent > before + 50, "it is asked again");
    assert!(took < left / 8e6 * 1.15 + 1.0, "{took} s");
}

#[test]
fn a_silent_peer_keeps_what_nobody_else_holds() {
    let mut world = World::of(6, MIB, 7);
    world.join(1, 4e6, 20, Some(set(6, 0..4)));
    world.join(2, 4e6, 20, None);
    world.source(2).mute_from = Duration::ZERO;
    for _ in 0..600 {
        world.step();
    }
    let asked: Vec<u32> = world.scheduler.asked_of(PeerKey(2)).collect();
    assert!(
        !asked.is_empty() && asked.iter().all(|piece| *piece >= 4),
        "{asked:?}"
    );
    world.source(2).mute_from = Duration::MAX;
    world.run(MINUTE);
}

#[test]
fn a_slow_peer_with_long_pauses_is_not_silent() {
    let mut world = World::of(6, MIB, 7);
    // A frame of 64 KiB takes more than two seconds.
    world.join(1, 30e3, 50, None);
    world.join(2, 30e3, 50, None);
    for _ in 0..3000 {
        world.step();
    }
    assert_eq!(world.cancelled, BTreeSet::new());
}

#[test]
fn a_peer_that_claims_everything_and_sends_nothing_costs_a_few_seconds_at_most() {
    let mut world = World::of(60, MIB, 7);
    world.join(1, 10e6, 20, None);
    for liar in 2..12 {
        world.join(liar, 10e6, 20, None);
        world.source(liar).mute_from = Duration::ZERO;
    }
    let took = world.run(MINUTE).as_secs_f64();
    assert!(took < 60.0 * f64::from(MIB) / 10e6 + 4.0, "{took}");
}

#[test]
fn a_peer_that_drops_everything_is_asked_ever_more_seldom() {
    let mut scheduler = wanting(10, MIB, 0);
    join(&mut scheduler, 1, Duration::ZERO);
    let mut asked = 0;
    for step in 0..600 {
        let now = Duration::from_millis(100 * step);
        for piece in requested(&orders(&mut scheduler, now), 1) {
            asked += 1;
            scheduler.dropped(PeerKey(1), piece, now).unwrap();
        }
    }
    assert!((4..60).contains(&asked), "{asked} requests in a minute");
}

#[test]
fn what_a_choke_drops_is_asked_of_others_at_once_and_of_the_peer_when_it_unchokes() {
    let mut scheduler = wanting(2, MIB, 0);
    let now = Duration::ZERO;
    join(&mut scheduler, 1, now);
    assert_eq!(requested(&orders(&mut scheduler, now), 1).len(), 2);
    join(&mut scheduler, 2, now);
    scheduler.choked(PeerKey(1), now);
    scheduler.dropped(PeerKey(1), 0, now).unwrap();
    assert_eq!(requested(&orders(&mut scheduler, now), 2), [0]);
    scheduler.left(PeerKey(2));
    assert_eq!(orders(&mut scheduler, now), []);
    scheduler.unchoked(PeerKey(1), now);
    assert_eq!(requested(&orders(&mut scheduler, now), 1), [0]);
}

#[test]
fn pausing_cancels_what_is_asked_and_going_on_waits_for_the_answers() {
    let mut scheduler = wanting(2, MIB, 0);
    let now = Duration::ZERO;
    join(&mut scheduler, 1, now);
    let asked = requested(&orders(&mut scheduler, now), 1);
    scheduler.set_paused(true);
    let mut cancels = cancelled(&orders(&mut scheduler, now), 1);
    cancels.sort_unstable();
    assert_eq!(cancels, [0, 1]);
    assert_eq!(scheduler.pending(), 0);
    scheduler.set_paused(false);
    assert_eq!(orders(&mut scheduler, now), [], "they are not answered");
    let came = scheduler.came(PeerKey(1), asked[0], 0, MIB, now);
    assert_eq!(came, Ok(Arrival::Unneeded));
    scheduler.dropped(PeerKey(1), asked[1], now).unwrap();
    assert_eq!(requested(&orders(&mut scheduler, now), 1), asked);
}

#[test]
fn beginning_again_keeps_the_peers_and_swallows_what_was_asked_before() {
    let mut scheduler = wanting(2, MIB, 0);
    let now = Duration::ZERO;
    join(&mut scheduler, 1, now);
    orders(&mut scheduler, now);
    scheduler.came(PeerKey(1), 0, 0, MIB, now).unwrap();
    scheduler.came(PeerKey(1), 1, 0, 7, now).unwrap();
    let mut again = scheduler.again();
    assert_eq!(again.pending(), 0);
    assert_eq!([again.state(0), again.state(1)], [PieceState::Unwanted; 2]);
    assert_eq!(again.copies(0), 1);
    for piece in 0..2 {
        again.want(piece);
        again.open(piece);
    }
    let first = orders(&mut again, now);
    assert_eq!(cancelled(&first, 1), [1]);
    assert_eq!(requested(&first, 1), [0], "1 is not answered");
    let rest = again.came(PeerKey(1), 1, 7, MIB - 7, now);
    assert_eq!(rest, Ok(Arrival::Unneeded));
    assert_eq!(requested(&orders(&mut again, now), 1), [1]);
}

#[test]
fn progress_survives_sources_that_come_and_go() {
    let mut world = World::of(120, MIB, 3);
    for source in 0..6 {
        world.join(source, 3e6, 30, None);
    }
    for source in 0..5 {
        for _ in 0..80 {
            world.step();
        }
        world.leave(source);
        let pieces = (0..120).filter(|piece| piece % 5 == source as u32);
        world.join(100 + source, 1e6, 100, Some(set(120, pieces)));
    }
    world.run(MINUTE);
}
