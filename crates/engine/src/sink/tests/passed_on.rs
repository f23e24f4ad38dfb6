//! What of a finished download can be passed on after a restart.

use super::*;
use crate::source::Reader;

/// The entries that are still here, and the shelf they are on.
fn shelve_again(desk: &Desk) -> (Vec<u32>, Arc<Shelf>) {
    let plan = desk.plan();
    let shelf = Arc::clone(&plan.shelf);
    let mut here: Vec<u32> = shelve(plan, Arc::new(AtomicBool::new(false)))
        .into_iter()
        .collect();
    here.sort_unstable();
    (here, shelf)
}

#[test]
fn what_a_person_did_to_a_finished_download_stands_and_the_rest_is_passed_on() {
    let desk = Desk::new(&[
        ("stays.bin", pieces_and_a_half(1, 1)),
        ("removed.txt", noise(2, 10)),
        ("renamed.txt", noise(3, 10)),
        ("edited.txt", noise(4, 10)),
        ("touched.txt", noise(5, 10)),
        ("empty.txt", Vec::new()),
    ]);
    desk.receive(&[(0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (4, 0)]);
    fs::remove_file(desk.here("removed.txt")).unwrap();
    fs::remove_file(desk.here("empty.txt")).unwrap();
    fs::rename(desk.here("renamed.txt"), desk.here("other.txt")).unwrap();
    change(&desk.here("edited.txt"), 3);
    change(&desk.here("touched.txt"), 3);
    change(&desk.here("touched.txt"), 3);
    change_behind_the_stamp(&desk.here("stays.bin"), 0);
    let before = desk.visible();
    let (here, shelf) = shelve_again(&desk);
    assert_eq!(here, [0, 4]);
    assert_eq!(desk.visible(), before);
    let read = |entry| shelf.read(&mut Reader::default(), PieceRef { entry, piece: 0 });
    assert_eq!(read(4).unwrap(), desk.files[4].1);
    assert!(read(1).is_err() && read(2).is_err() && read(3).is_err());
    assert_eq!(
        &*shelf.hashes(0).unwrap(),
        hashes(&desk.files[0].1).pieces()
    );
    // What was read is on record, and trusted from then on.
    change_behind_the_stamp(&desk.here("touched.txt"), 3);
    assert_eq!(shelve_again(&desk).0, [0, 4]);
}

#[test]
fn nothing_is_passed_on_of_a_download_whose_folder_is_gone() {
    let desk = Desk::new(&[("a.txt", noise(1, 10))]);
    desk.receive(&[(0, 0)]);
    let elsewhere = desk.home.path().join("elsewhere");
    fs::rename(&desk.root, &elsewhere).unwrap();
    assert_eq!(shelve_again(&desk).0, [0u32; 0]);
    // A drive that was unplugged comes back: nothing was forgotten.
    fs::rename(elsewhere, &desk.root).unwrap();
    assert_eq!(shelve_again(&desk).0, [0]);
}
