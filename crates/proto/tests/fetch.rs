//! Fetching: an honest sharer's files always come whole, whatever is lost on the
//! way; a hostile sharer's never come at all.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use passalong_proto::fetch::{Fetch, FetchError, FetchEvent, WINDOW_BYTES, WINDOW_PIECES};
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::{
    Entry, EntryKind, MAX_MANIFEST_BYTES, Manifest, ManifestError, SignedManifest,
};
use passalong_proto::safe_path::SafePath;
use passalong_proto::serve::{Serve, ServeEvent};
use passalong_proto::tree::{
    FileHasher, FileHashes, PIECE_LEN, PieceHash, Root, piece_count, piece_len,
};
use passalong_proto::wire::{FRAME_DATA, Farewell, Frame, Message, PieceRef, SourceProblem};
use proptest::prelude::*;

mod messages;

fn key() -> ShareKey {
    ShareKey::from_seed([1; 32])
}

/// Files in memory, and the signed list of them.
struct Files {
    contents: Vec<Bytes>,
    hashes: Vec<FileHashes>,
    manifest: Manifest,
    signed: SignedManifest,
}

impl Files {
    fn of(sizes: &[u64]) -> Files {
        let content = |(entry, size): (usize, &u64)| -> Bytes {
            let pieces = (0..piece_count(*size)).flat_map(|piece| {
                let byte = (entry * 31 + piece as usize + 1) as u8;
                vec![byte; piece_len(*size, piece) as usize]
            });
            pieces.collect()
        };
        let contents: Vec<Bytes> = sizes.iter().enumerate().map(content).collect();
        let hashed = |content: &Bytes| {
            let mut hasher = FileHasher::new();
            hasher.update(content);
            hasher.finish()
        };
        let hashes: Vec<FileHashes> = contents.iter().map(hashed).collect();
        let entry = |(index, hashes): (usize, &FileHashes)| Entry {
            path: SafePath::parse(&format!("file {index}")).unwrap(),
            kind: EntryKind::File {
                size: hashes.size(),
                root: hashes.root(),
                modified: None,
            },
        };
        let entries = hashes.iter().enumerate().map(entry).collect();
        let manifest = Manifest::new("files", entries).unwrap();
        let signed = SignedManifest::sign(&key(), &manifest).unwrap();
        Files {
            contents,
            hashes,
            manifest,
            signed,
        }
    }

    fn piece(&self, piece: PieceRef) -> Bytes {
        let content = &self.contents[piece.entry as usize];
        let start = piece.piece as usize * PIECE_LEN as usize;
        let length = piece_len(content.len() as u64, piece.piece) as usize;
        content.slice(start..start + length)
    }

    fn pieces(&self) -> impl Iterator<Item = PieceRef> {
        (0_u32..).zip(&self.contents).flat_map(|(entry, content)| {
            (0..piece_count(content.len() as u64)).map(move |piece| PieceRef { entry, piece })
        })
    }

    fn list(&self) -> Vec<Message> {
        let head = Message::Manifest {
            public_key: self.signed.public_key,
            signature: self.signed.signature.into(),
            length: self.signed.bytes.len() as u32,
        };
        let parts = self.signed.bytes.chunks(100).map(|part| {
            let bytes = part.to_vec();
            Message::ManifestPart { bytes }
        });
        std::iter::once(head).chain(parts).collect()
    }

    fn hash_messages(&self, entry: u32) -> Vec<Message> {
        let hashes = self.hashes[entry as usize].pieces().chunks(2);
        let message = |(index, hashes): (usize, &[PieceHash])| Message::Hashes {
            entry,
            first: 2 * index as u32,
            hashes: hashes.to_vec(),
        };
        hashes.enumerate().map(message).collect()
    }

    fn frames(&self, piece: PieceRef) -> Vec<Frame> {
        let bytes = self.piece(piece);
        let frame = |offset: usize| Frame {
            piece,
            offset: offset as u32,
            data: bytes.slice(offset..bytes.len().min(offset + FRAME_DATA)),
        };
        (0..bytes.len()).step_by(FRAME_DATA).map(frame).collect()
    }

    /// A fetch that has the list.
    fn listed(&self) -> Fetch {
        let mut fetch = Fetch::new(key().secret());
        self.relist(&mut fetch);
        fetch
    }

    fn relist(&self, fetch: &mut Fetch) {
        let events: Vec<_> = self
            .list()
            .into_iter()
            .filter_map(|message| fetch.handle(message).unwrap())
            .collect();
        assert!(
            matches!(events[..], [FetchEvent::Listed | FetchEvent::ListedAgain]),
            "{events:?}"
        );
    }

    fn all(&self) -> Vec<u32> {
        (0..self.contents.len() as u32).collect()
    }
}

fn asked(fetch: &mut Fetch) -> Vec<Message> {
    std::iter::from_fn(|| fetch.poll()).collect()
}

fn requested(messages: &[Message]) -> Vec<PieceRef> {
    let pieces = messages.iter().filter_map(|message| match message {
        Message::Request { pieces } => Some(pieces),
        _ => None,
    });
    pieces.flatten().copied().collect()
}

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
        while (0..=6).fold(false, |any, what| self.step(what, usize::MAX) || any) {}
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

    #[test]
    fn a_hostile_sharer_never_panics_us_nor_hands_over_what_was_not_asked_for(
        steps in prop::collection::vec(hostile_steps(), 0..120),
        late in any::<bool>(),
    ) {
        let files = Files::of(&[0, 1, 2 * PIECE_LEN + 1, 700, 3 * PIECE_LEN, 5]);
        let mut fetch = Fetch::new(key().secret());
        if !late {
            files.relist(&mut fetch);
            fetch.accept(&files.all()[..5], &HashSet::from([3])).unwrap();
        }
        let mut open: HashSet<PieceRef> = HashSet::new();
        let mut hashes_open: HashSet<u32> = HashSet::new();
        let mut received: Vec<PieceRef> = Vec::new();
        let mut checking: Vec<u32> = Vec::new();
        for step in steps {
            let outcome = match step {
                Hostile::Message(message) => fetch.handle(message),
                Hostile::Frame(frame) => fetch.handle_frame(frame),
                Hostile::Honest(which) => {
                    let mut sorted: Vec<PieceRef> = open.iter().copied().collect();
                    sorted.sort_unstable();
                    match sorted.get(which.index(sorted.len().max(1))) {
                        Some(piece) => deliver(&mut fetch, &files.frames(*piece)),
                        None => Ok(None),
                    }
                }
                Hostile::HonestHashes(entry) => {
                    let mut outcome = Ok(None);
                    for message in files.hash_messages(entry) {
                        outcome = fetch.handle(message);
                    }
                    outcome
                }
                Hostile::Disk => {
                    if let Some(entry) = checking.pop() {
                        fetch.file_ready(entry, &[0]);
                    } else if let Some(piece) = received.pop() {
                        fetch.piece_stored(piece);
                    }
                    Ok(None)
                }
                Hostile::Rejected => {
                    if let Some(piece) = received.pop() {
                        fetch.piece_rejected(piece);
                    }
                    Ok(None)
                }
            };
            match outcome {
                Ok(Some(FetchEvent::Piece { piece, bytes })) => {
                    prop_assert!(open.remove(&piece), "{:?} was not asked for", piece);
                    let length = piece_len(files.manifest.entries()[piece.entry as usize].size(), piece.piece);
                    prop_assert_eq!(bytes.len(), length as usize);
                    received.push(piece);
                }
                Ok(Some(FetchEvent::Hashes { entry, hashes })) => {
                    prop_assert!(hashes_open.remove(&entry), "{} was not asked for", entry);
                    prop_assert_eq!(&*hashes, &files.hashes[entry as usize]);
                    checking.push(entry);
                }
                Ok(Some(FetchEvent::Preparing { done_bytes, total_bytes })) => {
                    prop_assert!(done_bytes <= total_bytes);
                }
                Ok(Some(FetchEvent::Listed | FetchEvent::ListedAgain)) => {
                    prop_assert!(false, "no list here was signed");
                }
                Ok(_) => {}
                Err(_) => {
                    open.clear();
                    hashes_open.clear();
                    fetch.lost();
                    if !late {
                        files.relist(&mut fetch);
                    }
                }
            }
            for message in asked(&mut fetch) {
                match message {
                    Message::Request { pieces } => {
                        for piece in pieces {
                            prop_assert!(open.insert(piece), "{:?} was asked for twice", piece);
                        }
                    }
                    Message::WantHashes { entry } => {
                        prop_assert!(hashes_open.insert(entry), "{} was asked for twice", entry);
                    }
                    _ => {}
                }
            }
            let progress = fetch.progress();
            prop_assert!(progress.bytes <= progress.total);
            prop_assert!(progress.files <= progress.files_total);
        }
    }
}

#[derive(Clone, Debug)]
enum Hostile {
    Message(Message),
    Frame(Frame),
    /// All frames of one of the pieces that were asked for.
    Honest(prop::sample::Index),
    HonestHashes(u32),
    /// The disk is done with something.
    Disk,
    /// The disk found something wrong.
    Rejected,
}

fn hostile_steps() -> impl Strategy<Value = Hostile> {
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
    prop_oneof![
        3 => messages::of_a_sharer().prop_map(Hostile::Message),
        1 => messages::any_message().prop_map(Hostile::Message),
        2 => frame,
        4 => any::<prop::sample::Index>().prop_map(Hostile::Honest),
        2 => prop::sample::select(vec![2, 4]).prop_map(Hostile::HonestHashes),
        4 => Just(Hostile::Disk),
        1 => Just(Hostile::Rejected),
    ]
}

/// Hands over frames, up to the first that leads to something.
fn deliver(fetch: &mut Fetch, frames: &[Frame]) -> Result<Option<FetchEvent>, FetchError> {
    for frame in frames {
        match fetch.handle_frame(frame.clone())? {
            None => {}
            event => return Ok(event),
        }
    }
    Ok(None)
}

fn frame(entry: u32, piece: u32, offset: u32, data: &[u8]) -> Frame {
    Frame {
        piece: PieceRef { entry, piece },
        offset,
        data: Bytes::copy_from_slice(data),
    }
}

fn is_violation<T>(outcome: &Result<T, FetchError>) -> bool {
    matches!(outcome, Err(FetchError::Violation(_)))
}

#[test]
fn thousands_of_small_files_are_asked_for_a_window_at_a_time() {
    let files = Files::of(&[1; 3000]);
    let mut world = World::new(files, HashSet::new(), HashSet::new());
    let mut most = 0;
    while (0..=6).fold(false, |any, what| {
        let did = world.step(what, 100);
        let out = world.to_read.len() + world.bulk.len() + world.jobs.len();
        most = most.max(out);
        did || any
    }) {}
    assert!(most <= WINDOW_PIECES, "{most} pieces at once");
    assert!(most > WINDOW_PIECES / 2, "{most} pieces at once");
    assert!(world.fetch.is_complete());
    assert_eq!(world.whole.len(), 3000);
}

#[test]
fn large_files_are_asked_for_a_window_at_a_time() {
    let files = Files::of(&[40 * PIECE_LEN]);
    let mut fetch = files.listed();
    fetch.accept(&[0], &HashSet::new()).unwrap();
    asked(&mut fetch);
    for message in files.hash_messages(0) {
        fetch.handle(message).unwrap();
    }
    assert_eq!(
        requested(&asked(&mut fetch)),
        [],
        "not before the disk was looked at"
    );
    fetch.file_ready(0, &[]);
    let window = requested(&asked(&mut fetch));
    assert_eq!(window.len() as u64, WINDOW_BYTES / PIECE_LEN);
    for piece in &window[..7] {
        deliver(&mut fetch, &files.frames(*piece)).unwrap();
    }
    assert_eq!(requested(&asked(&mut fetch)), [], "they are not on disk");
    for piece in &window[..8] {
        deliver(&mut fetch, &files.frames(*piece)).ok();
        fetch.piece_stored(*piece);
    }
    assert_eq!(requested(&asked(&mut fetch)).len(), 8);
}

#[test]
fn a_choice_is_all_that_is_asked_for() {
    let files = Files::of(&[5, 6, 7]);
    let mut fetch = files.listed();
    assert_eq!(asked(&mut fetch), [], "nothing before accepting");
    fetch.accept(&[2], &HashSet::new()).unwrap();
    assert_eq!(
        asked(&mut fetch),
        [
            Message::Accept { files: 1, bytes: 7 },
            Message::Progress { bytes: 0 },
            Message::Request {
                pieces: vec![PieceRef { entry: 2, piece: 0 }]
            },
        ]
    );
    for entry in [0, 1, 3] {
        let outcome = fetch.handle_frame(frame(entry, 0, 0, b"x"));
        assert!(is_violation(&outcome), "{entry}");
    }
}

#[test]
fn what_is_all_here_is_complete_and_still_announced() {
    let files = Files::of(&[0, 2 * PIECE_LEN]);
    let mut fetch = files.listed();
    fetch.accept(&[0, 1], &HashSet::from([1])).unwrap();
    assert!(fetch.is_complete() && !fetch.is_waiting());
    let bytes = 2 * PIECE_LEN;
    assert_eq!(
        asked(&mut fetch),
        [
            Message::Accept { files: 2, bytes },
            Message::Progress { bytes }
        ]
    );
}

#[test]
fn accepting_without_a_list_is_refused() {
    let mut fetch = Fetch::new(key().secret());
    assert!(fetch.accept(&[0], &HashSet::new()).is_err());
    assert!(!fetch.is_accepted() && !fetch.is_complete());
}

#[test]
fn a_share_over_16_tib_is_refused() {
    let root = Root([7; 32]);
    let size = 1 << 44;
    let file = |index: u32, size| Entry {
        path: SafePath::parse(&format!("file {index}")).unwrap(),
        kind: EntryKind::File {
            size,
            root,
            modified: None,
        },
    };
    let manifest = Manifest::new("", vec![file(0, size), file(1, 1)]).unwrap();
    let signed = SignedManifest::sign(&key(), &manifest).unwrap();
    let mut fetch = Fetch::new(key().secret());
    let length = signed.bytes.len() as u32;
    let head = Message::Manifest {
        public_key: signed.public_key,
        signature: signed.signature.into(),
        length,
    };
    fetch.handle(head).unwrap();
    let bytes = signed.bytes;
    fetch.handle(Message::ManifestPart { bytes }).unwrap();
    assert!(fetch.accept(&[0, 1], &HashSet::new()).is_err());
    assert!(fetch.again().accept(&[0], &HashSet::new()).is_ok());
}

#[test]
fn frames_out_of_order_too_long_or_again_end_the_link() {
    let files = Files::of(&[10, 10, 10]);
    let outcomes = |frames: &[Frame]| {
        let mut fetch = files.listed();
        fetch.accept(&files.all(), &HashSet::new()).unwrap();
        asked(&mut fetch);
        let (last, before) = frames.split_last().unwrap();
        for frame in before {
            fetch.handle_frame(frame.clone()).unwrap();
        }
        fetch.handle_frame(last.clone())
    };
    let (half, whole) = ([7; 5], [7; 10]);
    for frames in [
        vec![frame(0, 0, 1, &half)],
        vec![frame(0, 0, 0, &[7; 11])],
        vec![frame(0, 0, 0, &half), frame(0, 0, 0, &half)],
        vec![frame(0, 0, 0, &half), frame(0, 0, 6, &half)],
        vec![frame(0, 0, 0, &half), frame(0, 0, 5, &whole)],
        vec![frame(0, 0, 0, &whole), frame(0, 0, 0, &whole)],
        vec![frame(0, 1, 0, &whole)],
        vec![frame(3, 0, 0, &whole)],
    ] {
        assert!(is_violation(&outcomes(&frames)), "{frames:?}");
    }
    let interleaved = [
        frame(0, 0, 0, &half),
        frame(1, 0, 0, &half),
        frame(0, 0, 5, &half),
    ];
    assert!(matches!(
        outcomes(&interleaved),
        Ok(Some(FetchEvent::Piece { .. }))
    ));
}

#[test]
fn hashes_that_do_not_come_out_at_the_root_are_refused() {
    let files = Files::of(&[2 * PIECE_LEN]);
    let ready = || {
        let mut fetch = files.listed();
        fetch.accept(&[0], &HashSet::new()).unwrap();
        asked(&mut fetch);
        fetch
    };
    let hashes = |entry, first, hashes: &[PieceHash]| Message::Hashes {
        entry,
        first,
        hashes: hashes.to_vec(),
    };
    let right = files.hashes[0].pieces();
    let swapped = [right[1], right[0]];
    let outcome = ready().handle(hashes(0, 0, &swapped));
    assert!(matches!(outcome, Err(FetchError::Hashes)));
    for message in [
        hashes(0, 1, right),
        hashes(0, 0, &[right, right].concat()),
        hashes(1, 0, right),
    ] {
        assert!(is_violation(&ready().handle(message)));
    }
    let mut fetch = ready();
    assert!(matches!(
        fetch.handle(hashes(0, 0, right)),
        Ok(Some(FetchEvent::Hashes { entry: 0, .. }))
    ));
    assert!(
        is_violation(&fetch.handle(hashes(0, 0, right))),
        "a second time"
    );
}

#[test]
fn lists_that_are_forged_cut_overlong_or_repeated_are_refused() {
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
        let mut fetch = Fetch::new(key().secret());
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            assert!(matches!(fetch.handle(message.clone()), Ok(_)));
        }
        fetch.handle(last.clone())
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
}

#[test]
fn another_list_over_the_next_link_is_refused() {
    let (files, others) = (Files::of(&[5]), Files::of(&[6]));
    let mut fetch = files.listed();
    fetch.lost();
    let messages = others.list();
    let (last, before) = messages.split_last().unwrap();
    for message in before {
        fetch.handle(message.clone()).unwrap();
    }
    let outcome = fetch.handle(last.clone());
    assert!(matches!(outcome, Err(FetchError::OtherManifest)));
}

#[test]
fn a_piece_that_was_rejected_is_asked_for_again() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    fetch.accept(&[0], &HashSet::new()).unwrap();
    let first = requested(&asked(&mut fetch));
    deliver(&mut fetch, &files.frames(first[0])).unwrap();
    fetch.piece_rejected(first[0]);
    assert!(!fetch.is_complete());
    assert_eq!(requested(&asked(&mut fetch)), first);
    deliver(&mut fetch, &files.frames(first[0])).unwrap();
    assert!(fetch.piece_stored(first[0]));
    assert!(fetch.is_complete());
}

#[test]
fn a_file_that_cannot_be_sent_does_not_hold_up_the_others() {
    let files = Files::of(&[3 * PIECE_LEN, 5]);
    let mut fetch = files.listed();
    fetch.accept(&[0, 1], &HashSet::new()).unwrap();
    asked(&mut fetch);
    let unavailable = || Message::Unavailable {
        entry: 0,
        reason: SourceProblem::Changed,
    };
    let event = fetch.handle(unavailable()).unwrap();
    let reason = SourceProblem::Changed;
    assert_eq!(event, Some(FetchEvent::Unavailable { entry: 0, reason }));
    assert_eq!(fetch.handle(unavailable()).unwrap(), None, "it is known");
    let small = PieceRef { entry: 1, piece: 0 };
    deliver(&mut fetch, &files.frames(small)).unwrap();
    assert!(fetch.piece_stored(small));
    assert!(fetch.is_complete());
    assert!(
        !fetch.is_waiting(),
        "nothing of the lost file is waited for"
    );
    let progress = fetch.progress();
    assert_eq!((progress.bytes, progress.total), (5, 5));
    for message in files.hash_messages(0) {
        assert_eq!(
            fetch.handle(message).unwrap(),
            None,
            "late hashes do no harm"
        );
    }
    assert_eq!(fetch.handle_frame(frame(0, 0, 0, b"late")).unwrap(), None);
}

#[test]
fn messages_of_a_receiver_end_the_link_and_a_goodbye_is_told() {
    let mut fetch = Fetch::new(key().secret());
    for message in [
        Message::Hello {
            version: 1,
            signature: [0; 64].into(),
        },
        Message::Accept { files: 0, bytes: 0 },
        Message::Decline,
        Message::Cancel,
        Message::WantHashes { entry: 0 },
        Message::Request { pieces: vec![] },
        Message::Progress { bytes: 0 },
        Message::Complete,
    ] {
        assert!(is_violation(&fetch.handle(message)));
    }
    let reason = Farewell::Stopped;
    let event = fetch.handle(Message::Bye { reason }).unwrap();
    assert_eq!(event, Some(FetchEvent::Left(reason)));
}

#[test]
fn beginning_again_keeps_the_list_and_nothing_else() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    fetch.accept(&[0], &HashSet::new()).unwrap();
    let mut again = fetch.again();
    assert_eq!(
        again.manifest().map(|manifest| &**manifest),
        Some(&files.manifest)
    );
    assert_eq!(again.signed(), Some(&files.signed));
    assert!(!again.is_accepted());
    assert_eq!(again.progress(), Default::default());
    again.accept(&[0], &HashSet::new()).unwrap();
    assert_eq!(
        asked(&mut again),
        [],
        "not before the list came over this link"
    );
    files.relist(&mut again);
    assert_eq!(requested(&asked(&mut again)).len(), 1);
}
