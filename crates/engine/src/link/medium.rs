//! What carries the datagrams of a link: a UDP socket of its own, or something that
//! is lent to it.
//!
//! A [`Medium`] keeps no order, may lose and repeat, and knows nothing of what it
//! carries.

use std::fmt::Debug;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use passalong_proto::knock::Candidate;
use tokio::io::Interest;
use webrtc::runtime::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use crate::api::Route;

/// A wait for room.
pub(crate) type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Datagrams in and out.
pub(crate) trait Medium: Debug + Send + Sync {
    /// Reads datagrams, several of one size and one sender in each buffer where that
    /// is possible ([`RecvMeta::stride`]). Wakes whoever asked last.
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>>;

    /// Sends without waiting; [`io::ErrorKind::WouldBlock`] where there is no room.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()>;

    /// Whether something can be sent. Wakes whoever asked last.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits until something can be sent; any number may.
    fn writable(self: Arc<Self>) -> Writable;

    /// Datagrams that are taken in one go at most.
    fn max_gso_segments(&self) -> usize {
        1
    }

    /// Datagrams that one buffer may hold when read.
    fn max_gro_segments(&self) -> usize {
        1
    }

    /// Whether datagrams may be split on their way.
    fn may_fragment(&self) -> bool {
        true
    }
}

/// A medium that is no socket of the connection's own, and what it has to be told.
pub(crate) trait Lent: Medium {
    /// Whether what it carries comes from and goes to IPv4 addresses.
    fn is_ipv4(&self) -> bool;

    /// Where the other side reaches the connection through it, as known now.
    fn candidates(&self) -> Vec<Candidate>;

    /// What is different about a connection over it, if it is no path of UDP.
    fn terms(&self) -> Option<Terms> {
        None
    }

    /// What the checks of ICE that are meant for the connection begin their user name
    /// with.
    fn named(&self, ufrag: &str);
}

/// How a connection goes over what is no path of UDP. No QUIC is spoken there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What the connection is shown as.
    pub(crate) route: Route,
    /// Bytes that may be on their way, at most.
    pub(crate) window: u32,
    /// The longest packet of SCTP, in bytes.
    pub(crate) packet: u32,
}

/// A UDP socket.
pub(super) struct OwnSocket {
    pub(super) io: tokio::net::UdpSocket,
    offload: UdpSocketState,
}

impl OwnSocket {
    /// Takes a bound socket. Needs a running tokio.
    pub(super) fn new(socket: UdpSocket) -> io::Result<OwnSocket> {
        socket.set_nonblocking(true)?;
        let io = tokio::net::UdpSocket::from_std(socket)?;
        let offload = UdpSocketState::new(UdpSockRef::from(&io))?;
        Ok(OwnSocket { io, offload })
    }
}

impl Debug for OwnSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("OwnSocket").field(&self.io).finish()
    }
}

impl Medium for OwnSocket {
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let read = self.io.try_io(Interest::READABLE, || {
                self.offload
                    .recv(UdpSockRef::from(&self.io), &mut *bufs, &mut *meta)
            });
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || {
            self.offload.try_send(UdpSockRef::from(&self.io), transmit)
        })
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }

    fn writable(self: Arc<Self>) -> Writable {
        Box::pin(async move { self.io.writable().await })
    }

    fn max_gso_segments(&self) -> usize {
        self.offload.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.offload.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.offload.may_fragment()
    }
}
