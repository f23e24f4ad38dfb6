//! One of many who does what the protocol forbids, or only pretends to take part:
//! whoever is linked to it gets everything from the others, whole and unchanged.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use passalong_engine::api::{
    Id, PersonState, Presence, ProblemCode, ShareState, ShareView, TransferState, TransferView,
};
use passalong_proto::invite::{Invite, InviteSecret};
use passalong_proto::keys::{DeviceKey, ShareKey, stop_statement};
use passalong_proto::knock::{DeviceName, SessionId};
use passalong_proto::wire::{
    Farewell, MAX_OUTSTANDING, MEMBERS_PER_MESSAGE, Member, Message, PieceRef,
    REQUESTS_PER_MESSAGE, SourceProblem,
};
use passalong_tests::meeting::Meeting;
use passalong_tests::offering::{outline, parts};
use passalong_tests::raw::{RawLink, RawPeer, dead_offer};
use passalong_tests::{Person, bytes, is_done, is_over, tree};

const LENGTH: usize = 12 << 20;

/// Ben is getting a file from Ana, who holds back for now, and a raw peer is
/// linked to Ben.
struct Scene {
    ana: Person,
    ben: Person,
    share: ShareView,
    id: Id,
    mallory: RawPeer,
    link: RawLink,
    listed: Message,
}

impl Scene {
    async fn begin() -> Scene {
        let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
        let share = ana.share(&[ana.write("big.bin", &bytes(1, LENGTH))]).await;
        ana.engine.pause(&share.id).await.expect("paused");
        let id = ben.begin(&share.link).await;
        let begun = |t: &TransferView| {
            matches!(
                t.state,
                TransferState::Receiving { .. } | TransferState::Stalled { .. }
            )
        };
        let begun = ben.transfer_until(&id, begun).await;
        let mallory = RawPeer::new(77).await;
        let link = mallory.knock(&begun.link).await;
        link.greet().await;
        let listed = link.listed().await;
        Scene {
            ana,
            ben,
            share,
            id,
            mallory,
            link,
            listed,
        }
    }

    /// Says that this peer has the list that Ben has.
    async fn take_part(&self) {
        self.link.send(&self.listed).await;
    }

    /// Ana sends, and Ben gets everything.
    async fn all_is_well(&self, what: &str) {
        let resumed = self.ana.engine.resume(&self.share.id).await;
        resumed.expect("resumed");
        let over = self.ben.transfer_until(&self.id, |t| is_over(&t.state));
        let over = over.await;
        assert!(
            matches!(over.state, TransferState::Done { files: 1, .. }),
            "{what}: {:?}",
            over.state
        );
        assert_eq!((over.problems.len(), over.stopped), (0, false), "{what}");
        let here = fs::read(self.ben.downloads().join("big.bin")).expect("a file");
        assert!(here == bytes(1, LENGTH), "{what}");
        let share = self.ana.share_until(&self.share.id, |_| true).await;
        assert_eq!(share.state, ShareState::Ready, "{what}");
    }

    /// Ben shows the peer out.
    async fn is_shown_out(&self, what: &str) {
        self.link.is_shown_out(what).await;
    }
}

/// The secret that a share's invite carries.
fn secret_of(share: &ShareView) -> InviteSecret {
    Invite::parse(&share.link).expect("an invite").secret
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_claims_and_does_not_send_comes_from_the_others() {
    let scene = Scene::begin().await;
    scene.take_part().await;
    scene.link.offer_all().await;
    let asked = scene.link.requested().await;
    assert!(!asked.is_empty());
    let well = scene.all_is_well("claimed, not sent");
    scene.link.alive_while(well).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_somebody_who_sends_nothing_stalls_the_transfer_and_nothing_hangs() {
    let ben = Person::new("Ben").await;
    let files = [("big.bin", bytes(1, 3 << 20))];
    let meeting = Meeting::accepted(&ben, 1, &files).await;
    let id = &meeting.id;
    let stalled = ben.transfer_until(
        id,
        |t| matches!(t.state, TransferState::Stalled { seconds, .. } if seconds >= 3),
    );
    let stalled = meeting.link.alive_while(stalled).await;
    assert!(stalled.route.is_some(), "the link is up all the same");
    let TransferState::Stalled { progress, .. } = stalled.state else {
        unreachable!()
    };
    assert_eq!((progress.bytes, progress.total), (0, 3 << 20));
    ben.engine.cancel(id).await.expect("cancelled");
    ben.transfer_until(id, |t| t.state == TransferState::Cancelled)
        .await;
    assert_eq!(tree(&ben.downloads()).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_pieces_that_do_not_exist_end_the_link_and_the_transfer_goes_on() {
    let field = |first, bytes| Message::HoldsField {
        first,
        bits: vec![0xff; bytes],
    };
    let pieces = |numbers: &[u32]| Message::Holds {
        pieces: numbers.to_vec(),
    };
    for claim in [
        pieces(&[12]),
        pieces(&[0, 1, u32::MAX]),
        field(8, 2),
        field(u32::MAX - 7, 1),
        field(0, 40_000),
    ] {
        let scene = Scene::begin().await;
        scene.take_part().await;
        scene.link.send(&claim).await;
        let what = format!("{claim:?}").chars().take(60).collect::<String>();
        scene.is_shown_out(&what).await;
        scene.all_is_well(&what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_come_before_the_list_are_judged_by_the_list() {
    let ben = Person::new("Ben").await;
    let files = [("a.txt", b"hello".to_vec())];
    let meeting = Meeting::new(&ben, 1, &files).await;
    let link = &meeting.link;
    let pieces = vec![0, 5_000_000];
    let signed = meeting.offering.signed();
    link.send(&Message::Holds { pieces }).await;
    link.send(&Message::Listed {
        hash: outline(&signed),
        edition: 1,
        one_person: false,
        whole: true,
    })
    .await;
    link.list_wanted().await;
    parts(link, &signed).await;
    link.send(&Message::Unchoke).await;
    let problem = ben.failed(&meeting.id).await;
    assert_eq!(problem.code, ProblemCode::Corrupt, "{problem:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_nobody_asked_for_end_the_link_and_the_transfer_goes_on() {
    for piece in [0, 11, 12] {
        let scene = Scene::begin().await;
        scene.take_part().await;
        scene.link.send(&Message::HoldsAll).await;
        let piece = PieceRef { entry: 0, piece };
        scene.link.send_frame(piece, 0, &[7; 1000]).await;
        scene.is_shown_out(&format!("{piece:?}")).await;
        scene.all_is_well(&format!("{piece:?}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_stop_stops_nothing() {
    let other = ShareKey::from_seed([5; 32]);
    for case in 1..=3 {
        let scene = Scene::begin().await;
        let secret = secret_of(&scene.share);
        let signed = |statement: &[u8]| Message::Stopped {
            public_key: other.public(),
            signature: other.sign(statement).into(),
        };
        let forged = match case {
            1 => signed(&stop_statement(&secret)),
            // A true stop, of another share.
            2 => signed(&stop_statement(&other.secret())),
            _ => Message::Stopped {
                public_key: [0; 32],
                signature: [0; 64].into(),
            },
        };
        scene.link.send(&forged).await;
        scene.is_shown_out(&format!("stop {case}")).await;
        // To the sharer herself as well.
        let link = RawPeer::new(78).await.knock(&scene.share.link).await;
        link.greet().await;
        link.send(&forged).await;
        link.is_shown_out(&format!("stop {case}")).await;
        scene.all_is_well(&format!("stop {case}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_that_says_stopped_stops_nothing() {
    let scene = Scene::begin().await;
    for reason in [Farewell::Stopped, Farewell::Taken] {
        let link = RawPeer::new(reason as u8 + 100).await;
        let view = scene.ben.transfer_until(&scene.id, |_| true).await;
        let link = link.knock(&view.link).await;
        link.greet().await;
        link.send(&Message::Bye { reason }).await;
        while link.receive().await.is_some() {}
    }
    scene.all_is_well("goodbyes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_claims_to_be_the_sharer_and_is_not_is_shown_out() {
    let other = ShareKey::from_seed([5; 32]);
    for case in 1..=2 {
        let scene = Scene::begin().await;
        let Message::Sharer { public_key, .. } = scene.link.sharer_of(&other) else {
            unreachable!()
        };
        let forged = match case {
            1 => scene.link.sharer_of(&other),
            _ => Message::Sharer {
                public_key,
                signature: [0; 64].into(),
            },
        };
        scene.link.send(&forged).await;
        scene.is_shown_out(&format!("sharer {case}")).await;
        scene.all_is_well(&format!("sharer {case}")).await;
        let view = scene.ben.transfer_until(&scene.id, |_| true).await;
        assert_eq!(view.from.map(|from| from.name).as_deref(), Some("Ana"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_sharer_can_withhold_a_file() {
    let scene = Scene::begin().await;
    scene.take_part().await;
    scene.link.offer_all().await;
    scene.link.requested().await;
    let (entry, reason) = (0, SourceProblem::Vanished);
    scene
        .link
        .send(&Message::Unavailable { entry, reason })
        .await;
    let well = scene.all_is_well("withheld by another");
    scene.link.alive_while(well).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_requests_and_wishes_end_the_link_and_leave_the_share_as_it_was() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 3 << 20))]).await;
    let piece = |piece| PieceRef { entry: 0, piece };
    // Small enough that the flood is longer than all that may wait.
    let all: Vec<PieceRef> = (0..3).map(piece).collect();
    let ask = Message::Request { pieces: all };
    let floods: [(&str, Vec<Message>); 2] = [
        ("requests out of turn", vec![ask; MAX_OUTSTANDING]),
        ("wishes for the list", vec![Message::WantManifest; 50]),
    ];
    for (seed, (what, flood)) in (1..).zip(floods) {
        let link = RawPeer::new(seed).await.knock(&share.link).await;
        link.greet().await;
        link.listed().await;
        let (files, bytes) = (share.files, share.bytes);
        link.send(&Message::Accept { files, bytes }).await;
        for message in &flood {
            link.send(message).await;
        }
        link.is_shown_out(what).await;
    }
    ana.share_until(&share.id, |share| {
        share.people.len() == 2
            && share
                .people
                .iter()
                .all(|person| person.state == PersonState::Lost)
    })
    .await;
    let done = Person::new("Ben").await.get(&share.link).await;
    assert!(is_done(&done), "{:?}", done.state);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_to_be_passed_on_are_cut_and_none_goes_back_to_its_sender() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let (mallory, target) = (RawPeer::new(1).await, RawPeer::new(2).await);
    let link = mallory.knock(&share.link).await;
    let heard = target.knock(&share.link).await;
    for link in [&link, &heard] {
        link.greet().await;
        link.listed().await;
    }
    let (files, bytes) = (share.files, share.bytes);
    link.send(&Message::Accept { files, bytes }).await;
    let (sealed, _) = mallory.seal(&secret_of(&share), [9; 16], dead_offer());
    let forward = |to| Message::Forward {
        to,
        sealed: sealed.clone(),
    };
    // To Ana and to itself; then to somebody whom Ana knows, many times over.
    link.send(&forward(link.peer())).await;
    link.send(&forward(mallory.device())).await;
    link.send(&forward(DeviceKey::from_seed([44; 32]).public()))
        .await;
    for _ in 0..500 {
        link.send(&forward(target.device())).await;
    }
    for bytes in 0..3000 {
        link.send(&Message::Progress { bytes }).await;
    }
    ana.share_until(&share.id, |share| {
        share.people.iter().any(|person| person.bytes == 5)
    })
    .await;
    // What was passed on comes before the answer to this.
    heard.send(&Message::WantManifest).await;
    let mut passed_on = 0;
    while let Some(message) = heard.receive().await {
        match message {
            Message::Forwarded { from, sealed: got } => {
                assert!(from == mallory.device() && got == sealed);
                passed_on += 1;
            }
            Message::Manifest { .. } => break,
            _ => {}
        }
    }
    // Sixty in ten seconds, and the flood may reach into the next ten.
    assert!((1..=120).contains(&passed_on), "{passed_on} were passed on");
    link.send(&Message::WantManifest).await;
    while let Some(message) = link.receive().await {
        assert!(!matches!(message, Message::Forwarded { .. }), "{message:?}");
        if matches!(message, Message::Manifest { .. }) {
            break;
        }
    }
    let shown = ana.share_until(&share.id, |_| true).await;
    assert_eq!(shown.people.len(), 2, "{:?}", shown.people);
}

/// Members that do not exist, told of where nobody listens.
fn made_up(first: u32, count: u32) -> Message {
    let member = |number: u32| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        Member {
            device: DeviceKey::from_seed(seed).public(),
            name: DeviceName::new("Nobody"),
            pieces: 12,
            complete: true,
            links: 0,
            age: 0,
            addresses: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 9))],
        }
    };
    Message::Members {
        members: (first..first + count).map(member).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_made_up_members_are_bounded_and_real_ones_still_found() {
    let scene = Scene::begin().await;
    let count = MEMBERS_PER_MESSAGE as u32;
    for number in 0..100 {
        scene.link.send(&made_up(1 + number * count, count)).await;
    }
    let cleo = Person::new("Cleo").await;
    let id = cleo.begin(&scene.share.link).await;
    let met = scene.ben.transfer_until(&scene.id, |t| {
        t.people
            .iter()
            .any(|person| person.device.name == "Cleo" && person.presence == Presence::Connected)
    });
    let met = scene.link.alive_while(met).await;
    assert!(met.people.len() <= 500, "{} are shown", met.people.len());
    scene.all_is_well("made-up members").await;
    cleo.done(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_a_list_of_members_or_of_pieces_ends_the_link() {
    let too_many = (0..=REQUESTS_PER_MESSAGE as u32).collect();
    for message in [
        made_up(1, MEMBERS_PER_MESSAGE as u32 + 1),
        Message::Holds { pieces: too_many },
        Message::Forward {
            to: DeviceKey::from_seed([44; 32]).public(),
            sealed: vec![0; 1201],
        },
    ] {
        let scene = Scene::begin().await;
        scene.take_part().await;
        scene.link.send(&message).await;
        scene.is_shown_out("too long").await;
        scene.all_is_well("too long").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_knock_in_anothers_name_is_not_answered_by_way_of_a_member() {
    let scene = Scene::begin().await;
    let secret = secret_of(&scene.share);
    let session = SessionId([8; 16]);
    let (sealed, _) = scene.mallory.seal(&secret, session.0, dead_offer());
    let from = DeviceKey::from_seed([44; 32]).public();
    scene.link.send(&Message::Forwarded { from, sealed }).await;
    scene.take_part().await;
    scene.link.send(&Message::WantManifest).await;
    while let Some(message) = scene.link.receive().await {
        assert!(!matches!(message, Message::Forward { .. }), "{message:?}");
        if matches!(message, Message::Manifest { .. }) {
            break;
        }
    }
    scene.all_is_well("a knock in another's name").await;
}
