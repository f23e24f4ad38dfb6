//! Who is in the swarm of a share, and whom to be linked with.
//!
//! A policy: it hears of links and of gossip, and [`Membership::poll`] says whom to
//! connect with, which link to give up and what to tell whom. Links stay about
//! [`TARGET_LINKS`] each, drawn at random among those known, so the swarm hangs
//! together without anybody knowing all of it. Hearsay is bounded by teller. How a connection is made is not decided here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::keys::DeviceId;
use crate::knock::DeviceName;
use crate::wire::{MEMBER_ADDRESSES, MEMBERS_PER_MESSAGE, Member};

pub use known::{EXPIRY, FROM_ONE_TELLER, Known, MAX_KNOWN};

pub(crate) use dice::Dice;

use known::Roster;
use wants::Wants;

mod dice;
mod known;
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
/// How long whoever has the larger device id leaves dialling to the other.
const COURTESY: Duration = Duration::from_secs(3);
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
/// A link that ends sooner than this counts like a failed attempt.
const SHORT_LINK: Duration = Duration::from_secs(10);
/// Failures in a row after which a member is forgotten until its back-off ends.
const FORGET_AFTER: u32 = 2;
/// Failures in a row after which the word of a teller is acted on less often.
const DOUBT_AFTER: u32 = 3;
/// Failures in a row after which what a teller alone said is forgotten.
const DISBELIEVE_AFTER: u32 = 6;
/// How often a link is given up of which there are more than [`SPARE_LINKS`].
const SPARE_EVERY: Duration = Duration::from_secs(1);
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
    /// A member that knows nobody. `seed` decides all random choices.
    pub fn new(own: DeviceId, seed: u64) -> Membership {
        Membership {
            own: Own {
                device: own,
                name: DeviceName::new(""),
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

    // Telling.

    fn gossip_due(&mut self, now: Duration) -> Option<Action> {
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
        use std::ops::Bound::{Excluded, Unbounded};
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

    // Too many links.

    fn crowded(&mut self, now: Duration) -> Option<Action> {
        let count = self.links.len();
        if count <= SPARE_LINKS || count <= MAX_LINKS && now < self.next_spare {
            return None;
        }
        self.next_spare = now + SPARE_EVERY;
        let must = count > HARD_LINKS;
        let enough = if count > MAX_LINKS {
            MIN_LINKS
        } else {
            TARGET_LINKS
        };
        let spare = self.links.iter().filter_map(|(device, link)| {
            let links = self.roster.get(device).map_or(0, |known| known.links);
            let can = usize::from(links) > enough;
            // Those with most links go first, then those who were here longest.
            (can || must).then_some((device, (link.told, links), link.since))
        });
        let device = spare
            .max_by(|(_, a, a_since), (_, b, b_since)| a.cmp(b).then(b_since.cmp(a_since)))
            .map(|(device, ..)| *device)?;
        let link = self.links.remove(&device)?;
        self.roster.unlink(&device, link.serial);
        let trouble = Trouble {
            failures: 1,
            until: now + MAX_BACK_OFF / 2,
        };
        self.trouble(device, trouble);
        Some(Action::Drop { device })
    }

    // Too few links.

    fn dial(&mut self, now: Duration) -> Option<Action> {
        if self.attempts.len() >= MAX_ATTEMPTS || now < self.next_look {
            return None;
        }
        let wants = self.wants();
        let chosen = if wants.anybody() {
            self.candidate(&wants, now)
        } else {
            return None;
        };
        let Some((device, addresses)) = chosen.or_else(|| self.recall(now)) else {
            self.next_look = now + SECOND;
            return None;
        };
        let via = self.via(&device, now);
        let since = now;
        self.attempts.push(Attempt { device, since });
        Some(Action::Connect {
            device,
            via,
            addresses,
        })
    }

    fn wants(&self) -> Wants {
        let total = self.links.len() + self.attempts.len();
        let linked = || {
            self.links
                .keys()
                .filter_map(|device| self.roster.get(device))
        };
        if !self.active {
            return Wants {
                total,
                one: true,
                ..Wants::default()
            };
        }
        let complete = linked().filter(|known| known.complete).count();
        let useful = if self.own.complete {
            total - complete + complete.min(MIN_LINKS)
        } else {
            total
        };
        let pieces = self.own.pieces;
        let ahead = |known: &Known| known.complete || known.pieces > pieces;
        Wants {
            one: false,
            total,
            useful,
            complete: self.own.complete,
            behind: !self.own.complete && !linked().any(ahead),
            pieces,
        }
    }

    /// Somebody worth connecting with, and where they are said to be: of two
    /// drawn at random the one with fewer links.
    fn candidate(&mut self, wants: &Wants, now: Duration) -> Option<(DeviceId, Vec<SocketAddr>)> {
        // By serial: whether the word of the link is acted on.
        let mut tellers: Vec<(u32, bool)> = self.links.values().map(|l| l.trusted(now)).collect();
        tellers.sort_unstable();
        let trusted = |serial: u32| {
            let at = tellers.binary_search_by_key(&serial, |(serial, _)| *serial);
            at.ok().map(|at| tellers[at].1)
        };
        let mut drawn: [Option<&Known>; 2] = [None; 2];
        let mut seen = 0;
        for known in self.roster.iter() {
            if known.linked || !wants.whom(known) || !self.may_dial(known, now) {
                continue;
            }
            let mut words = known.tellers().filter_map(|(by, _)| trusted(by)).peekable();
            let reachable = match words.peek() {
                Some(_) => words.any(|trusted| trusted),
                None => !known.addresses.is_empty(),
            };
            if reachable {
                seen += 1;
                for place in &mut drawn {
                    if self.dice.below(seen) == 0 {
                        *place = Some(known);
                    }
                }
            }
        }
        let best = drawn
            .into_iter()
            .flatten()
            .min_by_key(|known| known.links)?;
        Some((best.device, best.addresses.clone()))
    }

    /// Whether it is this side's turn to connect with a member.
    fn may_dial(&self, known: &Known, now: Duration) -> bool {
        let theirs = known.device > self.own.device
            || usize::from(known.links) >= TARGET_LINKS
            || now.saturating_sub(known.since) >= COURTESY;
        theirs && known.is_online(now) && self.may_try(&known.device, now)
    }

    fn may_try(&self, device: &DeviceId, now: Duration) -> bool {
        let waits = self.troubles.get(device).is_some_and(|t| now < t.until);
        !waits && !self.attempts.iter().any(|a| a.device == *device)
    }

    fn recall(&mut self, now: Duration) -> Option<(DeviceId, Vec<SocketAddr>)> {
        if !self.links.is_empty() {
            return None;
        }
        let free = |(device, _): &&(DeviceId, Vec<SocketAddr>)| self.may_try(device, now);
        let able: Vec<_> = self.remembered.iter().filter(free).collect();
        let chosen = able.get(self.dice.below(able.len().max(1)))?;
        Some((*chosen).clone())
    }

    /// The linked members who told of a device, most trusted and freshest first.
    fn via(&self, device: &DeviceId, now: Duration) -> Vec<DeviceId> {
        let Some(known) = self.roster.get(device) else {
            return Vec::new();
        };
        let mut via: Vec<(u32, Duration, DeviceId)> = Vec::new();
        for (teller, link) in &self.links {
            let told = known.tellers().find(|(by, _)| *by == link.serial);
            via.extend(told.map(|(_, at)| (link.word.failures, now.saturating_sub(at), *teller)));
        }
        via.sort_unstable();
        via.into_iter().map(|(_, _, teller)| teller).collect()
    }
}

impl Link {
    fn trusted(&self, now: Duration) -> (u32, bool) {
        (self.serial, now >= self.word.until)
    }
}
