//! What a source sends, what it may not send, and what it says that it cannot.

use std::time::Duration;

use bytes::Bytes;
use passalong_proto::fetch::FetchEvent;
use passalong_proto::tree::PIECE_LEN;
use passalong_proto::wire::{Frame, Message};

use crate::files::{Files, ONE, START, TWO, asked, asked_at, deliver, requested};
use crate::{REASON, accept, frame, hears, is_violation, piece, unavailable};

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
