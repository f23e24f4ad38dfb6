//! A share that is still being hashed: what is hashed can be had already, whoever is
//! closed meanwhile goes on where they were, and files that change are told of.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use passalong_engine::api::{
    Audience, Id, PersonState, Selection, ShareState, TransferState, TransferView,
};
use passalong_tests::{Person, bytes, is_over, tree};

const MIB: u64 = 1 << 20;
const LENGTH: usize = 24 << 20;
/// Bytes that the sharer hashes in a second: seconds pass before the list is whole.
const RATE: u64 = 4 * MIB;

/// Somebody whose disk is slow.
async fn slow(name: &str) -> Person {
    Person::with(name, |config| config.hash_rate = Some(RATE)).await
}

/// Shares, and gives the share's id and link at once.
async fn drop_files(ana: &Person, paths: &[PathBuf], audience: Audience) -> (Id, String) {
    let shared = ana.engine.share(paths.to_vec(), None, audience).await;
    let id = shared.expect("a share");
    let share = ana.share_until(&id, |_| true).await;
    (id, share.link)
}

/// Opens the invite, and accepts some of it as soon as it is offered.
async fn accept(ben: &Person, link: &str, selection: Selection) -> Id {
    let id = ben.open(link).await.expect("an invite");
    ben.transfer_until(&id, |t| t.state == TransferState::Offered)
        .await;
    let accepted = ben.engine.accept(&id, selection).await;
    accepted.expect("accepted");
    id
}

async fn is_hashing(ana: &Person, id: &str) -> bool {
    let share = ana.share_until(id, |_| true).await;
    matches!(share.state, ShareState::Preparing { done_bytes, total_bytes } if done_bytes < total_bytes)
}

/// Bytes that are verified and on disk.
fn held(transfer: &TransferView) -> u64 {
    match &transfer.state {
        TransferState::Receiving { progress } | TransferState::Stalled { progress, .. } => {
            progress.bytes
        }
        TransferState::Done { bytes, .. } => *bytes,
        _ => 0,
    }
}

async fn holds(ben: &Person, id: &str, least: u64) -> u64 {
    let view = ben.transfer_until(id, |t| held(t) >= least).await;
    held(&view)
}

async fn done(ben: &Person, id: &str) -> TransferView {
    let over = ben.transfer_until(id, |t| is_over(&t.state)).await;
    let done = matches!(over.state, TransferState::Done { .. });
    assert!(done, "{:?}", over.state);
    over
}

#[tokio::test(flavor = "multi_thread")]
async fn first_bytes_arrive_while_the_sharer_still_hashes() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    ana.write("set/big.bin", &bytes(1, LENGTH));
    ana.write("set/empty", b"");
    for index in 0..30 {
        ana.write(&format!("set/small/{index}"), &bytes(index, 3000));
    }
    let (share, link) = drop_files(&ana, &[ana.path("set")], Audience::Anyone).await;
    let id = accept(&ben, &link, Selection::All).await;
    let some = holds(&ben, &id, MIB).await;
    assert!(is_hashing(&ana, &share).await, "{some} bytes came too late");
    assert!(!ben.downloads().join("set/big.bin").exists());
    let over = done(&ben, &id).await;
    assert!(over.problems.is_empty(), "{:?}", over.problems);
    assert_eq!(tree(&ben.downloads().join("set")), tree(&ana.path("set")));
    assert_eq!(tree(&ben.downloads()).len(), 1 + 1 + 1 + 1 + 30);
    ana.share_until(&share, |s| {
        s.state == ShareState::Ready && s.people.iter().all(|p| p.state == PersonState::Complete)
    })
    .await;
    // Whoever comes later gets it from either, by the whole list.
    let cleo = Person::new("Cleo").await;
    ana.engine.shutdown().await;
    let ben_link = ben.transfer_until(&id, |t| t.passing_on).await.link;
    cleo.get(&ben_link).await;
    assert_eq!(tree(&cleo.downloads()), tree(&ben.downloads()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_chosen_file_is_here_before_the_others_are_hashed() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    ana.write("set/a.bin", &bytes(1, 6 << 20));
    ana.write("set/b.bin", &bytes(2, LENGTH));
    let (share, link) = drop_files(&ana, &[ana.path("set")], Audience::OnePerson).await;
    let entries = vec![1];
    let id = accept(&ben, &link, Selection::Only { entries }).await;
    done(&ben, &id).await;
    assert!(fs::read(ben.downloads().join("set/a.bin")).expect("a file") == bytes(1, 6 << 20));
    assert!(!ben.downloads().join("set/b.bin").exists());
    ana.share_until(&share, |s| s.state == ShareState::Delivered)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_closed_before_the_list_is_whole_goes_on_where_it_was() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    let content = bytes(3, LENGTH);
    let (share, link) = drop_files(&ana, &[ana.write("big.bin", &content)], Audience::Anyone).await;
    let id = accept(&ben, &link, Selection::All).await;
    let part = holds(&ben, &id, 6 * MIB).await;
    let ben = ben.restart().await;
    assert!(is_hashing(&ana, &share).await, "it was hashed too soon");
    let first = holds(&ben, &id, 1).await;
    assert!(first >= part, "{first} after {part}");
    done(&ben, &id).await;
    assert_eq!(tree(&ben.downloads())["big.bin"], Some(content));
    assert_eq!(tree(&ben.downloads()).len(), 1, "nothing is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_missed_the_whole_list_takes_it_over_when_it_comes_back() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    ana.write("set/a.bin", &bytes(4, LENGTH));
    ana.write("set/z", &bytes(5, 9000));
    let (share, link) = drop_files(&ana, &[ana.path("set")], Audience::Anyone).await;
    let id = accept(&ben, &link, Selection::All).await;
    let part = holds(&ben, &id, 6 * MIB).await;
    let ben = ben.close().await;
    ana.share_until(&share, |s| s.state == ShareState::Ready)
        .await;
    let ben = ben.open().await;
    let first = holds(&ben, &id, 1).await;
    assert!(first >= part, "{first} after {part}");
    done(&ben, &id).await;
    assert_eq!(tree(&ben.downloads().join("set")), tree(&ana.path("set")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharer_that_is_closed_while_it_hashes_begins_again_and_receivers_go_on() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    ana.write("set/a.bin", &bytes(6, 6 << 20));
    ana.write("set/b.bin", &bytes(7, LENGTH));
    let (share, link) = drop_files(&ana, &[ana.path("set")], Audience::Anyone).await;
    let id = accept(&ben, &link, Selection::All).await;
    let part = holds(&ben, &id, 10 * MIB).await;
    assert!(is_hashing(&ana, &share).await, "it was hashed too soon");
    let ana = ana.restart().await;
    let over = done(&ben, &id).await;
    assert!(held(&over) >= part);
    assert_eq!(tree(&ben.downloads().join("set")), tree(&ana.path("set")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_hashed_is_told_of_and_the_rest_arrives() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    ana.write("set/a.bin", &bytes(8, 6 << 20));
    let changing = ana.write("set/b.bin", &bytes(9, 16 << 20));
    ana.write("set/c.bin", &bytes(10, 2 << 20));
    let (share, link) = drop_files(&ana, &[ana.path("set")], Audience::Anyone).await;
    let id = accept(&ben, &link, Selection::All).await;
    // Some pieces of it are there by then.
    holds(&ben, &id, 9 * MIB).await;
    let mut file = File::options().append(true).open(&changing).expect("open");
    file.write_all(b"one line more").expect("written");
    drop(file);
    let over = done(&ben, &id).await;
    let told: Vec<&str> = over.problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(told, ["set/b.bin"]);
    let here = tree(&ben.downloads());
    assert_eq!(here["set/a.bin"], Some(bytes(8, 6 << 20)));
    assert_eq!(here["set/c.bin"], Some(bytes(10, 2 << 20)));
    assert_eq!(here.len(), 3, "{:?}", here.keys());
    let ready = ana
        .share_until(&share, |s| s.state == ShareState::Ready)
        .await;
    let skipped: Vec<&str> = ready.skipped.iter().map(|s| s.path.as_str()).collect();
    assert_eq!(skipped, ["set/b.bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_pass_on_what_is_hashed_while_the_sharer_is_away() {
    let (ana, ben, cleo) = (
        slow("Ana").await,
        Person::new("Ben").await,
        Person::new("Cleo").await,
    );
    let content = bytes(11, LENGTH);
    let (share, link) = drop_files(&ana, &[ana.write("big.bin", &content)], Audience::Anyone).await;
    let id = accept(&ben, &link, Selection::All).await;
    holds(&ben, &id, 8 * MIB).await;
    assert!(is_hashing(&ana, &share).await, "it was hashed too soon");
    let ana = ana.close().await;
    let part = ben.transfer_until(&id, |t| t.route.is_none()).await;
    let cleos = accept(&cleo, &part.link, Selection::All).await;
    let passed = holds(&cleo, &cleos, 8 * MIB).await;
    assert!(passed < LENGTH as u64, "nobody has all of it");
    assert!(!cleo.downloads().join("big.bin").exists());
    let _ana = ana.open().await;
    for (person, id) in [(&ben, &id), (&cleo, &cleos)] {
        done(person, id).await;
        assert_eq!(tree(&person.downloads())["big.bin"], Some(content.clone()));
    }
}
