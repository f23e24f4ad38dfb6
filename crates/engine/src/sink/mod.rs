//! Files on the receiver's disk: looked for, verified, written piece by piece,
//! and given their final names when whole.
//!
//! Invariants: nothing appears under a final name before every piece of it was
//! verified; nothing that was there is overwritten; no link is followed below
//! the destination. What is verified is written down within a second, and a
//! record is believed only while the file looks as it did then. Bytes are
//! written once, into a hidden folder of the destination, so that a renaming
//! suffices in the end. What is fetched, and from whom, is not known here.

mod alike;
mod beginning;
mod handles;
mod held;
mod placing;
mod proof;
mod record;
mod shelving;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;

use bytes::Bytes;
use passalong_proto::fetch::Resumed;
use passalong_proto::manifest::{Content, Manifest};
use passalong_proto::pieces::PieceMap;
use passalong_proto::placement::resolve_collisions;
use passalong_proto::safe_path::SafePath;
use passalong_proto::signed_hashes::{HashLog, SignedHashes};
use passalong_proto::tree::{FileHashes, PieceHash, Root, is_piece};
use passalong_proto::wire::PieceRef;
use tokio::sync::mpsc;

use self::handles::Handles;
pub(crate) use self::held::Held;
pub(crate) use self::proof::Proof;
use self::record::Record;
pub(crate) use self::shelving::start_shelving;
use self::writing::Unfinished;
use crate::api::Problem;
use crate::source::Shelf;
use crate::store::{Store, StoredFile};

/// How the hidden folder of unfinished files is named around the share's id.
pub(crate) const PARTIAL_PREFIX: &str = ".passalong-";
pub(crate) const PARTIAL_SUFFIX: &str = ".partial";

/// What the disk is asked to do. Jobs are done in order.
#[derive(Debug)]
pub(crate) enum Job {
    /// Look what of a file of several pieces is here already.
    Resume { entry: u32, hashes: Arc<FileHashes> },
    /// Pieces that the list does not vouch for can be verified by these.
    Signed(SignedHashes),
    /// The list is whole; it is this one.
    List(Arc<Manifest>),
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
    /// How far looking for files that are already here got, in bytes.
    Checking { done: u64, total: u64 },
    /// These wanted files are already here, whole; `copied` of them had to be
    /// copied from elsewhere in the destination. Of `resumed`, some pieces are.
    Checked {
        present: HashSet<u32>,
        resumed: Vec<Resumed>,
        copied: u32,
    },
    /// These pieces of a file are already here.
    Resumed { entry: u32, stored: Vec<u32> },
    /// The piece is verified and on disk.
    Stored { piece: PieceRef },
    /// The piece does not verify.
    Rejected { piece: PieceRef },
    /// A file has its final name.
    Whole { entry: u32, path: Arc<Path> },
    /// It cannot go on; what is here is kept.
    Failed(Problem),
    /// `Finish` is done. `all`: every file of the share is here, not only those
    /// that were wanted.
    Finished { all: bool },
    /// `Discard` is done.
    Discarded,
}

/// What to write, and where.
pub(crate) struct Plan {
    /// The folder that the person chose.
    pub(crate) root: PathBuf,
    /// The share's id, which names the hidden folder and the records.
    pub(crate) id: String,
    pub(crate) manifest: Arc<Manifest>,
    /// The numbering of its pieces.
    pub(crate) pieces: Arc<PieceMap>,
    /// What the sharer signed of it while it was not whole.
    pub(crate) signed: HashLog,
    /// Indexes of wanted entries, folders included.
    pub(crate) wanted: Vec<u32>,
    /// Where what is verified is written down.
    pub(crate) store: Arc<Store>,
    /// Where others can read what is here.
    pub(crate) shelf: Arc<Shelf>,
}

/// Starts a thread that does the disk work of one transfer, after one that did so
/// before has come to its end. It ends when the sender of jobs is dropped; by the
/// time the results end, everything that is here is written down.
pub(crate) fn start(
    plan: Plan,
    cancelled: Arc<AtomicBool>,
) -> io::Result<(std::sync::mpsc::Sender<Job>, mpsc::UnboundedReceiver<Done>)> {
    let (jobs, work) = std::sync::mpsc::channel();
    let (done, results) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("passalong-disk".to_owned())
        .spawn(move || {
            let turn = plan.store.writer(&plan.id);
            let mut sink = Sink::new(plan, done, cancelled);
            let outcome = sink.run(&work);
            sink.write_down();
            if let Err(problem) = outcome {
                sink.tell(Done::Failed(problem));
            }
            drop(turn);
            sink.settle();
        })?;
    Ok((jobs, results))
}

/// Bytes free where `dir` is, or would be.
pub(crate) fn free_bytes(dir: &Path) -> Option<u64> {
    dir.ancestors()
        .find_map(|ancestor| fs4::available_space(ancestor).ok())
}

struct Sink {
    plan: Plan,
    partial: PathBuf,
    names: Vec<SafePath>,
    /// Folders below the destination by the components they stand for.
    folders: HashMap<String, PathBuf>,
    unfinished: HashMap<u32, Unfinished>,
    handles: Handles,
    /// Files with their final names.
    whole: HashMap<u32, Arc<Path>>,
    /// Files that were whole by the record, whose content is in doubt.
    left: HashMap<u32, StoredFile>,
    record: Record,
    /// Signed hashes that were not written down yet.
    unkept: Vec<SignedHashes>,
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
            handles: Handles::default(),
            whole: HashMap::new(),
            left: HashMap::new(),
            record: Record::new(),
            unkept: Vec::new(),
            results,
            cancelled,
        }
    }

    /// Does jobs until no more can come, and writes down what came of them.
    fn run(&mut self, jobs: &std::sync::mpsc::Receiver<Job>) -> Result<(), Problem> {
        self.begin()?;
        loop {
            let job = match self.record.due() {
                Some(wait) => jobs.recv_timeout(wait),
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(job) => self.perform(job)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if self.record.due().is_some_and(|wait| wait.is_zero()) {
                self.write_down();
            }
        }
    }

    /// Tells the transfer; if that is gone, the next job is not coming either.
    fn tell(&self, done: Done) {
        let _ = self.results.send(done);
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Bytes of a wanted file; nothing for a folder.
    fn size(&self, entry: u32) -> Option<u64> {
        let entry = self.plan.manifest.entries().get(entry as usize)?;
        (!entry.is_folder()).then(|| entry.size())
    }

    /// The root of a wanted file: as the list has it, or as it follows from what the
    /// sharer signed.
    fn root(&self, entry: u32) -> Option<Root> {
        let listed = self.listed(entry)?.root();
        listed.or_else(|| Some(self.signed(entry)?.root()))
    }

    /// What the list says of a wanted file's contents.
    fn listed(&self, entry: u32) -> Option<Content> {
        self.plan.manifest.entries().get(entry as usize)?.content()
    }

    /// All hashes of a wanted file, if they are signed.
    fn signed(&self, entry: u32) -> Option<FileHashes> {
        let numbers = self.plan.pieces.of_entry(entry);
        self.plan.signed.file(self.size(entry)?, numbers)
    }

    /// Whether `bytes` are a piece of a file.
    fn verifies(&self, entry: u32, proof: &Proof, index: u32, bytes: &[u8]) -> bool {
        match proof {
            Proof::Root(hashes) => hashes.verify_piece(index, bytes),
            Proof::Signed(size) => {
                let hash = self.signed_hash(entry, index);
                hash.is_some_and(|hash| is_piece(*size, index, bytes, hash))
            }
        }
    }

    fn signed_hash(&self, entry: u32, piece: u32) -> Option<PieceHash> {
        let number = self.plan.pieces.number(PieceRef { entry, piece })?;
        self.plan.signed.hash(number)
    }

    fn partial_path(&self, entry: u32) -> PathBuf {
        self.partial.join(format!("{entry}.part"))
    }

    fn perform(&mut self, job: Job) -> Result<(), Problem> {
        match job {
            Job::Resume { entry, hashes } => self.resume(entry, hashes),
            Job::Signed(part) => {
                // What contradicts itself was found before it came here.
                if self.plan.signed.add(part.clone()) == Ok(true) {
                    self.unkept.push(part);
                    self.record.touch_log();
                }
                Ok(())
            }
            Job::List(manifest) => {
                self.plan.manifest = manifest;
                for (entry, mut file) in std::mem::take(&mut self.unfinished) {
                    file.hashes = self.proof(entry, file.hashes);
                    self.take_on(entry, file);
                }
                Ok(())
            }
            Job::Store { piece, bytes } => self.store(piece, &bytes),
            Job::Drop { entry } => {
                self.drop_file(entry);
                Ok(())
            }
            Job::Finish => {
                self.finish();
                Ok(())
            }
            Job::Discard => {
                self.discard();
                Ok(())
            }
        }
    }
}
