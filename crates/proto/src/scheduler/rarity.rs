//! Missing pieces in the order in which they are worth asking for: the rarest
//! first, equally rare ones from a place of one's own onwards and around.
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
    /// Where to begin among equally rare pieces.
    origin: u32,
}

/// How far a search through the missing pieces has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    level: usize,
    at: u32,
    wrapped: bool,
}

impl Rarity {
    /// `count` pieces that nobody holds and nobody misses.
    pub(super) fn new(count: u32, origin: u32) -> Rarity {
        Rarity {
            copies: vec![0; count as usize],
            full: 0,
            levels: Vec::new(),
            origin,
        }
    }

    /// Where equally rare pieces begin.
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
        was
    }

    /// Where a search begins.
    pub(super) fn start(&self) -> Cursor {
        Cursor {
            level: 0,
            at: self.origin,
            wrapped: false,
        }
    }

    /// The next missing piece that is in `held`.
    pub(super) fn next(&self, held: &PieceSet, cursor: &mut Cursor) -> Option<u32> {
        while let Some(level) = self.levels.get(cursor.level) {
            if level.count > 0 {
                if !cursor.wrapped {
                    if let Some(piece) = level.pieces.next_common(held, cursor.at) {
                        cursor.at = piece + 1;
                        return Some(piece);
                    }
                    cursor.wrapped = true;
                    cursor.at = 0;
                }
                let piece = level.pieces.next_common(held, cursor.at);
                if let Some(piece) = piece.filter(|piece| *piece < self.origin) {
                    cursor.at = piece + 1;
                    return Some(piece);
                }
            }
            *cursor = Cursor {
                level: cursor.level + 1,
                ..self.start()
            };
        }
        None
    }

    /// Whether anything missing is in `held`.
    pub(super) fn any(&self, held: &PieceSet) -> bool {
        let mut levels = self.levels.iter();
        levels.any(|level| level.count > 0 && level.pieces.meets(held))
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
