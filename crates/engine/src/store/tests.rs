#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use passalong_proto::keys::ShareKey;

use super::*;
use crate::api::Audience;

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

#[test]
fn a_damaged_or_newer_file_is_set_aside_and_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join(FILE),
        b"this is no database, and long enough to be read as one",
    )
    .unwrap();
    let (store, told) = Store::open(dir.path()).unwrap();
    assert!(told.unwrap().contains("unreadable-1"));
    store
        .lock()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    drop(store);
    let (_store, told) = Store::open(dir.path()).unwrap();
    assert!(told.unwrap().contains("newer version"));
    assert!(dir.path().join("passalong.sqlite.unreadable-2").exists());
}
