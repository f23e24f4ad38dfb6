//! `npm run bench:roads`: every program on every road, in turns, so that they
//! meet the same computer in the same mood.

use std::path::PathBuf;

use passalong_netns::{Failure, able_to_build};

use crate::args;
use crate::ends::{End, Ends};
use crate::files::Load;
use crate::measure::{Ground, Plan, run as measure};
use crate::programs::{Installed, Program};
use crate::results::{Kind, Results};
use crate::roads::{ROADS, Road};
use crate::table::table;

/// In this order, as often as is asked for.
const PROGRAMS: [Program; 5] = [
    Program::Cubic,
    Program::Bbr,
    Program::Passalong,
    Program::DataChannel,
    Program::Sendme,
];
/// Files of 4 KB, 100 to a folder.
const SMALL: Load = Load::Small {
    files: 10_000,
    folders: 100,
    each: 4096,
};
/// The road that small files are sent over.
const SMALL_ROAD: &str = "city";
const MEGABYTE: u64 = 1_000_000;

/// Measures what `args` asks for, prints a table and writes the results.
pub(crate) async fn run(args: args::Roads) -> Result<(), Failure> {
    let roads = match args.roads.is_empty() {
        true => ROADS.to_vec(),
        false => args.roads.clone(),
    };
    if roads.iter().any(|road| road.quality.is_some()) {
        able_to_build()?;
    }
    let common = &args.common;
    let installed = Installed::find(common.passalong.clone(), common.sendme.clone())?;
    let wanted = match common.programs.is_empty() {
        true => PROGRAMS.to_vec(),
        false => common.programs.clone(),
    };
    for program in wanted.iter().filter(|program| !installed.has(**program)) {
        eprintln!(
            "Without {}: {}.",
            program.name(),
            installed.missing(*program)
        );
    }
    let json = common
        .json
        .clone()
        .unwrap_or_else(|| PathBuf::from("target/bench/roads.json"));
    let mut results = Results::here(installed.versions());
    let mut ground = Ground::new(&common.dir)?;
    for road in &roads {
        eprintln!("{}: {}", road.name, road.described());
        for repeat in 1..=common.repeats {
            for program in wanted
                .iter()
                .copied()
                .filter(|program| installed.has(*program))
            {
                let bytes = match (common.size, installed.is_slowed_by_losses(program)) {
                    (Some(megabytes), _) => megabytes * MEGABYTE,
                    (None, true) => road.bytes_if_slowed,
                    (None, false) => road.bytes,
                };
                let plan = Plan {
                    road,
                    kind: Kind::File,
                    load: Load::File { bytes },
                    program,
                    repeat,
                    limit: common.limit,
                    tcp: args.tcp,
                };
                let mut plans = vec![plan];
                if road.name == SMALL_ROAD && program.carries_files() && !args.no_small {
                    plans.push(Plan {
                        kind: Kind::SmallFiles,
                        load: SMALL,
                        ..plan
                    });
                }
                for plan in plans {
                    one(plan, &installed, &mut ground, &mut results).await;
                    results.write(&json)?;
                }
            }
        }
        ground.clear();
    }
    println!("{}", table(&results));
    println!("Results: {}", json.display());
    Ok(())
}

/// Makes one run and says how it went. A program that fails does not keep the
/// others from being measured.
pub(crate) async fn one(
    plan: Plan<'_>,
    installed: &Installed,
    ground: &mut Ground,
    results: &mut Results,
) {
    match measure(plan, installed, ground).await {
        Ok(run) => {
            let megabits = run.bytes as f64 * 8.0 / 1e6 / run.seconds;
            let whole = if run.whole { "" } else { ", not whole" };
            eprintln!(
                "  {} {}, {}: {megabits:.0} Mbit/s, {:.1} s{whole}",
                plan.repeat,
                run.program,
                plan.kind.words(),
                run.seconds,
            );
            results.runs.push(run);
        }
        Err(failure) => eprintln!("  {} {}: {failure}", plan.repeat, plan.program.name()),
    }
}

/// Opens a road and waits.
pub(crate) async fn open(road: &Road, seed: u64) -> Result<(), Failure> {
    able_to_build()?;
    let ends = Ends::of(road, seed)?;
    let Ends::Apart { hosts, .. } = &ends else {
        return Err(Failure::Broken("the loopback is no road to open"));
    };
    println!("{}: {}", road.name, road.described());
    for (host, end) in hosts.iter().zip([End::Sender, End::Receiver]) {
        println!("{}  ip netns exec {} sh", ends.address(end), host.name());
    }
    println!("Open until Ctrl-C.");
    std::future::pending().await
}
