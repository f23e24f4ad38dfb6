#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use passalong_proto::invite::{Invite, InviteSecret};
use passalong_proto::keys::{DeviceId, ShareKey};
use passalong_proto::knock::DeviceName;
use passalong_proto::manifest::{Manifest, SignedManifest};
use passalong_proto::tree::{FileHasher, FileHashes, PIECE_LEN};

use super::*;
use crate::api::{Audience, Direction, HistoryEntry, Outcome, Selection};
use crate::sink::Held;
use crate::source::{Hashed, Stamp};

fn open(dir: &Path) -> Store {
    let (store, told) = Store::open(dir).unwrap();
    assert_eq!(told, None);
    store
}

fn share(seed: u8) -> StoredShare {
    StoredShare {
        key: ShareKey::from_seed([seed; 32]),
        name: "Holiday photos".to_owned(),
        paths: vec![PathBuf::from("/a b"), PathBuf::from("/c")],
        audience: Audience::OnePerson,
        created_at: 7,
        stopped: false,
        paused: true,
    }
}

#[test]
fn settings_of_an_earlier_version_are_read_and_carry_for_nobody() {
    let mut old = serde_json::to_value(Settings::default()).unwrap();
    old.as_object_mut().unwrap().remove("carry").unwrap();
    let read: Settings = serde_json::from_value(old).unwrap();
    assert_eq!(read, Settings::default());
    assert!(!read.carry);
}

#[test]
fn what_is_kept_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let (key, name) = (store.device_key().unwrap(), store.device_name().unwrap());
    let settings = Settings {
        lan: false,
        ..Settings::default()
    };
    store.set_settings(&settings).unwrap();
    store.put_share(&share(1)).unwrap();
    drop(store);
    let (store, told) = Store::open(dir.path()).unwrap();
    assert_eq!(told, None);
    assert_eq!(store.device_key().unwrap().public(), key.public());
    assert_eq!(store.device_name().unwrap(), name);
    assert_eq!(store.settings().unwrap(), settings);
    let kept = store.shares().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].paths, share(1).paths);
    assert_eq!(kept[0].audience, Audience::OnePerson);
    assert!(kept[0].paused && !kept[0].stopped);
}

#[cfg(unix)]
#[test]
fn keys_and_passwords_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("data");
    let (store, _) = Store::open(&dir).unwrap();
    store.device_key().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for child in fs::read_dir(&dir).unwrap() {
        let path = child.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_second_holder_is_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _held = Store::open(dir.path()).unwrap();
    let problem = Store::open(dir.path()).err().unwrap();
    assert!(
        problem
            .message
            .contains(&format!("process {}", std::process::id()))
    );
}

fn download(seed: u8) -> StoredDownload {
    StoredDownload {
        invite: Invite::new(
            InviteSecret::from_bytes([seed; 12]),
            ["192.0.2.1:4000".parse().unwrap()],
        ),
        destination: PathBuf::from("/home/ben/Down loads"),
        chosen: Selection::Only {
            entries: vec![0, 7, 249_999],
        },
        state: DownloadState::Paused,
        pass_on: true,
        one_person: false,
        created_at: u64::from(seed),
        finished_at: None,
        seconds: 12.5,
    }
}

fn hashes(pieces: usize) -> Arc<FileHashes> {
    let mut hasher = FileHasher::new();
    hasher.update(&vec![7; pieces * PIECE_LEN as usize]);
    Arc::new(hasher.finish())
}

fn file(entry: u32, pieces: usize) -> StoredFile {
    let mut held = Held::none(pieces as u32);
    held.insert(0);
    StoredFile {
        entry,
        path: Path::new(&format!("/somewhere/{entry}.part")).into(),
        stamp: Stamp::new(5, Some(1_700_000_000_123_456_789)),
        hashes: hashes(pieces).into(),
        held,
        whole: false,
        boot: Some("this run".to_owned()),
    }
}

fn person(seed: u8) -> StoredPerson {
    StoredPerson {
        device: DeviceId([seed; 32]),
        name: DeviceName::new("Ben"),
        met_at: u64::from(seed),
        addresses: vec![
            "192.0.2.1:4000".parse().unwrap(),
            "[2001:db8::1]:5".parse().unwrap(),
        ],
        sharer: false,
    }
}

fn history_entry(number: u64) -> HistoryEntry {
    HistoryEntry {
        id: "abc".to_owned(),
        name: format!("Set {number}"),
        direction: Direction::Received,
        outcome: Outcome::Cancelled,
        people: vec!["Ana".to_owned(), "Ben, the \"other\"".to_owned()],
        files: 3,
        bytes: number,
        at: 77,
    }
}

#[test]
fn downloads_are_there_after_a_restart_in_every_state() {
    let dir = tempfile::tempdir().unwrap();
    let states = [
        DownloadState::Offered,
        DownloadState::Accepted,
        DownloadState::Paused,
        DownloadState::Done,
        DownloadState::Declined,
        DownloadState::Cancelled,
    ];
    let all: Vec<StoredDownload> = (1..)
        .zip(states)
        .map(|(seed, state)| StoredDownload {
            state,
            finished_at: (state == DownloadState::Done).then_some(99),
            chosen: match state {
                DownloadState::Offered => Selection::All,
                _ => download(seed).chosen,
            },
            ..download(seed)
        })
        .collect();
    let store = open(dir.path());
    for download in &all {
        store.put_download(download).unwrap();
    }
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.downloads().unwrap(), all);
    let changed = StoredDownload {
        state: DownloadState::Accepted,
        seconds: f64::NAN,
        ..download(1)
    };
    store.put_download(&changed).unwrap();
    let kept = store.downloads().unwrap();
    assert_eq!(kept.len(), all.len());
    assert_eq!(kept[0].state, DownloadState::Accepted);
    assert_eq!(kept[0].seconds, 0.0);
}

#[test]
fn a_removed_download_leaves_nothing_behind_and_others_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = ShareKey::from_seed([3; 32]);
    let signed = SignedManifest::sign(&key, &Manifest::new("Set", Vec::new()).unwrap()).unwrap();
    let ids = [download(1).id(), download(2).id()];
    for seed in [1, 2] {
        let id = download(seed).id();
        store.put_download(&download(seed)).unwrap();
        store.put_manifest(&id, &signed).unwrap();
        store.put_files(&id, &[file(0, 2)]).unwrap();
        store.remember_people(&id, &[person(5)]).unwrap();
    }
    store.remove_download(&ids[0]).unwrap();
    let counts = ids.map(|id| {
        (
            store.manifest(&id).unwrap().is_some(),
            store.files(&id).unwrap().len(),
            store.people(&id).unwrap().len(),
        )
    });
    assert_eq!(counts, [(false, 0, 0), (true, 1, 1)]);
    assert_eq!(store.downloads().unwrap(), [download(2)]);
    let count = |table: &str| -> i64 {
        let query = format!("SELECT count(*) FROM {table}");
        store
            .lock()
            .query_row(&query, [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(count("file_hashes"), 1);
}

#[test]
fn a_manifest_is_given_back_as_it_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = ShareKey::from_seed([3; 32]);
    let manifest = Manifest::new("Set", Vec::new()).unwrap();
    let signed = SignedManifest::sign(&key, &manifest).unwrap();
    assert_eq!(store.manifest("abc").unwrap(), None);
    store.put_manifest("abc", &signed).unwrap();
    let kept = store.manifest("abc").unwrap().unwrap();
    assert_eq!(kept.open(&key.secret()).unwrap(), manifest);
}

#[test]
fn files_are_kept_with_their_pieces_and_hashes_and_changed_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let whole = StoredFile {
        held: Held::all(1),
        whole: true,
        boot: None,
        ..file(9, 1)
    };
    store
        .put_files("abc", &[file(3, 11), whole.clone()])
        .unwrap();
    store.put_files("other", &[file(3, 2)]).unwrap();
    let mut more = file(3, 11);
    more.held.insert(10);
    more.stamp = Stamp::new(6, Some(-1));
    store.put_files("abc", &[more.clone()]).unwrap();
    assert_eq!(store.files("abc").unwrap(), [more, whole]);
    store.remove_file("abc", 3).unwrap();
    assert_eq!(store.files("abc").unwrap().len(), 1);
    store.remove_files("abc").unwrap();
    assert!(store.files("abc").unwrap().is_empty());
    assert_eq!(store.files("other").unwrap(), [file(3, 2)]);
}

#[test]
fn hashes_of_another_content_take_the_place_of_the_earlier_ones() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.put_files("abc", &[file(3, 2)]).unwrap();
    store.put_files("abc", &[file(3, 5)]).unwrap();
    assert_eq!(store.files("abc").unwrap(), [file(3, 5)]);
}

#[test]
fn a_file_that_changed_since_is_not_settled() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.put_files("abc", &[file(1, 2), file(2, 2)]).unwrap();
    let other = Stamp::new(5, Some(4));
    store
        .settle_files("abc", &[(1, file(1, 2).stamp), (2, other)])
        .unwrap();
    let boots: Vec<_> = store
        .files("abc")
        .unwrap()
        .into_iter()
        .map(|file| file.boot)
        .collect();
    assert_eq!(boots, [None, Some("this run".to_owned())]);
}

#[test]
fn hashes_of_shared_files_are_kept_until_others_take_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let hashed = |entry: u32, pieces: usize| {
        let hashes = hashes(pieces);
        Hashed {
            entry,
            path: Path::new(&format!("/a/{entry}")).into(),
            stamp: Stamp::new(hashes.size(), Some(4)),
            root: hashes.root(),
            hashes: hashes.pieces().into(),
        }
    };
    let files = [hashed(0, 1), hashed(4, 3)];
    store.put_share_files("abc", &files).unwrap();
    assert_eq!(store.share_files("abc").unwrap(), files);
    store.put_share_files("abc", &files[1..]).unwrap();
    assert_eq!(store.share_files("abc").unwrap(), files[1..]);
}

#[test]
fn the_people_met_last_are_remembered_and_no_more_than_64() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let many: Vec<StoredPerson> = (1..=100).map(person).collect();
    store.remember_people("abc", &many).unwrap();
    let known = store.people("abc").unwrap();
    assert_eq!(known.len(), 64);
    assert_eq!(known[0], person(100));
    assert_eq!(known[63], person(37));
    let again = StoredPerson {
        met_at: 1000,
        addresses: Vec::new(),
        ..person(40)
    };
    store
        .remember_people("abc", std::slice::from_ref(&again))
        .unwrap();
    let known = store.people("abc").unwrap();
    assert_eq!((known.len(), &known[0]), (64, &again));
    assert!(store.people("other").unwrap().is_empty());
}

#[test]
fn who_made_a_share_is_remembered_over_who_was_met_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(came_from(&store, "abc"), None);
    let id = |seed: u8| Some(DeviceId([seed; 32]).short());
    let from = || came_from(&store, "abc").map(|from| from.id);
    store
        .remember_people("abc", &[person(1), person(2)])
        .unwrap();
    assert_eq!(from(), id(2));
    let maker = StoredPerson {
        sharer: true,
        ..person(1)
    };
    store.remember_people("abc", &[maker]).unwrap();
    assert_eq!(from(), id(1));
    // Met again before they showed it anew.
    store
        .remember_people("abc", &[person(1), person(3)])
        .unwrap();
    assert_eq!(from(), id(1));
    assert_eq!(came_from(&store, "other"), None);
}

#[test]
fn a_name_is_not_forgotten_when_somebody_is_known_by_hearsay_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let named = |name: &str| StoredPerson {
        name: DeviceName::new(name),
        ..person(1)
    };
    let kept = |name: &str| {
        store.remember_people("abc", &[named(name)]).unwrap();
        store.people("abc").unwrap().remove(0).name
    };
    assert_eq!(kept("Ana"), DeviceName::new("Ana"));
    assert_eq!(kept(""), DeviceName::new("Ana"));
    assert_eq!(kept("Anna"), DeviceName::new("Anna"));
}

#[test]
fn history_is_told_latest_first_and_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..1010 {
        store.add_history(&history_entry(number)).unwrap();
    }
    let latest = store.history(2).unwrap();
    assert_eq!(latest, [history_entry(1009), history_entry(1008)]);
    let all = store.history(u32::MAX).unwrap();
    assert_eq!(all.len(), 1000);
    assert_eq!(all[999], history_entry(10));
    store.clear_history().unwrap();
    assert!(store.history(u32::MAX).unwrap().is_empty());
}

#[test]
fn rows_that_make_no_sense_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for seed in 1..=4 {
        store.put_share(&share(seed)).unwrap();
        store.put_download(&download(seed)).unwrap();
        store.remember_people("abc", &[person(seed)]).unwrap();
        store.add_history(&history_entry(seed.into())).unwrap();
        store.put_files("abc", &[file(seed.into(), 3)]).unwrap();
    }
    let hashed = Hashed {
        entry: 0,
        path: Path::new("/a").into(),
        stamp: Stamp::new(hashes(2).size(), Some(4)),
        root: hashes(2).root(),
        hashes: hashes(2).pieces().into(),
    };
    store.put_share_files("abc", &[hashed]).unwrap();
    let spoil = |queries: &[&str]| {
        for query in queries {
            assert_eq!(store.lock().execute(query, []).unwrap(), 1, "{query}");
        }
    };
    let own = |seed| share(seed).key.secret().id();
    spoil(&[
        &format!("UPDATE share SET created_at = -5 WHERE id = '{}'", own(1)),
        &format!(
            "UPDATE share SET name = CAST(x'ff' AS TEXT) WHERE id = '{}'",
            own(2)
        ),
        &format!(
            "UPDATE download SET link = 'nonsense' WHERE id = '{}'",
            download(1).id()
        ),
        &format!(
            "UPDATE download SET state = 'flying' WHERE id = '{}'",
            download(2).id()
        ),
        &format!(
            "UPDATE download SET chosen = x'010203' WHERE id = '{}'",
            download(3).id()
        ),
        "UPDATE person SET addresses = '1.2.3.4' WHERE met_at = 1",
        "UPDATE person SET device = x'00' WHERE met_at = 2",
        "UPDATE history SET outcome = 'eaten' WHERE bytes = 1",
        "UPDATE history SET people = '{' WHERE bytes = 2",
        "UPDATE history SET files = -1 WHERE bytes = 3",
        "UPDATE file SET pieces = x'ffff' WHERE entry = 1",
        "UPDATE file SET path = x'00' WHERE entry = 2",
        "UPDATE file_hashes SET hashes = zeroblob(96) WHERE entry = 3",
        "UPDATE share_file SET hashes = zeroblob(64)",
    ]);
    assert_eq!(store.shares().unwrap().len(), 2);
    assert_eq!(store.downloads().unwrap(), [download(4)]);
    assert_eq!(store.people("abc").unwrap(), [person(4), person(3)]);
    assert_eq!(store.history(9).unwrap(), [history_entry(4)]);
    assert_eq!(store.files("abc").unwrap(), [file(4, 3)]);
    assert!(store.share_files("abc").unwrap().is_empty());
}

#[test]
fn what_the_first_version_kept_is_carried_over() {
    let dir = tempfile::tempdir().unwrap();
    let connection = Connection::open(dir.path().join(FILE)).unwrap();
    connection.execute_batch(schema::MIGRATIONS[0]).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    let key = ShareKey::from_seed([4; 32]);
    connection
        .execute(
            "INSERT INTO share (id, seed, name, paths, audience, created_at, stopped)
             VALUES (?1, ?2, 'Holiday', x'2f61002f62', 'anyone', 12, 1)",
            params![key.secret().id(), key.seed()],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO value VALUES ('device_name', 'Quiet Heron')",
            [],
        )
        .unwrap_err();
    connection
        .execute("INSERT INTO value VALUES ('device_key', zeroblob(32))", [])
        .unwrap();
    drop(connection);
    let store = open(dir.path());
    assert_eq!(store.device_key().unwrap().seed(), [0; 32]);
    let kept = store.shares().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].key.seed(), key.seed());
    assert_eq!(kept[0].paths, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert!(kept[0].stopped && !kept[0].paused);
    store.put_download(&download(1)).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).downloads().unwrap(), [download(1)]);
}

#[test]
fn a_file_that_is_no_database_or_of_a_newer_version_is_set_aside_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let nonsense = b"this is no database, and long enough to be read as one";
    fs::write(dir.path().join(FILE), nonsense).unwrap();
    let (store, told) = Store::open(dir.path()).unwrap();
    assert!(told.unwrap().contains("unreadable-1"));
    let aside = dir.path().join("passalong.sqlite.unreadable-1");
    assert_eq!(fs::read(aside).unwrap(), nonsense);
    store.put_share(&share(1)).unwrap();
    store
        .lock()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(store);
    let (store, told) = Store::open(dir.path()).unwrap();
    assert!(told.unwrap().contains("newer version"));
    assert!(store.shares().unwrap().is_empty());
    let aside = dir.path().join("passalong.sqlite.unreadable-2");
    let kept = Connection::open(aside).unwrap();
    let shares: i64 = kept
        .query_row("SELECT count(*) FROM share", [], |row| row.get(0))
        .unwrap();
    assert_eq!(shares, 1);
}

/// Fills a store so that it has many pages, and overwrites some in the middle.
fn spoil_the_middle(path: &Path) {
    let mut spoiled = fs::File::options().write(true).open(path).unwrap();
    let length = spoiled.metadata().unwrap().len();
    assert!(length > 40 * 4096);
    spoiled
        .seek(SeekFrom::Start(length / 2 / 4096 * 4096))
        .unwrap();
    spoiled.write_all(&[0xa5; 4 * 4096]).unwrap();
    spoiled.sync_all().unwrap();
}

fn fill(store: &Store) {
    for number in 0..900 {
        let mut entry = history_entry(number);
        entry.name = "x".repeat(500);
        store.add_history(&entry).unwrap();
    }
}

#[test]
fn a_database_spoiled_in_its_middle_is_set_aside_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    drop(store);
    spoil_the_middle(&dir.path().join(FILE));
    let (store, told) = Store::open(dir.path()).unwrap();
    assert!(told.unwrap().contains("damaged"));
    assert!(store.history(9).unwrap().is_empty());
    store.put_share(&share(1)).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).shares().unwrap().len(), 1);
}

#[test]
fn a_database_that_is_spoiled_while_it_is_in_use_gives_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fill(&store);
    {
        let connection = store.lock();
        let moved: i64 = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .unwrap();
        assert_eq!(moved, 0, "everything is in the file");
        // Else what was read before would be remembered.
        connection.pragma_update(None, "cache_size", 0).unwrap();
        connection.execute_batch("PRAGMA shrink_memory").unwrap();
    }
    spoil_the_middle(&dir.path().join(FILE));
    let problem = store.history(u32::MAX).unwrap_err();
    assert!(problem.message.contains("malformed"), "{problem:?}");
    // What is elsewhere in the file is still there.
    store.put_share(&share(1)).unwrap();
    assert_eq!(store.shares().unwrap().len(), 1);
    drop(store);
    let (_, told) = Store::open(dir.path()).unwrap();
    assert!(told.unwrap().contains("damaged"));
}

#[test]
fn changes_that_were_half_written_are_undone_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.put_share(&share(1)).unwrap();
    store.put_share(&share(2)).unwrap();
    // As it would be found if the program ended now, in the middle of a write.
    let left = tempfile::tempdir().unwrap();
    for name in [FILE.to_owned(), format!("{FILE}-wal")] {
        fs::copy(dir.path().join(&name), left.path().join(&name)).unwrap();
    }
    let wal = left.path().join(format!("{FILE}-wal"));
    let length = fs::metadata(&wal).unwrap().len();
    let torn = fs::File::options().write(true).open(&wal).unwrap();
    torn.set_len(length - 100).unwrap();
    drop(torn);
    let store = open(left.path());
    let kept = store.shares().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].key.seed(), share(1).key.seed());
    store.put_share(&share(2)).unwrap();
    assert_eq!(store.shares().unwrap().len(), 2);
}
