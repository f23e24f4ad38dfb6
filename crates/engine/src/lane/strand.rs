//! One of the connections that are made beside a link, as a lane.
//!
//! Invariant: what was begun here and may not have been read by the other side is known
//! until the strand ends, and told then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use passalong_proto::wire::PieceRef;
use tokio::sync::watch;

use super::data::DataLane;
use super::{Lane, Piece, Sent};
use crate::limits::Limits;
use crate::link::Link;

/// Bytes that may be with the other side and unread: no window is larger.
const UNREAD: u64 = 4 << 20;

/// A connection beside the link that carries pieces.
pub(crate) struct Strand {
    pub(super) data: Arc<DataLane>,
    link: Link,
    broken: watch::Sender<bool>,
    /// What was begun, and how much was sent by its end; `None` once this is over.
    begun: Mutex<Option<VecDeque<(PieceRef, u64)>>>,
}

impl Strand {
    pub(super) fn new(link: Link) -> Strand {
        Strand {
            data: Arc::new(DataLane::new(link.bulk.clone())),
            link,
            broken: watch::channel(false).0,
            begun: Mutex::new(Some(VecDeque::new())),
        }
    }

    /// Resolves when the connection is gone.
    pub(super) async fn gone(&self) {
        let mut broken = self.broken.subscribe();
        tokio::select! {
            () = self.link.handle.gone() => {}
            // The sender lives as long as this.
            _ = broken.wait_for(|broken| *broken) => {}
        }
    }

    /// Whether something may be sent here.
    pub(super) fn is_usable(&self) -> bool {
        !*self.broken.borrow()
    }

    /// Nothing goes out any more. Returns what was begun and may not have been read.
    pub(super) fn end(&self) -> Vec<PieceRef> {
        let begun = self.lock().take().unwrap_or_default();
        begun.into_iter().map(|(piece, _)| piece).collect()
    }

    /// Closes the connection.
    pub(super) async fn close(&self) {
        self.broken.send_replace(true);
        self.link.handle.close().await;
    }

    /// Counts pieces as begun, unless this is over.
    fn begin(&self, pieces: &[Piece]) -> bool {
        let mut end = self.data.sent();
        let Some(begun) = &mut *self.lock() else {
            return false;
        };
        for piece in pieces {
            end += DataLane::cost(piece);
            begun.push_back((piece.0, end));
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<(PieceRef, u64)>>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Lane for Strand {
    async fn send(
        &self,
        pieces: &[Piece],
        limits: &Limits,
        told: &(dyn Fn(PieceRef, u64) + Send + Sync),
    ) -> Sent {
        if !self.is_usable() || !self.begin(pieces) {
            return Sent::Not;
        }
        let sent = self.data.send(pieces, limits, told).await;
        if sent != Sent::Yes {
            self.broken.send_replace(true);
            return sent;
        }
        let read = self.data.delivered().await.saturating_sub(UNREAD);
        if let Some(begun) = &mut *self.lock() {
            while begun.front().is_some_and(|(_, end)| *end <= read) {
                begun.pop_front();
            }
        }
        sent
    }

    async fn delivered(&self) -> u64 {
        self.data.delivered().await
    }
}
