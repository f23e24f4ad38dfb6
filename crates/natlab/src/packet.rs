//! An IPv4 packet that holds one whole UDP datagram, and its addresses, which a
//! router may change.
//!
//! Everything else is no [`Packet`]: other protocols, and what is cut short.
//! Fragments are put together first ([`Fragments`]), as routers do. Checksums stay as right or wrong as they came: changes are added to
//! them (RFC 1624), so that a router cannot heal what was spoiled before it.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

const UDP: u8 = 17;
/// Bytes of an IPv4 header without options, and of a UDP header.
const IP: usize = 20;
const UDP_HEADER: usize = 8;
/// Datagrams that may be incomplete at a time; the oldest is given up.
const INCOMPLETE: usize = 64;
/// The longest IPv4 packet.
const LONGEST: usize = 65_535;
/// The bit that says that more fragments follow, and those of the offset, which
/// counts in eights.
const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
/// Where things are in the IPv4 header.
const FRAGMENT: usize = 6;
const PROTOCOL: usize = 9;
const IP_CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;
/// Where things are in the UDP header.
const SOURCE_PORT: usize = 0;
const DESTINATION_PORT: usize = 2;
const UDP_CHECKSUM: usize = 6;

/// A UDP datagram in its IPv4 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    /// Bytes of the IPv4 header.
    ip: usize,
}

impl Packet {
    /// Reads what a TUN device gave.
    pub(crate) fn parse(mut bytes: Vec<u8>) -> Option<Packet> {
        let first = *bytes.first()?;
        let ip = usize::from(first & 0x0f) * 4;
        let sound = first >> 4 == 4 && ip >= IP && bytes.len() >= ip + UDP_HEADER;
        if !sound || bytes[PROTOCOL] != UDP {
            return None;
        }
        if word(&bytes, FRAGMENT) & (MORE | OFFSET) != 0 {
            return None;
        }
        let length = usize::from(word(&bytes, 2));
        if length < ip + UDP_HEADER || length > bytes.len() {
            return None;
        }
        bytes.truncate(length);
        Some(Packet { bytes, ip })
    }

    /// The packet as it is on the line.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The packet as it is on the line.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Who sent it, as far as the packet says.
    pub(crate) fn source(&self) -> SocketAddrV4 {
        self.end(SOURCE, SOURCE_PORT)
    }

    /// Where it goes.
    pub(crate) fn destination(&self) -> SocketAddrV4 {
        self.end(DESTINATION, DESTINATION_PORT)
    }

    /// Makes it come from somewhere else.
    pub(crate) fn set_source(&mut self, to: SocketAddrV4) {
        self.set(SOURCE, SOURCE_PORT, to);
    }

    /// Makes it go somewhere else.
    pub(crate) fn set_destination(&mut self, to: SocketAddrV4) {
        self.set(DESTINATION, DESTINATION_PORT, to);
    }

    fn end(&self, address: usize, port: usize) -> SocketAddrV4 {
        let mut octets = [0; 4];
        octets.copy_from_slice(&self.bytes[address..address + 4]);
        SocketAddrV4::new(Ipv4Addr::from(octets), word(&self.bytes, self.ip + port))
    }

    fn set(&mut self, address: usize, port: usize, to: SocketAddrV4) {
        let [a, b, c, d] = to.ip().octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let port = self.ip + port;
        for (at, value) in [(address, high), (address + 2, low), (port, to.port())] {
            let before = word(&self.bytes, at);
            self.bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
            if at != port {
                self.correct(IP_CHECKSUM, before, value);
            }
            // A UDP checksum of 0 says that there is none (RFC 768).
            let sum = self.ip + UDP_CHECKSUM;
            if word(&self.bytes, sum) != 0 {
                self.correct(sum, before, value);
                if word(&self.bytes, sum) == 0 {
                    self.bytes[sum..sum + 2].fill(0xff);
                }
            }
        }
    }

    /// Takes a changed word into the checksum at `at`.
    fn correct(&mut self, at: usize, before: u16, after: u16) {
        let sum = u32::from(!word(&self.bytes, at)) + u32::from(!before) + u32::from(after);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        self.bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Packets of which not all fragments have come (RFC 791).
#[derive(Debug, Default)]
pub(crate) struct Fragments(VecDeque<Incomplete>);

#[derive(Debug)]
struct Incomplete {
    /// Who sends it to whom, which protocol it is, and its number.
    key: Key,
    /// The header of the first fragment.
    header: Vec<u8>,
    /// Offsets and contents, in no order.
    parts: Vec<(usize, Vec<u8>)>,
    /// Bytes of content, once the last fragment was seen.
    length: Option<usize>,
}

type Key = ([u8; 8], u8, u16);

impl Fragments {
    /// Takes what a TUN device gave: gives back what is whole.
    pub(crate) fn whole(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let ip = usize::from(*bytes.first()? & 0x0f) * 4;
        if bytes[0] >> 4 != 4 || ip < IP || bytes.len() < ip {
            return None;
        }
        let flags = word(&bytes, FRAGMENT);
        if flags & (MORE | OFFSET) == 0 {
            return Some(bytes);
        }
        let at = usize::from(flags & OFFSET) * 8;
        let mut ends = [0; 8];
        ends.copy_from_slice(&bytes[SOURCE..IP]);
        let key = (ends, bytes[PROTOCOL], word(&bytes, 4));
        let (header, content) = bytes.split_at(ip);
        if ip + at + content.len() > LONGEST {
            return None;
        }
        let known = self.0.iter().position(|packet| packet.key == key);
        let mut packet = known
            .and_then(|known| self.0.remove(known))
            .unwrap_or(Incomplete {
                key,
                header: Vec::new(),
                parts: Vec::new(),
                length: None,
            });
        if at == 0 {
            packet.header = header.to_vec();
        }
        if flags & MORE == 0 {
            packet.length = Some(at + content.len());
        }
        if !packet.parts.iter().any(|(other, _)| *other == at) {
            packet.parts.push((at, content.to_vec()));
        }
        if let Some(whole) = packet.joined() {
            return Some(whole);
        }
        if self.0.len() == INCOMPLETE {
            self.0.pop_front();
        }
        self.0.push_back(packet);
        None
    }
}

impl Incomplete {
    /// The packet, if nothing is missing.
    fn joined(&mut self) -> Option<Vec<u8>> {
        let length = self.length?;
        self.parts.sort_by_key(|(at, _)| *at);
        let mut content = Vec::new();
        for (at, part) in &self.parts {
            if *at != content.len() {
                return None;
            }
            content.extend_from_slice(part);
        }
        if self.header.is_empty() || content.len() != length {
            return None;
        }
        let mut whole = self.header.clone();
        let total = (whole.len() + length) as u16;
        whole[2..4].copy_from_slice(&total.to_be_bytes());
        whole[FRAGMENT..FRAGMENT + 2].fill(0);
        whole[IP_CHECKSUM..IP_CHECKSUM + 2].fill(0);
        let sum = !sum(&whole);
        whole[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        whole.extend(content);
        Some(whole)
    }
}

/// The ones' complement sum of 16-bit words (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// A packet with right checksums, for tests.
#[cfg(test)]
pub(crate) fn packet(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Packet {
    let datagram = UDP_HEADER + payload.len();
    let mut bytes = vec![0; IP];
    bytes[0] = 0x45;
    bytes[2..4].copy_from_slice(&((IP + datagram) as u16).to_be_bytes());
    bytes[8] = 64;
    bytes[PROTOCOL] = UDP;
    bytes[SOURCE..DESTINATION].copy_from_slice(&source.ip().octets());
    bytes[DESTINATION..IP].copy_from_slice(&destination.ip().octets());
    let ip = !sum(&bytes);
    bytes[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&ip.to_be_bytes());
    for field in [source.port(), destination.port(), datagram as u16, 0] {
        bytes.extend(field.to_be_bytes());
    }
    bytes.extend(payload);
    let udp = match !tests::udp_sum(&bytes) {
        0 => 0xffff,
        sum => sum,
    };
    bytes[IP + UDP_CHECKSUM..IP + UDP_HEADER].copy_from_slice(&udp.to_be_bytes());
    Packet { bytes, ip: IP }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sum of a datagram after a header without options, pseudo header included.
    pub(super) fn udp_sum(bytes: &[u8]) -> u16 {
        let mut all = bytes[SOURCE..IP].to_vec();
        all.extend([0, UDP]);
        all.extend(((bytes.len() - IP) as u16).to_be_bytes());
        all.extend(&bytes[IP..]);
        sum(&all)
    }

    fn address() -> impl Strategy<Value = SocketAddrV4> {
        (any::<u32>(), any::<u16>())
            .prop_map(|(ip, port)| SocketAddrV4::new(Ipv4Addr::from(ip), port))
    }

    proptest! {
        #[test]
        fn a_packet_with_other_addresses_is_the_one_that_had_them_from_the_start(
            [a, b, c, d] in [address(), address(), address(), address()],
            payload in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut changed = packet(a, b, &payload);
            changed.set_source(c);
            changed.set_destination(d);
            prop_assert_eq!(changed.source(), c);
            prop_assert_eq!(changed.destination(), d);
            prop_assert_eq!(sum(&changed.bytes()[..IP]), 0xffff);
            prop_assert_eq!(udp_sum(changed.bytes()), 0xffff);
            let anew = packet(c, d, &payload);
            prop_assert_eq!(&changed.bytes()[IP + UDP_HEADER..], &anew.bytes()[IP + UDP_HEADER..]);
        }

        #[test]
        fn fragments_in_any_order_make_the_packet_that_they_were(
            payload in prop::collection::vec(any::<u8>(), 1..500),
            each in 1usize..10,
            order in any::<u64>(),
        ) {
            let end = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 7);
            let whole = packet(end, end, &payload).bytes;
            let (header, content) = whole.split_at(IP);
            let count = content.len().div_ceil(each * 8);
            let mut parts: Vec<Vec<u8>> = content
                .chunks(each * 8)
                .enumerate()
                .map(|(index, part)| {
                    let more = if index + 1 < count { MORE } else { 0 };
                    let flags = more | (index * each) as u16;
                    let mut bytes = [header, part].concat();
                    let length = bytes.len() as u16;
                    bytes[2..4].copy_from_slice(&length.to_be_bytes());
                    bytes[FRAGMENT..FRAGMENT + 2].copy_from_slice(&flags.to_be_bytes());
                    bytes
                })
                .collect();
            parts.sort_by_key(|part| blake3::hash(&[&order.to_le_bytes()[..], part].concat()).as_bytes()[0]);
            let mut fragments = Fragments::default();
            let last = parts.pop().expect("a part");
            for part in parts {
                prop_assert_eq!(fragments.whole(part), None);
            }
            prop_assert_eq!(fragments.whole(last), Some(whole));
            prop_assert!(fragments.0.is_empty());
        }

        #[test]
        fn rubbish_makes_no_packet(all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..100)) {
            let mut fragments = Fragments::default();
            for mut bytes in all {
                if let Some(first) = bytes.first_mut() {
                    *first = 0x45;
                }
                fragments.whole(bytes);
                prop_assert!(fragments.0.len() <= INCOMPLETE);
            }
        }

        #[test]
        fn rubbish_is_no_packet_and_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80), udp: bool) {
            if udp && bytes.len() > PROTOCOL {
                bytes[0] = 0x40 | bytes[0] & 0x0f;
                bytes[PROTOCOL] = UDP;
            }
            if let Some(mut packet) = Packet::parse(bytes.clone()) {
                packet.set_source(packet.destination());
                prop_assert!(packet.bytes().len() <= bytes.len());
            }
        }
    }

    #[test]
    fn fragments_other_protocols_and_cut_packets_are_left_out() {
        let end = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 7);
        let whole = packet(end, end, b"hello").bytes;
        assert!(Packet::parse(whole.clone()).is_some());
        assert!(Packet::parse(whole[..whole.len() - 1].to_vec()).is_none());
        let with = |at: usize, value: u8| {
            let mut bytes = whole.clone();
            bytes[at] = value;
            Packet::parse(bytes)
        };
        assert!(with(FRAGMENT, 0x20).is_none());
        assert!(with(FRAGMENT, 0x40).is_some());
        assert!(with(PROTOCOL, 6).is_none());
        assert!(with(0, 0x65).is_none());
        let mut padded = whole.clone();
        padded.extend([0; 3]);
        assert_eq!(Packet::parse(padded).expect("a packet").bytes, whole);
    }

    #[test]
    fn a_datagram_without_a_checksum_gets_none() {
        let end = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 7);
        let mut packet = packet(end, end, b"hello");
        packet.bytes[IP + UDP_CHECKSUM..IP + UDP_HEADER].fill(0);
        packet.set_source(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 8));
        assert_eq!(word(&packet.bytes, IP + UDP_CHECKSUM), 0);
    }
}
