//! Lanes: the ways in which pieces flow inside a link. The data channel is always
//! there; QUIC, on the very path that ICE found, carries them wherever it comes up.
//!
//! Both are one [`Lane`] to whoever sends. Which one is used is decided by
//! [`passalong_proto::lanes`]; making and keeping the QUIC lane is the business of
//! `keeping`. What comes in on either is a frame with the number of its lane.

mod congestion;
mod data;
mod keeping;
mod path;
mod pinned;
mod quic;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use passalong_proto::lanes::{LaneKind, Lanes};
use passalong_proto::wire::PieceRef;
use tokio::sync::watch;
use tokio::time::Instant;

use self::data::DataLane;
pub(crate) use self::keeping::{Call, Keeping};
pub(crate) use self::path::Manner;
pub(crate) use self::quic::QuicLane;
use crate::limits::Limits;
use crate::link::Channel;

/// The number of the data channel among the lanes of a link; those of QUIC count
/// from 1.
pub(crate) const DATA_CHANNEL: u32 = 0;

/// A pause between two pieces that is longer than this is not the lane's doing.
const REST: Duration = Duration::from_secs(3);

/// A piece to be sent.
pub(crate) type Piece = (PieceRef, Bytes);

/// What became of pieces that were to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// They are on their way.
    Yes,
    /// The lane is gone, and none of them was begun on it.
    Not,
    /// The lane broke meanwhile; what was lost is told by [`Lost`].
    Broken,
}

/// Pieces that went out on a lane that broke, and may not have come.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The number of the lane.
    pub(crate) lane: u32,
    pub(crate) pieces: Vec<PieceRef>,
}

/// A way for pieces to flow.
#[async_trait::async_trait]
pub(crate) trait Lane: Send + Sync {
    /// Sends pieces, waiting while the lane or the limits have no room. `told` hears
    /// of each piece and its bytes right before its last byte is handed over.
    async fn send(
        &self,
        pieces: &[Piece],
        limits: &Limits,
        told: &(dyn Fn(PieceRef, u64) + Send + Sync),
    ) -> Sent;

    /// Bytes that the peer has, of all that was ever sent here.
    async fn delivered(&self) -> u64;
}

/// The lanes of one link, for whoever sends.
#[derive(Clone)]
pub(crate) struct Sender {
    data: Arc<DataLane>,
    quic: watch::Receiver<Option<QuicLane>>,
    choice: Lanes,
    /// The QUIC lane that `choice` knows of.
    known: Option<QuicLane>,
    mark: Option<Mark>,
}

/// When something was sent last, on what, and what was delivered there by then.
#[derive(Clone, Copy)]
struct Mark {
    lane: LaneKind,
    at: Instant,
    delivered: u64,
}

impl Sender {
    pub(crate) fn new(data: Channel, quic: watch::Receiver<Option<QuicLane>>) -> Sender {
        Sender {
            data: Arc::new(DataLane::new(data)),
            quic,
            choice: Lanes::default(),
            known: None,
            mark: None,
        }
    }

    /// Sends pieces on the lane that is best now. Says whether the link is there.
    pub(crate) async fn send(
        &mut self,
        pieces: &[Piece],
        limits: &Limits,
        told: &(dyn Fn(PieceRef, u64) + Send + Sync),
    ) -> bool {
        loop {
            if self.quic.has_changed().unwrap_or(false) {
                self.known = self.quic.borrow_and_update().clone();
                self.choice.quic(self.known.is_some());
                self.mark = None;
            }
            let (kind, lane): (_, &dyn Lane) = match (self.choice.choose(), &self.known) {
                (LaneKind::Quic, Some(quic)) => (LaneKind::Quic, quic),
                _ => (LaneKind::DataChannel, &*self.data),
            };
            let sent = lane.send(pieces, limits, told).await;
            let delivered = lane.delivered().await;
            match (sent, kind) {
                (Sent::Yes, _) => {
                    self.measure(kind, delivered);
                    return true;
                }
                (Sent::Broken, LaneKind::Quic) => return true,
                (Sent::Not, LaneKind::Quic) => {
                    // It was not noticed yet that it is gone.
                    self.known = None;
                    self.choice.quic(false);
                }
                (Sent::Broken | Sent::Not, LaneKind::DataChannel) => return false,
            }
        }
    }

    fn measure(&mut self, lane: LaneKind, delivered: u64) {
        let at = Instant::now();
        let before = self.mark.replace(Mark {
            lane,
            at,
            delivered,
        });
        let Some(before) = before.filter(|before| before.lane == lane) else {
            return;
        };
        let took = at - before.at;
        // After a longer rest it is not the lane that was waited for.
        if took < REST {
            let bytes = delivered.saturating_sub(before.delivered);
            self.choice.delivered(bytes, took);
        }
    }
}
