//! Hashes that a sharer signed: bound to their share, list and place, and one for each
//! piece whoever told it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use passalong_proto::keys::ShareKey;
use passalong_proto::signed_hashes::{Contradiction, HashLog, SignedHashes};
use passalong_proto::tree::{FileHasher, PIECE_LEN, PieceHash, single_piece_root};
use passalong_proto::wire::{HASHES_PER_MESSAGE, Message};
use proptest::prelude::*;

const OUTLINE: [u8; 32] = [3; 32];

fn key() -> ShareKey {
    ShareKey::from_seed([1; 32])
}

fn part(first: u32, hashes: &[u8]) -> SignedHashes {
    let hashes = hashes.iter().map(|byte| PieceHash([*byte; 32])).collect();
    SignedHashes::sign(&key(), &OUTLINE, first, hashes)
}

/// As somebody hears it, in a share of 100 pieces.
fn heard(message: Message) -> Option<SignedHashes> {
    let Message::SignedHashes {
        first,
        hashes,
        signature,
    } = message
    else {
        unreachable!()
    };
    SignedHashes::parse(first, hashes, signature.into(), 100)
}

#[test]
fn a_signature_holds_for_its_share_list_place_and_hashes() {
    let (key, other) = (key(), ShareKey::from_seed([2; 32]));
    let genuine = |part: &SignedHashes| part.is_genuine(&key.secret(), &key.public(), &OUTLINE);
    let told = part(5, &[1, 2]);
    let back = heard(told.message()).unwrap();
    assert_eq!(back, told);
    assert_eq!(back.pieces(), 5..7);
    assert!(genuine(&back));
    assert!(!back.is_genuine(&key.secret(), &key.public(), &[4; 32]));
    assert!(!back.is_genuine(&other.secret(), &key.public(), &OUTLINE));
    assert!(!back.is_genuine(&key.secret(), &other.public(), &OUTLINE));
    let with = |first, hashes: &[u8]| {
        let hashes = hashes.iter().map(|byte| PieceHash([*byte; 32])).collect();
        SignedHashes::parse(first, hashes, *told.signature(), 100).unwrap()
    };
    for changed in [
        with(4, &[1, 2]),
        with(5, &[1, 3]),
        with(5, &[1]),
        with(5, &[1, 2, 3]),
    ] {
        assert!(!genuine(&changed), "{changed:?}");
    }
}

#[test]
fn hashes_of_no_pieces_or_of_too_many_are_none() {
    let parse =
        |first, count| SignedHashes::parse(first, vec![PieceHash([1; 32]); count], [0; 64], 5000);
    assert!(parse(0, 0).is_none());
    assert!(parse(4999, 1).is_some() && parse(4999, 2).is_none());
    assert!(parse(5000, 1).is_none() && parse(u32::MAX, 1).is_none());
    assert!(parse(0, HASHES_PER_MESSAGE).is_some());
    assert!(parse(0, HASHES_PER_MESSAGE + 1).is_none());
}

#[test]
fn all_hashes_of_a_file_give_its_root() {
    let content = vec![9; 2 * PIECE_LEN as usize + 5];
    let mut hasher = FileHasher::new();
    hasher.update(&content);
    let hashes = hasher.finish();
    let small = single_piece_root(b"small");
    let signed = [hashes.pieces(), &[PieceHash(small.0)]].concat();
    let mut log = HashLog::default();
    let sign = |from: usize, to: usize| {
        SignedHashes::sign(&key(), &OUTLINE, from as u32, signed[from..to].to_vec())
    };
    log.add(sign(1, 4)).unwrap();
    assert_eq!(log.file(hashes.size(), 0..3), None);
    assert_eq!(log.file(5, 3..4).unwrap().root(), small);
    log.add(sign(0, 1)).unwrap();
    assert_eq!(log.file(hashes.size(), 0..3), Some(hashes));
    assert_eq!(log.file(PIECE_LEN, 0..3), None, "it has one piece");
    assert_eq!(log.file(0, 3..3), None);
}

proptest! {
    #[test]
    fn a_log_knows_what_it_was_told_and_keeps_its_word(
        told in prop::collection::vec((0..40_u32, 1..9_usize, prop::bool::weighted(0.1)), 0..40)
    ) {
        let mut log = HashLog::default();
        let mut known: BTreeMap<u32, PieceHash> = BTreeMap::new();
        for (first, count, lies) in told {
            let byte = |number: u32| number as u8 + if lies { 100 } else { 0 };
            let hashes: Vec<u8> = (first..first + count as u32).map(byte).collect();
            let part = part(first, &hashes);
            let pairs: Vec<_> = part.pieces().zip(part.hashes().iter().copied()).collect();
            let contradicts = pairs.iter().any(|(n, hash)| known.get(n).is_some_and(|k| k != hash));
            let new = pairs.iter().any(|(n, _)| !known.contains_key(n));
            prop_assert_eq!(log.has(&part), !new && !contradicts);
            let parts = log.parts().len();
            if contradicts {
                prop_assert_eq!(log.add(part), Err(Contradiction));
            } else {
                prop_assert_eq!(log.add(part), Ok(new));
                known.extend(pairs);
            }
            prop_assert_eq!(log.parts().len(), parts + usize::from(new && !contradicts));
        }
        for number in 0..60 {
            prop_assert_eq!(log.hash(number), known.get(&number).copied());
            for end in number..60 {
                let all = (number..end).all(|n| known.contains_key(&n));
                prop_assert_eq!(log.covers(number..end), all);
            }
        }
        let unknown = (0..60).find(|n| !known.contains_key(n));
        prop_assert_eq!(Some(log.first_unknown()), unknown);
        // Whoever hears all parts knows the same.
        let mut other = HashLog::default();
        for part in log.parts() {
            prop_assert_eq!(other.add(heard(part.message()).unwrap()), Ok(true));
        }
        prop_assert!((0..60).all(|n| other.hash(n) == log.hash(n)));
    }
}
