//! How the manifest comes from one peer: asked for, then in parts.
//!
//! Invariant: what comes was asked for, and no more bytes of it are taken than
//! were announced.

use std::time::Duration;

use crate::manifest::{MAX_MANIFEST_BYTES, ManifestError, SignedManifest};
use crate::serve::Violation;
use crate::wire::Signature;

use super::FetchError;

/// How long a peer may take for the next part of the list.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How often one peer is asked for the list; it allows four times.
const MOST_TRIES: u32 = 4;

#[derive(Clone, Debug)]
struct Incoming {
    public_key: [u8; 32],
    signature: [u8; 64],
    length: usize,
    got: usize,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    Asked,
    Coming(Incoming),
}

/// The list as one peer sends it.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    state: State,
    /// What comes is kept; another peer took over otherwise.
    kept: bool,
    /// The last part, or when it was asked for.
    since: Duration,
    tries: u32,
}

impl Default for Listing {
    fn default() -> Self {
        Listing {
            state: State::Idle,
            kept: false,
            since: Duration::ZERO,
            tries: 0,
        }
    }
}

impl Listing {
    /// Whether it can be asked for here, and how often it was.
    pub(super) fn tries(&self) -> Option<u32> {
        let idle = matches!(self.state, State::Idle) && self.tries < MOST_TRIES;
        idle.then_some(self.tries)
    }

    /// The list is asked for.
    pub(super) fn ask(&mut self, now: Duration) {
        self.state = State::Asked;
        self.kept = true;
        self.since = now;
        self.tries += 1;
    }

    /// Whether the list is awaited from here.
    pub(super) fn is_awaited(&self) -> bool {
        self.kept && !matches!(self.state, State::Idle)
    }

    /// Whether the next part of it is late.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.is_awaited() && now.saturating_sub(self.since) >= PATIENCE
    }

    /// What still comes is not needed.
    pub(super) fn forget(&mut self) {
        self.kept = false;
        if let State::Coming(incoming) = &mut self.state {
            incoming.bytes = Vec::new();
        }
    }

    /// The list is announced.
    pub(super) fn begins(
        &mut self,
        public_key: [u8; 32],
        signature: Signature,
        length: u32,
        now: Duration,
    ) -> Result<(), FetchError> {
        if !matches!(self.state, State::Asked) {
            return Err(Violation("it sent a list that was not asked for").into());
        }
        let length = length as usize;
        if length > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge.into());
        }
        self.since = now;
        self.state = State::Coming(Incoming {
            public_key,
            signature: signature.into(),
            length,
            got: 0,
            bytes: Vec::new(),
        });
        Ok(())
    }

    /// A part of the list comes. Gives the list when it is whole and needed.
    pub(super) fn goes_on(
        &mut self,
        part: &[u8],
        now: Duration,
    ) -> Result<Option<SignedManifest>, FetchError> {
        let State::Coming(incoming) = &mut self.state else {
            return Err(Violation("it sent part of a list out of turn").into());
        };
        incoming.got += part.len();
        if incoming.got > incoming.length {
            return Err(ManifestError::TooLarge.into());
        }
        self.since = now;
        if self.kept {
            incoming.bytes.extend_from_slice(part);
        }
        if incoming.got < incoming.length {
            return Ok(None);
        }
        let State::Coming(mut incoming) = std::mem::replace(&mut self.state, State::Idle) else {
            return Ok(None);
        };
        // It is kept for as long as the transfer.
        incoming.bytes.shrink_to_fit();
        Ok(std::mem::take(&mut self.kept).then_some(SignedManifest {
            public_key: incoming.public_key,
            signature: incoming.signature,
            bytes: incoming.bytes,
        }))
    }
}
