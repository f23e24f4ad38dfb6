//! The fetching side of a transfer: from the first message of the manifest to
//! the last verified piece, across any number of links.
//!
//! ```text
//! Listing --manifest whole and signed--> Listed --accept--> Fetching --> Complete
//! ```
//!
//! Invariant: a piece is in exactly one state at any time, and leaves
//! `Received` only through [`Fetch::piece_stored`] or [`Fetch::piece_rejected`].
//! Verifying and writing bytes is the caller's business.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::invite::InviteSecret;
use crate::manifest::{EntryKind, MAX_MANIFEST_BYTES, Manifest, ManifestError, SignedManifest};
use crate::serve::Violation;
use crate::tree::{FileHashes, PieceHash, piece_count, piece_len};
use crate::wire::{Farewell, Frame, Message, PieceRef, REQUESTS_PER_MESSAGE, SourceProblem};

/// Bytes asked for and not yet on disk: what one link keeps in memory.
pub const WINDOW_BYTES: u64 = 16 * 1024 * 1024;
/// Pieces asked for and not yet on disk.
pub const WINDOW_PIECES: usize = 1024;
/// Most pieces in one transfer: 16 TiB in large files.
pub const MAX_PIECES: u64 = 1 << 24;
/// Files whose hashes are fetched ahead of their pieces.
const FILES_AHEAD: usize = 4;

/// What the fetching side learned, or hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// The sharer is still hashing.
    Preparing {
        /// Bytes hashed, never more than were found.
        done_bytes: u64,
        /// Bytes found.
        total_bytes: u64,
    },
    /// The manifest is here and signed by the share key.
    Listed,
    /// The same manifest came again, over another link.
    ListedAgain,
    /// A file of several pieces can be verified from now on. Look what of it
    /// is on disk, then call [`Fetch::file_ready`].
    Hashes {
        /// The file.
        entry: u32,
        /// Its hashes, checked against its root.
        hashes: Arc<FileHashes>,
    },
    /// A piece is here whole. Verify and write it, then call
    /// [`Fetch::piece_stored`] or [`Fetch::piece_rejected`].
    Piece {
        /// Which.
        piece: PieceRef,
        /// All its bytes.
        bytes: Bytes,
    },
    /// The sharer cannot send this file; the rest goes on.
    Unavailable {
        /// The file.
        entry: u32,
        /// Why.
        reason: SourceProblem,
    },
    /// The sharer ended the link on purpose.
    Left(Farewell),
}

/// Why a fetch cannot go on with this peer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// Its manifest is not the share's.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its manifest is not the one that came before.
    #[error("the list changed since it was first seen")]
    OtherManifest,
    /// Its hashes do not add up to the file's root.
    #[error("the hashes of a file are not those that the list was signed with")]
    Hashes,
}

/// State of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Missing,
    Requested,
    Received,
    Stored,
}

#[derive(Debug)]
enum Hashes {
    /// Not asked for yet.
    Missing,
    /// Asked for; so many are here.
    Coming(Vec<PieceHash>),
    /// Here; the caller looks at what is on disk.
    Checking,
    /// Pieces may be asked for.
    Ready,
}

#[derive(Debug)]
struct File {
    entry: u32,
    size: u64,
    hashes: Hashes,
    pieces: Vec<Piece>,
    /// Every piece before this one is not missing.
    cursor: u32,
    stored: u32,
    unavailable: bool,
}

impl File {
    fn is_settled(&self) -> bool {
        self.unavailable || self.stored as usize == self.pieces.len()
    }
}

#[derive(Debug)]
struct Incoming {
    public_key: [u8; 32],
    signature: [u8; 64],
    length: usize,
    bytes: Vec<u8>,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    /// Bytes stored.
    pub bytes: u64,
    /// Bytes wanted, without files that turned out unavailable.
    pub total: u64,
    /// Files whole.
    pub files: u32,
    /// Files wanted, without those that turned out unavailable.
    pub files_total: u32,
}

/// State of the fetching side.
#[derive(Debug)]
pub struct Fetch {
    secret: InviteSecret,
    incoming: Option<Incoming>,
    signed: Option<SignedManifest>,
    manifest: Option<Arc<Manifest>>,
    accepted: bool,
    /// The manifest came over the link that is up now.
    listed: bool,
    files: Vec<File>,
    by_entry: HashMap<u32, usize>,
    /// Index of the first file that may still have missing pieces.
    front: usize,
    buffers: HashMap<PieceRef, BytesMut>,
    in_flight: HashSet<PieceRef>,
    in_flight_bytes: u64,
    outbox: VecDeque<Message>,
    progress: FetchProgress,
}

impl Fetch {
    /// A fetch of the share that the invite commits to.
    pub fn new(secret: InviteSecret) -> Self {
        Fetch {
            secret,
            incoming: None,
            signed: None,
            manifest: None,
            accepted: false,
            listed: false,
            files: Vec::new(),
            by_entry: HashMap::new(),
            front: 0,
            buffers: HashMap::new(),
            in_flight: HashSet::new(),
            in_flight_bytes: 0,
            outbox: VecDeque::new(),
            progress: FetchProgress::default(),
        }
    }

    /// The same fetch from the beginning, with the manifest that is here.
    pub fn again(&self) -> Fetch {
        Fetch {
            signed: self.signed.clone(),
            manifest: self.manifest.clone(),
            ..Fetch::new(self.secret)
        }
    }

    /// Whether the person's choice was taken in.
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// The manifest, once it is here.
    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        self.manifest.as_ref()
    }

    /// The manifest as it was signed, once it is here: what a new sharer needs.
    pub fn signed(&self) -> Option<&SignedManifest> {
        self.signed.as_ref()
    }

    /// How far it is.
    pub fn progress(&self) -> FetchProgress {
        self.progress
    }

    /// Whether everything accepted is stored, or known to be unavailable.
    pub fn is_complete(&self) -> bool {
        self.accepted && self.files.iter().skip(self.front).all(File::is_settled)
    }

    /// Whether anything was asked for and is not here yet.
    pub fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty()
            || self
                .files
                .iter()
                .skip(self.front)
                .any(|f| !f.unavailable && matches!(f.hashes, Hashes::Coming(_)))
    }

    /// Accepts these files (indexes of files in the manifest, each at most
    /// once); `present` are those of them that are already here. The caller
    /// has checked that the manifest is here.
    pub fn accept(&mut self, wanted: &[u32], present: &HashSet<u32>) -> Result<(), Violation> {
        let Some(manifest) = self.manifest.clone() else {
            return Err(Violation("nothing was offered yet"));
        };
        let mut total_pieces = 0u64;
        for &entry in wanted {
            let Some(EntryKind::File { size, .. }) = manifest
                .entries()
                .get(entry as usize)
                .map(|entry| &entry.kind)
            else {
                continue;
            };
            let pieces = piece_count(*size);
            total_pieces += u64::from(pieces);
            if total_pieces > MAX_PIECES {
                return Err(Violation("the share is larger than 16 TiB"));
            }
            self.progress.total += size;
            self.progress.files_total += 1;
            if pieces == 0 || present.contains(&entry) {
                self.progress.bytes += size;
                self.progress.files += 1;
                continue;
            }
            self.by_entry.insert(entry, self.files.len());
            self.files.push(File {
                entry,
                size: *size,
                hashes: if pieces == 1 {
                    Hashes::Ready
                } else {
                    Hashes::Missing
                },
                pieces: vec![Piece::Missing; pieces as usize],
                cursor: 0,
                stored: 0,
                unavailable: false,
            });
        }
        self.accepted = true;
        if self.listed {
            self.announce();
        }
        Ok(())
    }

    /// The link is gone: what was asked for and has not come is missing again.
    pub fn lost(&mut self) {
        self.incoming = None;
        self.listed = false;
        self.outbox.clear();
        self.buffers.clear();
        for piece in std::mem::take(&mut self.in_flight) {
            let Some(file) = self
                .by_entry
                .get(&piece.entry)
                .and_then(|i| self.files.get_mut(*i))
            else {
                continue;
            };
            let state = &mut file.pieces[piece.piece as usize];
            if *state == Piece::Requested {
                *state = Piece::Missing;
                file.cursor = file.cursor.min(piece.piece);
                self.in_flight_bytes -= u64::from(piece_len(file.size, piece.piece));
            } else {
                // Received: the caller still owes an answer for it.
                self.in_flight.insert(piece);
            }
        }
        for file in &mut self.files {
            if matches!(file.hashes, Hashes::Coming(_)) {
                file.hashes = Hashes::Missing;
            }
        }
        self.front = 0;
    }

    /// Takes a message from the sharer.
    pub fn handle(&mut self, message: Message) -> Result<Option<FetchEvent>, FetchError> {
        match message {
            Message::Alive => Ok(None),
            Message::Bye { reason } => Ok(Some(FetchEvent::Left(reason))),
            Message::Preparing {
                done_bytes,
                total_bytes,
            } => Ok(Some(FetchEvent::Preparing {
                done_bytes: done_bytes.min(total_bytes),
                total_bytes,
            })),
            Message::Manifest {
                public_key,
                signature,
                length,
            } => {
                let length = length as usize;
                if self.incoming.is_some() || self.listed {
                    return Err(Violation("it sent the list twice").into());
                }
                if length > MAX_MANIFEST_BYTES {
                    return Err(ManifestError::TooLarge.into());
                }
                let bytes = Vec::new();
                let signature = signature.into();
                self.incoming = Some(Incoming {
                    public_key,
                    signature,
                    length,
                    bytes,
                });
                Ok(None)
            }
            Message::ManifestPart { bytes } => self.manifest_part(&bytes),
            Message::Hashes {
                entry,
                first,
                hashes,
            } => self.hashes(entry, first, &hashes),
            Message::Unavailable { entry, reason } => Ok(self.unavailable(entry, reason)),
            _ => Err(Violation("it sent a message that is not a sharer's to send").into()),
        }
    }

    /// Takes a frame from the bulk channel.
    pub fn handle_frame(&mut self, frame: Frame) -> Result<Option<FetchEvent>, FetchError> {
        let Frame {
            piece,
            offset,
            data,
        } = frame;
        let file = self
            .by_entry
            .get(&piece.entry)
            .and_then(|i| self.files.get_mut(*i));
        let Some(file) = file else {
            return Err(Violation("it sent a file that was not asked for").into());
        };
        if file.unavailable {
            return Ok(None);
        }
        if file.pieces.get(piece.piece as usize) != Some(&Piece::Requested) {
            return Err(Violation("it sent a piece that was not asked for").into());
        }
        let expected = piece_len(file.size, piece.piece) as usize;
        let held = self.buffers.get(&piece).map_or(0, BytesMut::len);
        if offset as usize != held || held + data.len() > expected {
            return Err(Violation("it sent a piece out of order or too long").into());
        }
        let bytes = if held == 0 && data.len() == expected {
            data
        } else {
            let buffer = self
                .buffers
                .entry(piece)
                .or_insert_with(|| BytesMut::with_capacity(expected));
            buffer.extend_from_slice(&data);
            if buffer.len() < expected {
                return Ok(None);
            }
            self.buffers.remove(&piece).unwrap_or_default().freeze()
        };
        file.pieces[piece.piece as usize] = Piece::Received;
        Ok(Some(FetchEvent::Piece { piece, bytes }))
    }

    /// What of a file is on disk already: indexes of verified pieces.
    pub fn file_ready(&mut self, entry: u32, stored: &[u32]) {
        let Some(file) = self
            .by_entry
            .get(&entry)
            .and_then(|i| self.files.get_mut(*i))
        else {
            return;
        };
        if file.unavailable || !matches!(file.hashes, Hashes::Checking) {
            return;
        }
        file.hashes = Hashes::Ready;
        for &index in stored {
            if let Some(state @ Piece::Missing) = file.pieces.get_mut(index as usize) {
                *state = Piece::Stored;
                file.stored += 1;
                self.progress.bytes += u64::from(piece_len(file.size, index));
            }
        }
        if file.is_settled() {
            self.progress.files += 1;
        }
    }

    /// A received piece is verified and on disk. Says whether its file is whole.
    pub fn piece_stored(&mut self, piece: PieceRef) -> bool {
        let Some(file) = self
            .by_entry
            .get(&piece.entry)
            .and_then(|i| self.files.get_mut(*i))
        else {
            return false;
        };
        let length = u64::from(piece_len(file.size, piece.piece));
        if self.in_flight.remove(&piece) {
            self.in_flight_bytes -= length;
        }
        let Some(state @ Piece::Received) = file.pieces.get_mut(piece.piece as usize) else {
            return false;
        };
        *state = Piece::Stored;
        if file.unavailable {
            return false;
        }
        file.stored += 1;
        self.progress.bytes += length;
        let whole = file.is_settled();
        if whole {
            self.progress.files += 1;
        }
        whole
    }

    /// A received piece did not verify: it is missing again, and whoever sent
    /// it is not to be asked any more.
    pub fn piece_rejected(&mut self, piece: PieceRef) {
        let Some(file) = self
            .by_entry
            .get(&piece.entry)
            .and_then(|i| self.files.get_mut(*i))
        else {
            return;
        };
        if self.in_flight.remove(&piece) {
            self.in_flight_bytes -= u64::from(piece_len(file.size, piece.piece));
        }
        if let Some(state @ Piece::Received) = file.pieces.get_mut(piece.piece as usize) {
            *state = Piece::Missing;
            file.cursor = file.cursor.min(piece.piece);
        }
    }

    /// The next message to send, if any. Call until `None` after every event.
    pub fn poll(&mut self) -> Option<Message> {
        if let Some(message) = self.outbox.pop_front() {
            return Some(message);
        }
        if !self.accepted || !self.listed {
            return None;
        }
        while self.files.get(self.front).is_some_and(File::is_settled) {
            self.front += 1;
        }
        if let Some(entry) = self.next_hashes() {
            return Some(Message::WantHashes { entry });
        }
        let pieces = self.next_pieces();
        if pieces.is_empty() {
            None
        } else {
            Some(Message::Request { pieces })
        }
    }

    fn announce(&mut self) {
        self.outbox.push_back(Message::Accept {
            files: self.progress.files_total,
            bytes: self.progress.total,
        });
        self.outbox.push_back(Message::Progress {
            bytes: self.progress.bytes,
        });
    }

    fn manifest_part(&mut self, bytes: &[u8]) -> Result<Option<FetchEvent>, FetchError> {
        let Some(incoming) = &mut self.incoming else {
            return Err(Violation("it sent part of a list out of turn").into());
        };
        if incoming.bytes.len() + bytes.len() > incoming.length {
            return Err(ManifestError::TooLarge.into());
        }
        incoming.bytes.extend_from_slice(bytes);
        if incoming.bytes.len() < incoming.length {
            return Ok(None);
        }
        let Some(Incoming {
            public_key,
            signature,
            bytes,
            ..
        }) = self.incoming.take()
        else {
            return Ok(None);
        };
        let signed = SignedManifest {
            public_key,
            signature,
            bytes,
        };
        self.listed = true;
        if let Some(known) = &self.signed {
            if known.bytes != signed.bytes {
                return Err(FetchError::OtherManifest);
            }
            if self.accepted {
                self.announce();
            }
            return Ok(Some(FetchEvent::ListedAgain));
        }
        self.manifest = Some(Arc::new(signed.open(&self.secret)?));
        self.signed = Some(signed);
        Ok(Some(FetchEvent::Listed))
    }

    fn hashes(
        &mut self,
        entry: u32,
        first: u32,
        part: &[PieceHash],
    ) -> Result<Option<FetchEvent>, FetchError> {
        let manifest = self.manifest.clone();
        let file = self
            .by_entry
            .get(&entry)
            .and_then(|i| self.files.get_mut(*i));
        let (Some(file), Some(manifest)) = (file, manifest) else {
            return Err(Violation("it sent hashes that were not asked for").into());
        };
        if file.unavailable {
            return Ok(None);
        }
        let Hashes::Coming(hashes) = &mut file.hashes else {
            return Err(Violation("it sent hashes that were not asked for").into());
        };
        if first as usize != hashes.len() || hashes.len() + part.len() > file.pieces.len() {
            return Err(Violation("it sent hashes out of order").into());
        }
        hashes.extend_from_slice(part);
        if hashes.len() < file.pieces.len() {
            return Ok(None);
        }
        let Some(EntryKind::File { size, root, .. }) = manifest
            .entries()
            .get(entry as usize)
            .map(|entry| &entry.kind)
        else {
            return Err(FetchError::Hashes);
        };
        let hashes =
            FileHashes::verify(*size, *root, std::mem::take(hashes)).ok_or(FetchError::Hashes)?;
        file.hashes = Hashes::Checking;
        Ok(Some(FetchEvent::Hashes {
            entry,
            hashes: Arc::new(hashes),
        }))
    }

    fn unavailable(&mut self, entry: u32, reason: SourceProblem) -> Option<FetchEvent> {
        let file = self
            .by_entry
            .get(&entry)
            .and_then(|i| self.files.get_mut(*i))?;
        if file.is_settled() {
            return None;
        }
        file.unavailable = true;
        let requested: Vec<PieceRef> = self
            .in_flight
            .iter()
            .copied()
            .filter(|p| p.entry == entry)
            .collect();
        for piece in requested {
            if file.pieces[piece.piece as usize] == Piece::Requested {
                self.in_flight.remove(&piece);
                self.buffers.remove(&piece);
                self.in_flight_bytes -= u64::from(piece_len(file.size, piece.piece));
            }
        }
        let held: u64 = (0..file.pieces.len() as u32)
            .filter(|index| file.pieces[*index as usize] == Piece::Stored)
            .map(|index| u64::from(piece_len(file.size, index)))
            .sum();
        self.progress.bytes -= held;
        self.progress.total -= file.size;
        self.progress.files_total -= 1;
        Some(FetchEvent::Unavailable { entry, reason })
    }

    fn next_hashes(&mut self) -> Option<u32> {
        let ahead = self.files[self.front..]
            .iter_mut()
            .filter(|file| !file.is_settled());
        for file in ahead.take(FILES_AHEAD) {
            if matches!(file.hashes, Hashes::Missing) {
                file.hashes = Hashes::Coming(Vec::new());
                return Some(file.entry);
            }
        }
        None
    }

    fn next_pieces(&mut self) -> Vec<PieceRef> {
        let mut pieces = Vec::new();
        // Asking for many at once keeps the messages few.
        if self.in_flight.len() > WINDOW_PIECES / 2 || self.in_flight_bytes > WINDOW_BYTES / 2 {
            return pieces;
        }
        let mut waiting = 0;
        for file in &mut self.files[self.front..] {
            if pieces.len() >= REQUESTS_PER_MESSAGE
                || self.in_flight.len() >= WINDOW_PIECES
                || self.in_flight_bytes >= WINDOW_BYTES
            {
                break;
            }
            if file.is_settled() {
                continue;
            }
            if !matches!(file.hashes, Hashes::Ready) {
                waiting += 1;
                // Files further on wait for their turn, or memory would hold
                // the hashes of all of them.
                if waiting >= FILES_AHEAD {
                    break;
                }
                continue;
            }
            while let Some(state) = file.pieces.get_mut(file.cursor as usize) {
                if pieces.len() >= REQUESTS_PER_MESSAGE
                    || self.in_flight.len() >= WINDOW_PIECES
                    || self.in_flight_bytes >= WINDOW_BYTES
                {
                    break;
                }
                if *state == Piece::Missing {
                    *state = Piece::Requested;
                    let piece = PieceRef {
                        entry: file.entry,
                        piece: file.cursor,
                    };
                    self.in_flight.insert(piece);
                    self.in_flight_bytes += u64::from(piece_len(file.size, file.cursor));
                    pieces.push(piece);
                }
                file.cursor += 1;
            }
        }
        pieces
    }
}
