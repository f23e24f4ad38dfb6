//! A receiver that does what the protocol forbids: it is shown out, and the share
//! goes on for everybody else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::time::Duration;

use passalong_engine::api::{PersonState, ShareState, ShareView, TransferState};
use passalong_proto::invite::Invite;
use passalong_proto::knock::{Answer, KNOCK_BYTE, KNOCK_VERSION, MAX_DATAGRAM};
use passalong_proto::manifest::Manifest;
use passalong_proto::tree::PieceHash;
use passalong_proto::wire::{
    FIRST_PARALLEL, MAX_OUTSTANDING, MAX_PARALLEL, Message, PieceRef, REQUESTS_PER_MESSAGE,
    SourceProblem,
};
use passalong_tests::raw::{RawLink, RawPeer, dead_offer};
use passalong_tests::{Person, bytes, is_done, tree};

/// Asks for the list once it is told of, and reads it.
async fn list(link: &RawLink) -> Manifest {
    link.listed().await;
    link.send(&Message::WantManifest).await;
    let (mut length, mut encoded) = (usize::MAX, Vec::new());
    while encoded.len() < length {
        match link.receive().await.expect("still there") {
            Message::Manifest { length: all, .. } => length = all as usize,
            Message::ManifestPart { bytes } => encoded.extend(bytes),
            _ => {}
        }
    }
    Manifest::decode(&encoded).expect("an honest list")
}

/// A raw peer that connected to a share, said hello and has the list.
async fn visit(share: &ShareView, seed: u8) -> RawLink {
    let link = RawPeer::new(seed).await.knock(&share.link).await;
    link.greet().await;
    list(&link).await;
    link
}

async fn visit_and_accept(share: &ShareView, seed: u8) -> RawLink {
    let link = visit(share, seed).await;
    let (files, bytes) = (share.files, share.bytes);
    link.send(&Message::Accept { files, bytes }).await;
    link
}

/// The same, and its requests are answered from now on.
async fn visit_and_ask(share: &ShareView, seed: u8) -> RawLink {
    let link = visit_and_accept(share, seed).await;
    link.send(&Message::Interest { wants: true }).await;
    link.heard("a turn", |message| {
        matches!(message, Message::Unchoke).then_some(())
    })
    .await;
    link
}

fn request(entry: u32, pieces: impl IntoIterator<Item = u32>) -> Message {
    let pieces = pieces.into_iter().map(|piece| PieceRef { entry, piece });
    Message::Request {
        pieces: pieces.collect(),
    }
}

/// The visitor is told that it broke the protocol, or just left, and shown as lost.
async fn is_shown_out(ana: &Person, share: &ShareView, link: &RawLink, what: &str) {
    link.is_shown_out(what).await;
    ana.share_until(&share.id, |share| {
        share
            .people
            .iter()
            .all(|person| person.state == PersonState::Lost)
    })
    .await;
}

/// Somebody honest gets everything.
async fn is_well(share: &ShareView) {
    let ben = Person::new("Ben").await;
    let done = ben.get(&share.link).await;
    let files = share.files;
    assert!(
        matches!(done.state, TransferState::Done { files: arrived, .. } if arrived == files),
        "{:?}",
        done.state
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_whoever_has_not_accepted() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 3 << 20))]).await;
    for (seed, message) in (1..).zip([
        request(0, [0]),
        Message::WantHashes { entry: 0 },
        Message::Progress { bytes: 1 },
        Message::Complete,
    ]) {
        let link = visit(&share, seed).await;
        link.send(&message).await;
        is_shown_out(&ana, &share, &link, &format!("{message:?}")).await;
        assert_eq!(link.receive_frame().await, None);
    }
    is_well(&share).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_or_is_too_much_cannot_be_asked_for() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 3 << 20))]).await;
    let most = || request(0, (0..REQUESTS_PER_MESSAGE as u32).map(|piece| piece % 3));
    let floods = 4 * MAX_OUTSTANDING / REQUESTS_PER_MESSAGE;
    let too_long = request(0, vec![0; REQUESTS_PER_MESSAGE + 1]);
    for (seed, messages) in (1..).zip([
        vec![request(0, [0, 1, 2, 3])],
        vec![request(1, [0])],
        vec![request(u32::MAX, [u32::MAX])],
        vec![Message::WantHashes { entry: 1 }],
        vec![Message::Accept { files: 1, bytes: 1 }],
        vec![too_long],
        vec![most(); floods],
    ]) {
        let link = visit_and_ask(&share, seed).await;
        for message in &messages {
            link.send(message).await;
        }
        is_shown_out(&ana, &share, &link, &format!("case {seed}")).await;
    }
    is_well(&share).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_was_offered_cannot_be_accepted() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    for (seed, (files, bytes)) in (1..).zip([(2, 5), (1, 6), (u32::MAX, u64::MAX)]) {
        let link = visit(&share, seed).await;
        link.send(&Message::Accept { files, bytes }).await;
        is_shown_out(
            &ana,
            &share,
            &link,
            &format!("{files} files, {bytes} bytes"),
        )
        .await;
    }
    let shown = ana.share_until(&share.id, |_| true).await;
    assert!(
        shown.people.iter().all(|person| person.total == 0),
        "{:?}",
        shown.people
    );
    is_well(&share).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_what_was_not_asked_and_garbage_end_the_link() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let piece = PieceRef { entry: 0, piece: 0 };
    for (seed, message) in (1..).zip([
        Message::Manifest {
            public_key: [0; 32],
            signature: [0; 64].into(),
            length: 1,
        },
        Message::ManifestPart { bytes: vec![0] },
        Message::Hashes {
            entry: 0,
            first: 0,
            hashes: vec![PieceHash([0; 32])],
        },
        Message::NoHashes { entry: 0 },
        Message::Dropped {
            pieces: vec![piece],
        },
    ]) {
        let link = visit_and_accept(&share, seed).await;
        link.send(&message).await;
        is_shown_out(&ana, &share, &link, &format!("{message:?}")).await;
    }
    for (seed, garbage) in (20..).zip([vec![0xff; 40], vec![0; 61 * 1024], vec![200]]) {
        let link = visit(&share, seed).await;
        link.send_control(&garbage).await;
        is_shown_out(&ana, &share, &link, "garbage on the control channel").await;
        let link = visit_and_accept(&share, seed + 10).await;
        link.send_bulk(&garbage).await;
        is_shown_out(&ana, &share, &link, "garbage on the bulk channel").await;
    }
    let link = visit_and_accept(&share, 50).await;
    link.send_frame(piece, 0, b"hello").await;
    is_shown_out(&ana, &share, &link, "a frame").await;
    is_well(&share).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_says_of_its_own_copy_changes_nothing_for_the_share() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let link = visit_and_accept(&share, 1).await;
    let (entry, reason) = (0, SourceProblem::Changed);
    for message in [
        Message::Preparing {
            done_bytes: 0,
            total_bytes: 1,
        },
        Message::Unavailable { entry, reason },
        Message::Choke,
        Message::Unchoke,
        Message::Listed {
            hash: [7; 32],
            edition: u64::MAX,
            one_person: true,
            whole: true,
        },
        Message::HoldsAll,
        Message::Progress { bytes: 2 },
    ] {
        link.send(&message).await;
    }
    let shown = ana
        .share_until(&share.id, |share| {
            share.people.iter().any(|person| person.bytes == 2)
        })
        .await;
    assert_eq!(
        (
            shown.state,
            shown.skipped_total,
            shown.files,
            shown.audience
        ),
        (ShareState::Ready, 0, 1, share.audience)
    );
    assert_eq!(tree(&ana.downloads()).len(), 0);
    is_well(&share).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn impostors_see_no_list() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("secret.txt", b"hello")]).await;
    let other = passalong_proto::keys::DeviceKey::from_seed([99; 32]);
    for seed in 1..=3 {
        let link = RawPeer::new(seed).await.knock(&share.link).await;
        let theirs = link.receive().await;
        assert!(matches!(theirs, Some(Message::Hello { .. })), "{theirs:?}");
        let message = match seed {
            1 => link.hello_of(&other),
            // Their own signature, sent back to them.
            2 => theirs.expect("a hello"),
            _ => Message::Accept { files: 1, bytes: 5 },
        };
        link.send(&message).await;
        assert_eq!(link.receive().await, None, "nothing more is said");
    }
    ana.share_until(&share.id, |share| {
        let lost = |person: &&_| -> bool {
            let person: &passalong_engine::api::PersonView = person;
            person.state == PersonState::Lost
        };
        share.people.iter().filter(lost).count() == 3
    })
    .await;
    is_well(&share).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_knocks_leads_to_one_session_and_honest_people_get_in() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let invite = Invite::parse(&share.link).expect("an invite");
    let (secret, to) = (invite.secret, invite.addresses[0]);
    let mallory = RawPeer::new(1).await;
    for length in 0..=MAX_DATAGRAM + 1 {
        let mut garbage = bytes(length as u64, length);
        for (byte, claimed) in garbage.iter_mut().zip([KNOCK_BYTE, KNOCK_VERSION]) {
            *byte = claimed;
        }
        mallory.send(&garbage, to).await;
    }
    let session = [3; 16];
    let mut offers = Vec::new();
    while offers.len() < 5 {
        let (replayed, mut sent) = mallory.seal(&secret, session, dead_offer());
        for _ in 0..20 {
            mallory.send(&replayed, to).await;
        }
        // A full second of the flood above is dropped unread, this maybe with it.
        let answer = tokio::time::timeout(Duration::from_millis(300), mallory.answer_to(&mut sent));
        match answer.await {
            Ok(Answer::Welcome { offer, .. }) => offers.push(offer),
            Ok(refused) => panic!("{refused:?}"),
            Err(_) => continue,
        }
    }
    offers.dedup_by_key(|offer| (offer.ufrag.clone(), offer.fingerprint));
    assert_eq!(offers.len(), 1, "one session, one connection");
    let shown = ana
        .share_until(&share.id, |share| !share.people.is_empty())
        .await;
    assert_eq!(shown.people.len(), 1, "{:?}", shown.people);
    is_well(&share).await;
}

/// Resident memory of this process, in bytes; the raw peers' is in it as well.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .expect("a size")
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>();
    kib.expect("a number") * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_and_never_reads_costs_little_and_holds_up_nobody() {
    const SIZE: u64 = 512 << 20;
    let ana = Person::new("Ana").await;
    let sparse = File::create(ana.path("big.bin")).expect("a file");
    sparse.set_len(SIZE).expect("a length");
    let share = ana.share(&[ana.path("big.bin")]).await;
    let before = memory();
    let link = visit_and_ask(&share, 1).await;
    link.send(&request(0, 0..(SIZE >> 20) as u32)).await;
    let small = ana
        .share(&[ana.write("small.bin", &bytes(1, 40 << 20))])
        .await;
    link.alive_while(is_well(&small)).await;
    let grown = memory().saturating_sub(before);
    assert!(grown < SIZE / 2, "{grown} bytes more are held");
    let shown = ana.share_until(&share.id, |_| true).await;
    assert_eq!(shown.people[0].state, PersonState::Receiving);
    assert_eq!(shown.people[0].bytes, 0);

    // Hashes are asked for as well, again and again, and not read either.
    for _ in 0..2000 {
        link.send(&Message::WantHashes { entry: 0 }).await;
    }
    let lost = ana.share_until(&share.id, |share| {
        share.people[0].state == PersonState::Lost
    });
    link.alive_while(lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beside_a_link_that_lead_nowhere_hold_up_nobody() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 3 << 20))]).await;
    let link = visit_and_ask(&share, 1).await;
    let set = |lane, count| Message::Parallel {
        lane,
        halves: vec![dead_offer(); count],
    };
    for lane in [0, 1, FIRST_PARALLEL - 1] {
        link.send(&set(lane, MAX_PARALLEL)).await;
    }
    for lane in FIRST_PARALLEL..FIRST_PARALLEL + 100 {
        link.send(&set(lane, MAX_PARALLEL)).await;
        // Nobody asked for this.
        let halves = vec![dead_offer(); MAX_PARALLEL];
        link.send(&Message::ParallelAnswer { lane, halves }).await;
    }
    let answered = link
        .heard("an answer", |message| match message {
            Message::ParallelAnswer { lane, halves } => Some((*lane, halves.len())),
            _ => None,
        })
        .await;
    assert_eq!(answered, (FIRST_PARALLEL, MAX_PARALLEL));
    link.send(&request(0, [0])).await;
    let frame = link.receive_frame().await.expect("a frame");
    assert_eq!((frame.piece.piece, frame.offset), (0, 0));
    link.send(&set(u32::MAX, MAX_PARALLEL + 1)).await;
    is_shown_out(&ana, &share, &link, "too many connections").await;
    is_well(&share).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_vanishes_in_the_middle_is_lost_and_the_others_go_on() {
    let ana = Person::new("Ana").await;
    let content = bytes(1, 30 << 20);
    let share = ana.share(&[ana.write("big.bin", &content)]).await;
    let ben = Person::new("Ben").await;
    let link = visit_and_ask(&share, 1).await;
    link.send(&request(0, 0..30)).await;
    link.receive_frame().await.expect("a frame");
    ana.share_until(&share.id, |share| {
        share.people[0].state == PersonState::Receiving
    })
    .await;
    let (done, ()) = tokio::join!(ben.get(&share.link), link.close());
    assert!(is_done(&done), "{:?}", done.state);
    assert_eq!(tree(&ben.downloads())["big.bin"].as_ref(), Some(&content));
    let shown = ana
        .share_until(&share.id, |share| {
            share.people[0].state == PersonState::Lost
        })
        .await;
    assert_eq!((shown.people[0].route, shown.people[0].rate), (None, 0));
    ana.share_until(&share.id, |share| {
        share
            .people
            .iter()
            .any(|person| person.state == PersonState::Complete)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_not_believed_beyond_what_was_accepted() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let link = visit(&share, 1).await;
    link.send(&Message::Accept { files: 1, bytes: 3 }).await;
    for bytes in (0..3000).chain([u64::MAX]) {
        link.send(&Message::Progress { bytes }).await;
    }
    link.send(&Message::Complete).await;
    let shown = ana
        .share_until(&share.id, |share| {
            share
                .people
                .iter()
                .any(|person| person.state == PersonState::Complete)
        })
        .await;
    assert_eq!((shown.people[0].bytes, shown.people[0].total), (3, 3));
    is_well(&share).await;
}
