//! What people and other programs do to a destination: never a wrong file.

use std::io::Write;

use super::*;
use crate::source::Reader;

#[test]
fn a_destination_that_was_moved_is_told_and_everything_is_found_where_it_is_now() {
    let mut desk = Desk::new(&[
        ("Set/begun.bin", pieces_and_a_half(1, 3)),
        ("Set/whole.bin", pieces_and_a_half(2, 1)),
        ("Set/small.txt", noise(3, 10)),
    ]);
    desk.receive(&[(0, 0), (0, 2), (1, 0), (1, 1), (2, 0)]);
    let moved = desk.home.path().join("Elsewhere");
    fs::rename(&desk.root, &moved).unwrap();
    let mut running = desk.start();
    let problem = running.failed();
    assert!(problem.message.contains("no longer there"), "{problem:?}");
    assert!(problem.remedy.contains("choose where it is now"));
    running.close();
    assert!(!desk.root.exists());

    desk.root = moved;
    change_behind_the_stamp(&desk.partial(0), 0);
    let mut running = desk.start();
    let checked = running.checked();
    assert_eq!(checked.present(), [1, 2]);
    // By content: the record speaks of files at another place.
    assert_eq!(checked.pieces(0), [2]);
    running.complete(0);
    assert!(running.finish());
    running.close();
    assert_eq!(desk.read("Set/begun.bin"), desk.files[0].1);
    assert_eq!(desk.visible(), ["Set"]);
}

#[cfg(unix)]
#[test]
fn a_partial_file_replaced_by_a_link_a_folder_or_nothing_is_begun_anew() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 1))]);
    let own = desk.write("own.bin", &noise(9, 3000));
    let replace: [&dyn Fn(&Path); 4] = [
        &|_| {},
        &|path| std::os::unix::fs::symlink(&own, path).unwrap(),
        &|path| fs::hard_link(&own, path).unwrap(),
        &|path| fs::create_dir(path).unwrap(),
    ];
    for replace in replace {
        desk.receive(&[(0, 0)]);
        fs::remove_file(desk.partial(0)).unwrap();
        replace(&desk.partial(0));
        let mut running = desk.start();
        assert_eq!(running.checked().pieces(0), [0u32; 0]);
        running.complete(0);
        running.close();
        assert_eq!(desk.read("a.bin"), desk.files[0].1);
        assert_eq!(fs::read(&own).unwrap(), noise(9, 3000));
        fs::remove_file(desk.here("a.bin")).unwrap();
    }
}

#[test]
fn a_partial_file_edited_while_it_is_written_never_gets_the_final_name() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2))]);
    // Before the last piece is written, and the time of the edit hidden by it.
    let mut running = desk.start();
    running.checked();
    running.receive(&[(0, 0), (0, 1)]);
    change(&desk.partial(0), 5);
    running.send(0, 2);
    let problem = running.failed();
    assert!(problem.message.contains("0.part"), "{problem:?}");
    running.close();
    assert_eq!(desk.visible(), [""; 0]);

    let mut running = desk.start();
    assert_eq!(running.checked().pieces(0), [1, 2]);
    running.complete(0);
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
}

#[test]
fn a_partial_file_touched_while_it_is_written_is_read_again_and_kept_if_it_is_right() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2))]);
    let mut running = desk.start();
    running.checked();
    running.receive(&[(0, 0), (0, 1)]);
    let file = fs::File::options().write(true).open(desk.partial(0));
    let touched = std::time::SystemTime::UNIX_EPOCH;
    file.unwrap().set_modified(touched).unwrap();
    assert_eq!(running.receive(&[(0, 2)]), [desk.here("a.bin")]);
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
}

#[test]
fn a_longer_file_in_the_place_of_a_partial_one_is_cut_to_size() {
    let desk = Desk::new(&[("a.txt", noise(1, 10))]);
    let mut running = desk.start();
    running.checked();
    fs::write(desk.partial(0), noise(2, 5000)).unwrap();
    running.receive(&[(0, 0)]);
    running.close();
    assert_eq!(desk.read("a.txt"), desk.files[0].1);
}

#[test]
fn a_destination_that_vanishes_while_files_come_is_told_with_what_to_do() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 1))]);
    let mut running = desk.start();
    running.checked();
    running.receive(&[(0, 0)]);
    fs::rename(&desk.root, desk.home.path().join("Moved")).unwrap();
    running.send(0, 1);
    let problem = running.failed();
    assert!(problem.message.contains("no longer there"), "{problem:?}");
    running.close();
}

#[test]
fn a_hidden_folder_that_is_no_folder_is_told() {
    let desk = Desk::new(&[("a.bin", noise(1, 10))]);
    let hidden = desk.partial(0).parent().unwrap().to_owned();
    fs::write(&hidden, b"in the way").unwrap();
    let mut running = desk.start();
    let problem = running.failed();
    assert!(problem.message.contains(ID), "{problem:?}");
    running.close();
    assert_eq!(fs::read(hidden).unwrap(), b"in the way");
}

/// A whole file with two names, as between the two steps of publishing, and
/// records from before its last piece.
#[cfg(unix)]
fn cut_off_while_publishing() -> Desk {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 1))]);
    desk.receive(&[(0, 0)]);
    let rows = desk.rows();
    desk.receive(&[(0, 1)]);
    fs::hard_link(desk.here("a.bin"), desk.partial(0)).unwrap();
    desk.store.put_files(ID, &rows).unwrap();
    desk
}

#[cfg(unix)]
#[test]
fn a_publishing_that_was_cut_off_half_way_is_completed_without_touching_the_file() {
    let desk = cut_off_while_publishing();
    let mut running = desk.start();
    assert_eq!(running.checked().present(), [0]);
    assert!(running.finish());
    running.close();
    assert_eq!(desk.visible(), ["a.bin"]);
    assert!(!desk.partial(0).exists());
}

#[cfg(unix)]
#[test]
fn a_file_edited_under_its_final_name_is_not_written_to_through_a_second_name() {
    let desk = cut_off_while_publishing();
    let mut file = fs::File::options()
        .write(true)
        .open(desk.here("a.bin"))
        .unwrap();
    file.write_all(b"a person's own words").unwrap();
    drop(file);
    let edited = desk.read("a.bin");
    let mut running = desk.start();
    let checked = running.checked();
    assert!(checked.present.is_empty());
    assert_eq!(checked.pieces(0), [1]);
    assert_eq!(running.complete(0), [desk.here("a (1).bin")]);
    running.close();
    assert_eq!(desk.read("a.bin"), edited);
    assert_eq!(desk.read("a (1).bin"), desk.files[0].1);
}

#[test]
fn pieces_can_be_read_from_a_partial_file_and_on_after_it_got_its_name() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 1)), ("b", noise(2, 9))]);
    let mut running = desk.start();
    running.checked();
    let piece = |entry, piece| PieceRef { entry, piece };
    let mut reader = Reader::default();
    assert!(running.shelf.hashes(0).is_none());
    assert!(running.shelf.read(&mut reader, piece(0, 0)).is_err());
    running.receive(&[(0, 0)]);
    let first = &desk.files[0].1[..PIECE_LEN as usize];
    let second = &desk.files[0].1[PIECE_LEN as usize..];
    let shelf = Arc::clone(&running.shelf);
    assert_eq!(
        &*shelf.hashes(0).unwrap(),
        hashes(&desk.files[0].1).pieces()
    );
    assert_eq!(shelf.read(&mut reader, piece(0, 0)).unwrap(), first);
    running.receive(&[(0, 1), (1, 0)]);
    assert_eq!(shelf.read(&mut reader, piece(0, 1)).unwrap(), second);
    let mut late = Reader::default();
    assert_eq!(shelf.read(&mut late, piece(0, 0)).unwrap(), first);
    assert_eq!(shelf.read(&mut late, piece(1, 0)).unwrap(), desk.files[1].1);
    running.close();
    let mut again = desk.start();
    again.checked();
    assert_eq!(again.shelf.read(&mut late, piece(0, 0)).unwrap(), first);
    again.close();
}

#[test]
fn what_does_not_verify_is_not_written() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 1)), ("b", noise(2, 9))]);
    let mut running = desk.start();
    running.checked();
    running.resume(0);
    for entry in 0..2 {
        let piece = PieceRef { entry, piece: 0 };
        let bytes = Bytes::from(noise(8, if entry == 0 { PIECE_LEN as usize } else { 9 }));
        running.jobs.send(Job::Store { piece, bytes }).unwrap();
        match running.results.blocking_recv().unwrap() {
            Done::Rejected { piece: rejected } => assert_eq!(rejected, piece),
            other => panic!("{other:?}"),
        }
        assert!(!desk.partial(entry).exists());
    }
    running.close();
}
