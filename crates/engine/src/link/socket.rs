//! The sockets of a link, and their buffers: how large they are, and what that
//! allows SCTP to do.
//!
//! A burst larger than the receive buffer is lost before anybody reads it, and
//! SCTP answers loss with timeouts; so the window is sized from the buffer that
//! the kernel granted, never the other way round.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use super::LinkError;
use super::medium::{Lent, Medium, OwnSocket, Terms};
use super::shared::SharedSocket;

/// Bytes asked for in each direction; the kernel grants what its limits allow.
const BUFFER: usize = 4 * 1024 * 1024;
/// Smallest and largest SCTP window, in bytes.
const WINDOW: (u32, u32) = (128 * 1024, 3 * 1024 * 1024);

/// Asks for large buffers on a socket; a refusal leaves the default.
pub(crate) fn enlarge(socket: &UdpSocket) {
    let socket = SockRef::from(socket);
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
}

/// The SCTP receive window, in bytes, that fits the receive buffer this
/// machine grants: 5/16 of what the kernel reports, since it reports twice the
/// payload it was asked for and charges its own bookkeeping to it.
pub(crate) fn sctp_window() -> u32 {
    static SIZE: OnceLock<u32> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let granted = Socket::new(Domain::IPV4, Type::DGRAM, None)
            .and_then(|socket| {
                socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
                let _ = socket.set_recv_buffer_size(BUFFER);
                socket.recv_buffer_size()
            })
            .unwrap_or(0);
        window_for(granted)
    })
}

fn window_for(granted: usize) -> u32 {
    let window = u32::try_from(granted / 16 * 5).unwrap_or(u32::MAX);
    window.clamp(WINDOW.0, WINDOW.1)
}

/// The UDP sockets of one link.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets(Arc<Mutex<Vec<Arc<SharedSocket>>>>);

impl Sockets {
    /// The one that WebRTC knows as this address.
    pub(super) fn at(&self, address: SocketAddr) -> Option<Arc<SharedSocket>> {
        let sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.iter().find(|socket| socket.is_at(address)).cloned()
    }

    fn add(&self, socket: Arc<SharedSocket>) {
        let mut sockets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.push(socket);
    }
}

/// What is lent to one connection. WebRTC knows sockets by their addresses and binds
/// them itself, so each has an address on the loopback that stands for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lending(Vec<(SocketAddr, Arc<dyn Lent>)>);

impl Lending {
    /// Finds an address to stand for each.
    pub(super) fn of(lent: &[Arc<dyn Lent>]) -> Result<Lending, LinkError> {
        let with_address = |lent: &Arc<dyn Lent>| {
            let loopback = match lent.is_ipv4() {
                true => IpAddr::V4(Ipv4Addr::LOCALHOST),
                false => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            let address = UdpSocket::bind((loopback, 0))?.local_addr()?;
            Ok((address, Arc::clone(lent)))
        };
        let lending: io::Result<Vec<_>> = lent.iter().map(with_address).collect();
        Ok(Lending(lending.map_err(|error| {
            LinkError::Setup(format!("no port on the loopback: {error}"))
        })?))
    }

    /// The addresses that stand for them.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(address, _)| *address)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<dyn Lent>> {
        self.0.iter().map(|(_, lent)| lent)
    }

    /// What is different about the connection because of one of them.
    pub(super) fn terms(&self) -> Option<Terms> {
        self.all().find_map(|lent| lent.terms())
    }

    fn at(&self, address: SocketAddr) -> Option<&Arc<dyn Lent>> {
        let mut all = self.0.iter();
        all.find(|(a, _)| *a == address).map(|(_, lent)| lent)
    }
}

/// How long a connection in haste sleeps at most.
const NAP: Duration = Duration::from_millis(1);

/// Whether a connection looks at its timers more often than it asks to. While it is
/// being made, it begins the DTLS handshake when a pair of candidates was nominated,
/// but sends the first packet of it with the next timer, which is that of ICE's checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Haste(Arc<AtomicBool>);

impl Haste {
    /// It does for as long as what this returns lives.
    pub(super) fn begin(&self) -> Hurry {
        self.0.store(true, Ordering::Relaxed);
        Hurry(self.clone())
    }
}

/// A time of [`Haste`].
#[derive(Debug)]
pub(super) struct Hurry(Haste);

impl Drop for Hurry {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// Tokio, but that the UDP sockets have large buffers and are shared with QUIC, and
/// that a connection may be made in haste.
#[derive(Debug)]
pub(super) struct SharingRuntime {
    pub(super) tokio: TokioRuntime,
    pub(super) sockets: Sockets,
    pub(super) lending: Lending,
    pub(super) haste: Haste,
}

impl Runtime for SharingRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(future)
    }

    fn spawn_reactor(
        &self,
        pool: usize,
        future: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Box<dyn JoinHandle> {
        self.tokio.spawn_reactor(pool, future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let local = socket.local_addr()?;
        let socket = match self.lending.at(local) {
            Some(lent) => SharedSocket::new(Arc::clone(lent) as Arc<dyn Medium>, local),
            None => {
                enlarge(&socket);
                SharedSocket::new(Arc::new(OwnSocket::new(socket)?), local)
            }
        };
        let socket = Arc::new(socket);
        // What is no path of UDP is no path for QUIC.
        if self.lending.terms().is_none() {
            self.sockets.add(Arc::clone(&socket));
        }
        Ok(socket)
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.tokio.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        address: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.tokio.connect_tcp(address)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.tokio.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        let longest = match self.haste.0.load(Ordering::Relaxed) {
            true => NAP,
            false => Duration::MAX,
        };
        self.tokio.sleep(duration.min(longest))
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.tokio.yield_now()
    }

    fn name(&self) -> &'static str {
        self.tokio.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_granted_buffer() {
        assert_eq!(window_for(0), WINDOW.0);
        assert_eq!(window_for(425_984), 133_120);
        assert_eq!(window_for(8 * 1024 * 1024), 2_621_440);
        assert_eq!(window_for(usize::MAX), WINDOW.1);
    }
}
