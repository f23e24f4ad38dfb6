//! Pieces and the BLAKE3 tree over them.
//!
//! A piece is 1 MiB of one file, the last one shorter. A piece's hash is the chaining
//! value of its subtree, so any piece from anyone verifies alone and the root equals
//! what `b3sum` prints for the file (BLAKE3 paper, 2.1; `blake3::hazmat`). A list of
//! piece hashes becomes [`FileHashes`] only when it comes out at the root.
//!
//! A file of one piece or none has no piece hashes: its one piece is checked against
//! the root itself. Nothing in here reads files.

use std::fmt;

use blake3::Hasher;
use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};
use serde::{Deserialize, Serialize};

/// Bytes in every piece of a file but the last.
pub const PIECE_LEN: u64 = 1 << 20;

/// The largest file, in bytes, whose pieces can be counted: just under 4 PiB.
pub const MAX_FILE_LEN: u64 = PIECE_LEN * (u32::MAX as u64);

/// How many pieces a file of `size` bytes has; none when it is empty. Sizes over
/// [`MAX_FILE_LEN`] give `u32::MAX`.
pub fn piece_count(size: u64) -> u32 {
    u32::try_from(size.div_ceil(PIECE_LEN)).unwrap_or(u32::MAX)
}

/// How many bytes the piece `index` of a file of `size` bytes has; 0 when there is
/// no such piece.
pub fn piece_len(size: u64, index: u32) -> u32 {
    let behind = size.saturating_sub(u64::from(index) * PIECE_LEN);
    // At most 2²⁰.
    behind.min(PIECE_LEN) as u32
}

/// How many piece hashes a file of `size` bytes has: one for each piece, none for a
/// file that its root alone verifies.
pub fn hash_count(size: u64) -> u32 {
    match piece_count(size) {
        1 => 0,
        count => count,
    }
}

/// The BLAKE3 hash of a whole file. `Display` gives 64 hexadecimal digits, as `b3sum`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Root(pub [u8; 32]);

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

/// The chaining value of one piece's subtree, in a file of at least two pieces. It
/// depends on where in the file the piece is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PieceHash(pub [u8; 32]);

impl fmt::Debug for PieceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PieceHash({})", blake3::Hash::from_bytes(self.0))
    }
}

/// The hash of piece `index`, which holds `bytes`, in a file of at least two pieces.
///
/// # Panics
///
/// When `bytes` is empty or longer than [`PIECE_LEN`]: there is no such piece.
pub fn piece_hash(index: u32, bytes: &[u8]) -> PieceHash {
    assert!(
        !bytes.is_empty() && bytes.len() as u64 <= PIECE_LEN,
        "a piece has between 1 byte and 1 MiB, not {} bytes",
        bytes.len()
    );
    let mut hasher = Hasher::new();
    hasher.set_input_offset(u64::from(index) * PIECE_LEN);
    PieceHash(hasher.update(bytes).finalize_non_root())
}

/// Whether `bytes` are piece `index` of a file of `size` bytes: of the right length,
/// and with this hash. Of a file of one piece the hash is the file's root.
pub fn is_piece(size: u64, index: u32, bytes: &[u8], hash: PieceHash) -> bool {
    if bytes.is_empty() || bytes.len() as u64 != u64::from(piece_len(size, index)) {
        return false;
    }
    match piece_count(size) {
        1 => single_piece_root(bytes).0 == hash.0,
        _ => piece_hash(index, bytes) == hash,
    }
}

/// The root of a file that is one piece, or empty: the plain BLAKE3 hash.
pub fn single_piece_root(bytes: &[u8]) -> Root {
    Root(*blake3::hash(bytes).as_bytes())
}

/// The root of a file of `size` bytes from the hashes of all its pieces, in order.
/// `None` when a file of that size has no piece hashes or another number of them.
pub fn root_of(size: u64, hashes: &[PieceHash]) -> Option<Root> {
    if hashes.len() < 2 || size > MAX_FILE_LEN || hashes.len() != hash_count(size) as usize {
        return None;
    }
    let (left, right) = halves(hashes);
    let root = hazmat::merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
    Some(Root(*root.as_bytes()))
}

fn subtree(hashes: &[PieceHash]) -> ChainingValue {
    if let [PieceHash(leaf)] = hashes {
        return *leaf;
    }
    let (left, right) = halves(hashes);
    hazmat::merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

/// Two or more leaves, parted where the tree parts them: the left side is the largest
/// power of two that leaves something to the right. As every piece but the last is a
/// full power of two of chunks, this is BLAKE3's own rule.
fn halves(hashes: &[PieceHash]) -> (&[PieceHash], &[PieceHash]) {
    hashes.split_at(hashes.len().div_ceil(2).next_power_of_two())
}

/// All that is needed to verify any piece of one file. It exists only if it agrees
/// with the file's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHashes {
    size: u64,
    root: Root,
    pieces: Vec<PieceHash>,
}

impl FileHashes {
    /// The hashes of a file of `size` bytes, if they come out at `root`. A file of
    /// one piece or none takes an empty list.
    pub fn verify(size: u64, root: Root, pieces: Vec<PieceHash>) -> Option<FileHashes> {
        let whole = pieces.is_empty() && hash_count(size) == 0;
        (whole || root_of(size, &pieces) == Some(root)).then_some(FileHashes { size, root, pieces })
    }

    /// The hashes of a file of one piece or none, which need no list; `None` when
    /// `size` is more than one piece.
    pub fn single(root: Root, size: u64) -> Option<FileHashes> {
        FileHashes::verify(size, root, Vec::new())
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file's BLAKE3 hash.
    pub fn root(&self) -> Root {
        self.root
    }

    /// The bytes of the file's BLAKE3 hash.
    pub fn root_bytes(&self) -> &[u8; 32] {
        &self.root.0
    }

    /// The piece hashes, in order; none for a file of one piece or none.
    pub fn pieces(&self) -> &[PieceHash] {
        &self.pieces
    }

    /// Whether `bytes` are what the file holds at piece `index`: of the right length
    /// and with the right hash.
    pub fn verify_piece(&self, index: u32, bytes: &[u8]) -> bool {
        let hash = self.pieces.get(index as usize).copied();
        is_piece(
            self.size,
            index,
            bytes,
            hash.unwrap_or(PieceHash(self.root.0)),
        )
    }
}

/// Hashes a file as it is read from beginning to end, in whatever portions.
#[derive(Clone, Debug, Default)]
pub struct FileHasher {
    /// The piece that is not yet full, or full but maybe the last.
    piece: Hasher,
    size: u64,
    done: Vec<PieceHash>,
}

impl FileHasher {
    /// At the beginning of a file.
    pub fn new() -> FileHasher {
        FileHasher::default()
    }

    /// Takes the next bytes of the file. Portions of 64 KiB and more are quickest.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.size - self.done.len() as u64 * PIECE_LEN;
            if taken == PIECE_LEN {
                self.done.push(PieceHash(self.piece.finalize_non_root()));
                self.piece = Hasher::new();
                self.piece.set_input_offset(self.size);
                continue;
            }
            // At most 2²⁰.
            let room = (PIECE_LEN - taken) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.piece.update(now);
            self.size += now.len() as u64;
            bytes = later;
        }
    }

    /// How many bytes were taken so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the file that ends here.
    pub fn finish(mut self) -> FileHashes {
        if !self.done.is_empty() {
            self.done.push(PieceHash(self.piece.finalize_non_root()));
        }
        let root = root_of(self.size, &self.done)
            .unwrap_or_else(|| Root(*self.piece.finalize().as_bytes()));
        FileHashes {
            size: self.size,
            root,
            pieces: self.done,
        }
    }
}
