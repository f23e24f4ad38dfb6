//! Numbers of pieces and sets of them, and what travels of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use passalong_proto::manifest::{Content, Entry, EntryKind, Manifest};
use passalong_proto::pieces::{MAX_PIECES, PieceMap, PieceSet};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{PIECE_LEN, Root, piece_count, piece_len, single_piece_root};
use passalong_proto::wire::{FIELD_PART, PieceRef};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A manifest of files of these sizes, `None` being a folder.
fn manifest(sizes: &[Option<u64>]) -> Manifest {
    let entry = |(index, size): (usize, &Option<u64>)| Entry {
        path: SafePath::parse(&format!("entry {index}")).unwrap(),
        kind: match *size {
            None => EntryKind::Folder { modified: None },
            Some(size) => EntryKind::File {
                size,
                content: Content::Hashed(match size {
                    0 => single_piece_root(b""),
                    _ => Root([7; 32]),
                }),
                modified: None,
            },
        },
    };
    Manifest::new("", sizes.iter().enumerate().map(entry).collect()).unwrap()
}

fn sizes() -> impl Strategy<Value = Vec<Option<u64>>> {
    let size = prop_oneof![
        Just(None),
        Just(Some(0)),
        (1..5 * PIECE_LEN).prop_map(Some),
        (1..5_u64).prop_map(|pieces| Some(pieces * PIECE_LEN)),
    ];
    prop::collection::vec(size, 0..12)
}

fn set(count: u32, pieces: &BTreeSet<u32>) -> PieceSet {
    let mut set = PieceSet::none(count);
    for piece in pieces {
        set.insert(*piece);
    }
    set
}

proptest! {
    #[test]
    fn every_piece_has_one_number_and_every_number_one_piece(sizes in sizes()) {
        let map = PieceMap::of(&manifest(&sizes)).unwrap();
        let mut next = 0;
        for (entry, size) in (0..).zip(&sizes) {
            let size = size.unwrap_or(0);
            prop_assert_eq!(map.size(entry), size);
            prop_assert_eq!(map.of_entry(entry), next..next + piece_count(size));
            for piece in 0..piece_count(size) {
                let piece = PieceRef { entry, piece };
                prop_assert_eq!(map.number(piece), Some(next));
                prop_assert_eq!(map.piece(next), Some(piece));
                prop_assert_eq!(map.len(next), piece_len(size, piece.piece));
                next += 1;
            }
            let behind = PieceRef { entry, piece: piece_count(size) };
            prop_assert_eq!(map.number(behind), None);
        }
        prop_assert_eq!(map.count(), next);
        prop_assert_eq!(map.is_empty(), next == 0);
        prop_assert_eq!(map.entries() as usize, sizes.len());
        prop_assert_eq!(map.piece(next), None);
        prop_assert_eq!(map.len(next), 0);
        prop_assert_eq!(map.of_entry(sizes.len() as u32), 0..0);
        let nowhere = PieceRef { entry: u32::MAX, piece: u32::MAX };
        prop_assert_eq!(map.number(nowhere), None);
    }

    #[test]
    fn a_set_that_travels_arrives(
        count in 1..3000_u32,
        pieces in prop::collection::btree_set(0..3000_u32, 0..200),
    ) {
        let sent = set(count, &pieces);
        let mut arrived = PieceSet::none(count);
        for (first, bits) in sent.parts() {
            prop_assert!(first % 8 == 0 && bits.len() <= FIELD_PART);
            prop_assert_eq!(arrived.take_part(first, &bits), Some(()));
        }
        prop_assert_eq!(arrived, sent);
    }

    #[test]
    fn a_part_speaks_for_its_own_pieces_only(
        count in 1..200_u32,
        before in prop::collection::btree_set(0..200_u32, 0..60),
        byte in 0..30_u32,
        bits in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut held = set(count, &before);
        let first = byte * 8;
        let told = |number: u32| {
            let at = number.checked_sub(first)? as usize;
            bits.get(at / 8).map(|byte| byte & (1 << (at % 8)) != 0)
        };
        let exist = (count..first + 8 * bits.len() as u32).all(|number| told(number) != Some(true));
        prop_assert_eq!(held.take_part(first, &bits).is_some(), exist);
        for number in (0..count).filter(|_| exist) {
            let expected = told(number).unwrap_or(before.contains(&number));
            prop_assert_eq!(held.contains(number), expected, "{}", number);
        }
        prop_assert_eq!(held.capacity(), count);
    }

    #[test]
    fn sets_are_what_sets_of_numbers_are(
        count in 1..300_u32,
        one in prop::collection::btree_set(0..300_u32, 0..60),
        other in prop::collection::btree_set(0..300_u32, 0..60),
        from in 0..310_u32,
    ) {
        let (a, b) = (set(count, &one), set(count, &other));
        let within = |pieces: &BTreeSet<u32>| -> BTreeSet<u32> {
            pieces.iter().copied().filter(|piece| *piece < count).collect()
        };
        let (one, other) = (within(&one), within(&other));
        let both: Vec<u32> = one.intersection(&other).copied().collect();
        prop_assert_eq!(a.count() as usize, one.len());
        prop_assert_eq!(a.is_empty(), one.is_empty());
        prop_assert_eq!(a.is_full(), one.len() == count as usize);
        prop_assert_eq!(a.iter().collect::<BTreeSet<_>>(), one);
        prop_assert_eq!(a.meets(&b), !both.is_empty());
        prop_assert_eq!(a.intersection(&b).collect::<Vec<_>>(), both.clone());
        let next = both.iter().copied().find(|piece| *piece >= from);
        prop_assert_eq!(a.next_common(&b, from), next);
    }
}

#[test]
fn pieces_beyond_the_end_are_never_in_a_set() {
    let mut held = PieceSet::none(10);
    assert!(held.insert(9) && !held.insert(9) && !held.insert(10));
    assert!(!held.insert(u32::MAX) && !held.contains(u32::MAX));
    assert!(!held.remove(10) && held.remove(9) && !held.remove(9));
    assert_eq!(held.take_part(8, &[0b100]), None);
    assert_eq!(held.take_part(u32::MAX - 7, &[1]), None);
    assert_eq!(held.take_part(8, &[0b11]), Some(()));
    assert_eq!(held.iter().collect::<Vec<_>>(), [8, 9]);
    assert!(PieceSet::all(10).is_full() && PieceSet::all(10).count() == 10);
}

#[test]
fn a_share_may_have_so_many_pieces_and_no_more() {
    let most = MAX_PIECES * PIECE_LEN;
    assert_eq!(
        PieceMap::of(&manifest(&[Some(most)])).unwrap().count(),
        1 << 24
    );
    assert!(PieceMap::of(&manifest(&[Some(most), Some(0), None])).is_some());
    assert!(PieceMap::of(&manifest(&[Some(most), Some(1)])).is_none());
    assert!(PieceMap::of(&manifest(&[Some(most + 1)])).is_none());
}
