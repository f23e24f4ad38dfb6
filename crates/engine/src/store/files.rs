//! What of a download is on disk: for each file where it is, which of its
//! pieces were verified, and how it was left.

use std::path::Path;
use std::sync::Arc;

use passalong_proto::tree::{FileHashes, piece_count};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Store;
use super::columns::{
    decode_hashes, decode_path, decode_root, decode_stamp, encode_hashes, encode_path,
    encode_stamp, integer, unsigned,
};
use crate::api::Problem;
use crate::sink::{Held, Proof};
use crate::source::Stamp;

/// A file of a download as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredFile {
    /// Its place in the manifest.
    pub(crate) entry: u32,
    /// Where it was when this was written down.
    pub(crate) path: Arc<Path>,
    /// What its size and time were then.
    pub(crate) stamp: Stamp,
    /// What it is verified with.
    pub(crate) hashes: Proof,
    /// Which pieces were verified.
    pub(crate) held: Held,
    /// Whether it has its final name.
    pub(crate) whole: bool,
    /// The run of the system in whose memory its bytes may still be, empty if
    /// that is not known; `None` once they are on the disk for certain.
    pub(crate) boot: Option<String>,
}

impl Store {
    /// The files of a download, in the order of the manifest.
    pub(crate) fn files(&self, id: &str) -> Result<Vec<StoredFile>, Problem> {
        self.rows(
            "SELECT entry, path, size, modified, length, file.root, pieces, whole, boot, hashes
             FROM file LEFT JOIN file_hashes USING (download, entry)
             WHERE download = ?1 ORDER BY entry",
            [id],
            parse_file,
        )
    }

    /// Keeps these files as they are, all or none. Others of the download stay
    /// as they were.
    pub(crate) fn put_files(&self, id: &str, files: &[StoredFile]) -> Result<(), Problem> {
        if files.is_empty() {
            return Ok(());
        }
        self.change(|connection| {
            let mut insert = connection.prepare_cached(
                "INSERT OR REPLACE INTO file
                 (download, entry, path, size, modified, length, root, pieces, whole, boot)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?;
            for file in files {
                let (size, modified) = encode_stamp(file.stamp);
                insert.execute(params![
                    id,
                    file.entry,
                    encode_path(&file.path),
                    size,
                    modified,
                    integer(file.hashes.size()),
                    root_of(file),
                    file.held.as_bytes(),
                    file.whole,
                    file.boot,
                ])?;
                put_hashes(connection, id, file)?;
            }
            Ok(())
        })
    }

    /// The bytes that these files had at these stamps are on the disk for certain.
    pub(crate) fn settle_files(&self, id: &str, files: &[(u32, Stamp)]) -> Result<(), Problem> {
        self.change(|connection| {
            let mut update = connection.prepare_cached(
                "UPDATE file SET boot = NULL
                 WHERE download = ?1 AND entry = ?2 AND size = ?3 AND modified = ?4",
            )?;
            for (entry, stamp) in files {
                let (size, modified) = encode_stamp(*stamp);
                update.execute(params![id, entry, size, modified])?;
            }
            Ok(())
        })
    }

    /// Forgets one file of a download.
    pub(crate) fn remove_file(&self, id: &str, entry: u32) -> Result<(), Problem> {
        self.change(|connection| {
            for query in [
                "DELETE FROM file WHERE download = ?1 AND entry = ?2",
                "DELETE FROM file_hashes WHERE download = ?1 AND entry = ?2",
            ] {
                connection.execute(query, params![id, entry])?;
            }
            Ok(())
        })
    }

    /// Forgets all files of a download.
    pub(crate) fn remove_files(&self, id: &str) -> Result<(), Problem> {
        self.change(|connection| {
            for query in [
                "DELETE FROM file WHERE download = ?1",
                "DELETE FROM file_hashes WHERE download = ?1",
                "DELETE FROM signed_hashes WHERE download = ?1",
            ] {
                connection.execute(query, [id])?;
            }
            Ok(())
        })
    }
}

/// Hashes are many and never change for a root, so they are written once.
fn put_hashes(connection: &Connection, id: &str, file: &StoredFile) -> rusqlite::Result<()> {
    let root = root_of(file);
    if file.hashes.pieces().is_empty() {
        return Ok(());
    }
    let kept = connection
        .prepare_cached("SELECT root FROM file_hashes WHERE download = ?1 AND entry = ?2")?
        .query_row(params![id, file.entry], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    if kept.as_deref() == Some(root) {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO file_hashes (download, entry, root, hashes)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            id,
            file.entry,
            root,
            encode_hashes(file.hashes.pieces()),
        ])
        .map(drop)
}

/// The column of a file's root: empty if that is not known.
fn root_of(file: &StoredFile) -> &[u8] {
    file.hashes
        .hashes()
        .map_or(&[], |hashes| hashes.root_bytes())
}

fn parse_file(row: &Row<'_>) -> Option<StoredFile> {
    let length = unsigned(row, 4)?;
    let root = row.get::<_, Vec<u8>>(5).ok()?;
    let hashes = match row.get::<_, Option<Vec<u8>>>(9).ok()? {
        Some(bytes) => decode_hashes(&bytes)?,
        None => Vec::new(),
    };
    Some(StoredFile {
        entry: row.get(0).ok()?,
        path: decode_path(&row.get::<_, Vec<u8>>(1).ok()?)?.into(),
        stamp: decode_stamp(row.get(2).ok()?, row.get(3).ok()?)?,
        hashes: match root.is_empty() {
            true => Proof::Signed(length),
            false => Arc::new(FileHashes::verify(length, decode_root(&root)?, hashes)?).into(),
        },
        held: Held::from_bytes(piece_count(length), &row.get::<_, Vec<u8>>(6).ok()?)?,
        whole: row.get(7).ok()?,
        boot: row.get(8).ok()?,
    })
}
