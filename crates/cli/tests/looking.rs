//! `doctor` and `bench`: what they print, and that they leave nothing behind.

mod support;

use std::fs;

use support::Person;

#[test]
fn the_doctor_tells_what_was_found_and_what_to_do() {
    let ana = Person::new();
    let looked = ana.run(&["--json", "doctor"]).finish();
    assert_eq!(looked.code, Some(0), "{looked:#?}");
    let findings = looked.events("finding");
    assert_eq!(findings.len() + 1, looked.stdout.len());
    let checkup = looked.event("checkup");
    assert_eq!(
        (&checkup["level"], &checkup["cause"]),
        (&"notice".into(), &"internet".into())
    );
    let summary = checkup["summary"].as_str().expect("a sentence");
    assert!(summary.contains("same network"), "{summary}");
    let of = |word: &str| {
        let finding = findings.iter().find(|f| {
            let title = f["title"].as_str().expect("a title");
            title.contains(word)
        });
        finding.unwrap_or_else(|| panic!("nothing about {word}: {looked:#?}"))
    };
    assert_eq!(of("port")["level"], "good");
    assert_eq!(of("local network")["level"], "notice");
    assert_eq!(of("DHT")["level"], "notice");
    assert_eq!(of("STUN")["level"], "notice");
    for finding in &findings {
        let good = finding["level"] == "good";
        assert_eq!(finding["remedy"].is_null(), good, "{finding}");
        assert!(finding["topic"].is_string(), "{finding}");
    }
    let same = looked.event("checkup")["cause"].clone();
    assert!(
        findings
            .iter()
            .any(|f| f["topic"] == same && !f["remedy"].is_null())
    );

    let read = ana.run(&["doctor"]).finish();
    let light = read.stdout.iter().find(|line| line.starts_with("Yellow"));
    assert!(
        light.is_some_and(|line| line.contains(summary)),
        "{read:#?}"
    );
}

#[test]
fn the_doctor_looks_while_passalong_runs() {
    let ana = Person::new();
    ana.write("a.txt", b"hello");
    let (_share, _) = ana.share(&["a.txt"]);
    let looked = ana.run(&["doctor"]).finish();
    assert_eq!(looked.code, Some(0), "{looked:#?}");
    let has = |text: &str| looked.stdout.iter().any(|line| line.contains(text));
    assert!(has("in use by passalong"), "{looked:#?}");
    assert!(has("A network port can be opened."), "{looked:#?}");
}

#[test]
fn the_bench_measures_and_cleans_up() {
    let ana = Person::new();
    let words = [
        "--json", "bench", "--size", "3", "--files", "20", "--dir", "ground",
    ];
    let measured = ana.run(&words).finish();
    assert_eq!(measured.code, Some(0), "{measured:#?}");
    let bench = measured.event("bench");
    assert_eq!(
        (&bench["files"], &bench["bytes"]),
        (&20.into(), &3_000_000.into())
    );
    for measure in ["hashSeconds", "hashRate", "seconds", "rate"] {
        assert!(bench[measure].as_f64() > Some(0.0), "{measure}: {bench}");
    }
    assert_eq!(
        fs::read_dir(ana.path("ground")).expect("a folder").count(),
        0
    );
    assert!(!ana.path("data").exists());

    let measured = ana.run(&["bench", "--size", "1"]).finish();
    let has = |text: &str| measured.stdout.iter().any(|line| line.contains(text));
    assert!(has("transfer") && has("MB/s"), "{measured:#?}");
}
