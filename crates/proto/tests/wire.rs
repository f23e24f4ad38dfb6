//! The wire: what is written is read again, and what breaks a bound is an error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use passalong_proto::keys::DeviceId;
use passalong_proto::knock::{
    Candidate, CandidateKind, DeviceName, IceToken, MAX_CANDIDATES, MAX_DATAGRAM, Offer, SessionId,
};
use passalong_proto::tree::{PIECE_LEN, PieceHash};
use passalong_proto::wire::{
    FIELD_PART, FRAME_DATA, FRAME_HEADER, Frame, HASHES_PER_MESSAGE, Half, MANIFEST_PART,
    MAX_CARRIED, MAX_MESSAGE, MAX_PARALLEL, MEMBER_ADDRESSES, MEMBERS_PER_MESSAGE, Member, Message,
    PieceRef, REQUESTS_PER_MESSAGE, Signature, SourceProblem, WireError,
};
use proptest::prelude::*;

mod messages;

fn piece(entry: u32, piece: u32) -> PieceRef {
    PieceRef { entry, piece }
}

fn frame(offset: u32, length: usize) -> Result<Frame, WireError> {
    Frame::decode(Frame::encode(piece(1, 2), offset, &vec![3; length]).freeze())
}

proptest! {
    #[test]
    fn every_message_is_read_as_it_was_written(message in messages::any_message()) {
        let bytes = message.encode();
        prop_assert!(bytes.len() <= MAX_MESSAGE, "{} bytes", bytes.len());
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn each_half_hears_what_the_other_speaks(
        served in messages::of_a_sharer(),
        fetched in messages::of_a_receiver(),
    ) {
        for (message, half) in [(served, Half::Serving), (fetched, Half::Fetching)] {
            prop_assert!(message == Message::Alive || message.half() == half, "{:?}", message);
        }
    }

    #[test]
    fn a_message_cut_short_or_drawn_out_is_malformed(
        message in messages::any_message(),
        end in any::<prop::sample::Index>(),
        more in any::<u8>(),
    ) {
        let mut bytes = message.encode();
        let cut = &bytes[..end.index(bytes.len())];
        prop_assert_eq!(Message::decode(cut), Err(WireError::Malformed));
        bytes.push(more);
        prop_assert_eq!(Message::decode(&bytes), Err(WireError::Malformed));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_break_a_bound(
        first in 0..39_u8,
        mut bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        bytes.insert(0, first);
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert!(message.encode().len() <= MAX_MESSAGE);
        }
        let _ = Frame::decode(bytes.into());
    }

    #[test]
    fn every_frame_is_read_as_it_was_written(
        at in messages::piece_ref(),
        data in prop::collection::vec(any::<u8>(), 1..200),
        offset in 0..PIECE_LEN as u32 - 200,
    ) {
        let bytes = Frame::encode(at, offset, &data).freeze();
        prop_assert_eq!(bytes.len(), FRAME_HEADER + data.len());
        let expected = Frame { piece: at, offset, data: data.into() };
        prop_assert_eq!(Frame::decode(bytes), Ok(expected));
    }

    #[test]
    fn signatures_keep_their_bytes(bytes in prop::collection::vec(any::<u8>(), 64)) {
        let bytes: [u8; 64] = bytes.try_into().unwrap();
        prop_assert_eq!(<[u8; 64]>::from(Signature::from(bytes)), bytes);
    }
}

/// The longest there is.
fn half() -> Offer {
    let candidate = Candidate {
        kind: CandidateKind::Host,
        address: "[2001:db8::1]:65535".parse().unwrap(),
        priority: u32::MAX,
    };
    Offer {
        ufrag: IceToken::new(&"u".repeat(64)).unwrap(),
        password: IceToken::new(&"p".repeat(64)).unwrap(),
        fingerprint: [7; 32],
        candidates: vec![candidate; MAX_CANDIDATES],
    }
}

#[test]
fn connections_beside_a_link_keep_to_the_bounds_of_a_knock() {
    let many = |half: &mut Offer| half.candidates.push(half.candidates[0]);
    let nowhere = |half: &mut Offer| half.candidates[0].address.set_port(0);
    let guessable = |half: &mut Offer| half.password = IceToken::new(&"p".repeat(21)).unwrap();
    for spoil in [many as fn(&mut Offer), nowhere, guessable] {
        let mut halves = vec![half(); 2];
        spoil(&mut halves[1]);
        let message = Message::Parallel { lane: 1, halves };
        assert_eq!(Message::decode(&message.encode()), Err(WireError::TooMany));
    }
}

#[test]
fn lists_may_be_as_long_as_their_bounds_and_no_longer() {
    let part = |length| Message::ManifestPart {
        bytes: vec![7; length],
    };
    let hashes = |length| Message::Hashes {
        entry: u32::MAX,
        first: u32::MAX,
        hashes: vec![PieceHash([7; 32]); length],
    };
    let request = |length| Message::Request {
        pieces: vec![piece(u32::MAX, u32::MAX); length],
    };
    let cancel = |length| Message::CancelRequest {
        pieces: vec![piece(u32::MAX, u32::MAX); length],
    };
    let dropped = |length| Message::Dropped {
        pieces: vec![piece(u32::MAX, u32::MAX); length],
    };
    let holds = |length| Message::Holds {
        pieces: vec![u32::MAX; length],
    };
    let field = |length| Message::HoldsField {
        first: u32::MAX - 7,
        bits: vec![7; length],
    };
    let member = |addresses| Member {
        device: DeviceId([7; 32]),
        name: DeviceName::new(&"é".repeat(1000)),
        pieces: u32::MAX,
        complete: true,
        links: u8::MAX,
        age: u16::MAX,
        addresses: vec!["[2001:db8::1]:65535".parse().unwrap(); addresses],
    };
    let members = |length, addresses| Message::Members {
        members: vec![member(addresses); length],
    };
    let forward = |length| Message::Forward {
        to: DeviceId([7; 32]),
        sealed: vec![7; length],
    };
    let forwarded = |length| Message::Forwarded {
        from: DeviceId([7; 32]),
        sealed: vec![7; length],
    };
    let carry = |length| Message::Carry {
        to: DeviceId([7; 32]),
        session: SessionId([7; 16]),
        datagram: vec![7; length],
    };
    let carried = |length| Message::Carried {
        from: DeviceId([7; 32]),
        session: SessionId([7; 16]),
        datagram: vec![7; length],
    };
    let parallel = |length| Message::Parallel {
        lane: u32::MAX,
        halves: vec![half(); length],
    };
    let answer = |length| Message::ParallelAnswer {
        lane: u32::MAX,
        halves: vec![half(); length],
    };
    for (fits, too_many) in [
        (parallel(MAX_PARALLEL), parallel(MAX_PARALLEL + 1)),
        (answer(MAX_PARALLEL), answer(MAX_PARALLEL + 1)),
        (carry(MAX_CARRIED), carry(MAX_CARRIED + 1)),
        (carried(MAX_CARRIED), carried(MAX_CARRIED + 1)),
        (part(MANIFEST_PART), part(MANIFEST_PART + 1)),
        (field(FIELD_PART), field(FIELD_PART + 1)),
        (holds(REQUESTS_PER_MESSAGE), holds(REQUESTS_PER_MESSAGE + 1)),
        (
            cancel(REQUESTS_PER_MESSAGE),
            cancel(REQUESTS_PER_MESSAGE + 1),
        ),
        (
            dropped(REQUESTS_PER_MESSAGE),
            dropped(REQUESTS_PER_MESSAGE + 1),
        ),
        (
            members(MEMBERS_PER_MESSAGE, MEMBER_ADDRESSES),
            members(MEMBERS_PER_MESSAGE + 1, 0),
        ),
        (
            members(1, MEMBER_ADDRESSES),
            members(1, MEMBER_ADDRESSES + 1),
        ),
        (forward(MAX_DATAGRAM), forward(MAX_DATAGRAM + 1)),
        (forwarded(MAX_DATAGRAM), forwarded(MAX_DATAGRAM + 1)),
        (hashes(HASHES_PER_MESSAGE), hashes(HASHES_PER_MESSAGE + 1)),
        (
            request(REQUESTS_PER_MESSAGE),
            request(REQUESTS_PER_MESSAGE + 1),
        ),
    ] {
        let bytes = fits.encode();
        assert!(bytes.len() <= MAX_MESSAGE, "{}", bytes.len());
        assert_eq!(Message::decode(&bytes), Ok(fits));
        assert_eq!(Message::decode(&too_many.encode()), Err(WireError::TooMany));
    }
}

#[test]
fn a_bitfield_begins_at_a_whole_byte() {
    for first in [1, 7, 9, u32::MAX] {
        let bits = vec![1];
        let message = Message::HoldsField { first, bits };
        assert_eq!(Message::decode(&message.encode()), Err(WireError::TooMany));
    }
}

#[test]
fn a_message_that_is_too_long_is_refused_unread() {
    let bytes = vec![0; MAX_MESSAGE + 1];
    let expected = WireError::TooLong(MAX_MESSAGE + 1);
    assert_eq!(Message::decode(&bytes), Err(expected));
}

#[test]
fn a_list_that_claims_more_than_the_message_holds_is_malformed() {
    // A request for 2³² - 1 pieces, of which one is there.
    let mut bytes = Message::Request {
        pieces: vec![piece(0, 0)],
    }
    .encode();
    let behind = bytes.split_off(2);
    bytes.pop();
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    bytes.extend(behind);
    assert_eq!(Message::decode(&bytes), Err(WireError::Malformed));
}

#[test]
fn a_frame_lies_within_its_piece_and_within_a_message() {
    let length = PIECE_LEN as u32;
    assert!(frame(0, 1).is_ok());
    assert!(frame(0, FRAME_DATA).is_ok());
    assert!(frame(length - 1, 1).is_ok());
    assert_eq!(frame(length, 1), Err(WireError::Malformed));
    assert_eq!(frame(length - 1, 2), Err(WireError::Malformed));
    assert_eq!(frame(u32::MAX, FRAME_DATA), Err(WireError::Malformed));
    assert_eq!(frame(0, 0), Err(WireError::Malformed));
    let long = FRAME_HEADER + FRAME_DATA + 1;
    assert_eq!(frame(0, FRAME_DATA + 1), Err(WireError::TooLong(long)));
    for length in 0..=FRAME_HEADER {
        let short = Bytes::from(vec![0; length]);
        assert_eq!(Frame::decode(short), Err(WireError::Malformed));
    }
}

#[test]
fn every_reason_ends_a_sentence() {
    for reason in [
        SourceProblem::Vanished,
        SourceProblem::Changed,
        SourceProblem::Unreadable,
    ] {
        let text = reason.reason();
        assert!(
            text.starts_with(char::is_lowercase) && !text.ends_with('.'),
            "{text}"
        );
    }
}
