//! Arbitrary control messages, with numbers that mean something now and then.
#![allow(clippy::expect_used)]
// Each test file takes what it needs.
#![allow(dead_code)]

use passalong_proto::keys::DeviceId;
use passalong_proto::knock::{
    Candidate, CandidateKind, DeviceName, IceToken, MAX_CANDIDATES, MAX_DATAGRAM, Offer, SessionId,
};
use passalong_proto::tree::PieceHash;
use passalong_proto::wire::{
    FIELD_PART, Farewell, HASHES_PER_MESSAGE, MANIFEST_PART, MAX_CARRIED, MAX_PARALLEL,
    MEMBER_ADDRESSES, MEMBERS_PER_MESSAGE, Member, Message, PieceRef, REQUESTS_PER_MESSAGE,
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
        Just(Farewell::Crowded),
        Just(Farewell::Corrupt),
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

fn numbers() -> impl Strategy<Value = Vec<u32>> {
    let few = prop::collection::vec(index(), 0..20);
    let most = index().prop_map(|piece| vec![piece; REQUESTS_PER_MESSAGE]);
    prop_oneof![8 => few, 1 => most]
}

/// Part of a bitfield, now and then of the pieces that there are.
fn field() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let first = prop_oneof![6 => Just(0), 1 => (0..u32::MAX / 8).prop_map(|byte| byte * 8)];
    let bits = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 1),
        4 => prop::collection::vec(any::<u8>(), 0..9),
        1 => any::<u8>().prop_map(|byte| vec![byte; FIELD_PART]),
    ];
    (first, bits)
}

fn member() -> impl Strategy<Value = Member> {
    let address = any::<std::net::SocketAddr>().prop_map(|address| match address {
        // Scope and flow are not told to others.
        std::net::SocketAddr::V6(v6) => (*v6.ip(), v6.port()).into(),
        v4 => v4,
    });
    let addresses = prop::collection::vec(address, 0..=MEMBER_ADDRESSES);
    let counts = (any::<u32>(), any::<bool>(), any::<u8>(), any::<u16>());
    (any::<[u8; 32]>(), "\\PC{0,20}", counts, addresses).prop_map(
        |(device, name, (pieces, complete, links, age), addresses)| Member {
            device: DeviceId(device),
            name: DeviceName::new(&name),
            pieces,
            complete,
            links,
            age,
            addresses,
        },
    )
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let few = prop::collection::vec(member(), 0..5);
    let most = member().prop_map(|member| vec![member; MEMBERS_PER_MESSAGE]);
    prop_oneof![8 => few, 1 => most]
}

fn sealed() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..50),
        1 => any::<u8>().prop_map(|byte| vec![byte; MAX_DATAGRAM]),
    ]
}

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..50),
        1 => any::<u8>().prop_map(|byte| vec![byte; MAX_CARRIED]),
    ]
}

fn half() -> impl Strategy<Value = Offer> {
    let address = (1..=255_u8, 1..=u16::MAX)
        .prop_map(|(last, port)| std::net::SocketAddr::from(([192, 0, 2, last], port)));
    let kind = prop_oneof![
        Just(CandidateKind::Host),
        Just(CandidateKind::ServerReflexive),
        Just(CandidateKind::Relayed),
    ];
    let candidate = (kind, address, any::<u32>()).prop_map(|(kind, address, priority)| Candidate {
        kind,
        address,
        priority,
    });
    let candidates = prop::collection::vec(candidate, 0..=MAX_CANDIDATES);
    (
        "[a-zA-Z0-9+/]{4,64}",
        "[a-zA-Z0-9+/]{22,64}",
        any::<[u8; 32]>(),
        candidates,
    )
        .prop_map(|(ufrag, password, fingerprint, candidates)| Offer {
            ufrag: IceToken::new(&ufrag).expect("an ICE credential"),
            password: IceToken::new(&password).expect("an ICE credential"),
            fingerprint,
            candidates,
        })
}

fn halves() -> impl Strategy<Value = Vec<Offer>> {
    prop::collection::vec(half(), 0..=MAX_PARALLEL)
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
        1 => (any::<[u8; 32]>(), any::<u64>(), any::<[bool; 2]>()).prop_map(
            |(hash, edition, [one_person, whole])| Message::Listed {
                hash,
                edition,
                one_person,
                whole,
            }
        ),
        1 => (any::<[u8; 32]>(), signature()).prop_map(|(public_key, signature)| {
            Message::Sharer { public_key, signature: signature.into() }
        }),
        1 => Just(Message::HoldsAll),
        2 => field().prop_map(|(first, bits)| Message::HoldsField { first, bits }),
        2 => numbers().prop_map(|pieces| Message::Holds { pieces }),
        2 => Just(Message::Unchoke),
        1 => Just(Message::Choke),
        1 => index().prop_map(|entry| Message::NoHashes { entry }),
        2 => (index(), hashes(), signature()).prop_map(|(first, hashes, signature)| {
            Message::SignedHashes { first, hashes, signature: signature.into() }
        }),
        2 => pieces().prop_map(|pieces| Message::Dropped { pieces }),
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
        1 => index().prop_map(|from| Message::WantSignedHashes { from }),
        8 => pieces().prop_map(|pieces| Message::Request { pieces }),
        2 => amount.prop_map(|bytes| Message::Progress { bytes }),
        1 => Just(Message::WantManifest),
        1 => any::<bool>().prop_map(|wants| Message::Interest { wants }),
        4 => pieces().prop_map(|pieces| Message::CancelRequest { pieces }),
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
        2 => members().prop_map(|members| Message::Members { members }),
        1 => (any::<[u8; 32]>(), sealed()).prop_map(|(to, sealed)| Message::Forward {
            to: DeviceId(to),
            sealed,
        }),
        1 => (any::<[u8; 32]>(), sealed()).prop_map(|(from, sealed)| Message::Forwarded {
            from: DeviceId(from),
            sealed,
        }),
        1 => (any::<[u8; 32]>(), signature()).prop_map(|(public_key, signature)| {
            Message::Stopped { public_key, signature: signature.into() }
        }),
        1 => (any::<u32>(), any::<[u8; 32]>()).prop_map(|(lane, certificate)| Message::Quic {
            lane,
            certificate,
        }),
        1 => (any::<u32>(), pieces()).prop_map(|(lane, pieces)| Message::LaneLost { lane, pieces }),
        1 => (any::<u32>(), halves()).prop_map(|(lane, halves)| Message::Parallel { lane, halves }),
        1 => (any::<u32>(), halves())
            .prop_map(|(lane, halves)| Message::ParallelAnswer { lane, halves }),
        1 => any::<bool>().prop_map(|willing| Message::Carries { willing }),
        1 => (any::<[u8; 32]>(), any::<[u8; 16]>(), datagram()).prop_map(|(to, session, datagram)| {
            Message::Carry { to: DeviceId(to), session: SessionId(session), datagram }
        }),
        1 => (any::<[u8; 32]>(), any::<[u8; 16]>(), datagram()).prop_map(|(from, session, datagram)| {
            Message::Carried { from: DeviceId(from), session: SessionId(session), datagram }
        }),
    ]
    .boxed()
}
