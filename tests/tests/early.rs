//! A share that is still being hashed: what is hashed can be had already, whoever is
//! closed meanwhile goes on where they were, and files that change are told of.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use passalong_engine::api::{
    Audience, Id, PersonState, ProblemCode, Selection, ShareState, TransferState, TransferView,
};
use passalong_proto::tree::PIECE_LEN;
use passalong_proto::wire::{Farewell, Message, PieceRef};
use passalong_tests::meeting::Meeting;
use passalong_tests::offering::{list, parts, send_piece};
use passalong_tests::{Person, bytes, tree};

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

#[tokio::test(flavor = "multi_thread")]
async fn first_bytes_arrive_while_the_sharer_still_hashes() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    ana.write("set/big.bin", &bytes(1, LENGTH));
    ana.write("set/empty", b"");
    for index in 0..30 {
        ana.write(&format!("set/small/{index}"), &bytes(index, 3000));
    }
    let (share, link) = drop_files(&ana, &[ana.path("set")], Audience::Anyone).await;
    let id = ben.begin(&link).await;
    let some = holds(&ben, &id, MIB).await;
    assert!(is_hashing(&ana, &share).await, "{some} bytes came too late");
    assert!(!ben.downloads().join("set/big.bin").exists());
    let over = ben.done(&id).await;
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
    let id = ben.look(&link).await;
    let accepted = ben.engine.accept(&id, Selection::Only { entries }).await;
    accepted.expect("accepted");
    ben.done(&id).await;
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
    let id = ben.begin(&link).await;
    let part = holds(&ben, &id, 6 * MIB).await;
    let ben = ben.restart().await;
    assert!(is_hashing(&ana, &share).await, "it was hashed too soon");
    let first = holds(&ben, &id, 1).await;
    assert!(first >= part, "{first} after {part}");
    ben.done(&id).await;
    assert_eq!(tree(&ben.downloads())["big.bin"], Some(content));
    assert_eq!(tree(&ben.downloads()).len(), 1, "nothing is left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_missed_the_whole_list_takes_it_over_when_it_comes_back() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    ana.write("set/a.bin", &bytes(4, LENGTH));
    ana.write("set/z", &bytes(5, 9000));
    let (share, link) = drop_files(&ana, &[ana.path("set")], Audience::Anyone).await;
    let id = ben.begin(&link).await;
    let part = holds(&ben, &id, 6 * MIB).await;
    let ben = ben.close().await;
    ana.share_until(&share, |s| s.state == ShareState::Ready)
        .await;
    let ben = ben.open().await;
    let first = holds(&ben, &id, 1).await;
    assert!(first >= part, "{first} after {part}");
    ben.done(&id).await;
    assert_eq!(tree(&ben.downloads().join("set")), tree(&ana.path("set")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharer_that_is_closed_while_it_hashes_begins_again_and_receivers_go_on() {
    let (ana, ben) = (slow("Ana").await, Person::new("Ben").await);
    ana.write("set/a.bin", &bytes(6, 6 << 20));
    ana.write("set/b.bin", &bytes(7, LENGTH));
    let (share, link) = drop_files(&ana, &[ana.path("set")], Audience::Anyone).await;
    let id = ben.begin(&link).await;
    let part = holds(&ben, &id, 10 * MIB).await;
    assert!(is_hashing(&ana, &share).await, "it was hashed too soon");
    let ana = ana.restart().await;
    let over = ben.done(&id).await;
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
    let id = ben.begin(&link).await;
    // Some pieces of it are there by then.
    holds(&ben, &id, 9 * MIB).await;
    let mut file = File::options().append(true).open(&changing).expect("open");
    file.write_all(b"one line more").expect("written");
    drop(file);
    let over = ben.done(&id).await;
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
    let id = ben.begin(&link).await;
    holds(&ben, &id, 8 * MIB).await;
    assert!(is_hashing(&ana, &share).await, "it was hashed too soon");
    let ana = ana.close().await;
    let part = ben.transfer_until(&id, |t| t.route.is_none()).await;
    let cleos = cleo.begin(&part.link).await;
    let passed = holds(&cleo, &cleos, 8 * MIB).await;
    assert!(passed < LENGTH as u64, "nobody has all of it");
    assert!(!cleo.downloads().join("big.bin").exists());
    let _ana = ana.open().await;
    for (person, id) in [(&ben, &id), (&cleo, &cleos)] {
        person.done(id).await;
        assert_eq!(tree(&person.downloads())["big.bin"], Some(content.clone()));
    }
}

/// Two pieces, and a file of one.
fn files() -> [(&'static str, Vec<u8>); 2] {
    let large = bytes(12, PIECE_LEN as usize + 5);
    [("large.bin", large), ("small.bin", bytes(13, 5000))]
}

/// Somebody accepted an opening list of these files, and waits for signed hashes.
async fn opened(ben: &Person) -> Meeting {
    let meeting = Meeting::new(ben, 1, &files()).await;
    let Meeting { offering, link, .. } = &meeting;
    link.send(&link.sharer_of(offering.key())).await;
    list(link, &offering.opening()).await;
    ben.accept(&meeting.id).await;
    let wanted = |message: &Message| matches!(message, Message::WantSignedHashes { from: 0 });
    link.heard("signed hashes to be asked for", |message| {
        wanted(message).then_some(())
    })
    .await;
    meeting
}

/// Says that the list is whole, and sends this one when it is asked for.
async fn complete(meeting: &Meeting, whole: &passalong_proto::manifest::SignedManifest) {
    let link = &meeting.link;
    link.send(&meeting.offering.listed(true)).await;
    link.heard("the whole list to be asked for", |message| {
        matches!(message, Message::WantManifest).then_some(())
    })
    .await;
    parts(link, whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharer_without_an_engine_gets_everything_across_by_signed_hashes() {
    let ben = Person::new("Ben").await;
    let meeting = opened(&ben).await;
    let Meeting { offering, link, .. } = &meeting;
    link.send(&offering.signed_hashes(0..3)).await;
    let mut left = 3;
    while left > 0 {
        let pieces = link
            .heard("pieces to be asked for", |message| match message {
                Message::Request { pieces } => Some(pieces.clone()),
                _ => None,
            })
            .await;
        left -= pieces.len();
        for piece in pieces {
            send_piece(link, piece, offering.piece(piece)).await;
        }
    }
    ben.done(&meeting.id).await;
    for (name, content) in files() {
        assert_eq!(tree(&ben.downloads())[name], Some(content));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_the_sharer_did_not_sign_end_the_link() {
    let ben = Person::new("Ben").await;
    let meeting = opened(&ben).await;
    let Message::SignedHashes {
        first,
        mut hashes,
        signature,
    } = meeting.offering.signed_hashes(0..3)
    else {
        unreachable!()
    };
    hashes.swap(0, 1);
    let forged = Message::SignedHashes {
        first,
        hashes,
        signature,
    };
    meeting.link.send(&forged).await;
    meeting.is_found_out(&ben, "forged hashes").await;
    assert!(!ben.downloads().join("large.bin").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_list_that_contradicts_what_was_signed_shows_nothing_of_it() {
    let ben = Person::new("Ben").await;
    let meeting = opened(&ben).await;
    let Meeting { offering, link, .. } = &meeting;
    link.send(&offering.signed_hashes(0..2)).await;
    let pieces = link
        .heard("pieces to be asked for", |message| match message {
            Message::Request { pieces } => Some(pieces.clone()),
            _ => None,
        })
        .await;
    let piece = PieceRef { entry: 0, piece: 1 };
    assert!(pieces.contains(&piece), "{pieces:?}");
    send_piece(link, piece, offering.piece(piece)).await;
    holds(&ben, &meeting.id, 5).await;
    let mut other = files();
    other[0].1 = bytes(14, PIECE_LEN as usize + 5);
    complete(&meeting, &offering.with(&other).signed()).await;
    let what = "a contradiction";
    let over = meeting
        .is_found_out_as(&ben, what, &[Farewell::Corrupt])
        .await;
    let problem = match over.state {
        TransferState::Failed { problem, can_retry } => (problem.code, can_retry),
        other => panic!("{other:?}"),
    };
    assert_eq!(problem, (ProblemCode::Corrupt, false));
    assert!(!ben.downloads().join("large.bin").exists());
}
