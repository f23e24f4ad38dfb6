//! Who is in the swarm of a share, and whom to be linked with.
//!
//! A policy: it hears of links and of gossip, and [`Membership::poll`] says whom to
//! connect with, which link to give up and what to tell whom. Links stay about
//! [`TARGET_LINKS`] each, drawn at random among those known, so the swarm hangs
//! together without anybody knowing all of it. Hearsay is bounded by teller. How a
//! connection is made is not decided here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::keys::DeviceId;
use crate::knock::DeviceName;
use crate::wire::{MEMBER_ADDRESSES, MEMBERS_PER_MESSAGE, Member};

pub use known::{EXPIRY, FROM_ONE_TELLER, Known, MAX_KNOWN};

pub(crate) use dice::Dice;

use known::Roster;

mod dice;
mod known;
mod linking;
mod telling;
mod wants;

/// Links looked for.
pub const TARGET_LINKS: usize = 8;
/// Links that a complete member looks for even among complete ones.
pub const MIN_LINKS: usize = 4;
/// Links over which those are given up, one at a time, whose other end has more
/// than it looks for: where links are even, so is what everybody gets.
pub const SPARE_LINKS: usize = 10;
/// Links over which those are given up that the other end can do without.
pub const MAX_LINKS: usize = 24;
/// Links over which somebody has to go, whoever it is.
pub const HARD_LINKS: usize = 64;
/// Connection attempts at a time.
pub const MAX_ATTEMPTS: usize = 3;
/// Longest wait before a device is tried again.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(60);

/// How long an attempt may take before it counts as failed.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(30);
/// A link that ends sooner than this counts like a failed attempt.
const SHORT_LINK: Duration = Duration::from_secs(10);
/// Failures in a row after which a member is forgotten until its back-off ends.
const FORGET_AFTER: u32 = 2;
/// Failures in a row after which the word of a teller is acted on less often.
const DOUBT_AFTER: u32 = 3;
/// Failures in a row after which what a teller alone said is forgotten.
const DISBELIEVE_AFTER: u32 = 6;
const MAX_TROUBLES: usize = 1024;
const MAX_REMEMBERED: usize = 64;
const SECOND: Duration = Duration::from_secs(1);

/// What the membership wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect with a member; `linked` or `failed` says what came of it.
    Connect {
        /// Whom.
        device: DeviceId,
        /// Linked members who told of them, to pass a knock on; best first.
        via: Vec<DeviceId>,
        /// Where they are said to take knocks.
        addresses: Vec<SocketAddr>,
    },
    /// Part with a member because there are links enough on both sides. The link
    /// no longer counts; [`Membership::unlinked`] is not to be called for it.
    Drop {
        /// Whom.
        device: DeviceId,
    },
    /// Tell a linked member who is there.
    Gossip {
        /// Whom.
        to: DeviceId,
        /// At most [`MEMBERS_PER_MESSAGE`].
        members: Vec<Member>,
    },
}

/// Who is in the swarm, as one of its members sees it.
#[derive(Clone, Debug)]
pub struct Membership {
    own: Own,
    dice: Dice,
    active: bool,
    links: BTreeMap<DeviceId, Link>,
    next_serial: u32,
    roster: Roster,
    remembered: Vec<(DeviceId, Vec<SocketAddr>)>,
    attempts: Vec<Attempt>,
    troubles: BTreeMap<DeviceId, Trouble>,
    next_sweep: Duration,
    next_spare: Duration,
    /// Nobody worth connecting with was found; not looked for again before then.
    next_look: Duration,
}

#[derive(Clone, Debug)]
struct Own {
    device: DeviceId,
    name: DeviceName,
    pieces: u32,
    complete: bool,
    addresses: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
struct Link {
    serial: u32,
    since: Duration,
    next_gossip: Duration,
    /// Whether anything was told yet.
    told: bool,
    /// Where the rounds through own links and through everybody else are.
    near: DeviceId,
    far: DeviceId,
    /// How much its word is worth.
    word: Trouble,
}

#[derive(Clone, Debug)]
struct Attempt {
    device: DeviceId,
    since: Duration,
}

/// Failures in a row, and until when nothing is tried again.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    failures: u32,
    until: Duration,
}

impl Trouble {
    /// One more failure. From the `free`th on each doubles the wait.
    fn grow(&mut self, free: u32, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= free {
            let wait = SECOND * 2u32.saturating_pow((self.failures - free).min(16));
            self.until = now + wait.min(MAX_BACK_OFF);
        }
    }
}

impl Membership {
    /// A member that knows nobody and goes by `name`. `seed` decides all random
    /// choices.
    pub fn new(own: DeviceId, name: DeviceName, seed: u64) -> Membership {
        Membership {
            own: Own {
                device: own,
                name,
                pieces: 0,
                complete: false,
                addresses: Vec::new(),
            },
            dice: Dice::new(seed),
            active: false,
            links: BTreeMap::new(),
            next_serial: 0,
            roster: Roster::default(),
            remembered: Vec::new(),
            attempts: Vec::new(),
            troubles: BTreeMap::new(),
            next_sweep: Duration::ZERO,
            next_spare: Duration::ZERO,
            next_look: Duration::ZERO,
        }
    }

    /// What is told of this side. Of the addresses the first
    /// [`MEMBER_ADDRESSES`] are.
    pub fn set_own(
        &mut self,
        name: DeviceName,
        pieces: u32,
        complete: bool,
        mut addresses: Vec<SocketAddr>,
    ) {
        addresses.truncate(MEMBER_ADDRESSES);
        self.own = Own {
            device: self.own.device,
            name,
            pieces,
            complete,
            addresses,
        };
    }

    /// Whether this side takes part. Until it does it looks for one link only
    /// and tells nobody anything.
    pub fn set_active(&mut self, active: bool) {
        self.active = active;
        self.next_look = Duration::ZERO;
    }

    /// There is a link with a member, whoever began it.
    pub fn linked(&mut self, device: DeviceId, name: DeviceName, now: Duration) {
        self.attempts.retain(|attempt| attempt.device != device);
        if device == self.own.device || self.links.contains_key(&device) {
            return;
        }
        // Whoever told of them spoke the truth.
        if let Some(known) = self.roster.get(&device) {
            for link in self.links.values_mut() {
                if known.told_by(link.serial) {
                    link.word.failures /= 2;
                    link.word.until = Duration::ZERO;
                }
            }
        }
        self.next_serial += 1;
        let link = Link {
            serial: self.next_serial,
            since: now,
            next_gossip: now,
            told: false,
            near: self.dice.device(),
            far: self.dice.device(),
            word: Trouble::default(),
        };
        self.links.insert(device, link);
        self.roster.link(device, name, now);
    }

    /// The link with a member is gone.
    pub fn unlinked(&mut self, device: DeviceId, now: Duration) {
        let Some(link) = self.links.remove(&device) else {
            return;
        };
        self.roster.unlink(&device, link.serial);
        let lasted = now.saturating_sub(link.since);
        let mut trouble = self.troubles.get(&device).copied().unwrap_or_default();
        if lasted >= SHORT_LINK {
            trouble.failures = 0;
        }
        trouble.grow(1, now);
        self.trouble(device, trouble);
        self.next_look = Duration::ZERO;
    }

    /// A linked member told on the link how many pieces it holds, and whether
    /// that is all it wants.
    pub fn holds(&mut self, device: DeviceId, pieces: u32, complete: bool, _now: Duration) {
        if self.links.contains_key(&device) {
            self.roster.holds(&device, pieces, complete);
        }
    }

    /// A linked member told who is there. What is over
    /// [`MEMBERS_PER_MESSAGE`] is not looked at.
    pub fn gossip(&mut self, from: DeviceId, members: Vec<Member>, now: Duration) {
        let Some(link) = self.links.get(&from) else {
            return;
        };
        let serial = link.serial;
        let room = FROM_ONE_TELLER >> link.word.failures.saturating_sub(DOUBT_AFTER).min(5);
        for member in members.into_iter().take(MEMBERS_PER_MESSAGE) {
            if member.device == self.own.device {
                continue;
            }
            if member.device == from {
                self.roster.speak(member, now);
                continue;
            }
            let trouble = self.troubles.get(&member.device);
            if trouble.is_some_and(|t| t.failures >= FORGET_AFTER && now < t.until) {
                continue;
            }
            self.roster.hear(serial, room, member, now);
        }
    }

    /// Members of earlier days, tried when nobody else is known. Replaces those
    /// given before; what is over 64 is not kept.
    pub fn remembered(&mut self, members: Vec<(DeviceId, DeviceName, Vec<SocketAddr>)>) {
        let own = self.own.device;
        let others = members.into_iter().filter(|(device, ..)| *device != own);
        self.remembered = others
            .take(MAX_REMEMBERED)
            .map(|(device, _, addresses)| (device, addresses))
            .collect();
        self.next_look = Duration::ZERO;
    }

    /// An attempt to connect with a member led nowhere.
    pub fn failed(&mut self, device: DeviceId, now: Duration) {
        self.attempts.retain(|attempt| attempt.device != device);
        if self.links.contains_key(&device) {
            return;
        }
        let mut trouble = self.troubles.get(&device).copied().unwrap_or_default();
        trouble.grow(1, now);
        self.trouble(device, trouble);
        self.next_look = Duration::ZERO;

        let Some(known) = self.roster.get(&device) else {
            return;
        };
        let mut liars = Vec::new();
        for link in self.links.values_mut() {
            if known.told_by(link.serial) {
                link.word.grow(DOUBT_AFTER, now);
                if link.word.failures >= DISBELIEVE_AFTER {
                    liars.push(link.serial);
                }
            }
        }
        if trouble.failures >= FORGET_AFTER {
            self.roster.forget(&device);
        }
        for serial in liars {
            self.roster.forget_told_by(serial);
        }
    }

    /// Everybody who is linked or believed to be there, by device.
    pub fn members(&self, now: Duration) -> impl Iterator<Item = &Known> {
        self.roster.iter().filter(move |known| known.is_online(now))
    }

    /// How many links there are.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// The next thing to do; to be asked until there is nothing.
    pub fn poll(&mut self, now: Duration) -> Option<Action> {
        if now >= self.next_sweep {
            self.next_sweep = now + SECOND;
            self.sweep(now);
        }
        self.gossip_due(now)
            .or_else(|| self.crowded(now))
            .or_else(|| self.dial(now))
    }

    fn sweep(&mut self, now: Duration) {
        self.roster.expire(now);
        self.troubles
            .retain(|_, trouble| now < trouble.until + MAX_BACK_OFF);
        let late = |attempt: &Attempt| now.saturating_sub(attempt.since) > ATTEMPT_LIMIT;
        while let Some(at) = self.attempts.iter().position(late) {
            let device = self.attempts[at].device;
            self.failed(device, now);
        }
    }

    fn trouble(&mut self, device: DeviceId, trouble: Trouble) {
        if self.troubles.len() >= MAX_TROUBLES && !self.troubles.contains_key(&device) {
            let first = self.troubles.iter().min_by_key(|(_, t)| t.until);
            if let Some(first) = first.map(|(device, _)| *device) {
                self.troubles.remove(&first);
            }
        }
        self.troubles.insert(device, trouble);
    }
}

impl Link {
    fn trusted(&self, now: Duration) -> (u32, bool) {
        (self.serial, now >= self.word.until)
    }
}
