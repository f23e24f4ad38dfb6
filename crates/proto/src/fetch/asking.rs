//! What a fetch asks for besides pieces: the list, hashes, and to be served.

use std::time::Duration;

use super::source::HashRequest;
use super::{Fetch, PeerKey};
use crate::wire::Message;

/// How long hashes are awaited before another peer is asked for them.
const HASH_PATIENCE: Duration = Duration::from_secs(10);
/// How often late hashes are looked for.
const PATIENCE_EVERY: Duration = Duration::from_secs(1);
/// Most files whose hashes are asked of one peer at once.
const HASHES_AT_ONCE: usize = 16;
/// How often, at most, files are begun while others are going.
const BEGIN_EVERY: Duration = Duration::from_millis(50);
/// How often, at most, the interest in every peer is looked at.
const INTEREST_EVERY: Duration = Duration::from_millis(250);

impl Fetch {
    /// Whom to ask for the list: one peer at a time, the one with the newest.
    pub(super) fn next_listing(&mut self, now: Duration) -> Option<PeerKey> {
        for source in self.sources.values_mut() {
            if source.listing.is_late(now) {
                source.listing.forget();
            }
        }
        if self
            .sources
            .values()
            .any(|source| source.listing.is_awaited())
        {
            return None;
        }
        let lists = self.newer.iter().chain(&self.list);
        let known = lists.clone().map(|list| list.manifest.edition()).max();
        let (peer, _) = self
            .sources
            .iter()
            .filter_map(|(peer, source)| {
                let (hash, edition) = source.listed?;
                let is_newer = known.is_none_or(|known| edition > known);
                let is_known = lists.clone().any(|list| list.hash == hash);
                let completes = source.whole
                    && (self.list.as_ref()).is_some_and(|list| list.hash == hash && !list.whole);
                let tries = source.listing.tries();
                let tries = tries.filter(|_| (is_newer && !is_known) || completes)?;
                Some((*peer, (std::cmp::Reverse(tries), edition)))
            })
            .max_by_key(|(_, rank)| *rank)?;
        self.sources.get_mut(&peer)?.listing.ask(now);
        Some(peer)
    }

    /// Begins files that can be gone on with.
    pub(super) fn begin_files(&mut self, now: Duration) {
        let due = now >= self.next_begin || self.files.is_at_rest();
        if !self.begin || !due {
            return;
        }
        self.begin = false;
        self.next_begin = now + BEGIN_EVERY;
        let Some(list) = &self.list else {
            return;
        };
        let (scheduler, sources) = (&self.scheduler, &self.sources);
        let obtainable = |entry: u32, hashless: bool| {
            let numbers = list.pieces.of_entry(entry);
            let has_hashes = || {
                sources.iter().any(|(peer, source)| {
                    source.usable
                        && !source.no_hashes.contains(&entry)
                        && scheduler.holds_any(*peer, numbers.clone())
                })
            };
            scheduler.has_source(numbers.clone()) && (!hashless || has_hashes())
        };
        for entry in self.files.begin(obtainable) {
            let signed = self.files.get_mut(entry).is_some_and(|file| file.signed);
            for number in list.pieces.of_entry(entry) {
                if !signed || self.log.hash(number).is_some() {
                    self.scheduler.open(number);
                }
            }
        }
    }

    /// Tells a peer whether anything is wanted of it, when that changed.
    pub(super) fn next_interest(&mut self, now: Duration) -> Option<(PeerKey, Message)> {
        if now < self.next_interest {
            return None;
        }
        for (peer, source) in &mut self.sources {
            let wants = source.usable && !self.paused && self.scheduler.wants_from(*peer);
            if wants != source.told_interest {
                source.told_interest = wants;
                return Some((*peer, Message::Interest { wants }));
            }
        }
        self.next_interest = now + INTEREST_EVERY;
        None
    }

    /// A peer that has the list and a piece of a file, and can be asked for the
    /// file's hashes; the one with the least to do.
    fn hash_source(&self, entry: u32) -> Option<PeerKey> {
        let numbers = self.list.as_ref()?.pieces.of_entry(entry);
        let able = self.sources.iter().filter(|(peer, source)| {
            source.usable
                && source.hash_requests.len() < HASHES_AT_ONCE
                && !source.hash_requests.contains_key(&entry)
                && !source.no_hashes.contains(&entry)
                && self.scheduler.holds_any(**peer, numbers.clone())
        });
        let least = able.min_by_key(|(_, source)| source.hash_requests.len());
        least.map(|(peer, _)| *peer)
    }

    /// Asks for the hashes of a begun file.
    pub(super) fn next_hashes(&mut self, now: Duration) -> Option<(PeerKey, Message)> {
        if now >= self.next_patience {
            self.next_patience = now + PATIENCE_EVERY;
            for (entry, peer) in self.files.awaited() {
                let source = self.sources.get(&peer);
                let request = source.and_then(|source| source.hash_requests.get(&entry));
                let late = request
                    .is_none_or(|request| now.saturating_sub(request.since) >= HASH_PATIENCE);
                if late && self.hash_source(entry).is_some() {
                    self.files.lose_hashes(entry, peer);
                }
            }
        }
        let entries: Vec<u32> = self.files.hashless().collect();
        for entry in entries {
            let Some(peer) = self.hash_source(entry) else {
                continue;
            };
            let request = HashRequest { since: now, got: 0 };
            self.sources
                .get_mut(&peer)?
                .hash_requests
                .insert(entry, request);
            self.files.ask_hashes(entry, peer);
            return Some((peer, Message::WantHashes { entry }));
        }
        None
    }
}
