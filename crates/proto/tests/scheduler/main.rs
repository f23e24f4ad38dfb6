//! Scheduling: which pieces are asked of which peers, whatever these do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use passalong_proto::pieces::PieceSet;
use passalong_proto::scheduler::{Order, PeerKey, Scheduler};

use sources::World;

mod asking;
mod model;
#[path = "../sources/mod.rs"]
mod sources;
mod swarm;

const MINUTE: Duration = Duration::from_secs(60);

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
    let mut budget = i64::MAX;
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
