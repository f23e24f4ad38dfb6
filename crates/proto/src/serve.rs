//! The serving half of one link: what the other side may ask, and when.
//!
//! ```text
//! Listing --Accept--> Serving --Complete--> Served
//!    any --Decline, Cancel--> Over    any --Accept--> Serving
//! ```
//!
//! Nothing is asked for or accepted before the other side was told of the list.
//! Invariant: a piece handed out to be sent was asked for, exists, is asked for
//! once, and at most [`MAX_OUTSTANDING`] of them are unanswered. Reading files,
//! sending, and who is choked when is the caller's business.

use std::collections::HashSet;

use crate::manifest::Manifest;
use crate::pieces::PieceMap;
use crate::wire::{MAX_OUTSTANDING, Message, PieceRef};

/// Most files whose hashes may be asked for and not yet sent.
const MAX_HASH_REQUESTS: usize = 64;
/// How often the list may be asked for on one link.
const MAX_MANIFEST_REQUESTS: u32 = 4;
/// How often signed hashes may be asked for on one link: once for each list.
const MAX_SIGNED_HASH_REQUESTS: u32 = 4;

/// What a message from the receiver asks the caller to do or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeEvent {
    /// Send the signed manifest.
    SendManifest,
    /// The person accepted this much.
    Accepted {
        /// Files wanted.
        files: u32,
        /// Bytes wanted.
        bytes: u64,
    },
    /// The person declined.
    Declined,
    /// The person cancelled.
    Cancelled,
    /// They hold this many verified bytes.
    Progress {
        /// Of those accepted.
        bytes: u64,
    },
    /// They have everything they accepted.
    Complete,
    /// Whether they want anything that is held here.
    Interest {
        /// They do.
        wants: bool,
    },
    /// Send the piece hashes of this file, or that they are not here, then call
    /// [`Serve::hashes_sent`].
    SendHashes {
        /// The file.
        entry: u32,
    },
    /// Send the signed hashes of pieces from this number on, now and as they become
    /// known.
    SendSignedHashes {
        /// A piece, or one past the last.
        from: u32,
    },
    /// Send these pieces in order; call [`Serve::piece_settled`] for each.
    SendPieces {
        /// Each exists, and was not outstanding.
        pieces: Vec<PieceRef>,
    },
    /// Of these, those not begun need not be sent: name each in a `Dropped` and
    /// call [`Serve::piece_settled`] for it.
    DropRequests {
        /// Each is outstanding.
        pieces: Vec<PieceRef>,
    },
    /// Asked for while choked: name these in a `Dropped`. They are settled.
    Refuse {
        /// Each exists, and is not outstanding.
        pieces: Vec<PieceRef>,
    },
}

/// A peer did what the protocol does not allow; the link has to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side broke the protocol: {0}")]
pub struct Violation(pub &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Listing,
    Serving,
    Served,
    Over,
}

/// State of the serving half of one link.
#[derive(Debug)]
pub struct Serve {
    /// The other side knows which list is held here.
    listed: bool,
    phase: Phase,
    choked: bool,
    accepted_bytes: u64,
    outstanding: HashSet<PieceRef>,
    /// Requests refused since the other side was told that it is choked.
    refused: usize,
    hash_requests: usize,
    manifest_requests: u32,
    signed_hash_requests: u32,
}

impl Default for Serve {
    fn default() -> Self {
        Serve {
            listed: false,
            phase: Phase::Listing,
            choked: true,
            accepted_bytes: 0,
            outstanding: HashSet::new(),
            refused: 0,
            hash_requests: 0,
            manifest_requests: 0,
            signed_hash_requests: 0,
        }
    }
}

impl Serve {
    /// The other side was told which list is held here: it may answer.
    pub fn listed(&mut self) {
        self.listed = true;
    }

    /// Requests are refused from now on. Those outstanding that were not begun
    /// are the caller's to drop. Every link begins choked.
    pub fn choke(&mut self) {
        self.choked = true;
        self.refused = 0;
    }

    /// Requests are taken from now on.
    pub fn unchoke(&mut self) {
        self.choked = false;
    }

    /// Whether requests are refused.
    pub fn is_choked(&self) -> bool {
        self.choked
    }

    /// One piece was sent, dropped, or reported unavailable. To be called no later
    /// than the last of its frames is handed on, as it may be asked for again once
    /// the other side has it.
    pub fn piece_settled(&mut self, piece: PieceRef) {
        self.outstanding.remove(&piece);
    }

    /// How many pieces were asked for and are not settled.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The hashes of one file were sent, or the file reported unavailable.
    pub fn hashes_sent(&mut self) {
        self.hash_requests = self.hash_requests.saturating_sub(1);
    }

    /// Whether the receiver has everything it accepted.
    pub fn is_served(&self) -> bool {
        self.phase == Phase::Served
    }

    /// Takes a message of the other side's fetching half. `manifest` and `pieces`
    /// are of the list that it was told of last.
    ///
    /// # Errors
    ///
    /// It asked for what does not exist, for too much, or out of turn.
    pub fn handle(
        &mut self,
        message: Message,
        manifest: Option<&Manifest>,
        pieces: Option<&PieceMap>,
    ) -> Result<Option<ServeEvent>, Violation> {
        let event = match message {
            Message::Alive => return Ok(None),
            Message::WantManifest => {
                self.told(manifest)?;
                self.manifest_requests += 1;
                if self.manifest_requests > MAX_MANIFEST_REQUESTS {
                    return Err(Violation("it asked for the list again and again"));
                }
                ServeEvent::SendManifest
            }
            Message::Decline => {
                self.phase = Phase::Over;
                ServeEvent::Declined
            }
            Message::Cancel => {
                self.phase = Phase::Over;
                ServeEvent::Cancelled
            }
            Message::Accept { files, bytes } => {
                let manifest = self.told(manifest)?;
                if bytes > manifest.bytes() || files as usize > manifest.files() {
                    return Err(Violation("it accepted more than was offered"));
                }
                self.phase = Phase::Serving;
                self.accepted_bytes = bytes;
                ServeEvent::Accepted { files, bytes }
            }
            Message::Progress { bytes } => {
                self.accepted()?;
                ServeEvent::Progress {
                    bytes: bytes.min(self.accepted_bytes),
                }
            }
            Message::Complete => {
                self.accepted()?;
                self.phase = Phase::Served;
                ServeEvent::Complete
            }
            Message::Interest { wants } => ServeEvent::Interest { wants },
            Message::WantHashes { entry } => {
                self.accepted()?;
                let pieces = self.told(pieces)?.of_entry(entry);
                if pieces.len() < 2 {
                    return Err(Violation("it asked for hashes of a file that has none"));
                }
                if self.hash_requests >= MAX_HASH_REQUESTS {
                    return Err(Violation("it asked for too many hashes at once"));
                }
                self.hash_requests += 1;
                ServeEvent::SendHashes { entry }
            }
            Message::WantSignedHashes { from } => {
                self.accepted()?;
                if from > self.told(pieces)?.count() {
                    return Err(Violation("it asked for hashes of pieces that do not exist"));
                }
                self.signed_hash_requests += 1;
                if self.signed_hash_requests > MAX_SIGNED_HASH_REQUESTS {
                    return Err(Violation("it asked for signed hashes again and again"));
                }
                ServeEvent::SendSignedHashes { from }
            }
            Message::Request { pieces: asked } => self.request(asked, pieces)?,
            Message::CancelRequest { pieces: cancelled } => {
                self.accepted()?;
                self.exist(&cancelled, pieces)?;
                let mut cancelled = cancelled;
                cancelled.retain(|piece| self.outstanding.contains(piece));
                ServeEvent::DropRequests { pieces: cancelled }
            }
            _ => {
                return Err(Violation(
                    "it sent a message that is not a receiver's to send",
                ));
            }
        };
        Ok(Some(event))
    }

    fn request(
        &mut self,
        asked: Vec<PieceRef>,
        pieces: Option<&PieceMap>,
    ) -> Result<ServeEvent, Violation> {
        self.accepted()?;
        self.exist(&asked, pieces)?;
        let mut named = HashSet::with_capacity(asked.len());
        let is_new = |piece: &PieceRef| !self.outstanding.contains(piece) && named.insert(*piece);
        if !asked.iter().all(is_new) {
            return Err(Violation("it asked twice for a piece"));
        }
        if self.choked {
            // Those on their way when it was choked, and no more.
            self.refused += asked.len();
            if self.refused > MAX_OUTSTANDING {
                return Err(Violation("it goes on asking though nothing is answered"));
            }
            return Ok(ServeEvent::Refuse { pieces: asked });
        }
        if self.outstanding.len() + asked.len() > MAX_OUTSTANDING {
            return Err(Violation("it asked for too many pieces at once"));
        }
        self.outstanding.extend(&asked);
        Ok(ServeEvent::SendPieces { pieces: asked })
    }

    fn exist(&self, named: &[PieceRef], pieces: Option<&PieceMap>) -> Result<(), Violation> {
        let pieces = self.told(pieces)?;
        if named.iter().all(|piece| pieces.number(*piece).is_some()) {
            Ok(())
        } else {
            Err(Violation("it named a piece that does not exist"))
        }
    }

    /// What the other side can know of once it was told which list there is.
    fn told<'l, T>(&self, of_list: Option<&'l T>) -> Result<&'l T, Violation> {
        match of_list {
            Some(of_list) if self.listed => Ok(of_list),
            _ => Err(Violation("it answered a list that it was not told of")),
        }
    }

    fn accepted(&self) -> Result<(), Violation> {
        match self.phase {
            Phase::Serving | Phase::Served => Ok(()),
            Phase::Listing | Phase::Over => Err(Violation("it asked for files without accepting")),
        }
    }
}
