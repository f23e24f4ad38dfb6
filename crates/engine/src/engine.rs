//! The handle: requests in, events out. It finds the task that owns what a
//! request names and passes it on; it holds no state of shares or transfers.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use passalong_proto::invite::{Invite, InviteError};
use passalong_proto::keys::ShareKey;
use passalong_proto::knock::{self, DeviceName};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::api::{
    AtStake, Audience, DeviceView, EntryView, Event, HistoryEntry, Id, Opened, PersonState,
    PersonView, Presence, Problem, ProblemCode, Safety, Selection, Settings, ShareState, Snapshot,
    Totals, TransferState,
};
use crate::board::Rate;
use crate::config::Config;
use crate::context::Context;
use crate::doctor::{self, Checkup, Kept};
use crate::post::Post;
use crate::problem::size;
use crate::store::{Store, StoredShare};
use crate::{network, share, source, swarm, transfer};

/// How often the totals are added up.
const TOTALS: Duration = Duration::from_millis(500);
/// Entries of history that are shown.
const HISTORY: u32 = 500;
/// How long shutting down may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(3);
/// A pasted knock is answered within this time, gathering included.
const PASTE_ANSWER: Duration = Duration::from_secs(15);

/// A running Passalong. Cheap to clone; [`Engine::shutdown`] ends it.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    context: Arc<Context>,
    shares: Mutex<HashMap<Id, mpsc::Sender<share::Command>>>,
    transfers: Mutex<HashMap<Id, mpsc::Sender<transfer::Command>>>,
    totals: JoinHandle<()>,
    network: JoinHandle<()>,
    told: Option<String>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.totals.abort();
        self.network.abort();
    }
}

impl Engine {
    /// Starts on a data folder. Shares kept there are offered again under the
    /// same codes.
    pub async fn start(config: Config) -> Result<Engine, Problem> {
        let data_dir = config.data_dir.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(&data_dir)).await;
        let (store, told) = opened.map_err(|error| Problem::state("start", error))??;
        let key = store.device_key()?;
        let name = match &config.device_name {
            Some(name) => name.clone(),
            None => store.device_name()?,
        };
        let settings = store.settings()?;
        let kept = store.shares()?;
        let post = Post::open(&config.bind, store.port()?).map_err(|error| {
            Problem::new(
                ProblemCode::Internal,
                format!("No network port could be opened: {error}."),
                "Check the address given with --bind, and this computer's network.",
            )
        })?;
        store.set_port(post.port())?;
        let name = DeviceName::new(&name);
        let context = Arc::new(Context::new(
            config,
            Arc::new(store),
            post,
            key,
            name,
            settings,
        ));
        context.apply_settings();
        let shares = kept
            .into_iter()
            .map(|stored| {
                (
                    stored.key.secret().id(),
                    share::start(Arc::clone(&context), stored),
                )
            })
            .collect();
        let downloads = if context.config.resume {
            context.store.downloads()?
        } else {
            Vec::new()
        };
        let transfers = downloads
            .into_iter()
            .map(|stored| (stored.id(), transfer::resume(Arc::clone(&context), stored)))
            .collect();
        let totals = tokio::spawn(add_up(Arc::clone(&context)));
        let network = tokio::spawn(network::follow(Arc::clone(&context)));
        Ok(Engine {
            inner: Arc::new(Inner {
                context,
                shares: Mutex::new(shares),
                transfers: Mutex::new(transfers),
                totals,
                network,
                told,
            }),
        })
    }

    /// What the person should know about starting, if anything: records that
    /// had to be set aside.
    pub fn told(&self) -> Option<&str> {
        self.inner.told.as_deref()
    }

    /// Changes from now on. A listener that lags takes a snapshot.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.board().events()
    }

    /// Everything as it is now.
    pub async fn snapshot(&self) -> Snapshot {
        Snapshot {
            device: self.context().device_view(),
            settings: self.context().settings(),
            shares: self.board().shares(),
            transfers: self.board().transfers(),
            totals: self.board().totals(),
        }
    }

    /// Offers files and folders. The same paths are the same share, with the
    /// same code, until it is stopped.
    pub async fn share(
        &self,
        paths: Vec<PathBuf>,
        name: Option<String>,
        audience: Audience,
    ) -> Result<Id, Problem> {
        if paths.is_empty() {
            return Err(Problem::new(
                ProblemCode::Usage,
                "Nothing was chosen.",
                "Drop or choose files or folders.",
            ));
        }
        let absolute = |path: PathBuf| {
            // `absolute` keeps links: a link is left out and listed, not followed.
            let full = std::path::absolute(&path).map_err(|error| Problem::disk(&path, &error))?;
            std::fs::symlink_metadata(&full).map_err(|error| Problem::disk(&path, &error))?;
            Ok(full)
        };
        let mut paths = paths
            .into_iter()
            .map(absolute)
            .collect::<Result<Vec<_>, Problem>>()?;
        paths.sort();
        paths.dedup();
        let kept = self.context().store.shares()?;
        if let Some(same) = kept
            .iter()
            .find(|share| !share.stopped && share.paths == paths)
        {
            let id = same.key.secret().id();
            if same.audience != audience {
                self.set_audience(&id, audience).await?;
            }
            if let Ok(task) = self.share_task(&id) {
                // A task that is gone leaves nothing to refresh.
                let _ = task.send(share::Command::Refresh).await;
            }
            return Ok(id);
        }
        let stored = StoredShare {
            key: ShareKey::from_seed(crate::random()),
            name: name.unwrap_or_else(|| source::share_name(&paths)),
            paths,
            audience,
            created_at: unix_millis(),
            stopped: false,
            paused: false,
        };
        self.context().store.put_share(&stored)?;
        let id = stored.key.secret().id();
        let task = share::start(Arc::clone(self.context()), stored);
        lock(&self.inner.shares).insert(id.clone(), task);
        Ok(id)
    }

    /// Changes who may use the invite.
    pub async fn set_audience(&self, id: &str, audience: Audience) -> Result<(), Problem> {
        let task = self.share_task(id)?;
        ask(&task, |answer| {
            share::Command::SetAudience(audience, answer)
        })
        .await
    }

    /// Stops a share: its invite answers "stopped" from now on.
    pub async fn stop_share(&self, id: &str) -> Result<(), Problem> {
        let task = self.share_task(id)?;
        ask(&task, share::Command::Stop).await
    }

    /// Pauses a share or transfer: nothing of it is sent or fetched.
    pub async fn pause(&self, id: &str) -> Result<(), Problem> {
        self.set_paused(id, true).await
    }

    /// Goes on with a paused share or transfer.
    pub async fn resume(&self, id: &str) -> Result<(), Problem> {
        self.set_paused(id, false).await
    }

    async fn set_paused(&self, id: &str, paused: bool) -> Result<(), Problem> {
        if let Ok(task) = self.share_task(id) {
            return ask(&task, |answer| share::Command::Pause(paused, answer)).await;
        }
        let task = self.transfer_task(id)?;
        ask(&task, |answer| transfer::Command::Pause(paused, answer)).await
    }

    /// Passes a received share on for as long as the engine runs.
    pub async fn pass_on(&self, id: &str) -> Result<(), Problem> {
        self.set_pass_on(id, true).await
    }

    /// Passes a received share on no longer.
    pub async fn stop_passing(&self, id: &str) -> Result<(), Problem> {
        self.set_pass_on(id, false).await
    }

    async fn set_pass_on(&self, id: &str, pass_on: bool) -> Result<(), Problem> {
        let task = self.transfer_task(id)?;
        ask(&task, |answer| transfer::Command::PassOn(pass_on, answer)).await
    }

    /// What was shared and received and is over, newest first.
    pub async fn history(&self) -> Result<Vec<HistoryEntry>, Problem> {
        self.context().store.history(HISTORY)
    }

    /// Forgets what was shared and received.
    pub async fn clear_history(&self) -> Result<(), Problem> {
        self.context().store.clear_history()
    }

    /// Removes the row of a share or transfer that is over.
    pub async fn forget(&self, id: &str) -> Result<(), Problem> {
        if let Some(share) = self.board().share(id) {
            let over = !matches!(
                share.state,
                ShareState::Preparing { .. } | ShareState::Ready
            );
            if !over {
                return Err(Problem::out_of_turn(
                    "the share is still open; stop it first",
                ));
            }
            // A stopped share goes on answering "stopped"; only its row goes.
            self.board().hide(id);
            return Ok(());
        }
        let transfer = self.board().transfer(id).ok_or_else(Problem::unknown)?;
        let over = matches!(
            transfer.state,
            TransferState::Done { .. }
                | TransferState::Declined
                | TransferState::Cancelled
                | TransferState::Failed { .. }
        );
        if !over {
            return Err(Problem::out_of_turn(
                "the transfer is still going on; cancel it first",
            ));
        }
        let task = lock(&self.inner.transfers).remove(id);
        if let Some(task) = task {
            if matches!(transfer.state, TransferState::Failed { .. }) {
                // Nobody will go on with it, so what is unfinished goes too.
                let _ = ask(&task, transfer::Command::Cancel).await;
            }
            let (closed, done) = oneshot::channel();
            if task.send(transfer::Command::Close(closed)).await.is_ok() {
                let _ = done.await;
            }
        }
        self.board().remove(id);
        self.context().store.remove_download(id)
    }

    /// Takes a pasted text: an invite, a reply code or an answer code.
    pub async fn open(&self, text: &str) -> Result<Opened, Problem> {
        if knock::looks_like_text(text) {
            return self.open_code(text).await;
        }
        let invite = Invite::parse(text).map_err(|error| invite_problem(&error))?;
        let id = invite.secret.id();
        if lock(&self.inner.shares).contains_key(&id) {
            return Err(Problem::own_invite());
        }
        let known = self.transfer_task(&id).ok();
        if let Some(task) = known {
            // Opening it again means: go on, if it had stopped.
            let _ = task
                .send(transfer::Command::Addresses(invite.addresses))
                .await;
            let _ = ask(&task, transfer::Command::Retry).await;
            return Ok(Opened::Transfer { id });
        }
        let task = transfer::start(Arc::clone(self.context()), invite, unix_millis());
        lock(&self.inner.transfers).insert(id.clone(), task);
        Ok(Opened::Transfer { id })
    }

    async fn open_code(&self, text: &str) -> Result<Opened, Problem> {
        let damaged = || {
            Problem::new(
                ProblemCode::NotAnInvite,
                "This code was damaged on the way.",
                "Copy the whole of it, from \"passalong\" to the end, and paste it again.",
            )
        };
        let bytes = knock::from_text(text).ok_or_else(damaged)?;
        if knock::is_answer(&bytes) {
            let Some(id) = self.context().post.deliver_answer(&bytes) else {
                return Err(Problem::new(
                    ProblemCode::NotAnInvite,
                    "This answer code does not belong to anything that is waiting here.",
                    "Open the invite again, send a new reply code, and paste the answer to that one.",
                ));
            };
            return Ok(Opened::Answer { id });
        }
        let own = self.context().device();
        let delivered = self.context().post.deliver(&bytes);
        let Some((share, delivery)) = delivered.filter(|(_, d)| d.from.0 != own) else {
            return Err(Problem::new(
                ProblemCode::NotAnInvite,
                "This reply code does not belong to a share on this computer.",
                "Paste it where the files were shared, or ask for the reply to the newest invite.",
            ));
        };
        let answer = tokio::time::timeout(PASTE_ANSWER, delivery.answer).await;
        let Ok(Ok(answer)) = answer else {
            return Err(Problem::new(
                ProblemCode::Unreachable,
                "This reply code could not be answered.",
                "Ask for a new reply code and paste it soon after.",
            ));
        };
        // Where the knocker can be called, nobody has to carry the answer back.
        let context = Arc::clone(self.context());
        let (called, to) = (answer.clone(), swarm::callable(&delivery.call_back));
        tokio::spawn(async move {
            for _ in 0..10 {
                for address in &to {
                    context.post.send(&called, *address).await;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
        let (device, name) = delivery.from;
        Ok(Opened::Reply {
            share,
            from: DeviceView {
                id: device.short(),
                name: name.as_str().to_owned(),
            },
            answer_code: knock::to_text(&answer),
        })
    }

    /// The list of a share or transfer.
    pub async fn entries(&self, id: &str) -> Result<Vec<EntryView>, Problem> {
        self.some_entries(id, 0..u32::MAX).await
    }

    /// A part of the list of a share or transfer, by the index of its entries: what of
    /// `part` there is.
    pub async fn some_entries(
        &self,
        id: &str,
        part: Range<u32>,
    ) -> Result<Vec<EntryView>, Problem> {
        if let Ok(task) = self.share_task(id) {
            return ask(&task, |answer| share::Command::Entries(part, answer)).await;
        }
        let task = self.transfer_task(id)?;
        ask(&task, |answer| transfer::Command::Entries(part, answer)).await
    }

    /// Chooses where a transfer's files go.
    pub async fn set_destination(&self, id: &str, dir: PathBuf) -> Result<(), Problem> {
        let task = self.transfer_task(id)?;
        ask(&task, |answer| {
            transfer::Command::SetDestination(dir, answer)
        })
        .await
    }

    /// Accepts what is offered, or part of it.
    pub async fn accept(&self, id: &str, selection: Selection) -> Result<(), Problem> {
        let task = self.transfer_task(id)?;
        ask(&task, |answer| transfer::Command::Accept(selection, answer)).await
    }

    /// Declines what is offered.
    pub async fn decline(&self, id: &str) -> Result<(), Problem> {
        ask(&self.transfer_task(id)?, transfer::Command::Decline).await
    }

    /// Gives a transfer up; unfinished files are removed, whole ones stay.
    pub async fn cancel(&self, id: &str) -> Result<(), Problem> {
        ask(&self.transfer_task(id)?, transfer::Command::Cancel).await
    }

    /// Begins a failed, declined or cancelled transfer again.
    pub async fn retry(&self, id: &str) -> Result<(), Problem> {
        ask(&self.transfer_task(id)?, transfer::Command::Retry).await
    }

    /// A code to send back to the sharer by any means.
    pub async fn reply_code(&self, id: &str) -> Result<String, Problem> {
        ask(&self.transfer_task(id)?, transfer::Command::ReplyCode).await
    }

    /// What "Show in folder" shows.
    pub async fn location(&self, id: &str) -> Result<PathBuf, Problem> {
        ask(&self.transfer_task(id)?, transfer::Command::Location).await
    }

    /// Renames this device.
    pub async fn rename_device(&self, name: &str) -> Result<(), Problem> {
        let name = DeviceName::new(name);
        self.context().store.set_device_name(name.as_str())?;
        self.context().set_name(name);
        self.board().tell(Event::Device {
            device: self.context().device_view(),
        });
        Ok(())
    }

    /// Keeps settings and takes them into use.
    pub async fn save_settings(&self, settings: Settings) -> Result<(), Problem> {
        self.context().store.set_settings(&settings)?;
        self.context().set_settings(settings.clone());
        let shares: Vec<_> = lock(&self.inner.shares).values().cloned().collect();
        let transfers: Vec<_> = lock(&self.inner.transfers).values().cloned().collect();
        for task in shares {
            // A task that is gone has nothing to change.
            let _ = task.send(share::Command::Settings).await;
        }
        for task in transfers {
            let _ = task.send(transfer::Command::Settings).await;
        }
        self.board().tell(Event::Settings { settings });
        Ok(())
    }

    /// The network is another one, as the system says. Noticed by itself within a few
    /// seconds where addresses changed; whoever learns it earlier, or of more, may say so.
    pub fn network_changed(&self) {
        self.context().network.changed();
    }

    /// Looks whether others can reach this computer, as `passalong doctor` does. Takes a
    /// few seconds.
    pub async fn check_connection(&self) -> Checkup {
        let context = self.context();
        let kept = Kept::of(&context.config, &context.store, context.settings());
        doctor::examine(&context.config, kept).await
    }

    /// What closing now would cut off, if anything.
    pub async fn at_stake(&self) -> Option<AtStake> {
        let mut sentences = Vec::new();
        for share in self.board().shares() {
            sentences.extend(needs(&share.name, &share.people, &share.safety));
        }
        for transfer in self.board().transfers() {
            let name = transfer.name.as_deref().unwrap_or("a share");
            sentences.extend(needs(name, &transfer.people, &transfer.safety));
        }
        for transfer in self.board().transfers() {
            if let TransferState::Receiving { progress } | TransferState::Stalled { progress, .. } =
                &transfer.state
            {
                let left = size(progress.total.saturating_sub(progress.bytes));
                let name = transfer.name.as_deref().unwrap_or("a share");
                sentences.push(format!(
                    "{left} of \u{201c}{name}\u{201d} have not arrived yet."
                ));
            }
        }
        (!sentences.is_empty()).then_some(AtStake { sentences })
    }

    /// Says goodbye to everybody and ends all tasks. What is here is kept.
    pub async fn shutdown(&self) {
        let shares: Vec<_> = lock(&self.inner.shares).drain().collect();
        let transfers: Vec<_> = lock(&self.inner.transfers).drain().collect();
        let mut waits = tokio::task::JoinSet::new();
        for (_, task) in shares {
            waits.spawn(async move {
                let (closed, done) = oneshot::channel();
                if task.send(share::Command::Close(closed)).await.is_ok() {
                    let _ = done.await;
                }
            });
        }
        for (_, task) in transfers {
            waits.spawn(async move {
                let (closed, done) = oneshot::channel();
                if task.send(transfer::Command::Close(closed)).await.is_ok() {
                    let _ = done.await;
                }
            });
        }
        // Peers that do not hear the goodbye notice the silence.
        let _ = tokio::time::timeout(GOODBYE, waits.join_all()).await;
    }

    fn context(&self) -> &Arc<Context> {
        &self.inner.context
    }

    fn board(&self) -> &crate::board::Board {
        &self.inner.context.board
    }

    fn share_task(&self, id: &str) -> Result<mpsc::Sender<share::Command>, Problem> {
        lock(&self.inner.shares)
            .get(id)
            .cloned()
            .ok_or_else(Problem::unknown)
    }

    fn transfer_task(&self, id: &str) -> Result<mpsc::Sender<transfer::Command>, Problem> {
        lock(&self.inner.transfers)
            .get(id)
            .cloned()
            .ok_or_else(Problem::unknown)
    }
}

async fn ask<C, T>(
    task: &mpsc::Sender<C>,
    command: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> C,
) -> Result<T, Problem> {
    let (sender, answer) = oneshot::channel();
    let gone = |_| Problem::unknown();
    task.send(command(sender))
        .await
        .map_err(|_| Problem::unknown())?;
    answer.await.map_err(gone)?
}

async fn add_up(context: Arc<Context>) {
    let mut tick = tokio::time::interval(TOTALS);
    let (mut carried, mut carrying) = (0, Rate::new());
    loop {
        tick.tick().await;
        let all = context.carried();
        carrying.add(all - std::mem::replace(&mut carried, all));
        let mut totals = Totals {
            carried: carrying.tick(),
            ..Totals::default()
        };
        for share in context.board.shares() {
            for person in share.people {
                totals.people += u32::from(person.presence == Presence::Connected);
                totals.up += person.rate;
            }
        }
        for transfer in context.board.transfers() {
            for person in &transfer.people {
                totals.people += u32::from(person.presence == Presence::Connected);
                totals.up += person.rate;
            }
            if let TransferState::Receiving { progress } = transfer.state {
                totals.down += progress.rate;
            }
        }
        context.board.put_totals(totals);
    }
}

/// What the people who are still fetching would miss if this device left.
fn needs(name: &str, people: &[PersonView], safety: &Safety) -> Vec<String> {
    if matches!(safety, Safety::Safe { .. } | Safety::SafeTogether) {
        return Vec::new();
    }
    let fetching = people.iter().filter(|person| {
        person.presence == Presence::Connected
            && matches!(person.state, PersonState::Receiving | PersonState::Waiting)
    });
    fetching
        .map(|person| {
            let left = size(person.total.saturating_sub(person.bytes));
            format!(
                "{} still needs {left} of \u{201c}{name}\u{201d} from you.",
                person.device.name
            )
        })
        .collect()
}

fn invite_problem(error: &InviteError) -> Problem {
    Problem::new(
        ProblemCode::NotAnInvite,
        sentence(&error.to_string()),
        "Check the code with the person who sent it, or copy and paste the whole invite.",
    )
}

/// A sentence out of an error's words.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    let end = if words.ends_with(['.', '!', '?']) {
        ""
    } else {
        "."
    };
    first.chain(letters).collect::<String>() + end
}

pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
