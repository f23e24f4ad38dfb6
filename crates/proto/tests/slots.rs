//! Upload slots: never more than there are, none idle while somebody waits, and
//! a turn for everybody who stays interested.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use passalong_proto::slots::{SlotEvent, Slots, TENURE};
use proptest::prelude::*;

const TICK: Duration = Duration::from_millis(250);

fn drain(slots: &mut Slots<u8>, now: Duration) -> Vec<SlotEvent<u8>> {
    std::iter::from_fn(|| slots.poll(now)).take(1000).collect()
}

/// What the peers were told, and what they want.
#[derive(Default)]
struct Peers {
    wants: BTreeSet<u8>,
    /// Since when each has a slot.
    unchoked: BTreeMap<u8, Duration>,
}

impl Peers {
    /// Takes events one by one, so that the limit is seen to hold in between.
    fn hear(&mut self, slots: &mut Slots<u8>, limit: usize, now: Duration) {
        for _ in 0..1000 {
            let others_wait = self
                .wants
                .iter()
                .any(|key| !self.unchoked.contains_key(key));
            match slots.poll(now) {
                None => {
                    let waiting = self
                        .wants
                        .iter()
                        .filter(|key| !self.unchoked.contains_key(key));
                    if waiting.count() > 0 {
                        assert_eq!(self.unchoked.len(), limit, "a slot is free while one waits");
                        assert!(self.unchoked.keys().all(|key| self.wants.contains(key)));
                    }
                    assert!(self.unchoked.len() <= limit);
                    return;
                }
                Some(SlotEvent::Unchoke(key)) => {
                    assert!(
                        self.wants.contains(&key),
                        "a slot for one that wants nothing"
                    );
                    assert_eq!(self.unchoked.insert(key, now), None, "told twice");
                    assert!(self.unchoked.len() <= limit);
                }
                Some(SlotEvent::Choke(key)) => {
                    let since = self.unchoked.remove(&key).expect("it had a slot");
                    let crowded = self.unchoked.len() >= limit;
                    let idle = !self.wants.contains(&key);
                    assert!(crowded || others_wait && (idle || now - since >= TENURE));
                }
            }
        }
        panic!("there is always something more to tell");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Interested(u8),
    Uninterested(u8),
    Left(u8),
    Limit(usize),
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u8).prop_map(Step::Interested),
        2 => (0..12u8).prop_map(Step::Uninterested),
        1 => (0..12u8).prop_map(Step::Left),
        1 => (0..6usize).prop_map(Step::Limit),
        3 => (0..60u8).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn slots_are_never_too_many_never_idle_and_never_taken_early(
        limit in 0..6usize,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut slots = Slots::new(limit);
        let mut peers = Peers::default();
        let (mut limit, mut now) = (limit, Duration::ZERO);
        for step in steps {
            match step {
                Step::Interested(key) => {
                    slots.interested(key, now);
                    peers.wants.insert(key);
                }
                Step::Uninterested(key) => {
                    slots.uninterested(key);
                    peers.wants.remove(&key);
                }
                Step::Left(key) => {
                    slots.left(key);
                    peers.wants.remove(&key);
                    peers.unchoked.remove(&key);
                }
                Step::Limit(to) => {
                    slots.set_limit(to);
                    limit = to;
                }
                Step::Wait(ticks) => now += TICK * u32::from(ticks),
            }
            peers.hear(&mut slots, limit, now);
        }
    }

    #[test]
    fn whoever_stays_interested_gets_a_turn_however_the_others_behave(
        limit in 1..5usize,
        restless in prop::collection::vec((0..12u8, any::<bool>()), 0..400),
    ) {
        const PATIENT: u8 = 100;
        let mut slots = Slots::new(limit);
        for key in 0..12 {
            slots.interested(key, Duration::ZERO);
        }
        slots.interested(PATIENT, Duration::ZERO);
        // Twelve are before it, and at least one yields in each tenure.
        let latest = TENURE * 13;
        let mut restless = restless.into_iter();
        let mut now = Duration::ZERO;
        loop {
            if drain(&mut slots, now).contains(&SlotEvent::Unchoke(PATIENT)) {
                break;
            }
            now += TICK;
            prop_assert!(now <= latest);
            match restless.next() {
                Some((key, true)) => slots.interested(key, now),
                Some((key, false)) => slots.uninterested(key),
                None => {}
            }
        }
    }
}

#[test]
fn a_free_slot_is_given_at_once() {
    let now = Duration::ZERO;
    let mut slots = Slots::new(2);
    slots.interested(1, now);
    assert_eq!(drain(&mut slots, now), [SlotEvent::Unchoke(1)]);
    slots.interested(2, now);
    slots.interested(3, now);
    assert_eq!(drain(&mut slots, now), [SlotEvent::Unchoke(2)]);
    slots.left(1);
    assert_eq!(drain(&mut slots, now), [SlotEvent::Unchoke(3)]);
}

#[test]
fn with_nobody_waiting_a_slot_is_kept_for_ever() {
    let mut slots = Slots::new(1);
    slots.interested(1, Duration::ZERO);
    assert_eq!(drain(&mut slots, Duration::ZERO), [SlotEvent::Unchoke(1)]);
    assert_eq!(drain(&mut slots, TENURE * 100), []);
    slots.uninterested(1);
    assert_eq!(drain(&mut slots, TENURE * 101), []);
    slots.interested(2, TENURE * 102);
    assert_eq!(
        drain(&mut slots, TENURE * 102),
        [SlotEvent::Choke(1), SlotEvent::Unchoke(2)]
    );
}

#[test]
fn everybody_has_the_same_time_in_the_long_run() {
    let mut slots = Slots::new(3);
    for key in 0..10u8 {
        slots.interested(key, Duration::ZERO);
    }
    let mut held = BTreeMap::<u8, u32>::new();
    let mut unchoked = BTreeSet::new();
    let ticks = 4 * 10 * 20 * 10;
    for tick in 0..ticks {
        for event in drain(&mut slots, TICK * tick) {
            match event {
                SlotEvent::Unchoke(key) => assert!(unchoked.insert(key)),
                SlotEvent::Choke(key) => assert!(unchoked.remove(&key)),
            }
        }
        for key in &unchoked {
            *held.entry(*key).or_default() += 1;
        }
    }
    let fair = ticks * 3 / 10;
    for (key, held) in held {
        assert!(
            held.abs_diff(fair) * 20 < fair,
            "{key} had {held} of {fair}"
        );
    }
}

#[test]
fn lowering_the_limit_to_nothing_chokes_everybody() {
    let now = Duration::ZERO;
    let mut slots = Slots::new(3);
    for key in 0..3 {
        slots.interested(key, now);
    }
    drain(&mut slots, now);
    slots.set_limit(0);
    let choked = drain(&mut slots, now);
    assert_eq!(choked.len(), 3);
    assert!(
        choked
            .iter()
            .all(|event| matches!(event, SlotEvent::Choke(_)))
    );
    assert_eq!(drain(&mut slots, TENURE * 10), []);
    slots.set_limit(1);
    assert_eq!(drain(&mut slots, TENURE * 10), [SlotEvent::Unchoke(0)]);
}
