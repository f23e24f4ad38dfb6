//! `passalong` as a black box: commands in the hosts of a laboratory, with a data
//! folder each, and what they print with `--json`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use passalong_netns::{Failure, Running};
use serde::Deserialize;
use tokio::process::Command;

use crate::dht;
use crate::lab::{ACCOUNT, PORT, Place, SERVERS};

/// Seconds that whoever fetches goes on looking for somebody: longer than anything
/// here takes.
const PATIENCE: &str = "300";

/// The events that matter here; others are passed over.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub(crate) enum Event {
    Invite {
        link: String,
    },
    Manifest {},
    Peer {
        route: Option<String>,
    },
    Progress {
        bytes: u64,
    },
    Reply {
        code: String,
    },
    Answer {
        code: String,
    },
    Complete {},
    Error {
        message: String,
    },
    #[serde(other)]
    Other,
}

/// What both sides are run with.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The command.
    pub(crate) program: PathBuf,
    /// Whether the relay is set.
    pub(crate) relay: bool,
    /// Whether people on the local network are looked for.
    pub(crate) lan: bool,
    /// Where each side's log goes, in full, if anywhere.
    pub(crate) logs: Option<PathBuf>,
}

/// A side of a meeting, and its folder.
#[derive(Debug)]
pub(crate) struct Side<'a> {
    pub(crate) setting: &'a Setting,
    /// Whether people are looked for in the DHT.
    pub(crate) dht: bool,
    pub(crate) place: &'a Place,
    /// Holds its data folder.
    pub(crate) folder: PathBuf,
    /// What its log is called.
    pub(crate) log: String,
}

impl Side<'_> {
    /// Offers `paths`, taking reply codes if `by_hand`.
    pub(crate) fn share(&self, paths: &[PathBuf], by_hand: bool) -> Result<Talking, Failure> {
        let mut command = self.command();
        command.arg("share").args(by_hand.then_some("--by-hand"));
        command.args(paths);
        Talking::start("passalong share", command)
    }

    /// Fetches `invite` into `to`, telling a reply code if `by_hand`.
    pub(crate) fn get(&self, invite: &str, to: &Path, by_hand: bool) -> Result<Talking, Failure> {
        let mut command = self.command();
        command.arg("get").args(by_hand.then_some("--by-hand"));
        command.args(["--patience", PATIENCE]);
        command.arg("--to").arg(to).arg(invite);
        Talking::start("passalong get", command)
    }

    /// Fetches what is called `only` of `invite` into `to`, goes on passing it on, and
    /// helps others through.
    pub(crate) fn befriend(&self, invite: &str, to: &Path, only: &str) -> Result<Talking, Failure> {
        let mut command = self.command();
        command.args(["--carry", "get", "--stay", "--patience", PATIENCE]);
        command.args(["--only", only, "--to"]).arg(to).arg(invite);
        Talking::start("passalong get", command)
    }

    fn command(&self) -> Command {
        let mut command = match &self.setting.logs {
            Some(logs) => {
                let mut shell = self.place.host.command(Path::new("sh"));
                shell.args(["-c", "log=$1; shift; exec \"$@\" 2>\"$log\"", "sh"]);
                shell.arg(logs.join(format!("{}.log", self.log)));
                shell.arg(&self.setting.program).arg("-vv");
                shell
            }
            None => self.place.host.command(&self.setting.program),
        };
        command.args(["--json", "--data-dir"]);
        command.arg(self.folder.join("data"));
        command.args((!self.setting.lan).then_some("--no-lan"));
        match self.dht {
            true => {
                for door in dht::doors() {
                    command.args(["--dht-bootstrap", &door]);
                }
            }
            false => {
                command.arg("--no-dht");
            }
        }
        for server in SERVERS {
            command.args(["--stun", &format!("stun:{server}:{PORT}")]);
        }
        let relay = match self.setting.relay {
            true => format!("turn:{}@{}:{PORT}", ACCOUNT.join(":"), SERVERS[0]),
            false => "none".to_owned(),
        };
        command.args(["--turn", &relay]);
        command
    }
}

/// A running command and what it says.
#[derive(Debug)]
pub(crate) struct Talking {
    running: Running,
}

impl Talking {
    fn start(name: &str, command: Command) -> Result<Talking, Failure> {
        let running = Running::start_listening(name, command)?;
        Ok(Talking { running })
    }

    /// When it was started.
    pub(crate) fn begun(&self) -> Instant {
        self.running.begun()
    }

    /// Lets it run no more, until it is thawed.
    pub(crate) fn freeze(&self) {
        self.running.freeze();
    }

    /// Lets it run on.
    pub(crate) fn thaw(&self) {
        self.running.thaw();
    }

    /// Types a line.
    pub(crate) async fn tell(&mut self, line: &str) -> Result<(), Failure> {
        self.running.tell(line).await
    }

    /// The next event and when it came; a failure if it has ended or says that it
    /// failed.
    pub(crate) async fn event(&mut self) -> Result<(Instant, Event), Failure> {
        let Some(said) = self.running.line().await else {
            return Err(self.running.failure("it ended before it was done"));
        };
        match serde_json::from_str(&said.text) {
            Ok(Event::Error { message }) => Err(self.running.failure(&message)),
            Ok(event) => Ok((said.at, event)),
            Err(_) => {
                let problem = format!("it printed no event: {}", said.text);
                Err(self.running.failure(&problem))
            }
        }
    }

    /// The first of its events that gives something.
    pub(crate) async fn first<T>(
        &mut self,
        mut of: impl FnMut(Event) -> Option<T>,
    ) -> Result<T, Failure> {
        loop {
            let (_, event) = self.event().await?;
            if let Some(found) = of(event) {
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_command_prints_them() {
        let read = |text: &str| serde_json::from_str::<Event>(text).expect("an event");
        let text =
            r#"{"event":"peer","device":"d","name":"Ana","route":"relayed","state":"connected"}"#;
        assert!(matches!(read(text), Event::Peer { route: Some(route) } if route == "relayed"));
        let text = r#"{"event":"peer","device":"d","name":"Ana","route":null,"state":"lost"}"#;
        assert!(matches!(read(text), Event::Peer { route: None }));
        let text = r#"{"event":"reply","code":"passalong-reply:x"}"#;
        assert!(matches!(read(text), Event::Reply { code } if code.ends_with('x')));
        let text = r#"{"event":"file","path":"a","bytes":1}"#;
        assert!(matches!(read(text), Event::Other));
    }
}
