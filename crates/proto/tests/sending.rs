//! Answering: what is rare and on its way to nobody goes first, and nobody waits
//! for long.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use passalong_proto::sending::{PATIENCE, Sending};
use proptest::prelude::*;

const NOT_YET: Duration = Duration::ZERO;

#[test]
fn requests_are_answered_in_order_when_nothing_tells_them_apart() {
    let sending = Sending::<u8>::new();
    assert_eq!(sending.choose(&1, [7, 8, 9], |_| 3, NOT_YET), Some(0));
    assert_eq!(sending.choose(&1, [], |_| 3, NOT_YET), None);
}

#[test]
fn the_rarest_piece_goes_first() {
    let sending = Sending::<u8>::new();
    let copies = |piece| [5, 2, 2][piece as usize];
    assert_eq!(sending.choose(&1, [0, 2, 1], copies, NOT_YET), Some(1));
}

#[test]
fn what_is_on_its_way_to_another_is_left_for_later_though_it_is_rarer() {
    let mut sending = Sending::new();
    sending.begin(2, 7);
    assert_eq!(sending.choose(&1, [7, 8], |piece| piece, NOT_YET), Some(1));
    assert_eq!(
        sending.choose(&2, [7, 8], |piece| piece, NOT_YET),
        Some(0),
        "its own way is not another's"
    );
    sending.end(&2, 7);
    assert_eq!(sending.choose(&1, [7, 8], |piece| piece, NOT_YET), Some(0));
}

#[test]
fn a_peer_waits_for_a_while_rather_than_get_what_another_is_getting() {
    let mut sending = Sending::new();
    sending.begin(2, 7);
    let almost = PATIENCE - Duration::from_millis(1);
    assert_eq!(sending.choose(&1, [7], |_| 0, almost), None);
    assert_eq!(sending.choose(&1, [7], |_| 0, PATIENCE), Some(0));
    sending.left(&2);
    assert_eq!(sending.choose(&1, [7], |_| 0, NOT_YET), Some(0));
}

proptest! {
    #[test]
    fn somebody_is_always_sent_to_while_anything_is_asked_for(
        queues in prop::collection::vec(prop::collection::vec(0..6_u32, 1..4), 1..6),
        copies in prop::collection::vec(0..4_u32, 6),
    ) {
        let mut sending = Sending::new();
        let mut busy = Vec::new();
        for (peer, queue) in queues.iter().enumerate() {
            let copies = |piece: u32| copies[piece as usize];
            let place = sending.choose(&peer, queue.iter().copied(), copies, NOT_YET);
            if let Some(piece) = place.map(|place| queue[place]) {
                prop_assert!(!busy.contains(&piece), "{} is on its way twice", piece);
                busy.push(piece);
                sending.begin(peer, piece);
            } else {
                prop_assert!(queue.iter().all(|piece| busy.contains(piece)));
            }
        }
        prop_assert!(!busy.is_empty());
    }
}
