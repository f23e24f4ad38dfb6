//! Making the QUIC lane of a link, and making it again when it broke or the path
//! changed.
//!
//! The knocker offers: it names a number and its certificate on the control
//! channel. The answerer begins to listen, names its own, and is dialled. Nothing
//! depends on it: where QUIC does not come up, the data channel goes on.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use passalong_proto::keys::Role;
use passalong_proto::wire::{Frame, Message};
use quinn::Connection;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Lost;
use super::path::{Manner, Speaking, speak, transport};
use super::pinned::{Certificate, CertificateFault};
use super::quic::{QuicLane, receive};
use crate::link::{LinkHandle, SharedSocket};
use crate::peer::{Control, Inbound};

/// How long the other side may take to answer an offer, and a connection to be made.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the path is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often until it is known.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// The pause before a lane is offered again, at first; it doubles each time.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause.
const LONG_PAUSE: Duration = Duration::from_secs(60);
/// A lane that lasted this long begins with the short pause again.
const LASTING: Duration = Duration::from_secs(30);

/// What the other side says of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) lane: u32,
    pub(crate) certificate: [u8; 32],
}

/// What keeping the lane of one link takes.
pub(crate) struct Keeping {
    pub(crate) handle: LinkHandle,
    pub(crate) role: Role,
    pub(crate) control: Control,
    pub(crate) calls: mpsc::Receiver<Call>,
    /// Does not keep the link's stream from ending.
    pub(crate) inbound: mpsc::WeakSender<Inbound>,
    /// Where the last sign of the other side is noted.
    pub(crate) heard: Arc<Mutex<Instant>>,
    pub(crate) lane: watch::Sender<Option<QuicLane>>,
    pub(crate) lost: mpsc::UnboundedSender<Lost>,
    pub(crate) manner: watch::Receiver<Manner>,
}

/// Why no lane came up.
#[derive(Debug, thiserror::Error)]
enum LaneFault {
    #[error("the other side did not answer in time")]
    Late,
    #[error("the path is not known")]
    NoPath,
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    #[error(transparent)]
    Socket(#[from] std::io::Error),
    #[error(transparent)]
    Dial(#[from] quinn::ConnectError),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
}

/// A connection that was made, and where.
struct Made {
    speaking: Speaking,
    connection: Connection,
    path: Path,
}

/// The socket of a link, and the peer's address.
type Path = (Arc<SharedSocket>, SocketAddr);

impl Keeping {
    /// Keeps the lane for as long as the link is there.
    pub(crate) async fn keep(mut self) {
        match self.role {
            Role::Knocker => self.offer().await,
            Role::Answerer => self.answer().await,
        }
    }

    async fn offer(&mut self) {
        let mut pause = PAUSE;
        for lane in 1.. {
            let began = Instant::now();
            let path = self.path().await;
            let remote = path.1;
            match self.dial(lane, path).await {
                Ok(made) => {
                    self.run(lane, made, None).await;
                }
                Err(error) => tracing::debug!(%remote, %error, "no QUIC lane"),
            }
            if began.elapsed() >= LASTING {
                pause = PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONG_PAUSE);
        }
    }

    async fn dial(&mut self, lane: u32, path: Path) -> Result<Made, LaneFault> {
        let (socket, remote) = path.clone();
        let certificate = Certificate::new()?;
        self.say(lane, &certificate);
        let answered = async {
            loop {
                match self.calls.recv().await {
                    Some(call) if call.lane == lane => return call,
                    Some(_) => {}
                    None => std::future::pending().await,
                }
            }
        };
        let call = timeout(PATIENCE, answered)
            .await
            .map_err(|_| LaneFault::Late)?;
        let mut config = certificate.client(call.certificate)?;
        config.transport_config(transport(remote, *self.manner.borrow()));
        let speaking = speak(socket, remote, None)?;
        let endpoint = &speaking.endpoint;
        let dialled = async {
            Ok(endpoint
                .connect_with(config, remote, Certificate::name())?
                .await?)
        };
        let connection = soon(dialled).await?;
        Ok(Made {
            speaking,
            connection,
            path,
        })
    }

    async fn answer(&mut self) {
        let mut next = None;
        loop {
            let call = match next.take() {
                Some(call) => call,
                None => match self.calls.recv().await {
                    Some(call) => call,
                    None => return,
                },
            };
            match self.accept(call).await {
                Ok(made) => next = self.run(call.lane, made, Some(call.lane)).await,
                Err(error) => tracing::debug!(%error, "no QUIC lane"),
            }
        }
    }

    async fn accept(&mut self, call: Call) -> Result<Made, LaneFault> {
        let path = timeout(PATIENCE, self.path()).await;
        let path = path.map_err(|_| LaneFault::NoPath)?;
        let (socket, remote) = path.clone();
        let certificate = Certificate::new()?;
        let mut config = certificate.server(call.certificate)?;
        config
            .transport_config(transport(remote, *self.manner.borrow()))
            .migration(false);
        let speaking = speak(socket, remote, Some(config))?;
        let endpoint = &speaking.endpoint;
        self.say(call.lane, &certificate);
        let accepted = async {
            let incoming = endpoint.accept().await.ok_or(LaneFault::NoPath)?;
            Ok(incoming.accept()?.await?)
        };
        let connection = soon(accepted).await?;
        Ok(Made {
            speaking,
            connection,
            path,
        })
    }

    fn say(&self, lane: u32, certificate: &Certificate) {
        self.control.send(Message::Quic {
            lane,
            certificate: certificate.hash(),
        });
    }

    /// Waits until the path is known.
    async fn path(&self) -> Path {
        let mut pause = LOOK_SOON;
        loop {
            if let Some(path) = self.handle.path().await {
                return path;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// Uses a lane until it breaks, the path or the manner changes, or the other side
    /// calls for another one, whose call is returned.
    async fn run(&mut self, number: u32, made: Made, called: Option<u32>) -> Option<Call> {
        let Made {
            speaking,
            connection,
            path,
        } = made;
        let lane = QuicLane::new(connection.clone());
        self.lane.send_replace(Some(lane.clone()));
        let ending = Ending {
            lane: self.lane.clone(),
            own: lane,
            number,
            lost: self.lost.clone(),
        };
        let mut look = tokio::time::interval(LOOK);
        let mut streams = JoinSet::new();
        self.manner.mark_unchanged();
        let next = loop {
            tokio::select! {
                incoming = connection.accept_bi() => {
                    let Ok((confirmation, stream)) = incoming else {
                        break None;
                    };
                    let inbound = self.inbound.clone();
                    let heard = Arc::clone(&self.heard);
                    let take = move |frame: Frame| {
                        *heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                        let inbound = inbound.clone();
                        async move {
                            let frame = Inbound::Frame(frame, number);
                            match inbound.upgrade() {
                                Some(inbound) => inbound.send(frame).await.is_ok(),
                                None => false,
                            }
                        }
                    };
                    streams.spawn(receive(stream, confirmation, take));
                }
                Some(done) = streams.join_next() => {
                    if !matches!(done, Ok(Ok(()))) {
                        break None;
                    }
                }
                Ok(()) = self.manner.changed() => break None,
                Some(call) = self.calls.recv() => {
                    if called.is_some_and(|called| call.lane > called) {
                        break Some(call);
                    }
                }
                _ = look.tick() => {
                    let stats = connection.stats().path;
                    tracing::debug!(lane = number, path = ?stats, "a QUIC lane");
                    let now = self.handle.path().await;
                    if now.is_some_and(|now| !is_same(&now, &path)) {
                        break None;
                    }
                }
            }
        };
        drop(ending);
        drop(speaking);
        next
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    Arc::ptr_eq(&one.0, &other.0) && one.1 == other.1
}

/// Waits for a connection to be made.
async fn soon(
    connection: impl Future<Output = Result<Connection, LaneFault>>,
) -> Result<Connection, LaneFault> {
    let outcome = timeout(PATIENCE, connection).await;
    outcome.unwrap_or(Err(LaneFault::Late))
}

/// Takes a lane out of use and tells what may be lost.
struct Ending {
    lane: watch::Sender<Option<QuicLane>>,
    own: QuicLane,
    number: u32,
    lost: mpsc::UnboundedSender<Lost>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.lane.send_replace(None);
        let lost = Lost {
            lane: self.number,
            pieces: self.own.end(),
        };
        // A link that is gone needs no telling.
        let _ = self.lost.send(lost);
    }
}
