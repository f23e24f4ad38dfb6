//! A share without an engine: files in memory under names that need not be safe,
//! in a list that is properly signed all the same.

use passalong_engine::api::TransferView;
use std::ops::Range;

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::{Content, EntryKind, Manifest, SignedManifest};
use passalong_proto::signed_hashes::SignedHashes;
use passalong_proto::tree::{FileHasher, FileHashes, PIECE_LEN, PieceHash, piece_len};
use passalong_proto::wire::{FRAME_DATA, HASHES_PER_MESSAGE, MANIFEST_PART, Message, PieceRef};

use crate::Person;
use crate::raw::RawLink;

/// The edition of every list here.
const EDITION: u64 = 1;

/// What a raw peer offers.
pub struct Offering {
    key: ShareKey,
    files: Vec<(String, Vec<u8>)>,
    hashes: Vec<FileHashes>,
}

impl Offering {
    /// A share with a key from `seed`, of files named as given.
    pub fn new(seed: u8, files: &[(&str, Vec<u8>)]) -> Offering {
        let hashed = |(_, content): &(&str, Vec<u8>)| {
            let mut hasher = FileHasher::new();
            hasher.update(content);
            hasher.finish()
        };
        let owned = |(name, content): &(&str, Vec<u8>)| ((*name).to_owned(), content.clone());
        Offering {
            key: ShareKey::from_seed([seed; 32]),
            hashes: files.iter().map(hashed).collect(),
            files: files.iter().map(owned).collect(),
        }
    }

    /// The same share with other files.
    pub fn with(&self, files: &[(&str, Vec<u8>)]) -> Offering {
        Offering {
            key: self.key.clone(),
            ..Offering::new(0, files)
        }
    }

    /// The share's key.
    pub fn key(&self) -> &ShareKey {
        &self.key
    }

    /// What an invite into it carries.
    pub fn secret(&self) -> InviteSecret {
        self.key.secret()
    }

    /// The list, signed by the share's key.
    pub fn signed(&self) -> SignedManifest {
        self.signed_by(&self.key)
    }

    /// The list, signed by some key.
    pub fn signed_by(&self, key: &ShareKey) -> SignedManifest {
        self.saying(key, |hashes| Content::Hashed(hashes.root()))
    }

    /// The list as it is while nothing of any file is hashed.
    pub fn opening(&self) -> SignedManifest {
        self.saying(&self.key, |_| Content::Hashing)
    }

    /// A list, signed by some key. Written byte by byte as the format says (version, name,
    /// edition, entries in postcard), since no safe type holds such names.
    fn saying(&self, key: &ShareKey, say: impl Fn(&FileHashes) -> Content) -> SignedManifest {
        let files = self.files.iter().zip(&self.hashes);
        let entries: Vec<(&str, EntryKind)> = files
            .map(|((name, _), hashes)| {
                let kind = EntryKind::File {
                    size: hashes.size(),
                    content: say(hashes),
                    modified: None,
                };
                (name.as_str(), kind)
            })
            .collect();
        let bytes = postcard::to_extend(&("Offering", EDITION, entries), vec![1]).expect("encoded");
        let message = blake3::derive_key("passalong v1 manifest signature", &bytes);
        SignedManifest {
            public_key: key.public(),
            signature: key.sign(&message),
            bytes,
        }
    }

    /// Says which list there is, and whether it is whole.
    pub fn listed(&self, whole: bool) -> Message {
        Message::Listed {
            hash: outline(&self.signed()),
            edition: EDITION,
            one_person: false,
            whole,
        }
    }

    /// The hashes of pieces by their numbers through the share, signed by the share's key;
    /// of files of one piece their roots.
    pub fn signed_hashes(&self, pieces: Range<u32>) -> Message {
        let all = self.hashes.iter().flat_map(|hashes| match hashes.pieces() {
            [] => vec![PieceHash(hashes.root().0)],
            pieces => pieces.to_vec(),
        });
        let told = all.skip(pieces.start as usize).take(pieces.len()).collect();
        let outline = outline(&self.signed());
        SignedHashes::sign(&self.key, &outline, pieces.start, told).message()
    }

    /// The hashes of a file's pieces.
    pub fn hashes(&self, entry: u32) -> Vec<PieceHash> {
        self.hashes[entry as usize].pieces().to_vec()
    }

    /// A piece's bytes.
    pub fn piece(&self, piece: PieceRef) -> &[u8] {
        let content = &self.files[piece.entry as usize].1;
        let start = piece.piece as usize * PIECE_LEN as usize;
        &content[start..start + piece_len(content.len() as u64, piece.piece) as usize]
    }

    /// Proves to be the sharer, says that everything is held here and that it may
    /// be asked for.
    pub async fn announce(&self, link: &RawLink) {
        link.send(&link.sharer_of(&self.key)).await;
        announce(link, &self.signed()).await;
    }

    /// The same, and sends the list once it is wanted.
    pub async fn list(&self, link: &RawLink) {
        link.send(&link.sharer_of(&self.key)).await;
        list(link, &self.signed()).await;
    }

    /// Says hello and does what is asked for, until the other side parts.
    pub async fn serve(&self, link: &RawLink) {
        link.greet().await;
        self.announce(link).await;
        while let Some(message) = link.receive().await {
            match message {
                Message::WantManifest => parts(link, &self.signed()).await,
                Message::WantHashes { entry } => self.send_hashes(link, entry).await,
                Message::Request { pieces } => {
                    for piece in pieces {
                        send_piece(link, piece, self.piece(piece)).await;
                    }
                }
                Message::Bye { .. } => return,
                _ => {}
            }
        }
    }

    /// Serves somebody who accepts everything, until it has arrived.
    pub async fn hand_over(&self, link: &RawLink, ben: &Person, id: &str) -> TransferView {
        let (_, done) = tokio::join!(self.serve(link), async {
            ben.accept(id).await;
            ben.done(id).await
        });
        done
    }

    /// Sends the hashes of a file's pieces.
    pub async fn send_hashes(&self, link: &RawLink, entry: u32) {
        for (index, part) in self.hashes(entry).chunks(HASHES_PER_MESSAGE).enumerate() {
            let message = Message::Hashes {
                entry,
                first: (index * HASHES_PER_MESSAGE) as u32,
                hashes: part.to_vec(),
            };
            link.send(&message).await;
        }
    }
}

/// Says that there is a list, that everything in it is held here, and that it may
/// be asked for.
pub async fn announce(link: &RawLink, signed: &SignedManifest) {
    link.send(&Message::Listed {
        hash: outline(signed),
        edition: EDITION,
        one_person: false,
        whole: Manifest::decode(&signed.bytes).is_ok_and(|manifest| manifest.is_whole()),
    })
    .await;
    link.offer_all().await;
}

/// What a list is named by; something else if it is no list that could be read.
pub fn outline(signed: &SignedManifest) -> [u8; 32] {
    Manifest::decode(&signed.bytes).map_or([0; 32], |manifest| manifest.outline())
}

/// Announces a list, and sends it once it is wanted.
pub async fn list(link: &RawLink, signed: &SignedManifest) {
    announce(link, signed).await;
    link.list_wanted().await;
    parts(link, signed).await;
}

/// Sends a list in parts.
pub async fn parts(link: &RawLink, signed: &SignedManifest) {
    link.send(&Message::Manifest {
        public_key: signed.public_key,
        signature: signed.signature.into(),
        length: signed.bytes.len() as u32,
    })
    .await;
    for part in signed.bytes.chunks(MANIFEST_PART) {
        let bytes = part.to_vec();
        link.send(&Message::ManifestPart { bytes }).await;
    }
}

/// Sends a piece in frames.
pub async fn send_piece(link: &RawLink, piece: PieceRef, bytes: &[u8]) {
    for (index, data) in bytes.chunks(FRAME_DATA).enumerate() {
        link.send_frame(piece, (index * FRAME_DATA) as u32, data)
            .await;
    }
}
