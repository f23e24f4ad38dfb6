//! A bulk data channel as a lane: the link's own, or one of those that were made
//! beside it ([`super::parallel`]).
//!
//! Invariant: pieces go out one after the other, each as frames in order.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use passalong_proto::ahead::Ahead;
use passalong_proto::wire::{FRAME_DATA, FRAME_HEADER, Frame, PieceRef};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::{Lane, Piece, Sent};
use crate::limits::Limits;
use crate::link::Channel;

/// How often a full channel is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// So much waits for a channel that is not fast enough, however fast it is.
const MUCH: u64 = 512 * 1024;

/// A data channel for pieces. It is gone when its connection is.
pub(crate) struct DataLane {
    channel: Channel,
    /// Bytes that were ever handed over.
    sent: AtomicU64,
    /// Whoever writes now has it.
    writing: Mutex<()>,
    /// Who wants to write, or does.
    wanted: AtomicUsize,
    /// Whether something is sent at all.
    used: Notify,
    began: Instant,
    ahead: std::sync::Mutex<Ahead>,
}

/// Somebody's intention to send on a lane, for as long as it lives.
pub(super) struct Wanted(Arc<DataLane>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.wanted.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DataLane {
    pub(crate) fn new(channel: Channel) -> DataLane {
        DataLane {
            channel,
            sent: AtomicU64::new(0),
            writing: Mutex::new(()),
            wanted: AtomicUsize::new(0),
            used: Notify::new(),
            began: Instant::now(),
            ahead: std::sync::Mutex::default(),
        }
    }

    /// Counts somebody in who is going to send.
    pub(super) fn want(self: &Arc<Self>) -> Wanted {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        Wanted(Arc::clone(self))
    }

    /// What whoever sends next has to wait for: others first, then bytes.
    pub(super) async fn queue(&self) -> (usize, u64) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        (wanted, self.channel.outstanding().await)
    }

    /// Whether what was handed over waits to get away.
    pub(super) async fn is_backed_up(&self) -> bool {
        let limit = self.ahead().limit().min(MUCH) / 2;
        self.channel.outstanding().await >= limit
    }

    /// Waits until so little is on its way that more may be handed over.
    async fn has_room(&self) {
        loop {
            let outstanding = self.channel.outstanding().await;
            let limit = {
                let mut ahead = self.ahead();
                ahead.delivered(
                    self.sent().saturating_sub(outstanding),
                    self.began.elapsed(),
                );
                ahead.limit()
            };
            if outstanding <= limit {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that were ever handed over.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until something is sent.
    pub(super) async fn used(&self) {
        self.used.notified().await;
    }

    /// Bytes that a piece takes here.
    pub(super) fn cost(piece: &Piece) -> u64 {
        let (_, bytes) = piece;
        let frames = bytes.len().div_ceil(FRAME_DATA);
        (bytes.len() + frames * FRAME_HEADER) as u64
    }
}

#[async_trait::async_trait]
impl Lane for DataLane {
    async fn send(
        &self,
        pieces: &[Piece],
        limits: &Limits,
        told: &(dyn Fn(PieceRef, u64) + Send + Sync),
    ) -> Sent {
        let _writing = self.writing.lock().await;
        self.used.notify_one();
        // Bytes since it was last looked whether there is room.
        let mut unlooked = FRAME_DATA;
        for (piece, bytes) in pieces {
            let frames = bytes.len().div_ceil(FRAME_DATA);
            for (index, data) in bytes.chunks(FRAME_DATA).enumerate() {
                limits.send(data.len()).await;
                unlooked += data.len();
                if unlooked >= FRAME_DATA {
                    self.has_room().await;
                    unlooked = 0;
                }
                if index + 1 == frames {
                    told(*piece, bytes.len() as u64);
                }
                let frame = Frame::encode(*piece, (index * FRAME_DATA) as u32, data);
                let length = frame.len() as u64;
                if self.channel.send(frame).await.is_err() {
                    return Sent::Broken;
                }
                let sent = self.sent.fetch_add(length, Ordering::Relaxed) + length;
                self.ahead().handed_over(sent, self.began.elapsed());
            }
        }
        Sent::Yes
    }

    async fn delivered(&self) -> u64 {
        self.sent().saturating_sub(self.channel.outstanding().await)
    }
}
