//! Both lanes from file to file: limits hold on either, and a lane that is made
//! anew in the middle of a transfer costs nothing but time.

use std::time::Instant;

use passalong_engine::api::{Settings, TransferState};
use passalong_tests::{Person, bytes, tree};

const LIMIT: u64 = 4_000_000;
const LENGTH: usize = 24_000_000;
/// What a limit lets through at once after a pause: an eighth of a second's worth
/// and the piece that was begun.
const AT_ONCE: u64 = LIMIT / 8 + (1 << 20);
/// How far over its limit anything else may go.
const TOLERANCE: f64 = 1.05;

async fn change(person: &Person, change: impl FnOnce(&mut Settings)) {
    let mut settings = person.engine.snapshot().await.settings;
    change(&mut settings);
    person.engine.save_settings(settings).await.expect("kept");
}

/// Hands a file over; says how many bytes a second came from accepting to the
/// end, but for those that may come at once. A busy computer makes it less.
async fn rate(ana: &Person, ben: &Person) -> f64 {
    let content = bytes(9, LENGTH);
    let share = ana.share(&[ana.write("film.bin", &content)]).await;
    let id = ben.look(&share.link).await;
    let since = Instant::now();
    ben.accept(&id).await;
    ben.done(&id).await;
    let took = since.elapsed();
    assert_eq!(tree(&ben.downloads())["film.bin"], Some(content));
    (LENGTH as u64 - AT_ONCE) as f64 / took.as_secs_f64()
}

fn assert_limited(rate: f64, what: &str) {
    println!("{what}: {:.3} of the limit", rate / LIMIT as f64);
    assert!(rate <= LIMIT as f64 * TOLERANCE, "{what}: {rate} bytes/s");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_on_sending_and_fetching_hold_on_both_lanes() {
    for quic in [true, false] {
        let ana = Person::with("Ana", |config| config.quic = quic).await;
        let ben = Person::with("Ben", |config| config.quic = quic).await;
        change(&ana, |settings| settings.upload_limit = Some(LIMIT)).await;
        assert_limited(rate(&ana, &ben).await, &format!("sending, quic {quic}"));

        let ana = Person::with("Ana", |config| config.quic = quic).await;
        let ben = Person::with("Ben", |config| config.quic = quic).await;
        change(&ben, |settings| settings.download_limit = Some(LIMIT)).await;
        assert_limited(rate(&ana, &ben).await, &format!("fetching, quic {quic}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn giving_way_and_hurrying_again_remakes_the_lane_and_loses_nothing() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    change(&ana, |settings| settings.upload_limit = Some(8_000_000)).await;
    let content = bytes(10, 40_000_000);
    let share = ana.share(&[ana.write("film.bin", &content)]).await;
    let id = ben.look(&share.link).await;
    ben.accept(&id).await;
    for (background, more_than) in [(true, 4_000_000), (false, 16_000_000), (true, 28_000_000)] {
        ben.transfer_until(&id, |t| match &t.state {
            TransferState::Receiving { progress } => progress.bytes > more_than,
            _ => false,
        })
        .await;
        change(&ana, |settings| settings.background = background).await;
    }
    ben.done(&id).await;
    assert_eq!(tree(&ben.downloads())["film.bin"], Some(content));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_quic_and_whoever_has_not_understand_each_other() {
    for (sharer, receiver) in [(true, false), (false, true)] {
        let ana = Person::with("Ana", |config| config.quic = sharer).await;
        let ben = Person::with("Ben", |config| config.quic = receiver).await;
        let content = bytes(11, LENGTH);
        let share = ana.share(&[ana.write("film.bin", &content)]).await;
        ben.get(&share.link).await;
        assert_eq!(tree(&ben.downloads())["film.bin"], Some(content));
    }
}
