//! Sinks over real folders: each test hands pieces over and looks at what is
//! told, what lies where, and what a second sink makes of it.

#![allow(clippy::unwrap_used)]

mod already_here;
mod kept_pieces;
mod passed_on;
mod signed_pieces;
mod surprises;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use passalong_proto::manifest::{Content, Entry, EntryKind, Manifest};
use passalong_proto::pieces::PieceMap;
use passalong_proto::safe_path::SafePath;
use passalong_proto::signed_hashes::HashLog;
use passalong_proto::tree::{FileHasher, FileHashes, PIECE_LEN};
use passalong_proto::wire::PieceRef;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

use super::shelving::shelve;
use super::{Done, Job, Plan, Resumed, start};
use crate::api::Problem;
use crate::source::Shelf;
use crate::store::{Store, StoredFile};

/// The share's id.
const ID: &str = "0123456789abcdef";
/// When every file was modified, by the manifest.
const MODIFIED: i64 = 1_600_000_000_000;

/// Bytes that look like nothing else: `seed` tells files apart.
fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut reader = blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof();
    let mut bytes = vec![0; len];
    reader.fill(&mut bytes);
    bytes
}

/// Bytes of so many pieces and a half.
fn pieces_and_a_half(seed: u8, pieces: usize) -> Vec<u8> {
    noise(seed, pieces * PIECE_LEN as usize + PIECE_LEN as usize / 2)
}

fn hashes(bytes: &[u8]) -> Arc<FileHashes> {
    let mut hasher = FileHasher::new();
    hasher.update(bytes);
    Arc::new(hasher.finish())
}

/// A share to be received, a folder to receive it in, and records.
struct Desk {
    home: TempDir,
    root: PathBuf,
    store: Arc<Store>,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Desk {
    fn new(files: &[(&'static str, Vec<u8>)]) -> Desk {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("Downloads");
        fs::create_dir(&root).unwrap();
        let (store, told) = Store::open(&home.path().join("data")).unwrap();
        assert_eq!(told, None);
        Desk {
            root,
            store: Arc::new(store),
            files: files.to_owned(),
            home,
        }
    }

    fn manifest(&self) -> Arc<Manifest> {
        let entry = |(path, bytes): &(&str, Vec<u8>)| Entry {
            path: SafePath::parse(path).unwrap(),
            kind: EntryKind::File {
                size: bytes.len() as u64,
                content: Content::Hashed(hashes(bytes).root()),
                modified: Some(MODIFIED),
            },
        };
        Arc::new(Manifest::new("Set", self.files.iter().map(entry).collect()).unwrap())
    }

    /// A plan for all files.
    fn plan(&self) -> Plan {
        let manifest = self.manifest();
        Plan {
            root: self.root.clone(),
            id: ID.to_owned(),
            wanted: (0..manifest.entries().len() as u32).collect(),
            shelf: Arc::new(Shelf::empty(manifest.entries().len())),
            pieces: Arc::new(PieceMap::of(&manifest).unwrap()),
            signed: HashLog::default(),
            manifest,
            store: Arc::clone(&self.store),
        }
    }

    /// Starts a sink for all files.
    fn start(&self) -> Running<'_> {
        self.start_with(self.plan())
    }

    fn start_with(&self, plan: Plan) -> Running<'_> {
        let shelf = Arc::clone(&plan.shelf);
        let cancelled = Arc::new(AtomicBool::new(false));
        let (jobs, results) = start(plan, Arc::clone(&cancelled)).unwrap();
        Running {
            desk: self,
            jobs,
            results,
            shelf,
            cancelled,
        }
    }

    /// Receives these pieces of the files, and stops there.
    fn receive(&self, pieces: &[(u32, u32)]) {
        let mut running = self.start();
        running.checked();
        running.receive(pieces);
        running.close();
    }

    fn here(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.here(path)).unwrap()
    }

    fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.here(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn partial(&self, entry: u32) -> PathBuf {
        self.root
            .join(format!(".passalong-{ID}.partial/{entry}.part"))
    }

    fn rows(&self) -> Vec<StoredFile> {
        self.store.files(ID).unwrap()
    }

    /// The names that a person sees in the destination.
    fn visible(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.root)
            .unwrap()
            .map(|child| child.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort_unstable();
        names
    }
}

/// A sink at work.
struct Running<'d> {
    desk: &'d Desk,
    jobs: std::sync::mpsc::Sender<Job>,
    results: UnboundedReceiver<Done>,
    shelf: Arc<Shelf>,
    cancelled: Arc<AtomicBool>,
}

/// What was found at the beginning.
struct Checked {
    present: HashSet<u32>,
    resumed: Vec<Resumed>,
    copied: u32,
}

impl Checked {
    /// The pieces of a file that are here.
    fn pieces(&self, entry: u32) -> &[u32] {
        let resumed = self.resumed.iter().find(|resumed| resumed.entry == entry);
        resumed.map_or(&[], |resumed| &resumed.pieces)
    }

    fn present(&self) -> Vec<u32> {
        let mut present: Vec<u32> = self.present.iter().copied().collect();
        present.sort_unstable();
        present
    }
}

impl Running<'_> {
    fn checked(&mut self) -> Checked {
        loop {
            match self.results.blocking_recv().unwrap() {
                Done::Checking { .. } | Done::Whole { .. } => {}
                Done::Checked {
                    present,
                    resumed,
                    copied,
                } => {
                    return Checked {
                        present,
                        resumed,
                        copied,
                    };
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Tells the hashes of a file; gives back the pieces that are here.
    fn resume(&mut self, entry: u32) -> Vec<u32> {
        let hashes = hashes(&self.desk.files[entry as usize].1);
        self.jobs.send(Job::Resume { entry, hashes }).unwrap();
        match self.results.blocking_recv().unwrap() {
            Done::Resumed {
                entry: same,
                stored,
            } if same == entry => stored,
            other => panic!("{other:?}"),
        }
    }

    fn send(&self, entry: u32, piece: u32) {
        let bytes = &self.desk.files[entry as usize].1;
        let from = piece as usize * PIECE_LEN as usize;
        let to = bytes.len().min(from + PIECE_LEN as usize);
        let bytes = Bytes::copy_from_slice(&bytes[from..to]);
        let piece = PieceRef { entry, piece };
        self.jobs.send(Job::Store { piece, bytes }).unwrap();
    }

    /// Hands pieces over and waits until they are stored; gives back the files
    /// that got their final names.
    fn receive(&mut self, pieces: &[(u32, u32)]) -> Vec<PathBuf> {
        let entries: HashSet<u32> = pieces.iter().map(|(entry, _)| *entry).collect();
        for entry in entries {
            if hashes(&self.desk.files[entry as usize].1).pieces().len() > 1 {
                self.resume(entry);
            }
        }
        let mut whole = Vec::new();
        for &(entry, piece) in pieces {
            self.send(entry, piece);
            loop {
                match self.results.blocking_recv().unwrap() {
                    Done::Stored { .. } => break,
                    Done::Whole { path, .. } => whole.push(path.to_path_buf()),
                    other => panic!("{other:?}"),
                }
            }
        }
        whole
    }

    /// Receives whatever is not here of a file.
    fn complete(&mut self, entry: u32) -> Vec<PathBuf> {
        let held = self.resume(entry);
        let pieces = hashes(&self.desk.files[entry as usize].1).pieces().len() as u32;
        let missing: Vec<(u32, u32)> = (0..pieces)
            .filter(|piece| !held.contains(piece))
            .map(|piece| (entry, piece))
            .collect();
        self.receive(&missing)
    }

    fn failed(&mut self) -> Problem {
        loop {
            match self.results.blocking_recv().unwrap() {
                Done::Failed(problem) => return problem,
                Done::Checking { .. } => {}
                other => panic!("it did not fail: {other:?}"),
            }
        }
    }

    /// Tells the sink that everything is here; says whether all of the share is.
    fn finish(&mut self) -> bool {
        self.jobs.send(Job::Finish).unwrap();
        match self.results.blocking_recv().unwrap() {
            Done::Finished { all } => all,
            other => panic!("{other:?}"),
        }
    }

    fn discard(mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.jobs.send(Job::Discard).unwrap();
        drop(self.jobs);
        while self.results.blocking_recv().is_some() {}
    }

    /// Ends the sink and waits until it is over.
    fn close(self) {
        let Running {
            jobs, mut results, ..
        } = self;
        drop(jobs);
        while results.blocking_recv().is_some() {}
    }
}

/// Changes a file without changing its size or time.
fn change_behind_the_stamp(path: &Path, at: usize) {
    change_and_stamp(path, at, Duration::ZERO);
}

/// Changes a byte of a file, so that its time changes as well, whatever the
/// resolution of the system's clock.
fn change(path: &Path, at: usize) {
    change_and_stamp(path, at, Duration::from_millis(5));
}

/// Changes a byte of a file, and its time by so much.
fn change_and_stamp(path: &Path, at: usize, later: Duration) {
    let earlier = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(earlier + later).unwrap();
}
