//! What outlives the program: device key and name, settings, shares, downloads
//! and what of them is on disk, people, history. One SQLite file in the data
//! folder, held by one process at a time.
//!
//! Invariants: the schema only moves forward, by numbered migrations; a file of
//! a newer version, or one that is damaged, is set aside and never written to;
//! a row that makes no sense is passed over. Files that people share or receive
//! are never touched from here.

mod columns;
mod downloads;
mod files;
mod folder;
mod history;
mod people;
mod schema;
mod shares;
mod signed_hashes;
mod writer;

use std::fs::File;
use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use passalong_proto::keys::DeviceKey;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

pub(crate) use self::downloads::{DownloadState, StoredDownload};
pub(crate) use self::files::StoredFile;
#[cfg(test)]
pub(crate) use self::people::StoredPerson;
pub(crate) use self::people::{keep_people, remembered};
pub(crate) use self::shares::StoredShare;
use crate::api::{Problem, Settings};

const FILE: &str = "passalong.sqlite";
/// Nodes of a DHT that are read at most.
const MAX_DHT_NODES: usize = 64;

/// The open data folder.
pub(crate) struct Store {
    connection: Mutex<Connection>,
    writers: writer::Writers,
    _lock: File,
}

impl Store {
    /// Opens the data folder, creating what is missing. Says who holds it if
    /// another process does. The second value tells of a file that had to be
    /// set aside.
    pub(crate) fn open(dir: &Path) -> Result<(Store, Option<String>), Problem> {
        folder::create_private_dir(dir).map_err(|error| Problem::disk(dir, &error))?;
        let lock = folder::hold(dir)?;
        let path = dir.join(FILE);
        let create =
            || folder::create_private_file(&path).map_err(|error| Problem::disk(&path, &error));
        create()?;
        let (connection, told) = match schema::connect(&path) {
            Ok(connection) => (connection, None),
            Err(error) => {
                let aside = schema::set_aside(&path).map_err(|e| Problem::disk(&path, &e))?;
                create()?;
                let connection = schema::connect(&path)
                    .map_err(|error| Problem::state("open its records", error))?;
                let told = format!(
                    "Passalong's records could not be read ({error}); they were kept as {} and new ones begun. Your files were not touched.",
                    aside.display()
                );
                (connection, Some(told))
            }
        };
        let store = Store {
            connection: Mutex::new(connection),
            writers: writer::Writers::default(),
            _lock: lock,
        };
        Ok((store, told))
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

    /// Nodes of the DHT called `dht` that an earlier run knew; none of another.
    pub(crate) fn dht_nodes(&self, dht: &str) -> Result<Vec<SocketAddrV4>, Problem> {
        let kept = self
            .value("dht_nodes")?
            .and_then(|b| String::from_utf8(b).ok());
        let mut lines = kept.as_deref().unwrap_or_default().lines();
        if lines.next() != Some(dht) {
            return Ok(Vec::new());
        }
        let nodes = lines.take(MAX_DHT_NODES);
        Ok(nodes.filter_map(|line| line.parse().ok()).collect())
    }

    pub(crate) fn set_dht_nodes(&self, dht: &str, nodes: &[SocketAddrV4]) -> Result<(), Problem> {
        let mut lines = vec![dht.to_owned()];
        lines.extend(nodes.iter().map(ToString::to_string));
        self.set_value("dht_nodes", lines.join("\n").as_bytes())
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

    /// The rows of a query as `parse` reads them. Rows that it makes nothing of
    /// are passed over.
    fn rows<T>(
        &self,
        query: &str,
        params: impl Params,
        parse: impl Fn(&Row<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Problem> {
        let connection = self.lock();
        let read = || -> rusqlite::Result<Vec<T>> {
            let mut statement = connection.prepare_cached(query)?;
            let mut rows = statement.query(params)?;
            let mut parsed = Vec::new();
            let mut passed_over = 0u32;
            while let Some(row) = rows.next()? {
                match parse(row) {
                    Some(value) => parsed.push(value),
                    None => passed_over += 1,
                }
            }
            if passed_over > 0 {
                tracing::warn!(passed_over, query, "rows that make no sense");
            }
            Ok(parsed)
        };
        read().map_err(|error| Problem::state("read its records", error))
    }

    /// Does all of `change`, or nothing of it.
    fn change(
        &self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), Problem> {
        let mut connection = self.lock();
        let write = || -> rusqlite::Result<()> {
            let transaction = connection.transaction()?;
            change(&transaction)?;
            transaction.commit()
        };
        write().map_err(|error| Problem::state("keep its records", error))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
