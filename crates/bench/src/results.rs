//! What was measured, as it is written to a file of JSON and read again, and
//! the medians that tables and plots show.

use std::fs;
use std::path::Path;
use std::time::Duration;

use passalong_netns::{Failure, Used};
use serde::{Deserialize, Serialize};

/// Everything that one command has measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Results {
    /// Where it was measured.
    pub(crate) machine: Machine,
    /// The programs that took part, with their versions.
    pub(crate) programs: Vec<String>,
    /// In the order in which they were made.
    pub(crate) runs: Vec<Run>,
}

/// The computer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
}

/// One measurement. What does not apply is absent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Run {
    /// The name of a road.
    pub(crate) road: String,
    /// What was done.
    pub(crate) load: Kind,
    /// Who did it.
    pub(crate) program: String,
    /// From 1.
    pub(crate) repeat: u32,
    /// Bytes that arrived.
    pub(crate) bytes: u64,
    /// Files of the share.
    pub(crate) files: u32,
    /// Between starting the receiver and the last byte on its disk; with
    /// [`Kind::Hashing`] until the list was there, with [`Kind::Early`] until
    /// the first byte.
    pub(crate) seconds: f64,
    /// Whether everything arrived and was found to be what was sent. If not,
    /// the run was ended at the limit of time.
    pub(crate) whole: bool,
    /// Until the sender was ready: hashing, and for some copying.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preparing_seconds: Option<f64>,
    /// From accepting to the first byte that was verified; a tenth of a second
    /// is the step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_byte_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sender: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receiver: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_the_road: Option<OnTheRoad>,
}

/// What a run does.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// One file from disk to disk.
    #[default]
    File,
    /// 10,000 files from disk to disk.
    SmallFiles,
    /// 100,000 files from disk to disk.
    ManyFiles,
    /// One file hashed and offered, sent to nobody.
    Hashing,
    /// A file of 40 GB opened while it is being hashed, until its first byte.
    Early,
    /// Ten shares that nobody fetches; processor time is that of the sender.
    Idle,
    /// The same, in a DHT where they can be found.
    IdleInDht,
}

impl Kind {
    /// For headings.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Kind::File => "one file",
            Kind::SmallFiles => "10,000 files of 4 KB",
            Kind::ManyFiles => "100,000 files of 4 KB",
            Kind::Hashing => "hashing",
            Kind::Early => "40 GB still being hashed",
            Kind::Idle => "ten idle shares",
            Kind::IdleInDht => "ten idle shares in the DHT",
        }
    }
}

/// What one side took.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Cost {
    /// Processor time while files were on their way.
    pub(crate) cpu_seconds: f64,
    /// The most memory it held, from its start to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peak_bytes: Option<u64>,
}

/// What the road did, both directions together.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct OnTheRoad {
    /// Processor time that it took of the computer.
    pub(crate) cpu_seconds: f64,
    /// Packets that came to the other end.
    pub(crate) arrived: u64,
    /// Packets lost by chance.
    pub(crate) lost: u64,
    /// Packets that met a full queue.
    pub(crate) dropped: u64,
}

impl Cost {
    /// What was taken between two looks.
    pub(crate) fn between(before: Used, after: Used) -> Cost {
        Cost {
            cpu_seconds: after.cpu.saturating_sub(before.cpu).as_secs_f64(),
            peak_bytes: Some(after.peak),
        }
    }

    /// Of a program whose memory does not matter.
    pub(crate) fn of_processor(time: Duration) -> Cost {
        Cost {
            cpu_seconds: time.as_secs_f64(),
            peak_bytes: None,
        }
    }
}

impl Results {
    /// Nothing yet, on this computer.
    pub(crate) fn here(programs: Vec<String>) -> Results {
        Results {
            machine: Machine::here(),
            programs,
            runs: Vec::new(),
        }
    }

    /// Reads what [`Results::write`] wrote.
    pub(crate) fn read(path: &Path) -> Result<Results, Failure> {
        let failed = |error| Failure::io(format!("{} could not be read", path.display()), error);
        let text = fs::read_to_string(path).map_err(failed)?;
        serde_json::from_str(&text).map_err(|error| failed(error.into()))
    }

    /// Writes all of it to a file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let failed = |error| Failure::io(format!("{} could not be written", path.display()), error);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        text.push('\n');
        fs::write(path, text).map_err(failed)
    }

    /// The runs of the same road, load and program together. Roads and programs
    /// are in the order of their first ones.
    pub(crate) fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for run in &self.runs {
            let same = |group: &&mut Group<'_>| {
                let first = group.first();
                first.road == run.road && first.load == run.load && first.program == run.program
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.more.push(run),
                None => groups.push(Group {
                    first: run,
                    more: Vec::new(),
                }),
            }
        }
        let place = |group: &Group<'_>| {
            let road = self
                .runs
                .iter()
                .position(|run| run.road == group.first.road);
            (road, group.first.load)
        };
        groups.sort_by_key(place);
        groups
    }
}

impl Machine {
    fn here() -> Machine {
        let told = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory = field(&told("/proc/meminfo"), "MemTotal");
        let kibibytes: u64 = memory
            .strip_suffix(" kB")
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        let system = rustix::system::uname();
        Machine {
            processor: field(&told("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes * 1024,
            kernel: format!(
                "{} {}",
                system.sysname().to_string_lossy(),
                system.release().to_string_lossy()
            ),
        }
    }
}

/// Repeats of the same measurement.
#[derive(Clone, Debug)]
pub(crate) struct Group<'a> {
    first: &'a Run,
    more: Vec<&'a Run>,
}

impl Group<'_> {
    /// One of them, for what is the same in all.
    pub(crate) fn first(&self) -> &Run {
        self.first
    }

    /// How many there are.
    pub(crate) fn repeats(&self) -> usize {
        1 + self.more.len()
    }

    /// Whether all of them were finished.
    pub(crate) fn whole(&self) -> bool {
        self.runs().all(|run| run.whole)
    }

    /// Bytes a second.
    pub(crate) fn rate(&self) -> Option<Spread> {
        self.spread(|run| (run.seconds > 0.0).then(|| run.bytes as f64 / run.seconds))
    }

    /// The median and the ends of what `of` tells of each run that has it.
    pub(crate) fn spread(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.runs().filter_map(of).collect())
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        std::iter::once(self.first).chain(self.more.iter().copied())
    }
}

/// A median with the smallest and the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Some(Spread {
            median,
            least,
            most,
        })
    }
}

/// Seconds, or nothing.
pub(crate) fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &str, seconds: f64) -> Run {
        Run {
            road: "wan".to_owned(),
            program: program.to_owned(),
            bytes: 1000,
            files: 1,
            seconds,
            whole: seconds < 10.0,
            ..Run::default()
        }
    }

    #[test]
    fn repeats_are_grouped_and_their_median_lies_between_the_ends() {
        let results = Results {
            runs: vec![
                run("a", 1.0),
                run("b", 2.0),
                run("a", 4.0),
                run("a", 10.0),
                run("b", 1.0),
            ],
            ..Results::default()
        };
        let groups = results.groups();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].repeats(), 3);
        assert!(!groups[0].whole());
        let spread = |least, median, most| {
            Some(Spread {
                median,
                least,
                most,
            })
        };
        assert_eq!(groups[0].rate(), spread(100.0, 250.0, 1000.0));
        assert_eq!(groups[1].rate(), spread(500.0, 750.0, 1000.0));
        assert_eq!(groups[1].spread(|run| run.first_byte_seconds), None);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("below/results.json");
        let mut results = Results::here(vec!["passalong 1".to_owned()]);
        results.runs.push(run("a", 1.5));
        results.runs[0].load = Kind::SmallFiles;
        results.write(&path).expect("written");
        let again = Results::read(&path).expect("read");
        assert_eq!(format!("{results:?}"), format!("{again:?}"));
        assert!(again.machine.cores > 0);
    }

    #[test]
    fn results_from_before_there_was_a_dht_to_be_idle_in_are_read() {
        let text = r#"{
            "machine": { "processor": "p", "cores": 2, "memory_bytes": 1, "kernel": "k" },
            "programs": [],
            "runs": [{
                "road": "loopback", "load": "idle", "program": "passalong", "repeat": 1,
                "bytes": 0, "files": 10, "seconds": 30.0, "whole": true,
                "sender": { "cpu_seconds": 0.03, "peak_bytes": 20000000 }
            }]
        }"#;
        let results: Results = serde_json::from_str(text).expect("read");
        assert_eq!(results.runs[0].load, Kind::Idle);
        let new = serde_json::to_string(&Kind::IdleInDht).expect("written");
        assert_eq!(new, "\"idle-in-dht\"");
    }
}
