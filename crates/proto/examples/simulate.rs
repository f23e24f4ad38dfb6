//! Simulates swarms of 1 to 5,000 receivers, and writes what came of it: a table
//! in Markdown to the standard output, and two plots into the folder that is
//! named, if any.
//!
//! ```text
//! cargo run --release -p passalong-proto --example simulate [-- FOLDER [SIZE...]]
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use passalong_proto::simulation::{Departure, Line, Outcome, Plot, Scenario};

const SIZES: [usize; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const DEPARTURES: [Departure; 3] = [
    Departure::Nobody,
    Departure::Crowd { percent: 30 },
    Departure::Sharer,
];

/// Largest swarm that is simulated without its sharer as well: beyond it, it would
/// show nothing else and take as long as all others together.
const MOST_WITHOUT_SHARER: usize = 1000;

type Outcomes = BTreeMap<(usize, usize), Outcome>;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next();
    let mut sizes: Vec<usize> = arguments
        .map(|size| size.parse().expect("a size"))
        .collect();
    if sizes.is_empty() {
        sizes = SIZES.to_vec();
    }
    let begin = Instant::now();
    let outcomes = run(&sizes);
    print_table(&outcomes);
    eprintln!("took {:.0} s", begin.elapsed().as_secs_f64());
    if let Some(folder) = folder {
        for (name, picture) in pictures(&outcomes) {
            let path = Path::new(&folder).join(name);
            std::fs::write(path, picture.svg()).expect("the plot can be written");
        }
    }
}

/// Runs every size with every departure, the longest first, on all cores.
fn run(sizes: &[usize]) -> Outcomes {
    let mut jobs: Vec<(usize, usize)> = (sizes.iter())
        .flat_map(|size| (0..DEPARTURES.len()).map(|departure| (*size, departure)))
        .filter(|(size, departure)| {
            *size <= MOST_WITHOUT_SHARER || DEPARTURES[*departure] != Departure::Sharer
        })
        .collect();
    jobs.sort_unstable_by_key(|(size, departure)| (*size, usize::MAX - departure));
    let jobs = Mutex::new(jobs);
    let outcomes = Mutex::new(Outcomes::new());
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let Some(job) = jobs.lock().unwrap().pop() else {
                        return;
                    };
                    let scenario = Scenario {
                        departure: DEPARTURES[job.1],
                        ..Scenario::of(job.0)
                    };
                    let outcome = scenario.run();
                    eprintln!("{job:?}: {outcome:?}");
                    outcomes.lock().unwrap().insert(job, outcome);
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// The time that one sharer needs who serves one receiver after the other.
fn in_turn(size: usize) -> f64 {
    let scenario = Scenario::of(size);
    let share = f64::from(scenario.pieces) * f64::from(scenario.piece_bytes);
    size as f64 * share / (scenario.up * (1.0 - scenario.loss))
}

fn print_table(outcomes: &Outcomes) {
    let header = [
        "receivers",
        "one sharer, all in turn",
        "everybody has it",
        "half have it",
        "30 % crash midway",
        "sharer crashes near the end",
        "most links",
        "links, mean",
        "gossip a second",
        "sent by the sharer",
        "sent in vain",
    ];
    println!("| {} |", header.join(" | "));
    println!("|{}", " ---: |".repeat(header.len()));
    let seconds = |time: Duration| format!("{:.0} s", time.as_secs_f64());
    for ((size, _), whole) in outcomes
        .iter()
        .filter(|((_, departure), _)| *departure == 0)
    {
        let other = |departure: usize| match outcomes.get(&(*size, departure)) {
            None => String::new(),
            Some(outcome) if outcome.complete == outcome.stayed => seconds(outcome.all),
            Some(_) => "never".to_owned(),
        };
        let row = [
            thousands(*size as f64),
            format!("{} s", thousands(in_turn(*size))),
            other(0),
            seconds(whole.half),
            other(1),
            other(2),
            whole.most_links.to_string(),
            format!("{:.1}", whole.mean_links),
            format!("{:.1} kB", whole.gossip_rate / 1000.0),
            format!("{:.2} ×", whole.sharer_sent),
            format!("{:.1} %", whole.wasted * 100.0),
        ];
        println!("| {} |", row.join(" | "));
    }
}

/// A whole number with its thousands set apart.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The two plots: against one sharer who serves all in turn, and closer up.
fn pictures(outcomes: &Outcomes) -> [(&'static str, Plot); 2] {
    let line = |name: &str, departure: usize| Line {
        name: name.to_owned(),
        points: (outcomes.iter())
            .filter(|((_, of), outcome)| *of == departure && outcome.complete == outcome.stayed)
            .map(|((size, _), outcome)| (*size as f64, outcome.all.as_secs_f64()))
            .collect(),
    };
    let sizes = outcomes.keys().filter(|(_, departure)| *departure == 0);
    let one_by_one = Line {
        name: "one sharer, all in turn".to_owned(),
        points: sizes
            .map(|(size, _)| (*size as f64, in_turn(*size)))
            .collect(),
    };
    let plot = |lines: Vec<Line>| Plot {
        title: "Seconds until everybody has a gigabyte".to_owned(),
        across: "receivers".to_owned(),
        up: "seconds".to_owned(),
        lines,
    };
    let along = line("passed along", 0);
    let close = vec![
        along.clone(),
        line("30 % crash midway", 1),
        line("the sharer crashes near the end", 2),
    ];
    [
        ("swarm-in-turn.svg", plot(vec![along, one_by_one])),
        ("swarm-growth.svg", plot(close)),
    ]
}
