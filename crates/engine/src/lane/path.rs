//! QUIC on the path that ICE found: the link's own socket as quinn's, and how
//! packets are sent on it.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use quinn::congestion::CubicConfig;
use quinn::udp;
use quinn::{
    AsyncTimer, AsyncUdpSocket, Endpoint, EndpointConfig, MtuDiscoveryConfig, Runtime,
    ServerConfig, TokioRuntime, TransportConfig, UdpPoller, VarInt,
};
use quinn_proto::RandomConnectionIdGenerator;
use tokio::runtime::Handle;

use super::congestion::Bandwidth;
use crate::link::udp::{AsyncUdpSocket as _, EcnCodepoint, RecvMeta, Transmit};
use crate::link::{Medium, SharedSocket, Writable, is_own};

/// Datagrams within one machine, whose interface takes 16 KiB with headers at least.
const SAME_MACHINE_MTU: u16 = 16_000;
/// The largest datagrams that are tried elsewhere: a packet of 1500 bytes, less the
/// headers of IPv4 and UDP.
const LARGEST_MTU: u16 = 1472;
/// Bytes that the kernel takes in one go, in however many datagrams.
const LARGEST_SEND: usize = 65_507;
/// A lane that hears nothing for this long is gone. The data channel goes on.
const IDLE: Duration = Duration::from_secs(5);
/// How often an idle lane shows that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Bytes on their way that were not acknowledged: 1 Gbit/s for 130 ms.
const SEND_WINDOW: u64 = 16 << 20;
/// Bytes taken from the network and not read yet.
const RECEIVE_WINDOW: u32 = 24 << 20;
/// The same for one stream, which carries at most 1 MiB and headers.
const STREAM_WINDOW: u32 = 2 << 20;
/// Streams that the other side may have open.
const STREAMS: u32 = 64;

/// How packets are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As fast as the path carries: by measured bandwidth.
    Fast,
    /// Gives way to other traffic: loss-based (CUBIC, RFC 9438).
    Polite,
}

/// The transport settings of a lane to `remote`.
pub(super) fn transport(remote: SocketAddr, manner: Manner) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    match manner {
        Manner::Fast => config.congestion_controller_factory(Arc::new(Bandwidth)),
        Manner::Polite => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
    };
    if is_own(remote.ip()) {
        // Nothing to find out, and a burst that a full buffer lost is no sign of
        // a smaller one.
        config
            .initial_mtu(SAME_MACHINE_MTU)
            .min_mtu(SAME_MACHINE_MTU)
            .mtu_discovery_config(None);
    } else {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(LARGEST_MTU);
        config.mtu_discovery_config(Some(discovery));
    }
    config
        .max_idle_timeout(IDLE.try_into().ok())
        .keep_alive_interval(Some(KEEP_ALIVE))
        .send_window(SEND_WINDOW)
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    Arc::new(config)
}

/// QUIC on the link's socket, for one connection with `remote`.
pub(super) fn speak(
    socket: Arc<SharedSocket>,
    remote: SocketAddr,
    server: Option<ServerConfig>,
) -> io::Result<Speaking> {
    let mut config = EndpointConfig::default();
    // Sorting goes by the bit that greasing would change (RFC 9287).
    config.grease_quic_bit(false);
    // The path says which connection a packet is of, and saves each its eight bytes.
    config.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(0)));
    if is_own(remote.ip()) {
        let largest = config.max_udp_payload_size(SAME_MACHINE_MTU);
        largest.map_err(|_| io::ErrorKind::InvalidInput)?;
    }
    let speaker = socket.begin_quic(remote);
    let most = match is_own(remote.ip()) {
        true => LARGEST_SEND / usize::from(SAME_MACHINE_MTU),
        false => usize::MAX,
    };
    let segments = socket.max_gso_segments().min(most);
    let socket = Arc::new(QuicSocket {
        socket,
        speaker,
        segments,
    });
    let lent = Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>;
    let runtime = Arc::new(Reactor(socket.socket.reactor().clone()));
    let endpoint = Endpoint::new_with_abstract_socket(config, server, lent, runtime);
    match endpoint {
        Ok(endpoint) => Ok(Speaking { endpoint, socket }),
        Err(error) => {
            socket.give_back();
            Err(error)
        }
    }
}

/// QUIC being spoken. Dropping this ends it at once, whoever still holds a
/// connection: the socket is WebRTC's again.
pub(super) struct Speaking {
    pub(super) endpoint: Endpoint,
    socket: Arc<QuicSocket>,
}

impl Drop for Speaking {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
        self.socket.give_back();
    }
}

/// Tokio, on the thread that hears of the socket: packets are handled where they
/// come in.
#[derive(Debug)]
struct Reactor(Handle);

impl Runtime for Reactor {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _entered = self.0.enter();
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _entered = self.0.enter();
        TokioRuntime.wrap_udp_socket(socket)
    }
}

/// The link's socket, lent to quinn.
#[derive(Debug)]
struct QuicSocket {
    socket: Arc<SharedSocket>,
    speaker: u64,
    /// Datagrams that the kernel takes in one go.
    segments: usize,
}

impl QuicSocket {
    fn give_back(&self) {
        self.socket.end_quic(self.speaker);
    }
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room {
            medium: Arc::clone(self.socket.medium()),
            waiting: None,
        })
    }

    fn try_send(&self, transmit: &udp::Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(&Transmit {
            destination: transmit.destination,
            ecn: transmit
                .ecn
                .and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents: transmit.contents,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        })
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [udp::RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut read = [RecvMeta::default(); udp::BATCH_SIZE];
        let room = meta.len().min(read.len());
        let count = ready!(
            self.socket
                .poll_quic(self.speaker, cx, bufs, &mut read[..room])
        )?;
        for (meta, read) in meta.iter_mut().zip(&read).take(count) {
            *meta = udp::RecvMeta {
                addr: read.addr,
                len: read.len,
                stride: read.stride,
                ecn: read
                    .ecn
                    .and_then(|ecn| udp::EcnCodepoint::from_bits(ecn as u8)),
                dst_ip: read.dst_ip,
            };
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.socket.medium().may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.segments
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

/// One task's wait for room.
struct Room {
    medium: Arc<dyn Medium>,
    waiting: Option<Writable>,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let medium = Arc::clone(&self.medium);
        let waiting = self.waiting.get_or_insert_with(|| medium.writable());
        let outcome = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(outcome)
    }
}
