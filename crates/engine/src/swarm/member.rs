//! One link of a share: what the other side asks for is served here; what it
//! sends is handed to the share's [`super::Swarm`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use passalong_proto::fetch::PeerKey;
use passalong_proto::keys::{DeviceId, Role};
use passalong_proto::knock::DeviceName;
use passalong_proto::lanes::Broken;
use passalong_proto::serve::{Serve, ServeEvent};
use passalong_proto::wire::{
    Farewell, Frame, Half, Message, PieceRef, REQUESTS_PER_MESSAGE, SourceProblem,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Ready;
use super::feed::{Fed, Line, Queue, feed};
use crate::api::Route;
use crate::carrying::{Carrying, Detour, Parcel};
use crate::context::Context;
use crate::lane::Lost;
use crate::peer::{Control, Inbound, Peer};
use crate::turns::Turn;

/// How often is told how much was sent.
const TELL_SENT: Duration = Duration::from_millis(250);

/// What happened on a link.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) key: PeerKey,
    pub(super) change: Change,
}

#[derive(Debug)]
pub(super) enum Change {
    /// The link is up.
    Joined(Box<Joined>),
    /// Something for the fetching half, or for both.
    Message(Message),
    Frame(Frame),
    /// What the other side does with the share.
    Accepted {
        bytes: u64,
    },
    Holds {
        bytes: u64,
    },
    Complete,
    Declined,
    Cancelled,
    /// They wait for an upload slot, or do not any more.
    Waits(bool),
    Sent {
        bytes: u64,
    },
    /// A file could not be read here.
    Unavailable {
        entry: u32,
        reason: SourceProblem,
    },
    /// They broke the protocol.
    Violation(String),
    /// The link is gone, or was never made.
    Gone,
}

/// A link that just came up.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) device: DeviceId,
    pub(super) name: DeviceName,
    pub(super) route: Route,
    /// Who carries it.
    pub(super) bearer: Option<DeviceId>,
    pub(super) role: Role,
    pub(super) control: Control,
    pub(super) binding: [u8; 32],
    pub(super) peer_binding: [u8; 32],
}

/// One side of a link.
pub(super) struct Member {
    pub(super) context: Arc<Context>,
    pub(super) key: PeerKey,
    pub(super) device: DeviceId,
    pub(super) name: DeviceName,
    pub(super) ready: watch::Receiver<Option<Arc<Ready>>>,
    /// Whether anything is sent now.
    pub(super) sending: watch::Receiver<bool>,
    pub(super) stop: watch::Receiver<Option<Farewell>>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) carrying: Arc<Carrying>,
    /// What the link goes on, if others carry it.
    pub(super) detour: Option<Arc<Detour>>,
}

/// What serving one link needs to remember.
struct Serving {
    serve: Serve,
    listed: bool,
    queue: Arc<Queue>,
    turn: Turn,
    interested: bool,
    choked: bool,
    /// Files that were told to be unavailable.
    refused: HashSet<u32>,
    sent: u64,
    waits: bool,
    /// Lanes of the other side that broke.
    broken: Broken,
    /// Takes what they want carried, once they do.
    parcels: Option<mpsc::Sender<Parcel>>,
    /// What tells signed hashes as they become known, and carries.
    tellers: JoinSet<()>,
}

impl Member {
    pub(super) async fn report(&self, change: Change) {
        // A swarm that is gone has no use for it.
        let _ = self
            .reports
            .send(Report {
                key: self.key,
                change,
            })
            .await;
    }

    /// Serves until the link ends, and tells when it has.
    pub(super) async fn talk(mut self, mut peer: Peer) {
        let joined = Joined {
            device: self.device,
            name: self.name.clone(),
            route: peer.route,
            bearer: self.detour.as_ref().map(|detour| detour.bearer()),
            role: peer.role,
            control: peer.control.clone(),
            binding: peer.binding,
            peer_binding: peer.peer_binding,
        };
        self.report(Change::Joined(Box::new(joined))).await;
        let mut serving = Serving {
            serve: Serve::default(),
            listed: false,
            queue: Arc::default(),
            turn: self.context.turns.enter(),
            interested: false,
            choked: true,
            refused: HashSet::new(),
            sent: 0,
            waits: false,
            broken: Broken::default(),
            parcels: None,
            tellers: JoinSet::new(),
        };
        let mut feeders = JoinSet::new();
        let farewell = self.serve(&mut peer, &mut serving, &mut feeders).await;
        feeders.abort_all();
        drop(serving.turn);
        match farewell {
            Some(reason) => peer.leave(reason).await,
            None => peer.drop_link().await,
        }
        if serving.sent > 0 {
            let bytes = serving.sent;
            self.report(Change::Sent { bytes }).await;
        }
        self.report(Change::Gone).await;
    }

    async fn serve(
        &mut self,
        peer: &mut Peer,
        serving: &mut Serving,
        feeders: &mut JoinSet<()>,
    ) -> Option<Farewell> {
        let (feedback, mut fed) = mpsc::unbounded_channel();
        let mut tell = tokio::time::interval(TELL_SENT);
        loop {
            tokio::select! {
                // What went out is counted before more is asked for.
                biased;
                _ = self.stop.changed() => {
                    return Some((*self.stop.borrow()).unwrap_or(Farewell::Closing));
                }
                Some(outcome) = fed.recv() => self.fed(outcome, peer, serving).await,
                Some(lost) = peer.lost.recv() => tell_lost(peer, serving, lost),
                granted = serving.turn.changed() => self.granted(granted, peer, serving).await,
                Ok(()) = self.sending.changed() => self.line_up(serving).await,
                inbound = peer.inbound.recv() => {
                    self.begin(peer, serving, feeders, &feedback);
                    match inbound? {
                        // What came on a broken lane was told to be lost.
                        Inbound::Frame(_, lane) if serving.broken.contains(lane) => {}
                        Inbound::Frame(frame, _) => self.report(Change::Frame(frame)).await,
                        Inbound::Malformed(error) => {
                            self.report(Change::Violation(error.to_string())).await;
                            return Some(Farewell::Protocol);
                        }
                        Inbound::Message(message) => {
                            let over = self.message(message, peer, serving, &feedback).await;
                            if over.is_some() {
                                return over;
                            }
                        }
                    }
                }
                _ = tell.tick() => {
                    let bytes = std::mem::take(&mut serving.sent);
                    if bytes > 0 {
                        self.report(Change::Sent { bytes }).await;
                    }
                }
            }
        }
    }

    /// Serves from now on if there is something to serve.
    fn begin(
        &mut self,
        peer: &Peer,
        serving: &mut Serving,
        feeders: &mut JoinSet<()>,
        feedback: &mpsc::UnboundedSender<Fed>,
    ) {
        if serving.listed {
            return;
        }
        let Some(ready) = self.ready.borrow().clone() else {
            return;
        };
        let line = Line {
            key: self.key,
            pieces: Arc::clone(&ready.pieces),
            outgoing: Arc::clone(&ready.outgoing),
        };
        serving.listed = true;
        serving.serve.listed();
        feeders.spawn(feed(
            Arc::clone(&self.context),
            Arc::clone(&ready.shelf),
            line,
            peer.lanes.clone(),
            Arc::clone(&serving.queue),
            feedback.clone(),
        ));
    }

    async fn fed(&mut self, outcome: Fed, peer: &Peer, serving: &mut Serving) {
        match outcome {
            Fed::Hashes => serving.serve.hashes_sent(),
            Fed::Sent { piece, bytes } => {
                serving.serve.piece_settled(piece);
                serving.sent += bytes;
            }
            Fed::Unavailable { piece, reason } => {
                serving.serve.piece_settled(piece);
                let entry = piece.entry;
                if serving.refused.insert(entry) {
                    peer.control.send(Message::Unavailable { entry, reason });
                    self.report(Change::Unavailable { entry, reason }).await;
                }
            }
        }
    }

    async fn granted(&mut self, granted: bool, peer: &Peer, serving: &mut Serving) {
        if granted != serving.choked {
            return;
        }
        serving.choked = !granted;
        if granted {
            serving.serve.unchoke();
            peer.control.send(Message::Unchoke);
        } else {
            serving.serve.choke();
            peer.control.send(Message::Choke);
            drop_requests(peer, serving, serving.queue.take_all());
        }
        self.tell_waiting(serving).await;
    }

    /// Takes its place in the line for upload slots, or leaves it.
    async fn line_up(&mut self, serving: &mut Serving) {
        let sending = *self.sending.borrow_and_update();
        if sending {
            serving.turn.wants(serving.interested);
        } else {
            serving.turn.give_up();
        }
        self.tell_waiting(serving).await;
    }

    async fn tell_waiting(&self, serving: &mut Serving) {
        let waits = serving.interested && serving.choked;
        if waits != serving.waits {
            serving.waits = waits;
            self.report(Change::Waits(waits)).await;
        }
    }

    /// Handles a message; says how to part if that was the end.
    async fn message(
        &mut self,
        message: Message,
        peer: &Peer,
        serving: &mut Serving,
        feedback: &mpsc::UnboundedSender<Fed>,
    ) -> Option<Farewell> {
        match message.half() {
            Half::Fetching => {}
            Half::Serving | Half::Either => {
                let over = match message {
                    Message::LaneLost { lane, .. } => {
                        serving.broken.lost(lane);
                        None
                    }
                    Message::Hello { .. } => {
                        let again = "it introduced itself twice".to_owned();
                        self.report(Change::Violation(again)).await;
                        return Some(Farewell::Protocol);
                    }
                    Message::Alive => return None,
                    Message::Carry {
                        to,
                        session,
                        datagram,
                    } => {
                        self.carry(
                            serving,
                            Parcel {
                                to,
                                session,
                                datagram,
                            },
                        );
                        return None;
                    }
                    Message::Carried {
                        from,
                        session,
                        datagram,
                    } => {
                        self.carrying.arrived(self.device, from, session, datagram);
                        return None;
                    }
                    Message::Bye { .. } => Some(Farewell::Finished),
                    _ => None,
                };
                self.report(Change::Message(message)).await;
                return over;
            }
        }
        let ready = self.ready.borrow().clone();
        let event = serving.serve.handle(
            message,
            ready.as_ref().map(|ready| &*ready.manifest),
            ready.as_ref().map(|ready| &*ready.pieces),
        );
        match event {
            Ok(None) => None,
            Ok(Some(event)) => {
                self.perform(event, ready.as_ref(), peer, serving, feedback)
                    .await
            }
            Err(violation) => {
                self.report(Change::Violation(violation.to_string())).await;
                Some(Farewell::Protocol)
            }
        }
    }

    /// Carries a datagram for the other side. It is lost if too many wait.
    fn carry(&self, serving: &mut Serving, parcel: Parcel) {
        if !self.carrying.is_willing() {
            return;
        }
        let parcels = serving.parcels.get_or_insert_with(|| {
            let (sender, parcels) = Carrying::parcels();
            let carrying = Arc::clone(&self.carrying);
            serving.tellers.spawn(carrying.carry(self.device, parcels));
            sender
        });
        let _ = parcels.try_send(parcel);
    }

    async fn perform(
        &mut self,
        event: ServeEvent,
        ready: Option<&Arc<Ready>>,
        peer: &Peer,
        serving: &mut Serving,
        feedback: &mpsc::UnboundedSender<Fed>,
    ) -> Option<Farewell> {
        match event {
            ServeEvent::SendManifest => {
                if let Some(ready) = ready {
                    peer.control.send_manifest(Arc::clone(&ready.signed));
                }
            }
            ServeEvent::Accepted { bytes, .. } => self.report(Change::Accepted { bytes }).await,
            ServeEvent::Progress { bytes } => self.report(Change::Holds { bytes }).await,
            ServeEvent::Complete => self.report(Change::Complete).await,
            ServeEvent::Declined => {
                self.report(Change::Declined).await;
                return Some(Farewell::Finished);
            }
            ServeEvent::Cancelled => {
                self.report(Change::Cancelled).await;
                return Some(Farewell::Finished);
            }
            ServeEvent::Interest { wants } => {
                serving.interested = wants;
                self.line_up(serving).await;
            }
            ServeEvent::SendHashes { entry } => {
                match ready.and_then(|ready| ready.shelf.hashes(entry)) {
                    Some(hashes) => {
                        let sent = peer.control.send_hashes(entry, hashes);
                        let feedback = feedback.clone();
                        tokio::spawn(async move {
                            // Otherwise the link is gone, and with it who would count.
                            if sent.await.is_ok() {
                                let _ = feedback.send(Fed::Hashes);
                            }
                        });
                    }
                    None => {
                        serving.serve.hashes_sent();
                        peer.control.send(Message::NoHashes { entry });
                    }
                }
            }
            ServeEvent::SendSignedHashes { from } => {
                if let Some(ready) = ready {
                    let ledger = Arc::clone(&ready.ledger);
                    serving
                        .tellers
                        .spawn(ledger.tell(from, peer.control.clone()));
                }
            }
            ServeEvent::SendPieces { pieces } => {
                let (held, missing) = match ready {
                    Some(ready) => ready.held(pieces),
                    None => (Vec::new(), pieces),
                };
                serving.queue.push(held);
                drop_requests(peer, serving, missing);
            }
            ServeEvent::DropRequests { pieces } => {
                let dropped = serving.queue.take_back(&pieces);
                drop_requests(peer, serving, dropped);
            }
            ServeEvent::Refuse { pieces } => peer.control.send(Message::Dropped { pieces }),
        }
        None
    }
}

/// Tells that these requests will not be answered.
fn drop_requests(peer: &Peer, serving: &mut Serving, pieces: Vec<PieceRef>) {
    for part in pieces.chunks(REQUESTS_PER_MESSAGE) {
        for piece in part {
            serving.serve.piece_settled(*piece);
        }
        peer.control.send(Message::Dropped {
            pieces: part.to_vec(),
        });
    }
}

/// Tells that these pieces may not have come and are not on their way any more.
fn tell_lost(peer: &Peer, serving: &mut Serving, lost: Lost) {
    let Lost { lane, pieces } = lost;
    for piece in &pieces {
        serving.serve.piece_settled(*piece);
    }
    for part in pieces.chunks(REQUESTS_PER_MESSAGE) {
        peer.control.send(Message::LaneLost {
            lane,
            pieces: part.to_vec(),
        });
    }
}
