//! Shares that were received or are being received, and signed manifests.

use std::path::PathBuf;

use passalong_proto::invite::Invite;
use passalong_proto::manifest::{MAX_ENTRIES, MAX_MANIFEST_BYTES, SignedManifest};
use rusqlite::{Row, params};

use super::Store;
use super::columns::{decode_entries, decode_path, encode_entries, encode_path, integer, unsigned};
use crate::api::{Problem, Selection};

/// A share that is fetched, or was, as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredDownload {
    /// What it is fetched with; names the download.
    pub(crate) invite: Invite,
    /// The folder that the person chose.
    pub(crate) destination: PathBuf,
    /// What of it the person wants.
    pub(crate) chosen: Selection,
    pub(crate) state: DownloadState,
    /// Whether it is served to others.
    pub(crate) pass_on: bool,
    /// The sharer meant it for one person: it is not served to others.
    pub(crate) one_person: bool,
    /// Unix milliseconds.
    pub(crate) created_at: u64,
    /// Unix milliseconds, once it was over.
    pub(crate) finished_at: Option<u64>,
    /// How long it took so far, in seconds.
    pub(crate) seconds: f64,
}

/// How far a download is, as a restart has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DownloadState {
    /// The person has not decided.
    Offered,
    /// It goes on by itself.
    Accepted,
    /// Accepted; it goes on when the person says so.
    Paused,
    /// Everything chosen is here.
    Done,
    Declined,
    Cancelled,
}

impl DownloadState {
    const ALL: [(DownloadState, &'static str); 6] = [
        (DownloadState::Offered, "offered"),
        (DownloadState::Accepted, "accepted"),
        (DownloadState::Paused, "paused"),
        (DownloadState::Done, "done"),
        (DownloadState::Declined, "declined"),
        (DownloadState::Cancelled, "cancelled"),
    ];
}

impl StoredDownload {
    /// The share's id.
    pub(crate) fn id(&self) -> String {
        self.invite.secret.id()
    }
}

impl Store {
    /// All downloads, oldest first.
    pub(crate) fn downloads(&self) -> Result<Vec<StoredDownload>, Problem> {
        self.rows(
            "SELECT link, destination, chosen, state, pass_on, created_at, finished_at, seconds,
                    one_person
             FROM download ORDER BY created_at",
            [],
            parse_download,
        )
    }

    pub(crate) fn put_download(&self, download: &StoredDownload) -> Result<(), Problem> {
        let chosen = match &download.chosen {
            Selection::All => None,
            Selection::Only { entries } => Some(encode_entries(entries)),
        };
        let state = DownloadState::ALL
            .iter()
            .find(|(state, _)| *state == download.state)
            .map(|(_, word)| *word);
        self.change(|connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO download
                     (id, link, destination, chosen, state, pass_on, created_at, finished_at, seconds,
                      one_person)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )?
                .execute(params![
                    download.id(),
                    download.invite.link(),
                    encode_path(&download.destination),
                    chosen,
                    state,
                    download.pass_on,
                    integer(download.created_at),
                    download.finished_at.map(integer),
                    // SQLite takes what is no number for NULL.
                    Some(download.seconds).filter(|s| s.is_finite()).unwrap_or(0.0),
                    download.one_person,
                ])
                .map(drop)
        })
    }

    /// Forgets a download, its manifest, its people and what of it is on disk.
    pub(crate) fn remove_download(&self, id: &str) -> Result<(), Problem> {
        self.change(|connection| {
            for query in [
                "DELETE FROM download WHERE id = ?1",
                "DELETE FROM manifest WHERE id = ?1",
                "DELETE FROM file WHERE download = ?1",
                "DELETE FROM file_hashes WHERE download = ?1",
                "DELETE FROM signed_hashes WHERE download = ?1",
                "DELETE FROM person WHERE share = ?1",
            ] {
                connection.execute(query, [id])?;
            }
            Ok(())
        })
    }

    /// The manifest of a share or download. Whether it is signed by the right
    /// key is found out by opening it.
    pub(crate) fn manifest(&self, id: &str) -> Result<Option<SignedManifest>, Problem> {
        let mut found = self.rows(
            "SELECT public_key, signature, content FROM manifest WHERE id = ?1",
            [id],
            |row| {
                let bytes = row.get_ref(2).ok()?.as_blob().ok()?;
                (bytes.len() <= MAX_MANIFEST_BYTES).then_some(SignedManifest {
                    public_key: row.get(0).ok()?,
                    signature: row.get(1).ok()?,
                    bytes: bytes.to_owned(),
                })
            },
        )?;
        Ok(found.pop())
    }

    pub(crate) fn put_manifest(&self, id: &str, signed: &SignedManifest) -> Result<(), Problem> {
        self.change(|connection| {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO manifest (id, public_key, signature, content)
                     VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    id,
                    signed.public_key,
                    signed.signature,
                    signed.bytes
                ])
                .map(drop)
        })
    }
}

fn parse_download(row: &Row<'_>) -> Option<StoredDownload> {
    let chosen = match row.get::<_, Option<Vec<u8>>>(2).ok()? {
        None => Selection::All,
        Some(bytes) => Selection::Only {
            entries: decode_entries(&bytes).filter(|entries| entries.len() <= MAX_ENTRIES)?,
        },
    };
    let word: String = row.get(3).ok()?;
    let (state, _) = DownloadState::ALL
        .iter()
        .find(|(_, known)| *known == word)?;
    Some(StoredDownload {
        invite: Invite::parse(&row.get::<_, String>(0).ok()?).ok()?,
        destination: decode_path(&row.get::<_, Vec<u8>>(1).ok()?)?,
        chosen,
        state: *state,
        pass_on: row.get(4).ok()?,
        one_person: row.get(8).ok()?,
        created_at: unsigned(row, 5)?,
        finished_at: match row.get::<_, Option<i64>>(6).ok()? {
            None => None,
            Some(_) => Some(unsigned(row, 6)?),
        },
        seconds: Some(row.get(7).ok()?).filter(|s: &f64| *s >= 0.0)?,
    })
}
