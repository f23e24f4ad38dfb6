//! `sendme` as a black box, without relays and discovery: the ticket holds the
//! address, as a link of `passalong` does.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use passalong_netns::{Failure, Running, Used};

use crate::ends::{End, Ends};
use crate::transfer::{Side, Transfer};

/// How long it may take to print a ticket.
const PATIENCE: Duration = Duration::from_secs(600);

/// The command, and how it is run.
#[derive(Clone, Debug)]
pub(crate) struct Sendme<'a> {
    pub(crate) program: &'a Path,
    pub(crate) ends: &'a Ends,
    /// An empty folder for what it keeps and what arrives.
    pub(crate) work: &'a Path,
}

impl Sendme<'_> {
    /// Hands `source` over; gives up after `limit`.
    pub(crate) async fn transfer(
        &self,
        source: &Path,
        limit: Duration,
    ) -> Result<Transfer, Failure> {
        let mut command = self.command(End::Sender, "send")?;
        command.args(["--ticket-type", "addresses"]).arg(source);
        let mut send = Running::start("sendme send", command)?;
        let ticket = tokio::time::timeout(PATIENCE, async {
            while let Some(said) = send.line().await {
                if let Some(ticket) = said.text.strip_prefix("sendme receive ") {
                    return Some((said.at, ticket.trim().to_owned()));
                }
            }
            None
        });
        let Ok(Some((ready, ticket))) = ticket.await else {
            return Err(send.failure("it gave no ticket"));
        };
        let preparing = ready - send.begun();
        let before = send.used();

        let mut command = self.command(End::Receiver, "receive")?;
        command.arg(ticket);
        let mut receive = Running::start("sendme receive", command)?;
        let waited = tokio::time::timeout(limit, receive.ended()).await;
        let seconds = match waited {
            Ok(status) => match status?.success() {
                true => Some(receive.begun().elapsed()),
                false => return Err(receive.failure("it failed")),
            },
            Err(_) => None,
        };
        Ok(Transfer {
            seconds,
            arrived: self.folder(End::Receiver),
            preparing,
            first_byte: None,
            sender: Side {
                before,
                after: send.used(),
            },
            receiver: Side {
                before: Used::default(),
                after: receive.used(),
            },
        })
    }

    fn command(&self, end: End, what: &str) -> Result<tokio::process::Command, Failure> {
        let folder = self.folder(end);
        fs::create_dir_all(&folder)
            .map_err(|error| Failure::io("a folder could not be made", error))?;
        let mut command = self.ends.command(end, self.program);
        command.current_dir(folder).arg(what);
        command.args(["--no-progress", "--relay", "disabled"]);
        let address = SocketAddr::from((self.ends.address(end), 0));
        command.arg("--magic-ipv4-addr").arg(address.to_string());
        Ok(command)
    }

    fn folder(&self, end: End) -> std::path::PathBuf {
        self.work.join(match end {
            End::Sender => "sender",
            End::Receiver => "arrived",
        })
    }
}
