//! Who is known to be in the swarm, and on whose word.
//!
//! At most [`MAX_KNOWN`] members, and of those nobody is linked with at most
//! [`FROM_ONE_TELLER`] on one link's word alone; when there is no room the teller
//! with most entries gives way, so made-up members crowd out made-up members.
//! Whom to be linked with is not decided here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::keys::DeviceId;
use crate::knock::DeviceName;
use crate::wire::{MEMBER_ADDRESSES, Member};

/// Most members known at a time.
pub const MAX_KNOWN: usize = 1024;
/// Most members known on the word of one link.
pub const FROM_ONE_TELLER: usize = 128;
/// How long a member that is not linked is believed to be there after it was
/// last heard of from itself.
pub const EXPIRY: Duration = Duration::from_secs(20);
/// How many tellers of a member are remembered.
const TELLERS: usize = 4;

/// A member of the swarm, as far as known here.
#[derive(Clone, Debug)]
pub struct Known {
    /// Their device.
    pub device: DeviceId,
    /// What they go by.
    pub name: DeviceName,
    /// Pieces they hold; hearsay that may exceed what the share has.
    pub pieces: u32,
    /// Everything they want is there.
    pub complete: bool,
    /// There is a link with them.
    pub linked: bool,
    /// Links they say they have.
    pub(super) links: u8,
    /// Where they are said to take knocks.
    pub addresses: Vec<SocketAddr>,
    /// When they were last heard of from themselves.
    pub(super) heard: Duration,
    /// When they came to be known here.
    pub(super) since: Duration,
    /// They told of themselves, to somebody at least.
    pub(super) spoken: bool,
    /// Who told of them, as serials of links; the first has the credit.
    tellers: [Option<Told>; TELLERS],
}

/// When a link last told of a member.
#[derive(Clone, Copy, Debug)]
struct Told {
    by: u32,
    at: Duration,
}

impl Known {
    fn new(device: DeviceId, name: DeviceName, now: Duration) -> Known {
        Known {
            device,
            name,
            pieces: 0,
            complete: false,
            linked: false,
            links: 0,
            addresses: Vec::new(),
            heard: now,
            since: now,
            spoken: false,
            tellers: [None; TELLERS],
        }
    }

    /// Whether they are believed to be there.
    pub(super) fn is_online(&self, now: Duration) -> bool {
        self.linked || now.saturating_sub(self.heard) <= EXPIRY
    }

    /// The links that told of them, and when.
    pub(super) fn tellers(&self) -> impl Iterator<Item = (u32, Duration)> + '_ {
        self.tellers.iter().flatten().map(|told| (told.by, told.at))
    }

    /// Whether a link told of them.
    pub(super) fn told_by(&self, serial: u32) -> bool {
        self.tellers().any(|(by, _)| by == serial)
    }

    /// Whose word this entry rests on; `None` if it is linked or whoever told
    /// of it is gone.
    pub(super) fn credit(&self) -> Option<u32> {
        self.tellers[0].map(|told| told.by)
    }

    /// How a gossip message tells of them. Ages are rounded up, so that none is
    /// lost on the way from member to member.
    pub(super) fn told(&self, now: Duration) -> Member {
        let age = now.saturating_sub(self.heard).as_millis().div_ceil(1000);
        Member {
            device: self.device,
            name: self.name.clone(),
            pieces: self.pieces,
            complete: self.complete,
            links: self.links,
            age: u16::try_from(age).unwrap_or(u16::MAX),
            addresses: self.addresses.clone(),
        }
    }

    fn take_details(&mut self, member: Member) {
        self.name = member.name;
        self.addresses = member.addresses;
        self.addresses.truncate(MEMBER_ADDRESSES);
    }

    fn note(&mut self, by: u32, at: Duration) {
        if let Some(told) = self.tellers.iter_mut().flatten().find(|t| t.by == by) {
            told.at = at;
        } else if let Some(free) = self.tellers[1..].iter_mut().find(|t| t.is_none()) {
            *free = Some(Told { by, at });
        } else if let Some(oldest) = self.tellers[1..].iter_mut().flatten().min_by_key(|t| t.at) {
            *oldest = Told { by, at };
        }
    }
}

/// Everybody known, by device.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    known: BTreeMap<DeviceId, Known>,
    /// How many entries rest on the word of each link.
    credits: BTreeMap<u32, usize>,
}

impl Roster {
    pub(super) fn get(&self, device: &DeviceId) -> Option<&Known> {
        self.known.get(device)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    /// Everybody, beginning after `device` and going round once.
    pub(super) fn iter_after(&self, device: DeviceId) -> impl Iterator<Item = &Known> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.known
            .range((Excluded(device), Unbounded))
            .chain(self.known.range(..=device))
            .map(|(_, known)| known)
    }

    /// There is a link with a member: from now on only the link tells of it.
    pub(super) fn link(&mut self, device: DeviceId, name: DeviceName, now: Duration) {
        if let Some(old) = self.known.get(&device).and_then(Known::credit) {
            self.uncredit(old);
        }
        if !self.known.contains_key(&device) {
            self.make_room(u32::MAX);
        }
        let known = self
            .known
            .entry(device)
            .or_insert_with(|| Known::new(device, name.clone(), now));
        known.name = name;
        known.linked = true;
        known.heard = now;
        known.tellers = [None; TELLERS];
    }

    /// The link with a member is gone. It stays known for a while if it ever
    /// told of itself, and nothing rests on its word any more.
    pub(super) fn unlink(&mut self, device: &DeviceId, serial: u32) {
        if let Some(known) = self.known.get_mut(device) {
            known.linked = false;
            if !known.spoken {
                self.known.remove(device);
            }
        }
        let mut moved = Vec::new();
        for known in self.known.values_mut() {
            let credit = known.credit();
            for told in &mut known.tellers {
                if told.is_some_and(|told| told.by == serial) {
                    *told = None;
                }
            }
            if credit == Some(serial) {
                // Another teller takes the credit, if there is one.
                if let Some(at) = known.tellers.iter().position(Option::is_some) {
                    known.tellers.swap(0, at);
                }
                moved.extend(known.credit());
            }
        }
        self.credits.remove(&serial);
        for by in moved {
            *self.credits.entry(by).or_default() += 1;
        }
    }

    /// A linked member tells what it holds.
    pub(super) fn holds(&mut self, device: &DeviceId, pieces: u32, complete: bool) {
        if let Some(known) = self.known.get_mut(device) {
            known.pieces = pieces;
            known.complete = complete;
        }
    }

    /// A linked member tells of itself.
    pub(super) fn speak(&mut self, member: Member, now: Duration) {
        if let Some(known) = self.known.get_mut(&member.device) {
            known.heard = now;
            known.spoken = true;
            known.pieces = member.pieces;
            known.complete = member.complete;
            known.links = member.links;
            known.take_details(member);
        }
    }

    /// A link tells of somebody else, and may have `room` entries rest on its word.
    pub(super) fn hear(&mut self, teller: u32, room: usize, member: Member, now: Duration) {
        let age = Duration::from_secs(u64::from(member.age));
        if age > EXPIRY {
            return;
        }
        let heard = now.saturating_sub(age);
        if let Some(known) = self.known.get_mut(&member.device) {
            if known.linked {
                return;
            }
            if known.credit().is_none() {
                known.tellers[0] = Some(Told {
                    by: teller,
                    at: now,
                });
                *self.credits.entry(teller).or_default() += 1;
            } else {
                known.note(teller, now);
            }
            if heard > known.heard {
                known.heard = heard;
                known.pieces = member.pieces;
                known.complete = member.complete;
                known.links = member.links;
            }
            // Only whoever told of them first may change how they are reached.
            if known.credit() == Some(teller) {
                known.take_details(member);
            }
            return;
        }
        if self.credited(teller) >= room || !self.make_room(teller) {
            return;
        }
        let mut known = Known::new(member.device, member.name.clone(), now);
        known.heard = heard;
        known.spoken = true;
        known.pieces = member.pieces;
        known.complete = member.complete;
        known.links = member.links;
        known.tellers[0] = Some(Told {
            by: teller,
            at: now,
        });
        known.take_details(member);
        self.known.insert(known.device, known);
        *self.credits.entry(teller).or_default() += 1;
    }

    /// Forgets a member that nobody is linked with.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        if self.known.get(device).is_some_and(|known| !known.linked)
            && let Some(by) = self.known.remove(device).and_then(|known| known.credit())
        {
            self.uncredit(by);
        }
    }

    /// Forgets everybody who is known on the word of one link alone.
    pub(super) fn forget_told_by(&mut self, serial: u32) {
        self.known.retain(|_, known| {
            known.linked
                || known.credit() != Some(serial)
                || known.tellers[1..].iter().any(Option::is_some)
        });
        self.recount();
    }

    /// Forgets everybody who was not heard of for too long.
    pub(super) fn expire(&mut self, now: Duration) {
        let before = self.known.len();
        self.known.retain(|_, known| known.is_online(now));
        if self.known.len() != before {
            self.recount();
        }
    }

    fn credited(&self, serial: u32) -> usize {
        self.credits.get(&serial).copied().unwrap_or(0)
    }

    fn uncredit(&mut self, serial: u32) {
        if let Some(count) = self.credits.get_mut(&serial) {
            *count = count.saturating_sub(1);
        }
    }

    fn recount(&mut self) {
        self.credits.clear();
        for by in self.known.values().filter_map(Known::credit) {
            *self.credits.entry(by).or_default() += 1;
        }
    }

    /// Whether there is room for one more on the word of `teller`: if need be,
    /// one that nobody vouches for any more or one of the most talkative link goes.
    fn make_room(&mut self, teller: u32) -> bool {
        if self.known.len() < MAX_KNOWN {
            return true;
        }
        let most = self.credits.iter().max_by_key(|(_, count)| **count);
        let most = most.filter(|(_, count)| **count > self.credited(teller) + 1);
        let most = most.map(|(by, _)| *by);
        let goes = self.known.values().find(|known| {
            !known.linked && (known.credit().is_none() || known.credit() == most && most.is_some())
        });
        let Some(device) = goes.map(|known| known.device) else {
            return false;
        };
        self.forget(&device);
        true
    }
}
