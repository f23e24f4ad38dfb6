//! The command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use passalong_netns::Failure;

use crate::kernel;
use crate::kinds::Kind;
use crate::meeting::Carrier;
use crate::pairs::Help;

/// Lets passalong meet itself behind every kind of router. Needs root, ip
/// (iproute2) and coturn; where they are missing it says so and ends well.
#[derive(Debug, Parser)]
#[command(name = "passalong-natlab", version)]
pub(crate) struct Args {
    /// Only these parts, separated by commas
    #[arg(long, value_name = "PART", value_enum, value_delimiter = ',')]
    pub(crate) parts: Vec<Part>,

    /// Only pairs of these kinds, separated by commas
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',')]
    pub(crate) kinds: Vec<Kind>,

    /// Only by these carriers, separated by commas
    #[arg(long, value_name = "CARRIER", value_enum, value_delimiter = ',')]
    pub(crate) carriers: Vec<Carrier>,

    /// Who carries for all pairs; otherwise those who need it meet with each kind of
    /// help, too, and those whom nothing helps only with a relay
    #[arg(long, value_name = "WHO", value_enum)]
    pub(crate) through: Option<Help>,

    /// Meetings at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) jobs: u8,

    /// Give a pair that must meet this long, and a transfer that is disturbed twice
    /// as long
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) limit: Duration,

    /// Give a pair that cannot meet this long to surprise
    #[arg(long, value_name = "SECONDS", default_value = "25", value_parser = seconds)]
    pub(crate) hopeless: Duration,

    /// The passalong that meets itself, instead of the one beside this program
    #[arg(long, value_name = "FILE", env = "PASSALONG")]
    program: Option<PathBuf>,

    /// Put full logs and captured packets into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) logs: Option<PathBuf>,

    /// Be the nodes of a DHT, in the namespace that has their addresses
    #[arg(long, hide = true)]
    pub(crate) be_a_dht: bool,

    /// Be the gateway with this address that answers nonsense, in its namespace
    #[arg(long, value_name = "IP", hide = true)]
    pub(crate) be_nonsense: Option<Ipv4Addr>,

    /// Write the tables into this page
    #[arg(long, value_name = "FILE")]
    pub(crate) page: Option<PathBuf>,
}

/// What can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// a meeting for each pair of kinds
    Pairs,
    /// routers that are asked to open ports, by UPnP, PCP and NAT-PMP
    Gateways,
    /// places that have IPv6, too
    Ipv6,
    /// the kernel's own translation
    Kernel,
    /// networks that change in the middle of a transfer
    Roaming,
    /// what can be read on the wires of a meeting
    Capture,
}

impl Part {
    /// Those that are tables of meetings.
    pub(crate) const MEETINGS: [Part; 4] = [Part::Pairs, Part::Gateways, Part::Ipv6, Part::Kernel];

    /// What is said when it begins.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Part::Pairs => "Pairs",
            Part::Gateways => "Gateways",
            Part::Ipv6 => "IPv6",
            Part::Kernel => "The kernel's translation",
            Part::Roaming => "Roaming",
            Part::Capture => "Capture",
        }
    }

    /// The name of its table in a page.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Part::Pairs => "pairs",
            Part::Gateways => "gateways",
            Part::Ipv6 => "ipv6",
            Part::Kernel => "kernel",
            Part::Roaming => "roaming",
            Part::Capture => "capture",
        }
    }

    /// Says what this part needs beside what all need, if it is missing.
    pub(crate) fn able(self) -> Result<(), Failure> {
        match self {
            Part::Gateways => kernel::able_to_translate().and_then(|()| kernel::able_to_open()),
            Part::Kernel => kernel::able_to_translate(),
            Part::Pairs | Part::Ipv6 | Part::Roaming | Part::Capture => Ok(()),
        }
    }
}

impl Args {
    /// Whether it was started by a laboratory, as something in it.
    pub(crate) fn is_part_of_a_laboratory(&self) -> bool {
        self.be_a_dht || self.be_nonsense.is_some()
    }

    /// Whether a part is asked for.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }

    /// Where passalong is.
    pub(crate) fn program(&self) -> Result<PathBuf, Failure> {
        let beside = || Some(std::env::current_exe().ok()?.with_file_name("passalong"));
        let program = self.program.clone().or_else(beside);
        program.filter(|path| path.is_file()).ok_or_else(|| {
            let text = "passalong is missing: cargo build -p passalong-cli builds it";
            Failure::Missing(text.to_owned())
        })
    }
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
