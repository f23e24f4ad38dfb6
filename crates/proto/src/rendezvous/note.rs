//! The seal of what lies in the DHT: XChaCha20-Poly1305 under a key of the slot,
//! and the same length whatever is inside, so that nodes of the DHT learn nothing
//! from looking.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::Slot;

/// Length of every note in bytes. BEP 44 allows 999, but a node of the DHT puts up to
/// 750 bytes around what it answers with, and many routers drop what does not fit into
/// one packet of 1500.
pub const NOTE_LEN: usize = 700;
/// Random bytes that sealing takes.
pub const NONCE_LEN: usize = 24;
/// Bytes that a note can say.
pub const CONTENT_LEN: usize = NOTE_LEN - NONCE_LEN - TAG_LEN;

const TAG_LEN: usize = 16;

/// Why something in the DHT is no note, or nothing that can become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of the length that notes have.
    #[error("it is {0} bytes long, which no note is")]
    Length(usize),
    /// Not sealed for this slot.
    #[error("it was not sealed with this invite, or was damaged")]
    Sealed,
    /// Longer than fits.
    #[error("{0} bytes do not fit into a note")]
    TooLong(usize),
}

impl Slot {
    /// Seals what is to lie in this slot; zeros are added up to [`CONTENT_LEN`].
    /// `nonce` is random, drawn anew for each note.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], content: &[u8]) -> Result<Vec<u8>, NoteError> {
        if content.len() > CONTENT_LEN {
            return Err(NoteError::TooLong(content.len()));
        }
        let mut plain = content.to_vec();
        plain.resize(CONTENT_LEN, 0);
        let sealed = self
            .cipher()
            .encrypt(XNonce::from_slice(&nonce), plain.as_slice())
            .map_err(|_| NoteError::TooLong(content.len()))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what lies in this slot: [`CONTENT_LEN`] bytes.
    pub fn open(&self, note: &[u8]) -> Result<Vec<u8>, NoteError> {
        if note.len() != NOTE_LEN {
            return Err(NoteError::Length(note.len()));
        }
        let (nonce, sealed) = note.split_at(NONCE_LEN);
        self.cipher()
            .decrypt(XNonce::from_slice(nonce), sealed)
            .map_err(|_| NoteError::Sealed)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.sealing.into())
    }
}
