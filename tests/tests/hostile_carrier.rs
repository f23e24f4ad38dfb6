//! A friend who helps two others through and does not do as they should, and those who
//! abuse one who does: what arrives is what was sent, or nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use passalong_engine::api::{Id, PersonState, Presence, ShareView};
use passalong_proto::invite::{Invite, InviteSecret};
use passalong_proto::keys::{DeviceId, DeviceKey};
use passalong_proto::knock::{self, Candidate, CandidateKind, DeviceName, SessionId};
use passalong_proto::wire::{MAX_CARRIED, Member, Message};
use passalong_tests::raw::{RawLink, RawPeer, dead_offer, patiently};
use passalong_tests::{Person, bytes};

const LENGTH: usize = 2 << 20;

fn secret_of(share: &ShareView) -> InviteSecret {
    Invite::parse(&share.link).expect("an invite").secret
}

/// How a member is told of who has so many pieces, and where they are is not known.
fn member(device: DeviceId, pieces: u32, complete: bool) -> Message {
    let member = Member {
        device,
        name: DeviceName::new("Somebody"),
        pieces,
        complete,
        links: 1,
        age: 0,
        addresses: Vec::new(),
    };
    Message::Members {
        members: vec![member],
    }
}

async fn willing(name: &str, carry: bool) -> Person {
    Person::with(name, |config| config.carry = Some(carry)).await
}

/// A raw peer between Ana, who has a file, and Ben, who knows of her from it alone.
struct Between {
    ana: Person,
    ben: Person,
    share: ShareView,
    id: Id,
    secret: InviteSecret,
    to_ana: RawLink,
    to_ben: RawLink,
}

impl Between {
    async fn begin(seed: u8) -> Between {
        let (ana, ben) = (Person::new("Ana").await, Person::new("Ben").await);
        let share = ana.share(&[ana.write("film.bin", &bytes(1, LENGTH))]).await;
        let secret = secret_of(&share);
        let mallory = RawPeer::new(seed).await;
        let to_ana = mallory.knock(&share.link).await;
        to_ana.greet().await;
        let listed = to_ana.listed().await;
        to_ana.send(&Message::WantManifest).await;
        let list = |message: &Message| {
            matches!(message, Message::Manifest { .. }).then(|| message.clone())
        };
        let head = to_ana.heard("the list", list).await;
        let part = |message: &Message| {
            matches!(message, Message::ManifestPart { .. }).then(|| message.clone())
        };
        let part = to_ana.heard("a part of it", part).await;

        let id = ben.open(&mallory.link_to(secret)).await.expect("an invite");
        let to_ben = mallory.answer(&secret).await;
        to_ben.greet().await;
        to_ben.send(&listed).await;
        to_ben.list_wanted().await;
        to_ben.send(&head).await;
        to_ben.send(&part).await;
        ben.accept(&id).await;
        for link in [&to_ana, &to_ben] {
            link.send(&Message::Carries { willing: true }).await;
        }
        Between {
            ana,
            ben,
            share,
            id,
            secret,
            to_ana,
            to_ben,
        }
    }

    /// Passes on answers and knocks that are to be carried, and of each datagram of a
    /// connection what `treat` makes of it, until something has happened.
    async fn carry_until<T>(
        &self,
        mut treat: impl FnMut(SessionId, Vec<u8>) -> Vec<Vec<u8>>,
        happening: impl Future<Output = T>,
    ) -> T {
        let carry = async {
            let mut pause = tokio::time::interval(Duration::from_secs(1));
            loop {
                let (message, from, to) = tokio::select! {
                    _ = pause.tick() => {
                        self.to_ana.send(&Message::Alive).await;
                        self.to_ben.send(&member(self.to_ana.peer(), 2, true)).await;
                        continue;
                    }
                    message = self.to_ana.receive() => (message, &self.to_ana, &self.to_ben),
                    message = self.to_ben.receive() => (message, &self.to_ben, &self.to_ana),
                };
                let from = from.peer();
                match message.expect("nobody parts with whoever only loses datagrams") {
                    Message::Forward { sealed, .. } => {
                        let carried = knock::open(&self.secret, &sealed)
                            .is_ok_and(|knock| knock.knock.offer.is_carried());
                        if carried || knock::is_answer(&sealed) {
                            to.send(&Message::Forwarded { from, sealed }).await;
                        }
                    }
                    Message::Carry {
                        session, datagram, ..
                    } => {
                        for datagram in treat(session, datagram) {
                            to.send(&Message::Carried {
                                from,
                                session,
                                datagram,
                            })
                            .await;
                        }
                    }
                    _ => {}
                }
            }
        };
        tokio::select! {
            () = carry => unreachable!("carrying never ends"),
            outcome = happening => outcome,
        }
    }

    async fn arrives(&self) {
        self.ben.done(&self.id).await;
        let film = fs::read(self.ben.downloads().join("film.bin")).expect("a film");
        assert!(film == bytes(1, LENGTH));
    }

    /// Nothing gets through in the first connection that is tried, and everything in
    /// the next.
    async fn first_fails(&self, mut spoil: impl FnMut(Vec<u8>) -> Vec<Vec<u8>>) {
        let mut sessions: Vec<SessionId> = Vec::new();
        let treat = |session, datagram| {
            if !sessions.contains(&session) {
                sessions.push(session);
            }
            match sessions.first() == Some(&session) {
                true => spoil(datagram),
                false => vec![datagram],
            }
        };
        self.carry_until(treat, self.arrives()).await;
        assert!(sessions.len() >= 2, "{} were tried", sessions.len());
        let ana = self.ana.share_until(&self.share.id, |_| true).await;
        let ben = ana.people.iter().find(|person| person.device.name == "Ben");
        assert_eq!(ben.expect("Ben").presence, Presence::Connected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_friend_alters_repeats_reorders_drops_or_makes_up_harms_no_file() {
    let between = Between::begin(1).await;
    let (mut count, mut late) = (0_usize, None);
    let mut done = HashSet::new();
    let treat = |_, mut datagram: Vec<u8>| {
        count += 1;
        // The handshake is left alone: whoever spoils that has refused to help.
        if count < 200 {
            return vec![datagram];
        }
        let mut out: Vec<Vec<u8>> = late.take().into_iter().collect();
        if count.is_multiple_of(211) {
            done.insert("altered");
            let middle = datagram.len() / 2;
            datagram[middle] ^= 1;
        } else if count.is_multiple_of(307) {
            done.insert("dropped");
            return out;
        } else if count.is_multiple_of(37) {
            done.insert("reordered");
            late = Some(datagram);
            return out;
        }
        if count.is_multiple_of(19) {
            done.insert("repeated");
            out.push(datagram.clone());
        }
        if count.is_multiple_of(23) {
            done.insert("made up");
            out.push(bytes(count as u64, count * 7 % (MAX_CARRIED + 1)));
        }
        out.push(datagram);
        out
    };
    between.carry_until(treat, between.arrives()).await;
    assert_eq!(done.len(), 5, "{done:?} after {count} datagrams");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_every_datagram_was_altered_never_comes_up() {
    let between = Between::begin(2).await;
    let alter = |mut datagram: Vec<u8>| {
        let end = datagram.len() - 1;
        datagram[end] ^= 0x80;
        vec![datagram]
    };
    between.first_fails(alter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_friend_who_says_they_help_and_do_not_is_tried_again_later() {
    let between = Between::begin(3).await;
    between.first_fails(|_| Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_to_carry_who_did_not_say_that_they_would() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.bin", &bytes(1, 100_000))]).await;
    let secret = secret_of(&share);
    let mallory = RawPeer::new(4).await;
    let link = mallory.knock(&share.link).await;
    link.greet().await;
    let ben = Person::new("Ben").await;
    let id = ben.begin(&share.link).await;
    ben.done(&id).await;
    // Ben hears of the raw peer from Ana, and calls it by way of her.
    let told = member(mallory.device(), 0, false);
    let here = async {
        let mut pause = tokio::time::interval(Duration::from_secs(1));
        loop {
            pause.tick().await;
            link.send(&told).await;
        }
    };
    let heard = async {
        let mut straight = HashSet::new();
        let knock = async || {
            let sealed = |message: &Message| match message {
                Message::Forwarded { sealed, .. } => Some(sealed.clone()),
                _ => None,
            };
            let sealed = link.heard("a knock that is passed on", sealed).await;
            let knock = knock::open(&secret, &sealed).expect("a knock").knock;
            (knock.session, knock.offer.is_carried())
        };
        // A call has failed when there is another one.
        while straight.len() < 2 {
            let (session, carried) = knock().await;
            assert!(!carried, "Ana did not say that she would carry");
            straight.insert(session);
        }
        let mut settings = ana.engine.snapshot().await.settings;
        assert!(!settings.carry, "off unless chosen");
        settings.carry = true;
        ana.engine.save_settings(settings).await.expect("kept");
        while !knock().await.1 {}
    };
    tokio::select! {
        () = here => unreachable!("signs of life never end"),
        () = heard => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_knock_that_asks_to_be_carried_and_came_by_itself_is_not_answered() {
    let ana = Person::new("Ana").await;
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    let invite = Invite::parse(&share.link).expect("an invite");
    let mallory = RawPeer::new(5).await;
    let mut offer = dead_offer();
    offer.candidates = vec![Candidate {
        kind: CandidateKind::Carried,
        address: mallory.address(),
        priority: 1,
    }];
    let (carried, mut unanswered) = mallory.seal(&invite.secret, [1; 16], offer);
    let (straight, mut answered) = mallory.seal(&invite.secret, [2; 16], dead_offer());
    for knock in [carried, straight] {
        mallory.send(&knock, invite.addresses[0]).await;
    }
    let answer = mallory.datagram().await;
    assert!(unanswered.open(&answer).is_err());
    assert!(answered.open(&answer).is_ok());
}

/// A raw peer that is linked with somebody who shares.
async fn linked(seed: u8, link: &str) -> (DeviceId, RawLink) {
    let peer = RawPeer::new(seed).await;
    let link = peer.knock(link).await;
    link.greet().await;
    link.listed().await;
    (peer.device(), link)
}

fn carry(to: DeviceId, length: usize) -> Message {
    Message::Carry {
        to,
        session: SessionId([7; 16]),
        datagram: bytes(length as u64, length),
    }
}

/// What is carried in the next datagram to a link, if any comes before the answer to
/// what was asked on it.
async fn next_carried(from: &RawLink, to: &RawLink) -> Option<usize> {
    loop {
        match to.receive().await.expect("the link is there") {
            Message::Carried {
                from: device,
                session,
                datagram,
            } => {
                assert_eq!((device, session), (from.own(), SessionId([7; 16])));
                assert!(datagram == bytes(datagram.len() as u64, datagram.len()));
                return Some(datagram.len());
            }
            Message::Manifest { .. } => return None,
            _ => {}
        }
    }
}

/// Waits until everything that was said on a link has been heard.
async fn heard_all(mia: &Person, share: &ShareView, link: &RawLink) {
    let (files, bytes) = (share.files, share.bytes);
    link.send(&Message::Accept { files, bytes }).await;
    let receiving = |share: &ShareView| {
        let mut people = share.people.iter();
        people.any(|person| person.state == PersonState::Receiving)
    };
    mia.share_until(&share.id, receiving).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_are_carried_as_they_are_to_those_who_are_there_and_only_if_that_is_wanted() {
    for wanted in [true, false] {
        let mia = willing("Mia", wanted).await;
        let share = mia.share(&[mia.write("a.txt", b"hello")]).await;
        let (own, link) = linked(1, &share.link).await;
        let (target, heard) = linked(2, &share.link).await;
        let nobody = DeviceKey::from_seed([44; 32]).public();
        for to in [own, nobody, link.peer()] {
            link.send(&carry(to, 100)).await;
        }
        let lengths = [0, 1, 2, 63, 1199, 1200, MAX_CARRIED - 1, MAX_CARRIED];
        for length in lengths {
            link.send(&carry(target, length)).await;
        }
        if wanted {
            for length in lengths {
                assert_eq!(next_carried(&link, &heard).await, Some(length));
            }
        } else {
            heard_all(&mia, &share, &link).await;
        }
        for link in [&link, &heard] {
            link.send(&Message::WantManifest).await;
            assert_eq!(next_carried(link, link).await, None);
        }
        link.send(&carry(target, MAX_CARRIED + 1)).await;
        link.is_shown_out("too long").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_to_be_carried_is_cut_and_leaves_the_links_as_they_are() {
    let mia = willing("Mia", true).await;
    mia.limit_upload(Some(500_000)).await;
    let share = mia.share(&[mia.write("a.txt", b"hello")]).await;
    let (_, link) = linked(1, &share.link).await;
    let (target, heard) = linked(2, &share.link).await;
    let flood = async {
        for _ in 0..6000 {
            link.send(&carry(target, MAX_CARRIED)).await;
        }
        for _ in 0..6000 {
            link.send(&carry(target, 1)).await;
        }
    };
    patiently("the flood to be taken", heard.alive_while(flood)).await;
    heard_all(&mia, &share, &link).await;
    heard.send(&Message::WantManifest).await;
    let mut carried = 0;
    while next_carried(&link, &heard).await.is_some() {
        carried += 1;
    }
    assert!((1..6000).contains(&carried), "{carried} were carried");
}
