//! Sending pieces on one link, read a little ahead. Of what was asked for, what is
//! answered first is decided by [`passalong_proto::sending`], over all links of the
//! share. A piece that was not read yet can still be dropped.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use passalong_proto::fetch::PeerKey;
use passalong_proto::pieces::{MAX_PIECES, PieceMap};
use passalong_proto::sending::Sending;
use passalong_proto::wire::{PieceRef, SourceProblem};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::context::Context;
use crate::lane::{self, Next, Outcome, Piece, Way};
use crate::source::{Reader, Shelf};

/// Pieces read in one go, as long as they are no more than one large one.
const BATCH_PIECES: usize = 64;
const BATCH_BYTES: usize = 1 << 20;
/// Batches read ahead of the one being sent.
const BATCHES_AHEAD: usize = 1;

/// A link that waits for others is asked again after this time at the latest.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What is on its way on all links of a share, and what went out before.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    under_way: Mutex<UnderWay>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct UnderWay {
    sending: Sending<PeerKey>,
    /// How often each piece went out; as long as the last of them needs.
    sent: Vec<u8>,
}

impl Outgoing {
    /// The place in a queue of the request to answer next, and counts it in.
    fn begin(&self, key: PeerKey, queue: &[u32], waited: Duration) -> Option<usize> {
        let mut under_way = self.lock();
        let UnderWay { sending, sent } = &*under_way;
        let copies = |piece: u32| sent.get(piece as usize).copied().map_or(0, u32::from);
        let place = sending.choose(&key, queue.iter().copied(), copies, waited)?;
        under_way.sending.begin(key, *queue.get(place)?);
        Some(place)
    }

    fn begin_also(&self, key: PeerKey, piece: u32) {
        self.lock().sending.begin(key, piece);
    }

    fn end(&self, key: PeerKey, piece: u32) {
        let mut under_way = self.lock();
        under_way.sending.end(&key, piece);
        let at = piece as usize;
        if under_way.sent.len() <= at && u64::from(piece) < MAX_PIECES {
            under_way.sent.resize(at + 1, 0);
        }
        if let Some(times) = under_way.sent.get_mut(at) {
            *times = times.saturating_add(1);
        }
        drop(under_way);
        self.ended.notify_waiters();
    }

    fn left(&self, key: PeerKey) {
        self.lock().sending.left(&key);
        self.ended.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went out, or did not.
#[derive(Debug)]
pub(super) enum Fed {
    /// The hashes of one file.
    Hashes,
    /// A piece, but for its last frame, which follows at once.
    Sent { piece: PieceRef, bytes: u64 },
    /// A piece that cannot be read.
    Unavailable {
        piece: PieceRef,
        reason: SourceProblem,
    },
}

/// Requests that wait to be read.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<PieceRef>>,
    more: Notify,
}

impl Queue {
    /// Adds requests; how many there may be is the protocol's business.
    pub(super) fn push(&self, pieces: Vec<PieceRef>) {
        self.lock().extend(pieces);
        self.more.notify_one();
    }

    /// Takes back those of `pieces` that were not begun.
    pub(super) fn take_back(&self, pieces: &[PieceRef]) -> Vec<PieceRef> {
        let wanted: HashSet<&PieceRef> = pieces.iter().collect();
        let mut taken = Vec::new();
        self.lock().retain(|piece| {
            let take = wanted.contains(piece);
            if take {
                taken.push(*piece);
            }
            !take
        });
        taken
    }

    /// Takes back everything that was not begun.
    pub(super) fn take_all(&self) -> Vec<PieceRef> {
        self.lock().drain(..).collect()
    }

    /// The requests to answer next, at most so many.
    async fn next(&self, limit: usize, line: &Line) -> Vec<PieceRef> {
        let mut since = None;
        loop {
            let ended = line.outgoing.ended.notified();
            let empty = {
                let mut waiting = self.lock();
                let numbers: Vec<u32> = waiting.iter().map(|piece| line.number(*piece)).collect();
                let waited = since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
                let place = line.outgoing.begin(line.key, &numbers, waited);
                if let Some(first) = place.and_then(|place| waiting.remove(place)) {
                    let more = waiting.len().min(limit.saturating_sub(1));
                    let rest: Vec<PieceRef> = waiting.drain(..more).collect();
                    for piece in &rest {
                        line.outgoing.begin_also(line.key, line.number(*piece));
                    }
                    return std::iter::once(first).chain(rest).collect();
                }
                waiting.is_empty()
            };
            if empty {
                since = None;
                self.more.notified().await;
            } else {
                since.get_or_insert_with(Instant::now);
                tokio::select! {
                    () = ended => {}
                    () = self.more.notified() => {}
                    () = tokio::time::sleep(ASK_AGAIN) => {}
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<PieceRef>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Read = (PieceRef, Result<Vec<u8>, SourceProblem>);

/// One link's place among those of the share.
pub(super) struct Line {
    pub(super) key: PeerKey,
    pub(super) pieces: Arc<PieceMap>,
    pub(super) outgoing: Arc<Outgoing>,
}

impl Line {
    /// The number of a piece that is known to exist.
    fn number(&self, piece: PieceRef) -> u32 {
        self.pieces.number(piece).unwrap_or(u32::MAX)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.outgoing.left(self.key);
    }
}

/// Reads and sends what is asked for, until the link is gone.
pub(super) async fn feed(
    context: Arc<Context>,
    shelf: Arc<Shelf>,
    line: Line,
    mut lanes: lane::Sender,
    queue: Arc<Queue>,
    fed: mpsc::UnboundedSender<Fed>,
) {
    let (read, pieces) = mpsc::channel(BATCHES_AHEAD);
    tokio::select! {
        () = read_ahead(shelf, &queue, &line, read) => {}
        () = send(&context, &mut lanes, &line, pieces, &fed) => {}
    }
}

async fn read_ahead(shelf: Arc<Shelf>, queue: &Queue, line: &Line, read: mpsc::Sender<Vec<Read>>) {
    let mut reader = Reader::default();
    // As many small pieces at a time as large ones have bytes.
    let mut limit = 1;
    loop {
        let batch = queue.next(limit, line).await;
        let shelf = Arc::clone(&shelf);
        let reading = tokio::task::spawn_blocking(move || {
            let read: Vec<Read> = batch
                .into_iter()
                .map(|piece| (piece, shelf.read(&mut reader, piece)))
                .collect();
            (reader, read)
        });
        let Ok((back, batch)) = reading.await else {
            return;
        };
        reader = back;
        let longest = batch
            .iter()
            .map(|(_, piece)| piece.as_ref().map_or(0, Vec::len))
            .max()
            .unwrap_or(0);
        limit = (BATCH_BYTES / longest.max(1)).clamp(1, BATCH_PIECES);
        if read.send(batch).await.is_err() {
            return;
        }
    }
}

/// Batches on their way, each with how it went.
type Batches = JoinSet<(Vec<Piece>, Outcome)>;

async fn send(
    context: &Arc<Context>,
    lanes: &mut lane::Sender,
    line: &Line,
    mut batches: mpsc::Receiver<Vec<Read>>,
    fed: &mpsc::UnboundedSender<Fed>,
) {
    let mut sending = Batches::new();
    let mut on_quic = 0;
    loop {
        let has_room = lanes.has_room(on_quic, sending.len() - on_quic);
        tokio::select! {
            batch = batches.recv(), if has_room => {
                let Some(batch) = batch else {
                    return;
                };
                let Some(pieces) = readable(batch, line, fed) else {
                    return;
                };
                if !pieces.is_empty() {
                    let way = lanes.way().await;
                    on_quic += usize::from(way.is_quic());
                    sending.spawn(dispatch(way, pieces, Arc::clone(context), fed.clone()));
                }
            }
            Some(sent) = sending.join_next() => {
                let Ok((pieces, outcome)) = sent else {
                    return;
                };
                on_quic -= usize::from(outcome.was_quic());
                match lanes.settle(&outcome).await {
                    Next::Others => {
                        for (piece, _) in pieces {
                            line.outgoing.end(line.key, line.number(piece));
                        }
                    }
                    Next::Again => {
                        let way = lanes.way().await;
                        on_quic += usize::from(way.is_quic());
                        sending.spawn(dispatch(way, pieces, Arc::clone(context), fed.clone()));
                    }
                    Next::Nothing => return,
                }
            }
            () = lanes.widened() => {}
        }
    }
}

async fn dispatch(
    way: Way,
    pieces: Vec<Piece>,
    context: Arc<Context>,
    fed: mpsc::UnboundedSender<Fed>,
) -> (Vec<Piece>, Outcome) {
    // Whoever does not hear of it is gone, and the link with it.
    let told = |piece, bytes| _ = fed.send(Fed::Sent { piece, bytes });
    let outcome = way.send(&pieces, &context.limits, &told).await;
    (pieces, outcome)
}

/// The pieces of a batch that could be read; tells of the others. `None` if nobody
/// hears of them any more.
fn readable(batch: Vec<Read>, line: &Line, fed: &mpsc::UnboundedSender<Fed>) -> Option<Vec<Piece>> {
    let mut pieces = Vec::with_capacity(batch.len());
    for (piece, outcome) in batch {
        match outcome {
            Ok(bytes) => pieces.push((piece, bytes.into())),
            Err(reason) => {
                line.outgoing.end(line.key, line.number(piece));
                fed.send(Fed::Unavailable { piece, reason }).ok()?;
            }
        }
    }
    Some(pieces)
}
