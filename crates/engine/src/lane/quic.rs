//! A QUIC connection as a lane: one stream for each piece, or for several small
//! ones, each with a header before it. The other side ends its half of the stream
//! once it took everything over, which confirms it.
//!
//! Invariant: what was begun is either confirmed or among what is told as lost.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use passalong_proto::wire::{Frame, PIECE_HEADER, PieceHeader, PieceRef};
use quinn::{Connection, ReadExactError, RecvStream, SendStream};

use super::{Lane, Piece, Sent};
use crate::limits::Limits;

/// Bytes handed over at a time, so that limits hold smoothly.
const STEP: usize = 64 * 1024;
/// Pieces that one stream may carry.
const MAX_PIECES: usize = 256;
/// Closes a connection whose other side does not do what a lane does.
const RUBBISH: u32 = 1;

/// A lane that is up.
#[derive(Clone)]
pub(crate) struct QuicLane {
    connection: Connection,
    book: Arc<Book>,
}

/// What is on its way.
#[derive(Default)]
struct Book {
    /// What was begun, by the number of its stream; `None` once the lane broke.
    unconfirmed: Mutex<Option<HashMap<u64, Vec<PieceRef>>>>,
    delivered: AtomicU64,
}

impl QuicLane {
    pub(super) fn new(connection: Connection) -> QuicLane {
        let book = Book {
            unconfirmed: Mutex::new(Some(HashMap::new())),
            delivered: AtomicU64::new(0),
        };
        QuicLane {
            connection,
            book: Arc::new(book),
        }
    }

    /// Nothing goes out any more. Returns what was begun and not confirmed.
    pub(super) fn end(&self) -> Vec<PieceRef> {
        let unconfirmed = self.book.lock().take().unwrap_or_default();
        unconfirmed.into_values().flatten().collect()
    }

    async fn write(
        &self,
        stream: &mut SendStream,
        pieces: &[Piece],
        limits: &Limits,
        told: &(dyn Fn(PieceRef, u64) + Send + Sync),
    ) -> Result<(), quinn::WriteError> {
        for (piece, bytes) in pieces {
            let length = bytes.len();
            let header = PieceHeader {
                piece: *piece,
                length: length as u32,
            };
            let header = Bytes::copy_from_slice(&header.encode());
            let mut rest = bytes.clone();
            let mut parts = vec![header];
            while !rest.is_empty() {
                let part = rest.split_to(rest.len().min(STEP));
                limits.send(part.len()).await;
                if rest.is_empty() {
                    told(*piece, length as u64);
                }
                parts.push(part);
                stream.write_all_chunks(&mut parts).await?;
                parts.clear();
            }
        }
        Ok(())
    }
}

/// Of several streams the oldest goes first, with what is to be sent again of it too: a
/// piece that lacks one packet is of no use, and keeps the next one from being asked for.
fn priority(number: u64) -> i32 {
    i32::MAX - i32::try_from(number).unwrap_or(i32::MAX)
}

impl Book {
    /// Counts pieces as begun, unless the lane broke.
    fn begin(&self, stream: u64, pieces: &[Piece]) -> bool {
        match &mut *self.lock() {
            Some(unconfirmed) => {
                let pieces = pieces.iter().map(|(piece, _)| *piece).collect();
                unconfirmed.insert(stream, pieces);
                true
            }
            None => false,
        }
    }

    fn confirm(&self, stream: u64, bytes: u64) {
        if let Some(unconfirmed) = &mut *self.lock() {
            unconfirmed.remove(&stream);
            self.delivered.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<u64, Vec<PieceRef>>>> {
        self.unconfirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Lane for QuicLane {
    async fn send(
        &self,
        pieces: &[Piece],
        limits: &Limits,
        told: &(dyn Fn(PieceRef, u64) + Send + Sync),
    ) -> Sent {
        let Ok((mut stream, mut confirmation)) = self.connection.open_bi().await else {
            return Sent::Not;
        };
        let number = stream.id().index();
        if !self.book.begin(number, pieces) {
            return Sent::Not;
        }
        // A stream that is gone shows at the next step.
        let _ = stream.set_priority(priority(number));
        let written = self.write(&mut stream, pieces, limits, told).await;
        if written.is_err() || stream.finish().is_err() {
            // Whoever stops one stream takes no more on any.
            self.connection.close(RUBBISH.into(), b"");
            return Sent::Broken;
        }
        let bytes = pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let book = Arc::clone(&self.book);
        let connection = self.connection.clone();
        tokio::spawn(async move {
            match confirmation.read_to_end(0).await {
                Ok(_) => book.confirm(number, bytes),
                Err(_) => connection.close(RUBBISH.into(), b""),
            }
        });
        Sent::Yes
    }

    async fn delivered(&self) -> u64 {
        self.book.delivered.load(Ordering::Relaxed)
    }
}

/// Takes what comes on one stream, and confirms it once `take` has all of it. `take`
/// says whether anybody still listens.
///
/// # Errors
///
/// It is not what a lane carries, or the lane broke.
pub(super) async fn receive<T>(
    mut stream: RecvStream,
    mut confirmation: SendStream,
    take: impl Fn(Frame) -> T,
) -> Result<(), Broken>
where
    T: Future<Output = bool>,
{
    let mut scratch = vec![0; STEP];
    for _ in 0..MAX_PIECES {
        let Some(header) = read_header(&mut stream).await? else {
            confirmation.finish().map_err(|_| Broken)?;
            return Ok(());
        };
        let mut offset = 0;
        while offset < header.length {
            let data = read_part(&mut stream, &mut scratch, header.length - offset).await?;
            let length = data.len() as u32;
            let frame = Frame {
                piece: header.piece,
                offset,
                data,
            };
            if !take(frame).await {
                return Err(Broken);
            }
            offset += length;
        }
    }
    match read_header(&mut stream).await? {
        None => confirmation.finish().map_err(|_| Broken),
        Some(_) => Err(Broken),
    }
}

/// A stream that cannot be taken to its end.
#[derive(Debug)]
pub(super) struct Broken;

/// The next header, or `None` at the end of the stream.
async fn read_header(stream: &mut RecvStream) -> Result<Option<PieceHeader>, Broken> {
    let mut header = [0; PIECE_HEADER];
    match stream.read_exact(&mut header).await {
        Ok(()) => PieceHeader::decode(header).map(Some).map_err(|_| Broken),
        Err(ReadExactError::FinishedEarly(0)) => Ok(None),
        Err(_) => Err(Broken),
    }
}

/// What is there of the next `limit` bytes, at least one of them.
async fn read_part(
    stream: &mut RecvStream,
    scratch: &mut [u8],
    limit: u32,
) -> Result<Bytes, Broken> {
    let limit = scratch.len().min(limit as usize);
    let part = &mut scratch[..limit];
    match stream.read(part).await {
        Ok(Some(length)) if length > 0 => Ok(Bytes::copy_from_slice(&part[..length])),
        _ => Err(Broken),
    }
}
