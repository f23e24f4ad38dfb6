//! The app is closed and opened again: what was going on goes on, what was done
//! is passed on, and whatever happened to the disk in between costs no more than
//! what it touched.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use passalong_engine::api::{
    Id, PersonState, Presence, ProblemCode, ShareState, ShareView, TransferState, TransferView,
};
use passalong_tests::{Person, bytes, is_done, is_over, tree};

const MIB: u64 = 1 << 20;
const LENGTH: usize = 40 << 20;

/// Bytes that are verified and on disk, wherever the transfer stands.
fn held(transfer: &TransferView) -> u64 {
    match &transfer.state {
        TransferState::Receiving { progress }
        | TransferState::Stalled { progress, .. }
        | TransferState::Paused { progress } => progress.bytes,
        TransferState::Done { bytes, .. } => *bytes,
        _ => 0,
    }
}

/// Ana shares a file, slowly, and Ben has a part of it.
async fn midway() -> (Person, Person, ShareView, Id, u64) {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    ana.limit_upload(Some(8 * MIB)).await;
    let share = ana.share(&[ana.write("big.bin", &bytes(7, LENGTH))]).await;
    let id = ben.begin(&share.link).await;
    let part = ben.transfer_until(&id, |t| held(t) >= 6 * MIB).await;
    assert!(!is_done(&part), "it came faster than the limit allows");
    let part = held(&part);
    (ana, ben, share, id, part)
}

/// The partial file of a person's only unfinished transfer.
fn partial(home: &Path) -> PathBuf {
    let mut found = fs::read_dir(home.join("Downloads"))
        .expect("a folder")
        .map(|child| child.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "partial"));
    found.next().expect("a partial folder").join("0.part")
}

async fn arrives(ben: &Person, id: &str) -> TransferView {
    let done = ben.done(id).await;
    let here = fs::read(Path::new(&done.destination.path).join("big.bin"));
    assert!(here.expect("a file") == bytes(7, LENGTH));
    let all = tree(Path::new(&done.destination.path));
    assert_eq!(all.len(), 1, "nothing is left over");
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_download_goes_on_by_itself_where_it_was() {
    let (ana, ben, _, id, part) = midway().await;
    let ben = ben.restart().await;
    assert!(!ben.downloads().join("big.bin").exists());
    let first = ben.transfer_until(&id, |t| held(t) > 0).await;
    assert!(held(&first) >= part, "{} after {part}", held(&first));
    ana.limit_upload(None).await;
    arrives(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_may_have_been_closed_and_it_still_goes_on_by_itself() {
    let (ana, ben, share, id, part) = midway().await;
    let (ana, ben) = (ana.restart().await, ben.restart().await);
    ana.share_until(&share.id, |s| s.state == ShareState::Ready)
        .await;
    let first = ben.transfer_until(&id, |t| held(t) > 0).await;
    assert!(held(&first) >= part, "{} after {part}", held(&first));
    ana.limit_upload(None).await;
    arrives(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_finished_is_passed_on_again_without_the_sharer() {
    let (ana, ben, cleo) = (
        Person::new("Ana").await,
        Person::new("Ben").await,
        Person::new("Cleo").await,
    );
    let share = ana.share(&[ana.write("big.bin", &bytes(7, LENGTH))]).await;
    let done = ben.get(&share.link).await;
    ana.engine.shutdown().await;
    let ben = ben.restart().await;
    let again = ben
        .transfer_until(&done.id, |t| is_done(t) && t.passing_on)
        .await;
    let got = cleo.get(&again.link).await;
    arrives(&cleo, &got.id).await;
    ben.transfer_until(&done.id, |t| {
        t.people
            .iter()
            .any(|p| p.device.name == "Cleo" && p.state == PersonState::Complete)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_all_here_any_more_is_not_passed_on() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("big.bin", &bytes(7, LENGTH))]).await;
    let done = ben.get(&share.link).await;
    let ben = ben
        .restart_after(|home| {
            fs::write(home.join("Downloads/big.bin"), b"Ben's own now").expect("written");
        })
        .await;
    let view = ben
        .transfer_until(&done.id, |t| is_done(t) && !t.passing_on)
        .await;
    assert!(view.problems.is_empty(), "{:?}", view.problems);
    let here = fs::read(ben.downloads().join("big.bin")).expect("a file");
    assert_eq!(here, b"Ben's own now", "it is his, and is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paused_stays_paused_until_the_person_goes_on() {
    let (ana, ben, share, id, _) = midway().await;
    ben.engine.pause(&id).await.expect("paused");
    let ben = ben.restart().await;
    // Linked again, and still nothing is asked for.
    ana.share_until(&share.id, |s| {
        s.people.iter().any(|p| p.presence == Presence::Connected)
    })
    .await;
    let paused = ben
        .transfer_until(&id, |t| {
            matches!(t.state, TransferState::Paused { .. }) && t.route.is_some()
        })
        .await;
    let still = ben
        .transfer_until(&id, |t| t.people.iter().any(|p| p.device.name == "Ana"))
        .await;
    assert!(matches!(still.state, TransferState::Paused { .. }));
    assert_eq!(held(&still), held(&paused));
    ana.limit_upload(None).await;
    ben.engine.resume(&id).await.expect("resumed");
    arrives(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_share_stays_paused_until_the_person_goes_on() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("big.bin", &bytes(7, LENGTH))]).await;
    ana.engine.pause(&share.id).await.expect("paused");
    let ana = ana.restart().await;
    let again = ana
        .share_until(&share.id, |s| s.state == ShareState::Ready)
        .await;
    assert!(again.paused);
    let id = ben.begin(&again.link).await;
    let waiting = ben.transfer_until(&id, |t| matches!(t.state, TransferState::Stalled { .. }));
    assert_eq!(held(&waiting.await), 0);
    ana.engine.resume(&share.id).await.expect("resumed");
    arrives(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_here_under_other_names_are_copied_and_counted() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    for number in 0..340 {
        let content = bytes(number, 2000 + number as usize);
        ana.write(&format!("Set/{number}.bin"), &content);
        if number < 312 {
            ben.write(
                &format!("Downloads/Old pictures/{number} (old).dat"),
                &content,
            );
        }
    }
    let share = ana.share(&[ana.path("Set")]).await;
    let done = ben.get(&share.link).await;
    let TransferState::Done {
        files,
        already_here,
        ..
    } = done.state
    else {
        panic!("{:?}", done.state)
    };
    assert_eq!((files, already_here), (340, 312));
    assert_eq!(tree(&ben.downloads().join("Set")), tree(&ana.path("Set")));
    let old = tree(&ben.downloads().join("Old pictures"));
    assert_eq!(old.len(), 312, "what was there is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_moved_is_told_and_goes_on_where_it_is_now() {
    let (ana, ben, _, id, part) = midway().await;
    let ben = ben
        .restart_after(|home| {
            fs::rename(home.join("Downloads"), home.join("Moved")).expect("moved");
        })
        .await;
    let failed = ben.transfer_until(&id, |t| is_over(&t.state)).await;
    let TransferState::Failed {
        problem,
        can_retry: true,
    } = failed.state
    else {
        panic!("{:?}", failed.state)
    };
    assert_eq!(problem.code, ProblemCode::Disk);
    assert!(problem.message.contains("Downloads"), "{problem:?}");
    assert!(problem.remedy.contains("moved"), "{problem:?}");
    assert!(!ben.downloads().exists(), "nothing is begun anew there");
    let set = ben.engine.set_destination(&id, ben.path("Moved")).await;
    set.expect("set");
    ben.engine.retry(&id).await.expect("tried again");
    let first = ben.transfer_until(&id, |t| held(t) > 0).await;
    assert!(held(&first) >= part, "{} after {part}", held(&first));
    ana.limit_upload(None).await;
    arrives(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_partial_file_costs_what_was_edited() {
    let (ana, ben, share, id, part) = midway().await;
    ana.engine.pause(&share.id).await.expect("paused");
    let ben = ben
        .restart_after(|home| {
            let mut file = File::options()
                .write(true)
                .open(partial(home))
                .expect("a partial file");
            // Something of every piece that may be here but the first.
            for piece in 1..LENGTH as u64 / MIB {
                file.seek(SeekFrom::Start(piece * MIB + 1000))
                    .expect("sought");
                file.write_all(b"edited").expect("written");
            }
        })
        .await;
    let first = ben
        .transfer_until(&id, |t| {
            matches!(
                t.state,
                TransferState::Receiving { .. } | TransferState::Stalled { .. }
            )
        })
        .await;
    assert!(held(&first) < part, "edited pieces do not count");
    ana.limit_upload(None).await;
    ana.engine.resume(&share.id).await.expect("resumed");
    arrives(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_or_missing_partial_file_costs_what_is_missing() {
    for length in [Some(3 * MIB + 5), Some(0), None] {
        let (ana, ben, _, id, _) = midway().await;
        let ben = ben
            .restart_after(|home| {
                let path = partial(home);
                match length {
                    Some(length) => File::options()
                        .write(true)
                        .open(path)
                        .and_then(|file| file.set_len(length))
                        .expect("truncated"),
                    None => fs::remove_file(path).expect("removed"),
                }
            })
            .await;
        ana.limit_upload(None).await;
        arrives(&ben, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_place_of_the_partial_file_is_not_written_through() {
    let (ana, ben, _, id, _) = midway().await;
    let ben = ben
        .restart_after(|home| {
            let path = partial(home);
            fs::remove_file(&path).expect("removed");
            fs::write(home.join("elsewhere"), b"untouched").expect("a file");
            std::os::unix::fs::symlink(home.join("elsewhere"), path).expect("a link");
        })
        .await;
    ana.limit_upload(None).await;
    arrives(&ben, &id).await;
    let elsewhere = fs::read(ben.path("elsewhere")).expect("a file");
    assert_eq!(elsewhere, b"untouched");
}

/// What happens to the records, and what is said of it.
fn spoil(home: &Path, how: &str) {
    let path = home.join("data/passalong.sqlite");
    let file = File::options().write(true).open(path).expect("records");
    match how {
        "rubbish" => file.write_all_at(&bytes(3, 40_000), 0).expect("written"),
        "cut off" => file.set_len(5000).expect("cut off"),
        // The user version of an SQLite file is at byte 60, big-endian.
        _ => file
            .write_all_at(&9999u32.to_be_bytes(), 60)
            .expect("written"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_damaged_or_too_new_are_set_aside_and_files_left_alone() {
    for how in ["rubbish", "cut off", "a newer version"] {
        let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
        ana.write("Set/a.bin", &bytes(1, 3_000_000));
        ana.write("Set/b.txt", b"hello");
        let share = ana.share(&[ana.path("Set")]).await;
        let before = tree(&ana.path("Set"));
        let mut spoilt = Vec::new();
        let ana = ana
            .restart_after(|home| {
                spoil(home, how);
                spoilt = fs::read(home.join("data/passalong.sqlite")).expect("records");
            })
            .await;
        let told = ana.engine.told().unwrap_or_default().to_owned();
        assert!(told.contains("kept as"), "{how}: {told}");
        assert!(told.contains("files were not touched"), "{how}: {told}");
        let aside = fs::read_dir(ana.path("data")).expect("a folder");
        let mut aside = aside.map(|child| fs::read(child.expect("an entry").path()));
        assert!(
            aside.any(|content| content.is_ok_and(|content| content == spoilt)),
            "{how}: what was there is kept as it was"
        );
        assert_eq!(tree(&ana.path("Set")), before, "{how}");
        assert!(ana.engine.snapshot().await.shares.is_empty(), "{how}");
        let again = ana.share(&[ana.path("Set")]).await;
        assert_ne!(again.code, share.code, "{how}");
        let done = ben.get(&again.link).await;
        assert!(is_done(&done), "{how}: {:?}", done.state);
        // And from now on without a word.
        let ana = ana.restart().await;
        assert_eq!(ana.engine.told(), None, "{how}");
        ana.share_until(&again.id, |s| s.state == ShareState::Ready)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_whose_records_are_lost_uses_what_is_on_disk_all_the_same() {
    let (ana, ben, share, id, _) = midway().await;
    let ben = ben.restart_after(|home| spoil(home, "rubbish")).await;
    assert!(ben.engine.told().is_some());
    assert!(ben.engine.snapshot().await.transfers.is_empty());
    ana.limit_upload(None).await;
    let again = ben.open(&share.link).await.expect("an invite");
    assert_eq!(again, id);
    ben.accept(&id).await;
    arrives(&ben, &id).await;
}
