//! How values are laid out in columns, and read back: whatever a column holds,
//! reading gives a value of the right type or nothing.

use std::path::{Path, PathBuf};

use passalong_proto::tree::{PieceHash, Root};
use rusqlite::Row;

use crate::source::Stamp;

/// Bytes of one hash.
const HASH_LEN: usize = 32;

/// SQLite's integers are signed; what does not fit is as good as endless.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A column of a row that is no negative number.
pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Option<u64> {
    u64::try_from(row.get::<_, i64>(column).ok()?).ok()
}

/// Paths may hold any bytes but NUL, so NUL separates them.
pub(super) fn encode_paths(paths: &[PathBuf]) -> Vec<u8> {
    paths
        .iter()
        .map(|path| encode_path(path))
        .collect::<Vec<_>>()
        .join(&0)
}

pub(super) fn decode_paths(bytes: &[u8]) -> Vec<PathBuf> {
    bytes.split(|b| *b == 0).filter_map(decode_path).collect()
}

pub(super) fn encode_path(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// `None` for what cannot be a path.
#[cfg(unix)]
pub(super) fn decode_path(bytes: &[u8]) -> Option<PathBuf> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let is_path = !bytes.is_empty() && !bytes.contains(&0);
    is_path.then(|| PathBuf::from(OsStr::from_bytes(bytes)))
}

/// `None` for what cannot be a path.
#[cfg(not(unix))]
pub(super) fn decode_path(bytes: &[u8]) -> Option<PathBuf> {
    let is_path = !bytes.is_empty() && !bytes.contains(&0);
    is_path.then(|| PathBuf::from(String::from_utf8_lossy(bytes).into_owned()))
}

/// The two columns of a stamp: size, and time in nanoseconds.
pub(super) fn encode_stamp(stamp: Stamp) -> (i64, Option<i64>) {
    (integer(stamp.size()), stamp.nanos())
}

pub(super) fn decode_stamp(size: i64, nanos: Option<i64>) -> Option<Stamp> {
    Some(Stamp::new(u64::try_from(size).ok()?, nanos))
}

pub(super) fn decode_root(bytes: &[u8]) -> Option<Root> {
    bytes.try_into().ok().map(Root)
}

pub(super) fn encode_hashes(hashes: &[PieceHash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// `None` if the bytes are no whole number of hashes.
pub(super) fn decode_hashes(bytes: &[u8]) -> Option<Vec<PieceHash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_LEN>();
    rest.is_empty()
        .then(|| hashes.iter().map(|hash| PieceHash(*hash)).collect())
}

/// Entries of a manifest, four bytes each.
pub(super) fn encode_entries(entries: &[u32]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect()
}

/// `None` if the bytes are no whole number of entries.
pub(super) fn decode_entries(bytes: &[u8]) -> Option<Vec<u32>> {
    let (entries, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| {
        entries
            .iter()
            .map(|entry| u32::from_le_bytes(*entry))
            .collect()
    })
}
