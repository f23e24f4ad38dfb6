//! What outlives the program: device key and name, settings, shares. One SQLite
//! file in the data folder, held by one process at a time.
//!
//! Invariant: the schema only moves forward, by numbered migrations; a file of
//! a newer version, or one that is damaged, is set aside and never written to.
//! Files that people share or receive are never touched from here.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use passalong_proto::keys::{DeviceKey, ShareKey};
use rusqlite::{Connection, OptionalExtension, params};

use crate::api::{Audience, Problem, ProblemCode, Settings};

const FILE: &str = "passalong.sqlite";
const LOCK: &str = "lock";

/// Each entry takes the schema one version further; `user_version` counts them.
const MIGRATIONS: &[&str] = &["
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
"];

/// A share as it is kept.
#[derive(Clone)]
pub(crate) struct StoredShare {
    pub(crate) key: ShareKey,
    pub(crate) name: String,
    pub(crate) paths: Vec<PathBuf>,
    pub(crate) audience: Audience,
    pub(crate) created_at: u64,
    pub(crate) stopped: bool,
}

/// The open data folder.
pub(crate) struct Store {
    connection: Mutex<Connection>,
    /// Released by the system when the process ends, however it ends.
    _lock: File,
}

impl Store {
    /// Opens the data folder, creating what is missing. Says who holds it if
    /// another process does. The second value tells of a file that had to be
    /// set aside.
    pub(crate) fn open(dir: &Path) -> Result<(Store, Option<String>), Problem> {
        create_private_dir(dir).map_err(|error| Problem::disk(dir, &error))?;
        let lock = hold(dir)?;
        let path = dir.join(FILE);
        create_private_file(&path).map_err(|error| Problem::disk(&path, &error))?;
        match connect(&path) {
            Ok(connection) => Ok((
                Store {
                    connection: Mutex::new(connection),
                    _lock: lock,
                },
                None,
            )),
            Err(error) => {
                let aside = set_aside(&path).map_err(|e| Problem::disk(&path, &e))?;
                let connection =
                    connect(&path).map_err(|error| Problem::state("open its records", error))?;
                let told = format!(
                    "Passalong's records could not be read ({error}); they were kept as {} and new ones begun. Your files were not touched.",
                    aside.display()
                );
                Ok((
                    Store {
                        connection: Mutex::new(connection),
                        _lock: lock,
                    },
                    Some(told),
                ))
            }
        }
    }

    /// This device's key, made on first use.
    pub(crate) fn device_key(&self) -> Result<DeviceKey, Problem> {
        if let Some(seed) = self
            .value("device_key")?
            .and_then(|seed| seed.try_into().ok())
        {
            return Ok(DeviceKey::from_seed(seed));
        }
        let seed = crate::random::<32>();
        self.set_value("device_key", &seed)?;
        Ok(DeviceKey::from_seed(seed))
    }

    /// The name this device goes by, drawn on first use.
    pub(crate) fn device_name(&self) -> Result<String, Problem> {
        if let Some(name) = self
            .value("device_name")?
            .and_then(|n| String::from_utf8(n).ok())
        {
            return Ok(name);
        }
        let name = crate::names::draw(crate::random());
        self.set_value("device_name", name.as_bytes())?;
        Ok(name)
    }

    pub(crate) fn set_device_name(&self, name: &str) -> Result<(), Problem> {
        self.set_value("device_name", name.as_bytes())
    }

    /// The port that knocks arrived on last; 0 if none is known.
    pub(crate) fn port(&self) -> Result<u16, Problem> {
        let kept = self.value("port")?.and_then(|bytes| bytes.try_into().ok());
        Ok(kept.map_or(0, u16::from_be_bytes))
    }

    pub(crate) fn set_port(&self, port: u16) -> Result<(), Problem> {
        self.set_value("port", &port.to_be_bytes())
    }

    /// The settings; what cannot be read is the default.
    pub(crate) fn settings(&self) -> Result<Settings, Problem> {
        let kept = self.value("settings")?;
        Ok(kept
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default())
    }

    pub(crate) fn set_settings(&self, settings: &Settings) -> Result<(), Problem> {
        let json = serde_json::to_vec(settings).map_err(|e| Problem::state("keep settings", e))?;
        self.set_value("settings", &json)
    }

    /// All shares, oldest first, stopped ones included: their codes are
    /// answered with "stopped".
    pub(crate) fn shares(&self) -> Result<Vec<StoredShare>, Problem> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<StoredShare>> {
            let mut statement = connection.prepare(
                "SELECT seed, name, paths, audience, created_at, stopped FROM share ORDER BY created_at",
            )?;
            let rows = statement.query_map([], |row| {
                let audience: String = row.get(3)?;
                Ok(StoredShare {
                    key: ShareKey::from_seed(row.get(0)?),
                    name: row.get(1)?,
                    paths: decode_paths(&row.get::<_, Vec<u8>>(2)?),
                    audience: match audience.as_str() {
                        "onePerson" => Audience::OnePerson,
                        _ => Audience::Anyone,
                    },
                    created_at: row.get::<_, i64>(4)?.unsigned_abs(),
                    stopped: row.get(5)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|error| Problem::state("read its shares", error))
    }

    pub(crate) fn put_share(&self, share: &StoredShare) -> Result<(), Problem> {
        let audience = match share.audience {
            Audience::Anyone => "anyone",
            Audience::OnePerson => "onePerson",
        };
        self.lock()
            .execute(
                "INSERT OR REPLACE INTO share (id, seed, name, paths, audience, created_at, stopped)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    share.key.secret().id(),
                    share.key.seed(),
                    share.name,
                    encode_paths(&share.paths),
                    audience,
                    i64::try_from(share.created_at).unwrap_or(i64::MAX),
                    share.stopped,
                ],
            )
            .map(drop)
            .map_err(|error| Problem::state("keep the share", error))
    }

    fn value(&self, name: &str) -> Result<Option<Vec<u8>>, Problem> {
        self.lock()
            .query_row("SELECT content FROM value WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|error| Problem::state("read its records", error))
    }

    fn set_value(&self, name: &str, content: &[u8]) -> Result<(), Problem> {
        self.lock()
            .execute(
                "INSERT OR REPLACE INTO value (name, content) VALUES (?1, ?2)",
                params![name, content],
            )
            .map(drop)
            .map_err(|error| Problem::state("keep its records", error))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the data folder for its owner alone: it holds keys and passwords.
fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Makes a file for its owner alone. SQLite gives its side files the same mode.
fn create_private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    let version: usize =
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? as usize;
    if version > MIGRATIONS.len() {
        return Err(rusqlite::Error::InvalidParameterName(
            "they were written by a newer version".to_owned(),
        ));
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
        connection.execute_batch(&format!(
            "BEGIN; {migration} PRAGMA user_version = {}; COMMIT;",
            index + 1
        ))?;
    }
    Ok(connection)
}

fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let mut number = 1;
    let aside = loop {
        let aside = path.with_extension(format!("sqlite.unreadable-{number}"));
        if !aside.exists() {
            break aside;
        }
        number += 1;
    };
    fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        let mut side = path.as_os_str().to_owned();
        side.push(suffix);
        // Absent unless the last writer was cut off.
        let _ = fs::remove_file(side);
    }
    Ok(aside)
}

fn hold(dir: &Path) -> Result<File, Problem> {
    let path = dir.join(LOCK);
    let mut file = create_private_file(&path).map_err(|error| Problem::disk(&path, &error))?;
    match file.try_lock() {
        Ok(()) => {
            let program = std::env::args().next().unwrap_or_default();
            let program = Path::new(&program)
                .file_name()
                .unwrap_or_default()
                .display()
                .to_string();
            let written = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| writeln!(file, "{program}, process {}", std::process::id()));
            written.map_err(|error| Problem::disk(&path, &error))?;
            Ok(file)
        }
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder's name is a courtesy; without it the message still stands.
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() {
                "another Passalong"
            } else {
                holder
            };
            Err(Problem::new(
                ProblemCode::Usage,
                format!("The data folder {} is in use by {holder}.", dir.display()),
                "Close it first, or use another folder with --data-dir.",
            ))
        }
        Err(fs::TryLockError::Error(error)) => Err(Problem::disk(&path, &error)),
    }
}

/// Paths may hold any bytes but NUL, so NUL separates them.
fn encode_paths(paths: &[PathBuf]) -> Vec<u8> {
    paths
        .iter()
        .map(|p| p.as_os_str().as_encoded_bytes())
        .collect::<Vec<_>>()
        .join(&0)
}

#[cfg(unix)]
fn decode_paths(bytes: &[u8]) -> Vec<PathBuf> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    bytes
        .split(|b| *b == 0)
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(OsStr::from_bytes(path)))
        .collect()
}

#[cfg(not(unix))]
fn decode_paths(bytes: &[u8]) -> Vec<PathBuf> {
    bytes
        .split(|b| *b == 0)
        .filter(|path| !path.is_empty())
        .map(|path| PathBuf::from(String::from_utf8_lossy(path).into_owned()))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn share(seed: u8) -> StoredShare {
        StoredShare {
            key: ShareKey::from_seed([seed; 32]),
            name: "Holiday photos".to_owned(),
            paths: vec![PathBuf::from("/a b"), PathBuf::from("/c")],
            audience: Audience::OnePerson,
            created_at: 7,
            stopped: false,
        }
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        let (key, name) = (store.device_key().unwrap(), store.device_name().unwrap());
        let settings = Settings {
            lan: false,
            ..Settings::default()
        };
        store.set_settings(&settings).unwrap();
        store.put_share(&share(1)).unwrap();
        drop(store);
        let (store, told) = Store::open(dir.path()).unwrap();
        assert_eq!(told, None);
        assert_eq!(store.device_key().unwrap().public(), key.public());
        assert_eq!(store.device_name().unwrap(), name);
        assert_eq!(store.settings().unwrap(), settings);
        let kept = store.shares().unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].paths, share(1).paths);
        assert_eq!(kept[0].audience, Audience::OnePerson);
    }

    #[cfg(unix)]
    #[test]
    fn keys_and_passwords_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data");
        let (store, _) = Store::open(&dir).unwrap();
        store.device_key().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for child in fs::read_dir(&dir).unwrap() {
            let path = child.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn a_second_holder_is_told_who_holds_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let _held = Store::open(dir.path()).unwrap();
        let problem = Store::open(dir.path()).err().unwrap();
        assert!(
            problem
                .message
                .contains(&format!("process {}", std::process::id()))
        );
    }

    #[test]
    fn a_damaged_or_newer_file_is_set_aside_and_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(FILE),
            b"this is no database, and long enough to be read as one",
        )
        .unwrap();
        let (store, told) = Store::open(dir.path()).unwrap();
        assert!(told.unwrap().contains("unreadable-1"));
        store
            .lock()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        drop(store);
        let (_store, told) = Store::open(dir.path()).unwrap();
        assert!(told.unwrap().contains("newer version"));
        assert!(dir.path().join("passalong.sqlite.unreadable-2").exists());
    }
}
