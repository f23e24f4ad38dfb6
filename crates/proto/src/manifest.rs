//! The manifest: the list of what a share holds, signed by its share key.
//!
//! A list is *whole* when it says of every file what it hashes to, or that it cannot
//! be had. A sharer that takes long to hash signs an *opening* list first, with the
//! same paths, sizes and times ([`Manifest::outline`]): of files that are still being
//! hashed the contents are told piece by piece ([`crate::signed_hashes`]).
//!
//! A [`Manifest`] that exists is within every limit of this module, however it was
//! made, and each of its paths is a [`SafePath`]. Reading one allocates no more than
//! its bytes warrant, and nothing at all before the signature was checked. Paths may
//! repeat or collide; [`crate::placement`] gives each entry a name of its own.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::invite::InviteSecret;
use crate::keys::{self, ShareKey};
use crate::safe_path::{self, SafePath};
use crate::tree::{self, Root};

/// Most entries in a manifest, and most folders that they may lie in or be.
pub const MAX_ENTRIES: usize = 250_000;

/// Most bytes of an encoded manifest.
pub const MAX_MANIFEST_BYTES: usize = 32 << 20;

/// Most bytes that all files of a share may have together: 1 EiB.
pub const MAX_SHARE_BYTES: u64 = 1 << 60;

/// Longest name of a share, in Unicode scalar values.
pub const MAX_NAME_CHARS: usize = 200;

/// The format that [`Manifest::encode`] writes.
const VERSION: u8 = 1;

/// Fewest bytes that an entry is encoded in: a path of one character with its length,
/// the kind, and the absence of a time.
const MIN_ENTRY_BYTES: usize = 4;

/// The modified times, in milliseconds since 1970, that every file system can hold:
/// the years 1601 to 9999.
const MODIFIED_RANGE: std::ops::RangeInclusive<i64> = -11_644_473_600_000..=253_402_300_799_999;

const SIGNATURE_CONTEXT: &str = "passalong v1 manifest signature";
const OUTLINE_CONTEXT: &str = "passalong v1 manifest outline";

/// One file or folder of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it lies within the share.
    pub path: SafePath,
    /// What it is.
    pub kind: EntryKind,
}

impl Entry {
    /// Whether the entry is a folder.
    pub fn is_folder(&self) -> bool {
        matches!(self.kind, EntryKind::Folder { .. })
    }

    /// The size in bytes; 0 for a folder.
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Folder { .. } => 0,
        }
    }

    /// What is known of a file's contents; `None` for a folder.
    pub fn content(&self) -> Option<Content> {
        match self.kind {
            EntryKind::File { content, .. } => Some(content),
            EntryKind::Folder { .. } => None,
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// What is known of its contents.
        content: Content,
        /// When it was last modified, in milliseconds since 1970 UTC, if known.
        modified: Option<i64>,
    },
    /// A folder. Folders that hold something need no entry of their own.
    Folder {
        /// When it was last modified, in milliseconds since 1970 UTC, if known.
        modified: Option<i64>,
    },
}

/// What a list says of a file's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// They hash to this.
    Hashed(Root),
    /// The sharer has not hashed them all yet.
    Hashing,
    /// They changed, or could not be read, while the sharer hashed them: the file
    /// cannot be had.
    Lost,
}

impl Content {
    /// The BLAKE3 hash of them, if the list tells it.
    pub fn root(self) -> Option<Root> {
        match self {
            Content::Hashed(root) => Some(root),
            Content::Hashing | Content::Lost => None,
        }
    }
}

/// What a share holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    name: String,
    edition: u64,
    entries: Vec<Entry>,
    files: usize,
    bytes: u64,
}

impl Manifest {
    /// A manifest of `entries`, kept in their order, with `name` cleaned by
    /// [`clean_name`]. Modified times outside the years 1601 to 9999 become unknown.
    ///
    /// # Errors
    ///
    /// `TooMany` and `TooLarge` when a limit of this module is passed, `Malformed`
    /// when an empty file is said to hold anything but no bytes.
    pub fn new(name: &str, mut entries: Vec<Entry>) -> Result<Manifest, ManifestError> {
        if entries.len() > MAX_ENTRIES || !has_few_folders(&entries) {
            return Err(ManifestError::TooMany);
        }
        let empty = Content::Hashed(tree::single_piece_root(b""));
        let mut files = 0;
        let mut bytes: u64 = 0;
        for entry in &mut entries {
            let modified = match &mut entry.kind {
                EntryKind::File {
                    size,
                    content,
                    modified,
                } => {
                    if *size == 0 && *content != empty {
                        return Err(ManifestError::Malformed);
                    }
                    if *size > tree::MAX_FILE_LEN {
                        return Err(ManifestError::TooLarge);
                    }
                    files += 1;
                    bytes += *size;
                    if bytes > MAX_SHARE_BYTES {
                        return Err(ManifestError::TooLarge);
                    }
                    modified
                }
                EntryKind::Folder { modified } => modified,
            };
            *modified = modified.filter(|time| MODIFIED_RANGE.contains(time));
        }
        Ok(Manifest {
            name: clean_name(name),
            edition: 0,
            entries,
            files,
            bytes,
        })
    }

    /// The same list as of a later time. Of two lists of one share the one with
    /// the greater edition (milliseconds since 1970, by the sharer's clock) holds.
    pub fn with_edition(self, edition: u64) -> Manifest {
        Manifest { edition, ..self }
    }

    /// When the sharer made the list, in milliseconds since 1970; 0 if not told.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// The share's name: at most [`MAX_NAME_CHARS`] characters on one line, maybe none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files and folders, in the sharer's order. Other peers' messages refer to
    /// them by their place in this list.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many of the entries are files.
    pub fn files(&self) -> usize {
        self.files
    }

    /// The bytes of all files together, at most [`MAX_SHARE_BYTES`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it says of every file what it hashes to, or that it cannot be had.
    pub fn is_whole(&self) -> bool {
        let hashing = |entry: &Entry| entry.content() == Some(Content::Hashing);
        !self.entries.iter().any(hashing)
    }

    /// Names the list without what its files hash to: name, edition, paths, sizes and
    /// times. An opening list and the whole one that follows have the same outline, and
    /// with it the same pieces.
    pub fn outline(&self) -> [u8; 32] {
        let entries: Vec<_> = self
            .entries
            .iter()
            .map(|Entry { path, kind }| match *kind {
                EntryKind::File { size, modified, .. } => (path, Some(size), modified),
                EntryKind::Folder { modified } => (path, None, modified),
            })
            .collect();
        let mut hasher = blake3::Hasher::new_derive_key(OUTLINE_CONTEXT);
        // Hashing takes whatever is written, and of every type here postcard knows how
        // to write it.
        let _ = postcard::to_io(&(&self.name, self.edition, entries), &mut hasher);
        *hasher.finalize().as_bytes()
    }

    /// The manifest as bytes: one for the version of the format, then name,
    /// edition and entries in postcard's encoding (<https://postcard.jamesmunns.com>).
    ///
    /// # Errors
    ///
    /// `TooLarge` when that would be more than [`MAX_MANIFEST_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let body = (self.name.as_str(), self.edition, self.entries.as_slice());
        let mut bytes =
            postcard::to_extend(&body, vec![VERSION]).map_err(|_| ManifestError::Malformed)?;
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        // It is kept for as long as the share.
        bytes.shrink_to_fit();
        Ok(bytes)
    }

    /// Reads what [`Manifest::encode`] wrote, or what somebody hostile did.
    ///
    /// # Errors
    ///
    /// Those of [`Manifest::new`]; `Version` for a format from the future; `Malformed`
    /// for bytes that are no manifest, too few or too many, and for unsafe paths.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let (version, body) = bytes.split_first().ok_or(ManifestError::Malformed)?;
        if *version != VERSION {
            return Err(ManifestError::Version { found: *version });
        }
        let ((name, edition, count), mut rest) = take::<(&str, u64, u64)>(body)?;
        let count = usize::try_from(count).map_err(|_| ManifestError::TooMany)?;
        if count > MAX_ENTRIES {
            return Err(ManifestError::TooMany);
        }
        if count > rest.len() / MIN_ENTRY_BYTES {
            return Err(ManifestError::Malformed);
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let (entry, behind) = take(rest)?;
            entries.push(entry);
            rest = behind;
        }
        if !rest.is_empty() {
            return Err(ManifestError::Malformed);
        }
        Ok(Manifest::new(name, entries)?.with_edition(edition))
    }
}

/// A manifest as it travels and is stored: signed, and not yet trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedManifest {
    /// The share's Ed25519 public key, to which the invite commits.
    pub public_key: [u8; 32],
    /// That key's signature over a `derive_key` hash of `bytes`.
    pub signature: [u8; 64],
    /// The encoded manifest.
    pub bytes: Vec<u8>,
}

impl SignedManifest {
    /// Encodes and signs.
    ///
    /// # Errors
    ///
    /// Those of [`Manifest::encode`].
    pub fn sign(key: &ShareKey, manifest: &Manifest) -> Result<SignedManifest, ManifestError> {
        let bytes = manifest.encode()?;
        Ok(SignedManifest {
            public_key: key.public(),
            signature: key.sign(&signed_message(&bytes)),
            bytes,
        })
    }

    /// The manifest, if the sharer who gave out this invite signed it.
    ///
    /// # Errors
    ///
    /// `NotSigned` when the key is not the one that the invite commits to or the
    /// signature is not that key's, otherwise those of [`Manifest::decode`].
    pub fn open(&self, secret: &InviteSecret) -> Result<Manifest, ManifestError> {
        if self.bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let message = signed_message(&self.bytes);
        let signed = secret.commits_to(&self.public_key)
            && keys::verify(&self.public_key, &message, &self.signature);
        if !signed {
            return Err(ManifestError::NotSigned);
        }
        Manifest::decode(&self.bytes)
    }

    /// The key, the signature and the encoded manifest, one behind the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&self.public_key[..], &self.signature, &self.bytes].concat()
    }

    /// Takes apart what [`SignedManifest::to_bytes`] put together; checks nothing
    /// but lengths.
    ///
    /// # Errors
    ///
    /// `Malformed` when there is no room for key and signature, `TooLarge` when the
    /// manifest is over [`MAX_MANIFEST_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Result<SignedManifest, ManifestError> {
        let (public_key, rest) = bytes.split_first_chunk().ok_or(ManifestError::Malformed)?;
        let (signature, bytes) = rest.split_first_chunk().ok_or(ManifestError::Malformed)?;
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        Ok(SignedManifest {
            public_key: *public_key,
            signature: *signature,
            bytes: bytes.to_vec(),
        })
    }
}

/// Why there is no manifest. The messages speak to whoever shares or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// More bytes, in the list or in the files, than a share may have.
    #[error(
        "this share is too large: a file may have 4 PiB, all files together 1 EiB, and the list of \
         them 32 MiB; share it in several parts"
    )]
    TooLarge,
    /// More entries or folders than [`MAX_ENTRIES`].
    #[error(
        "this share has more than 250,000 files or folders: share it in several parts, or pack it \
         into an archive first"
    )]
    TooMany,
    /// The format is one that this version does not know.
    #[error(
        "this share was made with a different version of Passalong (list format {found}): update \
         Passalong on both devices and try again"
    )]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Signed by another key than the invite commits to, or not signed at all.
    #[error(
        "the list of files was not signed by whoever made this invite: nothing was saved; ask for \
         a new invite if this happens again"
    )]
    NotSigned,
    /// Bytes that no honest Passalong writes.
    #[error(
        "the list of files is damaged or was made to do harm: nothing was saved; ask the person \
         who shares it to share it anew"
    )]
    Malformed,
}

/// A name that a stranger chose, made fit to be shown: on one line, without control
/// and direction-changing characters, single spaces, at most [`MAX_NAME_CHARS`]
/// characters. May come out empty.
pub fn clean_name(name: &str) -> String {
    let visible: String = name
        .chars()
        .filter(|c| !safe_path::is_bidi_control(*c))
        .map(|c| if safe_path::is_control(c) { ' ' } else { c })
        .collect();
    let single_spaced = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = single_spaced.chars().take(MAX_NAME_CHARS).collect();
    cut.trim_end().to_owned()
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), ManifestError> {
    postcard::take_from_bytes(bytes).map_err(|_| ManifestError::Malformed)
}

fn signed_message(bytes: &[u8]) -> [u8; 32] {
    blake3::derive_key(SIGNATURE_CONTEXT, bytes)
}

/// Whether the folders that the entries are and lie in number [`MAX_ENTRIES`] at most.
/// Each costs the receiver a directory, and 64 of them fit into one short path.
fn has_few_folders(entries: &[Entry]) -> bool {
    let mut folders = HashSet::new();
    for entry in entries {
        let path = entry.path.as_str();
        let mut folder = if entry.is_folder() {
            Some(path)
        } else {
            parent(path)
        };
        // A folder that is known has all folders above it known as well.
        while let Some(path) = folder.filter(|path| folders.insert(*path)) {
            if folders.len() > MAX_ENTRIES {
                return false;
            }
            folder = parent(path);
        }
    }
    true
}

fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}
