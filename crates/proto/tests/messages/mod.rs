//! Arbitrary control messages, with numbers that mean something now and then.
#![allow(clippy::expect_used)]
// Each test file takes what it needs.
#![allow(dead_code)]

use passalong_proto::tree::PieceHash;
use passalong_proto::wire::{
    Farewell, HASHES_PER_MESSAGE, MANIFEST_PART, Message, PieceRef, REQUESTS_PER_MESSAGE,
    SourceProblem,
};
use proptest::prelude::*;

/// Mostly small numbers, so that some of them name a file or a piece.
pub(crate) fn index() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..8_u32, 1 => any::<u32>()]
}

pub(crate) fn piece_ref() -> impl Strategy<Value = PieceRef> {
    (index(), index()).prop_map(|(entry, piece)| PieceRef { entry, piece })
}

pub(crate) fn reason() -> impl Strategy<Value = SourceProblem> {
    prop_oneof![
        Just(SourceProblem::Vanished),
        Just(SourceProblem::Changed),
        Just(SourceProblem::Unreadable),
    ]
}

fn farewell() -> impl Strategy<Value = Farewell> {
    prop_oneof![
        Just(Farewell::Stopped),
        Just(Farewell::Closing),
        Just(Farewell::Finished),
        Just(Farewell::Version),
        Just(Farewell::Protocol),
        Just(Farewell::Taken),
    ]
}

fn signature() -> impl Strategy<Value = [u8; 64]> {
    prop::collection::vec(any::<u8>(), 64).prop_map(|bytes| bytes.try_into().expect("64 bytes"))
}

fn hashes() -> impl Strategy<Value = Vec<PieceHash>> {
    let few = prop::collection::vec(any::<[u8; 32]>().prop_map(PieceHash), 0..9);
    let most = any::<[u8; 32]>().prop_map(|hash| vec![PieceHash(hash); HASHES_PER_MESSAGE]);
    prop_oneof![20 => few, 1 => most]
}

fn pieces() -> impl Strategy<Value = Vec<PieceRef>> {
    let few = prop::collection::vec(piece_ref(), 0..20);
    let most = piece_ref().prop_map(|piece| vec![piece; REQUESTS_PER_MESSAGE]);
    prop_oneof![4 => few, 1 => most]
}

/// What a sharer sends, sense or not.
pub(crate) fn of_a_sharer() -> BoxedStrategy<Message> {
    let part = prop_oneof![
        20 => prop::collection::vec(any::<u8>(), 0..50),
        1 => any::<u8>().prop_map(|byte| vec![byte; MANIFEST_PART]),
    ];
    let length = prop_oneof![0..100_u32, any::<u32>()];
    prop_oneof![
        1 => Just(Message::Alive),
        1 => any::<(u64, u64)>().prop_map(|(done_bytes, total_bytes)| Message::Preparing {
            done_bytes,
            total_bytes,
        }),
        1 => (any::<[u8; 32]>(), signature(), length).prop_map(
            |(public_key, signature, length)| Message::Manifest {
                public_key,
                signature: signature.into(),
                length,
            }
        ),
        1 => part.prop_map(|bytes| Message::ManifestPart { bytes }),
        2 => (index(), index(), hashes()).prop_map(|(entry, first, hashes)| Message::Hashes {
            entry,
            first,
            hashes,
        }),
        2 => (index(), reason())
            .prop_map(|(entry, reason)| Message::Unavailable { entry, reason }),
    ]
    .boxed()
}

/// What a receiver sends, sense or not.
pub(crate) fn of_a_receiver() -> BoxedStrategy<Message> {
    let amount = prop_oneof![0..(1_u64 << 24), any::<u64>()];
    prop_oneof![
        2 => (index(), amount.clone()).prop_map(|(files, bytes)| Message::Accept { files, bytes }),
        1 => Just(Message::Alive),
        4 => index().prop_map(|entry| Message::WantHashes { entry }),
        8 => pieces().prop_map(|pieces| Message::Request { pieces }),
        2 => amount.prop_map(|bytes| Message::Progress { bytes }),
    ]
    .boxed()
}

/// Any message of either side.
pub(crate) fn any_message() -> BoxedStrategy<Message> {
    prop_oneof![
        8 => of_a_sharer(),
        8 => of_a_receiver(),
        1 => (any::<u16>(), signature()).prop_map(|(version, signature)| Message::Hello {
            version,
            signature: signature.into(),
        }),
        1 => Just(Message::Decline),
        1 => Just(Message::Cancel),
        1 => Just(Message::Complete),
        1 => farewell().prop_map(|reason| Message::Bye { reason }),
    ]
    .boxed()
}
