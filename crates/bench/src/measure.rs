//! One measurement from an empty folder to a [`Run`]: the source made once, the
//! program run, what arrived compared, the folder removed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use passalong_netns::{Failure, Running, Used};
use tempfile::TempDir;

use crate::ends::Ends;
use crate::files::{Load, digest, on_disk};
use crate::iperf;
use crate::passalong::Passalong;
use crate::programs::{Installed, Program};
use crate::results::{Cost, Kind, Run, seconds};
use crate::roads::Road;
use crate::sendme::Sendme;
use crate::transfer::{Side, Transfer};

/// Where files are made and received; gone when dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    dir: TempDir,
    sources: HashMap<String, (PathBuf, blake3::Hash)>,
}

impl Ground {
    /// A temporary folder in `parent`.
    pub(crate) fn new(parent: &Path) -> Result<Ground, Failure> {
        let failed = |error| Failure::io(format!("{} could not be used", parent.display()), error);
        fs::create_dir_all(parent).map_err(failed)?;
        let dir = tempfile::Builder::new()
            .prefix("passalong-bench-")
            .tempdir_in(parent)
            .map_err(failed)?;
        Ok(Ground {
            dir,
            sources: HashMap::new(),
        })
    }

    /// What is sent for `load`, made at the first time, and its hash.
    pub(crate) fn source(&mut self, load: Load) -> Result<(PathBuf, blake3::Hash), Failure> {
        let name = match load {
            Load::File { bytes } | Load::Hollow { bytes } => format!("{bytes}.bin"),
            Load::Small { files, each, .. } => format!("{files}-files-of-{each}"),
        };
        if let Some(source) = self.sources.get(&name) {
            return Ok(source.clone());
        }
        let path = self.dir.path().join(&name);
        load.make(&path)?;
        let source = (path.clone(), digest(&path)?);
        self.sources.insert(name, source.clone());
        Ok(source)
    }

    /// Forgets and removes what was made to be sent.
    pub(crate) fn clear(&mut self) {
        for (_, (path, _)) in self.sources.drain() {
            // What cannot be removed now goes with the folder.
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }

    /// An empty folder for one run.
    pub(crate) fn room(&self) -> Result<TempDir, Failure> {
        let made = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(self.dir.path());
        made.map_err(|error| Failure::io("a folder could not be made", error))
    }
}

/// How a run is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) road: &'a Road,
    pub(crate) kind: Kind,
    pub(crate) load: Load,
    pub(crate) program: Program,
    pub(crate) repeat: u32,
    /// When a hand-over that is not done is ended.
    pub(crate) limit: Duration,
    /// How long TCP sends.
    pub(crate) tcp: Duration,
}

/// Makes a run over a road of its own.
pub(crate) async fn run(
    plan: Plan<'_>,
    installed: &Installed,
    ground: &mut Ground,
) -> Result<Run, Failure> {
    let ends = Ends::of(plan.road, plan.repeat.into())?;
    let mut run = Run {
        road: plan.road.name.to_owned(),
        load: plan.kind,
        program: plan.program.name().to_owned(),
        repeat: plan.repeat,
        files: plan.load.files(),
        ..Run::default()
    };
    match (plan.program, &installed.iperf3) {
        (Program::Cubic | Program::Bbr, Some(iperf3)) => {
            let sent = iperf::send(iperf3, &ends, plan.program, plan.tcp).await?;
            run.bytes = sent.bytes;
            run.seconds = sent.seconds;
            run.whole = true;
            run.sender = Some(Cost::of_processor(sent.sender));
            run.receiver = Some(Cost::of_processor(sent.receiver));
        }
        _ => {
            let (source, hash) = ground.source(plan.load)?;
            let room = ground.room()?;
            let transfer = hand_over(plan, installed, &ends, &source, room.path()).await?;
            let arrived = match source.file_name() {
                Some(name) => transfer.arrived.join(name),
                None => return Err(Failure::Broken("what is sent has no name")),
            };
            run.preparing_seconds = Some(transfer.preparing.as_secs_f64());
            run.first_byte_seconds = seconds(transfer.first_byte);
            run.sender = Some(cost(transfer.sender));
            run.receiver = Some(cost(transfer.receiver));
            match transfer.seconds {
                Some(time) if digest(&arrived)? == hash => {
                    run.whole = true;
                    run.bytes = plan.load.bytes();
                    run.seconds = time.as_secs_f64();
                }
                Some(_) => return Err(Failure::Spoiled(arrived.display().to_string())),
                None => {
                    run.bytes = on_disk(&transfer.arrived).min(plan.load.bytes());
                    run.seconds = plan.limit.as_secs_f64();
                }
            }
        }
    }
    run.on_the_road = ends.close();
    Ok(run)
}

async fn hand_over(
    plan: Plan<'_>,
    installed: &Installed,
    ends: &Ends,
    source: &Path,
    work: &Path,
) -> Result<Transfer, Failure> {
    match (plan.program, &installed.sendme) {
        (Program::Sendme, Some(program)) => {
            let sendme = Sendme {
                program,
                ends,
                work,
            };
            sendme.transfer(source, plan.limit).await
        }
        (Program::Copy, _) => copy(source, work).await,
        (program, _) => {
            let passalong = Passalong {
                program: &installed.passalong,
                ends,
                work,
                data_channel_alone: program == Program::DataChannel,
                dht: &[],
            };
            passalong.transfer(source, plan.limit).await
        }
    }
}

/// Writes the files of `source` with nothing else to do: what the disk takes.
async fn copy(source: &Path, work: &Path) -> Result<Transfer, Failure> {
    let arrived = work.join("arrived");
    fs::create_dir_all(&arrived)
        .map_err(|error| Failure::io("a folder could not be made", error))?;
    let mut command = tokio::process::Command::new("cp");
    command.arg("-r").arg(source).arg(&arrived);
    let mut copying = Running::start("cp", command)?;
    if !copying.ended().await?.success() {
        return Err(copying.failure("it failed"));
    }
    Ok(Transfer {
        seconds: Some(copying.begun().elapsed()),
        arrived,
        preparing: Duration::ZERO,
        first_byte: None,
        sender: Side {
            before: Used::default(),
            after: Used::default(),
        },
        receiver: Side {
            before: Used::default(),
            after: copying.used(),
        },
    })
}

fn cost(side: Side) -> Cost {
    Cost::between(side.before, side.after)
}
