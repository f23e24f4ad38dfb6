//! Hashing what was found, on every core. What was hashed before and has the
//! size and time it had then is not read again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use passalong_proto::manifest::{Entry, EntryKind};
use passalong_proto::tree::{
    PIECE_LEN, PieceHash, Root, piece_count, piece_hash, piece_len, root_of, single_piece_root,
};

use super::finding::{Findings, Found, Skipped, unreadable};
use super::{Place, Shelf, Stamp};

/// Pieces that one worker hashes in a row.
const RUN: u32 = 16;

/// A file as it was hashed: what a record of it keeps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hashed {
    /// Its place in the manifest.
    pub(crate) entry: u32,
    pub(crate) path: PathBuf,
    /// Size and time that it had.
    pub(crate) stamp: Stamp,
    pub(crate) root: Root,
    /// Its piece hashes; none for a file of one piece or none.
    pub(crate) hashes: Arc<[PieceHash]>,
}

/// What can be offered.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) entries: Vec<Entry>,
    /// The files of `entries`.
    pub(crate) shelf: Shelf,
    pub(crate) skipped: Skipped,
    /// What to remember, so that the next time is quick.
    pub(crate) hashed: Vec<Hashed>,
}

/// How far hashing is; read by whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct HashProgress {
    /// Bytes hashed.
    pub(crate) done: AtomicU64,
    /// Set to stop early.
    pub(crate) cancelled: AtomicBool,
}

/// Hashes everything found. Blocking. Files that cannot be read or change
/// meanwhile are left out and listed. `recorded` is what earlier hashing gave:
/// files that are as they were then are taken from it.
pub(crate) fn hash(mut found: Findings, recorded: Vec<Hashed>, progress: &HashProgress) -> Offered {
    let recorded: HashMap<&Path, &Hashed> = recorded
        .iter()
        .map(|hashed| (hashed.path.as_path(), hashed))
        .collect();
    let known: Vec<Option<(Root, Arc<[PieceHash]>)>> = found
        .entries
        .iter()
        .map(|item| {
            let hashed = recorded.get(item.local.as_path())?;
            let same = !item.folder && hashed.stamp.still(item.stamp);
            same.then(|| (hashed.root, Arc::clone(&hashed.hashes)))
        })
        .collect();
    let mut jobs = Vec::new();
    for (entry, item) in found.entries.iter().enumerate() {
        if item.folder {
            continue;
        }
        if known[entry].is_some() {
            progress
                .done
                .fetch_add(item.stamp.size(), Ordering::Relaxed);
            continue;
        }
        let pieces = piece_count(item.stamp.size()).max(1);
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
    let mut results = work(&found.entries, &jobs, progress).into_iter().peekable();

    let mut entries = Vec::with_capacity(found.entries.len());
    let mut hashed = Vec::new();
    for ((index, item), known) in found.entries.into_iter().enumerate().zip(known) {
        let modified = item.stamp.millis();
        if item.folder {
            entries.push(Entry {
                path: item.path,
                kind: EntryKind::Folder { modified },
            });
            continue;
        }
        let mut parts = Vec::new();
        while let Some(done) = results.next_if(|done| done.entry == index) {
            parts.push(done.run);
        }
        let hashes = match known {
            Some(hashes) => Ok(hashes),
            None => file_hashes(&item, parts),
        };
        let (root, hashes) = match hashes {
            Ok(hashes) => hashes,
            Err(reason) => {
                found.skipped.add(item.path.to_string(), reason);
                continue;
            }
        };
        hashed.push(Hashed {
            entry: entries.len() as u32,
            path: item.local,
            stamp: item.stamp,
            root,
            hashes,
        });
        entries.push(Entry {
            path: item.path,
            kind: EntryKind::File {
                size: item.stamp.size(),
                root,
                modified,
            },
        });
    }
    let shelf = Shelf::empty(entries.len());
    for file in &hashed {
        let place = Place {
            path: file.path.clone(),
            size: file.stamp.size(),
            stamp: Some(file.stamp),
            hashes: Arc::clone(&file.hashes),
        };
        shelf.put(file.entry, place);
    }
    Offered {
        entries,
        shelf,
        skipped: found.skipped,
        hashed,
    }
}

/// Pieces of one file that a worker takes on at a time.
struct Job {
    entry: usize,
    first: u32,
    pieces: u32,
}

struct JobDone {
    entry: usize,
    first: u32,
    run: Result<Run, &'static str>,
}

/// Does the jobs on every core; what comes back is in the order of the files
/// and their pieces.
fn work(found: &[Found], jobs: &[Job], progress: &HashProgress) -> Vec<JobDone> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers.min(jobs.len()) {
            scope.spawn(|| {
                let mut buffer = vec![0; PIECE_LEN as usize];
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if progress.cancelled.load(Ordering::Relaxed) {
                        return;
                    }
                    let item = &found[job.entry];
                    let run = hash_run(item, job.first, job.pieces, &mut buffer, progress);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(JobDone {
                            entry: job.entry,
                            first: job.first,
                            run,
                        });
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|done| (done.entry, done.first));
    done
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
    let size = item.stamp.size();
    let mut read = || -> io::Result<Run> {
        let mut file = File::open(&item.local)?;
        if Stamp::of(&file.metadata()?) != item.stamp {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        file.seek(SeekFrom::Start(u64::from(first) * PIECE_LEN))?;
        let mut whole = None;
        let mut hashes = Vec::with_capacity(pieces as usize);
        for index in first..first + pieces {
            let bytes = &mut buffer[..piece_len(size, index) as usize];
            file.read_exact(bytes)?;
            if size <= PIECE_LEN {
                whole = Some(single_piece_root(bytes));
            } else {
                hashes.push(piece_hash(index, bytes));
            }
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
        Ok(whole.map_or(Run::Pieces(hashes), Run::Whole))
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
    let root = root_of(item.stamp.size(), &hashes).ok_or("it cannot be read")?;
    Ok((root, hashes.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use passalong_proto::wire::PieceRef;

    use super::*;
    use crate::source::{Reader, find};

    /// Offers a folder with what was recorded of it.
    fn offer(dir: &Path, recorded: Vec<Hashed>) -> (Offered, u64) {
        let progress = HashProgress::default();
        let found = find(&[dir.to_owned()], &progress.cancelled).unwrap();
        let offered = hash(found, recorded, &progress);
        (offered, progress.done.into_inner())
    }

    fn roots(offered: &Offered) -> Vec<Root> {
        let hashed = offered.hashed.iter();
        hashed.map(|hashed| hashed.root).collect()
    }

    fn set_modified(path: &Path, time: std::time::SystemTime) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }

    #[test]
    fn files_that_are_as_recorded_are_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (large, small) = (dir.path().join("large"), dir.path().join("small"));
        fs::write(&large, vec![1; 3 * PIECE_LEN as usize + 7]).unwrap();
        fs::write(&small, b"small").unwrap();
        let (first, _) = offer(dir.path(), Vec::new());
        for (path, bytes) in [
            (&large, vec![2; 3 * PIECE_LEN as usize + 7]),
            (&small, b"other".to_vec()),
        ] {
            let modified = fs::metadata(path).unwrap().modified().unwrap();
            fs::write(path, bytes).unwrap();
            set_modified(path, modified);
        }
        let (second, done) = offer(dir.path(), first.hashed.clone());
        assert_eq!(second.hashed, first.hashed);
        assert_eq!(second.entries, first.entries);
        assert_eq!(done, 3 * PIECE_LEN + 7 + 5);
        assert_eq!(second.shelf.hashes(1).unwrap().len(), 4);
        // Without the record, what lies there now is hashed.
        let (fresh, _) = offer(dir.path(), Vec::new());
        assert_eq!(fresh.hashed.len(), 2);
        assert!(
            roots(&fresh)
                .iter()
                .all(|root| !roots(&first).contains(root))
        );
    }

    #[test]
    fn a_file_that_changed_since_it_was_recorded_is_hashed_again() {
        let dir = tempfile::tempdir().unwrap();
        let (changed, kept) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&changed, b"before").unwrap();
        fs::write(&kept, b"stays").unwrap();
        let (first, _) = offer(dir.path(), Vec::new());
        fs::write(&changed, b"after!").unwrap();
        set_modified(&changed, std::time::SystemTime::UNIX_EPOCH);
        let (second, _) = offer(dir.path(), first.hashed.clone());
        assert_eq!(roots(&second)[0], single_piece_root(b"after!"));
        assert_eq!(second.hashed[1], first.hashed[1]);
        let piece = PieceRef { entry: 1, piece: 0 };
        let read = second.shelf.read(&mut Reader::default(), piece);
        assert_eq!(read.unwrap(), b"after!");
    }

    #[test]
    fn records_follow_the_path_and_not_the_place_in_the_list() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), b"second").unwrap();
        let (first, _) = offer(dir.path(), Vec::new());
        fs::write(dir.path().join("a"), b"a first").unwrap();
        let (second, _) = offer(dir.path(), first.hashed);
        assert_eq!(
            roots(&second),
            [single_piece_root(b"a first"), single_piece_root(b"second")]
        );
        let entries: Vec<u32> = second.hashed.iter().map(|hashed| hashed.entry).collect();
        assert_eq!(entries, [1, 2]);
    }
}
