//! Pieces: the root equals plain BLAKE3, and no piece passes for another.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use passalong_proto::tree::{
    FileHasher, FileHashes, MAX_FILE_LEN, PIECE_LEN, PieceHash, Root, hash_count, piece_count,
    piece_hash, piece_len, root_of, single_piece_root,
};
use proptest::prelude::*;

/// File sizes around every boundary of chunks, pieces and subtrees.
const SIZES: [u64; 19] = [
    0,
    1,
    1023,
    1024,
    1025,
    PIECE_LEN - 1,
    PIECE_LEN,
    PIECE_LEN + 1,
    PIECE_LEN + 1024,
    2 * PIECE_LEN - 1,
    2 * PIECE_LEN,
    2 * PIECE_LEN + 1,
    3 * PIECE_LEN + 5,
    4 * PIECE_LEN,
    4 * PIECE_LEN + 1,
    5 * PIECE_LEN,
    7 * PIECE_LEN + 1025,
    8 * PIECE_LEN,
    9 * PIECE_LEN - 1,
];

/// Bytes without a period that a piece or a chunk is a multiple of.
fn contents(size: u64) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

fn pieces(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    (0..).zip(bytes.chunks(PIECE_LEN as usize))
}

fn hashes(bytes: &[u8]) -> FileHashes {
    let mut hasher = FileHasher::new();
    hasher.update(bytes);
    hasher.finish()
}

#[test]
fn the_root_equals_blake3_at_every_boundary() {
    for size in SIZES {
        let bytes = contents(size);
        let root = Root(*blake3::hash(&bytes).as_bytes());
        let found = hashes(&bytes);
        assert_eq!(found.root(), root, "{size}");
        assert_eq!(found.size(), size);
        assert_eq!(found.pieces().len(), hash_count(size) as usize, "{size}");
        let alone: Vec<PieceHash> = pieces(&bytes).map(|(i, p)| piece_hash(i, p)).collect();
        if size > PIECE_LEN {
            assert_eq!(found.pieces(), alone, "{size}");
            assert_eq!(root_of(size, &alone), Some(root), "{size}");
        } else {
            assert_eq!(single_piece_root(&bytes), root);
            assert_eq!(root_of(size, &alone), None, "{size}");
            assert_eq!(FileHashes::single(root, size), Some(found));
        }
    }
}

#[test]
fn every_piece_verifies_alone_and_only_where_it_belongs() {
    for size in SIZES {
        let bytes = contents(size);
        let known = hashes(&bytes);
        let known = FileHashes::verify(size, known.root(), known.pieces().to_vec()).unwrap();
        for (index, piece) in pieces(&bytes) {
            assert!(known.verify_piece(index, piece), "{index} of {size}");
            assert!(!known.verify_piece(index + 1, piece), "{index} of {size}");
            assert!(!known.verify_piece(index, &piece[1..]), "{index} of {size}");
            assert!(!known.verify_piece(u32::MAX, piece));
            for place in [0, piece.len() / 2, piece.len() - 1] {
                let mut spoiled = piece.to_vec();
                spoiled[place] ^= 0x10;
                assert!(!known.verify_piece(index, &spoiled), "{index} of {size}");
            }
        }
        assert!(!known.verify_piece(0, &[]));
        assert!(!known.verify_piece(piece_count(size), &[]));
    }
}

#[test]
fn hashes_that_do_not_come_out_at_the_root_are_refused() {
    for size in SIZES.into_iter().filter(|size| *size > PIECE_LEN) {
        let known = hashes(&contents(size));
        let whole = known.pieces();
        let refused =
            |pieces: Vec<PieceHash>| FileHashes::verify(size, known.root(), pieces).is_none();
        assert!(refused(Vec::new()));
        assert!(refused(whole[1..].to_vec()));
        assert!(refused([whole, &whole[..1]].concat()));
        assert!(refused(whole.iter().rev().copied().collect()));
        for place in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[place].0[31] ^= 1;
            assert!(refused(changed));
        }
        assert!(FileHashes::verify(size, Root([0; 32]), whole.to_vec()).is_none());
        assert!(FileHashes::single(known.root(), size).is_none());
    }
}

#[test]
fn an_inner_node_does_not_pass_for_a_smaller_file() {
    // The root of two pieces, claimed to be the root of one piece that holds their hashes.
    let known = hashes(&contents(2 * PIECE_LEN));
    let node: Vec<u8> = known.pieces().iter().flat_map(|hash| hash.0).collect();
    let claimed = FileHashes::single(known.root(), node.len() as u64).unwrap();
    assert!(!claimed.verify_piece(0, &node));
}

#[test]
fn pieces_are_counted_up_to_the_largest_file() {
    let cases = [
        (0, 0, 0),
        (1, 1, 0),
        (PIECE_LEN, 1, 0),
        (PIECE_LEN + 1, 2, 2),
        (MAX_FILE_LEN, u32::MAX, u32::MAX),
        (u64::MAX, u32::MAX, u32::MAX),
    ];
    for (size, pieces, hashes) in cases {
        assert_eq!(
            (piece_count(size), hash_count(size)),
            (pieces, hashes),
            "{size}"
        );
    }
    assert_eq!(root_of(u64::MAX, &[PieceHash([0; 32]); 2]), None);
}

#[test]
fn a_root_is_shown_as_b3sum_shows_it() {
    assert_eq!(
        single_piece_root(b"").to_string(),
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    );
}

proptest! {
    #[test]
    fn the_lengths_of_the_pieces_add_up_to_the_file(size in 0..100 * PIECE_LEN) {
        let count = piece_count(size);
        let total: u64 = (0..count).map(|index| u64::from(piece_len(size, index))).sum();
        prop_assert_eq!(total, size);
        prop_assert!((0..count).all(|index| piece_len(size, index) > 0));
        prop_assert_eq!(piece_len(size, count), 0);
        prop_assert_eq!(piece_len(size, u32::MAX), 0);
    }

    #[test]
    fn piece_lengths_never_overflow(size in any::<u64>(), index in any::<u32>()) {
        prop_assert!(u64::from(piece_len(size, index)) <= PIECE_LEN);
        prop_assert!(hash_count(size) <= piece_count(size));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_does_not_matter_in_which_portions_a_file_is_read(
        size in 0..5 * PIECE_LEN,
        portions in prop::collection::vec(1_usize..3_000_000, 1..8),
    ) {
        let bytes = contents(size);
        let mut hasher = FileHasher::new();
        let mut rest = bytes.as_slice();
        for portion in portions.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*portion));
            hasher.update(now);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(hasher.size(), size);
        let found = hasher.finish();
        prop_assert_eq!(found.root(), Root(*blake3::hash(&bytes).as_bytes()));
        let again = FileHashes::verify(size, found.root(), found.pieces().to_vec());
        prop_assert_eq!(again, Some(found));
    }

    #[test]
    fn any_number_of_full_pieces_comes_out_at_the_root(count in 2_u32..40, last in 1_usize..2000) {
        // Only the shape of the tree matters here, so all full pieces share their bytes.
        let full = contents(PIECE_LEN);
        let mut whole = blake3::Hasher::new();
        let mut hashes: Vec<PieceHash> = (0..count).map(|index| piece_hash(index, &full)).collect();
        for _ in 0..count {
            whole.update(&full);
        }
        let size = u64::from(count) * PIECE_LEN;
        prop_assert_eq!(root_of(size, &hashes), Some(Root(*whole.finalize().as_bytes())));
        hashes.push(piece_hash(count, &full[..last]));
        whole.update(&full[..last]);
        let root = Some(Root(*whole.finalize().as_bytes()));
        prop_assert_eq!(root_of(size + last as u64, &hashes), root);
    }
}
