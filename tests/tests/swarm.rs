//! Several people after one share: who finds whom, who gets what from whom, and
//! what happens when somebody leaves.

use std::time::{Duration, Instant};

use passalong_engine::Engine;
use passalong_engine::api::{
    PersonState, PersonView, Presence, Problem, ProblemCode, Safety, Selection, ShareState,
    TransferState,
};
use passalong_tests::{Person, bytes, is_over, tree};

const MEGABYTE: usize = 1_000_000;

/// Sends no more than so many bytes a second from now on.
async fn cap(engine: &Engine, bytes_a_second: u64) {
    let mut settings = engine.snapshot().await.settings;
    settings.upload_limit = Some(bytes_a_second);
    engine.save_settings(settings).await.expect("settings");
}

fn connected(people: &[PersonView]) -> usize {
    let here = people.iter().filter(|p| p.presence == Presence::Connected);
    here.count()
}

/// Somebody who has opened an invite and looks at the list.
async fn looking(name: &str, link: &str) -> (Person, String) {
    let person = Person::new(name).await;
    let id = person.open(link).await.expect("an invite");
    person
        .transfer_until(&id, |t| t.state == TransferState::Offered)
        .await;
    (person, id)
}

async fn accept(person: &Person, id: &str) {
    let accepted = person.engine.accept(id, Selection::All).await;
    accepted.expect("accepted");
}

/// Waits until somebody has everything, and says how many seconds it took.
async fn done(person: &Person, id: &str) -> f64 {
    let transfer = person.transfer_until(id, |t| is_over(&t.state)).await;
    match transfer.state {
        TransferState::Done { seconds, .. } => seconds,
        other => panic!("not done: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_all_passes_it_on_after_the_sharer_is_gone() {
    let ana = Person::new("Ana").await;
    let content = bytes(1, 5 * MEGABYTE);
    let share = ana.share(&[ana.write("film.bin", &content)]).await;
    let ben = Person::new("Ben").await;
    let got = ben.get(&share.link).await;
    let passing = ben.transfer_until(&got.id, |t| t.passing_on).await;
    ana.share_until(&share.id, |s| {
        s.safety
            == Safety::Safe {
                complete: vec!["Ben".to_owned()],
            }
    })
    .await;
    ana.engine.shutdown().await;

    let cleo = Person::new("Cleo").await;
    let got = cleo.get(&passing.link).await;
    assert_eq!(got.from.map(|from| from.name).as_deref(), Some("Ben"));
    assert_eq!(tree(&cleo.downloads())["film.bin"], Some(content));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_meet_through_a_mutual_one_and_go_on_without_it() {
    let ana = Person::new("Ana").await;
    let content = bytes(2, 24 * MEGABYTE);
    let share = ana.share(&[ana.write("film.bin", &content)]).await;
    let (ben, id) = looking("Ben", &share.link).await;
    let (cleo, _) = looking("Cleo", &share.link).await;
    // Neither knows the other's address but from Ana.
    ben.transfer_until(&id, |t| connected(&t.people) == 2).await;
    cleo.transfer_until(&id, |t| connected(&t.people) == 2)
        .await;
    // Each takes a while, and Ana leaves once every piece is elsewhere.
    cap(&ana.engine, 8_000_000).await;
    accept(&ben, &id).await;
    accept(&cleo, &id).await;
    ana.share_until(&share.id, |s| {
        matches!(s.safety, Safety::SafeTogether | Safety::Safe { .. })
    })
    .await;
    ana.engine.shutdown().await;
    done(&ben, &id).await;
    done(&cleo, &id).await;
    assert_eq!(tree(&ben.downloads())["film.bin"], Some(content.clone()));
    assert_eq!(tree(&cleo.downloads())["film.bin"], Some(content));
}

#[tokio::test(flavor = "multi_thread")]
async fn four_equal_sources_are_nearly_four_times_as_fast_as_one() {
    const CAP: u64 = 5_000_000;
    let ana = Person::new("Ana").await;
    let content = bytes(3, 40 * MEGABYTE);
    let share = ana.share(&[ana.write("film.bin", &content)]).await;
    let mut sources = Vec::new();
    for name in ["Ben", "Cleo", "Dan"] {
        let person = Person::new(name).await;
        person.get(&share.link).await;
        sources.push(person);
    }
    cap(&ana.engine, CAP).await;
    for source in &sources {
        cap(&source.engine, CAP).await;
    }
    let (eve, id) = looking("Eve", &share.link).await;
    eve.transfer_until(&id, |t| connected(&t.people) == 4).await;
    accept(&eve, &id).await;
    let four = done(&eve, &id).await;
    assert_eq!(tree(&eve.downloads())["film.bin"], Some(content));
    eve.engine.shutdown().await;

    for source in sources {
        source.engine.shutdown().await;
    }
    let (finn, id) = looking("Finn", &share.link).await;
    accept(&finn, &id).await;
    let one = done(&finn, &id).await;
    println!(
        "one source {one:.2} s, four sources {four:.2} s: {:.2} times",
        one / four
    );
    assert!(one / four >= 3.6, "only {:.2} times as fast", one / four);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sharers_stop_reaches_members_it_is_not_linked_with() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.bin", &bytes(4, MEGABYTE))]).await;
    let ben = Person::new("Ben").await;
    let whole = ben.get(&share.link).await;
    let ben_link = ben.transfer_until(&whole.id, |t| t.passing_on).await.link;
    let cleo = Person::new("Cleo").await;
    cleo.get(&ben_link).await;
    ana.engine.stop_share(&share.id).await.expect("stopped");
    for person in [&ben, &cleo] {
        let view = person.transfer_until(&whole.id, |t| t.stopped).await;
        assert!(!view.passing_on);
        assert!(matches!(view.state, TransferState::Done { .. }));
        assert!(person.downloads().join("a.bin").exists());
    }
    // And nobody gets it from here on.
    let dan = Person::new("Dan").await;
    let id = dan.open(&share.link).await.expect("an invite");
    let refused = dan.transfer_until(&id, |t| is_over(&t.state)).await;
    let stopped = matches!(
        refused.state,
        TransferState::Failed {
            problem: Problem {
                code: ProblemCode::Stopped,
                ..
            },
            ..
        }
    );
    assert!(stopped, "{:?}", refused.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_share_sends_nothing_until_it_is_resumed() {
    let ana = Person::new("Ana").await;
    let share = ana
        .share(&[ana.write("a.bin", &bytes(5, 3 * MEGABYTE))])
        .await;
    ana.engine.pause(&share.id).await.expect("paused");
    let (ben, id) = looking("Ben", &share.link).await;
    accept(&ben, &id).await;
    let view = ana
        .share_until(&share.id, |s| {
            s.people.iter().any(|p| p.state == PersonState::Waiting)
        })
        .await;
    assert!(view.paused);
    assert_eq!(view.state, ShareState::Ready);
    ben.transfer_until(&id, |t| matches!(t.state, TransferState::Stalled { .. }))
        .await;
    ana.engine.resume(&share.id).await.expect("resumed");
    done(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_transfer_fetches_nothing_until_it_is_resumed() {
    let ana = Person::new("Ana").await;
    let share = ana
        .share(&[ana.write("a.bin", &bytes(6, 20 * MEGABYTE))])
        .await;
    cap(&ana.engine, 4_000_000).await;
    let (ben, id) = looking("Ben", &share.link).await;
    accept(&ben, &id).await;
    ben.transfer_until(
        &id,
        |t| matches!(&t.state, TransferState::Receiving { progress } if progress.bytes > 0),
    )
    .await;
    ben.engine.pause(&id).await.expect("paused");
    ben.transfer_until(&id, |t| matches!(t.state, TransferState::Paused { .. }))
        .await;
    ana.share_until(&share.id, |s| s.people.iter().all(|p| p.rate == 0))
        .await;
    ben.engine.resume(&id).await.expect("resumed");
    done(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upload_slots_rotate_so_that_nobody_starves() {
    let ana = Person::new("Ana").await;
    let mut settings = ana.engine.snapshot().await.settings;
    settings.upload_slots = 1;
    settings.upload_limit = Some(6_000_000);
    ana.engine.save_settings(settings).await.expect("settings");
    // One person each: they have nobody but Ana to get theirs from.
    let mut getting = Vec::new();
    for (index, name) in ["Ben", "Cleo", "Dan"].into_iter().enumerate() {
        let file = ana.write(&format!("{name}.bin"), &bytes(index as u64, 40 * MEGABYTE));
        let share = ana.share(&[file]).await;
        let (person, id) = looking(name, &share.link).await;
        accept(&person, &id).await;
        getting.push((person, id));
    }
    // Everybody gets something long before anybody has it all.
    for (person, id) in &getting {
        let some = |state: &TransferState| match state {
            TransferState::Receiving { progress } | TransferState::Stalled { progress, .. } => {
                progress.bytes > 0
            }
            TransferState::Done { .. } => panic!("somebody got all of it before others got any"),
            _ => false,
        };
        person.transfer_until(id, |t| some(&t.state)).await;
    }
}

/// One sharer with 20 MB/s up and so many receivers, all at once. Says how many
/// seconds it took until the last had everything.
async fn everybody(receivers: usize, sharer_leaves: bool) -> f64 {
    let ana = Person::new("Ana").await;
    let content = bytes(7, 60 * MEGABYTE);
    let share = ana.share(&[ana.write("film.bin", &content)]).await;
    cap(&ana.engine, 20_000_000).await;
    let mut people = Vec::new();
    for index in 0..receivers {
        people.push(looking(&format!("Receiver {index}"), &share.link).await);
    }
    for (person, id) in &people {
        let enough = receivers.min(4);
        person
            .transfer_until(id, |t| connected(&t.people) >= enough)
            .await;
    }
    let started = Instant::now();
    for (person, id) in &people {
        accept(person, id).await;
    }
    if sharer_leaves {
        ana.share_until(&share.id, |s| {
            matches!(s.safety, Safety::SafeTogether | Safety::Safe { .. })
        })
        .await;
        ana.engine.shutdown().await;
    }
    for (person, id) in &people {
        done(person, id).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    for (person, _) in &people {
        assert_eq!(
            tree(&person.downloads())["film.bin"].as_ref(),
            Some(&content)
        );
        person.engine.shutdown().await;
    }
    ana.engine.shutdown().await;
    seconds
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_receivers_take_little_longer_than_one() {
    let one = everybody(1, false).await;
    let sixteen = everybody(16, false).await;
    println!(
        "1 receiver {one:.1} s, 16 receivers {sixteen:.1} s: {:.2} times",
        sixteen / one
    );
    assert!(
        sixteen < 2.5 * one,
        "{sixteen:.1} s for 16, {one:.1} s for one"
    );
    let without = everybody(16, true).await;
    println!(
        "16 receivers, the sharer leaving: {without:.1} s: {:.2} times",
        without / one
    );
    assert!(
        without < 2.5 * one,
        "{without:.1} s without the sharer, {one:.1} s for one"
    );
    let _ = Duration::ZERO;
}
