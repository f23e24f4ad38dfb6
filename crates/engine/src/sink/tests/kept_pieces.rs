//! What was verified stays verified: by the record alone where nothing was
//! touched, by reading where it is in doubt.

use super::*;

/// The first byte of a piece.
fn at(piece: usize) -> usize {
    piece * PIECE_LEN as usize
}

#[test]
fn recorded_pieces_are_trusted_without_reading_them() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 4))]);
    desk.receive(&[(0, 3), (0, 1)]);
    change_behind_the_stamp(&desk.partial(0), at(1));
    let mut running = desk.start();
    let checked = running.checked();
    assert_eq!(checked.pieces(0), [1, 3]);
    assert_eq!(checked.resumed[0].hashes, Some(hashes(&desk.files[0].1)));
    assert_eq!(running.resume(0), [1, 3]);
    running.close();
}

#[test]
fn a_partial_file_that_somebody_edited_is_verified_again() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 4))]);
    desk.receive(&[(0, 0), (0, 1), (0, 3)]);
    change(&desk.partial(0), at(1));
    let mut running = desk.start();
    assert_eq!(running.checked().pieces(0), [0, 3]);
    running.complete(0);
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
}

#[test]
fn a_partial_file_that_was_cut_off_keeps_the_pieces_that_are_left() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 4))]);
    desk.receive(&[(0, 0), (0, 1), (0, 3)]);
    let file = fs::File::options().write(true).open(desk.partial(0));
    file.unwrap().set_len(at(1) as u64 + 7).unwrap();
    let mut running = desk.start();
    assert_eq!(running.checked().pieces(0), [0]);
    running.complete(0);
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
}

#[test]
fn pieces_written_after_the_last_record_are_found() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 4))]);
    desk.receive(&[(0, 0)]);
    let earlier = desk.rows();
    desk.receive(&[(0, 2), (0, 4)]);
    desk.store.put_files(ID, &earlier).unwrap();
    let mut running = desk.start();
    assert_eq!(running.checked().pieces(0), [0, 2, 4]);
    running.close();
    assert_eq!(desk.rows()[0].held.iter().collect::<Vec<_>>(), [0, 2, 4]);
}

#[test]
fn a_file_whose_last_piece_came_just_before_the_end_gets_its_name_at_the_next_start() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 1))]);
    desk.receive(&[(0, 0)]);
    let mut bytes = fs::read(desk.partial(0)).unwrap();
    bytes.extend_from_slice(&desk.files[0].1[at(1)..]);
    fs::write(desk.partial(0), bytes).unwrap();
    let mut running = desk.start();
    assert_eq!(running.checked().present(), [0]);
    assert!(running.finish());
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
    assert!(!desk.partial(0).parent().unwrap().exists());
}

#[test]
fn without_a_record_pieces_are_found_once_the_hashes_are_known() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 4))]);
    desk.receive(&[(0, 3), (0, 1)]);
    desk.store.remove_files(ID).unwrap();
    let mut running = desk.start();
    assert!(running.checked().resumed.is_empty());
    assert_eq!(running.resume(0), [1, 3]);
    running.close();
}

#[test]
fn what_was_not_settled_before_the_computer_was_restarted_is_verified_again() {
    let desk = Desk::new(&[
        ("begun.bin", pieces_and_a_half(1, 2)),
        ("whole.bin", pieces_and_a_half(2, 1)),
    ]);
    desk.receive(&[(0, 0), (0, 1), (1, 0), (1, 1)]);
    change_behind_the_stamp(&desk.partial(0), at(1));
    change_behind_the_stamp(&desk.here("whole.bin"), at(1));
    let mut rows = desk.rows();
    for boot in [Some("an earlier run"), Some("")] {
        for row in &mut rows {
            row.boot = boot.map(str::to_owned);
        }
        desk.store.put_files(ID, &rows).unwrap();
        let mut running = desk.start();
        let checked = running.checked();
        assert_eq!(checked.pieces(0), [0]);
        assert_eq!(checked.present(), [0u32; 0]);
        running.close();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_verified_after_the_computer_was_restarted_is_trusted_from_then_on() {
    let desk = Desk::new(&[
        ("begun.bin", pieces_and_a_half(1, 2)),
        ("whole.bin", pieces_and_a_half(2, 1)),
    ]);
    desk.receive(&[(0, 0), (1, 0), (1, 1)]);
    let mut rows = desk.rows();
    for row in &mut rows {
        row.boot = Some("an earlier run".to_owned());
    }
    desk.store.put_files(ID, &rows).unwrap();
    let mut running = desk.start();
    running.checked();
    // Before it is closed: reading them is what showed it.
    assert!(desk.rows().iter().all(|row| row.boot.is_none()));
    running.close();
    change_behind_the_stamp(&desk.partial(0), 0);
    change_behind_the_stamp(&desk.here("whole.bin"), 0);
    let mut running = desk.start();
    let checked = running.checked();
    assert_eq!(checked.pieces(0), [0]);
    assert_eq!(checked.present(), [1]);
    running.close();
}

#[test]
fn a_sink_that_is_closed_leaves_everything_settled_on_the_disk() {
    let desk = Desk::new(&[
        ("begun.bin", pieces_and_a_half(1, 2)),
        ("whole.bin", pieces_and_a_half(2, 1)),
        ("small.bin", noise(3, 10)),
    ]);
    desk.receive(&[(0, 2), (1, 0), (1, 1), (2, 0)]);
    let rows = desk.rows();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.boot.is_none()));
    assert_eq!(
        rows.iter().map(|row| row.whole).collect::<Vec<_>>(),
        [false, true, true]
    );
}

#[test]
fn what_is_verified_is_written_down_without_being_asked() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2))]);
    let mut running = desk.start();
    running.checked();
    running.receive(&[(0, 1)]);
    // Nothing tells of it, so it is looked for; the sink goes on meanwhile.
    let started = std::time::Instant::now();
    while desk.rows().is_empty() {
        assert!(started.elapsed().as_secs() < 30, "it never was");
        std::thread::yield_now();
    }
    assert_eq!(desk.rows()[0].held.iter().collect::<Vec<_>>(), [1]);
    assert!(!desk.rows()[0].whole);
    running.close();
}

#[test]
fn whole_files_are_trusted_by_size_and_time_and_read_when_these_differ() {
    let desk = Desk::new(&[("a.bin", noise(1, 100)), ("b.bin", noise(2, 100))]);
    desk.receive(&[(0, 0), (1, 0)]);
    change_behind_the_stamp(&desk.here("a.bin"), 5);
    change(&desk.here("b.bin"), 5);
    let mut running = desk.start();
    assert_eq!(running.checked().present(), [0]);
    let whole = running.receive(&[(1, 0)]);
    assert_eq!(whole, [desk.here("b (1).bin")]);
    running.close();
    assert_eq!(desk.read("b (1).bin"), desk.files[1].1);
}

#[test]
fn records_of_another_content_at_the_same_place_are_not_used() {
    let mut desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2)), ("b", noise(2, 9))]);
    desk.receive(&[(0, 0), (0, 1), (1, 0)]);
    desk.files[0].1 = pieces_and_a_half(3, 2);
    desk.files[1].1 = noise(4, 9);
    let mut running = desk.start();
    let checked = running.checked();
    assert!(checked.resumed.is_empty() && checked.present.is_empty());
    running.complete(0);
    running.receive(&[(1, 0)]);
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
    assert_eq!(desk.read("b (1)"), desk.files[1].1);
}

#[test]
fn more_unfinished_files_than_may_be_open_are_written_side_by_side() {
    const NAMES: [&str; 100] = {
        // Names are of no matter: equal ones are numbered.
        ["x.bin"; 100]
    };
    let files: Vec<_> = (0..100u8)
        .map(|seed| (NAMES[seed as usize], noise(seed, PIECE_LEN as usize + 1)))
        .collect();
    let desk = Desk::new(&files);
    let mut running = desk.start();
    running.checked();
    let first: Vec<(u32, u32)> = (0..100).map(|entry| (entry, 1)).collect();
    assert!(running.receive(&first).is_empty());
    for entry in 0..100 {
        running.send(entry, 0);
    }
    let mut whole = 0;
    while whole < 100 {
        if let Done::Whole { entry, path } = running.results.blocking_recv().unwrap() {
            assert_eq!(fs::read(path).unwrap(), files[entry as usize].1);
            whole += 1;
        }
    }
    running.close();
    assert_eq!(desk.visible().len(), 100);
}

#[test]
fn a_sink_waits_until_an_earlier_one_of_the_same_download_is_over() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2))]);
    let mut earlier = desk.start();
    earlier.checked();
    let mut later = desk.start();
    earlier.receive(&[(0, 2)]);
    earlier.close();
    assert_eq!(later.checked().pieces(0), [2]);
    later.close();
}

#[test]
fn a_cancelled_download_leaves_no_partial_files_and_no_records() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2)), ("b", noise(2, 9))]);
    let mut running = desk.start();
    running.checked();
    running.receive(&[(0, 0), (1, 0)]);
    running.discard();
    assert!(desk.rows().is_empty());
    assert!(!desk.partial(0).parent().unwrap().exists());
    assert_eq!(desk.visible(), ["b"]);
}

#[test]
fn a_file_that_will_not_come_is_forgotten() {
    let desk = Desk::new(&[("a.bin", pieces_and_a_half(1, 2)), ("b", noise(2, 9))]);
    desk.receive(&[(0, 0)]);
    let mut running = desk.start();
    running.checked();
    running.jobs.send(Job::Drop { entry: 0 }).unwrap();
    running.receive(&[(1, 0)]);
    assert!(!running.finish());
    running.close();
    assert_eq!(desk.rows().len(), 1);
    assert!(!desk.partial(0).exists());
}
