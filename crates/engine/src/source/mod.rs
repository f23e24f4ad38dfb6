//! Files on this device's disk that others may have: found and hashed, or
//! received, and read again piece by piece.
//!
//! Invariant: a piece of a file that is not being written is handed out only
//! while the file's size and time are those that it was hashed with. Which
//! pieces of a file that is being written are there is not known here.

mod finding;
mod hashing;
mod shelf;
mod stamp;
mod tally;

pub(crate) use self::finding::{Skipped, find, share_name};
pub(crate) use self::hashing::{HashProgress, Hashed, News, Offered, hash};
pub(crate) use self::shelf::{Place, Reader, Shelf};
pub(crate) use self::stamp::Stamp;
