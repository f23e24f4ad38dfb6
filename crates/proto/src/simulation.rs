//! A whole swarm in one process, on a virtual clock: the scheduler, the upload
//! slots and the membership that the engine runs, over modelled links.
//!
//! Time goes in steps of [`STEP`]. A message takes its way through an event
//! queue, file bytes flow at rates that share every line fairly. The same
//! scenario gives the same outcome, to the bit. There are no packets, no disks
//! and no hashing in here, and nobody lies; see `docs/swarm.md` for what else is
//! left out.

use std::time::Duration;

pub use plot::{Line, Plot};

mod events;
mod lines;
mod peer;
mod plot;
mod world;

/// What time is divided into.
pub const STEP: Duration = Duration::from_millis(15);

/// Who leaves while the others are still fetching. Nobody says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Everybody stays.
    Nobody,
    /// This many of a hundred receivers, all at once, when half of all pieces
    /// have reached their receivers.
    Crowd {
        /// Of a hundred.
        percent: usize,
    },
    /// The sharer, as soon as each piece is somewhere else as well.
    Sharer,
}

/// A swarm to simulate: one sharer, and receivers who all come through it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// How many receive.
    pub receivers: usize,
    /// Pieces of the share.
    pub pieces: u32,
    /// Bytes of a piece.
    pub piece_bytes: u32,
    /// Bytes a second that everybody can send.
    pub up: f64,
    /// Bytes a second that everybody can receive.
    pub down: f64,
    /// Round trip between any two.
    pub trip: Duration,
    /// Part of everything that is lost and sent again, 0 to 1.
    pub loss: f64,
    /// Upload slots of everybody.
    pub slots: usize,
    /// The receivers come at random times within this.
    pub arrival: Duration,
    /// Who leaves.
    pub departure: Departure,
    /// Decides everything that is random.
    pub seed: u64,
    /// When to stop, finished or not.
    pub limit: Duration,
}

impl Scenario {
    /// A gigabyte (1024 pieces of 1 MiB) for so many receivers on lines of
    /// 20 MB/s each way, 30 ms apart.
    pub fn of(receivers: usize) -> Scenario {
        Scenario {
            receivers,
            pieces: 1024,
            piece_bytes: 1024 * 1024,
            up: 20e6,
            down: 20e6,
            trip: Duration::from_millis(30),
            loss: 0.001,
            slots: 8,
            arrival: Duration::from_secs(2),
            departure: Departure::Nobody,
            seed: 1,
            limit: Duration::from_secs(3600),
        }
    }

    /// Runs it to the end.
    pub fn run(&self) -> Outcome {
        world::World::new(self).run()
    }
}

/// What came of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Receivers who did not leave.
    pub stayed: usize,
    /// Of those, how many have everything.
    pub complete: usize,
    /// When the last of them had it; if not all have, when it was stopped.
    pub all: Duration,
    /// When half of them had it.
    pub half: Duration,
    /// When each piece was somewhere beside the sharer.
    pub spread: Duration,
    /// Most links of anybody at any time.
    pub most_links: usize,
    /// Links of everybody, on average over time.
    pub mean_links: f64,
    /// Bytes of gossip that everybody sends in a second, on average.
    pub gossip_rate: f64,
    /// What the sharer sent, in sizes of the share.
    pub sharer_sent: f64,
    /// What came to receivers that had no need of it, of all that came.
    pub wasted: f64,
    /// Breaches of the protocol seen by anybody; none if all is well.
    pub violations: usize,
}
