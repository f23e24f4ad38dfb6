//! What is told to whom: each message names this side, some of its own links and a
//! few others by hearsay, going round through all of them in time.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use super::known::Known;
use super::{Action, Link, Membership};
use crate::keys::DeviceId;
use crate::wire::Member;

/// How often a link is told who is there.
const GOSSIP_EVERY: Duration = Duration::from_secs(2);
/// The same with many links: no more than four messages a second go out.
const GOSSIP_SPREAD: Duration = Duration::from_millis(250);
const GOSSIP_SELDOM: Duration = Duration::from_secs(5);
/// Own links in one gossip message.
const NEAR_IN_GOSSIP: usize = 8;
/// Others in one gossip message.
const FAR_IN_GOSSIP: usize = 7;
/// Others in the first gossip message on a link.
const FAR_IN_FIRST_GOSSIP: usize = 24;
/// Others on the word of one teller in one gossip message.
const FAR_OF_ONE_TELLER: usize = 2;
/// Entries looked at for one gossip message.
const GOSSIP_SCAN: usize = 128;
/// Hearsay older than this is not passed on.
const STALE: Duration = Duration::from_secs(12);

impl Membership {
    /// The next link that is to be told, and what.
    pub(super) fn gossip_due(&mut self, now: Duration) -> Option<Action> {
        if !self.active {
            return None;
        }
        let due = |link: &Link| link.next_gossip <= now;
        let (to, link) = self.links.iter().find(|(_, link)| due(link))?;
        let (to, serial) = (*to, link.serial);
        let (near_from, far_from, first) = (link.near, link.far, !link.told);

        let mut members = Vec::with_capacity(1 + NEAR_IN_GOSSIP + FAR_IN_GOSSIP);
        members.push(self.told_of_own());
        let near = self
            .near_after(near_from)
            .filter(|known| known.device != to);
        members.extend(near.take(NEAR_IN_GOSSIP).map(|known| known.told(now)));
        let near_to = members.last().map_or(near_from, |member| member.device);
        let far = if first {
            FAR_IN_FIRST_GOSSIP
        } else {
            FAR_IN_GOSSIP
        };
        let far_to = self.tell_far(&mut members, far, far_from, serial, now);

        let pace = GOSSIP_SPREAD * self.links.len() as u32;
        let pace = pace.clamp(GOSSIP_EVERY, GOSSIP_SELDOM);
        if let Some(link) = self.links.get_mut(&to) {
            (link.near, link.far) = (near_to, far_to);
            link.told = true;
            link.next_gossip = now + pace;
        }
        Some(Action::Gossip { to, members })
    }

    fn told_of_own(&self) -> Member {
        Member {
            device: self.own.device,
            name: self.own.name.clone(),
            pieces: self.own.pieces,
            complete: self.own.complete,
            links: u8::try_from(self.links.len()).unwrap_or(u8::MAX),
            age: 0,
            addresses: self.own.addresses.clone(),
        }
    }

    /// Linked members that told of themselves, beginning after a device.
    fn near_after(&self, device: DeviceId) -> impl Iterator<Item = &Known> {
        self.links
            .range((Excluded(device), Unbounded))
            .chain(self.links.range(..=device))
            .filter_map(|(device, _)| self.roster.get(device))
            .filter(|known| known.spoken)
    }

    /// Adds up to `most` members known by hearsay that the link `serial` did not
    /// tell of itself; gives where the round has come to.
    fn tell_far(
        &self,
        members: &mut Vec<Member>,
        most: usize,
        from: DeviceId,
        serial: u32,
        now: Duration,
    ) -> DeviceId {
        let mut last = from;
        let mut of_teller: BTreeMap<Option<u32>, usize> = BTreeMap::new();
        let mut told = 0;
        for known in self.roster.iter_after(from).take(GOSSIP_SCAN) {
            if told == most {
                break;
            }
            last = known.device;
            let stale = now.saturating_sub(known.heard) > STALE;
            if known.linked || stale || known.told_by(serial) {
                continue;
            }
            let share = of_teller.entry(known.credit()).or_default();
            if *share < FAR_OF_ONE_TELLER.max(most / 4) {
                *share += 1;
                told += 1;
                members.push(known.told(now));
            }
        }
        last
    }
}
