//! One hand-over of files from disk to disk, whoever makes it.

use std::path::PathBuf;
use std::time::Duration;

use passalong_netns::Used;

/// What came of a hand-over.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// From starting the receiver to the last byte, or `None` if the limit
    /// of time came before.
    pub(crate) seconds: Option<Duration>,
    /// The folder that it was received in.
    pub(crate) arrived: PathBuf,
    /// How long the sender took to be ready.
    pub(crate) preparing: Duration,
    /// From accepting to the first byte, where it is told.
    pub(crate) first_byte: Option<Duration>,
    pub(crate) sender: Side,
    pub(crate) receiver: Side,
}

/// What a side had taken before and after.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) before: Used,
    pub(crate) after: Used,
}
