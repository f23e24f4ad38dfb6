//! The roads that are measured, as data.
//!
//! Sizes are chosen so that a program that fills the road is done in 10 to 30
//! seconds, and so is one that takes each lost packet for a full road.

use std::time::Duration;

use crate::line::Quality;

const MEGABYTE: u64 = 1_000_000;

/// A way between two hosts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Road {
    /// What it is called on the command line and in tables.
    pub(crate) name: &'static str,
    /// Each of its directions; without, it is the loopback.
    pub(crate) quality: Option<Quality>,
    /// Bytes to send.
    pub(crate) bytes: u64,
    /// Bytes to send with a program that losses slow down.
    pub(crate) bytes_if_slowed: u64,
}

/// From the shortest to the longest.
pub(crate) const ROADS: [Road; 5] = [
    Road {
        name: "loopback",
        quality: None,
        bytes: 1000 * MEGABYTE,
        bytes_if_slowed: 1000 * MEGABYTE,
    },
    Road {
        name: "lan",
        quality: Some(quality(200, 1000, 0.0, 2048)),
        bytes: 1250 * MEGABYTE,
        bytes_if_slowed: 1250 * MEGABYTE,
    },
    Road {
        name: "city",
        quality: Some(quality(10_000, 200, 0.0, 1024)),
        bytes: 300 * MEGABYTE,
        bytes_if_slowed: 300 * MEGABYTE,
    },
    Road {
        name: "wan",
        quality: Some(quality(25_000, 200, 0.001, 1024)),
        bytes: 300 * MEGABYTE,
        bytes_if_slowed: 20 * MEGABYTE,
    },
    Road {
        name: "far",
        quality: Some(quality(50_000, 100, 0.01, 1024)),
        bytes: 150 * MEGABYTE,
        bytes_if_slowed: 3 * MEGABYTE,
    },
];

const fn quality(delay_us: u64, megabits: u64, loss: f64, queue_kib: u64) -> Quality {
    Quality {
        delay: Duration::from_micros(delay_us),
        rate: megabits * 1_000_000,
        loss,
        queue: queue_kib * 1024,
    }
}

impl Road {
    /// The road with this name.
    pub(crate) fn named(name: &str) -> Option<Road> {
        ROADS.into_iter().find(|road| road.name == name)
    }

    /// What it is like, in a line.
    pub(crate) fn described(&self) -> String {
        let Some(quality) = self.quality else {
            return "no delay, no limit".to_owned();
        };
        format!(
            "{} ms there and back, {} Mbit/s, {} % lost, queue of {} KiB",
            quality.delay.as_secs_f64() * 2000.0,
            quality.rate / 1_000_000,
            (quality.loss * 1e6).round() / 1e4,
            quality.queue / 1024
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roads_are_described_in_numbers_as_people_write_them() {
        let described = |name| Road::named(name).expect("a road").described();
        assert_eq!(
            described("lan"),
            "0.4 ms there and back, 1000 Mbit/s, 0 % lost, queue of 2048 KiB"
        );
        assert_eq!(
            described("wan"),
            "50 ms there and back, 200 Mbit/s, 0.1 % lost, queue of 1024 KiB"
        );
        assert!(Road::named("moon").is_none());
    }
}
