//! Serving: whatever a receiver sends, it gets what it may ask for and no more.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;

use passalong_proto::manifest::{Content, Entry, EntryKind, Manifest};
use passalong_proto::pieces::PieceMap;
use passalong_proto::safe_path::SafePath;
use passalong_proto::serve::{Serve, ServeEvent, Violation};
use passalong_proto::tree::{PIECE_LEN, Root, piece_count, single_piece_root};
use passalong_proto::wire::{MAX_OUTSTANDING, Message, PieceRef, REQUESTS_PER_MESSAGE};
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
            content: Content::Hashed(root),
            modified: None,
        },
    }
}

/// A file of no, one, two, five and 4000 pieces, and a folder between them.
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
        file("many", 4000 * PIECE_LEN),
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

/// A link, and the list that the receiver was told of.
struct Link {
    manifest: Manifest,
    pieces: PieceMap,
    serve: Serve,
}

impl Link {
    /// The receiver was told nothing yet.
    fn up() -> Link {
        let manifest = manifest();
        let pieces = PieceMap::of(&manifest).unwrap();
        let serve = Serve::default();
        Link {
            manifest,
            pieces,
            serve,
        }
    }

    fn listed() -> Link {
        let mut link = Link::up();
        link.serve.listed();
        link
    }

    /// The receiver has accepted, and may ask.
    fn accepted() -> Link {
        let mut link = Link::listed();
        link.hears(ACCEPT).unwrap();
        link.serve.unchoke();
        link
    }

    fn hears(&mut self, message: Message) -> Result<Option<ServeEvent>, Violation> {
        self.serve
            .handle(message, Some(&self.manifest), Some(&self.pieces))
    }
}

#[derive(Clone, Debug)]
enum Step {
    Listed,
    Choke(bool),
    Message(Message),
    /// One of those outstanding.
    PieceSettled(prop::sample::Index),
    HashesSent,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Listed),
        1 => any::<bool>().prop_map(Step::Choke),
        3 => Just(Step::Message(ACCEPT)),
        20 => messages::of_a_receiver().prop_map(Step::Message),
        1 => messages::any_message().prop_map(Step::Message),
        6 => any::<prop::sample::Index>().prop_map(Step::PieceSettled),
        2 => Just(Step::HashesSent),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    #[test]
    fn only_what_exists_is_handed_out_once_and_only_after_accepting_and_within_bounds(
        steps in steps(),
    ) {
        let mut link = Link::up();
        let (mut listed, mut accepted, mut over, mut choked) = (false, None, false, true);
        let mut out: HashSet<PieceRef> = HashSet::new();
        let (mut hashes_out, mut lists_out) = (0, 0);
        for step in steps {
            let message = match step {
                Step::Listed => {
                    listed = true;
                    link.serve.listed();
                    continue;
                }
                Step::Choke(choke) => {
                    choked = choke;
                    match choke {
                        true => link.serve.choke(),
                        false => link.serve.unchoke(),
                    }
                    continue;
                }
                Step::PieceSettled(place) => {
                    let mut sorted: Vec<PieceRef> = out.iter().copied().collect();
                    sorted.sort_unstable();
                    if let Some(piece) = sorted.get(place.index(sorted.len().max(1))) {
                        out.remove(piece);
                        link.serve.piece_settled(*piece);
                    }
                    continue;
                }
                Step::HashesSent => {
                    hashes_out = i32::max(hashes_out - 1, 0);
                    link.serve.hashes_sent();
                    continue;
                }
                Step::Message(message) => message,
            };
            prop_assert_eq!(link.serve.is_choked(), choked);
            prop_assert_eq!(link.serve.outstanding(), out.len());
            let Ok(Some(event)) = link.hears(message.clone()) else {
                continue;
            };
            let asked_for = match &message {
                Message::Request { pieces } | Message::CancelRequest { pieces } => pieces.clone(),
                _ => Vec::new(),
            };
            match event {
                ServeEvent::SendManifest => {
                    prop_assert!(listed);
                    lists_out += 1;
                    prop_assert!(lists_out <= 4);
                }
                ServeEvent::Accepted { bytes, files } => {
                    prop_assert!(listed);
                    prop_assert!(bytes <= link.manifest.bytes() && files <= 5);
                    accepted = Some(bytes);
                    over = false;
                }
                ServeEvent::SendPieces { pieces } => {
                    prop_assert!(accepted.is_some() && !over && !choked);
                    for piece in &pieces {
                        prop_assert!(piece.piece < pieces_of(&link.manifest, piece.entry));
                        prop_assert!(out.insert(*piece), "{:?} is to be sent twice", piece);
                    }
                    prop_assert!(out.len() <= MAX_OUTSTANDING);
                    prop_assert_eq!(pieces, asked_for);
                }
                ServeEvent::Refuse { pieces } => {
                    prop_assert!(accepted.is_some() && !over && choked);
                    prop_assert!(pieces.iter().all(|piece| !out.contains(piece)));
                    prop_assert_eq!(pieces, asked_for);
                }
                ServeEvent::DropRequests { pieces } => {
                    let expected: Vec<PieceRef> =
                        asked_for.into_iter().filter(|piece| out.contains(piece)).collect();
                    prop_assert_eq!(pieces, expected);
                }
                ServeEvent::SendSignedHashes { from } => prop_assert!(from <= link.pieces.count()),
                ServeEvent::SendHashes { entry } => {
                    prop_assert!(accepted.is_some() && !over);
                    prop_assert!(pieces_of(&link.manifest, entry) >= 2);
                    hashes_out += 1;
                    prop_assert!(hashes_out <= 64);
                }
                ServeEvent::Progress { bytes } => prop_assert!(accepted.unwrap() >= bytes),
                ServeEvent::Complete => {
                    prop_assert!(accepted.is_some() && !over && link.serve.is_served());
                }
                ServeEvent::Declined | ServeEvent::Cancelled => over = true,
                ServeEvent::Interest { wants } => {
                    prop_assert_eq!(Message::Interest { wants }, message);
                }
            }
        }
    }

    #[test]
    fn messages_of_a_sharer_end_the_link(message in messages::of_a_sharer()) {
        prop_assume!(message != Message::Alive);
        prop_assert!(Serve::default().handle(message.clone(), None, None).is_err());
        prop_assert!(Link::accepted().hears(message).is_err());
    }
}

#[test]
fn nothing_can_be_asked_for_before_the_list_was_told_of_and_accepted() {
    for message in [
        request(1, [0]),
        Message::CancelRequest { pieces: vec![] },
        Message::WantHashes { entry: 4 },
        Message::Progress { bytes: 0 },
        Message::Complete,
    ] {
        let outcome = Serve::default().handle(message.clone(), None, None);
        assert!(outcome.is_err(), "{message:?}");
        let mut link = Link::listed();
        link.serve.unchoke();
        assert!(link.hears(message).is_err());
    }
    for message in [ACCEPT, Message::WantManifest] {
        assert!(
            Serve::default()
                .handle(message.clone(), None, None)
                .is_err()
        );
        assert!(Link::up().hears(message).is_err());
    }
}

#[test]
fn the_list_is_sent_when_it_is_asked_for_a_few_times() {
    let mut link = Link::listed();
    for _ in 0..4 {
        let event = link.hears(Message::WantManifest);
        assert_eq!(event, Ok(Some(ServeEvent::SendManifest)));
    }
    assert!(link.hears(Message::WantManifest).is_err());
    let mut link = Link::accepted();
    let event = link.hears(Message::WantManifest);
    assert_eq!(event, Ok(Some(ServeEvent::SendManifest)), "at any time");
}

#[test]
fn who_has_the_list_already_may_accept_without_it() {
    assert!(Link::listed().hears(ACCEPT).is_ok());
}

#[test]
fn accepting_more_than_was_offered_ends_the_link() {
    let all = manifest().bytes();
    for (files, bytes) in [(6, 0), (u32::MAX, 0), (1, all + 1), (1, u64::MAX)] {
        let outcome = Link::listed().hears(Message::Accept { files, bytes });
        assert!(outcome.is_err(), "{files} files, {bytes} bytes");
    }
}

#[test]
fn pieces_and_hashes_that_do_not_exist_end_the_link() {
    for message in [
        request(0, [0]),
        request(1, [1]),
        request(2, [0]),
        request(3, [0, 1, 2]),
        request(6, [0]),
        request(u32::MAX, [u32::MAX]),
        Message::CancelRequest {
            pieces: vec![PieceRef { entry: 1, piece: 1 }],
        },
        Message::WantHashes { entry: 0 },
        Message::WantHashes { entry: 1 },
        Message::WantHashes { entry: 2 },
        Message::WantHashes { entry: 6 },
    ] {
        let outcome = Link::accepted().hears(message.clone());
        assert!(outcome.is_err(), "{message:?}");
    }
}

#[test]
fn requests_beyond_the_bound_end_the_link_and_settled_pieces_make_room() {
    let mut link = Link::accepted();
    let each = REQUESTS_PER_MESSAGE as u32;
    for message in 0..MAX_OUTSTANDING as u32 / each {
        let most = request(5, message * each..(message + 1) * each);
        assert!(link.hears(most).is_ok());
    }
    assert_eq!(link.serve.outstanding(), MAX_OUTSTANDING);
    assert!(link.hears(request(1, [0])).is_err());
    link.serve.piece_settled(PieceRef { entry: 5, piece: 3 });
    assert!(link.hears(request(1, [0])).is_ok());
    assert!(link.hears(request(4, [0])).is_err());
}

#[test]
fn a_piece_is_asked_for_once_until_it_is_settled() {
    assert!(Link::accepted().hears(request(4, [1, 2, 1])).is_err());
    let mut link = Link::accepted();
    link.hears(request(4, [1, 2])).unwrap();
    assert!(link.hears(request(4, [0, 2])).is_err());
    link.serve.choke();
    assert!(link.hears(request(4, [0, 2])).is_err(), "choked or not");
    link.serve.unchoke();
    link.serve.piece_settled(PieceRef { entry: 4, piece: 2 });
    assert!(link.hears(request(4, [0, 2])).is_ok());
}

#[test]
fn requests_that_cross_a_choke_are_refused_and_nothing_worse() {
    let mut link = Link::accepted();
    link.hears(request(4, [0])).unwrap();
    link.serve.choke();
    let crossing = [1, 2].map(|piece| PieceRef { entry: 4, piece }).to_vec();
    let event = link.hears(request(4, [1, 2]));
    assert_eq!(event, Ok(Some(ServeEvent::Refuse { pieces: crossing })));
    assert_eq!(link.serve.outstanding(), 1);
    link.serve.unchoke();
    assert!(link.hears(request(4, [1, 2])).is_ok());
}

#[test]
fn no_more_is_asked_while_choked_than_can_have_been_on_its_way() {
    let mut link = Link::accepted();
    link.serve.choke();
    let most = MAX_OUTSTANDING / 5;
    for _ in 0..most {
        link.hears(request(4, 0..5)).unwrap();
    }
    assert!(link.hears(request(4, 0..5)).is_err());
    let mut link = Link::accepted();
    for _ in 0..3 {
        link.serve.choke();
        for _ in 0..most {
            link.hears(request(4, 0..5)).unwrap();
        }
        link.serve.unchoke();
    }
}

#[test]
fn every_link_begins_choked() {
    let mut link = Link::listed();
    link.hears(ACCEPT).unwrap();
    let event = link.hears(request(1, [0])).unwrap();
    assert!(matches!(event, Some(ServeEvent::Refuse { .. })));
}

#[test]
fn what_is_cancelled_is_named_if_it_is_outstanding() {
    let mut link = Link::accepted();
    link.hears(request(4, [0, 1, 2])).unwrap();
    link.serve.piece_settled(PieceRef { entry: 4, piece: 1 });
    let pieces = |pieces: &[u32]| -> Vec<PieceRef> {
        let pieces = pieces.iter();
        pieces
            .map(|piece| PieceRef {
                entry: 4,
                piece: *piece,
            })
            .collect()
    };
    let cancel = Message::CancelRequest {
        pieces: pieces(&[1, 2, 3]),
    };
    let dropped = ServeEvent::DropRequests {
        pieces: pieces(&[2]),
    };
    assert_eq!(link.hears(cancel), Ok(Some(dropped)));
    assert_eq!(link.serve.outstanding(), 2, "the caller settles them");
}

#[test]
fn hashes_beyond_the_bound_end_the_link_and_sent_ones_make_room() {
    let mut link = Link::accepted();
    let want = Message::WantHashes { entry: 5 };
    for _ in 0..64 {
        assert!(link.hears(want.clone()).is_ok());
    }
    assert!(link.hears(want.clone()).is_err());
    link.serve.hashes_sent();
    assert!(link.hears(want).is_ok());
}

#[test]
fn signed_hashes_are_for_who_accepted_and_asks_a_few_times_for_what_exists() {
    let count = Link::accepted().pieces.count();
    let want = |from| Message::WantSignedHashes { from };
    let told = Link::listed().hears(want(0));
    assert!(told.is_err(), "nothing was accepted");
    assert!(Link::accepted().hears(want(count + 1)).is_err());
    let mut link = Link::accepted();
    for from in [0, 1, count, 0] {
        let event = link.hears(want(from));
        assert_eq!(event, Ok(Some(ServeEvent::SendSignedHashes { from })));
    }
    assert!(link.hears(want(0)).is_err());
}

#[test]
fn nobody_claims_to_hold_more_than_they_accepted() {
    let claimed = Message::Progress { bytes: u64::MAX };
    let event = Link::accepted().hears(claimed);
    assert_eq!(event, Ok(Some(ServeEvent::Progress { bytes: 1 })));
}

#[test]
fn who_declined_or_cancelled_gets_nothing_more_until_they_accept_again() {
    for (message, expected) in [
        (Message::Decline, ServeEvent::Declined),
        (Message::Cancel, ServeEvent::Cancelled),
    ] {
        let mut link = Link::accepted();
        assert_eq!(link.hears(message.clone()), Ok(Some(expected.clone())));
        assert!(link.hears(request(1, [0])).is_err());
        assert!(link.hears(ACCEPT).is_ok());
        assert!(link.hears(request(1, [0])).is_ok());
        let at_once = Serve::default().handle(message, None, None);
        assert_eq!(at_once, Ok(Some(expected)));
    }
}

#[test]
fn who_has_everything_may_still_ask() {
    let mut link = Link::accepted();
    let event = link.hears(Message::Complete);
    assert_eq!(event, Ok(Some(ServeEvent::Complete)));
    assert!(link.serve.is_served());
    for message in [
        request(1, [0]),
        Message::WantHashes { entry: 4 },
        Message::Progress { bytes: 1 },
    ] {
        assert!(link.hears(message).is_ok());
    }
    assert!(link.serve.is_served());
    link.hears(ACCEPT).unwrap();
    assert!(!link.serve.is_served(), "they want more");
}

#[test]
fn interest_is_told_at_any_time() {
    let event = Serve::default().handle(Message::Interest { wants: true }, None, None);
    assert_eq!(event, Ok(Some(ServeEvent::Interest { wants: true })));
    let event = Link::accepted().hears(Message::Interest { wants: false });
    assert_eq!(event, Ok(Some(ServeEvent::Interest { wants: false })));
    assert_eq!(
        Serve::default().handle(Message::Alive, None, None),
        Ok(None)
    );
}

#[test]
fn a_second_hello_ends_the_link() {
    let hello = Message::Hello {
        version: 1,
        signature: [0; 64].into(),
    };
    assert!(Link::accepted().hears(hello).is_err());
}
