//! What two linked members of a share say to each other: control messages and
//! piece frames. A link is symmetric: each side serves what it holds to the
//! other and fetches what it lacks.
//!
//! Control messages are postcard, one to a data-channel message, on channel
//! [`CONTROL_CHANNEL`]. File bytes travel on lanes: as self-describing frames on
//! [`BULK_CHANNEL`], of this connection or of others that were made beside it, or as
//! pieces with a [`PieceHeader`] each on streams of a QUIC connection. Both channels are ordered and reliable, pre-negotiated
//! (RFC 8832 is not used). Decoding bounds everything before it allocates; what
//! a message means is the business of [`crate::serve`] and [`crate::fetch`].

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::keys::DeviceId;
use crate::knock::{DeviceName, MAX_DATAGRAM, Offer, SessionId};
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
/// Longest part of a bitfield in one message, in bytes.
pub const FIELD_PART: usize = 48 * 1024;
/// Most members in one message.
pub const MEMBERS_PER_MESSAGE: usize = 64;
/// Most addresses told of one member.
pub const MEMBER_ADDRESSES: usize = 3;
/// Longest datagram that is carried for others, in bytes.
pub const MAX_CARRIED: usize = 1500;
/// The number of the first set of parallel connections of a link: those of QUIC lanes
/// are below it.
pub const FIRST_PARALLEL: u32 = 1 << 31;
/// Most connections in one such set.
pub const MAX_PARALLEL: usize = 7;
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

/// A control message. The serving half of a side says what its other half's
/// counterpart hears: [`crate::serve`] speaks to [`crate::fetch`] and the other
/// way round.
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
    /// Serving: files are still being hashed.
    Preparing {
        /// Bytes hashed.
        done_bytes: u64,
        /// Bytes found.
        total_bytes: u64,
    },
    /// Serving: this side has the list.
    Listed {
        /// [`crate::manifest::Manifest::outline`].
        hash: [u8; 32],
        /// [`crate::manifest::Manifest::edition`]; a hint until the manifest is here.
        edition: u64,
        /// The share is for one person: it is not to be passed on.
        one_person: bool,
        /// It is [whole](crate::manifest::Manifest::is_whole). Told again when it has
        /// become so.
        whole: bool,
    },
    /// Serving: this side made the share. By the share key over the same
    /// [`crate::keys::link_binding`] as in `Hello`.
    Sharer {
        /// Public half of the share key.
        public_key: [u8; 32],
        /// By that key.
        signature: Signature,
    },
    /// Fetching: send the list.
    WantManifest,
    /// Serving: the signed manifest follows in parts, `length` bytes in all.
    Manifest {
        /// Public half of the share key.
        public_key: [u8; 32],
        /// By the share key over the manifest.
        signature: Signature,
        /// Bytes that follow.
        length: u32,
    },
    /// Serving: the next part of the manifest.
    ManifestPart {
        /// At most [`MANIFEST_PART`] bytes.
        bytes: Vec<u8>,
    },
    /// Fetching: the person accepted.
    Accept {
        /// Files wanted.
        files: u32,
        /// Bytes wanted.
        bytes: u64,
    },
    /// Fetching: the person declined.
    Decline,
    /// Fetching: the person cancelled.
    Cancel,
    /// Serving: every piece of the share is held here.
    HoldsAll,
    /// Serving: part of the bitfield of what is held here, least significant
    /// bit first ([`crate::pieces::PieceMap`] numbers the pieces).
    HoldsField {
        /// First piece that `bits` tells of; a multiple of 8.
        first: u32,
        /// At most [`FIELD_PART`] bytes.
        bits: Vec<u8>,
    },
    /// Serving: these pieces are held here from now on.
    Holds {
        /// At most [`REQUESTS_PER_MESSAGE`].
        pieces: Vec<u32>,
    },
    /// Fetching: whether this side wants anything that the other holds.
    Interest {
        /// It does.
        wants: bool,
    },
    /// Serving: requests are answered from now on.
    Unchoke,
    /// Serving: requests are not answered until the next `Unchoke`; those that
    /// were not begun are dropped, each named in a `Dropped`.
    Choke,
    /// Fetching: send the piece hashes of a file of more than one piece.
    WantHashes {
        /// The file.
        entry: u32,
    },
    /// Serving: piece hashes of a file, in order.
    Hashes {
        /// The file.
        entry: u32,
        /// Index of the first hash here.
        first: u32,
        /// At most [`HASHES_PER_MESSAGE`].
        hashes: Vec<PieceHash>,
    },
    /// Serving: the hashes of this file are not here (any more).
    NoHashes {
        /// The file.
        entry: u32,
    },
    /// Fetching: send the signed hashes of these pieces that are here, and others as
    /// they become known. Asked while the list is not whole.
    WantSignedHashes {
        /// Pieces before this number are not needed.
        from: u32,
    },
    /// Serving: hashes of pieces that the share's list does not vouch for yet
    /// ([`crate::signed_hashes`]).
    SignedHashes {
        /// Number of the first piece.
        first: u32,
        /// At most [`HASHES_PER_MESSAGE`], of that piece and those that follow.
        hashes: Vec<PieceHash>,
        /// By the share key.
        signature: Signature,
    },
    /// Fetching: send these pieces on the bulk channel, in this order.
    Request {
        /// At most [`REQUESTS_PER_MESSAGE`].
        pieces: Vec<PieceRef>,
    },
    /// Fetching: these requests are not needed any more. Each is still answered:
    /// by the piece or by `Dropped`.
    CancelRequest {
        /// At most [`REQUESTS_PER_MESSAGE`].
        pieces: Vec<PieceRef>,
    },
    /// Serving: these requests will not be answered by a piece (BEP 6, reject). No
    /// frame of them was sent.
    Dropped {
        /// At most [`REQUESTS_PER_MESSAGE`].
        pieces: Vec<PieceRef>,
    },
    /// Serving: this file cannot be sent from here; pieces of it that were asked
    /// for will not come.
    Unavailable {
        /// The file.
        entry: u32,
        /// Why.
        reason: SourceProblem,
    },
    /// Fetching: bytes held and verified.
    Progress {
        /// Of those accepted.
        bytes: u64,
    },
    /// Fetching: everything accepted is here.
    Complete,
    /// Either: who else is in the swarm.
    Members {
        /// At most [`MEMBERS_PER_MESSAGE`].
        members: Vec<Member>,
    },
    /// Either: pass a sealed knock or answer on to another member.
    Forward {
        /// Whom it is for.
        to: DeviceId,
        /// At most [`MAX_DATAGRAM`] bytes.
        sealed: Vec<u8>,
    },
    /// Either: a sealed knock or answer that another member asked to pass on.
    Forwarded {
        /// Whom it is from.
        from: DeviceId,
        /// At most [`MAX_DATAGRAM`] bytes.
        sealed: Vec<u8>,
    },
    /// Either: the share was stopped by whoever made it. Passed on to everybody.
    Stopped {
        /// Public half of the share key.
        public_key: [u8; 32],
        /// By that key ([`crate::keys::stop_statement`]).
        signature: Signature,
    },
    /// Either: this link ends, on purpose.
    Bye {
        /// Why.
        reason: Farewell,
    },
    /// Either: QUIC is spoken here, on the path that ICE nominated. The knocker
    /// says so first and dials; the answerer answers with the same number once it
    /// takes the call.
    Quic {
        /// Counts the lanes of this link, from 1.
        lane: u32,
        /// BLAKE3 of the certificate (DER) that this side will show.
        certificate: [u8; 32],
    },
    /// Serving: a lane other than the bulk channel broke. Nothing comes on it any more,
    /// and of these pieces, which went out on it, those that did not come whole count as
    /// dropped.
    LaneLost {
        /// Its number.
        lane: u32,
        /// At most [`REQUESTS_PER_MESSAGE`].
        pieces: Vec<PieceRef>,
    },
    /// Either: further WebRTC connections, to be made beside this one, on whose bulk
    /// channels this side sends pieces. These are its halves.
    Parallel {
        /// Counts the sets of such connections that this side offers on this link, from
        /// [`FIRST_PARALLEL`].
        lane: u32,
        /// At most [`MAX_PARALLEL`].
        halves: Vec<Offer>,
    },
    /// Either: the other halves, in the same order. Where both channels of a connection
    /// have opened here, [`Message::Alive`] is said on its control channel.
    ParallelAnswer {
        /// Of the set that is answered.
        lane: u32,
        /// At most [`MAX_PARALLEL`].
        halves: Vec<Offer>,
    },
    /// Either: whether this side would carry datagrams between members that it is
    /// linked with. Unless it says so, it would not.
    Carries {
        /// It would.
        willing: bool,
    },
    /// Either: carry a datagram of a connection to another member. What is in it is
    /// sealed between the two, and it may get lost.
    Carry {
        /// Whom it is for.
        to: DeviceId,
        /// Of the knock that the connection began with.
        session: SessionId,
        /// At most [`MAX_CARRIED`] bytes.
        datagram: Vec<u8>,
    },
    /// Either: a datagram that another member asked to carry.
    Carried {
        /// Whom it is from.
        from: DeviceId,
        /// Of the knock that the connection began with.
        session: SessionId,
        /// At most [`MAX_CARRIED`] bytes.
        datagram: Vec<u8>,
    },
}

/// Which half of a side speaks a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The one that serves; the other side's [`crate::fetch`] hears it.
    Serving,
    /// The one that fetches; the other side's [`crate::serve`] hears it.
    Fetching,
    /// Neither: it is about the link, the swarm or the share.
    Either,
}

/// A member of the swarm, as another one tells of it. All of it is hearsay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Their device.
    pub device: DeviceId,
    /// What they go by.
    pub name: DeviceName,
    /// Pieces they hold.
    pub pieces: u32,
    /// Everything they want is there.
    pub complete: bool,
    /// Links they have, as far as known.
    pub links: u8,
    /// Seconds since they were heard of from themselves.
    pub age: u16,
    /// Where they take knocks, at most [`MEMBER_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
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
    /// This side has links enough, and so has the other.
    Crowded,
    /// The other side sent what does not verify.
    Corrupt,
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

    /// Who speaks it.
    pub fn half(&self) -> Half {
        match self {
            Message::Preparing { .. }
            | Message::Listed { .. }
            | Message::Sharer { .. }
            | Message::Manifest { .. }
            | Message::ManifestPart { .. }
            | Message::HoldsAll
            | Message::HoldsField { .. }
            | Message::Holds { .. }
            | Message::Unchoke
            | Message::Choke
            | Message::Hashes { .. }
            | Message::NoHashes { .. }
            | Message::SignedHashes { .. }
            | Message::Dropped { .. }
            | Message::LaneLost { .. }
            | Message::Unavailable { .. } => Half::Serving,
            Message::WantManifest
            | Message::Accept { .. }
            | Message::Decline
            | Message::Cancel
            | Message::Interest { .. }
            | Message::WantHashes { .. }
            | Message::WantSignedHashes { .. }
            | Message::Request { .. }
            | Message::CancelRequest { .. }
            | Message::Progress { .. }
            | Message::Complete => Half::Fetching,
            Message::Hello { .. }
            | Message::Alive
            | Message::Members { .. }
            | Message::Forward { .. }
            | Message::Forwarded { .. }
            | Message::Stopped { .. }
            | Message::Quic { .. }
            | Message::Parallel { .. }
            | Message::ParallelAnswer { .. }
            | Message::Carries { .. }
            | Message::Carry { .. }
            | Message::Carried { .. }
            | Message::Bye { .. } => Half::Either,
        }
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
            Message::Hashes { hashes, .. } | Message::SignedHashes { hashes, .. } => {
                hashes.len() <= HASHES_PER_MESSAGE
            }
            Message::Request { pieces }
            | Message::CancelRequest { pieces }
            | Message::Dropped { pieces }
            | Message::LaneLost { pieces, .. } => pieces.len() <= REQUESTS_PER_MESSAGE,
            Message::Holds { pieces } => pieces.len() <= REQUESTS_PER_MESSAGE,
            Message::HoldsField { first, bits } => first % 8 == 0 && bits.len() <= FIELD_PART,
            Message::Members { members } => {
                members.len() <= MEMBERS_PER_MESSAGE
                    && members
                        .iter()
                        .all(|member| member.addresses.len() <= MEMBER_ADDRESSES)
            }
            Message::Forward { sealed, .. } | Message::Forwarded { sealed, .. } => {
                sealed.len() <= MAX_DATAGRAM
            }
            Message::Carry { datagram, .. } | Message::Carried { datagram, .. } => {
                datagram.len() <= MAX_CARRIED
            }
            Message::Parallel { halves, .. } | Message::ParallelAnswer { halves, .. } => {
                halves.len() <= MAX_PARALLEL && halves.iter().all(Offer::is_sound)
            }
            _ => true,
        };
        if within {
            Ok(message)
        } else {
            Err(WireError::TooMany)
        }
    }
}

/// Bytes of a [`PieceHeader`]: entry, piece and length, little-endian u32.
pub const PIECE_HEADER: usize = 12;

/// What stands before each piece on a QUIC stream, which carries one piece or
/// several small ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceHeader {
    /// The piece.
    pub piece: PieceRef,
    /// Its bytes, which follow: at least one, at most [`PIECE_LEN`].
    pub length: u32,
}

impl PieceHeader {
    /// Encodes the header.
    pub fn encode(self) -> [u8; PIECE_HEADER] {
        let mut bytes = [0; PIECE_HEADER];
        bytes[..4].copy_from_slice(&self.piece.entry.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.piece.piece.to_le_bytes());
        bytes[8..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Decodes a header.
    pub fn decode(bytes: [u8; PIECE_HEADER]) -> Result<PieceHeader, WireError> {
        let [entry, piece, length] = words(&bytes);
        if length == 0 || u64::from(length) > PIECE_LEN {
            return Err(WireError::Malformed);
        }
        Ok(PieceHeader {
            piece: PieceRef { entry, piece },
            length,
        })
    }
}

/// The three little-endian numbers of a header.
fn words(header: &[u8; FRAME_HEADER]) -> [u32; 3] {
    let (words, _) = header.as_chunks::<4>();
    std::array::from_fn(|at| u32::from_le_bytes(words[at]))
}

/// Part of a piece, as it travels on the bulk channel, or as it came on any lane.
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
    pub fn decode(bytes: Bytes) -> Result<Frame, WireError> {
        if bytes.len() > FRAME_HEADER + FRAME_DATA {
            return Err(WireError::TooLong(bytes.len()));
        }
        let Some((header, data @ [_, ..])) = bytes.split_first_chunk() else {
            return Err(WireError::Malformed);
        };
        let [entry, piece, offset] = words(header);
        let frame = Frame {
            piece: PieceRef { entry, piece },
            offset,
            data: bytes.slice_ref(data),
        };
        let end = u64::from(frame.offset) + frame.data.len() as u64;
        if end > PIECE_LEN {
            Err(WireError::Malformed)
        } else {
            Ok(frame)
        }
    }
}
