//! How much may be on its way: congestion control by measured bandwidth, for the
//! QUIC lane, and around the control that a data channel has itself ([`crate::ahead`]).
//!
//! After BBR (draft-ietf-ccwg-bbr): the window follows the bandwidth that was
//! delivered and the round trip of an empty path, not the loss. It doubles each
//! round until the bandwidth grows no more; from then on it asks for a little more
//! every eight rounds, and for less right after that, so that queues empty and the
//! round trip shows. Where acknowledgements come in bunches, it has room for what
//! they hold up. Loss counts only beyond [`TOLERATED_LOSS`] of what is sent:
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
/// Where the bandwidth fell below this part of its best of late, the usual round trip
/// counts instead of the shortest one, up to so many times that and so much more: a
/// window for a trip that is no longer had, be it that the way got longer by itself or
/// that others fill its queue, would let the bandwidth fall on and on.
const FALLEN: f64 = 0.7;
const USUAL_UP_TO: f64 = 2.0;
const USUAL_BEYOND: Duration = Duration::from_millis(20);
/// What the window is of bandwidth times round trip, phase by phase.
const GAINS: [f64; 8] = [1.5, 0.98, 1.25, 1.25, 1.25, 1.25, 1.25, 1.25];
/// The phase of less: it ends as soon as no more than that is on its way.
const LESS: usize = 1;
/// Beyond that, what is delivered in this time, or as much more as came at once when
/// acknowledgements were held up, whichever is more.
const SLACK: Duration = Duration::from_millis(8);
/// The most of what came at once that counts, as what is delivered in this time, and
/// how long it may take to come.
const LONGEST_STALL: Duration = Duration::from_millis(30);
/// How long it counts at least.
const STALL_AGE: Duration = Duration::from_secs(1);
/// What is left of the window as its bound when too much was lost.
const AFTER_LOSS: f64 = 0.85;
/// How much the bound is widened by a turn through all phases that lost little.
const AFTER_PROBE: f64 = 1.25;

/// What differs by whose packets are controlled.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    /// What a packet is given back as when it arrived during the start.
    start_gain: f64,
    /// The same of one that waited on its way.
    queued_gain: f64,
    /// From which round trip on a queue shows: a part of the shortest one, and beyond that
    /// what the turns of the operating system add.
    queue_shows: (f64, Duration),
    /// Measurements during the start that may lack growth while a queue shows.
    queued_patience: u32,
    /// How much of what came at once after it was held up counts.
    longest_stall: Duration,
}

/// Nobody else controls them. They are paced over most of a round, so that by their own
/// size the rate would grow by three quarters in a round; by this it doubles. While a queue
/// shows it grows a quarter as fast (RFC 9406 §4.2).
const ALONE: Tuning = Tuning {
    start_gain: 1.4,
    queued_gain: 0.35,
    queue_shows: (1.25, Duration::from_millis(4)),
    queued_patience: 1,
    longest_stall: LONGEST_STALL,
};

/// They go through a transport with a control of its own, which sends without pacing and
/// which an overflowing queue costs more than a window that is too small for a while.
const AROUND: Tuning = Tuning {
    start_gain: 0.5,
    queued_gain: 0.0,
    queue_shows: (1.1, Duration::from_millis(3)),
    queued_patience: START_PATIENCE,
    longest_stall: Duration::ZERO,
};

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
    tuning: Tuning,
    window: u64,
    phase: Phase,
    /// Bytes a second, newest last.
    samples: VecDeque<f64>,
    sample: Sample,
    /// The shortest trips of this span of time and of the one before.
    trips: [Option<Duration>; 2],
    trips_since: Duration,
    /// The mean of the newest measurement's trips.
    usual_trip: Duration,
    /// The greatest bandwidth in the same spans of time.
    best: [f64; 2],
    /// The bandwidth that the start reached, and measurements since.
    reached: f64,
    without_growth: u32,
    bound: Option<u64>,
    /// Too much was lost since the last time that more was asked for.
    crowded: bool,
    last_packet: u64,
    newest_sent: Duration,
    bunching: Bunching,
}

/// How much more is acknowledged at once than the bandwidth would deliver, after
/// something held acknowledgements up.
#[derive(Clone, Copy, Debug, Default)]
struct Bunching {
    /// Acknowledged and not counted yet.
    newly: u64,
    /// From when on more came than was expected, and how much did since.
    since: Duration,
    delivered: u64,
    /// The most beyond what was expected, in this span of time and in the one before.
    most: [u64; 2],
    most_since: Duration,
}

impl Bunching {
    /// The acknowledgements that came together now are all told.
    fn end(&mut self, bandwidth: f64, longest: Duration, now: Duration) {
        if now.saturating_sub(self.most_since) > STALL_AGE {
            self.most = [0, self.most[0]];
            self.most_since = now;
        }
        let expected = |since| (bandwidth * now.saturating_sub(since).as_secs_f64()) as u64;
        let lasts = now.saturating_sub(self.since);
        if self.delivered <= expected(self.since) || lasts > longest {
            self.since = now;
            self.delivered = 0;
        }
        self.delivered += std::mem::take(&mut self.newly);
        let beyond = self.delivered.saturating_sub(expected(self.since));
        let counts = (bandwidth * longest.as_secs_f64()) as u64;
        self.most[0] = self.most[0].max(beyond.min(counts));
    }

    fn most(&self) -> u64 {
        self.most[0].max(self.most[1])
    }
}

/// A measurement that is running.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    since: Duration,
    sent_since: Duration,
    delivered: u64,
    lost: u64,
    app_limited: bool,
    /// The shortest round trip meanwhile.
    trip: Option<Duration>,
    /// The sum of all, and how many there were.
    trips: (Duration, u32),
    /// It ends when a packet sent after its begin is acknowledged.
    until_packet: u64,
}

impl Congestion {
    /// For packets of `mtu` bytes.
    pub fn new(mtu: u64) -> Congestion {
        Congestion {
            mtu,
            tuning: ALONE,
            window: FIRST_PACKETS * mtu,
            phase: Phase::Start,
            samples: VecDeque::with_capacity(SAMPLES),
            sample: Sample::default(),
            trips: [None; 2],
            trips_since: Duration::ZERO,
            usual_trip: Duration::ZERO,
            best: [0.0; 2],
            reached: 0.0,
            without_growth: 0,
            bound: None,
            crowded: false,
            last_packet: 0,
            newest_sent: Duration::ZERO,
            bunching: Bunching::default(),
        }
    }

    /// For packets of `mtu` bytes that go through a transport with a control of its own.
    /// What waits there waits for that first: it needs no larger window.
    pub fn around(mtu: u64) -> Congestion {
        Congestion {
            tuning: AROUND,
            ..Congestion::new(mtu)
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
            self.best = [0.0, self.best[0]];
            self.trips_since = now;
        }
        let shorter = |than: Option<Duration>| Some(than.map_or(trip, |than| than.min(trip)));
        self.trips[0] = shorter(self.trips[0]);
        self.sample.trip = shorter(self.sample.trip);
        self.sample.trips.0 += trip;
        self.sample.trips.1 += 1;
        self.newest_sent = self.newest_sent.max(sent);
        self.sample.delivered += bytes;
        self.bunching.newly += bytes;
        self.sample.app_limited |= app_limited;
        if self.phase == Phase::Start && !app_limited {
            // What is more would likely wait behind what waits already.
            let gain = match self.has_waited(trip) {
                true => self.tuning.queued_gain,
                false => self.tuning.start_gain,
            };
            self.window += (bytes as f64 * gain) as u64;
        }
    }

    /// All acknowledgements that came together were told; the last of them was of
    /// this packet. So much is still on its way.
    pub fn acks_end(&mut self, largest_acked: u64, in_flight: u64, now: Duration) {
        let took = now.saturating_sub(self.sample.since);
        if largest_acked >= self.sample.until_packet && took >= LEAST_SAMPLE {
            self.end_sample(now);
        }
        match self.phase {
            // The rate grows faster than it is measured.
            Phase::Start => self.bunching = Bunching::default(),
            _ => {
                let longest = self.tuning.longest_stall;
                self.bunching.end(self.bandwidth(), longest, now);
            }
        }
        let is_empty = match self.phase {
            Phase::Drain => in_flight <= self.emptied(1.0),
            Phase::Cruise(LESS) => in_flight <= self.emptied(GAINS[LESS]),
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
        self.best = [0.0; 2];
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
        self.best[0] = self.best[0].max(self.bandwidth());
        if let Some(mean) = ended.trips.0.checked_div(ended.trips.1) {
            self.usual_trip = mean;
        }
        let all = (ended.lost + ended.delivered).max(1);
        let full = ended.lost as f64 / all as f64 > TOLERATED_LOSS
            && ended.lost > LEAST_PACKETS * self.mtu;
        match self.phase {
            Phase::Start => self.judge_start(&ended),
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

    fn judge_start(&mut self, sample: &Sample) {
        let bandwidth = self.bandwidth();
        if bandwidth >= self.reached * START_GROWTH {
            self.reached = bandwidth;
            self.without_growth = 0;
        } else if !sample.app_limited {
            self.without_growth += 1;
        }
        let has_queue = sample.trip.is_some_and(|trip| self.has_waited(trip));
        let patience = match has_queue {
            true => self.tuning.queued_patience,
            false => START_PATIENCE,
        };
        if self.without_growth >= patience {
            self.phase = Phase::Drain;
        }
    }

    /// Whether a packet with this round trip waited on its way.
    fn has_waited(&self, trip: Duration) -> bool {
        let (part, beyond) = self.tuning.queue_shows;
        trip > self.shortest_trip().mul_f64(part) + beyond
    }

    /// The window that the phase asks for.
    fn settle(&mut self) {
        let wanted = match self.phase {
            Phase::Start => return,
            Phase::Drain | Phase::Cruise(LESS) => self.emptied(GAINS[LESS]),
            Phase::Cruise(at) => self.carried(GAINS[at]) + self.slack(),
        };
        let bounded = wanted.min(self.bound.unwrap_or(u64::MAX));
        self.window = bounded.max(self.least());
    }

    /// What the path holds, times `gain`, so that its queues do not empty themselves.
    fn carried(&self, gain: f64) -> u64 {
        (self.bandwidth() * self.trip().as_secs_f64() * gain) as u64
    }

    /// The same, so that they do.
    fn emptied(&self, gain: f64) -> u64 {
        (self.bandwidth() * self.shortest_trip().as_secs_f64() * gain) as u64
    }

    /// How long a packet is taken to travel where nothing waits.
    fn trip(&self) -> Duration {
        let shortest = self.shortest_trip();
        let best = self.best[0].max(self.best[1]);
        match self.bandwidth() < FALLEN * best {
            true => {
                let most = shortest.mul_f64(USUAL_UP_TO) + USUAL_BEYOND;
                self.usual_trip.clamp(shortest, most)
            }
            false => shortest,
        }
    }

    fn shortest_trip(&self) -> Duration {
        let shortest = self.trips.iter().flatten().min();
        shortest.copied().unwrap_or_default()
    }

    fn slack(&self) -> u64 {
        let usual = (self.bandwidth() * SLACK.as_secs_f64()) as u64;
        usual.max(self.bunching.most())
    }

    fn least(&self) -> u64 {
        LEAST_PACKETS * self.mtu
    }
}
