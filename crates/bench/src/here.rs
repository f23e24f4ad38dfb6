//! `npm run bench`: what this computer alone tells: the loopback on both lanes,
//! many small files, hashing, and what shares cost that nobody fetches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use passalong_netns::{Failure, Used};

use crate::args::{self, Part};
use crate::directory::Directory;
use crate::ends::Ends;
use crate::files::Load;
use crate::measure::{Ground, Plan};
use crate::over_roads::one;
use crate::passalong::Passalong;
use crate::programs::{Installed, Program};
use crate::results::{Cost, Kind, Results, Run};
use crate::roads::{ROADS, Road};
use crate::table::table;

const PARTS: [Part; 6] = [
    Part::File,
    Part::Small,
    Part::Many,
    Part::Hashing,
    Part::Early,
    Part::Idle,
];
const PROGRAMS: [Program; 4] = [
    Program::Copy,
    Program::Passalong,
    Program::DataChannel,
    Program::Sendme,
];
const MEGABYTE: u64 = 1_000_000;
/// What is hashed; with its copy in the page cache.
const HASHED: u64 = 4000 * MEGABYTE;
/// What takes long to hash.
const LONG: u64 = 40_000 * MEGABYTE;
const IDLE_SHARES: usize = 10;
/// An idle program is left alone for this long before it is looked at, and
/// looked at for this long.
const SETTLING: Duration = Duration::from_secs(5);
const IDLING: Duration = Duration::from_secs(30);
/// The same where it is in a DHT, which it enters first and then asks now and then.
const SETTLING_IN_DHT: Duration = Duration::from_secs(30);
const IDLING_IN_DHT: Duration = Duration::from_secs(120);

/// Measures what `args` asks for, prints a table and writes the results.
pub(crate) async fn run(args: args::Here) -> Result<(), Failure> {
    let common = &args.common;
    let installed = Installed::find(common.passalong.clone(), common.sendme.clone())?;
    let wanted = match common.programs.is_empty() {
        true => PROGRAMS.to_vec(),
        false => common.programs.clone(),
    };
    let parts = match args.parts.is_empty() {
        true => PARTS.to_vec(),
        false => args.parts.clone(),
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
        .unwrap_or_else(|| PathBuf::from("target/bench/here.json"));
    let mut results = Results::here(installed.versions());
    let mut ground = Ground::new(&common.dir)?;
    for part in parts {
        for repeat in 1..=common.repeats {
            match part {
                Part::Hashing => keep(hashing(&installed, &mut ground, repeat).await, &mut results),
                Part::Early => keep(early(&installed, &ground, repeat).await, &mut results),
                Part::Idle => {
                    for kind in [Kind::Idle, Kind::IdleInDht] {
                        let idleness = Idleness::of(kind, &args);
                        let run = idle(idleness, &installed, &ground, repeat).await;
                        keep(run, &mut results);
                    }
                }
                Part::File | Part::Small | Part::Many => {
                    let (kind, load) = load(part, common.size);
                    for program in wanted.iter().copied().filter(|p| installed.has(*p)) {
                        let plan = Plan {
                            road: loopback(),
                            kind,
                            load,
                            program,
                            repeat,
                            limit: common.limit,
                            tcp: Duration::ZERO,
                        };
                        one(plan, &installed, &mut ground, &mut results).await;
                    }
                }
            }
            results.write(&json)?;
        }
        ground.clear();
    }
    println!("{}", table(&results));
    println!("Results: {}", json.display());
    Ok(())
}

fn loopback() -> &'static Road {
    &ROADS[0]
}

fn load(part: Part, megabytes: Option<u64>) -> (Kind, Load) {
    let small = |files, folders| Load::Small {
        files,
        folders,
        each: 4096,
    };
    match part {
        Part::Small => (Kind::SmallFiles, small(10_000, 100)),
        Part::Many => (Kind::ManyFiles, small(100_000, 1000)),
        _ => {
            let bytes = megabytes.map_or(loopback().bytes, |megabytes| megabytes * MEGABYTE);
            (Kind::File, Load::File { bytes })
        }
    }
}

/// Offers a large file and stops when it is listed.
async fn hashing(installed: &Installed, ground: &mut Ground, repeat: u32) -> Result<Run, Failure> {
    // Its hash is taken when it is made, so that it is in the page cache.
    let (source, _) = ground.source(Load::File { bytes: HASHED })?;
    let room = ground.room()?;
    let mut offered = passalong(installed, room.path()).offer(&[&source]).await?;
    let seconds = offered.listed().await?.as_secs_f64();
    eprintln!(
        "  {repeat} hashing: {:.0} MB/s",
        HASHED as f64 / 1e6 / seconds
    );
    Ok(Run {
        bytes: HASHED,
        files: 1,
        seconds,
        sender: Some(Cost::between(Used::default(), offered.running.used())),
        ..named(Kind::Hashing, repeat)
    })
}

/// Opens the invite of a file that takes long to hash, and stops at its first
/// byte.
async fn early(installed: &Installed, ground: &Ground, repeat: u32) -> Result<Run, Failure> {
    let room = ground.room()?;
    let source = room.path().join("long.bin");
    Load::Hollow { bytes: LONG }.make(&source)?;
    let passalong = passalong(installed, room.path());
    let mut offered = passalong.offer(&[&source]).await?;
    let [since_start, since_accepting] = passalong.first_byte(&offered).await?;
    let seconds = since_start.as_secs_f64();
    eprintln!("  {repeat} 40 GB still being hashed: first byte after {seconds:.1} s");
    Ok(Run {
        bytes: LONG,
        files: 1,
        seconds,
        first_byte_seconds: Some(since_accepting.as_secs_f64()),
        sender: Some(Cost::between(Used::default(), offered.running.used())),
        ..named(Kind::Early, repeat)
    })
}

/// How idle shares are measured.
#[derive(Clone, Copy, Debug)]
struct Idleness {
    kind: Kind,
    /// How long they are left alone, and looked at.
    settling: Duration,
    looking: Duration,
}

impl Idleness {
    fn of(kind: Kind, args: &args::Here) -> Idleness {
        let (settling, looking) = match kind {
            Kind::IdleInDht => (SETTLING_IN_DHT, IDLING_IN_DHT),
            _ => (SETTLING, IDLING),
        };
        Idleness {
            kind,
            settling: args.settle.unwrap_or(settling),
            looking: args.idle.unwrap_or(looking),
        }
    }
}

/// Offers ten files one after the other, then all of them at once, and looks
/// what that costs while nobody comes.
async fn idle(
    idleness: Idleness,
    installed: &Installed,
    ground: &Ground,
    repeat: u32,
) -> Result<Run, Failure> {
    let room = ground.room()?;
    let mut passalong = passalong(installed, room.path());
    for share in 1..=IDLE_SHARES {
        let path = room.path().join(format!("{share}.bin"));
        Load::File { bytes: MEGABYTE }.make(&path)?;
        let mut offered = passalong.offer(&[&path]).await?;
        offered.listed().await?;
        offered.running.interrupt();
        offered.running.ended().await?;
    }
    let directory = match idleness.kind {
        Kind::IdleInDht => Some(Directory::open().await?),
        _ => None,
    };
    passalong.dht = directory.as_ref().map_or(&[], Directory::doors);
    let mut offered = passalong.offer(&[]).await?;
    tokio::time::sleep(idleness.settling).await;
    let before = offered.running.used();
    tokio::time::sleep(idleness.looking).await;
    let cost = Cost::between(before, offered.running.used());
    let seconds = idleness.looking.as_secs_f64();
    eprintln!(
        "  {repeat} {}: {:.2} % of a core",
        idleness.kind.words(),
        cost.cpu_seconds / seconds * 100.0
    );
    Ok(Run {
        files: IDLE_SHARES as u32,
        seconds,
        sender: Some(cost),
        ..named(idleness.kind, repeat)
    })
}

/// A part that fails does not keep the others from being measured.
fn keep(run: Result<Run, Failure>, results: &mut Results) {
    match run {
        Ok(run) => results.runs.push(run),
        Err(failure) => eprintln!("  {failure}"),
    }
}

fn passalong<'a>(installed: &'a Installed, work: &'a Path) -> Passalong<'a> {
    Passalong {
        program: &installed.passalong,
        ends: &Ends::Here,
        work,
        data_channel_alone: false,
        dht: &[],
    }
}

fn named(load: Kind, repeat: u32) -> Run {
    Run {
        road: loopback().name.to_owned(),
        load,
        program: Program::Passalong.name().to_owned(),
        repeat,
        whole: true,
        ..Run::default()
    }
}
