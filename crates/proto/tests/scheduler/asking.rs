//! What one peer is asked for: which pieces first, how many at once, and what of
//! it is asked again.

use std::collections::BTreeSet;
use std::time::Duration;

use passalong_proto::pieces::PieceSet;
use passalong_proto::scheduler::{
    Arrival, LEAST_WINDOW, LONE_WINDOW, MAX_PENDING, Order, PIECE_COST, PeerKey, PieceState,
    Scheduler,
};
use proptest::prelude::*;

use crate::sources::{MIB, World};
use crate::{MINUTE, cancelled, join, orders, requested, set, wanting};

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
fn peers_are_asked_for_two_pieces_each_until_their_rate_is_known() {
    let mut scheduler = wanting(100, MIB, 0);
    join(&mut scheduler, 1, Duration::ZERO);
    join(&mut scheduler, 2, Duration::ZERO);
    let orders_now = orders(&mut scheduler, Duration::ZERO);
    for peer in [1, 2] {
        let asked = requested(&orders_now, peer);
        assert_eq!(asked.len() as u64 * u64::from(MIB), LEAST_WINDOW);
    }
    assert_eq!(orders(&mut scheduler, Duration::ZERO), []);
}

#[test]
fn the_only_peer_is_asked_for_more_at_once_until_another_one_joins() {
    let mut scheduler = wanting(100, MIB, 0);
    join(&mut scheduler, 1, Duration::ZERO);
    let asked = requested(&orders(&mut scheduler, Duration::ZERO), 1);
    assert_eq!(asked.len() as u64 * u64::from(MIB), LONE_WINDOW);
    join(&mut scheduler, 2, Duration::ZERO);
    assert_eq!(scheduler.window_of(PeerKey(1)), LEAST_WINDOW);
    scheduler.left(PeerKey(2));
    assert_eq!(scheduler.window_of(PeerKey(1)), LONE_WINDOW);
}

#[test]
fn small_pieces_are_asked_for_by_the_dozen() {
    let mut scheduler = wanting(10_000, 100, 0);
    join(&mut scheduler, 1, Duration::ZERO);
    let asked = requested(&orders(&mut scheduler, Duration::ZERO), 1);
    assert_eq!(asked.len() as u64, LONE_WINDOW / PIECE_COST);
    assert!(asked.len() >= 64);
}

#[test]
fn windows_grow_with_rate_and_round_trip_up_to_their_bounds() {
    let window = |rate: f64, trip: u64| {
        let mut world = World::of(2000, MIB, 0);
        world.join(1, rate, trip, None);
        world.join(2, rate, trip, Some(PieceSet::none(2000)));
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
fn a_peer_that_drops_everything_is_asked_ever_more_seldom() {
    let mut scheduler = wanting(10, MIB, 0);
    join(&mut scheduler, 1, Duration::ZERO);
    let mut asked = 0;
    for step in 0..600 {
        let now = Duration::from_millis(100 * step);
        let pieces = requested(&orders(&mut scheduler, now), 1);
        asked += usize::from(!pieces.is_empty());
        for piece in pieces {
            scheduler.dropped(PeerKey(1), piece, now).unwrap();
        }
    }
    assert!((4..60).contains(&asked), "asked {asked} times in a minute");
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

proptest! {
    #[test]
    fn a_budget_is_passed_by_less_than_a_piece(budget in 0..20_000_000_i64, length in 1..MIB) {
        let mut scheduler = wanting(200, length, 1);
        for peer in 0..20 {
            join(&mut scheduler, peer, Duration::ZERO);
        }
        let mut left = budget;
        let mut asked = 0;
        while let Some(order) = scheduler.poll(Duration::ZERO, &mut left) {
            if let Order::Request { pieces, .. } = order {
                asked += pieces.len() as i64 * i64::from(length);
            }
        }
        prop_assert!(asked < budget + i64::from(length));
        prop_assert_eq!(left, budget - asked);
        prop_assert!(budget == 0 || asked > 0);
    }
}
