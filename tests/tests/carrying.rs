//! Two who cannot reach each other, and a friend who helps them through: one is on
//! 127.0.0.1 only, one on ::1 only, and friends are on both.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use passalong_engine::api::{
    Event, PersonView, Presence, Route, Selection, ShareView, TransferState, TransferView,
};
use passalong_engine::{Config, Engine};
use passalong_tests::{Person, bytes};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const MEGABYTE: usize = 1_000_000;

async fn at(name: &str, bind: &[IpAddr]) -> Person {
    Person::with(name, |config| config.bind = bind.to_vec()).await
}

async fn friend(name: &str) -> Person {
    let willing = |config: &mut Config| {
        config.bind = vec![V4, V6];
        config.carry = Some(true);
    };
    Person::with(name, willing).await
}

/// Ana, who is on ::1, shares a small file and a film.
async fn sharing(film: usize) -> (Person, ShareView) {
    let ana = at("Ana", &[V6]).await;
    ana.write("Set/film.bin", &bytes(1, film));
    ana.write("Set/note.txt", b"hello");
    let share = ana.share(&[ana.path("Set")]).await;
    (ana, share)
}

/// They take the small file only, and pass that on; gives the link that leads to them.
async fn take_note(person: &Person, link: &str) -> String {
    let id = person.look(link).await;
    let entries = person.engine.entries(&id).await.expect("the list");
    let note = entries.iter().find(|entry| entry.path == "Set/note.txt");
    let entries = vec![note.expect("listed").index];
    let accepted = person.engine.accept(&id, Selection::Only { entries }).await;
    accepted.expect("accepted");
    person.transfer_until(&id, |t| t.passing_on).await.link
}

fn named<'a>(people: &'a [PersonView], name: &str) -> Option<&'a PersonView> {
    people.iter().find(|person| person.device.name == name)
}

/// Who helps through to somebody, by name.
fn through<'a>(people: &'a [PersonView], name: &str) -> Option<&'a str> {
    let person = named(people, name)?;
    let carried = person.presence == Presence::Connected && person.route == Some(Route::Carried);
    carried.then(|| person.through.as_ref().map(|friend| friend.name.as_str()))?
}

async fn set_carrying(person: &Person, carry: bool) {
    let mut settings = person.engine.snapshot().await.settings;
    settings.carry = carry;
    person.engine.save_settings(settings).await.expect("kept");
}

/// Waits until bytes are carried.
async fn carries(engine: &Engine) {
    let mut events = engine.events();
    let carried = async {
        loop {
            if let Ok(Event::Totals { totals }) = events.recv().await
                && totals.carried > 0
            {
                return;
            }
        }
    };
    passalong_tests::raw::patiently("something to be carried", carried).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_only_somebody_out_of_reach_has_comes_through_a_friend_who_lacks_it() {
    let (ana, share) = sharing(6 * MEGABYTE).await;
    let mia = friend("Mia").await;
    let link = take_note(&mia, &share.link).await;
    let ben = at("Ben", &[V4]).await;
    let id = ben.begin(&link).await;
    let there = |t: &TransferView| through(&t.people, "Ana") == Some("Mia");
    let (_, ()) = tokio::join!(ben.transfer_until(&id, there), carries(&mia.engine));
    ana.share_until(&share.id, |s| through(&s.people, "Ben") == Some("Mia"))
        .await;
    ben.done(&id).await;
    let film = fs::read(ben.downloads().join("Set/film.bin")).expect("a film");
    assert!(film == bytes(1, 6 * MEGABYTE));
    assert!(!mia.downloads().join("Set/film.bin").exists());
    assert_eq!(tree_names(&mia), ["Set", "Set/note.txt"]);
}

fn tree_names(person: &Person) -> Vec<String> {
    passalong_tests::tree(&person.downloads())
        .into_keys()
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_friend_leaves_another_helps_through_and_nothing_is_lost() {
    let (ana, share) = sharing(12 * MEGABYTE).await;
    ana.limit_upload(Some(600_000)).await;
    let (mia, noah) = (friend("Mia").await, friend("Noah").await);
    let link = take_note(&mia, &share.link).await;
    take_note(&noah, &share.link).await;
    let ben = at("Ben", &[V4]).await;
    let id = ben.begin(&link).await;
    let both = |t: &TransferView| {
        let direct =
            |name| named(&t.people, name).is_some_and(|p| p.route == Some(Route::SameNetwork));
        direct("Mia") && direct("Noah") && through(&t.people, "Ana").is_some()
    };
    let met = ben.transfer_until(&id, both).await;
    let first = through(&met.people, "Ana").expect("carried").to_owned();
    ben.receiving(&id, 2_000_000).await;
    let (leaves, stays) = match first.as_str() {
        "Mia" => (mia, noah),
        _ => (noah, mia),
    };
    leaves.engine.shutdown().await;
    let other = move |t: &TransferView| {
        assert!(!matches!(t.state, TransferState::Done { .. }), "too fast");
        through(&t.people, "Ana").is_some_and(|name| name != first)
    };
    ben.transfer_until(&id, other).await;
    ana.limit_upload(None).await;
    ben.done(&id).await;
    let film = fs::read(ben.downloads().join("Set/film.bin")).expect("a film");
    assert!(film == bytes(1, 12 * MEGABYTE));
    assert_eq!(tree_names(&stays), ["Set", "Set/note.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_friend_helps_for_as_long_as_they_want_to() {
    let (ana, share) = sharing(12 * MEGABYTE).await;
    ana.limit_upload(Some(400_000)).await;
    let mia = at("Mia", &[V4, V6]).await;
    let link = take_note(&mia, &share.link).await;
    let ben = at("Ben", &[V4]).await;
    let id = ben.begin(&link).await;
    let carried = |t: &TransferView| through(&t.people, "Ana") == Some("Mia");
    let apart = |t: &TransferView| {
        named(&t.people, "Ana").is_some_and(|ana| ana.presence != Presence::Connected)
    };
    set_carrying(&mia, true).await;
    ben.transfer_until(&id, carried).await;
    set_carrying(&mia, false).await;
    ben.transfer_until(&id, apart).await;
    set_carrying(&mia, true).await;
    ben.transfer_until(&id, carried).await;
    ana.limit_upload(None).await;
    ben.done(&id).await;
    let film = fs::read(ben.downloads().join("Set/film.bin")).expect("a film");
    assert!(film == bytes(1, 12 * MEGABYTE));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_friend_carries_stays_within_their_upload_limit() {
    const LIMIT: u64 = 500_000;
    /// What a limit lets through at once after a pause.
    const AT_ONCE: u64 = 256 * 1024;
    let (_ana, share) = sharing(4 * MEGABYTE).await;
    let mia = friend("Mia").await;
    let link = take_note(&mia, &share.link).await;
    mia.limit_upload(Some(LIMIT)).await;
    let ben = at("Ben", &[V4]).await;
    let id = ben.begin(&link).await;
    let begun = ben.receiving(&id, MEGABYTE as u64).await;
    let TransferState::Receiving { progress } = begun.state else {
        unreachable!()
    };
    let since = Instant::now();
    ben.done(&id).await;
    let rate = (progress.total - progress.bytes - AT_ONCE) as f64 / since.elapsed().as_secs_f64();
    assert!(rate <= LIMIT as f64, "{rate} bytes/s");
}
