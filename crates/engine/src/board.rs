//! The board: the latest view of every share and transfer, and the stream of
//! changes. A view is published whole. What moves is told at most ten times a
//! second for each subject, a new state at once, and the last change is never lost.

use std::collections::{HashMap, HashSet};
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::api::{Event, Id, ShareView, Totals, TransferView};

/// Shortest time between two events about one subject in the same state.
const INTERVAL: Duration = Duration::from_millis(100);
/// Events a slow listener may lag behind before it has to take a snapshot.
const BACKLOG: usize = 4096;

/// Where tasks publish what they look like.
#[derive(Clone)]
pub(crate) struct Board {
    inner: Arc<Mutex<Inner>>,
    events: broadcast::Sender<Event>,
}

#[derive(Default)]
struct Inner {
    shares: HashMap<Id, ShareView>,
    transfers: HashMap<Id, TransferView>,
    pulses: HashMap<Id, Pulse>,
    /// Stopped shares that the person removed: they still answer knocks.
    hidden: HashSet<Id>,
    totals: Totals,
}

struct Pulse {
    last: Instant,
    scheduled: bool,
}

impl Board {
    pub(crate) fn new() -> Self {
        Board {
            inner: Arc::default(),
            events: broadcast::channel(BACKLOG).0,
        }
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub(crate) fn shares(&self) -> Vec<ShareView> {
        let mut shares: Vec<_> = self.lock().shares.values().cloned().collect();
        shares.sort_by(|a, b| {
            b.created_at
                .cmp(&a.created_at)
                .then_with(|| a.id.cmp(&b.id))
        });
        shares
    }

    pub(crate) fn transfers(&self) -> Vec<TransferView> {
        let mut transfers: Vec<_> = self.lock().transfers.values().cloned().collect();
        transfers.sort_by(|a, b| {
            b.created_at
                .cmp(&a.created_at)
                .then_with(|| a.id.cmp(&b.id))
        });
        transfers
    }

    pub(crate) fn share(&self, id: &str) -> Option<ShareView> {
        self.lock().shares.get(id).cloned()
    }

    pub(crate) fn transfer(&self, id: &str) -> Option<TransferView> {
        self.lock().transfers.get(id).cloned()
    }

    pub(crate) fn totals(&self) -> Totals {
        self.lock().totals
    }

    pub(crate) fn put_share(&self, view: ShareView) {
        let id = view.id.clone();
        let mut inner = self.lock();
        let before = inner.shares.get(&id);
        if !inner.hidden.contains(&id) && before != Some(&view) {
            let kind = discriminant(&view.state);
            let is_new = before.is_none_or(|before| discriminant(&before.state) != kind);
            inner.shares.insert(id.clone(), view);
            self.pulse(&mut inner, id, is_new);
        }
    }

    pub(crate) fn put_transfer(&self, view: TransferView) {
        let id = view.id.clone();
        let mut inner = self.lock();
        let before = inner.transfers.get(&id);
        if before != Some(&view) {
            let kind = discriminant(&view.state);
            let is_new = before.is_none_or(|before| discriminant(&before.state) != kind);
            inner.transfers.insert(id.clone(), view);
            self.pulse(&mut inner, id, is_new);
        }
    }

    pub(crate) fn remove(&self, id: &str) {
        let mut inner = self.lock();
        inner.pulses.remove(id);
        if inner.shares.remove(id).is_some() {
            self.tell(Event::ShareRemoved { id: id.to_owned() });
        }
        if inner.transfers.remove(id).is_some() {
            self.tell(Event::TransferRemoved { id: id.to_owned() });
        }
    }

    /// Removes a share's row for good, though its task goes on.
    pub(crate) fn hide(&self, id: &str) {
        self.lock().hidden.insert(id.to_owned());
        self.remove(id);
    }

    pub(crate) fn put_totals(&self, totals: Totals) {
        let mut inner = self.lock();
        if inner.totals != totals {
            inner.totals = totals;
            self.tell(Event::Totals { totals });
        }
    }

    /// Tells everybody at once; nobody listening is fine.
    pub(crate) fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn pulse(&self, inner: &mut Inner, id: Id, at_once: bool) {
        let now = Instant::now();
        match inner.pulses.get_mut(&id) {
            Some(pulse) if at_once => {
                pulse.last = now;
                self.announce(inner, &id);
            }
            Some(pulse) if pulse.scheduled => {}
            Some(pulse) if now < pulse.last + INTERVAL => {
                pulse.scheduled = true;
                let due = pulse.last + INTERVAL;
                let board = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep_until(due).await;
                    let mut inner = board.lock();
                    if let Some(pulse) = inner.pulses.get_mut(&id) {
                        *pulse = Pulse {
                            last: Instant::now(),
                            scheduled: false,
                        };
                        board.announce(&inner, &id);
                    }
                });
            }
            _ => {
                inner.pulses.insert(
                    id.clone(),
                    Pulse {
                        last: now,
                        scheduled: false,
                    },
                );
                self.announce(inner, &id);
            }
        }
    }

    fn announce(&self, inner: &Inner, id: &str) {
        if let Some(share) = inner.shares.get(id) {
            self.tell(Event::Share {
                share: share.clone(),
            });
        }
        if let Some(transfer) = inner.transfers.get(id) {
            self.tell(Event::Transfer {
                transfer: transfer.clone(),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every critical section leaves the maps consistent, so a panic
        // elsewhere while holding the lock does no harm.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rate in bytes a second, smoothed over about 3 s.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes: u64,
    since: Instant,
    smoothed: Option<f64>,
}

impl Rate {
    const WINDOW: f64 = 3.0;

    pub(crate) fn new() -> Self {
        Rate {
            bytes: 0,
            since: Instant::now(),
            smoothed: None,
        }
    }

    /// Counts bytes that just moved.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Folds what was counted since the last call into the rate. Waiting for
    /// the first byte does not count as slowness.
    pub(crate) fn tick(&mut self) -> u64 {
        if self.smoothed.is_none() && self.bytes == 0 {
            self.since = Instant::now();
            return 0;
        }
        let elapsed = self.since.elapsed().as_secs_f64();
        if elapsed >= 0.2 {
            let current = self.bytes as f64 / elapsed;
            let weight = 1.0 - (-elapsed / Self::WINDOW).exp();
            let before = self.smoothed.unwrap_or(current);
            self.smoothed = Some(before + (current - before) * weight);
            self.bytes = 0;
            self.since = Instant::now();
        }
        let rate = self.smoothed.unwrap_or(0.0);
        if rate < 1.0 { 0 } else { rate as u64 }
    }

    /// Forgets the past: a new connection has a rate of its own.
    pub(crate) fn reset(&mut self) {
        *self = Rate::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_counts_from_the_first_byte_and_follows_slowly() {
        let mut rate = Rate::new();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(rate.tick(), 0);
        rate.add(1_000_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(rate.tick(), 1_000_000);
        tokio::time::advance(Duration::from_secs(1)).await;
        let fading = rate.tick();
        assert!((500_000..1_000_000).contains(&fading), "{fading}");
        rate.reset();
        assert_eq!(rate.tick(), 0);
    }
}
