//! How often somebody who is not there is knocked for: often at first, then seldom
//! enough to go on for days.
//!
//! Whoever comes online is found within [`LONGEST`] and the time a connection takes,
//! together less than twenty seconds.

use std::time::Duration;

/// Pauses after the first knocks.
const FIRST: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Pause for as long as somebody may just be opening the app.
const SOON: Duration = Duration::from_secs(3);
/// How many knocks that is: a minute and a half.
const SOON_KNOCKS: usize = 30;
/// The longest pause.
pub(crate) const LONGEST: Duration = Duration::from_secs(12);

/// The pause after so many knocks that nobody answered.
pub(crate) fn pause(knocks: usize) -> Duration {
    let later = knocks.saturating_sub(1);
    match FIRST.get(later) {
        Some(pause) => *pause,
        None if later < FIRST.len() + SOON_KNOCKS => SOON,
        None => {
            let more = later - FIRST.len() - SOON_KNOCKS + 1;
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            LONGEST.min(SOON.saturating_add(Duration::from_secs(1).saturating_mul(more)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_never_longer_than_the_longest() {
        let pauses: Vec<Duration> = (0..2000).map(pause).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses.last(), Some(&LONGEST));
        assert_eq!(pause(usize::MAX), LONGEST);
    }

    #[test]
    fn the_first_ten_seconds_are_quick_and_a_day_costs_few_knocks() {
        let within = |limit: Duration| {
            let mut passed = Duration::ZERO;
            (1..)
                .take_while(|knocks| {
                    passed += pause(*knocks);
                    passed < limit
                })
                .count()
        };
        assert!(within(Duration::from_secs(10)) >= 5);
        let day = within(Duration::from_secs(24 * 3600));
        assert!(day < 7300, "{day} knocks at each address in a day");
    }
}
