//! Invites: codes and links survive the roads that people send them by.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};

use passalong_proto::code::Code;
use passalong_proto::invite::{Invite, InviteError, InviteSecret, MAX_ADDRESSES, MAX_TEXT_BYTES};
use passalong_proto::keys::ShareKey;
use proptest::prelude::*;

fn secrets() -> impl Strategy<Value = InviteSecret> {
    any::<[u8; 12]>().prop_map(InviteSecret::from_bytes)
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

/// Invites as the sharer makes them.
fn invites() -> impl Strategy<Value = Invite> {
    (secrets(), prop::collection::vec(addresses(), 0..10))
        .prop_map(|(secret, addresses)| Invite::new(secret, addresses))
}

fn sample() -> Invite {
    let addresses = ["192.0.2.7:4000", "[2001:db8::7]:4000"];
    Invite::new(
        ShareKey::from_seed([3; 32]).secret(),
        addresses.map(|a| a.parse().unwrap()),
    )
}

proptest! {
    #[test]
    fn a_link_is_read_as_the_invite_it_was_made_of(invite in invites()) {
        prop_assert_eq!(Invite::parse(&invite.link()), Ok(invite));
    }

    #[test]
    fn a_code_is_read_as_the_invite_without_its_addresses(invite in invites()) {
        let bare = Invite::new(invite.secret, []);
        prop_assert_eq!(Invite::parse(&invite.code()), Ok(bare));
    }

    #[test]
    fn an_invite_keeps_at_most_six_addresses_that_can_be_knocked_at(
        secret in secrets(),
        candidates in prop::collection::vec(addresses(), 0..20),
    ) {
        let invite = Invite::new(secret, candidates.clone());
        prop_assert!(invite.addresses.len() <= MAX_ADDRESSES);
        for address in &invite.addresses {
            prop_assert!(candidates.contains(address));
            prop_assert!(address.port() != 0);
            prop_assert!(!address.ip().is_unspecified() && !address.ip().is_multicast());
        }
    }

    #[test]
    fn a_link_is_found_within_a_message(
        invite in invites(),
        before in "[a-zA-Z ,.!?\n]{0,40}",
        after in "[a-zA-Z ,.!?\n]{0,40}",
        marks in prop::sample::select(vec![
            ("", ""), ("\"", "\""), ("<", ">"), ("(", ")."), ("“", "”"), ("`", "`"), ("[invite](", ")"),
            ("<a href=\"", "\">invite</a>"), ("'", "'!"), ("", ","), ("", "."),
        ]),
    ) {
        let text = format!("{before} {}{}{} {after}", marks.0, invite.link(), marks.1);
        prop_assert_eq!(Invite::parse(&text), Ok(invite));
    }

    #[test]
    fn a_link_survives_percent_encoding_and_shouting(invite in invites()) {
        let encoded = invite
            .link()
            .replace('[', "%5B")
            .replace(']', "%5d")
            .replace(',', "%2C")
            .replace(':', "%3A")
            .replacen("%3A", ":", 1);
        prop_assert_eq!(Invite::parse(&encoded), Ok(invite.clone()));
        let slashed = invite.link().replacen("passalong:", "PassAlong://", 1);
        prop_assert_eq!(Invite::parse(&slashed), Ok(invite.clone()));
        prop_assert_eq!(Invite::parse(&slashed.to_uppercase()), Ok(invite));
    }

    #[test]
    fn a_broken_line_costs_no_address(
        invite in invites(),
        place in any::<prop::sample::Index>(),
        line_break in prop::sample::select(vec!["\n", "\r\n"]),
    ) {
        let mut link = invite.link();
        link.insert_str(10 + place.index(link.len() - 9), line_break);
        let read = Invite::parse(&format!("Hello\n{link}")).unwrap();
        prop_assert_eq!(read.secret, invite.secret);
        // The break may leave two readings of the address that it is in.
        let mut kept = read.addresses.iter();
        let expected = invite.addresses.iter().take(MAX_ADDRESSES - 1);
        for address in expected {
            prop_assert!(kept.any(|a| a == address), "{address} in {:?}", read.addresses);
        }
    }

    #[test]
    fn words_on_the_next_line_are_no_part_of_the_link(
        invite in invites(),
        after in "[A-Z][a-z]{1,8}[ ,.!].{0,20}",
    ) {
        let text = format!("{}\n{after}", invite.link());
        prop_assert_eq!(Invite::parse(&text), Ok(invite));
    }

    #[test]
    fn unknown_parameters_are_left_out(invite in invites(), key in "[b-z]{1,5}", value in "[a-z0-9]{0,9}") {
        let link = invite.link();
        let more = if link.contains('?') { '&' } else { '?' };
        prop_assert_eq!(Invite::parse(&format!("{link}{more}{key}={value}")), Ok(invite.clone()));
        prop_assert_eq!(Invite::parse(&format!("{link}{more}{key}&&=#top")), Ok(invite));
    }

    #[test]
    fn reading_arbitrary_text_never_panics(text in "\\PC{0,300}", tail in "\\PC{0,100}") {
        let _ = Invite::parse(&text);
        let _ = Invite::parse(&format!("passalong:{tail}"));
        let read = Invite::parse(&format!("{}{tail}", sample().code() + "?a="));
        if let Ok(invite) = read {
            prop_assert_eq!(invite.secret, sample().secret);
        }
    }

    #[test]
    fn a_link_with_arbitrary_parameters_keeps_its_secret(tail in "[a-z0-9%=&,:\\[\\].\r\n]{0,100}") {
        let link = format!("passalong:{}?{tail}", sample().code());
        let invite = Invite::parse(&link).unwrap();
        prop_assert_eq!(invite.secret, sample().secret);
        prop_assert_eq!(Invite::parse(&invite.link()), Ok(invite));
    }

    #[test]
    fn a_secret_commits_to_one_key(seeds in prop::array::uniform2(any::<[u8; 32]>())) {
        prop_assume!(seeds[0] != seeds[1]);
        let [one, other] = seeds.map(ShareKey::from_seed);
        prop_assert!(one.secret().commits_to(&one.public()));
        prop_assert!(!one.secret().commits_to(&other.public()));
        prop_assert!(one.secret() != other.secret());
    }

    #[test]
    fn any_different_bit_makes_a_different_secret(bytes in any::<[u8; 12]>(), bit in 0_usize..95) {
        let mut other = bytes;
        other[bit / 8] ^= 0x80 >> (bit % 8);
        prop_assert_ne!(InviteSecret::from_bytes(bytes), InviteSecret::from_bytes(other));
        let mut same = bytes;
        same[11] ^= 1;
        prop_assert_eq!(InviteSecret::from_bytes(bytes), InviteSecret::from_bytes(same));
    }

    #[test]
    fn what_is_derived_from_a_secret_has_its_length_and_tells_nothing_else(secret in secrets()) {
        let psk: String = secret.psk().iter().map(|b| format!("{b:02x}")).collect();
        let (tag, id) = (secret.lan_tag(), secret.id());
        prop_assert_eq!((tag.len(), id.len()), (20, 16));
        prop_assert!(tag.chars().chain(id.chars()).all(|c| c.is_ascii_hexdigit()));
        prop_assert!(!psk.starts_with(&tag[..8]) && !psk.starts_with(&id[..8]));
        prop_assert_ne!(&tag[..8], &id[..8]);
    }
}

#[test]
fn a_link_looks_as_the_documentation_says() {
    let invite = sample();
    assert_eq!(
        invite.link(),
        format!(
            "passalong:{}?a=192.0.2.7:4000,[2001:db8::7]:4000",
            invite.code()
        )
    );
    let bare = Invite::new(invite.secret, []);
    assert_eq!(bare.link(), format!("passalong:{}", invite.code()));
}

#[test]
fn useless_addresses_are_left_out_and_the_others_kept() {
    let code = sample().code();
    let list = "0.0.0.0:5,224.0.0.1:5,255.255.255.255:5,[::]:5,[ff02::1]:5,[::ffff:0.0.0.0]:5,\
                1.2.3.4:0,1.2.3.4:70000,1.2.3:5,host.example:5,,[::1,1.2.3.4,1.2.3.4:5,1.2.3.4:5,\
                [fe80::1%253]:6";
    let invite = Invite::parse(&format!("passalong:{code}?a={list}")).unwrap();
    let expected: [SocketAddr; 2] = ["1.2.3.4:5".parse().unwrap(), "[fe80::1]:6".parse().unwrap()];
    assert_eq!(invite.addresses, expected);
}

#[test]
fn the_addresses_of_one_link_are_not_given_to_another() {
    let first = sample();
    let second = Invite::new(
        ShareKey::from_seed([4; 32]).secret(),
        ["198.51.100.1:9", "198.51.100.2:9"].map(|a| a.parse().unwrap()),
    );
    let text = format!("{}\n{}\n", first.link(), second.link());
    assert_eq!(Invite::parse(&text), Ok(first));
}

#[test]
fn a_spoiled_link_gives_way_to_a_whole_one() {
    let invite = sample();
    let text = format!("not passalong:ABC but {}", invite.link());
    assert_eq!(Invite::parse(&text), Ok(invite));
}

#[test]
fn a_link_with_a_wrong_code_says_what_is_wrong() {
    let code = sample().code();
    let cut = &code[..17];
    for (text, expected) in [
        (
            format!("passalong:{cut}?a=1.2.3.4:5"),
            InviteError::Length { found: 15 },
        ),
        (
            format!("passalong:{code}X?a=1.2.3.4:5"),
            InviteError::Length { found: 21 },
        ),
        (
            format!("passalong:U{}", &code[1..]),
            InviteError::Character {
                character: 'U',
                position: 1,
            },
        ),
        ("passalong:".to_owned(), InviteError::Empty),
    ] {
        assert_eq!(Invite::parse(&text), Err(expected), "{text}");
    }
}

#[test]
fn text_without_an_invite_is_told_from_an_empty_field() {
    assert_eq!(Invite::parse(""), Err(InviteError::Empty));
    assert_eq!(Invite::parse(" \n\t "), Err(InviteError::Empty));
    for text in ["hello", "https://example.org", "passports along", "!?"] {
        assert_eq!(Invite::parse(text), Err(InviteError::NotAnInvite), "{text}");
    }
}

#[test]
fn longer_text_than_anybody_sends_is_not_searched() {
    let link = sample().link();
    let fits = " ".repeat(MAX_TEXT_BYTES - link.len()) + &link;
    assert_eq!(Invite::parse(&fits), Ok(sample()));
    assert_eq!(Invite::parse(&(fits + " ")), Err(InviteError::NotAnInvite));
}

#[test]
fn every_message_says_what_to_do() {
    for error in [
        InviteError::Empty,
        InviteError::NotAnInvite,
        InviteError::Length { found: 19 },
        InviteError::Length { found: 21 },
        InviteError::Character {
            character: 'U',
            position: 7,
        },
        InviteError::Typo,
    ] {
        let message = error.to_string();
        assert!(
            ["paste", "copy", "compare"]
                .iter()
                .any(|word| message.contains(word)),
            "{message}"
        );
    }
}

#[test]
fn debug_output_of_an_invite_does_not_let_anybody_in() {
    let invite = sample();
    let shown = format!("{invite:?}");
    assert!(!shown.contains(&invite.code()[..5]));
    assert_eq!(Code::from(invite.secret).to_string(), invite.code());
}
