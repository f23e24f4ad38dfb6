//! What two linked peers say to each other: control messages and piece frames.
//!
//! Control messages are postcard, one to a data-channel message, on channel
//! [`CONTROL_CHANNEL`]. File bytes travel as self-describing frames on
//! [`BULK_CHANNEL`]. Both channels are ordered and reliable, pre-negotiated
//! (RFC 8832 is not used). Decoding bounds everything before it allocates; what
//! a message means is the business of [`crate::serve`] and [`crate::fetch`].

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::tree::{PIECE_LEN, PieceHash};

/// Version of everything in this module; peers of another one part politely.
pub const PROTOCOL_VERSION: u16 = 1;
/// SCTP stream of the control channel.
pub const CONTROL_CHANNEL: u16 = 0;
/// SCTP stream of the bulk channel.
pub const BULK_CHANNEL: u16 = 1;
/// Longest control message, in bytes.
pub const MAX_MESSAGE: usize = 60 * 1024;
/// Longest part of a manifest in one message, in bytes.
pub const MANIFEST_PART: usize = 48 * 1024;
/// Most piece hashes in one message.
pub const HASHES_PER_MESSAGE: usize = 1024;
/// Most pieces asked for in one message.
pub const REQUESTS_PER_MESSAGE: usize = 512;
/// Most pieces that may be asked for and not yet answered.
pub const MAX_OUTSTANDING: usize = 2048;
/// File bytes in one frame. With its header a frame stays within the 64 KiB
/// that every WebRTC stack takes as one message.
pub const FRAME_DATA: usize = 63 * 1024;
/// Bytes before a frame's data: entry, piece and offset, little-endian u32.
pub const FRAME_HEADER: usize = 12;

/// Names one piece of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PieceRef {
    /// Index of the file in the manifest.
    pub entry: u32,
    /// Index of the piece in the file.
    pub piece: u32,
}

/// An Ed25519 signature, in the two halves that serde's arrays reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature([u8; 32], [u8; 32]);

impl From<[u8; 64]> for Signature {
    fn from(bytes: [u8; 64]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Signature(r, s)
    }
}

impl From<Signature> for [u8; 64] {
    fn from(signature: Signature) -> Self {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&signature.0);
        bytes[32..].copy_from_slice(&signature.1);
        bytes
    }
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// First from both sides: the device key's signature over this link
    /// ([`crate::keys::link_binding`]).
    Hello {
        /// [`PROTOCOL_VERSION`] of the sender.
        version: u16,
        /// By the device key that the knock or answer named.
        signature: Signature,
    },
    /// Sent when nothing else was for a while; answered by nothing: each side
    /// sends its own.
    Alive,
    /// Sharer: files are still being hashed.
    Preparing {
        /// Bytes hashed.
        done_bytes: u64,
        /// Bytes found.
        total_bytes: u64,
    },
    /// Sharer: the manifest follows in parts, `length` bytes in all.
    Manifest {
        /// Public half of the share key.
        public_key: [u8; 32],
        /// By the share key over the manifest.
        signature: Signature,
        /// Bytes that follow.
        length: u32,
    },
    /// Sharer: the next part of the manifest.
    ManifestPart {
        /// At most [`MANIFEST_PART`] bytes.
        bytes: Vec<u8>,
    },
    /// Receiver: the person accepted.
    Accept {
        /// Files wanted.
        files: u32,
        /// Bytes wanted.
        bytes: u64,
    },
    /// Receiver: the person declined.
    Decline,
    /// Receiver: the person cancelled.
    Cancel,
    /// Receiver: send the piece hashes of a file of more than one piece.
    WantHashes {
        /// The file.
        entry: u32,
    },
    /// Sharer: piece hashes of a file, in order.
    Hashes {
        /// The file.
        entry: u32,
        /// Index of the first hash here.
        first: u32,
        /// At most [`HASHES_PER_MESSAGE`].
        hashes: Vec<PieceHash>,
    },
    /// Receiver: send these pieces on the bulk channel, in this order.
    Request {
        /// At most [`REQUESTS_PER_MESSAGE`].
        pieces: Vec<PieceRef>,
    },
    /// Sharer: this file cannot be sent; pieces of it that were asked for will
    /// not come.
    Unavailable {
        /// The file.
        entry: u32,
        /// Why.
        reason: SourceProblem,
    },
    /// Receiver: bytes held and verified.
    Progress {
        /// Of those accepted.
        bytes: u64,
    },
    /// Receiver: everything accepted is here.
    Complete,
    /// Either: this link ends, on purpose.
    Bye {
        /// Why.
        reason: Farewell,
    },
}

/// Why a file cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceProblem {
    /// It is gone from where it was shared.
    Vanished,
    /// Its size, time or content is not what was shared.
    Changed,
    /// The system refuses to read it.
    Unreadable,
}

impl SourceProblem {
    /// Why, as the end of a sentence about the file.
    pub fn reason(self) -> &'static str {
        match self {
            SourceProblem::Vanished => "it is no longer where it was shared from",
            SourceProblem::Changed => "it was changed after it was shared",
            SourceProblem::Unreadable => "the sharer's computer cannot read it",
        }
    }
}

/// Why a link ends on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Farewell {
    /// The share was stopped.
    Stopped,
    /// The app is closing; the share may come back.
    Closing,
    /// Nothing is left to say.
    Finished,
    /// The other side speaks another version.
    Version,
    /// The other side broke the protocol.
    Protocol,
    /// The share is for one person, and somebody else has it.
    Taken,
}

/// A message or frame that breaks the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than any legal message.
    #[error("a message of {0} bytes is longer than the protocol allows")]
    TooLong(usize),
    /// Not a message of this version.
    #[error("a message could not be understood")]
    Malformed,
    /// A list in it is longer than its bound.
    #[error("a list in a message is longer than the protocol allows")]
    TooMany,
}

impl Message {
    /// Encodes the message.
    pub fn encode(&self) -> Vec<u8> {
        // Serialising to a growing vector fails only for types postcard does
        // not know lengths of, and there are none here.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Decodes a message, checking every bound.
    pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(WireError::TooLong(bytes.len()));
        }
        let (message, rest) =
            postcard::take_from_bytes::<Message>(bytes).map_err(|_| WireError::Malformed)?;
        if !rest.is_empty() {
            return Err(WireError::Malformed);
        }
        let within = match &message {
            Message::ManifestPart { bytes } => bytes.len() <= MANIFEST_PART,
            Message::Hashes { hashes, .. } => hashes.len() <= HASHES_PER_MESSAGE,
            Message::Request { pieces } => pieces.len() <= REQUESTS_PER_MESSAGE,
            _ => true,
        };
        if within {
            Ok(message)
        } else {
            Err(WireError::TooMany)
        }
    }
}

/// Part of a piece, as it travels on the bulk channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The piece.
    pub piece: PieceRef,
    /// Where in the piece the data begins.
    pub offset: u32,
    /// The data, at least one and at most [`FRAME_DATA`] bytes.
    pub data: Bytes,
}

impl Frame {
    /// Encodes a frame of `data`.
    pub fn encode(piece: PieceRef, offset: u32, data: &[u8]) -> BytesMut {
        let mut bytes = BytesMut::with_capacity(FRAME_HEADER + data.len());
        bytes.put_u32_le(piece.entry);
        bytes.put_u32_le(piece.piece);
        bytes.put_u32_le(offset);
        bytes.put_slice(data);
        bytes
    }

    /// Decodes a frame.
    pub fn decode(mut bytes: Bytes) -> Result<Frame, WireError> {
        if bytes.len() > FRAME_HEADER + FRAME_DATA {
            return Err(WireError::TooLong(bytes.len()));
        }
        if bytes.len() <= FRAME_HEADER {
            return Err(WireError::Malformed);
        }
        let header = bytes.split_to(FRAME_HEADER);
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let frame = Frame {
            piece: PieceRef {
                entry: word(0),
                piece: word(4),
            },
            offset: word(8),
            data: bytes,
        };
        let end = u64::from(frame.offset) + frame.data.len() as u64;
        if end > PIECE_LEN {
            Err(WireError::Malformed)
        } else {
            Ok(frame)
        }
    }
}
