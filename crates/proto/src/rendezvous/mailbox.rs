//! Sealed knocks that wait for a member, and the answer that waits for whoever
//! knocked.
//!
//! A mailbox holds [`LETTERS`] knocks, the newest first. Whoever puts one in keeps
//! the others that fit. Knocks and answers stay sealed as they are; what is in
//! them is the business of `knock`.

use super::Hour;
use super::note::CONTENT_LEN;
use crate::knock;

/// Knocks in one mailbox.
pub const LETTERS: usize = 2;
/// Longest knock that a mailbox takes, in bytes.
pub const MAX_LETTER: usize = (CONTENT_LEN - 1) / LETTERS - OVERHEAD;

const VERSION: u8 = 1;
/// Hour and length.
const OVERHEAD: usize = 2 + 2;

/// A knock in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// When it was put in, by the clock of who did.
    pub hour: Hour,
    /// The sealed knock.
    pub knock: Vec<u8>,
}

/// What a mailbox holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox(Vec<Letter>);

impl Mailbox {
    /// What a mailbox should hold once `knock` is put into it at `now`, if it fits:
    /// the knock, then what was read from it, without what is from another day and
    /// what `replaces` says to be an earlier knock of the same person.
    pub fn with(
        knock: Vec<u8>,
        now: Hour,
        read: &[Mailbox],
        replaces: impl Fn(&[u8]) -> bool,
    ) -> Option<Mailbox> {
        if knock.len() > MAX_LETTER {
            return None;
        }
        let mut mailbox = Mailbox::without(now, read, |other| other == knock || replaces(other));
        mailbox.0.truncate(LETTERS - 1);
        mailbox.0.insert(0, Letter { hour: now, knock });
        Some(mailbox)
    }

    /// What a mailbox should hold once those knocks are taken out that `gone` says.
    pub fn without(now: Hour, read: &[Mailbox], gone: impl Fn(&[u8]) -> bool) -> Mailbox {
        let mut kept: Vec<Letter> = Vec::new();
        for letter in read.iter().flat_map(|mailbox| &mailbox.0) {
            let known = kept.iter().any(|other| other.knock == letter.knock);
            if !known && letter.hour.is_near(now) && !gone(&letter.knock) {
                kept.push(letter.clone());
            }
        }
        kept.truncate(LETTERS);
        Mailbox(kept)
    }

    /// The bytes to seal.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for letter in &self.0 {
            bytes.extend(letter.hour.0.to_be_bytes());
            bytes.extend((letter.knock.len() as u16).to_be_bytes());
            bytes.extend(&letter.knock);
        }
        bytes
    }

    /// Reads what a note says, up to the first thing that makes no sense; of a
    /// version that is not known nothing.
    pub fn decode(content: &[u8]) -> Mailbox {
        let mut mailbox = Mailbox::default();
        let Some((&VERSION, mut rest)) = content.split_first() else {
            return mailbox;
        };
        while mailbox.0.len() < LETTERS
            && let Some((fixed, after)) = rest.split_first_chunk::<OVERHEAD>()
        {
            let [h1, h2, l1, l2] = *fixed;
            let length = usize::from(u16::from_be_bytes([l1, l2]));
            let Some((letter, after)) = after.split_at_checked(length) else {
                break;
            };
            if length > MAX_LETTER || !knock::is_knock(letter) {
                break;
            }
            mailbox.0.push(Letter {
                hour: Hour(u16::from_be_bytes([h1, h2])),
                knock: letter.to_vec(),
            });
            rest = after;
        }
        mailbox
    }

    /// The knocks in it whose hour is near `now`.
    pub fn knocks(&self, now: Hour) -> impl Iterator<Item = &[u8]> {
        let near = move |letter: &&Letter| letter.hour.is_near(now);
        self.0
            .iter()
            .filter(near)
            .map(|letter| letter.knock.as_slice())
    }
}

/// The bytes to seal for a sealed answer, if it fits.
pub fn encode_answer(answer: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(answer.len()).ok()?;
    let bytes = [&[VERSION][..], &length.to_be_bytes(), answer].concat();
    (bytes.len() <= CONTENT_LEN).then_some(bytes)
}

/// The sealed answer that a note holds.
pub fn decode_answer(content: &[u8]) -> Option<&[u8]> {
    let (&VERSION, rest) = content.split_first()? else {
        return None;
    };
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let answer = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    knock::is_answer(answer).then_some(answer)
}
