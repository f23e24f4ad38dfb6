//! Congestion control over modelled paths: a bit rate, a delay, a queue, loss.

use std::collections::VecDeque;
use std::time::Duration;

use passalong_proto::congestion::Congestion;

const MTU: u64 = 1400;

/// A path, and senders with always more to send.
struct Path {
    /// Bytes a second.
    rate: f64,
    trip: f64,
    queue: f64,
    loss: f64,
    /// What makes the round trip longer by itself.
    unrest: Unrest,
    /// When what is in the queue is sent.
    free_at: f64,
    seed: u64,
}

/// How the round trip of a path varies. Times are in seconds.
#[derive(Clone, Copy)]
enum Unrest {
    None,
    /// About this often everything is held up until `end`, from `begin` on.
    Stalls {
        every: f64,
        longest: f64,
        begin: f64,
        end: f64,
    },
    /// It wanders: in a leg of `leg` from one random addition to the next.
    Wandering {
        leg: f64,
        most: f64,
        begin: f64,
        from: f64,
        to: f64,
    },
}

fn stalls(every: f64, longest: f64) -> Unrest {
    Unrest::Stalls {
        every,
        longest,
        begin: 0.0,
        end: 0.0,
    }
}

fn wandering(leg: f64, most: f64) -> Unrest {
    Unrest::Wandering {
        leg,
        most,
        begin: -leg,
        from: 0.0,
        to: 0.0,
    }
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

    /// When what would arrive at this time arrives.
    fn held_up(&mut self, at: f64) -> f64 {
        match self.unrest {
            Unrest::None => at,
            Unrest::Stalls {
                every,
                longest,
                mut begin,
                mut end,
            } => {
                while end <= at {
                    begin = end + self.draw() * 2.0 * every;
                    end = begin + self.draw() * longest;
                }
                self.unrest = Unrest::Stalls {
                    every,
                    longest,
                    begin,
                    end,
                };
                if at >= begin { end } else { at }
            }
            Unrest::Wandering {
                leg,
                most,
                mut begin,
                mut from,
                mut to,
            } => {
                while begin + leg <= at {
                    begin += leg;
                    from = to;
                    to = self.draw() * most;
                }
                self.unrest = Unrest::Wandering {
                    leg,
                    most,
                    begin,
                    from,
                    to,
                };
                at + from + (to - from) * ((at - begin) / leg).clamp(0.0, 1.0)
            }
        }
    }

    /// Sends from now to another time, in seconds; packets are paced as quinn does,
    /// at five quarters of a window a round trip.
    fn run(&mut self, sender: &mut Sender, until: f64) -> Outcome {
        let mut outcomes = self.share(std::slice::from_mut(sender), until);
        outcomes.pop().unwrap_or_default()
    }

    /// The same for several at once.
    fn share(&mut self, senders: &mut [Sender], until: f64) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = senders.iter().map(|_| Outcome::default()).collect();
        loop {
            let all = senders.iter().map(Sender::next).enumerate();
            let Some((turn, (at, event))) = all.min_by(|(_, a), (_, b)| a.0.total_cmp(&b.0)) else {
                return outcomes;
            };
            if at >= until {
                for sender in senders {
                    sender.now = until;
                }
                return outcomes;
            }
            let (sender, outcome) = (&mut senders[turn], &mut outcomes[turn]);
            sender.now = at;
            match event {
                Event::Ack => sender.take_ack(outcome),
                Event::Send => self.send(sender, outcome),
            }
        }
    }

    fn send(&mut self, sender: &mut Sender, outcome: &mut Outcome) {
        sender.count();
        outcome.sent += MTU;
        let waiting = (self.free_at - sender.now).max(0.0) * self.rate;
        let overflows = waiting + MTU as f64 > self.queue;
        let lost = overflows || self.draw() < self.loss;
        outcome.overflowed += u64::from(overflows) * MTU;
        if !overflows {
            self.free_at = self.free_at.max(sender.now) + MTU as f64 / self.rate;
        }
        // A loss is noticed about when its acknowledgement was due.
        let seen = self.held_up(self.free_at.max(sender.now) + self.trip);
        sender.awaits(seen, lost);
    }
}

enum Event {
    Ack,
    Send,
}

struct Sender {
    control: Congestion,
    now: f64,
    next_send: f64,
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
            packet: 0,
            in_flight: 0,
            smoothed: trip,
            acks: VecDeque::new(),
        }
    }

    /// Begins at this time.
    fn later(mut self, begin: f64) -> Sender {
        self.now = begin;
        self.next_send = begin;
        self
    }

    /// What happens next, and when.
    fn next(&self) -> (f64, Event) {
        let arrival = self.acks.front().map_or(f64::MAX, |(at, ..)| *at);
        let has_room = self.in_flight + MTU <= self.control.window();
        let send = match has_room {
            true => self.next_send.max(self.now),
            false => f64::MAX,
        };
        match arrival <= send {
            true => (arrival, Event::Ack),
            false => (send, Event::Send),
        }
    }

    /// A packet goes out.
    fn count(&mut self) {
        let pace = 1.25 * self.control.window() as f64 / self.smoothed;
        self.next_send = self.now + MTU as f64 / pace;
        self.packet += 1;
        self.in_flight += MTU;
        self.control.sent(self.packet);
    }

    /// It is acknowledged then, after all before it, or taken for lost.
    fn awaits(&mut self, at: f64, lost: bool) {
        let at = self.acks.back().map_or(at, |(before, ..)| at.max(*before));
        self.acks.push_back((at, self.packet, self.now, lost));
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
        unrest: Unrest::None,
        free_at: 0.0,
        seed: 88_172_645_463_325_252,
    }
}

/// The share of the rate that is used, and that of what was sent that overflowed.
fn shares(path: &Path, outcome: &Outcome, seconds: f64) -> (f64, f64) {
    let used = outcome.delivered as f64 / (path.rate * seconds);
    (used, outcome.overflowed as f64 / outcome.sent as f64)
}

/// The same of one sender that began so many seconds before.
fn shares_after(path: &mut Path, begun: f64, seconds: f64) -> (f64, f64) {
    let mut sender = Sender::new(path.trip);
    path.run(&mut sender, begun);
    let outcome = path.run(&mut sender, begun + seconds);
    shares(path, &outcome, seconds)
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
    let (used, overflowed) = shares_after(&mut path, 5.0, 20.0);
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

#[test]
fn a_path_that_stalls_now_and_then_is_filled() {
    for unrest in [stalls(0.05, 0.01), stalls(0.02, 0.02), stalls(0.05, 0.03)] {
        for (name, mut path) in [
            ("lan", path(1000.0, 0.4, 2048.0, 0.0)),
            ("radio", path(300.0, 3.0, 1024.0, 0.0)),
            ("city", path(200.0, 20.0, 1024.0, 0.0)),
            ("wan", path(200.0, 50.0, 1024.0, 0.001)),
        ] {
            path.unrest = unrest;
            let (used, overflowed) = shares_after(&mut path, 4.0, 20.0);
            assert!(used > 0.92, "{name}: {used:.3} of the rate");
            // What is held up does not fit into the queue of each.
            assert!(overflowed < 0.05, "{name}: {overflowed:.3} overflowed");
        }
    }
}

#[test]
fn a_round_trip_that_wanders_does_not_let_the_rate_fall_on_and_on() {
    for unrest in [
        wandering(0.3, 0.01),
        wandering(2.0, 0.03),
        wandering(0.5, 0.06),
    ] {
        for (name, mut path) in [
            ("radio", path(300.0, 3.0, 1024.0, 0.0)),
            ("city", path(200.0, 20.0, 1024.0, 0.0)),
            ("mobile", path(40.0, 25.0, 512.0, 0.0)),
            ("wan", path(200.0, 50.0, 1024.0, 0.001)),
        ] {
            path.unrest = unrest;
            let (used, overflowed) = shares_after(&mut path, 4.0, 40.0);
            assert!(used > 0.6, "{name}: {used:.3} of the rate");
            assert!(overflowed < 0.02, "{name}: {overflowed:.3} overflowed");
        }
    }
}

#[test]
fn two_that_share_a_path_get_about_as_much_and_leave_room_in_its_queue() {
    for (name, mut path) in [
        ("radio", path(300.0, 3.0, 1024.0, 0.0)),
        ("city", path(200.0, 20.0, 1024.0, 0.0)),
        ("wan", path(200.0, 50.0, 1024.0, 0.001)),
        ("house", path(16.0, 30.0, 512.0, 0.0)),
    ] {
        let trip = path.trip;
        let mut senders = [Sender::new(trip), Sender::new(trip).later(5.0)];
        path.share(&mut senders, 30.0);
        let outcomes = path.share(&mut senders, 60.0);
        let [(one, lost), (other, lost_too)] = [0, 1].map(|i| shares(&path, &outcomes[i], 30.0));
        assert!(one > 0.3 && other > 0.3, "{name}: {one:.3} and {other:.3}");
        assert!(one + other > 0.95, "{name}: {one:.3} and {other:.3}");
        assert!(
            lost.max(lost_too) < 0.02,
            "{name}: {lost:.3} and {lost_too:.3}"
        );
    }
}
