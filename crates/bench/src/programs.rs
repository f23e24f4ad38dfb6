//! The programs that are compared, found on this computer.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use passalong_netns::{Failure, on_path};

/// Who carries bytes in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Program {
    /// passalong as it is
    Passalong,
    /// passalong with the data channel alone
    DataChannel,
    /// sendme, if it is installed
    Sendme,
    /// TCP with CUBIC, by iperf3
    Cubic,
    /// TCP with BBR, by iperf3
    Bbr,
}

impl Program {
    /// What it is called in results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Program::Passalong => "passalong",
            Program::DataChannel => "passalong, data channel alone",
            Program::Sendme => "sendme",
            Program::Cubic => "TCP cubic",
            Program::Bbr => "TCP BBR",
        }
    }

    /// Whether it carries files, not just bytes.
    pub(crate) fn carries_files(self) -> bool {
        !matches!(self, Program::Cubic | Program::Bbr)
    }
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Installed {
    pub(crate) passalong: PathBuf,
    /// Whether it can be held to the data channel.
    pub(crate) lanes: bool,
    pub(crate) sendme: Option<PathBuf>,
    pub(crate) iperf3: Option<PathBuf>,
}

impl Installed {
    /// Looks for them; `passalong` and `sendme` if given are taken as they are.
    pub(crate) fn find(
        passalong: Option<PathBuf>,
        sendme: Option<PathBuf>,
    ) -> Result<Installed, Failure> {
        let built = || {
            let beside = std::env::current_exe().ok()?.with_file_name("passalong");
            beside.is_file().then_some(beside)
        };
        let passalong = passalong.or_else(built).ok_or_else(|| {
            Failure::Missing(
                "passalong is missing: cargo build --release -p passalong-cli builds it".to_owned(),
            )
        })?;
        if version(&passalong, &[]).is_none() {
            let problem = "it does not tell its version";
            return Err(Failure::program(&passalong.to_string_lossy(), problem));
        }
        Ok(Installed {
            lanes: version(&passalong, &["--no-quic"]).is_some(),
            sendme: sendme.or_else(|| on_path("sendme")),
            iperf3: on_path("iperf3"),
            passalong,
        })
    }

    /// Whether `program` can be run.
    pub(crate) fn has(&self, program: Program) -> bool {
        match program {
            Program::Passalong => true,
            Program::DataChannel => self.lanes,
            Program::Sendme => self.sendme.is_some(),
            Program::Cubic | Program::Bbr => self.iperf3.is_some() && tcp_has(program),
        }
    }

    /// Whether `program` takes each lost packet for a full road.
    pub(crate) fn is_slowed_by_losses(&self, program: Program) -> bool {
        match program {
            Program::Passalong => !self.lanes,
            Program::DataChannel | Program::Sendme => true,
            Program::Cubic | Program::Bbr => false,
        }
    }

    /// What to do about `program` if it cannot be run.
    pub(crate) fn missing(&self, program: Program) -> &'static str {
        match program {
            Program::Passalong => "passalong is not built",
            Program::DataChannel => "this passalong has no --no-quic: it has one lane",
            Program::Sendme => "sendme is not installed: cargo install sendme, or SENDME=PATH",
            Program::Cubic | Program::Bbr if self.iperf3.is_none() => {
                "iperf3 is not installed: apt-get install iperf3"
            }
            Program::Cubic => "this kernel's TCP has no cubic",
            Program::Bbr => "this kernel's TCP has no bbr: modprobe tcp_bbr",
        }
    }

    /// All versions, for the results.
    pub(crate) fn versions(&self) -> Vec<String> {
        [
            Some(&self.passalong),
            self.sendme.as_ref(),
            self.iperf3.as_ref(),
        ]
        .into_iter()
        .flatten()
        .filter_map(|path| version(path, &[]))
        .collect()
    }
}

/// The first line that `program --version` prints, if it succeeds.
fn version(program: &Path, options: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(options)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().next()?.trim().to_owned();
    output.status.success().then_some(first)
}

fn tcp_has(program: Program) -> bool {
    let file = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let available = std::fs::read_to_string(file).unwrap_or_default();
    let wanted = match program {
        Program::Bbr => "bbr",
        _ => "cubic",
    };
    available.split_whitespace().any(|name| name == wanted)
}
