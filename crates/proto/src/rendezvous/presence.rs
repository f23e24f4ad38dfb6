//! Who is there: a note that lists members with the addresses of their knock ports.
//!
//! It is a hint. Everybody with the invite may write what they like, so what is
//! read is bounded and is only ever used to knock; a link shows who is who.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Hour;
use super::note::CONTENT_LEN;
use crate::invite::{MAX_ADDRESSES, is_usable};
use crate::keys::DeviceId;

/// Addresses out of all notes together that are knocked at.
pub const MAX_FOUND: usize = 16;

const VERSION: u8 = 1;
/// Hour, device and the number of addresses.
const FIXED: usize = 2 + 32 + 1;

/// One member, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Who.
    pub device: DeviceId,
    /// When it was said, by their clock.
    pub hour: Hour,
    /// Where they take knocks; at most [`MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
}

impl Presence {
    fn write(&self, bytes: &mut Vec<u8>) {
        let addresses = &self.addresses[..self.addresses.len().min(MAX_ADDRESSES)];
        bytes.extend(self.hour.0.to_be_bytes());
        bytes.extend(self.device.0);
        // The count is one more, so that zeros are no presence.
        bytes.push(addresses.len() as u8 + 1);
        for address in addresses {
            match address.ip() {
                IpAddr::V4(ip) => {
                    bytes.push(4);
                    bytes.extend(ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes.push(6);
                    bytes.extend(ip.octets());
                }
            }
            bytes.extend(address.port().to_be_bytes());
        }
    }

    /// Reads one presence and what follows it.
    fn read(bytes: &[u8]) -> Option<(Presence, &[u8])> {
        let (fixed, mut rest) = bytes.split_at_checked(FIXED)?;
        let hour = Hour(u16::from_be_bytes([fixed[0], fixed[1]]));
        let device = DeviceId(fixed[2..34].try_into().ok()?);
        let count = usize::from(fixed[34].checked_sub(1)?);
        if count > MAX_ADDRESSES {
            return None;
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let (address, after) = read_address(rest)?;
            // Nobody takes knocks where services live; others might be made to suffer.
            if is_usable(&address) && address.port() >= 1024 {
                addresses.push(address);
            }
            rest = after;
        }
        let presence = Presence {
            device,
            hour,
            addresses,
        };
        Some((presence, rest))
    }
}

fn read_address(bytes: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (ip, rest) = match bytes.split_first()? {
        (4, rest) => {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::V4(Ipv4Addr::from(*ip)), rest)
        }
        (6, rest) => {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::V6(Ipv6Addr::from(*ip)), rest)
        }
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), rest))
}

/// What a presence note says: each device once, as many as fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presences(Vec<Presence>);

impl Presences {
    /// What a slot should say now: this device first, then those that the notes
    /// read from it tell of and whose hour is near, in their order, as they fit.
    pub fn joined_by(own: Presence, read: &[Presences]) -> Presences {
        let now = own.hour;
        let mut joined = Presences(vec![own]);
        for presence in read.iter().flat_map(|presences| &presences.0) {
            let known = joined.0.iter().any(|other| other.device == presence.device);
            if !known && presence.hour.is_near(now) {
                joined.0.push(presence.clone());
                if joined.encode().len() > CONTENT_LEN {
                    joined.0.pop();
                    break;
                }
            }
        }
        joined
    }

    /// The bytes to seal.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for presence in &self.0 {
            presence.write(&mut bytes);
        }
        bytes
    }

    /// Reads what a note says, up to the first thing that makes no sense; of a
    /// version that is not known nothing.
    pub fn decode(content: &[u8]) -> Presences {
        let mut presences = Presences::default();
        let Some((&VERSION, mut rest)) = content.split_first() else {
            return presences;
        };
        // Even the shortest take so many bytes that this bounds the number.
        while rest.len() <= CONTENT_LEN
            && let Some((presence, after)) = Presence::read(rest)
        {
            presences.0.push(presence);
            rest = after;
        }
        presences
    }

    /// The members in it.
    pub fn members(&self) -> &[Presence] {
        &self.0
    }
}

/// Where to knock, after what was read in all slots: members whose hour is near
/// `now`, but not `own`. Each note gets its turn, and each member in it, before
/// any gets a second address, so that nobody crowds out others by telling much.
pub fn addresses(read: &[Presences], own: DeviceId, now: Hour) -> Vec<SocketAddr> {
    let usable = |presence: &&Presence| presence.device != own && presence.hour.is_near(now);
    let notes: Vec<Vec<&Presence>> = read
        .iter()
        .map(|presences| presences.0.iter().filter(usable).collect())
        .collect();
    let longest = notes.iter().map(Vec::len).max().unwrap_or(0);
    let mut found: Vec<SocketAddr> = Vec::new();
    for nth in 0..MAX_ADDRESSES {
        for member in 0..longest {
            for note in &notes {
                let address = note.get(member).and_then(|p| p.addresses.get(nth));
                if let Some(address) = address
                    && !found.contains(address)
                {
                    found.push(*address);
                    if found.len() == MAX_FOUND {
                        return found;
                    }
                }
            }
        }
    }
    found
}
