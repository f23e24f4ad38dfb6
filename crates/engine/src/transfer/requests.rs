//! What the person asks of a transfer, while something is going on and while
//! nothing is.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passalong_proto::fetch::Fetch;
use passalong_proto::invite::Invite;
use passalong_proto::manifest::Manifest;
use passalong_proto::wire::{Farewell, Message};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Answer, Asked, Command, Disk, Next, Transfer, destination_view};
use crate::api::{Problem, ProblemCode, Selection, TransferState};
use crate::share;
use crate::sink::{self, Job, Plan};
use crate::source::Shelf;

impl Transfer {
    pub(super) fn command(&mut self, command: Option<Command>) -> Asked {
        // An answer nobody waits for any more is no loss.
        match command {
            None => {
                let (closed, _) = oneshot::channel();
                return Asked::Close(closed);
            }
            Some(Command::Close(closed)) => {
                self.stop_disk();
                return Asked::Close(closed);
            }
            Some(Command::Accept(selection, answer)) => {
                let _ = answer.send(self.accept(selection));
            }
            Some(Command::SetDestination(dir, answer)) => {
                let _ = answer.send(self.set_destination(dir));
            }
            Some(Command::Entries(answer)) => {
                let entries = self
                    .fetch
                    .manifest()
                    .map(|manifest| share::entries(manifest));
                let _ = answer
                    .send(entries.ok_or_else(|| Problem::out_of_turn("the list is not here yet")));
            }
            Some(Command::Location(answer)) => {
                let place = self
                    .first_file
                    .clone()
                    .unwrap_or_else(|| self.destination.clone());
                let _ = answer.send(Ok(place));
            }
            Some(Command::ReplyCode(answer)) => {
                let _ = answer.send(Err(Problem::out_of_turn(
                    "the two computers have met already",
                )));
            }
            Some(Command::Retry(answer)) => {
                let _ = answer.send(Err(Problem::out_of_turn("it is going on")));
            }
            Some(Command::Addresses(addresses)) => {
                if self.learn(addresses) {
                    return Asked::KnockAgain;
                }
            }
            Some(Command::Decline(answer)) => {
                if self.accepted.is_some() {
                    let _ = answer.send(Err(Problem::out_of_turn("it was accepted already")));
                    return Asked::GoOn;
                }
                self.set(TransferState::Declined);
                let _ = answer.send(Ok(()));
                return Asked::Leave(Farewell::Finished, Some(Message::Decline));
            }
            Some(Command::Cancel(answer)) => {
                self.discard(answer);
                self.set(TransferState::Cancelled);
                return Asked::Leave(Farewell::Finished, Some(Message::Cancel));
            }
        }
        Asked::GoOn
    }

    /// Takes in addresses of the sharer; says whether any is new.
    fn learn(&mut self, addresses: Vec<SocketAddr>) -> bool {
        let known = self.invite.addresses.clone();
        let all = addresses.into_iter().chain(known.iter().copied());
        self.invite = Invite::new(self.invite.secret, all);
        self.invite
            .addresses
            .iter()
            .any(|address| !known.contains(address))
    }

    /// Removes what is unfinished, and answers when that is done.
    fn discard(&mut self, answer: Answer<()>) {
        let Some(Disk {
            jobs,
            mut results,
            cancelled,
        }) = self.disk.take()
        else {
            self.discard_partial();
            let _ = answer.send(Ok(()));
            return;
        };
        cancelled.store(true, Ordering::Relaxed);
        // A disk thread that ended has told why.
        let _ = jobs.send(Job::Discard);
        drop(jobs);
        tokio::spawn(async move {
            while results.recv().await.is_some() {}
            let _ = answer.send(Ok(()));
        });
    }

    fn set_destination(&mut self, dir: PathBuf) -> Result<(), Problem> {
        if self.accepted.is_some() {
            return Err(Problem::out_of_turn("files are already on their way"));
        }
        self.destination = dir;
        self.view.destination = destination_view(&self.destination);
        self.publish();
        Ok(())
    }

    fn accept(&mut self, selection: Selection) -> Result<(), Problem> {
        if self.accepted.is_some() {
            return Err(Problem::out_of_turn("it was accepted already"));
        }
        let Some(manifest) = self.fetch.manifest().cloned() else {
            return Err(Problem::out_of_turn("the list is not here yet"));
        };
        let all = manifest.entries().len() as u32;
        let mut wanted: Vec<u32> = match selection {
            Selection::All => (0..all).collect(),
            Selection::Only { entries } => {
                let unique: HashSet<u32> = entries.into_iter().filter(|e| *e < all).collect();
                unique.into_iter().collect()
            }
        };
        wanted.sort_unstable();
        if wanted.is_empty() {
            return Err(Problem::new(
                ProblemCode::Usage,
                "Nothing is chosen.",
                "Choose at least one file.",
            ));
        }
        self.begin_disk(&manifest, wanted)
    }

    fn begin_disk(&mut self, manifest: &Arc<Manifest>, wanted: Vec<u32>) -> Result<(), Problem> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let shelf = Arc::new(Shelf::empty(manifest.entries().len()));
        let plan = Plan {
            root: self.destination.clone(),
            id: self.view.id.clone(),
            manifest: Arc::clone(manifest),
            wanted: wanted.clone(),
            store: Arc::clone(&self.context.store),
            shelf: Arc::clone(&shelf),
        };
        let (jobs, results) = sink::start(plan, Arc::clone(&cancelled))
            .map_err(|error| Problem::state("start writing", error))?;
        self.shelf = Some(shelf);
        self.disk = Some(Disk {
            jobs,
            results,
            cancelled,
        });
        self.wanted = wanted;
        self.accepted = Some(Instant::now());
        self.set(TransferState::Checking {
            done_bytes: 0,
            total_bytes: 0,
        });
        Ok(())
    }

    /// Waits for the person: everything that happens by itself is over.
    pub(super) async fn rest(&mut self, commands: &mut mpsc::Receiver<Command>) -> Next {
        loop {
            match commands.recv().await {
                None => {
                    let (closed, _) = oneshot::channel();
                    return Next::Close(closed);
                }
                Some(Command::Close(closed)) => return Next::Close(closed),
                Some(Command::Retry(answer)) => {
                    let outcome = self.retry();
                    let again = outcome.is_ok();
                    let _ = answer.send(outcome);
                    if again {
                        return Next::Reconnect;
                    }
                }
                Some(Command::Cancel(answer)) => {
                    let _ = answer.send(self.give_up());
                }
                Some(Command::Accept(_, answer) | Command::Decline(answer)) => {
                    let _ = answer.send(Err(Problem::out_of_turn("it is over")));
                }
                // A better folder may be what the next try needs.
                Some(Command::SetDestination(dir, answer)) => {
                    if matches!(self.view.state, TransferState::Failed { .. }) {
                        self.destination = dir;
                        self.view.destination = destination_view(&self.destination);
                        self.publish();
                        let _ = answer.send(Ok(()));
                    } else {
                        let _ = answer.send(Err(Problem::out_of_turn("it is over")));
                    }
                }
                Some(command) => {
                    self.command(Some(command));
                }
            }
        }
    }

    fn retry(&mut self) -> Result<(), Problem> {
        let can = match &self.view.state {
            TransferState::Failed { can_retry, .. } => *can_retry,
            TransferState::Cancelled | TransferState::Declined => true,
            _ => false,
        };
        if !can {
            return Err(Problem::out_of_turn("it is over"));
        }
        let outdated = std::mem::take(&mut self.outdated);
        let resumed = matches!(self.view.state, TransferState::Failed { .. }) && !outdated;
        let accepted = self.accepted.take().is_some();
        let wanted = std::mem::take(&mut self.wanted);
        self.fetch = if outdated {
            Fetch::new(self.invite.secret)
        } else {
            self.fetch.again()
        };
        self.finishing = false;
        self.view.problems.clear();
        self.set(TransferState::Connecting {
            carriers: Vec::new(),
            seconds: 0,
        });
        match self.fetch.manifest().cloned() {
            // What was chosen stands; the disk looks at what is here already.
            Some(manifest) if accepted && resumed => self.begin_disk(&manifest, wanted),
            _ => Ok(()),
        }
    }

    fn give_up(&mut self) -> Result<(), Problem> {
        match self.view.state {
            TransferState::Failed { .. } => {
                self.discard_partial();
                self.set(TransferState::Cancelled);
                Ok(())
            }
            _ => Err(Problem::out_of_turn("it is over")),
        }
    }

    fn discard_partial(&self) {
        let name = format!(
            "{}{}{}",
            sink::PARTIAL_PREFIX,
            self.view.id,
            sink::PARTIAL_SUFFIX
        );
        // Absent if nothing was ever written.
        let _ = std::fs::remove_dir_all(self.destination.join(name));
    }
}
