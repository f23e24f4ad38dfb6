//! The post: knocks and answers, which travel on the device's one UDP port.
//!
//! A knock is tried against the secret of every share that is open here and
//! goes to the share it fits; an answer goes to whoever sent the knock. All
//! else is dropped. What a knock leads to is decided elsewhere.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::DeviceId;
use passalong_proto::knock::{self, ReceivedKnock, SentKnock, SessionId};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::api::Id;
use crate::dht::Mail;
use crate::link::{self, Letter, Port, Reading};
use crate::peer::Control;

/// Addresses that a link carries at most.
const LINK_ADDRESSES: usize = 6;
/// Knocks tried in a second, from everybody together: each costs one decryption
/// for each open share.
const KNOCKS_A_SECOND: u32 = 500;
/// Answers that may wait to be read by one knocker.
const ANSWER_QUEUE: usize = 16;
/// Visits that may wait to be read by one share.
pub(crate) const VISIT_QUEUE: usize = 256;

/// A knock that fits a share.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) knock: ReceivedKnock,
    pub(crate) back: WayBack,
    /// The knock came from this machine.
    pub(crate) same_machine: bool,
}

/// How an answer gets back.
#[derive(Debug)]
pub(crate) enum WayBack {
    /// As a datagram to where the knock came from.
    Datagram { socket: Arc<Port>, to: SocketAddr },
    /// Handed over to be sent by a person, and as datagrams to where the
    /// knocker said it may be called.
    Paste { answer: oneshot::Sender<Vec<u8>> },
    /// Through the member that passed the knock on, to the one who knocked.
    Forward {
        through: Control,
        bearer: DeviceId,
        to: DeviceId,
    },
    /// Into the DHT, where whoever knocked looks for it.
    Mailbox {
        answers: mpsc::Sender<Mail>,
        knock: [u8; 8],
    },
}

type AnswerSender = mpsc::Sender<Vec<u8>>;

struct Routes {
    shares: HashMap<Id, (InviteSecret, mpsc::Sender<Visit>)>,
    waiting: HashMap<[u8; 8], (Id, AnswerSender)>,
    window: (Instant, u32),
}

/// The sockets and who gets what comes in on them.
pub(crate) struct Post {
    sockets: Vec<Arc<Port>>,
    bind: Vec<IpAddr>,
    routes: Arc<Mutex<Routes>>,
    _readings: Vec<Reading>,
    sorting: JoinHandle<()>,
}

impl Post {
    /// Binds one port on each address, or on all interfaces of both families:
    /// `preferred` if it is free, so that links stay good across restarts.
    pub(crate) fn open(bind: &[IpAddr], preferred: u16) -> io::Result<Post> {
        let (sender, letters) = Port::letters();
        let open = |socket| Port::open(socket, sender.clone());
        let mut opened = Vec::new();
        if bind.is_empty() {
            let v4 = open(bound_near(IpAddr::V4(Ipv4Addr::UNSPECIFIED), preferred)?)?;
            let port = v4.0.local_addr().port();
            opened.push(v4);
            // The same number if it is free; hosts without IPv6 do without.
            let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            if let Ok(v6) = bound_near(any, port) {
                opened.push(open(v6)?);
            }
        } else {
            for ip in bind {
                opened.push(open(bound_near(*ip, preferred)?)?);
            }
        }
        let (sockets, readings) = opened.into_iter().unzip();
        let routes = Arc::new(Mutex::new(Routes {
            shares: HashMap::new(),
            waiting: HashMap::new(),
            window: (Instant::now(), 0),
        }));
        Ok(Post {
            sockets,
            bind: bind.to_vec(),
            sorting: tokio::spawn(sort(letters, Arc::clone(&routes))),
            routes,
            _readings: readings,
        })
    }

    /// The port that knocks arrive on.
    pub(crate) fn port(&self) -> u16 {
        self.sockets
            .first()
            .map_or(0, |socket| socket.local_addr().port())
    }

    /// Where this device can be knocked at, best first, with where a router says that
    /// its port is reached from `outside`.
    pub(crate) fn addresses(&self, outside: Option<SocketAddr>) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = link::local_addresses(&self.bind)
            .into_iter()
            .filter_map(|ip| {
                let socket = self.socket_for(ip)?;
                Some(SocketAddr::new(ip, socket.local_addr().port()))
            })
            .collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses.retain(|address| Some(*address) != outside);
        addresses.truncate(LINK_ADDRESSES - usize::from(outside.is_some()));
        addresses.extend(outside);
        addresses
    }

    /// Knocks for this share go to `visits` from now on.
    pub(crate) fn register(&self, secret: InviteSecret, visits: mpsc::Sender<Visit>) {
        lock(&self.routes)
            .shares
            .insert(secret.id(), (secret, visits));
    }

    /// Nobody answers for this share any more.
    pub(crate) fn unregister(&self, id: &str) {
        lock(&self.routes).shares.remove(id);
    }

    /// Finds the share that a pasted knock is for and delivers it there; the
    /// receiver gets the sealed answer. `None`: it fits no share here.
    pub(crate) fn deliver(&self, bytes: &[u8]) -> Option<(Id, ReceivedDelivery)> {
        let routes = lock(&self.routes);
        let (id, knock, visits) = fitting(&routes, bytes)?;
        drop(routes);
        let (answer, receiver) = oneshot::channel();
        let call_back = knock.knock.call_back.clone();
        let from = (knock.knock.device, knock.knock.name.clone());
        let visit = Visit {
            knock,
            back: WayBack::Paste { answer },
            same_machine: false,
        };
        visits.try_send(visit).ok()?;
        Some((
            id,
            ReceivedDelivery {
                from,
                call_back,
                answer: receiver,
            },
        ))
    }

    /// Delivers a knock from a mailbox of the share behind `secret`, answers to
    /// `answers`, unless it is this device's `own`; says which session it is of if it
    /// fits.
    pub(crate) fn deliver_mail(
        &self,
        secret: &InviteSecret,
        own: DeviceId,
        bytes: &[u8],
        answers: &mpsc::Sender<Mail>,
    ) -> Option<SessionId> {
        let (received, knock) = (knock::open(secret, bytes).ok()?, knock::datagram_id(bytes)?);
        let session = received.knock.session;
        let share = lock(&self.routes).shares.get(&secret.id()).cloned();
        let (_, visits) = share.filter(|_| received.knock.device != own)?;
        let visit = Visit {
            knock: received,
            back: WayBack::Mailbox {
                answers: answers.clone(),
                knock,
            },
            same_machine: false,
        };
        visits.try_send(visit).ok()?;
        Some(session)
    }

    /// Hands an answer that came by paste or lay in the DHT to the transfer whose knock it answers.
    pub(crate) fn deliver_answer(&self, bytes: &[u8]) -> Option<Id> {
        route_answer(&self.routes, bytes)
    }

    /// A place to seal the knocks of one transfer and wait for their answers.
    pub(crate) fn knocker(&self, transfer: Id) -> Knocker {
        let (sender, answers) = mpsc::channel(ANSWER_QUEUE);
        Knocker {
            routes: Arc::clone(&self.routes),
            sockets: self.sockets.clone(),
            transfer,
            sender,
            answers,
            sent: Vec::new(),
            pinned: Vec::new(),
        }
    }

    /// Sends one datagram, if a socket of that family is here.
    pub(crate) async fn send(&self, bytes: &[u8], to: SocketAddr) {
        send(&self.sockets, bytes, to).await;
    }

    /// The socket at which connections over IPv4 have a seat.
    pub(crate) fn ipv4(&self) -> Option<&Arc<Port>> {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        self.socket_for(any)
            .filter(|socket| socket.local_addr().is_ipv4())
    }

    fn socket_for(&self, ip: IpAddr) -> Option<&Arc<Port>> {
        socket_for(&self.sockets, ip)
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.sorting.abort();
    }
}

/// A pasted knock that found its share.
#[derive(Debug)]
pub(crate) struct ReceivedDelivery {
    /// Who knocks.
    pub(crate) from: (passalong_proto::keys::DeviceId, knock::DeviceName),
    /// Where they say they can be called.
    pub(crate) call_back: Vec<SocketAddr>,
    /// The sealed answer.
    pub(crate) answer: oneshot::Receiver<Vec<u8>>,
}

/// Knocks that one transfer sent, and the answers to them.
pub(crate) struct Knocker {
    routes: Arc<Mutex<Routes>>,
    sockets: Vec<Arc<Port>>,
    transfer: Id,
    sender: AnswerSender,
    answers: mpsc::Receiver<Vec<u8>>,
    sent: Vec<SentKnock>,
    pinned: Vec<SentKnock>,
}

impl Knocker {
    /// Knocks whose answers are still good: an answer may be late by a few.
    const KEPT: usize = 32;

    /// Seals a knock; its answer is accepted from now on.
    pub(crate) fn seal(
        &mut self,
        secret: &InviteSecret,
        content: &knock::Knock,
    ) -> Result<Vec<u8>, knock::KnockError> {
        let (bytes, sent) = knock::seal(secret, content)?;
        self.expect(&sent);
        if self.sent.len() >= Self::KEPT {
            let old = self.sent.remove(0);
            lock(&self.routes).waiting.remove(&old.id());
        }
        self.sent.push(sent);
        Ok(bytes)
    }

    /// Seals a knock whose answer is accepted for as long as this lives.
    pub(crate) fn seal_pinned(
        &mut self,
        secret: &InviteSecret,
        content: &knock::Knock,
    ) -> Result<Vec<u8>, knock::KnockError> {
        let (bytes, sent) = knock::seal(secret, content)?;
        self.expect(&sent);
        self.pinned.push(sent);
        Ok(bytes)
    }

    fn expect(&self, sent: &SentKnock) {
        let waiting = (self.transfer.clone(), self.sender.clone());
        lock(&self.routes).waiting.insert(sent.id(), waiting);
    }

    /// Sends a sealed knock.
    pub(crate) async fn send(&self, bytes: &[u8], to: SocketAddr) {
        send(&self.sockets, bytes, to).await;
    }

    /// The next answer that opens, with the number in the header of its knock.
    pub(crate) async fn answer(&mut self) -> Option<([u8; 8], knock::Answer)> {
        loop {
            let bytes = self.answers.recv().await?;
            for sent in self.sent.iter_mut().chain(&mut self.pinned) {
                if let Ok(answer) = sent.open(&bytes) {
                    return Some((sent.id(), answer));
                }
            }
        }
    }
}

impl Drop for Knocker {
    fn drop(&mut self) {
        let mut routes = lock(&self.routes);
        for sent in self.sent.iter().chain(&self.pinned) {
            routes.waiting.remove(&sent.id());
        }
    }
}

async fn send(sockets: &[Arc<Port>], bytes: &[u8], to: SocketAddr) {
    if let Some(socket) = socket_for(sockets, to.ip()) {
        socket.send_to(bytes, to).await;
    }
}

fn socket_for(sockets: &[Arc<Port>], ip: IpAddr) -> Option<&Arc<Port>> {
    let family = |socket: &&Arc<Port>| socket.local_addr().is_ipv4() == ip.is_ipv4();
    let exact = sockets.iter().find(|s| s.local_addr().ip() == ip);
    exact.or_else(|| sockets.iter().find(family))
}

/// Bound to `port`, or to any if that is taken.
fn bound_near(ip: IpAddr, port: u16) -> io::Result<StdUdpSocket> {
    bound(ip, port).or_else(|_| bound(ip, 0))
}

fn bound(ip: IpAddr, port: u16) -> io::Result<StdUdpSocket> {
    let domain = if ip.is_ipv4() {
        Domain::IPV4
    } else {
        Domain::IPV6
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if ip.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SocketAddr::new(ip, port).into())?;
    Ok(StdUdpSocket::from(socket))
}

async fn sort(mut letters: mpsc::Receiver<Letter>, routes: Arc<Mutex<Routes>>) {
    while let Some(Letter {
        socket,
        from,
        bytes,
    }) = letters.recv().await
    {
        if knock::is_answer(&bytes) {
            route_answer(&routes, &bytes);
        } else if knock::is_knock(&bytes) {
            let fits = {
                let mut routes = lock(&routes);
                if within_rate(&mut routes) {
                    fitting(&routes, &bytes)
                } else {
                    None
                }
            };
            if let Some((_, knock, visits)) = fits {
                let back = WayBack::Datagram { socket, to: from };
                let same_machine = link::is_own(from.ip());
                // A share that is behind with its visits lets this one knock again.
                let _ = visits.try_send(Visit {
                    knock,
                    back,
                    same_machine,
                });
            }
        }
    }
}

fn fitting(routes: &Routes, bytes: &[u8]) -> Option<(Id, ReceivedKnock, mpsc::Sender<Visit>)> {
    routes.shares.iter().find_map(|(id, (secret, visits))| {
        knock::open(secret, bytes)
            .ok()
            .map(|knock| (id.clone(), knock, visits.clone()))
    })
}

fn route_answer(routes: &Mutex<Routes>, bytes: &[u8]) -> Option<Id> {
    let id = knock::datagram_id(bytes)?;
    let (transfer, sender) = lock(routes).waiting.get(&id).cloned()?;
    sender.try_send(bytes.to_vec()).ok()?;
    Some(transfer)
}

fn within_rate(routes: &mut Routes) -> bool {
    let now = Instant::now();
    let (since, count) = &mut routes.window;
    if now.duration_since(*since) >= Duration::from_secs(1) {
        (*since, *count) = (now, 0);
    }
    *count += 1;
    *count <= KNOCKS_A_SECOND
}

fn lock(routes: &Mutex<Routes>) -> MutexGuard<'_, Routes> {
    routes.lock().unwrap_or_else(PoisonError::into_inner)
}
