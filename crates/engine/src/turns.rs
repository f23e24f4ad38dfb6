//! Upload slots of this device, all shares together: who may be sent to now.
//! Who gets a slot is decided by [`passalong_proto::slots`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use passalong_proto::slots::{SlotEvent, Slots};
use tokio::sync::watch;
use tokio::time::Instant;

/// How often somebody may have to yield.
const TICK: Duration = Duration::from_millis(500);

/// The upload slots of a device.
#[derive(Clone)]
pub(crate) struct Turns {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    slots: Slots<u64>,
    granted: HashMap<u64, watch::Sender<bool>>,
    next: u64,
    started: Instant,
}

impl Turns {
    /// Starts with `limit` slots. Needs a running tokio.
    pub(crate) fn new(limit: u32) -> Turns {
        let inner = Arc::new(Mutex::new(Inner {
            slots: Slots::new(limit.max(1) as usize),
            granted: HashMap::new(),
            next: 0,
            started: Instant::now(),
        }));
        let watched = Arc::downgrade(&inner);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(TICK);
            loop {
                tick.tick().await;
                let Some(inner) = watched.upgrade() else {
                    return;
                };
                lock(&inner).settle();
            }
        });
        Turns { inner }
    }

    /// Changes the number of slots.
    pub(crate) fn set_limit(&self, limit: u32) {
        let mut inner = lock(&self.inner);
        inner.slots.set_limit(limit.max(1) as usize);
        inner.settle();
    }

    /// A place in the line for one link.
    pub(crate) fn enter(&self) -> Turn {
        let mut inner = lock(&self.inner);
        let key = inner.next;
        inner.next += 1;
        let (sender, granted) = watch::channel(false);
        inner.granted.insert(key, sender);
        Turn {
            turns: self.clone(),
            key,
            granted,
        }
    }
}

impl Inner {
    fn settle(&mut self) {
        let now = self.started.elapsed();
        while let Some(event) = self.slots.poll(now) {
            let (key, granted) = match event {
                SlotEvent::Unchoke(key) => (key, true),
                SlotEvent::Choke(key) => (key, false),
            };
            if let Some(sender) = self.granted.get(&key) {
                sender.send_replace(granted);
            }
        }
    }
}

/// One link's place in the line. Dropping it leaves the line.
pub(crate) struct Turn {
    turns: Turns,
    key: u64,
    granted: watch::Receiver<bool>,
}

impl Turn {
    /// Says whether this link wants to be sent anything.
    pub(crate) fn wants(&self, wants: bool) {
        let mut inner = lock(&self.turns.inner);
        let now = inner.started.elapsed();
        if wants {
            inner.slots.interested(self.key, now);
        } else {
            inner.slots.uninterested(self.key);
        }
        inner.settle();
    }

    /// Gives the slot back at once, if it has one, and leaves the line.
    pub(crate) fn give_up(&self) {
        let mut inner = lock(&self.turns.inner);
        inner.slots.left(self.key);
        if let Some(sender) = inner.granted.get(&self.key) {
            sender.send_replace(false);
        }
        inner.settle();
    }

    /// Waits for a change, and says whether it is this link's turn. Losing the
    /// future loses nothing.
    pub(crate) async fn changed(&mut self) -> bool {
        if self.granted.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.granted.borrow_and_update()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut inner = lock(&self.turns.inner);
        inner.slots.left(self.key);
        inner.granted.remove(&self.key);
        inner.settle();
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
