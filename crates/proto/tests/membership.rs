//! Membership in meshes of hundreds: everybody finds links and not too many, the
//! swarm stays in one part through crashes and joins, and made-up members change
//! nothing for real ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use passalong_proto::keys::DeviceId;
use passalong_proto::knock::DeviceName;
use passalong_proto::membership::{
    Action, EXPIRY, FROM_ONE_TELLER, HARD_LINKS, MAX_ATTEMPTS, MAX_BACK_OFF, MAX_KNOWN, MAX_LINKS,
    MIN_LINKS, Membership, SPARE_LINKS, TARGET_LINKS,
};
use passalong_proto::wire::{MEMBER_ADDRESSES, MEMBERS_PER_MESSAGE, Member};
use proptest::prelude::*;

const TICK: Duration = Duration::from_millis(250);
/// How long an attempt takes to succeed, to fail, and a silent link to be noticed.
const CONNECTS: Duration = Duration::from_millis(500);
const FAILS: Duration = Duration::from_secs(5);
const NOTICED: Duration = Duration::from_secs(6);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn device(number: u32) -> DeviceId {
    let mixed = u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut id = [0; 32];
    id[..8].copy_from_slice(&mixed.to_be_bytes());
    id[8..12].copy_from_slice(&number.to_be_bytes());
    DeviceId(id)
}

fn name() -> DeviceName {
    DeviceName::new("Ana's laptop")
}

fn address(number: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 4000))
}

/// What a member may say of a device with this number.
fn told(number: u32) -> Member {
    Member {
        device: device(number),
        name: name(),
        pieces: 1,
        complete: false,
        links: 3,
        age: 0,
        addresses: vec![address(number)],
    }
}

fn member(number: u32) -> Membership {
    let mut member = Membership::new(device(number), name(), u64::from(number));
    member.set_own(name(), 0, false, vec![address(number)]);
    member.set_active(true);
    member
}

enum Event {
    Connected(usize, usize),
    Failed(usize, DeviceId),
    Gone(usize, DeviceId),
    Gossip(usize, DeviceId, Vec<Member>),
}

/// Members on a network where everything takes a while and nobody else is.
#[derive(Default)]
struct Mesh {
    members: Vec<Membership>,
    crashed: BTreeSet<usize>,
    numbers: BTreeMap<DeviceId, usize>,
    links: BTreeSet<(usize, usize)>,
    now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    next_event: u64,
    most_links: usize,
    most_attempts: usize,
    attempts: BTreeMap<usize, usize>,
    gossip_messages: usize,
}

impl Mesh {
    /// `count` members who all came through the first, one every 50 ms.
    fn of(count: usize) -> Mesh {
        let mut mesh = Mesh::default();
        mesh.join(None);
        while mesh.members.len() < count {
            for _ in 0..5.min(count - mesh.members.len()) {
                mesh.join(Some(0));
            }
            mesh.step();
        }
        mesh
    }

    fn join(&mut self, via: Option<usize>) -> usize {
        let number = self.members.len();
        self.members.push(member(number as u32));
        self.numbers.insert(device(number as u32), number);
        if let Some(via) = via {
            self.link(via, number);
        }
        number
    }

    fn link(&mut self, a: usize, b: usize) {
        if self.links.insert((a.min(b), a.max(b))) {
            for (one, other) in [(a, b), (b, a)] {
                self.members[one].linked(device(other as u32), name(), self.now);
            }
        }
    }

    fn linked(&self, one: usize, other: DeviceId) -> bool {
        let other = self.numbers[&other];
        self.links.contains(&(one.min(other), one.max(other)))
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.next_event += 1;
        self.events
            .insert((self.now + after, self.next_event), event);
    }

    fn crash(&mut self, number: usize) {
        self.crashed.insert(number);
        let ended: Vec<_> = self.links.iter().copied().collect();
        for (a, b) in ended {
            if a == number || b == number {
                self.links.remove(&(a, b));
                self.later(NOTICED, Event::Gone(a + b - number, device(number as u32)));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += TICK;
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let event = entry.remove();
            self.happen(event);
        }
        for number in 0..self.members.len() {
            if !self.crashed.contains(&number) {
                self.poll(number);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        let (to, event) = match event {
            Event::Connected(to, other) if self.crashed.contains(&other) => {
                (to, Event::Failed(to, device(other as u32)))
            }
            Event::Connected(to, ..)
            | Event::Failed(to, ..)
            | Event::Gone(to, ..)
            | Event::Gossip(to, ..) => (to, event),
        };
        if self.crashed.contains(&to) {
            return;
        }
        match event {
            Event::Connected(_, other) => {
                self.attempts.entry(to).and_modify(|count| *count -= 1);
                self.link(to, other);
            }
            Event::Failed(_, device) => {
                self.attempts.entry(to).and_modify(|count| *count -= 1);
                self.members[to].failed(device, now);
            }
            // They may be linked anew before the end of the old link is noticed.
            Event::Gone(_, device) if !self.linked(to, device) => {
                self.members[to].unlinked(device, now);
            }
            Event::Gossip(_, from, members) if self.linked(to, from) => {
                self.members[to].gossip(from, members, now);
            }
            Event::Gone(..) | Event::Gossip(..) => {}
        }
    }

    fn poll(&mut self, number: usize) {
        while let Some(action) = self.members[number].poll(self.now) {
            match action {
                Action::Connect { device, .. } => {
                    let attempts = self.attempts.entry(number).or_default();
                    *attempts += 1;
                    self.most_attempts = self.most_attempts.max(*attempts);
                    let other = self.numbers.get(&device).copied();
                    match other.filter(|other| !self.crashed.contains(other)) {
                        Some(other) => self.later(CONNECTS, Event::Connected(number, other)),
                        None => self.later(FAILS, Event::Failed(number, device)),
                    }
                }
                Action::Drop { device: dropped } => {
                    let other = self.numbers[&dropped];
                    // Unless the other end did the same in this very moment.
                    if self.links.remove(&(number.min(other), number.max(other))) {
                        self.later(TICK, Event::Gone(other, device(number as u32)));
                    }
                }
                Action::Gossip { to, members } => {
                    self.gossip_messages += 1;
                    assert!(members.len() <= MEMBERS_PER_MESSAGE);
                    assert!(
                        members
                            .iter()
                            .all(|m| m.addresses.len() <= MEMBER_ADDRESSES)
                    );
                    let from = device(number as u32);
                    let event = Event::Gossip(self.numbers[&to], from, members);
                    self.later(TICK, event);
                }
            }
        }
        self.most_links = self.most_links.max(self.members[number].links());
    }

    fn online(&self) -> Vec<usize> {
        let all = 0..self.members.len();
        all.filter(|number| !self.crashed.contains(number))
            .collect()
    }

    /// How many parts the swarm is in.
    fn parts(&self) -> usize {
        let mut near: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (a, b) in &self.links {
            near.entry(*a).or_default().push(*b);
            near.entry(*b).or_default().push(*a);
        }
        let mut left: BTreeSet<usize> = self.online().into_iter().collect();
        let mut parts = 0;
        while let Some(start) = left.pop_first() {
            parts += 1;
            let mut reached = vec![start];
            while let Some(number) = reached.pop() {
                let others = near.get(&number).into_iter().flatten();
                reached.extend(others.filter(|other| left.remove(other)));
            }
        }
        parts
    }

    fn degrees(&self) -> Vec<usize> {
        let mut degrees: BTreeMap<usize, usize> = BTreeMap::new();
        for (a, b) in &self.links {
            *degrees.entry(*a).or_default() += 1;
            *degrees.entry(*b).or_default() += 1;
        }
        let degree = |number| degrees.get(&number).copied().unwrap_or(0);
        self.online().into_iter().map(degree).collect()
    }
}

#[test]
fn hundreds_who_came_through_one_find_links_and_not_too_many() {
    let mut mesh = Mesh::of(300);
    mesh.run(seconds(20));
    assert_eq!(mesh.parts(), 1);
    let degrees = mesh.degrees();
    assert!(
        degrees
            .iter()
            .all(|d| (TARGET_LINKS..=MAX_LINKS).contains(d)),
        "{degrees:?}"
    );
    let mean = degrees.iter().sum::<usize>() as f64 / degrees.len() as f64;
    assert!(mean < 1.6 * TARGET_LINKS as f64, "{mean} links on average");
    assert!(
        mesh.most_links <= HARD_LINKS,
        "{} at a time",
        mesh.most_links
    );
    assert!(mesh.most_attempts <= MAX_ATTEMPTS);
}

#[test]
fn a_few_are_all_linked_and_all_know_each_other() {
    let mut mesh = Mesh::of(6);
    mesh.run(seconds(10));
    assert_eq!(mesh.degrees(), [5; 6]);
    for member in &mesh.members {
        assert_eq!(
            member
                .members(mesh.now)
                .filter(|known| known.linked)
                .count(),
            5
        );
    }
}

#[test]
fn everybody_of_fifty_is_known_to_everybody() {
    let mut mesh = Mesh::of(50);
    mesh.run(seconds(30));
    for (number, member) in mesh.members.iter().enumerate() {
        let known = member.members(mesh.now).count();
        assert_eq!(known, 49, "as {number} sees it");
    }
}

#[test]
fn a_swarm_of_which_a_third_crashes_stays_whole_and_heals_within_seconds() {
    let mut mesh = Mesh::of(300);
    mesh.run(seconds(20));
    for number in 0..300 {
        if number % 10 < 3 {
            mesh.crash(number);
        }
    }
    assert_eq!(mesh.parts(), 1, "at once");
    mesh.run(NOTICED + seconds(8));
    assert_eq!(mesh.parts(), 1);
    let degrees = mesh.degrees();
    let few = degrees.iter().filter(|d| **d < MIN_LINKS).count();
    assert_eq!(few, 0, "{degrees:?}");
    mesh.run(seconds(10));
    assert!(
        mesh.degrees().iter().all(|d| *d >= TARGET_LINKS),
        "{:?}",
        mesh.degrees()
    );
    mesh.run(EXPIRY);
    let dead: BTreeSet<DeviceId> = mesh.crashed.iter().map(|n| device(*n as u32)).collect();
    for number in mesh.online() {
        let member = &mesh.members[number];
        let ghosts = member
            .members(mesh.now)
            .filter(|known| dead.contains(&known.device));
        assert_eq!(ghosts.count(), 0, "as {number} sees it");
    }
}

#[test]
fn people_go_on_joining_through_anybody_after_the_first_is_gone() {
    let mut mesh = Mesh::of(40);
    mesh.run(seconds(10));
    mesh.crash(0);
    for via in 1..31 {
        mesh.join(Some(via));
        mesh.step();
    }
    mesh.run(seconds(15));
    assert_eq!(mesh.parts(), 1);
    assert!(
        mesh.degrees().iter().all(|d| *d >= TARGET_LINKS),
        "{:?}",
        mesh.degrees()
    );
}

#[test]
fn gossip_costs_each_member_a_few_messages_a_second() {
    let mut mesh = Mesh::of(200);
    mesh.run(seconds(20));
    let before = mesh.gossip_messages;
    mesh.run(seconds(20));
    let each = (mesh.gossip_messages - before) as f64 / 20.0 / 200.0;
    assert!(each <= 5.0, "{each} a second");
}

#[test]
fn complete_members_leave_each_other_be_and_serve_those_who_are_not() {
    let mut mesh = Mesh::default();
    mesh.join(None);
    for number in 1..200 {
        mesh.join(Some(number / 2));
        if number % 10 != 0 {
            mesh.members[number].set_own(name(), 100, true, vec![address(number as u32)]);
        }
        mesh.step();
    }
    mesh.run(seconds(30));
    assert_eq!(mesh.parts(), 1);
    for (number, degree) in mesh.degrees().into_iter().enumerate() {
        assert!(
            (MIN_LINKS..=MAX_LINKS).contains(&degree),
            "{number} has {degree}"
        );
        if number % 10 == 0 {
            assert!(degree >= TARGET_LINKS, "{number} has {degree}");
        }
    }
}

#[test]
fn whoever_takes_no_part_looks_for_one_link_and_is_spoken_of_by_nobody() {
    let mut mesh = Mesh::of(20);
    let quiet = mesh.join(Some(3));
    mesh.members[quiet].set_active(false);
    mesh.run(seconds(30));
    assert_eq!(mesh.members[quiet].links(), 1);
    let heard_of = |number: &usize| {
        let mut known = mesh.members[*number].members(mesh.now);
        known.any(|known| known.device == device(quiet as u32))
    };
    assert_eq!(
        mesh.online()
            .into_iter()
            .filter(heard_of)
            .collect::<Vec<_>>(),
        [3]
    );
}

#[test]
fn members_of_earlier_days_are_tried_when_nobody_is_known_and_not_otherwise() {
    let mut alone = member(0);
    let number = |n: u32| (device(n), name(), vec![address(n)]);
    alone.remembered((0..5000).map(number).collect());
    let mut tried = BTreeSet::new();
    let mut now = Duration::ZERO;
    while now < seconds(30) {
        while let Some(action) = alone.poll(now) {
            let Action::Connect {
                device: whom,
                via,
                addresses,
            } = action
            else {
                panic!("{action:?} to nobody");
            };
            assert_ne!(whom, device(0), "itself");
            assert!(via.is_empty() && addresses.len() == 1);
            tried.insert(whom);
            alone.failed(whom, now);
        }
        now += TICK;
    }
    assert!(tried.len() > 20, "{} tried", tried.len());

    let mut linked = member(0);
    linked.remembered((1..5).map(number).collect());
    linked.linked(device(9), name(), Duration::ZERO);
    let connects = std::iter::from_fn(|| linked.poll(seconds(1)))
        .filter(|action| matches!(action, Action::Connect { .. }));
    assert_eq!(connects.count(), 0);
}

#[test]
fn a_member_is_connected_with_by_way_of_those_who_told_of_it() {
    let mut own = member(0);
    for teller in 1..=3 {
        own.linked(device(teller), name(), Duration::ZERO);
    }
    own.gossip(device(2), vec![told(9)], seconds(1));
    own.gossip(device(3), vec![told(9)], seconds(2));
    let now = seconds(6);
    let connect = std::iter::from_fn(|| own.poll(now)).find_map(|action| match action {
        Action::Connect {
            device,
            via,
            addresses,
        } => Some((device, via, addresses)),
        _ => None,
    });
    let via = vec![device(3), device(2)];
    assert_eq!(connect, Some((device(9), via, vec![address(9)])));
}

#[test]
fn a_device_that_cannot_be_reached_is_tried_less_and_less() {
    let mut own = member(0);
    own.linked(device(1), name(), Duration::ZERO);
    let mut tries = Vec::new();
    let mut now = Duration::ZERO;
    while now < seconds(600) {
        own.gossip(device(1), vec![told(9)], now);
        while let Some(action) = own.poll(now) {
            if let Action::Connect { device: whom, .. } = action {
                assert_eq!(whom, device(9));
                tries.push(now);
                own.failed(whom, now);
            }
        }
        now += TICK;
    }
    let waits: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.len() > 8, "{waits:?}");
    assert!(
        waits.iter().all(|wait| *wait <= MAX_BACK_OFF + seconds(8)),
        "{waits:?}"
    );
    assert!(
        waits.iter().rev().take(3).all(|wait| *wait >= MAX_BACK_OFF),
        "{waits:?}"
    );
}

/// Links `own` with a liar that tells of new made-up members in every message.
fn lie(own: &mut Membership, liar: u32, next: &mut u32, now: Duration) {
    let members = (0..MEMBERS_PER_MESSAGE as u32)
        .map(|at| told(*next + at))
        .collect();
    *next += MEMBERS_PER_MESSAGE as u32;
    own.gossip(device(liar), members, now);
}

#[test]
fn thousands_of_made_up_members_displace_no_real_one_and_cost_few_attempts() {
    let mut own = member(0);
    let mut now = Duration::ZERO;
    for teller in 1..=4 {
        own.linked(device(teller), name(), now);
    }
    let real: Vec<u32> = (100..200).collect();
    let (mut made_up, mut real_attempts, mut lies_tried) = (100_000, 0, 0);
    while now < seconds(120) {
        for _ in 0..10 {
            lie(&mut own, 4, &mut made_up, now);
        }
        for (at, number) in real.iter().enumerate() {
            own.gossip(device(1 + at as u32 % 3), vec![told(*number)], now);
        }
        while let Some(action) = own.poll(now) {
            if let Action::Connect { device: whom, .. } = action {
                // Nobody can be reached at the moment, so it goes on trying.
                own.failed(whom, now);
                match real.iter().any(|number| device(*number) == whom) {
                    true => real_attempts += 1,
                    false => lies_tried += 1,
                }
            }
        }
        assert!(own.members(now).count() <= MAX_KNOWN);
        now += TICK;
    }
    assert!(made_up > 400_000);
    assert!(lies_tried <= 30, "{lies_tried} attempts for nothing");
    assert!(real_attempts >= 20, "{real_attempts}");
}

#[test]
fn real_members_stay_known_beside_made_up_ones() {
    let mut own = member(0);
    let now = Duration::ZERO;
    let mut made_up = 100_000;
    for teller in 1..=20 {
        own.linked(device(teller), name(), now);
    }
    // Three quarters of the links lie, and they speak first.
    for _ in 0..20 {
        for liar in 6..=20 {
            lie(&mut own, liar, &mut made_up, now);
        }
    }
    assert_eq!(own.members(now).count(), MAX_KNOWN);
    for number in 100..150 {
        own.gossip(device(1 + number % 5), vec![told(number)], now);
    }
    let known: BTreeSet<DeviceId> = own.members(now).map(|known| known.device).collect();
    assert!((100..150).all(|number| known.contains(&device(number))));
    assert_eq!(known.len(), MAX_KNOWN);
    let lies = known.len() - 50 - 20;
    assert!(lies <= 15 * FROM_ONE_TELLER);
}

#[test]
fn a_mesh_with_liars_in_it_comes_together_all_the_same() {
    let mut mesh = Mesh::of(60);
    let mut made_up = 100_000;
    // Every tenth member tells all its links of members that there are not.
    for _ in 0..120 {
        mesh.step();
        let links: Vec<_> = mesh.links.iter().copied().collect();
        for (a, b) in links {
            for (liar, other) in [(a, b), (b, a)] {
                if liar % 10 == 1 {
                    let now = mesh.now;
                    lie(&mut mesh.members[other], liar as u32, &mut made_up, now);
                }
            }
        }
    }
    for number in 0..20 {
        if number % 10 != 1 {
            mesh.crash(number);
        }
    }
    mesh.run(seconds(30));
    assert_eq!(mesh.parts(), 1);
    let degrees = mesh.degrees();
    assert!(degrees.iter().all(|d| *d >= MIN_LINKS), "{degrees:?}");
}

#[test]
fn hearsay_about_oneself_and_from_strangers_is_nothing() {
    let mut own = member(0);
    own.linked(device(1), name(), Duration::ZERO);
    own.gossip(device(1), vec![told(0)], Duration::ZERO);
    own.gossip(device(2), vec![told(3)], Duration::ZERO);
    own.holds(device(2), 5, true, Duration::ZERO);
    let known: Vec<_> = own.members(Duration::ZERO).map(|k| k.device).collect();
    assert_eq!(known, [device(1)]);
}

#[test]
fn hearsay_does_not_change_what_a_link_tells() {
    let mut own = member(0);
    own.linked(device(1), name(), Duration::ZERO);
    own.linked(device(2), name(), Duration::ZERO);
    own.holds(device(1), 7, false, Duration::ZERO);
    let lie = Member {
        complete: true,
        pieces: 1000,
        name: DeviceName::new("Somebody else"),
        ..told(1)
    };
    own.gossip(device(2), vec![lie], seconds(1));
    let known = own.members(seconds(1)).next().expect("linked").clone();
    let known = (known.device, known.pieces, known.complete, known.name);
    assert_eq!(known, (device(1), 7, false, name()));
}

#[test]
fn echoes_do_not_keep_the_dead_alive() {
    let mut pair = [member(1), member(2)];
    let start = Duration::ZERO;
    for (at, other) in [(0, 2), (1, 1)] {
        pair[at].linked(device(other), name(), start);
    }
    pair[0].linked(device(9), name(), start);
    pair[0].gossip(device(9), vec![told(9)], start);
    pair[0].unlinked(device(9), start);
    let mut now = start;
    while now < EXPIRY + seconds(3) {
        now += TICK;
        for at in [0, 1] {
            while let Some(action) = pair[at].poll(now) {
                match action {
                    Action::Gossip { to, members } if to == device(2 - at as u32) => {
                        pair[1 - at].gossip(device(1 + at as u32), members, now);
                    }
                    Action::Connect { device, .. } => pair[at].failed(device, now),
                    _ => {}
                }
            }
        }
    }
    for member in &pair {
        assert!(member.members(now).all(|known| known.device != device(9)));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Linked(u32),
    Unlinked(u32),
    Failed(u32),
    Gossip(u32, Vec<(u32, u16, u8, bool)>),
    Own(u32, bool),
    Active(bool),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..300u32;
    let entry = (0..300u32, any::<u16>(), any::<u8>(), any::<bool>());
    prop_oneof![
        4 => who.clone().prop_map(Step::Linked),
        2 => who.clone().prop_map(Step::Unlinked),
        2 => who.clone().prop_map(Step::Failed),
        4 => (who, prop::collection::vec(entry, 0..100)).prop_map(|(from, told)| Step::Gossip(from, told)),
        1 => (any::<u32>(), any::<bool>()).prop_map(|(pieces, complete)| Step::Own(pieces, complete)),
        1 => any::<bool>().prop_map(Step::Active),
        3 => (0..200u32).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_bounds_hold_and_only_sensible_things_are_asked_for(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut own = member(0);
        let mut linked = BTreeSet::new();
        let mut trying = BTreeSet::new();
        let mut now = Duration::ZERO;
        for step in steps {
            match step {
                Step::Linked(who) => {
                    own.linked(device(who), name(), now);
                    trying.remove(&device(who));
                    if who != 0 {
                        linked.insert(device(who));
                    }
                }
                Step::Unlinked(who) => {
                    own.unlinked(device(who), now);
                    linked.remove(&device(who));
                }
                Step::Failed(who) => {
                    own.failed(device(who), now);
                    trying.remove(&device(who));
                }
                Step::Gossip(from, entries) => {
                    let member = |(number, age, links, complete)| Member {
                        age, links, complete, ..told(number)
                    };
                    own.gossip(device(from), entries.into_iter().map(member).collect(), now);
                }
                Step::Own(pieces, complete) => own.set_own(name(), pieces, complete, vec![]),
                Step::Active(active) => own.set_active(active),
                Step::Wait(ticks) => {
                    now += TICK * ticks;
                    // The engine gives up as well, in the end.
                    for device in std::mem::take(&mut trying) {
                        own.failed(device, now);
                    }
                }
            }
            for _ in 0..1000 {
                match own.poll(now) {
                    None => break,
                    Some(Action::Connect { device: whom, via, .. }) => {
                        prop_assert!(whom != device(0) && !linked.contains(&whom));
                        prop_assert!(trying.insert(whom), "tried twice at a time");
                        prop_assert!(trying.len() <= MAX_ATTEMPTS);
                        prop_assert!(via.iter().all(|teller| linked.contains(teller)));
                    }
                    Some(Action::Drop { device: whom }) => {
                        prop_assert!(linked.len() > SPARE_LINKS);
                        prop_assert!(linked.remove(&whom));
                    }
                    Some(Action::Gossip { to, members }) => {
                        prop_assert!(linked.contains(&to));
                        prop_assert!(members.len() <= MEMBERS_PER_MESSAGE);
                        prop_assert!(members.iter().all(|member| member.device != to));
                        let told: BTreeSet<_> = members.iter().map(|m| m.device).collect();
                        prop_assert_eq!(told.len(), members.len(), "somebody is told of twice");
                    }
                }
            }
            prop_assert_eq!(own.poll(now), None);
            prop_assert_eq!(own.links(), linked.len());
            prop_assert!(linked.len() <= HARD_LINKS);
            prop_assert!(own.members(now).count() <= MAX_KNOWN);
            let shown: BTreeSet<_> = own.members(now).filter(|k| k.linked).map(|k| k.device).collect();
            prop_assert_eq!(&shown, &linked);
        }
    }
}
