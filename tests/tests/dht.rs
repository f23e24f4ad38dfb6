//! Meeting in the DHT: a code alone, no local network, no addresses.

use std::net::UdpSocket;

use passalong_engine::api::{
    Carrier, CarrierState, ProblemCode, Settings, TransferState, TransferView,
};
use passalong_engine::doctor::{FindingLevel, Topic};
use passalong_tests::dht::{Internet, carrier};
use passalong_tests::{Person, bytes, is_done, tree};

const NODES: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_code_alone_is_enough_by_the_mailboxes() {
    let internet = Internet::new(NODES).await;
    let (ana, ben) = (internet.hidden("Ana").await, internet.hidden("Ben").await);
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 100_000))]).await;
    let done = ben.get(&share.code).await;
    assert!(is_done(&done), "{:?}", done.state);
    assert_eq!(tree(&ben.downloads())["a.bin"], Some(bytes(1, 100_000)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_alone_is_enough_by_the_addresses_of_whoever_is_there() {
    let internet = Internet::new(NODES).await;
    let (ana, ben) = (internet.person("Ana").await, internet.person("Ben").await);
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let done = ben.get(&share.code).await;
    assert!(is_done(&done), "{:?}", done.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_people_with_one_code_are_all_met() {
    let internet = Internet::new(NODES).await;
    let ana = internet.hidden("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let mut people = Vec::new();
    for number in 0..10 {
        people.push(internet.hidden(&format!("Person {number}")).await);
    }
    let mut ids = Vec::new();
    for person in &people {
        ids.push(person.open(&share.code).await.expect("an invite"));
    }
    for (person, id) in people.iter().zip(&ids) {
        person.accept(id).await;
    }
    for (person, id) in people.iter().zip(&ids) {
        person.done(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_all_is_met_while_the_sharer_is_offline() {
    let internet = Internet::new(NODES).await;
    let ana = internet.hidden("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let (ben, cleo) = (internet.hidden("Ben").await, internet.hidden("Cleo").await);
    ben.get(&share.link).await;
    cleo.get(&share.link).await;
    let _gone = ana.close().await;
    let dan = internet.hidden("Dan").await;
    let done = dan.get(&share.code).await;
    assert!(is_done(&done), "{:?}", done.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_meet_after_a_third_of_the_dht_vanished() {
    let mut internet = Internet::new(NODES).await;
    let ana = internet.hidden("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    internet.announced(&share.code).await;
    internet.lose(NODES / 3);
    let ben = internet.hidden("Ben").await;
    let done = ben.get(&share.code).await;
    assert!(is_done(&done), "{:?}", done.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mailbox_is_enough_when_all_others_are_taken_for_good() {
    let internet = Internet::new(NODES).await;
    let ana = internet.hidden("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let mallory = internet.mallory(&share.code).await;
    mallory.take_over_all_but_one().await;
    let ben = internet.hidden("Ben").await;
    let done = ben.get(&share.code).await;
    assert!(is_done(&done), "{:?}", done.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_are_not_there_and_knocks_of_nobody_do_not_keep_people_apart() {
    let internet = Internet::new(NODES).await;
    let ana = internet.person("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    internet.announced(&share.code).await;
    let mallory = internet.mallory(&share.code).await;
    mallory.make_up_people().await;
    mallory.make_up_knocks().await;
    let ben = internet.person("Ben").await;
    let done = ben.get(&share.code).await;
    assert!(is_done(&done), "{:?}", done.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dht_that_comes_up_later_is_found_and_no_error_before() {
    let doors: Vec<UdpSocket> = (0..2)
        .map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port"))
        .collect();
    let port = |door: &UdpSocket| door.local_addr().expect("an address").port();
    let ports: Vec<u16> = doors.iter().map(port).collect();
    let nowhere = |config: &mut passalong_engine::Config| {
        config.dht = Some(true);
        config.dht_addresses = false;
        let names = ports.iter().map(|port| format!("127.0.0.1:{port}"));
        config.dht_bootstrap = Some(names.collect());
    };
    let (ana, ben) = (
        Person::with("Ana", nowhere).await,
        Person::with("Ben", nowhere).await,
    );
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let id = ben.open(&share.code).await.expect("an invite");
    let unavailable = |t: &TransferView| {
        matches!(t.state, TransferState::Connecting { .. })
            && carrier(t, Carrier::Dht) == Some(CarrierState::Unavailable)
    };
    ben.transfer_until(&id, unavailable).await;
    drop(doors);
    let _internet = Internet::at(&ports).await;
    ben.accept(&id).await;
    ben.done(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_resolved_and_a_taken_port_are_no_error() {
    // The port that DHT nodes usually have; somebody else may have it already.
    let _taken = UdpSocket::bind("127.0.0.1:6881");
    let internet = Internet::new(NODES).await;
    let doors = internet.doors();
    let person = |config: &mut passalong_engine::Config| {
        let unknown = "no-such-host.invalid:6881".to_owned();
        let all = doors.iter().cloned().chain([unknown]);
        config.dht_bootstrap = Some(all.collect());
    };
    let ana = internet.person_with("Ana", person).await;
    let ben = internet.person_with("Ben", person).await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let done = ben.get(&share.code).await;
    assert!(is_done(&done), "{:?}", done.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_after_the_stop_hears_of_it_by_the_mailboxes() {
    let internet = Internet::new(NODES).await;
    let (ana, ben) = (internet.hidden("Ana").await, internet.hidden("Ben").await);
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    ana.engine.stop_share(&share.id).await.expect("stopped");
    let id = ben.open(&share.code).await.expect("an invite");
    assert_eq!(ben.failed(&id).await.code, ProblemCode::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_the_dht_off_and_on_counts_for_a_search_that_is_going_on() {
    let internet = Internet::new(NODES).await;
    let by_settings = |config: &mut passalong_engine::Config| {
        config.dht = None;
        config.dht_addresses = false;
    };
    let (ana, ben) = (
        internet.hidden("Ana").await,
        internet.person_with("Ben", by_settings).await,
    );
    let switch = async |dht| {
        let settings = ben.engine.snapshot().await.settings;
        let saved = ben.engine.save_settings(Settings { dht, ..settings });
        saved.await.expect("kept");
    };
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let away = ana.close().await;
    let id = ben.open(&share.code).await.expect("an invite");
    let is = |state| move |t: &TransferView| carrier(t, Carrier::Dht) == Some(state);
    ben.transfer_until(&id, is(CarrierState::Trying)).await;
    switch(false).await;
    ben.transfer_until(&id, is(CarrierState::Unavailable)).await;
    switch(true).await;
    ben.transfer_until(&id, is(CarrierState::Trying)).await;
    let _ana = away.open().await;
    ben.accept(&id).await;
    ben.done(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_says_whether_the_dht_answers_is_silent_or_switched_off() {
    let internet = Internet::new(NODES).await;
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address").to_string();
    let off = |config: &mut passalong_engine::Config| config.dht = Some(false);
    let nowhere = |config: &mut passalong_engine::Config| config.dht_bootstrap = Some(vec![silent]);
    for (person, level, words) in [
        (internet.person("Ana").await, FindingLevel::Good, "answers."),
        (
            internet.person_with("Ben", nowhere).await,
            FindingLevel::Notice,
            "does not answer.",
        ),
        (
            internet.person_with("Cleo", off).await,
            FindingLevel::Notice,
            "not looked for",
        ),
    ] {
        let checkup = person.engine.check_connection().await;
        let found = checkup.findings.iter().find(|f| f.topic == Topic::Dht);
        let found = found.expect("it is looked at");
        assert_eq!(found.level, level, "{found:?}");
        assert!(found.title.contains(words), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dht_that_is_switched_off_is_not_asked_and_shown_as_such() {
    let internet = Internet::new(NODES).await;
    let off = |config: &mut passalong_engine::Config| config.dht = Some(false);
    let (ana, ben) = (
        internet.person("Ana").await,
        internet.person_with("Ben", off).await,
    );
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let id = ben.open(&share.code).await.expect("an invite");
    let shown = |t: &TransferView| carrier(t, Carrier::Dht) == Some(CarrierState::Unavailable);
    ben.transfer_until(&id, shown).await;
}
