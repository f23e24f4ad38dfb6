//! Files on the sharer's disk: found, hashed, and read again piece by piece.
//!
//! Invariant: a piece is handed out only from a file whose size and time are
//! still those it was hashed with. Links and special files are never followed.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use passalong_proto::manifest::{Entry, EntryKind, MAX_ENTRIES};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{
    PIECE_LEN, PieceHash, Root, piece_count, piece_hash, piece_len, root_of, single_piece_root,
};
use passalong_proto::wire::{PieceRef, SourceProblem};

use crate::api::SkippedView;

/// Pieces that one worker hashes in a row.
const RUN: u32 = 16;
/// Left-out entries that are remembered by name.
const NAMED_SKIPS: usize = 100;

/// What was left out of a share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// The first [`NAMED_SKIPS`].
    pub(crate) named: Vec<SkippedView>,
    /// All of them.
    pub(crate) total: u32,
}

impl Skipped {
    fn add(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.total = self.total.saturating_add(1);
        if self.named.len() < NAMED_SKIPS {
            self.named.push(SkippedView {
                path: path.into(),
                reason: reason.into(),
            });
        }
    }
}

/// A file or folder found on disk.
#[derive(Clone, Debug)]
struct Found {
    path: SafePath,
    local: PathBuf,
    stamp: Stamp,
    folder: bool,
}

/// Size and time of a file: if both are as they were, so is the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Stamp {
            size: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

/// Everything found below the shared paths.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    entries: Vec<Found>,
    pub(crate) skipped: Skipped,
    pub(crate) files: u32,
    pub(crate) bytes: u64,
}

/// A share whose files are hashed and can be served.
#[derive(Debug)]
pub(crate) struct Shelf {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    local: PathBuf,
    stamp: Stamp,
    hashes: Arc<[PieceHash]>,
}

/// How far hashing is; read by whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct HashProgress {
    /// Bytes hashed.
    pub(crate) done: AtomicU64,
    /// Set to stop early.
    pub(crate) cancelled: AtomicBool,
}

/// What a share is called when nobody named it.
pub(crate) fn share_name(paths: &[PathBuf]) -> String {
    match paths {
        [one] => one
            .file_name()
            .unwrap_or(one.as_os_str())
            .to_string_lossy()
            .into_owned(),
        many => format!("{} items", many.len()),
    }
}

/// Walks the shared paths. Blocking. What cannot be offered is left out and
/// listed; an error means that nothing can be offered at all.
pub(crate) fn find(
    paths: &[PathBuf],
    cancelled: &AtomicBool,
) -> Result<Findings, (PathBuf, io::Error)> {
    let mut found = Findings::default();
    for path in paths {
        let metadata = fs::symlink_metadata(path).map_err(|error| (path.clone(), error))?;
        let name = path
            .canonicalize()
            .ok()
            .and_then(|full| full.file_name().map(|name| name.to_owned()))
            .unwrap_or_else(|| path.as_os_str().to_owned());
        let name = match name.to_str() {
            Some(name) if metadata.file_type().is_symlink() => {
                // A link that a person chose by hand still is a link.
                found.skipped.add(name, "a symbolic link");
                continue;
            }
            Some(name) => name,
            None => {
                found
                    .skipped
                    .add(name.to_string_lossy(), "its name is not valid Unicode");
                continue;
            }
        };
        match SafePath::parse(name) {
            Ok(safe) => walk(&mut found, safe, path.clone(), &metadata, cancelled),
            Err(error) => found.skipped.add(printable(name), error.to_string()),
        }
    }
    Ok(found)
}

fn walk(
    found: &mut Findings,
    path: SafePath,
    local: PathBuf,
    metadata: &Metadata,
    cancelled: &AtomicBool,
) {
    let mut stack = vec![(path, local, metadata.clone())];
    while let Some((path, local, metadata)) = stack.pop() {
        if cancelled.load(Ordering::Relaxed) {
            return;
        }
        if found.entries.len() >= MAX_ENTRIES {
            found.skipped.add(
                path.to_string(),
                "a share holds at most 250,000 files and folders",
            );
            continue;
        }
        let kind = metadata.file_type();
        if kind.is_symlink() {
            found.skipped.add(path.to_string(), "a symbolic link");
        } else if kind.is_file() {
            found.files += 1;
            found.bytes = found.bytes.saturating_add(metadata.len());
            found.entries.push(Found {
                path,
                local,
                stamp: Stamp::of(&metadata),
                folder: false,
            });
        } else if kind.is_dir() {
            let children = match fs::read_dir(&local) {
                Ok(children) => children,
                Err(error) => {
                    found.skipped.add(path.to_string(), unreadable(&error));
                    continue;
                }
            };
            found.entries.push(Found {
                path: path.clone(),
                local,
                stamp: Stamp::of(&metadata),
                folder: true,
            });
            let mut below = Vec::new();
            for child in children {
                match child {
                    Ok(child) => {
                        if let Some(item) = child_of(found, &path, &child) {
                            below.push(item);
                        }
                    }
                    Err(error) => found.skipped.add(path.to_string(), unreadable(&error)),
                }
            }
            below.sort_by(|a, b| b.0.as_str().cmp(a.0.as_str()));
            stack.extend(below);
        } else {
            found
                .skipped
                .add(path.to_string(), "not a file or a folder");
        }
    }
}

fn child_of(
    found: &mut Findings,
    parent: &SafePath,
    child: &fs::DirEntry,
) -> Option<(SafePath, PathBuf, Metadata)> {
    let name = child.file_name();
    let shown = format!("{parent}/{}", printable(&name.to_string_lossy()));
    let Some(name) = name.to_str() else {
        found.skipped.add(shown, "its name is not valid Unicode");
        return None;
    };
    let path = match parent.join(name) {
        Ok(path) => path,
        Err(error) => {
            found.skipped.add(shown, error.to_string());
            return None;
        }
    };
    // Of the entry itself: a link is not followed.
    match fs::symlink_metadata(child.path()) {
        Ok(metadata) => Some((path, child.path(), metadata)),
        Err(error) => {
            found.skipped.add(shown, unreadable(&error));
            None
        }
    }
}

fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn unreadable(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "it vanished while it was being read",
        io::ErrorKind::PermissionDenied => "this computer does not allow reading it",
        _ => "it cannot be read",
    }
}

/// Hashes everything found, on every core. Blocking. Files that cannot be read
/// or change meanwhile are left out and listed.
pub(crate) fn hash(mut found: Findings, progress: &HashProgress) -> (Vec<Entry>, Shelf, Skipped) {
    struct Job {
        entry: usize,
        first: u32,
        pieces: u32,
    }
    let mut jobs = Vec::new();
    for (entry, item) in found
        .entries
        .iter()
        .enumerate()
        .filter(|(_, item)| !item.folder)
    {
        let pieces = piece_count(item.stamp.size).max(1);
        let mut first = 0;
        while first < pieces {
            let run = RUN.min(pieces - first);
            jobs.push(Job {
                entry,
                first,
                pieces: run,
            });
            first += run;
        }
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(jobs.len()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(jobs.len()) {
            scope.spawn(|| {
                let mut buffer = vec![0; PIECE_LEN as usize];
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if progress.cancelled.load(Ordering::Relaxed) {
                        return;
                    }
                    let item = &found.entries[job.entry];
                    let hashed = hash_run(item, job.first, job.pieces, &mut buffer, progress);
                    results
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((job.entry, job.first, hashed));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(entry, first, _)| (*entry, *first));

    let mut results = results.into_iter().peekable();
    let mut entries = Vec::with_capacity(found.entries.len());
    let mut sources = Vec::with_capacity(found.entries.len());
    for (index, item) in found.entries.into_iter().enumerate() {
        let modified = item.stamp.modified.and_then(unix_millis);
        let mut parts = Vec::new();
        while let Some((_, _, part)) = results.next_if(|(entry, ..)| *entry == index) {
            parts.push(part);
        }
        let kind = if item.folder {
            EntryKind::Folder { modified }
        } else {
            match file_hashes(&item, parts) {
                Ok((root, hashes)) => {
                    sources.push(Source {
                        local: item.local,
                        stamp: item.stamp,
                        hashes,
                    });
                    entries.push(Entry {
                        path: item.path,
                        kind: EntryKind::File {
                            size: item.stamp.size,
                            root,
                            modified,
                        },
                    });
                }
                Err(reason) => found.skipped.add(item.path.to_string(), reason),
            }
            continue;
        };
        sources.push(Source {
            local: item.local,
            stamp: item.stamp,
            hashes: Arc::new([]),
        });
        entries.push(Entry {
            path: item.path,
            kind,
        });
    }
    (entries, Shelf { sources }, found.skipped)
}

/// One run of pieces: a single-piece file's root, or chaining values.
enum Run {
    Whole(Root),
    Pieces(Vec<PieceHash>),
}

fn hash_run(
    item: &Found,
    first: u32,
    pieces: u32,
    buffer: &mut [u8],
    progress: &HashProgress,
) -> Result<Run, &'static str> {
    let size = item.stamp.size;
    let mut read = || -> io::Result<Run> {
        let mut file = File::open(&item.local)?;
        if Stamp::of(&file.metadata()?) != item.stamp {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        file.seek(SeekFrom::Start(u64::from(first) * PIECE_LEN))?;
        let mut hashes = Vec::with_capacity(pieces as usize);
        for index in first..first + pieces {
            let bytes = &mut buffer[..piece_len(size, index) as usize];
            file.read_exact(bytes)?;
            if size <= PIECE_LEN {
                progress.done.fetch_add(size, Ordering::Relaxed);
                return Ok(Run::Whole(single_piece_root(bytes)));
            }
            hashes.push(piece_hash(index, bytes));
            progress
                .done
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            if progress.cancelled.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        if Stamp::of(&file.metadata()?) != item.stamp {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        Ok(Run::Pieces(hashes))
    };
    read().map_err(|error| match error.kind() {
        io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::UnexpectedEof => {
            "it was being changed while it was read"
        }
        _ => unreadable(&error),
    })
}

fn file_hashes(
    item: &Found,
    parts: Vec<Result<Run, &'static str>>,
) -> Result<(Root, Arc<[PieceHash]>), &'static str> {
    let mut hashes = Vec::new();
    for part in parts {
        match part? {
            Run::Whole(root) => return Ok((root, Arc::new([]))),
            Run::Pieces(more) => hashes.extend(more),
        }
    }
    let root = root_of(item.stamp.size, &hashes).ok_or("it cannot be read")?;
    Ok((root, hashes.into()))
}

/// Unix milliseconds of a file time.
pub(crate) fn unix_millis(time: SystemTime) -> Option<i64> {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).ok(),
        Err(before) => i64::try_from(before.duration().as_millis())
            .ok()
            .map(|ms| -ms),
    }
}

/// Reads pieces; remembers the file it read last.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    open: Option<(u32, File)>,
}

impl Shelf {
    /// A shelf of files that lie under `root` as the manifest says: what a
    /// receiver has and can pass on.
    pub(crate) fn of_received(files: Vec<(PathBuf, Arc<[PieceHash]>)>) -> io::Result<Shelf> {
        let mut sources = Vec::with_capacity(files.len());
        for (local, hashes) in files {
            let stamp = Stamp::of(&fs::symlink_metadata(&local)?);
            sources.push(Source {
                local,
                stamp,
                hashes,
            });
        }
        Ok(Shelf { sources })
    }

    /// Piece hashes of a file of several pieces.
    pub(crate) fn hashes(&self, entry: u32) -> Option<Arc<[PieceHash]>> {
        self.sources
            .get(entry as usize)
            .map(|source| Arc::clone(&source.hashes))
    }

    /// Reads one piece. Blocking.
    pub(crate) fn read(
        &self,
        reader: &mut Reader,
        piece: PieceRef,
    ) -> Result<Vec<u8>, SourceProblem> {
        let source = self
            .sources
            .get(piece.entry as usize)
            .ok_or(SourceProblem::Vanished)?;
        let outcome = read_piece(source, reader, piece);
        if outcome.is_err() {
            reader.open = None;
        }
        outcome.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceProblem::Vanished,
            io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::UnexpectedEof => {
                SourceProblem::Changed
            }
            _ => SourceProblem::Unreadable,
        })
    }
}

fn read_piece(source: &Source, reader: &mut Reader, piece: PieceRef) -> io::Result<Vec<u8>> {
    let file = match &mut reader.open {
        Some((entry, file)) if *entry == piece.entry => file,
        slot => {
            // A link put in the file's place is a change, whatever it points to.
            let metadata = fs::symlink_metadata(&source.local)?;
            if !metadata.is_file() {
                return Err(io::ErrorKind::StaleNetworkFileHandle.into());
            }
            &mut slot.insert((piece.entry, File::open(&source.local)?)).1
        }
    };
    if Stamp::of(&file.metadata()?) != source.stamp {
        return Err(io::ErrorKind::StaleNetworkFileHandle.into());
    }
    let length = piece_len(source.stamp.size, piece.piece) as usize;
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(u64::from(piece.piece) * PIECE_LEN))?;
    file.read_exact(&mut bytes)?;
    if Stamp::of(&file.metadata()?) != source.stamp {
        return Err(io::ErrorKind::StaleNetworkFileHandle.into());
    }
    Ok(bytes)
}
