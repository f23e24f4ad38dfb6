//! How commands end when something is in the way: the exit code, and an error
//! that says what and what to do.

#![allow(clippy::expect_used)]

mod support;

use std::fs;

use support::{Finished, Person};

fn error(ended: &Finished, exit: i32, code: &str) -> String {
    assert_eq!(ended.code, Some(exit), "{ended:#?}");
    let error = ended.event("error");
    assert_eq!(error["code"], code);
    assert!(
        error["remedy"].as_str().is_some_and(|r| !r.is_empty()),
        "{error}"
    );
    error["message"].as_str().expect("a message").to_owned()
}

#[test]
fn a_typing_error_is_found_before_anything_else() {
    let ben = Person::new();
    let ended = ben.get(&["AAAAA-BBBBB-CCCCC-DDDDD"]);
    assert!(error(&ended, 3, "notAnInvite").contains("typo"));
    assert!(
        !ben.path("data").exists(),
        "the engine was not even started"
    );

    let ended = ben.run(&["get", "holiday pictures"]).finish();
    assert_eq!(ended.code, Some(3));
    assert!(ended.stdout.is_empty(), "{ended:#?}");
    assert!(ended.stderr.contains("not an invite"), "{ended:#?}");
}

#[test]
fn an_invite_of_ones_own_is_refused() {
    let ana = Person::new();
    ana.write("a.txt", b"hello");
    let (mut share, link) = ana.share(&["a.txt"]);
    share.event("manifest");
    share.interrupt();
    assert_eq!(share.finish().code, Some(130));
    error(&ana.get(&[&link]), 3, "ownInvite");
}

#[test]
fn what_is_for_one_person_is_taken_by_the_first() {
    let (ana, ben, eva) = (Person::new(), Person::new(), Person::new());
    ana.write("film.mkv", &support::bytes(5, 300_000_000));
    let (_share, link) = ana.share(&["--once", "film.mkv"]);
    let mut first = ben.run(&["--json", "get", "--to", "out", &link]);
    first.event_with("progress", |p| p["bytes"].as_u64() > Some(0));
    error(&eva.get(&[&link]), 5, "taken");
}

#[test]
fn nobody_there_is_told_with_what_was_tried() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    let (share, link) = ana.share(&["a.txt"]);
    share.interrupt();
    assert_eq!(share.finish().code, Some(130));
    let message = error(&ben.get(&["--patience", "1", &link]), 4, "unreachable");
    assert!(
        message.contains("The addresses in the invite were tried"),
        "{message}"
    );
}

#[test]
fn a_sharer_who_goes_away_midway_is_told_and_can_be_gone_on_with() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("film.mkv", &support::bytes(4, 300_000_000));
    let (share, link) = ana.share(&["film.mkv"]);
    let mut get = ben.run(&["--json", "get", "--patience", "5", "--to", "out", &link]);
    get.event_with("progress", |p| p["bytes"].as_u64() > Some(0));
    share.interrupt();
    assert_eq!(share.finish().code, Some(130));
    let ended = get.finish();
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    let error = ended.event("error");
    assert!(
        error["remedy"]
            .as_str()
            .is_some_and(|r| r.contains("go on")),
        "{error}"
    );
    assert!(!ben.path("out/film.mkv").exists());
}

#[test]
fn a_folder_to_write_to_must_be_there_or_makeable() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    let (_share, link) = ana.share(&["a.txt"]);
    let to = |dir: &str| ben.run(&["--json", "get", "--to", dir, &link]).finish();
    error(&to("no/where"), 6, "disk");
    ben.write("file", b"");
    error(&to("file"), 6, "disk");
    assert!(!ben.path("no").exists());
    assert_eq!(to("made").code, Some(0));
    assert!(ben.path("made/a.txt").exists());
}

#[test]
fn files_that_are_not_there_cannot_be_shared() {
    let ana = Person::new();
    let ended = ana.run(&["--json", "share", "no.txt"]).finish();
    assert!(error(&ended, 6, "disk").contains("no.txt"));
}

#[test]
fn a_folder_of_nothing_but_links_cannot_be_shared() {
    let ana = Person::new();
    ana.write("a.txt", b"hello");
    #[cfg(unix)]
    std::os::unix::fs::symlink("a.txt", ana.path("link")).expect("a link");
    let ended = ana.run(&["--json", "share", "link"]).finish();
    assert!(error(&ended, 6, "disk").contains("symbolic link"));
}

#[test]
fn nothing_shared_before_is_nothing_to_share_again() {
    let ended = Person::new().run(&["--json", "share"]).finish();
    error(&ended, 2, "usage");
}

#[test]
fn one_share_that_is_gone_keeps_nobody_from_the_others() {
    let ana = Person::new();
    for name in ["a.txt", "b.txt"] {
        ana.write(name, b"hello");
        let (mut share, _) = ana.share(&[name]);
        share.event("manifest");
        share.interrupt();
        assert_eq!(share.finish().code, Some(130));
    }
    fs::remove_file(ana.path("a.txt")).expect("removed");
    let mut share = ana.run(&["--json", "share"]);
    let manifest = share.event("manifest");
    assert_eq!(manifest["name"], "b.txt");
    share.interrupt();
    let ended = share.finish();
    assert_eq!(ended.code, Some(130), "{ended:#?}");

    fs::remove_file(ana.path("b.txt")).expect("removed");
    let ended = ana.run(&["--json", "share"]).finish();
    error(&ended, 6, "disk");
    for name in ["a.txt", "b.txt"] {
        let told = format!("“{name}” is not offered");
        assert!(ended.stderr.contains(&told), "{ended:#?}");
    }
}

#[test]
fn a_data_folder_in_use_names_its_user() {
    let ana = Person::new();
    ana.write("a.txt", b"hello");
    let (_share, _) = ana.share(&["a.txt"]);
    let ended = ana.run(&["--json", "share", "a.txt"]).finish();
    assert!(error(&ended, 2, "usage").contains("in use by passalong, process"));
}

#[test]
fn wrong_usage_is_an_event_too() {
    let ana = Person::new();
    let ended = ana
        .run_bare(&["--json", "share", "--bind", "nowhere"])
        .finish();
    assert!(error(&ended, 2, "usage").contains("--bind"));
    let ended = ana.run_bare(&["get", "--turn", "turn:x"]).finish();
    assert_eq!((ended.code, ended.stdout.len()), (Some(2), 0));
    assert!(
        ended.stderr.contains("turn:USER:PASSWORD@HOST:PORT"),
        "{ended:#?}"
    );
}

#[test]
fn help_and_version_are_there() {
    let ana = Person::new();
    let help = ana.run_bare(&["--help"]).finish();
    assert_eq!(help.code, Some(0));
    for word in [
        "share",
        "get",
        "doctor",
        "bench",
        "--data-dir",
        "Exit codes",
    ] {
        assert!(help.stdout.iter().any(|line| line.contains(word)), "{word}");
    }
    let version = ana.run_bare(&["--version"]).finish();
    assert_eq!(
        version.stdout,
        [concat!("passalong ", env!("CARGO_PKG_VERSION"))]
    );
    assert!(
        ana.run_bare(&[])
            .finish()
            .stderr
            .contains("Usage: passalong")
    );
}

#[cfg(unix)]
#[test]
fn a_file_that_went_away_is_told_and_the_rest_arrives() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("Photos/a.txt", b"hello");
    ana.write("Photos/b.txt", b"world");
    let (mut share, link) = ana.share(&["Photos"]);
    share.event("manifest");
    fs::remove_file(ana.path("Photos/b.txt")).expect("removed");
    let got = ben.get(&[&link]);
    assert!(error(&got, 6, "disk").contains("Photos/b.txt"));
    assert!(ben.path("out/Photos/a.txt").exists());
    assert!(!ben.path("out/Photos/b.txt").exists());
}

#[test]
fn whoever_waits_is_told_so_and_gets_it_when_somebody_comes() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    let (share, link) = ana.share(&["a.txt"]);
    share.interrupt();
    assert_eq!(share.finish().code, Some(130));
    let words = ["--json", "get", "--wait", "--to", "out", &link];
    let mut get = ben.run(&words);
    let waiting = get.event("waiting");
    assert!(waiting["for"].is_null(), "{waiting}");
    let (_share, again) = ana.share(&["a.txt"]);
    assert_eq!(again, link);
    let ended = get.finish();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(ended.events("waiting").len(), 1, "said once");
    assert_eq!(fs::read(ben.path("out/a.txt")).expect("a file"), b"hello");
}
