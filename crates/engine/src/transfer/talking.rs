//! Talking to a connected sharer: messages and frames in, requests out, until
//! the link ends. Also what the disk reports, connected or not.

use passalong_proto::fetch::{FetchError, FetchEvent};
use passalong_proto::wire::{Farewell, Message};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{
    AGAIN, Asked, Command, MAX_PROBLEMS, Next, STALL, TELL_PROGRESS, TICK, Transfer,
    destination_view, next_done,
};
use crate::api::{Event, Problem, ProblemCode, SkippedView, TransferState};
use crate::peer::{Inbound, Peer};
use crate::sink::{Done, Job};

impl Transfer {
    /// Talks to a connected sharer until the link ends.
    pub(super) async fn talk(
        &mut self,
        mut peer: Peer,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Next {
        self.view.route = Some(peer.route);
        self.rate.reset();
        self.last_piece = Instant::now();
        let mut tick = tokio::time::interval(TICK);
        let mut tell = tokio::time::interval(TELL_PROGRESS);
        let mut told = 0;
        let next = loop {
            while let Some(message) = self.fetch.poll() {
                peer.control.send(message);
            }
            tokio::select! {
                inbound = peer.inbound.recv() => {
                    let event = match inbound {
                        Some(Inbound::Message(message)) => self.fetch.handle(message),
                        Some(Inbound::Frame(frame)) => {
                            self.last_piece = Instant::now();
                            self.rate.add(frame.data.len() as u64);
                            self.fetch.handle_frame(frame)
                        }
                        Some(Inbound::Malformed(error)) => {
                            self.fail(Problem::corrupt(error), true);
                            peer.leave(Farewell::Protocol).await;
                            return self.after_link(Next::Rest);
                        }
                        None => break Next::Reconnect,
                    };
                    match event {
                        Ok(None) => {}
                        Ok(Some(event)) => {
                            if let Some(next) = self.fetched(event) {
                                break next;
                            }
                        }
                        Err(error) => {
                            self.outdated = matches!(error, FetchError::OtherManifest);
                            self.fail(fetch_problem(&error), true);
                            peer.leave(Farewell::Protocol).await;
                            return self.after_link(Next::Rest);
                        }
                    }
                }
                done = next_done(&mut self.disk) => {
                    match self.disk_did(done, Some(&peer)) {
                        Ok(()) => {}
                        Err(next) => {
                            let farewell = match self.view.state {
                                TransferState::Done { .. } => Farewell::Finished,
                                TransferState::Failed { problem: Problem { code: ProblemCode::Corrupt, .. }, .. } => Farewell::Protocol,
                                _ => Farewell::Closing,
                            };
                            peer.leave(farewell).await;
                            return self.after_link(next);
                        }
                    }
                }
                command = commands.recv() => match self.command(command) {
                    Asked::GoOn | Asked::KnockAgain => {}
                    Asked::Leave(farewell, message) => {
                        if let Some(message) = message {
                            peer.control.send(message);
                        }
                        peer.leave(farewell).await;
                        return self.after_link(Next::Rest);
                    }
                    Asked::Close(closed) => {
                        peer.leave(Farewell::Closing).await;
                        return Next::Close(closed);
                    }
                },
                _ = tick.tick() => self.connected_tick(),
                _ = tell.tick() => {
                    let bytes = self.fetch.progress().bytes;
                    if self.fetch.is_accepted() && bytes != told {
                        told = bytes;
                        peer.control.send(Message::Progress { bytes });
                    }
                }
            }
        };
        peer.drop_link().await;
        if matches!(next, Next::Reconnect) {
            tokio::time::sleep(AGAIN).await;
        }
        self.after_link(next)
    }

    fn after_link(&mut self, next: Next) -> Next {
        self.fetch.lost();
        self.view.route = None;
        self.publish();
        next
    }

    fn connected_tick(&mut self) {
        let state = match &self.view.state {
            TransferState::Connecting { .. } | TransferState::Preparing { .. } => {
                let (done_bytes, total_bytes) = self.preparing.unwrap_or_default();
                TransferState::Preparing {
                    done_bytes,
                    total_bytes,
                }
            }
            TransferState::Receiving { .. } | TransferState::Stalled { .. } => {
                let silent = self.last_piece.elapsed();
                if silent >= STALL && self.fetch.is_waiting() {
                    TransferState::Stalled {
                        progress: self.progress(),
                        seconds: u32::try_from(silent.as_secs()).unwrap_or(u32::MAX),
                        carriers: Vec::new(),
                    }
                } else {
                    TransferState::Receiving {
                        progress: self.progress(),
                    }
                }
            }
            _ => return,
        };
        self.set(state);
    }

    /// Handles what the fetch learned; says what follows if the link is over.
    fn fetched(&mut self, event: FetchEvent) -> Option<Next> {
        match event {
            FetchEvent::Preparing {
                done_bytes,
                total_bytes,
            } => {
                self.preparing = Some((done_bytes, total_bytes));
            }
            FetchEvent::Listed => {
                let manifest = self.fetch.manifest()?;
                let name = manifest.name();
                self.view.name = Some(if name.is_empty() { "Files" } else { name }.to_owned());
                self.view.files = u32::try_from(manifest.files()).unwrap_or(u32::MAX);
                self.view.bytes = manifest.bytes();
                self.view.destination = destination_view(&self.destination);
                self.set(TransferState::Offered);
            }
            FetchEvent::ListedAgain => {
                if self.fetch.is_accepted() {
                    let progress = self.progress();
                    self.set(TransferState::Receiving { progress });
                } else if self.accepted.is_none() {
                    self.set(TransferState::Offered);
                }
            }
            FetchEvent::Hashes { entry, hashes } => self.job(Job::Resume { entry, hashes }),
            FetchEvent::Piece { piece, bytes } => self.job(Job::Store { piece, bytes }),
            FetchEvent::Unavailable { entry, reason } => {
                self.job(Job::Drop { entry });
                let path = self.fetch.manifest().and_then(|manifest| {
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
            FetchEvent::Left(farewell) => return Some(self.left(farewell)),
        }
        None
    }

    fn left(&mut self, farewell: Farewell) -> Next {
        let problem = match farewell {
            Farewell::Closing | Farewell::Finished => return Next::Reconnect,
            Farewell::Stopped => Problem::stopped(),
            Farewell::Taken => Problem::taken(),
            Farewell::Version => Problem::version(),
            Farewell::Protocol => Problem::new(
                ProblemCode::Corrupt,
                "The other computer did not understand this one.",
                "Update Passalong on both computers and try again.",
            ),
        };
        self.fail(problem, true);
        Next::Rest
    }

    fn job(&self, job: Job) {
        if let Some(disk) = &self.disk {
            // A disk thread that ended has told why.
            let _ = disk.jobs.send(job);
        }
    }

    /// Handles what the disk did; `Err` says what follows if that ends the phase.
    pub(super) fn disk_did(&mut self, done: Option<Done>, peer: Option<&Peer>) -> Result<(), Next> {
        match done {
            None => {
                self.disk = None;
            }
            Some(Done::Checking { done, total }) => {
                self.set(TransferState::Checking {
                    done_bytes: done,
                    total_bytes: total,
                });
            }
            Some(Done::Checked { present, .. }) => {
                self.already_here = u32::try_from(present.len()).unwrap_or(u32::MAX);
                if let Err(violation) = self.fetch.accept(&self.wanted, &present) {
                    self.fail(Problem::corrupt(violation), false);
                    return Err(Next::Rest);
                }
                self.last_piece = Instant::now();
                self.rate.reset();
                let progress = self.progress();
                self.set(TransferState::Receiving { progress });
                self.finish_if_complete();
            }
            Some(Done::Resumed { entry, stored }) => {
                self.fetch.file_ready(entry, &stored);
                self.last_piece = Instant::now();
                self.finish_if_complete();
            }
            Some(Done::Stored { piece }) => {
                self.fetch.piece_stored(piece);
                self.finish_if_complete();
            }
            Some(Done::Rejected { piece }) => {
                self.fetch.piece_rejected(piece);
                self.fail(
                    Problem::corrupt("a piece of a file does not match the list"),
                    true,
                );
                return Err(Next::Rest);
            }
            Some(Done::Whole { entry, path }) => {
                let bytes = self
                    .fetch
                    .manifest()
                    .and_then(|manifest| manifest.entries().get(entry as usize))
                    .map_or(0, |entry| entry.size());
                let shown = path.strip_prefix(&self.destination).unwrap_or(&path);
                self.context.board.tell(Event::File {
                    id: self.view.id.clone(),
                    path: shown.display().to_string(),
                    bytes,
                });
                self.first_file.get_or_insert(path);
            }
            Some(Done::Failed(problem)) => {
                self.fail(problem, true);
                return Err(Next::Rest);
            }
            Some(Done::Finished { all }) => {
                if let Some(peer) = peer {
                    let bytes = self.fetch.progress().bytes;
                    peer.control.send(Message::Progress { bytes });
                    peer.control.send(Message::Complete);
                }
                let progress = self.fetch.progress();
                self.disk = None;
                self.set(TransferState::Done {
                    files: progress.files,
                    bytes: progress.bytes,
                    already_here: self.already_here,
                    seconds: self
                        .accepted
                        .map_or(0.0, |since| since.elapsed().as_secs_f64()),
                });
                if let (Some(shelf), true) = (self.shelf.clone(), all && self.context.config.stay) {
                    self.stay =
                        crate::passing::start(&self.context, &self.invite, &self.fetch, shelf);
                }
                return Err(Next::Rest);
            }
            Some(Done::Discarded) => {}
        }
        Ok(())
    }

    pub(super) fn finish_if_complete(&mut self) {
        if self.fetch.is_complete() && !self.finishing {
            self.finishing = true;
            self.job(Job::Finish);
        }
    }
}

fn fetch_problem(error: &FetchError) -> Problem {
    match error {
        FetchError::OtherManifest => Problem::changed(),
        _ => Problem::corrupt(error),
    }
}
