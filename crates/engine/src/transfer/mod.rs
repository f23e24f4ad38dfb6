//! A transfer: one share being fetched, from the pasted invite to the last file,
//! and passed on from the first piece for as long as the app is open.
//!
//! ```text
//! Connecting -> Preparing -> Offered --accept--> Checking -> Receiving -> Done
//!     nobody answers: Waiting; nobody linked, or nothing comes: Stalled;
//!     by the person: Paused
//!     Declined, Cancelled, Failed: until "Try again" or the row is removed
//! ```
//!
//! One task owns each transfer. The `swarm` finds the others and fetches from
//! them; the disk works on a thread of its own. `fetching` is what is done about
//! what comes, `requests` what the person asks, `record` what is kept so that a
//! restart goes on.

mod fetching;
mod record;
mod requests;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use passalong_proto::invite::Invite;
use passalong_proto::wire::Farewell;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::api::{
    CarrierState, CarrierView, CopiesView, Destination, EntryView, Problem, Progress, Safety,
    Selection, TransferState, TransferView,
};
use crate::context::Context;
use crate::pulse::Pulse;
use crate::sink::{self, Done, Job};
use crate::source::Shelf;
use crate::store::{StoredDownload, came_from};
use crate::swarm::Swarm;

/// How often rates and waiting times are looked at.
const TICK: Duration = Duration::from_millis(250);
/// A transfer that gets nothing for this long has stalled.
const STALL: Duration = Duration::from_secs(3);
/// A search that nobody answers for this long has become a wait.
const LOOKING: Duration = Duration::from_secs(10);
/// Files that went wrong, remembered by name.
const MAX_PROBLEMS: usize = 100;

/// What a transfer can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    Accept(Selection, Answer<()>),
    Decline(Answer<()>),
    Cancel(Answer<()>),
    Retry(Answer<()>),
    Pause(bool, Answer<()>),
    PassOn(bool, Answer<()>),
    SetDestination(PathBuf, Answer<()>),
    /// A part of the list, by index.
    Entries(Range<u32>, Answer<Vec<EntryView>>),
    ReplyCode(Answer<String>),
    /// The invite was opened again, from a link that may know more.
    Addresses(Vec<SocketAddr>),
    Location(Answer<PathBuf>),
    /// Settings that concern every transfer changed.
    Settings,
    /// The app is closing: what is here is kept.
    Close(oneshot::Sender<()>),
}

type Answer<T> = oneshot::Sender<Result<T, Problem>>;

/// Starts the task of a transfer for an invite that was just opened.
pub(crate) fn start(
    context: Arc<Context>,
    invite: Invite,
    created_at: u64,
) -> mpsc::Sender<Command> {
    let destination = context.download_dir();
    let transfer = Transfer::new(context, invite, destination, created_at);
    transfer.keep();
    transfer.spawn(None)
}

/// Starts the task of a transfer that was kept: it goes on where it was.
pub(crate) fn resume(context: Arc<Context>, stored: StoredDownload) -> mpsc::Sender<Command> {
    let transfer = Transfer::new(
        context,
        stored.invite.clone(),
        stored.destination.clone(),
        stored.created_at,
    );
    transfer.spawn(Some(stored))
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
    swarm: Swarm,
    shelf: Arc<Shelf>,
    destination: PathBuf,
    disk: Option<Disk>,
    /// When the person accepted.
    accepted: Option<Instant>,
    chosen: Selection,
    wanted: Vec<u32>,
    paused: bool,
    /// Whether the person wants it passed on.
    pass_on: bool,
    /// The sharer stopped the share.
    stopped: bool,
    /// The disk was told that everything is here.
    finishing: bool,
    /// The list that is here is not the sharer's any more.
    outdated: bool,
    already_here: u32,
    /// Seconds that it took before this start, and when it was over.
    seconds_before: f64,
    finished_at: Option<u64>,
    /// Done in an earlier run: the disk only looks whether it is all still here.
    was_done: bool,
    last_change: Instant,
    /// Since when nobody is linked.
    alone_since: Instant,
    first_file: Option<PathBuf>,
    preparing: Option<(u64, u64)>,
    people_kept: Instant,
}

impl Transfer {
    fn new(
        context: Arc<Context>,
        invite: Invite,
        destination: PathBuf,
        created_at: u64,
    ) -> Transfer {
        let view = TransferView {
            id: invite.secret.id(),
            code: invite.code(),
            name: None,
            from: came_from(&context.store, &invite.secret.id()),
            route: None,
            files: 0,
            bytes: 0,
            state: TransferState::Connecting {
                carriers: Vec::new(),
                seconds: 0,
            },
            destination: destination_view(&destination),
            link: invite.link(),
            people: Vec::new(),
            copies: CopiesView::default(),
            safety: Safety::Nobody,
            passing_on: false,
            stopped: false,
            one_person: false,
            problems: Vec::new(),
            created_at,
        };
        let pass_on = context
            .config
            .stay
            .unwrap_or_else(|| context.settings().pass_on);
        Transfer {
            swarm: Swarm::new(Arc::clone(&context), invite.clone(), None),
            context,
            invite,
            view,
            shelf: Arc::new(Shelf::empty(0)),
            destination,
            disk: None,
            accepted: None,
            chosen: Selection::All,
            wanted: Vec::new(),
            paused: false,
            pass_on,
            stopped: false,
            finishing: false,
            outdated: false,
            already_here: 0,
            seconds_before: 0.0,
            finished_at: None,
            was_done: false,
            last_change: Instant::now(),
            alone_since: Instant::now(),
            first_file: None,
            preparing: None,
            people_kept: Instant::now(),
        }
    }

    fn spawn(mut self, stored: Option<StoredDownload>) -> mpsc::Sender<Command> {
        let (sender, commands) = mpsc::channel(16);
        // On the board before anybody can ask for it.
        match stored {
            Some(stored) => self.take_up(stored),
            None => self.swarm.search(true),
        }
        self.publish();
        tokio::spawn(self.run(commands));
        sender
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut pulse = Pulse::new(TICK);
        loop {
            let quiet = self.disk.is_none() && self.swarm.is_quiet();
            tokio::select! {
                happening = self.swarm.next() => self.happened(happening),
                done = next_done(&mut self.disk) => self.disk_did(done),
                command = commands.recv() => match command {
                    Some(Command::Close(closed)) => {
                        self.close().await;
                        // Whoever asked may have stopped waiting.
                        let _ = closed.send(());
                        return;
                    }
                    Some(command) => self.command(command).await,
                    None => return self.close().await,
                },
                () = pulse.beat(quiet) => self.ticked(),
            }
        }
    }

    /// Parts with everybody and the disk; what is here is kept.
    async fn close(self) {
        self.keep_people();
        self.keep();
        let Transfer { swarm, disk, .. } = self;
        let farewell = match self.view.state {
            TransferState::Done { .. } => Farewell::Finished,
            _ => Farewell::Closing,
        };
        swarm.close(farewell).await;
        if let Some(disk) = disk {
            disk.close().await;
        }
    }

    fn publish(&self) {
        self.context.board.put_transfer(self.view.clone());
    }

    fn set(&mut self, state: TransferState) {
        self.view.state = state;
        self.publish();
    }

    /// Nothing more happens by itself.
    fn fail(&mut self, problem: Problem, can_retry: bool, farewell: Farewell) {
        self.swarm.leave(farewell);
        self.view.route = None;
        self.view.passing_on = false;
        self.stop_disk();
        self.set(TransferState::Failed { problem, can_retry });
    }

    fn stop_disk(&mut self) {
        if let Some(disk) = self.disk.take() {
            disk.cancelled.store(true, Ordering::Relaxed);
        }
    }

    fn is_over(&self) -> bool {
        matches!(
            self.view.state,
            TransferState::Done { .. }
                | TransferState::Declined
                | TransferState::Cancelled
                | TransferState::Failed { .. }
        )
    }

    fn ticked(&mut self) {
        let is_known = |view: &TransferView| view.people.iter().any(|person| person.sharer);
        let was_known = is_known(&self.view);
        self.view.people = self.swarm.people_views();
        self.view.copies = self.swarm.copies().clone();
        self.view.safety = self.swarm.safety().clone();
        self.view.route = self.swarm.route();
        self.view.one_person = self.swarm.is_for_one_person();
        if let Some(sharer) = self.view.people.iter().find(|person| person.sharer) {
            self.view.from = Some(sharer.device.clone());
        }
        if self.swarm.is_linked() {
            self.alone_since = Instant::now();
        }
        // Whose share it is is written down at once: they may be gone the moment after.
        if is_known(&self.view) && !was_known {
            self.keep_people();
        } else {
            self.keep_people_sometimes();
        }
        if !self.is_over() {
            self.show_state();
        }
        self.publish();
    }

    /// Shows how it goes, as far as that follows from what is here and who is
    /// linked.
    fn show_state(&mut self) {
        let linked = self.swarm.is_linked();
        let seconds = |since: Instant| u32::try_from(since.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.view.state = match &self.view.state {
            TransferState::Checking { .. } => return,
            _ if self.accepted.is_some() && self.is_paused() => TransferState::Paused {
                progress: self.progress(),
            },
            _ if self.accepted.is_some() => {
                let silent = self.last_change.max(self.swarm.last_received());
                if linked && silent.elapsed() < STALL {
                    TransferState::Receiving {
                        progress: self.progress(),
                    }
                } else {
                    TransferState::Stalled {
                        progress: self.progress(),
                        seconds: seconds(silent),
                        carriers: self.swarm.carriers(),
                    }
                }
            }
            // The list stays on the screen while the link comes back.
            _ if self.swarm.fetch().manifest().is_some() => TransferState::Offered,
            _ if linked => {
                let (done_bytes, total_bytes) = self.preparing.unwrap_or_default();
                TransferState::Preparing {
                    done_bytes,
                    total_bytes,
                }
            }
            _ => {
                let carriers = self.swarm.carriers();
                let answered = |view: &CarrierView| view.state == CarrierState::Answered;
                let seconds = seconds(self.alone_since);
                if self.alone_since.elapsed() < LOOKING || carriers.iter().any(answered) {
                    TransferState::Connecting { carriers, seconds }
                } else {
                    TransferState::Waiting { carriers, seconds }
                }
            }
        };
    }

    fn is_paused(&self) -> bool {
        self.paused || self.context.settings().paused
    }

    fn progress(&mut self) -> Progress {
        let fetched = self.swarm.fetch().progress();
        let rate = self.swarm.receiving_rate();
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
}

impl Disk {
    /// Lets the thread write down what is here, and waits for that.
    async fn close(self) {
        let Disk {
            jobs, mut results, ..
        } = self;
        drop(jobs);
        while results.recv().await.is_some() {}
    }
}

async fn next_done(disk: &mut Option<Disk>) -> Option<Done> {
    match disk {
        Some(disk) => disk.results.recv().await,
        None => std::future::pending().await,
    }
}

fn destination_view(dir: &Path) -> Destination {
    Destination {
        path: dir.display().to_string(),
        free_bytes: sink::free_bytes(dir),
    }
}
