//! Members of a swarm in one process, on a virtual clock: real fetching and
//! serving halves, modelled links, and contents that are verified byte for byte.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Each test file takes what it needs.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use passalong_proto::fetch::{Fetch, FetchEvent, PeerKey, Resumed};
use passalong_proto::pieces::PieceSet;
use passalong_proto::sending::Sending;
use passalong_proto::serve::{Serve, ServeEvent};
use passalong_proto::tree::{FileHashes, PIECE_LEN};
use passalong_proto::wire::{
    FRAME_DATA, Frame, Half, Message, PieceRef, REQUESTS_PER_MESSAGE, SourceProblem,
};

use crate::files::{Files, key};

/// How finely time passes.
const STEP: Duration = Duration::from_millis(10);
/// How long everything is on its way.
const LATENCY: Duration = Duration::from_millis(20);

/// How a member serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Claims to hold everything, and sends nothing.
    Mute,
    /// Sends wrong bytes.
    Liar,
    /// Sends wrong hashes.
    HashLiar,
    /// Sends what was not asked for.
    Flooder,
    /// Drops every request.
    Dropper,
    /// Chokes and unchokes everybody, again and again.
    Choker,
    /// Cannot read these files.
    Unable(BTreeSet<u32>),
}

#[derive(Debug)]
enum Packet {
    Control(Message),
    Bulk(Frame),
}

/// One member's end of a link.
#[derive(Debug)]
struct End {
    other: usize,
    serve: Serve,
    queue: VecDeque<PieceRef>,
    /// What is being sent, and how many bytes of it are.
    sending: Option<(PieceRef, usize)>,
    /// When something was last sent, or the queue was empty.
    since: Duration,
    /// The list was told of.
    listed: bool,
    /// The choice was told.
    accepted: bool,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) fetch: Fetch,
    pub(crate) manner: Manner,
    /// Bytes a second that it sends.
    up: f64,
    credit: f64,
    ends: BTreeMap<PeerKey, End>,
    next_end: usize,
    sending: Sending<PeerKey>,
    wanted: Vec<u32>,
    present: HashSet<u32>,
    resumed: Vec<Resumed>,
    hashes: BTreeMap<u32, Arc<FileHashes>>,
    pub(crate) whole: BTreeSet<u32>,
    pub(crate) unavailable: BTreeSet<u32>,
    /// Members whose link was ended for what they did.
    pub(crate) expelled: BTreeSet<usize>,
    pub(crate) complete_at: Option<Duration>,
    /// Bytes of pieces that came and were stored.
    pub(crate) fetched: u64,
    pub(crate) uploaded: u64,
}

/// All members of one share, and what is on its way between them.
pub(crate) struct Mesh {
    pub(crate) files: Files,
    pub(crate) now: Duration,
    pub(crate) members: Vec<Member>,
    packets: VecDeque<(Duration, PeerKey, usize, Packet)>,
    next_key: u64,
}

impl Mesh {
    pub(crate) fn of(files: Files) -> Mesh {
        Mesh {
            files,
            now: Duration::ZERO,
            members: Vec::new(),
            packets: VecDeque::new(),
            next_key: 1,
        }
    }

    fn add(&mut self, fetch: Fetch, up: f64, manner: Manner) -> usize {
        self.members.push(Member {
            fetch,
            manner,
            up,
            credit: 0.0,
            ends: BTreeMap::new(),
            next_end: 0,
            sending: Sending::new(),
            wanted: self.files.all(),
            present: HashSet::new(),
            resumed: Vec::new(),
            hashes: BTreeMap::new(),
            whole: BTreeSet::new(),
            unavailable: BTreeSet::new(),
            expelled: BTreeSet::new(),
            complete_at: None,
            fetched: 0,
            uploaded: 0,
        });
        self.members.len() - 1
    }

    /// A member that has everything; the first of all is the sharer.
    pub(crate) fn seed(&mut self, up: f64, manner: Manner) -> usize {
        let signed = self.files.signed.clone();
        let fetch = Fetch::restore(key().secret(), signed, 0).unwrap();
        let member = self.add(fetch, up, manner);
        let hashes = self.files.hashes.iter().cloned().map(Arc::new);
        self.members[member].hashes = (0..).zip(hashes).collect();
        self.members[member].present = self.files.all().into_iter().collect();
        self.accept(member);
        member
    }

    /// A member that has nothing, or what the record says.
    pub(crate) fn receiver(&mut self, up: f64, present: &[u32], resumed: &[PieceRef]) -> usize {
        let seed = self.members.len() as u64;
        let member = self.add(Fetch::new(key().secret(), seed), up, Manner::Honest);
        let entries: BTreeSet<u32> = resumed.iter().map(|piece| piece.entry).collect();
        let entries = entries.iter().filter(|entry| {
            let file = self.files.hashes.get(**entry as usize);
            file.is_some_and(|hashes| hashes.size() > PIECE_LEN)
        });
        let resumed = entries.map(|entry| Resumed {
            entry: *entry,
            hashes: Some(Arc::new(self.files.hashes[*entry as usize].clone())),
            pieces: resumed
                .iter()
                .filter(|piece| piece.entry == *entry)
                .map(|piece| piece.piece)
                .collect(),
        });
        self.members[member].resumed = resumed.collect();
        self.members[member].present = present.iter().copied().collect();
        member
    }

    fn accept(&mut self, member: usize) {
        let member = &mut self.members[member];
        for resumed in &member.resumed {
            let hashes = resumed.hashes.clone().map(|hashes| (resumed.entry, hashes));
            member.hashes.extend(hashes);
        }
        let (wanted, resumed) = (member.wanted.clone(), std::mem::take(&mut member.resumed));
        member
            .fetch
            .accept(&wanted, &member.present, resumed)
            .unwrap();
    }

    /// Links two members.
    pub(crate) fn link(&mut self, one: usize, other: usize) {
        let key = PeerKey(self.next_key);
        self.next_key += 1;
        for (this, that) in [(one, other), (other, one)] {
            let member = &mut self.members[this];
            member.fetch.joined(key, self.now);
            if that == 0 {
                member.fetch.sharer(key);
            }
            let end = End {
                other: that,
                serve: Serve::default(),
                queue: VecDeque::new(),
                sending: None,
                since: self.now,
                listed: false,
                accepted: false,
            };
            member.ends.insert(key, end);
        }
        for member in [one, other] {
            self.tell(member, key);
        }
    }

    pub(crate) fn link_all(&mut self) {
        for one in 0..self.members.len() {
            for other in 0..one {
                self.link(other, one);
            }
        }
    }

    /// A member is gone, without a word.
    pub(crate) fn vanish(&mut self, member: usize) {
        for key in self.members[member]
            .ends
            .keys()
            .copied()
            .collect::<Vec<_>>()
        {
            self.unlink(member, key);
        }
    }

    fn unlink(&mut self, member: usize, key: PeerKey) {
        let Some(end) = self.members[member].ends.remove(&key) else {
            return;
        };
        self.members[end.other].ends.remove(&key);
        for member in [member, end.other] {
            self.members[member].sending.left(&key);
        }
        self.packets.retain(|(_, on, _, _)| *on != key);
        for member in [member, end.other] {
            self.members[member].fetch.left(key);
            self.events(member);
        }
    }

    fn send(&mut self, from: usize, key: PeerKey, packet: Packet) {
        if let Some(end) = self.members[from].ends.get(&key) {
            let at = self.now + LATENCY;
            self.packets.push_back((at, key, end.other, packet));
        }
    }

    /// Tells the other end what it is to know once the list is here.
    fn tell(&mut self, member: usize, key: PeerKey) {
        let Member { fetch, ends, .. } = &mut self.members[member];
        let (Some(end), Some(held)) = (ends.get_mut(&key), fetch.held()) else {
            return;
        };
        let mut messages = Vec::new();
        if !end.listed {
            end.listed = true;
            end.serve.listed();
            end.serve.unchoke();
            messages.push(self.files.told());
            if held.is_full() {
                messages.push(Message::HoldsAll);
            } else if !held.is_empty() {
                let parts = held.parts();
                messages.extend(parts.map(|(first, bits)| Message::HoldsField { first, bits }));
            }
            messages.push(Message::Unchoke);
        }
        if fetch.is_accepted() && fetch.listed_by(key) && !end.accepted {
            end.accepted = true;
            let progress = fetch.progress();
            messages.push(Message::Accept {
                files: progress.files_total,
                bytes: progress.total,
            });
        }
        for message in messages {
            self.send(member, key, Packet::Control(message));
        }
    }

    /// A little time passes.
    pub(crate) fn step(&mut self) {
        self.now += STEP;
        while self.packets.front().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, key, to, packet) = self.packets.pop_front().unwrap();
            match packet {
                Packet::Bulk(frame) => {
                    let event = self.members[to].fetch.handle_frame(key, frame, self.now);
                    self.learns(to, key, event);
                }
                Packet::Control(message) if message.half() == Half::Fetching => {
                    self.serves(to, key, message);
                }
                Packet::Control(message) => {
                    let event = self.members[to].fetch.handle(key, message, self.now);
                    self.learns(to, key, event);
                    self.tell(to, key);
                }
            }
        }
        for member in 0..self.members.len() {
            self.upload(member);
            let mut budget = i64::MAX;
            while let Some((key, message)) = self.members[member].fetch.poll(self.now, &mut budget)
            {
                self.send(member, key, Packet::Control(message));
            }
        }
    }

    fn learns<E: std::fmt::Debug>(
        &mut self,
        member: usize,
        key: PeerKey,
        event: Result<Option<FetchEvent>, E>,
    ) {
        match event {
            Ok(event) => event
                .into_iter()
                .for_each(|event| self.event(member, event)),
            Err(error) => {
                let other = self.members[member].ends[&key].other;
                let manner = &self.members[other].manner;
                assert_ne!(*manner, Manner::Honest, "{member} of {other}: {error:?}");
                self.expel(member, key);
            }
        }
        self.events(member);
    }

    fn expel(&mut self, member: usize, key: PeerKey) {
        if let Some(end) = self.members[member].ends.get(&key) {
            let other = end.other;
            self.members[member].expelled.insert(other);
        }
        self.unlink(member, key);
    }

    fn events(&mut self, member: usize) {
        while let Some(event) = self.members[member].fetch.poll_event() {
            self.event(member, event);
        }
    }

    fn event(&mut self, at: usize, event: FetchEvent) {
        let member = &mut self.members[at];
        match event {
            FetchEvent::Listed => {
                self.accept(at);
                for key in self.members[at].ends.keys().copied().collect::<Vec<_>>() {
                    self.tell(at, key);
                }
            }
            FetchEvent::Hashes { entry, hashes } => {
                assert_eq!(*hashes, self.files.hashes[entry as usize]);
                member.hashes.insert(entry, hashes);
                member.fetch.file_ready(entry, &[]);
            }
            FetchEvent::Piece { piece, bytes, from } => self.piece(at, piece, &bytes, from),
            FetchEvent::Unavailable { entry, .. } => {
                assert!(member.unavailable.insert(entry), "{entry} was told twice");
            }
            FetchEvent::Preparing { .. }
            | FetchEvent::Replaced
            | FetchEvent::Outdated
            | FetchEvent::Completed
            | FetchEvent::Signed(_)
            | FetchEvent::Contradicted => {
                panic!("{event:?}");
            }
        }
        let member = &mut self.members[at];
        if member.fetch.is_complete() && member.complete_at.is_none() {
            member.complete_at = Some(self.now);
        }
    }

    /// A piece came: verified, and stored or rejected.
    fn piece(&mut self, at: usize, piece: PieceRef, bytes: &Bytes, from: PeerKey) {
        let member = &mut self.members[at];
        let expected = &self.files.hashes[piece.entry as usize];
        if !expected.verify_piece(piece.piece, bytes) {
            assert_eq!(member.fetch.piece_rejected(piece), Some(from));
            self.expel(at, from);
            return;
        }
        assert!(*bytes == self.files.piece(piece));
        let number = self.files.map.number(piece).unwrap();
        let held = member.fetch.held().unwrap();
        assert!(!held.contains(number), "{piece:?} was here already");
        member.fetched += bytes.len() as u64;
        if member.fetch.piece_stored(piece) {
            assert!(member.whole.insert(piece.entry), "whole twice");
        }
        let pieces = vec![number];
        let holds = Message::Holds { pieces };
        let told = member.ends.iter().filter(|(_, end)| end.listed);
        for key in told.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.send(at, key, Packet::Control(holds.clone()));
        }
    }

    fn serves(&mut self, at: usize, key: PeerKey, message: Message) {
        let manner = self.members[at].manner.clone();
        let member = &mut self.members[at];
        let Some(end) = member.ends.get_mut(&key) else {
            return;
        };
        let (manifest, pieces) = (member.fetch.manifest(), member.fetch.pieces());
        let event = end
            .serve
            .handle(message, manifest.map(|m| &**m), pieces.map(|p| &**p))
            .unwrap();
        let mut answers = Vec::new();
        match event {
            Some(ServeEvent::SendManifest) => answers = self.files.list(),
            Some(ServeEvent::SendHashes { entry }) => {
                end.serve.hashes_sent();
                answers = match member.hashes.contains_key(&entry) {
                    _ if manner == Manner::Mute => Vec::new(),
                    true => self.files.hash_messages(entry),
                    false => vec![Message::NoHashes { entry }],
                };
                if manner == Manner::HashLiar {
                    for answer in &mut answers {
                        if let Message::Hashes { hashes, .. } = answer {
                            hashes[0].0[0] ^= 1;
                        }
                    }
                }
            }
            Some(ServeEvent::SendPieces { pieces }) => {
                let held = member.fetch.held().cloned().unwrap_or(PieceSet::none(0));
                for piece in pieces {
                    let number = self.files.map.number(piece).unwrap();
                    let unable = match &manner {
                        Manner::Unable(entries) => entries.contains(&piece.entry),
                        _ => false,
                    };
                    if manner == Manner::Dropper || !held.contains(number) {
                        end.serve.piece_settled(piece);
                        answers.push(Message::Dropped {
                            pieces: vec![piece],
                        });
                    } else if unable {
                        end.serve.piece_settled(piece);
                        answers.push(Message::Unavailable {
                            entry: piece.entry,
                            reason: SourceProblem::Vanished,
                        });
                    } else {
                        end.queue.push_back(piece);
                    }
                }
            }
            Some(ServeEvent::DropRequests { pieces }) => {
                let mut dropped = pieces;
                dropped.retain(|piece| end.queue.contains(piece));
                end.queue.retain(|piece| !dropped.contains(piece));
                for piece in &dropped {
                    end.serve.piece_settled(*piece);
                }
                if manner != Manner::Mute && !dropped.is_empty() {
                    answers.push(Message::Dropped { pieces: dropped });
                }
            }
            Some(ServeEvent::Refuse { pieces }) => answers.push(Message::Dropped { pieces }),
            _ => {}
        }
        for answer in answers {
            self.send(at, key, Packet::Control(answer));
        }
    }

    /// What a member does with its upload, link by link in turn.
    fn upload(&mut self, at: usize) {
        let now = self.now;
        if self.members[at].manner == Manner::Choker && now.as_millis().is_multiple_of(700) {
            self.choke_or_unchoke(at);
        }
        let member = &mut self.members[at];
        member.credit += member.up * STEP.as_secs_f64();
        // What is not used is lost.
        let most = member.up * 0.1 + FRAME_DATA as f64;
        member.credit = member.credit.min(most);
        if member.manner == Manner::Mute {
            return;
        }
        let mut idle = 0;
        while idle < self.members[at].ends.len() {
            let member = &mut self.members[at];
            let turn = member.next_end % member.ends.len();
            member.next_end += 1;
            let (key, end) = member.ends.iter_mut().nth(turn).unwrap();
            let key = *key;
            if end.queue.is_empty() && end.sending.is_none() {
                end.since = now;
            }
            let map = &self.files.map;
            let number = |piece: &PieceRef| map.number(*piece).unwrap();
            if end.sending.is_none() {
                let queue = end.queue.iter().map(number);
                let copies = |piece| member.fetch.copies(piece);
                let waited = now - end.since;
                let place = member.sending.choose(&key, queue, copies, waited);
                let piece = place.and_then(|place| end.queue.remove(place));
                if let Some(piece) = piece {
                    member.sending.begin(key, number(&piece));
                    end.sending = Some((piece, 0));
                }
            }
            let Some((piece, sent)) = end.sending else {
                idle += 1;
                continue;
            };
            let bytes = self.files.piece(piece);
            let data = bytes.slice(sent..bytes.len().min(sent + FRAME_DATA));
            if member.credit < data.len() as f64 {
                return;
            }
            idle = 0;
            member.credit -= data.len() as f64;
            member.uploaded += data.len() as u64;
            let offset = sent as u32;
            end.since = now;
            end.sending = Some((piece, sent + data.len()));
            if sent + data.len() == bytes.len() {
                end.sending = None;
                end.serve.piece_settled(piece);
                member.sending.end(&key, number(&piece));
            }
            let data = match member.manner {
                Manner::Liar => vec![0; data.len()].into(),
                _ => data,
            };
            let piece = match member.manner {
                Manner::Flooder => PieceRef {
                    entry: piece.entry,
                    piece: piece.piece ^ 1,
                },
                _ => piece,
            };
            let frame = Frame {
                piece,
                offset,
                data,
            };
            self.send(at, key, Packet::Bulk(frame));
        }
    }

    fn choke_or_unchoke(&mut self, at: usize) {
        for key in self.members[at].ends.keys().copied().collect::<Vec<_>>() {
            let end = self.members[at].ends.get_mut(&key).unwrap();
            if end.serve.is_choked() {
                end.serve.unchoke();
                self.send(at, key, Packet::Control(Message::Unchoke));
                continue;
            }
            end.serve.choke();
            let dropped: Vec<PieceRef> = end.queue.drain(..).collect();
            for piece in &dropped {
                end.serve.piece_settled(*piece);
            }
            self.send(at, key, Packet::Control(Message::Choke));
            for pieces in dropped.chunks(REQUESTS_PER_MESSAGE) {
                let pieces = pieces.to_vec();
                self.send(at, key, Packet::Control(Message::Dropped { pieces }));
            }
        }
    }

    /// Runs until all of these are complete.
    pub(crate) fn run(&mut self, members: &[usize], at_most: Duration) {
        let end = self.now + at_most;
        let done = |mesh: &Mesh| {
            let mut members = members.iter().map(|member| &mesh.members[*member]);
            members.all(|member| member.fetch.is_complete())
        };
        while !done(self) {
            let progress = members
                .iter()
                .map(|member| self.members[*member].fetch.progress());
            assert!(
                self.now < end,
                "not complete after {at_most:?}: {:?}",
                progress.collect::<Vec<_>>()
            );
            self.step();
        }
    }
}
