//! The database file: its migrations, and whether it can be trusted at all.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

/// Each entry takes the schema one version further; `user_version` counts them.
/// An entry is never changed after a release.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE value (name TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
    CREATE TABLE share (
        id TEXT PRIMARY KEY,
        seed BLOB NOT NULL CHECK (length(seed) = 32),
        name TEXT NOT NULL,
        paths BLOB NOT NULL,
        audience TEXT NOT NULL CHECK (audience IN ('anyone', 'onePerson')),
        created_at INTEGER NOT NULL,
        stopped INTEGER NOT NULL DEFAULT 0
    ) STRICT;
",
    "
    ALTER TABLE share ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE share_file (
        share TEXT NOT NULL,
        entry INTEGER NOT NULL,
        path BLOB NOT NULL,
        size INTEGER NOT NULL,
        modified INTEGER,
        root BLOB NOT NULL,
        hashes BLOB NOT NULL,
        PRIMARY KEY (share, entry)
    ) STRICT;
    CREATE TABLE download (
        id TEXT PRIMARY KEY,
        link TEXT NOT NULL,
        destination BLOB NOT NULL,
        chosen BLOB,
        state TEXT NOT NULL,
        pass_on INTEGER NOT NULL,
        one_person INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        finished_at INTEGER,
        seconds REAL NOT NULL
    ) STRICT;
    CREATE TABLE manifest (
        id TEXT PRIMARY KEY,
        public_key BLOB NOT NULL,
        signature BLOB NOT NULL,
        content BLOB NOT NULL
    ) STRICT;
    CREATE TABLE file (
        download TEXT NOT NULL,
        entry INTEGER NOT NULL,
        path BLOB NOT NULL,
        size INTEGER NOT NULL,
        modified INTEGER,
        length INTEGER NOT NULL,
        root BLOB NOT NULL,
        pieces BLOB NOT NULL,
        whole INTEGER NOT NULL,
        boot TEXT,
        PRIMARY KEY (download, entry)
    ) STRICT;
    CREATE TABLE file_hashes (
        download TEXT NOT NULL,
        entry INTEGER NOT NULL,
        root BLOB NOT NULL,
        hashes BLOB NOT NULL,
        PRIMARY KEY (download, entry)
    ) STRICT;
    CREATE TABLE person (
        share TEXT NOT NULL,
        device BLOB NOT NULL,
        name TEXT NOT NULL,
        addresses TEXT NOT NULL,
        met_at INTEGER NOT NULL,
        PRIMARY KEY (share, device)
    ) STRICT;
    CREATE TABLE history (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        direction TEXT NOT NULL,
        outcome TEXT NOT NULL,
        people TEXT NOT NULL,
        files INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE signed_hashes (
        download TEXT NOT NULL,
        first INTEGER NOT NULL,
        hashes BLOB NOT NULL,
        signature BLOB NOT NULL,
        PRIMARY KEY (download, first, signature)
    ) STRICT;
",
    "
    ALTER TABLE person ADD COLUMN sharer INTEGER NOT NULL DEFAULT 0;
",
];

/// Why a database is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    /// A later release wrote it.
    #[error("they were written by a newer version")]
    Newer,
    /// Its pages do not fit together.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Opens the database, checks it, and takes its schema to the latest version.
pub(super) fn connect(path: &Path) -> Result<Connection, SchemaError> {
    let mut connection = Connection::open(path)?;
    let version =
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        return Err(SchemaError::Newer);
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(SchemaError::Damaged(verdict));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", (index + 1) as i64)?;
        transaction.commit()?;
    }
    Ok(connection)
}

/// Renames the database, and what SQLite keeps beside it, to names that nothing
/// has yet.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let beside = |path: &Path, suffix: &str| {
        let mut side = path.as_os_str().to_owned();
        side.push(suffix);
        PathBuf::from(side)
    };
    let mut number = 1;
    let aside = loop {
        let aside = path.with_extension(format!("sqlite.unreadable-{number}"));
        if fs::symlink_metadata(&aside).is_err() {
            break aside;
        }
        number += 1;
    };
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        // Absent unless the last writer was cut off. One that stayed would be
        // taken for a part of the next database.
        let (side, kept) = (beside(path, suffix), beside(&aside, suffix));
        if fs::symlink_metadata(&side).is_ok() && fs::rename(&side, &kept).is_err() {
            fs::remove_file(&side)?;
        }
    }
    Ok(aside)
}
