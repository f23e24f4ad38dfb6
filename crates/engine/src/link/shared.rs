//! One UDP socket for both lanes of a link: WebRTC's packets and QUIC's, told apart
//! by [`passalong_proto::datagram`].
//!
//! Whoever reads gets whole batches (GRO), keeps what is its own and hands over the
//! rest: WebRTC reads while there is no QUIC, QUIC reads while there is. Invariant:
//! QUIC is given nothing but what came from the address that ICE nominated.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use passalong_proto::datagram::{Kind, keep_quic};
use tokio::runtime::Handle;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::medium::Medium;

/// Datagrams that may wait for WebRTC while QUIC reads; more are lost, as they
/// would be in a full socket buffer.
const MAX_WAITING: usize = 4096;

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

    /// Sends without waiting. Fails only where there is no room now; what the
    /// network refuses counts as lost on the way.
    pub(crate) fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.medium.try_send(transmit) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                tracing::trace!(%error, "a datagram was not sent");
                Ok(())
            }
            sent => sent,
        }
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
                other => return Poll::Ready(other.map(|()| transmit.contents.len())),
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
