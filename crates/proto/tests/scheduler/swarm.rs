//! Many sources: they share the work by their rates, and none of them holds up
//! the end by being slow, silent or gone.

use std::collections::BTreeSet;
use std::time::Duration;

use passalong_proto::scheduler::{PeerKey, PieceState};

use crate::sources::{MIB, World};
use crate::{MINUTE, set};

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
    assert!(took < Duration::from_secs(2), "{took:?}");
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
