//! A transfer: one share being fetched, from the pasted invite to the last file.
//!
//! ```text
//! Connecting -> Preparing -> Offered --accept--> Checking -> Receiving -> Done
//!     a broken link: Connecting again, or Stalled once accepted
//!     Declined, Cancelled, Failed: until "Try again" or the row is removed
//! ```
//!
//! One task owns each transfer. It reconnects by itself for as long as it is
//! neither done nor given up; the disk works on a thread of its own.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use passalong_proto::fetch::{Fetch, FetchError, FetchEvent};
use passalong_proto::invite::Invite;
use passalong_proto::keys::Role;
use passalong_proto::wire::{Farewell, Message};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::api::{
    CarrierView, Destination, DeviceView, EntryView, Event, Problem, ProblemCode, Progress,
    Selection, SkippedView, TransferState, TransferView,
};
use crate::board::Rate;
use crate::context::Context;
use crate::knocking::{Knocking, Met};
use crate::peer::{GreetError, Inbound, Peer, greet};
use crate::share;
use crate::sink::{self, Done, Job, Plan};

/// How often rates and waiting times are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How often the sharer is told how much is here.
const TELL_PROGRESS: Duration = Duration::from_millis(500);
/// A connected sharer that sends nothing for this long has stalled.
const STALL: Duration = Duration::from_secs(3);
/// Pause before knocking again after a link broke at once.
const AGAIN: Duration = Duration::from_millis(500);
/// Files that went wrong, remembered by name.
const MAX_PROBLEMS: usize = 100;

/// What a transfer can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    Accept(Selection, Answer<()>),
    Decline(Answer<()>),
    Cancel(Answer<()>),
    Retry(Answer<()>),
    SetDestination(PathBuf, Answer<()>),
    Entries(Answer<Vec<EntryView>>),
    ReplyCode(Answer<String>),
    /// The invite was opened again, from a link that may know more.
    Addresses(Vec<SocketAddr>),
    Location(Answer<PathBuf>),
    /// The app is closing: what is here is kept.
    Close(oneshot::Sender<()>),
}

type Answer<T> = oneshot::Sender<Result<T, Problem>>;

/// Starts the task of a transfer.
pub(crate) fn start(
    context: Arc<Context>,
    invite: Invite,
    created_at: u64,
) -> mpsc::Sender<Command> {
    let (sender, commands) = mpsc::channel(16);
    let id = invite.secret.id();
    let destination = context.download_dir();
    let view = TransferView {
        id,
        code: invite.code(),
        name: None,
        from: None,
        route: None,
        files: 0,
        bytes: 0,
        state: TransferState::Connecting {
            carriers: Vec::new(),
            seconds: 0,
        },
        destination: destination_view(&destination),
        problems: Vec::new(),
        created_at,
    };
    let transfer = Transfer {
        fetch: Fetch::new(invite.secret),
        context,
        invite,
        view,
        destination,
        disk: None,
        accepted: None,
        finishing: false,
        outdated: false,
        wanted: Vec::new(),
        already_here: 0,
        last_piece: Instant::now(),
        rate: Rate::new(),
        first_file: None,
        preparing: None,
        stay: None,
    };
    tokio::spawn(transfer.run(commands));
    sender
}

/// The disk thread of a transfer.
struct Disk {
    jobs: std::sync::mpsc::Sender<Job>,
    results: mpsc::UnboundedReceiver<Done>,
    cancelled: Arc<AtomicBool>,
}

struct Transfer {
    context: Arc<Context>,
    invite: Invite,
    view: TransferView,
    fetch: Fetch,
    destination: PathBuf,
    disk: Option<Disk>,
    /// When the person accepted.
    accepted: Option<Instant>,
    /// The disk was told that everything is here.
    finishing: bool,
    /// The list that is here is not the sharer's any more.
    outdated: bool,
    wanted: Vec<u32>,
    already_here: u32,
    last_piece: Instant,
    rate: Rate,
    first_file: Option<PathBuf>,
    preparing: Option<(u64, u64)>,
    /// Serves others once everything is here.
    stay: Option<crate::passing::Passing>,
}

/// How a phase of a transfer ended.
enum Next {
    /// Knock again.
    Reconnect,
    /// Nothing more happens by itself.
    Rest,
    /// The app is closing.
    Close(oneshot::Sender<()>),
}

/// What a command asks the running phase to do.
enum Asked {
    GoOn,
    /// There are more addresses to knock at.
    KnockAgain,
    Leave(Farewell, Option<Message>),
    Close(oneshot::Sender<()>),
}

impl Transfer {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.publish();
        let mut next = Next::Reconnect;
        loop {
            next = match next {
                Next::Reconnect => self.meet(&mut commands).await,
                Next::Rest => self.rest(&mut commands).await,
                Next::Close(closed) => {
                    if let Some(stay) = self.stay.take() {
                        stay.close().await;
                    }
                    // Whoever asked may have stopped waiting.
                    let _ = closed.send(());
                    return;
                }
            };
        }
    }

    fn publish(&self) {
        self.context.board.put_transfer(self.view.clone());
    }

    fn set(&mut self, state: TransferState) {
        self.view.state = state;
        self.publish();
    }

    fn fail(&mut self, problem: Problem, can_retry: bool) {
        self.view.route = None;
        self.stop_disk();
        self.set(TransferState::Failed { problem, can_retry });
    }

    fn stop_disk(&mut self) {
        if let Some(disk) = self.disk.take() {
            disk.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Knocks until somebody is met, then talks to them until that ends.
    async fn meet(&mut self, commands: &mut mpsc::Receiver<Command>) -> Next {
        let mut knocking = match Knocking::start(&self.context, self.invite.clone()).await {
            Ok(knocking) => knocking,
            Err(error) => {
                let remedy = "Check the network settings of this computer and try again.";
                let message = format!("No connection can be made from here: {error}.");
                self.fail(
                    Problem::new(ProblemCode::Unreachable, message, remedy),
                    true,
                );
                return Next::Rest;
            }
        };
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                met = knocking.next() => match met {
                    Met::Failed => return Next::Reconnect,
                    Met::Link { link, device, name } => {
                        let from = DeviceView { id: device.short(), name: name.as_str().to_owned() };
                        let (key, secret) = (&self.context.key, &self.invite.secret);
                        match greet(*link, Role::Knocker, key, device, secret).await {
                            Ok(peer) => {
                                self.view.from = Some(from);
                                drop(knocking);
                                return self.talk(peer, commands).await;
                            }
                            Err(GreetError::Version) => {
                                self.fail(Problem::version(), true);
                                return Next::Rest;
                            }
                            Err(error) => {
                                tracing::warn!(%error, "the other side did not introduce itself");
                                return Next::Reconnect;
                            }
                        }
                    }
                    Met::Refused(problem) => {
                        self.fail(problem, true);
                        return Next::Rest;
                    }
                },
                done = next_done(&mut self.disk) => {
                    if let Err(next) = self.disk_did(done, None) {
                        return next;
                    }
                }
                command = commands.recv() => {
                    if let Some(Command::ReplyCode(answer)) = command {
                        let code = knocking.reply_code().await;
                        let _ = answer.send(code.ok_or_else(|| Problem::out_of_turn("the two computers have met already")));
                        continue;
                    }
                    match self.command(command) {
                        Asked::GoOn => {}
                        Asked::KnockAgain => return Next::Reconnect,
                        Asked::Leave(..) => return Next::Rest,
                        Asked::Close(closed) => return Next::Close(closed),
                    }
                }
                _ = tick.tick() => {
                    let carriers = knocking.carriers();
                    let seconds = knocking.seconds();
                    self.waiting(carriers, seconds);
                }
            }
        }
    }

    /// Shows that nobody is connected.
    fn waiting(&mut self, carriers: Vec<CarrierView>, seconds: u32) {
        self.view.route = None;
        let state = match &self.view.state {
            TransferState::Checking { .. } => return,
            _ if self.accepted.is_some() => TransferState::Stalled {
                progress: self.progress(),
                seconds: u32::try_from(self.last_piece.elapsed().as_secs()).unwrap_or(u32::MAX),
                carriers,
            },
            // The list stays on the screen while the link comes back.
            TransferState::Offered => return,
            _ => TransferState::Connecting { carriers, seconds },
        };
        self.set(state);
    }

    fn progress(&mut self) -> Progress {
        let fetched = self.fetch.progress();
        let rate = self.rate.tick();
        let left = fetched.total.saturating_sub(fetched.bytes);
        Progress {
            bytes: fetched.bytes,
            total: fetched.total,
            files: fetched.files,
            files_total: fetched.files_total,
            rate,
            seconds_left: left
                .checked_div(rate)
                .and_then(|seconds| u32::try_from(seconds).ok()),
        }
    }

    /// Talks to a connected sharer until the link ends.
    async fn talk(&mut self, mut peer: Peer, commands: &mut mpsc::Receiver<Command>) -> Next {
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
    fn disk_did(&mut self, done: Option<Done>, peer: Option<&Peer>) -> Result<(), Next> {
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
            Some(Done::Checked { present }) => {
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
            Some(Done::Finished { shelf }) => {
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
                if let (Some(shelf), true) = (shelf, self.context.config.stay) {
                    self.stay =
                        crate::passing::start(&self.context, &self.invite, &self.fetch, shelf);
                }
                return Err(Next::Rest);
            }
            Some(Done::Discarded) => {}
        }
        Ok(())
    }

    fn finish_if_complete(&mut self) {
        if self.fetch.is_complete() && !self.finishing {
            self.finishing = true;
            self.job(Job::Finish);
        }
    }

    fn command(&mut self, command: Option<Command>) -> Asked {
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

    fn begin_disk(
        &mut self,
        manifest: &Arc<passalong_proto::manifest::Manifest>,
        wanted: Vec<u32>,
    ) -> Result<(), Problem> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let plan = Plan {
            root: self.destination.clone(),
            id: self.view.id.clone(),
            manifest: Arc::clone(manifest),
            wanted: wanted.clone(),
        };
        let (jobs, results) = sink::start(plan, Arc::clone(&cancelled))
            .map_err(|error| Problem::state("start writing", error))?;
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
    async fn rest(&mut self, commands: &mut mpsc::Receiver<Command>) -> Next {
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

async fn next_done(disk: &mut Option<Disk>) -> Option<Done> {
    match disk {
        Some(disk) => disk.results.recv().await,
        None => std::future::pending().await,
    }
}

fn fetch_problem(error: &FetchError) -> Problem {
    match error {
        FetchError::OtherManifest => Problem::changed(),
        _ => Problem::corrupt(error),
    }
}

fn destination_view(dir: &Path) -> Destination {
    Destination {
        path: dir.display().to_string(),
        free_bytes: sink::free_bytes(dir),
    }
}
