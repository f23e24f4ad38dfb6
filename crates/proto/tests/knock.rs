//! Knocks: only who has the invite reads, answers or spoils one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::DeviceId;
use passalong_proto::knock::{
    ANSWER_BYTE, Answer, Candidate, CandidateKind, DeviceName, IceToken, KNOCK_BYTE, KNOCK_VERSION,
    Knock, KnockError, MAX_CALL_BACK, MAX_CANDIDATES, MAX_DATAGRAM, MAX_NAME_CHARS, Offer, Refusal,
    SessionId, datagram_id, from_text, is_answer, is_knock, looks_like_text, open, seal, to_text,
};
use proptest::prelude::*;

fn secret() -> InviteSecret {
    InviteSecret::from_bytes([5; 12])
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    let v4 = (1..224_u8, any::<[u8; 3]>())
        .prop_map(|(a, [b, c, d])| IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
    let v6 = (0x2000..0xfe00_u16, any::<[u16; 7]>())
        .prop_map(|(a, [b, c, d, e, f, g, h])| IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)));
    (prop_oneof![v4, v6], 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn candidates() -> impl Strategy<Value = Candidate> {
    let kinds = prop_oneof![
        Just(CandidateKind::Host),
        Just(CandidateKind::ServerReflexive),
        Just(CandidateKind::Relayed),
    ];
    (kinds, addresses(), any::<u32>()).prop_map(|(kind, address, priority)| Candidate {
        kind,
        address,
        priority,
    })
}

fn offers() -> impl Strategy<Value = Offer> {
    let carried = candidates().prop_map(|candidate| {
        vec![Candidate {
            kind: CandidateKind::Carried,
            ..candidate
        }]
    });
    (
        "[A-Za-z0-9+/]{4,64}",
        "[A-Za-z0-9+/]{22,64}",
        any::<[u8; 32]>(),
        prop_oneof![
            4 => prop::collection::vec(candidates(), 0..=MAX_CANDIDATES),
            1 => carried,
        ],
    )
        .prop_map(|(ufrag, password, fingerprint, candidates)| Offer {
            ufrag: IceToken::new(&ufrag).unwrap(),
            password: IceToken::new(&password).unwrap(),
            fingerprint,
            candidates,
        })
}

fn names() -> impl Strategy<Value = DeviceName> {
    "\\PC{0,60}".prop_map(|text| DeviceName::new(&text))
}

fn knocks() -> impl Strategy<Value = Knock> {
    (
        any::<[u8; 16]>(),
        any::<[u8; 32]>(),
        names(),
        offers(),
        prop::collection::vec(addresses(), 0..=MAX_CALL_BACK),
    )
        .prop_map(|(session, device, name, offer, call_back)| Knock {
            session: SessionId(session),
            device: DeviceId(device),
            name,
            offer,
            call_back,
        })
}

fn answers() -> impl Strategy<Value = Answer> {
    let welcome = (any::<[u8; 16]>(), any::<[u8; 32]>(), names(), offers()).prop_map(
        |(session, device, name, offer)| Answer::Welcome {
            session: SessionId(session),
            device: DeviceId(device),
            name,
            offer,
        },
    );
    let reasons = prop_oneof![
        (any::<[u8; 32]>(), any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(public_key, r, s)| {
            Refusal::Stopped {
                public_key,
                signature: [r, s]
                    .concat()
                    .try_into()
                    .map(<[u8; 64]>::into)
                    .unwrap_or([0; 64].into()),
            }
        }),
        Just(Refusal::Taken),
        Just(Refusal::Busy),
        Just(Refusal::OwnShare),
    ];
    let refused = (any::<[u8; 16]>(), reasons).prop_map(|(session, reason)| Answer::Refused {
        session: SessionId(session),
        reason,
    });
    prop_oneof![3 => welcome, 1 => refused]
}

fn offer(candidates: &[SocketAddr]) -> Offer {
    let candidate = |address: &SocketAddr| Candidate {
        kind: CandidateKind::Host,
        address: *address,
        priority: 1,
    };
    Offer {
        ufrag: IceToken::new("ufrag").unwrap(),
        password: IceToken::new("a password of 22 chars".replace(' ', "+").as_str()).unwrap(),
        fingerprint: [6; 32],
        candidates: candidates.iter().map(candidate).collect(),
    }
}

fn knock_with(offer: Offer) -> Knock {
    Knock {
        session: SessionId([1; 16]),
        device: DeviceId([2; 32]),
        name: DeviceName::new("Ana"),
        offer,
        call_back: Vec::new(),
    }
}

fn welcome_with(offer: Offer) -> Answer {
    Answer::Welcome {
        session: SessionId([1; 16]),
        device: DeviceId([3; 32]),
        name: DeviceName::new("Ben"),
        offer,
    }
}

fn sealed(knock: &Knock) -> Vec<u8> {
    seal(&secret(), knock).unwrap().0
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut spoiled = bytes.to_vec();
    spoiled[bit / 8] ^= 1 << (bit % 8);
    spoiled
}

proptest! {
    #[test]
    fn a_knock_is_read_as_it_was_sealed_and_so_is_its_answer(
        knock in knocks(),
        answer in answers(),
        secret in any::<[u8; 12]>(),
    ) {
        let secret = InviteSecret::from_bytes(secret);
        let (bytes, mut sent) = seal(&secret, &knock).unwrap();
        prop_assert!(bytes.len() <= MAX_DATAGRAM, "{} bytes", bytes.len());
        prop_assert!(is_knock(&bytes) && !is_answer(&bytes));
        prop_assert_eq!(datagram_id(&bytes), Some(sent.id()));
        let received = open(&secret, &bytes).unwrap();
        prop_assert_eq!(&received.knock, &knock);

        let bytes = received.answer(&answer).unwrap();
        prop_assert!(bytes.len() <= MAX_DATAGRAM, "{} bytes", bytes.len());
        prop_assert!(is_answer(&bytes) && !is_knock(&bytes));
        prop_assert_eq!(datagram_id(&bytes), Some(sent.id()));
        let opened = sent.open(&bytes).unwrap();
        prop_assert_eq!(opened.session(), answer.session());
        prop_assert_eq!(opened, answer);
    }

    #[test]
    fn another_invite_opens_nothing(knock in knocks(), other in any::<[u8; 12]>()) {
        let other = InviteSecret::from_bytes(other);
        prop_assume!(other != secret());
        prop_assert_eq!(open(&other, &sealed(&knock)).unwrap_err(), KnockError::Sealed);
    }

    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(
        first in prop_oneof![Just(KNOCK_BYTE), Just(ANSWER_BYTE), any::<u8>()],
        version in prop_oneof![4 => Just(KNOCK_VERSION), 1 => any::<u8>()],
        rest in prop::collection::vec(any::<u8>(), 0..MAX_DATAGRAM + 50),
    ) {
        let bytes = [vec![first, version], rest].concat();
        for length in [0, 1, 2, 9, 10, 11, 41, 42, 57, 58, 59, bytes.len()] {
            let Some(bytes) = bytes.get(..length) else { continue };
            prop_assert!(open(&secret(), bytes).is_err());
            let (_, mut sent) = seal(&secret(), &knock_with(offer(&[]))).unwrap();
            prop_assert!(sent.open(bytes).is_err());
            let _ = datagram_id(bytes);
        }
    }

    #[test]
    fn a_code_is_found_however_a_messenger_wraps_it(
        knock in knocks(),
        width in 1..200_usize,
        gap in prop::sample::select(vec![" ", "\n", "\r\n", "\n    ", "\u{a0}", "\u{200b}", "\u{2060}\n"]),
        before in "([a-zA-Z,]{1,9} ){0,4}",
        after in "(([ \n.!>,]|\\PC)[a-zA-Z0-9]{1,9}){0,60}",
    ) {
        let bytes = sealed(&knock);
        let text = to_text(&bytes);
        let (prefix, code) = text.split_once(':').unwrap();
        let wrapped: Vec<&str> = (0..code.len())
            .step_by(width)
            .map(|start| &code[start..code.len().min(start + width)])
            .collect();
        let pasted = format!("{before}{prefix}:{}{gap}{after}", wrapped.join(gap));
        prop_assert!(looks_like_text(&pasted));
        prop_assert_eq!(from_text(&pasted), Some(bytes));
    }

    #[test]
    fn a_mistyped_or_shortened_code_is_no_code(
        knock in knocks(),
        place in any::<prop::sample::Index>(),
        other in "[A-Za-z0-9_-]",
    ) {
        let text = to_text(&sealed(&knock));
        let start = text.find(':').unwrap() + 1;
        let place = start + place.index(text.len() - start);
        // The last character has bits to spare; decoding insists on zeros.
        prop_assume!(text[place..=place] != other);
        let mut mistyped = text.clone();
        mistyped.replace_range(place..=place, &other);
        prop_assert_eq!(from_text(&mistyped), None);
        prop_assert_eq!(from_text(&text[..place]), None);
        prop_assert!(looks_like_text(&mistyped));
    }

    #[test]
    fn any_text_is_searched_without_panic(text in "(passalong-(reply|answer):|\\PC|\n){0,80}") {
        prop_assert_eq!(from_text(&text), None);
    }

    #[test]
    fn names_are_cleaned_once_and_for_all(
        text in "[\\PC\n\r\t\0\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{200e}\u{2028}\u{ad}\u{feff} ]{0,120}",
    ) {
        let name = DeviceName::new(&text);
        let shown = name.as_str();
        prop_assert!((1..=MAX_NAME_CHARS).contains(&shown.chars().count()));
        prop_assert!(!shown.contains(char::is_control));
        let hidden = ['\u{202e}', '\u{2066}', '\u{2028}', '\u{200b}', '\u{feff}'];
        prop_assert!(!shown.contains(hidden));
        prop_assert_eq!(shown.trim(), shown);
        prop_assert_eq!(DeviceName::new(shown), name);
    }
}

#[test]
fn every_flipped_bit_of_a_knock_is_refused() {
    let bytes = sealed(&knock_with(offer(&["192.0.2.1:4000".parse().unwrap()])));
    for bit in 0..bytes.len() * 8 {
        assert!(open(&secret(), &flipped(&bytes, bit)).is_err(), "bit {bit}");
    }
    assert!(open(&secret(), &bytes).is_ok());
}

#[test]
fn every_flipped_bit_of_an_answer_is_refused_and_does_not_spoil_the_true_one() {
    let (bytes, mut sent) = seal(&secret(), &knock_with(offer(&[]))).unwrap();
    let received = open(&secret(), &bytes).unwrap();
    let answer = welcome_with(offer(&["[2001:db8::1]:4000".parse().unwrap()]));
    let bytes = received.answer(&answer).unwrap();
    for bit in 0..bytes.len() * 8 {
        assert!(sent.open(&flipped(&bytes, bit)).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(sent.open(&bytes[..length]).is_err(), "{length} bytes");
    }
    assert_eq!(sent.open(&bytes), Ok(answer));
}

#[test]
fn a_knock_cut_short_or_drawn_out_is_refused() {
    let mut bytes = sealed(&knock_with(offer(&[])));
    for length in 0..bytes.len() {
        assert!(open(&secret(), &bytes[..length]).is_err(), "{length} bytes");
    }
    bytes.push(0);
    assert!(open(&secret(), &bytes).is_err());
}

#[test]
fn an_answer_fits_its_own_knock_alone() {
    let knock = knock_with(offer(&[]));
    let (first, mut first_sent) = seal(&secret(), &knock).unwrap();
    let (second, mut second_sent) = seal(&secret(), &knock).unwrap();
    assert_ne!(first, second, "no two knocks look alike");
    let answer = welcome_with(offer(&[]));
    let to_first = open(&secret(), &first).unwrap().answer(&answer).unwrap();
    let to_second = open(&secret(), &second).unwrap().answer(&answer).unwrap();
    assert_eq!(second_sent.open(&to_first), Err(KnockError::Sealed));
    assert_eq!(first_sent.open(&to_second), Err(KnockError::Sealed));
    assert_eq!(first_sent.open(&to_first), Ok(answer.clone()));
    assert_eq!(second_sent.open(&to_second), Ok(answer));
}

#[test]
fn one_knock_takes_one_answer() {
    let (bytes, mut sent) = seal(&secret(), &knock_with(offer(&[]))).unwrap();
    let answer = welcome_with(offer(&[]));
    let reply = || open(&secret(), &bytes).unwrap().answer(&answer).unwrap();
    let (one, other) = (reply(), reply());
    assert!(sent.open(&one).is_ok());
    assert!(sent.open(&other).is_err());
    assert!(
        sent.open(&one).is_err(),
        "nor does it take the same one twice"
    );
}

#[test]
fn a_knock_is_not_an_answer_and_an_answer_is_no_knock() {
    let (mut bytes, mut sent) = seal(&secret(), &knock_with(offer(&[]))).unwrap();
    let mut answer = open(&secret(), &bytes)
        .unwrap()
        .answer(&welcome_with(offer(&[])))
        .unwrap();
    bytes[0] = ANSWER_BYTE;
    assert!(sent.open(&bytes).is_err());
    answer[0] = KNOCK_BYTE;
    assert!(open(&secret(), &answer).is_err());
}

#[test]
fn knocks_tell_their_contents_by_length_only_roughly() {
    let lengths: Vec<usize> = (0..=MAX_CANDIDATES)
        .map(|count| {
            sealed(&knock_with(offer(&vec![
                "192.0.2.1:4000".parse().unwrap();
                count
            ])))
        })
        .map(|bytes| bytes.len())
        .collect();
    for length in lengths {
        assert_eq!((length - 58) % 128, 0, "{length}");
    }
}

#[test]
fn a_hostile_peer_with_the_invite_keeps_to_the_bounds_all_the_same() {
    let usable: SocketAddr = "192.0.2.1:4000".parse().unwrap();
    let refused_both_ways = |offer: Offer, why: &str| {
        let bytes = sealed(&knock_with(offer.clone()));
        assert_eq!(
            open(&secret(), &bytes).unwrap_err(),
            KnockError::Content,
            "{why}"
        );
        let (bytes, mut sent) = seal(&secret(), &knock_with(self::offer(&[]))).unwrap();
        let answer = open(&secret(), &bytes)
            .unwrap()
            .answer(&welcome_with(offer));
        assert_eq!(
            sent.open(&answer.unwrap()),
            Err(KnockError::Content),
            "{why}"
        );
    };
    refused_both_ways(offer(&[usable; MAX_CANDIDATES + 1]), "too many candidates");
    for address in [
        "192.0.2.1:0",
        "0.0.0.0:4000",
        "255.255.255.255:4000",
        "224.0.0.1:4000",
        "[::]:4000",
        "[ff02::1]:4000",
        "[::ffff:224.0.0.1]:4000",
    ] {
        refused_both_ways(offer(&[usable, address.parse().unwrap()]), address);
    }
    for place in 0..2 {
        let mut mixed = offer(&[usable; 2]);
        mixed.candidates[place].kind = CandidateKind::Carried;
        refused_both_ways(mixed, "carried and direct at once");
    }
    let mut short = offer(&[]);
    short.password = IceToken::new("only21characters12345").unwrap();
    refused_both_ways(short, "a short password");

    let mut far_flung = knock_with(offer(&[]));
    far_flung.call_back = vec![usable; MAX_CALL_BACK + 1];
    let refused = open(&secret(), &sealed(&far_flung)).unwrap_err();
    assert_eq!(refused, KnockError::Content);
}

#[test]
fn what_does_not_fit_a_datagram_is_not_sealed() {
    let address: SocketAddr = "[2001:db8:1:2:3:4:5:6]:40000".parse().unwrap();
    let huge = knock_with(offer(&[address; 100]));
    assert_eq!(seal(&secret(), &huge).unwrap_err(), KnockError::TooLarge);
    let (bytes, _) = seal(&secret(), &knock_with(offer(&[]))).unwrap();
    let received = open(&secret(), &bytes).unwrap();
    let answer = received.answer(&welcome_with(offer(&[address; 100])));
    assert_eq!(answer.unwrap_err(), KnockError::TooLarge);
}

#[test]
fn ice_credentials_cannot_begin_a_line_of_their_own() {
    for text in [
        "abc",
        &"a".repeat(65),
        "with space",
        "line\r\na=x",
        "colon:",
        "ä234",
        "",
    ] {
        assert_eq!(IceToken::new(text), None, "{text:?}");
    }
    for text in ["abcd", "A+/9", &"a".repeat(64)] {
        assert_eq!(IceToken::new(text).unwrap().as_str(), text);
    }
}

#[test]
fn a_name_that_shows_nothing_becomes_somebody() {
    for text in ["", "   ", "\n\t", "\u{200b}\u{202e}\u{2028}"] {
        assert_eq!(DeviceName::new(text).as_str(), "Somebody");
    }
    assert_eq!(DeviceName::new(" Ana's\nlaptop ").as_str(), "Ana's laptop");
}

#[test]
fn an_answer_code_is_found_behind_a_reply_code_that_is_not_whole() {
    let (bytes, _) = seal(&secret(), &knock_with(offer(&[]))).unwrap();
    let received = open(&secret(), &bytes).unwrap();
    let answer = received.answer(&welcome_with(offer(&[]))).unwrap();
    let reply = to_text(&bytes);
    let text = format!("> {} ...\nHere: {}", &reply[..60], to_text(&answer));
    assert_eq!(from_text(&text), Some(answer));
    let twice = format!("{} ... {reply}", &reply[..60]);
    assert_eq!(from_text(&twice), Some(bytes));
}

#[test]
fn what_goes_to_a_log_holds_no_key() {
    let (bytes, sent) = seal(&secret(), &knock_with(offer(&[]))).unwrap();
    let received = open(&secret(), &bytes).unwrap();
    for text in [format!("{sent:?}"), format!("{received:?}")] {
        assert!(
            text.contains("..") && !text.contains("HandshakeState"),
            "{text}"
        );
    }
}
