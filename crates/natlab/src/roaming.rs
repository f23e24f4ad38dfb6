//! `roaming`: what happens to the network in the middle of a transfer, and how
//! long nothing comes until the transfer goes on by itself.

use std::time::{Duration, Instant};

use passalong_netns::Failure;
use serde::{Deserialize, Serialize};

use crate::args::Args;
use crate::kinds::{Kind, Pair};
use crate::lab::Lab;
use crate::meeting::{Carrier, Meeting};
use crate::passalong::{Event, Setting};

/// Bytes of the file: enough to be under way for some seconds.
const BYTES: usize = 400_000_000;
/// The part of it that is there when something happens, in hundredths.
const PART: u64 = 10;
/// How long somebody is away: longer than a link outlives silence.
const AWAY: Duration = Duration::from_secs(20);

/// The two sides, as places in a laboratory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    Sharer,
    Fetcher,
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    /// Somebody goes to another network, where they have another address.
    Moves,
    /// Somebody's router starts anew and has another address afterwards.
    RouterRestarts,
    /// Somebody's network is gone for a while.
    Vanishes,
    /// Somebody's computer sleeps for a while: no network, and nothing runs.
    Sleeps,
}

/// What happens to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Story {
    pub(crate) pair: Pair,
    pub(crate) carrier: Carrier,
    pub(crate) who: Who,
    pub(crate) change: Change,
}

/// All stories. By a link, whoever is at its address has to stay there.
pub(crate) fn stories() -> Vec<Story> {
    let by_link = |who, change| Story {
        pair: Pair::Apart(Kind::Open, Kind::PortRestricted),
        carrier: Carrier::Link,
        who,
        change,
    };
    let homes = |who, change| Story {
        pair: Pair::Apart(Kind::PortRestricted, Kind::PortRestricted),
        carrier: Carrier::Dht,
        who,
        change,
    };
    let mut stories = vec![
        by_link(Who::Fetcher, Change::Moves),
        by_link(Who::Fetcher, Change::RouterRestarts),
        by_link(Who::Fetcher, Change::Vanishes),
        by_link(Who::Sharer, Change::Vanishes),
        by_link(Who::Fetcher, Change::Sleeps),
        by_link(Who::Sharer, Change::Sleeps),
    ];
    for change in [
        Change::Moves,
        Change::RouterRestarts,
        Change::Vanishes,
        Change::Sleeps,
    ] {
        stories.extend([Who::Fetcher, Who::Sharer].map(|who| homes(who, change)));
    }
    stories
}

/// What came of a story.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Result {
    pub(crate) story: Story,
    /// Seconds in which nothing came, if the transfer went on and ended well.
    pub(crate) silence: Option<f64>,
    /// What failed.
    pub(crate) failure: Option<String>,
}

impl Result {
    /// Whether the transfer went on and ended well.
    pub(crate) fn is_good(&self) -> bool {
        self.silence.is_some()
    }
}

impl Story {
    /// What it is called in tables.
    pub(crate) fn words(self) -> String {
        let who = match self.who {
            Who::Sharer => "the one who shares",
            Who::Fetcher => "the one who fetches",
        };
        match self.change {
            Change::Moves => format!("{who} goes to another network"),
            Change::RouterRestarts => {
                format!("the router of {who} restarts with another address")
            }
            Change::Vanishes => format!("{who} is gone for {} s", AWAY.as_secs()),
            Change::Sleeps => format!("the computer of {who} sleeps for {} s", AWAY.as_secs()),
        }
    }

    /// A name for files.
    fn file(self) -> String {
        format!(
            "roaming-{:?}-{:?}-{:?}",
            self.carrier, self.who, self.change
        )
        .to_lowercase()
    }

    /// How long nobody could have sent anything.
    fn away(self) -> Duration {
        match self.change {
            Change::Vanishes | Change::Sleeps => AWAY,
            Change::Moves | Change::RouterRestarts => Duration::ZERO,
        }
    }
}

/// Tells every story, one after the other.
pub(crate) async fn run(args: &Args) -> std::result::Result<Vec<Result>, Failure> {
    let setting = Setting {
        program: args.program()?,
        relay: false,
        lan: false,
        logs: args.logs.clone(),
    };
    let mut results = Vec::new();
    for story in stories() {
        let told = tell(story, &setting, args.limit * 2).await;
        let (silence, failure) = match told {
            Ok(silence) => (Some(silence.as_secs_f64()), None),
            Err(failure) => (None, Some(failure.to_string())),
        };
        match (&silence, &failure) {
            (Some(silence), _) => eprintln!("  {}: nothing came for {silence:.1} s", story.words()),
            (None, failure) => eprintln!(
                "  FAILED: {}: {}",
                story.words(),
                failure.as_deref().unwrap_or_default()
            ),
        }
        results.push(Result {
            story,
            silence,
            failure,
        });
    }
    Ok(results)
}

async fn tell(
    story: Story,
    setting: &Setting,
    limit: Duration,
) -> std::result::Result<Duration, Failure> {
    let log = story.file();
    let lab = Lab::build(story.pair, story.carrier, false, None).await?;
    let mut meeting = Meeting::begin(&lab, setting, story.carrier, BYTES, &log).await?;
    let going = going_on(&mut meeting, &lab, story);
    let ended = tokio::time::timeout(limit + story.away(), going).await;
    let silence = ended.unwrap_or_else(|_| {
        let seconds = limit.as_secs();
        let problem = format!("it did not go on within {seconds} s");
        Err(Failure::program("passalong get", problem))
    })?;
    meeting.verify()?;
    Ok(silence)
}

/// Lets the story happen and waits for the end of the transfer; gives the longest
/// time after it in which nothing came.
async fn going_on(
    meeting: &mut Meeting,
    lab: &Lab,
    story: Story,
) -> std::result::Result<Duration, Failure> {
    let part = BYTES as u64 * PART / 100;
    let mut here = meeting
        .get
        .first(|event| match event {
            Event::Progress { bytes } => Some(bytes).filter(|bytes| *bytes >= part),
            _ => None,
        })
        .await?;
    let mut last = Instant::now();
    let mut silence = Duration::ZERO;
    happen(meeting, lab, story).await?;
    loop {
        let (at, event) = meeting.get.event().await?;
        let bytes = match event {
            Event::Progress { bytes } => bytes,
            Event::Complete {} => return Ok(silence),
            _ => continue,
        };
        if bytes < here {
            let problem = "what was there had to be fetched again";
            return Err(Failure::program("passalong get", problem));
        }
        if bytes > here {
            silence = silence.max(at.saturating_duration_since(last));
            (here, last) = (bytes, at);
        }
    }
}

async fn happen(meeting: &Meeting, lab: &Lab, story: Story) -> std::result::Result<(), Failure> {
    let (place, program) = match story.who {
        Who::Sharer => (0, &meeting.share),
        Who::Fetcher => (1, &meeting.get),
    };
    match story.change {
        Change::Moves => lab.move_away(place),
        Change::RouterRestarts => {
            lab.restart_router(place);
            Ok(())
        }
        Change::Vanishes | Change::Sleeps => {
            let sleeps = story.change == Change::Sleeps;
            lab.set_online(place, false);
            if sleeps {
                program.freeze();
            }
            tokio::time::sleep(AWAY).await;
            if sleeps {
                program.thaw();
            }
            lab.set_online(place, true);
            Ok(())
        }
    }
}
