//! The hashes of files: who is asked for them, which ones are refused, and what
//! needs none of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use passalong_proto::fetch::{FetchError, FetchEvent, Resumed};
use passalong_proto::tree::{PIECE_LEN, PieceHash};
use passalong_proto::wire::{Message, PieceRef};

use crate::files::{Files, ONE, START, TWO, asked, asked_at, requested};
use crate::{THREE, accept, hears, is_violation, none, piece, want_hashes};

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
fn files_of_the_record_go_on_without_their_hashes_being_asked_for() {
    let files = Files::of(&[3 * PIECE_LEN, 3 * PIECE_LEN, 2 * PIECE_LEN, 3 * PIECE_LEN]);
    let mut fetch = files.listed();
    let resumed = |entry: u32, of: usize, pieces: &[u32]| Resumed {
        entry,
        hashes: Some(Arc::new(files.hashes[of].clone())),
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
