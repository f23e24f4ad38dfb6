//! The pieces of a share, numbered through all its files, and sets of them.
//!
//! Files come in the order of the manifest, pieces in the order of the file;
//! folders and empty files have none. Which pieces are wanted or worth asking
//! for is not decided here.

use std::ops::Range;

use fixedbitset::FixedBitSet;

use crate::manifest::{EntryKind, Manifest};
use crate::tree::{piece_count, piece_len};
use crate::wire::{FIELD_PART, PieceRef};

/// Most pieces in one share: 16 TiB in large files.
pub const MAX_PIECES: u64 = 1 << 24;

/// Bits in one block of a [`FixedBitSet`].
const BLOCK_BITS: usize = usize::BITS as usize;

/// Where each file's pieces are in the numbering of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceMap {
    /// For each entry the number of its first piece; one more at the end.
    firsts: Vec<u32>,
    sizes: Vec<u64>,
}

impl PieceMap {
    /// The numbering of a manifest; `None` if it has more than [`MAX_PIECES`].
    pub fn of(manifest: &Manifest) -> Option<PieceMap> {
        let mut firsts = Vec::with_capacity(manifest.entries().len() + 1);
        let mut sizes = Vec::with_capacity(manifest.entries().len());
        let mut next = 0u64;
        for entry in manifest.entries() {
            firsts.push(u32::try_from(next).ok()?);
            let size = match entry.kind {
                EntryKind::File { size, .. } => size,
                EntryKind::Folder { .. } => 0,
            };
            sizes.push(size);
            next += u64::from(piece_count(size));
            if next > MAX_PIECES {
                return None;
            }
        }
        firsts.push(u32::try_from(next).ok()?);
        Some(PieceMap { firsts, sizes })
    }

    /// How many pieces the share has.
    pub fn count(&self) -> u32 {
        self.firsts.last().copied().unwrap_or(0)
    }

    /// How many entries the share has.
    pub fn entries(&self) -> u32 {
        self.sizes.len() as u32
    }

    /// The numbers of a file's pieces; empty for what has none or is not there.
    pub fn of_entry(&self, entry: u32) -> Range<u32> {
        let at = entry as usize;
        match (self.firsts.get(at), self.firsts.get(at + 1)) {
            (Some(&first), Some(&end)) => first..end,
            _ => 0..0,
        }
    }

    /// The number of a piece, if there is such a piece.
    pub fn number(&self, piece: PieceRef) -> Option<u32> {
        let range = self.of_entry(piece.entry);
        let number = range.start.checked_add(piece.piece)?;
        range.contains(&number).then_some(number)
    }

    /// The piece of a number, if there is one.
    pub fn piece(&self, number: u32) -> Option<PieceRef> {
        if number >= self.count() {
            return None;
        }
        // The last entry that begins at or before it: entries without pieces
        // begin where the next one does.
        let entry = self.firsts.partition_point(|first| *first <= number) - 1;
        Some(PieceRef {
            entry: entry as u32,
            piece: number - self.firsts[entry],
        })
    }

    /// Bytes of a piece; 0 if there is none of this number.
    pub fn len(&self, number: u32) -> u32 {
        self.piece(number).map_or(0, |piece| {
            piece_len(self.sizes[piece.entry as usize], piece.piece)
        })
    }

    /// Whether the share has no pieces at all.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// Bytes of a file.
    pub fn size(&self, entry: u32) -> u64 {
        self.sizes.get(entry as usize).copied().unwrap_or(0)
    }
}

/// A set of pieces of one share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PieceSet {
    bits: FixedBitSet,
}

impl PieceSet {
    /// None of `count` pieces.
    pub fn none(count: u32) -> PieceSet {
        PieceSet {
            bits: FixedBitSet::with_capacity(count as usize),
        }
    }

    /// All of `count` pieces.
    pub fn all(count: u32) -> PieceSet {
        let mut set = PieceSet::none(count);
        set.bits.insert_range(..);
        set
    }

    /// How many pieces there could be.
    pub fn capacity(&self) -> u32 {
        self.bits.len() as u32
    }

    /// How many pieces are in it.
    pub fn count(&self) -> u32 {
        self.bits.count_ones(..) as u32
    }

    /// Whether every piece is in it.
    pub fn is_full(&self) -> bool {
        self.bits.is_full()
    }

    /// Whether no piece is in it.
    pub fn is_empty(&self) -> bool {
        self.bits.is_clear()
    }

    /// Whether a piece is in it.
    pub fn contains(&self, number: u32) -> bool {
        self.bits.contains(number as usize)
    }

    /// Puts a piece in; says whether it exists and was not in it.
    pub fn insert(&mut self, number: u32) -> bool {
        number < self.capacity() && !self.bits.put(number as usize)
    }

    /// Takes a piece out; says whether it was in it.
    pub fn remove(&mut self, number: u32) -> bool {
        let was = self.contains(number);
        if was {
            self.bits.set(number as usize, false);
        }
        was
    }

    /// The pieces in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.bits.ones().map(|number| number as u32)
    }

    /// The pieces in it and in `other`, in order.
    pub fn intersection<'s>(&'s self, other: &'s PieceSet) -> impl Iterator<Item = u32> + 's {
        self.bits
            .intersection(&other.bits)
            .map(|number| number as u32)
    }

    /// Whether any piece is in both.
    pub fn meets(&self, other: &PieceSet) -> bool {
        !self.bits.is_disjoint(&other.bits)
    }

    /// The first piece from number `from` on that is in it and in `other`.
    pub fn next_common(&self, other: &PieceSet, from: u32) -> Option<u32> {
        let at = from as usize;
        let (first, bit) = (at / BLOCK_BITS, at % BLOCK_BITS);
        let blocks = self.bits.as_slice().iter().zip(other.bits.as_slice());
        for (block, (mine, theirs)) in blocks.enumerate().skip(first) {
            let mut both = mine & theirs;
            if block == first {
                both &= usize::MAX << bit;
            }
            if both != 0 {
                let number = block * BLOCK_BITS + both.trailing_zeros() as usize;
                return Some(number as u32);
            }
        }
        None
    }

    /// A piece in both, each as likely as the others if `lot` is any number.
    pub fn some_common(&self, other: &PieceSet, lot: u64) -> Option<u32> {
        let count = self.bits.intersection_count(&other.bits);
        let mut skip = lot.checked_rem(count as u64)? as u32;
        let blocks = self.bits.as_slice().iter().zip(other.bits.as_slice());
        for (block, (mine, theirs)) in blocks.enumerate() {
            let mut both = mine & theirs;
            if both.count_ones() <= skip {
                skip -= both.count_ones();
                continue;
            }
            for _ in 0..skip {
                both &= both - 1;
            }
            let number = block * BLOCK_BITS + both.trailing_zeros() as usize;
            return Some(number as u32);
        }
        None
    }

    /// The set as it travels: parts of at most [`FIELD_PART`] bytes, least
    /// significant bit first, each with the piece that it begins at.
    pub fn parts(&self) -> impl Iterator<Item = (u32, Vec<u8>)> + '_ {
        let bytes = (self.bits.len()).div_ceil(8);
        (0..bytes).step_by(FIELD_PART).map(move |from| {
            let to = (from + FIELD_PART).min(bytes);
            let byte = |at: usize| {
                (0..8).fold(0u8, |byte, bit| {
                    byte | (u8::from(self.bits.contains(at * 8 + bit)) << bit)
                })
            };
            ((from * 8) as u32, (from..to).map(byte).collect())
        })
    }

    /// Takes in a part that travelled: what it says of its pieces holds from now
    /// on. `None` if it tells of pieces that there are not.
    pub fn take_part(&mut self, first: u32, bits: &[u8]) -> Option<()> {
        for (at, byte) in bits.iter().enumerate() {
            for bit in 0..8 {
                let number = first as usize + at * 8 + bit;
                let held = byte & (1 << bit) != 0;
                if number < self.bits.len() {
                    self.bits.set(number, held);
                } else if held {
                    return None;
                }
            }
        }
        Some(())
    }
}
