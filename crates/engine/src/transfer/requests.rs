//! What the person asks of a transfer.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passalong_proto::manifest::Manifest;
use passalong_proto::wire::{Farewell, Message};
use tokio::time::Instant;

use super::{Answer, Command, Disk, Transfer, destination_view};
use crate::api::{Direction, Outcome, Problem, ProblemCode, Selection, TransferState};
use crate::share;
use crate::sink::{self, Job, Plan};
use crate::source::Shelf;
use crate::store::remembered;

impl Transfer {
    pub(super) async fn command(&mut self, command: Command) {
        // An answer nobody waits for any more is no loss.
        match command {
            Command::Accept(selection, answer) => {
                let _ = answer.send(self.accept(selection));
            }
            Command::Decline(answer) => {
                let _ = answer.send(self.decline());
            }
            Command::Cancel(answer) => self.cancel(answer),
            Command::Retry(answer) => {
                let _ = answer.send(self.retry());
            }
            Command::Pause(paused, answer) => {
                let _ = answer.send(self.pause(paused));
            }
            Command::PassOn(pass_on, answer) => {
                let _ = answer.send(self.set_pass_on(pass_on));
            }
            Command::SetDestination(dir, answer) => {
                let _ = answer.send(self.set_destination(dir));
            }
            Command::Entries(part, answer) => {
                let entries = self
                    .swarm
                    .fetch()
                    .manifest()
                    .map(|manifest| share::entries(manifest, part));
                let _ = answer
                    .send(entries.ok_or_else(|| Problem::out_of_turn("the list is not here yet")));
            }
            Command::Location(answer) => {
                let place = self
                    .first_file
                    .clone()
                    .unwrap_or_else(|| self.destination.clone());
                let _ = answer.send(Ok(place));
            }
            Command::ReplyCode(answer) => self.reply_code(answer),
            Command::Addresses(addresses) => {
                self.swarm.learn(addresses);
                self.invite = self.swarm.invite().clone();
                self.keep();
            }
            Command::Settings => {
                self.swarm.set_paused(self.is_paused());
                self.ticked();
            }
            // Handled where the task ends.
            Command::Close(_) => {}
        }
    }

    fn reply_code(&self, answer: Answer<String>) {
        let met = || Problem::out_of_turn("the two computers have met already");
        match self.swarm.reply_code() {
            Some(code) => {
                tokio::spawn(async move {
                    let _ = answer.send(code.await.ok_or_else(met));
                });
            }
            None => {
                let _ = answer.send(Err(met()));
            }
        }
    }

    fn decline(&mut self) -> Result<(), Problem> {
        if self.accepted.is_some() || self.is_over() {
            return Err(Problem::out_of_turn(if self.is_over() {
                "it is over"
            } else {
                "it was accepted already"
            }));
        }
        self.swarm.say(&Message::Decline);
        self.swarm.leave(Farewell::Finished);
        self.set(TransferState::Declined);
        self.keep();
        Ok(())
    }

    fn cancel(&mut self, answer: Answer<()>) {
        let failed = matches!(self.view.state, TransferState::Failed { .. });
        if self.is_over() && !failed {
            let _ = answer.send(Err(Problem::out_of_turn("it is over")));
            return;
        }
        if !failed {
            self.swarm.say(&Message::Cancel);
        }
        self.swarm.leave(Farewell::Finished);
        self.discard(answer);
        self.accepted = None;
        self.set(TransferState::Cancelled);
        self.keep();
        if self.swarm.fetch().manifest().is_some() {
            let size = (self.view.files, self.view.bytes);
            self.keep_history(Direction::Received, Outcome::Cancelled, size);
        }
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

    fn discard_partial(&self) {
        let name = format!(
            "{}{}{}",
            sink::PARTIAL_PREFIX,
            self.view.id,
            sink::PARTIAL_SUFFIX
        );
        // Absent if nothing was ever written.
        let _ = std::fs::remove_dir_all(self.destination.join(name));
        let _ = self.context.store.remove_files(&self.view.id);
    }

    fn pause(&mut self, paused: bool) -> Result<(), Problem> {
        if self.is_over() || self.accepted.is_none() {
            return Err(Problem::out_of_turn("nothing is going on"));
        }
        self.paused = paused;
        self.last_change = Instant::now();
        self.swarm.set_paused(self.is_paused());
        self.keep();
        self.ticked();
        Ok(())
    }

    fn set_pass_on(&mut self, pass_on: bool) -> Result<(), Problem> {
        if self.stopped && pass_on {
            return Err(Problem::stopped());
        }
        if self.swarm.is_for_one_person() && pass_on {
            return Err(Problem::out_of_turn("it was shared with you alone"));
        }
        self.pass_on = pass_on;
        if pass_on {
            let people = remembered(&self.context.store, &self.view.id);
            self.swarm.remember(people);
        } else {
            self.keep_people();
        }
        let done = matches!(self.view.state, TransferState::Done { .. });
        if done && pass_on && self.accepted.is_none() {
            // After a restart it is not known what of it is still here.
            self.was_done = true;
            if let Some(manifest) = self.swarm.fetch().manifest().cloned() {
                let wanted = chosen(&self.chosen, &manifest);
                self.begin_disk(&manifest, wanted)?;
            }
        }
        self.open_or_close();
        self.keep();
        Ok(())
    }

    fn set_destination(&mut self, dir: PathBuf) -> Result<(), Problem> {
        // A better folder may be what the next try needs.
        let failed = matches!(self.view.state, TransferState::Failed { .. });
        if self.is_over() && !failed {
            return Err(Problem::out_of_turn("it is over"));
        }
        if self.accepted.is_some() && !failed {
            return Err(Problem::out_of_turn("files are already on their way"));
        }
        self.destination = dir;
        self.view.destination = destination_view(&self.destination);
        self.keep();
        self.publish();
        Ok(())
    }

    fn accept(&mut self, selection: Selection) -> Result<(), Problem> {
        if self.is_over() {
            return Err(Problem::out_of_turn("it is over"));
        }
        if self.accepted.is_some() {
            return Err(Problem::out_of_turn("it was accepted already"));
        }
        let Some(manifest) = self.swarm.fetch().manifest().cloned() else {
            return Err(Problem::out_of_turn("the list is not here yet"));
        };
        let wanted = chosen(&selection, &manifest);
        if wanted.is_empty() {
            return Err(Problem::new(
                ProblemCode::Usage,
                "Nothing is chosen.",
                "Choose at least one file.",
            ));
        }
        self.chosen = selection;
        self.begin_disk(&manifest, wanted)?;
        self.set(TransferState::Checking {
            done_bytes: 0,
            total_bytes: 0,
        });
        self.keep();
        Ok(())
    }

    /// Lets the disk look what is here, which leads to fetching the rest.
    pub(super) fn begin_disk(
        &mut self,
        manifest: &Arc<Manifest>,
        wanted: Vec<u32>,
    ) -> Result<(), Problem> {
        let Some(pieces) = self.swarm.fetch().pieces().cloned() else {
            return Err(Problem::out_of_turn("the list is not here yet"));
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        self.shelf = Arc::new(Shelf::empty(manifest.entries().len()));
        let plan = Plan {
            root: self.destination.clone(),
            id: self.view.id.clone(),
            manifest: Arc::clone(manifest),
            pieces,
            signed: self.swarm.fetch().signed_hashes().clone(),
            wanted: wanted.clone(),
            store: Arc::clone(&self.context.store),
            shelf: Arc::clone(&self.shelf),
        };
        let started = if self.was_done {
            sink::start_shelving(plan, Arc::clone(&cancelled))
        } else {
            sink::start(plan, Arc::clone(&cancelled))
        };
        let (jobs, results) = started.map_err(|error| Problem::state("start writing", error))?;
        self.disk = Some(Disk {
            jobs,
            results,
            cancelled,
        });
        self.wanted = wanted;
        self.finishing = false;
        self.accepted = Some(Instant::now());
        if !self.was_done {
            self.view.state = TransferState::Checking {
                done_bytes: 0,
                total_bytes: 0,
            };
        }
        Ok(())
    }

    fn retry(&mut self) -> Result<(), Problem> {
        let can = match &self.view.state {
            TransferState::Failed { can_retry, .. } => *can_retry,
            TransferState::Cancelled | TransferState::Declined => true,
            TransferState::Done { .. } => return Err(Problem::out_of_turn("it is over")),
            _ => return Err(Problem::out_of_turn("it is going on")),
        };
        if !can {
            return Err(Problem::out_of_turn("it is over"));
        }
        let outdated = std::mem::take(&mut self.outdated);
        let resumed = matches!(self.view.state, TransferState::Failed { .. }) && !outdated;
        self.seconds_before = self.seconds();
        let accepted = self.accepted.take().is_some();
        self.stop_disk();
        self.swarm.begin_again(!outdated);
        if outdated {
            self.keep_other_list();
            self.show_list();
        }
        self.stopped = false;
        self.view.stopped = false;
        self.finishing = false;
        self.view.problems.clear();
        self.alone_since = Instant::now();
        self.set(TransferState::Connecting {
            carriers: Vec::new(),
            seconds: 0,
        });
        self.swarm.search(true);
        match self.swarm.fetch().manifest().cloned() {
            // What was chosen stands; the disk looks at what is here already.
            Some(manifest) if accepted && resumed => {
                let wanted = std::mem::take(&mut self.wanted);
                self.begin_disk(&manifest, wanted)?;
            }
            _ => {}
        }
        self.keep();
        Ok(())
    }
}

/// The entries of a choice, in order, each once.
pub(super) fn chosen(selection: &Selection, manifest: &Manifest) -> Vec<u32> {
    let all = manifest.entries().len() as u32;
    let mut wanted: Vec<u32> = match selection {
        Selection::All => (0..all).collect(),
        Selection::Only { entries } => {
            let unique: HashSet<u32> = entries.iter().copied().filter(|e| *e < all).collect();
            unique.into_iter().collect()
        }
    };
    wanted.sort_unstable();
    wanted
}
