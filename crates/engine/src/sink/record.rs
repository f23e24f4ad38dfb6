//! Writing down what is verified, at most once a second, so that whatever ends
//! the program costs no more than that; and settling it on the disk at the end,
//! so that a power cut later costs nothing.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Done, Sink};
use crate::source::Stamp;
use crate::store::StoredFile;

/// Least time between two writings.
const PERIOD: Duration = Duration::from_secs(1);
/// How long waiting for the disk at the end may take. What is not settled by
/// then is read again if the computer is restarted first.
const SETTLE: Duration = Duration::from_secs(2);

/// What has to be written down.
pub(super) struct Record {
    /// This run of the system, if it tells.
    boot: Option<String>,
    /// Files that got their final names.
    whole: Vec<StoredFile>,
    /// Unfinished files that got pieces.
    touched: HashSet<u32>,
    /// Signed hashes came.
    log: bool,
    written: Option<Instant>,
    /// Files that were written to and may be in the system's memory only.
    unsettled: Vec<(u32, Arc<Path>, Stamp)>,
    /// A failure was told already.
    failed: bool,
}

impl Record {
    pub(super) fn new() -> Record {
        Record {
            boot: boot(),
            whole: Vec::new(),
            touched: HashSet::new(),
            log: false,
            written: None,
            unsettled: Vec::new(),
            failed: false,
        }
    }

    /// How long until something is to be written down; `None` if nothing is.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.whole.is_empty() && self.touched.is_empty() && !self.log {
            return None;
        }
        let waited = self.written.map_or(PERIOD, |written| written.elapsed());
        Some(PERIOD.saturating_sub(waited))
    }

    /// The run of the system that bytes written now belong to.
    pub(super) fn boot(&self) -> String {
        self.boot.clone().unwrap_or_default()
    }

    /// Whether runs of the system can be told apart.
    pub(super) fn knows_boot(&self) -> bool {
        self.boot.is_some()
    }

    /// Whether what a file of this record held is on the disk or will be: no
    /// power cut can have come between.
    pub(super) fn survived(&self, boot: Option<&str>) -> bool {
        boot.is_none_or(|boot| self.boot.as_deref() == Some(boot))
    }

    /// An unfinished file got pieces.
    pub(super) fn touch(&mut self, entry: u32) {
        self.touched.insert(entry);
    }

    /// Signed hashes came.
    pub(super) fn touch_log(&mut self) {
        self.log = true;
    }

    /// A file has its final name.
    pub(super) fn add_whole(&mut self, file: StoredFile) {
        self.touched.remove(&file.entry);
        if file.boot.is_some() {
            self.unsettled
                .push((file.entry, Arc::clone(&file.path), file.stamp));
        }
        self.whole.push(file);
    }

    /// A file that was written down already may be in the system's memory only.
    pub(super) fn add_unsettled(&mut self, entry: u32, path: Arc<Path>, stamp: Stamp) {
        self.unsettled.push((entry, path, stamp));
    }

    /// There is nothing to say about a file any more.
    pub(super) fn forget(&mut self, entry: u32) {
        self.touched.remove(&entry);
    }

    /// There is nothing to say about anything any more.
    pub(super) fn clear(&mut self) {
        self.touched.clear();
        self.log = false;
        self.whole.clear();
        self.unsettled.clear();
    }
}

impl Sink {
    /// Writes down what changed. A failure costs reading files again after a
    /// restart, so the transfer goes on.
    pub(super) fn write_down(&mut self) {
        let mut rows = std::mem::take(&mut self.record.whole);
        for entry in std::mem::take(&mut self.record.touched) {
            if let Some(row) = self.row(entry) {
                rows.push(row);
            }
        }
        self.record.log = false;
        // First what the files are verified by.
        let (store, id) = (&self.plan.store, &self.plan.id);
        let outcome = store
            .add_signed_hashes(id, &std::mem::take(&mut self.unkept))
            .and_then(|()| store.put_files(id, &rows));
        self.record.written = Some(Instant::now());
        if let Err(problem) = outcome
            && !std::mem::replace(&mut self.record.failed, true)
        {
            tracing::warn!(%problem.message, "what is on disk could not be written down");
        }
    }

    /// An unfinished file as it is to be written down. Not if something else
    /// wrote to it: what was written down before is in doubt then, as it should be.
    fn row(&self, entry: u32) -> Option<StoredFile> {
        let unfinished = self.unfinished.get(&entry)?;
        if unfinished.suspect {
            return None;
        }
        Some(StoredFile {
            entry,
            path: unfinished.path.clone(),
            stamp: unfinished.stamp?,
            hashes: unfinished.hashes.clone(),
            held: unfinished.held.clone(),
            whole: false,
            boot: unfinished.boot.clone(),
        })
    }

    /// Waits for the disk, but not for long.
    pub(super) fn settle(&mut self) {
        self.handles.close_all();
        let started = Instant::now();
        let unfinished = self
            .unfinished
            .iter()
            .filter(|(_, unfinished)| unfinished.boot.is_some())
            .filter_map(|(entry, unfinished)| {
                Some((*entry, unfinished.path.clone(), unfinished.stamp?))
            });
        let settled: Vec<(u32, Stamp)> = unfinished
            .chain(std::mem::take(&mut self.record.unsettled))
            .take_while(|_| started.elapsed() < SETTLE)
            .filter(|(_, path, stamp)| settle(path, *stamp).is_ok())
            .map(|(entry, _, stamp)| (entry, stamp))
            .collect();
        if !settled.is_empty()
            && let Err(problem) = self.plan.store.settle_files(&self.plan.id, &settled)
        {
            tracing::warn!(%problem.message, "what is on disk could not be written down");
        }
    }

    /// Away with everything unfinished, and with what was written down.
    pub(super) fn discard(&mut self) {
        for entry in std::mem::take(&mut self.unfinished).into_keys() {
            self.plan.shelf.remove(entry);
        }
        self.handles.close_all();
        self.unkept.clear();
        self.record.clear();
        // Nothing but unfinished files is in there.
        let _ = fs::remove_dir_all(&self.partial);
        if let Err(problem) = self.plan.store.remove_files(&self.plan.id) {
            tracing::warn!(%problem.message, "the records of a cancelled download stay");
        }
        self.tell(Done::Discarded);
    }
}

/// Waits until the disk has all of a file that is as it was left.
fn settle(path: &Path, stamp: Stamp) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() || Stamp::of(&metadata) != stamp {
        return Err(io::ErrorKind::NotFound.into());
    }
    File::open(path)?.sync_all()
}

/// What tells this run of the system from others.
fn boot() -> Option<String> {
    const LONGEST: usize = 64;
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = text.trim();
    (1..=LONGEST).contains(&id.len()).then(|| id.to_owned())
}
