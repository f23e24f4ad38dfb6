//! Codes: what is written is read again, mistakes are noticed, prose is no code.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use passalong_proto::code::{CODE_LEN, Code};
use passalong_proto::invite::{InviteError, InviteSecret};
use proptest::prelude::*;

const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn codes() -> impl Strategy<Value = Code> {
    any::<[u8; 12]>().prop_map(|bytes| Code::from(InviteSecret::from_bytes(bytes)))
}

fn symbols(code: Code) -> Vec<char> {
    code.to_string().chars().filter(|c| *c != '-').collect()
}

fn read(symbols: &[char]) -> Result<Code, InviteError> {
    symbols.iter().collect::<String>().parse()
}

proptest! {
    #[test]
    fn a_written_code_is_read_as_the_same_secret(bytes in any::<[u8; 12]>()) {
        let secret = InviteSecret::from_bytes(bytes);
        let written = Code::from(secret).to_string();
        prop_assert_eq!(written.parse::<Code>().unwrap().secret(), secret);
        prop_assert_eq!(Code::find_in(&written).unwrap().secret(), secret);
    }

    #[test]
    fn a_code_is_four_groups_of_five_from_the_alphabet(code in codes()) {
        let written = code.to_string();
        let groups: Vec<&str> = written.split('-').collect();
        prop_assert_eq!(groups.len(), 4);
        for group in groups {
            prop_assert_eq!(group.len(), 5);
            prop_assert!(group.chars().all(|c| ALPHABET.contains(c)));
        }
    }

    #[test]
    fn every_change_of_one_character_is_a_typo(code in codes()) {
        let right = symbols(code);
        for position in 0..CODE_LEN {
            for other in ALPHABET.chars().filter(|c| *c != right[position]) {
                let mut wrong = right.clone();
                wrong[position] = other;
                prop_assert_eq!(read(&wrong), Err(InviteError::Typo));
            }
        }
    }

    #[test]
    fn every_swap_of_two_different_characters_is_a_typo(code in codes()) {
        let right = symbols(code);
        for first in 0..CODE_LEN {
            for second in first + 1..CODE_LEN {
                let mut wrong = right.clone();
                wrong.swap(first, second);
                let expected = if wrong == right { Ok(code) } else { Err(InviteError::Typo) };
                prop_assert_eq!(read(&wrong), expected);
            }
        }
    }

    #[test]
    fn case_and_look_alikes_do_not_matter(code in codes(), choices in any::<[u8; CODE_LEN]>()) {
        let sloppy: String = symbols(code)
            .into_iter()
            .zip(choices)
            .map(|(symbol, choice)| match (symbol, choice % 6) {
                ('0', 0) => 'o',
                ('0', 1) => 'O',
                ('1', 0) => 'i',
                ('1', 1) => 'I',
                ('1', 2) => 'l',
                ('1', 3) => 'L',
                (symbol, 0..3) => symbol.to_ascii_lowercase(),
                (symbol, _) => symbol,
            })
            .collect();
        prop_assert_eq!(sloppy.parse::<Code>(), Ok(code));
    }

    #[test]
    fn separators_may_stand_anywhere(
        code in codes(),
        separators in prop::collection::vec(
            "[ \t\r\n\u{A0}\u{2003}\u{202F}\u{3000}\u{200B}\u{200D}\u{2060}\u{FEFF}\u{AD}\u{200E}\
             \u{2068}\u{2069}\\-\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2212}]{0,3}",
            CODE_LEN + 1,
        ),
    ) {
        let mut text = separators[0].clone();
        for (symbol, separator) in symbols(code).into_iter().zip(&separators[1..]) {
            text.push(symbol);
            text.push_str(separator);
        }
        prop_assert_eq!(text.parse::<Code>(), Ok(code));
        prop_assert_eq!(Code::find_in(&text), Ok(code));
    }

    #[test]
    fn missing_and_extra_characters_are_counted(code in codes(), cut in 10_usize..20, more in 1_usize..20) {
        let right = symbols(code);
        prop_assert_eq!(read(&right[..cut]), Err(InviteError::Length { found: cut }));
        let doubled = [right.clone(), right].concat();
        let found = CODE_LEN + more;
        prop_assert_eq!(read(&doubled[..found]), Err(InviteError::Length { found }));
    }

    #[test]
    fn a_foreign_character_is_named_with_its_place(code in codes(), place in 0..CODE_LEN) {
        let mut wrong = symbols(code);
        wrong[place] = 'u';
        let named = Err(InviteError::Character { character: 'u', position: place + 1 });
        prop_assert_eq!(read(&wrong), named.clone());
        let mut grouped: String = wrong.into_iter().collect();
        for dash in [15, 10, 5] {
            grouped.insert(dash, '-');
        }
        prop_assert_eq!(grouped.parse::<Code>(), named.clone());
        prop_assert_eq!(Code::find_in(&format!("Here: {grouped}, cheers")), named);
    }

    #[test]
    fn a_code_is_found_within_a_message(
        code in codes(),
        before in "[a-zà-ÿ ,.!?]{0,40}",
        after in "[a-zà-ÿ ,.!?]{0,40}",
        quote in prop::sample::select(vec![("", ""), ("\"", "\""), ("<", ">"), ("(", ")."), ("“", "”"), ("`", "`"), ("**", "**")]),
        glue in prop::sample::select(vec!["-", " - ", "\n", "-\r\n", "\u{2011}", "\u{2013}"]),
    ) {
        let written = code.to_string().replace('-', glue);
        // A message may hold a spaced-out code by accident; a dash or digit decides.
        prop_assume!(written.contains(|c: char| c.is_ascii_digit()));
        let text = format!("{before}: {}{written}{} :{after}", quote.0, quote.1);
        prop_assert_eq!(Code::find_in(&text), Ok(code));
    }

    #[test]
    fn a_line_break_within_a_group_is_forgiven(code in codes(), place in 1_usize..23) {
        let mut written = code.to_string();
        written.insert_str(place, "\r\n");
        let text = format!("Ana wrote: {written}. See you");
        prop_assert_eq!(Code::find_in(&text), Ok(code));
    }

    #[test]
    fn a_code_cut_short_in_a_message_is_told_from_no_code(code in codes(), kept in 13_usize..22) {
        let written = code.to_string();
        let cut = written[..kept].trim_end_matches('-');
        prop_assume!(cut.contains(|c: char| c.is_ascii_digit()));
        let found = cut.replace('-', "").len();
        let text = format!("Ana wrote: {cut}. See you");
        prop_assert_eq!(Code::find_in(&text), Err(InviteError::Length { found }));
    }

    #[test]
    fn reading_arbitrary_text_never_panics(text in "\\PC{0,200}", plain in "[A-Za-z0-9\\- \n]{0,80}") {
        let _ = text.parse::<Code>();
        let _ = plain.parse::<Code>();
        let _ = Code::find_in(&text);
        if let Ok(code) = Code::find_in(&plain) {
            prop_assert_eq!(code.to_string().parse::<Code>(), Ok(code));
        }
    }
}

#[test]
fn all_zeros_are_no_code() {
    assert_eq!(
        "00000-00000-00000-00000".parse::<Code>(),
        Err(InviteError::Typo)
    );
}

#[test]
fn nothing_but_separators_is_empty() {
    for text in ["", "  \n\t", "--- -", "\u{200B}\u{FEFF}"] {
        assert_eq!(text.parse::<Code>(), Err(InviteError::Empty));
        assert_eq!(Code::find_in(text), Err(InviteError::Empty));
    }
}

#[test]
fn prose_numbers_and_links_are_no_code() {
    for text in [
        "See you tomorrow at the station, I bring the photos.",
        "these words sound great, never mind their share of letters",
        "well-known state-of-the-art day-to-day work",
        "550e8400-e29b-41d4-a716-446655440000-and-more-of-the-same-kind-of-thing",
        "https://example.org/archive/2026/holiday-photos-from-the-sea.html",
        "...",
        "\"\"",
        "hello",
        "12345",
        "Привет, как дела? Вот фотографии",
    ] {
        assert_eq!(Code::find_in(text), Err(InviteError::NotAnInvite), "{text}");
    }
}

#[test]
fn a_code_is_not_cut_out_of_something_longer() {
    let code = Code::from(InviteSecret::from_bytes([7; 12])).to_string();
    for text in [
        format!("{code}-ABCDE-12345"),
        format!("12345-{code}"),
        format!("id {}X", code.replace('-', "")),
    ] {
        assert!(Code::find_in(&text).is_err(), "{text}");
    }
}

#[test]
fn debug_output_does_not_hold_the_code() {
    let code = Code::from(InviteSecret::from_bytes([7; 12]));
    assert!(!format!("{code:?}").contains(&code.to_string()[..5]));
}
