//! The beat of a task that looks after something: quick while somebody is there or
//! looked for, slow while nothing can happen but what wakes the task anyway.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

/// The slow beat.
const SLOW: Duration = Duration::from_secs(1);

/// A beat of two speeds.
#[derive(Debug)]
pub(crate) struct Pulse {
    interval: Interval,
    is_slow: bool,
}

impl Pulse {
    /// Beats every `period` while it is quick. Needs a running tokio.
    pub(crate) fn new(period: Duration) -> Pulse {
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Pulse {
            interval,
            is_slow: false,
        }
    }

    /// Whether the last beat was slow.
    pub(crate) fn is_slow(&self) -> bool {
        self.is_slow
    }

    /// Waits for the next beat, which comes at once where it was quiet and is no more.
    /// Losing this future loses nothing.
    pub(crate) async fn beat(&mut self, quiet: bool) {
        if self.is_slow && !quiet {
            self.interval.reset_immediately();
        }
        self.is_slow &= quiet;
        self.interval.tick().await;
        if quiet {
            self.interval.reset_after(SLOW);
            self.is_slow = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const QUICK: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn quiet_beats_are_slow_and_the_first_that_is_not_comes_at_once() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(QUICK);
        let mut at = Vec::new();
        for quiet in [false, false, true, true, true, false, false] {
            pulse.beat(quiet).await;
            at.push(begun.elapsed().as_millis());
        }
        assert_eq!(at, [0, 100, 200, 1200, 2200, 2200, 2300]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_given_up_for_something_else_changes_nothing() {
        let begun = Instant::now();
        let mut pulse = Pulse::new(QUICK);
        pulse.beat(true).await;
        for _ in 0..3 {
            let other = tokio::time::sleep(Duration::from_millis(300));
            tokio::select! {
                () = pulse.beat(true) => panic!("too early"),
                () = other => {}
            }
        }
        pulse.beat(true).await;
        assert_eq!(begun.elapsed(), SLOW);
        assert!(pulse.is_slow());
    }
}
