//! Missing pieces in the order in which they are worth asking for: the rarest
//! first, equally rare ones in runs, one run for each peer. The first runs begin at
//! a place of one's own; a run goes on until it meets a piece that is not there to
//! be asked for, and the next begins at random. So a file is read in order where
//! that costs nothing, and two who fetch from one source part wherever they meet.
//!
//! Invariant: a missing piece is in exactly one level, that of its copies.

use crate::pieces::PieceSet;

/// Missing pieces that equally many peers hold.
#[derive(Clone, Debug)]
struct Level {
    pieces: PieceSet,
    count: u32,
}

/// How many copies of each piece there are, and which pieces are missing.
#[derive(Clone, Debug)]
pub(super) struct Rarity {
    /// Copies of each piece, not counting peers that hold everything.
    copies: Vec<u32>,
    /// Peers that hold everything.
    full: u32,
    /// Missing pieces by `copies`.
    levels: Vec<Level>,
    /// All of them.
    missing: PieceSet,
    /// Where the first run begins.
    origin: u32,
    /// Runs that were broken off.
    broken: u64,
}

/// How far a search through the missing pieces has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    level: usize,
    /// Where the run goes on.
    run: u32,
    at: u32,
    /// Where the search through this level began, if not with the run.
    began: Option<u32>,
    wrapped: bool,
}

impl Rarity {
    /// `count` pieces that nobody holds and nobody misses.
    pub(super) fn new(count: u32, origin: u32) -> Rarity {
        Rarity {
            copies: vec![0; count as usize],
            full: 0,
            levels: Vec::new(),
            missing: PieceSet::none(count),
            origin,
            broken: 0,
        }
    }

    /// Where the first run begins.
    pub(super) fn origin(&self) -> u32 {
        self.origin
    }

    /// Peers that hold a piece.
    pub(super) fn copies(&self, piece: u32) -> u32 {
        self.full + self.copies.get(piece as usize).copied().unwrap_or(0)
    }

    /// One more peer is there; `full` says that it holds everything, and is to be
    /// said again when it is gone.
    pub(super) fn count(&mut self, held: &PieceSet, full: bool) {
        if full {
            self.full += 1;
        } else {
            held.iter().for_each(|piece| self.add_copy(piece));
        }
    }

    /// A peer that was counted is gone.
    pub(super) fn uncount(&mut self, held: &PieceSet, full: bool) {
        if full {
            self.full = self.full.saturating_sub(1);
        } else {
            held.iter().for_each(|piece| self.remove_copy(piece));
        }
    }

    /// One more peer holds a piece.
    pub(super) fn add_copy(&mut self, piece: u32) {
        self.recount(piece, |copies| copies + 1);
    }

    /// One peer less holds a piece.
    pub(super) fn remove_copy(&mut self, piece: u32) {
        self.recount(piece, |copies| copies.saturating_sub(1));
    }

    /// A piece is missing from now on.
    pub(super) fn insert(&mut self, piece: u32) {
        let Some(&copies) = self.copies.get(piece as usize) else {
            return;
        };
        let count = self.copies.len() as u32;
        let level = copies as usize;
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, || Level {
                pieces: PieceSet::none(0),
                count: 0,
            });
        }
        let level = &mut self.levels[level];
        if level.pieces.capacity() == 0 {
            level.pieces = PieceSet::none(count);
        }
        level.count += u32::from(level.pieces.insert(piece));
        self.missing.insert(piece);
    }

    /// A piece is not missing any more; says whether it was.
    pub(super) fn remove(&mut self, piece: u32) -> bool {
        let copies = self.copies.get(piece as usize);
        let level = copies.and_then(|copies| self.levels.get_mut(*copies as usize));
        let Some(level) = level else {
            return false;
        };
        let was = level.pieces.remove(piece);
        level.count -= u32::from(was);
        self.missing.remove(piece);
        was
    }

    /// Where a search begins that goes on with a run, or with a first one.
    pub(super) fn start(&self, run: Option<u32>) -> Cursor {
        let run = run.unwrap_or(self.origin);
        Cursor {
            level: 0,
            run,
            at: run,
            began: None,
            wrapped: false,
        }
    }

    /// The next missing piece that is in `held`.
    pub(super) fn next(&mut self, held: &PieceSet, cursor: &mut Cursor) -> Option<u32> {
        while let Some(level) = self.levels.get(cursor.level) {
            if level.count > 0 {
                let found = level.pieces.next_common(held, cursor.at);
                if found == Some(cursor.at) {
                    cursor.at += 1;
                    return found;
                }
                let (found, began) = match cursor.began {
                    Some(began) => (found, began),
                    None => {
                        self.broken += 1;
                        let lot = mixed(u64::from(self.origin) + (self.broken << 32));
                        let found = level.pieces.some_common(held, lot);
                        let began = found.unwrap_or(0);
                        cursor.began = Some(began);
                        (found, began)
                    }
                };
                let around = || level.pieces.next_common(held, 0);
                let found = match found {
                    None if !cursor.wrapped => {
                        cursor.wrapped = true;
                        around()
                    }
                    found => found,
                };
                if let Some(piece) = found.filter(|piece| !cursor.wrapped || *piece < began) {
                    cursor.at = piece + 1;
                    return Some(piece);
                }
            }
            *cursor = Cursor {
                level: cursor.level + 1,
                ..self.start(Some(cursor.run))
            };
        }
        None
    }

    /// Whether anything missing is in `held`.
    pub(super) fn any(&self, held: &PieceSet) -> bool {
        self.missing.meets(held)
    }

    fn recount(&mut self, piece: u32, change: impl FnOnce(u32) -> u32) {
        let missing = self.remove(piece);
        if let Some(copies) = self.copies.get_mut(piece as usize) {
            *copies = change(*copies);
        }
        if missing {
            self.insert(piece);
        }
    }
}

/// A random number for each seed: SplitMix64's finaliser, so that seeds next to
/// each other part.
pub(super) fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
