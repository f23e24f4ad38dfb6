//! What is done about what the swarm and the disk of a transfer report.

use passalong_proto::fetch::FetchEvent;
use passalong_proto::knock::Refusal;
use passalong_proto::wire::Farewell;
use tokio::time::Instant;

use super::{MAX_PROBLEMS, Transfer, destination_view};
use crate::api::{Direction, Event, Outcome, Problem, SkippedView, TransferState};
use crate::sink::{Done, Job};
use crate::swarm::Happening;

impl Transfer {
    pub(super) fn happened(&mut self, happening: Happening) {
        match happening {
            Happening::Visit(visit) => {
                if self.stopped {
                    self.swarm.refuse_as_stopped(*visit);
                } else if self.serves() {
                    self.swarm.welcome(*visit);
                } else {
                    self.swarm.refuse(*visit, Refusal::Busy);
                }
            }
            Happening::Met(device) => {
                if self.view.from.is_none() {
                    self.view.from = Some(device);
                    self.keep_people();
                }
                self.ticked();
            }
            Happening::Fetched(event) => self.fetched(event),
            Happening::Stopped => self.share_stopped(),
            Happening::Failed(problem) => {
                if !self.is_over() {
                    self.fail(problem, true, Farewell::Protocol);
                }
            }
            // What others do with it is shown; what cannot be read any more is
            // not passed on.
            Happening::Accepted { .. }
            | Happening::Released { .. }
            | Happening::Complete { .. }
            | Happening::Unavailable { .. } => {}
        }
    }

    /// Whether others are let in: members meet while the person looks at the
    /// list, and everybody passes on what they have while they fetch the rest.
    pub(super) fn serves(&self) -> bool {
        let wants = match self.view.state {
            TransferState::Done { .. } => self.pass_on,
            _ => !self.is_over(),
        };
        wants
            && !self.stopped
            && self.swarm.fetch().manifest().is_some()
            && !self.swarm.is_for_one_person()
    }

    /// Lets others in, or not, as the person and the sharer want it.
    pub(super) fn open_or_close(&mut self) {
        let serves = self.serves();
        if serves {
            self.swarm.answer_knocks();
        }
        // Found by newcomers are those who have something.
        if serves && self.accepted.is_some() {
            self.swarm.announce();
        } else {
            self.swarm.withdraw();
        }
        let done = matches!(self.view.state, TransferState::Done { .. });
        self.view.passing_on = serves && done;
        if done && !serves {
            self.swarm.leave(Farewell::Finished);
        }
        self.view.link = self.swarm.link();
        self.publish();
    }

    fn share_stopped(&mut self) {
        self.stopped = true;
        self.view.stopped = true;
        if matches!(self.view.state, TransferState::Done { .. }) {
            self.pass_on = false;
            self.open_or_close();
            self.keep();
        } else if !self.is_over() {
            self.fail(Problem::stopped(), true, Farewell::Finished);
        }
    }

    fn fetched(&mut self, event: FetchEvent) {
        match event {
            FetchEvent::Preparing {
                done_bytes,
                total_bytes,
            } => self.preparing = Some((done_bytes, total_bytes)),
            FetchEvent::Listed | FetchEvent::Replaced => {
                self.keep_other_list();
                self.show_list();
                if self.accepted.is_none() && !self.is_over() {
                    self.set(TransferState::Offered);
                    self.open_or_close();
                }
            }
            FetchEvent::Outdated => {
                if !self.is_over() {
                    self.outdated = true;
                    self.fail(Problem::changed(), true, Farewell::Finished);
                }
            }
            FetchEvent::Completed => self.keep_whole_list(),
            FetchEvent::Signed(part) => self.job(Job::Signed(part)),
            FetchEvent::Contradicted => {
                if !self.is_over() {
                    let problem = Problem::corrupt("its list contradicts what was told before");
                    self.fail(problem, false, Farewell::Corrupt);
                }
            }
            FetchEvent::Hashes { entry, hashes } => self.job(Job::Resume { entry, hashes }),
            FetchEvent::Piece { piece, bytes, .. } => self.job(Job::Store { piece, bytes }),
            FetchEvent::Unavailable { entry, reason } => {
                self.job(Job::Drop { entry });
                let path = self.swarm.fetch().manifest().and_then(|manifest| {
                    manifest
                        .entries()
                        .get(entry as usize)
                        .map(|entry| entry.path.to_string())
                });
                if let Some(path) = path
                    && self.view.problems.len() < MAX_PROBLEMS
                {
                    let reason = reason.reason().to_owned();
                    self.view.problems.push(SkippedView { path, reason });
                }
                self.finish_if_complete();
            }
        }
    }

    /// Shows what is offered.
    pub(super) fn show_list(&mut self) {
        let Some(manifest) = self.swarm.fetch().manifest() else {
            return;
        };
        let name = manifest.name();
        self.view.name = Some(if name.is_empty() { "Files" } else { name }.to_owned());
        self.view.files = u32::try_from(manifest.files()).unwrap_or(u32::MAX);
        self.view.bytes = manifest.bytes();
        self.view.destination = destination_view(&self.destination);
    }

    pub(super) fn job(&self, job: Job) {
        if let Some(disk) = &self.disk {
            // A disk thread that ended has told why.
            let _ = disk.jobs.send(job);
        }
    }

    /// Handles what the disk did.
    pub(super) fn disk_did(&mut self, done: Option<Done>) {
        match done {
            None => self.disk = None,
            Some(Done::Checking { done, total }) => {
                if !self.was_done {
                    self.set(TransferState::Checking {
                        done_bytes: done,
                        total_bytes: total,
                    });
                }
            }
            Some(Done::Checked {
                present,
                resumed,
                copied,
            }) => {
                tracing::debug!(copied, "files were in the destination under other names");
                self.already_here = u32::try_from(present.len()).unwrap_or(u32::MAX);
                let shelf = self.shelf.clone();
                let accepted = self.swarm.accept(&self.wanted, &present, resumed, shelf);
                if let Err(violation) = accepted {
                    return self.fail(Problem::corrupt(violation), false, Farewell::Finished);
                }
                self.swarm.set_paused(self.is_paused());
                self.last_change = Instant::now();
                if !self.was_done {
                    let progress = self.progress();
                    self.set(TransferState::Receiving { progress });
                }
                self.open_or_close();
                self.finish_if_complete();
            }
            Some(Done::Resumed { entry, stored }) => {
                self.swarm.file_ready(entry, &stored);
                self.last_change = Instant::now();
                self.finish_if_complete();
            }
            Some(Done::Stored { piece }) => {
                self.swarm.stored(piece);
                self.last_change = Instant::now();
                self.finish_if_complete();
            }
            Some(Done::Rejected { piece }) => self.swarm.rejected(piece),
            Some(Done::Whole { entry, path }) => {
                let bytes = self
                    .swarm
                    .fetch()
                    .manifest()
                    .and_then(|manifest| manifest.entries().get(entry as usize))
                    .map_or(0, |entry| entry.size());
                let shown = path.strip_prefix(&self.destination).unwrap_or(&path);
                self.context.board.tell(Event::File {
                    id: self.view.id.clone(),
                    path: shown.display().to_string(),
                    bytes,
                });
                self.first_file.get_or_insert_with(|| path.to_path_buf());
            }
            Some(Done::Failed(problem)) => {
                if self.was_done {
                    // What is not all here any more is not passed on.
                    self.pass_on = false;
                    self.stop_disk();
                    self.open_or_close();
                } else {
                    self.fail(problem, true, Farewell::Closing);
                }
            }
            Some(Done::Finished { all }) => {
                tracing::debug!(all, "everything that was chosen is here");
                self.finished();
            }
            Some(Done::Discarded) => {}
        }
    }

    fn finished(&mut self) {
        let progress = self.swarm.fetch().progress();
        self.disk = None;
        self.swarm.completed();
        self.swarm.search(false);
        if !self.was_done {
            self.view.state = TransferState::Done {
                files: progress.files,
                bytes: progress.bytes,
                already_here: self.already_here,
                seconds: self.seconds(),
            };
            self.finished_at = Some(crate::engine::unix_millis());
            self.keep();
            self.forget_signed_hashes();
            let bytes = (progress.files, progress.bytes);
            self.keep_history(Direction::Received, Outcome::Complete, bytes);
        }
        self.open_or_close();
    }

    /// Seconds from accepting, earlier runs counted.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds_before
            + self
                .accepted
                .map_or(0.0, |since| since.elapsed().as_secs_f64())
    }

    pub(super) fn finish_if_complete(&mut self) {
        if self.swarm.fetch().is_complete() && !self.finishing && self.accepted.is_some() {
            self.finishing = true;
            self.job(Job::Finish);
        } else if self.was_done && self.accepted.is_some() && !self.finishing {
            // Something of a finished download is gone: it is not fetched again
            // unasked, and what is left is not passed on.
            self.pass_on = false;
            self.stop_disk();
            self.open_or_close();
        }
    }
}
