//! IPv6, where nobody's address is translated: the ends of a datagram, and what a
//! firewall at home lets in, which is what answers (RFC 6092).
//!
//! There is no clock and no device in here, and no datagram is changed.

use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

const UDP: u8 = 17;
/// Bytes of an IPv6 header, and of a UDP header.
const IP: usize = 40;
const UDP_HEADER: usize = 8;
/// Where things are in the IPv6 header.
const LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

/// Who sends a datagram to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: SocketAddrV6,
    pub(crate) destination: SocketAddrV6,
}

impl Ends {
    /// Reads what a TUN device gave: a whole UDP datagram right behind the header, or
    /// `None`.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Ends> {
        let first = *bytes.first()?;
        let sound = first >> 4 == 6 && bytes.len() >= IP + UDP_HEADER;
        if !sound || bytes[NEXT_HEADER] != UDP {
            return None;
        }
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let length = usize::from(word(LENGTH));
        if length < UDP_HEADER || IP + length > bytes.len() {
            return None;
        }
        let end = |address: usize, port: u16| {
            let mut octets = [0; 16];
            octets.copy_from_slice(&bytes[address..address + 16]);
            SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, 0)
        };
        Some(Ends {
            source: end(SOURCE, word(IP)),
            destination: end(DESTINATION, word(IP + 2)),
        })
    }
}

/// What went out lately.
#[derive(Debug)]
pub(crate) struct Firewall {
    /// How long what went out opens the way for what comes back. Only what goes out
    /// prolongs it.
    lifetime: Duration,
    /// Until when whoever was sent to may answer, by the two ends.
    talked: HashMap<(SocketAddrV6, SocketAddrV6), Duration>,
}

impl Firewall {
    /// One that lets nothing in yet.
    pub(crate) fn new(lifetime: Duration) -> Firewall {
        Firewall {
            lifetime,
            talked: HashMap::new(),
        }
    }

    /// Something goes from `inside` to `far`.
    pub(crate) fn outbound(&mut self, inside: SocketAddrV6, far: SocketAddrV6, now: Duration) {
        self.talked.retain(|_, until| *until > now);
        self.talked.insert((inside, far), now + self.lifetime);
    }

    /// Whether something from `far` to `inside` may come in.
    pub(crate) fn lets_in(&self, far: SocketAddrV6, inside: SocketAddrV6, now: Duration) -> bool {
        let until = self.talked.get(&(inside, far));
        until.is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(120);

    fn at(last: u16, port: u16) -> SocketAddrV6 {
        SocketAddrV6::new(
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last),
            port,
            0,
            0,
        )
    }

    fn datagram(source: SocketAddrV6, destination: SocketAddrV6) -> Vec<u8> {
        let mut bytes = vec![0x60, 0, 0, 0, 0, 13, UDP, 64];
        bytes.extend(source.ip().octets());
        bytes.extend(destination.ip().octets());
        for field in [source.port(), destination.port(), 13, 0] {
            bytes.extend(field.to_be_bytes());
        }
        bytes.extend(b"hello");
        bytes
    }

    proptest! {
        #[test]
        fn only_who_was_sent_to_comes_in_and_only_until_the_lifetime_is_over(
            sent in prop::collection::vec((0u16..3, 0u16..3, 0u64..100), 1..40),
            stranger in (0u16..3, 0u16..3),
        ) {
            let mut firewall = Firewall::new(LIFETIME);
            let mut now = Duration::ZERO;
            let mut last = None;
            for (inside, far, pause) in sent {
                now += Duration::from_secs(pause);
                firewall.outbound(at(1, inside), at(2, far), now);
                prop_assert!(firewall.lets_in(at(2, far), at(1, inside), now));
                if (inside, far) == stranger {
                    last = Some(now);
                }
            }
            let open = last.is_some_and(|last| now < last + LIFETIME);
            prop_assert_eq!(firewall.lets_in(at(2, stranger.1), at(1, stranger.0), now), open);
            prop_assert!(!firewall.lets_in(at(3, stranger.1), at(1, stranger.0), now));
        }

        #[test]
        fn rubbish_has_no_ends_and_makes_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..90), udp: bool) {
            if udp && bytes.len() > NEXT_HEADER {
                bytes[0] = 0x60 | bytes[0] & 0x0f;
                bytes[NEXT_HEADER] = UDP;
            }
            if Ends::parse(&bytes).is_some() {
                prop_assert!(bytes.len() >= IP + UDP_HEADER);
            }
        }
    }

    #[test]
    fn the_ends_of_a_datagram_are_read_and_what_is_cut_or_no_udp_has_none() {
        let (source, destination) = (at(1, 5000), at(2, 6000));
        let whole = datagram(source, destination);
        let ends = Ends {
            source,
            destination,
        };
        assert_eq!(Ends::parse(&whole), Some(ends));
        assert_eq!(Ends::parse(&whole[..whole.len() - 1]), None);
        let with = |at: usize, value: u8| {
            let mut bytes = whole.clone();
            bytes[at] = value;
            Ends::parse(&bytes)
        };
        assert_eq!(with(0, 0x45), None);
        assert_eq!(with(NEXT_HEADER, 58), None);
        assert_eq!(with(LENGTH + 1, 7), None);
    }
}
