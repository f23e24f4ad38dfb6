//! Sending pieces on one link: read a few ahead, in the order they were asked
//! for. A piece that was not read yet can still be dropped.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use passalong_proto::wire::{FRAME_DATA, Frame, PieceRef, SourceProblem};
use tokio::sync::{Notify, mpsc};

use crate::context::Context;
use crate::link::Channel;
use crate::source::{Reader, Shelf};

/// Pieces read in one go, as long as they are no more than one large one.
const BATCH_PIECES: usize = 64;
const BATCH_BYTES: usize = 1 << 20;
/// Batches read ahead of the one being sent.
const BATCHES_AHEAD: usize = 1;

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

    async fn next(&self, limit: usize) -> Vec<PieceRef> {
        loop {
            let batch: Vec<PieceRef> = {
                let mut waiting = self.lock();
                let count = waiting.len().min(limit);
                waiting.drain(..count).collect()
            };
            if !batch.is_empty() {
                return batch;
            }
            self.more.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<PieceRef>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Read = (PieceRef, Result<Vec<u8>, SourceProblem>);

/// Reads and sends what is asked for, until the link is gone.
pub(super) async fn feed(
    context: Arc<Context>,
    shelf: Arc<Shelf>,
    bulk: Channel,
    queue: Arc<Queue>,
    fed: mpsc::UnboundedSender<Fed>,
) {
    let (read, pieces) = mpsc::channel(BATCHES_AHEAD);
    tokio::select! {
        () = read_ahead(shelf, &queue, read) => {}
        () = send(&context, &bulk, pieces, &fed) => {}
    }
}

async fn read_ahead(shelf: Arc<Shelf>, queue: &Queue, read: mpsc::Sender<Vec<Read>>) {
    let mut reader = Reader::default();
    // As many small pieces at a time as large ones have bytes.
    let mut limit = 1;
    loop {
        let batch = queue.next(limit).await;
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

async fn send(
    context: &Context,
    bulk: &Channel,
    mut pieces: mpsc::Receiver<Vec<Read>>,
    fed: &mpsc::UnboundedSender<Fed>,
) {
    while let Some(batch) = pieces.recv().await {
        for (piece, outcome) in batch {
            let bytes = match outcome {
                Ok(bytes) => bytes,
                Err(reason) => {
                    if fed.send(Fed::Unavailable { piece, reason }).is_err() {
                        return;
                    }
                    continue;
                }
            };
            let frames = bytes.len().div_ceil(FRAME_DATA);
            for (index, data) in bytes.chunks(FRAME_DATA).enumerate() {
                context.limits.send(data.len()).await;
                let sent = Fed::Sent {
                    piece,
                    bytes: bytes.len() as u64,
                };
                // It may be asked for again as soon as the other side has it.
                if index + 1 == frames && fed.send(sent).is_err() {
                    return;
                }
                let offset = (index * FRAME_DATA) as u32;
                if bulk.send(Frame::encode(piece, offset, data)).await.is_err() {
                    return;
                }
            }
        }
    }
}
