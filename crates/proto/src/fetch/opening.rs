//! A fetch whose list is not whole yet: signed hashes taken in, and the whole list
//! taken over when it comes.
//!
//! Invariant: what the whole list says agrees with all that was signed before it, or
//! the share is given up.

use std::sync::Arc;

use crate::manifest::{Content, Entry, Manifest, ManifestError, SignedManifest};
use crate::serve::Violation;
use crate::signed_hashes::SignedHashes;
use crate::tree::PieceHash;
use crate::wire::{Message, Signature, SourceProblem};

use super::{Fetch, FetchError, FetchEvent, Hashes, List, PeerKey};

impl Fetch {
    /// Takes in signed hashes that were kept. Those that the sharer did not sign for this
    /// list, or that contradict the others, are passed over.
    pub fn restore_signed_hashes(&mut self, kept: impl IntoIterator<Item = SignedHashes>) {
        let Some(list) = &self.list else {
            return;
        };
        for part in kept {
            let known = part.pieces().end <= list.pieces.count()
                && part.is_genuine(&self.secret, &list.signed.public_key, &list.hash);
            // What contradicts itself shows again when it is told again.
            let _ = known.then(|| self.log.add(part));
        }
    }

    /// Takes over the whole list that follows the one that is here, as one made and
    /// signed it oneself. `None` if it does not follow that one, or that one is whole.
    ///
    /// # Errors
    ///
    /// As for [`Fetch::own`].
    pub fn complete_with(
        &mut self,
        manifest: Manifest,
        signed: SignedManifest,
    ) -> Result<Option<FetchEvent>, ManifestError> {
        let list = List::of(manifest, Arc::new(signed)).ok_or(ManifestError::TooLarge)?;
        let here = self.list.as_ref();
        let follows = here.is_some_and(|here| here.hash == list.hash && !here.whole && list.whole);
        Ok(follows.then(|| self.complete(list)))
    }

    /// Asks the next peer for the hashes that the sharer signs. Everybody is asked: they
    /// are small, and nobody knows who hears of them first.
    pub(super) fn next_signed_hashes(&mut self) -> Option<(PeerKey, Message)> {
        let whole = self.list.as_ref().is_none_or(|list| list.whole);
        if whole || self.files.is_empty() {
            return None;
        }
        let mut sources = self.sources.iter_mut();
        let (peer, source) = sources.find(|(_, source)| source.usable && !source.tells_hashes)?;
        source.tells_hashes = true;
        let from = self.log.first_unknown();
        Some((*peer, Message::WantSignedHashes { from }))
    }

    pub(super) fn signed_hashes_came(
        &mut self,
        peer: PeerKey,
        first: u32,
        hashes: Vec<PieceHash>,
        signature: Signature,
    ) -> Result<Option<FetchEvent>, FetchError> {
        let (Some(list), Some(source)) = (&self.list, self.sources.get(&peer)) else {
            return Err(Violation("it sent signed hashes that were not asked for").into());
        };
        if !source.tells_hashes {
            return match source.is_past {
                true => Ok(None),
                false => Err(Violation("it sent signed hashes that were not asked for").into()),
            };
        }
        let count = list.pieces.count();
        let Some(part) = SignedHashes::parse(first, hashes, signature.into(), count) else {
            return Err(Violation("it sent hashes of pieces that do not exist").into());
        };
        // Of a whole list they are not needed, and others have told the same.
        if list.whole || self.log.has(&part) {
            return Ok(None);
        }
        if !part.is_genuine(&self.secret, &list.signed.public_key, &list.hash) {
            return Err(FetchError::Unsigned);
        }
        if self.log.add(part.clone()).is_err() || !self.agrees(&part) {
            return Ok(Some(FetchEvent::Contradicted));
        }
        self.open_signed(&part);
        Ok(Some(FetchEvent::Signed(part)))
    }

    /// Whether the list agrees with what is signed of the files of these pieces.
    fn agrees(&self, part: &SignedHashes) -> bool {
        let Some(list) = &self.list else {
            return true;
        };
        let piece = |number: u32| list.pieces.piece(number).map(|piece| piece.entry);
        let mut numbers = part.pieces();
        while let Some(entry) = numbers.next().and_then(piece) {
            if !self.agrees_on(entry, list) {
                return false;
            }
            numbers.start = list.pieces.of_entry(entry).end.max(numbers.start);
        }
        true
    }

    /// Whether what a list says of a file agrees with what was signed of it.
    fn agrees_on(&self, entry: u32, list: &List) -> bool {
        let told = list.manifest.entries().get(entry as usize);
        let Some(root) = told.and_then(Entry::content).and_then(Content::root) else {
            return true;
        };
        let numbers = list.pieces.of_entry(entry);
        let signed = self.log.file(list.pieces.size(entry), numbers);
        signed.is_none_or(|signed| signed.root() == root)
    }

    /// Pieces of begun files may be asked for.
    fn open_signed(&mut self, part: &SignedHashes) {
        let Some(list) = &self.list else {
            return;
        };
        for number in part.pieces() {
            let piece = list.pieces.piece(number);
            let file = piece.and_then(|piece| self.files.get_mut(piece.entry));
            if file.is_some_and(|file| file.signed && matches!(file.hashes, Hashes::Ready)) {
                self.scheduler.open(number);
            }
        }
        self.begin = true;
    }

    /// The whole list that follows the one that is here. `handle` gives the event.
    pub(super) fn complete(&mut self, list: List) -> FetchEvent {
        let Some(before) = self.list.replace(list.clone()) else {
            return FetchEvent::Listed;
        };
        let both = before
            .manifest
            .entries()
            .iter()
            .zip(list.manifest.entries());
        let mut both = both.map(|(before, after)| (before.content(), after.content()));
        let kept = both.all(|(before, after)| before == after || before == Some(Content::Hashing));
        let entries = 0..list.pieces.entries();
        if !kept || !entries.clone().all(|entry| self.agrees_on(entry, &list)) {
            return FetchEvent::Contradicted;
        }
        for entry in self.files.signed() {
            let content = list.manifest.entries().get(entry as usize);
            let numbers = list.pieces.of_entry(entry);
            if content.and_then(Entry::content) == Some(Content::Lost) {
                self.give_up(entry, SourceProblem::Changed);
            } else if !self.log.covers(numbers.clone()) && self.files.rely_on_list(entry) {
                numbers.for_each(|number| self.scheduler.open(number));
            }
        }
        self.begin = true;
        FetchEvent::Completed
    }
}
