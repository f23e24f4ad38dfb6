//! What the sharer of a download signed while its list was not whole: needed until every
//! file that was begun under that list is whole.

use passalong_proto::signed_hashes::SignedHashes;
use rusqlite::params;

use super::Store;
use super::columns::{decode_hashes, encode_hashes};
use crate::api::Problem;

impl Store {
    /// The signed hashes of a download. Whose word they are is found out by checking
    /// them against the list.
    pub(crate) fn signed_hashes(&self, id: &str) -> Result<Vec<SignedHashes>, Problem> {
        self.rows(
            "SELECT first, hashes, signature FROM signed_hashes
             WHERE download = ?1 ORDER BY first",
            [id],
            |row| {
                let hashes = decode_hashes(row.get_ref(1).ok()?.as_blob().ok()?)?;
                let (first, signature) = (row.get(0).ok()?, row.get(2).ok()?);
                SignedHashes::parse(first, hashes, signature, u32::MAX)
            },
        )
    }

    /// Adds signed hashes to those of a download.
    pub(crate) fn add_signed_hashes(
        &self,
        id: &str,
        parts: &[SignedHashes],
    ) -> Result<(), Problem> {
        if parts.is_empty() {
            return Ok(());
        }
        self.change(|connection| {
            let mut insert = connection.prepare_cached(
                "INSERT OR REPLACE INTO signed_hashes (download, first, hashes, signature)
                 VALUES (?1, ?2, ?3, ?4)",
            )?;
            for part in parts {
                insert.execute(params![
                    id,
                    part.pieces().start,
                    encode_hashes(part.hashes()),
                    part.signature(),
                ])?;
            }
            Ok(())
        })
    }

    /// Forgets the signed hashes of a download, and what is known of files that were
    /// verified by them alone: its list is another one.
    pub(crate) fn forget_signed_hashes(&self, id: &str) -> Result<(), Problem> {
        self.change(|connection| {
            for query in [
                "DELETE FROM signed_hashes WHERE download = ?1",
                "DELETE FROM file WHERE download = ?1 AND length(root) = 0",
            ] {
                connection.execute(query, [id])?;
            }
            Ok(())
        })
    }
}
