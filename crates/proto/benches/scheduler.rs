//! What scheduling costs: 100,000 pieces from 500 peers, each of which holds half
//! of them. Prints times; nothing passes or fails by them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::LazyLock;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use passalong_proto::pieces::PieceSet;
use passalong_proto::scheduler::{Order, PeerKey, Scheduler};

const PIECES: u32 = 100_000;
const PEERS: u64 = 500;
const LENGTH: u32 = 1 << 20;
const FETCHED: u32 = 20_000;

static HOLDINGS: LazyLock<Vec<PieceSet>> = LazyLock::new(|| (0..PEERS).map(half).collect());

fn main() {
    divan::main();
}

/// Half of all pieces, another half for each peer.
fn half(peer: u64) -> PieceSet {
    let mut set = PieceSet::none(PIECES);
    for piece in 0..PIECES {
        let mixed = (u64::from(piece) + 1).wrapping_mul(peer * 2 + 0x9e37_79b9_7f4a_7c15);
        if mixed >> 63 == 0 {
            set.insert(piece);
        }
    }
    set
}

fn want_and_open(mut scheduler: Scheduler) -> Scheduler {
    for piece in 0..PIECES {
        scheduler.want(piece);
        scheduler.open(piece);
    }
    scheduler
}

fn join(mut scheduler: Scheduler, holdings: Vec<PieceSet>) -> Scheduler {
    for (peer, holds) in (0..).zip(holdings) {
        scheduler.joined(PeerKey(peer), Duration::ZERO);
        scheduler.set_holdings(PeerKey(peer), holds);
        scheduler.unchoked(PeerKey(peer), Duration::ZERO);
    }
    scheduler
}

fn empty() -> Scheduler {
    Scheduler::equal(PIECES, LENGTH, 1)
}

fn wanted() -> Scheduler {
    want_and_open(empty())
}

fn joined() -> Scheduler {
    join(wanted(), HOLDINGS.clone())
}

#[divan::bench(sample_count = 10)]
fn want_and_open_every_piece(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(PIECES))
        .with_inputs(empty)
        .bench_local_values(want_and_open);
}

#[divan::bench(sample_count = 5)]
fn peers_join_with_bitfields(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(PEERS))
        .with_inputs(|| (wanted(), HOLDINGS.clone()))
        .bench_local_values(|(scheduler, holdings)| join(scheduler, holdings));
}

#[divan::bench(sample_count = 5)]
fn every_peer_gets_1000_more_pieces(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(PEERS * 1000))
        .with_inputs(joined)
        .bench_local_values(|mut scheduler| {
            for peer in 0..PEERS {
                for piece in 0..1000 {
                    scheduler.holds(PeerKey(peer), (piece * 97 + peer as u32) % PIECES);
                }
            }
            scheduler
        });
}

#[divan::bench(sample_count = 5)]
fn fetch_20000_pieces_polled_at_each(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(FETCHED))
        .with_inputs(joined)
        .bench_local_values(|mut scheduler| {
            let (mut now, mut stored) = (Duration::ZERO, 0);
            let mut queue = VecDeque::new();
            while stored < FETCHED {
                let mut budget = i64::MAX;
                while let Some(order) = scheduler.poll(now, &mut budget) {
                    if let Order::Request { peer, pieces } = order {
                        queue.extend(pieces.into_iter().map(|piece| (peer, piece)));
                    }
                }
                let (peer, piece) = queue.pop_front().expect("a request");
                now += Duration::from_millis(5);
                if scheduler.came(peer, piece, 0, LENGTH, now).is_ok() {
                    scheduler.stored(piece);
                    stored += 1;
                }
            }
            scheduler
        });
}

#[divan::bench(sample_count = 5)]
fn poll_1000_times_with_nothing_to_do(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(1000u32))
        .with_inputs(joined)
        .bench_local_values(|mut scheduler| {
            let mut now = Duration::ZERO;
            for _ in 0..1000 {
                now += Duration::from_millis(100);
                let mut budget = 0;
                while scheduler.poll(now, &mut budget).is_some() {}
            }
            scheduler
        });
}

#[divan::bench(sample_count = 5)]
fn peers_leave(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(PEERS))
        .with_inputs(joined)
        .bench_local_values(|mut scheduler| {
            for peer in 0..PEERS {
                scheduler.left(PeerKey(peer));
            }
            scheduler
        });
}
