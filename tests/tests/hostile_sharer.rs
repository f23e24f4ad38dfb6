//! A sharer that does what the protocol forbids: whoever opened its invite is
//! told, keeps nothing wrong, and goes on with honest people as before.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;

use passalong_engine::api::{ProblemCode, ShareState, TransferState, TransferView};
use passalong_proto::keys::{DeviceKey, ShareKey};
use passalong_proto::manifest::{MAX_MANIFEST_BYTES, SignedManifest};
use passalong_proto::tree::{PIECE_LEN, PieceHash};
use passalong_proto::wire::{FRAME_DATA, Farewell, Message, PieceRef, SourceProblem};
use passalong_tests::meeting::{Meeting, lured};
use passalong_tests::offering::{announce, list, send_piece};
use passalong_tests::{Person, bytes, is_done, is_over, tree};

/// What is in Downloads under a final name.
fn arrived(ben: &Person) -> BTreeSet<String> {
    let unfinished = |name: &String| name.starts_with(".passalong-");
    let names = tree(&ben.downloads()).into_keys();
    names.filter(|name| !unfinished(name)).collect()
}

/// Nothing arrived, nothing is anywhere else, and honest people can still be met.
async fn is_unharmed(ben: &Person) {
    assert_eq!(arrived(ben), BTreeSet::new());
    let home = fs::read_dir(ben.path("")).expect("a home");
    let here: BTreeSet<_> = home
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(here, BTreeSet::from(["data".into(), "Downloads".into()]));
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("honest.txt", b"honest")]).await;
    let done = ben.get(&share.link).await;
    assert!(is_done(&done), "{:?}", done.state);
    assert_eq!(arrived(ben), BTreeSet::from(["honest.txt".to_owned()]));
    let back = ben.share(&[ben.downloads().join("honest.txt")]).await;
    assert_eq!(back.state, ShareState::Ready);
    let done = ana.get(&back.link).await;
    assert!(is_done(&done), "{:?}", done.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_another_key_signed_are_refused() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", b"hello".to_vec())];
    let mallory = ShareKey::from_seed([99; 32]);
    for seed in 1..=3 {
        let meeting = Meeting::new(&ben, seed, &files).await;
        let (own, forged) = (
            meeting.offering.signed(),
            meeting.offering.signed_by(&mallory),
        );
        let signed = match seed {
            1 => forged,
            2 => SignedManifest {
                public_key: own.public_key,
                ..forged
            },
            _ => SignedManifest {
                bytes: [own.bytes, vec![0]].concat(),
                ..own
            },
        };
        list(&meeting.link, &signed).await;
        let over = meeting.is_found_out(&ben, &format!("forgery {seed}")).await;
        assert_eq!((over.files, over.name), (0, None), "nothing is shown of it");
    }
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_elsewhere_are_refused_though_they_are_signed() {
    let ben = Person::new("Ben").await;
    let stolen = ben.path("stolen.txt").display().to_string();
    let names = [
        "../stolen.txt",
        "a/../../stolen.txt",
        "a/./b.txt",
        &stolen,
        "/etc/cron.d/x",
        "C:\\Windows\\x.dll",
        "C:x",
        "..\\stolen.txt",
        "a\\b.txt",
        "nul",
        "COM1.txt",
        "file.txt:stream",
        "a\0b",
        "a\nb",
        "a\u{202e}txt.exe",
        "trailing. ",
        "",
    ];
    for (seed, name) in (1..).zip(names) {
        let files = [("fine.txt", b"fine".to_vec()), (name, b"stolen".to_vec())];
        let meeting = Meeting::new(&ben, seed, &files).await;
        meeting.offering.list(&meeting.link).await;
        meeting.is_found_out(&ben, &format!("{name:?}")).await;
    }
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_the_same_on_some_disks_all_arrive() {
    let ben = Person::new("Ben").await;
    let files = [
        ("photo.jpg", b"lower".to_vec()),
        ("Photo.JPG", b"upper".to_vec()),
        ("caf\u{e9}.txt", b"composed".to_vec()),
        ("cafe\u{301}.txt", b"decomposed".to_vec()),
        ("same.txt", b"first".to_vec()),
        ("same.txt", b"second".to_vec()),
    ];
    let meeting = Meeting::new(&ben, 1, &files).await;
    meeting.link.close().await;
    let again = meeting.mallory.answer(&meeting.offering.secret()).await;
    let done = meeting.offering.hand_over(&again, &ben, &meeting.id).await;
    assert!(
        matches!(done.state, TransferState::Done { files: 6, .. }),
        "{:?}",
        done.state
    );
    let mut here: Vec<_> = tree(&ben.downloads())
        .into_iter()
        .map(|(name, content)| (name, content.expect("a file")))
        .collect();
    let contents: Vec<_> = files.iter().map(|(_, content)| content.clone()).collect();
    here.sort_by_key(|(_, content)| contents.iter().position(|c| c == content));
    let names: Vec<_> = here.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "photo.jpg",
            "Photo (1).JPG",
            "caf\u{e9}.txt",
            "cafe\u{301} (1).txt",
            "same.txt",
            "same (1).txt",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_longer_than_allowed_or_announced_are_refused() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", b"hello".to_vec())];
    for seed in 1..=6 {
        let Meeting { offering, link, .. } = &Meeting::new(&ben, seed, &files).await;
        let signed = offering.signed();
        if seed != 6 {
            announce(link, &signed).await;
            link.list_wanted().await;
        }
        let head = |length| Message::Manifest {
            public_key: signed.public_key,
            signature: signed.signature.into(),
            length,
        };
        let part = |bytes: &[u8]| Message::ManifestPart {
            bytes: bytes.to_vec(),
        };
        let length = signed.bytes.len() as u32;
        let messages = match seed {
            1 => vec![head(MAX_MANIFEST_BYTES as u32 + 1)],
            2 => vec![head(u32::MAX), part(&signed.bytes)],
            3 => vec![head(length - 1), part(&signed.bytes)],
            4 => vec![part(&signed.bytes)],
            5 => vec![head(length), part(&signed.bytes), head(length)],
            // Not asked for at all.
            _ => vec![head(length), part(&signed.bytes)],
        };
        for message in messages {
            link.send(&message).await;
        }
        let id = offering.secret().id();
        let problem = ben.failed(&id).await;
        assert_eq!(problem.code, ProblemCode::Corrupt, "{seed}: {problem:?}");
    }
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_that_do_not_fit_the_list_are_refused() {
    let ben = Person::new("Ben").await;
    let files = [("big.bin", bytes(1, 2 * PIECE_LEN as usize))];
    for seed in 1..=4 {
        let meeting = Meeting::accepted(&ben, seed, &files).await;
        meeting.link.hashes_wanted().await;
        let right = meeting.offering.hashes(0);
        let (entry, first, hashes) = match seed {
            1 => (0, 0, vec![PieceHash([9; 32]); 2]),
            2 => (0, 1, right),
            3 => (0, 0, [right.clone(), right].concat()),
            _ => (7, 0, right),
        };
        meeting
            .link
            .send(&Message::Hashes {
                entry,
                first,
                hashes,
            })
            .await;
        meeting.is_found_out(&ben, &format!("hashes {seed}")).await;
    }
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_never_get_a_final_name() {
    let ben = Person::new("Ben").await;
    let small = [("small.txt", b"as it was signed".to_vec())];
    let meeting = Meeting::accepted(&ben, 1, &small).await;
    for piece in meeting.link.requested().await {
        send_piece(&meeting.link, piece, b"as it was forged").await;
    }
    let wrong = [Farewell::Corrupt, Farewell::Protocol];
    meeting.is_found_out_as(&ben, "a small file", &wrong).await;

    let large = [("large.bin", bytes(2, 2 * PIECE_LEN as usize + 5))];
    let meeting = Meeting::accepted(&ben, 2, &large).await;
    meeting.link.hashes_wanted().await;
    meeting.offering.send_hashes(&meeting.link, 0).await;
    // Which piece is asked for first is the receiver's to choose.
    let mut wrong_sent = false;
    while !wrong_sent {
        for piece in meeting.link.requested().await {
            let mut content = meeting.offering.piece(piece).to_vec();
            if piece.piece == 1 {
                content[70_000] ^= 1;
                wrong_sent = true;
            }
            send_piece(&meeting.link, piece, &content).await;
        }
    }
    meeting.is_found_out_as(&ben, "a large file", &wrong).await;
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_were_not_asked_for_or_do_not_fit_are_refused() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", vec![1; 1000]), ("b.txt", vec![2; 1000])];
    let at = |entry, piece| PieceRef { entry, piece };
    let long = vec![1; FRAME_DATA + 1];
    let (half, whole) = (vec![1; 500], vec![1; 1000]);
    let cases: [&[(PieceRef, u32, &[u8])]; 9] = [
        &[(at(2, 0), 0, &whole)],
        &[(at(0, 1), 0, &whole)],
        &[(at(u32::MAX, u32::MAX), 0, &whole)],
        &[(at(0, 0), 500, &half)],
        &[(at(0, 0), 0, &half), (at(0, 0), 0, &half)],
        &[(at(0, 0), 0, &half), (at(0, 0), 500, &whole)],
        &[(at(0, 0), 0, &long)],
        &[(at(0, 0), PIECE_LEN as u32 - 1, &whole)],
        &[(at(0, 0), 0, &[])],
    ];
    for (seed, frames) in (1..).zip(cases) {
        let meeting = Meeting::accepted(&ben, seed, &files).await;
        meeting.link.requested().await;
        for (piece, offset, data) in frames {
            meeting.link.send_frame(*piece, *offset, data).await;
        }
        meeting.is_found_out(&ben, &format!("frames {seed}")).await;
    }
    let early = Meeting::new(&ben, 50, &files).await;
    early.link.send_frame(at(0, 0), 0, &whole).await;
    early.is_found_out(&ben, "a frame before the list").await;
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_a_receivers_and_garbage_end_the_link() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", b"hello".to_vec())];
    let receivers = [
        Message::Accept { files: 1, bytes: 5 },
        Message::Request { pieces: vec![] },
        Message::WantHashes { entry: 0 },
        Message::Complete,
        Message::Progress { bytes: 5 },
    ];
    for (seed, message) in (1..).zip(&receivers) {
        let meeting = Meeting::new(&ben, seed, &files).await;
        meeting.link.send(message).await;
        meeting.is_found_out(&ben, &format!("{message:?}")).await;
    }
    let second_hello = Meeting::new(&ben, 20, &files).await;
    second_hello.link.send(&second_hello.link.hello()).await;
    second_hello.is_found_out(&ben, "a second hello").await;
    for (seed, garbage) in (30..).zip([vec![0xff; 40], vec![0; 61 * 1024], vec![7]]) {
        let meeting = Meeting::new(&ben, seed, &files).await;
        meeting.link.send_control(&garbage).await;
        meeting
            .is_found_out(&ben, "garbage on the control channel")
            .await;
        let meeting = Meeting::accepted(&ben, seed + 10, &files).await;
        meeting.link.send_bulk(&garbage).await;
        meeting
            .is_found_out(&ben, "garbage on the bulk channel")
            .await;
    }
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_declines_or_cancels_is_let_go_and_met_again() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", b"hello".to_vec())];
    for (seed, word) in (1..).zip([Message::Decline, Message::Cancel]) {
        let meeting = Meeting::new(&ben, seed, &files).await;
        meeting.link.send(&word).await;
        let parting = meeting.link.parting().await;
        assert!(
            matches!(parting, None | Some(Farewell::Finished)),
            "{parting:?}"
        );
        let link = meeting.mallory.answer(&meeting.offering.secret()).await;
        meeting.offering.hand_over(&link, &ben, &meeting.id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impostor_is_left_and_whoever_answers_next_is_heard() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", b"hello".to_vec())];
    let (mallory, offering, id) = lured(&ben, 1, &files).await;
    let secret = offering.secret();

    let link = mallory.answer(&secret).await;
    link.send(&link.hello_of(&DeviceKey::from_seed([9; 32])))
        .await;
    offering.announce(&link).await;
    link.parting().await;

    let link = mallory.answer(&secret).await;
    let signature = [0; 64].into();
    link.send(&Message::Hello {
        version: 1,
        signature,
    })
    .await;
    link.parting().await;

    let link = mallory.answer(&secret).await;
    offering.announce(&link).await;
    link.parting().await;

    let link = mallory.answer(&secret).await;
    link.send_control(&[0xff; 20]).await;
    link.parting().await;

    let wrong = mallory
        .answer_with(&secret, |offer| offer.fingerprint[5] ^= 1)
        .await;
    let link = mallory.answer(&secret).await;
    drop(wrong);
    let view = ben.transfer_until(&id, |_| true).await;
    assert!(
        matches!(view.state, TransferState::Connecting { .. }),
        "{:?}",
        view.state
    );
    assert_eq!(
        (view.from, view.files),
        (None, 0),
        "nothing is shown of an impostor"
    );

    offering.hand_over(&link, &ben, &id).await;
    assert_eq!(arrived(&ben), BTreeSet::from(["a.txt".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_told_as_such() {
    let ben = Person::new("Ben").await;
    let (mallory, offering, id) = lured(&ben, 1, &[]).await;
    let link = mallory.answer(&offering.secret()).await;
    let Message::Hello { signature, .. } = link.hello() else {
        panic!("no hello")
    };
    let version = 2;
    link.send(&Message::Hello { version, signature }).await;
    let problem = ben.failed(&id).await;
    assert_eq!(problem.code, ProblemCode::Version);
    assert_eq!(link.parting().await, Some(Farewell::Version));
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharer_that_says_nothing_is_knocked_at_again() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", b"hello".to_vec())];
    let (mallory, offering, id) = lured(&ben, 1, &files).await;
    let secret = offering.secret();
    let silent = mallory.answer(&secret).await;
    let link = mallory.answer(&secret).await;
    drop(silent);
    offering.hand_over(&link, &ben, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sharer_that_goes_silent_stalls_the_transfer_which_goes_on_when_it_is_back() {
    let ben = Person::new("Ben").await;
    let content = bytes(3, 3 * PIECE_LEN as usize);
    let files = [("big.bin", content.clone())];
    let meeting = Meeting::accepted(&ben, 1, &files).await;
    let Meeting {
        mallory,
        offering,
        id,
        link: silent,
    } = meeting;
    // Accepted and asked for, but not a byte comes, nor a sign of life.
    let stalled = |t: &TransferView| matches!(t.state, TransferState::Stalled { .. });
    ben.transfer_until(&id, stalled).await;
    let second = mallory.answer(&offering.secret()).await;
    drop(silent);

    // Half a piece, and the connection breaks.
    second.greet().await;
    offering.announce(&second).await;
    second.hashes_wanted().await;
    offering.send_hashes(&second, 0).await;
    let pieces = second.requested().await;
    send_piece(&second, pieces[0], offering.piece(pieces[0])).await;
    second
        .send_frame(pieces[1], 0, &offering.piece(pieces[1])[..FRAME_DATA])
        .await;
    ben.transfer_until(&id, |t| {
        matches!(&t.state, TransferState::Receiving { progress } if progress.bytes == PIECE_LEN)
    })
    .await;
    second.close().await;
    ben.transfer_until(&id, stalled).await;
    assert_eq!(arrived(&ben), BTreeSet::new());

    let third = mallory.answer(&offering.secret()).await;
    tokio::join!(offering.serve(&third), ben.done(&id));
    let here = fs::read(ben.downloads().join("big.bin")).expect("a file");
    assert!(here == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_preparing_can_be_watched_and_declined() {
    let ben = Person::new("Ben").await;
    let meeting = Meeting::new(&ben, 1, &[("a.txt", b"hello".to_vec())]).await;
    for number in 0..5000 {
        let message = Message::Preparing {
            done_bytes: u64::MAX - number,
            total_bytes: number,
        };
        meeting.link.send(&message).await;
    }
    ben.transfer_until(&meeting.id, |t| match t.state {
        TransferState::Preparing {
            done_bytes,
            total_bytes,
        } => {
            assert!(done_bytes <= total_bytes, "{done_bytes} of {total_bytes}");
            total_bytes == 4999
        }
        _ => false,
    })
    .await;
    ben.engine.decline(&meeting.id).await.expect("declined");
    ben.transfer_until(&meeting.id, |t| t.state == TransferState::Declined)
        .await;
    assert_eq!(meeting.link.receive().await, Some(Message::Decline));
    is_unharmed(&ben).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_sharer_withholds_are_told_and_nothing_is_left_of_them() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", b"hello".to_vec()), ("b.txt", b"world".to_vec())];
    let Meeting { link, id, .. } = Meeting::accepted(&ben, 1, &files).await;
    link.requested().await;
    for entry in [0, 0, 7, u32::MAX, 1] {
        let reason = SourceProblem::Changed;
        link.send(&Message::Unavailable { entry, reason }).await;
    }
    let over = ben.transfer_until(&id, |t| is_over(&t.state)).await;
    assert!(
        matches!(over.state, TransferState::Done { files: 0, .. }),
        "{:?}",
        over.state
    );
    let told: Vec<_> = over.problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(told, ["a.txt", "b.txt"]);
    is_unharmed(&ben).await;
}
