//! What the pieces of one file are verified with.

use std::sync::Arc;

use passalong_proto::tree::{FileHashes, PieceHash, Root};

/// By whose word a piece of a file is right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Proof {
    /// The root in the list, and the hashes that come out at it.
    Root(Arc<FileHashes>),
    /// Hashes that the sharer signed one run at a time, of a file of so many bytes. They
    /// are kept for the whole download.
    Signed(u64),
}

impl Proof {
    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Proof::Root(hashes) => hashes.size(),
            Proof::Signed(size) => *size,
        }
    }

    /// The file's root, if it is known.
    pub(crate) fn root(&self) -> Option<Root> {
        self.hashes().map(|hashes| hashes.root())
    }

    /// All its hashes, if they are known.
    pub(crate) fn hashes(&self) -> Option<&Arc<FileHashes>> {
        match self {
            Proof::Root(hashes) => Some(hashes),
            Proof::Signed(_) => None,
        }
    }

    /// Its piece hashes; none of a file of one piece or none, or of which not all are
    /// known.
    pub(crate) fn pieces(&self) -> &[PieceHash] {
        self.hashes().map_or(&[], |hashes| hashes.pieces())
    }
}

impl From<Arc<FileHashes>> for Proof {
    fn from(hashes: Arc<FileHashes>) -> Proof {
        Proof::Root(hashes)
    }
}
