//! How much waits on a data channel.

use std::collections::VecDeque;
use std::time::Duration;

use passalong_proto::ahead::Ahead;

/// Lets a channel of so many bytes a second, with a round trip before anything is known
/// to be there, be filled up to its limit for a while; says how much was delivered over
/// the last half of the time, and the most that waited then.
fn filled(rate: u64, trip: Duration, time: Duration) -> (u64, u64) {
    let step = Duration::from_millis(5);
    let in_a_step = rate / 200;
    let mut ahead = Ahead::default();
    let (mut sent, mut arrived, mut most, mut half) = (0, 0, 0, None);
    let mut known = VecDeque::from(vec![0; trip.div_duration_f64(step) as usize]);
    let mut now = Duration::ZERO;
    while now < time {
        let delivered = known.pop_front().unwrap_or(arrived);
        ahead.delivered(delivered, now);
        sent = sent.max(delivered + ahead.limit());
        ahead.handed_over(sent, now);
        arrived = sent.min(arrived + in_a_step);
        known.push_back(arrived);
        now += step;
        if now > time / 2 {
            most = most.max(sent - arrived);
            half.get_or_insert(arrived);
        }
    }
    (arrived - half.unwrap_or(0), most)
}

#[test]
fn what_waits_on_a_data_channel_gets_away_within_about_a_second() {
    for rate in [100_000, 1_000_000, 20_000_000] {
        for trip in [0, 50, 300] {
            let time = Duration::from_secs(20);
            let (arrived, most) = filled(rate, Duration::from_millis(trip), time);
            assert!(
                arrived >= rate * 19 / 2,
                "{arrived} at {rate} and {trip} ms"
            );
            assert!(most <= rate * 11 / 10, "{most} at {rate} and {trip} ms");
        }
    }
}

/// A path: bytes a second, seconds there and back, bytes in its queue.
#[derive(Clone, Copy, Debug)]
struct Path {
    rate: f64,
    trip: f64,
    queue: f64,
}

/// An association in its slow start, which doubles what is on its way in a round trip
/// (RFC 9260 §7.2.1), and frames that are handed over to it.
struct Association {
    path: Path,
    window: u64,
    handed: u64,
    sent: u64,
    delivered: u64,
    /// When what went out is acknowledged, and when the queue is empty.
    acks: VecDeque<f64>,
    free_at: f64,
    overflowed: u64,
}

const PACKET: u64 = 1160;
const FRAME: u64 = 64 * 1024;

impl Association {
    fn new(path: Path) -> Association {
        Association {
            path,
            window: 4 * PACKET,
            handed: 0,
            sent: 0,
            delivered: 0,
            acks: VecDeque::new(),
            free_at: 0.0,
            overflowed: 0,
        }
    }

    fn outstanding(&self) -> u64 {
        self.handed - self.delivered
    }

    /// Takes what was acknowledged by `now` and sends what may go out.
    fn turn(&mut self, now: f64) {
        while self.acks.front().is_some_and(|&at| at <= now) {
            self.acks.pop_front();
            self.delivered += PACKET;
            self.window += PACKET;
        }
        while self.sent - self.delivered < self.window && self.sent + PACKET <= self.handed {
            self.sent += PACKET;
            self.free_at = self.free_at.max(now) + PACKET as f64 / self.path.rate;
            if (self.free_at - now) * self.path.rate > self.path.queue {
                self.overflowed += 1;
            }
            self.acks.push_back(self.free_at + self.path.trip);
        }
    }

    /// Hands over frames for so many seconds, as `ahead` lets it or without any limit.
    fn fill(&mut self, seconds: u32, mut ahead: Option<&mut Ahead>) {
        for tick in 0..seconds * 1000 {
            let now = Duration::from_millis(u64::from(tick));
            self.turn(now.as_secs_f64());
            if tick % 2 == 1 {
                continue;
            }
            loop {
                let limit = ahead.as_mut().map_or(u64::MAX / 2, |ahead| {
                    ahead.delivered(self.delivered, now);
                    ahead.limit()
                });
                if self.outstanding() > limit.min(16 * 1024 * 1024) {
                    break;
                }
                self.handed += FRAME;
                if let Some(ahead) = ahead.as_mut() {
                    ahead.handed_over(self.handed, now);
                }
            }
        }
    }
}

/// What a path delivers of what it could in ten seconds, and packets that its queue lost.
fn shares(path: Path, ahead: Option<&mut Ahead>) -> (f64, u64) {
    let mut association = Association::new(path);
    association.fill(10, ahead);
    let could = path.rate * 10.0;
    (association.delivered as f64 / could, association.overflowed)
}

#[test]
fn a_path_is_filled_and_its_queue_never_overflows_although_the_association_would_let_it() {
    let path = |megabits: f64, trip, kilobytes: f64| Path {
        rate: megabits * 125_000.0,
        trip,
        queue: kilobytes * 1024.0,
    };
    for path in [
        path(200.0, 0.02, 1024.0),
        path(200.0, 0.05, 1024.0),
        path(100.0, 0.1, 1024.0),
        path(50.0, 0.02, 256.0),
        path(16.0, 0.03, 256.0),
        path(1000.0, 0.001, 2048.0),
    ] {
        let (delivered, overflowed) = shares(path, Some(&mut Ahead::default()));
        assert!(delivered > 0.87, "{delivered} over {path:?}");
        assert_eq!(overflowed, 0, "over {path:?}");
        let (_, overflowed) = shares(path, None);
        assert!(overflowed > 0, "{path:?} needs no limit");
    }
}
