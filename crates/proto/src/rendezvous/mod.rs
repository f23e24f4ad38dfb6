//! Meeting in the Mainline DHT: where members and receivers of a share leave
//! sealed notes for each other (BEP 44 mutable items).
//!
//! Every place follows from the invite secret, so whoever holds the invite finds
//! all of them and nobody else can tell what they are, read them or write there.
//! `note` is the seal, `presence` and `mailbox` are what notes say, `agenda` when
//! they are looked at, `rounds` how the shares of a device share that. How bytes get in and out of the DHT is not decided here.
//!
//! Places do not depend on the time: with the clocks of two people a day off, each
//! would have to look at several days' places and be a worse guest for it.

pub mod agenda;
pub mod mailbox;
pub mod note;
pub mod presence;
pub mod rounds;

use ed25519_dalek::SigningKey;

use crate::invite::InviteSecret;
use crate::keys::DeviceId;
use crate::knock::SessionId;

/// Places where members say that they are there.
pub const PRESENCE_SLOTS: u8 = 4;
/// Mailboxes that knocks are put into.
pub const MAILBOXES: u8 = 4;
/// Places for the answers to one knock.
pub const ANSWER_SLOTS: u8 = 2;

/// Clocks may be off by this many hours from each other, the age of a note
/// included; what claims to be from further away is left unread. The DHT forgets
/// notes within two hours, so this only bounds how long replays are of any use.
pub const TOLERANCE_HOURS: u16 = 50;

const SIGNING_CONTEXT: &str = "passalong v1 dht slot signing key";
const SEALING_CONTEXT: &str = "passalong v1 dht slot sealing key";

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Members say where they are; under [`PRESENCE_SLOTS`].
    Presence(u8),
    /// Knocks wait for members; under [`MAILBOXES`].
    Mailbox(u8),
    /// Answers wait for whoever knocked; under [`ANSWER_SLOTS`].
    Answer(SessionId, u8),
}

impl Place {
    /// Every place where members may be found.
    pub fn presences() -> impl Iterator<Item = Place> {
        (0..PRESENCE_SLOTS).map(Place::Presence)
    }

    /// Every mailbox.
    pub fn mailboxes() -> impl Iterator<Item = Place> {
        (0..MAILBOXES).map(Place::Mailbox)
    }

    /// Every place where the answer to a knock may be.
    pub fn answers(session: SessionId) -> impl Iterator<Item = Place> {
        (0..ANSWER_SLOTS).map(move |index| Place::Answer(session, index))
    }

    /// Where a device says that it is there at its `attempt`th attempt: spread
    /// over the places, and the same after a restart.
    pub fn of_device(device: DeviceId, attempt: u8) -> Place {
        Place::Presence(device.0[0].wrapping_add(attempt) % PRESENCE_SLOTS)
    }

    /// The place as bytes, different for each.
    fn bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        let (kind, index) = match self {
            Place::Presence(index) => (0, index),
            Place::Mailbox(index) => (1, index),
            Place::Answer(session, index) => {
                bytes[2..].copy_from_slice(&session.0);
                (2, index)
            }
        };
        bytes[..2].copy_from_slice(&[kind, index]);
        bytes
    }
}

/// A place of one share: the key that its notes are signed with in the DHT, and
/// the one that they are sealed with.
#[derive(Clone)]
pub struct Slot {
    signing: SigningKey,
    sealing: [u8; 32],
    place: Place,
}

impl Slot {
    /// The slot of a place in the share behind `secret`.
    pub fn new(secret: &InviteSecret, place: Place) -> Slot {
        let material = [&secret.as_bytes()[..], &place.bytes()].concat();
        let seed = blake3::derive_key(SIGNING_CONTEXT, &material);
        Slot {
            signing: SigningKey::from_bytes(&seed),
            sealing: blake3::derive_key(SEALING_CONTEXT, &material),
            place,
        }
    }

    /// The key whose public half names the slot in the DHT.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    /// The name of the slot in the DHT (BEP 44 `k`).
    pub fn public(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// What it is for.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Slot").field(&self.place).finish()
    }
}

/// The sequence number to write with where `seen` is the greatest that was read
/// (BEP 44 `seq`). `None`: whoever wrote last left no greater one, so the slot is
/// lost for now.
pub fn next_seq(seen: Option<i64>) -> Option<i64> {
    seen.map_or(Some(1), |seen| seen.max(0).checked_add(1))
}

/// Hours since 1970, as written into notes; wraps every seven years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour(pub u16);

impl Hour {
    /// The hour of a Unix time in seconds.
    pub fn of_unix(seconds: u64) -> Hour {
        Hour((seconds / 3600) as u16)
    }

    /// Whether it is within [`TOLERANCE_HOURS`] of `now`, before or after.
    pub fn is_near(self, now: Hour) -> bool {
        let apart = self.0.wrapping_sub(now.0);
        apart.min(apart.wrapping_neg()) <= TOLERANCE_HOURS
    }
}
