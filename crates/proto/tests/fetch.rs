//! Fetching: what a hostile sharer sends is refused, what was asked for is told
//! from what was not. Whole transfers are simulated in `fetch_simulation.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;

use bytes::Bytes;
use passalong_proto::fetch::{Fetch, FetchError, FetchEvent, WINDOW_BYTES};
use passalong_proto::keys::ShareKey;
use passalong_proto::manifest::{
    Entry, EntryKind, MAX_MANIFEST_BYTES, Manifest, ManifestError, SignedManifest,
};
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{PIECE_LEN, PieceHash, Root, piece_len};
use passalong_proto::wire::{FRAME_DATA, Farewell, Frame, Message, PieceRef, SourceProblem};
use proptest::prelude::*;

use files::{Files, asked, deliver, key, requested};

mod files;
mod messages;

#[derive(Clone, Debug)]
enum Hostile {
    Message(Message),
    Frame(Frame),
    /// All frames of one of the pieces that were asked for.
    Honest(prop::sample::Index),
    HonestHashes(u32),
    /// The disk is done with something.
    Disk,
    /// The disk found something wrong.
    Rejected,
}

fn hostile_steps() -> impl Strategy<Value = Hostile> {
    let offset = prop_oneof![Just(0_u32), Just(FRAME_DATA as u32), any::<u32>()];
    let length = prop_oneof![Just(1_usize), Just(700), Just(FRAME_DATA), 1..FRAME_DATA];
    let frame = (messages::piece_ref(), offset, length).prop_map(|(piece, offset, length)| {
        let data = Bytes::from(vec![9; length]);
        Hostile::Frame(Frame {
            piece,
            offset,
            data,
        })
    });
    prop_oneof![
        3 => messages::of_a_sharer().prop_map(Hostile::Message),
        1 => messages::any_message().prop_map(Hostile::Message),
        2 => frame,
        4 => any::<prop::sample::Index>().prop_map(Hostile::Honest),
        2 => prop::sample::select(vec![2, 4]).prop_map(Hostile::HonestHashes),
        4 => Just(Hostile::Disk),
        1 => Just(Hostile::Rejected),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_hostile_sharer_never_panics_us_nor_hands_over_what_was_not_asked_for(
        steps in prop::collection::vec(hostile_steps(), 0..120),
        late in any::<bool>(),
    ) {
        let files = Files::of(&[0, 1, 2 * PIECE_LEN + 1, 700, 3 * PIECE_LEN, 5]);
        let mut fetch = Fetch::new(key().secret());
        if !late {
            files.relist(&mut fetch);
            fetch.accept(&files.all()[..5], &HashSet::from([3])).unwrap();
        }
        let mut open: HashSet<PieceRef> = HashSet::new();
        let mut hashes_open: HashSet<u32> = HashSet::new();
        let mut received: Vec<PieceRef> = Vec::new();
        let mut checking: Vec<u32> = Vec::new();
        for step in steps {
            let outcome = match step {
                Hostile::Message(message) => fetch.handle(message),
                Hostile::Frame(frame) => fetch.handle_frame(frame),
                Hostile::Honest(which) => {
                    let mut sorted: Vec<PieceRef> = open.iter().copied().collect();
                    sorted.sort_unstable();
                    match sorted.get(which.index(sorted.len().max(1))) {
                        Some(piece) => deliver(&mut fetch, &files.frames(*piece)),
                        None => Ok(None),
                    }
                }
                Hostile::HonestHashes(entry) => {
                    let mut outcome = Ok(None);
                    for message in files.hash_messages(entry) {
                        outcome = fetch.handle(message);
                    }
                    outcome
                }
                Hostile::Disk => {
                    if let Some(entry) = checking.pop() {
                        fetch.file_ready(entry, &[0]);
                    } else if let Some(piece) = received.pop() {
                        fetch.piece_stored(piece);
                    }
                    Ok(None)
                }
                Hostile::Rejected => {
                    if let Some(piece) = received.pop() {
                        fetch.piece_rejected(piece);
                    }
                    Ok(None)
                }
            };
            match outcome {
                Ok(Some(FetchEvent::Piece { piece, bytes })) => {
                    prop_assert!(open.remove(&piece), "{:?} was not asked for", piece);
                    let length = piece_len(files.manifest.entries()[piece.entry as usize].size(), piece.piece);
                    prop_assert_eq!(bytes.len(), length as usize);
                    received.push(piece);
                }
                Ok(Some(FetchEvent::Hashes { entry, hashes })) => {
                    prop_assert!(hashes_open.remove(&entry), "{} was not asked for", entry);
                    prop_assert_eq!(&*hashes, &files.hashes[entry as usize]);
                    checking.push(entry);
                }
                Ok(Some(FetchEvent::Preparing { done_bytes, total_bytes })) => {
                    prop_assert!(done_bytes <= total_bytes);
                }
                Ok(Some(FetchEvent::Listed | FetchEvent::ListedAgain)) => {
                    prop_assert!(false, "no list here was signed");
                }
                Ok(_) => {}
                Err(_) => {
                    open.clear();
                    hashes_open.clear();
                    fetch.lost();
                    if !late {
                        files.relist(&mut fetch);
                    }
                }
            }
            for message in asked(&mut fetch) {
                match message {
                    Message::Request { pieces } => {
                        for piece in pieces {
                            prop_assert!(open.insert(piece), "{:?} was asked for twice", piece);
                        }
                    }
                    Message::WantHashes { entry } => {
                        prop_assert!(hashes_open.insert(entry), "{} was asked for twice", entry);
                    }
                    _ => {}
                }
            }
            let progress = fetch.progress();
            prop_assert!(progress.bytes <= progress.total);
            prop_assert!(progress.files <= progress.files_total);
        }
    }
}

fn frame(entry: u32, piece: u32, offset: u32, data: &[u8]) -> Frame {
    Frame {
        piece: PieceRef { entry, piece },
        offset,
        data: Bytes::copy_from_slice(data),
    }
}

fn is_violation<T>(outcome: &Result<T, FetchError>) -> bool {
    matches!(outcome, Err(FetchError::Violation(_)))
}

#[test]
fn large_files_are_asked_for_a_window_at_a_time() {
    let files = Files::of(&[40 * PIECE_LEN]);
    let mut fetch = files.listed();
    fetch.accept(&[0], &HashSet::new()).unwrap();
    asked(&mut fetch);
    for message in files.hash_messages(0) {
        fetch.handle(message).unwrap();
    }
    assert_eq!(
        requested(&asked(&mut fetch)),
        [],
        "not before the disk was looked at"
    );
    fetch.file_ready(0, &[]);
    let window = requested(&asked(&mut fetch));
    assert_eq!(window.len() as u64, WINDOW_BYTES / PIECE_LEN);
    for piece in &window[..7] {
        deliver(&mut fetch, &files.frames(*piece)).unwrap();
    }
    assert_eq!(requested(&asked(&mut fetch)), [], "they are not on disk");
    for piece in &window[..8] {
        deliver(&mut fetch, &files.frames(*piece)).ok();
        fetch.piece_stored(*piece);
    }
    assert_eq!(requested(&asked(&mut fetch)).len(), 8);
}

#[test]
fn a_choice_is_all_that_is_asked_for() {
    let files = Files::of(&[5, 6, 7]);
    let mut fetch = files.listed();
    assert_eq!(asked(&mut fetch), [], "nothing before accepting");
    fetch.accept(&[2], &HashSet::new()).unwrap();
    assert_eq!(
        asked(&mut fetch),
        [
            Message::Accept { files: 1, bytes: 7 },
            Message::Progress { bytes: 0 },
            Message::Request {
                pieces: vec![PieceRef { entry: 2, piece: 0 }]
            },
        ]
    );
    for entry in [0, 1, 3] {
        let outcome = fetch.handle_frame(frame(entry, 0, 0, b"x"));
        assert!(is_violation(&outcome), "{entry}");
    }
}

#[test]
fn what_is_all_here_is_complete_and_still_announced() {
    let files = Files::of(&[0, 2 * PIECE_LEN]);
    let mut fetch = files.listed();
    fetch.accept(&[0, 1], &HashSet::from([1])).unwrap();
    assert!(fetch.is_complete() && !fetch.is_waiting());
    let bytes = 2 * PIECE_LEN;
    assert_eq!(
        asked(&mut fetch),
        [
            Message::Accept { files: 2, bytes },
            Message::Progress { bytes }
        ]
    );
}

#[test]
fn accepting_without_a_list_is_refused() {
    let mut fetch = Fetch::new(key().secret());
    assert!(fetch.accept(&[0], &HashSet::new()).is_err());
    assert!(!fetch.is_accepted() && !fetch.is_complete());
}

#[test]
fn a_share_over_16_tib_is_refused() {
    let root = Root([7; 32]);
    let size = 1 << 44;
    let file = |index: u32, size| Entry {
        path: SafePath::parse(&format!("file {index}")).unwrap(),
        kind: EntryKind::File {
            size,
            root,
            modified: None,
        },
    };
    let manifest = Manifest::new("", vec![file(0, size), file(1, 1)]).unwrap();
    let signed = SignedManifest::sign(&key(), &manifest).unwrap();
    let mut fetch = Fetch::new(key().secret());
    let length = signed.bytes.len() as u32;
    let head = Message::Manifest {
        public_key: signed.public_key,
        signature: signed.signature.into(),
        length,
    };
    fetch.handle(head).unwrap();
    let bytes = signed.bytes;
    fetch.handle(Message::ManifestPart { bytes }).unwrap();
    assert!(fetch.accept(&[0, 1], &HashSet::new()).is_err());
    assert!(fetch.again().accept(&[0], &HashSet::new()).is_ok());
}

#[test]
fn frames_out_of_order_too_long_or_again_end_the_link() {
    let files = Files::of(&[10, 10, 10]);
    let outcomes = |frames: &[Frame]| {
        let mut fetch = files.listed();
        fetch.accept(&files.all(), &HashSet::new()).unwrap();
        asked(&mut fetch);
        let (last, before) = frames.split_last().unwrap();
        for frame in before {
            fetch.handle_frame(frame.clone()).unwrap();
        }
        fetch.handle_frame(last.clone())
    };
    let (half, whole) = ([7; 5], [7; 10]);
    for frames in [
        vec![frame(0, 0, 1, &half)],
        vec![frame(0, 0, 0, &[7; 11])],
        vec![frame(0, 0, 0, &half), frame(0, 0, 0, &half)],
        vec![frame(0, 0, 0, &half), frame(0, 0, 6, &half)],
        vec![frame(0, 0, 0, &half), frame(0, 0, 5, &whole)],
        vec![frame(0, 0, 0, &whole), frame(0, 0, 0, &whole)],
        vec![frame(0, 1, 0, &whole)],
        vec![frame(3, 0, 0, &whole)],
    ] {
        assert!(is_violation(&outcomes(&frames)), "{frames:?}");
    }
    let interleaved = [
        frame(0, 0, 0, &half),
        frame(1, 0, 0, &half),
        frame(0, 0, 5, &half),
    ];
    assert!(matches!(
        outcomes(&interleaved),
        Ok(Some(FetchEvent::Piece { .. }))
    ));
}

#[test]
fn hashes_that_do_not_come_out_at_the_root_are_refused() {
    let files = Files::of(&[2 * PIECE_LEN]);
    let ready = || {
        let mut fetch = files.listed();
        fetch.accept(&[0], &HashSet::new()).unwrap();
        asked(&mut fetch);
        fetch
    };
    let hashes = |entry, first, hashes: &[PieceHash]| Message::Hashes {
        entry,
        first,
        hashes: hashes.to_vec(),
    };
    let right = files.hashes[0].pieces();
    let swapped = [right[1], right[0]];
    let outcome = ready().handle(hashes(0, 0, &swapped));
    assert!(matches!(outcome, Err(FetchError::Hashes)));
    for message in [
        hashes(0, 1, right),
        hashes(0, 0, &[right, right].concat()),
        hashes(1, 0, right),
    ] {
        assert!(is_violation(&ready().handle(message)));
    }
    let mut fetch = ready();
    assert!(matches!(
        fetch.handle(hashes(0, 0, right)),
        Ok(Some(FetchEvent::Hashes { entry: 0, .. }))
    ));
    assert!(
        is_violation(&fetch.handle(hashes(0, 0, right))),
        "a second time"
    );
}

#[test]
fn lists_that_are_forged_cut_overlong_or_repeated_are_refused() {
    let files = Files::of(&[5]);
    let head = |public_key, signature: [u8; 64], length| Message::Manifest {
        public_key,
        signature: signature.into(),
        length,
    };
    let part = |bytes: &[u8]| Message::ManifestPart {
        bytes: bytes.to_vec(),
    };
    let SignedManifest {
        public_key,
        signature,
        bytes,
    } = files.signed.clone();
    let length = bytes.len() as u32;
    let honest = || head(public_key, signature, length);
    let outcome = |messages: &[Message]| {
        let mut fetch = Fetch::new(key().secret());
        let (last, before) = messages.split_last().unwrap();
        for message in before {
            assert!(fetch.handle(message.clone()).is_ok());
        }
        fetch.handle(last.clone())
    };

    let mallory = ShareKey::from_seed([2; 32]);
    let forged = SignedManifest::sign(&mallory, &files.manifest).unwrap();
    for (key, signature) in [
        (forged.public_key, forged.signature),
        (public_key, forged.signature),
        (forged.public_key, signature),
    ] {
        assert!(matches!(
            outcome(&[head(key, signature, length), part(&bytes)]),
            Err(FetchError::Manifest(ManifestError::NotSigned))
        ));
    }
    let mut spoiled = bytes.clone();
    spoiled[3] ^= 1;
    assert!(matches!(
        outcome(&[honest(), part(&spoiled)]),
        Err(FetchError::Manifest(ManifestError::NotSigned))
    ));
    for too_large in [MAX_MANIFEST_BYTES as u32 + 1, u32::MAX] {
        assert!(matches!(
            outcome(&[head(public_key, signature, too_large)]),
            Err(FetchError::Manifest(ManifestError::TooLarge))
        ));
    }
    let drawn_out = [bytes.clone(), vec![0]].concat();
    assert!(matches!(
        outcome(&[honest(), part(&drawn_out)]),
        Err(FetchError::Manifest(ManifestError::TooLarge))
    ));
    assert!(is_violation(&outcome(&[part(&bytes)])));
    assert!(is_violation(&outcome(&[honest(), honest()])));
    assert!(is_violation(&outcome(&[honest(), part(&bytes), honest()])));
    assert!(is_violation(&outcome(&[honest(), part(&bytes), part(&[])])));
}

#[test]
fn another_list_over_the_next_link_is_refused() {
    let (files, others) = (Files::of(&[5]), Files::of(&[6]));
    let mut fetch = files.listed();
    fetch.lost();
    let messages = others.list();
    let (last, before) = messages.split_last().unwrap();
    for message in before {
        fetch.handle(message.clone()).unwrap();
    }
    let outcome = fetch.handle(last.clone());
    assert!(matches!(outcome, Err(FetchError::OtherManifest)));
}

#[test]
fn a_piece_that_was_rejected_is_asked_for_again() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    fetch.accept(&[0], &HashSet::new()).unwrap();
    let first = requested(&asked(&mut fetch));
    deliver(&mut fetch, &files.frames(first[0])).unwrap();
    fetch.piece_rejected(first[0]);
    assert!(!fetch.is_complete());
    assert_eq!(requested(&asked(&mut fetch)), first);
    deliver(&mut fetch, &files.frames(first[0])).unwrap();
    assert!(fetch.piece_stored(first[0]));
    assert!(fetch.is_complete());
}

#[test]
fn a_file_that_cannot_be_sent_does_not_hold_up_the_others() {
    let files = Files::of(&[3 * PIECE_LEN, 5]);
    let mut fetch = files.listed();
    fetch.accept(&[0, 1], &HashSet::new()).unwrap();
    asked(&mut fetch);
    let unavailable = || Message::Unavailable {
        entry: 0,
        reason: SourceProblem::Changed,
    };
    let event = fetch.handle(unavailable()).unwrap();
    let reason = SourceProblem::Changed;
    assert_eq!(event, Some(FetchEvent::Unavailable { entry: 0, reason }));
    assert_eq!(fetch.handle(unavailable()).unwrap(), None, "it is known");
    let small = PieceRef { entry: 1, piece: 0 };
    deliver(&mut fetch, &files.frames(small)).unwrap();
    assert!(fetch.piece_stored(small));
    assert!(fetch.is_complete());
    assert!(
        !fetch.is_waiting(),
        "nothing of the lost file is waited for"
    );
    let progress = fetch.progress();
    assert_eq!((progress.bytes, progress.total), (5, 5));
    for message in files.hash_messages(0) {
        assert_eq!(
            fetch.handle(message).unwrap(),
            None,
            "late hashes do no harm"
        );
    }
    assert_eq!(fetch.handle_frame(frame(0, 0, 0, b"late")).unwrap(), None);
}

#[test]
fn messages_of_a_receiver_end_the_link_and_a_goodbye_is_told() {
    let mut fetch = Fetch::new(key().secret());
    for message in [
        Message::Hello {
            version: 1,
            signature: [0; 64].into(),
        },
        Message::Accept { files: 0, bytes: 0 },
        Message::Decline,
        Message::Cancel,
        Message::WantHashes { entry: 0 },
        Message::Request { pieces: vec![] },
        Message::Progress { bytes: 0 },
        Message::Complete,
    ] {
        assert!(is_violation(&fetch.handle(message)));
    }
    let reason = Farewell::Stopped;
    let event = fetch.handle(Message::Bye { reason }).unwrap();
    assert_eq!(event, Some(FetchEvent::Left(reason)));
}

#[test]
fn beginning_again_keeps_the_list_and_nothing_else() {
    let files = Files::of(&[5]);
    let mut fetch = files.listed();
    fetch.accept(&[0], &HashSet::new()).unwrap();
    let mut again = fetch.again();
    assert_eq!(
        again.manifest().map(|manifest| &**manifest),
        Some(&files.manifest)
    );
    assert_eq!(again.signed(), Some(&files.signed));
    assert!(!again.is_accepted());
    assert_eq!(again.progress(), Default::default());
    again.accept(&[0], &HashSet::new()).unwrap();
    assert_eq!(
        asked(&mut again),
        [],
        "not before the list came over this link"
    );
    files.relist(&mut again);
    assert_eq!(requested(&asked(&mut again)).len(), 1);
}
