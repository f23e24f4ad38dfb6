//! Wanted files that are in the destination already, under any name: found by
//! size, recognised by their hash. What is found is only read; files that a
//! person has are left as they are.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use passalong_proto::tree::{FileHasher, FileHashes, PIECE_LEN, Root};

use super::{Done, PARTIAL_PREFIX, PARTIAL_SUFFIX, Sink};
use crate::source::Stamp;

/// Files and folders of the destination that are looked at.
const MAX_WALK: usize = 200_000;

/// A wanted file that is not known to be under its final name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub(super) entry: u32,
    pub(super) size: u64,
    pub(super) root: Root,
    /// Bytes of it that are not here.
    pub(super) lacking: u64,
}

/// A file of the right content.
#[derive(Clone, Debug)]
pub(super) struct Alike {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    pub(super) hashes: Arc<FileHashes>,
}

/// What was found of what is missing.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whole, where they belong.
    pub(super) kept: Vec<(u32, Alike)>,
    /// Elsewhere: to be copied.
    pub(super) elsewhere: Vec<(u32, PathBuf)>,
}

/// How far looking got, in bytes to be read.
#[derive(Debug, Default)]
pub(super) struct Looking {
    done: u64,
    total: u64,
}

impl Sink {
    /// There is more to read.
    pub(super) fn look_at(&self, looking: &mut Looking, bytes: u64) {
        looking.total = looking.total.saturating_add(bytes);
    }

    /// So much was read, or need not be.
    pub(super) fn looked(&self, looking: &mut Looking, bytes: u64) {
        looking.done = looking.done.saturating_add(bytes).min(looking.total);
        self.tell(Done::Checking {
            done: looking.done,
            total: looking.total,
        });
    }

    /// Looks for these files in the destination, those first that save most.
    /// Stops early when cancelled.
    pub(super) fn find_alike(&mut self, missing: &[Missing], looking: &mut Looking) -> Found {
        let mut by_size: HashMap<u64, Vec<Missing>> = HashMap::new();
        for &file in missing {
            by_size.entry(file.size).or_default().push(file);
        }
        let mut candidates = self.candidates(&by_size);
        let mut sizes: Vec<(u64, u64)> = by_size
            .iter()
            .map(|(size, files)| (files.iter().map(|file| file.lacking).sum(), *size))
            .collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        for (_, size) in &sizes {
            let count = candidates.get(size).map_or(0, Vec::len);
            self.look_at(looking, size.saturating_mul(count as u64));
        }
        let whole = self.whole.iter();
        let twins: HashMap<Root, PathBuf> = whole
            .filter_map(|(entry, path)| Some((self.root(*entry)?, path.to_path_buf())))
            .collect();
        let mut found = Found::default();
        for (_, size) in sizes {
            let wanted = by_size.remove(&size).unwrap_or_default();
            let paths = candidates.remove(&size).unwrap_or_default();
            self.match_size(size, wanted, paths, &twins, &mut found, looking);
            if self.is_cancelled() {
                break;
            }
        }
        found
    }

    /// Files of the destination that have one of these sizes and are not known
    /// to be something else of this share.
    fn candidates(&mut self, wanted: &HashMap<u64, Vec<Missing>>) -> HashMap<u64, Vec<PathBuf>> {
        let mut candidates: HashMap<u64, Vec<PathBuf>> = HashMap::new();
        let mut seen = HashSet::new();
        // Where they belong comes first, and whatever the bound of the walk.
        for file in wanted.values().flatten() {
            for path in self.standing(file.entry, file.size) {
                if seen.insert(path.clone()) {
                    candidates.entry(file.size).or_default().push(path);
                }
            }
        }
        if wanted.values().flatten().all(|file| file.lacking == 0) {
            return candidates;
        }
        seen.extend(self.whole.values().map(|path| path.to_path_buf()));
        let mut folders = vec![self.plan.root.clone()];
        let mut walked = 0;
        while let Some(folder) = folders.pop() {
            // What cannot be read is not found.
            let Ok(children) = fs::read_dir(&folder) else {
                continue;
            };
            for child in children.flatten() {
                walked += 1;
                if walked > MAX_WALK || self.is_cancelled() {
                    return candidates;
                }
                // Of the child itself: links are not followed.
                let Ok(kind) = child.file_type() else {
                    continue;
                };
                if kind.is_dir() {
                    if !is_partial(&child.file_name().to_string_lossy()) {
                        folders.push(child.path());
                    }
                } else if kind.is_file()
                    && let Ok(metadata) = child.metadata()
                    && metadata.len() > 0
                    && wanted.contains_key(&metadata.len())
                    && seen.insert(child.path())
                {
                    candidates
                        .entry(metadata.len())
                        .or_default()
                        .push(child.path());
                }
            }
        }
        candidates
    }

    /// Finds wanted files of one size among the candidates of that size.
    fn match_size(
        &mut self,
        size: u64,
        mut wanted: Vec<Missing>,
        candidates: Vec<PathBuf>,
        twins: &HashMap<Root, PathBuf>,
        found: &mut Found,
        looking: &mut Looking,
    ) {
        let mut hashed: HashMap<PathBuf, Option<Alike>> = HashMap::new();
        let mut claimed = HashSet::new();
        let unread = |hashed: &HashMap<PathBuf, Option<Alike>>| {
            candidates.len().saturating_sub(hashed.len()) as u64
        };
        wanted.retain(|file| {
            for path in self.standing(file.entry, size) {
                if claimed.contains(&path) {
                    continue;
                }
                let alike = hashed
                    .entry(path.clone())
                    .or_insert_with(|| self.recognise(&path, looking));
                if let Some(alike) = alike
                    && alike.hashes.root() == file.root
                {
                    claimed.insert(path);
                    found.kept.push((file.entry, alike.clone()));
                    return false;
                }
            }
            true
        });
        // What lacks nothing is published, unless it was already.
        wanted.retain(|file| file.lacking > 0);
        // What is whole under another name of the share need not be read.
        wanted.retain(|file| {
            let twin = twins.get(&file.root);
            if let Some(path) = twin {
                found.elsewhere.push((file.entry, path.clone()));
            }
            twin.is_none()
        });
        for path in &candidates {
            let known = |root: Root| {
                let mut known = hashed.values().flatten();
                known.any(|alike| alike.hashes.root() == root)
            };
            if wanted.iter().all(|file| known(file.root)) || self.is_cancelled() {
                break;
            }
            if !hashed.contains_key(path) {
                let alike = self.recognise(path, looking);
                hashed.insert(path.clone(), alike);
            }
        }
        for file in wanted {
            let mut known = hashed.values().flatten();
            if let Some(alike) = known.find(|alike| alike.hashes.root() == file.root) {
                found.elsewhere.push((file.entry, alike.path.clone()));
            }
        }
        self.looked(looking, size.saturating_mul(unread(&hashed)));
    }

    /// Hashes a file, if it stays as it is meanwhile.
    pub(super) fn recognise(&self, path: &Path, looking: &mut Looking) -> Option<Alike> {
        let mut hash = || -> io::Result<Option<Alike>> {
            let mut file = File::open(path)?;
            let stamp = Stamp::of(&file.metadata()?);
            let hashes = self.hash(&mut file, |bytes| self.looked(looking, bytes))?;
            let steady = hashes.size() == stamp.size() && Stamp::of(&file.metadata()?) == stamp;
            Ok(steady.then(|| Alike {
                path: path.to_owned(),
                stamp,
                hashes: Arc::new(hashes),
            }))
        };
        // What cannot be read is not here.
        hash().ok().flatten()
    }

    /// Hashes a file from where it stands to its end, or until cancelled.
    pub(super) fn hash(
        &self,
        file: &mut File,
        mut read: impl FnMut(u64),
    ) -> io::Result<FileHashes> {
        let mut hasher = FileHasher::new();
        let mut buffer = vec![0; PIECE_LEN as usize];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 || self.is_cancelled() {
                return Ok(hasher.finish());
            }
            hasher.update(&buffer[..count]);
            read(count as u64);
        }
    }
}

/// Whether a folder of this name holds unfinished files, of this share or another.
fn is_partial(name: &str) -> bool {
    name.starts_with(PARTIAL_PREFIX) && name.ends_with(PARTIAL_SUFFIX)
}
