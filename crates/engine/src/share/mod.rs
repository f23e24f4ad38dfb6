//! A share of one's own: from the drop to "Stop sharing".
//!
//! ```text
//! Preparing --hashed--> Ready --stop--> Stopped
//!                       Ready --one person has it all--> Delivered
//! ```
//!
//! While it is prepared it can be offered already; `preparing` is how that goes. One task
//! owns each share. The invite works from the first moment; a stopped share keeps
//! answering knocks, with "stopped", and is found for that until the app is closed. Who
//! is there and what is sent to whom is the business of its `swarm`.

mod preparing;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use passalong_proto::invite::Invite;
use passalong_proto::keys::DeviceId;
use passalong_proto::knock::Refusal;
use passalong_proto::manifest::Manifest;
use passalong_proto::wire::Farewell;
use tokio::sync::{mpsc, oneshot};

use self::preparing::{Listed, Prepared, prepare};
use crate::api::{
    Audience, CopiesView, Direction, EntryView, HistoryEntry, Outcome, PersonState, Problem,
    Safety, ShareState, ShareView, SkippedView,
};
use crate::context::Context;
use crate::engine::unix_millis;
use crate::post::Visit;
use crate::pulse::Pulse;
use crate::source::HashProgress;
use crate::store::{StoredShare, keep_people};
use crate::swarm::{Happening, Swarm};

/// How often rates and hashing progress are looked at.
const TICK: Duration = Duration::from_millis(250);

/// What a share can be asked.
#[derive(Debug)]
pub(crate) enum Command {
    SetAudience(Audience, oneshot::Sender<Result<(), Problem>>),
    Stop(oneshot::Sender<Result<(), Problem>>),
    Pause(bool, oneshot::Sender<Result<(), Problem>>),
    /// Settings that concern every share changed.
    Settings,
    /// A part of the list, by index.
    Entries(Range<u32>, oneshot::Sender<Result<Vec<EntryView>, Problem>>),
    /// Shares the same paths again: what changed on disk is read again.
    Refresh,
    /// The app is closing.
    Close(oneshot::Sender<()>),
}

/// Starts the task of a share.
pub(crate) fn start(context: Arc<Context>, stored: StoredShare) -> mpsc::Sender<Command> {
    let (sender, commands) = mpsc::channel(16);
    let secret = stored.key.secret();
    let invite = Invite::new(secret, context.addresses());
    let mut swarm = Swarm::new(
        Arc::clone(&context),
        Invite::new(secret, []),
        Some(stored.key.clone()),
    );
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
        paused: stored.paused,
        copies: CopiesView::default(),
        safety: Safety::Nobody,
        skipped: Vec::new(),
        skipped_total: 0,
        created_at: stored.created_at,
    };
    if stored.stopped {
        context.board.hide(&view.id);
    }
    swarm.answer_knocks();
    if !stored.stopped {
        swarm.announce();
    }
    swarm.set_paused(stored.paused);
    swarm.remember(crate::store::remembered(&context.store, &view.id));
    let (prepared_sender, prepared) = mpsc::channel(4);
    let share = Share {
        context,
        stored,
        view,
        swarm,
        offered: false,
        claimed: None,
        lost: false,
        preparing: None,
        prepared_sender,
    };
    // On the board before anybody can ask for it.
    share.publish();
    tokio::spawn(share.run(commands, prepared));
    sender
}

struct Share {
    context: Arc<Context>,
    stored: StoredShare,
    view: ShareView,
    swarm: Swarm,
    /// A list was made, which the swarm has.
    offered: bool,
    /// For one person: whose it is, from accepting on.
    claimed: Option<DeviceId>,
    /// A file could not be read since the list was offered.
    lost: bool,
    preparing: Option<Arc<HashProgress>>,
    prepared_sender: mpsc::Sender<Prepared>,
}

impl Share {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut prepared: mpsc::Receiver<Prepared>,
    ) {
        if self.is_open() {
            self.prepare();
        }
        let mut pulse = Pulse::new(TICK);
        loop {
            let quiet = self.preparing.is_none() && self.swarm.is_quiet();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Close(closed)) => {
                        self.close().await;
                        // Whoever asked may have stopped waiting.
                        let _ = closed.send(());
                        return;
                    }
                    Some(command) => self.command(command),
                    None => return self.close().await,
                },
                happening = self.swarm.next() => self.happened(happening),
                Some(outcome) = prepared.recv() => self.prepared(outcome),
                () = pulse.beat(quiet) => self.tick(),
            }
            self.publish();
        }
    }

    async fn close(mut self) {
        self.cancel_preparing();
        self.keep_people();
        self.swarm.close(Farewell::Closing).await;
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

    fn command(&mut self, command: Command) {
        // An answer nobody waits for any more is no loss.
        match command {
            Command::SetAudience(audience, answer) => {
                let _ = answer.send(self.set_audience(audience));
            }
            Command::Stop(answer) => {
                let _ = answer.send(self.stop(ShareState::Stopped));
            }
            Command::Pause(paused, answer) => {
                let _ = answer.send(self.pause(paused));
            }
            Command::Settings => self.swarm.set_paused(self.stored.paused),
            Command::Entries(part, answer) => {
                let manifest = self.manifest();
                let entries = manifest.map(|manifest| entries(manifest, part));
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

    fn pause(&mut self, paused: bool) -> Result<(), Problem> {
        let stored = StoredShare {
            paused,
            ..self.stored.clone()
        };
        self.context.store.put_share(&stored)?;
        self.stored = stored;
        self.view.paused = paused;
        self.swarm.set_paused(paused);
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
        let outcome = match state {
            ShareState::Delivered => {
                self.swarm.dismiss(Farewell::Finished);
                Outcome::Delivered
            }
            _ => {
                self.swarm.stop(&self.stored.key.clone());
                Outcome::Stopped
            }
        };
        self.view.state = state;
        self.keep_history(outcome);
        Ok(())
    }

    fn keep_history(&self, outcome: Outcome) {
        let people = self.view.people.iter();
        let got = people.filter(|person| person.state == PersonState::Complete);
        let entry = HistoryEntry {
            id: self.view.id.clone(),
            name: self.view.name.clone(),
            direction: Direction::Shared,
            outcome,
            people: got.map(|person| person.device.name.clone()).collect(),
            files: self.view.files,
            bytes: self.view.bytes,
            at: unix_millis(),
        };
        if let Err(problem) = self.context.store.add_history(&entry) {
            tracing::warn!(problem.message, "history could not be kept");
        }
    }

    fn keep_people(&self) {
        let known = self.swarm.memorable();
        keep_people(&self.context.store, &self.view.id, known, None);
    }

    fn cancel_preparing(&mut self) {
        if let Some(preparing) = self.preparing.take() {
            preparing.cancelled.store(true, Ordering::Relaxed);
        }
    }

    fn prepare(&mut self) {
        self.cancel_preparing();
        let hashing = Arc::new(HashProgress::new(self.context.config.hash_rate));
        self.preparing = Some(Arc::clone(&hashing));
        self.swarm.set_preparing(0, 0);
        self.view.state = ShareState::Preparing {
            done_bytes: 0,
            total_bytes: 0,
        };
        let stored = self.stored.clone();
        let store = Arc::clone(&self.context.store);
        let sender = self.prepared_sender.clone();
        tokio::task::spawn_blocking(move || {
            let outcome = prepare(&stored, &store, &hashing, &sender);
            let outcome = outcome.unwrap_or_else(|problem| Some(Prepared::Failed(problem)));
            if let Some(outcome) = outcome
                && !hashing.cancelled.load(Ordering::Relaxed)
            {
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
                self.swarm.unlist();
                self.swarm.withdraw();
            }
            Prepared::Opening(listed) => self.offer(*listed),
            Prepared::Pieces(part) => self.swarm.hashed(part),
            Prepared::Done { listed, opened } => {
                self.preparing = None;
                self.view.files = u32::try_from(listed.manifest.files()).unwrap_or(u32::MAX);
                self.view.bytes = listed.manifest.bytes();
                self.view.state = ShareState::Ready;
                if opened {
                    self.complete(*listed);
                } else {
                    self.offer(*listed);
                }
            }
        }
    }

    /// Offers a list, unless it is the one that is offered.
    fn offer(&mut self, listed: Listed) {
        let Listed {
            manifest,
            signed,
            shelf,
            skipped,
        } = listed;
        self.view.skipped = skipped.named;
        self.view.skipped_total = skipped.total;
        // Before it is offered, the list may be here from a member that was quicker.
        let before = self.swarm.fetch().signed();
        let before = before.filter(|_| self.offered);
        let same = before.is_some_and(|before| before.bytes == signed.bytes);
        if same && !std::mem::take(&mut self.lost) {
            return;
        }
        // Who came early waits for the first list; another one is for those who
        // come back.
        if std::mem::replace(&mut self.offered, true) {
            self.swarm.unlist();
        }
        let one_person = self.view.audience == Audience::OnePerson;
        if let Err(error) = self.swarm.list(manifest, signed, shelf, one_person) {
            let problem = Problem::state("offer the list", error);
            self.view.state = ShareState::Failed { problem };
        }
        self.swarm.announce();
    }

    /// The list that is offered is whole now.
    fn complete(&mut self, listed: Listed) {
        self.view.skipped = listed.skipped.named;
        self.view.skipped_total = listed.skipped.total;
        if let Err(error) = self.swarm.complete_list(listed.manifest, listed.signed) {
            let problem = Problem::state("offer the list", error);
            self.view.state = ShareState::Failed { problem };
        }
    }

    fn visit(&mut self, visit: Box<Visit>) {
        let device = visit.knock.knock.device;
        let taken = self.view.audience == Audience::OnePerson
            && self.claimed.is_some_and(|claimed| claimed != device);
        match self.view.state {
            ShareState::Stopped | ShareState::Failed { .. } => {
                self.swarm.refuse_as_stopped(*visit);
            }
            ShareState::Delivered => self.swarm.refuse(*visit, Refusal::Taken),
            _ if taken => self.swarm.refuse(*visit, Refusal::Taken),
            _ => self.swarm.welcome(*visit),
        }
    }

    fn happened(&mut self, happening: Happening) {
        let one_person = self.view.audience == Audience::OnePerson;
        match happening {
            Happening::Visit(visit) => self.visit(visit),
            Happening::Accepted { device } if one_person => self.claim(device),
            Happening::Complete { device } if one_person && self.claimed == Some(device) => {
                self.view.people = self.swarm.people_views();
                // If it cannot be kept it is delivered all the same; after a
                // restart it would only be offered again.
                if self.stop(ShareState::Delivered).is_err() {
                    self.view.state = ShareState::Delivered;
                }
            }
            Happening::Released { device } => self.release(device),
            Happening::Unavailable { entry, reason } => {
                self.lost = true;
                self.unavailable(entry, reason.reason());
            }
            // Nothing is fetched, and what others do is shown at the next tick.
            Happening::Accepted { .. }
            | Happening::Complete { .. }
            | Happening::Met(_)
            | Happening::Fetched(_)
            | Happening::Stopped
            | Happening::Failed(_) => {}
        }
        self.view.people = self.swarm.people_views();
    }

    /// A share for one person is theirs from accepting on; who else looks at
    /// it, or accepts after them, is told that it is taken.
    fn claim(&mut self, device: DeviceId) {
        match self.claimed {
            Some(claimed) if claimed != device => {
                self.swarm.dismiss_one(device, Farewell::Taken);
            }
            _ => {
                self.claimed = Some(device);
                self.swarm.dismiss_others(device, Farewell::Taken);
            }
        }
    }

    /// A share for one person is free again: its taker did not take it.
    fn release(&mut self, device: DeviceId) {
        self.claimed = self.claimed.filter(|claimed| *claimed != device);
    }

    /// The list, once it is offered.
    fn manifest(&self) -> Option<&Manifest> {
        let manifest = self.swarm.fetch().manifest();
        manifest.filter(|_| self.offered).map(|list| &**list)
    }

    fn unavailable(&mut self, entry: u32, reason: &str) {
        let Some(entry) = self
            .manifest()
            .and_then(|manifest| manifest.entries().get(entry as usize))
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
        self.view.people = self.swarm.people_views();
        self.view.copies = self.swarm.copies().clone();
        self.view.safety = self.swarm.safety().clone();
        self.view.link = self.swarm.link();
        if let (
            Some(preparing),
            ShareState::Preparing {
                done_bytes,
                total_bytes,
            },
        ) = (&self.preparing, &mut self.view.state)
        {
            *done_bytes = preparing.done.load(Ordering::Relaxed).min(*total_bytes);
            self.swarm.set_preparing(*done_bytes, *total_bytes);
        }
    }
}

/// Part of a manifest's entries, for showing.
pub(crate) fn entries(manifest: &Manifest, part: Range<u32>) -> Vec<EntryView> {
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
    let entries = manifest.entries().iter().enumerate();
    let before = part.start as usize;
    entries.skip(before).take(part.len()).map(view).collect()
}
