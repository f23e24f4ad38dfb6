//! What one core does with the bytes of pieces: hashing and verifying, and the
//! frames and messages that carry and ask for them. Prints times; nothing
//! passes or fails by them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::{Bytes, BytesMut};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use passalong_proto::tree::{FileHasher, FileHashes, PIECE_LEN, piece_hash};
use passalong_proto::wire::{
    FRAME_DATA, Frame, Message, PIECE_HEADER, PieceHeader, PieceRef, REQUESTS_PER_MESSAGE,
};

/// Pieces of the file whose pieces are verified.
const PIECES: u32 = 16;

fn main() {
    divan::main();
}

/// Bytes that do not repeat within a piece.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| byte()).collect()
}

fn piece() -> Vec<u8> {
    noise(PIECE_LEN as usize)
}

fn hashes(piece: &[u8]) -> FileHashes {
    let mut hasher = FileHasher::new();
    for _ in 0..PIECES {
        hasher.update(piece);
    }
    hasher.finish()
}

fn frames(piece: &[u8]) -> Vec<Bytes> {
    let at = PieceRef { entry: 3, piece: 5 };
    (0u32..)
        .zip(piece.chunks(FRAME_DATA))
        .map(|(index, data)| Frame::encode(at, index * FRAME_DATA as u32, data).freeze())
        .collect()
}

#[divan::bench]
fn hash_a_piece(bencher: Bencher<'_, '_>) {
    let piece = piece();
    bencher
        .counter(BytesCount::new(piece.len()))
        .bench_local(|| piece_hash(black_box(7), black_box(&piece)));
}

#[divan::bench]
fn hash_a_file_of_16_pieces(bencher: Bencher<'_, '_>) {
    let piece = piece();
    bencher
        .counter(BytesCount::new(piece.len() * PIECES as usize))
        .bench_local(|| hashes(black_box(&piece)));
}

#[divan::bench]
fn verify_a_piece(bencher: Bencher<'_, '_>) {
    let piece = piece();
    let hashes = hashes(&piece);
    bencher
        .counter(BytesCount::new(piece.len()))
        .bench_local(|| assert!(hashes.verify_piece(black_box(5), black_box(&piece))));
}

#[divan::bench]
fn verify_a_file_of_4_kb(bencher: Bencher<'_, '_>) {
    let small = noise(4096);
    let mut hasher = FileHasher::new();
    hasher.update(&small);
    let hashes = hasher.finish();
    bencher
        .counter(BytesCount::new(small.len()))
        .bench_local(|| assert!(hashes.verify_piece(black_box(0), black_box(&small))));
}

/// The way of the data channel: frames of 63 KiB.
#[divan::bench]
fn frame_a_piece(bencher: Bencher<'_, '_>) {
    let piece = piece();
    bencher
        .counter(BytesCount::new(piece.len()))
        .bench_local(|| frames(black_box(&piece)));
}

#[divan::bench]
fn put_the_frames_of_a_piece_together(bencher: Bencher<'_, '_>) {
    let frames = frames(&piece());
    bencher
        .counter(BytesCount::new(PIECE_LEN as usize))
        .bench_local(|| {
            let mut piece = BytesMut::with_capacity(PIECE_LEN as usize);
            for frame in &frames {
                let frame = Frame::decode(black_box(frame.clone())).expect("a frame");
                piece.extend_from_slice(&frame.data);
            }
            piece
        });
}

/// The way of QUIC: a header before each piece.
#[divan::bench]
fn head_of_a_piece_there_and_back() -> PieceHeader {
    let header = PieceHeader {
        piece: PieceRef { entry: 3, piece: 5 },
        length: PIECE_LEN as u32,
    };
    let bytes: [u8; PIECE_HEADER] = black_box(header).encode();
    PieceHeader::decode(black_box(bytes)).expect("a header")
}

fn request() -> Message {
    let pieces = (0..REQUESTS_PER_MESSAGE as u32)
        .map(|index| PieceRef {
            entry: index,
            piece: index * 3,
        })
        .collect();
    Message::Request { pieces }
}

#[divan::bench]
fn encode_a_request_of_512_pieces(bencher: Bencher<'_, '_>) {
    let request = request();
    bencher.bench_local(|| black_box(&request).encode());
}

#[divan::bench]
fn decode_a_request_of_512_pieces(bencher: Bencher<'_, '_>) {
    let bytes = request().encode();
    bencher.bench_local(|| Message::decode(black_box(&bytes)).expect("a message"));
}
