//! What is here before anything is fetched: by the record where nothing was
//! touched since, by reading where the record is in doubt, and by content
//! anywhere in the destination.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use passalong_proto::manifest::{Content, EntryKind};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{FileHashes, PIECE_LEN, piece_count};

use super::alike::{Alike, Looking, Missing};
use super::handles::allocated;
use super::writing::Unfinished;
use super::{Done, Held, Proof, Resumed, Sink, free_bytes};
use crate::api::{Problem, ProblemCode};
use crate::source::Stamp;
use crate::store::StoredFile;

/// Bytes copied between two looks at whether it is still wanted.
const COPY_RUN: u64 = 64 << 20;

impl Sink {
    /// Looks for what is here and tells it. Tells nothing when cancelled.
    pub(super) fn begin(&mut self) -> Result<(), Problem> {
        let rows = self.recorded();
        self.check_root(!rows.is_empty())?;
        let mut present = HashSet::new();
        let mut looking = Looking::default();
        let begun = self.trust_whole(rows, &mut present);
        self.resume_begun(begun, &mut looking);
        if self.is_cancelled() {
            return Ok(());
        }

        let missing = self.missing(&present);
        let found = self.find_alike(&missing, &mut looking);
        for (entry, alike) in found.kept {
            self.keep_alike(entry, &alike);
            present.insert(entry);
        }
        if self.is_cancelled() {
            return Ok(());
        }
        self.check_room(&present)?;
        self.make_folders()?;
        self.clear_away(&present);

        let copied = self.copy_alike(found.elsewhere, &mut present)?;
        self.publish_complete(&mut present)?;
        if self.is_cancelled() {
            return Ok(());
        }
        let mut resumed: Vec<Resumed> = self
            .unfinished
            .iter()
            .filter(|(_, file)| file.hashes.root().is_none() || !file.hashes.pieces().is_empty())
            .map(|(entry, file)| Resumed {
                entry: *entry,
                hashes: file.hashes.hashes().cloned(),
                pieces: file.held.iter().collect(),
            })
            .collect();
        resumed.sort_unstable_by_key(|resumed| resumed.entry);
        self.write_down();
        self.tell(Done::Checked {
            present,
            resumed,
            copied,
        });
        Ok(())
    }

    /// The records of wanted files that still are what they were.
    pub(super) fn recorded(&self) -> Vec<StoredFile> {
        let wanted: HashSet<u32> = self.plan.wanted.iter().copied().collect();
        let mut rows = match self.plan.store.files(&self.plan.id) {
            Ok(rows) => rows,
            Err(problem) => {
                tracing::warn!(%problem.message, "what is on disk has to be read again");
                Vec::new()
            }
        };
        rows.retain(|row| {
            let root = row.hashes.root();
            wanted.contains(&row.entry)
                && self.size(row.entry) == Some(row.hashes.size())
                && (root.is_none() || root == self.root(row.entry))
        });
        rows
    }

    pub(super) fn check_root(&self, begun: bool) -> Result<(), Problem> {
        let root = &self.plan.root;
        match fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(Problem::disk(root, &io::ErrorKind::NotADirectory.into())),
            Err(error) if begun && error.kind() == io::ErrorKind::NotFound => Err(Problem::new(
                ProblemCode::Disk,
                format!("The folder {} is no longer there.", root.display()),
                "If it was moved, choose where it is now: what is there already is kept. If it is on a drive that was unplugged, plug it in and try again.",
            )),
            Err(error) => Err(Problem::disk(root, &error)),
        }
    }

    /// Keeps the whole files that are as they were left, and remembers those
    /// that may not be; gives back the records of all that cannot be kept.
    pub(super) fn trust_whole(
        &mut self,
        rows: Vec<StoredFile>,
        present: &mut HashSet<u32>,
    ) -> Vec<StoredFile> {
        let mut plain = HashMap::new();
        let mut others = Vec::new();
        for row in rows {
            let now = fs::symlink_metadata(&row.path)
                .ok()
                .filter(|metadata| metadata.is_file() && metadata.len() == row.hashes.size())
                .filter(|_| row.whole && self.is_below(&row.path, &mut plain))
                .map(|metadata| Stamp::of(&metadata));
            match now {
                Some(now)
                    if row.stamp.still(now)
                        && self.record.survived(row.boot.as_deref())
                        && let Some(hashes) = row.hashes.hashes() =>
                {
                    self.keep(row.entry, &row.path, now, hashes);
                    present.insert(row.entry);
                    if row.boot.is_some() {
                        self.record.add_unsettled(row.entry, row.path, now);
                    }
                    continue;
                }
                Some(_) => {
                    self.left.insert(row.entry, row.clone());
                }
                None => {}
            }
            others.push(row);
        }
        others
    }

    /// Whether a path leads below the destination without a link on the way.
    /// `plain` remembers folders.
    fn is_below(&self, path: &Path, plain: &mut HashMap<PathBuf, bool>) -> bool {
        let Some(parent) = path.parent() else {
            return false;
        };
        if parent == self.plan.root {
            return path.file_name().is_some();
        }
        if let Some(known) = plain.get(parent) {
            return *known;
        }
        let is_plain = parent.starts_with(&self.plan.root)
            && parent.file_name() != Some(OsStr::new(".."))
            && fs::symlink_metadata(parent).is_ok_and(|metadata| metadata.is_dir())
            && self.is_below(parent, plain);
        plain.insert(parent.to_owned(), is_plain);
        is_plain
    }

    /// Takes on what was begun of files of several pieces: as recorded if
    /// nobody touched it since, else as far as it verifies.
    fn resume_begun(&mut self, rows: Vec<StoredFile>, looking: &mut Looking) {
        let mut doubtful = Vec::new();
        for row in rows {
            let single = piece_count(row.hashes.size()) < 2;
            if single && row.hashes.root().is_some() {
                continue;
            }
            let path = self.partial_path(row.entry);
            let stamp = fs::symlink_metadata(&path)
                .ok()
                .filter(Metadata::is_file)
                .map(|metadata| Stamp::of(&metadata));
            let mut unfinished = Unfinished::new(path, self.proof(row.entry, row.hashes));
            let same = row.path == unfinished.path && stamp.is_some_and(|now| row.stamp.still(now));
            if same && !row.whole && self.record.survived(row.boot.as_deref()) {
                unfinished.held = row.held;
                self.hold_verifiable(row.entry, &mut unfinished);
                unfinished.stamp = stamp;
                unfinished.boot = row.boot;
                self.take_on(row.entry, unfinished);
            } else {
                self.look_at(looking, stamp.map_or(0, Stamp::size));
                doubtful.push((row.entry, unfinished, same));
            }
        }
        for (entry, mut unfinished, same) in doubtful {
            let verified = self.verify(entry, &mut unfinished, |bytes| self.looked(looking, bytes));
            if self.is_cancelled() {
                return;
            }
            if let Err(error) = verified {
                tracing::warn!(%error, entry, "an unfinished file cannot be read");
                continue;
            }
            if same && self.record.knows_boot() {
                // Read back after a restart of the computer, it is on the disk.
                unfinished.boot = None;
            }
            self.take_on(entry, unfinished);
            self.record.touch(entry);
        }
    }

    /// What a file is verified with now that was verified with `before`.
    pub(super) fn proof(&self, entry: u32, before: Proof) -> Proof {
        let Proof::Signed(size) = before else {
            return before;
        };
        let listed = self.listed(entry).and_then(Content::root);
        let single = || FileHashes::single(listed?, size);
        match self.signed(entry).or_else(single) {
            Some(hashes) => Proof::Root(Arc::new(hashes)),
            None => before,
        }
    }

    /// Of the pieces that are recorded, those count that could still be verified.
    fn hold_verifiable(&self, entry: u32, unfinished: &mut Unfinished) {
        if let Proof::Signed(size) = unfinished.hashes {
            let mut held = Held::none(piece_count(size));
            let signed = |piece: &u32| self.signed_hash(entry, *piece).is_some();
            unfinished
                .held
                .iter()
                .filter(signed)
                .for_each(|piece| held.insert(piece));
            unfinished.held = held;
        }
    }

    /// Wanted files that are not known to be under their final names.
    fn missing(&self, present: &HashSet<u32>) -> Vec<Missing> {
        let wanted = self.plan.wanted.iter().filter(|e| !present.contains(e));
        wanted
            .filter_map(|&entry| {
                // What has no root yet cannot be recognised.
                let (size, root) = (self.size(entry)?, self.root(entry)?);
                let unfinished = self.unfinished.get(&entry);
                let held = unfinished.map_or(0, |file| u64::from(file.held.count()));
                Some(Missing {
                    entry,
                    size,
                    root,
                    lacking: size.saturating_sub(held * PIECE_LEN),
                })
            })
            .collect()
    }

    pub(super) fn keep_alike(&mut self, entry: u32, alike: &Alike) {
        // Read back after a restart of the computer, it is on the disk.
        let settled = self.record.knows_boot()
            && self.left.get(&entry).is_some_and(|row| {
                *row.path == *alike.path
                    && row.stamp.still(alike.stamp)
                    && !self.record.survived(row.boot.as_deref())
            });
        self.keep(entry, &alike.path, alike.stamp, &alike.hashes);
        self.record.add_whole(StoredFile {
            entry,
            path: alike.path.as_path().into(),
            stamp: alike.stamp,
            held: Held::all(piece_count(alike.hashes.size())),
            hashes: Arc::clone(&alike.hashes).into(),
            whole: true,
            boot: (!settled).then(|| self.record.boot()),
        });
    }

    fn check_room(&self, present: &HashSet<u32>) -> Result<(), Problem> {
        let mut needed = 0u64;
        for &entry in self.plan.wanted.iter().filter(|e| !present.contains(e)) {
            if let Some(size) = self.size(entry) {
                let held = fs::symlink_metadata(self.partial_path(entry));
                let held = held.map_or(0, |metadata| allocated(&metadata));
                needed = needed.saturating_add(size.saturating_sub(held));
            }
        }
        match free_bytes(&self.plan.root) {
            Some(free) if free < needed => Err(Problem::no_room(&self.plan.root, needed, free)),
            _ => Ok(()),
        }
    }

    /// The hidden folder, and the wanted folders.
    fn make_folders(&mut self) -> Result<(), Problem> {
        match fs::symlink_metadata(&self.partial) {
            Ok(metadata) if metadata.is_dir() => {}
            _ => fs::create_dir(&self.partial).map_err(|e| Problem::disk(&self.partial, &e))?,
        }
        for index in self.plan.wanted.clone() {
            let entry = self.plan.manifest.entries().get(index as usize);
            if let Some(EntryKind::Folder { .. }) = entry.map(|entry| &entry.kind) {
                let path = self.names[index as usize].clone();
                self.folder(SafePath::components(&path))
                    .map_err(|e| Problem::disk(&self.plan.root, &e))?;
            }
        }
        Ok(())
    }

    /// Removes what is left over in the hidden folder: parts of files that are
    /// whole elsewhere, and copies that were cut off.
    fn clear_away(&self, present: &HashSet<u32>) {
        let Ok(children) = fs::read_dir(&self.partial) else {
            return;
        };
        for child in children.flatten() {
            let path = child.path();
            let part = path
                .file_stem()
                .and_then(OsStr::to_str)
                .and_then(|stem| stem.parse().ok())
                .is_some_and(|entry| present.contains(&entry));
            let extension = path.extension().and_then(OsStr::to_str);
            if extension == Some("copy") || (extension == Some("part") && part) {
                // Nothing is lost if it stays.
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Copies what is elsewhere in the destination to where it belongs; says
    /// how much that was. What cannot be copied is fetched.
    fn copy_alike(
        &mut self,
        elsewhere: Vec<(u32, PathBuf)>,
        present: &mut HashSet<u32>,
    ) -> Result<u32, Problem> {
        let mut copied = 0;
        for (entry, path) in elsewhere {
            if self.is_cancelled() {
                break;
            }
            let copy = self.partial.join(format!("{entry}.copy"));
            let hashes = match self.copy(&path, &copy) {
                Ok(hashes)
                    if Some(hashes.size()) == self.size(entry)
                        && Some(hashes.root()) == self.root(entry) =>
                {
                    hashes
                }
                outcome => {
                    if let Err(error) = outcome {
                        tracing::warn!(%error, entry, "a file that is here could not be copied");
                    }
                    // Absent if it could not even be begun.
                    let _ = fs::remove_file(&copy);
                    continue;
                }
            };
            self.unfinished.remove(&entry);
            self.handles.close(entry);
            let boot = Some(self.record.boot());
            self.publish(entry, &copy, Arc::new(hashes), boot)?;
            // Absent unless some pieces of it had come before.
            let _ = fs::remove_file(self.partial_path(entry));
            present.insert(entry);
            copied += 1;
        }
        Ok(copied)
    }

    /// Copies a file as the system does it best, and reads the copy back.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<FileHashes> {
        let from = File::open(from)?;
        let mut options = OpenOptions::new();
        options.create_new(true).write(true);
        let mut file = options.open(to)?;
        while !self.is_cancelled() && io::copy(&mut (&from).take(COPY_RUN), &mut file)? > 0 {}
        self.hash(&mut File::open(to)?, |_| {})
    }

    /// Publishes what needs nothing more: empty files, and files whose last
    /// piece was written just before the program ended.
    fn publish_complete(&mut self, present: &mut HashSet<u32>) -> Result<(), Problem> {
        for entry in self.plan.wanted.clone() {
            if self.size(entry) == Some(0)
                && !present.contains(&entry)
                && let Some(root) = self.root(entry)
                && let Some(hashes) = FileHashes::single(root, 0)
            {
                let proof = Proof::Root(Arc::new(hashes));
                let unfinished = Unfinished::new(self.partial_path(entry), proof);
                self.unfinished.insert(entry, unfinished);
            }
            let complete = self.unfinished.get(&entry);
            if complete.is_some_and(|file| file.held.is_full()) {
                self.finish_file(entry)?;
                present.insert(entry);
            }
        }
        Ok(())
    }
}
