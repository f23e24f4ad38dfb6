//! The serving side: people who knock for one share, from their first knock to
//! their last piece. A share of one's own and a received share that is passed
//! on are served by the same code.
//!
//! One task serves each person; the host only routes knocks and keeps count.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::{DeviceId, Role};
use passalong_proto::knock::{Answer, DeviceName, MAX_CALL_BACK, Refusal, SessionId};
use passalong_proto::manifest::{Manifest, SignedManifest};
use passalong_proto::serve::{Serve, ServeEvent};
use passalong_proto::wire::{FRAME_DATA, Farewell, Frame, Message, PieceRef, SourceProblem};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::Route;
use crate::context::Context;
use crate::link::{self, Channel, Connecting};
use crate::peer::{Inbound, Peer, greet};
use crate::post::{Visit, WayBack};
use crate::source::{Reader, Shelf};

/// People served at once, for one share.
const MAX_PEOPLE: usize = 64;
/// A connection that is not made after this long is given up.
const CONNECT: Duration = Duration::from_secs(45);
/// A connection whose knock came by paste may wait for a person.
const CONNECT_BY_PASTE: Duration = Duration::from_secs(600);
/// How often "still preparing" is sent.
const PREPARING: Duration = Duration::from_millis(500);
/// Pieces read ahead of the one being sent.
const PIECES_AHEAD: usize = 4;

/// A share that can be served.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) signed: Arc<SignedManifest>,
    pub(crate) shelf: Arc<Shelf>,
}

/// How far a share is, for people who come early.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub(crate) done_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) ready: Option<Arc<Ready>>,
}

/// What one person does.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) session: SessionId,
    pub(crate) device: DeviceId,
    pub(crate) name: DeviceName,
    pub(crate) change: Change,
}

/// A change in what a person does.
#[derive(Debug)]
pub(crate) enum Change {
    Connecting,
    Connected(Route),
    Accepted {
        bytes: u64,
    },
    Holds {
        bytes: u64,
    },
    Sent {
        bytes: u64,
    },
    Complete,
    Declined,
    Cancelled,
    /// A file could not be sent.
    Unavailable {
        entry: u32,
        reason: SourceProblem,
    },
    /// The task of this session ended.
    Gone,
}

/// One person's connection, from the host's side.
struct Session {
    knocks: mpsc::Sender<Visit>,
    stop: watch::Sender<Option<Farewell>>,
}

/// Serves everybody who knocks for one share.
pub(crate) struct Host {
    context: Arc<Context>,
    secret: InviteSecret,
    progress: watch::Receiver<Progress>,
    sessions: HashMap<SessionId, Session>,
    reports: mpsc::UnboundedSender<Report>,
    tasks: JoinSet<()>,
}

impl Host {
    pub(crate) fn new(
        context: Arc<Context>,
        secret: InviteSecret,
        progress: watch::Receiver<Progress>,
    ) -> (Host, mpsc::UnboundedReceiver<Report>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        let host = Host {
            context,
            secret,
            progress,
            sessions: HashMap::new(),
            reports,
            tasks: JoinSet::new(),
        };
        (host, receiver)
    }

    /// Lets somebody in: a new person gets a task, a repeated knock goes to it.
    pub(crate) fn welcome(&mut self, visit: Visit) {
        while self.tasks.try_join_next().is_some() {}
        let session = visit.knock.knock.session;
        let visit = match self.sessions.get(&session) {
            Some(known) => match known.knocks.try_send(visit) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return,
                // The task just ended; its session is not opened again.
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            },
            None => visit,
        };
        if visit.knock.knock.device == self.context.device() {
            self.refuse(visit, Refusal::OwnShare);
            return;
        }
        if self.tasks.len() >= MAX_PEOPLE {
            self.refuse(visit, Refusal::Busy);
            return;
        }
        let (again, knocks) = mpsc::channel(16);
        let (stop, stopped) = watch::channel(None);
        self.sessions.insert(
            session,
            Session {
                knocks: again,
                stop,
            },
        );
        let person = Person {
            context: Arc::clone(&self.context),
            secret: self.secret,
            progress: self.progress.clone(),
            stop: stopped,
            session,
            device: visit.knock.knock.device,
            name: visit.knock.knock.name.clone(),
            reports: self.reports.clone(),
        };
        self.tasks.spawn(person.run(visit, knocks));
    }

    /// Answers a knock with a refusal.
    pub(crate) fn refuse(&mut self, visit: Visit, reason: Refusal) {
        let session = visit.knock.knock.session;
        self.tasks
            .spawn(answer(visit, Answer::Refused { session, reason }));
    }

    /// Forgets a session whose task told that it ended.
    pub(crate) fn forget(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    /// Says goodbye to everybody and waits until it was said.
    pub(crate) async fn close(mut self, reason: Farewell) {
        self.dismiss(reason);
        while self.tasks.join_next().await.is_some() {}
    }

    /// Says goodbye to everybody; new people may still be refused.
    pub(crate) fn dismiss(&mut self, reason: Farewell) {
        for session in self.sessions.values() {
            session.stop.send_replace(Some(reason));
        }
    }

    /// Says goodbye to everybody but one.
    pub(crate) fn dismiss_others(&mut self, than: SessionId, reason: Farewell) {
        for (id, session) in &self.sessions {
            if *id != than {
                session.stop.send_replace(Some(reason));
            }
        }
    }

    /// Says goodbye to one.
    pub(crate) fn dismiss_one(&mut self, session: SessionId, reason: Farewell) {
        if let Some(session) = self.sessions.get(&session) {
            session.stop.send_replace(Some(reason));
        }
    }
}

async fn answer(visit: Visit, answer: Answer) {
    let Ok(bytes) = visit.knock.answer(&answer) else {
        return;
    };
    match visit.back {
        WayBack::Datagram { socket, to } => {
            // A lost answer is asked for by the next knock.
            let _ = socket.send_to(&bytes, to).await;
        }
        WayBack::Paste { answer } => {
            let _ = answer.send(bytes);
        }
    }
}

struct Person {
    context: Arc<Context>,
    secret: InviteSecret,
    progress: watch::Receiver<Progress>,
    stop: watch::Receiver<Option<Farewell>>,
    session: SessionId,
    device: DeviceId,
    name: DeviceName,
    reports: mpsc::UnboundedSender<Report>,
}

/// What went out to a person.
enum Fed {
    /// The hashes of one file.
    Hashes,
    Sent {
        bytes: u64,
    },
    Unavailable {
        entry: u32,
        reason: SourceProblem,
    },
}

impl Person {
    async fn run(mut self, first: Visit, knocks: mpsc::Receiver<Visit>) {
        self.report(Change::Connecting);
        if let Some(peer) = self.connect(first, knocks).await {
            self.report(Change::Connected(peer.route));
            self.serve(peer).await;
        }
        self.report(Change::Gone);
    }

    fn report(&self, change: Change) {
        // The share that listened may be gone already.
        let _ = self.reports.send(Report {
            session: self.session,
            device: self.device,
            name: self.name.clone(),
            change,
        });
    }

    /// Answers knocks until the connection is made.
    async fn connect(&mut self, first: Visit, mut knocks: mpsc::Receiver<Visit>) -> Option<Peer> {
        let pasted = matches!(first.back, WayBack::Paste { .. });
        let patience = if pasted { CONNECT_BY_PASTE } else { CONNECT };
        let settings = self
            .context
            .link_settings(first.same_machine, patience)
            .await;
        let offer = first.knock.knock.offer.clone();
        let mut connecting = match Connecting::answer(&settings, &offer).await {
            Ok(connecting) => connecting,
            Err(error) => {
                tracing::warn!(%error, "a knock could not be answered");
                return None;
            }
        };
        let pasted = matches!(first.back, WayBack::Paste { .. });
        let patience = if pasted { CONNECT_BY_PASTE } else { CONNECT };
        // A person carries this answer once, so it should have every candidate.
        let gather = Duration::from_millis(if pasted { 3000 } else { 150 });
        connecting.gathered(gather).await;
        self.reply(first, &connecting).await;
        let mut state = connecting.progress();
        let deadline = Instant::now() + patience;
        loop {
            tokio::select! {
                knock = knocks.recv() => {
                    let knock = knock?;
                    let offer = knock.knock.knock.offer.clone();
                    if let Err(error) = connecting.set_remote(&offer).await {
                        tracing::warn!(%error, "a repeated knock does not fit the first");
                    }
                    self.reply(knock, &connecting).await;
                }
                changed = state.changed() => {
                    let now = *state.borrow_and_update();
                    if changed.is_err() || link::is_over(now) {
                        break;
                    }
                    if link::is_made(now) {
                        let link = connecting.connected(Duration::from_secs(10)).await.ok()?;
                        let greeted =
                            greet(link, Role::Answerer, &self.context.key, self.device, &self.secret);
                        return greeted.await.map_err(|error| {
                            tracing::warn!(%error, "a visitor did not introduce itself");
                        }).ok();
                    }
                }
                () = tokio::time::sleep_until(deadline) => break,
                _ = self.stop.changed() => break,
            }
        }
        connecting.close().await;
        None
    }

    async fn reply(&self, visit: Visit, connecting: &Connecting) {
        let welcome = Answer::Welcome {
            session: self.session,
            device: self.context.device(),
            name: self.context.name(),
            offer: connecting.local_offer(),
        };
        answer(visit, welcome).await;
    }

    async fn serve(&mut self, mut peer: Peer) {
        let mut serve = Serve::default();
        let mut ready: Option<Arc<Ready>> = None;
        let mut preparing = tokio::time::interval(PREPARING);
        let (requests, requested) = mpsc::unbounded_channel();
        let mut requests = Some(requests);
        let mut requested = Some(requested);
        let (feedback, mut fed) = mpsc::unbounded_channel();
        let mut refused = HashSet::new();
        let mut feeders = JoinSet::new();
        let farewell = loop {
            tokio::select! {
                // What went out is counted before more is asked for.
                biased;
                _ = self.stop.changed() => {
                    break Some((*self.stop.borrow()).unwrap_or(Farewell::Closing));
                }
                Some(outcome) = fed.recv() => {
                    match outcome {
                        Fed::Hashes => serve.hashes_sent(),
                        Fed::Sent { bytes } => {
                            serve.piece_settled();
                            self.report(Change::Sent { bytes });
                        }
                        Fed::Unavailable { entry, reason } => {
                            serve.piece_settled();
                            if refused.insert(entry) {
                                peer.control.send(Message::Unavailable { entry, reason });
                                self.report(Change::Unavailable { entry, reason });
                            }
                        }
                    }
                }
                inbound = peer.inbound.recv() => {
                    let message = match inbound {
                        Some(Inbound::Message(message)) => message,
                        Some(Inbound::Frame(_)) | Some(Inbound::Malformed(_)) => {
                            break Some(Farewell::Protocol);
                        }
                        None => break None,
                    };
                    let manifest = ready.as_ref().map(|ready| &*ready.manifest);
                    match serve.handle(message, manifest) {
                        Ok(None) => {}
                        Ok(Some(event)) => {
                            let shelf = ready.as_ref().map(|ready| &ready.shelf);
                            let over = self.perform(event, &peer, shelf, requests.as_ref(), &feedback);
                            if let Some(farewell) = over {
                                break Some(farewell);
                            }
                        }
                        Err(violation) => {
                            tracing::warn!(%violation, device = %self.device.short());
                            break Some(Farewell::Protocol);
                        }
                    }
                }
                _ = preparing.tick(), if ready.is_none() => {
                    let progress = self.progress.borrow_and_update().clone();
                    match progress.ready {
                        Some(now_ready) => {
                            peer.control.send_manifest(Arc::clone(&now_ready.signed));
                            serve.manifest_sent();
                            if let Some(requests) = requested.take() {
                                let shelf = Arc::clone(&now_ready.shelf);
                                feeders.spawn(feed(shelf, peer.bulk.clone(), requests, feedback.clone()));
                            }
                            ready = Some(now_ready);
                        }
                        None => peer.control.send(Message::Preparing {
                            done_bytes: progress.done_bytes,
                            total_bytes: progress.total_bytes,
                        }),
                    }
                }
                Ok(()) = self.progress.changed(), if ready.is_none() => {
                    if self.progress.borrow().ready.is_some() {
                        preparing.reset_immediately();
                    }
                }
            }
        };
        requests.take();
        match farewell {
            Some(reason) => peer.leave(reason).await,
            None => peer.drop_link().await,
        }
        feeders.abort_all();
    }

    /// Does what the receiver asked; says how to part if that was the end.
    fn perform(
        &self,
        event: ServeEvent,
        peer: &Peer,
        shelf: Option<&Arc<Shelf>>,
        requests: Option<&mpsc::UnboundedSender<PieceRef>>,
        feedback: &mpsc::UnboundedSender<Fed>,
    ) -> Option<Farewell> {
        match event {
            ServeEvent::Accepted { bytes, .. } => self.report(Change::Accepted { bytes }),
            ServeEvent::Progress { bytes } => self.report(Change::Holds { bytes }),
            ServeEvent::Complete => self.report(Change::Complete),
            ServeEvent::Declined => {
                self.report(Change::Declined);
                return Some(Farewell::Finished);
            }
            ServeEvent::Cancelled => {
                self.report(Change::Cancelled);
                return Some(Farewell::Finished);
            }
            ServeEvent::Left(_) => return Some(Farewell::Finished),
            ServeEvent::SendHashes { entry } => {
                if let Some(hashes) = shelf.and_then(|shelf| shelf.hashes(entry)) {
                    let sent = peer.control.send_hashes(entry, hashes);
                    let feedback = feedback.clone();
                    tokio::spawn(async move {
                        // Otherwise the link is gone, and with it who would count.
                        if sent.await.is_ok() {
                            let _ = feedback.send(Fed::Hashes);
                        }
                    });
                }
            }
            ServeEvent::SendPieces { pieces } => {
                for piece in pieces {
                    if let Some(requests) = requests {
                        // Closed only when the link is gone.
                        let _ = requests.send(piece);
                    }
                }
            }
        }
        None
    }
}

/// Reads pieces on a thread of its own and sends them, a few read ahead.
async fn feed(
    shelf: Arc<Shelf>,
    bulk: Channel,
    mut requests: mpsc::UnboundedReceiver<PieceRef>,
    feedback: mpsc::UnboundedSender<Fed>,
) {
    let (read, mut pieces) = mpsc::channel(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut reader = Reader::default();
        while let Some(piece) = requests.blocking_recv() {
            let outcome = shelf.read(&mut reader, piece);
            if read.blocking_send((piece, outcome)).is_err() {
                return;
            }
        }
    });
    while let Some((piece, outcome)) = pieces.recv().await {
        let told = match outcome {
            Ok(bytes) => {
                for (index, data) in bytes.chunks(FRAME_DATA).enumerate() {
                    let offset = (index * FRAME_DATA) as u32;
                    if bulk.send(Frame::encode(piece, offset, data)).await.is_err() {
                        return;
                    }
                }
                Fed::Sent {
                    bytes: bytes.len() as u64,
                }
            }
            Err(reason) => Fed::Unavailable {
                entry: piece.entry,
                reason,
            },
        };
        if feedback.send(told).is_err() {
            return;
        }
    }
}

/// Where an answer may be sent although nothing came from there: the knock was
/// pasted. Bounded, and only to addresses that can be a person's.
pub(crate) fn callable(addresses: &[std::net::SocketAddr]) -> Vec<std::net::SocketAddr> {
    addresses
        .iter()
        .copied()
        .filter(|a| a.port() >= 1024 && !a.ip().is_unspecified() && !a.ip().is_multicast())
        .take(MAX_CALL_BACK)
        .collect()
}
