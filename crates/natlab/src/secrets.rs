//! What nobody on the way may read, in every form in which it could be written,
//! and the search for it in captured packets.

use aho_corasick::AhoCorasick;
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use passalong_netns::Failure;

/// Bytes of the shortest form that is looked for: less is found by chance.
const SHORTEST: usize = 6;

/// Something that is to stay unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    /// What it is, for whoever reads that it was found.
    pub(crate) what: String,
    forms: Vec<Vec<u8>>,
}

impl Secret {
    /// Bytes: as they are, and as hexadecimal digits or base64.
    pub(crate) fn bytes(what: &str, bytes: &[u8]) -> Secret {
        let mut secret = Secret {
            what: what.to_owned(),
            forms: Vec::new(),
        };
        secret.add(bytes);
        secret
    }

    /// Text: in either case too, with and without its dashes and spaces.
    pub(crate) fn text(what: &str, text: &str) -> Secret {
        let mut secret = Secret::bytes(what, text.as_bytes());
        let joined: String = text.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
        for text in [text, &joined] {
            for text in [text, &text.to_lowercase(), &text.to_uppercase()] {
                secret.add(text.as_bytes());
            }
            let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            secret.add(&wide);
        }
        secret
    }

    /// Each way in which it could be written, six bytes at least.
    pub(crate) fn forms(&self) -> &[Vec<u8>] {
        &self.forms
    }

    fn add(&mut self, bytes: &[u8]) {
        let mut forms = vec![
            bytes.to_vec(),
            HEXLOWER.encode(bytes).into_bytes(),
            HEXUPPER.encode(bytes).into_bytes(),
        ];
        for encoding in [BASE64_NOPAD, BASE64URL_NOPAD] {
            // Three bytes are four characters, so what it looks like inside a longer
            // text depends on where it begins; characters at the edges hold other
            // things as well.
            for before in 0..3 {
                let text = encoding.encode(&[&[0; 3][..before], bytes].concat());
                let first = (before * 8).div_ceil(6);
                let end = (before + bytes.len()) * 8 / 6;
                forms.push(text.as_bytes()[first..end].to_vec());
            }
        }
        for form in forms {
            if form.len() >= SHORTEST && !self.forms.contains(&form) {
                self.forms.push(form);
            }
        }
    }
}

/// Tells which of `secrets` can be read in `captured`, each once.
///
/// # Errors
/// If there are more forms than can be looked for at once.
pub(crate) fn found(secrets: &[Secret], captured: &[u8]) -> Result<Vec<String>, Failure> {
    let forms: Vec<(usize, &[u8])> = secrets
        .iter()
        .enumerate()
        .flat_map(|(index, secret)| {
            secret
                .forms
                .iter()
                .map(move |form| (index, form.as_slice()))
        })
        .collect();
    let search = AhoCorasick::new(forms.iter().map(|(_, form)| form))
        .map_err(|_| Failure::Broken("all forms of all secrets can be looked for at once"))?;
    let mut seen = vec![false; secrets.len()];
    for hit in search.find_overlapping_iter(captured) {
        seen[forms[hit.pattern().as_usize()].0] = true;
    }
    let seen = secrets.iter().zip(seen).filter(|(_, seen)| *seen);
    Ok(seen.map(|(secret, _)| secret.what.clone()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_found(secret: &Secret, captured: &[u8]) -> bool {
        !found(std::slice::from_ref(secret), captured)
            .expect("searched")
            .is_empty()
    }

    #[test]
    fn a_code_is_found_however_it_is_written() {
        let code = Secret::text("the code", "ABCDE-FGHJK-MNPQR-STVWX");
        for text in [
            "passalong:ABCDE-FGHJK-MNPQR-STVWX?a=1",
            "xABCDEFGHJKMNPQRSTVWXx",
            "abcdefghjkmnpqrstvwx",
            "4142434445464748",
        ] {
            let expected = !text.starts_with('4');
            assert_eq!(is_found(&code, text.as_bytes()), expected, "{text}");
        }
        let hex = HEXLOWER.encode(b"ABCDEFGHJKMNPQRSTVWX");
        assert!(is_found(&code, hex.as_bytes()));
        assert!(!is_found(&code, b"ABCDE-FGHJK-MNPQR-STVW"));
    }

    #[test]
    fn each_secret_is_told_once_and_by_its_own_name() {
        let secrets = [
            Secret::text("the file", "holiday.jpg"),
            Secret::text("the device", "Quiet Heron"),
            Secret::bytes("the key", &[7; 32]),
        ];
        let captured = b"..QuietHeron..Quiet Heron....0707070707070707";
        assert_eq!(found(&secrets, captured).expect("searched"), ["the device"]);
        assert!(found(&secrets, b"").expect("searched").is_empty());
    }

    proptest! {
        #[test]
        fn bytes_are_found_inside_any_base64_or_hex(
            bytes in prop::collection::vec(any::<u8>(), 8..40),
            before in prop::collection::vec(any::<u8>(), 0..10),
            after in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let secret = Secret::bytes("it", &bytes);
            let whole = [before, bytes, after].concat();
            for encoding in [BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER] {
                prop_assert!(is_found(&secret, encoding.encode(&whole).as_bytes()));
            }
            prop_assert!(is_found(&secret, &whole));
        }
    }
}
