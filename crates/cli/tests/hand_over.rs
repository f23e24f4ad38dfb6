//! Files go from `share` to `get`, whole and unchanged.

#![allow(clippy::expect_used)]

mod support;

use std::fs;

use support::{Person, bytes, tree};

fn photos(person: &Person) {
    person.write("Photos/sea.jpg", &bytes(1, 2_500_000));
    person.write("Photos/2024/märz.txt", b"short");
    person.write("Photos/2024/nothing.txt", b"");
    fs::create_dir(person.path("Photos/empty")).expect("a folder");
}

#[test]
fn a_folder_arrives_whole_and_both_sides_tell() {
    let (ana, ben) = (Person::new(), Person::new());
    photos(&ana);
    let (mut share, link) = ana.share(&["Photos"]);
    let manifest = share.event("manifest");
    assert_eq!(manifest["name"], "Photos");
    assert_eq!(
        (&manifest["files"], &manifest["bytes"]),
        (&3.into(), &2_500_005.into())
    );

    let got = ben.get(&[&link]);
    assert_eq!(got.code, Some(0), "{got:#?}");
    assert_eq!(got.event("manifest"), manifest);
    let complete = got.event("complete");
    assert_eq!(complete["bytes"], 2_500_005);
    assert_eq!(complete["dir"], ben.path("out").to_str().expect("UTF-8"));
    assert!(complete["seconds"].as_f64().expect("seconds") > 0.0);
    let mut files: Vec<_> = got
        .events("file")
        .iter()
        .map(|file| (file["path"].to_string(), file["bytes"].as_u64()))
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            ("\"Photos/2024/märz.txt\"".to_owned(), Some(5)),
            ("\"Photos/2024/nothing.txt\"".to_owned(), Some(0)),
            ("\"Photos/sea.jpg\"".to_owned(), Some(2_500_000)),
        ]
    );
    assert_eq!(tree(&ben.path("out/Photos")), tree(&ana.path("Photos")));

    let delivered = share.event("complete");
    assert_eq!(delivered["bytes"], 2_500_005);
    let peer = got.events("peer")[0].clone();
    assert_eq!(peer["route"], "sameNetwork");
    assert_ne!(delivered["device"], peer["device"], "each names the other");
}

#[test]
fn getting_it_again_finds_it_here() {
    let (ana, ben) = (Person::new(), Person::new());
    photos(&ana);
    let (_share, link) = ana.share(&["Photos"]);
    assert_eq!(ben.get(&[&link]).code, Some(0));
    let before = tree(&ben.path("out"));
    let again = ben.get(&[&link]);
    assert_eq!(again.code, Some(0), "{again:#?}");
    assert!(again.events("file").is_empty(), "nothing is fetched twice");
    assert_eq!(again.event("complete")["bytes"], 2_500_005);
    assert_eq!(tree(&ben.path("out")), before);
}

#[test]
fn only_what_was_chosen_arrives() {
    let (ana, ben) = (Person::new(), Person::new());
    photos(&ana);
    let (_share, link) = ana.share(&["Photos"]);
    let got = ben.get(&["--only", "Photos/2024", "--only", "*.png", &link]);
    assert_eq!(got.code, Some(0), "{got:#?}");
    let names: Vec<_> = tree(&ben.path("out")).into_keys().collect();
    assert_eq!(
        names,
        [
            "Photos",
            "Photos/2024",
            "Photos/2024/märz.txt",
            "Photos/2024/nothing.txt"
        ]
    );

    let got = ben.get(&["--only", "*.png", &link]);
    assert_eq!(got.code, Some(2));
    assert_eq!(got.event("error")["code"], "usage");
}

#[test]
fn the_list_is_shown_and_nothing_fetched() {
    let (ana, ben) = (Person::new(), Person::new());
    photos(&ana);
    let (mut share, link) = ana.share(&["Photos"]);
    let listed = ben.get(&["--list", &link]);
    assert_eq!(listed.code, Some(0), "{listed:#?}");
    assert_eq!(listed.event("manifest")["files"], 3);
    assert_eq!(listed.events("file").len(), 3);
    assert!(!ben.path("out").exists());
    share.event_with("peer", |peer| peer["state"] == "declined");

    let listed = ben.run(&["get", "--list", &link]).finish();
    let has = |end: &str| listed.stdout.iter().any(|line| line.ends_with(end));
    assert!(has("2.5 MB  Photos/sea.jpg"), "{listed:#?}");
    assert!(has("Photos/empty/"), "{listed:#?}");
}

#[test]
fn people_read_text_and_the_code_alone_is_a_line() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    fs::create_dir(ben.path("out")).expect("a folder");
    let mut share = ana.run(&["share", "--name", "For Ben", "a.txt"]);
    share.line(|line| line == "Invite to “For Ben”:");
    let code = share.line(|line| line.trim().len() == 23);
    let link = share.line(|line| line.starts_with("passalong:"));
    assert!(
        link.starts_with(&format!("passalong:{}", code.trim())),
        "{link}"
    );
    share.line(|line| line.starts_with("Ready: 1 file, 5 bytes."));
    let got = ben.run(&["get", "--to", "out", &link]).finish();
    assert_eq!(got.code, Some(0), "{got:#?}");
    let last = got.stdout.last().expect("a line");
    assert!(last.starts_with("Done: 1 file, 5 bytes in "), "{last}");
    assert!(
        got.stdout.iter().all(|line| !line.contains('\u{1b}')),
        "{got:#?}"
    );
    assert_eq!(fs::read(ben.path("out/a.txt")).expect("a file"), b"hello");
    share.line(|line| line.ends_with("has everything: 5 bytes."));
}

#[test]
fn what_cannot_be_shared_is_named() {
    let ana = Person::new();
    ana.write("Photos/a.txt", b"hello");
    #[cfg(unix)]
    std::os::unix::fs::symlink("a.txt", ana.path("Photos/link")).expect("a link");
    let (mut share, _) = ana.share(&["Photos"]);
    assert_eq!(share.event("manifest")["files"], 1);
    share.interrupt();
    let ended = share.finish();
    assert!(
        ended.stderr.contains("Photos/link: a symbolic link"),
        "{ended:#?}"
    );
}

#[test]
fn one_person_gets_it_and_the_sharing_ends() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    ana.write("b.txt", b"world");
    let (share, link) = ana.share(&["--once", "a.txt"]);
    assert_eq!(ben.get(&[&link]).code, Some(0));
    let ended = share.finish();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(ended.event("complete")["bytes"], 5);

    // The code says so for as long as its device is there.
    let (_share, other) = ana.share(&["b.txt"]);
    let (_, addresses) = other.split_once('?').expect("addresses");
    let (invite, _) = link.split_once('?').expect("addresses");
    let late = Person::new().get(&[&format!("{invite}?{addresses}")]);
    assert_eq!(late.code, Some(5), "{late:#?}");
    assert_eq!(late.event("error")["code"], "stopped");
}

#[test]
fn the_same_paths_have_the_same_code_after_a_restart() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    ana.write("b.txt", b"world");
    let code = |words: &[&str]| {
        let mut all = vec!["--json", "share"];
        all.extend(words);
        let mut share = ana.run(&all);
        let code = share.event("invite")["code"].clone();
        share.event("manifest");
        share.interrupt();
        assert_eq!(share.finish().code, Some(130));
        code
    };
    let (first, other) = (code(&["a.txt"]), code(&["b.txt"]));
    assert_ne!(first, other);
    assert_eq!(code(&["./a.txt"]), first);

    let mut all = ana.run(&["--json", "share"]);
    let invites = [all.event("invite"), all.event("invite")];
    assert!(
        invites.iter().any(|invite| invite["code"] == first),
        "{invites:?}"
    );
    assert!(
        invites.iter().any(|invite| invite["code"] == other),
        "{invites:?}"
    );
    for invite in invites {
        let got = ben.get(&[invite["link"].as_str().expect("a link")]);
        assert_eq!(got.code, Some(0), "{got:#?}");
    }
    assert_eq!(tree(&ben.path("out")).len(), 2);
}

#[test]
fn a_fetch_that_was_interrupted_goes_on_where_it_was() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("film.mkv", &bytes(3, 300_000_000));
    let (_share, link) = ana.share(&["film.mkv"]);
    let mut get = ben.run(&["--json", "get", "--to", "out", &link]);
    let here = get.event_with("progress", |p| p["bytes"].as_u64() > Some(0));
    get.interrupt();
    let ended = get.finish();
    assert_eq!(ended.code, Some(130), "{ended:#?}");
    assert!(
        !ben.path("out/film.mkv").exists(),
        "nothing unfinished has the final name"
    );

    let again = ben.get(&[&link]);
    assert_eq!(again.code, Some(0), "{again:#?}");
    let first = again
        .events("progress")
        .into_iter()
        .find(|p| p["bytes"].as_u64() > Some(0))
        .expect("progress");
    assert!(
        first["bytes"].as_u64() >= here["bytes"].as_u64(),
        "{first} {here}"
    );
    assert_eq!(tree(&ben.path("out")).len(), 1, "nothing is left over");
    assert!(
        fs::read(ben.path("out/film.mkv")).expect("a file") == bytes(3, 300_000_000),
        "the same bytes"
    );
}

#[test]
fn a_reader_who_leaves_stops_nothing() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    let (mut share, link) = ana.share(&["--once", "a.txt"]);
    share.turn_away();
    assert_eq!(ben.get(&[&link]).code, Some(0));
    let ended = share.finish();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn whoever_stays_passes_it_along() {
    let (ana, ben, eva) = (Person::new(), Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    let (share, link) = ana.share(&["a.txt"]);
    // Ben is found on the local network: the link knows only Ana.
    let on_lan = |person: &Person, words: &[&str]| {
        let all = [
            "--bind",
            "127.0.0.1",
            "--stun",
            "none",
            "--json",
            "get",
            "--to",
            "out",
        ];
        person.run_bare(&[&all, words].concat())
    };
    let mut staying = on_lan(&ben, &["--stay", &link]);
    staying.event("complete");
    share.interrupt();
    assert_eq!(share.finish().code, Some(130));

    let (code, _) = link["passalong:".len()..].split_once('?').expect("a code");
    let got = on_lan(&eva, &[code]).finish();
    assert_eq!(got.code, Some(0), "{got:#?}");
    assert_eq!(fs::read(eva.path("out/a.txt")).expect("a file"), b"hello");
    staying.interrupt();
    assert_eq!(staying.finish().code, Some(130));
}

#[test]
fn whoever_stays_passes_along_what_they_chose() {
    let (ana, ben, eva) = (Person::new(), Person::new(), Person::new());
    photos(&ana);
    let (share, link) = ana.share(&["Photos"]);
    let lan = ["--bind", "127.0.0.1", "--stun", "none", "--json", "get"];
    let some = ["--only", "Photos/2024", "--to", "out"];
    let mut staying = ben.run_bare(&[&lan[..], &some, &["--stay", &link]].concat());
    staying.event("complete");
    share.interrupt();
    assert_eq!(share.finish().code, Some(130));

    let (code, _) = link["passalong:".len()..].split_once('?').expect("a code");
    let got = eva.run_bare(&[&lan[..], &some, &[code]].concat()).finish();
    assert_eq!(got.code, Some(0), "{got:#?}");
    assert_eq!(tree(&eva.path("out")), tree(&ben.path("out")));
    assert_eq!(tree(&eva.path("out/Photos/2024")).len(), 2);
    // What nobody has is waited for, and in the end told to be missing.
    let rest = ["--only", "*.jpg", "--patience", "2", "--to", "out", code];
    let mut rest = eva.run_bare(&[&lan[..], &rest].concat());
    rest.event("manifest");
    rest.interrupt();
    assert_eq!(rest.finish().code, Some(130));
    assert!(!eva.path("out/Photos/sea.jpg").exists());
    staying.interrupt();
    assert_eq!(staying.finish().code, Some(130));
}

#[test]
fn staying_with_what_is_for_one_person_ends_and_says_why() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    fs::create_dir(ben.path("out")).expect("a folder");
    let (_share, link) = ana.share(&["--once", "a.txt"]);
    let got = ben.run(&["get", "--stay", "--to", "out", &link]).finish();
    assert_eq!(got.code, Some(0), "{got:#?}");
    let last = got.stdout.last().expect("a line");
    assert!(last.contains("shared with you alone"), "{last}");
}

#[test]
fn progress_names_whom_it_comes_from_and_goes_to() {
    let (ana, ben, eva) = (Person::new(), Person::new(), Person::new());
    ana.write("film.mkv", &bytes(3, 300_000_000));
    fs::create_dir(ben.path("out")).expect("a folder");
    let mut share = ana.run(&["share", "film.mkv"]);
    let link = share.line(|line| line.starts_with("passalong:"));
    share.line(|line| line.starts_with("Ready: "));
    let mut get = ben.run(&["get", "--to", "out", &link]);
    let connected = get.line(|line| line.starts_with("Connected to "));
    let name = connected["Connected to ".len()..].split(',').next();
    let name = name.expect("a name").to_owned();
    get.line(|line| line.starts_with(&format!("Received from {name}: ")));
    share.line(|line| line.starts_with("“film.mkv” to ") && line.contains(" %, "));
    get.interrupt();
    assert_eq!(get.finish().code, Some(130));

    let got = eva.get(&[&link]);
    assert_eq!(got.code, Some(0), "{got:#?}");
    let peer = got.events("peer")[0].clone();
    assert_eq!(
        (&peer["name"], &peer["state"]),
        (&name.into(), &"connected".into())
    );
    let progress = got.events("progress");
    assert!(
        progress.iter().any(|p| p["sources"][0] == peer["name"]),
        "{progress:#?}"
    );
}

#[test]
fn what_is_here_under_other_names_is_counted() {
    let (ana, ben) = (Person::new(), Person::new());
    for number in 0..34 {
        let content = bytes(number, 500 + number as usize);
        ana.write(&format!("Set/{number}.bin"), &content);
        if number < 31 {
            ben.write(&format!("out/{number} (old).dat"), &content);
        }
    }
    ana.write("Set/large.bin", &bytes(99, 3_000_000));
    let (_share, link) = ana.share(&["Set"]);
    let got = ben.run(&["get", "--to", "out", &link]).finish();
    assert_eq!(got.code, Some(0), "{got:#?}");
    let told = |text: &str| got.stdout.iter().any(|line| line.contains(text));
    assert!(told("Done: 35 files (31 of 35 already here), "), "{got:#?}");
    assert_eq!(tree(&ben.path("out/Set")), tree(&ana.path("Set")));
}

#[test]
fn codes_carried_by_hand_lead_together_where_the_invite_does_not() {
    let (ana, ben) = (Person::new(), Person::new());
    ana.write("a.txt", b"hello");
    let (mut share, link) = ana.share(&["--by-hand", "a.txt"]);
    let (code, _) = link.split_once('?').expect("addresses");
    let mut get = ben.run(&["--json", "get", "--by-hand", "--to", "out", code]);
    let reply = get.event("reply");
    share.type_in("what is this for?");
    share.type_in(reply["code"].as_str().expect("a code"));
    let answer = share.event("answer");
    get.type_in(answer["code"].as_str().expect("a code"));
    let got = get.finish();
    assert_eq!(got.code, Some(0), "{got:#?}");
    assert_eq!(fs::read(ben.path("out/a.txt")).expect("a file"), b"hello");
    share.event("complete");
    share.interrupt();
    let ended = share.finish();
    assert!(
        ended
            .stderr
            .contains("neither a reply code nor an answer code"),
        "{ended:#?}"
    );
}
