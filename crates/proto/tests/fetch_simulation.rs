//! Whole transfers between members on a virtual clock: whoever is slow, silent,
//! lying, choking or gone, everything arrives, verified, as long as somebody
//! honest has it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use passalong_proto::tree::PIECE_LEN;
use passalong_proto::wire::PieceRef;
use proptest::prelude::*;

use files::Files;
use mesh::{Manner, Mesh};

mod files;
mod mesh;

const MINUTE: Duration = Duration::from_secs(60);

fn sizes() -> impl Strategy<Value = Vec<u64>> {
    let size = prop_oneof![
        1 => Just(0),
        4 => 1..3000_u64,
        2 => prop::sample::select(vec![
            PIECE_LEN - 1,
            PIECE_LEN,
            PIECE_LEN + 1,
            2 * PIECE_LEN,
            2 * PIECE_LEN + 70_000,
            3 * PIECE_LEN + 1,
        ]),
    ];
    prop::collection::vec(size, 1..9)
}

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        Just(Manner::Honest),
        Just(Manner::Mute),
        Just(Manner::Liar),
        Just(Manner::HashLiar),
        Just(Manner::Flooder),
        Just(Manner::Dropper),
        Just(Manner::Choker),
        prop::collection::btree_set(0..8_u32, 0..8).prop_map(Manner::Unable),
    ]
}

/// Asserts that a receiver has all of these files and nothing else.
fn assert_has(mesh: &Mesh, member: usize, entries: &BTreeSet<u32>) {
    let member = &mesh.members[member];
    let progress = member.fetch.progress();
    assert_eq!(progress.bytes, progress.total);
    assert_eq!(progress.files, progress.files_total);
    assert_eq!(progress.files as usize, entries.len());
    let held = member.fetch.held().unwrap();
    for piece in mesh.files.pieces() {
        let number = mesh.files.map.number(piece).unwrap();
        let has = entries.contains(&piece.entry);
        assert_eq!(held.contains(number), has, "{piece:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn with_one_honest_source_everything_arrives_whatever_the_others_do(
        sizes in sizes(),
        others in prop::collection::vec((manner(), 3e4..3e7), 0..7),
        present in prop::collection::vec(0..8_u32, 0..3),
        resumed in prop::collection::btree_set((0..8_u32, 0..4_u32), 0..12),
        vanishing in prop::collection::vec((1..7_usize, 1..300_u32), 0..3),
        late in 0..200_u32,
    ) {
        let mut mesh = Mesh::of(Files::of(&sizes));
        mesh.seed(5e6, Manner::Honest);
        for (manner, up) in &others {
            mesh.seed(*up, manner.clone());
        }
        let resumed: Vec<PieceRef> = resumed
            .iter()
            .map(|(entry, piece)| PieceRef { entry: *entry, piece: *piece })
            .collect();
        let receiver = mesh.receiver(1e6, &present, &resumed);
        for other in 1..receiver {
            mesh.link(other, receiver);
        }
        let mut vanishing = vanishing;
        for step in 0..300 {
            if step == late {
                mesh.link(0, receiver);
            }
            vanishing.retain(|(who, when)| {
                if *when == step && *who < receiver {
                    mesh.vanish(*who);
                }
                *when > step
            });
            mesh.step();
        }
        mesh.run(&[receiver], 5 * MINUTE);
        assert_has(&mesh, receiver, &mesh.files.all().into_iter().collect());
        for (other, (manner, _)) in (1..).zip(&others) {
            if mesh.members[receiver].expelled.contains(&other) {
                let bad = matches!(manner, Manner::Liar | Manner::HashLiar | Manner::Flooder);
                prop_assert!(bad, "{:?} was expelled", manner);
            }
        }
        let missing: u64 = mesh
            .files
            .pieces()
            .filter(|piece| {
                let several = sizes[piece.entry as usize] > PIECE_LEN;
                !(present.contains(&piece.entry) || several && resumed.contains(piece))
            })
            .map(|piece| mesh.files.piece(piece).len() as u64)
            .sum();
        prop_assert_eq!(mesh.members[receiver].fetched, missing);
    }

    #[test]
    fn what_the_sharer_cannot_send_is_given_up_unless_another_has_it(
        sizes in sizes(),
        unable in prop::collection::btree_set(0..8_u32, 0..8),
        others_unable in prop::collection::vec(prop::collection::btree_set(0..8_u32, 0..8), 0..4),
    ) {
        let mut mesh = Mesh::of(Files::of(&sizes));
        mesh.seed(5e6, Manner::Unable(unable.clone()));
        let mut nobody = unable;
        for unable in others_unable {
            nobody.retain(|entry| unable.contains(entry));
            mesh.seed(5e6, Manner::Unable(unable));
        }
        let receiver = mesh.receiver(1e6, &[], &[]);
        for source in 0..receiver {
            mesh.link(source, receiver);
        }
        mesh.run(&[receiver], MINUTE);
        nobody.retain(|entry| sizes.get(*entry as usize).is_some_and(|size| *size > 0));
        prop_assert_eq!(&mesh.members[receiver].unavailable, &nobody);
        let all = mesh.files.all().into_iter();
        let arrived = all.filter(|entry| !nobody.contains(entry)).collect();
        assert_has(&mesh, receiver, &arrived);
    }
}

#[test]
fn a_swarm_of_liars_vanishing_slow_and_choking_members_delivers_every_byte() {
    let sizes = [
        20 * PIECE_LEN,
        3,
        PIECE_LEN,
        7 * PIECE_LEN + 11,
        0,
        2 * PIECE_LEN - 1,
        700_000,
    ];
    let mut mesh = Mesh::of(Files::of(&sizes));
    mesh.seed(4e6, Manner::Honest);
    for (manner, up) in [
        (Manner::Liar, 8e6),
        (Manner::HashLiar, 8e6),
        (Manner::Flooder, 8e6),
        (Manner::Mute, 8e6),
        (Manner::Mute, 8e6),
        (Manner::Dropper, 8e6),
        (Manner::Choker, 2e6),
        (Manner::Honest, 2e4),
        (Manner::Honest, 2e6),
        (Manner::Unable(BTreeSet::from([0, 3])), 3e6),
    ] {
        mesh.seed(up, manner);
    }
    let receivers: Vec<usize> = (0..8).map(|_| mesh.receiver(3e6, &[], &[])).collect();
    mesh.link_all();
    for step in 0..400 {
        match step {
            100 => mesh.vanish(9),
            150 => mesh.vanish(receivers[3]),
            _ => {}
        }
        mesh.step();
    }
    let staying: Vec<usize> = receivers
        .iter()
        .copied()
        .filter(|member| *member != receivers[3])
        .collect();
    mesh.run(&staying, 2 * MINUTE);
    for receiver in &staying {
        assert_has(&mesh, *receiver, &mesh.files.all().into_iter().collect());
        let expelled = &mesh.members[*receiver].expelled;
        assert!(expelled.iter().all(|other| (1..=3).contains(other)));
    }
}

#[test]
fn many_receivers_take_little_longer_than_one_and_the_sharer_sends_little_more() {
    let time = |receivers: usize| {
        let mut mesh = Mesh::of(Files::of(&[40 * PIECE_LEN]));
        mesh.seed(5e6, Manner::Honest);
        let receivers: Vec<usize> = (0..receivers)
            .map(|_| mesh.receiver(5e6, &[], &[]))
            .collect();
        mesh.link_all();
        mesh.run(&receivers, 5 * MINUTE);
        let copies = mesh.members[0].uploaded as f64 / (40 * PIECE_LEN) as f64;
        (mesh.now.as_secs_f64(), copies)
    };
    let (alone, _) = time(1);
    let (together, copies) = time(8);
    assert!(together < 2.5 * alone, "{together} s, alone {alone} s");
    assert!(copies < 3.0, "the sharer sent everything {copies} times");
}

#[test]
fn a_swarm_outlives_its_sharer_once_everything_is_elsewhere() {
    let mut mesh = Mesh::of(Files::of(&[16 * PIECE_LEN, 5, PIECE_LEN + 9]));
    mesh.seed(5e6, Manner::Honest);
    let receivers: Vec<usize> = (0..6).map(|_| mesh.receiver(5e6, &[], &[])).collect();
    mesh.link_all();
    let count = mesh.files.map.count();
    let is_elsewhere = |mesh: &Mesh| {
        (0..count).all(|piece| {
            let mut members = receivers.iter().map(|member| &mesh.members[*member]);
            members.any(|member| member.fetch.held().is_some_and(|held| held.contains(piece)))
        })
    };
    while !is_elsewhere(&mesh) {
        assert!(mesh.now < MINUTE);
        mesh.step();
    }
    mesh.vanish(0);
    mesh.run(&receivers, MINUTE);
    for receiver in receivers {
        assert_has(&mesh, receiver, &BTreeSet::from([0, 1, 2]));
    }
}

#[test]
fn thousands_of_small_files_arrive_quickly_from_several_sources() {
    let mut mesh = Mesh::of(Files::of(&[700; 3000]));
    for _ in 0..3 {
        mesh.seed(5e6, Manner::Honest);
    }
    let receiver = mesh.receiver(1e6, &[], &[]);
    for source in 0..3 {
        mesh.link(source, receiver);
    }
    mesh.run(&[receiver], MINUTE);
    assert_eq!(mesh.members[receiver].whole.len(), 3000);
    assert!(mesh.now < Duration::from_secs(3), "{:?}", mesh.now);
}
