//! Files in memory that are shared, and the ways a fetch is fed with them.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Each test file takes what it needs.
#![allow(dead_code)]

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use passalong_proto::fetch::{Fetch, FetchError, FetchEvent, PeerKey};
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::{Content, Entry, EntryKind, Manifest, SignedManifest};
use passalong_proto::pieces::PieceMap;
use passalong_proto::safe_path::SafePath;
use passalong_proto::signed_hashes::SignedHashes;
use passalong_proto::tree::{FileHasher, FileHashes, PIECE_LEN, PieceHash, piece_count, piece_len};
use passalong_proto::wire::{FRAME_DATA, Frame, Message, PieceRef};

pub(crate) fn key() -> ShareKey {
    ShareKey::from_seed([1; 32])
}

/// The time at which nothing has happened yet.
pub(crate) const START: Duration = Duration::ZERO;
pub(crate) const ONE: PeerKey = PeerKey(1);
pub(crate) const TWO: PeerKey = PeerKey(2);

/// Files in memory, and the signed list of them.
pub(crate) struct Files {
    pub(crate) contents: Vec<Bytes>,
    pub(crate) hashes: Vec<FileHashes>,
    pub(crate) manifest: Manifest,
    pub(crate) signed: SignedManifest,
    pub(crate) map: Arc<PieceMap>,
}

impl Files {
    pub(crate) fn of(sizes: &[u64]) -> Files {
        Files::of_edition(sizes, 7)
    }

    pub(crate) fn of_edition(sizes: &[u64], edition: u64) -> Files {
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
                content: Content::Hashed(hashes.root()),
                modified: None,
            },
        };
        let entries = hashes.iter().enumerate().map(entry).collect();
        let manifest = Manifest::new("files", entries).unwrap();
        let manifest = manifest.with_edition(edition);
        let map = Arc::new(PieceMap::of(&manifest).unwrap());
        let signed = SignedManifest::sign(&key(), &manifest).unwrap();
        Files {
            contents,
            hashes,
            manifest,
            signed,
            map,
        }
    }

    /// The same files in a list that says this of the contents of some of them.
    pub(crate) fn saying(&self, content: Content, of: &[u32]) -> Files {
        let mut entries = self.manifest.entries().to_vec();
        for entry in of {
            if let EntryKind::File { content: said, .. } = &mut entries[*entry as usize].kind {
                *said = content;
            }
        }
        let manifest = Manifest::new("files", entries).unwrap();
        let manifest = manifest.with_edition(self.manifest.edition());
        Files {
            contents: self.contents.clone(),
            hashes: self.hashes.clone(),
            signed: SignedManifest::sign(&key(), &manifest).unwrap(),
            manifest,
            map: Arc::clone(&self.map),
        }
    }

    /// The hash of a piece by its number; of a file of one piece its root.
    pub(crate) fn hash(&self, number: u32) -> PieceHash {
        let piece = self.map.piece(number).unwrap();
        let hashes = &self.hashes[piece.entry as usize];
        let hash = hashes.pieces().get(piece.piece as usize);
        hash.copied().unwrap_or(PieceHash(hashes.root().0))
    }

    /// The hashes of pieces by their numbers, signed by the sharer.
    pub(crate) fn sign(&self, numbers: Range<u32>) -> SignedHashes {
        let hashes = numbers.clone().map(|number| self.hash(number)).collect();
        SignedHashes::sign(&key(), &self.manifest.outline(), numbers.start, hashes)
    }

    pub(crate) fn piece(&self, piece: PieceRef) -> Bytes {
        let content = &self.contents[piece.entry as usize];
        let start = piece.piece as usize * PIECE_LEN as usize;
        let length = piece_len(content.len() as u64, piece.piece) as usize;
        content.slice(start..start + length)
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = PieceRef> {
        (0_u32..).zip(&self.contents).flat_map(|(entry, content)| {
            (0..piece_count(content.len() as u64)).map(move |piece| PieceRef { entry, piece })
        })
    }

    pub(crate) fn list(&self) -> Vec<Message> {
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

    pub(crate) fn hash_messages(&self, entry: u32) -> Vec<Message> {
        let hashes = self.hashes[entry as usize].pieces().chunks(2);
        let message = |(index, hashes): (usize, &[PieceHash])| Message::Hashes {
            entry,
            first: 2 * index as u32,
            hashes: hashes.to_vec(),
        };
        hashes.enumerate().map(message).collect()
    }

    pub(crate) fn frames(&self, piece: PieceRef) -> Vec<Frame> {
        let bytes = self.piece(piece);
        let frame = |offset: usize| Frame {
            piece,
            offset: offset as u32,
            data: bytes.slice(offset..bytes.len().min(offset + FRAME_DATA)),
        };
        (0..bytes.len()).step_by(FRAME_DATA).map(frame).collect()
    }

    /// What a peer says first.
    pub(crate) fn told(&self) -> Message {
        Message::Listed {
            hash: self.manifest.outline(),
            edition: self.manifest.edition(),
            one_person: false,
            whole: self.manifest.is_whole(),
        }
    }

    /// A fetch of this share that nobody is linked to.
    pub(crate) fn fetch(&self) -> Fetch {
        Fetch::new(key().secret(), 0)
    }

    /// A fetch that has the list, and one peer that holds everything and serves.
    pub(crate) fn listed(&self) -> Fetch {
        let mut fetch = self.fetch();
        self.join(&mut fetch, ONE);
        let asked = asked(&mut fetch);
        assert_eq!(asked, [(ONE, Message::WantManifest)]);
        assert_eq!(self.send_list(&mut fetch, ONE), [FetchEvent::Listed]);
        fetch
    }

    /// A peer with this list joins that holds everything and serves.
    pub(crate) fn join(&self, fetch: &mut Fetch, peer: PeerKey) {
        fetch.joined(peer, START);
        for message in [self.told(), Message::HoldsAll, Message::Unchoke] {
            assert_eq!(fetch.handle(peer, message, START).unwrap(), None);
        }
    }

    /// A peer sends the list.
    pub(crate) fn send_list(&self, fetch: &mut Fetch, peer: PeerKey) -> Vec<FetchEvent> {
        let messages = self.list().into_iter();
        messages
            .filter_map(|message| fetch.handle(peer, message, START).unwrap())
            .collect()
    }

    /// A peer sends the hashes of a file, and nothing of it is on disk.
    pub(crate) fn send_hashes(&self, fetch: &mut Fetch, peer: PeerKey, entry: u32) {
        for message in self.hash_messages(entry) {
            fetch.handle(peer, message, START).unwrap();
        }
        fetch.file_ready(entry, &[]);
    }

    /// A peer sends a piece, which is stored. Says whether its file is whole.
    pub(crate) fn send(&self, fetch: &mut Fetch, peer: PeerKey, piece: PieceRef) -> bool {
        let event = deliver(fetch, peer, &self.frames(piece)).unwrap();
        let bytes = self.piece(piece);
        let from = peer;
        assert_eq!(event, Some(FetchEvent::Piece { piece, bytes, from }));
        fetch.piece_stored(piece)
    }

    pub(crate) fn all(&self) -> Vec<u32> {
        (0..self.contents.len() as u32).collect()
    }
}

pub(crate) fn asked(fetch: &mut Fetch) -> Vec<(PeerKey, Message)> {
    asked_at(fetch, START)
}

pub(crate) fn asked_at(fetch: &mut Fetch, now: Duration) -> Vec<(PeerKey, Message)> {
    let mut budget = i64::MAX;
    std::iter::from_fn(|| fetch.poll(now, &mut budget)).collect()
}

/// The pieces that a peer is asked for.
pub(crate) fn requested(messages: &[(PeerKey, Message)], of: PeerKey) -> Vec<PieceRef> {
    let pieces = messages.iter().filter_map(|(peer, message)| match message {
        Message::Request { pieces } if *peer == of => Some(pieces),
        _ => None,
    });
    pieces.flatten().copied().collect()
}

/// Hands over frames, up to the first that leads to something.
pub(crate) fn deliver(
    fetch: &mut Fetch,
    peer: PeerKey,
    frames: &[Frame],
) -> Result<Option<FetchEvent>, FetchError> {
    for frame in frames {
        match fetch.handle_frame(peer, frame.clone(), START)? {
            None => {}
            event => return Ok(event),
        }
    }
    Ok(None)
}
