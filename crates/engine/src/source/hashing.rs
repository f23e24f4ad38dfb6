//! Hashing what was found, on every core, in the order of the share. What was hashed
//! before and has the size and time it had then is not read again.
//!
//! Invariant: hashes of a run of pieces count only if the file had the same size and time
//! before and after the run was read. What is made of them is `tally`'s business.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use passalong_proto::manifest::Entry;
use passalong_proto::tree::{
    PIECE_LEN, PieceHash, Root, piece_count, piece_hash, piece_len, single_piece_root,
};

use super::finding::{Findings, Found, Skipped, unreadable};
use super::tally::Tally;
use super::{Shelf, Stamp};

/// Pieces that one worker hashes in a row: few, so that they become known in order.
const RUN: u32 = 8;
/// A worker that is ahead of its pace looks this often whether it is still wanted.
const NAP: Duration = Duration::from_millis(20);

/// A file as it was hashed: what a record of it keeps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hashed {
    /// Its place in the manifest.
    pub(crate) entry: u32,
    pub(crate) path: Arc<Path>,
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
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) skipped: Skipped,
    /// What to remember, so that the next time is quick, but for what was told of
    /// as it was hashed.
    pub(crate) hashed: Vec<Hashed>,
}

/// What is told while hashing goes on.
#[derive(Debug)]
pub(crate) enum News {
    /// It takes more than a moment. This is what there is; the paths, sizes and times of
    /// the entries stay, and the shelf is filled on.
    Opening(Offered),
    /// The hashes of the pieces from number `first` on, through the opening's entries; of
    /// files of one piece their roots. No more than fit into a message.
    Pieces { first: u32, hashes: Vec<PieceHash> },
    /// These files were hashed.
    Files(Vec<Hashed>),
}

/// How far hashing is; read by whoever shows it.
#[derive(Debug)]
pub(crate) struct HashProgress {
    /// Bytes hashed.
    pub(crate) done: AtomicU64,
    /// Set to stop early.
    pub(crate) cancelled: AtomicBool,
    /// Bytes a second that are read at most, and when more may be read.
    pace: Option<(u64, Mutex<Instant>)>,
}

impl HashProgress {
    /// Nothing is done yet; at most `rate` bytes are read in a second, if given.
    pub(crate) fn new(rate: Option<u64>) -> HashProgress {
        HashProgress {
            done: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
            pace: rate.map(|rate| (rate.max(1), Mutex::new(Instant::now()))),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// So much was read and hashed. Waits if that was faster than it should be.
    fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        let Some((rate, free)) = &self.pace else {
            return;
        };
        let due = {
            let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
            let takes = Duration::from_secs_f64(bytes as f64 / *rate as f64);
            *free = Instant::now().max(*free) + takes;
            *free
        };
        while !self.is_cancelled() && Instant::now() < due {
            std::thread::sleep(due.saturating_duration_since(Instant::now()).min(NAP));
        }
    }
}

/// Hashes everything found. Blocking. Files that cannot be read or change meanwhile are
/// left out and listed, unless they were told of: those are lost.
/// `recorded` is what earlier hashing gave: files that are as they were then are taken
/// from it.
///
/// # Errors
///
/// The first one of `tell`.
pub(crate) fn hash<E>(
    found: Findings,
    recorded: Vec<Hashed>,
    progress: &HashProgress,
    mut tell: impl FnMut(News) -> Result<(), E>,
) -> Result<Offered, E> {
    let Findings {
        entries, skipped, ..
    } = found;
    let found: Arc<[Found]> = entries.into();
    let mut tally = Tally::new(Arc::clone(&found), recorded, skipped);
    progress
        .done
        .fetch_add(tally.known_bytes(), Ordering::Relaxed);
    let unknown: Vec<usize> = tally.unknown().collect();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let jobs = unknown.into_iter().flat_map(|item| jobs(item, &found));
    let (jobs, unwanted) = (Mutex::new(jobs), AtomicBool::new(false));
    let told = std::thread::scope(|scope| {
        let (sender, done) = mpsc::channel();
        for _ in 0..workers {
            let sender = sender.clone();
            let (jobs, found, unwanted) = (&jobs, &found, &unwanted);
            let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
            scope.spawn(move || {
                let mut buffer = vec![0; PIECE_LEN as usize];
                while let Some(job) = next() {
                    if progress.is_cancelled() || unwanted.load(Ordering::Relaxed) {
                        return;
                    }
                    let run = hash_run(&found[job.item], &job, &mut buffer, progress);
                    if sender.send((job.item, job.first, run)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let told = tally.follow(&done, &mut tell);
        unwanted.store(told.is_err(), Ordering::Relaxed);
        told
    });
    told?;
    Ok(tally.offered())
}

/// Pieces of one file that a worker takes on at a time.
struct Job {
    item: usize,
    first: u32,
    pieces: u32,
}

fn jobs(item: usize, found: &[Found]) -> impl Iterator<Item = Job> {
    // An empty file is read as well: it may have grown.
    let pieces = piece_count(found[item].stamp.size()).max(1);
    (0..pieces).step_by(RUN as usize).map(move |first| Job {
        item,
        first,
        pieces: RUN.min(pieces - first),
    })
}

/// Hashes of a run of pieces, of a file of one piece or none its root; or why there are
/// none.
pub(super) type Run = Result<Vec<PieceHash>, &'static str>;

fn hash_run(found: &Found, job: &Job, buffer: &mut [u8], progress: &HashProgress) -> Run {
    let size = found.stamp.size();
    let mut read = || -> io::Result<Vec<PieceHash>> {
        let mut file = File::open(&found.local)?;
        if Stamp::of(&file.metadata()?) != found.stamp {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        file.seek(SeekFrom::Start(u64::from(job.first) * PIECE_LEN))?;
        let mut hashes = Vec::with_capacity(job.pieces as usize);
        for index in job.first..job.first + job.pieces {
            let bytes = &mut buffer[..piece_len(size, index) as usize];
            file.read_exact(bytes)?;
            hashes.push(match size <= PIECE_LEN {
                true => PieceHash(single_piece_root(bytes).0),
                false => piece_hash(index, bytes),
            });
            progress.add(bytes.len() as u64);
            if progress.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        if Stamp::of(&file.metadata()?) != found.stamp {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        Ok(hashes)
    };
    read().map_err(|error| match error.kind() {
        io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::UnexpectedEof => {
            "it was being changed while it was read"
        }
        _ => unreadable(&error),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use passalong_proto::manifest::Content;
    use passalong_proto::wire::PieceRef;

    use super::*;
    use crate::source::{Reader, find};

    /// Offers a folder with what was recorded of it.
    fn offer(dir: &Path, recorded: Vec<Hashed>) -> (Offered, u64) {
        let progress = HashProgress::new(None);
        let found = find(&[dir.to_owned()], &progress.cancelled).unwrap();
        let offered = hash(found, recorded, &progress, |_| Ok::<(), ()>(()));
        (offered.unwrap(), progress.done.into_inner())
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

    const PIECE: usize = PIECE_LEN as usize;

    /// Hashes a folder with two files of two pieces, slowly; `opened` happens once it was
    /// told what there is.
    fn offer_slowly(dir: &Path, opened: impl Fn()) -> (Vec<News>, Offered) {
        for (name, byte) in [("a", 1), ("b", 2)] {
            fs::write(dir.join(name), vec![byte; PIECE + 7]).unwrap();
        }
        let progress = HashProgress::new(Some(2 * PIECE_LEN));
        let found = find(&[dir.to_owned()], &progress.cancelled).unwrap();
        let mut told = Vec::new();
        let offered = hash(found, Vec::new(), &progress, |news| {
            if matches!(news, News::Opening(_)) {
                opened();
            }
            told.push(news);
            Ok::<(), ()>(())
        });
        (told, offered.unwrap())
    }

    /// The files that were told of as they were hashed.
    fn files(told: &[News]) -> impl Iterator<Item = &Hashed> {
        let files = told.iter().map(|news| match news {
            News::Files(files) => files.as_slice(),
            News::Opening(_) | News::Pieces { .. } => &[],
        });
        files.flatten()
    }

    fn contents(entries: &[Entry]) -> Vec<Option<Content>> {
        entries.iter().map(Entry::content).collect()
    }

    #[test]
    fn what_takes_long_is_told_before_it_is_hashed_and_then_piece_by_piece() {
        let dir = tempfile::tempdir().unwrap();
        let (told, offered) = offer_slowly(dir.path(), || {});
        let Some(News::Opening(opening)) = told.first() else {
            panic!("nothing was told first")
        };
        let hashing = Some(Content::Hashing);
        assert_eq!(contents(&opening.entries), [None, hashing, hashing]);
        assert!(opening.hashed.is_empty() && offered.hashed.is_empty());
        let mut hashes = Vec::new();
        for news in &told {
            if let News::Pieces {
                first,
                hashes: more,
            } = news
            {
                assert_eq!(*first as usize, hashes.len());
                hashes.extend(more.iter().copied());
            }
        }
        let mut files: Vec<_> = files(&told).collect();
        files.sort_by_key(|file| file.entry);
        let hashed = files.iter().flat_map(|file| file.hashes.iter().copied());
        assert_eq!(hashes, hashed.collect::<Vec<_>>());
        assert_eq!(hashes.len(), 4);
        let hashed = files.iter().map(|file| Some(Content::Hashed(file.root)));
        let hashed: Vec<_> = hashed.collect();
        assert_eq!(contents(&offered.entries)[1..], hashed);
        // The shelf that was told of is the one that is filled.
        assert_eq!(opening.shelf.hashes(2).unwrap().len(), 2);
    }

    #[test]
    fn a_file_that_changes_after_it_was_told_of_is_lost_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let changing = dir.path().join("a");
        let (told, offered) = offer_slowly(dir.path(), || {
            fs::write(&changing, b"shorter").unwrap();
        });
        let contents = contents(&offered.entries);
        assert_eq!(contents[1], Some(Content::Lost));
        let kept: Vec<_> = files(&told).collect();
        assert_eq!(kept.iter().map(|file| file.entry).collect::<Vec<_>>(), [2]);
        assert_eq!(contents[2], Some(Content::Hashed(kept[0].root)));
        assert_eq!(
            offered.skipped.named[0].path,
            format!("{}/a", offered.entries[0].path)
        );
        // The numbers of the other file's pieces stay what they were.
        let last = told.iter().filter_map(|news| match news {
            News::Pieces { first, hashes } => Some(*first as usize + hashes.len()),
            _ => None,
        });
        assert_eq!(last.max(), Some(4));
        let piece = PieceRef { entry: 1, piece: 0 };
        assert!(offered.shelf.read(&mut Reader::default(), piece).is_err());
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
