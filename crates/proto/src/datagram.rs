//! What a datagram on a shared UDP socket is, told by its first byte (RFC 7983,
//! RFC 9443), and how a batch of them is taken apart.
//!
//! Invariant: sorting loses no byte and makes none up. QUIC is what has its fixed
//! bit set and comes from the one address that ICE nominated; so a channel of a
//! TURN server (64 to 79) is never mistaken for it. Which address that is, and
//! what becomes of the rest, is the caller's business.

use std::ops::Range;

/// The bit that every QUIC packet has set (RFC 9000, 17.2 and 17.3.1), as long as
/// nobody greases it (RFC 9287).
const FIXED_BIT: u8 = 0x40;

/// Whom a datagram is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// STUN, of ICE or of a server.
    Stun,
    /// DTLS, which carries the data channels.
    Dtls,
    /// A channel of a TURN server.
    TurnChannel,
    /// QUIC from the nominated address.
    Quic,
    /// Nothing that is spoken here.
    Other,
}

impl Kind {
    /// What a datagram with this first byte is.
    pub fn of(first: u8, from_nominated: bool) -> Kind {
        match first {
            _ if from_nominated && first & FIXED_BIT != 0 => Kind::Quic,
            0..=3 => Kind::Stun,
            20..=63 => Kind::Dtls,
            64..=79 => Kind::TurnChannel,
            _ => Kind::Other,
        }
    }
}

/// The datagrams of one read: `bytes` in datagrams of `stride` bytes, of which the
/// last may be shorter. A stride of 0 counts as 1.
pub fn datagrams(bytes: usize, stride: usize) -> impl Iterator<Item = Range<usize>> {
    let stride = stride.max(1);
    (0..bytes)
        .step_by(stride)
        .map(move |start| start..(start + stride).min(bytes))
}

/// Takes what is not QUIC out of one read: `other` is given each such datagram, and
/// the QUIC ones are moved together at the front. Returns how many bytes those are;
/// they keep their stride.
pub fn keep_quic(
    buffer: &mut [u8],
    stride: usize,
    from_nominated: bool,
    mut other: impl FnMut(Kind, &[u8]),
) -> usize {
    let mut kept = 0;
    for range in datagrams(buffer.len(), stride) {
        let kind = Kind::of(buffer[range.start], from_nominated);
        if kind != Kind::Quic {
            other(kind, &buffer[range]);
            continue;
        }
        let length = range.len();
        if kept != range.start {
            buffer.copy_within(range, kept);
        }
        kept += length;
    }
    kept
}
