//! Taking turns: one thread at a time writes the files of a download.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::Store;

/// Downloads whose files are being written.
#[derive(Debug, Default)]
pub(super) struct Writers {
    busy: Mutex<HashSet<String>>,
    freed: Condvar,
}

/// The right to write the files of one download, until it is dropped.
pub(crate) struct Writer {
    store: Arc<Store>,
    id: String,
}

impl Store {
    /// Waits until nobody else writes the files of this download. Blocking.
    pub(crate) fn writer(self: &Arc<Self>, id: &str) -> Writer {
        let writers = &self.writers;
        let busy = writers.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut busy = writers
            .freed
            .wait_while(busy, |busy| busy.contains(id))
            .unwrap_or_else(PoisonError::into_inner);
        busy.insert(id.to_owned());
        Writer {
            store: Arc::clone(self),
            id: id.to_owned(),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let writers = &self.store.writers;
        let mut busy = writers.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.id);
        writers.freed.notify_all();
    }
}
