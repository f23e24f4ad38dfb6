//! Socket buffers: how large they are, and what that allows SCTP to do.
//!
//! A burst larger than the receive buffer is lost before anybody reads it, and
//! SCTP answers loss with timeouts; so the window is sized from the buffer that
//! the kernel granted, never the other way round.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

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

/// Tokio, with enlarged buffers on every UDP socket it wraps.
#[derive(Debug)]
pub(crate) struct BufferedRuntime(pub(crate) TokioRuntime);

impl Runtime for BufferedRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        self.0.spawn(future)
    }

    fn spawn_reactor(
        &self,
        pool: usize,
        future: Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Box<dyn JoinHandle> {
        self.0.spawn_reactor(pool, future)
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        enlarge(&socket);
        self.0.wrap_udp_socket(socket)
    }

    fn wrap_tcp_listener(
        &self,
        listener: std::net::TcpListener,
    ) -> io::Result<Arc<dyn AsyncTcpListener>> {
        self.0.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        address: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        self.0.connect_tcp(address)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        self.0.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.0.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.0.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.0.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        self.0.yield_now()
    }

    fn name(&self) -> &'static str {
        self.0.name()
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
