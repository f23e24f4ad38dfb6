//! The fetching half of a side: from the first message of the manifest to the
//! last verified piece, from any number of peers.
//!
//! ```text
//! Listing --manifest here and signed--> Listed --accept--> Fetching --> Complete
//! ```
//!
//! A manifest that is not whole is completed in any of these states, and what it does
//! not vouch for yet is verified by signed hashes.
//!
//! Invariant: what a peer sends counts only if it was asked of that peer, and what
//! one does wrong changes nothing for the others. Which pieces are asked of whom is
//! decided by [`crate::scheduler`]; verifying and writing bytes, and telling the
//! peers of the choice and how far it is, is the caller's business.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::invite::InviteSecret;
use crate::manifest::{Content, EntryKind, Manifest, ManifestError, SignedManifest};
use crate::pieces::{PieceMap, PieceSet};
use crate::scheduler::{Order, Scheduler};
use crate::serve::Violation;
use crate::signed_hashes::{HashLog, SignedHashes};
use crate::tree::FileHashes;
use crate::wire::{Message, PieceRef, SourceProblem};

use files::{File, Files, Hashes};
use source::{Early, Source};

pub use crate::scheduler::PeerKey;

mod asking;
mod files;
mod hearing;
mod listing;
mod opening;
mod source;

/// What the fetching side learned, or hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// The sharer is still hashing.
    Preparing {
        /// Bytes hashed, never more than were found.
        done_bytes: u64,
        /// Bytes found.
        total_bytes: u64,
    },
    /// The manifest is here and signed by the share key.
    Listed,
    /// A newer list came before anything was accepted: it is the manifest now.
    Replaced,
    /// There is a newer list ([`Fetch::newer`]), but this one was accepted.
    Outdated,
    /// The list is whole from now on; nothing that is here is lost by that.
    Completed,
    /// Pieces that the list does not vouch for can be verified by these hashes from now
    /// on, before a [`FetchEvent::Piece`] needs them. Pass them on as they are.
    Signed(SignedHashes),
    /// The sharer signed what contradicts itself: nothing of the share can be relied on.
    Contradicted,
    /// A file of several pieces can be verified from now on. Look what of it
    /// is on disk, then call [`Fetch::file_ready`].
    Hashes {
        /// The file.
        entry: u32,
        /// Its hashes, checked against its root.
        hashes: Arc<FileHashes>,
    },
    /// A piece is here whole. Verify and write it, then call
    /// [`Fetch::piece_stored`] or [`Fetch::piece_rejected`].
    Piece {
        /// Which.
        piece: PieceRef,
        /// All its bytes.
        bytes: Bytes,
        /// Who sent it.
        from: PeerKey,
    },
    /// The sharer cannot send this file, and the others cannot either; the rest
    /// goes on.
    Unavailable {
        /// The file.
        entry: u32,
        /// Why.
        reason: SourceProblem,
    },
}

/// Why a fetch cannot go on with a peer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It broke the protocol.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// Its manifest is not the share's.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its manifest is not the one that it told of.
    #[error("the list that it sent is not the one that it told of")]
    OtherManifest,
    /// Its manifest has more pieces than can be numbered.
    #[error("the share is larger than 16 TiB: share it in several parts")]
    TooManyPieces,
    /// Hashes that it passed on were not signed by the sharer.
    #[error("hashes that it passed on were not signed by the sharer")]
    Unsigned,
    /// Its hashes do not add up to the file's root.
    #[error("the hashes of a file are not those that the list was signed with")]
    Hashes,
}

/// A file that was begun before, as the record knows it.
#[derive(Clone, Debug)]
pub struct Resumed {
    /// The file.
    pub entry: u32,
    /// Its hashes; `None` if it was begun before its root was known.
    pub hashes: Option<Arc<FileHashes>>,
    /// Which of its pieces are verified and on disk.
    pub pieces: Vec<u32>,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    /// Bytes stored.
    pub bytes: u64,
    /// Bytes wanted, without files that turned out unavailable.
    pub total: u64,
    /// Files whole.
    pub files: u32,
    /// Files wanted, without those that turned out unavailable.
    pub files_total: u32,
}

/// The list, once it is here.
#[derive(Clone, Debug)]
struct List {
    /// Its outline.
    hash: [u8; 32],
    whole: bool,
    signed: Arc<SignedManifest>,
    manifest: Arc<Manifest>,
    pieces: Arc<PieceMap>,
}

impl List {
    fn open(secret: &InviteSecret, signed: Arc<SignedManifest>) -> Result<List, FetchError> {
        let manifest = signed.open(secret)?;
        List::of(manifest, signed).ok_or(FetchError::TooManyPieces)
    }

    /// `None` for more pieces than can be numbered.
    fn of(manifest: Manifest, signed: Arc<SignedManifest>) -> Option<List> {
        let pieces = PieceMap::of(&manifest)?;
        Some(List {
            hash: manifest.outline(),
            whole: manifest.is_whole(),
            signed,
            manifest: Arc::new(manifest),
            pieces: Arc::new(pieces),
        })
    }
}

/// State of the fetching side.
#[derive(Debug)]
pub struct Fetch {
    secret: InviteSecret,
    seed: u64,
    list: Option<List>,
    /// A newer list than the one that was accepted.
    newer: Option<List>,
    /// What the sharer signed of `list` while it was not whole.
    log: HashLog,
    /// Numbers the pieces of `list`; empty before it is here.
    scheduler: Scheduler,
    sources: BTreeMap<PeerKey, Source>,
    accepted: bool,
    paused: bool,
    files: Files,
    buffers: HashMap<(PeerKey, PieceRef), BytesMut>,
    outbox: VecDeque<(PeerKey, Message)>,
    events: VecDeque<FetchEvent>,
    progress: FetchProgress,
    /// Files may be begun that could not be before.
    begin: bool,
    next_begin: Duration,
    next_interest: Duration,
    next_patience: Duration,
}

impl Fetch {
    /// A fetch of the share that the invite commits to. Fetches of different
    /// `seed`s begin at different pieces.
    pub fn new(secret: InviteSecret, seed: u64) -> Fetch {
        Fetch {
            secret,
            seed,
            list: None,
            newer: None,
            log: HashLog::default(),
            scheduler: Scheduler::equal(0, 0, seed),
            sources: BTreeMap::new(),
            accepted: false,
            paused: false,
            files: Files::default(),
            buffers: HashMap::new(),
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            progress: FetchProgress::default(),
            begin: false,
            next_begin: Duration::ZERO,
            next_interest: Duration::ZERO,
            next_patience: Duration::ZERO,
        }
    }

    /// A fetch whose manifest is here from before.
    ///
    /// # Errors
    ///
    /// Those of [`SignedManifest::open`]; `TooLarge` for more pieces than can be
    /// numbered.
    pub fn restore(
        secret: InviteSecret,
        signed: SignedManifest,
        seed: u64,
    ) -> Result<Fetch, ManifestError> {
        let list = List::open(&secret, Arc::new(signed)).map_err(|error| match error {
            FetchError::Manifest(error) => error,
            _ => ManifestError::TooLarge,
        })?;
        let mut fetch = Fetch::new(secret, seed);
        fetch.adopt(list);
        Ok(fetch)
    }

    /// A fetch of what one shares oneself: `signed` is the manifest, signed with the
    /// share's key.
    ///
    /// # Errors
    ///
    /// `TooLarge` for more pieces than can be numbered.
    pub fn own(
        secret: InviteSecret,
        manifest: Manifest,
        signed: SignedManifest,
        seed: u64,
    ) -> Result<Fetch, ManifestError> {
        let list = List::of(manifest, Arc::new(signed)).ok_or(ManifestError::TooLarge)?;
        let mut fetch = Fetch::new(secret, seed);
        fetch.adopt(list);
        Ok(fetch)
    }

    /// The same fetch from the beginning, with the manifest and the peers that are
    /// here. What was asked for is cancelled.
    pub fn again(&self) -> Fetch {
        let mut again = Fetch {
            list: self.list.clone(),
            newer: self.newer.clone(),
            log: self.log.clone(),
            scheduler: self.scheduler.again(),
            sources: self.sources.clone(),
            ..Fetch::new(self.secret, self.seed)
        };
        again.scheduler.set_paused(false);
        again
    }

    /// A fetch of the newer list, with the peers that are here, if there is one.
    pub fn renewed(&self) -> Option<Fetch> {
        let list = self.newer.clone()?;
        let mut renewed = Fetch {
            sources: self.sources.clone(),
            ..Fetch::new(self.secret, self.seed)
        };
        renewed.adopt(list);
        Some(renewed)
    }

    /// Whether the person's choice was taken in.
    pub fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// The manifest, once it is here.
    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        self.list.as_ref().map(|list| &list.manifest)
    }

    /// The manifest as it was signed, once it is here: what a new sharer needs.
    pub fn signed(&self) -> Option<&Arc<SignedManifest>> {
        self.list.as_ref().map(|list| &list.signed)
    }

    /// What the sharer signed of the manifest's pieces while it was not whole.
    pub fn signed_hashes(&self) -> &HashLog {
        &self.log
    }

    /// The newer list, after [`FetchEvent::Outdated`].
    pub fn newer(&self) -> Option<&Arc<SignedManifest>> {
        self.newer.as_ref().map(|list| &list.signed)
    }

    /// The numbering of the pieces, once the manifest is here.
    pub fn pieces(&self) -> Option<&Arc<PieceMap>> {
        self.list.as_ref().map(|list| &list.pieces)
    }

    /// How far it is.
    pub fn progress(&self) -> FetchProgress {
        self.progress
    }

    /// Whether everything accepted is stored, or known to be unavailable.
    pub fn is_complete(&self) -> bool {
        self.accepted && self.files.is_empty()
    }

    /// Whether anything was asked for and is not here yet.
    pub fn is_waiting(&self) -> bool {
        self.scheduler.is_waiting() || self.files.is_waiting()
    }

    /// The stored pieces by number, once the manifest is here.
    pub fn held(&self) -> Option<&PieceSet> {
        self.list.as_ref().map(|_| self.scheduler.stored_set())
    }

    /// What a peer holds, as it says, if it has the same list.
    pub fn holdings(&self, peer: PeerKey) -> Option<&PieceSet> {
        self.scheduler.holdings(peer)
    }

    /// Connected peers that hold a piece.
    pub fn copies(&self, piece: u32) -> u32 {
        self.scheduler.copies(piece)
    }

    /// Whether a peer has the same list.
    pub fn listed_by(&self, peer: PeerKey) -> bool {
        self.sources.get(&peer).is_some_and(|source| source.usable)
    }

    /// How fast a peer sends, in bytes a second; 0 if nothing is asked of it.
    pub fn rate_from(&self, peer: PeerKey) -> u64 {
        self.scheduler.rate_of(peer)
    }

    /// Accepts these files (indexes in the manifest; what is no file is passed
    /// over). `present` are those of them that are already here whole, `resumed`
    /// those that are here in part; what does not fit the manifest is not.
    ///
    /// # Errors
    ///
    /// There is no manifest, or something was accepted before.
    pub fn accept(
        &mut self,
        wanted: &[u32],
        present: &HashSet<u32>,
        resumed: Vec<Resumed>,
    ) -> Result<(), Violation> {
        let Some(list) = &self.list else {
            return Err(Violation("nothing was offered yet"));
        };
        if self.accepted {
            return Err(Violation("the choice was made before"));
        }
        let resumed: HashMap<u32, Resumed> = resumed
            .into_iter()
            .map(|resumed| (resumed.entry, resumed))
            .collect();
        let wanted: BTreeSet<u32> = wanted.iter().copied().collect();
        for entry in wanted {
            let Some(EntryKind::File { size, content, .. }) = list
                .manifest
                .entries()
                .get(entry as usize)
                .map(|entry| &entry.kind)
            else {
                continue;
            };
            let numbers = list.pieces.of_entry(entry);
            if *content == Content::Lost {
                let reason = SourceProblem::Changed;
                let event = FetchEvent::Unavailable { entry, reason };
                self.events.push_back(event);
                continue;
            }
            self.progress.total += size;
            self.progress.files_total += 1;
            let signed = *content == Content::Hashing;
            let known = resumed.get(&entry).filter(|resumed| {
                let root = resumed.hashes.as_ref().map(|hashes| hashes.root());
                let sized = resumed.hashes.as_ref().map(|hashes| hashes.size());
                signed || (root == content.root() && sized == Some(*size))
            });
            let mut file = File {
                size: *size,
                pieces: numbers.len() as u32,
                stored: 0,
                signed,
                hashes: Hashes::Waiting {
                    known: known.is_some(),
                },
                refused: None,
            };
            for number in numbers.clone() {
                self.scheduler.want(number);
            }
            let on_disk = known.into_iter().flat_map(|resumed| &resumed.pieces);
            let on_disk = on_disk
                .filter_map(|piece| numbers.start.checked_add(*piece))
                .filter(|number| numbers.contains(number))
                .filter(|number| !signed || self.log.hash(*number).is_some());
            let here: Vec<u32> = if present.contains(&entry) {
                numbers.clone().collect()
            } else {
                on_disk.collect()
            };
            for number in here {
                if self.scheduler.stored(number) {
                    file.stored += 1;
                    self.progress.bytes += u64::from(list.pieces.len(number));
                }
            }
            if file.stored == file.pieces {
                self.progress.files += 1;
            } else {
                self.files.insert(entry, file);
            }
        }
        let origin = list.pieces.piece(self.scheduler.origin());
        self.files.order(origin.map_or(0, |piece| piece.entry));
        self.accepted = true;
        self.begin = true;
        self.next_interest = Duration::ZERO;
        for source in self.sources.values().filter(|source| source.is_sharer) {
            self.files.refuse(&source.unavailable);
        }
        self.give_up_refused();
        Ok(())
    }

    /// A peer is linked.
    pub fn joined(&mut self, peer: PeerKey, _now: Duration) {
        self.sources.entry(peer).or_default();
    }

    /// A link is gone: what was asked of this peer and has not come is missing
    /// again. [`Fetch::poll_event`] may have something to tell.
    pub fn left(&mut self, peer: PeerKey) {
        let Some(source) = self.sources.remove(&peer) else {
            return;
        };
        self.scheduler.left(peer);
        self.buffers.retain(|(from, _), _| *from != peer);
        self.outbox.retain(|(to, _)| *to != peer);
        for entry in source.hash_requests.keys() {
            self.files.lose_hashes(*entry, peer);
        }
        self.begin = true;
        self.give_up_refused();
    }

    /// A peer proved to be whoever made the share. [`Fetch::poll_event`] may have
    /// something to tell.
    pub fn sharer(&mut self, peer: PeerKey) {
        let Some(source) = self.sources.get_mut(&peer) else {
            return;
        };
        source.is_sharer = true;
        self.files.refuse(&source.unavailable);
        self.give_up_refused();
    }

    /// Stops asking for anything and cancels what is asked for, or goes on.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.scheduler.set_paused(paused);
        self.next_interest = Duration::ZERO;
    }

    /// What happened besides the message that was handled last, if anything. To be
    /// called until `None` after every other call that changes anything.
    pub fn poll_event(&mut self) -> Option<FetchEvent> {
        self.events.pop_front()
    }

    /// What of a file is on disk already: indexes of verified pieces.
    pub fn file_ready(&mut self, entry: u32, stored: &[u32]) {
        let (Some(list), Some(file)) = (&self.list, self.files.get_mut(entry)) else {
            return;
        };
        if !matches!(file.hashes, Hashes::Checking) {
            return;
        }
        file.hashes = Hashes::Ready;
        let numbers = list.pieces.of_entry(entry);
        for piece in stored {
            let number = numbers.start.saturating_add(*piece);
            if numbers.contains(&number) && self.scheduler.stored(number) {
                file.stored += 1;
                self.progress.bytes += u64::from(list.pieces.len(number));
            }
        }
        for number in numbers {
            self.scheduler.open(number);
        }
        if file.stored == file.pieces {
            self.file_whole(entry);
        }
    }

    /// A received piece is verified and on disk. Says whether its file is whole
    /// by that.
    pub fn piece_stored(&mut self, piece: PieceRef) -> bool {
        let (Some(list), Some(file)) = (&self.list, self.files.get_mut(piece.entry)) else {
            return false;
        };
        let Some(number) = list.pieces.number(piece) else {
            return false;
        };
        if !self.scheduler.received_stored(number) {
            return false;
        }
        file.stored += 1;
        self.progress.bytes += u64::from(list.pieces.len(number));
        let whole = file.stored == file.pieces;
        if whole {
            self.file_whole(piece.entry);
        }
        whole
    }

    /// A received piece did not verify: it is missing again, and whoever sent it is
    /// not to be asked any more: its link is to end.
    pub fn piece_rejected(&mut self, piece: PieceRef) -> Option<PeerKey> {
        let number = self.list.as_ref()?.pieces.number(piece)?;
        self.scheduler.rejected(number)
    }

    /// The next message to send, if any. To be called until `None` after every
    /// event, and about every 100 ms. `budget` is how many bytes may still be asked
    /// for; what is asked for is taken off it, and the last request may take it below
    /// nothing.
    pub fn poll(&mut self, now: Duration, budget: &mut i64) -> Option<(PeerKey, Message)> {
        if let Some(message) = self.outbox.pop_front() {
            return Some(message);
        }
        if let Some(peer) = self.next_listing(now) {
            return Some((peer, Message::WantManifest));
        }
        let list = self.list.clone()?;
        if self.accepted {
            if let Some(message) = self.next_interest(now) {
                return Some(message);
            }
            if let Some(message) = self.next_signed_hashes() {
                return Some(message);
            }
            if !self.paused {
                self.begin_files(now);
                if let Some(message) = self.next_hashes(now) {
                    return Some(message);
                }
            }
        }
        let refs = |pieces: Vec<u32>| -> Vec<PieceRef> {
            let pieces = pieces.into_iter();
            pieces
                .filter_map(|piece| list.pieces.piece(piece))
                .collect()
        };
        match self.scheduler.poll(now, budget)? {
            Order::Request { peer, pieces } => {
                let pieces = refs(pieces);
                Some((peer, Message::Request { pieces }))
            }
            Order::Cancel { peer, pieces } => {
                let pieces = refs(pieces);
                for piece in &pieces {
                    self.buffers.remove(&(peer, *piece));
                }
                Some((peer, Message::CancelRequest { pieces }))
            }
        }
    }

    /// A list becomes the one that is fetched.
    fn adopt(&mut self, list: List) {
        self.log = HashLog::default();
        self.scheduler = Scheduler::new(list.pieces.clone(), self.seed);
        self.list = Some(list);
        for source in self.sources.values_mut() {
            source.part();
        }
        for peer in self.sources.keys().copied().collect::<Vec<_>>() {
            self.admit(peer, Duration::ZERO);
        }
    }

    /// A peer takes part if it has the list.
    fn admit(&mut self, peer: PeerKey, now: Duration) {
        let (Some(list), Some(source)) = (&self.list, self.sources.get_mut(&peer)) else {
            return;
        };
        let same = source.listed.is_some_and(|(hash, _)| hash == list.hash);
        if source.usable {
            return;
        }
        if !same {
            if !source.is_ahead_of(list.manifest.edition()) {
                source.early = Early::None;
            }
            return;
        }
        let Some(held) = source.early.of_count(list.pieces.count()) else {
            source.fault = Some(Violation("it holds pieces that do not exist"));
            return;
        };
        source.early = Early::None;
        source.usable = true;
        self.scheduler.joined(peer, now);
        self.scheduler.set_holdings(peer, held);
        if !source.choked.0 {
            self.scheduler.unchoked(peer, now);
        }
        self.begin = true;
    }

    /// Gives up the files that the sharer refused and nobody else has.
    fn give_up_refused(&mut self) {
        let Some(list) = self.list.clone() else {
            return;
        };
        for entry in self.files.refused() {
            let numbers = list.pieces.of_entry(entry);
            if self.scheduler.is_obtainable(numbers) {
                continue;
            }
            if let Some(reason) = self.files.get_mut(entry).and_then(|file| file.refused) {
                self.give_up(entry, reason);
            }
        }
    }

    /// A wanted file will not come.
    fn give_up(&mut self, entry: u32, reason: SourceProblem) {
        let (Some(list), Some(file)) = (&self.list, self.files.remove(entry)) else {
            return;
        };
        for number in list.pieces.of_entry(entry) {
            if self.scheduler.stored_set().contains(number) {
                self.progress.bytes -= u64::from(list.pieces.len(number));
            }
            self.scheduler.unwant(number);
        }
        self.progress.total -= file.size;
        self.progress.files_total -= 1;
        let event = FetchEvent::Unavailable { entry, reason };
        self.events.push_back(event);
        self.begin = true;
    }

    fn file_whole(&mut self, entry: u32) {
        if self.files.remove(entry).is_some() {
            self.progress.files += 1;
            self.begin = true;
        }
    }
}
