//! Files of a list that is not whole: verified by what the sharer signed piece by piece,
//! and by the whole list once it is here.

use passalong_proto::keys::ShareKey;
use passalong_proto::signed_hashes::SignedHashes;
use passalong_proto::tree::{PieceHash, Root};

use super::*;

/// A file of several pieces and one of one.
fn desk() -> Desk {
    Desk::new(&[
        ("a.bin", pieces_and_a_half(1, 4)),
        ("b.txt", b"small".to_vec()),
    ])
}

/// The list with nothing but paths, sizes and times, or with these contents.
fn saying(desk: &Desk, content: impl Fn(usize) -> Content) -> Arc<Manifest> {
    let mut entries = desk.manifest().entries().to_vec();
    for (index, entry) in entries.iter_mut().enumerate() {
        if let EntryKind::File { content: said, .. } = &mut entry.kind {
            *said = content(index);
        }
    }
    Arc::new(Manifest::new("Set", entries).unwrap())
}

/// A plan for the opening list, with the signed hashes that are kept.
fn opening(desk: &Desk) -> Plan {
    let mut signed = HashLog::default();
    for part in desk.store.signed_hashes(ID).unwrap() {
        signed.add(part).unwrap();
    }
    Plan {
        manifest: saying(desk, |_| Content::Hashing),
        signed,
        ..desk.plan()
    }
}

/// The hashes of pieces by their numbers through both files.
fn sign(desk: &Desk, pieces: std::ops::Range<usize>) -> SignedHashes {
    let [large, small] = [0, 1].map(|index: usize| hashes(&desk.files[index].1));
    let all = [large.pieces(), &[PieceHash(small.root().0)]].concat();
    let key = ShareKey::from_seed([1; 32]);
    SignedHashes::sign(&key, &[0; 32], pieces.start as u32, all[pieces].to_vec())
}

impl Running<'_> {
    /// Hands over pieces that are stored; gives back the names of files that are whole.
    fn store(&mut self, pieces: &[(u32, u32)]) -> Vec<String> {
        let before = self.desk.visible();
        for &(entry, piece) in pieces {
            self.send(entry, piece);
            while !matches!(self.results.blocking_recv().unwrap(), Done::Stored { .. }) {}
        }
        let now = self.desk.visible().into_iter();
        now.filter(|name| !before.contains(name)).collect()
    }
}

/// The large file's pieces 0 and 2 are here, and hashes of its first three.
fn partly() -> Desk {
    let desk = desk();
    let mut running = desk.start_with(opening(&desk));
    assert!(running.checked().present.is_empty());
    running.jobs.send(Job::Signed(sign(&desk, 0..3))).unwrap();
    assert!(running.store(&[(0, 0), (0, 2)]).is_empty());
    running.close();
    desk
}

#[test]
fn a_file_gets_its_name_when_all_its_pieces_are_here_and_signed() {
    let desk = desk();
    let mut running = desk.start_with(opening(&desk));
    running.checked();
    for known in [5..6, 0..4] {
        let part = sign(&desk, known);
        running.jobs.send(Job::Signed(part)).unwrap();
    }
    assert_eq!(running.store(&[(1, 0)]), ["b.txt"]);
    assert!(running.store(&[(0, 3), (0, 1), (0, 0), (0, 2)]).is_empty());
    assert!(
        running.shelf.hashes(0).is_none(),
        "not all of it is vouched for"
    );
    let last = sign(&desk, 4..5);
    running.jobs.send(Job::Signed(last)).unwrap();
    assert_eq!(running.store(&[(0, 4)]), ["a.bin"]);
    assert_eq!(running.shelf.hashes(0).unwrap().len(), 5);
    assert!(running.finish());
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
    let roots: Vec<_> = desk.rows().iter().map(|row| row.hashes.root()).collect();
    let root = |index: usize| Some(hashes(&desk.files[index].1).root());
    assert_eq!(roots, [root(0), root(1)]);
    // After a restart both are known to be here, before and after the list is whole.
    for plan in [opening(&desk), desk.plan()] {
        let mut running = desk.start_with(plan);
        assert_eq!(running.checked().present(), [0, 1]);
        running.close();
    }
}

#[test]
fn a_piece_that_is_not_what_was_signed_is_refused() {
    let desk = desk();
    let mut running = desk.start_with(opening(&desk));
    running.checked();
    running.jobs.send(Job::Signed(sign(&desk, 0..6))).unwrap();
    for (entry, piece, bytes) in [
        (0, 1, vec![9; PIECE_LEN as usize]),
        (1, 0, b"other".to_vec()),
    ] {
        let (piece, bytes) = (PieceRef { entry, piece }, Bytes::from(bytes));
        running.jobs.send(Job::Store { piece, bytes }).unwrap();
        let done = running.results.blocking_recv().unwrap();
        assert!(matches!(done, Done::Rejected { piece: refused } if refused == piece));
    }
    running.close();
    assert!(desk.visible().is_empty());
}

#[test]
fn what_was_begun_goes_on_after_a_restart_as_far_as_its_hashes_were_kept() {
    let desk = partly();
    let mut running = desk.start_with(opening(&desk));
    let checked = running.checked();
    assert_eq!(checked.pieces(0), [0, 2]);
    assert_eq!(checked.resumed[0].hashes, None);
    running.jobs.send(Job::Signed(sign(&desk, 3..6))).unwrap();
    assert_eq!(running.store(&[(0, 1), (0, 3), (0, 4)]), ["a.bin"]);
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
    // Without the hashes nobody knows what the bytes are worth.
    let desk = partly();
    let plan = Plan {
        signed: HashLog::default(),
        ..opening(&desk)
    };
    let mut running = desk.start_with(plan);
    assert!(running.checked().pieces(0).is_empty());
    running.close();
}

#[test]
fn what_was_begun_goes_on_by_the_whole_list() {
    let desk = partly();
    let kept = opening(&desk).signed;
    let plan = Plan {
        signed: kept,
        ..desk.plan()
    };
    let mut running = desk.start_with(plan);
    assert_eq!(running.checked().pieces(0), [0, 2]);
    assert_eq!(running.complete(0).len(), 1);
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
    // The same when it comes in between; what is vouched for by then needs no more hashes.
    let desk = partly();
    let mut running = desk.start_with(opening(&desk));
    running.checked();
    let list = desk.manifest();
    running.jobs.send(Job::List(list)).unwrap();
    assert!(running.store(&[(0, 1)]).is_empty(), "asked for before");
    assert_eq!(running.store(&[(1, 0)]), ["b.txt"]);
    assert_eq!(running.complete(0).len(), 1);
    running.close();
    assert_eq!(desk.read("a.bin"), desk.files[0].1);
}

#[test]
fn a_file_that_is_not_what_the_whole_list_says_never_gets_its_name() {
    let desk = partly();
    let mut running = desk.start_with(opening(&desk));
    running.checked();
    let false_root = Content::Hashed(Root([7; 32]));
    running
        .jobs
        .send(Job::List(saying(&desk, |_| false_root)))
        .unwrap();
    running.jobs.send(Job::Signed(sign(&desk, 3..6))).unwrap();
    for piece in [1, 3, 4] {
        running.send(0, piece);
    }
    let problem = loop {
        match running.results.blocking_recv().unwrap() {
            Done::Failed(problem) => break problem,
            Done::Stored { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(problem.code, crate::api::ProblemCode::Corrupt);
    running.close();
    assert!(desk.visible().is_empty());
}

#[test]
fn what_was_begun_under_another_list_does_not_count() {
    let desk = partly();
    desk.store.forget_signed_hashes(ID).unwrap();
    assert!(desk.rows().is_empty());
    let mut plan = opening(&desk);
    plan.signed.add(sign(&desk, 0..6)).unwrap();
    fs::write(desk.partial(0), vec![9; 5 * PIECE_LEN as usize]).unwrap();
    let mut running = desk.start_with(plan);
    assert!(running.checked().pieces(0).is_empty());
    running.close();
}
