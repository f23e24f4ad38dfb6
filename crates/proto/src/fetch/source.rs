//! What a fetch knows of one peer, beside what the scheduler does.
//!
//! Invariant: `early` is kept only while the peer's list is not the one that is
//! fetched, and is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::listing::Listing;
use crate::pieces::{MAX_PIECES, PieceSet};
use crate::serve::Violation;
use crate::wire::SourceProblem;

/// Hashes of one file that a peer was asked for.
#[derive(Clone, Debug)]
pub(super) struct HashRequest {
    /// The last part, or when they were asked for.
    pub(super) since: Duration,
    /// How many came.
    pub(super) got: u32,
}

/// One connected peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// Outline and edition of the list it has, as it says.
    pub(super) listed: Option<([u8; 32], u64)>,
    /// Whether that list is whole, as it says.
    pub(super) whole: bool,
    /// It was asked for signed hashes of the list that is fetched.
    pub(super) tells_hashes: bool,
    /// Outline of the list that it had before.
    pub(super) listed_before: Option<[u8; 32]>,
    pub(super) listing: Listing,
    pub(super) early: Early,
    /// It has the list that is fetched and takes part.
    pub(super) usable: bool,
    /// It took part with another list: answers from then may still come.
    pub(super) is_past: bool,
    pub(super) choked: Choked,
    pub(super) is_sharer: bool,
    /// What it was told of this side's interest.
    pub(super) told_interest: bool,
    pub(super) hash_requests: BTreeMap<u32, HashRequest>,
    /// Files whose hashes it does not have.
    pub(super) no_hashes: BTreeSet<u32>,
    /// Files that it cannot send.
    pub(super) unavailable: BTreeMap<u32, SourceProblem>,
    /// What it did wrong before that could be seen.
    pub(super) fault: Option<Violation>,
}

impl Source {
    /// It does not take part any more.
    pub(super) fn part(&mut self) {
        self.is_past |= self.usable;
        self.usable = false;
        self.unavailable.clear();
        self.no_hashes.clear();
        self.hash_requests.clear();
        self.tells_hashes = false;
    }

    /// Whether it says that its list is newer than that of an edition.
    pub(super) fn is_ahead_of(&self, known: u64) -> bool {
        self.listed.is_none_or(|(_, edition)| edition > known)
    }
}

/// Whether requests are answered; every link begins choked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choked(pub(super) bool);

impl Default for Choked {
    fn default() -> Self {
        Choked(true)
    }
}

/// What a peer said that it holds before its list was known here.
#[derive(Clone, Debug, Default)]
pub(super) enum Early {
    /// Nothing.
    #[default]
    None,
    /// Everything.
    All,
    /// These; the set is as long as it has to be.
    Some(PieceSet),
}

impl Early {
    /// Bytes that it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Early::None | Early::All => 0,
            Early::Some(set) => set.capacity() as usize / 8,
        }
    }

    /// Takes in a part of a bitfield, growing by at most `room` bytes.
    pub(super) fn take_part(
        &mut self,
        first: u32,
        bits: &[u8],
        room: usize,
    ) -> Result<(), Violation> {
        let end = u64::from(first) + 8 * bits.len() as u64;
        if end > MAX_PIECES {
            return Err(Violation("it holds pieces that do not exist"));
        }
        let Some(set) = self.grown(end as u32, room) else {
            return Ok(());
        };
        set.take_part(first, bits)
            .ok_or(Violation("it holds pieces that do not exist"))
    }

    /// Takes in single pieces, growing by at most `room` bytes.
    pub(super) fn take(&mut self, pieces: &[u32], room: usize) -> Result<(), Violation> {
        let Some(last) = pieces.iter().max() else {
            return Ok(());
        };
        if u64::from(*last) >= MAX_PIECES {
            return Err(Violation("it holds pieces that do not exist"));
        }
        if !matches!(self, Early::All)
            && let Some(set) = self.grown(last + 1, room)
        {
            for piece in pieces {
                set.insert(*piece);
            }
        }
        Ok(())
    }

    /// The same for a share of `count` pieces, if it tells of no others.
    pub(super) fn of_count(&self, count: u32) -> Option<PieceSet> {
        match self {
            Early::None => Some(PieceSet::none(count)),
            Early::All => Some(PieceSet::all(count)),
            Early::Some(set) => {
                let mut held = PieceSet::none(count);
                for piece in set.iter() {
                    if piece >= count {
                        return None;
                    }
                    held.insert(piece);
                }
                Some(held)
            }
        }
    }

    fn grown(&mut self, count: u32, room: usize) -> Option<&mut PieceSet> {
        if !matches!(self, Early::Some(_)) {
            *self = Early::Some(PieceSet::none(0));
        }
        let Early::Some(set) = self else {
            return None;
        };
        if set.capacity() < count {
            // In steps, so that a set that grows piece by piece is copied seldom.
            let count = count.next_multiple_of(8192);
            if (count - set.capacity()) as usize / 8 > room {
                return None;
            }
            let mut longer = PieceSet::none(count);
            set.iter().for_each(|piece| {
                longer.insert(piece);
            });
            *set = longer;
        }
        Some(set)
    }
}
