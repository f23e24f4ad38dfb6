//! A transfer: one share being fetched, from the pasted invite to the last file.
//!
//! ```text
//! Connecting -> Preparing -> Offered --accept--> Checking -> Receiving -> Done
//!     a broken link: Connecting again, or Stalled once accepted
//!     Declined, Cancelled, Failed: until "Try again" or the row is removed
//! ```
//!
//! One task owns each transfer. It reconnects by itself for as long as it is
//! neither done nor given up; the disk works on a thread of its own. `talking`
//! is what happens on a link, `requests` what the person asks.

mod requests;
mod talking;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use passalong_proto::fetch::Fetch;
use passalong_proto::invite::Invite;
use passalong_proto::wire::{Farewell, Message};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::api::{
    CarrierView, CopiesView, Destination, DeviceView, EntryView, Problem, ProblemCode, Progress,
    Safety, Selection, TransferState, TransferView,
};
use crate::board::Rate;
use crate::context::Context;
use crate::knocking::{Knocking, Met};
use crate::sink::{self, Done, Job};
use crate::source::Shelf;

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
        link: invite.link(),
        people: Vec::new(),
        copies: CopiesView::default(),
        safety: Safety::Nobody,
        passing_on: false,
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
        shelf: None,
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
    /// Where others can read what is here.
    shelf: Option<Arc<Shelf>>,
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
                    Met::Failed => {
                        tokio::time::sleep(AGAIN).await;
                        return Next::Reconnect;
                    }
                    Met::Peer { peer, device, name } => {
                        let name = name.as_str().to_owned();
                        self.view.from = Some(DeviceView { id: device.short(), name });
                        drop(knocking);
                        return self.talk(*peer, commands).await;
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
