//! Placement: every entry gets a path of its own, the same each time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;

use passalong_proto::manifest::{Content, Entry, EntryKind};
use passalong_proto::placement::{numbered, resolve_collisions};
use passalong_proto::safe_path::{MAX_COMPONENT_BYTES, MAX_PATH_BYTES, SafePath};
use passalong_proto::tree::single_piece_root;
use proptest::prelude::*;

fn file(path: &str) -> Entry {
    Entry {
        path: SafePath::parse(path).unwrap(),
        kind: EntryKind::File {
            size: 0,
            content: Content::Hashed(single_piece_root(b"")),
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

/// Entries from a text such as `a.txt b/ b/c`, where a slash at the end marks a folder.
fn entries(list: &str) -> Vec<Entry> {
    list.split_whitespace()
        .map(|path| path.strip_suffix('/').map_or_else(|| file(path), folder))
        .collect()
}

fn placed(list: &str) -> Vec<String> {
    let placed = resolve_collisions(&entries(list));
    placed.iter().map(ToString::to_string).collect()
}

/// Entries whose names meet in every way: case, normalisation, numbers, kinds, length.
fn colliding() -> impl Strategy<Value = Vec<Entry>> {
    let long = |end: &str| "n".repeat(MAX_COMPONENT_BYTES - end.len()) + end;
    let mut names: Vec<String> = [
        "a",
        "A",
        "a (1)",
        "A (1)",
        "a (1) (1)",
        "a (2)",
        "a.txt",
        "A.TXT",
        "a (1).txt",
        "é",
        "e\u{301}",
        "É",
        "b",
        "straße",
        "STRASSE",
    ]
    .map(str::to_owned)
    .to_vec();
    names.extend(["", "N", "x", "X", ".txt", ".TXT", "ö"].map(long));
    let path = prop::collection::vec(prop::sample::select(names), 1..4);
    let entry = (path, any::<bool>()).prop_map(|(names, is_file)| {
        let path = names.join("/");
        if is_file { file(&path) } else { folder(&path) }
    });
    prop::collection::vec(entry, 0..40)
}

/// What must hold of a placement on a file system that folds names.
fn assert_placed(entries: &[Entry], placed: &[SafePath]) {
    assert_eq!(placed.len(), entries.len());
    let mut files = HashSet::new();
    let mut folders = HashSet::new();
    for (entry, path) in entries.iter().zip(placed) {
        assert_eq!(SafePath::parse(path.as_str()).as_ref(), Ok(path));
        let mut folder = if entry.is_folder() {
            Some(path.clone())
        } else {
            assert!(files.insert(path.fold_key()), "two files at {path}");
            path.parent()
        };
        while let Some(path) = folder {
            folder = path.parent();
            folders.insert(path);
        }
    }
    // Two spellings of one folder would be one folder on such a file system.
    let folded: HashSet<String> = folders.iter().map(SafePath::fold_key).collect();
    assert_eq!(folded.len(), folders.len(), "{folders:?}");
    assert!(files.is_disjoint(&folded), "a file where a folder is");
}

proptest! {
    #[test]
    fn no_two_entries_meet_and_placing_again_changes_nothing(entries in colliding()) {
        let placed = resolve_collisions(&entries);
        assert_placed(&entries, &placed);
        prop_assert_eq!(&resolve_collisions(&entries), &placed);
        let again: Vec<Entry> = entries
            .iter()
            .zip(&placed)
            .map(|(entry, path)| Entry { path: path.clone(), kind: entry.kind.clone() })
            .collect();
        prop_assert_eq!(resolve_collisions(&again), placed);
    }

    #[test]
    fn folders_are_placed_apart_just_when_they_are_spelled_apart(entries in colliding()) {
        let placed = resolve_collisions(&entries);
        for (one, one_placed) in entries.iter().zip(&placed) {
            for (other, other_placed) in entries.iter().zip(&placed) {
                if one.is_folder() && other.is_folder() {
                    prop_assert_eq!(one.path == other.path, one_placed == other_placed);
                }
            }
        }
    }

    #[test]
    fn the_first_entry_is_always_placed_as_it_is_named(entries in colliding()) {
        let placed = resolve_collisions(&entries);
        prop_assert_eq!(placed.first(), entries.first().map(|entry| &entry.path));
    }

    #[test]
    fn more_entries_behind_do_not_move_folders_or_files_that_met_nothing(
        entries in colliding(),
        names in prop::collection::vec("[p-z]{1,4}", 1..10),
    ) {
        // A name that nothing else in the list can meet stays wherever it stands.
        let unmet: HashSet<&String> = names.iter().collect();
        let all: Vec<Entry> = unmet.iter().map(|name| file(name)).chain(entries).collect();
        let placed = resolve_collisions(&all);
        for (entry, path) in all.iter().zip(placed).take(unmet.len()) {
            prop_assert_eq!(&entry.path, &path);
        }
    }

    #[test]
    fn a_numbered_name_is_as_safe_as_the_name(name in "\\PC{1,260}", n in 1_u32..) {
        if let Ok(path) = SafePath::parse(&name)
            && path.components().count() == 1
        {
            let numbered = numbered(&name, n);
            prop_assert!(numbered.len() <= MAX_COMPONENT_BYTES);
            prop_assert_eq!(SafePath::parse(&numbered).unwrap().components().count(), 1);
            let suffix = format!(" ({n})");
            prop_assert!(numbered.contains(&suffix));
        }
    }

    #[test]
    fn different_numbers_make_different_names(name in "[a-zé.]{1,300}", n in 1_u32.., m in 1_u32..) {
        prop_assume!(n != m);
        prop_assert_ne!(numbered(&name, n), numbered(&name, m));
    }
}

#[test]
fn numbers_go_before_the_extension() {
    for (name, expected) in [
        ("report.pdf", "report (7).pdf"),
        ("archive.tar.gz", "archive (7).tar.gz"),
        ("archive.TAR.zst", "archive (7).TAR.zst"),
        (".tar.gz", ".tar (7).gz"),
        ("star.gz", "star (7).gz"),
        (".bashrc", ".bashrc (7)"),
        (".config.json", ".config (7).json"),
        ("Makefile", "Makefile (7)"),
        ("my.notes.v2.md", "my.notes.v2 (7).md"),
        ("Letter to Mr. Smith", "Letter to Mr. Smith (7)"),
        (
            "see example.internationalisation",
            "see example.internationalisation (7)",
        ),
        ("a (1).txt", "a (1) (7).txt"),
        ("日本語.ファイル", "日本語 (7).ファイル"),
    ] {
        assert_eq!(numbered(name, 7), expected);
    }
}

#[test]
fn a_long_name_is_cut_between_characters() {
    let numbered_long = numbered(&("é".repeat(125) + ".jpeg"), 12);
    assert_eq!(numbered_long, "é".repeat(122) + " (12).jpeg");
    assert_eq!(numbered_long.len(), 254);
    assert_eq!(numbered(&"n".repeat(255), u32::MAX).len(), 255);
}

#[test]
fn entries_that_do_not_meet_stay_as_they_are() {
    let list = "a b/ b/c b/C.txt b/d/e B2/c .x";
    let kept: Vec<&str> = list.split(' ').map(|p| p.trim_end_matches('/')).collect();
    assert_eq!(placed(list), kept);
}

#[test]
fn names_that_meet_are_numbered_in_their_order() {
    assert_eq!(
        placed("a.txt A.txt a.TXT b a.txt"),
        ["a.txt", "A (1).txt", "a (2).TXT", "b", "a (3).txt"]
    );
    assert_eq!(
        placed("x/\u{E9} x/e\u{301}"),
        ["x/\u{E9}", "x/e\u{301} (1)"]
    );
}

#[test]
fn a_name_that_is_free_is_not_taken_by_a_numbered_one() {
    let list = [file("a"), file("A"), file("a (1)"), file("a (2)")];
    let placed = resolve_collisions(&list);
    let names: Vec<&str> = placed.iter().map(SafePath::as_str).collect();
    assert_eq!(names, ["a", "A (3)", "a (1)", "a (2)"]);
}

#[test]
fn what_lies_in_a_renamed_folder_follows_it() {
    assert_eq!(
        placed("Photos/a photos/a photos/b Photos/b photos/ PHOTOS/"),
        [
            "Photos/a",
            "photos (1)/a",
            "photos (1)/b",
            "Photos/b",
            "photos (1)",
            "PHOTOS (2)"
        ]
    );
}

#[test]
fn a_file_and_a_folder_of_one_name_do_not_meet() {
    assert_eq!(placed("a a/b a/c/d"), ["a", "a (1)/b", "a (1)/c/d"]);
    assert_eq!(placed("a/b a A/ a/"), ["a/b", "a (1)", "A (2)", "a"]);
    assert_eq!(placed("x/a x/A/b"), ["x/a", "x/A (1)/b"]);
}

#[test]
fn folders_named_twice_are_one() {
    assert_eq!(
        placed("a/ a/b a/ a/b/ a/b/"),
        ["a", "a/b", "a", "a/b (1)", "a/b (1)"]
    );
}

#[test]
fn a_path_that_would_grow_too_long_is_placed_at_the_top() {
    // Just as long as a path may be, with no room for a number.
    let deep = vec!["d".repeat(255); 15].join("/");
    let short = "s".repeat(MAX_PATH_BYTES - deep.len() - "//a".len());
    let list = [
        file(&format!("{deep}/{short}/a")),
        file(&format!("{deep}/{short}/A")),
        file(&format!("{deep}/{}/a", short.to_uppercase())),
        file("b"),
    ];
    let placed = resolve_collisions(&list);
    assert_placed(&list, &placed);
    let names: Vec<&str> = placed.iter().map(SafePath::as_str).collect();
    assert_eq!(names[0].len(), MAX_PATH_BYTES);
    assert_eq!(names[1..], ["A", "a (1)", "b"]);
}

#[test]
fn a_manifest_full_of_one_name_is_placed_in_linear_time() {
    // 60,000 entries tried against each other would take minutes.
    let same: Vec<Entry> = (0..60_000).map(|_| file("a.txt")).collect();
    let placed = resolve_collisions(&same);
    assert_eq!(placed[59_999].as_str(), "a (59999).txt");
    assert_placed(&same, &placed);
    // Names that differ only where a number cuts them off meet as well.
    let cut: Vec<Entry> = (0..20_000)
        .map(|i| {
            let name = format!("{}{:04}", "n".repeat(251), i % 10_000);
            if i < 10_000 {
                file(&name)
            } else {
                file(&name.to_uppercase())
            }
        })
        .collect();
    assert_placed(&cut, &resolve_collisions(&cut));
}
