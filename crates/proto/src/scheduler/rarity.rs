//! Missing pieces in the order in which they are worth asking for: the rarest
//! first, equally rare ones in runs, one run for each peer, from a place of one's
//! own onwards and around, and where a run meets what others have, from another
//! place, any as likely as the next. A lone source is read in sequence by that, and
//! those who read it at once keep apart.
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
    count: u32,
    /// Where the first run begins.
    origin: u32,
    dice: Dice,
}

impl Rarity {
    /// `count` pieces that nobody holds and nobody misses.
    pub(super) fn new(count: u32, seed: u64) -> Rarity {
        let mut dice = Dice(seed);
        let origin = (dice.next() % u64::from(count.max(1))) as u32;
        Rarity {
            copies: vec![0; count as usize],
            full: 0,
            levels: Vec::new(),
            missing: PieceSet::none(count),
            count: 0,
            origin,
            dice,
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
        self.count += u32::from(self.missing.insert(piece));
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
        self.count -= u32::from(self.missing.remove(piece));
        was
    }

    /// The missing piece in `held` to ask for next, where the peer's run goes on at
    /// `run`, if it has one. `from` is the first level that may have one, at first
    /// 0, and is moved on.
    pub(super) fn next(
        &mut self,
        held: &PieceSet,
        run: Option<u32>,
        from: &mut usize,
    ) -> Option<u32> {
        let at = run.unwrap_or(self.origin) % (self.copies.len() as u32).max(1);
        while let Some(level) = self.levels.get(*from) {
            if level.count > 0 {
                let piece = if level.pieces.contains(at) && held.contains(at) {
                    Some(at)
                } else {
                    level.pieces.some_common(held, self.dice.next())
                };
                if piece.is_some() {
                    return piece;
                }
            }
            *from += 1;
        }
        None
    }

    /// Whether nothing is missing.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
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

/// Numbers that look random: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Copy, Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
