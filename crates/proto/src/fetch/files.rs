//! The wanted files of a fetch: which are begun, and whether their pieces can be
//! verified yet.
//!
//! Invariant: at most [`OPEN_FILES`] files of several pieces and
//! [`OPEN_SMALL_FILES`] of one are begun and not settled, besides those that
//! nobody connected can go on with.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::tree::PieceHash;
use crate::wire::SourceProblem;

use super::PeerKey;

/// Files of several pieces that are begun at once.
pub(super) const OPEN_FILES: usize = 64;
/// Files of one piece that are begun at once.
pub(super) const OPEN_SMALL_FILES: usize = 1024;
/// Most begun files in all, those that nobody can go on with among them.
const MOST_OPEN: usize = 4096;

/// Whether the pieces of a file can be verified.
#[derive(Clone, Debug)]
pub(super) enum Hashes {
    /// Not begun; `known` says that the caller has the hashes from its record.
    Waiting { known: bool },
    /// To be asked for.
    Missing,
    /// Asked of a peer; so many are here.
    Coming(PeerKey, Vec<PieceHash>),
    /// Here; the caller looks at what is on disk.
    Checking,
    /// Pieces may be asked for.
    Ready,
}

/// One wanted file that is not whole.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) size: u64,
    pub(super) pieces: u32,
    pub(super) stored: u32,
    /// Its pieces are verified one by one, by signed hashes: those that are known may be
    /// asked for, and hashes of all of them are not.
    pub(super) signed: bool,
    pub(super) hashes: Hashes,
    /// The sharer cannot send it.
    pub(super) refused: Option<SourceProblem>,
}

/// The wanted files that are not whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    by_entry: BTreeMap<u32, File>,
    /// Not begun, in the order in which they will be: files of several pieces.
    waiting: VecDeque<u32>,
    /// Files of one piece.
    waiting_small: VecDeque<u32>,
    /// Begun, of several pieces.
    open: BTreeSet<u32>,
    /// Begun, of one piece.
    open_small: BTreeSet<u32>,
    /// Files whose hashes are to be asked for.
    hashless: BTreeSet<u32>,
}

impl Files {
    pub(super) fn insert(&mut self, entry: u32, file: File) {
        if file.pieces == 1 {
            self.waiting_small.push_back(entry);
        } else {
            self.waiting.push_back(entry);
        }
        self.by_entry.insert(entry, file);
    }

    pub(super) fn get_mut(&mut self, entry: u32) -> Option<&mut File> {
        self.by_entry.get_mut(&entry)
    }

    /// Files whose pieces are verified by signed hashes.
    pub(super) fn signed(&self) -> Vec<u32> {
        let files = self.by_entry.iter();
        files
            .filter(|(_, file)| file.signed)
            .map(|(entry, _)| *entry)
            .collect()
    }

    /// The list vouches for a file from now on, and the hashes that it was verified with
    /// are not all here. Says whether its pieces may be asked for at once.
    pub(super) fn rely_on_list(&mut self, entry: u32) -> bool {
        let Some(file) = self.by_entry.get_mut(&entry) else {
            return false;
        };
        file.signed = false;
        match file.hashes {
            Hashes::Waiting { .. } => {
                file.hashes = Hashes::Waiting { known: false };
                false
            }
            _ if file.pieces > 1 => {
                file.hashes = Hashes::Missing;
                self.hashless.insert(entry);
                false
            }
            _ => true,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_entry.is_empty()
    }

    /// A file is whole or given up.
    pub(super) fn remove(&mut self, entry: u32) -> Option<File> {
        let file = self.by_entry.remove(&entry)?;
        self.open.remove(&entry);
        self.open_small.remove(&entry);
        self.hashless.remove(&entry);
        Some(file)
    }

    /// Puts the waiting files in order: those begun before first, then from
    /// `origin` on and around.
    pub(super) fn order(&mut self, origin: u32) {
        for waiting in [&mut self.waiting, &mut self.waiting_small] {
            let by_entry = &self.by_entry;
            waiting.make_contiguous().sort_by_key(|entry| {
                let begun = by_entry.get(entry).is_some_and(|file| file.stored > 0);
                (!begun, *entry < origin, *entry)
            });
        }
    }

    /// The sharer cannot send these files.
    pub(super) fn refuse(&mut self, entries: &BTreeMap<u32, SourceProblem>) {
        for (entry, reason) in entries {
            if let Some(file) = self.by_entry.get_mut(entry) {
                file.refused = Some(*reason);
            }
        }
    }

    /// Files that the sharer cannot send.
    pub(super) fn refused(&self) -> Vec<u32> {
        let files = self.by_entry.iter();
        files
            .filter(|(_, file)| file.refused.is_some())
            .map(|(entry, _)| *entry)
            .collect()
    }

    /// Whether nothing is begun and something could be.
    pub(super) fn is_at_rest(&self) -> bool {
        self.open.is_empty() && self.open_small.is_empty() && !self.is_all_begun()
    }

    /// Whether every file is begun.
    pub(super) fn is_all_begun(&self) -> bool {
        self.waiting.is_empty() && self.waiting_small.is_empty()
    }

    /// Begins files while there is room: those of which something can be had, as
    /// `obtainable` says of a file and of whether its hashes have to be had as
    /// well. Gives the ones whose pieces may be asked for at once.
    pub(super) fn begin(&mut self, obtainable: impl Fn(u32, bool) -> bool) -> Vec<u32> {
        let mut ready = Vec::new();
        for (waiting, open, most) in [
            (&mut self.waiting, &mut self.open, OPEN_FILES),
            (
                &mut self.waiting_small,
                &mut self.open_small,
                OPEN_SMALL_FILES,
            ),
        ] {
            if waiting.is_empty() {
                continue;
            }
            let mut going = open.len();
            if going >= most {
                let goes_on = |entry: &&u32| obtainable(**entry, self.hashless.contains(entry));
                going = open.iter().filter(goes_on).count();
            }
            let mut passed = Vec::new();
            while going < most && open.len() < MOST_OPEN {
                let Some(entry) = waiting.pop_front() else {
                    break;
                };
                let Some(file) = self.by_entry.get_mut(&entry) else {
                    continue;
                };
                let known = matches!(file.hashes, Hashes::Waiting { known: true });
                let hashless = file.pieces > 1 && !known && !file.signed;
                if !obtainable(entry, hashless) {
                    passed.push(entry);
                    continue;
                }
                if hashless {
                    file.hashes = Hashes::Missing;
                    self.hashless.insert(entry);
                } else {
                    file.hashes = Hashes::Ready;
                    ready.push(entry);
                }
                open.insert(entry);
                going += 1;
            }
            for entry in passed.into_iter().rev() {
                waiting.push_front(entry);
            }
        }
        ready
    }

    /// The begun files whose hashes are to be asked for.
    pub(super) fn hashless(&self) -> impl Iterator<Item = u32> + '_ {
        self.hashless.iter().copied()
    }

    /// The hashes of a file are asked of a peer.
    pub(super) fn ask_hashes(&mut self, entry: u32, peer: PeerKey) {
        if let Some(file) = self.by_entry.get_mut(&entry) {
            file.hashes = Hashes::Coming(peer, Vec::new());
            self.hashless.remove(&entry);
        }
    }

    /// The hashes of a file do not come from `peer` after all.
    pub(super) fn lose_hashes(&mut self, entry: u32, peer: PeerKey) {
        if let Some(file) = self.by_entry.get_mut(&entry)
            && matches!(file.hashes, Hashes::Coming(from, _) if from == peer)
        {
            file.hashes = Hashes::Missing;
            self.hashless.insert(entry);
        }
    }

    /// Files whose hashes are on their way, and from whom.
    pub(super) fn awaited(&self) -> Vec<(u32, PeerKey)> {
        let open = self.open.iter();
        open.filter_map(|entry| match self.by_entry.get(entry)?.hashes {
            Hashes::Coming(peer, _) => Some((*entry, peer)),
            _ => None,
        })
        .collect()
    }

    /// Whether any hashes are on their way.
    pub(super) fn is_waiting(&self) -> bool {
        !self.awaited().is_empty()
    }
}
