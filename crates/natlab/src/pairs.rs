//! `pairs`, `gateways`, `ipv6` and `kernel`: a meeting for each of their pairs of
//! kinds, some at the same time, and what came of each held against what can be
//! expected.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use passalong_netns::Failure;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::args::{Args, Part};
use crate::kinds::{Kind, Pair};
use crate::lab::Lab;
use crate::meeting::{Carrier, Meeting, Met, READY, within};
use crate::passalong::Setting;

/// Bytes of the file that is handed over.
const BYTES: usize = 3_000_000;

/// Who carries for two who find no way to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Help {
    /// nobody
    None,
    /// a relay (TURN), which both have set
    Relay,
    /// a friend in the share whom both reach, who lacks what is fetched
    Friend,
}

impl Help {
    /// What it is called in tables.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Help::None => "",
            Help::Relay => "relay",
            Help::Friend => "friend",
        }
    }
}

/// A pair, and how it is to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) pair: Pair,
    pub(crate) carrier: Carrier,
    /// Who carries for them where they find no way.
    pub(crate) help: Help,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    pub(crate) cell: Cell,
    /// How they met, if they did.
    pub(crate) met: Option<Met>,
    /// What failed, if they could not even try.
    pub(crate) failure: Option<String>,
}

impl Result {
    /// Whether it is as it has to be: who can meet has met, and through the friend where
    /// that is the only way. Who meets against all expectation is welcome.
    pub(crate) fn is_good(&self) -> bool {
        let Cell { pair, help, .. } = self.cell;
        let needs_friend = help == Help::Friend && !pair.can_meet(false);
        match &self.met {
            Some(met) => !needs_friend || met.route == "carried",
            None => !self.cell.must_meet() && self.failure.is_none(),
        }
    }
}

impl Cell {
    pub(crate) fn must_meet(self) -> bool {
        self.pair.can_meet(self.help != Help::None)
    }

    fn words(self) -> String {
        let help = match self.help {
            Help::None => "",
            Help::Relay => ", with a relay",
            Help::Friend => ", with a friend",
        };
        format!("{}, {}{help}", self.pair.words(), self.carrier.words())
    }

    /// A name for files.
    fn file(self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        self.words().chars().map(plain).collect()
    }
}

/// The cells of a part that `args` asks for.
fn cells(args: &Args, part: Part) -> Vec<Cell> {
    let wanted = |kind: &Kind| args.kinds.is_empty() || args.kinds.contains(kind);
    let pairs = match part {
        Part::Pairs => Pair::all(),
        Part::Gateways => Pair::gateways(),
        Part::Ipv6 => Pair::ipv6(),
        Part::Kernel => Pair::kernel(),
        Part::Roaming | Part::Capture => Vec::new(),
    };
    let pairs = pairs.into_iter().filter(|pair| match pair {
        Pair::Apart(a, b) => wanted(a) && wanted(b),
        _ => args.kinds.is_empty(),
    });
    let mut cells = Vec::new();
    for pair in pairs {
        for carrier in Carrier::ALL {
            let possible = match carrier {
                Carrier::Link => pair.has_open_door(),
                Carrier::LinkAndDht => pair.has_back_door(),
                Carrier::Dht | Carrier::Paste => true,
            };
            let asked = args.carriers.is_empty() || args.carriers.contains(&carrier);
            if possible && asked {
                // With help those are asked again that need it, and with it alone those
                // whom nothing helps. Through a friend knocks travel by themselves.
                let helps: &[Help] = match (args.through, pair.can_meet(false)) {
                    (Some(help), _) => &[help],
                    (None, true) => &[Help::None],
                    (None, false) if !pair.can_meet(true) => &[Help::Relay],
                    (None, false) if carrier == Carrier::Dht => {
                        &[Help::None, Help::Relay, Help::Friend]
                    }
                    (None, false) => &[Help::None, Help::Relay],
                };
                cells.extend(helps.iter().map(|help| Cell {
                    pair,
                    carrier,
                    help: *help,
                }));
            }
        }
    }
    cells
}

/// Lets every pair of a part meet; gives all results in order.
pub(crate) async fn run(args: &Args, part: Part) -> std::result::Result<Vec<Result>, Failure> {
    let program = args.program()?;
    let cells = cells(args, part);
    let together = Arc::new(Semaphore::new(usize::from(args.jobs)));
    let mut meetings = JoinSet::new();
    for (index, cell) in cells.iter().copied().enumerate() {
        let together = Arc::clone(&together);
        let setting = Setting {
            program: program.clone(),
            relay: cell.help == Help::Relay,
            lan: false,
            logs: args.logs.clone(),
        };
        let limit = match cell.must_meet() {
            true => args.limit,
            false => args.hopeless,
        };
        meetings.spawn(async move {
            let _turn = together.acquire().await;
            let result = one(cell, &setting, limit).await;
            eprintln!("  {}", said(&result));
            (index, result)
        });
    }
    let mut results = meetings.join_all().await;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// What is said of a result while others go on.
fn said(result: &Result) -> String {
    let mark = if result.is_good() { "" } else { "FAILED: " };
    let words = result.cell.words();
    match (&result.met, &result.failure) {
        (Some(met), _) => format!(
            "{mark}{words}: {} after {:.1} s, all there after {:.1} s",
            met.route, met.connected, met.whole
        ),
        (None, Some(failure)) => format!("{mark}{words}: {failure}"),
        (None, None) => format!("{mark}{words}: not met"),
    }
}

async fn one(cell: Cell, setting: &Setting, limit: Duration) -> Result {
    let outcome = meet(cell, setting, limit).await;
    let (met, failure) = match outcome {
        Ok(met) => (met, None),
        Err(failure) => (None, Some(failure.to_string())),
    };
    Result { cell, met, failure }
}

async fn meet(
    cell: Cell,
    setting: &Setting,
    limit: Duration,
) -> std::result::Result<Option<Met>, Failure> {
    let log = cell.file();
    let logs = setting.logs.as_deref();
    let capture = logs.map(|logs: &Path| logs.join(format!("{log}.pcap")));
    let friend = cell.help == Help::Friend;
    let mut lab = Lab::build(cell.pair, cell.carrier, friend, capture.as_deref()).await?;
    let mut meeting = Meeting::begin(&lab, setting, cell.carrier, BYTES, &log).await?;
    let met = meeting.met(limit).await?;
    // What a router answers tells nothing where nobody asks it.
    for router in lab
        .places
        .iter_mut()
        .filter_map(|place| place.router.as_mut())
    {
        within(READY, "its router anything to answer", router.asked()).await?;
    }
    Ok(met)
}
