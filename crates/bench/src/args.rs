//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Options, Parser, Subcommand};

use crate::programs::Program;
use crate::roads::Road;

/// Measures the passalong command from outside.
#[derive(Debug, Parser)]
#[command(name = "passalong-bench", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Over emulated roads, beside TCP and sendme; needs root, iperf3 and ip
    Roads(Roads),
    /// On this computer alone: loopback, small files, hashing, idle shares
    Here(Here),
    /// Open one road between two network namespaces until Ctrl-C; needs root
    Road {
        /// Which road
        #[arg(value_parser = emulated)]
        road: Road,
        /// Decides which packets are lost
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write the tables and plots of a page of documentation from results
    Page(Page),
}

/// Of both measurements.
#[derive(Debug, Options)]
pub(crate) struct Common {
    /// Repeats of each measurement
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) repeats: u32,

    /// Megabytes of the one file, instead of what suits each road
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) size: Option<u64>,

    /// Measure these only, separated by commas
    #[arg(long, value_name = "PROGRAM", value_enum, value_delimiter = ',')]
    pub(crate) programs: Vec<Program>,

    /// End a run that is not done by then
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = whole_seconds)]
    pub(crate) limit: Duration,

    /// Write the results here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Make and receive files in a temporary folder here
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub(crate) dir: PathBuf,

    /// The passalong to measure; by default the one built beside this program
    #[arg(long, value_name = "PATH", env = "PASSALONG")]
    pub(crate) passalong: Option<PathBuf>,

    /// The sendme to compare with; by default that on PATH, if any
    #[arg(long, value_name = "PATH", env = "SENDME")]
    pub(crate) sendme: Option<PathBuf>,
}

#[derive(Debug, Options)]
pub(crate) struct Roads {
    /// These roads only, separated by commas: loopback, lan, city, wan, far
    #[arg(long, value_name = "ROAD", value_delimiter = ',', value_parser = road)]
    pub(crate) roads: Vec<Road>,

    /// Seconds that TCP sends
    #[arg(long, value_name = "SECONDS", default_value = "12", value_parser = whole_seconds)]
    pub(crate) tcp: Duration,

    /// Leave out the small files
    #[arg(long)]
    pub(crate) no_small: bool,

    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Options)]
pub(crate) struct Here {
    /// These parts only, separated by commas
    #[arg(long, value_name = "PART", value_enum, value_delimiter = ',')]
    pub(crate) parts: Vec<Part>,

    /// Leave idle shares alone for this long before they are looked at [default: 5, with the DHT 30]
    #[arg(long, value_name = "SECONDS", value_parser = whole_seconds)]
    pub(crate) settle: Option<Duration>,

    /// Look at idle shares for this long [default: 30, with the DHT 120]
    #[arg(long, value_name = "SECONDS", value_parser = whole_seconds)]
    pub(crate) idle: Option<Duration>,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// What is measured on this computer alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// One file over the loopback
    File,
    /// 10,000 files of 4 KB in 100 folders
    Small,
    /// 100,000 files of 4 KB in 1000 folders
    Many,
    /// A file of 4 GB until it is offered
    Hashing,
    /// A file of 40 GB (of zeros, but the receiver needs that much free disk) that is opened while
    /// it is being hashed, until its first byte
    Early,
    /// Ten shares that nobody fetches, without the DHT and with it
    Idle,
}

#[derive(Debug, Options)]
pub(crate) struct Page {
    /// Results of `roads`
    #[arg(long, value_name = "FILE", default_value = "target/bench/roads.json")]
    pub(crate) roads: PathBuf,

    /// Results of `here`
    #[arg(long, value_name = "FILE", default_value = "target/bench/here.json")]
    pub(crate) here: PathBuf,

    /// The page; what is between its marks is replaced
    #[arg(long, value_name = "FILE", default_value = "docs/benchmarks.md")]
    pub(crate) page: PathBuf,

    /// Where its plots go
    #[arg(long, value_name = "DIR", default_value = "docs/pictures")]
    pub(crate) pictures: PathBuf,
}

fn road(name: &str) -> Result<Road, String> {
    Road::named(name).ok_or_else(|| "the roads are loopback, lan, city, wan and far".to_owned())
}

fn emulated(name: &str) -> Result<Road, String> {
    let road = road(name)?;
    match road.quality {
        Some(_) => Ok(road),
        None => Err("the loopback is there already".to_owned()),
    }
}

fn whole_seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("a number of seconds, from 1 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn roads_and_programs_are_chosen_by_name() {
        let line = "x roads --roads wan,far --programs passalong,bbr --limit 60 --size 5";
        let args = Args::try_parse_from(line.split(' ')).expect("understood");
        let Command::Roads(roads) = args.command else {
            panic!("not the roads");
        };
        let names: Vec<&str> = roads.roads.iter().map(|road| road.name).collect();
        assert_eq!(names, ["wan", "far"]);
        assert_eq!(roads.common.programs, [Program::Passalong, Program::Bbr]);
        assert_eq!(roads.common.limit, Duration::from_secs(60));
        assert!(Args::try_parse_from(["x", "road", "loopback"]).is_err());
        assert!(Args::try_parse_from(["x", "roads", "--roads", "moon"]).is_err());
        assert!(Args::try_parse_from(["x", "roads", "--limit", "0"]).is_err());
    }
}
