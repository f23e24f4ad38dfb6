//! Serving: whatever a receiver sends, it gets what it may ask for and no more.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use passalong_proto::manifest::{Entry, EntryKind, Manifest};
use passalong_proto::safe_path::SafePath;
use passalong_proto::serve::{Serve, ServeEvent, Violation};
use passalong_proto::tree::{PIECE_LEN, PieceHash, Root, piece_count, single_piece_root};
use passalong_proto::wire::{
    Farewell, MAX_OUTSTANDING, Message, PieceRef, REQUESTS_PER_MESSAGE, SourceProblem,
};
use proptest::prelude::*;

mod messages;

fn file(path: &str, size: u64) -> Entry {
    let root = if size == 0 {
        single_piece_root(b"")
    } else {
        Root([7; 32])
    };
    Entry {
        path: SafePath::parse(path).unwrap(),
        kind: EntryKind::File {
            size,
            root,
            modified: None,
        },
    }
}

/// A file of no, one, two, five and 70 pieces, and a folder between them.
fn manifest() -> Manifest {
    let folder = Entry {
        path: SafePath::parse("folder").unwrap(),
        kind: EntryKind::Folder { modified: None },
    };
    let entries = vec![
        file("none", 0),
        file("one", 1),
        folder,
        file("two", PIECE_LEN + 1),
        file("five", 5 * PIECE_LEN),
        file("many", 70 * PIECE_LEN),
    ];
    Manifest::new("", entries).unwrap()
}

fn pieces_of(manifest: &Manifest, entry: u32) -> u32 {
    let entry = manifest.entries().get(entry as usize);
    entry.map_or(0, |entry| piece_count(entry.size()))
}

fn request(entry: u32, pieces: impl IntoIterator<Item = u32>) -> Message {
    let pieces = pieces.into_iter().map(|piece| PieceRef { entry, piece });
    Message::Request {
        pieces: pieces.collect(),
    }
}

const ACCEPT: Message = Message::Accept { files: 5, bytes: 1 };

/// A link whose receiver has accepted.
fn accepted(manifest: &Manifest) -> Serve {
    let mut serve = Serve::default();
    serve.manifest_sent();
    serve.handle(ACCEPT, Some(manifest)).unwrap();
    serve
}

#[derive(Clone, Debug)]
enum Step {
    ManifestSent,
    Message(Message),
    PieceSettled,
    HashesSent,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::ManifestSent),
        3 => Just(Step::Message(ACCEPT)),
        20 => messages::of_a_receiver().prop_map(Step::Message),
        1 => messages::any_message().prop_map(Step::Message),
        6 => Just(Step::PieceSettled),
        2 => Just(Step::HashesSent),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn only_what_exists_is_handed_out_and_only_after_accepting_and_within_bounds(steps in steps()) {
        let manifest = manifest();
        let mut serve = Serve::default();
        let (mut listed, mut accepted, mut over) = (false, None, false);
        let (mut pieces_out, mut hashes_out) = (0_usize, 0_usize);
        for step in steps {
            let message = match step {
                Step::ManifestSent => {
                    listed = true;
                    serve.manifest_sent();
                    continue;
                }
                Step::PieceSettled => {
                    pieces_out = pieces_out.saturating_sub(1);
                    serve.piece_settled();
                    continue;
                }
                Step::HashesSent => {
                    hashes_out = hashes_out.saturating_sub(1);
                    serve.hashes_sent();
                    continue;
                }
                Step::Message(message) => message,
            };
            let Ok(Some(event)) = serve.handle(message.clone(), listed.then_some(&manifest)) else {
                continue;
            };
            match event {
                ServeEvent::Accepted { bytes, files } => {
                    prop_assert!(listed && accepted.is_none() && !over);
                    prop_assert!(bytes <= manifest.bytes() && files as usize <= 6);
                    accepted = Some(bytes);
                }
                ServeEvent::SendPieces { pieces } => {
                    prop_assert!(accepted.is_some() && !over);
                    for piece in &pieces {
                        prop_assert!(piece.piece < pieces_of(&manifest, piece.entry));
                    }
                    pieces_out += pieces.len();
                    prop_assert!(pieces_out <= MAX_OUTSTANDING);
                    prop_assert_eq!(Message::Request { pieces }, message);
                }
                ServeEvent::SendHashes { entry } => {
                    prop_assert!(accepted.is_some() && !over);
                    prop_assert!(pieces_of(&manifest, entry) >= 2);
                    hashes_out += 1;
                    prop_assert!(hashes_out <= 64);
                }
                ServeEvent::Progress { bytes } => prop_assert!(accepted.unwrap() >= bytes),
                ServeEvent::Complete => {
                    prop_assert!(accepted.is_some() && !over && serve.is_served());
                    over = true;
                }
                ServeEvent::Declined | ServeEvent::Cancelled | ServeEvent::Left(_) => over = true,
            }
        }
    }

    #[test]
    fn messages_of_a_sharer_end_the_link(message in messages::of_a_sharer()) {
        prop_assume!(message != Message::Alive);
        let manifest = manifest();
        prop_assert!(Serve::default().handle(message.clone(), None).is_err());
        prop_assert!(accepted(&manifest).handle(message, Some(&manifest)).is_err());
    }
}

#[test]
fn nothing_can_be_asked_for_before_the_list_was_seen_and_accepted() {
    let manifest = manifest();
    for message in [
        request(1, [0]),
        Message::WantHashes { entry: 4 },
        Message::Progress { bytes: 0 },
        Message::Complete,
    ] {
        let mut serve = Serve::default();
        assert!(serve.handle(message.clone(), None).is_err());
        serve.manifest_sent();
        assert!(serve.handle(message, Some(&manifest)).is_err());
    }
    assert!(Serve::default().handle(ACCEPT, None).is_err());
    assert!(Serve::default().handle(ACCEPT, Some(&manifest)).is_err());
}

#[test]
fn accepting_more_than_was_offered_or_twice_ends_the_link() {
    let manifest = manifest();
    let all = manifest.bytes();
    for (files, bytes) in [(7, 0), (u32::MAX, 0), (1, all + 1), (1, u64::MAX)] {
        let mut serve = Serve::default();
        serve.manifest_sent();
        let outcome = serve.handle(Message::Accept { files, bytes }, Some(&manifest));
        assert!(outcome.is_err(), "{files} files, {bytes} bytes");
    }
    assert!(accepted(&manifest).handle(ACCEPT, Some(&manifest)).is_err());
}

#[test]
fn pieces_and_hashes_that_do_not_exist_end_the_link() {
    let manifest = manifest();
    for message in [
        request(0, [0]),
        request(1, [1]),
        request(2, [0]),
        request(3, [0, 1, 2]),
        request(6, [0]),
        request(u32::MAX, [u32::MAX]),
        Message::WantHashes { entry: 0 },
        Message::WantHashes { entry: 1 },
        Message::WantHashes { entry: 2 },
        Message::WantHashes { entry: 6 },
    ] {
        let outcome = accepted(&manifest).handle(message.clone(), Some(&manifest));
        assert!(outcome.is_err(), "{message:?}");
    }
}

#[test]
fn requests_beyond_the_bound_end_the_link_and_settled_pieces_make_room() {
    let manifest = manifest();
    let mut serve = accepted(&manifest);
    let most = || request(4, (0..REQUESTS_PER_MESSAGE as u32).map(|piece| piece % 5));
    for _ in 0..MAX_OUTSTANDING / REQUESTS_PER_MESSAGE {
        assert!(serve.handle(most(), Some(&manifest)).is_ok());
    }
    let violation = serve.handle(request(1, [0]), Some(&manifest)).unwrap_err();
    assert!(matches!(violation, Violation(_)));
    serve.piece_settled();
    assert!(serve.handle(request(1, [0]), Some(&manifest)).is_ok());
    assert!(serve.handle(request(1, [0]), Some(&manifest)).is_err());
}

#[test]
fn hashes_beyond_the_bound_end_the_link_and_sent_ones_make_room() {
    let manifest = manifest();
    let mut serve = accepted(&manifest);
    let want = Message::WantHashes { entry: 5 };
    for _ in 0..64 {
        assert!(serve.handle(want.clone(), Some(&manifest)).is_ok());
    }
    assert!(serve.handle(want.clone(), Some(&manifest)).is_err());
    serve.hashes_sent();
    assert!(serve.handle(want, Some(&manifest)).is_ok());
}

#[test]
fn nobody_claims_to_hold_more_than_they_accepted() {
    let manifest = manifest();
    let claimed = Message::Progress { bytes: u64::MAX };
    let event = accepted(&manifest).handle(claimed, Some(&manifest));
    assert_eq!(event, Ok(Some(ServeEvent::Progress { bytes: 1 })));
}

#[test]
fn whoever_parts_is_asked_nothing_more_and_gets_nothing_more() {
    let manifest = manifest();
    for (message, expected) in [
        (Message::Decline, ServeEvent::Declined),
        (Message::Cancel, ServeEvent::Cancelled),
        (Message::Complete, ServeEvent::Complete),
        (
            Message::Bye {
                reason: Farewell::Closing,
            },
            ServeEvent::Left(Farewell::Closing),
        ),
    ] {
        let mut serve = accepted(&manifest);
        let event = serve.handle(message.clone(), Some(&manifest));
        assert_eq!(event, Ok(Some(expected)));
        assert!(serve.handle(request(1, [0]), Some(&manifest)).is_err());
        assert!(serve.handle(ACCEPT, Some(&manifest)).is_err());
        assert_eq!(serve.is_served(), message == Message::Complete);
    }
}

#[test]
fn a_receiver_may_decline_cancel_leave_or_be_silent_at_any_time() {
    let mut serve = Serve::default();
    assert_eq!(serve.handle(Message::Alive, None), Ok(None));
    for (message, expected) in [
        (Message::Decline, ServeEvent::Declined),
        (Message::Cancel, ServeEvent::Cancelled),
    ] {
        let event = Serve::default().handle(message, None);
        assert_eq!(event, Ok(Some(expected)));
    }
}

#[test]
fn a_second_hello_or_a_report_from_a_sharer_ends_the_link() {
    let manifest = manifest();
    for message in [
        Message::Hello {
            version: 1,
            signature: [0; 64].into(),
        },
        Message::Unavailable {
            entry: 1,
            reason: SourceProblem::Changed,
        },
        Message::Hashes {
            entry: 3,
            first: 0,
            hashes: vec![PieceHash([0; 32]); 2],
        },
    ] {
        let outcome = accepted(&manifest).handle(message, Some(&manifest));
        assert!(outcome.is_err());
    }
}
