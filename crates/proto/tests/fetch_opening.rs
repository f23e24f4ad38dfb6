//! Fetching by a list that is not whole: what the sharer signed can be had, the whole
//! list is taken over without losing anything, and contradictions end it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::sync::Arc;

use passalong_proto::fetch::{Fetch, FetchError, FetchEvent, PeerKey, Resumed};
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::Content;
use passalong_proto::signed_hashes::SignedHashes;
use passalong_proto::tree::{PIECE_LEN, PieceHash, Root};
use passalong_proto::wire::{Message, PieceRef, SourceProblem};
use proptest::prelude::*;

use files::{Files, ONE, START, TWO, asked, key, requested};

mod files;
mod messages;

/// Pieces 0 to 2, piece 3, none, pieces 4 and 5.
const SIZES: [u64; 4] = [3 * PIECE_LEN, 700, 0, PIECE_LEN + 9];

fn piece(entry: u32, piece: u32) -> PieceRef {
    PieceRef { entry, piece }
}

/// Files of which the sharer has hashed none but the empty one.
fn opening() -> (Files, Files) {
    let whole = Files::of(&SIZES);
    let opening = whole.saying(Content::Hashing, &[0, 1, 3]);
    assert!(!opening.manifest.is_whole() && whole.manifest.is_whole());
    assert_eq!(opening.manifest.outline(), whole.manifest.outline());
    (opening, whole)
}

/// A fetch of everything by an opening list from one peer, who was asked for signed
/// hashes.
fn begun(opening: &Files) -> Fetch {
    let mut fetch = opening.listed();
    let accepted = fetch.accept(&opening.all(), &HashSet::new(), Vec::new());
    accepted.unwrap();
    let interest = Message::Interest { wants: true };
    let want = Message::WantSignedHashes { from: 0 };
    assert!(asked(&mut fetch).starts_with(&[(ONE, interest), (ONE, want)]));
    fetch
}

/// What is asked for of one peer now, in order.
fn wanted(fetch: &mut Fetch) -> Vec<PieceRef> {
    let mut pieces = requested(&asked(fetch), ONE);
    pieces.sort();
    pieces
}

/// One peer does what it is asked for until nothing is.
fn serve(fetch: &mut Fetch, files: &Files) -> Vec<PieceRef> {
    let mut sent = Vec::new();
    loop {
        let messages = asked(fetch);
        if messages.is_empty() {
            return sent;
        }
        for (_, message) in messages.into_iter().filter(|(peer, _)| *peer == ONE) {
            match message {
                Message::WantManifest => {
                    files.send_list(fetch, ONE);
                }
                Message::WantHashes { entry } => files.send_hashes(fetch, ONE, entry),
                Message::Request { pieces } => {
                    for piece in pieces {
                        files.send(fetch, ONE, piece);
                        sent.push(piece);
                    }
                }
                _ => {}
            }
        }
    }
}

fn tell(fetch: &mut Fetch, from: PeerKey, part: &SignedHashes) -> Option<FetchEvent> {
    fetch.handle(from, part.message(), START).unwrap()
}

/// One peer tells that its list is whole now, and sends it as asked.
fn completed(fetch: &mut Fetch, whole: &Files) -> Vec<FetchEvent> {
    assert_eq!(fetch.handle(ONE, whole.told(), START).unwrap(), None);
    let messages = asked(fetch);
    assert!(
        messages.contains(&(ONE, Message::WantManifest)),
        "{messages:?}"
    );
    let mut events = whole.send_list(fetch, ONE);
    events.extend(std::iter::from_fn(|| fetch.poll_event()));
    events
}

#[test]
fn pieces_are_asked_for_as_their_hashes_are_signed_and_before_any_root_is_known() {
    let (opening, _) = opening();
    let mut fetch = begun(&opening);
    let first = opening.sign(0..2);
    let event = tell(&mut fetch, ONE, &first);
    assert_eq!(event, Some(FetchEvent::Signed(first)));
    assert_eq!(wanted(&mut fetch), [piece(0, 0), piece(0, 1)]);
    assert!(!opening.send(&mut fetch, ONE, piece(0, 0)));
    assert!(!opening.send(&mut fetch, ONE, piece(0, 1)));
    assert_eq!(wanted(&mut fetch), []);
    tell(&mut fetch, ONE, &opening.sign(2..6));
    let mut rest = serve(&mut fetch, &opening);
    rest.sort();
    assert_eq!(rest, [piece(0, 2), piece(1, 0), piece(3, 0), piece(3, 1)]);
    assert!(fetch.is_complete());
    assert_eq!(fetch.progress().files, 4);
}

#[test]
fn the_whole_list_takes_the_place_of_the_opening_one_and_what_is_here_stays() {
    let (opening, whole) = opening();
    let mut fetch = begun(&opening);
    tell(&mut fetch, ONE, &opening.sign(0..4));
    let first = wanted(&mut fetch);
    opening.send(&mut fetch, ONE, first[0]);
    let second = wanted(&mut fetch);
    let on_their_way = [&first[1..], &second].concat();
    assert_eq!(completed(&mut fetch, &whole), [FetchEvent::Completed]);
    assert_eq!(fetch.held().unwrap().count(), 1);
    assert_eq!(**fetch.manifest().unwrap(), whole.manifest);
    // What was on its way still counts.
    for piece in on_their_way {
        opening.send(&mut fetch, ONE, piece);
    }
    // Late hashes are passed over; the file without any gets them from the list's root.
    assert_eq!(tell(&mut fetch, ONE, &opening.sign(4..6)), None);
    let rest = serve(&mut fetch, &whole);
    assert!(
        rest.contains(&piece(3, 0)) && rest.contains(&piece(3, 1)),
        "{rest:?}"
    );
    assert!(fetch.is_complete());
}

#[test]
fn a_file_that_was_lost_is_given_up_with_what_is_here_of_it() {
    let (opening, whole) = opening();
    let mut fetch = begun(&opening);
    tell(&mut fetch, ONE, &opening.sign(0..2));
    asked(&mut fetch);
    opening.send(&mut fetch, ONE, piece(0, 0));
    let lost = whole.saying(Content::Lost, &[0]);
    let reason = SourceProblem::Changed;
    let gone = FetchEvent::Unavailable { entry: 0, reason };
    assert_eq!(
        completed(&mut fetch, &lost),
        [FetchEvent::Completed, gone.clone()]
    );
    let progress = fetch.progress();
    assert_eq!((progress.bytes, progress.files_total), (0, 3));
    // Whoever accepts by the whole list is told at once.
    let mut late = lost.listed();
    late.accept(&lost.all(), &HashSet::new(), Vec::new())
        .unwrap();
    assert_eq!(late.poll_event(), Some(gone));
    assert_eq!(late.progress().files_total, 3);
}

#[test]
fn everybody_who_has_the_list_whole_or_not_is_a_source_for_it() {
    let (opening, whole) = opening();
    let mut fetch = begun(&opening);
    whole.join(&mut fetch, TWO);
    let messages = asked(&mut fetch);
    assert!(
        messages.contains(&(TWO, Message::WantManifest)),
        "{messages:?}"
    );
    assert!(messages.contains(&(TWO, Message::WantSignedHashes { from: 0 })));
    assert!(fetch.listed_by(ONE) && fetch.listed_by(TWO));
    assert_eq!(whole.send_list(&mut fetch, TWO), [FetchEvent::Completed]);
    // And the other way round: who has the whole list gets pieces of who has not.
    let mut fetch = whole.listed();
    opening.join(&mut fetch, TWO);
    assert!(fetch.listed_by(TWO));
    assert_eq!(asked(&mut fetch), []);
}

#[test]
fn hashes_that_the_sharer_did_not_sign_for_this_list_end_the_link() {
    let (opening, _) = opening();
    let outline = opening.manifest.outline();
    let hashes = vec![opening.hash(0), opening.hash(1)];
    let mallory = ShareKey::from_seed([9; 32]);
    let mut moved = SignedHashes::sign(&key(), &outline, 0, hashes.clone()).message();
    let Message::SignedHashes { first, .. } = &mut moved else {
        unreachable!()
    };
    *first = 1;
    let forged = [
        SignedHashes::sign(&mallory, &outline, 0, hashes.clone()).message(),
        SignedHashes::sign(&key(), &[7; 32], 0, hashes.clone()).message(),
        moved,
    ];
    for message in forged {
        let mut fetch = begun(&opening);
        let outcome = fetch.handle(ONE, message, START);
        assert!(matches!(outcome, Err(FetchError::Unsigned)), "{outcome:?}");
        assert_eq!(requested(&asked(&mut fetch), ONE), []);
    }
    for (first, hashes) in [(5, hashes.clone()), (u32::MAX, hashes), (0, Vec::new())] {
        let mut fetch = begun(&opening);
        let part = SignedHashes::sign(&key(), &outline, first, hashes);
        let outcome = fetch.handle(ONE, part.message(), START);
        assert!(
            matches!(outcome, Err(FetchError::Violation(_))),
            "{outcome:?}"
        );
    }
    // Nor are they taken of whoever was not asked.
    let mut fetch = opening.listed();
    let outcome = fetch.handle(ONE, opening.sign(0..1).message(), START);
    assert!(
        matches!(outcome, Err(FetchError::Violation(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_sharer_that_contradicts_itself_is_not_believed_any_more() {
    let (opening, whole) = opening();
    let outline = opening.manifest.outline();
    let other = |first| SignedHashes::sign(&key(), &outline, first, vec![PieceHash([7; 32])]);
    let contradicted = Some(FetchEvent::Contradicted);
    // Two hashes for one piece.
    let mut fetch = begun(&opening);
    tell(&mut fetch, ONE, &opening.sign(0..2));
    assert_eq!(tell(&mut fetch, ONE, &other(1)), contradicted);
    // A hash against the root in the opening list.
    let partly = whole.saying(Content::Hashing, &[0]);
    let mut fetch = begun(&partly);
    assert_eq!(tell(&mut fetch, ONE, &other(3)), contradicted);
    // A whole list against hashes.
    for (entry, signed) in [(1, opening.sign(3..4)), (0, opening.sign(0..3))] {
        let mut fetch = begun(&opening);
        tell(&mut fetch, ONE, &signed);
        let false_root = Content::Hashed(Root([7; 32]));
        let list = whole.saying(false_root, &[entry]);
        assert_eq!(completed(&mut fetch, &list), [FetchEvent::Contradicted]);
    }
    // A whole list against the opening one.
    let list = whole.saying(Content::Lost, &[1]);
    let mut fetch = begun(&partly);
    assert_eq!(completed(&mut fetch, &list), [FetchEvent::Contradicted]);
    // Hashes that come out at the root of a whole list against signed ones.
    let mut fetch = begun(&opening);
    tell(&mut fetch, ONE, &other(0));
    asked(&mut fetch);
    assert_eq!(completed(&mut fetch, &whole), [FetchEvent::Completed]);
    let messages = asked(&mut fetch);
    assert!(
        messages.contains(&(ONE, Message::WantHashes { entry: 0 })),
        "{messages:?}"
    );
    let told = whole.hash_messages(0).into_iter();
    let events: Vec<FetchEvent> = told
        .filter_map(|message| fetch.handle(ONE, message, START).unwrap())
        .collect();
    assert_eq!(events, [FetchEvent::Contradicted]);
}

#[test]
fn a_fetch_that_is_taken_up_again_goes_on_with_the_hashes_that_were_kept() {
    let (opening, whole) = opening();
    let mallory = ShareKey::from_seed([9; 32]);
    let outline = opening.manifest.outline();
    let kept = [
        opening.sign(0..2),
        SignedHashes::sign(&mallory, &outline, 2, vec![PieceHash([7; 32])]),
        SignedHashes::sign(&key(), &outline, 1, vec![PieceHash([7; 32])]),
        SignedHashes::sign(&key(), &outline, 6, vec![PieceHash([7; 32])]),
        opening.sign(3..4),
    ];
    let resumed = |entry, pieces: &[u32]| Resumed {
        entry,
        hashes: None,
        pieces: pieces.to_vec(),
    };
    let record = || vec![resumed(0, &[0, 2]), resumed(1, &[0]), resumed(3, &[0])];
    let mut fetch = Fetch::restore(key().secret(), opening.signed.clone(), 0).unwrap();
    fetch.restore_signed_hashes(kept);
    fetch
        .accept(&opening.all(), &HashSet::new(), record())
        .unwrap();
    // What cannot be verified any more is not held.
    assert_eq!(fetch.progress().bytes, PIECE_LEN + 700);
    opening.join(&mut fetch, ONE);
    let messages = asked(&mut fetch);
    assert!(messages.contains(&(ONE, Message::WantSignedHashes { from: 2 })));
    assert_eq!(requested(&messages, ONE), [piece(0, 1)]);
    let again = fetch.again();
    assert_eq!(again.signed_hashes().first_unknown(), 2);
    // By a whole list it is looked at again when the hashes are here.
    let mut fetch = Fetch::restore(key().secret(), whole.signed.clone(), 0).unwrap();
    fetch
        .accept(&whole.all(), &HashSet::new(), record())
        .unwrap();
    assert_eq!(fetch.progress().bytes, 0);
    whole.join(&mut fetch, ONE);
    asked(&mut fetch);
    let hashes = Arc::new(whole.hashes[0].clone());
    let told = whole.hash_messages(0).into_iter();
    let events: Vec<FetchEvent> = told
        .filter_map(|message| fetch.handle(ONE, message, START).unwrap())
        .collect();
    assert_eq!(events, [FetchEvent::Hashes { entry: 0, hashes }]);
    fetch.file_ready(0, &[0]);
    assert_eq!(fetch.progress().bytes, PIECE_LEN);
}

#[derive(Clone, Debug)]
enum Step {
    Message(Message),
    /// Genuine hashes of so many pieces from one on.
    Signed(u32, u32),
    Whole,
    /// All pieces that are asked for come.
    Serve,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => messages::of_a_sharer().prop_map(Step::Message),
        4 => (0..6_u32, 1..6_u32).prop_map(|(first, count)| Step::Signed(first, count)),
        1 => Just(Step::Whole),
        3 => Just(Step::Serve),
    ]
}

proptest! {
    #[test]
    fn whatever_others_say_an_honest_sharer_gets_everything_across(
        steps in prop::collection::vec((any::<bool>(), step()), 0..40)
    ) {
        let (opening, whole) = opening();
        let mut fetch = begun(&opening);
        opening.join(&mut fetch, TWO);
        let (mut listed, mut mallory) = (false, true);
        let honest = [Step::Signed(0, 6), Step::Serve, Step::Whole, Step::Serve];
        let honest = honest.map(|step| (false, step));
        for (hostile, step) in steps.into_iter().chain(honest) {
            let from = if hostile { TWO } else { ONE };
            match step {
                Step::Message(message) if hostile && mallory => {
                    if fetch.handle(TWO, message, START).is_err() {
                        fetch.left(TWO);
                        mallory = false;
                    }
                }
                Step::Message(_) => {}
                Step::Signed(first, count) => {
                    let part = opening.sign(first..(first + count).min(6));
                    if (!hostile || mallory) && fetch.handle(from, part.message(), START).is_err() {
                        prop_assert!(hostile);
                        fetch.left(TWO);
                        mallory = false;
                    }
                }
                Step::Whole if !hostile && !listed => {
                    listed = true;
                    fetch.handle(ONE, whole.told(), START).unwrap();
                }
                Step::Whole => {}
                Step::Serve => {
                    serve(&mut fetch, if listed { &whole } else { &opening });
                }
            }
        }
        fetch.left(TWO);
        serve(&mut fetch, &whole);
        prop_assert!(fetch.is_complete(), "{:?}", fetch.progress());
    }
}
