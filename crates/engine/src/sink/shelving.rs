//! A finished download that is passed on after a restart: what of it is still
//! where it was left. Nothing is made, moved or fetched; what a person removed
//! or changed since is theirs.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc;

use super::alike::Looking;
use super::{Done, Job, Plan, Sink};

/// Starts a thread that only looks what of a finished download is still here,
/// and tells it as a sink does. Nothing is written, created or removed; jobs are
/// not done.
pub(crate) fn start_shelving(
    plan: Plan,
    cancelled: Arc<AtomicBool>,
) -> io::Result<(std::sync::mpsc::Sender<Job>, mpsc::UnboundedReceiver<Done>)> {
    let (jobs, _) = std::sync::mpsc::channel();
    let (done, results) = mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("passalong-disk".to_owned())
        .spawn(move || {
            let present = shelve(plan, cancelled);
            // A transfer that is gone has no use for it.
            let _ = done.send(Done::Checked {
                present,
                resumed: Vec::new(),
                copied: 0,
            });
            let _ = done.send(Done::Finished { all: true });
        })?;
    Ok((jobs, results))
}

/// Puts the files that are here onto the plan's shelf, and says which they are.
/// Those that are not as the record has them are read. Blocking; waits for its
/// turn as a sink does. When cancelled, what was found until then.
pub(super) fn shelve(plan: Plan, cancelled: Arc<AtomicBool>) -> HashSet<u32> {
    // Nobody is told how far it is.
    let (results, _) = mpsc::unbounded_channel();
    let turn = plan.store.writer(&plan.id);
    let mut sink = Sink::new(plan, results, cancelled);
    let mut present = HashSet::new();
    let rows = sink.recorded();
    sink.trust_whole(rows, &mut present);
    let mut looking = Looking::default();
    let doubtful: Vec<_> = sink.left.values().cloned().collect();
    for row in doubtful {
        if let Some(alike) = sink.recognise(&row.path, &mut looking)
            && Some(alike.hashes.root()) == row.hashes.root()
        {
            sink.keep_alike(row.entry, &alike);
            present.insert(row.entry);
        }
    }
    sink.write_down();
    drop(turn);
    sink.settle();
    present
}
