//! One UDP socket for both lanes of a link: WebRTC's packets and QUIC's, told apart
//! by [`passalong_proto::datagram`].
//!
//! Whoever reads gets whole batches (GRO), keeps what is its own and hands over the
//! rest: WebRTC reads while there is no QUIC, QUIC reads while there is. Invariant:
//! QUIC is given nothing but what came from the address that ICE nominated.
//!
//! What a connection begins with is sent twice: while little is on its way, DTLS, SCTP
//! and QUIC notice after a second at the earliest that something was lost (RFC 6347
//! §4.2.4, RFC 9260 §16, RFC 9002 §6.2.2), and all know a datagram that they had before.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use passalong_proto::datagram::{Kind, datagrams, keep_quic};
use tokio::runtime::Handle;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::medium::Medium;

/// Datagrams that may wait for WebRTC while QUIC reads; more are lost, as they
/// would be in a full socket buffer.
const MAX_WAITING: usize = 4096;

/// Datagrams of DTLS that are sent twice: the handshakes of DTLS and SCTP, and what is
/// said until the first pieces flow.
const TWICE_DTLS: usize = 40;
/// The same of each connection of QUIC: its handshake.
const TWICE_QUIC: usize = 12;
/// How long after the first time. What overflows a queue does so for a while.
const AGAIN: Duration = Duration::from_millis(25);

/// WebRTC among the readers.
const WEBRTC: u64 = 0;

/// A UDP socket with two readers.
#[derive(Debug)]
pub(crate) struct SharedSocket {
    medium: Arc<dyn Medium>,
    /// Where WebRTC believes it to be.
    local: SocketAddr,
    reactor: Handle,
    sorting: Mutex<Sorting>,
    /// Datagrams that were sent twice: of DTLS, and of the connection of QUIC.
    twice_dtls: AtomicUsize,
    twice_quic: AtomicUsize,
}

#[derive(Debug, Default)]
struct Sorting {
    /// Where QUIC comes from, while it is spoken here.
    nominated: Option<SocketAddr>,
    /// For WebRTC, read by QUIC.
    waiting: VecDeque<(SocketAddr, Box<[u8]>)>,
    webrtc: Option<Waker>,
    quic: Option<Waker>,
    /// How many spoke QUIC here; each has its number.
    speakers: u64,
    /// Who reads now: a speaker, or WebRTC, which is 0.
    reader: u64,
    /// Who waits at the socket, which wakes only whoever came last.
    at_socket: u64,
}

impl SharedSocket {
    /// Shares what carries datagrams, which WebRTC knows as `local`. Needs a running
    /// tokio.
    pub(super) fn new(medium: Arc<dyn Medium>, local: SocketAddr) -> SharedSocket {
        SharedSocket {
            medium,
            local,
            reactor: Handle::current(),
            sorting: Mutex::default(),
            twice_dtls: AtomicUsize::new(0),
            twice_quic: AtomicUsize::new(0),
        }
    }

    /// The runtime that hears of this socket first; whoever reads it is best run there.
    pub(crate) fn reactor(&self) -> &Handle {
        &self.reactor
    }

    /// Whether WebRTC knows it as this address.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        self.local == address
    }

    /// Gives QUIC its datagrams, and the reading, until [`SharedSocket::end_quic`].
    /// Returns what this speaker has to name itself by; none before it has either.
    pub(crate) fn begin_quic(&self, nominated: SocketAddr) -> u64 {
        self.twice_quic.store(0, Ordering::Relaxed);
        let mut sorting = self.lock();
        sorting.nominated = Some(nominated);
        sorting.speakers += 1;
        sorting.reader = sorting.speakers;
        sorting.quic = None;
        sorting.reader
    }

    /// Leaves the reading to WebRTC again, if this speaker has it.
    pub(crate) fn end_quic(&self, speaker: u64) {
        let mut sorting = self.lock();
        if sorting.reader == speaker {
            sorting.nominated = None;
            sorting.reader = WEBRTC;
            sorting.wake_reader();
        }
    }

    /// Reads datagrams of QUIC; what else came is left to WebRTC. As
    /// [`AsyncUdpSocket::poll_recv`], but that messages may be empty.
    pub(crate) fn poll_quic(
        &self,
        speaker: u64,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut sorting = self.lock();
        if sorting.reader != speaker {
            sorting.yield_socket();
            return Poll::Pending;
        }
        sorting.quic = Some(cx.waker().clone());
        sorting.at_socket = speaker;
        drop(sorting);
        let count = ready!(self.medium.poll_read(cx, bufs, meta))?;
        let mut sorting = self.lock();
        let before = sorting.waiting.len();
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(count) {
            let from = meta.addr;
            let nominated = sorting.nominated == Some(from);
            let length = meta.len.min(buf.len());
            meta.len = keep_quic(&mut buf[..length], meta.stride, nominated, |kind, data| {
                if kind != Kind::Other && sorting.waiting.len() < MAX_WAITING {
                    sorting.waiting.push_back((from, data.into()));
                }
            });
        }
        let webrtc = match sorting.waiting.len() > before {
            true => sorting.webrtc.take(),
            false => None,
        };
        drop(sorting);
        if let Some(waker) = webrtc {
            waker.wake();
        }
        Poll::Ready(Ok(count))
    }

    /// Sends datagrams of QUIC without waiting. Fails only where there is no room now; what the
    /// network refuses counts as lost on the way.
    pub(crate) fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.medium.try_send(transmit) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::trace!(%error, "a datagram was not sent");
                Ok(())
            }
            Ok(()) => {
                self.again(transmit, &self.twice_quic, TWICE_QUIC);
                Ok(())
            }
            no_room => no_room,
        }
    }

    /// Sends datagrams once more, a little later, as long as fewer than `most` were
    /// `sent` so.
    fn again(&self, transmit: &Transmit<'_>, sent: &AtomicUsize, most: usize) {
        let before = sent.load(Ordering::Relaxed);
        if before >= most {
            return;
        }
        let stride = transmit.segment_size.unwrap_or(transmit.contents.len());
        let now = before + datagrams(transmit.contents.len(), stride).count();
        sent.store(now, Ordering::Relaxed);
        if now > most {
            return;
        }
        let medium = Arc::clone(&self.medium);
        let contents: Box<[u8]> = transmit.contents.into();
        let (destination, ecn) = (transmit.destination, transmit.ecn);
        let (segment_size, src_ip) = (transmit.segment_size, transmit.src_ip);
        self.reactor.spawn(async move {
            tokio::time::sleep(AGAIN).await;
            // Where there is no room now, the first time has to do.
            let _ = medium.try_send(&Transmit {
                destination,
                ecn,
                contents: &contents,
                segment_size,
                src_ip,
            });
        });
    }

    /// What carries the datagrams.
    pub(crate) fn medium(&self) -> &Arc<dyn Medium> {
        &self.medium
    }

    fn lock(&self) -> MutexGuard<'_, Sorting> {
        self.sorting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sorting {
    /// Whoever was woken in the place of the reader wakes it.
    fn yield_socket(&mut self) {
        if self.at_socket != self.reader {
            self.wake_reader();
        }
    }

    fn wake_reader(&mut self) {
        let waker = match self.reader {
            WEBRTC => self.webrtc.take(),
            _ => self.quic.take(),
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// WebRTC's side of it.
impl AsyncUdpSocket for SharedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_gso_segments(&self) -> usize {
        self.medium.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.medium.max_gro_segments()
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.medium.poll_writable(cx))?;
            match self.medium.try_send(transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => {
                    let first = transmit.contents.first();
                    if first.is_some_and(|first| Kind::of(*first, false) == Kind::Dtls) {
                        self.again(transmit, &self.twice_dtls, TWICE_DTLS);
                    }
                    return Poll::Ready(Ok(transmit.contents.len()));
                }
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut sorting = self.lock();
        let waiting = sorting.waiting.pop_front();
        if let (Some((from, datagram)), Some(buf), Some(meta)) =
            (waiting, bufs.first_mut(), meta.first_mut())
        {
            let length = datagram.len().min(buf.len());
            buf[..length].copy_from_slice(&datagram[..length]);
            *meta = RecvMeta::default();
            meta.addr = from;
            meta.len = length;
            meta.stride = length.max(1);
            return Poll::Ready(Ok(1));
        }
        sorting.webrtc = Some(cx.waker().clone());
        if sorting.reader != WEBRTC {
            sorting.yield_socket();
            return Poll::Pending;
        }
        sorting.at_socket = WEBRTC;
        drop(sorting);
        let count = ready!(self.medium.poll_read(cx, bufs, meta))?;
        for meta in meta.iter_mut().take(count) {
            meta.stride = meta.stride.max(1);
        }
        Poll::Ready(Ok(count))
    }
}
