//! Several people after one share: who finds whom, who gets what from whom, and
//! what happens when somebody leaves.

use passalong_engine::api::{PersonState, ProblemCode, Safety, ShareState, TransferState};
use passalong_tests::crowd::{connected, looking};
use passalong_tests::{Person, bytes, tree};

const MEGABYTE: usize = 1_000_000;

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
    ana.limit_upload(Some(8_000_000)).await;
    ben.accept(&id).await;
    cleo.accept(&id).await;
    ana.share_until(&share.id, |s| {
        matches!(s.safety, Safety::SafeTogether | Safety::Safe { .. })
    })
    .await;
    ana.engine.shutdown().await;
    ben.done(&id).await;
    cleo.done(&id).await;
    assert_eq!(tree(&ben.downloads())["film.bin"], Some(content.clone()));
    assert_eq!(tree(&cleo.downloads())["film.bin"], Some(content));
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
    assert_eq!(dan.failed(&id).await.code, ProblemCode::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_share_sends_nothing_until_it_is_resumed() {
    let ana = Person::new("Ana").await;
    let share = ana
        .share(&[ana.write("a.bin", &bytes(5, 3 * MEGABYTE))])
        .await;
    ana.engine.pause(&share.id).await.expect("paused");
    let (ben, id) = looking("Ben", &share.link).await;
    ben.accept(&id).await;
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
    ben.done(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_transfer_fetches_nothing_until_it_is_resumed() {
    let ana = Person::new("Ana").await;
    let share = ana
        .share(&[ana.write("a.bin", &bytes(6, 20 * MEGABYTE))])
        .await;
    ana.limit_upload(Some(4_000_000)).await;
    let (ben, id) = looking("Ben", &share.link).await;
    ben.accept(&id).await;
    ben.receiving(&id, 0).await;
    ben.engine.pause(&id).await.expect("paused");
    ben.transfer_until(&id, |t| matches!(t.state, TransferState::Paused { .. }))
        .await;
    ana.share_until(&share.id, |s| s.people.iter().all(|p| p.rate == 0))
        .await;
    ben.engine.resume(&id).await.expect("resumed");
    ben.done(&id).await;
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
        person.accept(&id).await;
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
