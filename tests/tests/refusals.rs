//! Invites that do not lead to files: typos, one's own, stopped, taken, declined.

use passalong_engine::api::{Audience, PersonState, ProblemCode, ShareState};
use passalong_tests::{Person, bytes, tree};

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_code_is_told_at_once_and_starts_nothing() {
    let ben = Person::new("Ben").await;
    let problem = ben
        .open("QK7M2-9XHT4-AB3DE-FGH2J")
        .await
        .expect_err("a typo");
    assert_eq!(problem.code, ProblemCode::NotAnInvite);
    assert!(ben.engine.snapshot().await.transfers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_invite_is_told_apart() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let problem = ana.open(&share.code).await.expect_err("her own");
    assert_eq!(problem.code, ProblemCode::OwnInvite);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_share_says_so_to_newcomers_and_to_those_connected() {
    let (ana, ben, cleo) = (
        Person::new("Ana").await,
        Person::new("Ben").await,
        Person::new("Cleo").await,
    );
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let early = ben.look(&share.link).await;
    ana.engine.stop_share(&share.id).await.expect("stopped");
    assert_eq!(ben.failed(&early).await.code, ProblemCode::Stopped);
    let late = cleo.open(&share.link).await.expect("an invite");
    assert_eq!(cleo.failed(&late).await.code, ProblemCode::Stopped);

    let ana = ana.restart().await;
    let dan = Person::new("Dan").await;
    assert!(
        ana.engine.snapshot().await.shares.is_empty(),
        "a stopped share has no row"
    );
    let again = ana.share(&[ana.path("a.txt")]).await;
    assert_ne!(
        again.code, share.code,
        "a stopped share is not the same share"
    );
    let port = again
        .link
        .split_once("?a=")
        .expect("addresses")
        .1
        .to_owned();
    let old_link = format!("passalong:{}?a={port}", share.code);
    let late = dan.open(&old_link).await.expect("an invite");
    assert_eq!(dan.failed(&late).await.code, ProblemCode::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_for_one_person_is_for_the_first_who_accepts() {
    let (ana, ben, cleo, dan) = (
        Person::new("Ana").await,
        Person::new("Ben").await,
        Person::new("Cleo").await,
        Person::new("Dan").await,
    );
    let share = ana
        .share_with(
            &[ana.write("a.bin", &bytes(1, 150 << 20))],
            Audience::OnePerson,
        )
        .await;
    let mut looking = Vec::new();
    for person in [&ben, &cleo] {
        looking.push(person.look(&share.link).await);
    }
    cleo.accept(&looking[1]).await;
    assert_eq!(ben.failed(&looking[0]).await.code, ProblemCode::Taken);
    let late = dan.open(&share.link).await.expect("an invite");
    assert_eq!(dan.failed(&late).await.code, ProblemCode::Taken);

    cleo.engine.cancel(&looking[1]).await.expect("cancelled");
    ana.share_until(&share.id, |s| {
        s.people.iter().any(|p| p.state == PersonState::Cancelled)
    })
    .await;
    ben.engine.retry(&looking[0]).await.expect("tried again");
    ben.accept(&looking[0]).await;
    ben.done(&looking[0]).await;
    ana.share_until(&share.id, |s| s.state == ShareState::Delivered)
        .await;

    cleo.engine.retry(&looking[1]).await.expect("tried again");
    assert_eq!(cleo.failed(&looking[1]).await.code, ProblemCode::Taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_leaves_nothing_unfinished_behind() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana
        .share(&[ana.write("big.bin", &bytes(3, 200 << 20))])
        .await;
    let id = ben.begin(&share.link).await;
    ben.receiving(&id, 0).await;
    ben.engine.cancel(&id).await.expect("cancelled");
    assert_eq!(tree(&ben.downloads()).len(), 0);
    ana.share_until(&share.id, |s| {
        s.people.iter().any(|p| p.state == PersonState::Cancelled)
    })
    .await;
}
