//! The two kinds of Ed25519 key: a device's lasting one and a share's one-off one.
//!
//! Randomness is an argument: keys are made from 32 seed bytes that the caller
//! drew from the operating system. No secret key ever appears in `Debug` output.
//! Where seeds are stored is not decided here.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::invite::InviteSecret;

const STOP_CONTEXT: &str = "passalong v1 share stopped";
const LINK_BINDING_CONTEXT: &str = "passalong v1 link binding";

/// A device's long-lived secret key: what makes "Ana's laptop" the same device
/// the next time it is met.
#[derive(Clone)]
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// The key that belongs to 32 uniformly random seed bytes (RFC 8032, 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> DeviceKey {
        DeviceKey(SigningKey::from_bytes(&seed))
    }

    /// The seed bytes, for storing the key; as secret as the key itself.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half, under which other devices know this one.
    pub fn public(&self) -> DeviceId {
        DeviceId(self.0.verifying_key().to_bytes())
    }

    /// An Ed25519 signature over `message`; [`DeviceId::verify`] checks it.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey(of {})", self.public())
    }
}

/// A device's public Ed25519 key (32 bytes, compressed point). Any 32 bytes can
/// be held; bytes that are no sound key simply verify nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeviceId(pub [u8; 32]);

impl DeviceId {
    /// The first 16 hexadecimal digits: enough to tell devices apart in a list
    /// and in logs, not enough to trust one.
    pub fn short(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex()[..16].to_owned()
    }

    /// Whether `signature` over `message` was made by this device. Strict
    /// verification: weak keys and malleable signatures are refused.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        verify(&self.0, message, signature)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.short())
    }
}

/// The secret key of one share. It signs the share's manifest; its public half
/// is never published, only committed to by the [`InviteSecret`].
#[derive(Clone)]
pub struct ShareKey(SigningKey);

impl ShareKey {
    /// The key that belongs to 32 uniformly random seed bytes (RFC 8032, 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> ShareKey {
        ShareKey(SigningKey::from_bytes(&seed))
    }

    /// The seed bytes, for storing the key; as secret as the key itself.
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public half. Whoever knows it can compute the invite, so it travels
    /// only inside connections that the invite already opened.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The secret that an invite into this share carries.
    pub fn secret(&self) -> InviteSecret {
        InviteSecret::from_public_key(&self.public())
    }

    /// An Ed25519 signature over `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for ShareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The public half gives the invite away, so it stays out as well.
        write!(f, "ShareKey(of share {})", self.secret().id())
    }
}

/// Which side of a knock a signer is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The side that asked to connect.
    Knocker,
    /// The side that answered.
    Answerer,
}

/// What a device key signs to say "this link ends at me": a hash of the signer's
/// role, the SHA-256 fingerprints of both DTLS certificates and the invite.
///
/// All arguments are from the signer's point of view. To check the other side's
/// signature, pass *its* role, *its* fingerprint first and one's own second. As
/// the role is part of the hash, neither side's signature can stand in for the
/// other's, and a relay that ends DTLS itself has no fingerprints to match.
pub fn link_binding(
    role: Role,
    own_fingerprint: &[u8; 32],
    peer_fingerprint: &[u8; 32],
    secret: &InviteSecret,
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(LINK_BINDING_CONTEXT);
    hasher.update(&[match role {
        Role::Knocker => 0,
        Role::Answerer => 1,
    }]);
    hasher.update(own_fingerprint);
    hasher.update(peer_fingerprint);
    hasher.update(secret.as_bytes());
    *hasher.finalize().as_bytes()
}

/// What a share key signs to say that the share is stopped for good.
pub fn stop_statement(secret: &InviteSecret) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(STOP_CONTEXT);
    hasher.update(secret.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Whether `signature` over `message` was made by the share key that the invite
/// commits to.
pub fn is_from_sharer(
    secret: &InviteSecret,
    public_key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> bool {
    secret.commits_to(public_key) && verify(public_key, message, signature)
}

/// Strict Ed25519 verification under 32 bytes that claim to be a public key.
pub(crate) fn verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(public_key).is_ok_and(|key| {
        key.verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    })
}
