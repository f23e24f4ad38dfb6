//! What scheduling costs: 100,000 pieces from 500 peers, each of which holds half
//! of them. Prints times; nothing passes or fails by them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use passalong_proto::pieces::PieceSet;
use passalong_proto::scheduler::{Order, PeerKey, Scheduler};

const PIECES: u32 = 100_000;
const PEERS: u64 = 500;
const LENGTH: u32 = 1 << 20;

fn timed<T>(what: &str, per: u64, run: impl FnOnce() -> T) -> T {
    let from = Instant::now();
    let result = run();
    let took = from.elapsed();
    let each = took / per.max(1) as u32;
    println!("{what:<44} {took:>12.3?}  each {each:>10.3?}");
    result
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

fn main() {
    let mut scheduler = Scheduler::equal(PIECES, LENGTH, 1);
    timed("want and open every piece", u64::from(PIECES), || {
        for piece in 0..PIECES {
            scheduler.want(piece);
            scheduler.open(piece);
        }
    });
    let holdings: Vec<PieceSet> = (0..PEERS).map(half).collect();
    timed("500 peers join with bitfields", PEERS, || {
        for (peer, holds) in (0..).zip(holdings) {
            scheduler.joined(PeerKey(peer), Duration::ZERO);
            scheduler.set_holdings(PeerKey(peer), holds);
            scheduler.unchoked(PeerKey(peer), Duration::ZERO);
        }
    });
    timed("every peer gets 1000 more pieces", PEERS * 1000, || {
        for peer in 0..PEERS {
            for piece in 0..1000 {
                scheduler.holds(PeerKey(peer), (piece * 97 + peer as u32) % PIECES);
            }
        }
    });
    let mut now = Duration::ZERO;
    let mut stored = 0;
    let mut queue = std::collections::VecDeque::new();
    timed("fetch 20,000 pieces, polled at each", 20_000, || {
        while stored < 20_000 {
            let mut budget = u64::MAX;
            while let Some(order) = scheduler.poll(now, &mut budget) {
                if let Order::Request { peer, pieces } = order {
                    queue.extend(pieces.into_iter().map(|piece| (peer, piece)));
                }
            }
            let (peer, piece) = queue.pop_front().unwrap();
            now += Duration::from_millis(5);
            if scheduler.came(peer, piece, 0, LENGTH, now).is_ok() {
                scheduler.stored(piece);
                stored += 1;
            }
        }
    });
    timed("poll with nothing to do, every 100 ms", 1000, || {
        for _ in 0..1000 {
            now += Duration::from_millis(100);
            let mut budget = 0;
            while scheduler.poll(now, &mut budget).is_some() {}
        }
    });
    timed("500 peers leave", PEERS, || {
        for peer in 0..PEERS {
            scheduler.left(PeerKey(peer));
        }
    });
}
