//! A share of one's own: from the drop to "Stop sharing".
//!
//! ```text
//! Preparing --hashed--> Ready --stop--> Stopped
//!                       Ready --one person has it all--> Delivered
//! ```
//!
//! One task owns each share. The invite works from the first moment; a stopped
//! share keeps answering knocks, with "stopped".

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use passalong_proto::invite::Invite;
use passalong_proto::keys::DeviceId;
use passalong_proto::knock::{Refusal, SessionId};
use passalong_proto::manifest::{Manifest, SignedManifest};
use passalong_proto::wire::Farewell;
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::{
    Audience, CopiesView, DeviceView, EntryView, PersonState, PersonView, Presence, Problem,
    ProblemCode, Safety, ShareState, ShareView, SkippedView,
};
use crate::board::Rate;
use crate::context::Context;
use crate::host::{Change, Host, Progress, Ready, Report};
use crate::post::{VISIT_QUEUE, Visit};
use crate::source::{self, HashProgress, Offered};
use crate::store::{Store, StoredShare};

/// How often rates and hashing progress are looked at.
const TICK: Duration = Duration::from_millis(250);
/// People that a share remembers.
const MAX_REMEMBERED: usize = 500;

/// What a share can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    SetAudience(Audience, oneshot::Sender<Result<(), Problem>>),
    Stop(oneshot::Sender<Result<(), Problem>>),
    Entries(oneshot::Sender<Result<Vec<EntryView>, Problem>>),
    /// Shares the same paths again: what changed on disk is read again.
    Refresh,
    /// The app is closing.
    Close(oneshot::Sender<()>),
}

/// Starts the task of a share.
pub(crate) fn start(context: Arc<Context>, stored: StoredShare) -> mpsc::Sender<Command> {
    let (sender, commands) = mpsc::channel(16);
    let (visit_sender, visits) = mpsc::channel(VISIT_QUEUE);
    let secret = stored.key.secret();
    context.post.register(secret, visit_sender);
    let (progress, watched) = watch::channel(Progress::default());
    let (host, reports) = Host::new(Arc::clone(&context), secret, watched);
    let invite = Invite::new(secret, context.post.addresses());
    let view = ShareView {
        id: secret.id(),
        name: stored.name.clone(),
        state: if stored.stopped {
            ShareState::Stopped
        } else {
            ShareState::Preparing {
                done_bytes: 0,
                total_bytes: 0,
            }
        },
        audience: stored.audience,
        files: 0,
        bytes: 0,
        code: invite.code(),
        link: invite.link(),
        people: Vec::new(),
        paused: false,
        copies: CopiesView::default(),
        safety: Safety::Nobody,
        skipped: Vec::new(),
        skipped_total: 0,
        created_at: stored.created_at,
    };
    if stored.stopped {
        context.board.hide(&view.id);
    }
    let (prepared_sender, prepared) = mpsc::channel(4);
    let share = Share {
        context,
        stored,
        view,
        host,
        progress,
        ready: None,
        claimed: None,
        people: HashMap::new(),
        preparing: None,
        prepared_sender,
    };
    // On the board before anybody can ask for it.
    share.publish();
    tokio::spawn(share.run(commands, visits, reports, prepared));
    sender
}

/// How preparing ended.
enum Prepared {
    Found { files: u32, bytes: u64 },
    Done(Box<(Manifest, SignedManifest, Offered)>),
    Failed(Problem),
}

struct PersonTally {
    sent: Rate,
    row: usize,
}

struct Share {
    context: Arc<Context>,
    stored: StoredShare,
    view: ShareView,
    host: Host,
    progress: watch::Sender<Progress>,
    ready: Option<Arc<Ready>>,
    /// For one person: whose it is, from accepting on.
    claimed: Option<DeviceId>,
    people: HashMap<DeviceId, PersonTally>,
    preparing: Option<Arc<HashProgress>>,
    prepared_sender: mpsc::Sender<Prepared>,
}

impl Share {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut visits: mpsc::Receiver<Visit>,
        mut reports: mpsc::UnboundedReceiver<Report>,
        mut prepared: mpsc::Receiver<Prepared>,
    ) {
        if self.is_open() {
            self.prepare();
            self.announce();
        }
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Close(closed)) => {
                        self.cancel_preparing();
                        self.withdraw();
                        self.context.post.unregister(&self.view.id);
                        self.host.close(Farewell::Closing).await;
                        // Whoever asked may have stopped waiting.
                        let _ = closed.send(());
                        return;
                    }
                    Some(command) => self.command(command),
                    None => return,
                },
                Some(visit) = visits.recv() => self.visit(visit),
                Some(report) = reports.recv() => self.report(report),
                Some(outcome) = prepared.recv() => self.prepared(outcome),
                _ = tick.tick() => self.tick(),
            }
            self.publish();
        }
    }

    fn is_open(&self) -> bool {
        matches!(
            self.view.state,
            ShareState::Preparing { .. } | ShareState::Ready
        )
    }

    fn publish(&self) {
        self.context.board.put_share(self.view.clone());
    }

    fn announce(&self) {
        if let Some(lan) = self.context.lan() {
            lan.announce(
                &self.stored.key.secret().lan_tag(),
                self.context.post.port(),
            );
        }
    }

    fn withdraw(&self) {
        if let Some(lan) = self.context.lan() {
            lan.withdraw(&self.stored.key.secret().lan_tag());
        }
    }

    fn command(&mut self, command: Command) {
        // An answer nobody waits for any more is no loss.
        match command {
            Command::SetAudience(audience, answer) => {
                let _ = answer.send(self.set_audience(audience));
            }
            Command::Stop(answer) => {
                let _ = answer.send(self.stop(ShareState::Stopped));
            }
            Command::Entries(answer) => {
                let entries = self.ready.as_ref().map(|ready| entries(&ready.manifest));
                let missing = || Problem::out_of_turn("the files are still being read");
                let _ = answer.send(entries.ok_or_else(missing));
            }
            Command::Refresh => {
                if matches!(
                    self.view.state,
                    ShareState::Ready | ShareState::Failed { .. }
                ) {
                    self.prepare();
                }
            }
            Command::Close(_) => {}
        }
    }

    fn set_audience(&mut self, audience: Audience) -> Result<(), Problem> {
        let stored = StoredShare {
            audience,
            ..self.stored.clone()
        };
        self.context.store.put_share(&stored)?;
        self.stored = stored;
        self.view.audience = audience;
        Ok(())
    }

    fn stop(&mut self, state: ShareState) -> Result<(), Problem> {
        let stored = StoredShare {
            stopped: true,
            ..self.stored.clone()
        };
        self.context.store.put_share(&stored)?;
        self.stored = stored;
        self.cancel_preparing();
        self.withdraw();
        let farewell = match state {
            ShareState::Delivered => Farewell::Finished,
            _ => Farewell::Stopped,
        };
        self.view.state = state;
        self.host.dismiss(farewell);
        Ok(())
    }

    fn cancel_preparing(&mut self) {
        if let Some(preparing) = self.preparing.take() {
            preparing.cancelled.store(true, Ordering::Relaxed);
        }
    }

    fn prepare(&mut self) {
        self.cancel_preparing();
        let hashing = Arc::new(HashProgress::default());
        self.preparing = Some(Arc::clone(&hashing));
        self.ready = None;
        self.progress.send_replace(Progress::default());
        self.view.state = ShareState::Preparing {
            done_bytes: 0,
            total_bytes: 0,
        };
        let (key, name) = (self.stored.key.clone(), self.stored.name.clone());
        let paths = self.stored.paths.clone();
        let sender = self.prepared_sender.clone();
        let store = Arc::clone(&self.context.store);
        tokio::task::spawn_blocking(move || {
            let outcome = prepare(&store, &key, &name, &paths, &hashing, &sender);
            if !hashing.cancelled.load(Ordering::Relaxed) {
                let outcome = outcome.unwrap_or_else(Prepared::Failed);
                // The share may have been stopped meanwhile.
                let _ = sender.blocking_send(outcome);
            }
        });
    }

    fn prepared(&mut self, outcome: Prepared) {
        if self.preparing.is_none() {
            return;
        }
        match outcome {
            Prepared::Found { files, bytes } => {
                self.view.files = files;
                self.view.bytes = bytes;
                self.view.state = ShareState::Preparing {
                    done_bytes: 0,
                    total_bytes: bytes,
                };
            }
            Prepared::Failed(problem) => {
                self.preparing = None;
                self.view.state = ShareState::Failed { problem };
                self.host.dismiss(Farewell::Closing);
                self.withdraw();
            }
            Prepared::Done(done) => {
                let (manifest, signed, offered) = *done;
                self.preparing = None;
                self.view.files = u32::try_from(manifest.files()).unwrap_or(u32::MAX);
                self.view.bytes = manifest.bytes();
                self.view.skipped = offered.skipped.named;
                self.view.skipped_total = offered.skipped.total;
                self.view.state = ShareState::Ready;
                let ready = Arc::new(Ready {
                    manifest: Arc::new(manifest),
                    signed: Arc::new(signed),
                    shelf: Arc::new(offered.shelf),
                });
                self.ready = Some(Arc::clone(&ready));
                self.progress.send_replace(Progress {
                    done_bytes: self.view.bytes,
                    total_bytes: self.view.bytes,
                    ready: Some(ready),
                });
            }
        }
    }

    fn visit(&mut self, visit: Visit) {
        let device = visit.knock.knock.device;
        let taken = self.view.audience == Audience::OnePerson
            && self.claimed.is_some_and(|claimed| claimed != device);
        match self.view.state {
            ShareState::Stopped | ShareState::Failed { .. } => {
                self.host.refuse(visit, Refusal::Stopped);
            }
            ShareState::Delivered => self.host.refuse(visit, Refusal::Taken),
            _ if taken => self.host.refuse(visit, Refusal::Taken),
            _ => self.host.welcome(visit),
        }
    }

    fn report(&mut self, report: Report) {
        let Report {
            session,
            device,
            name,
            change,
        } = report;
        let row = match self.people.get(&device) {
            Some(tally) => tally.row,
            None if self.view.people.len() >= MAX_REMEMBERED => {
                if matches!(change, Change::Gone) {
                    self.host.forget(session);
                }
                return;
            }
            None => {
                let row = self.view.people.len();
                self.view.people.push(PersonView {
                    device: DeviceView {
                        id: device.short(),
                        name: String::new(),
                    },
                    route: None,
                    state: PersonState::Connecting,
                    bytes: 0,
                    total: 0,
                    rate: 0,
                    from_rate: 0,
                    sharer: false,
                    presence: Presence::Connected,
                });
                self.people.insert(
                    device,
                    PersonTally {
                        sent: Rate::new(),
                        row,
                    },
                );
                row
            }
        };
        let person = &mut self.view.people[row];
        person.device.name = name.as_str().to_owned();
        match change {
            Change::Connecting => {
                if person.state != PersonState::Complete {
                    person.state = PersonState::Connecting;
                }
            }
            Change::Connected(route) => {
                person.route = Some(route);
                person.state = PersonState::Choosing;
            }
            Change::Accepted { bytes } => {
                person.total = bytes;
                person.state = PersonState::Receiving;
                if self.view.audience == Audience::OnePerson {
                    self.claim(device, session);
                }
            }
            Change::Holds { bytes } => person.bytes = bytes,
            Change::Sent { bytes } => {
                if let Some(tally) = self.people.get_mut(&device) {
                    tally.sent.add(bytes);
                }
            }
            Change::Complete => {
                person.bytes = person.total;
                person.state = PersonState::Complete;
                person.rate = 0;
                if self.view.audience == Audience::OnePerson && self.claimed == Some(device) {
                    // If it cannot be kept it is delivered all the same; after
                    // a restart it would only be offered again.
                    if self.stop(ShareState::Delivered).is_err() {
                        self.view.state = ShareState::Delivered;
                    }
                }
            }
            Change::Declined => {
                person.state = PersonState::Declined;
                self.release(device);
            }
            Change::Cancelled => {
                person.state = PersonState::Cancelled;
                self.release(device);
            }
            Change::Unavailable { entry, reason } => self.unavailable(entry, reason.reason()),
            Change::Gone => {
                person.rate = 0;
                person.route = None;
                if matches!(
                    person.state,
                    PersonState::Connecting | PersonState::Choosing | PersonState::Receiving
                ) {
                    person.state = PersonState::Lost;
                }
                self.host.forget(session);
            }
        }
    }

    /// A share for one person is theirs from accepting on; who else looks at
    /// it, or accepts after them, is told that it is taken.
    fn claim(&mut self, device: DeviceId, session: SessionId) {
        match self.claimed {
            Some(claimed) if claimed != device => {
                self.host.dismiss_one(session, Farewell::Taken);
            }
            _ => {
                self.claimed = Some(device);
                self.host.dismiss_others(session, Farewell::Taken);
            }
        }
    }

    /// A share for one person is free again: its taker did not take it.
    fn release(&mut self, device: DeviceId) {
        self.claimed = self.claimed.filter(|claimed| *claimed != device);
    }

    fn unavailable(&mut self, entry: u32, reason: &str) {
        let Some(entry) = self
            .ready
            .as_ref()
            .and_then(|r| r.manifest.entries().get(entry as usize))
        else {
            return;
        };
        let told = SkippedView {
            path: entry.path.to_string(),
            reason: reason.to_owned(),
        };
        if !self.view.skipped.contains(&told) && self.view.skipped.len() < 100 {
            self.view.skipped.push(told);
            self.view.skipped_total += 1;
        }
    }

    fn tick(&mut self) {
        for tally in self.people.values_mut() {
            let person = &mut self.view.people[tally.row];
            if person.state == PersonState::Receiving {
                person.rate = tally.sent.tick();
            } else {
                tally.sent.reset();
            }
        }
        if let (
            Some(preparing),
            ShareState::Preparing {
                done_bytes,
                total_bytes,
            },
        ) = (&self.preparing, &mut self.view.state)
        {
            *done_bytes = preparing.done.load(Ordering::Relaxed).min(*total_bytes);
            self.progress.send_replace(Progress {
                done_bytes: *done_bytes,
                total_bytes: *total_bytes,
                ready: None,
            });
        }
    }
}

fn prepare(
    store: &Store,
    key: &passalong_proto::keys::ShareKey,
    name: &str,
    paths: &[PathBuf],
    hashing: &HashProgress,
    sender: &mpsc::Sender<Prepared>,
) -> Result<Prepared, Problem> {
    let found = source::find(paths, &hashing.cancelled)
        .map_err(|(path, error)| Problem::disk(&path, &error))?;
    let _ = sender.blocking_send(Prepared::Found {
        files: found.files,
        bytes: found.bytes,
    });
    let id = key.secret().id();
    let recorded = store.share_files(&id).unwrap_or_else(|problem| {
        tracing::warn!(%problem.message, "all files of a share are hashed again");
        Vec::new()
    });
    let mut offered = source::hash(found, recorded, hashing);
    let cancelled = hashing.cancelled.load(Ordering::Relaxed);
    if !cancelled && let Err(problem) = store.put_share_files(&id, &offered.hashed) {
        tracing::warn!(%problem.message, "the hashes of a share could not be kept");
    }
    if offered.entries.is_empty() && !cancelled {
        let named = offered.skipped.named.first();
        return Err(Problem::new(
            ProblemCode::Disk,
            match named {
                Some(one) => format!("{} cannot be shared: {}.", one.path, one.reason),
                None => "There is nothing here that can be shared.".to_owned(),
            },
            "Choose other files, or mend what is named here and share again.",
        ));
    }
    let too_much = |error| {
        Problem::new(
            ProblemCode::Usage,
            format!("This cannot be shared in one go: {error}."),
            "Share it in several parts.",
        )
    };
    let manifest = Manifest::new(name, std::mem::take(&mut offered.entries)).map_err(too_much)?;
    let signed = SignedManifest::sign(key, &manifest).map_err(too_much)?;
    Ok(Prepared::Done(Box::new((manifest, signed, offered))))
}

/// A manifest's entries, for showing.
pub(crate) fn entries(manifest: &Manifest) -> Vec<EntryView> {
    use passalong_proto::manifest::EntryKind;
    let view = |(index, entry): (usize, &passalong_proto::manifest::Entry)| {
        let (size, folder) = match entry.kind {
            EntryKind::File { size, .. } => (size, false),
            EntryKind::Folder { .. } => (0, true),
        };
        EntryView {
            index: index as u32,
            path: entry.path.to_string(),
            size,
            folder,
            executable: !folder && entry.path.is_executable_name(),
        }
    };
    manifest.entries().iter().enumerate().map(view).collect()
}
