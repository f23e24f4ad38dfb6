//! Packets that the kernel hands over in one piece (segmentation offload), and
//! any run of them as one piece again.
//!
//! A frame of a TUN device is a virtio-net header and an IPv4 packet. If the
//! header says so, the packet is a *train*: up to 64 KiB of TCP or UDP that
//! stand for many packets on the line, each with the same headers and a part
//! of the payload. Whoever gets a train may split it further or take it as it
//! is. There is no device in here. What is no train is one packet.

use std::ops::Range;

/// Bytes of the virtio-net header: flags, kind of train, and in the machine's
/// byte order the length of all headers, the payload of each packet, and where
/// the checksum begins and goes (linux/virtio_net.h).
pub(crate) const VIRTIO: usize = 10;
const FLAGS: usize = 0;
const KIND: usize = 1;
const HEADERS: usize = 2;
const EACH: usize = 4;
const CHECKSUM_START: usize = 6;

// What that header calls F_NEEDS_CSUM, GSO_NONE, GSO_TCPV4 and GSO_UDP_L4.
const NEEDS_CHECKSUM: u8 = 1;
const SINGLE: u8 = 0;
const TCP: u8 = 1;
const UDP: u8 = 5;
/// FIN and PSH: of the last packet alone.
const LAST_ONLY: u8 = 0x01 | 0x08;
/// CWR: of the first packet alone.
const FIRST_ONLY: u8 = 0x80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

/// The layout of a frame that holds a train.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Train {
    protocol: Protocol,
    /// Bytes of the IPv4 header.
    ip: usize,
    /// Bytes of all headers, the virtio one not counted.
    headers: usize,
    /// Bytes of payload in each packet but the last.
    each: usize,
    /// Bytes of payload in all.
    payload: usize,
}

impl Train {
    /// How `frame` is divided, or `None` if it is one packet, or nothing that
    /// is understood here.
    pub(crate) fn of(frame: &[u8]) -> Option<Train> {
        let (virtio, packet) = frame.split_at_checked(VIRTIO)?;
        let first = *packet.first()?;
        if first >> 4 != 4 || virtio[FLAGS] & NEEDS_CHECKSUM == 0 {
            return None;
        }
        let ip = usize::from(first & 0x0f) * 4;
        // The bit for congestion notification does not change the layout.
        let (protocol, own) = match virtio[KIND] & 0x7f {
            TCP => {
                let words = usize::from(*packet.get(ip + 12)? >> 4);
                (Protocol::Tcp, words * 4)
            }
            UDP => (Protocol::Udp, 8),
            _ => return None,
        };
        let headers = ip + own;
        let payload = packet.len().checked_sub(headers)?;
        let each = usize::from(native(virtio, EACH));
        let sound = ip >= 20
            && own >= 8
            && (protocol == Protocol::Udp || own >= 20)
            && each > 0
            && usize::from(native(virtio, CHECKSUM_START)) == ip;
        (sound && payload > each).then_some(Train {
            protocol,
            ip,
            headers,
            each,
            payload,
        })
    }

    /// How many packets it stands for, two at least.
    pub(crate) fn packets(&self) -> usize {
        self.payload.div_ceil(self.each)
    }

    /// Bytes of the packet at `index` on the line.
    pub(crate) fn bytes(&self, index: usize) -> usize {
        self.headers + self.part(index..index + 1).len()
    }

    /// Writes the frame that holds the packets of `run`, which is not empty
    /// and within the train, in place of what is in `out`.
    pub(crate) fn cut(&self, frame: &[u8], run: Range<usize>, out: &mut Vec<u8>) {
        let part = self.part(run.clone());
        let (Some(headers), Some(payload)) = (
            frame.get(..VIRTIO + self.headers),
            frame
                .get(VIRTIO..)
                .and_then(|packet| packet.get(self.headers + part.start..self.headers + part.end)),
        ) else {
            // Not the frame that this is the layout of.
            out.clear();
            return;
        };
        out.clear();
        out.extend_from_slice(headers);
        out.extend_from_slice(payload);
        let (virtio, packet) = out.split_at_mut(VIRTIO);
        virtio[HEADERS..EACH].copy_from_slice(&(self.headers as u16).to_ne_bytes());
        if run.len() == 1 {
            virtio[KIND] = SINGLE;
            virtio[EACH..CHECKSUM_START].fill(0);
        }
        self.address(packet, &run, part.start);
    }

    /// Puts lengths, numbers, flags and checksums of `run` into its headers.
    fn address(&self, packet: &mut [u8], run: &Range<usize>, offset: usize) {
        let length = packet.len();
        set(packet, 2, length as u16);
        let number = get(packet, 4).wrapping_add(run.start as u16);
        set(packet, 4, number);
        set(packet, 10, 0);
        let sum = packet[..self.ip].chunks_exact(2).fold(0, |sum, word| {
            sum + u32::from(u16::from_be_bytes([word[0], word[1]]))
        });
        set(packet, 10, !folded(sum));

        let before = (self.headers - self.ip + self.payload) as u16;
        let after = (length - self.ip) as u16;
        let own = &mut packet[self.ip..];
        let checksum = match self.protocol {
            Protocol::Tcp => {
                let sequence = [own[4], own[5], own[6], own[7]];
                let sequence = u32::from_be_bytes(sequence).wrapping_add(offset as u32);
                own[4..8].copy_from_slice(&sequence.to_be_bytes());
                if run.end < self.packets() {
                    own[13] &= !LAST_ONLY;
                }
                if run.start > 0 {
                    own[13] &= !FIRST_ONLY;
                }
                16
            }
            Protocol::Udp => {
                set(own, 4, after);
                6
            }
        };
        // The kernel left the sum of the pseudo header there, which holds the length.
        let sum = u32::from(get(own, checksum)) + u32::from(!before) + u32::from(after);
        set(own, checksum, folded(sum));
    }

    /// Where the payload of `run` is.
    fn part(&self, run: Range<usize>) -> Range<usize> {
        let at = |index: usize| (index * self.each).min(self.payload);
        at(run.start)..at(run.end)
    }
}

fn native(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn get(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn set(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// A sum of 16-bit words in ones' complement (RFC 1071).
fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of payload in each packet.
    const PART: usize = 100;

    /// A train as the kernel hands it over: with the sum of the pseudo header
    /// in the place of the checksum.
    fn train(tcp: bool, payload: usize) -> Vec<u8> {
        let own = if tcp { 32 } else { 8 };
        let mut frame = vec![NEEDS_CHECKSUM, if tcp { TCP } else { UDP }];
        for field in [20 + own, PART as u16, 20, if tcp { 16 } else { 6 }] {
            frame.extend(field.to_ne_bytes());
        }
        let length = own + payload as u16;
        let mut packet = vec![
            0x45,
            0,
            0,
            0,
            0xff,
            0xfe,
            0x40,
            0,
            64,
            if tcp { 6 } else { 17 },
        ];
        packet.extend([0, 0, 10, 77, 0, 1, 10, 77, 0, 2]);
        set(&mut packet, 2, 20 + length);
        let mut header = vec![0; usize::from(own)];
        header[..4].copy_from_slice(&[0x9c, 0x40, 0x1f, 0x90]);
        let protocol = u32::from(packet[9]);
        let pseudo = folded(0x0a4d + 0x0001 + 0x0a4d + 0x0002 + protocol + u32::from(length));
        if tcp {
            header[4..8].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
            header[12] = 0x80;
            header[13] = 0x10 | LAST_ONLY | FIRST_ONLY;
            set(&mut header, 16, pseudo);
        } else {
            set(&mut header, 4, length);
            set(&mut header, 6, pseudo);
        }
        frame.extend(packet);
        frame.extend(header);
        frame.extend((0..payload).map(|at| at as u8));
        frame
    }

    fn sum(bytes: &[u8]) -> u32 {
        let word =
            |word: &[u8]| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low));
        bytes.chunks(2).map(word).sum()
    }

    /// What a receiver finds in a frame of one packet, checksums verified.
    fn read(frame: &[u8]) -> Read {
        let (virtio, packet) = frame.split_at(VIRTIO);
        assert_eq!((virtio[FLAGS], virtio[KIND]), (NEEDS_CHECKSUM, SINGLE));
        let mut packet = packet.to_vec();
        assert_eq!(usize::from(get(&packet, 2)), packet.len());
        assert_eq!(folded(sum(&packet[..20])), 0xffff);
        // What the kernel or a network card does with F_NEEDS_CSUM.
        let start = usize::from(native(virtio, CHECKSUM_START));
        let checksum = !folded(sum(&packet[start..]));
        set(
            &mut packet,
            start + usize::from(native(virtio, 8)),
            checksum,
        );
        let own = &packet[20..];
        let pseudo = sum(&packet[12..20]) + u32::from(packet[9]) + own.len() as u32;
        assert_eq!(folded(pseudo + sum(own)), 0xffff);
        let tcp = packet[9] == 6;
        let headers = if tcp { 32 } else { 8 };
        if !tcp {
            assert_eq!(usize::from(get(own, 4)), own.len());
        }
        Read {
            number: get(&packet, 4),
            sequence: tcp.then(|| u32::from(get(own, 4)) << 16 | u32::from(get(own, 6))),
            flags: tcp.then(|| own[13]),
            payload: own[headers..].to_vec(),
        }
    }

    #[derive(Debug, PartialEq)]
    struct Read {
        number: u16,
        sequence: Option<u32>,
        flags: Option<u8>,
        payload: Vec<u8>,
    }

    #[test]
    fn a_single_packet_and_rubbish_are_no_trains() {
        assert!(Train::of(&[]).is_none());
        assert!(Train::of(&[0; 9]).is_none());
        assert!(Train::of(&[0; 10]).is_none());
        assert!(Train::of(&[0; 60]).is_none());
        assert!(Train::of(&train(true, PART)).is_none());
        let mut single = train(true, 3 * PART);
        single[1] = SINGLE;
        assert!(Train::of(&single).is_none());
    }

    #[test]
    fn a_run_keeps_fin_and_push_for_the_last_packet_and_counts_on_in_sequence() {
        let frame = train(true, 3 * PART + 1);
        let train = Train::of(&frame).expect("a train");
        assert_eq!(train.packets(), 4);
        assert_eq!(train.bytes(0), 52 + PART);
        assert_eq!(train.bytes(3), 53);
        let mut out = Vec::new();
        train.cut(&frame, 1..3, &mut out);
        let tcp = &out[VIRTIO + 20..];
        assert_eq!(tcp[13], 0x10);
        assert_eq!(tcp[4..8], 0xffff_ff64u32.to_be_bytes());
        train.cut(&frame, 3..4, &mut out);
        let tcp = &out[VIRTIO + 20..];
        assert_eq!(tcp[13], 0x10 | LAST_ONLY);
    }

    proptest! {
        #[test]
        fn runs_hold_together_what_the_train_holds(
            tcp: bool,
            payload in PART + 1..20 * PART,
            cuts in prop::collection::btree_set(1usize..20, 0..6),
        ) {
            let frame = train(tcp, payload);
            let whole = Train::of(&frame).expect("a train");
            let count = whole.packets();
            let mut edges: Vec<usize> = cuts.into_iter().filter(|cut| *cut < count).collect();
            edges.insert(0, 0);
            edges.push(count);
            let (mut at, mut run, mut single) = (0, vec![1, 2, 3], Vec::new());
            for edge in edges.windows(2) {
                whole.cut(&frame, edge[0]..edge[1], &mut run);
                let within = Train::of(&run);
                prop_assert_eq!(within.map_or(1, |train| train.packets()), edge[1] - edge[0]);
                for index in 0..edge[1] - edge[0] {
                    match &within {
                        Some(train) => train.cut(&run, index..index + 1, &mut single),
                        None => single.clone_from(&run),
                    }
                    let from = at * PART;
                    let to = payload.min(from + PART);
                    let first = if at == 0 { FIRST_ONLY } else { 0 };
                    let last = if to == payload { LAST_ONLY } else { 0 };
                    prop_assert_eq!(single.len() - VIRTIO, whole.bytes(at));
                    prop_assert_eq!(read(&single), Read {
                        number: 0xfffeu16.wrapping_add(at as u16),
                        sequence: tcp.then(|| 0xffff_ff00u32.wrapping_add(from as u32)),
                        flags: tcp.then_some(0x10 | first | last),
                        payload: (from..to).map(|at| at as u8).collect(),
                    });
                    at += 1;
                }
            }
            prop_assert_eq!(at, count);
        }

        #[test]
        fn any_frame_is_read_without_a_panic(mut frame in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..6) {
            if frame.len() > 11 {
                frame[0] |= NEEDS_CHECKSUM;
                frame[1] = kind;
                frame[10] = 0x45;
                frame[6..8].copy_from_slice(&20u16.to_le_bytes());
            }
            if let Some(train) = Train::of(&frame) {
                let mut out = Vec::new();
                train.cut(&frame, 0..train.packets(), &mut out);
                prop_assert_eq!(out.len(), frame.len());
                train.cut(&frame, 0..1, &mut out);
                prop_assert_eq!(out.len(), VIRTIO + train.bytes(0));
            }
        }
    }
}
