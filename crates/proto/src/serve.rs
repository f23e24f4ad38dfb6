//! The serving side of one link: what a receiver may ask, and when.
//!
//! ```text
//! Preparing --manifest_sent--> Listed --Accept--> Serving --Complete--> Served
//!     any --Decline, Cancel, Bye--> Over
//! ```
//!
//! Invariant: a piece handed out to be sent was asked for, exists, and at most
//! [`MAX_OUTSTANDING`] of them are unanswered. Reading files and sending is the
//! caller's business.

use crate::manifest::{EntryKind, Manifest};
use crate::tree::piece_count;
use crate::wire::{Farewell, MAX_OUTSTANDING, Message, PieceRef};

/// Most files whose hashes may be asked for and not yet sent.
const MAX_HASH_REQUESTS: usize = 64;

/// What a message from the receiver asks the caller to do or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServeEvent {
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
    /// Send the piece hashes of this file, then call [`Serve::hashes_sent`].
    SendHashes {
        /// The file.
        entry: u32,
    },
    /// Send these pieces in order; call [`Serve::piece_settled`] for each.
    SendPieces {
        /// Each exists.
        pieces: Vec<PieceRef>,
    },
    /// They ended the link on purpose.
    Left(Farewell),
}

/// A peer did what the protocol does not allow; the link has to end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other side broke the protocol: {0}")]
pub struct Violation(pub &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Preparing,
    Listed,
    Serving,
    Served,
    Over,
}

/// State of the serving side of one link.
#[derive(Debug)]
pub struct Serve {
    phase: Phase,
    accepted_bytes: u64,
    outstanding: usize,
    hash_requests: usize,
}

impl Default for Serve {
    fn default() -> Self {
        Serve {
            phase: Phase::Preparing,
            accepted_bytes: 0,
            outstanding: 0,
            hash_requests: 0,
        }
    }
}

impl Serve {
    /// The manifest went out in full: the receiver may answer.
    pub fn manifest_sent(&mut self) {
        if self.phase == Phase::Preparing {
            self.phase = Phase::Listed;
        }
    }

    /// One piece was sent, or reported unavailable.
    pub fn piece_settled(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// The hashes of one file were sent, or the file reported unavailable.
    pub fn hashes_sent(&mut self) {
        self.hash_requests = self.hash_requests.saturating_sub(1);
    }

    /// Whether the receiver was told everything and took it.
    pub fn is_served(&self) -> bool {
        self.phase == Phase::Served
    }

    /// Takes a message from the receiver. `manifest` is what was sent to it.
    pub fn handle(
        &mut self,
        message: Message,
        manifest: Option<&Manifest>,
    ) -> Result<Option<ServeEvent>, Violation> {
        let event = match message {
            Message::Alive => return Ok(None),
            Message::Bye { reason } => {
                self.phase = Phase::Over;
                ServeEvent::Left(reason)
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
                let manifest = self.listed(manifest)?;
                if self.phase != Phase::Listed {
                    return Err(Violation("it accepted out of turn"));
                }
                if bytes > manifest.bytes() || files as usize > manifest.entries().len() {
                    return Err(Violation("it accepted more than was offered"));
                }
                self.phase = Phase::Serving;
                self.accepted_bytes = bytes;
                ServeEvent::Accepted { files, bytes }
            }
            Message::Progress { bytes } => {
                self.serving()?;
                ServeEvent::Progress {
                    bytes: bytes.min(self.accepted_bytes),
                }
            }
            Message::Complete => {
                self.serving()?;
                self.phase = Phase::Served;
                ServeEvent::Complete
            }
            Message::WantHashes { entry } => {
                self.serving()?;
                let pieces = pieces_of(self.listed(manifest)?, entry)?;
                if pieces < 2 {
                    return Err(Violation("it asked for hashes of a file that has none"));
                }
                if self.hash_requests >= MAX_HASH_REQUESTS {
                    return Err(Violation("it asked for too many hashes at once"));
                }
                self.hash_requests += 1;
                ServeEvent::SendHashes { entry }
            }
            Message::Request { pieces } => {
                self.serving()?;
                let manifest = self.listed(manifest)?;
                for piece in &pieces {
                    if piece.piece >= pieces_of(manifest, piece.entry)? {
                        return Err(Violation("it asked for a piece that does not exist"));
                    }
                }
                if self.outstanding + pieces.len() > MAX_OUTSTANDING {
                    return Err(Violation("it asked for too many pieces at once"));
                }
                self.outstanding += pieces.len();
                ServeEvent::SendPieces { pieces }
            }
            _ => {
                return Err(Violation(
                    "it sent a message that is not a receiver's to send",
                ));
            }
        };
        Ok(Some(event))
    }

    fn listed<'m>(&self, manifest: Option<&'m Manifest>) -> Result<&'m Manifest, Violation> {
        match manifest {
            Some(manifest) if self.phase != Phase::Preparing => Ok(manifest),
            _ => Err(Violation("it answered a list that it has not seen")),
        }
    }

    fn serving(&self) -> Result<(), Violation> {
        if self.phase == Phase::Serving {
            Ok(())
        } else {
            Err(Violation("it asked for files without accepting"))
        }
    }
}

fn pieces_of(manifest: &Manifest, entry: u32) -> Result<u32, Violation> {
    match manifest
        .entries()
        .get(entry as usize)
        .map(|entry| &entry.kind)
    {
        Some(EntryKind::File { size, .. }) => Ok(piece_count(*size)),
        _ => Err(Violation("it asked for a file that does not exist")),
    }
}
