//! Knocks: the one sealed round trip with which a peer asks another to connect.
//!
//! A knock and its answer are the two messages of `Noise_NNpsk0` (Noise
//! Protocol Framework, revision 34, §9) with the invite's pre-shared key: who
//! lacks the secret can neither read, answer nor tell one share from another.
//! The payload is a device's identity and a compact WebRTC offer. How the bytes
//! travel (datagram, chat message) is not decided here.

use std::fmt;
use std::net::SocketAddr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use snow::{Builder, HandshakeState};

use crate::code;
use crate::invite::{InviteSecret, is_usable};
use crate::keys::DeviceId;
use crate::manifest::clean_name;
use crate::wire::Signature;

/// First byte of a knock datagram. RFC 7983 gives 128 to 191 to RTP, which a
/// data-only connection never carries.
pub const KNOCK_BYTE: u8 = 0x90;
/// First byte of an answer datagram.
pub const ANSWER_BYTE: u8 = 0x91;
/// Version of the knock's layout, second byte of every datagram.
pub const KNOCK_VERSION: u8 = 1;
/// Longest knock or answer, in bytes: fits one unfragmented IPv6 datagram.
pub const MAX_DATAGRAM: usize = 1200;
/// Most candidates in one offer.
pub const MAX_CANDIDATES: usize = 16;
/// Most addresses a knocker may ask to be called back on.
pub const MAX_CALL_BACK: usize = 6;
/// Longest device name, in characters.
pub const MAX_NAME_CHARS: usize = 40;

/// A name that is cut for want of room keeps so many bytes.
const SHORT_NAME_BYTES: usize = 48;
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"passalong knock 1";
const REPLY_PREFIX: &str = "passalong-reply:";
const ANSWER_PREFIX: &str = "passalong-answer:";
const PADDING: usize = 128;
const NOISE_OVERHEAD: usize = 32 + 16;
const ID_LEN: usize = 8;
const HEADER: usize = 2 + ID_LEN;
const CHECK_CONTEXT: &str = "passalong v1 knock text check";
const CHECK_LEN: usize = 4;

/// Ties an answer to its knock and a repeated knock to the first: chosen at
/// random by the knocker, one for each connection it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId(pub [u8; 16]);

/// A device's friendly name: on one line, nothing in it that is invisible or
/// changes direction, 1 to [`MAX_NAME_CHARS`] characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct DeviceName(String);

impl DeviceName {
    /// Makes a name out of anything, by the rules of [`clean_name`]; nothing left
    /// gives "Somebody".
    pub fn new(text: &str) -> Self {
        let visible: String = text.chars().filter(|c| !code::is_invisible(*c)).collect();
        let cut: String = clean_name(&visible).chars().take(MAX_NAME_CHARS).collect();
        let name = cut.trim_end();
        DeviceName(if name.is_empty() { "Somebody" } else { name }.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for DeviceName {
    fn from(text: String) -> Self {
        DeviceName::new(&text)
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.0
    }
}

/// What kind of ICE candidate an address is (RFC 8445 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CandidateKind {
    /// An address of an interface.
    Host,
    /// The address a STUN server saw.
    ServerReflexive,
    /// An address on a TURN server.
    Relayed,
    /// None at all: a member that both are linked with carries the datagrams
    /// ([`crate::wire::Message::Carry`]). The address means nothing.
    Carried,
}

/// One UDP ICE candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its kind.
    pub kind: CandidateKind,
    /// Where it is.
    pub address: SocketAddr,
    /// Its priority (RFC 8445 §5.1.2).
    pub priority: u32,
}

/// One side's half of a WebRTC negotiation: what an SDP description for a
/// single data-channel section says, in 100 to 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// ICE user name fragment (RFC 8839 §5.4: 4 to 256 ice-chars; at most 64 here).
    pub ufrag: IceToken,
    /// ICE password (22 to 256 ice-chars; at most 64 here).
    pub password: IceToken,
    /// SHA-256 of the DTLS certificate (RFC 8122 §5).
    pub fingerprint: [u8; 32],
    /// Where this side can be reached, at most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
}

impl Offer {
    /// Whether the connection is to go through another member: then there is one
    /// candidate, which says so.
    pub fn is_carried(&self) -> bool {
        self.candidates
            .iter()
            .any(|candidate| candidate.kind == CandidateKind::Carried)
    }

    /// Whether it keeps to the bounds of its parts, and leads to nothing but addresses
    /// that datagrams can be sent to.
    pub(crate) fn is_sound(&self) -> bool {
        self.candidates.len() <= MAX_CANDIDATES
            && self.password.as_str().len() >= 22
            && self.candidates.iter().all(|c| is_usable(&c.address))
            && (!self.is_carried() || self.candidates.len() == 1)
    }
}

/// An ICE credential: ice-chars only (letters, digits, `+`, `/`), so that it
/// can stand in an SDP line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IceToken(String);

impl IceToken {
    /// Checks length (4 to 64) and alphabet.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (4..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        fits.then(|| IceToken(text.to_owned()))
    }

    /// The credential.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IceToken {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        IceToken::new(&text).ok_or("not an ICE credential")
    }
}

impl From<IceToken> for String {
    fn from(token: IceToken) -> Self {
        token.0
    }
}

/// What a knock says. A knock may be sent again with more candidates; the
/// session says that it is the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// Which connection this is about.
    pub session: SessionId,
    /// Who knocks.
    pub device: DeviceId,
    /// What they go by.
    pub name: DeviceName,
    /// Their half of the negotiation.
    pub offer: Offer,
    /// Where an answer may be sent without having received a datagram from
    /// there: used when the knock came as a reply code.
    pub call_back: Vec<SocketAddr>,
}

impl Knock {
    /// Makes it fit into `limit` bytes once it is sealed, if it can: addresses to be
    /// called back on are left out, a very long name is cut, then candidates are left
    /// out, those of interfaces first and the last of them first.
    pub fn shorten(&mut self, limit: usize) {
        let fits = |knock: &Knock| sealed_len(knock).is_ok_and(|length| length <= limit);
        if fits(self) {
            return;
        }
        self.call_back.clear();
        if !fits(self) {
            let name = self.name.as_str();
            let cut = name.floor_char_boundary(SHORT_NAME_BYTES);
            self.name = DeviceName::new(&name[..cut]);
        }
        while !fits(self) && !self.offer.candidates.is_empty() {
            let candidates = &mut self.offer.candidates;
            let host = candidates
                .iter()
                .rposition(|candidate| candidate.kind == CandidateKind::Host);
            candidates.remove(host.unwrap_or(candidates.len() - 1));
        }
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Come in.
    Welcome {
        /// The session of the knock.
        session: SessionId,
        /// Who answers.
        device: DeviceId,
        /// What they go by.
        name: DeviceName,
        /// Their half of the negotiation.
        offer: Offer,
    },
    /// Not today.
    Refused {
        /// The session of the knock.
        session: SessionId,
        /// Why.
        reason: Refusal,
    },
}

impl Answer {
    /// The session the answer is about.
    pub fn session(&self) -> SessionId {
        match self {
            Answer::Welcome { session, .. } | Answer::Refused { session, .. } => *session,
        }
    }
}

/// Why a knock is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The share was stopped.
    Stopped {
        /// Public half of the share key.
        public_key: [u8; 32],
        /// By that key ([`crate::keys::stop_statement`]).
        signature: Signature,
    },
    /// The share is for one person, and somebody else has it.
    Taken,
    /// Too many people at once; worth another try later.
    Busy,
    /// The knocker is the sharer.
    OwnShare,
}

/// Why a knock or an answer was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KnockError {
    /// Wrong length, first byte or version.
    #[error("this is not a knock of a version that this Passalong knows")]
    Format,
    /// Sealed with another secret, or damaged.
    #[error("this was not made with this invite, or it was damaged on the way")]
    Sealed,
    /// Opened, but its content breaks a bound.
    #[error("this was made with this invite, but its content is malformed")]
    Content,
    /// The content does not fit a datagram.
    #[error("the knock does not fit into one datagram")]
    TooLarge,
}

/// The knocker's side of one sealed knock, kept until its answer is here.
pub struct SentKnock {
    id: [u8; ID_LEN],
    state: HandshakeState,
}

impl fmt::Debug for SentKnock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentKnock")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Seals a knock. The ephemeral key comes from the system's random source
/// through `snow`; everything else is given.
pub fn seal(secret: &InviteSecret, knock: &Knock) -> Result<(Vec<u8>, SentKnock), KnockError> {
    let psk = secret.psk();
    let mut state = handshake(&psk)?
        .build_initiator()
        .map_err(|_| KnockError::Format)?;
    let sealed = write(&mut state, knock)?;
    // The first eight bytes of the ephemeral key: random, and known to both.
    let id = first_bytes(&sealed).ok_or(KnockError::Format)?;
    Ok((datagram(KNOCK_BYTE, id, &sealed), SentKnock { id, state }))
}

/// How long a knock is once it is sealed, in bytes.
pub fn sealed_len(knock: &Knock) -> Result<usize, KnockError> {
    let plain = postcard::to_stdvec(knock).map_err(|_| KnockError::Content)?;
    Ok(HEADER + NOISE_OVERHEAD + plain.len().next_multiple_of(PADDING))
}

impl SentKnock {
    /// What the answer to this knock carries in its header.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// Opens the answer to this knock. What was not sealed by somebody who has
    /// the invite leaves this as it was, so that a forged answer cannot spoil
    /// the true one. One knock takes one answer: whoever wants another one
    /// seals another knock.
    pub fn open(&mut self, answer: &[u8]) -> Result<Answer, KnockError> {
        let (id, sealed) = split(ANSWER_BYTE, answer)?;
        if id != self.id {
            return Err(KnockError::Sealed);
        }
        let answer: Answer = read(&mut self.state, sealed)?;
        if let Answer::Welcome { offer, .. } = &answer {
            check_offer(offer)?;
        }
        Ok(answer)
    }
}

/// A knock that was opened: what it says, and what it takes to answer.
pub struct ReceivedKnock {
    /// What the knock says, checked.
    pub knock: Knock,
    id: [u8; ID_LEN],
    state: HandshakeState,
}

impl fmt::Debug for ReceivedKnock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedKnock")
            .field("knock", &self.knock)
            .finish_non_exhaustive()
    }
}

/// Opens a knock with one share's secret. Whoever offers several shares tries
/// each: a wrong one costs one authenticated decryption, no key agreement.
pub fn open(secret: &InviteSecret, bytes: &[u8]) -> Result<ReceivedKnock, KnockError> {
    let (id, sealed) = split(KNOCK_BYTE, bytes)?;
    // The one part of a knock that the seal does not cover.
    if first_bytes(sealed) != Some(id) {
        return Err(KnockError::Sealed);
    }
    let psk = secret.psk();
    let mut state = handshake(&psk)?
        .build_responder()
        .map_err(|_| KnockError::Format)?;
    let knock: Knock = read(&mut state, sealed)?;
    check_offer(&knock.offer)?;
    if knock.call_back.len() > MAX_CALL_BACK {
        return Err(KnockError::Content);
    }
    Ok(ReceivedKnock { knock, id, state })
}

impl ReceivedKnock {
    /// Seals the answer.
    pub fn answer(mut self, answer: &Answer) -> Result<Vec<u8>, KnockError> {
        let sealed = write(&mut self.state, answer)?;
        Ok(datagram(ANSWER_BYTE, self.id, &sealed))
    }
}

/// Whether a datagram claims to be a knock.
pub fn is_knock(bytes: &[u8]) -> bool {
    bytes.first() == Some(&KNOCK_BYTE)
}

/// Whether a datagram claims to be an answer.
pub fn is_answer(bytes: &[u8]) -> bool {
    bytes.first() == Some(&ANSWER_BYTE)
}

/// Whether a datagram claims to be either.
pub fn is_letter(bytes: &[u8]) -> bool {
    is_knock(bytes) || is_answer(bytes)
}

/// The number in a knock's or an answer's header: an answer has its knock's.
pub fn datagram_id(bytes: &[u8]) -> Option<[u8; 8]> {
    first_bytes(bytes.get(2..)?)
}

/// A knock or an answer as text to be sent by any means. It ends in a check, by
/// which the end of the code is told from whatever is written behind it.
pub fn to_text(bytes: &[u8]) -> String {
    let prefix = if is_answer(bytes) {
        ANSWER_PREFIX
    } else {
        REPLY_PREFIX
    };
    let checked = [bytes, &text_check(bytes)].concat();
    format!("{prefix}{}", BASE64URL_NOPAD.encode(&checked))
}

/// Finds a reply code or an answer code in a pasted text. White space and
/// invisible characters inside the code are ignored, text around it too. `None`
/// means there is none that is whole.
pub fn from_text(text: &str) -> Option<Vec<u8>> {
    [(REPLY_PREFIX, KNOCK_BYTE), (ANSWER_PREFIX, ANSWER_BYTE)]
        .into_iter()
        .find_map(|(prefix, first)| {
            text.match_indices(prefix)
                .filter_map(|(start, _)| read_text(&text[start + prefix.len()..]))
                .find(|bytes| bytes.first() == Some(&first))
        })
}

fn read_text(text: &str) -> Option<Vec<u8>> {
    let longest = BASE64URL_NOPAD.encode_len(MAX_DATAGRAM + CHECK_LEN);
    let code: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !code::is_invisible(*c))
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_')
        .take(longest)
        .collect();
    sizes().find_map(|size| {
        let code = code.get(..BASE64URL_NOPAD.encode_len(size + CHECK_LEN))?;
        let mut bytes = BASE64URL_NOPAD.decode(code.as_bytes()).ok()?;
        let check = bytes.split_off(size);
        (check == text_check(&bytes)).then_some(bytes)
    })
}

/// Every size that a knock or an answer can have, in bytes.
fn sizes() -> impl Iterator<Item = usize> {
    (HEADER + NOISE_OVERHEAD..=MAX_DATAGRAM).step_by(PADDING)
}

fn text_check(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let hash = blake3::derive_key(CHECK_CONTEXT, bytes);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Whether a pasted text claims to hold a reply or answer code, whole or not.
pub fn looks_like_text(text: &str) -> bool {
    text.contains(REPLY_PREFIX) || text.contains(ANSWER_PREFIX)
}

fn handshake(psk: &[u8; 32]) -> Result<Builder<'_>, KnockError> {
    let params = PATTERN.parse().map_err(|_| KnockError::Format)?;
    Builder::new(params)
        .prologue(PROLOGUE)
        .and_then(|b| b.psk(0, psk))
        .map_err(|_| KnockError::Format)
}

fn write<T: Serialize>(state: &mut HandshakeState, content: &T) -> Result<Vec<u8>, KnockError> {
    let mut plain = postcard::to_stdvec(content).map_err(|_| KnockError::Content)?;
    plain.resize(plain.len().next_multiple_of(PADDING), 0);
    if HEADER + NOISE_OVERHEAD + plain.len() > MAX_DATAGRAM {
        return Err(KnockError::TooLarge);
    }
    let mut sealed = vec![0; NOISE_OVERHEAD + plain.len()];
    let written = state
        .write_message(&plain, &mut sealed)
        .map_err(|_| KnockError::Format)?;
    sealed.truncate(written);
    Ok(sealed)
}

fn read<T: for<'de> Deserialize<'de>>(
    state: &mut HandshakeState,
    sealed: &[u8],
) -> Result<T, KnockError> {
    let mut plain = vec![0; sealed.len()];
    let length = state
        .read_message(sealed, &mut plain)
        .map_err(|_| KnockError::Sealed)?;
    let (content, padding) =
        postcard::take_from_bytes(&plain[..length]).map_err(|_| KnockError::Content)?;
    if padding.len() >= PADDING || padding.iter().any(|b| *b != 0) {
        return Err(KnockError::Content);
    }
    Ok(content)
}

fn check_offer(offer: &Offer) -> Result<(), KnockError> {
    match offer.is_sound() {
        true => Ok(()),
        false => Err(KnockError::Content),
    }
}

fn datagram(first: u8, id: [u8; ID_LEN], sealed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + sealed.len());
    bytes.extend_from_slice(&[first, KNOCK_VERSION]);
    bytes.extend_from_slice(&id);
    bytes.extend_from_slice(sealed);
    bytes
}

fn split(first: u8, bytes: &[u8]) -> Result<([u8; ID_LEN], &[u8]), KnockError> {
    match bytes {
        [f, KNOCK_VERSION, rest @ ..] if *f == first && bytes.len() <= MAX_DATAGRAM => {
            let id = first_bytes(rest).ok_or(KnockError::Format)?;
            Ok((id, &rest[ID_LEN..]))
        }
        _ => Err(KnockError::Format),
    }
}

fn first_bytes(bytes: &[u8]) -> Option<[u8; ID_LEN]> {
    bytes.get(..ID_LEN)?.try_into().ok()
}
