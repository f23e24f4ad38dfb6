//! The invite: the secret that lets a person into one share, and the places where
//! the sharer may be found. Written as a code (see [`crate::code`]) or as a link.
//!
//! An [`InviteSecret`] is a commitment to the share's public key at the same time:
//! whatever that key signed can be checked by whoever holds the invite. Text that
//! is read here comes from strangers; it is bounded before it is looked at, and
//! addresses are hints that may be wrong, never reasons to fail.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use crate::code::{self, CODE_LEN, Code};

/// Addresses that a link carries at most.
pub const MAX_ADDRESSES: usize = 6;

/// Longest text, in bytes, that is searched for an invite.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

const SCHEME: &str = "passalong:";

const SECRET_CONTEXT: &str = "passalong v1 invite secret";
const PSK_CONTEXT: &str = "passalong v1 knock psk";
const LAN_TAG_CONTEXT: &str = "passalong v1 lan tag";
const ID_CONTEXT: &str = "passalong v1 share id";

/// The 95 secret bits of an invite: the first 95 bits of a BLAKE3 `derive_key`
/// hash of the share's public key. Whoever has them may enter the share.
///
/// Comparison takes the same time wherever the bits differ, and `Debug` shows the
/// public [`id`](InviteSecret::id) instead of the bits.
#[derive(Clone, Copy)]
pub struct InviteSecret([u8; 12]);

impl InviteSecret {
    /// The secret that commits to the share whose Ed25519 public key this is.
    pub fn from_public_key(public: &[u8; 32]) -> InviteSecret {
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&blake3::derive_key(SECRET_CONTEXT, public)[..12]);
        InviteSecret::from_bytes(bytes)
    }

    /// The secret held by the first 95 bits of `bytes`; the last bit is ignored.
    pub fn from_bytes(mut bytes: [u8; 12]) -> InviteSecret {
        bytes[11] &= !1;
        InviteSecret(bytes)
    }

    /// The bits, first one in the highest bit of the first byte; the very last bit
    /// is zero.
    pub fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// Whether this invite is for the share that signs with `public`.
    pub fn commits_to(&self, public: &[u8; 32]) -> bool {
        *self == InviteSecret::from_public_key(public)
    }

    /// The Noise pre-shared key that seals knocks.
    pub fn psk(&self) -> [u8; 32] {
        blake3::derive_key(PSK_CONTEXT, &self.0)
    }

    /// The mDNS instance name under which the share is found on a local network:
    /// 20 hexadecimal digits that tell outsiders nothing.
    pub fn lan_tag(&self) -> String {
        self.derived_hex(LAN_TAG_CONTEXT, 20)
    }

    /// The name of the share on this device, in the window, in storage and in
    /// logs: 16 hexadecimal digits from which the secret cannot be found.
    pub fn id(&self) -> String {
        self.derived_hex(ID_CONTEXT, 16)
    }

    fn derived_hex(&self, context: &str, digits: usize) -> String {
        let hash = blake3::Hash::from_bytes(blake3::derive_key(context, &self.0));
        hash.to_hex()[..digits].to_owned()
    }
}

impl PartialEq for InviteSecret {
    fn eq(&self, other: &InviteSecret) -> bool {
        let differing = (self.0.iter().zip(&other.0)).fold(0, |seen, (a, b)| seen | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

impl Eq for InviteSecret {}

impl Hash for InviteSecret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for InviteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InviteSecret(of share {})", self.id())
    }
}

/// An invite into one share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// What lets the holder in.
    pub secret: InviteSecret,
    /// Where the sharer's knock port may be reached, best guess first.
    pub addresses: Vec<SocketAddr>,
}

impl Invite {
    /// An invite with those of `addresses` that somebody else can use: at most
    /// [`MAX_ADDRESSES`] of them, each once, none unspecified, multicast,
    /// broadcast or with port 0. IPv6 zone ids are dropped, they mean nothing on
    /// another device.
    pub fn new(secret: InviteSecret, addresses: impl IntoIterator<Item = SocketAddr>) -> Invite {
        let mut invite = Invite {
            secret,
            addresses: Vec::new(),
        };
        for address in addresses {
            invite.add(address);
        }
        invite
    }

    fn add(&mut self, mut address: SocketAddr) {
        if let SocketAddr::V6(v6) = &mut address {
            v6.set_scope_id(0);
        }
        let room = self.addresses.len() < MAX_ADDRESSES;
        if room && is_usable(&address) && !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// The code: four groups of five characters. It does not hold the addresses.
    pub fn code(&self) -> String {
        Code::from(self.secret).to_string()
    }

    /// The link, as in `passalong:CODE?a=192.0.2.1:4000,[2001:db8::1]:4000`, with
    /// the addresses that [`Invite::new`] would keep. Without any it ends after
    /// the code.
    pub fn link(&self) -> String {
        let usable = Invite::new(self.secret, self.addresses.iter().copied());
        let addresses: Vec<String> = usable.addresses.iter().map(ToString::to_string).collect();
        let question = if addresses.is_empty() { "" } else { "?a=" };
        format!("{SCHEME}{}{question}{}", self.code(), addresses.join(","))
    }

    /// Finds the invite in what a person pasted: a code or a link, alone or within
    /// a message, with the damage that messengers do to either (see
    /// [`Code::find_in`]). Of several invites the first link wins, then the first
    /// code. Addresses that make no sense and unknown parameters are left out.
    ///
    /// # Errors
    ///
    /// What is wrong with the code, or [`InviteError::NotAnInvite`] when there is
    /// none; always without having touched the network.
    pub fn parse(text: &str) -> Result<Invite, InviteError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(InviteError::NotAnInvite);
        }
        let mut spoiled = None;
        // Lowering ASCII alone keeps every byte offset.
        let lowered = text.to_ascii_lowercase();
        for (start, _) in lowered.match_indices(SCHEME) {
            match parse_link_body(&text[start + SCHEME.len()..]) {
                Ok(invite) => return Ok(invite),
                Err(error) => spoiled = spoiled.or(Some(error)),
            }
        }
        match Code::find_in(text) {
            Ok(code) => Ok(Invite::new(code.secret(), [])),
            Err(error) => Err(spoiled.unwrap_or(error)),
        }
    }
}

/// Why a text is no invite. The messages speak to the person who pasted it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InviteError {
    /// There was nothing but white space.
    #[error("there is nothing here yet: paste the invite that you were sent")]
    Empty,
    /// Nothing in the text looks like an invite.
    #[error(
        "this is not an invite: a code looks like 4 groups of 5 letters and digits, a link begins \
         with “passalong:”; copy it again from the message you were sent"
    )]
    NotAnInvite,
    /// It looks like a code with characters missing or too many.
    #[error(
        "the code has {found} characters and should have 20: {}, so copy it again from the \
         message you were sent",
        if *.found < CODE_LEN { "a part is missing" } else { "there is something extra in it" }
    )]
    Length {
        /// How many characters there are, without dashes and spaces.
        found: usize,
    },
    /// It looks like a code but for one character.
    #[error(
        "“{character}”, character {position} of the code, is never used in codes: compare it with \
         the message you were sent"
    )]
    Character {
        /// The first character that codes never contain.
        character: char,
        /// Its place among the code's characters, counted from 1 without dashes
        /// and spaces.
        position: usize,
    },
    /// The check character does not fit the others.
    #[error(
        "the code has a typo: compare each character with the message you were sent, or copy the \
         whole code"
    )]
    Typo,
}

/// Whether a datagram could be sent to one peer there at all.
pub(crate) fn is_usable(address: &SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Reads a link from behind its scheme to wherever it ends.
fn parse_link_body(body: &str) -> Result<Invite, InviteError> {
    let (code, rest) = split_code(body.trim_start_matches('/'));
    let code: Code = code.parse()?;
    let mut invite = Invite::new(code.secret(), []);
    let rest = rest.trim_start_matches(|c| is_line_break(c) || code::is_invisible(c));
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    if let Some(query) = rest.strip_prefix('?') {
        add_addresses(&mut invite, query);
    }
    Ok(invite)
}

/// Splits off the code: its 20 characters, and those joined to them if there are
/// more, up to something that cannot be part of it.
fn split_code(body: &str) -> (&str, &str) {
    let mut found = 0;
    for (index, character) in body.char_indices() {
        if character.is_alphanumeric() {
            found += 1;
        } else if found >= CODE_LEN || !code::is_separator(character) {
            return body.split_at(index);
        }
    }
    (body, "")
}

/// Adds what the `a` parameters of a link's query name. The query ends at the
/// first character that no URL holds (RFC 3986), except that lines may be broken.
fn add_addresses(invite: &mut Invite, query: &str) {
    let query: String = query
        .chars()
        .filter(|c| !code::is_invisible(*c))
        .take_while(|c| {
            c.is_ascii_alphanumeric() || "-._~:/?[]@!$&'()*+,;=%".contains(*c) || is_line_break(*c)
        })
        .collect();
    for parameter in query.split('&') {
        let Some((key, value)) = parameter.split_once('=') else {
            continue;
        };
        if key.trim().eq_ignore_ascii_case("a") {
            for item in percent_decoded(value).split(',') {
                if !add_address(invite, item) {
                    return;
                }
            }
        }
    }
}

/// Adds the address in one item of the list. A line break in it is either damage or
/// the end of the link, and only what follows can tell: every reading that makes
/// an address is kept. Returns whether the list goes on behind the item.
fn add_address(invite: &mut Invite, item: &str) -> bool {
    let mut joined = String::new();
    let mut goes_on = true;
    for line in item.split(is_line_break) {
        joined.push_str(line);
        let address = joined
            .trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && c != '[')
            .trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
            .parse();
        match address {
            Ok(address) => {
                invite.add(address);
                goes_on = true;
            }
            Err(_) if line.is_empty() => {}
            Err(_) => goes_on = !item.contains(is_line_break),
        }
    }
    goes_on
}

fn is_line_break(character: char) -> bool {
    matches!(character, '\r' | '\n')
}

/// Undoes percent-encoding (RFC 3986, 2.1) of ASCII characters; anything else that
/// follows a percent sign stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part
            .get(..2)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .filter(u8::is_ascii);
        match byte {
            Some(byte) => {
                decoded.push(char::from(byte));
                decoded.push_str(&part[2..]);
            }
            None => {
                decoded.push('%');
                decoded.push_str(part);
            }
        }
    }
    decoded
}
