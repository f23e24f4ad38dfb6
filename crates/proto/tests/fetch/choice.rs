//! What a choice leads to: what is begun, of whom it is asked, and how a pause, a
//! choke and a budget hold it back.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use passalong_proto::fetch::{Fetch, PeerKey};
use passalong_proto::tree::PIECE_LEN;
use passalong_proto::wire::Message;

use crate::files::{Files, ONE, START, TWO, asked, asked_at, deliver, key, requested};
use crate::{accept, frame, hears, interests, is_violation, none, piece, unavailable, want_hashes};

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
    let mut requests = |mut budget: i64| {
        let messages: Vec<_> = std::iter::from_fn(|| fetch.poll(START, &mut budget)).collect();
        (requested(&messages, ONE).len(), budget)
    };
    assert_eq!(requests(0), (0, 0));
    assert_eq!(requests(1), (1, 1 - 700));
    assert_eq!(requests(1_000_000), (2, 1_000_000 - 1400));
}
