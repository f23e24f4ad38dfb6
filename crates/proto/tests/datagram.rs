//! Sorting datagrams of a shared socket.

use passalong_proto::datagram::{Kind, datagrams, keep_quic};
use proptest::prelude::*;

#[test]
fn every_first_byte_from_a_stranger_is_what_the_rfc_says_and_never_quic() {
    for first in 0..=255 {
        let expected = match first {
            0..=3 => Kind::Stun,
            20..=63 => Kind::Dtls,
            64..=79 => Kind::TurnChannel,
            _ => Kind::Other,
        };
        assert_eq!(Kind::of(first, false), expected, "{first}");
    }
}

#[test]
fn from_the_nominated_address_whatever_has_the_fixed_bit_is_quic() {
    for first in 0..=255 {
        let quic = Kind::of(first, true) == Kind::Quic;
        assert_eq!(quic, matches!(first, 64..=127 | 192..=255), "{first}");
    }
    assert_eq!(Kind::of(22, true), Kind::Dtls);
    assert_eq!(Kind::of(1, true), Kind::Stun);
}

proptest! {
    #[test]
    fn sorting_keeps_every_datagram_in_order_on_one_side_or_the_other(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        stride in 0_usize..80,
        nominated in any::<bool>(),
    ) {
        let all: Vec<Vec<u8>> = datagrams(bytes.len(), stride)
            .map(|range| bytes[range].to_vec())
            .collect();
        prop_assert_eq!(all.concat(), bytes.clone());
        let (quic, rest): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|datagram| Kind::of(datagram[0], nominated) == Kind::Quic);
        let mut sorted = bytes;
        let mut others = Vec::new();
        let kept = keep_quic(&mut sorted, stride, nominated, |_, datagram| {
            others.push(datagram.to_vec());
        });
        prop_assert_eq!(&sorted[..kept], quic.concat());
        prop_assert_eq!(others, rest);
    }
}
