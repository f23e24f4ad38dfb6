//! A link: one peer's live WebRTC connection to another, with a control and a
//! bulk data channel. The only module that imports `webrtc`.
//!
//! A [`Connecting`] is built from or for a compact offer; it becomes a [`Link`]
//! when both channels are open. DTLS fingerprints are always verified. What
//! travels on the channels, and who the peer is, is not decided here.

mod addresses;
mod carried;
mod connecting;
mod medium;
mod port;
#[cfg(test)]
mod restart;
mod sdp;
mod shared;
mod socket;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::{PeerConnection, RTCPeerConnectionState};

pub(crate) use self::addresses::{is_own, local_addresses};
pub(crate) use self::carried::Carried;
use self::connecting::Waking;
pub(crate) use self::connecting::{Connecting, is_made, is_over};
pub(crate) use self::medium::{Lent, Medium, Writable};
pub(crate) use self::port::{Letter, Port, Reading};
pub(crate) use self::shared::SharedSocket;
use self::socket::Sockets;
use crate::api::Route;

/// How whoever shares a socket with WebRTC reads and sends datagrams.
pub(crate) mod udp {
    pub(crate) use webrtc::runtime::{AsyncUdpSocket, EcnCodepoint, RecvMeta, Transmit};
}

/// A STUN or TURN server, its host already resolved: name look-ups inside the
/// connection would hold up its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IceServer {
    /// `stun:IP:PORT` or `turn:IP:PORT?transport=udp`.
    pub(crate) url: String,
    /// Long-term credential user name; empty for STUN.
    pub(crate) username: String,
    /// Long-term credential password; empty for STUN.
    pub(crate) password: String,
}

impl IceServer {
    /// Whether it is a TURN server.
    pub(crate) fn relays(&self) -> bool {
        self.url.starts_with("turn:")
    }
}

/// What a connection is built from.
#[derive(Clone, Debug)]
pub(crate) struct LinkSettings {
    /// Local addresses to be reached at.
    pub(crate) addresses: Vec<IpAddr>,
    /// What carries datagrams of the connection besides sockets at these addresses.
    pub(crate) lent: Vec<Arc<dyn Lent>>,
    /// STUN and TURN servers.
    pub(crate) ice_servers: Vec<IceServer>,
    /// Use TURN only.
    pub(crate) relay_only: bool,
    /// Both ends are on this machine, as far as the knock could tell.
    pub(crate) same_machine: bool,
    /// How long the other side may take to begin its checks: a person may be
    /// carrying the answer to it by hand.
    pub(crate) patience: Duration,
}

impl LinkSettings {
    /// Whether servers are asked how this computer is seen from outside.
    pub(crate) fn has_servers(&self) -> bool {
        !self.ice_servers.is_empty()
    }
}

/// Why a link could not be made or went away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The WebRTC library refused.
    #[error("the connection could not be set up: {0}")]
    Setup(String),
    /// No pair of addresses worked, or the handshake failed.
    #[error("no way through was found between the two computers")]
    NoRoute,
    /// The connection is gone.
    #[error("the connection was closed")]
    Closed,
}

impl From<webrtc::error::Error> for LinkError {
    fn from(error: webrtc::error::Error) -> Self {
        LinkError::Setup(error.to_string())
    }
}

/// A live connection with both channels open.
pub(crate) struct Link {
    /// Control messages.
    pub(crate) control: Channel,
    /// Piece frames.
    pub(crate) bulk: Channel,
    /// SHA-256 of this side's DTLS certificate.
    pub(crate) fingerprint: [u8; 32],
    /// SHA-256 of the peer's, verified by the handshake.
    pub(crate) peer_fingerprint: [u8; 32],
    /// How the peer is reached.
    pub(crate) route: Route,
    /// Closes the connection.
    pub(crate) handle: LinkHandle,
    /// What further connections to the same peer are built from; none where they would
    /// have to be carried.
    pub(crate) beside: Option<LinkSettings>,
}

/// Closes a link from anywhere, and tells how it is.
#[derive(Clone)]
pub(crate) struct LinkHandle {
    connection: Arc<dyn PeerConnection>,
    sockets: Sockets,
    state: watch::Receiver<RTCPeerConnectionState>,
    _waking: Option<Arc<Waking>>,
}

impl LinkHandle {
    /// Closes the connection; both channels end.
    pub(crate) async fn close(&self) {
        let _ = self.connection.close().await;
    }

    /// Resolves when the other end answers no more, or the connection is closed.
    pub(crate) async fn gone(&self) {
        let mut state = self.state.clone();
        // Without whoever tells the state there is no connection.
        let _ = state
            .wait_for(|state| *state == RTCPeerConnectionState::Disconnected || is_over(*state))
            .await;
    }

    /// The way over which the peer is reached now: the socket, and the address that
    /// ICE nominated. None while it is not known, on relayed links and on detours.
    pub(crate) async fn path(&self) -> Option<(Arc<SharedSocket>, SocketAddr)> {
        let (base, remote) = connecting::nominated(&*self.connection).await?;
        Some((self.sockets.at(base)?, remote))
    }
}

/// One data channel: ordered, reliable messages.
#[derive(Clone)]
pub(crate) struct Channel {
    channel: Arc<dyn DataChannel>,
}

impl Channel {
    /// Queues a message, waiting while the send buffer is full.
    pub(crate) async fn send(&self, message: BytesMut) -> Result<(), LinkError> {
        self.channel
            .send(message)
            .await
            .map_err(|_| LinkError::Closed)
    }

    /// The next message; `None` when the channel is gone.
    pub(crate) async fn receive(&self) -> Option<Bytes> {
        loop {
            match self.channel.poll().await? {
                DataChannelEvent::OnMessage(message) => return Some(message.data.freeze()),
                DataChannelEvent::OnClose | DataChannelEvent::OnClosing => return None,
                _ => {}
            }
        }
    }

    /// Bytes that were queued and not acknowledged by the peer yet.
    pub(crate) async fn outstanding(&self) -> u64 {
        self.channel.outstanding_bytes().await.unwrap_or(0) as u64
    }

    /// Waits until everything queued was acknowledged by the peer, or `limit`
    /// passed.
    pub(crate) async fn flushed(&self, limit: Duration) {
        let drained = async {
            while self.outstanding().await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(limit, drained).await;
    }
}
