//! Fetching: what was asked for is told from what was not, whatever one peer does
//! is nothing to the others. Whole transfers are simulated in
//! `fetch_simulation.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;

use bytes::Bytes;
use passalong_proto::fetch::{Fetch, FetchError, PeerKey};
use passalong_proto::wire::{Frame, Message, PieceRef, SourceProblem};

use files::START;

mod choice;
#[path = "../files/mod.rs"]
mod files;
mod hashes;
mod list;
mod source;

const THREE: PeerKey = PeerKey(3);
const REASON: SourceProblem = SourceProblem::Changed;

fn piece(entry: u32, piece: u32) -> PieceRef {
    PieceRef { entry, piece }
}

fn frame(entry: u32, index: u32, offset: u32, data: &[u8]) -> Frame {
    Frame {
        piece: piece(entry, index),
        offset,
        data: Bytes::copy_from_slice(data),
    }
}

fn is_violation<T>(outcome: &Result<T, FetchError>) -> bool {
    matches!(outcome, Err(FetchError::Violation(_)))
}

fn none() -> HashSet<u32> {
    HashSet::new()
}

/// Handles a message that leads to nothing.
fn hears(fetch: &mut Fetch, peer: PeerKey, message: Message) {
    assert_eq!(fetch.handle(peer, message, START).unwrap(), None);
}

fn accept(fetch: &mut Fetch, wanted: &[u32]) {
    fetch.accept(wanted, &none(), Vec::new()).unwrap();
}

fn unavailable(entry: u32) -> Message {
    let reason = REASON;
    Message::Unavailable { entry, reason }
}

fn want_hashes(messages: &[(PeerKey, Message)]) -> Vec<(PeerKey, u32)> {
    let wanted = messages.iter().filter_map(|(peer, message)| match message {
        Message::WantHashes { entry } => Some((*peer, *entry)),
        _ => None,
    });
    wanted.collect()
}

fn interests(messages: &[(PeerKey, Message)]) -> Vec<(PeerKey, bool)> {
    let told = messages.iter().filter_map(|(peer, message)| match message {
        Message::Interest { wants } => Some((*peer, *wants)),
        _ => None,
    });
    told.collect()
}
