//! How much may be on its way: congestion control by measured bandwidth, for the
//! QUIC lane.
//!
//! After BBR (draft-ietf-ccwg-bbr): the window follows the bandwidth that was
//! delivered and the round trip of an empty path, not the loss. It doubles each
//! round until the bandwidth grows no more; from then on it asks for a little more
//! every eight rounds, and for less right after that, so that queues empty and the
//! round trip shows. Loss counts only beyond [`TOLERATED_LOSS`] of what is sent:
//! then the window is bounded. Sending packets, and pacing them within the window,
//! is the caller's business. Times are since any start, sizes in bytes.

use std::collections::VecDeque;
use std::time::Duration;

/// The share of what is sent that may be lost without meaning a full path.
pub const TOLERATED_LOSS: f64 = 0.02;
/// Packets that may be on their way before anything was measured.
const FIRST_PACKETS: u64 = 32;
/// Packets that may always be on their way.
const LEAST_PACKETS: u64 = 8;
/// Shortest time that bandwidth is measured over: shorter, and it is the turns of
/// the operating system that are measured.
const LEAST_SAMPLE: Duration = Duration::from_millis(20);
/// Measurements of which the greatest counts.
const SAMPLES: usize = 10;
/// How long the shortest round trip counts.
const TRIP_AGE: Duration = Duration::from_secs(10);
/// Growth of the bandwidth that keeps the start going, and how many measurements
/// may lack it.
const START_GROWTH: f64 = 1.25;
const START_PATIENCE: u32 = 3;
/// What the window is of bandwidth times round trip, phase by phase.
const GAINS: [f64; 8] = [1.5, 0.95, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25];
/// The phase of less: it ends as soon as no more than that is on its way.
const LESS: usize = 1;
/// Beyond that, what is delivered in this time: acknowledgements come in bunches.
const SLACK: Duration = Duration::from_millis(8);
/// What is left of the window as its bound when too much was lost.
const AFTER_LOSS: f64 = 0.85;
/// How much the bound is widened by a turn through all phases that lost little.
const AFTER_PROBE: f64 = 1.25;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Doubling.
    Start,
    /// Letting the queue that the start made empty itself.
    Drain,
    /// At this place of [`GAINS`].
    Cruise(usize),
}

/// The control of one path.
#[derive(Clone, Debug)]
pub struct Congestion {
    mtu: u64,
    window: u64,
    phase: Phase,
    /// Bytes a second, newest last.
    samples: VecDeque<f64>,
    sample: Sample,
    /// The shortest trips of this span of time and of the one before.
    trips: [Option<Duration>; 2],
    trips_since: Duration,
    /// The bandwidth that the start reached, and measurements since.
    reached: f64,
    without_growth: u32,
    bound: Option<u64>,
    /// Too much was lost since the last time that more was asked for.
    crowded: bool,
    last_packet: u64,
    newest_sent: Duration,
}

/// A measurement that is running.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    since: Duration,
    sent_since: Duration,
    delivered: u64,
    lost: u64,
    app_limited: bool,
    /// It ends when a packet sent after its begin is acknowledged.
    until_packet: u64,
}

impl Congestion {
    /// For packets of `mtu` bytes.
    pub fn new(mtu: u64) -> Congestion {
        Congestion {
            mtu,
            window: FIRST_PACKETS * mtu,
            phase: Phase::Start,
            samples: VecDeque::with_capacity(SAMPLES),
            sample: Sample::default(),
            trips: [None; 2],
            trips_since: Duration::ZERO,
            reached: 0.0,
            without_growth: 0,
            bound: None,
            crowded: false,
            last_packet: 0,
            newest_sent: Duration::ZERO,
        }
    }

    /// Bytes that may be on their way.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Bytes a second that the path is taken to carry; 0 while not known.
    pub fn bandwidth(&self) -> f64 {
        self.samples.iter().copied().fold(0.0, f64::max)
    }

    /// Packets have this size from now on.
    pub fn set_mtu(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.window = self.window.max(self.least());
    }

    /// Packets up to this number were sent.
    pub fn sent(&mut self, last_packet: u64) {
        self.last_packet = last_packet;
    }

    /// A packet was acknowledged. `app_limited`: there was not always more to send.
    pub fn acked(&mut self, sent: Duration, bytes: u64, app_limited: bool, now: Duration) {
        let trip = now.saturating_sub(sent);
        if now.saturating_sub(self.trips_since) > TRIP_AGE {
            self.trips = [None, self.trips[0]];
            self.trips_since = now;
        }
        self.trips[0] = Some(self.trips[0].map_or(trip, |shortest| shortest.min(trip)));
        self.newest_sent = self.newest_sent.max(sent);
        self.sample.delivered += bytes;
        self.sample.app_limited |= app_limited;
        if self.phase == Phase::Start && !app_limited {
            self.window += bytes;
        }
    }

    /// All acknowledgements that came together were told; the last of them was of
    /// this packet. So much is still on its way.
    pub fn acks_end(&mut self, largest_acked: u64, in_flight: u64, now: Duration) {
        let took = now.saturating_sub(self.sample.since);
        if largest_acked >= self.sample.until_packet && took >= LEAST_SAMPLE {
            self.end_sample(now);
        }
        let is_empty = match self.phase {
            Phase::Drain => in_flight <= self.carried(1.0),
            Phase::Cruise(LESS) => in_flight <= self.carried(GAINS[LESS]),
            Phase::Start | Phase::Cruise(_) => false,
        };
        if is_empty {
            self.phase = Phase::Cruise(LESS + 1);
        }
        self.settle();
    }

    /// Packets were lost.
    pub fn lost(&mut self, bytes: u64) {
        self.sample.lost += bytes;
        let tolerated = (self.window as f64 * TOLERATED_LOSS) as u64;
        if self.phase == Phase::Start && self.sample.lost > tolerated.max(self.least()) {
            self.phase = Phase::Drain;
        }
    }

    /// Nothing came through for long: what was known counts no more.
    pub fn collapsed(&mut self) {
        self.samples.clear();
        self.bound = None;
        self.reached = 0.0;
        self.without_growth = 0;
        self.phase = Phase::Start;
        self.window = self.least();
    }

    fn end_sample(&mut self, now: Duration) {
        let ended = std::mem::replace(
            &mut self.sample,
            Sample {
                since: now,
                sent_since: self.newest_sent,
                until_packet: self.last_packet + 1,
                ..Sample::default()
            },
        );
        // Acknowledgements that were held up come at once, but what they are of
        // was not sent at once.
        let came = now.saturating_sub(ended.since);
        let went = self.newest_sent.saturating_sub(ended.sent_since);
        let rate = ended.delivered as f64 / came.max(went).as_secs_f64().max(1e-6);
        let before = self.bandwidth();
        if !ended.app_limited || rate > before {
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(rate);
        }
        let all = (ended.lost + ended.delivered).max(1);
        let full = ended.lost as f64 / all as f64 > TOLERATED_LOSS
            && ended.lost > LEAST_PACKETS * self.mtu;
        match self.phase {
            Phase::Start => self.judge_start(ended.app_limited),
            Phase::Drain => {}
            Phase::Cruise(at) => {
                if full && !self.crowded {
                    self.crowded = true;
                    let usual = self.carried(GAINS[LESS + 1]) + self.slack();
                    let bound = self.bound.map_or(usual, |bound| bound.min(usual));
                    let bound = (bound as f64 * AFTER_LOSS) as u64;
                    self.bound = Some(bound.max(self.carried(1.0)));
                }
                if at + 1 == GAINS.len() && !std::mem::take(&mut self.crowded) {
                    let wider = |bound| (bound as f64 * AFTER_PROBE) as u64;
                    self.bound = self.bound.map(wider);
                }
                self.phase = Phase::Cruise((at + 1) % GAINS.len());
            }
        }
    }

    fn judge_start(&mut self, app_limited: bool) {
        let bandwidth = self.bandwidth();
        if bandwidth >= self.reached * START_GROWTH {
            self.reached = bandwidth;
            self.without_growth = 0;
        } else if !app_limited {
            self.without_growth += 1;
        }
        if self.without_growth >= START_PATIENCE {
            self.phase = Phase::Drain;
        }
    }

    /// The window that the phase asks for.
    fn settle(&mut self) {
        let wanted = match self.phase {
            Phase::Start => return,
            Phase::Drain | Phase::Cruise(LESS) => self.carried(GAINS[LESS]),
            Phase::Cruise(at) => self.carried(GAINS[at]) + self.slack(),
        };
        let bounded = wanted.min(self.bound.unwrap_or(u64::MAX));
        self.window = bounded.max(self.least());
    }

    /// What the path holds when its queues are empty, times `gain`.
    fn carried(&self, gain: f64) -> u64 {
        let trip = self.trips.iter().flatten().min().copied();
        let seconds = trip.unwrap_or_default().as_secs_f64();
        (self.bandwidth() * seconds * gain) as u64
    }

    fn slack(&self) -> u64 {
        (self.bandwidth() * SLACK.as_secs_f64()) as u64
    }

    fn least(&self) -> u64 {
        LEAST_PACKETS * self.mtu
    }
}
