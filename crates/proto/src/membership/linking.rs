//! Whom to connect with when there are too few links, and which link to give up
//! when there are too many.

use std::net::SocketAddr;
use std::time::Duration;

use super::known::Known;
use super::wants::Wants;
use super::{
    Action, Attempt, HARD_LINKS, MAX_ATTEMPTS, MAX_BACK_OFF, MAX_LINKS, MIN_LINKS, Membership,
    SECOND, SPARE_LINKS, TARGET_LINKS, Trouble,
};
use crate::keys::DeviceId;

/// How long whoever has the larger device id leaves dialling to the other.
const COURTESY: Duration = Duration::from_secs(3);
/// How often a link is given up of which there are more than [`SPARE_LINKS`].
const SPARE_EVERY: Duration = Duration::from_secs(1);

impl Membership {
    /// The next link to give up.
    pub(super) fn crowded(&mut self, now: Duration) -> Option<Action> {
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

    /// The next member to connect with.
    pub(super) fn dial(&mut self, now: Duration) -> Option<Action> {
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
