//! Fetching from somebody hostile beside somebody honest: nothing panics, nothing
//! is taken that was not asked of whoever sent it, and everything arrives.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use passalong_proto::fetch::{Fetch, FetchError, FetchEvent, PeerKey};
use passalong_proto::tree::{PIECE_LEN, piece_len};
use passalong_proto::wire::{FRAME_DATA, Frame, Half, Message, PieceRef};
use proptest::prelude::*;

use files::{Files, TWO};

mod files;
mod messages;

#[derive(Clone, Debug)]
enum Hostile {
    Message(Message),
    Frame(Frame),
    /// It has the list, holds everything and answers.
    Plausible,
    /// All frames of one of the pieces that it was asked for.
    Piece(prop::sample::Index),
    /// The same with wrong bytes.
    WrongPiece(prop::sample::Index),
    Hashes(u32),
    List,
    /// The disk is done with a piece.
    Stored,
    Wait(u64),
    Pause(bool),
}

fn steps() -> impl Strategy<Value = Vec<Hostile>> {
    let offset = prop_oneof![Just(0_u32), Just(FRAME_DATA as u32), any::<u32>()];
    let length = prop_oneof![Just(1_usize), Just(700), Just(FRAME_DATA), 1..FRAME_DATA];
    let frame = (messages::piece_ref(), offset, length).prop_map(|(piece, offset, length)| {
        let data = Bytes::from(vec![9; length]);
        Hostile::Frame(Frame {
            piece,
            offset,
            data,
        })
    });
    let place = any::<prop::sample::Index>();
    let step = prop_oneof![
        4 => messages::of_a_sharer().prop_map(Hostile::Message),
        1 => messages::any_message().prop_map(Hostile::Message),
        1 => frame,
        6 => Just(Hostile::Plausible),
        6 => place.clone().prop_map(Hostile::Piece),
        2 => place.prop_map(Hostile::WrongPiece),
        3 => prop::sample::select(vec![2, 4]).prop_map(Hostile::Hashes),
        1 => Just(Hostile::List),
        6 => Just(Hostile::Stored),
        3 => (0..5000_u64).prop_map(Hostile::Wait),
        1 => any::<bool>().prop_map(Hostile::Pause),
    ];
    prop::collection::vec(step, 0..120)
}

/// A fetch from a hostile peer, which comes back when it is thrown out, and an
/// honest one.
struct World {
    files: Files,
    fetch: Fetch,
    now: Duration,
    hostile: PeerKey,
    /// What each was asked for and did not send whole.
    open: HashSet<(PeerKey, PieceRef)>,
    hashes_open: HashSet<(PeerKey, u32)>,
    received: Vec<PieceRef>,
    stored: HashMap<PieceRef, u32>,
}

impl World {
    fn new() -> World {
        let files = Files::of(&[0, 1, 2 * PIECE_LEN + 1, 700, 3 * PIECE_LEN, 5]);
        let fetch = files.fetch();
        let mut world = World {
            files,
            fetch,
            now: Duration::ZERO,
            hostile: PeerKey(100),
            open: HashSet::new(),
            hashes_open: HashSet::new(),
            received: Vec::new(),
            stored: HashMap::new(),
        };
        world.fetch.joined(world.hostile, world.now);
        world
    }

    fn apply(&mut self, step: Hostile) {
        let hostile = self.hostile;
        match step {
            Hostile::Message(message) => self.hears(hostile, message),
            Hostile::Frame(frame) => self.takes(hostile, frame),
            Hostile::Plausible => {
                for message in [self.files.told(), Message::HoldsAll, Message::Unchoke] {
                    self.hears(hostile, message);
                }
            }
            Hostile::Piece(place) => {
                if let Some(piece) = self.some_open(&place) {
                    for frame in self.files.frames(piece) {
                        self.takes(hostile, frame);
                    }
                }
            }
            Hostile::WrongPiece(place) => {
                if let Some(piece) = self.some_open(&place) {
                    for mut frame in self.files.frames(piece) {
                        frame.data = vec![0; frame.data.len()].into();
                        self.takes(hostile, frame);
                    }
                }
            }
            Hostile::Hashes(entry) => {
                for message in self.files.hash_messages(entry) {
                    self.hears(hostile, message);
                }
            }
            Hostile::List => {
                for message in self.files.list() {
                    self.hears(hostile, message);
                }
            }
            Hostile::Stored => self.store(),
            Hostile::Wait(ms) => self.now += Duration::from_millis(ms),
            Hostile::Pause(paused) => self.fetch.set_paused(paused),
        }
    }

    fn some_open(&self, place: &prop::sample::Index) -> Option<PieceRef> {
        let mut open: Vec<PieceRef> = self
            .open
            .iter()
            .filter(|(peer, _)| *peer == self.hostile)
            .map(|(_, piece)| *piece)
            .collect();
        open.sort_unstable();
        open.get(place.index(open.len().max(1))).copied()
    }

    fn hears(&mut self, peer: PeerKey, message: Message) {
        let outcome = self.fetch.handle(peer, message, self.now);
        self.learns(peer, outcome);
    }

    fn takes(&mut self, peer: PeerKey, frame: Frame) {
        let outcome = self.fetch.handle_frame(peer, frame, self.now);
        self.learns(peer, outcome);
    }

    fn learns(&mut self, peer: PeerKey, outcome: Result<Option<FetchEvent>, FetchError>) {
        match outcome {
            Ok(Some(event)) => self.event(peer, event),
            Ok(None) => {}
            Err(error) => {
                assert_eq!(peer, self.hostile, "an honest peer is blamed: {error:?}");
                self.throw_out();
            }
        }
        while let Some(event) = self.fetch.poll_event() {
            self.event(peer, event);
        }
    }

    fn throw_out(&mut self) {
        self.fetch.left(self.hostile);
        self.open.retain(|(peer, _)| *peer != self.hostile);
        self.hashes_open.retain(|(peer, _)| *peer != self.hostile);
        self.hostile = PeerKey(self.hostile.0 + 1);
        self.fetch.joined(self.hostile, self.now);
    }

    fn event(&mut self, peer: PeerKey, event: FetchEvent) {
        match event {
            FetchEvent::Piece { piece, bytes, from } => {
                assert_eq!(from, peer);
                assert!(
                    self.open.remove(&(peer, piece)),
                    "{piece:?} was not asked for"
                );
                let size = self.files.manifest.entries()[piece.entry as usize].size();
                assert_eq!(bytes.len() as u32, piece_len(size, piece.piece));
                if bytes == self.files.piece(piece) {
                    self.received.push(piece);
                } else {
                    assert_eq!(self.fetch.piece_rejected(piece), Some(self.hostile));
                    self.throw_out();
                }
            }
            FetchEvent::Hashes { entry, hashes } => {
                let asked = self.hashes_open.remove(&(peer, entry));
                assert!(asked, "{entry} was not asked for");
                assert_eq!(*hashes, self.files.hashes[entry as usize]);
                self.fetch.file_ready(entry, &[]);
            }
            FetchEvent::Preparing {
                done_bytes,
                total_bytes,
            } => assert!(done_bytes <= total_bytes),
            FetchEvent::Listed => {
                assert_eq!(**self.fetch.manifest().unwrap(), self.files.manifest);
                let wanted = self.files.all();
                self.fetch
                    .accept(&wanted, &HashSet::from([3]), Vec::new())
                    .unwrap();
            }
            event => panic!("nobody gave a reason for {event:?}"),
        }
    }

    fn store(&mut self) {
        if let Some(piece) = self.received.pop() {
            self.fetch.piece_stored(piece);
            let times = self.stored.entry(piece).or_default();
            *times += 1;
            assert_eq!(*times, 1, "{piece:?} came twice");
        }
    }

    /// Sends what there is to send, and has the honest peer answer.
    fn poll(&mut self) {
        let mut budget = i64::MAX;
        let mut answers: Vec<Message> = Vec::new();
        while let Some((peer, message)) = self.fetch.poll(self.now, &mut budget) {
            assert_eq!(message.half(), Half::Fetching);
            match &message {
                Message::Request { pieces } => {
                    for piece in pieces {
                        let open = self.open.insert((peer, *piece));
                        // The hostile one may have answered without a piece.
                        assert!(open || peer != TWO, "{piece:?} was asked twice");
                    }
                }
                Message::CancelRequest { pieces } => {
                    for piece in pieces {
                        assert!(self.open.contains(&(peer, *piece)));
                    }
                }
                Message::WantHashes { entry } => {
                    let open = self.hashes_open.insert((peer, *entry));
                    assert!(open || peer != TWO, "hashes of {entry} were asked twice");
                }
                _ => {}
            }
            if peer == self.hostile {
                continue;
            }
            match message {
                Message::WantManifest => answers.extend(self.files.list()),
                Message::WantHashes { entry } => answers.extend(self.files.hash_messages(entry)),
                _ => {}
            }
        }
        for answer in answers {
            self.hears(TWO, answer);
        }
        let progress = self.fetch.progress();
        assert!(progress.bytes <= progress.total);
        assert!(progress.files <= progress.files_total);
    }

    /// The honest peer sends all that it was asked for.
    fn honest_sends(&mut self) {
        let mut open: Vec<PieceRef> = self
            .open
            .iter()
            .filter(|(peer, _)| *peer == TWO)
            .map(|(_, piece)| *piece)
            .collect();
        open.sort_unstable();
        for piece in open {
            for frame in self.files.frames(piece) {
                self.takes(TWO, frame);
            }
            self.open.remove(&(TWO, piece));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_hostile_peer_never_panics_us_nor_spoils_what_an_honest_one_brings(
        steps in steps(),
        honest_from in 0..120_usize,
    ) {
        let mut world = World::new();
        let mut steps = steps.into_iter();
        for step in steps.by_ref().take(honest_from) {
            world.apply(step);
            world.poll();
        }
        world.fetch.joined(TWO, world.now);
        for message in [world.files.told(), Message::HoldsAll, Message::Unchoke] {
            world.hears(TWO, message);
        }
        for step in steps {
            world.apply(step);
            world.poll();
        }
        world.fetch.set_paused(false);
        for _ in 0..400 {
            world.now += Duration::from_millis(500);
            world.poll();
            world.honest_sends();
            while !world.received.is_empty() {
                world.store();
            }
            if world.fetch.is_complete() {
                break;
            }
        }
        prop_assert!(world.fetch.is_complete(), "{:?}", world.fetch.progress());
        prop_assert_eq!(world.fetch.progress().files, 6);
    }
}
