//! One meeting: somebody shares a file, somebody else fetches it, by one carrier;
//! what arrived is compared with what was sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use passalong_netns::Failure;
use passalong_proto::invite::Invite;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::lab::Lab;
use crate::passalong::{Event, Setting, Side, Talking};

/// The file that is handed over.
pub(crate) const FILE: &str = "holiday-pictures.bin";
/// What a friend who helps has of it.
const NOTE: &str = "note.txt";
/// How long the one who shares may take to have an invite, and either one to ask its
/// router.
pub(crate) const READY: Duration = Duration::from_secs(30);

/// How the knock and its answer travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Carrier {
    /// to the address in the link
    Link,
    /// to addresses in the link that lead nowhere, and through the DHT
    LinkAndDht,
    /// by reply and answer codes, carried by hand
    Paste,
    /// through the DHT, with nothing but the code
    Dht,
}

impl Carrier {
    /// All of them, in the order of tables.
    pub(crate) const ALL: [Carrier; 4] = [
        Carrier::Dht,
        Carrier::Link,
        Carrier::LinkAndDht,
        Carrier::Paste,
    ];

    /// What it is called in tables.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Carrier::Link => "link",
            Carrier::LinkAndDht => "link, DHT",
            Carrier::Paste => "reply code",
            Carrier::Dht => "DHT",
        }
    }

    /// Whether there is a DHT.
    pub(crate) fn has_dht(self) -> bool {
        matches!(self, Carrier::Dht | Carrier::LinkAndDht)
    }
}

/// How two met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Met {
    /// The route, as the one who fetches tells it.
    pub(crate) route: String,
    /// Seconds from the start of the one who fetches until they were connected.
    pub(crate) connected: f64,
    /// The same until the file was there.
    pub(crate) whole: f64,
}

/// Two sides with a share between them, both running.
#[derive(Debug)]
pub(crate) struct Meeting {
    pub(crate) share: Talking,
    _friend: Option<Talking>,
    pub(crate) get: Talking,
    pub(crate) invite: Invite,
    source: PathBuf,
    to: PathBuf,
    folder: TempDir,
}

impl Meeting {
    /// Starts both sides in `lab` with a file of `bytes`, and carries codes between
    /// them if that is the carrier. Gives up with the codes after a while.
    pub(crate) async fn begin(
        lab: &Lab,
        setting: &Setting,
        carrier: Carrier,
        bytes: usize,
        log: &str,
    ) -> Result<Meeting, Failure> {
        let failed = |error| Failure::io("a folder could not be made", error);
        let folder = tempfile::Builder::new()
            .prefix("passalong-natlab-")
            .tempdir()
            .map_err(failed)?;
        let source = folder.path().join(FILE);
        fs::write(&source, content(bytes)).map_err(failed)?;
        let dht = carrier.has_dht();
        let side = |index: usize, mark: &str| Side {
            setting,
            dht,
            place: &lab.places[index],
            folder: folder.path().join(mark),
            log: format!("{log}-{mark}"),
        };
        let (sharer, fetcher) = (side(0, "share"), side(1, "get"));
        for side in [&sharer, &fetcher] {
            fs::create_dir(&side.folder).map_err(failed)?;
        }
        let to = fetcher.folder.join("arrived");
        let by_hand = carrier == Carrier::Paste;
        let mut offered = vec![source.clone()];
        if lab.friend.is_some() {
            let note = folder.path().join(NOTE);
            fs::write(&note, NOTE).map_err(failed)?;
            offered.push(note);
        }
        let mut share = sharer.share(&offered, by_hand)?;
        let mut link = within(READY, "an invite", share.first(link)).await?;
        // It is told at once, and again when the router has opened a port.
        let router = lab.places[0].router.as_ref();
        let opened = match router.filter(|_| carrier == Carrier::Link) {
            Some(router) => Some(within(READY, "an open port", router.opened()).await?),
            None => None,
        };
        let leads_in = |link: &str| match (opened, Invite::parse(link)) {
            (Some(opened), Ok(invite)) => invite.addresses.contains(&opened.into()),
            (opened, _) => opened.is_none(),
        };
        let mut is_listed = false;
        let ready = async {
            while !(is_listed && leads_in(&link)) {
                match share.event().await?.1 {
                    Event::Invite { link: newer } => link = newer,
                    Event::Manifest {} => is_listed = true,
                    _ => {}
                }
            }
            Ok(())
        };
        within(READY, "the list, and a link with its open port", ready).await?;
        let invite =
            Invite::parse(&link).map_err(|_| Failure::Broken("the link of an invite is one"))?;
        let shown = match carrier {
            Carrier::Link | Carrier::LinkAndDht => invite.link(),
            Carrier::Paste | Carrier::Dht => invite.code(),
        };
        let friend = match &lab.friend {
            Some(place) => {
                let friend = Side {
                    setting,
                    dht,
                    place,
                    folder: folder.path().join("friend"),
                    log: format!("{log}-friend"),
                };
                fs::create_dir(&friend.folder).map_err(failed)?;
                let mut friend = friend.befriend(&shown, &folder.path().join("note"), NOTE)?;
                within(READY, "the friend's part", friend.first(complete)).await?;
                Some(friend)
            }
            None => None,
        };
        let mut get = fetcher.get(&shown, &to, by_hand)?;
        if by_hand {
            let reply = within(READY, "a reply code", get.first(reply)).await?;
            share.tell(&reply).await?;
            let answer = within(READY, "an answer code", share.first(answer)).await?;
            get.tell(&answer).await?;
        }
        Ok(Meeting {
            share,
            _friend: friend,
            get,
            invite,
            source,
            to,
            folder,
        })
    }

    /// Waits until they have met and the file is there; `None` if that does not
    /// happen before `limit` is over, counted from the start of the fetching side.
    pub(crate) async fn met(&mut self, limit: Duration) -> Result<Option<Met>, Failure> {
        let begun = self.get.begun();
        let mut connected = None;
        let whole = async {
            loop {
                match self.get.event().await? {
                    (at, Event::Peer { route: Some(route) }) => {
                        let first = connected.take().map_or(at, |(_, first)| first);
                        connected = Some((route, first));
                    }
                    (at, Event::Complete {}) => return Ok::<Instant, Failure>(at),
                    _ => {}
                }
            }
        };
        let left = limit.saturating_sub(begun.elapsed());
        let Ok(whole) = tokio::time::timeout(left, whole).await else {
            return Ok(None);
        };
        let whole = whole?;
        self.verify()?;
        let (route, first) = connected.ok_or(Failure::Broken("files come from somebody"))?;
        Ok(Some(Met {
            route,
            connected: (first - begun).as_secs_f64(),
            whole: (whole - begun).as_secs_f64(),
        }))
    }

    /// Compares what arrived with what was sent.
    pub(crate) fn verify(&self) -> Result<(), Failure> {
        let read = |path: &Path| {
            let content = fs::read(path);
            content.map_err(|error| Failure::io(path.display().to_string(), error))
        };
        match read(&self.source)? == read(&self.to.join(FILE))? {
            true => Ok(()),
            false => Err(Failure::Spoiled(FILE.to_owned())),
        }
    }

    /// The data folder of a side, `share` or `get`.
    pub(crate) fn data(&self, side: &str) -> PathBuf {
        self.folder.path().join(side).join("data")
    }
}

/// What an event tells, if it is one of its kind.
fn link(event: Event) -> Option<String> {
    match event {
        Event::Invite { link } => Some(link),
        _ => None,
    }
}

fn complete(event: Event) -> Option<()> {
    matches!(event, Event::Complete {}).then_some(())
}

fn reply(event: Event) -> Option<String> {
    match event {
        Event::Reply { code } => Some(code),
        _ => None,
    }
}

fn answer(event: Event) -> Option<String> {
    match event {
        Event::Answer { code } => Some(code),
        _ => None,
    }
}

/// Waits for `what`, as long as `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    wanted: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let found = tokio::time::timeout(limit, wanted).await;
    found.unwrap_or_else(|_| {
        let seconds = limit.as_secs();
        let problem = format!("it did not give {what} within {seconds} s");
        Err(Failure::program("passalong", problem))
    })
}

/// A file's content, which no part of repeats.
pub(crate) fn content(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}
