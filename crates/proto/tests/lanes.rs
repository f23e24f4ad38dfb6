//! Which lane pieces go out on.

use std::time::Duration;

use passalong_proto::lanes::{Backlog, Broken, LaneKind, Lanes};
use passalong_proto::wire::FIRST_PARALLEL;
use proptest::prelude::*;

const TENTH: Duration = Duration::from_millis(100);

/// Sends for so many tenths of a second over lanes of these rates, in bytes a
/// second; says how many tenths went to QUIC.
fn run(lanes: &mut Lanes, tenths: u32, data: u64, quic: u64) -> u32 {
    let mut on_quic = 0;
    for _ in 0..tenths {
        let rate = match lanes.choose() {
            LaneKind::DataChannel => data,
            LaneKind::Quic => {
                on_quic += 1;
                quic
            }
        };
        lanes.delivered(rate / 10, TENTH);
    }
    on_quic
}

#[test]
fn without_quic_everything_goes_to_the_data_channel() {
    assert_eq!(run(&mut Lanes::default(), 1000, 1_000_000, 9_000_000), 0);
}

#[test]
fn quic_is_used_from_the_moment_it_is_up_until_it_breaks() {
    let mut lanes = Lanes::default();
    run(&mut lanes, 50, 1_000_000, 0);
    lanes.quic(true);
    assert_eq!(run(&mut lanes, 50, 1_000_000, 9_000_000), 50);
    lanes.quic(false);
    assert_eq!(run(&mut lanes, 50, 1_000_000, 9_000_000), 0);
}

#[test]
fn a_data_channel_that_delivers_more_takes_over_and_gives_back() {
    let mut lanes = Lanes::default();
    lanes.quic(true);
    run(&mut lanes, 400, 9_000_000, 1_000_000);
    let on_quic = run(&mut lanes, 1000, 9_000_000, 1_000_000);
    assert!(on_quic <= 40, "{on_quic} of 1000 on the slow lane");
    run(&mut lanes, 400, 1_000_000, 9_000_000);
    let on_quic = run(&mut lanes, 1000, 1_000_000, 9_000_000);
    assert!(on_quic >= 960, "{on_quic} of 1000 on the fast lane");
}

fn backlog() -> Backlog {
    Backlog::new(Duration::from_secs(1))
}

/// Looks at a channel of so many bytes a second until it is too little; says after how
/// many tenths of a second, of a hundred.
fn too_little(
    backlog: &mut Backlog,
    rate: u64,
    is_waited_for: impl Fn(u32) -> bool,
) -> Option<u32> {
    (1..=100).find(|tenth| backlog.look(is_waited_for(*tenth), rate / 10, TENTH))
}

#[test]
fn a_slow_channel_is_too_little_once_something_waited_for_it_for_a_second() {
    let slow = 1_000_000;
    assert_eq!(too_little(&mut backlog(), slow, |_| true), Some(10));
    let rested = too_little(&mut backlog(), slow, |tenth| tenth != 7);
    assert_eq!(rested, Some(17));
    let seldom = too_little(&mut backlog(), slow, |tenth| tenth % 10 != 0);
    assert_eq!(seldom, None);
}

#[test]
fn a_fast_channel_is_never_too_little() {
    assert_eq!(too_little(&mut backlog(), 50_000_000, |_| true), None);
}

#[test]
fn a_lane_that_broke_takes_those_before_it_along_and_none_of_the_other_kind() {
    let mut broken = Broken::default();
    let channel = 0;
    let quic = [1, 2, 3];
    let parallel = quic.map(|number| FIRST_PARALLEL + number);
    assert!(!broken.contains(FIRST_PARALLEL));
    broken.lost(quic[1]);
    assert_eq!(quic.map(|lane| broken.contains(lane)), [true, true, false]);
    assert_eq!(parallel.map(|lane| broken.contains(lane)), [false; 3]);
    broken.lost(quic[0]);
    broken.lost(parallel[1]);
    assert_eq!(quic.map(|lane| broken.contains(lane)), [true, true, false]);
    assert_eq!(
        parallel.map(|lane| broken.contains(lane)),
        [true, true, false]
    );
    assert!(!broken.contains(channel));
}

proptest! {
    #[test]
    fn the_slower_lane_gets_no_more_than_its_trials(
        data in 10_000_u64..100_000_000,
        quic in 10_000_u64..100_000_000,
    ) {
        prop_assume!(data.max(quic) as f64 > 1.3 * data.min(quic) as f64);
        let mut lanes = Lanes::default();
        lanes.quic(true);
        run(&mut lanes, 311, data, quic);
        let on_quic = run(&mut lanes, 3100, data, quic);
        let on_slower = if quic > data { 3100 - on_quic } else { on_quic };
        prop_assert!(on_slower <= 110, "{} of 3100", on_slower);
    }
}
