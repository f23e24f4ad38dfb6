//! Congestion control over modelled paths: a bit rate, a delay, a queue, loss.

use std::collections::VecDeque;
use std::time::Duration;

use passalong_proto::congestion::Congestion;

const MTU: u64 = 1400;

/// A path, and a sender with always more to send.
struct Path {
    /// Bytes a second.
    rate: f64,
    trip: f64,
    queue: f64,
    loss: f64,
    seed: u64,
}

#[derive(Default)]
struct Outcome {
    delivered: u64,
    sent: u64,
    overflowed: u64,
}

impl Path {
    fn draw(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Sends from one time to another, in seconds; packets are paced as quinn does,
    /// at five quarters of a window a round trip.
    fn run(&mut self, sender: &mut Sender, until: f64) -> Outcome {
        let mut outcome = Outcome::default();
        while sender.now < until {
            let arrival = sender.acks.front().map_or(f64::MAX, |(at, ..)| *at);
            let room = sender.in_flight + MTU <= sender.control.window();
            let next = if room {
                sender.next_send.max(sender.now)
            } else {
                f64::MAX
            };
            if arrival <= next {
                sender.now = arrival;
                sender.take_ack(&mut outcome);
                continue;
            }
            sender.now = next;
            let pace = 1.25 * sender.control.window() as f64 / sender.smoothed;
            sender.next_send = sender.now + MTU as f64 / pace;
            sender.packet += 1;
            sender.in_flight += MTU;
            outcome.sent += MTU;
            sender.control.sent(sender.packet);
            let waiting = (sender.free_at - sender.now).max(0.0) * self.rate;
            let overflows = waiting + MTU as f64 > self.queue;
            let lost = overflows || self.draw() < self.loss;
            outcome.overflowed += u64::from(overflows) * MTU;
            if !overflows {
                sender.free_at = sender.free_at.max(sender.now) + MTU as f64 / self.rate;
            }
            // A loss is noticed about when its acknowledgement was due.
            let seen = sender.free_at.max(sender.now) + self.trip;
            sender
                .acks
                .push_back((seen, sender.packet, sender.now, lost));
        }
        outcome
    }
}

struct Sender {
    control: Congestion,
    now: f64,
    next_send: f64,
    free_at: f64,
    packet: u64,
    in_flight: u64,
    smoothed: f64,
    acks: VecDeque<(f64, u64, f64, bool)>,
}

impl Sender {
    fn new(trip: f64) -> Sender {
        Sender {
            control: Congestion::new(MTU),
            now: 0.0,
            next_send: 0.0,
            free_at: 0.0,
            packet: 0,
            in_flight: 0,
            smoothed: trip,
            acks: VecDeque::new(),
        }
    }

    fn take_ack(&mut self, outcome: &mut Outcome) {
        let Some((at, packet, sent, lost)) = self.acks.pop_front() else {
            return;
        };
        self.in_flight -= MTU;
        let now = Duration::from_secs_f64(at);
        if lost {
            self.control.lost(MTU);
            return;
        }
        outcome.delivered += MTU;
        self.smoothed += ((at - sent) - self.smoothed) / 8.0;
        let sent = Duration::from_secs_f64(sent);
        self.control.acked(sent, MTU, false, now);
        self.control.acks_end(packet, self.in_flight, now);
    }
}

fn path(mbits: f64, trip_ms: f64, queue_kib: f64, loss: f64) -> Path {
    Path {
        rate: mbits * 125_000.0,
        trip: trip_ms / 1000.0,
        queue: queue_kib * 1024.0,
        loss,
        seed: 88_172_645_463_325_252,
    }
}

/// The share of the rate that is used, and that of what was sent that overflowed.
fn shares(path: &Path, outcome: &Outcome, seconds: f64) -> (f64, f64) {
    let used = outcome.delivered as f64 / (path.rate * seconds);
    (used, outcome.overflowed as f64 / outcome.sent as f64)
}

#[test]
fn every_road_is_filled_without_flooding_its_queue() {
    for (name, mut path) in [
        ("lan", path(1000.0, 0.4, 2048.0, 0.0)),
        ("city", path(200.0, 20.0, 1024.0, 0.0)),
        ("wan", path(200.0, 50.0, 1024.0, 0.001)),
        ("far", path(100.0, 100.0, 1024.0, 0.01)),
        ("moon", path(20.0, 600.0, 1024.0, 0.005)),
        ("slow", path(1.0, 60.0, 64.0, 0.0)),
    ] {
        let mut sender = Sender::new(path.trip);
        let first = path.run(&mut sender, 4.0 + 20.0 * path.trip);
        let begun = sender.now;
        let outcome = path.run(&mut sender, begun + 20.0);
        let (used, overflowed) = shares(&path, &outcome, 20.0);
        assert!(used > 0.9, "{name}: {used:.3} of the rate");
        assert!(overflowed < 0.01, "{name}: {overflowed:.3} overflowed");
        let (used, overflowed) = shares(&path, &first, begun);
        assert!(used > 0.6, "{name}: {used:.3} of the rate at first");
        assert!(
            overflowed < 0.2,
            "{name}: {overflowed:.3} overflowed at first"
        );
    }
}

#[test]
fn a_path_with_hardly_a_queue_is_used_and_not_flooded() {
    let mut path = path(100.0, 40.0, 64.0, 0.0);
    let mut sender = Sender::new(path.trip);
    path.run(&mut sender, 5.0);
    let outcome = path.run(&mut sender, 25.0);
    let (used, overflowed) = shares(&path, &outcome, 20.0);
    assert!(used > 0.8, "{used:.3} of the rate");
    assert!(overflowed < 0.05, "{overflowed:.3} overflowed");
}

#[test]
fn a_rate_that_falls_or_rises_is_followed() {
    let mut path = path(200.0, 50.0, 1024.0, 0.001);
    let mut sender = Sender::new(path.trip);
    path.run(&mut sender, 5.0);
    path.rate /= 4.0;
    path.run(&mut sender, 9.0);
    let outcome = path.run(&mut sender, 19.0);
    let (used, overflowed) = shares(&path, &outcome, 10.0);
    assert!(
        used > 0.9 && overflowed < 0.01,
        "{used:.3}, {overflowed:.3}"
    );
    path.rate *= 4.0;
    path.run(&mut sender, 29.0);
    let outcome = path.run(&mut sender, 39.0);
    let (used, _) = shares(&path, &outcome, 10.0);
    assert!(used > 0.85, "{used:.3} of the greater rate");
}

#[test]
fn what_the_application_does_not_send_is_not_taken_for_the_paths_limit() {
    let mut path = path(100.0, 100.0, 1024.0, 0.0);
    let mut sender = Sender::new(path.trip);
    path.run(&mut sender, 5.0);
    let known = sender.control.bandwidth();
    // A trickle: one packet each 50 ms.
    for step in 0..200 {
        let now = Duration::from_secs_f64(sender.now + 1.0 + f64::from(step) * 0.05);
        let sent = now - Duration::from_millis(100);
        sender.packet += 1;
        sender.control.sent(sender.packet);
        sender.control.acked(sent, MTU, true, now);
        sender.control.acks_end(sender.packet, 0, now);
    }
    assert!(sender.control.bandwidth() >= known * 0.99);
}

#[test]
fn after_a_collapse_it_starts_anew() {
    let mut path = path(100.0, 20.0, 1024.0, 0.0);
    let mut sender = Sender::new(path.trip);
    path.run(&mut sender, 3.0);
    let before = sender.control.window();
    sender.control.collapsed();
    assert!(sender.control.window() < before / 4);
    path.run(&mut sender, 6.0);
    let outcome = path.run(&mut sender, 16.0);
    let (used, _) = shares(&path, &outcome, 10.0);
    assert!(used > 0.9, "{used:.3} of the rate");
}
