//! Files on the receiver's disk: checked, written piece by piece, and given
//! their final names when whole.
//!
//! Invariants: nothing appears under a final name before every piece of it was
//! verified; nothing that was there is overwritten; no link is followed below
//! the destination. Bytes are written once, into a hidden folder of the
//! destination, so that a renaming suffices in the end.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use passalong_proto::manifest::{EntryKind, Manifest};
use passalong_proto::placement::{numbered, resolve_collisions};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{FileHashes, PIECE_LEN, PieceHash, Root, piece_count, piece_len};
use passalong_proto::wire::PieceRef;
use tokio::sync::mpsc;

use crate::api::Problem;
use crate::source::Shelf;

/// How the hidden folder of unfinished files is named around the share's id.
pub(crate) const PARTIAL_PREFIX: &str = ".passalong-";
pub(crate) const PARTIAL_SUFFIX: &str = ".partial";
/// Tries for a free name before giving up.
const MAX_NUMBER: u32 = 9999;

/// What the disk is asked to do. Jobs are done in order.
#[derive(Debug)]
pub(crate) enum Job {
    /// Look what of a file of several pieces is here already.
    Resume { entry: u32, hashes: Arc<FileHashes> },
    /// Verify and write one piece.
    Store { piece: PieceRef, bytes: Bytes },
    /// The file will not come: drop what is here of it.
    Drop { entry: u32 },
    /// Everything is here: folder times, and away with the hidden folder.
    Finish,
    /// The person cancelled: away with everything unfinished.
    Discard,
}

/// What the disk did.
#[derive(Debug)]
pub(crate) enum Done {
    /// How far looking for files that are already here got.
    Checking { done: u64, total: u64 },
    /// These wanted files are already here, whole.
    Checked { present: HashSet<u32> },
    /// These pieces of a file are already here.
    Resumed { entry: u32, stored: Vec<u32> },
    /// The piece is verified and on disk.
    Stored { piece: PieceRef },
    /// The piece does not verify.
    Rejected { piece: PieceRef },
    /// A file has its final name.
    Whole { entry: u32, path: PathBuf },
    /// It cannot go on; what is here is kept.
    Failed(Problem),
    /// `Finish` is done. The shelf is there if every entry of the share is.
    Finished { shelf: Option<Shelf> },
    /// `Discard` is done.
    Discarded,
}

/// What to write, and where.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The folder that the person chose.
    pub(crate) root: PathBuf,
    /// The share's id, which names the hidden folder.
    pub(crate) id: String,
    pub(crate) manifest: Arc<Manifest>,
    /// Indexes of wanted entries, folders included.
    pub(crate) wanted: Vec<u32>,
}

/// Starts a thread that does the disk work of one transfer. It ends when the
/// sender of jobs is dropped.
pub(crate) fn start(
    plan: Plan,
    cancelled: Arc<AtomicBool>,
) -> io::Result<(std::sync::mpsc::Sender<Job>, mpsc::UnboundedReceiver<Done>)> {
    let (jobs, work) = std::sync::mpsc::channel();
    let (done, results) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("passalong-disk".to_owned())
        .spawn(move || {
            let mut sink = Sink::new(plan, done, cancelled);
            if let Err(problem) = sink.begin() {
                sink.tell(Done::Failed(problem));
                return;
            }
            for job in work {
                if let Err(problem) = sink.perform(job) {
                    sink.tell(Done::Failed(problem));
                    return;
                }
            }
        })?;
    Ok((jobs, results))
}

/// Bytes free where `dir` is, or would be.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    dir.ancestors()
        .find_map(|ancestor| fs4::available_space(ancestor).ok())
}

struct Unfinished {
    file: File,
    path: PathBuf,
    hashes: Arc<FileHashes>,
    stored: u32,
}

struct Sink {
    plan: Plan,
    partial: PathBuf,
    names: Vec<SafePath>,
    folders: HashMap<String, PathBuf>,
    unfinished: HashMap<u32, Unfinished>,
    whole: HashMap<u32, (PathBuf, Arc<[PieceHash]>)>,
    results: mpsc::UnboundedSender<Done>,
    cancelled: Arc<AtomicBool>,
}

impl Sink {
    fn new(plan: Plan, results: mpsc::UnboundedSender<Done>, cancelled: Arc<AtomicBool>) -> Self {
        let names = resolve_collisions(plan.manifest.entries());
        let partial = plan
            .root
            .join(format!("{PARTIAL_PREFIX}{}{PARTIAL_SUFFIX}", plan.id));
        Sink {
            plan,
            partial,
            names,
            folders: HashMap::new(),
            unfinished: HashMap::new(),
            whole: HashMap::new(),
            results,
            cancelled,
        }
    }

    /// Tells the transfer; if that is gone, the next job is not coming either.
    fn tell(&self, done: Done) {
        let _ = self.results.send(done);
    }

    fn problem(&self, path: &Path, error: &io::Error) -> Problem {
        Problem::disk(path, error)
    }

    fn begin(&mut self) -> Result<(), Problem> {
        let root = self.plan.root.clone();
        if !root.is_dir() {
            return Err(match fs::metadata(&root) {
                Ok(_) => self.problem(&root, &io::ErrorKind::NotADirectory.into()),
                Err(error) => self.problem(&root, &error),
            });
        }
        let present = self.check()?;
        self.check_room(&present)?;
        match fs::symlink_metadata(&self.partial) {
            Ok(metadata) if metadata.is_dir() => {}
            _ => fs::create_dir(&self.partial).map_err(|e| self.problem(&root, &e))?,
        }
        for index in self.plan.wanted.clone() {
            match self.kind(index) {
                Some(EntryKind::Folder { .. }) => {
                    let path = self.names[index as usize].clone();
                    self.folder(path.components())
                        .map_err(|e| self.problem(&root, &e))?;
                }
                Some(EntryKind::File { size: 0, .. }) if !present.contains(&index) => {
                    let path = self.partial_path(index);
                    let created = File::create(&path).map_err(|e| self.problem(&path, &e))?;
                    self.publish(index, created, &path, Arc::new([]))?;
                }
                _ => {}
            }
        }
        self.tell(Done::Checked { present });
        Ok(())
    }

    fn kind(&self, entry: u32) -> Option<EntryKind> {
        self.plan
            .manifest
            .entries()
            .get(entry as usize)
            .map(|entry| entry.kind.clone())
    }

    fn partial_path(&self, entry: u32) -> PathBuf {
        self.partial.join(format!("{entry}.part"))
    }

    /// Which wanted files are already under their final name, byte for byte.
    fn check(&mut self) -> Result<HashSet<u32>, Problem> {
        let mut candidates = Vec::new();
        let mut total = 0u64;
        for &index in &self.plan.wanted {
            let Some(EntryKind::File { size, root, .. }) = self.kind(index) else {
                continue;
            };
            let Some(path) = self.existing(&self.names[index as usize]) else {
                continue;
            };
            let same_size = fs::symlink_metadata(&path)
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size);
            if same_size {
                total += size;
                candidates.push((index, path, root));
            }
        }
        let mut present = HashSet::new();
        let mut done = 0u64;
        for (index, path, root) in candidates {
            let found = self.hash_existing(&path, &mut done, total);
            if let Some((found, hashes)) = found
                && found == root
            {
                self.whole.insert(index, (path, hashes));
                present.insert(index);
            }
            if self.cancelled.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(present)
    }

    fn hash_existing(
        &self,
        path: &Path,
        done: &mut u64,
        total: u64,
    ) -> Option<(Root, Arc<[PieceHash]>)> {
        let mut hasher = passalong_proto::tree::FileHasher::new();
        let mut buffer = vec![0; PIECE_LEN as usize];
        let mut file = File::open(path).ok()?;
        loop {
            let read = file.read(&mut buffer).ok()?;
            if read == 0 || self.cancelled.load(Ordering::Relaxed) {
                break;
            }
            hasher.update(&buffer[..read]);
            *done += read as u64;
            self.tell(Done::Checking { done: *done, total });
        }
        let hashes = hasher.finish();
        Some((hashes.root(), hashes.pieces().into()))
    }

    fn check_room(&self, present: &HashSet<u32>) -> Result<(), Problem> {
        let mut needed = 0u64;
        for index in self
            .plan
            .wanted
            .iter()
            .filter(|index| !present.contains(index))
        {
            if let Some(EntryKind::File { size, .. }) = self.kind(*index) {
                let held = fs::symlink_metadata(self.partial_path(*index)).map_or(0, |m| m.len());
                needed += size.saturating_sub(held);
            }
        }
        match free_bytes(&self.plan.root) {
            Some(free) if free < needed => Err(Problem::no_room(&self.plan.root, needed, free)),
            _ => Ok(()),
        }
    }

    fn perform(&mut self, job: Job) -> Result<(), Problem> {
        match job {
            Job::Resume { entry, hashes } => {
                let path = self.partial_path(entry);
                let stored = self
                    .resume(entry, &path, hashes)
                    .map_err(|e| self.problem(&path, &e))?;
                let complete = self
                    .unfinished
                    .get(&entry)
                    .is_some_and(Unfinished::is_complete);
                self.tell(Done::Resumed { entry, stored });
                if complete {
                    self.finish_file(entry)
                } else {
                    Ok(())
                }
            }
            Job::Store { piece, bytes } => self.store(piece, &bytes),
            Job::Drop { entry } => {
                self.unfinished.remove(&entry);
                // Absent if no piece of it ever came.
                let _ = fs::remove_file(self.partial_path(entry));
                Ok(())
            }
            Job::Finish => {
                self.folder_times();
                // Left alone if something unknown is in it.
                let _ = fs::remove_dir(&self.partial);
                let shelf = self.shelf();
                self.tell(Done::Finished { shelf });
                Ok(())
            }
            Job::Discard => {
                self.unfinished.clear();
                // Nothing but unfinished files is in there.
                let _ = fs::remove_dir_all(&self.partial);
                self.tell(Done::Discarded);
                Ok(())
            }
        }
    }

    fn resume(&mut self, entry: u32, path: &Path, hashes: Arc<FileHashes>) -> io::Result<Vec<u32>> {
        let mut file = open_partial(path)?;
        let held = file.metadata()?.len().min(hashes.size());
        let mut stored = Vec::new();
        if held > 0 {
            let mut buffer = vec![0; PIECE_LEN as usize];
            for index in 0..piece_count(hashes.size()) {
                let bytes = &mut buffer[..piece_len(hashes.size(), index) as usize];
                if u64::from(index) * PIECE_LEN + bytes.len() as u64 > held {
                    break;
                }
                file.read_exact(bytes)?;
                if hashes.verify_piece(index, bytes) {
                    stored.push(index);
                }
                if self.cancelled.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        let unfinished = Unfinished {
            file,
            path: path.to_owned(),
            hashes,
            stored: stored.len() as u32,
        };
        self.unfinished.insert(entry, unfinished);
        Ok(stored)
    }

    fn store(&mut self, piece: PieceRef, bytes: &[u8]) -> Result<(), Problem> {
        let path = self.partial_path(piece.entry);
        if !self.unfinished.contains_key(&piece.entry) {
            // A file of one piece needs no hashes but its root.
            let Some(EntryKind::File { size, root, .. }) = self.kind(piece.entry) else {
                return Ok(());
            };
            let Some(hashes) = FileHashes::single(root, size) else {
                return Ok(());
            };
            if !hashes.verify_piece(piece.piece, bytes) {
                self.tell(Done::Rejected { piece });
                return Ok(());
            }
            let file = open_partial(&path).map_err(|e| self.problem(&path, &e))?;
            let hashes = Arc::new(hashes);
            let unfinished = Unfinished {
                file,
                path: path.clone(),
                hashes,
                stored: 0,
            };
            self.unfinished.insert(piece.entry, unfinished);
        } else if let Some(unfinished) = self.unfinished.get(&piece.entry)
            && !unfinished.hashes.verify_piece(piece.piece, bytes)
        {
            self.tell(Done::Rejected { piece });
            return Ok(());
        }
        let Some(unfinished) = self.unfinished.get_mut(&piece.entry) else {
            return Ok(());
        };
        let written = unfinished
            .file
            .seek(SeekFrom::Start(u64::from(piece.piece) * PIECE_LEN))
            .and_then(|_| unfinished.file.write_all(bytes));
        if let Err(error) = written {
            return Err(Problem::disk(&self.plan.root, &error));
        }
        unfinished.stored += 1;
        let complete = unfinished.is_complete();
        if complete {
            self.finish_file(piece.entry)?;
        }
        self.tell(Done::Stored { piece });
        Ok(())
    }

    fn finish_file(&mut self, entry: u32) -> Result<(), Problem> {
        let Some(Unfinished {
            file, path, hashes, ..
        }) = self.unfinished.remove(&entry)
        else {
            return Ok(());
        };
        file.set_len(hashes.size())
            .map_err(|e| self.problem(&path, &e))?;
        self.publish(entry, file, &path, hashes.pieces().into())
    }

    /// Gives a whole file its time and its final name.
    fn publish(
        &mut self,
        entry: u32,
        file: File,
        partial: &Path,
        hashes: Arc<[PieceHash]>,
    ) -> Result<(), Problem> {
        if let Some(EntryKind::File {
            modified: Some(modified),
            ..
        }) = self.kind(entry)
        {
            // A time that the file system cannot hold is not worth a failure.
            let _ = file.set_modified(system_time(modified));
        }
        drop(file);
        let name = self.names[entry as usize].clone();
        let components: Vec<&str> = name.components().collect();
        let (file_name, parents) = match components.split_last() {
            Some((last, parents)) => (*last, parents),
            None => return Ok(()),
        };
        let folder = self
            .folder(parents.iter().copied())
            .map_err(|e| Problem::disk(&self.plan.root, &e))?;
        let path = rename_new(partial, &folder, file_name)
            .map_err(|e| Problem::disk(&folder.join(file_name), &e))?;
        self.whole.insert(entry, (path.clone(), hashes));
        self.tell(Done::Whole { entry, path });
        Ok(())
    }

    /// The folder of these components below the destination, made if need be.
    /// What is in its way (a file, a link) is walked around by another name.
    fn folder<'c>(&mut self, components: impl Iterator<Item = &'c str>) -> io::Result<PathBuf> {
        let mut path = self.plan.root.clone();
        let mut key = String::new();
        for component in components {
            key.push('/');
            key.push_str(component);
            if let Some(known) = self.folders.get(&key) {
                path.clone_from(known);
                continue;
            }
            path = (0..=MAX_NUMBER)
                .find_map(|number| {
                    let name = if number == 0 {
                        component.to_owned()
                    } else {
                        numbered(component, number)
                    };
                    let candidate = path.join(name);
                    match fs::symlink_metadata(&candidate) {
                        Ok(metadata) if metadata.is_dir() => Some(Ok(candidate)),
                        Ok(_) => None,
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {
                            Some(fs::create_dir(&candidate).map(|()| candidate))
                        }
                        Err(error) => Some(Err(error)),
                    }
                })
                .unwrap_or_else(|| Err(io::ErrorKind::AlreadyExists.into()))?;
            self.folders.insert(key.clone(), path.clone());
        }
        Ok(path)
    }

    /// Where an entry would be if it were here, without following links.
    fn existing(&self, name: &SafePath) -> Option<PathBuf> {
        let mut path = self.plan.root.clone();
        let mut components = name.components().peekable();
        while let Some(component) = components.next() {
            path.push(component);
            let metadata = fs::symlink_metadata(&path).ok()?;
            if components.peek().is_some() && !metadata.is_dir() {
                return None;
            }
        }
        Some(path)
    }

    fn folder_times(&self) {
        // Children before parents: writing into a folder changes its time.
        let mut folders: Vec<(&SafePath, i64)> = Vec::new();
        for &index in &self.plan.wanted {
            let entry = &self.plan.manifest.entries()[index as usize];
            if let EntryKind::Folder {
                modified: Some(modified),
            } = entry.kind
            {
                folders.push((&self.names[index as usize], modified));
            }
        }
        folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        for (path, modified) in folders {
            let key: String = path.components().flat_map(|c| ["/", c]).collect();
            if let Some(folder) = self.folders.get(&key) {
                // Not every system lets a folder be opened to set its time.
                let _ = File::open(folder).and_then(|f| f.set_modified(system_time(modified)));
            }
        }
    }

    /// What can be passed on: everything, if everything is here.
    fn shelf(&self) -> Option<Shelf> {
        let mut files = Vec::with_capacity(self.names.len());
        for (index, entry) in self.plan.manifest.entries().iter().enumerate() {
            match entry.kind {
                EntryKind::File { .. } => files.push(self.whole.get(&(index as u32))?.clone()),
                EntryKind::Folder { .. } => files.push((self.plan.root.clone(), Arc::new([]) as _)),
            }
        }
        Shelf::of_received(files).ok()
    }
}

impl Unfinished {
    fn is_complete(&self) -> bool {
        self.stored == piece_count(self.hashes.size())
    }
}

/// Opens or creates an unfinished file; a link in its place is removed first.
fn open_partial(path: &Path) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        fs::remove_file(path)?;
    }
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

/// Renames `from` into `folder` under a name that nothing has yet.
fn rename_new(from: &Path, folder: &Path, name: &str) -> io::Result<PathBuf> {
    for number in 0..=MAX_NUMBER {
        let name = if number == 0 {
            name.to_owned()
        } else {
            numbered(name, number)
        };
        let to = folder.join(name);
        if fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        // A hard link is refused if the name was taken meanwhile; a rename
        // would overwrite. File systems without hard links get the rename.
        match fs::hard_link(from, &to) {
            Ok(()) => {
                fs::remove_file(from)?;
                return Ok(to);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => {
                fs::rename(from, &to)?;
                return Ok(to);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn system_time(unix_millis: i64) -> SystemTime {
    let distance = Duration::from_millis(unix_millis.unsigned_abs());
    let time = if unix_millis >= 0 {
        UNIX_EPOCH.checked_add(distance)
    } else {
        UNIX_EPOCH.checked_sub(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}
