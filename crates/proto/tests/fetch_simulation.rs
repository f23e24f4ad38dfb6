//! Fetching from an honest sharer, simulated: over links that come and go, with
//! files that vanish and others that are here already, everything else arrives.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use passalong_proto::fetch::{Fetch, FetchEvent, WINDOW_PIECES};
use passalong_proto::serve::{Serve, ServeEvent};
use passalong_proto::tree::{FileHashes, PIECE_LEN, piece_count};
use passalong_proto::wire::{Frame, Message, PieceRef, SourceProblem};
use proptest::prelude::*;

use files::{Files, asked, key};

mod files;
mod messages;

enum Job {
    Resume(Arc<FileHashes>, u32),
    Store(PieceRef),
}

/// An honest sharer, a receiver with a disk, and a link that comes and goes.
struct World {
    files: Files,
    fetch: Fetch,
    serve: Serve,
    to_sharer: VecDeque<Message>,
    control: VecDeque<Message>,
    bulk: VecDeque<Frame>,
    to_read: VecDeque<PieceRef>,
    /// How many pieces of a file can still be read before it vanishes.
    readable: HashMap<u32, u32>,
    refused: HashSet<u32>,
    jobs: VecDeque<Job>,
    /// Files that the receiver has from before.
    present: HashSet<u32>,
    /// Pieces that the receiver has from before.
    partial: HashSet<PieceRef>,
    /// How often each piece came whole.
    came: HashMap<PieceRef, u32>,
    stored: HashSet<PieceRef>,
    whole: HashSet<u32>,
    unavailable: HashSet<u32>,
    accepted: bool,
}

impl World {
    fn new(files: Files, present: HashSet<u32>, partial: HashSet<PieceRef>) -> World {
        let mut world = World {
            files,
            fetch: Fetch::new(key().secret()),
            serve: Serve::default(),
            to_sharer: VecDeque::new(),
            control: VecDeque::new(),
            bulk: VecDeque::new(),
            to_read: VecDeque::new(),
            readable: HashMap::new(),
            refused: HashSet::new(),
            jobs: VecDeque::new(),
            present,
            partial,
            came: HashMap::new(),
            stored: HashSet::new(),
            whole: HashSet::new(),
            unavailable: HashSet::new(),
            accepted: false,
        };
        world.link_up();
        world
    }

    fn link_up(&mut self) {
        self.serve = Serve::default();
        self.serve.manifest_sent();
        self.control.extend(self.files.list());
    }

    fn lose_link(&mut self) {
        self.to_sharer.clear();
        self.control.clear();
        self.bulk.clear();
        self.to_read.clear();
        self.refused.clear();
        self.fetch.lost();
        self.link_up();
    }

    /// Does one of the things that can happen next; says whether anything did.
    fn step(&mut self, what: u8, how_much: usize) -> bool {
        let did = match what {
            0 => {
                let messages = asked(&mut self.fetch);
                let any = !messages.is_empty();
                self.to_sharer.extend(messages);
                any
            }
            1 => self
                .to_sharer
                .pop_front()
                .map(|m| self.sharer_takes(m))
                .is_some(),
            2 => self
                .to_read
                .pop_front()
                .map(|p| self.sharer_reads(p))
                .is_some(),
            3 => self.control.pop_front().map(|m| self.takes(m)).is_some(),
            4 => {
                let frames = how_much.min(self.bulk.len());
                for frame in self.bulk.drain(..frames).collect::<Vec<_>>() {
                    let event = self.fetch.handle_frame(frame).unwrap();
                    self.learns(event);
                }
                frames > 0
            }
            5 => self.jobs.pop_front().map(|j| self.disk_does(j)).is_some(),
            6 => self.accept(),
            _ => {
                self.lose_link();
                true
            }
        };
        let progress = self.fetch.progress();
        assert!(progress.bytes <= progress.total, "{progress:?}");
        assert!(progress.files <= progress.files_total, "{progress:?}");
        did
    }

    fn accept(&mut self) -> bool {
        if self.accepted || self.fetch.manifest().is_none() {
            return false;
        }
        self.accepted = true;
        self.fetch.accept(&self.files.all(), &self.present).unwrap();
        true
    }

    fn sharer_takes(&mut self, message: Message) {
        match self
            .serve
            .handle(message, Some(&self.files.manifest))
            .unwrap()
        {
            Some(ServeEvent::SendHashes { entry }) => {
                self.control.extend(self.files.hash_messages(entry));
                self.serve.hashes_sent();
            }
            Some(ServeEvent::SendPieces { pieces }) => self.to_read.extend(pieces),
            _ => {}
        }
    }

    fn sharer_reads(&mut self, piece: PieceRef) {
        let readable = self.readable.entry(piece.entry).or_insert(u32::MAX);
        if *readable == 0 {
            if self.refused.insert(piece.entry) {
                self.control.push_back(Message::Unavailable {
                    entry: piece.entry,
                    reason: SourceProblem::Vanished,
                });
            }
        } else {
            *readable -= 1;
            self.bulk.extend(self.files.frames(piece));
        }
        self.serve.piece_settled();
    }

    fn takes(&mut self, message: Message) {
        let event = self.fetch.handle(message).unwrap();
        self.learns(event);
    }

    fn learns(&mut self, event: Option<FetchEvent>) {
        match event {
            Some(FetchEvent::Hashes { entry, hashes }) => {
                assert_eq!(*hashes, self.files.hashes[entry as usize]);
                self.jobs.push_back(Job::Resume(hashes, entry));
            }
            Some(FetchEvent::Piece { piece, bytes }) => {
                assert!(bytes == self.files.piece(piece), "{piece:?} is another's");
                *self.came.entry(piece).or_default() += 1;
                self.jobs.push_back(Job::Store(piece));
            }
            Some(FetchEvent::Unavailable { entry, .. }) => {
                assert!(self.unavailable.insert(entry), "{entry} was told twice");
            }
            _ => {}
        }
    }

    fn disk_does(&mut self, job: Job) {
        match job {
            Job::Resume(hashes, entry) => {
                let here: Vec<u32> = (0..piece_count(hashes.size()))
                    .filter(|piece| {
                        self.partial.contains(&PieceRef {
                            entry,
                            piece: *piece,
                        })
                    })
                    .collect();
                if here.len() == hashes.pieces().len() && !self.unavailable.contains(&entry) {
                    self.whole.insert(entry);
                }
                let pieces = here.iter().map(|piece| PieceRef {
                    entry,
                    piece: *piece,
                });
                self.stored.extend(pieces);
                self.fetch.file_ready(entry, &here);
            }
            Job::Store(piece) => {
                assert!(self.stored.insert(piece), "{piece:?} was here already");
                if self.fetch.piece_stored(piece) {
                    assert!(self.whole.insert(piece.entry), "whole twice");
                }
            }
        }
    }

    /// Lets everything happen that still can.
    fn settle(&mut self) {
        while (0..=6).any(|what| self.step(what, usize::MAX)) {}
    }
}

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

fn script() -> impl Strategy<Value = Vec<(u8, usize)>> {
    let what = prop_oneof![60 => 0..=6_u8, 1 => Just(7_u8)];
    prop::collection::vec((what, 1..40_usize), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_honest_share_arrives_whole_and_once_whatever_is_lost_on_the_way(
        sizes in sizes(),
        present in prop::collection::hash_set(0..8_u32, 0..3),
        partial in prop::collection::hash_set(messages::piece_ref(), 0..12),
        vanishing in prop::collection::hash_map(0..8_u32, 0..3_u32, 0..3),
        script in script(),
    ) {
        let files = Files::of(&sizes);
        let mut world = World::new(files, present.clone(), partial.clone());
        world.readable = vanishing;
        for (what, how_much) in script {
            world.step(what, how_much);
        }
        world.settle();

        prop_assert!(world.fetch.is_complete());
        prop_assert!(!world.fetch.is_waiting());
        let progress = world.fetch.progress();
        prop_assert_eq!(progress.bytes, progress.total);
        prop_assert_eq!(progress.files, progress.files_total);
        let gone = |entry: &u32| world.unavailable.contains(entry);
        let arrived = (0_u32..).zip(&sizes).filter(|(entry, _)| !gone(entry));
        prop_assert_eq!(progress.total, arrived.map(|(_, size)| size).sum::<u64>());
        for piece in world.files.pieces() {
            let came = world.came.get(&piece).copied().unwrap_or(0);
            let several = sizes[piece.entry as usize] > PIECE_LEN;
            if present.contains(&piece.entry) || several && partial.contains(&piece) {
                prop_assert_eq!(came, 0, "{:?} was here from before", piece);
            } else if gone(&piece.entry) {
                prop_assert!(came <= 1, "{:?} came {} times", piece, came);
            } else {
                prop_assert_eq!(came, 1, "{:?}", piece);
                prop_assert!(world.stored.contains(&piece));
                prop_assert!(world.whole.contains(&piece.entry));
            }
        }
    }
}

#[test]
fn thousands_of_small_files_are_asked_for_a_window_at_a_time() {
    let files = Files::of(&[1; 3000]);
    let mut world = World::new(files, HashSet::new(), HashSet::new());
    let mut most = 0;
    while (0..=6).any(|what| {
        let did = world.step(what, 100);
        let out = world.to_read.len() + world.bulk.len() + world.jobs.len();
        most = most.max(out);
        did
    }) {}
    assert!(most <= WINDOW_PIECES, "{most} pieces at once");
    assert!(most > WINDOW_PIECES / 2, "{most} pieces at once");
    assert!(world.fetch.is_complete());
    assert_eq!(world.whole.len(), 3000);
}
