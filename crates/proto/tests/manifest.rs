//! Manifests: what was signed is what is opened, and hostile bytes are errors.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::{
    Content, Entry, EntryKind, MAX_ENTRIES, MAX_MANIFEST_BYTES, MAX_NAME_CHARS, MAX_SHARE_BYTES,
    Manifest, ManifestError, SignedManifest, clean_name,
};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{MAX_FILE_LEN, Root, single_piece_root};
use proptest::prelude::*;
use serde::Serialize;

/// The years 1601 to 9999, in milliseconds since 1970.
const TIMES: std::ops::RangeInclusive<i64> = -11_644_473_600_000..=253_402_300_799_999;

fn file(path: &str, size: u64) -> Entry {
    let root = if size == 0 {
        single_piece_root(b"")
    } else {
        Root([7; 32])
    };
    Entry {
        path: SafePath::parse(path).unwrap(),
        kind: EntryKind::File {
            size,
            content: Content::Hashed(root),
            modified: None,
        },
    }
}

fn folder(path: &str) -> Entry {
    Entry {
        path: SafePath::parse(path).unwrap(),
        kind: EntryKind::Folder { modified: None },
    }
}

fn entries() -> impl Strategy<Value = Entry> {
    let path = "x[a-zé ]{0,9}y(/x[a-z0-9]{1,5}\\.[a-z]{3}){0,3}";
    let modified = prop::option::of(TIMES);
    let file =
        (1..1_u64 << 50, any::<[u8; 32]>(), modified.clone()).prop_map(|(size, root, modified)| {
            EntryKind::File {
                size,
                content: Content::Hashed(Root(root)),
                modified,
            }
        });
    let folder = modified.prop_map(|modified| EntryKind::Folder { modified });
    (path, prop_oneof![4 => file, 1 => folder]).prop_map(|(path, kind)| Entry {
        path: SafePath::parse(&path).unwrap(),
        kind,
    })
}

fn manifests() -> impl Strategy<Value = Manifest> {
    ("\\PC{0,40}", prop::collection::vec(entries(), 0..20))
        .prop_map(|(name, entries)| Manifest::new(&name, entries).unwrap())
}

fn key() -> ShareKey {
    ShareKey::from_seed([1; 32])
}

/// The edition of what a hostile sharer writes.
const EDITION: u64 = 300;

/// Signs whatever bytes a hostile sharer likes.
fn signed(bytes: Vec<u8>) -> SignedManifest {
    let message = blake3::derive_key("passalong v1 manifest signature", &bytes);
    SignedManifest {
        public_key: key().public(),
        signature: key().sign(&message),
        bytes,
    }
}

/// A manifest as a hostile sharer would write it: any text for a path.
fn encoded(name: &str, paths: &[&str]) -> Vec<u8> {
    let entries: Vec<(&str, EntryKind)> = paths
        .iter()
        .map(|path| (*path, EntryKind::Folder { modified: None }))
        .collect();
    with_version(&(name, EDITION, entries))
}

fn with_version<T: Serialize>(body: &T) -> Vec<u8> {
    postcard::to_extend(body, vec![1]).unwrap()
}

/// A number as postcard writes it.
fn varint(number: u64) -> Vec<u8> {
    postcard::to_stdvec(&number).unwrap()
}

proptest! {
    #[test]
    fn what_was_signed_is_what_is_opened(manifest in manifests(), seed in any::<[u8; 32]>()) {
        let key = ShareKey::from_seed(seed);
        let signed = SignedManifest::sign(&key, &manifest).unwrap();
        prop_assert_eq!(signed.open(&key.secret()), Ok(manifest));
        prop_assert_eq!(SignedManifest::from_bytes(&signed.to_bytes()), Ok(signed));
    }

    #[test]
    fn an_edition_is_signed_along_and_kept(manifest in manifests(), edition in any::<u64>()) {
        let manifest = manifest.with_edition(edition);
        let signed = SignedManifest::sign(&key(), &manifest).unwrap();
        let opened = signed.open(&key().secret()).unwrap();
        prop_assert_eq!(opened.edition(), edition);
        prop_assert_eq!(opened, manifest);
    }

    #[test]
    fn counts_are_those_of_the_files(manifest in manifests()) {
        let sizes: Vec<u64> = manifest
            .entries()
            .iter()
            .filter(|entry| !entry.is_folder())
            .map(Entry::size)
            .collect();
        prop_assert_eq!(manifest.files(), sizes.len());
        prop_assert_eq!(manifest.bytes(), sizes.iter().sum::<u64>());
    }

    #[test]
    fn another_invite_does_not_open_it(manifest in manifests(), other in any::<[u8; 12]>()) {
        let other = InviteSecret::from_bytes(other);
        prop_assume!(other != key().secret());
        let signed = SignedManifest::sign(&key(), &manifest).unwrap();
        prop_assert_eq!(signed.open(&other), Err(ManifestError::NotSigned));
    }

    #[test]
    fn another_key_does_not_sign_for_the_invite(manifest in manifests(), seed in any::<[u8; 32]>()) {
        let mallory = ShareKey::from_seed(seed);
        prop_assume!(mallory.public() != key().public());
        let mut forged = SignedManifest::sign(&mallory, &manifest).unwrap();
        prop_assert_eq!(forged.open(&key().secret()), Err(ManifestError::NotSigned));
        forged.public_key = key().public();
        prop_assert_eq!(forged.open(&key().secret()), Err(ManifestError::NotSigned));
    }

    #[test]
    fn any_flipped_bit_breaks_the_signature(manifest in manifests(), bit in any::<prop::sample::Index>()) {
        let mut bytes = SignedManifest::sign(&key(), &manifest).unwrap().to_bytes();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let spoiled = SignedManifest::from_bytes(&bytes).unwrap();
        prop_assert_eq!(spoiled.open(&key().secret()), Err(ManifestError::NotSigned));
    }

    #[test]
    fn a_signed_manifest_cut_short_is_an_error(manifest in manifests(), end in any::<prop::sample::Index>()) {
        let bytes = SignedManifest::sign(&key(), &manifest).unwrap().to_bytes();
        let cut = SignedManifest::from_bytes(&bytes[..end.index(bytes.len())]);
        prop_assert!(cut.and_then(|signed| signed.open(&key().secret())).is_err());
    }

    #[test]
    fn an_encoding_cut_short_or_drawn_out_is_malformed(
        manifest in manifests(),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = manifest.encode().unwrap();
        let cut = &bytes[..end.index(bytes.len())];
        prop_assert_eq!(Manifest::decode(cut), Err(ManifestError::Malformed));
        bytes.push(0);
        prop_assert_eq!(Manifest::decode(&bytes), Err(ManifestError::Malformed));
    }

    #[test]
    fn decoding_spoiled_bytes_never_panics_and_never_yields_what_new_refuses(
        manifest in manifests(),
        flips in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..6),
    ) {
        let mut bytes = manifest.encode().unwrap();
        let length = bytes.len();
        for (place, value) in flips {
            bytes[place.index(length)] = value;
        }
        if let Ok(read) = Manifest::decode(&bytes) {
            let anew = Manifest::new(read.name(), read.entries().to_vec())
                .map(|manifest| manifest.with_edition(read.edition()));
            prop_assert_eq!(anew, Ok(read));
        }
    }

    #[test]
    fn decoding_arbitrary_bytes_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Manifest::decode(&bytes);
        let _ = SignedManifest::from_bytes(&bytes);
        bytes.insert(0, 1);
        let _ = Manifest::decode(&bytes);
    }

    #[test]
    fn names_are_cleaned_once_and_for_all(
        name in "[\\PC\n\r\t\0\u{7F}\u{9B}\u{202E}\u{2066}\u{200E}\u{2028}  ]{0,300}",
    ) {
        let clean = clean_name(&name);
        prop_assert!(clean.chars().count() <= MAX_NAME_CHARS);
        prop_assert!(!clean.contains("  "));
        prop_assert!(!clean.contains(char::is_control));
        prop_assert!(!clean.contains(['\u{202E}', '\u{2066}', '\u{2028}']), "direction");
        prop_assert_eq!(clean.trim(), &clean);
        prop_assert_eq!(clean_name(&clean), clean);
    }

    #[test]
    fn times_that_no_file_system_holds_become_unknown(time in any::<i64>()) {
        let mut entry = folder("x");
        entry.kind = EntryKind::Folder { modified: Some(time) };
        let manifest = Manifest::new("", vec![entry]).unwrap();
        let kept = TIMES.contains(&time).then_some(time);
        prop_assert_eq!(&manifest.entries()[0].kind, &EntryKind::Folder { modified: kept });
    }
}

#[test]
fn the_hostile_writer_of_these_tests_writes_what_the_real_one_does() {
    let manifest = Manifest::new("name", vec![folder("a"), folder("a/b")])
        .unwrap()
        .with_edition(EDITION);
    let bytes = encoded("name", &["a", "a/b"]);
    assert_eq!(manifest.encode().unwrap(), bytes);
    assert_eq!(signed(bytes).open(&key().secret()), Ok(manifest));
}

#[test]
fn unsafe_paths_are_refused_though_they_are_signed() {
    for path in [
        "",
        "/etc/x",
        "../x",
        "a/../../x",
        "C:\\x",
        "a\\..\\x",
        "nul",
        "a\0",
        "x\u{202E}y",
    ] {
        let manifest = signed(encoded("", &["fine", path]));
        assert_eq!(
            manifest.open(&key().secret()),
            Err(ManifestError::Malformed),
            "{path:?}"
        );
    }
}

#[test]
fn a_hostile_name_is_cleaned_when_it_is_read() {
    let manifest = Manifest::decode(&encoded("\u{202E}a\u{1b}[2J\nb", &["x"])).unwrap();
    assert_eq!(manifest.name(), "a [2J b");
    let manifest = Manifest::decode(&encoded(&"n".repeat(5000), &["x"])).unwrap();
    assert_eq!(manifest.name().len(), MAX_NAME_CHARS);
}

#[test]
fn counts_that_the_bytes_do_not_hold_are_refused_before_anything_is_allocated() {
    for (count, expected) in [
        (2, ManifestError::Malformed),
        (MAX_ENTRIES as u64, ManifestError::Malformed),
        (MAX_ENTRIES as u64 + 1, ManifestError::TooMany),
        (u64::from(u32::MAX), ManifestError::TooMany),
        (u64::MAX, ManifestError::TooMany),
    ] {
        let entry = postcard::to_stdvec(&folder("x")).unwrap();
        let bytes = [vec![1, 0, 0], varint(count), entry].concat();
        assert_eq!(Manifest::decode(&bytes), Err(expected), "{count}");
    }
    let long_name = [vec![1], varint(u64::MAX), vec![b'n'; 9]].concat();
    assert_eq!(Manifest::decode(&long_name), Err(ManifestError::Malformed));
    let long_path = [vec![1, 0, 0, 1], varint(1 << 40), vec![b'n'; 9]].concat();
    assert_eq!(Manifest::decode(&long_path), Err(ManifestError::Malformed));
}

#[test]
fn other_versions_are_named_and_not_read() {
    for found in [0, 2, 255] {
        let mut bytes = encoded("", &["x"]);
        bytes[0] = found;
        assert_eq!(
            signed(bytes).open(&key().secret()),
            Err(ManifestError::Version { found })
        );
    }
    assert_eq!(Manifest::decode(&[]), Err(ManifestError::Malformed));
}

#[test]
fn an_oversized_encoding_is_refused_unread() {
    let bytes = vec![1; MAX_MANIFEST_BYTES + 1];
    assert_eq!(Manifest::decode(&bytes), Err(ManifestError::TooLarge));
    let manifest = SignedManifest {
        public_key: [0; 32],
        signature: [0; 64],
        bytes,
    };
    assert_eq!(manifest.open(&key().secret()), Err(ManifestError::TooLarge));
    assert_eq!(
        SignedManifest::from_bytes(&manifest.to_bytes()),
        Err(ManifestError::TooLarge)
    );
}

#[test]
fn the_limits_on_entries_and_folders_hold_exactly() {
    let many = |count| vec![file("x", 0); count];
    let most = Manifest::new("", many(MAX_ENTRIES)).unwrap();
    assert_eq!(Manifest::decode(&most.encode().unwrap()), Ok(most));
    assert_eq!(
        Manifest::new("", many(MAX_ENTRIES + 1)),
        Err(ManifestError::TooMany)
    );

    // Each top folder brings 50 folders with it.
    let deep = |top: usize| file(&format!("{top}{}/x", "/d".repeat(49)), 0);
    let fits = (0..MAX_ENTRIES / 50).map(deep);
    let mut entries: Vec<Entry> = fits.collect();
    assert!(Manifest::new("", entries.clone()).is_ok());
    entries.push(file("0/d/another", 0));
    entries.push(folder("0/d"));
    assert!(Manifest::new("", entries.clone()).is_ok());
    entries.push(folder("one more"));
    assert_eq!(Manifest::new("", entries), Err(ManifestError::TooMany));
}

#[test]
fn a_list_that_takes_too_many_bytes_is_not_written() {
    let long = vec!["n".repeat(250); 10].join("/");
    let manifest = Manifest::new("", vec![file(&long, 1); 20_000]).unwrap();
    assert_eq!(manifest.encode(), Err(ManifestError::TooLarge));
    assert_eq!(
        SignedManifest::sign(&key(), &manifest),
        Err(ManifestError::TooLarge)
    );
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let with_sizes = |sizes: &[u64]| {
        let entries = sizes.iter().map(|size| file("x", *size)).collect();
        Manifest::new("", entries).map(|manifest| manifest.bytes())
    };
    assert_eq!(with_sizes(&[MAX_FILE_LEN]), Ok(MAX_FILE_LEN));
    for size in [MAX_FILE_LEN + 1, MAX_SHARE_BYTES, u64::MAX] {
        assert_eq!(with_sizes(&[size]), Err(ManifestError::TooLarge), "{size}");
    }
    let full = vec![1_u64 << 51; 512];
    assert_eq!(with_sizes(&full), Ok(MAX_SHARE_BYTES));
    assert_eq!(
        with_sizes(&[full, vec![1]].concat()),
        Err(ManifestError::TooLarge)
    );
}

#[test]
fn an_empty_file_has_the_root_of_no_bytes() {
    let mut entry = file("x", 0);
    assert!(Manifest::new("", vec![entry.clone()]).is_ok());
    entry.kind = EntryKind::File {
        size: 0,
        content: Content::Hashed(Root([7; 32])),
        modified: None,
    };
    assert_eq!(
        Manifest::new("", vec![entry]),
        Err(ManifestError::Malformed)
    );
}

#[test]
fn every_message_says_what_to_do() {
    for error in [
        ManifestError::TooLarge,
        ManifestError::TooMany,
        ManifestError::Version { found: 2 },
        ManifestError::NotSigned,
        ManifestError::Malformed,
    ] {
        let message = error.to_string();
        assert!(
            ["share it", "update", "ask"]
                .iter()
                .any(|word| message.contains(word)),
            "{message}"
        );
    }
}
