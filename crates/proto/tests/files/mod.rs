//! Files in memory that a sharer offers, and the ways a fetch is fed with them.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Each test file takes what it needs.
#![allow(dead_code)]

use bytes::Bytes;
use passalong_proto::fetch::{Fetch, FetchError, FetchEvent};
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::{Entry, EntryKind, Manifest, SignedManifest};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{FileHasher, FileHashes, PIECE_LEN, PieceHash, piece_count, piece_len};
use passalong_proto::wire::{FRAME_DATA, Frame, Message, PieceRef};

pub(crate) fn key() -> ShareKey {
    ShareKey::from_seed([1; 32])
}

/// Files in memory, and the signed list of them.
pub(crate) struct Files {
    pub(crate) contents: Vec<Bytes>,
    pub(crate) hashes: Vec<FileHashes>,
    pub(crate) manifest: Manifest,
    pub(crate) signed: SignedManifest,
}

impl Files {
    pub(crate) fn of(sizes: &[u64]) -> Files {
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

    /// A fetch that has the list.
    pub(crate) fn listed(&self) -> Fetch {
        let mut fetch = Fetch::new(key().secret());
        self.relist(&mut fetch);
        fetch
    }

    pub(crate) fn relist(&self, fetch: &mut Fetch) {
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

    pub(crate) fn all(&self) -> Vec<u32> {
        (0..self.contents.len() as u32).collect()
    }
}

pub(crate) fn asked(fetch: &mut Fetch) -> Vec<Message> {
    std::iter::from_fn(|| fetch.poll()).collect()
}

pub(crate) fn requested(messages: &[Message]) -> Vec<PieceRef> {
    let pieces = messages.iter().filter_map(|message| match message {
        Message::Request { pieces } => Some(pieces),
        _ => None,
    });
    pieces.flatten().copied().collect()
}

/// Hands over frames, up to the first that leads to something.
pub(crate) fn deliver(
    fetch: &mut Fetch,
    frames: &[Frame],
) -> Result<Option<FetchEvent>, FetchError> {
    for frame in frames {
        match fetch.handle_frame(frame.clone())? {
            None => {}
            event => return Ok(event),
        }
    }
    Ok(None)
}
