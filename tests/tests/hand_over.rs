//! The main job: files go from one person to another, whole and unchanged.

use std::fs;

use passalong_engine::api::{Audience, PersonState, Route, ShareState, TransferState};
use passalong_tests::{Person, bytes, tree};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_arrives_whole_with_empty_things_and_times() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    ana.write("Photos/sea.jpg", &bytes(1, 3_500_000));
    ana.write("Photos/notes/märz – 你好.txt", b"short");
    ana.write("Photos/notes/nothing.txt", b"");
    ana.write("Photos/exact.bin", &bytes(2, 2 << 20));
    fs::create_dir_all(ana.path("Photos/empty/inner")).expect("folders");
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let sea = fs::File::options()
        .write(true)
        .open(ana.path("Photos/sea.jpg"))
        .expect("open");
    sea.set_modified(old).expect("a time");

    let share = ana.share(&[ana.path("Photos")]).await;
    assert_eq!((share.files, share.bytes), (4, 3_500_000 + 5 + (2 << 20)));
    let transfer = ben.get(&share.link).await;
    let TransferState::Done { files, bytes, .. } = transfer.state else {
        panic!("{:?}", transfer.state)
    };
    assert_eq!((files, bytes), (4, share.bytes));
    assert_eq!(transfer.from.map(|from| from.name), Some("Ana".to_owned()));
    assert_eq!(
        tree(&ben.downloads().join("Photos")),
        tree(&ana.path("Photos"))
    );
    let arrived = fs::metadata(ben.downloads().join("Photos/sea.jpg")).expect("metadata");
    assert_eq!(arrived.modified().expect("a time"), old);
    assert_eq!(
        tree(&ben.downloads()).len(),
        tree(&ana.path("Photos")).len() + 1,
        "nothing is left over"
    );

    let share = ana
        .share_until(&share.id, |s| {
            s.people.iter().any(|p| p.state == PersonState::Complete)
        })
        .await;
    assert_eq!(share.people.len(), 1);
    assert_eq!(share.people[0].device.name, "Ben");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_on_one_machine_is_the_same_network() {
    let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let id = ben.open(&share.link).await.expect("an invite");
    let offered = ben
        .transfer_until(&id, |t| t.state == TransferState::Offered)
        .await;
    assert_eq!(offered.route, Some(Route::SameNetwork));
    assert_eq!(offered.name.as_deref(), Some("a.txt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pastes_early_sees_the_list_long_before_it_is_hashed() {
    let ana = Person::with("Ana", |config| config.hash_rate = Some(1 << 20)).await;
    let ben = Person::new("Ben").await;
    // Holes cost no disk, but have to be hashed like anything else.
    let length = 6 << 30;
    let file = fs::File::create(ana.path("large.img")).expect("a file");
    file.set_len(length).expect("a length");
    let paths = vec![ana.path("large.img")];
    let id = ana
        .engine
        .share(paths, None, Audience::Anyone)
        .await
        .expect("a share");
    let share = ana.share_until(&id, |_| true).await;
    let is_preparing = |state: &ShareState| matches!(state, ShareState::Preparing { .. });
    assert!(is_preparing(&share.state), "the invite comes first");
    let early = ben.open(&share.link).await.expect("an invite");
    let offered = ben
        .transfer_until(&early, |t| t.state == TransferState::Offered)
        .await;
    assert_eq!(offered.bytes, length);
    let share = ana.share_until(&id, |_| true).await;
    assert!(is_preparing(&share.state), "an hour and a half of it");
    ben.engine.decline(&early).await.expect("declined");
    ana.share_until(&id, |s| {
        s.people.iter().any(|p| p.state == PersonState::Declined)
    })
    .await;
}
