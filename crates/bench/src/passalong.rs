//! `passalong` as a black box: two commands with a data folder each, and what
//! they print with `--json`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use passalong_netns::{Failure, Running, Used};
use serde::Deserialize;

use crate::ends::{End, Ends};
use crate::transfer::{Side, Transfer};

/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(600);

/// The events that matter here; others are passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
enum Event {
    Invite {
        link: String,
    },
    Manifest {},
    Progress {
        bytes: u64,
    },
    Complete {},
    Error {
        message: String,
    },
    #[serde(other)]
    Other,
}

/// The command, and how it is run.
#[derive(Clone, Debug)]
pub(crate) struct Passalong<'a> {
    pub(crate) program: &'a Path,
    pub(crate) ends: &'a Ends,
    /// An empty folder for data folders and what arrives.
    pub(crate) work: &'a Path,
    /// Whether only the data channel may be used.
    pub(crate) data_channel_alone: bool,
    /// HOST:PORT of the nodes where the DHT is entered; none: without the DHT.
    pub(crate) dht: &'a [String],
}

/// A share whose invite works.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) running: Running,
    pub(crate) link: String,
    invited: Instant,
}

impl Passalong<'_> {
    /// Offers `paths`, or all that was offered before. What it holds may not
    /// be hashed yet.
    pub(crate) async fn offer(&self, paths: &[&Path]) -> Result<Offered, Failure> {
        let mut command = self.command(End::Sender);
        command.arg("share").args(paths);
        let mut running = Running::start("passalong share", command)?;
        match patient(&mut running, |event| matches!(event, Event::Invite { .. })).await? {
            (invited, Event::Invite { link }) => Ok(Offered {
                running,
                link,
                invited,
            }),
            _ => Err(Failure::Broken("an invite is an invite")),
        }
    }

    /// Opens the invite and waits for the first bytes; gives the time since the
    /// start of the receiver, and since it accepted.
    pub(crate) async fn first_byte(&self, offered: &Offered) -> Result<[Duration; 2], Failure> {
        let mut get = self.get(&offered.link)?;
        let listed = |event: &Event| matches!(event, Event::Manifest {});
        let (accepted, _) = patient(&mut get, listed).await?;
        let begun = |event: &Event| matches!(event, Event::Progress { bytes } if *bytes > 0);
        let (at, _) = patient(&mut get, begun).await?;
        Ok([at - get.begun(), at - accepted])
    }

    /// Hands `source` over; gives up after `limit`.
    pub(crate) async fn transfer(
        &self,
        source: &Path,
        limit: Duration,
    ) -> Result<Transfer, Failure> {
        let mut offered = self.offer(&[source]).await?;
        let preparing = offered.listed().await?;
        let mut share = offered.running;
        let before = share.used();
        let mut get = self.get(&offered.link)?;
        let begun = get.begun();
        let (mut accepted, mut first_byte) = (None, None);
        let waited = tokio::time::timeout(limit, async {
            while let Some((at, event)) = heard(&mut get).await? {
                match event {
                    Event::Manifest {} => accepted = Some(at),
                    Event::Progress { bytes } if bytes > 0 && first_byte.is_none() => {
                        first_byte = accepted.map(|accepted| at - accepted);
                    }
                    Event::Complete {} => return Ok(Some(at)),
                    _ => {}
                }
                // Memory and time of the other side, too.
                share.used();
            }
            Ok::<_, Failure>(None)
        })
        .await;
        let done = match waited {
            Ok(done) => match done? {
                Some(at) => Some(at - begun),
                None => return Err(get.failure("it ended before everything was there")),
            },
            Err(_) => None,
        };
        let sender = Side {
            before,
            after: share.used(),
        };
        if done.is_some() {
            get.ended().await?;
        }
        Ok(Transfer {
            seconds: done,
            arrived: self.arrived(),
            preparing,
            first_byte,
            sender,
            receiver: Side {
                before: Used::default(),
                after: get.used(),
            },
        })
    }

    fn get(&self, link: &str) -> Result<Running, Failure> {
        let mut command = self.command(End::Receiver);
        command.arg("get").arg("--to").arg(self.arrived()).arg(link);
        Running::start("passalong get", command)
    }

    fn arrived(&self) -> PathBuf {
        self.work.join("arrived")
    }

    fn command(&self, end: End) -> tokio::process::Command {
        let mut command = self.ends.command(end, self.program);
        command
            .arg("--json")
            .arg("--data-dir")
            .arg(self.data_dir(end));
        command
            .arg("--bind")
            .arg(self.ends.address(end).to_string());
        command.args([
            "--no-lan",
            "--no-port-mapping",
            "--stun",
            "none",
            "--turn",
            "none",
        ]);
        match self.dht {
            [] => command.arg("--no-dht"),
            doors => command.args(doors.iter().flat_map(|door| ["--dht-bootstrap", door])),
        };
        if self.data_channel_alone {
            command.arg("--no-quic");
        }
        command
    }

    fn data_dir(&self, end: End) -> PathBuf {
        self.work.join(match end {
            End::Sender => "sender",
            End::Receiver => "receiver",
        })
    }
}

impl Offered {
    /// Waits until the list is complete; gives the time since the invite.
    pub(crate) async fn listed(&mut self) -> Result<Duration, Failure> {
        let listed = |event: &Event| matches!(event, Event::Manifest {});
        let (at, _) = patient(&mut self.running, listed).await?;
        Ok(at - self.invited)
    }
}

/// Waits for an event that is `wanted`, as long as [`PATIENCE`].
async fn patient(
    running: &mut Running,
    wanted: impl Fn(&Event) -> bool,
) -> Result<(Instant, Event), Failure> {
    let found = tokio::time::timeout(PATIENCE, async {
        while let Some((at, event)) = heard(running).await? {
            if wanted(&event) {
                return Ok(Some((at, event)));
            }
        }
        Ok::<_, Failure>(None)
    })
    .await;
    match found {
        Ok(Ok(Some(found))) => Ok(found),
        Ok(Ok(None)) => Err(running.failure("it ended before it was ready")),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(running.failure("it does not get ready")),
    }
}

/// The next event of a `passalong`, or `None` at its end.
async fn heard(running: &mut Running) -> Result<Option<(Instant, Event)>, Failure> {
    let Some(said) = running.line().await else {
        return Ok(None);
    };
    match serde_json::from_str(&said.text) {
        Ok(Event::Error { message }) => Err(running.failure(&message)),
        Ok(event) => Ok(Some((said.at, event))),
        Err(_) => Err(running.failure(&format!("it printed no event: {}", said.text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_command_prints_them() {
        let read = |text: &str| serde_json::from_str::<Event>(text).expect("an event");
        let text = r#"{"event":"invite","code":"C","link":"passalong:C?a=10.77.0.1:1"}"#;
        assert!(matches!(read(text), Event::Invite { link } if link.ends_with(":1")));
        let text = r#"{"event":"progress","bytes":7,"total":9,"rate":0,"sources":["Ana"]}"#;
        assert!(matches!(read(text), Event::Progress { bytes: 7 }));
        let text = r#"{"event":"peer","device":"d","name":"n","route":null,"state":"lost"}"#;
        assert!(matches!(read(text), Event::Other));
        let text = r#"{"event":"complete","bytes":9,"seconds":0.5,"dir":"/x"}"#;
        assert!(matches!(read(text), Event::Complete {}));
    }
}
