//! The device's one UDP port, which is the same for years and may be open to everybody:
//! knocks come in on it, and connections that find no way with sockets of their own
//! have a seat at it.
//!
//! Whose datagram it is [`passalong_proto::mux`] decides. Invariant: one task reads each
//! socket and never waits for anybody; what a reader does not take in time is lost, as
//! it would be in a full socket buffer.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use passalong_proto::datagram::datagrams;
use passalong_proto::knock::{self, Candidate};
use passalong_proto::mux::{self, Mux};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use webrtc::runtime::{RecvMeta, Transmit};

use super::medium::{Lent, Medium, OwnSocket, Writable};
use super::socket::enlarge;

/// Bytes that may wait for one connection.
const MAX_WAITING: usize = 4 << 20;
/// Knocks and answers that may wait.
const MAX_LETTERS: usize = 256;
/// Bytes of one read: as many datagrams as the kernel joins.
const READ: usize = 65_536;
/// Reads that are made in one go.
const READS: usize = 8;
/// The pause after an error that a socket reports.
const PAUSE: Duration = Duration::from_millis(10);

/// A knock or an answer, or what claims to be one.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) socket: Arc<Port>,
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// One socket at the port.
#[derive(Debug)]
pub(crate) struct Port {
    socket: Arc<OwnSocket>,
    local: SocketAddr,
    begun: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    mux: Mux,
    seats: HashMap<mux::Seat, Weak<Seat>>,
    given: u64,
}

/// Reads a port for as long as this lives.
#[derive(Debug)]
pub(crate) struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Port {
    /// Takes a bound socket; knocks and answers go to `letters`. Needs a running tokio.
    pub(crate) fn open(
        socket: std::net::UdpSocket,
        letters: mpsc::Sender<Letter>,
    ) -> io::Result<(Arc<Port>, Reading)> {
        enlarge(&socket);
        let local = socket.local_addr()?;
        let port = Arc::new(Port {
            socket: Arc::new(OwnSocket::new(socket)?),
            local,
            begun: Instant::now(),
            table: Mutex::default(),
        });
        let reading = tokio::spawn(Arc::clone(&port).read(letters));
        Ok((port, Reading(reading)))
    }

    /// Where knocks and answers wait to be taken.
    pub(crate) fn letters() -> (mpsc::Sender<Letter>, mpsc::Receiver<Letter>) {
        mpsc::channel(MAX_LETTERS)
    }

    /// The address that it is bound to.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends a knock or an answer.
    pub(crate) async fn send_to(&self, bytes: &[u8], to: SocketAddr) {
        // Lost or refused datagrams are sent again by whoever waits.
        let _ = self.socket.io.send_to(bytes, to).await;
    }

    /// A seat for one connection, which tells the other side of `candidates`.
    pub(crate) fn seat(
        self: &Arc<Self>,
        candidates: impl Fn() -> Vec<Candidate> + Send + Sync + 'static,
    ) -> Arc<Seat> {
        let mut table = self.table();
        table.given += 1;
        let id = mux::Seat(table.given);
        let seat = Arc::new(Seat {
            id,
            port: Arc::clone(self),
            candidates: Box::new(candidates),
            queue: Mutex::default(),
            waiting: Mutex::default(),
        });
        table.seats.insert(id, Arc::downgrade(&seat));
        seat
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(self: Arc<Self>, letters: mpsc::Sender<Letter>) {
        let mut buffers = vec![0; READ * READS];
        let mut meta = [RecvMeta::default(); READS];
        loop {
            let read = std::future::poll_fn(|cx| {
                let mut bufs: Vec<_> = buffers.chunks_mut(READ).map(IoSliceMut::new).collect();
                self.socket.poll_read(cx, &mut bufs, &mut meta)
            });
            match read.await {
                Ok(count) => {
                    for (buffer, meta) in buffers.chunks(READ).zip(&meta).take(count) {
                        self.sort(&buffer[..meta.len.min(READ)], meta, &letters);
                    }
                }
                // Unreachable peers report themselves here; the socket lives on.
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Gives one read to whom it is for: all at once where that is one connection.
    fn sort(self: &Arc<Self>, bytes: &[u8], meta: &RecvMeta, letters: &mpsc::Sender<Letter>) {
        let now = self.now();
        let from = meta.addr;
        let is_plain = |datagram: &[u8]| !knock::is_letter(datagram) && datagram[0] > 3;
        let mut ranges = datagrams(bytes.len(), meta.stride);
        if ranges.all(|range| is_plain(&bytes[range])) {
            let Some(first) = datagrams(bytes.len(), meta.stride).next() else {
                return;
            };
            self.give(&bytes[first], bytes, meta, now);
            return;
        }
        for range in datagrams(bytes.len(), meta.stride) {
            let datagram = &bytes[range];
            if knock::is_letter(datagram) && datagram.len() <= knock::MAX_DATAGRAM {
                // Whoever knocks does so again.
                let _ = letters.try_send(Letter {
                    socket: Arc::clone(self),
                    from,
                    bytes: datagram.to_vec(),
                });
            } else {
                self.give(datagram, datagram, meta, now);
            }
        }
    }

    /// Gives datagrams to the connection that the first of them is for, if there is one.
    fn give(&self, first: &[u8], bytes: &[u8], meta: &RecvMeta, now: Duration) {
        let mut table = self.table();
        let seat = table.mux.incoming(meta.addr, first, now);
        let seat = seat.and_then(|seat| table.seats.get(&seat)?.upgrade());
        drop(table);
        if let Some(seat) = seat {
            let mut meta = *meta;
            meta.len = bytes.len();
            meta.stride = meta.stride.clamp(1, bytes.len().max(1));
            let bytes = bytes.into();
            seat.take(Batch { meta, bytes });
        }
    }
}

/// One connection's place at a port.
pub(crate) struct Seat {
    id: mux::Seat,
    port: Arc<Port>,
    candidates: Box<dyn Fn() -> Vec<Candidate> + Send + Sync>,
    queue: Mutex<Queue>,
    /// The one wait for room of those who poll.
    waiting: Mutex<Option<Writable>>,
}

#[derive(Default)]
struct Queue {
    batches: VecDeque<Batch>,
    bytes: usize,
    reader: Option<Waker>,
}

/// Datagrams of one size from one address.
struct Batch {
    meta: RecvMeta,
    bytes: Box<[u8]>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(&self.id).finish()
    }
}

impl Seat {
    fn take(&self, batch: Batch) {
        let mut queue = self.queue();
        if queue.bytes + batch.bytes.len() > MAX_WAITING {
            return;
        }
        queue.bytes += batch.bytes.len();
        queue.batches.push_back(batch);
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut table = self.port.table();
        table.mux.leave(self.id);
        table.seats.remove(&self.id);
    }
}

impl Medium for Seat {
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut queue = self.queue();
        let mut count = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()) {
            let Some(batch) = queue.batches.pop_front() else {
                break;
            };
            queue.bytes -= batch.bytes.len();
            // Of what does not fit whole datagrams are read, and one at least.
            let stride = batch.meta.stride;
            let fits = match batch.bytes.len() <= buf.len() {
                true => batch.bytes.len(),
                false => (buf.len() / stride * stride).max(stride.min(buf.len())),
            };
            buf[..fits].copy_from_slice(&batch.bytes[..fits]);
            *meta = batch.meta;
            meta.len = fits;
            meta.stride = stride.min(fits.max(1));
            count += 1;
            let rest = batch.bytes.get(fits.max(stride)..).unwrap_or(&[]);
            if !rest.is_empty() {
                queue.bytes += rest.len();
                let bytes: Box<[u8]> = rest.into();
                queue.batches.push_front(Batch {
                    meta: batch.meta,
                    bytes,
                });
            }
        }
        match count {
            0 => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(Ok(count)),
        }
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let stride = transmit.segment_size.unwrap_or(transmit.contents.len());
        let first = &transmit.contents[..stride.min(transmit.contents.len())];
        let mut table = self.port.table();
        let now = self.port.now();
        let may = table
            .mux
            .outgoing(self.id, transmit.destination, first, now);
        drop(table);
        match may {
            true => self.port.socket.try_send(transmit),
            false => Ok(()),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The socket wakes only one of those who poll it, and there may be many seats.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = waiting.get_or_insert_with(|| Arc::clone(&self.port.socket).writable());
        let outcome = ready!(wait.as_mut().poll(cx));
        *waiting = None;
        Poll::Ready(outcome)
    }

    fn writable(self: Arc<Self>) -> Writable {
        Arc::clone(&self.port.socket).writable()
    }

    fn max_gso_segments(&self) -> usize {
        self.port.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.port.socket.max_gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.port.socket.may_fragment()
    }
}

impl Lent for Seat {
    fn is_ipv4(&self) -> bool {
        self.port.local.is_ipv4()
    }

    fn candidates(&self) -> Vec<Candidate> {
        (self.candidates)()
    }

    fn named(&self, ufrag: &str) {
        if !self.port.table().mux.sit(self.id, ufrag) {
            tracing::warn!("two connections go by one name");
        }
    }
}
