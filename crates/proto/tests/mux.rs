//! Whose datagram it is at a port of many connections.

use std::net::SocketAddr;
use std::time::Duration;

use passalong_proto::mux::{ANSWER, CLAIM, HOLD, MAX_CLAIMS, Mux, Seat};
use proptest::prelude::*;

const DTLS: &[u8] = &[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2];
const REQUEST: u16 = 0x0001;
const INDICATION: u16 = 0x0011;
const SUCCESS: u16 = 0x0101;
const ERROR: u16 = 0x0111;
const ALLOCATE: u16 = 0x0003;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 7], port))
}

/// A STUN message, with a user name if it has one.
fn stun(kind: u16, transaction: u8, user: Option<&str>) -> Vec<u8> {
    let mut attributes = vec![0x80, 0x22, 0, 3, b'a', b'b', b'c', 0];
    if let Some(user) = user {
        attributes.extend([0, 6, 0, user.len() as u8]);
        attributes.extend(user.as_bytes());
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    }
    let mut bytes = kind.to_be_bytes().to_vec();
    bytes.extend((attributes.len() as u16).to_be_bytes());
    bytes.extend([0x21, 0x12, 0xa4, 0x42]);
    bytes.extend([transaction; 12]);
    bytes.extend(attributes);
    bytes
}

/// Two connections that spoke long enough for the port to be theirs.
fn two() -> (Mux, Duration) {
    let mut mux = Mux::default();
    assert!(mux.sit(Seat(1), "anna") && mux.sit(Seat(2), "bert"));
    for (seat, name) in [(Seat(1), "anna:x"), (Seat(2), "bert:x")] {
        assert!(!mux.outgoing(seat, at(9), &stun(REQUEST, 99, Some("x:y")), Duration::ZERO));
        assert_eq!(
            mux.incoming(at(9), &stun(REQUEST, 98, Some(name)), Duration::ZERO),
            None
        );
    }
    (mux, HOLD)
}

#[test]
fn a_check_goes_to_whom_it_names_and_takes_the_address_with_it() {
    let (mut mux, now) = two();
    assert_eq!(mux.incoming(at(1), DTLS, now), None, "nobody's yet");
    let check = stun(REQUEST, 1, Some("anna:far"));
    assert_eq!(mux.incoming(at(1), &check, now), Some(Seat(1)));
    assert_eq!(mux.incoming(at(1), DTLS, now), Some(Seat(1)));
    assert_eq!(mux.incoming(at(2), DTLS, now), None);
    let stranger = stun(REQUEST, 1, Some("carl:far"));
    assert_eq!(mux.incoming(at(1), &stranger, now), None);
    let nobody = stun(REQUEST, 1, None);
    assert_eq!(mux.incoming(at(1), &nobody, now), None);
    assert!(mux.outgoing(Seat(1), at(1), DTLS, now));
    assert!(!mux.outgoing(Seat(2), at(1), DTLS, now));
}

#[test]
fn an_answer_goes_to_who_asked_and_only_from_whom_was_asked_and_once() {
    let (mut mux, now) = two();
    assert!(mux.outgoing(Seat(2), at(5), &stun(REQUEST, 7, None), now));
    let answer = stun(SUCCESS, 7, None);
    assert_eq!(mux.incoming(at(6), &answer, now), None);
    assert_eq!(mux.incoming(at(5), &answer, now), Some(Seat(2)));
    assert_eq!(mux.incoming(at(5), &answer, now), None);
    assert_eq!(mux.owner(at(5), now), None, "a server is nobody's");
    for server in [5, 6] {
        assert!(mux.outgoing(Seat(2), at(server), &stun(REQUEST, 7, None), now));
    }
    assert_eq!(mux.incoming(at(5), &answer, now), Some(Seat(2)));
    assert_eq!(mux.incoming(at(6), &answer, now + ANSWER), None, "too late");
    assert!(mux.outgoing(Seat(1), at(5), &stun(REQUEST, 8, Some("far:anna")), now));
    assert_eq!(
        mux.incoming(at(5), &stun(ERROR, 8, None), now),
        Some(Seat(1))
    );
    assert_eq!(mux.owner(at(5), now), None, "it was refused");
    assert!(mux.outgoing(Seat(1), at(5), &stun(REQUEST, 9, Some("far:anna")), now));
    assert_eq!(
        mux.incoming(at(5), &stun(SUCCESS, 9, None), now),
        Some(Seat(1))
    );
    assert_eq!(mux.owner(at(5), now), Some(Seat(1)));
}

#[test]
fn nothing_is_checked_at_first_but_servers_are_asked() {
    let mut mux = Mux::default();
    assert!(mux.sit(Seat(1), "anna"));
    let check = stun(REQUEST, 1, Some("far:anna"));
    let coming = stun(REQUEST, 2, Some("anna:far"));
    assert!(mux.outgoing(Seat(1), at(1), &stun(ALLOCATE, 3, None), Duration::ZERO));
    let first = Duration::from_secs(3);
    assert_eq!(mux.incoming(at(1), &coming, first), None);
    assert!(!mux.outgoing(Seat(1), at(1), &check, first));
    let soon = first + HOLD - Duration::from_millis(1);
    assert!(!mux.outgoing(Seat(1), at(1), &check, soon));
    assert!(mux.outgoing(Seat(1), at(1), &check, first + HOLD));
    assert_eq!(mux.incoming(at(1), &coming, first + HOLD), Some(Seat(1)));
}

#[test]
fn whoever_leaves_or_falls_silent_has_nothing_any_more() {
    let (mut mux, now) = two();
    let (anna, bert) = (
        stun(REQUEST, 1, Some("anna:far")),
        stun(REQUEST, 2, Some("bert:far")),
    );
    assert_eq!(mux.incoming(at(1), &anna, now), Some(Seat(1)));
    assert_eq!(mux.incoming(at(1), &bert, now), None);
    assert!(!mux.outgoing(Seat(2), at(1), &stun(REQUEST, 3, Some("far:bert")), now));
    let late = now + CLAIM;
    let sign = stun(INDICATION, 4, None);
    assert_eq!(
        mux.incoming(at(1), &sign, late - Duration::from_secs(1)),
        Some(Seat(1))
    );
    assert_eq!(mux.incoming(at(1), &bert, late), None, "it was heard since");
    mux.leave(Seat(1));
    assert_eq!(mux.incoming(at(1), &bert, late), Some(Seat(2)));
    assert_eq!(mux.incoming(at(2), &anna, late), None);
    assert_eq!(mux.incoming(at(1), DTLS, late + CLAIM), None);
    assert!(mux.sit(Seat(3), "anna"), "the name is free again");
}

#[test]
fn a_name_is_one_connections() {
    let mut mux = Mux::default();
    assert!(mux.sit(Seat(1), "anna"));
    assert!(!mux.sit(Seat(2), "anna"));
    assert!(mux.sit(Seat(1), "anne"));
    assert!(mux.sit(Seat(2), "anna"));
}

#[test]
fn one_connection_has_a_bounded_number_of_far_addresses() {
    let (mut mux, now) = two();
    let check = stun(REQUEST, 1, Some("anna:far"));
    let taken = (1..1000).filter(|port| mux.incoming(at(*port), &check, now).is_some());
    assert_eq!(taken.count(), MAX_CLAIMS);
    let again = (1000..2000).filter(|port| mux.incoming(at(*port), &check, now + CLAIM).is_some());
    assert_eq!(again.count(), MAX_CLAIMS, "what fell silent counts no more");
}

#[derive(Clone, Debug)]
enum Step {
    Out(u64, u16, Vec<u8>),
    In(u16, Vec<u8>),
    Leave(u64),
}

fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just(REQUEST),
        Just(INDICATION),
        Just(SUCCESS),
        Just(ERROR),
        any::<u16>()
    ];
    let users = prop_oneof![
        Just(None),
        Just(Some("anna:far")),
        Just(Some("bert:far")),
        Just(Some("far:anna"))
    ];
    prop_oneof![
        4 => (kinds, 0u8..6, users).prop_map(|(kind, number, user)| stun(kind, number, user)),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => Just(DTLS.to_vec()),
        1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| {
            let mut bytes = stun(REQUEST, 1, Some("anna:far"));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1u64..3, 1u16..4, datagram()).prop_map(|(seat, to, bytes)| Step::Out(seat, to, bytes)),
        (1u16..4, datagram()).prop_map(|(from, bytes)| Step::In(from, bytes)),
        (1u64..3).prop_map(Step::Leave),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_a_far_address_has_one_owner_who_alone_hears_and_speaks(
        steps in prop::collection::vec((step(), 0u64..2000), 1..120),
    ) {
        let (mut mux, mut now) = two();
        for (step, pause) in steps {
            now += Duration::from_millis(pause);
            match step {
                Step::Out(seat, to, bytes) => {
                    let before = mux.owner(at(to), now);
                    let may = mux.outgoing(Seat(seat), at(to), &bytes, now);
                    let is_stun = bytes.len() >= 20 && bytes[0] <= 3;
                    if may && !is_stun {
                        prop_assert_eq!(before, Some(Seat(seat)));
                    }
                    prop_assert_eq!(mux.owner(at(to), now), before, "sending claims nothing");
                }
                Step::In(from, bytes) => {
                    let before = mux.owner(at(from), now);
                    let given = mux.incoming(at(from), &bytes, now);
                    let after = mux.owner(at(from), now);
                    if let Some(before) = before {
                        prop_assert_eq!(after, Some(before), "nobody is put out");
                    }
                    let is_stun = bytes.len() >= 20 && bytes[0] <= 3;
                    if !is_stun {
                        prop_assert_eq!(given, before);
                    }
                }
                Step::Leave(seat) => {
                    mux.leave(Seat(seat));
                    for port in 1..4 {
                        prop_assert_ne!(mux.owner(at(port), now), Some(Seat(seat)));
                    }
                    let name = ["anna", "bert"][seat as usize - 1];
                    prop_assert!(mux.sit(Seat(seat), name));
                }
            }
        }
    }
}
