//! Upload slots: whose requests are answered when more ask than a line can serve
//! well at once.
//!
//! At most `limit` have a slot. A free slot is given at once; while others wait,
//! whoever has had a slot longest, and for [`TENURE`] at least, yields to whoever
//! has waited longest. So everybody who stays interested gets a turn. What is
//! sent in a slot, and how fast, is not decided here.

use std::collections::VecDeque;
use std::time::Duration;

/// How long a slot is kept while others wait.
pub const TENURE: Duration = Duration::from_secs(5);

/// What to tell a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotEvent<K> {
    /// It has a slot.
    Unchoke(K),
    /// It has none any more.
    Choke(K),
}

/// Who has a slot and who waits for one. `K` names a peer.
#[derive(Clone, Debug)]
pub struct Slots<K> {
    limit: usize,
    /// Those with a slot, longest first.
    holders: VecDeque<Holder<K>>,
    /// Those without, longest waiting first.
    waiting: VecDeque<K>,
}

#[derive(Clone, Debug)]
struct Holder<K> {
    key: K,
    since: Duration,
    /// A holder that wants nothing keeps its slot until somebody waits.
    wants: bool,
}

impl<K: Clone + PartialEq> Slots<K> {
    /// No peers, `limit` slots.
    pub fn new(limit: usize) -> Slots<K> {
        Slots {
            limit,
            holders: VecDeque::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Changes how many slots there are; 0 chokes everybody.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// A peer wants something from here. Saying so again changes nothing, so a
    /// peer cannot move up or stay on by repeating itself.
    pub fn interested(&mut self, key: K, _now: Duration) {
        if let Some(holder) = self.holders.iter_mut().find(|holder| holder.key == key) {
            holder.wants = true;
        } else if !self.waiting.contains(&key) {
            self.waiting.push_back(key);
        }
    }

    /// A peer wants nothing from here. Its slot goes to whoever waits, or stays
    /// with it for when it wants something again.
    pub fn uninterested(&mut self, key: K) {
        if let Some(holder) = self.holders.iter_mut().find(|holder| holder.key == key) {
            holder.wants = false;
        }
        self.waiting.retain(|other| *other != key);
    }

    /// A peer is gone; it is told nothing more.
    pub fn left(&mut self, key: K) {
        self.holders.retain(|holder| holder.key != key);
        self.waiting.retain(|other| *other != key);
    }

    /// Whether a peer has a slot.
    pub fn holds(&self, key: &K) -> bool {
        self.holders.iter().any(|holder| holder.key == *key)
    }

    /// The next thing to tell somebody; to be asked until there is nothing.
    pub fn poll(&mut self, now: Duration) -> Option<SlotEvent<K>> {
        if self.holders.len() < self.limit {
            let key = self.waiting.pop_front()?;
            self.holders.push_back(Holder {
                key: key.clone(),
                since: now,
                wants: true,
            });
            return Some(SlotEvent::Unchoke(key));
        }
        let yields = if self.holders.len() > self.limit {
            self.idle().or(Some(0))
        } else if self.waiting.is_empty() {
            None
        } else {
            let due = |holder: &Holder<K>| now.saturating_sub(holder.since) >= TENURE;
            self.idle()
                .or_else(|| self.holders.front().is_some_and(due).then_some(0))
        };
        let holder = self.holders.remove(yields?)?;
        if holder.wants {
            self.waiting.push_back(holder.key.clone());
        }
        Some(SlotEvent::Choke(holder.key))
    }

    fn idle(&self) -> Option<usize> {
        self.holders.iter().position(|holder| !holder.wants)
    }
}
