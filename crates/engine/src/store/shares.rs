//! Shares of one's own, and the hashes of their files.

use std::path::PathBuf;

use passalong_proto::keys::ShareKey;
use passalong_proto::tree::{hash_count, root_of};
use rusqlite::{Connection, Row, params};

use super::Store;
use super::columns::{
    decode_hashes, decode_path, decode_paths, decode_root, decode_stamp, encode_hashes,
    encode_path, encode_paths, encode_stamp, integer, unsigned,
};
use crate::api::{Audience, Problem};
use crate::source::Hashed;

/// A share as it is kept.
#[derive(Clone)]
pub(crate) struct StoredShare {
    pub(crate) key: ShareKey,
    pub(crate) name: String,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) audience: Audience,
    pub(crate) created_at: u64,
    pub(crate) stopped: bool,
    /// Nothing goes out until the person lets it go on.
    pub(crate) paused: bool,
}

impl Store {
    /// All shares, oldest first, stopped ones included: their codes are
    /// answered with "stopped".
    pub(crate) fn shares(&self) -> Result<Vec<StoredShare>, Problem> {
        self.rows(
            "SELECT seed, name, paths, audience, created_at, stopped, paused
             FROM share ORDER BY created_at",
            [],
            parse_share,
        )
    }

    pub(crate) fn put_share(&self, share: &StoredShare) -> Result<(), Problem> {
        let audience = match share.audience {
            Audience::Anyone => "anyone",
            Audience::OnePerson => "onePerson",
        };
        self.change(|connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO share
                     (id, seed, name, paths, audience, created_at, stopped, paused)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    share.key.secret().id(),
                    share.key.seed(),
                    share.name,
                    encode_paths(&share.paths),
                    audience,
                    integer(share.created_at),
                    share.stopped,
                    share.paused,
                ])
                .map(drop)
        })
    }

    /// The files of a share as they were hashed.
    pub(crate) fn share_files(&self, id: &str) -> Result<Vec<Hashed>, Problem> {
        self.rows(
            "SELECT entry, path, size, modified, root, hashes
             FROM share_file WHERE share = ?1 ORDER BY entry",
            [id],
            parse_hashed,
        )
    }

    /// Adds these to the hashes of a share's files.
    pub(crate) fn add_share_files(&self, id: &str, files: &[Hashed]) -> Result<(), Problem> {
        self.change(|connection| insert_share_files(connection, id, files))
    }

    /// Keeps these hashes of a share's files, and no others.
    pub(crate) fn put_share_files(&self, id: &str, files: &[Hashed]) -> Result<(), Problem> {
        self.change(|connection| {
            connection.execute("DELETE FROM share_file WHERE share = ?1", [id])?;
            insert_share_files(connection, id, files)
        })
    }
}

fn insert_share_files(connection: &Connection, id: &str, files: &[Hashed]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO share_file
         (share, entry, path, size, modified, root, hashes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for file in files {
        let (size, modified) = encode_stamp(file.stamp);
        insert.execute(params![
            id,
            file.entry,
            encode_path(&file.path),
            size,
            modified,
            file.root.0,
            encode_hashes(&file.hashes),
        ])?;
    }
    Ok(())
}

fn parse_share(row: &Row<'_>) -> Option<StoredShare> {
    let audience = match row.get::<_, String>(3).ok()?.as_str() {
        "onePerson" => Audience::OnePerson,
        "anyone" => Audience::Anyone,
        _ => return None,
    };
    Some(StoredShare {
        key: ShareKey::from_seed(row.get(0).ok()?),
        name: row.get(1).ok()?,
        paths: decode_paths(&row.get::<_, Vec<u8>>(2).ok()?),
        audience,
        created_at: unsigned(row, 4)?,
        stopped: row.get(5).ok()?,
        paused: row.get(6).ok()?,
    })
}

fn parse_hashed(row: &Row<'_>) -> Option<Hashed> {
    let stamp = decode_stamp(row.get(2).ok()?, row.get(3).ok()?)?;
    let root = decode_root(&row.get::<_, Vec<u8>>(4).ok()?)?;
    let hashes = decode_hashes(&row.get::<_, Vec<u8>>(5).ok()?)?;
    let sound = match hash_count(stamp.size()) {
        0 => hashes.is_empty(),
        _ => root_of(stamp.size(), &hashes) == Some(root),
    };
    sound.then_some(Hashed {
        entry: row.get(0).ok()?,
        path: decode_path(&row.get::<_, Vec<u8>>(1).ok()?)?.into(),
        stamp,
        root,
        hashes: hashes.into(),
    })
}
