//! What the disk can do to a hand-over: sources that change, destinations that
//! are full of surprises, work that was begun before.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use passalong_engine::api::{ProblemCode, Selection, ShareView, TransferState};
use passalong_tests::{Person, bytes, is_over, tree};

#[tokio::test(flavor = "multi_thread")]
async fn links_special_files_and_odd_names_are_left_out_and_listed() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    ana.write("Mix/good.txt", b"good");
    ana.write("Mix/con.txt", b"reserved elsewhere");
    symlink("/etc/passwd", ana.path("Mix/link")).expect("a link");
    symlink("/etc", ana.path("Mix/linked folder")).expect("a link");
    let socket = std::os::unix::net::UnixListener::bind(ana.path("Mix/socket")).expect("a socket");
    let odd = ana
        .path("Mix")
        .join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    fs::write(odd, b"odd").expect("a file");
    let share = ana.share(&[ana.path("Mix")]).await;
    drop(socket);
    assert_eq!(share.skipped_total, 5, "{:?}", share.skipped);
    ben.get(&share.link).await;
    let arrived = tree(&ben.downloads());
    assert_eq!(arrived.keys().collect::<Vec<_>>(), ["Mix", "Mix/good.txt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_vanish_or_change_are_told_and_the_rest_arrives() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    ana.write("Set/stays.bin", &bytes(1, 3 << 20));
    let gone = ana.write("Set/gone.bin", &bytes(2, 2 << 20));
    let changed = ana.write("Set/changed.txt", b"as it was");
    let share = ana.share(&[ana.path("Set")]).await;
    fs::remove_file(gone).expect("removed");
    fs::write(changed, b"something else").expect("changed");
    let done = ben.get(&share.link).await;
    assert!(
        matches!(done.state, TransferState::Done { files: 1, .. }),
        "{:?}",
        done.state
    );
    let mut told: Vec<_> = done.problems.iter().map(|p| p.path.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["Set/changed.txt", "Set/gone.bin"]);
    let arrived = tree(&ben.downloads());
    assert_eq!(arrived.keys().collect::<Vec<_>>(), ["Set", "Set/stays.bin"]);
    ana.share_until(&share.id, |s| s.skipped_total == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_never_overwritten_and_links_are_never_followed() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    ana.write("Set/a.txt", b"from Ana");
    ana.write("Set/sub/b.txt", b"also from Ana");
    let share = ana.share(&[ana.path("Set")]).await;
    ben.write("Downloads/Set/a.txt", b"Ben's own");
    fs::create_dir(ben.path("elsewhere")).expect("a folder");
    symlink(ben.path("elsewhere"), ben.path("Downloads/Set/sub")).expect("a link");
    ben.get(&share.link).await;
    let here = |name: &str| fs::read(ben.path(name)).expect("a file");
    assert_eq!(here("Downloads/Set/a.txt"), b"Ben's own");
    assert_eq!(here("Downloads/Set/a (1).txt"), b"from Ana");
    assert_eq!(here("Downloads/Set/sub (1)/b.txt"), b"also from Ana");
    assert_eq!(tree(&ben.path("elsewhere")).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_already_here_are_kept_and_counted() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    ana.write("Set/one.bin", &bytes(1, 2_500_000));
    ana.write("Set/two.bin", &bytes(2, 1000));
    let share = ana.share(&[ana.path("Set")]).await;
    ben.write("Downloads/Set/one.bin", &bytes(1, 2_500_000));
    let done = ben.get(&share.link).await;
    assert!(matches!(
        done.state,
        TransferState::Done {
            files: 2,
            already_here: 1,
            ..
        }
    ));
    assert_eq!(tree(&ben.downloads()).len(), 3, "nothing was doubled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_brings_only_what_was_chosen() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    ana.write("Set/one.txt", b"one");
    ana.write("Set/sub/two.txt", b"two");
    let share = ana.share(&[ana.path("Set")]).await;
    // The bare code has no address to knock at; the link, pasted later, does.
    let first = ben
        .open(&share.code.replace('-', " ").to_lowercase())
        .await
        .expect("an invite");
    let id = ben
        .open(&format!("here you go: {} !", share.link))
        .await
        .expect("an invite");
    assert_eq!(first, id);
    ben.transfer_until(&id, |t| t.state == TransferState::Offered)
        .await;
    let entries = ben.engine.entries(&id).await.expect("the list");
    let two = entries
        .iter()
        .find(|e| e.path == "Set/sub/two.txt")
        .expect("listed")
        .index;
    ben.engine
        .accept(&id, Selection::Only { entries: vec![two] })
        .await
        .expect("accepted");
    ben.transfer_until(&id, |t| is_over(&t.state)).await;
    let arrived = tree(&ben.downloads());
    assert_eq!(
        arrived.keys().collect::<Vec<_>>(),
        ["Set", "Set/sub", "Set/sub/two.txt"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_unfit_destination_is_told_with_a_remedy_and_can_be_mended() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let id = ben.look(&share.link).await;
    ben.engine
        .set_destination(&id, ben.path("nowhere"))
        .await
        .expect("set");
    ben.accept(&id).await;
    let failed = ben.transfer_until(&id, |t| is_over(&t.state)).await;
    let TransferState::Failed {
        problem,
        can_retry: true,
    } = failed.state
    else {
        panic!("{:?}", failed.state)
    };
    assert_eq!(problem.code, ProblemCode::Disk);
    assert!(problem.message.contains("nowhere"), "{problem:?}");
    fs::create_dir(ben.path("nowhere")).expect("a folder");
    ben.engine.retry(&id).await.expect("tried again");
    ben.transfer_until(&id, |t| matches!(t.state, TransferState::Done { .. }))
        .await;
    assert_eq!(
        fs::read(ben.path("nowhere/a.txt")).expect("a file"),
        b"hello"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_come_back_under_the_same_code_and_downloads_go_on_where_they_were() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let path = ana.write("big.bin", &bytes(7, 300 << 20));
    let share = ana.share(std::slice::from_ref(&path)).await;
    let id = ben.begin(&share.link).await;
    ben.receiving(&id, 20 << 20).await;
    let (ana, ben) = (ana.restart().await, ben.restart().await);
    assert!(!ben.downloads().join("big.bin").exists());
    let again = ana.share(std::slice::from_ref(&path)).await;
    assert_eq!(again.code, share.code);
    let first = ben.receiving(&id, 0).await;
    let TransferState::Receiving { progress } = first.state else {
        panic!("{:?}", first.state)
    };
    assert!(
        progress.bytes >= 20 << 20,
        "it began again from {}",
        progress.bytes
    );
    ben.transfer_until(&id, |t| matches!(t.state, TransferState::Done { .. }))
        .await;
    assert!(fs::read(ben.downloads().join("big.bin")).expect("a file") == bytes(7, 300 << 20));
}

/// Ana changes her only file, comes back and shares it again under the same code.
async fn shared_anew(ana: Person, share: &ShareView, path: PathBuf) -> (Person, ShareView) {
    fs::write(&path, b"second thoughts").expect("changed");
    let ana = ana.restart().await;
    let again = ana.share(&[path]).await;
    assert_eq!(again.code, share.code);
    (ana, again)
}

/// Ben is offered the changed file, accepts it and has it.
async fn gets_it_anew(ben: &Person, id: &str) {
    ben.transfer_until(id, |t| t.state == TransferState::Offered && t.bytes == 15)
        .await;
    ben.accept(id).await;
    ben.done(id).await;
    let here = fs::read(ben.downloads().join("note.txt")).expect("a file");
    assert_eq!(here, b"second thoughts");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_changed_and_shared_again_are_offered_anew() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let path = ana.write("note.txt", b"first");
    let share = ana.share(std::slice::from_ref(&path)).await;
    let id = ben.look(&share.link).await;
    let (_ana, again) = shared_anew(ana, &share, path).await;
    ben.open(&again.link).await.expect("the new address");
    // Nothing was chosen yet, so the new list takes the place of the old one.
    gets_it_anew(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_after_they_were_chosen_are_told_and_offered_anew() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let path = ana.write("note.txt", b"first");
    let share = ana.share(std::slice::from_ref(&path)).await;
    ana.engine.pause(&share.id).await.expect("paused");
    let id = ben.begin(&share.link).await;
    ana.share_until(&share.id, |s| s.people.iter().any(|p| p.total == 5))
        .await;
    let (ana, again) = shared_anew(ana, &share, path).await;
    ana.engine.resume(&again.id).await.expect("resumed");
    ben.open(&again.link).await.expect("the new address");
    let problem = ben.failed(&id).await;
    assert_eq!(problem.code, ProblemCode::Stopped, "{problem:?}");
    ben.engine.retry(&id).await.expect("tried again");
    gets_it_anew(&ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_the_row_of_a_failed_transfer_removes_what_is_unfinished() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana
        .share(&[ana.write("big.bin", &bytes(3, 200 << 20))])
        .await;
    let id = ben.begin(&share.link).await;
    ben.receiving(&id, 0).await;
    ana.engine.stop_share(&share.id).await.expect("stopped");
    ben.transfer_until(&id, |t| matches!(t.state, TransferState::Failed { .. }))
        .await;
    assert_eq!(
        tree(&ben.downloads()).len(),
        2,
        "kept, in case of another try"
    );
    ben.engine.forget(&id).await.expect("removed");
    assert_eq!(tree(&ben.downloads()).len(), 0);
    assert!(ben.engine.snapshot().await.transfers.is_empty());
}
