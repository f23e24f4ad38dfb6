//! Piece hashes that the sharer signs while it is still hashing.
//!
//! A list that is not whole does not vouch for the pieces of every file. Until it is,
//! the share key signs the hashes of runs of pieces as they become known, each bound to
//! the list's outline and to its place in the numbering of the share. Whoever has them
//! passes them on as they are. Of a file of one piece the hash is the file's root, of
//! others those of [`crate::tree`]: so when all hashes of a file are signed, so is its
//! root.
//!
//! Invariant: a [`HashLog`] has one hash for a piece, whoever told it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::invite::InviteSecret;
use crate::keys::{self, ShareKey};
use crate::tree::{FileHashes, PieceHash, Root, hash_count, piece_count};
use crate::wire::{HASHES_PER_MESSAGE, Message};

const SIGNATURE_CONTEXT: &str = "passalong v1 signed piece hashes";

/// The hashes of some pieces in a row, with the sharer's word for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHashes {
    first: u32,
    hashes: Arc<[PieceHash]>,
    signature: [u8; 64],
}

impl SignedHashes {
    /// Hashes as somebody sends them, or a record has them: whose word they are is not
    /// known yet. `None` if there are none, too many, or more than there are pieces.
    pub fn parse(
        first: u32,
        hashes: Vec<PieceHash>,
        signature: [u8; 64],
        pieces: u32,
    ) -> Option<SignedHashes> {
        let length = u32::try_from(hashes.len()).ok()?;
        let fits = first.checked_add(length).is_some_and(|end| end <= pieces);
        let within = fits && (1..=HASHES_PER_MESSAGE).contains(&hashes.len());
        within.then(|| SignedHashes {
            first,
            hashes: hashes.into(),
            signature,
        })
    }

    /// Signs the hashes of the pieces from number `first` on, for the list of this
    /// [outline](crate::manifest::Manifest::outline). To be sent they have to be
    /// [`HASHES_PER_MESSAGE`] at most.
    pub fn sign(
        key: &ShareKey,
        outline: &[u8; 32],
        first: u32,
        hashes: Vec<PieceHash>,
    ) -> SignedHashes {
        SignedHashes {
            first,
            signature: key.sign(&statement(outline, first, &hashes)),
            hashes: hashes.into(),
        }
    }

    /// Whether the share key that the invite commits to signed this, for the list of
    /// this outline.
    pub fn is_genuine(
        &self,
        secret: &InviteSecret,
        public_key: &[u8; 32],
        outline: &[u8; 32],
    ) -> bool {
        let statement = statement(outline, self.first, &self.hashes);
        keys::is_from_sharer(secret, public_key, &statement, &self.signature)
    }

    /// The numbers of the pieces.
    pub fn pieces(&self) -> Range<u32> {
        // No more than there are pieces: as parsed, or made by the sharer itself.
        self.first..self.first.saturating_add(self.hashes.len() as u32)
    }

    /// The hashes of the pieces.
    pub fn hashes(&self) -> &[PieceHash] {
        &self.hashes
    }

    /// The sharer's signature.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// What to tell others.
    pub fn message(&self) -> Message {
        Message::SignedHashes {
            first: self.first,
            hashes: self.hashes.to_vec(),
            signature: self.signature.into(),
        }
    }
}

fn statement(outline: &[u8; 32], first: u32, hashes: &[PieceHash]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(SIGNATURE_CONTEXT);
    hasher.update(outline);
    hasher.update(&first.to_le_bytes());
    for hash in hashes {
        hasher.update(&hash.0);
    }
    *hasher.finalize().as_bytes()
}

/// A sharer's word against another word of the same sharer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sharer signed two different hashes for the same piece")]
pub struct Contradiction;

/// All signed hashes of one list that are known. Clones share the hashes.
#[derive(Clone, Debug, Default)]
pub struct HashLog {
    /// As they came, each with at least one piece that those before lack.
    parts: Vec<SignedHashes>,
    /// The part that has a piece's hash: for pieces from the key on, up to the number.
    known: BTreeMap<u32, (u32, usize)>,
}

impl HashLog {
    /// Takes in hashes that are known to be genuine. Says whether any is new.
    ///
    /// # Errors
    ///
    /// Another hash of one of the pieces is known; nothing is taken in then.
    pub fn add(&mut self, part: SignedHashes) -> Result<bool, Contradiction> {
        let mut lacking = Vec::new();
        for (number, hash) in part.pieces().zip(part.hashes()) {
            match self.hash(number) {
                Some(known) if known != *hash => return Err(Contradiction),
                Some(_) => {}
                None => lacking.push(number),
            }
        }
        let place = self.parts.len();
        for run in lacking.chunk_by(|a, b| a + 1 == *b) {
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                self.known.insert(*first, (last + 1, place));
            }
        }
        if !lacking.is_empty() {
            self.parts.push(part);
        }
        Ok(!lacking.is_empty())
    }

    /// Whether everything that a part tells is known.
    pub fn has(&self, part: &SignedHashes) -> bool {
        let mut told = part.pieces().zip(part.hashes());
        told.all(|(number, hash)| self.hash(number) == Some(*hash))
    }

    /// The hash of a piece.
    pub fn hash(&self, number: u32) -> Option<PieceHash> {
        let (_, (end, place)) = self.known.range(..=number).next_back()?;
        let part = self.parts.get(*place).filter(|_| number < *end)?;
        let at = number.checked_sub(part.first)?;
        part.hashes.get(at as usize).copied()
    }

    /// Whether the hashes of all these pieces are known.
    pub fn covers(&self, pieces: Range<u32>) -> bool {
        let mut next = pieces.start;
        while next < pieces.end {
            match self.known.range(..=next).next_back() {
                Some((_, (end, _))) if *end > next => next = *end,
                _ => return false,
            }
        }
        true
    }

    /// All hashes of a file of `size` bytes whose pieces have these numbers, once they
    /// are known.
    pub fn file(&self, size: u64, pieces: Range<u32>) -> Option<FileHashes> {
        if pieces.len() != piece_count(size) as usize || !self.covers(pieces.clone()) {
            return None;
        }
        let mut hashes: Vec<PieceHash> = pieces.filter_map(|number| self.hash(number)).collect();
        let root = match hash_count(size) {
            0 => Root(hashes.pop()?.0),
            _ => crate::tree::root_of(size, &hashes)?,
        };
        FileHashes::verify(size, root, hashes)
    }

    /// The first piece whose hash is not known.
    pub fn first_unknown(&self) -> u32 {
        let mut next = 0;
        while let Some((_, (end, _))) = self.known.range(..=next).next_back() {
            if *end <= next {
                break;
            }
            next = *end;
        }
        next
    }

    /// What came, in the order in which it came.
    pub fn parts(&self) -> &[SignedHashes] {
        &self.parts
    }
}
