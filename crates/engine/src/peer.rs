//! A peer: a link whose other end proved which device it is.
//!
//! Both sides sign the pair of DTLS fingerprints with the device key that the
//! knock or answer named. From then on messages and frames come in parsed, and
//! a peer that is silent for [`SILENCE`] and whose end of the connection answers no
//! more is cut off: whoever listens sees the end of the stream and never hangs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::{DeviceId, DeviceKey, Role, link_binding};
use passalong_proto::manifest::SignedManifest;
use passalong_proto::tree::PieceHash;
use passalong_proto::wire::{
    Farewell, Frame, HASHES_PER_MESSAGE, MANIFEST_PART, Message, PROTOCOL_VERSION, WireError,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::api::Route;
use crate::lane::{self, Call, DataLane, Inlet, Keeping, Lost, Manner, Parallel, Set, SetCall};
use crate::link::{Channel, Link, LinkHandle};

/// A peer that says nothing for this long is gone, if its end of the connection answers
/// no more either: what it says waits for packets that were lost before, and SCTP
/// doubles the time until it sends them again.
pub(crate) const SILENCE: Duration = Duration::from_secs(6);
/// One that says nothing for this long is gone in any case: SCTP sent a packet after one,
/// three, seven and fifteen seconds.
const LONGEST_SILENCE: Duration = Duration::from_secs(16);
/// How often a silent one is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often a side with nothing to say says so.
const ALIVE: Duration = Duration::from_millis(1500);
/// How long the other side may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);
/// Longest wait for a goodbye to be acknowledged.
const GOODBYE: Duration = Duration::from_millis(800);
/// Messages that may wait to be sent: minutes of them for whoever reads slowly.
const MAX_QUEUED: usize = 4096;
/// Datagrams among them that are carried for others.
const MAX_CARRIED_AHEAD: usize = 128;
/// Bytes that were queued for the control channel and not acknowledged, over which
/// carried datagrams are lost: twice the window of one carried connection.
const CARRIED_OUTSTANDING: u64 = 256 * 1024;
/// Frames read ahead of the one being handled: 4 MB.
const FRAMES_AHEAD: usize = 64;
/// Calls for lanes of one kind that may wait; more are not heard.
const CALLS: usize = 4;

/// Why a link did not become a peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GreetError {
    #[error("the other side went away")]
    Gone,
    #[error("the other side speaks another version of the protocol")]
    Version,
    #[error("the other side is not the device it claims to be")]
    Impostor,
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What comes in from a peer.
#[derive(Debug)]
pub(crate) enum Inbound {
    Message(Message),
    /// Part of a piece, and the number of the lane that it came on.
    Frame(Frame, u32),
    /// Something that is neither; the peer is to be dropped.
    Malformed(WireError),
}

/// What goes out on the control channel, in order.
#[derive(Debug)]
enum Outgoing {
    Message(Message),
    /// A message whose sender waits until it was handed to the link.
    Flushed(Message, oneshot::Sender<()>),
    Manifest(Arc<SignedManifest>),
    Hashes(u32, Arc<[PieceHash]>, oneshot::Sender<()>),
    /// A datagram that may get lost.
    Carried(Message),
    Goodbye(Farewell, oneshot::Sender<()>),
}

/// The sending half of the control channel. Never waits; whoever lets more than
/// [`MAX_QUEUED`] messages pile up is cut off.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    queue: mpsc::UnboundedSender<Outgoing>,
    queued: Arc<Queued>,
}

/// How much waits to be sent.
#[derive(Debug, Default)]
struct Queued {
    count: AtomicUsize,
    /// Datagrams among them.
    carried: AtomicUsize,
    overflow: Notify,
}

impl Control {
    pub(crate) fn send(&self, message: Message) {
        self.enqueue(Outgoing::Message(message));
    }

    /// Queues a datagram that is carried. Where too many wait it is lost, so that
    /// everything else that is said on the link stays prompt.
    pub(crate) fn send_carried(&self, message: Message) {
        if self.queued.carried.fetch_add(1, Ordering::Relaxed) < MAX_CARRIED_AHEAD {
            self.enqueue(Outgoing::Carried(message));
        } else {
            self.queued.carried.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn send_manifest(&self, manifest: Arc<SignedManifest>) {
        self.enqueue(Outgoing::Manifest(manifest));
    }

    fn enqueue(&self, outgoing: Outgoing) {
        if self.queued.count.fetch_add(1, Ordering::Relaxed) >= MAX_QUEUED {
            self.queued.overflow.notify_one();
            return;
        }
        // A closed queue means that the link is gone, which the reading side tells.
        let _ = self.queue.send(outgoing);
    }

    /// The receiver resolves once the message was handed to the link, with an error if
    /// it will not be.
    pub(crate) fn send_flushed(&self, message: Message) -> oneshot::Receiver<()> {
        let (sent, done) = oneshot::channel();
        self.enqueue(Outgoing::Flushed(message, sent));
        done
    }

    /// The receiver resolves once the hashes were handed to the link.
    pub(crate) fn send_hashes(
        &self,
        entry: u32,
        hashes: Arc<[PieceHash]>,
    ) -> oneshot::Receiver<()> {
        let (sent, done) = oneshot::channel();
        self.enqueue(Outgoing::Hashes(entry, hashes, sent));
        done
    }
}

/// A connected, identified peer.
pub(crate) struct Peer {
    pub(crate) route: Route,
    /// Which side this one was when the link was made.
    pub(crate) role: Role,
    /// What this side signs to own the link.
    pub(crate) binding: [u8; 32],
    /// What the other side signs.
    pub(crate) peer_binding: [u8; 32],
    pub(crate) control: Control,
    /// Where pieces go out.
    pub(crate) lanes: lane::Sender,
    /// What went out on lanes that broke.
    pub(crate) lost: mpsc::UnboundedReceiver<Lost>,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    handle: LinkHandle,
    tasks: JoinSet<()>,
}

/// How pieces may be sent on a link, besides its data channel.
#[derive(Clone)]
pub(crate) struct Ways {
    /// Whether there is to be a QUIC lane.
    pub(crate) quic: bool,
    pub(crate) manner: watch::Receiver<Manner>,
}

/// Proves who we are and checks who they are.
pub(crate) async fn greet(
    link: Link,
    role: Role,
    key: &DeviceKey,
    device: DeviceId,
    secret: &InviteSecret,
    ways: Ways,
) -> Result<Peer, GreetError> {
    let handle = link.handle.clone();
    let other = match role {
        Role::Knocker => Role::Answerer,
        Role::Answerer => Role::Knocker,
    };
    let binding = link_binding(role, &link.fingerprint, &link.peer_fingerprint, secret);
    let peer_binding = link_binding(other, &link.peer_fingerprint, &link.fingerprint, secret);
    let introduced = introduce(&link, role, key, device, &binding, &peer_binding);
    match timeout(GREETING, introduced)
        .await
        .unwrap_or(Err(GreetError::Gone))
    {
        Ok(()) => Ok(Peer::start(link, role, binding, peer_binding, ways)),
        Err(error) => {
            handle.close().await;
            Err(error)
        }
    }
}

async fn introduce(
    link: &Link,
    role: Role,
    key: &DeviceKey,
    device: DeviceId,
    binding: &[u8; 32],
    peer_binding: &[u8; 32],
) -> Result<(), GreetError> {
    let hello = Message::Hello {
        version: PROTOCOL_VERSION,
        signature: key.sign(binding).into(),
    };
    let say = async || {
        let sent = link.control.send(BytesMut::from(&hello.encode()[..])).await;
        sent.map_err(|_| GreetError::Gone)
    };
    // The answerer's channels open last, since it begins the SCTP handshake, and
    // the library loses what comes in before: so the answerer speaks first.
    if role == Role::Answerer {
        say().await?;
    }
    let first = link.control.receive().await.ok_or(GreetError::Gone)?;
    let Message::Hello { version, signature } = Message::decode(&first)? else {
        return Err(GreetError::Impostor);
    };
    if version != PROTOCOL_VERSION {
        let bye = Message::Bye {
            reason: Farewell::Version,
        };
        let _ = link.control.send(BytesMut::from(&bye.encode()[..])).await;
        link.control.flushed(GOODBYE).await;
        return Err(GreetError::Version);
    }
    if !device.verify(peer_binding, &signature.into()) {
        return Err(GreetError::Impostor);
    }
    if role == Role::Knocker {
        say().await?;
    }
    Ok(())
}

impl Peer {
    fn start(
        link: Link,
        role: Role,
        binding: [u8; 32],
        peer_binding: [u8; 32],
        ways: Ways,
    ) -> Peer {
        let Link {
            control,
            bulk,
            route,
            handle,
            beside,
            ..
        } = link;
        let (sender, inbound) = mpsc::channel(FRAMES_AHEAD);
        let (queue, outgoing) = mpsc::unbounded_channel();
        let queued = Arc::<Queued>::default();
        let heard = Arc::new(Mutex::new(Instant::now()));
        let (called, calls) = mpsc::channel(CALLS);
        let (set_called, set_calls) = mpsc::channel(CALLS);
        let (lane, quic) = watch::channel(None);
        let (strands, widths) = watch::channel(Vec::new());
        let (losing, lost) = mpsc::unbounded_channel();
        let data = Arc::new(DataLane::new(bulk.clone()));
        let expects_quic = ways.quic && !matches!(route, Route::Relayed | Route::Carried);
        let lanes = lane::Sender::new(Arc::clone(&data), widths, quic.clone(), expects_quic);
        let own = Control {
            queue,
            queued: Arc::clone(&queued),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(read(
            control.clone(),
            sender.clone(),
            Arc::clone(&heard),
            move |bytes| parse_message(bytes, &called, &set_called),
        ));
        tasks.spawn(read(bulk, sender.clone(), Arc::clone(&heard), parse_frame));
        tasks.spawn(write(control, outgoing, Arc::clone(&queued)));
        tasks.spawn(watch(Arc::clone(&heard), queued, handle.clone()));
        let Ways {
            quic: has_quic,
            manner,
        } = ways;
        if let Some(settings) = beside {
            let parallel = Parallel {
                settings,
                control: own.clone(),
                data,
                quic,
                expects_quic,
                manner: manner.clone(),
                strands,
                lost: losing.clone(),
                inlet: Inlet {
                    inbound: sender.downgrade(),
                    heard: Arc::clone(&heard),
                },
            };
            tasks.spawn(parallel.keep(set_calls));
        }
        if has_quic && route != Route::Carried {
            let keeping = Keeping {
                handle: handle.clone(),
                role,
                control: own.clone(),
                calls,
                inbound: sender.downgrade(),
                heard,
                lane,
                lost: losing,
                manner,
            };
            tasks.spawn(keeping.keep());
        }
        Peer {
            route,
            role,
            binding,
            peer_binding,
            control: own,
            lanes,
            lost,
            inbound,
            handle,
            tasks,
        }
    }

    /// Ends the link, saying why; what was queued before goes out first.
    pub(crate) async fn leave(mut self, reason: Farewell) {
        let (said, done) = oneshot::channel();
        self.control.enqueue(Outgoing::Goodbye(reason, said));
        let drained = async {
            // What still comes in is not read any more, but must not hold up
            // the goodbye.
            while self.inbound.recv().await.is_some() {}
            std::future::pending::<()>().await
        };
        tokio::select! {
            _ = timeout(GOODBYE, done) => {}
            () = drained => {}
        }
        self.handle.close().await;
        self.tasks.abort_all();
    }

    /// Ends the link without a word.
    pub(crate) async fn drop_link(mut self) {
        self.handle.close().await;
        self.tasks.abort_all();
    }
}

/// What is for whoever keeps the QUIC lane or the connections beside the link goes
/// there. Whoever calls faster than anybody can answer is not heard.
fn parse_message(
    bytes: Bytes,
    called: &mpsc::Sender<Call>,
    set_called: &mpsc::Sender<SetCall>,
) -> Option<Inbound> {
    match Message::decode(&bytes) {
        Ok(Message::Quic { lane, certificate }) => {
            let _ = called.try_send(Call { lane, certificate });
            None
        }
        Ok(Message::Parallel { lane, halves }) => {
            let _ = set_called.try_send(SetCall::Offered(Set { lane, halves }));
            None
        }
        Ok(Message::ParallelAnswer { lane, halves }) => {
            let _ = set_called.try_send(SetCall::Answered(Set { lane, halves }));
            None
        }
        Ok(message) => Some(Inbound::Message(message)),
        Err(error) => Some(Inbound::Malformed(error)),
    }
}

fn parse_frame(bytes: Bytes) -> Option<Inbound> {
    Some(match Frame::decode(bytes) {
        Ok(frame) => Inbound::Frame(frame, lane::DATA_CHANNEL),
        Err(error) => Inbound::Malformed(error),
    })
}

async fn read(
    channel: Channel,
    sender: mpsc::Sender<Inbound>,
    heard: Arc<Mutex<Instant>>,
    parse: impl Fn(Bytes) -> Option<Inbound>,
) {
    while let Some(bytes) = channel.receive().await {
        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if let Some(inbound) = parse(bytes)
            && sender.send(inbound).await.is_err()
        {
            return;
        }
    }
}

/// Cuts off a peer that is silent, or reads nothing of what it is sent.
async fn watch(heard: Arc<Mutex<Instant>>, queued: Arc<Queued>, handle: LinkHandle) {
    let silence = async {
        loop {
            let last = *heard.lock().unwrap_or_else(PoisonError::into_inner);
            let silent = last.elapsed();
            if silent < SILENCE {
                tokio::time::sleep_until(last + SILENCE).await;
            } else if silent >= LONGEST_SILENCE || timeout(LOOK, handle.gone()).await.is_ok() {
                return;
            }
        }
    };
    tokio::select! {
        () = silence => {}
        () = queued.overflow.notified() => {}
    }
    handle.close().await;
}

async fn write(
    channel: Channel,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    queued: Arc<Queued>,
) {
    loop {
        let next = timeout(ALIVE, outgoing.recv()).await;
        if matches!(next, Ok(Some(_))) {
            queued.count.fetch_sub(1, Ordering::Relaxed);
        }
        let sent = match next {
            Ok(None) => return,
            Err(_) => send(&channel, &Message::Alive).await,
            Ok(Some(Outgoing::Message(message))) => send(&channel, &message).await,
            Ok(Some(Outgoing::Flushed(message, done))) => {
                let sent = send(&channel, &message).await;
                // Whoever waited may be gone.
                let _ = done.send(());
                sent
            }
            Ok(Some(Outgoing::Carried(message))) => {
                queued.carried.fetch_sub(1, Ordering::Relaxed);
                if channel.outstanding().await > CARRIED_OUTSTANDING {
                    continue;
                }
                send(&channel, &message).await
            }
            Ok(Some(Outgoing::Manifest(manifest))) => send_manifest(&channel, &manifest).await,
            Ok(Some(Outgoing::Hashes(entry, hashes, done))) => {
                let sent = send_hashes(&channel, entry, &hashes).await;
                let _ = done.send(());
                sent
            }
            Ok(Some(Outgoing::Goodbye(reason, said))) => {
                let _ = send(&channel, &Message::Bye { reason }).await;
                channel.flushed(GOODBYE).await;
                // Whoever waited may have given up.
                let _ = said.send(());
                return;
            }
        };
        if sent.is_none() {
            return;
        }
    }
}

async fn send(channel: &Channel, message: &Message) -> Option<()> {
    channel
        .send(BytesMut::from(&message.encode()[..]))
        .await
        .ok()
}

async fn send_manifest(channel: &Channel, manifest: &SignedManifest) -> Option<()> {
    let head = Message::Manifest {
        public_key: manifest.public_key,
        signature: manifest.signature.into(),
        length: u32::try_from(manifest.bytes.len()).ok()?,
    };
    send(channel, &head).await?;
    for part in manifest.bytes.chunks(MANIFEST_PART) {
        send(
            channel,
            &Message::ManifestPart {
                bytes: part.to_vec(),
            },
        )
        .await?;
    }
    Some(())
}

async fn send_hashes(channel: &Channel, entry: u32, hashes: &[PieceHash]) -> Option<()> {
    for (index, part) in hashes.chunks(HASHES_PER_MESSAGE).enumerate() {
        let first = u32::try_from(index * HASHES_PER_MESSAGE).ok()?;
        send(
            channel,
            &Message::Hashes {
                entry,
                first,
                hashes: part.to_vec(),
            },
        )
        .await?;
    }
    Some(())
}
