//! The list: who is asked for it, which ones are refused, and what becomes of
//! older and newer ones.

use std::time::Duration;

use passalong_proto::fetch::{Fetch, FetchError, FetchEvent, PeerKey};
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::{
    Content, Entry, EntryKind, MAX_MANIFEST_BYTES, Manifest, ManifestError, SignedManifest,
};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::Root;
use passalong_proto::wire::Message;

use crate::files::{Files, ONE, START, TWO, asked, asked_at, deliver, key, requested};
use crate::{THREE, accept, hears, is_violation, piece};

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
fn a_share_over_16_tib_is_refused() {
    let root = Root([7; 32]);
    let file = |index: u32, size| Entry {
        path: SafePath::parse(&format!("file {index}")).unwrap(),
        kind: EntryKind::File {
            size,
            content: Content::Hashed(root),
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
        hash: older.manifest.outline(),
        edition: u64::MAX,
        one_person: false,
        whole: true,
    };
    hears(&mut fetch, TWO, told);
    assert_eq!(asked(&mut fetch), [(TWO, Message::WantManifest)]);
    assert_eq!(older.send_list(&mut fetch, TWO), []);
    assert_eq!(**fetch.manifest().unwrap(), files.manifest);
    assert_eq!(asked(&mut fetch), [], "it is known now");
}
