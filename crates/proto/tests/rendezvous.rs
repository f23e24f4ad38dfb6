//! What lies in the DHT: found and read by whoever has the invite, rubbish to
//! everybody else, and bounded whoever wrote it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::net::SocketAddr;

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::DeviceId;
use passalong_proto::knock::{
    Answer, Candidate, CandidateKind, DeviceName, IceToken, Knock, MAX_CALL_BACK, MAX_CANDIDATES,
    Offer, SessionId, open, seal, sealed_len,
};
use passalong_proto::rendezvous::mailbox::{
    LETTERS, MAX_LETTER, Mailbox, decode_answer, encode_answer,
};
use passalong_proto::rendezvous::note::{CONTENT_LEN, NOTE_LEN, NoteError};
use passalong_proto::rendezvous::presence::{MAX_FOUND, Presence, Presences, addresses};
use passalong_proto::rendezvous::{Hour, Place, Slot, TOLERANCE_HOURS, next_seq};
use proptest::prelude::*;

const NOW: Hour = Hour(1000);

fn secret() -> InviteSecret {
    InviteSecret::from_bytes([5; 12])
}

fn slot(place: Place) -> Slot {
    Slot::new(&secret(), place)
}

fn places() -> Vec<Place> {
    let session = SessionId([9; 16]);
    Place::presences()
        .chain(Place::mailboxes())
        .chain(Place::answers(session))
        .chain(Place::answers(SessionId([8; 16])))
        .collect()
}

fn address(number: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, (number % 250) as u8], 2000 + number as u16))
}

fn presence(device: u8, hour: Hour, first: usize, count: usize) -> Presence {
    Presence {
        device: DeviceId([device; 32]),
        hour,
        addresses: (first..first + count).map(address).collect(),
    }
}

/// A knock, with so many candidates and places to be called back.
fn knock(session: u8, candidates: usize, call_back: usize) -> Knock {
    Knock {
        session: SessionId([session; 16]),
        device: DeviceId([session; 32]),
        name: DeviceName::new("Ben's laptop"),
        offer: Offer {
            ufrag: IceToken::new("abcdefghijklmnop").unwrap(),
            password: IceToken::new("abcdefghijklmnopabcdefghijklmnop").unwrap(),
            fingerprint: [3; 32],
            candidates: (0..candidates)
                .map(|number| Candidate {
                    kind: match number % 3 {
                        0 => CandidateKind::ServerReflexive,
                        _ => CandidateKind::Host,
                    },
                    address: address(number),
                    priority: 2_130_706_431,
                })
                .collect(),
        },
        call_back: (0..call_back).map(address).collect(),
    }
}

/// A sealed knock that fits into a mailbox.
fn letter(session: u8) -> Vec<u8> {
    seal(&secret(), &knock(session, 2, 1)).unwrap().0
}

fn knocks(mailbox: &Mailbox) -> Vec<Vec<u8>> {
    mailbox.knocks(NOW).map(<[u8]>::to_vec).collect()
}

#[test]
fn every_place_of_every_share_has_a_name_of_its_own() {
    let other = InviteSecret::from_bytes([6; 12]);
    let mut names = HashSet::new();
    for place in places() {
        assert!(names.insert(slot(place).public()), "{place:?}");
        assert!(names.insert(Slot::new(&other, place).public()), "{place:?}");
    }
}

#[test]
fn devices_say_that_they_are_there_in_every_place_in_turn() {
    for device in [0, 7, 255] {
        let device = DeviceId([device; 32]);
        let tried: HashSet<Place> = (0..4).map(|n| Place::of_device(device, n)).collect();
        assert_eq!(tried, Place::presences().collect());
    }
}

#[test]
fn notes_have_one_length_and_fit_a_bep_44_value() {
    let slot = slot(Place::Mailbox(0));
    for length in [0, 1, 500, CONTENT_LEN] {
        let note = slot.seal([1; 24], &vec![7; length]).unwrap();
        assert_eq!(note.len(), NOTE_LEN);
        assert!(format!("{NOTE_LEN}:").len() + note.len() < 1000);
    }
    let long = vec![7; CONTENT_LEN + 1];
    assert_eq!(
        slot.seal([1; 24], &long),
        Err(NoteError::TooLong(CONTENT_LEN + 1))
    );
}

#[test]
fn a_note_of_one_place_cannot_be_put_into_another() {
    for from in places() {
        let note = slot(from).seal([1; 24], b"content").unwrap();
        for to in places().into_iter().filter(|to| *to != from) {
            assert_eq!(slot(to).open(&note), Err(NoteError::Sealed));
        }
    }
}

#[test]
fn a_number_that_cannot_be_exceeded_makes_a_place_useless_and_nothing_else() {
    assert_eq!(next_seq(None), Some(1));
    assert_eq!(next_seq(Some(7)), Some(8));
    assert_eq!(next_seq(Some(i64::MIN)), Some(1));
    assert_eq!(next_seq(Some(i64::MAX)), None);
}

#[test]
fn clocks_may_be_a_day_off_in_either_direction_and_wrap() {
    for now in [0, 10, 1000, u16::MAX] {
        let now = Hour(now);
        for (off, near) in [(0, true), (24, true), (48, true), (TOLERANCE_HOURS, true)] {
            assert_eq!(Hour(now.0.wrapping_add(off)).is_near(now), near);
            assert_eq!(Hour(now.0.wrapping_sub(off)).is_near(now), near);
        }
        for off in [TOLERANCE_HOURS + 1, 24 * 30, u16::MAX / 2] {
            assert!(!Hour(now.0.wrapping_add(off)).is_near(now));
            assert!(!Hour(now.0.wrapping_sub(off)).is_near(now));
        }
    }
    assert_eq!(
        Hour::of_unix(3600 * 70_000),
        Hour((70_000_u32 % 65_536) as u16)
    );
}

#[test]
fn whoever_joins_is_first_and_those_of_another_day_are_left_out() {
    let read = Presences::decode(
        &Presences::joined_by(
            presence(1, NOW, 0, 2),
            &[Presences::joined_by(presence(2, NOW, 2, 1), &[])],
        )
        .encode(),
    );
    let later = Hour(NOW.0 + TOLERANCE_HOURS);
    let joined = Presences::joined_by(presence(3, later, 5, 1), std::slice::from_ref(&read));
    let devices = |joined: &Presences| -> Vec<u8> {
        joined.members().iter().map(|m| m.device.0[0]).collect()
    };
    assert_eq!(devices(&joined), [3, 1, 2]);
    let again = Presences::joined_by(presence(1, NOW, 9, 1), std::slice::from_ref(&joined));
    assert_eq!(devices(&again), [1, 3, 2]);
    assert_eq!(again.members()[0].addresses, [address(9)]);
    let much_later = Hour(NOW.0 + 2 * TOLERANCE_HOURS + 1);
    let alone = Presences::joined_by(presence(4, much_later, 0, 1), &[read]);
    assert_eq!(devices(&alone), [4]);
}

#[test]
fn thousands_of_made_up_members_cost_a_few_addresses_and_nobody_their_turn() {
    let full = |base: u8| {
        let mut presences = Presences::default();
        for number in 0..50 {
            let made_up = presence(base.wrapping_add(number), NOW, usize::from(base), 6);
            presences = Presences::joined_by(made_up, &[presences]);
        }
        presences
    };
    let mut read: Vec<Presences> = (0..200).map(full).collect();
    assert!(read.iter().all(|each| each.encode().len() <= CONTENT_LEN));
    let honest = Presences::joined_by(presence(255, NOW, 900, 2), &[]);
    read.insert(3, honest);
    let found = addresses(&read, DeviceId([77; 32]), NOW);
    assert_eq!(found.len(), MAX_FOUND);
    assert!(found.contains(&address(900)));
    assert!(!addresses(&read, DeviceId([255; 32]), NOW).contains(&address(900)));
}

#[test]
fn addresses_that_nobody_takes_knocks_at_are_not_knocked_at() {
    let mut hostile = presence(1, NOW, 0, 1);
    hostile.addresses = [
        "192.0.2.1:53",
        "0.0.0.0:4000",
        "224.0.0.1:4000",
        "255.255.255.255:4000",
    ]
    .map(|text| text.parse().unwrap())
    .to_vec();
    let read = Presences::decode(&Presences::joined_by(hostile, &[]).encode());
    assert_eq!(addresses(&[read], DeviceId([9; 32]), NOW), []);
}

#[test]
fn a_mailbox_keeps_the_newest_knocks_that_fit() {
    let mut mailbox = Mailbox::default();
    let letters: Vec<Vec<u8>> = (1..=5).map(letter).collect();
    for each in &letters {
        mailbox = Mailbox::with(each.clone(), NOW, &[mailbox], |_| false).unwrap();
        let content = mailbox.encode();
        assert!(content.len() <= CONTENT_LEN);
        let slot = slot(Place::Mailbox(1));
        let note = slot.seal([2; 24], &content).unwrap();
        assert_eq!(Mailbox::decode(&slot.open(&note).unwrap()), mailbox);
    }
    let newest: Vec<Vec<u8>> = letters.iter().rev().take(LETTERS).cloned().collect();
    assert_eq!(knocks(&mailbox), newest);
}

#[test]
fn the_earlier_knock_of_the_same_session_gives_way_and_an_answered_one_is_taken_out() {
    let of = |session: u8| {
        move |bytes: &[u8]| {
            open(&secret(), bytes)
                .is_ok_and(|knock| knock.knock.session == SessionId([session; 16]))
        }
    };
    let others = Mailbox::with(letter(2), NOW, &[], |_| false).unwrap();
    let first = Mailbox::with(letter(1), NOW, std::slice::from_ref(&others), of(1)).unwrap();
    let again = letter(1);
    let second = Mailbox::with(again.clone(), NOW, &[first], of(1)).unwrap();
    assert_eq!(knocks(&second), [vec![again], knocks(&others)].concat());
    assert_eq!(Mailbox::without(NOW, &[second], of(1)), others);
}

#[test]
fn knocks_of_another_day_are_neither_read_nor_kept() {
    let old = Hour(NOW.0 - TOLERANCE_HOURS - 1);
    let mailbox = Mailbox::with(letter(1), old, &[], |_| false).unwrap();
    assert_eq!(knocks(&mailbox), Vec::<Vec<u8>>::new());
    let fresh = letter(2);
    let joined = Mailbox::with(fresh.clone(), NOW, &[mailbox], |_| false).unwrap();
    assert_eq!(knocks(&joined), [fresh]);
}

#[test]
fn a_knock_that_does_not_fit_is_not_put_in() {
    assert_eq!(
        Mailbox::with(vec![0x90; MAX_LETTER + 1], NOW, &[], |_| false),
        None
    );
}

#[test]
fn an_answer_comes_out_as_it_went_in() {
    let (bytes, mut sent) = seal(&secret(), &knock(1, 2, 0)).unwrap();
    let received = open(&secret(), &bytes).unwrap();
    let welcome = Answer::Welcome {
        session: SessionId([1; 16]),
        device: DeviceId([4; 32]),
        name: DeviceName::new("Ana"),
        offer: knock(1, MAX_CANDIDATES, 0).offer,
    };
    let answer = received.answer(&welcome).unwrap();
    let slot = slot(Place::Answer(SessionId([1; 16]), 0));
    let note = slot
        .seal([1; 24], &encode_answer(&answer).unwrap())
        .unwrap();
    let content = slot.open(&note).unwrap();
    assert_eq!(
        sent.open(decode_answer(&content).unwrap()).unwrap(),
        welcome
    );
    assert_eq!(encode_answer(&[0x91; CONTENT_LEN]), None);
}

proptest! {
    #[test]
    fn rubbish_is_no_note(rubbish in prop::collection::vec(any::<u8>(), 0..1500)) {
        for place in places() {
            prop_assert!(slot(place).open(&rubbish).is_err());
        }
    }

    #[test]
    fn a_damaged_note_is_no_note(bit in 0..NOTE_LEN * 8, cut in 0..NOTE_LEN) {
        let slot = slot(Place::Presence(2));
        let mut note = slot.seal([1; 24], b"content").unwrap();
        prop_assert!(slot.open(&note[..cut]).is_err());
        prop_assert!(slot.open(&[&note[..], &[0]].concat()).is_err());
        note[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(slot.open(&note), Err(NoteError::Sealed));
    }

    #[test]
    fn another_secret_opens_nothing(bytes in any::<[u8; 12]>()) {
        let other = InviteSecret::from_bytes(bytes);
        prop_assume!(other != secret());
        for place in places() {
            let note = slot(place).seal([1; 24], b"content").unwrap();
            prop_assert!(Slot::new(&other, place).open(&note).is_err());
        }
    }

    /// As somebody writes it who has the invite.
    #[test]
    fn any_content_is_read_without_harm(
        version in prop_oneof![Just(1_u8), any::<u8>()],
        rest in prop::collection::vec(any::<u8>(), 0..CONTENT_LEN),
    ) {
        let content = [&[version][..], &rest].concat();
        let presences = Presences::decode(&content);
        prop_assert!(presences.members().len() <= CONTENT_LEN / 35);
        let joined = Presences::joined_by(presence(1, NOW, 0, 6), &[presences]);
        prop_assert!(joined.encode().len() <= CONTENT_LEN);
        let mailbox = Mailbox::decode(&content);
        prop_assert!(mailbox.knocks(NOW).count() <= LETTERS);
        let joined = Mailbox::with(letter(1), NOW, &[mailbox], |_| false).unwrap();
        prop_assert!(joined.encode().len() <= CONTENT_LEN);
        if let Some(answer) = decode_answer(&content) {
            prop_assert!(answer.len() < CONTENT_LEN);
        }
    }

    #[test]
    fn presences_come_out_as_they_went_in(
        devices in prop::collection::hash_set(any::<u8>(), 1..5),
        count in 0..=6_usize,
        hour in any::<u16>(),
    ) {
        let mut presences = Presences::default();
        for device in devices {
            let next = presence(device, Hour(hour), usize::from(device), count);
            presences = Presences::joined_by(next, &[presences]);
        }
        let slot = slot(Place::Presence(0));
        let note = slot.seal([1; 24], &presences.encode()).unwrap();
        prop_assert_eq!(Presences::decode(&slot.open(&note).unwrap()), presences);
    }

    #[test]
    fn every_knock_is_shortened_to_fit_a_mailbox(
        candidates in 0..=MAX_CANDIDATES,
        call_back in 0..=MAX_CALL_BACK,
        name in "\\PC{0,60}",
    ) {
        let mut content = knock(1, candidates, call_back);
        content.name = DeviceName::new(&name);
        let whole = content.clone();
        content.shorten(MAX_LETTER);
        let sealed = seal(&secret(), &content).unwrap().0;
        prop_assert_eq!(sealed.len(), sealed_len(&content).unwrap());
        prop_assert!(sealed.len() <= MAX_LETTER);
        if sealed_len(&whole).unwrap() <= MAX_LETTER {
            prop_assert_eq!(&content, &whole);
        }
        // What a server saw is worth more than what an interface has.
        let kept = &content.offer.candidates;
        prop_assert!(kept.len() == candidates || !kept.is_empty());
        if kept.len() < candidates && kept.iter().any(|c| c.kind == CandidateKind::Host) {
            let seen = |each: &[Candidate]| {
                each.iter().filter(|c| c.kind == CandidateKind::ServerReflexive).count()
            };
            prop_assert_eq!(seen(kept), seen(&whole.offer.candidates));
        }
    }
}
