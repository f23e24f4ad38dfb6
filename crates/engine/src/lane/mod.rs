//! Lanes: the ways in which pieces flow inside a link. The data channel is always
//! there; QUIC, on the very path that ICE found, carries them wherever it comes up; and
//! where it does not and one data channel is slow, several connections do.
//!
//! All are one [`Lane`] to whoever sends. Which one is used is decided by
//! [`passalong_proto::lanes`]; making and keeping the QUIC lane is the business of
//! `keeping`, further connections that of `parallel`. What comes in on any of them is a
//! frame with the number of its lane.

mod congestion;
mod data;
mod keeping;
mod parallel;
mod path;
mod pinned;
mod quic;
mod strand;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use passalong_proto::lanes::{LaneKind, Lanes};
use passalong_proto::wire::PieceRef;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub(crate) use self::data::DataLane;
use self::data::Wanted;
pub(crate) use self::keeping::{Call, Keeping};
pub(crate) use self::parallel::{Inlet, Parallel, Set, SetCall};
pub(crate) use self::path::Manner;
pub(crate) use self::quic::QuicLane;
pub(crate) use self::strand::Strand;
use crate::limits::Limits;

/// The number of the data channel among the lanes of a link; those of QUIC count
/// from 1.
pub(crate) const DATA_CHANNEL: u32 = 0;

/// A pause between two pieces that is longer than this is not the lane's doing.
const REST: Duration = Duration::from_secs(3);
/// How long after a link was made its first pieces wait for QUIC, which comes up within
/// some round trips. What was begun on the data channel is finished there.
const HEAD_START: Duration = Duration::from_millis(500);

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
    strands: watch::Receiver<Vec<Arc<Strand>>>,
    quic: watch::Receiver<Option<QuicLane>>,
    choice: Lanes,
    /// The QUIC lane that `choice` knows of.
    known: Option<QuicLane>,
    mark: Option<Mark>,
    /// Until when the first pieces wait for QUIC.
    head_start: Option<Instant>,
}

/// When something was sent last, on what, and what was delivered there by then.
#[derive(Clone, Copy)]
struct Mark {
    lane: LaneKind,
    at: Instant,
    delivered: u64,
}

/// The lane that pieces are to go out on next.
pub(crate) struct Way {
    lane: Through,
    _wanted: Option<Wanted>,
}

enum Through {
    /// The link's own data channel.
    Data(Arc<DataLane>),
    Strand(Arc<Strand>),
    Quic(QuicLane),
}

impl Through {
    fn lane(&self) -> &dyn Lane {
        match self {
            Through::Data(data) => &**data,
            Through::Strand(strand) => &**strand,
            Through::Quic(quic) => quic,
        }
    }
}

/// What became of pieces that were sent on a [`Way`].
pub(crate) struct Outcome {
    lane: Through,
    sent: Sent,
}

impl Outcome {
    /// Whether the way was QUIC.
    pub(crate) fn was_quic(&self) -> bool {
        matches!(self.lane, Through::Quic(_))
    }
}

/// What to do after an [`Outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Others,
    /// Send the same pieces again, on another way.
    Again,
    /// The link is gone.
    Nothing,
}

impl Way {
    /// Whether it is QUIC.
    pub(crate) fn is_quic(&self) -> bool {
        matches!(self.lane, Through::Quic(_))
    }

    /// Sends pieces. `told` hears of each as [`Lane::send`] says.
    pub(crate) async fn send(
        self,
        pieces: &[Piece],
        limits: &Limits,
        told: &(dyn Fn(PieceRef, u64) + Send + Sync),
    ) -> Outcome {
        let sent = self.lane.lane().send(pieces, limits, told).await;
        let lane = self.lane;
        Outcome { lane, sent }
    }
}

impl Sender {
    /// The lanes of a link that was just made; `expects_quic` says whether QUIC may come
    /// up.
    pub(crate) fn new(
        data: Arc<DataLane>,
        strands: watch::Receiver<Vec<Arc<Strand>>>,
        quic: watch::Receiver<Option<QuicLane>>,
        expects_quic: bool,
    ) -> Sender {
        Sender {
            head_start: expects_quic.then(|| Instant::now() + HEAD_START),
            data,
            strands,
            quic,
            choice: Lanes::default(),
            known: None,
            mark: None,
        }
    }

    /// Whether there is a way for more, while so many batches are on their way on QUIC
    /// and on data channels. QUIC does not wait for what was begun elsewhere.
    pub(crate) fn has_room(&mut self, on_quic: usize, on_data: usize) -> bool {
        match self.kind() {
            LaneKind::Quic => on_quic == 0,
            LaneKind::DataChannel => on_quic + on_data < 1 + self.strands.borrow_and_update().len(),
        }
    }

    /// Resolves when [`Sender::has_room`] may have changed.
    pub(crate) async fn widened(&mut self) {
        async fn changed<T>(receiver: &mut watch::Receiver<T>) {
            if receiver.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        tokio::select! {
            () = changed(&mut self.strands) => {}
            () = changed(&mut self.quic) => self.renew(),
        }
    }

    /// The best way for the next pieces.
    pub(crate) async fn way(&mut self) -> Way {
        if let Some(until) = self.head_start.take() {
            let mut quic = self.quic.clone();
            // Where it does not come in time, or never will, the data channel carries.
            let _ = timeout_at(until, quic.wait_for(Option::is_some)).await;
        }
        if let (LaneKind::Quic, Some(quic)) = (self.kind(), &self.known) {
            return Way {
                lane: Through::Quic(quic.clone()),
                _wanted: None,
            };
        }
        let strands = self.strands.borrow().clone();
        let mut best = Through::Data(Arc::clone(&self.data));
        let mut wanted = &self.data;
        if !strands.is_empty() {
            let mut least = self.data.queue().await;
            for strand in strands.iter().filter(|strand| strand.is_usable()) {
                let queue = strand.data.queue().await;
                if queue < least {
                    least = queue;
                    best = Through::Strand(Arc::clone(strand));
                    wanted = &strand.data;
                }
            }
        }
        Way {
            lane: best,
            _wanted: Some(wanted.want()),
        }
    }

    /// Takes in what became of pieces.
    pub(crate) async fn settle(&mut self, outcome: &Outcome) -> Next {
        match (outcome.sent, &outcome.lane) {
            (Sent::Yes, Through::Quic(quic)) => {
                self.measure(LaneKind::Quic, quic.delivered().await);
                Next::Others
            }
            (Sent::Yes, Through::Data(_) | Through::Strand(_)) => {
                let delivered = self.delivered().await;
                self.measure(LaneKind::DataChannel, delivered);
                Next::Others
            }
            (Sent::Broken, Through::Quic(_) | Through::Strand(_)) => Next::Others,
            (Sent::Not, Through::Quic(_)) => {
                // It was not noticed yet that it is gone.
                self.known = None;
                self.choice.quic(false);
                Next::Again
            }
            (Sent::Not, Through::Strand(_)) => Next::Again,
            (Sent::Broken | Sent::Not, Through::Data(_)) => Next::Nothing,
        }
    }

    fn kind(&mut self) -> LaneKind {
        if self.quic.has_changed().unwrap_or(false) {
            self.renew();
        }
        match self.known {
            Some(_) => self.choice.choose(),
            None => LaneKind::DataChannel,
        }
    }

    /// QUIC came up, or broke.
    fn renew(&mut self) {
        self.known = self.quic.borrow_and_update().clone();
        self.choice.quic(self.known.is_some());
        self.mark = None;
    }

    /// Bytes that the peer has, of all that was ever sent on data channels.
    async fn delivered(&self) -> u64 {
        let strands = self.strands.borrow().clone();
        let mut delivered = self.data.delivered().await;
        for strand in strands {
            delivered += strand.delivered().await;
        }
        delivered
    }

    fn measure(&mut self, lane: LaneKind, delivered: u64) {
        // What was begun before another lane took over says nothing of that one.
        if lane != self.kind() {
            return;
        }
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
