//! The bulk data channel as a lane.

use std::sync::atomic::{AtomicU64, Ordering};

use passalong_proto::wire::{FRAME_DATA, Frame, PieceRef};

use super::{Lane, Piece, Sent};
use crate::limits::Limits;
use crate::link::Channel;

/// The lane that is always there. It is gone when the link is.
pub(crate) struct DataLane {
    channel: Channel,
    sent: AtomicU64,
}

impl DataLane {
    pub(crate) fn new(channel: Channel) -> DataLane {
        DataLane {
            channel,
            sent: AtomicU64::new(0),
        }
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
        for (piece, bytes) in pieces {
            let frames = bytes.len().div_ceil(FRAME_DATA);
            for (index, data) in bytes.chunks(FRAME_DATA).enumerate() {
                limits.send(data.len()).await;
                if index + 1 == frames {
                    told(*piece, bytes.len() as u64);
                }
                let frame = Frame::encode(*piece, (index * FRAME_DATA) as u32, data);
                let length = frame.len() as u64;
                if self.channel.send(frame).await.is_err() {
                    return Sent::Broken;
                }
                self.sent.fetch_add(length, Ordering::Relaxed);
            }
        }
        Sent::Yes
    }

    async fn delivered(&self) -> u64 {
        let sent = self.sent.load(Ordering::Relaxed);
        sent.saturating_sub(self.channel.outstanding().await)
    }
}
