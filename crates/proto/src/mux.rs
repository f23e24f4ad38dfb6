//! Which of many connections a datagram belongs to where they share one UDP port.
//!
//! A check of ICE names the connection that it is for (USERNAME, RFC 8445 §7.1.2), an
//! answer bears the number of what it answers (RFC 8489 §5), and all else goes by the
//! address that it comes from, which is a connection's once ICE spoke with it there.
//! Invariant: a far address is one connection's at most, so two connections of the same
//! two ports never get each other's packets. Time is an argument: how long ago some
//! fixed moment was.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// A connection that uses the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seat(pub u64);

/// How long a connection leaves its checks to its own sockets, from the first one on:
/// the port is for where those find no way.
pub const HOLD: Duration = Duration::from_millis(1500);
/// A far address from which nothing came for this long is nobody's. ICE shows every few
/// seconds that it is there.
pub const CLAIM: Duration = Duration::from_secs(30);
/// An answer that comes later than this is nobody's: more than the 39.5 seconds after
/// which a request is given up (RFC 8489 §6.2.1).
pub const ANSWER: Duration = Duration::from_secs(40);
/// Far addresses that one connection may speak with.
pub const MAX_CLAIMS: usize = 32;
/// Requests whose answers may be awaited, of all connections together.
pub const MAX_ASKED: usize = 4096;

type Transaction = [u8; 12];

/// Who sits at a port, and what they wait for.
#[derive(Debug, Default)]
pub struct Mux {
    seats: HashMap<Seat, Sitting>,
    names: HashMap<Box<[u8]>, Seat>,
    claims: HashMap<SocketAddr, Claim>,
    /// By number and whom was asked: the same number may go to several servers.
    asked: HashMap<(Transaction, SocketAddr), Asked>,
}

#[derive(Debug, Default)]
struct Sitting {
    name: Option<Box<[u8]>>,
    /// When its first check came or went.
    checked: Option<Duration>,
}

#[derive(Debug)]
struct Claim {
    seat: Seat,
    heard: Duration,
}

#[derive(Debug)]
struct Asked {
    seat: Seat,
    at: Duration,
    /// Of ICE, not of a server.
    is_check: bool,
}

impl Mux {
    /// Checks of ICE whose user name begins with `ufrag` are for this connection. A name
    /// that another has is refused, which is told.
    pub fn sit(&mut self, seat: Seat, ufrag: &str) -> bool {
        let name: Box<[u8]> = ufrag.as_bytes().into();
        if self.names.get(&name).is_some_and(|other| *other != seat) {
            return false;
        }
        let sitting = self.seats.entry(seat).or_default();
        if let Some(before) = sitting.name.replace(name.clone()) {
            self.names.remove(&before);
        }
        self.names.insert(name, seat);
        true
    }

    /// The connection is over: nothing is its any more.
    pub fn leave(&mut self, seat: Seat) {
        if let Some(name) = self.seats.remove(&seat).and_then(|sitting| sitting.name) {
            self.names.remove(&name);
        }
        self.claims.retain(|_, claim| claim.seat != seat);
        self.asked.retain(|_, asked| asked.seat != seat);
    }

    /// Whether the connection may send this now.
    pub fn outgoing(&mut self, seat: Seat, to: SocketAddr, datagram: &[u8], now: Duration) -> bool {
        let Some(stun) = Stun::parse(datagram) else {
            return self.owner(to, now) == Some(seat);
        };
        match stun.class {
            Class::Request => {
                let is_check = stun.checks().is_some();
                let is_anothers = self.owner(to, now).is_some_and(|owner| owner != seat);
                if is_check && (is_anothers || self.is_held(seat, now)) {
                    return false;
                }
                self.ask(stun.transaction, seat, to, is_check, now);
                true
            }
            Class::Indication | Class::Answer { .. } => self.owner(to, now) == Some(seat),
        }
    }

    /// The connection that this is for.
    pub fn incoming(&mut self, from: SocketAddr, datagram: &[u8], now: Duration) -> Option<Seat> {
        let stun = Stun::parse(datagram);
        match stun.as_ref().map(|stun| (stun, stun.class)) {
            Some((stun, Class::Request)) => {
                let seat = *self.names.get(stun.checks()?)?;
                let may = !self.is_held(seat, now) && self.claim(from, seat, now);
                may.then_some(seat)
            }
            Some((stun, Class::Answer { is_success })) => {
                let asked = self.asked.remove(&(stun.transaction, from))?;
                let (seat, is_check) = (asked.seat, asked.is_check);
                if now.saturating_sub(asked.at) >= ANSWER {
                    return None;
                }
                let may = !(is_check && is_success) || self.claim(from, seat, now);
                may.then_some(seat)
            }
            Some((_, Class::Indication)) | None => {
                let seat = self.owner(from, now)?;
                self.claim(from, seat, now).then_some(seat)
            }
        }
    }

    /// Whose this far address is.
    pub fn owner(&self, far: SocketAddr, now: Duration) -> Option<Seat> {
        let claim = self.claims.get(&far)?;
        (now.saturating_sub(claim.heard) < CLAIM).then_some(claim.seat)
    }

    fn is_held(&mut self, seat: Seat, now: Duration) -> bool {
        let sitting = self.seats.get_mut(&seat);
        let since = sitting.map(|sitting| *sitting.checked.get_or_insert(now));
        since.is_none_or(|since| now.saturating_sub(since) < HOLD)
    }

    fn ask(
        &mut self,
        transaction: Transaction,
        seat: Seat,
        of: SocketAddr,
        is_check: bool,
        now: Duration,
    ) {
        if self.asked.len() >= MAX_ASKED {
            self.asked
                .retain(|_, asked| now.saturating_sub(asked.at) < ANSWER);
        }
        if self.asked.len() < MAX_ASKED {
            let asked = Asked {
                seat,
                at: now,
                is_check,
            };
            self.asked.insert((transaction, of), asked);
        }
    }

    /// Takes a far address for a connection, or keeps it; says whether it is its now.
    fn claim(&mut self, far: SocketAddr, seat: Seat, now: Duration) -> bool {
        match self.owner(far, now) {
            Some(owner) if owner != seat => return false,
            Some(_) => {}
            None => {
                self.claims
                    .retain(|_, claim| now.saturating_sub(claim.heard) < CLAIM);
                let claims = self.claims.values().filter(|claim| claim.seat == seat);
                if claims.count() >= MAX_CLAIMS {
                    return false;
                }
            }
        }
        self.claims.insert(far, Claim { seat, heard: now });
        true
    }
}

/// What a STUN message is (RFC 8489 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Request,
    Indication,
    Answer { is_success: bool },
}

/// As much of a STUN message as sorting needs.
#[derive(Debug)]
struct Stun<'a> {
    class: Class,
    transaction: Transaction,
    user: Option<&'a [u8]>,
}

impl<'a> Stun<'a> {
    const HEADER: usize = 20;
    const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
    const USERNAME: u16 = 0x0006;

    fn parse(datagram: &'a [u8]) -> Option<Stun<'a>> {
        let (header, mut rest) = datagram.split_at_checked(Self::HEADER)?;
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (kind, length) = (number(0), usize::from(number(2)));
        if header[0] > 3 || header[4..8] != Self::COOKIE || length != rest.len() {
            return None;
        }
        let class = match (kind & 0x100 != 0, kind & 0x10 != 0) {
            (false, false) => Class::Request,
            (false, true) => Class::Indication,
            (true, is_error) => Class::Answer {
                is_success: !is_error,
            },
        };
        let mut user = None;
        while let Some((attribute, value)) = rest.split_at_checked(4) {
            let kind = u16::from_be_bytes([attribute[0], attribute[1]]);
            let length = usize::from(u16::from_be_bytes([attribute[2], attribute[3]]));
            let value = value.get(..length)?;
            if kind == Self::USERNAME && user.is_none() {
                user = Some(value);
            }
            rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or(&[]);
        }
        Some(Stun {
            class,
            transaction: header[8..Self::HEADER].try_into().ok()?,
            user,
        })
    }

    /// The name fragment of the connection that this check is for, if it is one.
    fn checks(&self) -> Option<&'a [u8]> {
        let user = self.user?;
        let end = user.iter().position(|byte| *byte == b':')?;
        Some(&user[..end])
    }
}
