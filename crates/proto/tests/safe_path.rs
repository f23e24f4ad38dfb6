//! Safe paths: whatever a peer names, nothing but a safe relative path comes out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use passalong_proto::safe_path::{
    MAX_COMPONENT_BYTES, MAX_COMPONENTS, MAX_PATH_BYTES, PathError, SafePath,
};
use proptest::prelude::*;

fn path(text: &str) -> SafePath {
    SafePath::parse(text).unwrap()
}

/// Text that is full of what paths must not hold.
fn nasty() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "/", "/", "\\", "..", ".", "...", " ", "a", "B.txt", "CON", "nul.tar", "com¹", "LPT9 ",
        ":", "C:", "\0", "\n", "\u{7F}", "\u{85}", "\u{202E}", "\u{2066}", "\u{200E}", "\u{61C}",
        "\u{2028}", "*", "?", "|", "é", "e\u{301}", "日本", "🎈", "-rf", "~", "$HOME", "%2e%2e",
    ]);
    prop::collection::vec(parts, 0..10).prop_map(|parts| parts.concat())
}

/// What must hold of a safe path, said apart from how it is checked.
fn assert_safe(path: &SafePath) {
    assert!(path.as_str().len() <= MAX_PATH_BYTES);
    let components: Vec<&str> = path.components().collect();
    assert!((1..=MAX_COMPONENTS).contains(&components.len()));
    assert_eq!(components.join("/"), path.as_str());
    for component in components {
        assert!((1..=MAX_COMPONENT_BYTES).contains(&component.len()));
        assert!(component != "." && component != "..");
        assert!(!component.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|', '\0']));
        assert!(!component.chars().any(char::is_control));
        assert!(!component.ends_with('.') && !component.ends_with(' '));
        let stem = component.split('.').next().unwrap().trim().to_uppercase();
        assert!(!["CON", "PRN", "AUX", "NUL", "COM1", "COM¹", "LPT9"].contains(&stem.as_str()));
        // The operating system agrees that it is one plain name.
        let parts: Vec<_> = std::path::Path::new(component).components().collect();
        assert!(matches!(parts[..], [std::path::Component::Normal(name)] if name == component));
    }
}

proptest! {
    #[test]
    fn whatever_parses_is_safe_and_is_kept_as_given(text in nasty(), other in "\\PC{0,80}") {
        for text in [text, other] {
            if let Ok(path) = SafePath::parse(&text) {
                assert_safe(&path);
                prop_assert_eq!(path.as_str(), &text);
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }

    #[test]
    fn deserializing_checks_as_parsing_does(text in nasty()) {
        let bytes = postcard::to_stdvec(&text).unwrap();
        let read = postcard::from_bytes::<SafePath>(&bytes).ok();
        prop_assert_eq!(read.clone(), SafePath::parse(&text).ok());
        if let Some(path) = read {
            prop_assert_eq!(postcard::to_stdvec(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn deserializing_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(path) = postcard::from_bytes::<SafePath>(&bytes) {
            assert_safe(&path);
        }
    }

    #[test]
    fn parent_and_name_join_to_the_path_again(components in prop::collection::vec("x[a-z]{0,9}", 1..8)) {
        let whole = path(&components.join("/"));
        prop_assert_eq!(whole.file_name(), components.last().unwrap());
        match whole.parent() {
            Some(parent) => prop_assert_eq!(parent.join(whole.file_name()), Ok(whole)),
            None => prop_assert_eq!(components.len(), 1),
        }
    }

    #[test]
    fn joining_adds_exactly_one_component(component in nasty()) {
        let folder = path("Photos/2026");
        if let Ok(joined) = folder.join(&component) {
            assert_safe(&joined);
            prop_assert_eq!(joined.components().count(), 3);
            prop_assert_eq!(joined.parent(), Some(folder));
            prop_assert_eq!(joined.file_name(), component);
        }
    }

    #[test]
    fn folding_twice_is_folding_once(text in "\\PC{1,40}") {
        if let Ok(path) = SafePath::parse(&text)
            && let Ok(folded) = SafePath::parse(&path.fold_key())
        {
            prop_assert_eq!(folded.fold_key(), path.fold_key());
        }
    }

    #[test]
    fn plain_ascii_folds_as_it_does_among_other_characters(text in "x[ -~]{0,40}") {
        // The quick way for ASCII and the general one agree.
        if let (Ok(plain), Ok(mixed)) = (SafePath::parse(&text), SafePath::parse(&format!("é/{text}"))) {
            prop_assert_eq!(format!("é/{}", plain.fold_key()), mixed.fold_key());
        }
    }

    #[test]
    fn case_never_makes_another_fold_key(text in "x[a-zA-ZÀ-ÖØ-öø-ÿΑ-Ωα-ωА-я0-9]{1,40}") {
        let key = path(&text).fold_key();
        prop_assert_eq!(path(&text.to_lowercase()).fold_key(), key.clone());
        prop_assert_eq!(path(&text.to_uppercase()).fold_key(), key);
    }
}

#[test]
fn ordinary_names_are_safe() {
    for text in [
        "a",
        "report.pdf",
        "Holiday photos/2026/IMG 0001.jpg",
        ".bashrc",
        "..config",
        "...x",
        " leading space",
        "日本語/ファイル.txt",
        "🎈 party!.mov",
        "e\u{301}te\u{301}",
        "-rf",
        "~",
        "it's #1 (copy) [final] {x} & 100%; done=yes+no,ok@home^$",
        "console.log",
        "com10",
        "COM",
        "auxiliary.txt",
        "nully",
        "lpt¹⁰",
        "family 👩\u{200D}👧.jpg",
    ] {
        assert_safe(&path(text));
    }
}

#[test]
fn each_unsafe_path_is_refused_for_its_reason() {
    let long = "n".repeat(MAX_COMPONENT_BYTES + 1);
    let long_in_bytes = "é".repeat(128);
    let deep = vec!["d"; MAX_COMPONENTS + 1].join("/");
    let large = vec!["d".repeat(200); 21].join("/");
    let reserved = |name: &str| PathError::Reserved(name.to_owned());
    for (text, reason) in [
        ("", PathError::Empty),
        ("a//b", PathError::Empty),
        ("a/", PathError::Empty),
        ("/", PathError::Absolute),
        ("/etc/passwd", PathError::Absolute),
        ("//server/share", PathError::Absolute),
        (".", PathError::Dots),
        ("..", PathError::Dots),
        ("a/../../b", PathError::Dots),
        ("a/./b", PathError::Dots),
        ("..\\b", PathError::Separator),
        ("\\\\server\\share", PathError::Separator),
        ("a\0b", PathError::Control),
        ("a\nb", PathError::Control),
        ("\u{1b}[2J", PathError::Control),
        ("a\u{7F}", PathError::Control),
        ("a\u{9B}m", PathError::Control),
        ("a\u{2028}b", PathError::Control),
        ("invoice\u{202E}fdp.exe", PathError::Bidi),
        ("\u{2066}x", PathError::Bidi),
        ("x\u{200F}", PathError::Bidi),
        ("x\u{61C}y", PathError::Bidi),
        ("C:", PathError::Character(':')),
        ("C:/Windows", PathError::Character(':')),
        ("a.txt:stream", PathError::Character(':')),
        ("what?", PathError::Character('?')),
        ("a|b", PathError::Character('|')),
        ("\"a\"", PathError::Character('"')),
        ("con", reserved("con")),
        ("x/PRN.txt", reserved("PRN.txt")),
        ("Aux.tar.gz", reserved("Aux.tar.gz")),
        ("NUL .txt", reserved("NUL .txt")),
        (" nul", reserved(" nul")),
        ("com0", reserved("com0")),
        ("COM¹", reserved("COM¹")),
        ("lpt³.doc/x", reserved("lpt³.doc")),
        ("CONIN$", reserved("CONIN$")),
        ("conout$.x", reserved("conout$.x")),
        ("a.", PathError::Ending),
        ("a ", PathError::Ending),
        ("a. /b", PathError::Ending),
        ("...", PathError::Ending),
        (&long, PathError::ComponentTooLong),
        (&long_in_bytes, PathError::ComponentTooLong),
        (&deep, PathError::TooDeep),
        (&large, PathError::TooLong),
    ] {
        assert_eq!(SafePath::parse(text), Err(reason), "{text:?}");
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    assert_safe(&path(&"n".repeat(MAX_COMPONENT_BYTES)));
    assert_safe(&path(&vec!["d"; MAX_COMPONENTS].join("/")));
    let full = vec!["d".repeat(255); 16].join("/");
    assert_eq!(full.len(), MAX_PATH_BYTES - 1);
    assert_safe(&path(&full));
    assert_eq!(path(&full).join("x"), Err(PathError::TooLong));
    let deepest = path(&vec!["d"; MAX_COMPONENTS].join("/"));
    assert_eq!(deepest.join("x"), Err(PathError::TooDeep));
}

#[test]
fn joining_takes_one_component_and_no_more() {
    let folder = path("a");
    for (component, reason) in [
        ("b/c", PathError::Separator),
        ("/b", PathError::Separator),
        ("..", PathError::Dots),
        ("", PathError::Empty),
        ("nul", PathError::Reserved("nul".to_owned())),
    ] {
        assert_eq!(folder.join(component), Err(reason), "{component:?}");
    }
}

#[test]
fn names_that_some_file_system_takes_for_the_same_share_a_fold_key() {
    for (one, other) in [
        ("README.md", "readme.MD"),
        ("\u{E9}t\u{E9}", "E\u{301}te\u{301}"),
        ("straße", "STRASSE"),
        ("\u{212A}elvin", "kelvin"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("\u{17F}ix", "six"),
        ("\u{1E9E}", "ss"),
        (".git", ".g\u{200C}it"),
        ("\u{390}", "\u{1FD3}"),
        ("\u{1C5}", "\u{1C4}"),
        ("a\u{345}", "a\u{3B9}"),
    ] {
        assert_eq!(
            path(one).fold_key(),
            path(other).fold_key(),
            "{one} {other}"
        );
    }
    for (one, other) in [("a", "b"), ("a/b", "a b"), ("resume", "résumé"), ("١", "1")] {
        assert_ne!(
            path(one).fold_key(),
            path(other).fold_key(),
            "{one} {other}"
        );
    }
}

#[test]
fn names_that_run_when_opened_are_told_from_others() {
    for name in [
        "setup.exe",
        "a/b/Setup.EXE",
        "x.msi",
        "run.bat",
        "a.cmd",
        "b.com",
        "c.scr",
        "d.ps1",
        "e.vbs",
        "f.js",
        "g.jar",
        "h.app",
        "i.sh",
        "j.desktop",
        "k.AppImage",
        "l.run",
        "m.deb",
        "n.rpm",
        "o.pkg",
        "p.dmg",
        "q.command",
        "r.lnk",
        "s.reg",
        "photo.jpg.exe",
    ] {
        assert!(path(name).is_executable_name(), "{name}");
    }
    for name in [
        "photo.jpg",
        "exe",
        ".exe",
        "exe.txt",
        "notes",
        "a.exe/notes",
        "x.exe_",
    ] {
        assert!(!path(name).is_executable_name(), "{name}");
    }
}

#[test]
fn every_reason_ends_a_sentence() {
    for text in [
        "",
        "/",
        "..",
        "\\",
        "\n",
        "\u{202E}",
        ":",
        "nul",
        "x.",
        &"x".repeat(300),
    ] {
        let reason = SafePath::parse(text).unwrap_err().to_string();
        assert!(!reason.is_empty() && !reason.ends_with('.'), "{reason}");
        assert!(!reason.chars().any(char::is_control), "{reason}");
    }
}
