//! Which lane of a link pieces go out on: the data channel, which is always there,
//! or QUIC wherever it came up. Decided by what each of them delivered lately. And when
//! a data channel is too little.
//!
//! Pieces go to QUIC as soon as it is there. From time to time the other lane is
//! given a short trial, and takes over if it delivers clearly more. One lane carries
//! everything at a time: both share one path, and two congestion controllers on it
//! only take from each other. Time is an argument and counts only while there is
//! something to send.

use std::time::Duration;

use crate::wire::FIRST_PARALLEL;

/// A way for pieces to flow inside a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneKind {
    /// The bulk data channel.
    DataChannel,
    /// A QUIC connection on the same path.
    Quic,
}

/// How long the lane in use carries pieces before the other one is tried.
const BETWEEN_TRIALS: Duration = Duration::from_secs(30);
/// How long a trial lasts.
const TRIAL: Duration = Duration::from_secs(1);
/// How much more the other lane has to deliver to take over.
const WORTH_CHANGING: f64 = 1.25;

/// The choice for one link.
#[derive(Clone, Debug, Default)]
pub struct Lanes {
    quic: bool,
    /// The lane in use is the data channel, although QUIC is there.
    prefers_data: bool,
    /// The other lane than the one in use is being tried.
    trial: bool,
    /// Bytes a second that the lane in use delivered before the trial.
    rate: f64,
    span: Span,
}

/// What was delivered since the lane in use was tried against the other last.
#[derive(Clone, Debug, Default)]
struct Span {
    bytes: u64,
    took: Duration,
}

impl Span {
    fn rate(&self) -> f64 {
        self.bytes as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

impl Lanes {
    /// QUIC came up, or broke: what was measured before does not count any more.
    pub fn quic(&mut self, is_up: bool) {
        *self = Lanes {
            quic: is_up,
            ..Lanes::default()
        };
    }

    /// Where the next piece goes.
    pub fn choose(&self) -> LaneKind {
        let data = self.prefers_data != self.trial;
        match self.quic && !data {
            true => LaneKind::Quic,
            false => LaneKind::DataChannel,
        }
    }

    /// For so long there was something to send, and the chosen lane delivered so
    /// many bytes to the peer meanwhile.
    pub fn delivered(&mut self, bytes: u64, took: Duration) {
        self.span.bytes += bytes;
        self.span.took += took;
        let enough = match self.trial {
            true => TRIAL,
            false => BETWEEN_TRIALS,
        };
        if !self.quic || self.span.took < enough {
            return;
        }
        let rate = std::mem::take(&mut self.span).rate();
        if !self.trial {
            self.rate = rate;
        } else if rate > self.rate * WORTH_CHANGING {
            self.prefers_data = !self.prefers_data;
        }
        self.trial = !self.trial;
    }
}

/// Bytes a second from which on one channel does well enough: 50 Mbit/s. More of them
/// bring nothing where it is the computer that is waited for, or a path that is full.
const FAST: f64 = 6_250_000.0;

/// Whether a data channel that carries the pieces holds them up: SCTP takes each lost
/// packet for a full path (RFC 9260 §7.2), so that where packets get lost by chance a
/// channel carries a small part of what the path would.
#[derive(Clone, Debug)]
pub struct Backlog {
    long_enough: Duration,
    waited: Span,
}

impl Backlog {
    /// For a channel that pieces may have to wait for as long as this.
    pub fn new(long_enough: Duration) -> Backlog {
        Backlog {
            long_enough,
            waited: Span::default(),
        }
    }

    /// For so long the channel carried the pieces, and delivered so many bytes. Says
    /// whether it is too little, given that something waited for it all the time.
    pub fn look(&mut self, is_waited_for: bool, bytes: u64, took: Duration) -> bool {
        if !is_waited_for {
            self.waited = Span::default();
            return false;
        }
        self.waited.bytes += bytes;
        self.waited.took += took;
        if self.waited.took < self.long_enough {
            return false;
        }
        std::mem::take(&mut self.waited).rate() < FAST
    }
}

/// Which lanes of the other side broke. What still comes on them was told to be lost.
#[derive(Clone, Debug, Default)]
pub struct Broken {
    /// The last QUIC lane that broke; those before it broke, too.
    quic: u32,
    /// The same of sets of parallel connections.
    parallel: u32,
}

impl Broken {
    /// A lane was told to be lost.
    pub fn lost(&mut self, lane: u32) {
        let last = match lane < FIRST_PARALLEL {
            true => &mut self.quic,
            false => &mut self.parallel,
        };
        *last = lane.max(*last);
    }

    /// Whether a lane broke. The bulk channel of the link itself, 0, never does.
    pub fn contains(&self, lane: u32) -> bool {
        match lane < FIRST_PARALLEL {
            true => (1..=self.quic).contains(&lane),
            false => lane <= self.parallel,
        }
    }
}
