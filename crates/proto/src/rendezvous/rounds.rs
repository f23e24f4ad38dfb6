//! Which shares of a device are looked after at full pace: those in which something
//! happened last.
//!
//! A device asks the DHT for all of its shares, and however many there are, it is to ask
//! about as often as for a few. So the others take turns, until each waits as long as is
//! bearable. When each of them looks is decided in `agenda`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agenda::{LONGEST_LOOK, LOOK};

/// Shares that are looked after at full pace.
pub const AT_FULL_PACE: usize = 3;
/// All others together are looked after as often as so many.
pub const OTHERS: u32 = 2;

/// The shares of a device, and when something last happened in each.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    stirred: BTreeMap<u64, Duration>,
    next: u64,
}

impl Rounds {
    /// Another share, in which something has just happened: it is offered. Gives its
    /// number. Times count from any moment, the same for all.
    pub fn enter(&mut self, now: Duration) -> u64 {
        let number = self.next;
        self.next += 1;
        self.stirred.insert(number, now);
        number
    }

    /// It is offered no more.
    pub fn leave(&mut self, number: u64) {
        self.stirred.remove(&number);
    }

    /// Something last happened in a share at `at`. Gives its pause: what it leaves, at
    /// least, between two looks. Where it happened in many at the same time, those come
    /// first that were offered last.
    pub fn pause(&mut self, number: u64, at: Duration) -> Duration {
        self.stirred.insert(number, at);
        let own = (at, number);
        let later = |(number, at): (&u64, &Duration)| (*at, *number) > own;
        let before = self.stirred.iter().filter(|share| later(*share)).count();
        let others = self.stirred.len().saturating_sub(AT_FULL_PACE);
        if before < AT_FULL_PACE {
            return LOOK;
        }
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        (LOOK.saturating_mul(others) / OTHERS).clamp(LOOK, LONGEST_LOOK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The pauses of `count` shares that were offered a second apart.
    fn offered(count: u32) -> (Rounds, Vec<Duration>) {
        let mut rounds = Rounds::default();
        let numbers: Vec<u64> = (0..count).map(|n| rounds.enter(SECOND * n)).collect();
        let told = (0..count)
            .zip(&numbers)
            .map(|(n, number)| rounds.pause(*number, SECOND * n));
        let told = told.collect();
        (rounds, told)
    }

    #[test]
    fn a_few_shares_keep_full_pace_and_more_share_what_is_left() {
        assert_eq!(offered(3).1, [LOOK; 3]);
        let (_, ten) = offered(10);
        assert_eq!(ten[7..], [LOOK; 3]);
        assert_eq!(ten[..7], [LOOK * 7 / 2; 7]);
        let a_second = |told: &[Duration]| -> f64 {
            told.iter().map(|pause| pause.as_secs_f64().recip()).sum()
        };
        for count in [5, 10, 15] {
            let looks = a_second(&offered(count).1);
            assert!((looks - 0.5).abs() < 1e-9, "{looks} of {count}");
        }
        assert_eq!(offered(1000).1[0], LONGEST_LOOK);
    }

    #[test]
    fn where_something_happens_full_pace_is_back_and_another_share_gives_it_up() {
        let (mut rounds, _) = offered(10);
        assert_eq!(rounds.pause(0, 20 * SECOND), LOOK);
        assert_eq!(rounds.pause(8, 8 * SECOND), LOOK);
        assert!(rounds.pause(7, 7 * SECOND) > LOOK);
        rounds.leave(0);
        assert_eq!(rounds.pause(7, 7 * SECOND), LOOK);
    }

    #[test]
    fn of_shares_that_are_offered_again_together_the_latest_keep_full_pace() {
        let mut rounds = Rounds::default();
        let numbers: Vec<u64> = (0..6).map(|_| rounds.enter(SECOND)).collect();
        let full = |number: &&u64| rounds.pause(**number, SECOND) == LOOK;
        let at_full_pace: Vec<u64> = numbers.iter().filter(full).copied().collect();
        assert_eq!(at_full_pace, numbers[3..]);
    }
}
