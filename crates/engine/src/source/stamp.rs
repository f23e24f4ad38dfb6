//! Size and time of a file: if both are as they were, so is the content.

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Size and time of a file at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// The stamp of a file whose time is so many nanoseconds after 1970, or unknown.
    pub(crate) fn new(size: u64, nanos: Option<i64>) -> Self {
        let modified = nanos.and_then(|nanos| {
            let distance = Duration::from_nanos(nanos.unsigned_abs());
            if nanos >= 0 {
                UNIX_EPOCH.checked_add(distance)
            } else {
                UNIX_EPOCH.checked_sub(distance)
            }
        });
        Stamp { size, modified }
    }

    /// The stamp that a file has.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Stamp {
            size: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }

    /// Bytes.
    pub(crate) fn size(self) -> u64 {
        self.size
    }

    /// The time in nanoseconds after 1970; `None` if it is unknown or too far off.
    pub(crate) fn nanos(self) -> Option<i64> {
        let modified = self.modified?;
        match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).ok(),
            Err(before) => i64::try_from(before.duration().as_nanos())
                .ok()
                .map(|nanos| -nanos),
        }
    }

    /// The time in milliseconds after 1970, as manifests tell it.
    pub(crate) fn millis(self) -> Option<i64> {
        let modified = self.modified?;
        match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).ok(),
            Err(before) => i64::try_from(before.duration().as_millis())
                .ok()
                .map(|millis| -millis),
        }
    }

    /// Whether a record made under this stamp still holds for a file that has
    /// the stamp `now`. Without a time it never does.
    pub(crate) fn still(self, now: Stamp) -> bool {
        self.nanos().is_some() && self == now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_from_its_nanoseconds() {
        for nanos in [0, 1, -1, 1_700_000_000_123_456_789, i64::MAX] {
            let stamp = Stamp::new(7, Some(nanos));
            assert_eq!(stamp.nanos(), Some(nanos));
            assert!(stamp.still(Stamp::new(7, Some(nanos))));
        }
    }

    #[test]
    fn a_stamp_without_a_time_or_with_another_vouches_for_nothing() {
        let stamp = Stamp::new(7, Some(5));
        assert!(!stamp.still(Stamp::new(7, Some(6))));
        assert!(!stamp.still(Stamp::new(8, Some(5))));
        assert!(!Stamp::new(7, None).still(Stamp::new(7, None)));
    }
}
