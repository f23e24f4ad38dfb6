//! How fast one peer is: bytes a second, and the time from a request to its
//! first byte. Times when nothing is asked of it do not count.

use std::time::Duration;

/// Shortest span that a rate is measured over.
const SPAN: Duration = Duration::from_millis(250);
/// Longest span without a measurement while something is asked for.
const LONG_SPAN: Duration = Duration::from_secs(1);
/// How long a request waits at the peer, at best, when all goes well: what the
/// window has in store beyond the round trip.
const QUEUE: Duration = Duration::from_millis(500);
/// The round trip of a peer that was not asked anything yet.
const UNKNOWN_TRIP: Duration = Duration::from_millis(100);
/// The rate, in bytes a second, of a peer that sent nothing yet.
const UNKNOWN_RATE: f64 = 1_048_576.0;
/// Weight of a measurement over a second, against all before it.
const SMOOTHING: f64 = 0.75;

/// Smoothed speed of one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Bytes a second.
    rate: Option<f64>,
    /// The same with every piece counted as its cost.
    load: f64,
    trip: Option<Duration>,
    /// From one arrival to the next.
    gap: Duration,
    /// Begin of the running measurement: the last one's end, or the first
    /// arrival after a rest.
    from: Option<Duration>,
    last: Duration,
    bytes: u64,
    cost: u64,
}

impl Pace {
    /// Bytes came; `extra` is what their piece costs beyond its bytes, if they
    /// complete it.
    pub(super) fn came(&mut self, bytes: u64, extra: u64, now: Duration) {
        if self.from.is_none() {
            // Sent before the measurement begins.
            self.from = Some(now);
            self.last = now;
            return;
        }
        self.gap = (self.gap * 3 + now.saturating_sub(self.last)) / 4;
        self.last = now;
        self.bytes += bytes;
        self.cost += bytes + extra;
        self.measure(SPAN, now);
    }

    /// Time passes while something is asked for.
    pub(super) fn tick(&mut self, now: Duration) {
        self.measure(LONG_SPAN, now);
    }

    /// Nothing is asked for any more.
    pub(super) fn rest(&mut self) {
        self.from = None;
        self.bytes = 0;
        self.cost = 0;
    }

    /// The first byte came so long after a request that had none before it.
    pub(super) fn first_byte(&mut self, after: Duration) {
        self.trip = Some(match self.trip {
            None => after,
            Some(trip) if after < trip => (trip + after) / 2,
            Some(trip) => (trip * 7 + after) / 8,
        });
    }

    /// Bytes a second, if measured.
    pub(super) fn rate(&self) -> u64 {
        self.rate.map_or(0, |rate| rate as u64)
    }

    /// Cost that may be asked for at once, before any bounds.
    pub(super) fn window(&self) -> u64 {
        let span = self.trip.unwrap_or(UNKNOWN_TRIP) + QUEUE;
        (self.load * span.as_secs_f64()) as u64
    }

    /// Seconds until `bytes` are here.
    pub(super) fn seconds(&self, bytes: u64) -> f64 {
        let rate = self.rate.unwrap_or(UNKNOWN_RATE).max(1.0);
        self.trip.unwrap_or(UNKNOWN_TRIP).as_secs_f64() + bytes as f64 / rate
    }

    /// The longest wait for a byte that is nothing unusual.
    pub(super) fn usual(&self) -> Duration {
        self.gap.max(self.trip.unwrap_or_default())
    }

    fn measure(&mut self, least: Duration, now: Duration) {
        let Some(from) = self.from else {
            return;
        };
        let span = now.saturating_sub(from);
        if span < least {
            return;
        }
        let seconds = span.as_secs_f64();
        let weight = seconds / (seconds + SMOOTHING);
        let (rate, load) = (self.bytes as f64 / seconds, self.cost as f64 / seconds);
        match self.rate {
            None => (self.rate, self.load) = (Some(rate), load),
            Some(before) => {
                self.rate = Some(before + weight * (rate - before));
                self.load += weight * (load - self.load);
            }
        }
        self.from = Some(now);
        self.bytes = 0;
        self.cost = 0;
    }
}
