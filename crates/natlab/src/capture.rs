//! `capture`: whole meetings with everything captured that either host sends, and
//! the search in it for names, files, keys and the invite.
//!
//! A search that finds nothing proves nothing by itself, so the same secrets are
//! planted on the same wires afterwards, in every form, and have to be found.

use std::fs;
use std::path::Path;
use std::time::Duration;

use passalong_netns::{Failure, Running};
use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::{DeviceKey, ShareKey};
use rusqlite::{Connection, OpenFlags};

use crate::args::Args;
use crate::kinds::{Kind, Pair};
use crate::lab::{Lab, SERVERS};
use crate::meeting::{Carrier, FILE, Meeting, content};
use crate::passalong::Setting;
use crate::secrets::{Secret, found};

/// Bytes of the file that is handed over.
const BYTES: usize = 3_000_000;
/// The part of a file that is looked for.
const PIECE: usize = 32;
/// How long planting may take.
const PLANTING: Duration = Duration::from_secs(30);
/// The port of the discard service (RFC 863).
const DISCARD: u16 = 9;

/// What is captured.
#[derive(Clone, Copy, Debug)]
struct Story {
    words: &'static str,
    pair: Pair,
    carrier: Carrier,
    lan: bool,
    relay: bool,
}

const STORIES: [Story; 5] = [
    Story {
        words: "by the code alone through the DHT, through two routers",
        pair: Pair::Apart(Kind::PortRestricted, Kind::PortRestricted),
        carrier: Carrier::Dht,
        lan: false,
        relay: false,
    },
    Story {
        words: "by a link, across the internet",
        pair: Pair::Apart(Kind::Open, Kind::PortRestricted),
        carrier: Carrier::Link,
        lan: false,
        relay: false,
    },
    Story {
        words: "by reply codes, through two routers",
        pair: Pair::Apart(Kind::PortRestricted, Kind::PortRestricted),
        carrier: Carrier::Paste,
        lan: false,
        relay: false,
    },
    Story {
        words: "by reply codes, through a relay",
        pair: Pair::Apart(Kind::EndpointDependent, Kind::EndpointDependent),
        carrier: Carrier::Paste,
        lan: false,
        relay: true,
    },
    Story {
        words: "in one network that is announced to",
        pair: Pair::OneNetwork,
        carrier: Carrier::Link,
        lan: true,
        relay: false,
    },
];

/// What came of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Result {
    pub(crate) words: &'static str,
    /// Bytes that were captured, and how many forms of secrets were looked for.
    pub(crate) searched: Option<(usize, usize)>,
    /// What went wrong, or could be read.
    pub(crate) failure: Option<String>,
}

impl Result {
    /// Whether nothing could be read that was looked for well.
    pub(crate) fn is_good(&self) -> bool {
        self.failure.is_none()
    }
}

/// Captures every kind of meeting, one after the other.
pub(crate) async fn run(args: &Args) -> std::result::Result<Vec<Result>, Failure> {
    let mut results = Vec::new();
    for story in STORIES {
        let setting = Setting {
            program: args.program()?,
            relay: story.relay,
            lan: story.lan,
            logs: args.logs.clone(),
        };
        let result = match look(story, &setting, args.limit).await {
            Ok(searched) => Result {
                words: story.words,
                searched: Some(searched),
                failure: None,
            },
            Err(failure) => Result {
                words: story.words,
                searched: None,
                failure: Some(failure.to_string()),
            },
        };
        match &result.failure {
            None => eprintln!("  {}: nothing can be read", story.words),
            Some(failure) => eprintln!("  FAILED: {}: {failure}", story.words),
        }
        results.push(result);
    }
    Ok(results)
}

/// Captures one meeting; gives the bytes captured and the forms looked for.
async fn look(
    story: Story,
    setting: &Setting,
    limit: Duration,
) -> std::result::Result<(usize, usize), Failure> {
    let failed = |error| Failure::io("a folder could not be made", error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let capture = folder.path().join("meeting.pcap");
    let lab = Lab::build(story.pair, story.carrier, false, Some(&capture)).await?;
    let mut meeting = Meeting::begin(&lab, setting, story.carrier, BYTES, "capture").await?;
    if meeting.met(limit).await?.is_none() {
        return Err(Failure::program("passalong get", "they did not meet"));
    }
    let secrets = secrets(&meeting)?;
    drop(meeting);
    // What is still held back of the capture is written when the wires go.
    drop(lab);
    let captured = read(&capture)?;
    if captured.len() < BYTES {
        return Err(Failure::Broken("a capture holds at least the file"));
    }
    let readable = found(&secrets, &captured)?;
    if !readable.is_empty() {
        let problem = format!("on the wires one can read {}", readable.join(", "));
        return Err(Failure::program("passalong", problem));
    }
    let planted = folder.path().join("planted.pcap");
    let forms = plant(&secrets, story.pair, &planted).await?;
    let again = found(&secrets, &read(&planted)?)?;
    match again.len() == secrets.len() {
        true => Ok((captured.len(), forms)),
        false => Err(Failure::Broken("what is planted is found")),
    }
}

/// Sends each form of each secret over wires like those that were captured; gives
/// their number.
async fn plant(
    secrets: &[Secret],
    pair: Pair,
    capture: &Path,
) -> std::result::Result<usize, Failure> {
    let failed = |error| Failure::io("the secrets could not be planted", error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let mut forms = 0;
    for form in secrets.iter().flat_map(Secret::forms) {
        fs::write(folder.path().join(forms.to_string()), form).map_err(failed)?;
        forms += 1;
    }
    let lab = Lab::build(pair, Carrier::Paste, false, Some(capture)).await?;
    let mut command = lab.places[0].host.command(Path::new("bash"));
    let script = "for form in \"$1\"/*; do cat \"$form\" > /dev/udp/$2/$3; done";
    command.args(["-c", script, "bash"]).arg(folder.path());
    command.args([SERVERS[0].to_string(), DISCARD.to_string()]);
    let mut planting = Running::start("bash", command)?;
    let ended = tokio::time::timeout(PLANTING, planting.ended()).await;
    match ended {
        Ok(Ok(status)) if status.success() => {}
        _ => return Err(planting.failure("it could not plant the secrets")),
    }
    // They are captured as they are sent, and written when the wires go.
    drop(planting);
    drop(lab);
    Ok(forms)
}

/// All that the meeting has to keep to itself.
fn secrets(meeting: &Meeting) -> std::result::Result<Vec<Secret>, Failure> {
    let invite: &InviteSecret = &meeting.invite.secret;
    let content = content(BYTES);
    let mut secrets = vec![
        Secret::text("the code", &meeting.invite.code()),
        Secret::bytes("the invite's secret", invite.as_bytes()),
        Secret::bytes("the key that seals knocks", &invite.psk()),
        Secret::text("the name of the file", FILE),
        Secret::bytes("the beginning of the file", &content[..PIECE]),
        Secret::bytes("the end of the file", &content[BYTES - PIECE..]),
        Secret::bytes("the hash of the file", blake3::hash(&content).as_bytes()),
    ];
    for (side, whose) in [("share", "the sharer's"), ("get", "the fetcher's")] {
        let data = meeting.data(side);
        let kept = Kept::open(&data)?;
        let name = kept.value("device_name")?;
        let name = String::from_utf8_lossy(&name);
        let key = DeviceKey::from_seed(seed(&kept.value("device_key")?)?);
        let of = |what: &str| format!("{whose} {what}");
        secrets.extend([
            Secret::text(&of("name"), &name),
            Secret::bytes(&of("device key"), &key.seed()),
            Secret::bytes(&of("device id"), &key.public().0),
            Secret::text(&of("short device id"), &key.public().short()),
        ]);
        if side == "share" {
            let key = ShareKey::from_seed(seed(&kept.share_seed()?)?);
            secrets.extend([
                Secret::bytes("the share key", &key.seed()),
                Secret::bytes("the public half of the share key", &key.public()),
            ]);
        }
    }
    Ok(secrets)
}

fn seed(bytes: &[u8]) -> std::result::Result<[u8; 32], Failure> {
    let seed = bytes.try_into();
    seed.map_err(|_| Failure::Broken("a seed has 32 bytes"))
}

/// The records in a data folder.
struct Kept(Connection);

impl Kept {
    fn open(data: &Path) -> std::result::Result<Kept, Failure> {
        let path = data.join("passalong.sqlite");
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
            .map(Kept)
            .map_err(|error| unreadable(&error))
    }

    fn value(&self, name: &str) -> std::result::Result<Vec<u8>, Failure> {
        let query = "SELECT content FROM value WHERE name = ?1";
        let content = self.0.query_row(query, [name], |row| row.get(0));
        content.map_err(|error| unreadable(&error))
    }

    fn share_seed(&self) -> std::result::Result<Vec<u8>, Failure> {
        let seed = self
            .0
            .query_row("SELECT seed FROM share", [], |row| row.get(0));
        seed.map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &rusqlite::Error) -> Failure {
    Failure::program("passalong", format!("its records cannot be read: {error}"))
}

fn read(path: &Path) -> std::result::Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::io(path.display().to_string(), error))
}
