//! Fetching: what was asked for is told from what was not, whatever one peer does
//! is nothing to the others. Whole transfers are simulated in
//! `fetch_simulation.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use passalong_proto::fetch::{Fetch, FetchError, FetchEvent, PeerKey, Resumed};
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::{
    Entry, EntryKind, MAX_MANIFEST_BYTES, Manifest, ManifestError, SignedManifest,
};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{PIECE_LEN, PieceHash, Root};
use passalong_proto::wire::{Frame, Message, PieceRef, SourceProblem};

use files::{Files, ONE, START, TWO, asked, asked_at, deliver, key, requested};

mod files;

const THREE: PeerKey = PeerKey(3);
const REASON: SourceProblem = SourceProblem::Changed;

fn piece(entry: u32, piece: u32) -> PieceRef {
    PieceRef { entry, piece }
}

fn frame(entry: u32, index: u32, offset: u32, data: &[u8]) -> Frame {
    Frame {
        piece: piece(entry, index),
        offset,
        data: Bytes::copy_from_slice(data),
    }
}

fn is_violation<T>(outcome: &Result<T, FetchError>) -> bool {
    matches!(outcome, Err(FetchError::Violation(_)))
}

fn none() -> HashSet<u32> {
    HashSet::new()
}

/// Handles a message that leads to nothing.
fn hears(fetch: &mut Fetch, peer: PeerKey, message: Message) {
    assert_eq!(fetch.handle(peer, message, START).unwrap(), None);
}

fn accept(fetch: &mut Fetch, wanted: &[u32]) {
    fetch.accept(wanted, &none(), Vec::new()).unwrap();
}

fn unavailable(entry: u32) -> Message {
    let reason = REASON;
    Message::Unavailable { entry, reason }
}

fn want_hashes(messages: &[(PeerKey, Message)]) -> Vec<(PeerKey, u32)> {
    let wanted = messages.iter().filter_map(|(peer, message)| match message {
        Message::WantHashes { entry } => Some((*peer, *entry)),
        _ => None,
    });
    wanted.collect()
}

fn interests(messages: &[(PeerKey, Message)]) -> Vec<(PeerKey, bool)> {
    let told = messages.iter().filter_map(|(peer, message)| match message {
        Message::Interest { wants } => Some((*peer, *wants)),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_choice_is_all_that_is_asked_for() {
    let files = Files::of(&[5, 6, 7]);
    let mut fetch = files.listed();
    assert_eq!(asked(&mut fetch), [], "nothing before accepting");
    accept(&mut fetch, &[2]);
    let pieces = vec![piece(2, 0)];
    assert_eq!(
        asked(&mut fetch),
        [
            (ONE, Message::Interest { wants: true }),
            (ONE, Message::Request { pieces }),
        ]
    );
    for entry in [0, 1, 3] {
        let outcome = fetch.handle_frame(ONE, frame(entry, 0, 0, b"x"), START);
        assert!(is_violation(&outcome), "{entry}");
    }
    let outcome = fetch.handle_frame(TWO, frame(2, 0, 0, b"x"), START);
    assert!(outcome.unwrap().is_none(), "there is no such peer");
}

#[test]
fn what_is_all_here_is_complete_and_nothing_is_asked_for() {
    let files = Files::of(&[0, 2 * PIECE_LEN]);
    let mut fetch = files.listed();
    fetch
        .accept(&[0, 1], &HashSet::from([1]), Vec::new())
        .unwrap();
    assert!(fetch.is_complete() && !fetch.is_waiting());
    let progress = fetch.progress();
    assert_eq!((progress.bytes, progress.files), (2 * PIECE_LEN, 2));
    assert_eq!(fetch.held().unwrap().iter().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(asked(&mut fetch), []);
}

#[test]
fn accepting_without_a_list_or_twice_is_refused() {
    let files = Files::of(&[5]);
    let mut fetch = files.fetch();
    assert!(fetch.accept(&[0], &none(), Vec::new()).is_err());
    assert!(!fetch.is_accepted() && !fetch.is_complete());
    let mut fetch = files.listed();
    accept(&mut fetch, &[0, 0, 8]);
    assert_eq!(fetch.progress().files_total, 1);
    assert!(fetch.accept(&[0], &none(), Vec::new()).is_err());
}

#[test]
fn a_share_over_16_tib_is_refused() {
    let root = Root([7; 32]);
    let file = |index: u32, size| Entry {
        path: SafePath::parse(&format!("file {index}")).unwrap(),
        kind: EntryKind::File {
            size,
            root,
            modified: None,
        },
    };
    let restored = |entries| {
        let manifest = Manifest::new("", entries).unwrap();
        let signed = SignedManifest::sign(&key(), &manifest).unwrap();
        Fetch::restore(key().secret(), signed, 0)
    };
    assert!(restored(vec![file(0, 1 << 44)]).is_ok());
    let over = restored(vec![file(0, 1 << 44), file(1, 1)]);
    assert!(matches!(over, Err(ManifestError::TooLarge)));
}

#[test]
fn frames_out_of_order_too_long_or_again_end_the_link() {
    let files = Files::of(&[10, 10, 10]);
    let outcomes = |frames: &[Frame]| {
        let mut fetch = files.listed();
        accept(&mut fetch, &files.all());
        asked(&mut fetch);
        let (last, before) = frames.split_last().unwrap();
        for frame in before {
            fetch.handle_frame(ONE, frame.clone(), START).unwrap();
        }
        fetch.handle_frame(ONE, last.clone(), START)
    };
    let (half, whole) = ([7; 5], [7; 10]);
    for frames in [
        vec![frame(0, 0, 1, &half)],
        vec![frame(0, 0, 0, &[7; 11])],
        vec![frame(0, 0, 0, &half), frame(0, 0, 0, &half)],
        vec![frame(0, 0, 0, &half), frame(0, 0, 6, &half)],
        vec![frame(0, 0, 0, &half), frame(0, 0, 5, &whole)],
        vec![frame(0, 0, 0, &whole), frame(0, 0, 0, &whole)],
        vec![frame(0, 1, 0, &whole)],
        vec![frame(3, 0, 0, &whole)],
    ] {
        assert!(is_violation(&outcomes(&frames)), "{frames:?}");
    }
    let interleaved = [
        frame(0, 0, 0, &half),
        frame(1, 0, 0, &half),
        frame(0, 0, 5, &half),
    ];
    let event = outcomes(&interleaved).unwrap();
    let (bytes, from) = (Bytes::copy_from_slice(&whole), ONE);
    let piece = piece(0, 0);
    assert_eq!(event, Some(FetchEvent::Piece { piece, bytes, from }));
}

#[test]
fn hashes_that_do_not_come_out_at_the_root_are_refused_and_asked_of_another() {
    let files = Files::of(&[2 * PIECE_LEN]);
    let ready = || {
        let mut fetch = files.listed();
        accept(&mut fetch, &[0]);
        asked(&mut fetch);
        fetch
    };
    let hashes = |entry, first, hashes: &[PieceHash]| Message::Hashes {
        entry,
        first,
        hashes: hashes.to_vec(),
    };
    let right = files.hashes[0].pieces();
    let swapped = [right[1], right[0]];
    for message in [
        hashes(0, 1, right),
        hashes(0, 0, &[right, right].concat()),
        hashes(0, 0, &[]),
        hashes(1, 0, right),
    ] {
        assert!(is_violation(&ready().handle(ONE, message, START)));
    }
    let mut fetch = ready();
    files.join(&mut fetch, TWO);
    let outcome = fetch.handle(ONE, hashes(0, 0, &swapped), START);
    assert!(matches!(outcome, Err(FetchError::Hashes)));
    fetch.left(ONE);
    assert_eq!(want_hashes(&asked(&mut fetch)), [(TWO, 0)]);
    assert!(matches!(
        fetch.handle(TWO, hashes(0, 0, right), START),
        Ok(Some(FetchEvent::Hashes { entry: 0, .. }))
    ));
    let again = fetch.handle(TWO, hashes(0, 0, right), START);
    assert!(is_violation(&again), "a second time");
}

#[test]
fn lists_that_are_forged_cut_overlong_or_not_asked_for_are_refused() {
    let files = Files::of(&[5]);
    let head = |public_key, signature: [u8; 64], length| Message::Manifest {
        public_key,
        signature: signature.into(),
        length,
    };
    let part = |bytes: &[u8]| Message::ManifestPart {
        bytes: bytes.to_vec(),
    };
    let SignedManifest {
        public_key,
        signature,
        bytes,
    } = files.signed.clone();
    let length = bytes.len() as u32;
    let honest = || head(public_key, signature, length);
    let outcome = |messages: &[Message]| {
        let mut fetch = files.fetch();
        files.join(&mut fetch, ONE);
        asked(&mut fetch);
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            assert!(fetch.handle(ONE, message.clone(), START).is_ok());
        }
        fetch.handle(ONE, last.clone(), START)
    };

    let mallory = ShareKey::from_seed([2; 32]);
    let forged = SignedManifest::sign(&mallory, &files.manifest).unwrap();
    for (key, signature) in [
        (forged.public_key, forged.signature),
        (public_key, forged.signature),
        (forged.public_key, signature),
    ] {
        assert!(matches!(
            outcome(&[head(key, signature, length), part(&bytes)]),
            Err(FetchError::Manifest(ManifestError::NotSigned))
        ));
    }
    let mut spoiled = bytes.clone();
    spoiled[3] ^= 1;
    assert!(matches!(
        outcome(&[honest(), part(&spoiled)]),
        Err(FetchError::Manifest(ManifestError::NotSigned))
    ));
    for too_large in [MAX_MANIFEST_BYTES as u32 + 1, u32::MAX] {
        assert!(matches!(
            outcome(&[head(public_key, signature, too_large)]),
            Err(FetchError::Manifest(ManifestError::TooLarge))
        ));
    }
    let drawn_out = [bytes.clone(), vec![0]].concat();
    assert!(matches!(
        outcome(&[honest(), part(&drawn_out)]),
        Err(FetchError::Manifest(ManifestError::TooLarge))
    ));
    assert!(is_violation(&outcome(&[part(&bytes)])));
    assert!(is_violation(&outcome(&[honest(), honest()])));
    assert!(is_violation(&outcome(&[honest(), part(&bytes), honest()])));
    assert!(is_violation(&outcome(&[honest(), part(&bytes), part(&[])])));
    let mut unasked = files.fetch();
    files.join(&mut unasked, ONE);
    assert!(is_violation(&unasked.handle(ONE, honest(), START)));
    let other = Files::of(&[6]);
    let mut fetch = files.fetch();
    fetch.joined(ONE, START);
    hears(&mut fetch, ONE, other.told());
    asked(&mut fetch);
    let messages = files.list();
    let (last, before) = messages.split_last().unwrap();
    for message in before {
        hears(&mut fetch, ONE, message.clone());
    }
    let outcome = fetch.handle(ONE, last.clone(), START);
    assert!(matches!(outcome, Err(FetchError::OtherManifest)));
    assert!(fetch.manifest().is_none());
}

#[test]
fn the_list_is_asked_of_one_peer_at_a_time_and_of_another_when_that_one_fails() {
    let files = Files::of(&[5]);
    let mut fetch = files.fetch();
    for peer in [ONE, TWO, THREE] {
        files.join(&mut fetch, peer);
    }
    let first = asked(&mut fetch);
    let [(one, Message::WantManifest)] = first[..] else {
        panic!("{first:?}");
    };
    let almost = Duration::from_millis(9_900);
    assert_eq!(asked_at(&mut fetch, almost), []);
    let head = files.list().remove(0);
    assert_eq!(fetch.handle(one, head, almost).unwrap(), None);
    let later = almost + Duration::from_millis(9_900);
    assert_eq!(asked_at(&mut fetch, later), [], "a part came");
    let late = almost + Duration::from_secs(10);
    let second = asked_at(&mut fetch, late);
    let [(two, Message::WantManifest)] = second[..] else {
        panic!("{second:?}");
    };
    assert_ne!(one, two);
    fetch.left(two);
    let third = asked_at(&mut fetch, late);
    let [(three, Message::WantManifest)] = third[..] else {
        panic!("{third:?}");
    };
    assert!(three != one && three != two);
    // What the first still sends is not needed, and no crime.
    for part in files.list().split_off(1) {
        hears(&mut fetch, one, part);
    }
    assert_eq!(files.send_list(&mut fetch, three), [FetchEvent::Listed]);
    assert!(fetch.listed_by(one) && fetch.listed_by(three));
    assert_eq!(asked_at(&mut fetch, late), []);
}

#[test]
fn what_peers_hold_before_the_list_is_here_counts_when_it_is() {
    let files = Files::of(&[1; 20]);
    let mut fetch = files.fetch();
    files.join(&mut fetch, ONE);
    for (peer, message) in [
        (
            TWO,
            Message::HoldsField {
                first: 8,
                bits: vec![0b11],
            },
        ),
        (THREE, Message::Holds { pieces: vec![3] }),
        (PeerKey(4), Message::Holds { pieces: vec![20] }),
    ] {
        fetch.joined(peer, START);
        hears(&mut fetch, peer, files.told());
        hears(&mut fetch, peer, message);
        hears(&mut fetch, peer, Message::Holds { pieces: vec![0] });
    }
    let (whom, _) = asked(&mut fetch)[0];
    let events = files.send_list(&mut fetch, whom);
    assert_eq!(events, [FetchEvent::Listed]);
    let held = |peer| -> Vec<u32> { fetch.holdings(peer).unwrap().iter().collect() };
    assert_eq!(held(TWO), [0, 8, 9]);
    assert_eq!(held(THREE), [0, 3]);
    let copies = [0, 3, 8, 19].map(|piece| fetch.copies(piece));
    assert_eq!(copies, [3, 2, 2, 1]);
    assert!(!fetch.listed_by(PeerKey(4)), "there is no piece 20");
    let outcome = fetch.handle(PeerKey(4), Message::Alive, START);
    assert!(is_violation(&outcome));
}

#[test]
fn pieces_that_do_not_exist_are_held_by_nobody() {
    let files = Files::of(&[1; 20]);
    for message in [
        Message::Holds { pieces: vec![20] },
        Message::HoldsField {
            first: 16,
            bits: vec![0b1_0000],
        },
        Message::HoldsField {
            first: u32::MAX - 7,
            bits: vec![1],
        },
    ] {
        let mut fetch = files.listed();
        let outcome = fetch.handle(ONE, message, START);
        assert!(is_violation(&outcome));
        let mut early = files.fetch();
        early.joined(ONE, START);
        let far = Message::Holds {
            pieces: vec![1 << 24],
        };
        assert!(is_violation(&early.handle(ONE, far, START)));
    }
}

#[test]
fn a_peer_with_an_older_or_unrelated_list_is_no_source_and_does_no_harm() {
    let files = Files::of_edition(&[5], 7);
    for edition in [6, 7] {
        let other = Files::of_edition(&[6], edition);
        let mut fetch = files.listed();
        other.join(&mut fetch, TWO);
        let field = Message::HoldsField {
            first: 8000,
            bits: vec![255],
        };
        hears(&mut fetch, TWO, field);
        assert!(!fetch.listed_by(TWO) && fetch.holdings(TWO).is_none());
        assert_eq!(asked(&mut fetch), []);
        accept(&mut fetch, &[0]);
        let asked = asked(&mut fetch);
        assert!(asked.iter().all(|(peer, _)| *peer == ONE), "{asked:?}");
    }
}

#[test]
fn a_newer_list_replaces_one_that_was_not_accepted() {
    let (files, newer) = (Files::of_edition(&[5], 7), Files::of_edition(&[6, 7], 8));
    let mut fetch = files.listed();
    newer.join(&mut fetch, TWO);
    assert_eq!(asked(&mut fetch), [(TWO, Message::WantManifest)]);
    assert_eq!(newer.send_list(&mut fetch, TWO), [FetchEvent::Replaced]);
    assert_eq!(**fetch.manifest().unwrap(), newer.manifest);
    assert!(fetch.listed_by(TWO) && !fetch.listed_by(ONE));
    accept(&mut fetch, &[1]);
    assert_eq!(requested(&asked(&mut fetch), TWO), [piece(1, 0)]);
    assert!(newer.send(&mut fetch, TWO, piece(1, 0)));
}

#[test]
fn a_newer_list_makes_an_accepted_one_outdated_and_can_be_gone_over_to() {
    let (files, newer) = (
        Files::of_edition(&[5, 5], 7),
        Files::of_edition(&[6, 7, 8], 8),
    );
    let mut fetch = files.listed();
    accept(&mut fetch, &[0, 1]);
    asked(&mut fetch);
    // The very peer that is asked gets the newer list.
    hears(&mut fetch, ONE, newer.told());
    hears(&mut fetch, ONE, Message::HoldsAll);
    assert_eq!(asked(&mut fetch)[0], (ONE, Message::WantManifest));
    assert!(fetch.renewed().is_none());
    assert_eq!(newer.send_list(&mut fetch, ONE), [FetchEvent::Outdated]);
    assert_eq!(**fetch.manifest().unwrap(), files.manifest);
    assert_eq!(**fetch.newer().unwrap(), newer.signed);
    // What it was asked for by the older list still comes.
    for late in [piece(0, 0), piece(1, 0)] {
        let event = deliver(&mut fetch, ONE, &files.frames(late)).unwrap();
        assert_eq!(event, None);
    }
    let mut renewed = fetch.renewed().unwrap();
    assert_eq!(**renewed.manifest().unwrap(), newer.manifest);
    assert!(renewed.listed_by(ONE));
    accept(&mut renewed, &[2]);
    assert_eq!(requested(&asked(&mut renewed), ONE), [piece(2, 0)]);
    assert!(newer.send(&mut renewed, ONE, piece(2, 0)));
    assert!(renewed.is_complete());
}

#[test]
fn a_list_that_is_not_as_new_as_it_was_said_to_be_changes_nothing() {
    let (files, older) = (Files::of_edition(&[5], 7), Files::of_edition(&[6], 6));
    let mut fetch = files.listed();
    fetch.joined(TWO, START);
    let told = Message::Listed {
        hash: *blake3::hash(&older.signed.bytes).as_bytes(),
        edition: u64::MAX,
        one_person: false,
    };
    hears(&mut fetch, TWO, told);
    assert_eq!(asked(&mut fetch), [(TWO, Message::WantManifest)]);
    assert_eq!(older.send_list(&mut fetch, TWO), []);
    assert_eq!(**fetch.manifest().unwrap(), files.manifest);
    assert_eq!(asked(&mut fetch), [], "it is known now");
}

#[test]
fn a_piece_that_was_rejected_is_asked_for_again_of_somebody_else() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    accept(&mut fetch, &[0]);
    assert_eq!(requested(&asked(&mut fetch), ONE), [piece(0, 0)]);
    files.join(&mut fetch, TWO);
    deliver(&mut fetch, ONE, &files.frames(piece(0, 0))).unwrap();
    assert_eq!(fetch.piece_rejected(piece(0, 0)), Some(ONE));
    assert_eq!(fetch.piece_rejected(piece(0, 0)), None);
    assert!(!fetch.piece_stored(piece(0, 0)) && !fetch.is_complete());
    fetch.left(ONE);
    assert_eq!(requested(&asked(&mut fetch), TWO), [piece(0, 0)]);
    assert!(files.send(&mut fetch, TWO, piece(0, 0)));
    assert!(fetch.is_complete());
}

#[test]
fn a_file_that_the_sharer_cannot_send_does_not_hold_up_the_others() {
    let files = Files::of(&[3 * PIECE_LEN, 5]);
    let mut fetch = files.listed();
    fetch.sharer(ONE);
    accept(&mut fetch, &[0, 1]);
    asked(&mut fetch);
    let event = fetch.handle(ONE, unavailable(0), START).unwrap();
    let (entry, reason) = (0, REASON);
    assert_eq!(event, Some(FetchEvent::Unavailable { entry, reason }));
    let again = fetch.handle(ONE, unavailable(0), START).unwrap();
    assert_eq!(again, None, "it is known");
    assert!(files.send(&mut fetch, ONE, piece(1, 0)));
    assert!(fetch.is_complete());
    assert!(
        !fetch.is_waiting(),
        "nothing of the lost file is waited for"
    );
    let progress = fetch.progress();
    assert_eq!((progress.bytes, progress.total), (5, 5));
    assert_eq!((progress.files, progress.files_total), (1, 1));
    for message in files.hash_messages(0) {
        let event = fetch.handle(ONE, message, START).unwrap();
        assert_eq!(event, None, "late hashes do no harm");
    }
    let late = fetch.handle_frame(ONE, frame(0, 0, 0, b"late"), START);
    assert_eq!(late.unwrap(), None);
    let dropped = Message::Dropped {
        pieces: vec![piece(0, 0)],
    };
    hears(&mut fetch, ONE, dropped);
}

#[test]
fn a_file_that_another_peer_cannot_send_is_fetched_from_the_rest() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    accept(&mut fetch, &[0]);
    assert_eq!(requested(&asked(&mut fetch), ONE), [piece(0, 0)]);
    hears(&mut fetch, ONE, unavailable(0));
    assert_eq!(fetch.copies(0), 0);
    hears(&mut fetch, ONE, Message::Holds { pieces: vec![0] });
    assert_eq!(fetch.copies(0), 0, "it said that it cannot");
    assert_eq!(asked(&mut fetch), []);
    files.join(&mut fetch, TWO);
    let messages = asked_at(&mut fetch, Duration::from_secs(1));
    assert_eq!(requested(&messages, TWO), [piece(0, 0)]);
    assert!(files.send(&mut fetch, TWO, piece(0, 0)));
}

#[test]
fn a_file_that_the_sharer_refused_is_given_up_when_the_last_other_source_leaves() {
    let files = Files::of(&[5, 6]);
    let mut fetch = files.listed();
    files.join(&mut fetch, TWO);
    accept(&mut fetch, &[0, 1]);
    hears(&mut fetch, ONE, unavailable(0));
    fetch.sharer(ONE);
    assert_eq!(fetch.poll_event(), None, "another one has it");
    fetch.left(ONE);
    assert_eq!(fetch.poll_event(), None);
    fetch.left(TWO);
    let (entry, reason) = (0, REASON);
    let event = FetchEvent::Unavailable { entry, reason };
    assert_eq!(fetch.poll_event(), Some(event));
    assert_eq!(fetch.poll_event(), None);
    assert_eq!(fetch.progress().files_total, 1);
    assert!(!fetch.is_complete());
}

#[test]
fn what_the_sharer_refused_before_the_choice_is_given_up_with_it() {
    let files = Files::of(&[5, 6]);
    let mut fetch = files.listed();
    fetch.sharer(ONE);
    hears(&mut fetch, ONE, unavailable(1));
    accept(&mut fetch, &[0, 1]);
    let (entry, reason) = (1, REASON);
    let event = FetchEvent::Unavailable { entry, reason };
    assert_eq!(fetch.poll_event(), Some(event));
    assert_eq!(fetch.progress().total, 5);
}

#[test]
fn messages_that_are_not_a_sharers_to_send_end_the_link() {
    let mut fetch = Files::of(&[5]).listed();
    for message in [
        Message::Hello {
            version: 1,
            signature: [0; 64].into(),
        },
        Message::WantManifest,
        Message::Accept { files: 0, bytes: 0 },
        Message::Decline,
        Message::Cancel,
        Message::WantHashes { entry: 0 },
        Message::Request { pieces: vec![] },
        Message::CancelRequest { pieces: vec![] },
        Message::Interest { wants: true },
        Message::Progress { bytes: 0 },
        Message::Complete,
        Message::Dropped {
            pieces: vec![piece(0, 0)],
        },
        Message::NoHashes { entry: 0 },
    ] {
        assert!(is_violation(&fetch.handle(ONE, message, START)));
    }
}

#[test]
fn beginning_again_keeps_the_list_and_the_peers_and_nothing_else() {
    let files = Files::of(&[5, 2 * PIECE_LEN]);
    let mut fetch = files.listed();
    accept(&mut fetch, &[0, 1]);
    let messages = asked(&mut fetch);
    assert_eq!(requested(&messages, ONE), [piece(0, 0)]);
    assert_eq!(want_hashes(&messages), [(ONE, 1)]);
    let mut again = fetch.again();
    assert_eq!(**again.manifest().unwrap(), files.manifest);
    assert_eq!(**again.signed().unwrap(), files.signed);
    assert!(!again.is_accepted());
    assert_eq!(again.progress(), Default::default());
    assert!(again.listed_by(ONE));
    accept(&mut again, &[0, 1]);
    let pieces = vec![piece(0, 0)];
    let cancel = (ONE, Message::CancelRequest { pieces });
    assert_eq!(asked(&mut again), [cancel], "the rest is not answered");
    // The answers to what was asked before.
    let event = deliver(&mut again, ONE, &files.frames(piece(0, 0))).unwrap();
    assert_eq!(event, None);
    for message in files.hash_messages(1) {
        hears(&mut again, ONE, message);
    }
    let messages = asked(&mut again);
    assert_eq!(requested(&messages, ONE), [piece(0, 0)]);
    assert_eq!(want_hashes(&messages), [(ONE, 1)]);
}

#[test]
fn a_fetch_is_restored_from_its_signed_list() {
    let files = Files::of(&[5]);
    let mut fetch = Fetch::restore(key().secret(), files.signed.clone(), 0).unwrap();
    assert_eq!(**fetch.manifest().unwrap(), files.manifest);
    accept(&mut fetch, &[0]);
    files.join(&mut fetch, ONE);
    assert_eq!(requested(&asked(&mut fetch), ONE), [piece(0, 0)]);
    let other = ShareKey::from_seed([2; 32]).secret();
    let restored = Fetch::restore(other, files.signed.clone(), 0);
    assert!(matches!(restored, Err(ManifestError::NotSigned)));
}

#[test]
fn files_of_the_record_go_on_without_their_hashes_being_asked_for() {
    let files = Files::of(&[3 * PIECE_LEN, 3 * PIECE_LEN, 2 * PIECE_LEN, 3 * PIECE_LEN]);
    let mut fetch = files.listed();
    let resumed = |entry: u32, of: usize, pieces: &[u32]| Resumed {
        entry,
        hashes: Arc::new(files.hashes[of].clone()),
        pieces: pieces.to_vec(),
    };
    let record = vec![
        resumed(1, 1, &[0, 2, 3, u32::MAX]),
        resumed(2, 2, &[0, 1]),
        resumed(3, 0, &[0]),
    ];
    fetch.accept(&files.all(), &none(), record).unwrap();
    let progress = fetch.progress();
    assert_eq!(progress.bytes, 4 * PIECE_LEN);
    assert_eq!(progress.files, 1);
    let messages = asked(&mut fetch);
    assert_eq!(requested(&messages, ONE), [piece(1, 1)]);
    let hashless: BTreeSet<u32> = want_hashes(&messages).iter().map(|(_, e)| *e).collect();
    assert_eq!(hashless, BTreeSet::from([0, 3]), "3 is of another file");
    let held: Vec<u32> = fetch.held().unwrap().iter().collect();
    assert_eq!(held, [3, 5, 6, 7]);
    assert!(files.send(&mut fetch, ONE, piece(1, 1)));
}

#[test]
fn what_is_found_on_disk_is_not_asked_for() {
    let files = Files::of(&[3 * PIECE_LEN]);
    let mut fetch = files.listed();
    accept(&mut fetch, &[0]);
    asked(&mut fetch);
    for message in files.hash_messages(0) {
        fetch.handle(ONE, message, START).unwrap();
    }
    assert_eq!(asked(&mut fetch), [], "not before the disk was looked at");
    fetch.file_ready(0, &[0, 2, 9]);
    assert_eq!(fetch.progress().bytes, 2 * PIECE_LEN);
    assert_eq!(requested(&asked(&mut fetch), ONE), [piece(0, 1)]);
    fetch.file_ready(0, &[1]);
    assert_eq!(fetch.progress().bytes, 2 * PIECE_LEN, "only once");
    assert!(files.send(&mut fetch, ONE, piece(0, 1)));
}

#[test]
fn hashes_are_asked_of_another_peer_when_one_has_none_is_late_or_leaves() {
    let files = Files::of(&[2 * PIECE_LEN]);
    let mut fetch = files.listed();
    accept(&mut fetch, &[0]);
    assert_eq!(want_hashes(&asked(&mut fetch)), [(ONE, 0)]);
    files.join(&mut fetch, TWO);
    files.join(&mut fetch, THREE);
    hears(&mut fetch, ONE, Message::NoHashes { entry: 0 });
    assert_eq!(want_hashes(&asked(&mut fetch)), [(TWO, 0)]);
    let almost = Duration::from_millis(9_900);
    assert_eq!(want_hashes(&asked_at(&mut fetch, almost)), []);
    let late = Duration::from_secs(11);
    assert_eq!(want_hashes(&asked_at(&mut fetch, late)), [(THREE, 0)]);
    fetch.left(THREE);
    assert_eq!(
        want_hashes(&asked_at(&mut fetch, late)),
        [],
        "nobody is left"
    );
    hears(&mut fetch, ONE, Message::Holds { pieces: vec![1] });
    let messages = asked_at(&mut fetch, late);
    assert_eq!(want_hashes(&messages), [(ONE, 0)], "it may have them now");
    for message in files.hash_messages(0) {
        hears(&mut fetch, TWO, message);
    }
    assert!(fetch.is_waiting());
    files.send_hashes(&mut fetch, ONE, 0);
    let messages = asked_at(&mut fetch, late);
    let asked = [ONE, TWO].map(|peer| requested(&messages, peer)).concat();
    let asked: BTreeSet<PieceRef> = asked.into_iter().collect();
    assert_eq!(asked, BTreeSet::from([piece(0, 0), piece(0, 1)]));
}

#[test]
fn late_hashes_are_waited_for_while_nobody_else_has_them() {
    let files = Files::of(&[2 * PIECE_LEN]);
    let mut fetch = files.listed();
    accept(&mut fetch, &[0]);
    asked(&mut fetch);
    let late = Duration::from_secs(60);
    assert_eq!(want_hashes(&asked_at(&mut fetch, late)), []);
    files.send_hashes(&mut fetch, ONE, 0);
    assert_eq!(requested(&asked_at(&mut fetch, late), ONE).len(), 2);
}

#[test]
fn so_many_files_are_begun_at_once_and_no_more() {
    let files = Files::of(&[PIECE_LEN + 1; 100]);
    let mut fetch = files.listed();
    accept(&mut fetch, &files.all());
    // A second source, as one is asked for the hashes of 16 files at a time.
    for peer in 2..8 {
        files.join(&mut fetch, PeerKey(peer));
    }
    let wanted = want_hashes(&asked(&mut fetch));
    let begun: BTreeSet<u32> = wanted.iter().map(|(_, entry)| *entry).collect();
    assert_eq!((begun.len(), wanted.len()), (64, 64));
    for peer in 1..8 {
        let load = wanted.iter().filter(|(of, _)| of.0 == peer).count();
        assert!((9..=10).contains(&load), "{load} of {peer}");
    }
}

#[test]
fn receivers_begin_with_different_files() {
    let files = Files::of(&[PIECE_LEN + 1; 100]);
    let first = |seed| {
        let mut fetch = Fetch::new(key().secret(), seed);
        files.join(&mut fetch, ONE);
        asked(&mut fetch);
        files.send_list(&mut fetch, ONE);
        accept(&mut fetch, &files.all());
        let wanted = want_hashes(&asked(&mut fetch));
        wanted.iter().map(|(_, entry)| *entry).min()
    };
    let firsts: BTreeSet<Option<u32>> = (0..20).map(first).collect();
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[test]
fn files_that_nobody_can_go_on_with_do_not_keep_others_from_being_begun() {
    let files = Files::of(&[PIECE_LEN + 1; 100]);
    let mut fetch = files.listed();
    fetch.joined(TWO, START);
    hears(&mut fetch, TWO, files.told());
    hears(&mut fetch, TWO, Message::Unchoke);
    accept(&mut fetch, &files.all());
    asked(&mut fetch);
    // The only source of most files goes; the other has what was not begun yet.
    fetch.left(ONE);
    let pieces = (0..200).collect();
    hears(&mut fetch, TWO, Message::Holds { pieces });
    let begun: BTreeSet<u32> = want_hashes(&asked(&mut fetch))
        .iter()
        .map(|(_, e)| *e)
        .collect();
    assert_eq!(begun.len(), 16);
    let mut fetch = files.listed();
    fetch.joined(TWO, START);
    hears(&mut fetch, TWO, files.told());
    accept(&mut fetch, &files.all());
    let first: BTreeSet<u32> = want_hashes(&asked(&mut fetch))
        .iter()
        .map(|(_, e)| *e)
        .collect();
    for entry in first {
        hears(&mut fetch, ONE, unavailable(entry));
    }
    let later = Duration::from_millis(100);
    let second = want_hashes(&asked_at(&mut fetch, later));
    assert_eq!(second.len(), 16, "others are begun instead");
}

#[test]
fn interest_is_told_when_it_changes() {
    let files = Files::of(&[5, 6]);
    let mut fetch = files.listed();
    fetch.joined(TWO, START);
    hears(&mut fetch, TWO, files.told());
    hears(&mut fetch, TWO, Message::Unchoke);
    accept(&mut fetch, &[0]);
    assert_eq!(interests(&asked(&mut fetch)), [(ONE, true)]);
    hears(&mut fetch, TWO, Message::Holds { pieces: vec![1] });
    let mut now = Duration::from_secs(1);
    assert_eq!(interests(&asked_at(&mut fetch, now)), [], "not wanted");
    hears(&mut fetch, TWO, Message::Holds { pieces: vec![0] });
    now += Duration::from_secs(1);
    assert_eq!(interests(&asked_at(&mut fetch, now)), [(TWO, true)]);
    fetch.set_paused(true);
    let told = interests(&asked_at(&mut fetch, now));
    assert_eq!(told, [(ONE, false), (TWO, false)]);
    fetch.set_paused(false);
    let told = interests(&asked_at(&mut fetch, now));
    assert_eq!(told, [(ONE, true), (TWO, true)]);
}

#[test]
fn no_interest_is_left_when_everything_is_here() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    accept(&mut fetch, &[0]);
    asked(&mut fetch);
    assert!(files.send(&mut fetch, ONE, piece(0, 0)));
    let told = interests(&asked_at(&mut fetch, Duration::from_secs(1)));
    assert_eq!(told, [(ONE, false)]);
}

#[test]
fn a_pause_cancels_what_is_asked_and_what_comes_of_it_is_fetched_again() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    accept(&mut fetch, &[0]);
    asked(&mut fetch);
    fetch.set_paused(true);
    let pieces = vec![piece(0, 0)];
    let messages = asked(&mut fetch);
    assert!(messages.contains(&(
        ONE,
        Message::CancelRequest {
            pieces: pieces.clone()
        }
    )));
    hears(&mut fetch, ONE, Message::Dropped { pieces });
    assert_eq!(asked_at(&mut fetch, Duration::from_secs(9)), []);
    assert!(!fetch.is_waiting());
    fetch.set_paused(false);
    let messages = asked_at(&mut fetch, Duration::from_secs(9));
    assert_eq!(requested(&messages, ONE), [piece(0, 0)]);
}

#[test]
fn a_choked_peer_is_asked_for_nothing() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    hears(&mut fetch, ONE, Message::Choke);
    accept(&mut fetch, &[0]);
    let messages = asked(&mut fetch);
    assert_eq!(messages, [(ONE, Message::Interest { wants: true })]);
    hears(&mut fetch, ONE, Message::Unchoke);
    assert_eq!(requested(&asked(&mut fetch), ONE), [piece(0, 0)]);
}

#[test]
fn a_budget_of_a_byte_is_a_piece_and_a_budget_of_nothing_is_nothing() {
    let files = Files::of(&[700, 700, 700]);
    let mut fetch = files.listed();
    accept(&mut fetch, &files.all());
    let mut requests = |mut budget: u64| {
        let messages: Vec<_> = std::iter::from_fn(|| fetch.poll(START, &mut budget)).collect();
        (requested(&messages, ONE).len(), budget)
    };
    assert_eq!(requests(0), (0, 0));
    assert_eq!(requests(1), (1, 0));
    assert_eq!(requests(1_000_000), (2, 1_000_000 - 1400));
}

#[test]
fn hashing_is_told_within_what_was_found() {
    let mut fetch = Files::of(&[5]).fetch();
    fetch.joined(ONE, START);
    let preparing = Message::Preparing {
        done_bytes: 9,
        total_bytes: 5,
    };
    let event = fetch.handle(ONE, preparing, START).unwrap();
    let (done_bytes, total_bytes) = (5, 5);
    assert_eq!(
        event,
        Some(FetchEvent::Preparing {
            done_bytes,
            total_bytes
        })
    );
}
