//! What a fetch hears: messages of its peers' serving halves, and frames.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::source::{Choked, Early};
use super::{Fetch, FetchError, FetchEvent, Hashes, List, PeerKey};
use crate::manifest::{Content, Entry, SignedManifest};
use crate::pieces::{PieceMap, PieceSet};
use crate::scheduler::Arrival;
use crate::serve::Violation;
use crate::tree::{FileHashes, PieceHash};
use crate::wire::{Frame, Message, PieceRef, SourceProblem};

/// Most bytes kept of what peers hold of lists that are not known here.
const MAX_EARLY: usize = 64 << 20;

impl Fetch {
    /// Takes a message of a peer's serving half.
    ///
    /// # Errors
    ///
    /// The peer cannot be a source any more: its link is to end, by
    /// [`Fetch::left`].
    pub fn handle(
        &mut self,
        peer: PeerKey,
        message: Message,
        now: Duration,
    ) -> Result<Option<FetchEvent>, FetchError> {
        let Some(source) = self.sources.get_mut(&peer) else {
            return Ok(None);
        };
        if let Some(fault) = source.fault.take() {
            return Err(fault.into());
        }
        match message {
            Message::Alive | Message::Sharer { .. } => {}
            Message::Preparing {
                done_bytes,
                total_bytes,
            } => {
                return Ok(Some(FetchEvent::Preparing {
                    done_bytes: done_bytes.min(total_bytes),
                    total_bytes,
                }));
            }
            Message::Listed {
                hash,
                edition,
                whole,
                ..
            } => {
                source.whole = whole;
                self.listed(peer, hash, edition, now);
            }
            Message::Manifest {
                public_key,
                signature,
                length,
            } => source.listing.begins(public_key, signature, length, now)?,
            Message::ManifestPart { bytes } => {
                if let Some(signed) = source.listing.goes_on(&bytes, now)? {
                    return self.manifest_came(peer, signed, now);
                }
            }
            Message::HoldsAll => self.holds_all(peer),
            Message::HoldsField { first, bits } => self.holds_field(peer, first, &bits)?,
            Message::Holds { pieces } => self.holds(peer, &pieces)?,
            Message::Choke => {
                source.choked = Choked(true);
                self.scheduler.choked(peer, now);
            }
            Message::Unchoke => {
                source.choked = Choked(false);
                self.scheduler.unchoked(peer, now);
            }
            Message::Hashes {
                entry,
                first,
                hashes,
            } => return self.hashes(peer, entry, first, &hashes, now),
            Message::SignedHashes {
                first,
                hashes,
                signature,
            } => return self.signed_hashes_came(peer, first, hashes, signature),
            Message::NoHashes { entry } => {
                let asked = source.hash_requests.remove(&entry).is_some();
                if !asked && !source.is_past && !source.unavailable.contains_key(&entry) {
                    return Err(Violation("it was not asked for these hashes").into());
                }
                if asked && source.usable {
                    source.no_hashes.insert(entry);
                    self.files.lose_hashes(entry, peer);
                    self.begin = true;
                }
            }
            Message::Dropped { pieces } => self.dropped(peer, &pieces, now)?,
            Message::LaneLost { pieces, .. } => self.lane_lost(peer, &pieces, now)?,
            Message::Unavailable { entry, reason } => self.unavailable(peer, entry, reason, now),
            _ => return Err(Violation("it sent a message that is not a sharer's to send").into()),
        }
        Ok(self.events.pop_front())
    }

    /// Takes a frame from a bulk channel.
    ///
    /// # Errors
    ///
    /// As for [`Fetch::handle`].
    pub fn handle_frame(
        &mut self,
        peer: PeerKey,
        frame: Frame,
        now: Duration,
    ) -> Result<Option<FetchEvent>, FetchError> {
        let Some(source) = self.sources.get(&peer) else {
            return Ok(None);
        };
        let Frame {
            piece,
            offset,
            data,
        } = frame;
        // Sent before it had another list, or found that it cannot send the file.
        let late = source.is_past || source.unavailable.contains_key(&piece.entry);
        let pieces = self.list.as_ref().map(|list| &list.pieces);
        let number = pieces.and_then(|pieces| Some((pieces, pieces.number(piece)?)));
        let length = data.len() as u32;
        let (expected, arrival) = match number {
            Some((pieces, number)) => (
                pieces.len(number) as usize,
                self.scheduler.came(peer, number, offset, length, now),
            ),
            None => (0, Err(Violation("it sent a piece that does not exist"))),
        };
        let whole = match arrival {
            Ok(Arrival::Part) => false,
            Ok(Arrival::Whole) => true,
            Ok(Arrival::Unneeded) => {
                self.buffers.remove(&(peer, piece));
                return Ok(None);
            }
            Err(_) if late => return Ok(None),
            Err(violation) => return Err(violation.into()),
        };
        if whole && offset == 0 {
            return Ok(Some(FetchEvent::Piece {
                piece,
                bytes: data,
                from: peer,
            }));
        }
        let buffer = self.buffers.entry((peer, piece));
        let buffer = buffer.or_insert_with(|| BytesMut::with_capacity(expected));
        buffer.extend_from_slice(&data);
        if !whole {
            return Ok(None);
        }
        let bytes = self.buffers.remove(&(peer, piece)).unwrap_or_default();
        Ok(Some(FetchEvent::Piece {
            piece,
            bytes: bytes.freeze(),
            from: peer,
        }))
    }

    /// A peer says which list it has.
    fn listed(&mut self, peer: PeerKey, hash: [u8; 32], edition: u64, now: Duration) {
        let Some(source) = self.sources.get_mut(&peer) else {
            return;
        };
        let before = source.listed.replace((hash, edition));
        if let Some((before, _)) = before
            && before != hash
        {
            source.listed_before = Some(before);
            source.early = Early::None;
            if source.usable {
                let asked: Vec<u32> = source.hash_requests.keys().copied().collect();
                source.part();
                self.scheduler.left(peer);
                self.buffers.retain(|(from, _), _| *from != peer);
                for entry in asked {
                    self.files.lose_hashes(entry, peer);
                }
                self.begin = true;
                self.give_up_refused();
            }
        }
        self.admit(peer, now);
    }

    fn manifest_came(
        &mut self,
        peer: PeerKey,
        signed: SignedManifest,
        now: Duration,
    ) -> Result<Option<FetchEvent>, FetchError> {
        let Some(source) = self.sources.get_mut(&peer) else {
            return Ok(None);
        };
        let list = List::open(&self.secret, Arc::new(signed))?;
        let edition = list.manifest.edition();
        match &mut source.listed {
            Some(listed) if listed.0 == list.hash => listed.1 = edition,
            // It got another one since it was asked.
            _ if source.listed_before == Some(list.hash) => {}
            _ => return Err(FetchError::OtherManifest),
        }
        let completed = self.list.as_ref().filter(|known| known.hash == list.hash);
        if completed.is_some_and(|known| !known.whole) {
            return Ok(list.whole.then(|| self.complete(list)));
        }
        let known = self.newer.as_ref().or(self.list.as_ref());
        if known.is_some_and(|known| known.manifest.edition() >= edition) {
            return Ok(None);
        }
        if self.accepted {
            self.newer = Some(list);
            return Ok(Some(FetchEvent::Outdated));
        }
        let first = self.list.is_none();
        self.adopt(list);
        self.next_interest = now;
        Ok(Some(match first {
            true => FetchEvent::Listed,
            false => FetchEvent::Replaced,
        }))
    }

    fn holds_all(&mut self, peer: PeerKey) {
        let is_worth_keeping = self.is_worth_keeping(peer);
        let Some(source) = self.sources.get_mut(&peer) else {
            return;
        };
        if !source.usable {
            if is_worth_keeping {
                source.early = Early::All;
            }
            return;
        }
        let (Some(list), refused) = (&self.list, &source.unavailable) else {
            return;
        };
        let mut held = PieceSet::all(list.pieces.count());
        remove_entries(&mut held, &list.pieces, refused.keys());
        source.no_hashes.clear();
        self.scheduler.set_holdings(peer, held);
        self.begin = true;
    }

    fn holds_field(&mut self, peer: PeerKey, first: u32, bits: &[u8]) -> Result<(), Violation> {
        let room = self.early_room();
        let is_worth_keeping = self.is_worth_keeping(peer);
        let Some(source) = self.sources.get_mut(&peer) else {
            return Ok(());
        };
        if !source.usable {
            return match is_worth_keeping {
                true => source.early.take_part(first, bits, room),
                false => Ok(()),
            };
        }
        let Some(held) = self.scheduler.holdings(peer) else {
            return Ok(());
        };
        let mut held = held.clone();
        let exist = held.take_part(first, bits);
        exist.ok_or(Violation("it holds pieces that do not exist"))?;
        if let Some(list) = &self.list {
            remove_entries(&mut held, &list.pieces, source.unavailable.keys());
        }
        source.no_hashes.clear();
        self.scheduler.set_holdings(peer, held);
        self.begin = true;
        Ok(())
    }

    fn holds(&mut self, peer: PeerKey, pieces: &[u32]) -> Result<(), Violation> {
        let room = self.early_room();
        let is_worth_keeping = self.is_worth_keeping(peer);
        let Some(source) = self.sources.get_mut(&peer) else {
            return Ok(());
        };
        if !source.usable {
            return match is_worth_keeping {
                true => source.early.take(pieces, room),
                false => Ok(()),
            };
        }
        let Some(list) = &self.list else {
            return Ok(());
        };
        for number in pieces {
            let Some(piece) = list.pieces.piece(*number) else {
                return Err(Violation("it holds pieces that do not exist"));
            };
            if !source.unavailable.contains_key(&piece.entry) {
                source.no_hashes.remove(&piece.entry);
                self.scheduler.holds(peer, *number);
            }
        }
        self.begin = true;
        Ok(())
    }

    /// Whether what a peer holds is of a list that may become the one here.
    fn is_worth_keeping(&self, peer: PeerKey) -> bool {
        let edition = self.list.as_ref().map(|list| list.manifest.edition());
        let source = self.sources.get(&peer);
        source.is_some_and(|source| edition.is_none_or(|known| source.is_ahead_of(known)))
    }

    /// Bytes that may still be kept of what peers hold of unknown lists.
    fn early_room(&self) -> usize {
        let kept: usize = self
            .sources
            .values()
            .map(|source| source.early.size())
            .sum();
        MAX_EARLY.saturating_sub(kept)
    }

    fn dropped(
        &mut self,
        peer: PeerKey,
        pieces: &[PieceRef],
        now: Duration,
    ) -> Result<(), Violation> {
        let Some(source) = self.sources.get(&peer) else {
            return Ok(());
        };
        for piece in pieces {
            let number = self
                .list
                .as_ref()
                .and_then(|list| list.pieces.number(*piece));
            let dropped = match number {
                Some(number) => self.scheduler.dropped(peer, number, now),
                None => Err(Violation("it dropped a piece that does not exist")),
            };
            self.buffers.remove(&(peer, *piece));
            if !source.is_past && !source.unavailable.contains_key(&piece.entry) {
                dropped?;
            }
        }
        Ok(())
    }

    fn lane_lost(
        &mut self,
        peer: PeerKey,
        pieces: &[PieceRef],
        now: Duration,
    ) -> Result<(), Violation> {
        let late = self.sources.get(&peer).is_some_and(|source| source.is_past);
        for piece in pieces {
            let list = self.list.as_ref();
            match list.and_then(|list| list.pieces.number(*piece)) {
                Some(number) => self.scheduler.may_be_lost(peer, number, now),
                None if late => {}
                None => return Err(Violation("it lost a piece that does not exist")),
            }
            self.buffers.remove(&(peer, *piece));
        }
        Ok(())
    }

    fn unavailable(&mut self, peer: PeerKey, entry: u32, reason: SourceProblem, now: Duration) {
        let (Some(list), Some(source)) = (&self.list, self.sources.get_mut(&peer)) else {
            return;
        };
        let numbers = list.pieces.of_entry(entry);
        if !source.usable || numbers.is_empty() {
            return;
        }
        source.unavailable.insert(entry, reason);
        source.hash_requests.remove(&entry);
        self.scheduler.holds_no_more(peer, numbers, now);
        self.files.lose_hashes(entry, peer);
        self.buffers
            .retain(|(from, piece), _| *from != peer || piece.entry != entry);
        if source.is_sharer {
            self.files.refuse(&source.unavailable);
        }
        self.begin = true;
        self.give_up_refused();
    }

    fn hashes(
        &mut self,
        peer: PeerKey,
        entry: u32,
        first: u32,
        part: &[PieceHash],
        now: Duration,
    ) -> Result<Option<FetchEvent>, FetchError> {
        let (Some(list), Some(source)) = (&self.list, self.sources.get_mut(&peer)) else {
            return Err(Violation("it sent hashes that were not asked for").into());
        };
        let count = list.pieces.of_entry(entry).len() as u32;
        let Some(request) = source.hash_requests.get_mut(&entry) else {
            let late = source.unavailable.contains_key(&entry) || source.is_past;
            return match late {
                true => Ok(None),
                false => Err(Violation("it sent hashes that were not asked for").into()),
            };
        };
        if first != request.got || part.len() as u32 > count - request.got || part.is_empty() {
            return Err(Violation("it sent hashes out of order").into());
        }
        request.got += part.len() as u32;
        request.since = now;
        let whole = request.got == count;
        if whole {
            source.hash_requests.remove(&entry);
        }
        let Some(file) = self.files.get_mut(entry) else {
            return Ok(None);
        };
        let Hashes::Coming(from, hashes) = &mut file.hashes else {
            return Ok(None);
        };
        if *from != peer {
            return Ok(None);
        }
        hashes.extend_from_slice(part);
        if !whole {
            return Ok(None);
        }
        let hashes = std::mem::take(hashes);
        let content = list.manifest.entries().get(entry as usize);
        let root = content.and_then(Entry::content).and_then(Content::root);
        let verified = root.and_then(|root| FileHashes::verify(file.size, root, hashes));
        let Some(hashes) = verified else {
            self.files.lose_hashes(entry, peer);
            return Err(FetchError::Hashes);
        };
        let numbers = list.pieces.of_entry(entry).zip(hashes.pieces());
        let mut signed = numbers.filter_map(|(number, hash)| Some((self.log.hash(number)?, *hash)));
        if signed.any(|(signed, listed)| signed != listed) {
            return Ok(Some(FetchEvent::Contradicted));
        }
        file.hashes = Hashes::Checking;
        Ok(Some(FetchEvent::Hashes {
            entry,
            hashes: Arc::new(hashes),
        }))
    }
}

fn remove_entries<'e>(
    held: &mut PieceSet,
    pieces: &PieceMap,
    entries: impl Iterator<Item = &'e u32>,
) {
    for entry in entries {
        for number in pieces.of_entry(*entry) {
            held.remove(number);
        }
    }
}
