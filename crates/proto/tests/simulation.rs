//! Whole swarms on a virtual clock: everybody gets everything, whoever leaves, in
//! a time that grows much slower than their number.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use passalong_proto::membership::{HARD_LINKS, SPARE_LINKS};
use passalong_proto::simulation::{Departure, Line, Outcome, Plot, Scenario};

/// 128 pieces: a run of a hundred receivers takes about a second.
fn small(receivers: usize) -> Scenario {
    Scenario {
        pieces: 128,
        limit: Duration::from_secs(300),
        ..Scenario::of(receivers)
    }
}

/// How long one receiver alone would take, at the least.
fn alone(scenario: &Scenario) -> f64 {
    f64::from(scenario.pieces) * f64::from(scenario.piece_bytes) / scenario.up
}

fn assert_all_have_it(outcome: &Outcome, stayed: usize) {
    assert_eq!(outcome.stayed, stayed, "{outcome:?}");
    assert_eq!(outcome.complete, stayed, "{outcome:?}");
    assert_eq!(outcome.violations, 0, "{outcome:?}");
}

#[test]
fn a_hundred_receivers_have_it_all_in_a_small_multiple_of_the_time_of_one() {
    let scenario = small(100);
    let outcome = scenario.run();
    assert_all_have_it(&outcome, 100);
    let seconds = outcome.all.as_secs_f64();
    assert!(seconds < 3.5 * alone(&scenario), "{seconds} s");
    assert!(outcome.sharer_sent < 2.5, "{outcome:?}");
    assert!(outcome.wasted < 0.1, "{outcome:?}");
}

#[test]
fn time_grows_much_slower_than_the_number_of_receivers() {
    let few = small(8).run();
    let many = small(128).run();
    assert_all_have_it(&few, 8);
    assert_all_have_it(&many, 128);
    assert!(many.all < few.all * 2, "{:?} and {:?}", few.all, many.all);
}

#[test]
fn links_and_gossip_stay_few_however_many_there_are() {
    let outcome = small(200).run();
    assert_all_have_it(&outcome, 200);
    assert!(outcome.most_links <= HARD_LINKS, "{outcome:?}");
    assert!(outcome.mean_links <= SPARE_LINKS as f64, "{outcome:?}");
    assert!(outcome.gossip_rate < 8_000.0, "{outcome:?}");
}

#[test]
fn those_who_stay_get_everything_when_a_third_crashes_midway() {
    let scenario = Scenario {
        departure: Departure::Crowd { percent: 30 },
        ..small(100)
    };
    let outcome = scenario.run();
    assert_all_have_it(&outcome, 70);
    let seconds = outcome.all.as_secs_f64();
    assert!(seconds < 5.0 * alone(&scenario), "{seconds} s");
}

#[test]
fn the_share_survives_its_sharer_once_each_piece_is_somewhere_else() {
    let scenario = Scenario {
        departure: Departure::Sharer,
        ..small(60)
    };
    let outcome = scenario.run();
    assert_all_have_it(&outcome, 60);
    assert!(outcome.all > outcome.spread);
}

#[test]
fn loss_and_long_ways_slow_everybody_down_and_stop_nobody() {
    let scenario = Scenario {
        loss: 0.05,
        trip: Duration::from_millis(240),
        ..small(50)
    };
    let outcome = scenario.run();
    assert_all_have_it(&outcome, 50);
    let seconds = outcome.all.as_secs_f64();
    assert!(seconds < 5.0 * alone(&scenario), "{seconds} s");
}

#[test]
fn uplinks_a_tenth_of_the_downlinks_are_all_put_to_use() {
    let scenario = Scenario {
        up: 2e6,
        ..small(50)
    };
    let outcome = scenario.run();
    assert_all_have_it(&outcome, 50);
    let seconds = outcome.all.as_secs_f64();
    // One after the other would take fifty times as long as the first.
    assert!(seconds < 2.0 * alone(&scenario), "{seconds} s");
}

#[test]
fn the_same_seed_gives_the_same_outcome_and_another_seed_another() {
    let scenario = Scenario {
        departure: Departure::Crowd { percent: 30 },
        ..small(40)
    };
    assert_eq!(scenario.run(), scenario.run());
    let other = Scenario {
        seed: 2,
        ..scenario.clone()
    };
    assert_ne!(scenario.run(), other.run());
}

#[test]
fn nobody_is_finished_when_there_was_no_time() {
    let scenario = Scenario {
        limit: Duration::from_secs(3),
        ..small(10)
    };
    let outcome = scenario.run();
    assert_eq!((outcome.stayed, outcome.complete), (10, 0));
}

#[test]
fn a_plot_holds_its_lines_and_escapes_their_names() {
    let plot = Plot {
        title: "a < b & c".to_owned(),
        across: "receivers".to_owned(),
        up: "seconds".to_owned(),
        lines: vec![Line {
            name: "\"quick\"".to_owned(),
            points: vec![(1.0, 1.0), (100.0, 10.0)],
        }],
    };
    let svg = plot.svg();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(svg.contains("a &lt; b &amp; c") && svg.contains("&quot;quick&quot;"));
    assert_eq!(svg.matches("<circle").count(), 2);
}
