//! How fast a share spreads: what a download gains from several sources, and how
//! long many receivers take. One at a time, as they use the whole computer.

use std::time::Instant;

use passalong_engine::api::{Safety, TransferState, TransferView};
use passalong_tests::crowd::{connected, looking};
use passalong_tests::{Person, bytes, tree};

const MEGABYTE: usize = 1_000_000;

/// How long a transfer took that is done.
fn seconds(done: &TransferView) -> f64 {
    match done.state {
        TransferState::Done { seconds, .. } => seconds,
        ref other => panic!("not done: {other:?}"),
    }
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
    ana.limit_upload(Some(CAP)).await;
    for source in &sources {
        source.limit_upload(Some(CAP)).await;
    }
    let (eve, id) = looking("Eve", &share.link).await;
    eve.transfer_until(&id, |t| connected(&t.people) == 4).await;
    eve.accept(&id).await;
    let four = seconds(&eve.done(&id).await);
    assert_eq!(tree(&eve.downloads())["film.bin"], Some(content));
    eve.engine.shutdown().await;

    for source in sources {
        source.engine.shutdown().await;
    }
    let (finn, id) = looking("Finn", &share.link).await;
    finn.accept(&id).await;
    let one = seconds(&finn.done(&id).await);
    println!(
        "one source {one:.2} s, four sources {four:.2} s: {:.2} times",
        one / four
    );
    assert!(one / four >= 3.6, "only {:.2} times as fast", one / four);
}

/// One sharer with 20 MB/s up and so many receivers, all at once. Says how many
/// seconds it took until the last had everything.
async fn everybody(receivers: usize, sharer_leaves: bool) -> f64 {
    let ana = Person::new("Ana").await;
    let content = bytes(7, 60 * MEGABYTE);
    let share = ana.share(&[ana.write("film.bin", &content)]).await;
    ana.limit_upload(Some(20_000_000)).await;
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
        person.accept(id).await;
    }
    if sharer_leaves {
        ana.share_until(&share.id, |s| {
            matches!(s.safety, Safety::SafeTogether | Safety::Safe { .. })
        })
        .await;
        ana.engine.shutdown().await;
    }
    for (person, id) in &people {
        person.done(id).await;
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
#[ignore = "needs the whole computer to itself: npm run bench:spread"]
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
}
