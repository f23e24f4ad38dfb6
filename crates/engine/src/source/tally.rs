//! What is known of each file while a share is being hashed, and what of it is told.
//!
//! What takes longer than a [`MOMENT`] is told while it goes on: first what there is,
//! then the hashes of its pieces, in the order of the share and without gaps but for
//! files that failed. Invariant: what was told stays; a file that fails later keeps its
//! place and is lost.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use passalong_proto::manifest::{Content, Entry, EntryKind};
use passalong_proto::tree::{PieceHash, Root, piece_count, root_of, single_piece_root};
use passalong_proto::wire::HASHES_PER_MESSAGE;

use super::finding::{Found, Skipped, unreadable};
use super::hashing::{Hashed, News, Offered, Run};
use super::{Place, Shelf};

/// What is hashed within this time is not told before the end.
const MOMENT: Duration = Duration::from_millis(300);
/// How often it is told which pieces were hashed.
const TELL: Duration = Duration::from_millis(50);
/// How often it is told which files were hashed.
const TELL_FILES: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Tally {
    found: Arc<[Found]>,
    items: Vec<Item>,
    skipped: Skipped,
    /// Where the entries' files are, once it is settled what the entries are.
    shelf: Option<Arc<Shelf>>,
    /// Up to where pieces were told: item, piece of it, number of that piece.
    told: (usize, u32, u32),
    /// Hashed and not told of.
    fresh: Vec<usize>,
}

/// One file or folder.
struct Item {
    state: State,
    /// Its place among the entries.
    entry: Option<u32>,
}

enum State {
    Folder,
    Hashing {
        /// Of the first pieces; of a file of one piece its root.
        hashes: Vec<PieceHash>,
        /// Runs of later pieces, by their first.
        ahead: BTreeMap<u32, Vec<PieceHash>>,
    },
    Hashed(Root, Arc<[PieceHash]>),
    Failed(&'static str),
}

impl Tally {
    /// Of what was found, those files are known that have the size and time of their
    /// record.
    pub(super) fn new(found: Arc<[Found]>, recorded: Vec<Hashed>, skipped: Skipped) -> Tally {
        let recorded: HashMap<&Path, &Hashed> = recorded
            .iter()
            .map(|hashed| (&*hashed.path, hashed))
            .collect();
        let state = |item: &Found| {
            let known = recorded.get(&*item.local);
            match known.filter(|known| known.stamp.still(item.stamp)) {
                _ if item.folder => State::Folder,
                Some(known) => State::Hashed(known.root, Arc::clone(&known.hashes)),
                None => State::Hashing {
                    hashes: Vec::new(),
                    ahead: BTreeMap::new(),
                },
            }
        };
        let items = found.iter().map(|item| Item {
            state: state(item),
            entry: None,
        });
        Tally {
            items: items.collect(),
            found,
            skipped,
            shelf: None,
            told: (0, 0, 0),
            fresh: Vec::new(),
        }
    }

    /// Bytes of the files that are hashed.
    pub(super) fn known_bytes(&self) -> u64 {
        let items = self.items.iter().zip(&*self.found);
        items
            .filter(|(item, _)| matches!(item.state, State::Hashed(..)))
            .map(|(_, found)| found.stamp.size())
            .sum()
    }

    /// The files that are to be hashed, in order.
    pub(super) fn unknown(&self) -> impl Iterator<Item = usize> + '_ {
        let items = self.items.iter().enumerate();
        items
            .filter(|(_, item)| matches!(item.state, State::Hashing { .. }))
            .map(|(index, _)| index)
    }

    /// Takes in runs, each with its file and first piece, until no more can come.
    pub(super) fn follow<E>(
        &mut self,
        runs: &Receiver<(usize, u32, Run)>,
        tell: &mut impl FnMut(News) -> Result<(), E>,
    ) -> Result<(), E> {
        let begun = Instant::now();
        let (mut told, mut told_files) = (begun, begun);
        loop {
            let wait = match self.shelf {
                Some(_) => TELL,
                None => MOMENT.saturating_sub(begun.elapsed()),
            };
            match runs.recv_timeout(wait) {
                Ok((item, first, run)) => self.take(item, first, run),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.shelf.is_none() && begun.elapsed() >= MOMENT {
                let opening = self.open();
                if !opening.entries.is_empty() {
                    tell(News::Opening(opening))?;
                }
            }
            if self.shelf.is_some() && told.elapsed() >= TELL {
                self.tell_pieces(tell)?;
                told = Instant::now();
            }
            if self.shelf.is_some() && told_files.elapsed() >= TELL_FILES {
                self.tell_files(tell)?;
                told_files = Instant::now();
            }
        }
        if self.shelf.is_some() {
            self.tell_pieces(tell)?;
            self.tell_files(tell)?;
        }
        Ok(())
    }

    fn take(&mut self, index: usize, first: u32, run: Run) {
        let (item, found) = (&mut self.items[index], &self.found[index]);
        item.take(found, first, run);
        let (Some(shelf), Some(entry)) = (&self.shelf, item.entry) else {
            return;
        };
        match &item.state {
            State::Hashed(..) => {
                shelf.put(entry, item.place(found));
                self.fresh.push(index);
            }
            State::Failed(_) => shelf.remove(entry),
            State::Hashing { .. } | State::Folder => {}
        }
    }

    /// Settles what the entries are: all but files that failed or would.
    fn open(&mut self) -> Offered {
        for (item, found) in self.items.iter_mut().zip(&*self.found) {
            if matches!(item.state, State::Hashing { .. })
                && let Err(error) = File::open(&found.local)
            {
                item.state = State::Failed(unreadable(&error));
            }
        }
        let shelf = self.settle();
        let hashed = self.records();
        self.list(shelf, hashed)
    }

    /// Gives every file and folder its place, but for those that failed.
    fn settle(&mut self) -> Arc<Shelf> {
        if let Some(shelf) = &self.shelf {
            return Arc::clone(shelf);
        }
        let mut entries = 0;
        for (item, found) in self.items.iter_mut().zip(&*self.found) {
            match item.state {
                State::Failed(reason) => self.skipped.add(found.path.to_string(), reason),
                _ => {
                    item.entry = Some(entries);
                    entries += 1;
                }
            }
        }
        let shelf = Arc::new(Shelf::empty(entries as usize));
        for (item, found) in self.items.iter().zip(&*self.found) {
            if let (Some(entry), State::Hashing { .. } | State::Hashed(..)) =
                (item.entry, &item.state)
            {
                shelf.put(entry, item.place(found));
            }
        }
        self.shelf = Some(Arc::clone(&shelf));
        shelf
    }

    /// The entries as they are known now.
    fn list(&mut self, shelf: Arc<Shelf>, hashed: Vec<Hashed>) -> Offered {
        let items = self.items.iter().zip(&*self.found);
        let listed = items.filter(|(item, _)| item.entry.is_some());
        let mut entries = Vec::with_capacity(self.items.len());
        entries.extend(listed.map(|(item, found)| item.listed(found)));
        Offered {
            entries,
            shelf,
            skipped: self.skipped.clone(),
            hashed,
        }
    }

    /// What is to be kept of all files that are hashed.
    fn records(&self) -> Vec<Hashed> {
        let items = self.items.iter().zip(&*self.found);
        items
            .filter_map(|(item, found)| item.record(found))
            .collect()
    }

    /// What can be offered when nothing more comes. Of files that were told of as
    /// they were hashed there is no record once more.
    pub(super) fn offered(mut self) -> Offered {
        let told = self.shelf.is_some();
        let lost = self.items.iter().zip(&*self.found);
        for (item, found) in lost.filter(|(item, _)| item.entry.is_some()) {
            if let State::Failed(reason) = item.state {
                self.skipped.add(found.path.to_string(), reason);
            }
        }
        let shelf = self.settle();
        let hashed = match told {
            true => Vec::new(),
            false => self.records(),
        };
        self.list(shelf, hashed)
    }

    fn tell_pieces<E>(&mut self, tell: &mut impl FnMut(News) -> Result<(), E>) -> Result<(), E> {
        while let Some((first, hashes)) = self.next_pieces() {
            tell(News::Pieces { first, hashes })?;
        }
        Ok(())
    }

    /// Hashes that were not told yet, if any are known.
    fn next_pieces(&mut self) -> Option<(u32, Vec<PieceHash>)> {
        let (mut index, mut piece, mut number) = self.told;
        let mut first = number;
        let mut hashes = Vec::new();
        while hashes.len() < HASHES_PER_MESSAGE
            && let (Some(item), Some(found)) = (self.items.get(index), self.found.get(index))
        {
            let pieces = match item.entry {
                Some(_) if !found.folder => piece_count(found.stamp.size()),
                _ => 0,
            };
            if piece == pieces {
                (index, piece) = (index + 1, 0);
            } else if let Some(hash) = item.hash(piece) {
                hashes.push(hash);
                (piece, number) = (piece + 1, number + 1);
            } else if matches!(item.state, State::Failed(_)) {
                if !hashes.is_empty() {
                    break;
                }
                number += pieces - piece;
                (index, piece, first) = (index + 1, 0, number);
            } else {
                break;
            }
        }
        self.told = (index, piece, number);
        (!hashes.is_empty()).then_some((first, hashes))
    }

    fn tell_files<E>(&mut self, tell: &mut impl FnMut(News) -> Result<(), E>) -> Result<(), E> {
        let fresh = std::mem::take(&mut self.fresh).into_iter();
        let hashed: Vec<Hashed> = fresh
            .filter_map(|index| self.items[index].record(&self.found[index]))
            .collect();
        match hashed.is_empty() {
            true => Ok(()),
            false => tell(News::Files(hashed)),
        }
    }
}

impl Item {
    fn take(&mut self, found: &Found, first: u32, run: Run) {
        let State::Hashing { hashes, ahead } = &mut self.state else {
            return;
        };
        match run {
            Ok(run) => ahead.insert(first, run),
            Err(reason) => {
                self.state = State::Failed(reason);
                return;
            }
        };
        while let Some(run) = ahead.remove(&(hashes.len() as u32)) {
            hashes.extend(run);
        }
        let size = found.stamp.size();
        if hashes.len() < piece_count(size).max(1) as usize {
            return;
        }
        self.state = match (hashes.as_slice(), root_of(size, hashes)) {
            ([only], _) => State::Hashed(Root(only.0), Arc::new([])),
            (all, Some(root)) => State::Hashed(root, all.into()),
            (_, None) => State::Failed("it cannot be read"),
        };
    }

    /// The hash of a piece; of a file of one piece its root.
    fn hash(&self, piece: u32) -> Option<PieceHash> {
        match &self.state {
            State::Hashing { hashes, .. } => hashes.get(piece as usize).copied(),
            State::Hashed(root, hashes) if hashes.is_empty() => Some(PieceHash(root.0)),
            State::Hashed(_, hashes) => hashes.get(piece as usize).copied(),
            State::Folder | State::Failed(_) => None,
        }
    }

    fn listed(&self, found: &Found) -> Entry {
        let modified = found.stamp.millis();
        let content = match self.state {
            State::Folder => None,
            // Whatever became of it: it was empty when it was found.
            _ if found.stamp.size() == 0 => Some(Content::Hashed(single_piece_root(b""))),
            State::Hashed(root, _) => Some(Content::Hashed(root)),
            State::Hashing { .. } => Some(Content::Hashing),
            State::Failed(_) => Some(Content::Lost),
        };
        Entry {
            path: found.path.clone(),
            kind: match content {
                None => EntryKind::Folder { modified },
                Some(content) => EntryKind::File {
                    size: found.stamp.size(),
                    content,
                    modified,
                },
            },
        }
    }

    fn record(&self, found: &Found) -> Option<Hashed> {
        let State::Hashed(root, hashes) = &self.state else {
            return None;
        };
        Some(Hashed {
            entry: self.entry?,
            path: Arc::clone(&found.local),
            stamp: found.stamp,
            root: *root,
            hashes: Arc::clone(hashes),
        })
    }

    /// Where the file can be read.
    fn place(&self, found: &Found) -> Place {
        Place {
            path: Arc::clone(&found.local),
            size: found.stamp.size(),
            stamp: Some(found.stamp),
            hashes: match &self.state {
                State::Hashed(_, hashes) => Arc::clone(hashes),
                _ => Arc::new([]),
            },
        }
    }
}
