//! What is in the destination already is not fetched.

use super::*;

#[test]
fn the_same_content_under_another_name_is_copied_into_place_and_left_alone() {
    let desk = Desk::new(&[
        ("Set/large.bin", pieces_and_a_half(1, 2)),
        ("Set/small.txt", noise(2, 10)),
        ("Set/absent.txt", noise(3, 10)),
    ]);
    let large = desk.write("deep/down/other name.dat", &desk.files[0].1);
    let small = desk.write("renamed", &desk.files[1].1);
    desk.write("same size.txt", &noise(4, 10));
    let before = fs::metadata(&large).unwrap().modified().unwrap();
    let mut running = desk.start();
    let checked = running.checked();
    assert_eq!(checked.present(), [0, 1]);
    assert_eq!(checked.copied, 2);
    assert!(checked.resumed.is_empty());
    running.receive(&[(2, 0)]);
    assert!(running.finish());
    running.close();
    for (name, bytes) in &desk.files {
        assert_eq!(desk.read(name), *bytes);
        let modified = fs::metadata(desk.here(name)).unwrap().modified().unwrap();
        let millis = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(millis.as_millis() as i64, MODIFIED);
    }
    assert_eq!(fs::read(&large).unwrap(), desk.files[0].1);
    assert_eq!(fs::metadata(&large).unwrap().modified().unwrap(), before);
    assert_eq!(fs::read(small).unwrap(), desk.files[1].1);
    assert_eq!(desk.visible(), ["Set", "deep", "renamed", "same size.txt"]);
}

#[cfg(unix)]
#[test]
fn a_copy_has_the_permissions_of_a_received_file() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new(&[("a", noise(1, 10)), ("b", noise(2, 10))]);
    let script = desk.write("script", &desk.files[0].1);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o500)).unwrap();
    let mut running = desk.start();
    assert_eq!(running.checked().copied, 1);
    running.receive(&[(1, 0)]);
    running.close();
    let mode = |name| fs::metadata(desk.here(name)).unwrap().permissions().mode();
    assert_eq!(mode("a"), mode("b"));
}

#[test]
fn content_under_its_right_name_is_kept_even_if_it_had_to_be_numbered() {
    let desk = Desk::new(&[("Set/a.txt", noise(1, 10)), ("b.txt", noise(2, 10))]);
    desk.write("Set/a.txt", b"own words!");
    desk.receive(&[(0, 0), (1, 0)]);
    assert_eq!(desk.read("Set/a (1).txt"), desk.files[0].1);
    desk.store.remove_files(ID).unwrap();
    let mut running = desk.start();
    let checked = running.checked();
    assert_eq!(checked.present(), [0, 1]);
    assert_eq!(checked.copied, 0);
    assert!(running.finish());
    running.close();
    assert_eq!(fs::read_dir(desk.here("Set")).unwrap().count(), 2);
    assert_eq!(desk.visible(), ["Set", "b.txt"]);
}

#[test]
fn files_of_one_content_are_copied_from_the_one_that_is_here() {
    let bytes = pieces_and_a_half(1, 1);
    let desk = Desk::new(&[("a.bin", bytes.clone()), ("sub/b.bin", bytes)]);
    desk.receive(&[(0, 0), (0, 1)]);
    let mut running = desk.start();
    let checked = running.checked();
    assert_eq!(checked.present(), [0, 1]);
    assert_eq!(checked.copied, 1);
    running.close();
    assert_eq!(desk.read("sub/b.bin"), desk.files[1].1);
}

#[test]
fn a_file_that_was_begun_is_completed_from_one_that_is_here() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2))]);
    desk.receive(&[(0, 1)]);
    desk.write("elsewhere.bin", &desk.files[0].1);
    let mut running = desk.start();
    let checked = running.checked();
    assert_eq!(checked.present(), [0]);
    assert!(checked.resumed.is_empty());
    assert!(running.finish());
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
    assert!(!desk.partial(0).parent().unwrap().exists());
}

#[cfg(unix)]
#[test]
fn links_and_unfinished_files_of_other_shares_are_not_taken_for_files() {
    use std::os::unix::fs::symlink;
    let desk = Desk::new(&[("a.bin", noise(1, 100)), ("sub/b.bin", noise(2, 100))]);
    let outside = desk.home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("a"), &desk.files[0].1).unwrap();
    fs::write(outside.join("b.bin"), &desk.files[1].1).unwrap();
    symlink(outside.join("a"), desk.here("linked")).unwrap();
    symlink(&outside, desk.here("sub")).unwrap();
    desk.write(".passalong-fedcba.partial/0.part", &desk.files[0].1);
    let mut running = desk.start();
    let checked = running.checked();
    assert!(checked.present.is_empty());
    running.receive(&[(1, 0)]);
    running.close();
    assert_eq!(desk.read("sub (1)/b.bin"), desk.files[1].1);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 2);
}

#[test]
fn empty_files_are_made_where_they_are_missing_and_kept_where_they_are() {
    let desk = Desk::new(&[("a", Vec::new()), ("b", Vec::new()), ("c", Vec::new())]);
    desk.write("b", b"");
    desk.write("other empty file", b"");
    let mut running = desk.start();
    let checked = running.checked();
    assert_eq!(checked.present(), [0, 1, 2]);
    assert_eq!(checked.copied, 0);
    assert!(running.finish());
    running.close();
    assert_eq!(desk.visible(), ["a", "b", "c", "other empty file"]);
}

#[test]
fn looking_stops_when_it_is_cancelled_and_nothing_recorded_is_lost() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2))]);
    desk.receive(&[(0, 0), (0, 1)]);
    change(&desk.partial(0), PIECE_LEN as usize + 5);
    let rows = desk.rows();
    let turn = desk.store.writer(ID);
    let running = desk.start();
    running.cancelled.store(true, Ordering::Relaxed);
    drop(turn);
    running.close();
    assert_eq!(desk.rows(), rows);
    let mut running = desk.start();
    assert_eq!(running.checked().pieces(0), [0]);
    running.close();
}
