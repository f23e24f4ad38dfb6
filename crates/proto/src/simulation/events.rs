//! What is under way from one simulated peer to another, by the step it arrives in.
//!
//! Invariant: what was put in first for a step comes out first.

use std::collections::VecDeque;

use crate::pieces::PieceSet;
use crate::wire::Member;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) link: u32,
    /// 0 or 1.
    pub(super) side: u8,
}

impl End {
    /// The end on the other side.
    pub(super) fn other(self) -> End {
        End {
            side: 1 - self.side,
            ..self
        }
    }
}

/// Something that happens to a peer.
#[derive(Debug)]
pub(super) enum Event {
    /// It opens the invite.
    Arrives(u32),
    /// Its attempt to connect with another one is over.
    Answered { from: u32, to: u32 },
    /// Its link is found to be dead.
    Gone(End),
    /// A message came over a link.
    Came(End, Note),
}

/// A message between linked peers: what [`crate::wire::Message`] says, with
/// pieces by number.
#[derive(Debug)]
pub(super) enum Note {
    Field(Box<PieceSet>),
    Holds(u32),
    Complete,
    Interest(bool),
    Unchoke,
    Choke,
    Request(Vec<u32>),
    Cancel(Vec<u32>),
    Dropped(Vec<u32>),
    Members(Vec<Member>),
}

/// Everything under way.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// From the present step on.
    steps: VecDeque<Vec<Event>>,
}

impl Events {
    /// Something that happens `after` so many steps, in the next one at the least.
    pub(super) fn put(&mut self, after: usize, event: Event) {
        let after = after.max(1) - 1;
        if self.steps.len() <= after {
            self.steps.resize_with(after + 1, Vec::new);
        }
        self.steps[after].push(event);
    }

    /// A step passes; gives what happens in it.
    pub(super) fn step(&mut self) -> Vec<Event> {
        self.steps.pop_front().unwrap_or_default()
    }
}
