//! The invite code: 19 characters of Crockford's base32 that hold the 95 bits of
//! an [`InviteSecret`], and one check character, shown in four groups of five.
//!
//! A [`Code`] that exists has a right check character. Reading forgives what
//! people and programs do to codes on the way: case, spaces, any kind of dash,
//! invisible characters, O for 0, I and L for 1. Links around codes are the
//! business of [`crate::invite`].
//!
//! The check character makes the 20 symbols c₀…c₁₉, as elements of GF(32), satisfy
//! Σ αⁱ·c₁₉₋ᵢ = 1 with α primitive. The powers α⁰…α¹⁹ are nonzero and pairwise
//! different, so **every** change of a single character and **every** swap of two
//! different characters, adjacent or not, is noticed; of all other mistakes 31 in
//! 32 are. (The sum is 1 and not 0 so that twenty zeros are no code.)

use std::fmt;
use std::str::FromStr;

use crate::invite::{InviteError, InviteSecret};

/// Characters of a code, without dashes.
pub const CODE_LEN: usize = 20;

/// Crockford's alphabet, <https://www.crockford.com/base32.html>: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What the weighted sum over a right code comes to.
const CHECK_SUM: u8 = 1;

/// An invite code with a right check character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    secret: InviteSecret,
    symbols: [u8; CODE_LEN],
}

impl Code {
    /// The secret that the code stands for.
    pub fn secret(&self) -> InviteSecret {
        self.secret
    }

    /// Finds a code in `text`, which may be the code alone or a message around it.
    ///
    /// A code alone may be grouped and broken in any way. Within other words it is
    /// recognised by its shape: four groups of five, one word of twenty, or any
    /// grouping that kept its three dashes, so that ordinary prose is no code.
    ///
    /// # Errors
    ///
    /// Those of [`Code::from_str`], when something in the text looks like a spoiled
    /// code, and [`InviteError::NotAnInvite`] when nothing does.
    pub fn find_in(text: &str) -> Result<Code, InviteError> {
        if text.chars().all(is_separator) {
            return Err(InviteError::Empty);
        }
        let alone = text.trim_matches(|c: char| !c.is_alphanumeric()).parse();
        if alone.is_ok() {
            return alone;
        }
        let words = words(text);
        let mut spoiled = None;
        for start in 0..words.len() {
            match code_at(&words, start) {
                Some(Ok(code)) => return Ok(code),
                Some(Err(error)) => spoiled = spoiled.or(Some(error)),
                None => {}
            }
        }
        match spoiled {
            Some(error) => Err(error),
            None if resembles_a_code(&words) => alone,
            None => joined_words(&words)
                .find(|run| run.len() > 2 && resembles_a_code(run))
                .map_or(Err(InviteError::NotAnInvite), read),
        }
    }
}

impl From<InviteSecret> for Code {
    fn from(secret: InviteSecret) -> Code {
        let mut symbols = [0; CODE_LEN];
        let (bits, check) = symbols.split_at_mut(CODE_LEN - 1);
        for (index, symbol) in bits.iter_mut().enumerate() {
            let first_bit = index * 5;
            *symbol = (0..5).fold(0, |value, offset| {
                let bit = first_bit + offset;
                value << 1 | (secret.as_bytes()[bit / 8] >> (7 - bit % 8) & 1)
            });
        }
        check[0] = times_alpha(weighted_sum(bits)) ^ CHECK_SUM;
        Code { secret, symbols }
    }
}

/// Reads a code that stands alone.
///
/// Errors: [`InviteError::Empty`] when there is no character, `Character` for the
/// first one that codes never contain, `Length` for a wrong number of characters,
/// `Typo` when the check character does not fit.
impl FromStr for Code {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Code, InviteError> {
        let mut symbols = [0; CODE_LEN];
        let mut found = 0;
        for character in text.chars().filter(|c| !is_separator(*c)) {
            let symbol = symbol(character).ok_or(InviteError::Character {
                character,
                position: found + 1,
            })?;
            if let Some(slot) = symbols.get_mut(found) {
                *slot = symbol;
            }
            found += 1;
        }
        match found {
            0 => Err(InviteError::Empty),
            CODE_LEN => from_symbols(symbols),
            _ => Err(InviteError::Length { found }),
        }
    }
}

/// Four groups of five characters with dashes between them.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, symbol) in self.symbols.iter().enumerate() {
            if index > 0 && index % 5 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[usize::from(*symbol)]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code(of share {})", self.secret.id())
    }
}

/// The value, 0 to 31, of a code character; `None` for what codes never contain.
pub(crate) fn symbol(character: char) -> Option<u8> {
    let upper = match character.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let index = ALPHABET.iter().position(|c| char::from(*c) == upper)?;
    u8::try_from(index).ok()
}

/// White space, dashes of every kind and invisible characters: what may stand
/// between the characters of a code without meaning anything.
pub(crate) fn is_separator(character: char) -> bool {
    character.is_whitespace() || is_dash(character) || is_invisible(character)
}

/// Characters that take up no room; messengers and editors slip them in.
pub(crate) fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
    )
}

fn is_dash(character: char) -> bool {
    matches!(
        character,
        '-' | '\u{2010}'
            ..='\u{2015}'
                | '\u{2043}'
                | '\u{207B}'
                | '\u{2212}'
                | '\u{FE58}'
                | '\u{FE63}'
                | '\u{FF0D}'
    )
}

fn from_symbols(symbols: [u8; CODE_LEN]) -> Result<Code, InviteError> {
    if weighted_sum(&symbols) != CHECK_SUM {
        return Err(InviteError::Typo);
    }
    let mut bytes = [0; 12];
    for bit in 0..95 {
        let value = symbols[bit / 5] >> (4 - bit % 5) & 1;
        bytes[bit / 8] |= value << (7 - bit % 8);
    }
    Ok(Code {
        secret: InviteSecret::from_bytes(bytes),
        symbols,
    })
}

/// Σ αⁱ·cₙ₋ᵢ over the symbols c₀…cₙ, by Horner's rule.
fn weighted_sum(symbols: &[u8]) -> u8 {
    symbols
        .iter()
        .fold(0, |sum, symbol| times_alpha(sum) ^ symbol)
}

/// Multiplication by α = x in GF(32) = GF(2)\[x\] / (x⁵ + x² + 1), a primitive
/// polynomial: α has order 31.
fn times_alpha(element: u8) -> u8 {
    let doubled = element << 1;
    if doubled & 0b10_0000 == 0 {
        doubled
    } else {
        doubled ^ 0b10_0101
    }
}

/// A run of letters and digits, and what stands between it and the run before.
struct Word {
    characters: Vec<char>,
    gap: Gap,
}

/// What stands before a word.
#[derive(Default)]
struct Gap {
    space: bool,
    dash: bool,
    /// Something that never stands inside a code, or the start of the text.
    other: bool,
}

fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut gap = Some(Gap {
        other: true,
        ..Gap::default()
    });
    for character in text.chars().filter(|c| !is_invisible(*c)) {
        if character.is_alphanumeric() {
            match (gap.take(), words.last_mut()) {
                (None, Some(word)) => word.characters.push(character),
                (gap, _) => words.push(Word {
                    characters: vec![character],
                    gap: gap.unwrap_or_default(),
                }),
            }
        } else {
            let gap = gap.get_or_insert_default();
            gap.space |= character.is_whitespace();
            gap.dash |= is_dash(character);
            gap.other |= !is_separator(character);
        }
    }
    words
}

/// The code, or the spoiled code, that begins with the word `start`; `None` when
/// nothing there has the shape of one.
fn code_at(words: &[Word], start: usize) -> Option<Result<Code, InviteError>> {
    if joins_the_word_before(&words[start].gap) {
        return None;
    }
    let mut length = 0;
    let mut dashes = 0;
    let mut end = start;
    while length < CODE_LEN {
        let word = words.get(end)?;
        if end > start {
            if word.gap.other {
                return None;
            }
            dashes += usize::from(word.gap.dash);
        }
        length += word.characters.len();
        end += 1;
    }
    let joined_to_more = words
        .get(end)
        .is_some_and(|word| joins_the_word_before(&word.gap));
    if length > CODE_LEN || joined_to_more {
        return None;
    }
    let found = &words[start..end];
    let grouped = found.len() == 1 || found.iter().all(|word| word.characters.len() == 5);
    (dashes >= 3 || grouped && looks_random(found)).then(|| read(found))
}

fn read(words: &[Word]) -> Result<Code, InviteError> {
    let text: String = words.iter().flat_map(|word| &word.characters).collect();
    text.parse()
}

/// The words in runs that nothing but dashes holds together.
fn joined_words(words: &[Word]) -> impl Iterator<Item = &[Word]> {
    words.chunk_by(|_, next| joins_the_word_before(&next.gap))
}

/// Whether only dashes stand in the gap, as within `550e8400-e29b-41d4`: a code is
/// not cut out of the middle of something longer.
fn joins_the_word_before(gap: &Gap) -> bool {
    gap.dash && !gap.space && !gap.other
}

/// Codes have digits in them or are written in capitals; prose is not.
fn looks_random(words: &[Word]) -> bool {
    let mut characters = words.iter().flat_map(|word| &word.characters);
    characters.clone().any(char::is_ascii_digit) || !characters.any(|c| c.is_lowercase())
}

/// Whether words that hold no code were probably meant to be one, so that telling
/// what is wrong with them helps more than saying that they are something else.
fn resembles_a_code(words: &[Word]) -> bool {
    let length: usize = words.iter().map(|word| word.characters.len()).sum();
    let plain = words
        .iter()
        .skip(1)
        .all(|word| !word.gap.other && word.characters.iter().all(char::is_ascii_alphanumeric));
    let one_thing = words.len() == 1 || looks_random(words);
    plain && one_thing && (CODE_LEN / 2..=2 * CODE_LEN).contains(&length)
}
