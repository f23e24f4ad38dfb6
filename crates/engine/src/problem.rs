//! Problems as a person gets them: what happened, to what, and what to do.

use std::io;
use std::path::Path;

use crate::api::{Problem, ProblemCode};

impl Problem {
    /// A problem in words.
    pub fn new(code: ProblemCode, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Problem {
            code,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// The share or transfer that was named is not here.
    pub(crate) fn unknown() -> Self {
        Problem::new(
            ProblemCode::Usage,
            "This row is no longer here.",
            "It may have been removed in another window; look at the list again.",
        )
    }

    /// The request does not fit the state.
    pub(crate) fn out_of_turn(what: &str) -> Self {
        Problem::new(
            ProblemCode::Usage,
            format!("This cannot be done now: {what}."),
            "Wait a moment, or open the invite again.",
        )
    }

    /// The engine's own state could not be kept.
    pub(crate) fn state(what: &str, error: impl std::fmt::Display) -> Self {
        Problem::new(
            ProblemCode::Internal,
            format!("Passalong could not {what}: {error}."),
            "Check that its data folder is writable and its disk is not full.",
        )
    }

    /// The sharer stopped the share.
    pub(crate) fn stopped() -> Self {
        Problem::new(
            ProblemCode::Stopped,
            "This share was stopped.",
            "Ask the person to share it again and send the new invite.",
        )
    }

    /// The share is for one person, and somebody else has it.
    pub(crate) fn taken() -> Self {
        Problem::new(
            ProblemCode::Taken,
            "This invite is for one person, and somebody else has used it.",
            "Ask the person for a new invite, or to allow anyone with the code.",
        )
    }

    /// The invite is one's own.
    pub(crate) fn own_invite() -> Self {
        Problem::new(
            ProblemCode::OwnInvite,
            "This is your own invite.",
            "Send it to the person who should get the files; they paste it on their computer.",
        )
    }

    /// The peer speaks another version.
    pub(crate) fn version() -> Self {
        Problem::new(
            ProblemCode::Version,
            "The other computer runs a Passalong that speaks another version.",
            "Update Passalong on both computers and try again.",
        )
    }

    /// The sharer shared other files under the same invite.
    pub(crate) fn changed() -> Self {
        Problem::new(
            ProblemCode::Stopped,
            "The files of this share were changed since you saw the list.",
            "Try again to see the new list. What is here already is not fetched twice.",
        )
    }

    /// What the peer sent is corrupt or hostile.
    pub(crate) fn corrupt(what: impl std::fmt::Display) -> Self {
        Problem::new(
            ProblemCode::Corrupt,
            format!("What the other computer sent is not right: {what}."),
            "Nothing wrong was kept. Ask the person to share the files again; if it stays, do not trust this invite.",
        )
    }

    /// Reading or writing failed.
    pub(crate) fn disk(path: &Path, error: &io::Error) -> Self {
        let shown = path.display();
        let (message, remedy) = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (
                format!("The drive of {shown} is full."),
                "Free some space or choose another folder, then try again: what is here already is kept.",
            ),
            io::ErrorKind::ReadOnlyFilesystem => (
                format!("{shown} is on a drive that cannot be written to."),
                "Choose another folder.",
            ),
            io::ErrorKind::PermissionDenied => (
                format!("This computer does not allow Passalong to use {shown}."),
                "Change its permissions or choose another place.",
            ),
            io::ErrorKind::NotFound => (
                format!("{shown} does not exist."),
                "Check the name, or whether a drive was unplugged, and try again.",
            ),
            io::ErrorKind::NotADirectory => {
                (format!("{shown} is not a folder."), "Choose a folder.")
            }
            _ => (
                format!("{shown} could not be used: {error}."),
                "Check the drive, or choose another folder, and try again.",
            ),
        };
        Problem::new(ProblemCode::Disk, message, remedy)
    }

    /// There is not enough room for what was accepted.
    pub(crate) fn no_room(path: &Path, needed: u64, free: u64) -> Self {
        Problem::new(
            ProblemCode::Disk,
            format!(
                "The drive of {} is too full: {} needed, {} free.",
                path.display(),
                size(needed),
                size(free)
            ),
            "Free some space, choose another folder, or choose fewer files, then try again.",
        )
    }
}

/// A size in decimal units: "4.2 GB".
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 99.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_decimal_and_short() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(999), "999 bytes");
        assert_eq!(size(1000), "1.0 kB");
        assert_eq!(size(4_200_000_000), "4.2 GB");
        assert_eq!(size(999_600), "1.0 MB");
        assert_eq!(size(12_560_000_000), "12.6 GB");
        assert_eq!(size(840_000_000), "840 MB");
        assert_eq!(size(u64::MAX), "18.4 EB");
    }
}
