//! One direction of an emulated road: for every packet, whether it arrives and
//! when.
//!
//! A packet is lost by chance, or waits in a bounded queue until those before
//! it are on their way at the line's rate, and then travels for the delay.
//! Packets never overtake each other. There is no clock, packet or device in
//! here: time and sizes are arguments, and the same seed loses the same ones.

use std::time::Duration;

/// What one direction of a road is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quality {
    /// How long a packet travels once it is on its way.
    pub(crate) delay: Duration,
    /// Bits a second, above 0.
    pub(crate) rate: u64,
    /// The chance that a packet is lost, from 0 to 1.
    pub(crate) loss: f64,
    /// Bytes that may wait to be sent; what does not fit is dropped.
    pub(crate) queue: u64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It comes out at the other end then.
    Arrives(Duration),
    /// It is lost by chance.
    Lost,
    /// It is dropped because the queue is full.
    Dropped,
}

/// Packets by their fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) arrived: u64,
    pub(crate) lost: u64,
    pub(crate) dropped: u64,
}

/// One direction of a road.
#[derive(Debug)]
pub(crate) struct Line {
    quality: Quality,
    dice: Dice,
    /// When everything that waits will be on its way.
    free_at: Duration,
    counts: Counts,
}

impl Line {
    /// An idle line. `seed` decides which packets are lost.
    pub(crate) fn new(quality: Quality, seed: u64) -> Line {
        Line {
            quality,
            dice: Dice(seed),
            free_at: Duration::ZERO,
            counts: Counts::default(),
        }
    }

    /// Takes a packet of `bytes` at `now`, which never goes backwards.
    pub(crate) fn carry(&mut self, now: Duration, bytes: usize) -> Fate {
        if self.dice.chance(self.quality.loss) {
            self.counts.lost += 1;
            return Fate::Lost;
        }
        let bytes = bytes as u64;
        if self.waiting(now) + bytes > self.quality.queue {
            self.counts.dropped += 1;
            return Fate::Dropped;
        }
        self.counts.arrived += 1;
        self.free_at = self.free_at.max(now) + self.sending(bytes);
        Fate::Arrives(self.free_at + self.quality.delay)
    }

    /// What became of the packets so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Bytes that are not on their way yet.
    fn waiting(&self, now: Duration) -> u64 {
        let time = self.free_at.saturating_sub(now).as_nanos();
        u64::try_from(time * u128::from(self.quality.rate) / 8_000_000_000).unwrap_or(u64::MAX)
    }

    fn sending(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 8_000_000_000 / self.quality.rate)
    }
}

/// Random numbers that are the same for the same seed: SplitMix64 (Steele,
/// Lea and Flood 2014).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// True with the chance `of`.
    fn chance(&mut self, of: f64) -> bool {
        of > 0.0 && ((self.roll() >> 11) as f64) < of * (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quality() -> Quality {
        Quality {
            delay: Duration::from_millis(10),
            rate: 12_000_000,
            loss: 0.0,
            queue: 6000,
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_packet_on_an_idle_line_takes_its_sending_time_and_the_delay() {
        let mut line = Line::new(quality(), 1);
        // 1500 bytes at 12 Mbit/s are a millisecond.
        assert_eq!(line.carry(ms(5), 1500), Fate::Arrives(ms(16)));
        assert_eq!(line.carry(ms(100), 1500), Fate::Arrives(ms(111)));
    }

    #[test]
    fn packets_that_come_at_once_leave_one_after_the_other_until_the_queue_is_full() {
        let mut line = Line::new(quality(), 1);
        for at in 1..=4 {
            assert_eq!(line.carry(ms(0), 1500), Fate::Arrives(ms(10 + at)));
        }
        assert_eq!(line.carry(ms(0), 1500), Fate::Dropped);
        // Three of them wait after a millisecond: there is room for one.
        assert_eq!(line.carry(ms(1), 1500), Fate::Arrives(ms(15)));
        assert_eq!(line.carry(ms(1), 1500), Fate::Dropped);
        let counts = Counts {
            arrived: 5,
            lost: 0,
            dropped: 2,
        };
        assert_eq!(line.counts(), counts);
    }

    #[test]
    fn losses_are_as_frequent_as_asked_for_and_the_same_for_the_same_seed() {
        let lossy = Quality {
            loss: 0.01,
            queue: u64::MAX / 2,
            ..quality()
        };
        let lost = |seed| -> Vec<u64> {
            let mut line = Line::new(lossy, seed);
            (0..100_000)
                .filter(|_| line.carry(ms(0), 1500) == Fate::Lost)
                .collect()
        };
        let some = lost(7);
        assert!((850..1150).contains(&some.len()), "{} lost", some.len());
        assert_eq!(some, lost(7));
        assert_ne!(some, lost(8));
    }

    #[test]
    fn what_is_lost_takes_no_room_in_the_queue() {
        let all = Quality {
            loss: 1.0,
            ..quality()
        };
        let mut line = Line::new(all, 1);
        for _ in 0..100 {
            assert_eq!(line.carry(ms(0), 1500), Fate::Lost);
        }
        assert_eq!(line.waiting(ms(0)), 0);
    }

    proptest! {
        #[test]
        fn packets_keep_their_order_the_rate_and_the_bound_of_the_queue(
            packets in prop::collection::vec((0u64..3000, 40usize..1500), 1..300),
            loss in 0.0..0.3,
            seed: u64,
        ) {
            let quality = Quality { loss, ..quality() };
            let mut line = Line::new(quality, seed);
            let (mut now, mut last, mut sent) = (Duration::ZERO, Duration::ZERO, 0u64);
            for (wait, bytes) in packets {
                now += Duration::from_micros(wait);
                let before = line.waiting(now);
                match line.carry(now, bytes) {
                    Fate::Arrives(at) => {
                        sent += bytes as u64;
                        prop_assert!(at >= last);
                        let sending = line.sending(bytes as u64);
                        prop_assert!(at >= now + quality.delay + sending);
                        // Nobody waits longer than a full queue takes.
                        prop_assert!(at <= now + quality.delay + line.sending(quality.queue) + Duration::from_micros(1));
                        // All that was sent fits into the time since the first packet.
                        prop_assert!(at + Duration::from_micros(1) >= quality.delay + line.sending(sent));
                        last = at;
                    }
                    Fate::Dropped => prop_assert!(before + bytes as u64 > quality.queue),
                    Fate::Lost => prop_assert!(loss > 0.0),
                }
            }
        }
    }
}
