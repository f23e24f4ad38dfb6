//! What a swarm offers to others: the list, whole or not, the pieces that are held, and
//! the signed hashes that are known while the list is not whole.
//!
//! Invariant: whoever was told of a list can go on with it until the links end; a list
//! that becomes whole stays the same list.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use passalong_proto::fetch::{Fetch, FetchEvent, PeerKey};
use passalong_proto::manifest::{Content, Manifest, ManifestError, SignedManifest};
use passalong_proto::pieces::{PieceMap, PieceSet};
use passalong_proto::signed_hashes::{HashLog, SignedHashes};
use passalong_proto::wire::{Farewell, Message, PieceRef};
use tokio::sync::watch;

use super::feed::Outgoing;
use super::{Happening, Link, Swarm};
use crate::peer::Control;
use crate::source::Shelf;

/// A share that can be served.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) signed: Arc<SignedManifest>,
    pub(crate) pieces: Arc<PieceMap>,
    pub(crate) shelf: Arc<Shelf>,
    /// The outline of the manifest.
    hash: [u8; 32],
    one_person: bool,
    held: Arc<RwLock<PieceSet>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) outgoing: Arc<Outgoing>,
}

impl Ready {
    /// Parts pieces into those that are held here and those that are not.
    pub(super) fn held(&self, pieces: Vec<PieceRef>) -> (Vec<PieceRef>, Vec<PieceRef>) {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        pieces.into_iter().partition(|piece| {
            self.pieces
                .number(*piece)
                .is_some_and(|number| held.contains(number))
        })
    }

    /// A piece is held from now on, or is not; says whether that is new.
    pub(super) fn hold(&self, number: u32, holds: bool) -> bool {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match holds {
            true => held.insert(number),
            false => held.remove(number),
        }
    }

    fn listed(&self) -> Message {
        Message::Listed {
            hash: self.hash,
            edition: self.manifest.edition(),
            one_person: self.one_person,
            whole: self.manifest.is_whole(),
        }
    }
}

/// The signed hashes of one list, for passing on.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Of the list.
    outline: [u8; 32],
    log: RwLock<HashLog>,
    /// How many parts there are.
    grown: watch::Sender<usize>,
}

impl Ledger {
    fn new(outline: [u8; 32], log: HashLog) -> Ledger {
        Ledger {
            outline,
            grown: watch::Sender::new(log.parts().len()),
            log: RwLock::new(log),
        }
    }

    fn add(&self, part: SignedHashes) {
        let mut log = self.log.write().unwrap_or_else(PoisonError::into_inner);
        // What contradicts itself is told elsewhere, and is not passed on.
        let _ = log.add(part);
        self.grown.send_replace(log.parts().len());
    }

    fn part(&self, place: usize) -> Option<SignedHashes> {
        let log = self.log.read().unwrap_or_else(PoisonError::into_inner);
        log.parts().get(place).cloned()
    }

    /// Tells a link what there is of pieces from number `from` on, and goes on telling
    /// until the link is gone.
    pub(super) async fn tell(self: Arc<Self>, from: u32, control: Control) {
        let mut grown = self.grown.subscribe();
        for place in 0.. {
            if grown.wait_for(|count| *count > place).await.is_err() {
                return;
            }
            let part = self.part(place);
            let part = part.filter(|part| part.pieces().end > from);
            if let Some(part) = part
                && control.send_flushed(part.message()).await.is_err()
            {
                return;
            }
        }
    }
}

impl Swarm {
    /// A list of one's own share is ready. What it vouches for is held.
    pub(crate) fn list(
        &mut self,
        manifest: Manifest,
        signed: SignedManifest,
        shelf: Arc<Shelf>,
        one_person: bool,
    ) -> Result<(), ManifestError> {
        let seed = u64::from_le_bytes(crate::random());
        let mut fetch = Fetch::own(self.invite.secret, manifest, signed, seed)?;
        let entries = fetch.manifest().map_or(&[][..], |m| m.entries());
        let hashed = (0u32..).zip(entries);
        let hashed: Vec<u32> = hashed
            .filter(|(_, entry)| matches!(entry.content(), Some(Content::Hashed(_))))
            .map(|(index, _)| index)
            .collect();
        let present: HashSet<u32> = hashed.iter().copied().collect();
        fetch
            .accept(&hashed, &present, Vec::new())
            .map_err(|_| ManifestError::TooLarge)?;
        for key in self.linked.values() {
            fetch.joined(*key, self.started.elapsed());
        }
        self.fetch = fetch;
        self.complete = true;
        self.membership.set_active(true);
        self.offer(shelf, one_person);
        Ok(())
    }

    /// Pieces of one's own share were hashed: from now on they are held.
    pub(crate) fn hashed(&mut self, part: SignedHashes) {
        let Some(ready) = self.ready.borrow().clone() else {
            return;
        };
        let numbers = part.pieces();
        ready.ledger.add(part);
        let fresh = numbers.filter(|number| ready.hold(*number, true));
        self.gained.extend(fresh);
    }

    /// The whole list of one's own share, after an opening one.
    pub(crate) fn complete_list(
        &mut self,
        manifest: Manifest,
        signed: SignedManifest,
    ) -> Result<(), ManifestError> {
        self.tell_gained();
        match self.fetch.complete_with(manifest, signed)? {
            Some(FetchEvent::Completed) => self.list_completed(),
            Some(_) | None => return Err(ManifestError::Malformed),
        }
        let entries = self.fetch.manifest().map_or(&[][..], |m| m.entries());
        let lost = (0..).zip(entries);
        let lost: Vec<u32> = lost
            .filter(|(_, entry)| entry.content() == Some(Content::Lost))
            .map(|(index, _)| index)
            .collect();
        lost.into_iter().for_each(|entry| self.lose(entry));
        Ok(())
    }

    /// The list is being made anew: who is here comes back for it.
    pub(crate) fn unlist(&mut self) {
        self.ready.send_replace(None);
        self.dismiss(Farewell::Closing);
    }

    /// Serves what is held from now on.
    pub(super) fn offer(&mut self, shelf: Arc<Shelf>, one_person: bool) {
        let (Some(manifest), Some(signed), Some(pieces)) = (
            self.fetch.manifest(),
            self.fetch.signed(),
            self.fetch.pieces(),
        ) else {
            return;
        };
        let held = self.fetch.held().cloned();
        let held = held.unwrap_or_else(|| PieceSet::none(pieces.count()));
        let hash = manifest.outline();
        // Links that are told of one list's hashes go on being told.
        if self.ledger.outline != hash {
            let log = self.fetch.signed_hashes().clone();
            self.ledger = Arc::new(Ledger::new(hash, log));
        }
        let ready = Ready {
            manifest: Arc::clone(manifest),
            signed: Arc::clone(signed),
            hash,
            held: Arc::new(RwLock::new(held)),
            pieces: Arc::clone(pieces),
            shelf,
            one_person,
            ledger: Arc::clone(&self.ledger),
            outgoing: Arc::default(),
        };
        self.one_person = one_person;
        self.ready.send_replace(Some(Arc::new(ready)));
        let keys: Vec<PeerKey> = self.linked.values().copied().collect();
        for key in keys {
            self.introduce_list(key);
            self.tell_accepted(key);
        }
    }

    /// Takes note of what the fetching half learned, and hands it on.
    pub(super) fn fetched(&mut self, event: FetchEvent) {
        match &event {
            FetchEvent::Listed => {
                // Others are met while the person looks at the list.
                self.membership.set_active(!self.one_person);
            }
            FetchEvent::Signed(part) => {
                if let Some(ready) = &*self.ready.borrow() {
                    ready.ledger.add(part.clone());
                }
            }
            FetchEvent::Completed => self.list_completed(),
            _ => {}
        }
        self.happenings.push_back(Happening::Fetched(event));
    }

    /// The list is whole from now on: whoever has it as it was may have it.
    fn list_completed(&mut self) {
        let ready = self.ready.borrow().clone();
        let (Some(ready), Some(manifest), Some(signed)) =
            (ready, self.fetch.manifest(), self.fetch.signed())
        else {
            return;
        };
        let ready = Ready {
            manifest: Arc::clone(manifest),
            signed: Arc::clone(signed),
            ..(*ready).clone()
        };
        let listed = ready.listed();
        self.ready.send_replace(Some(Arc::new(ready)));
        self.tell_everybody(&listed, None);
    }

    /// Tells a link what is here.
    pub(super) fn introduce_list(&mut self, key: PeerKey) {
        let Some(Link {
            made: Some(made), ..
        }) = self.links.get(&key)
        else {
            return;
        };
        let ready = self.ready.borrow().clone();
        let Some(ready) = ready else {
            return self.tell_preparing();
        };
        made.control.send(ready.listed());
        let held = ready.held.read().unwrap_or_else(PoisonError::into_inner);
        if held.is_full() {
            made.control.send(Message::HoldsAll);
        } else if held.count() > 0 {
            for (first, bits) in held.parts() {
                made.control.send(Message::HoldsField { first, bits });
            }
        }
    }
}
