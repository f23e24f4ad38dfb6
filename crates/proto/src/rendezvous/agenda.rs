//! When to look at which place, so that people meet within seconds and the DHT is
//! not asked more than it takes.
//!
//! A policy: it is told what came of each errand and says what is due. Who has
//! just come online, offered something or heard a knock looks often; where nothing
//! happens pauses grow; after a failure they double. Unless somebody has just
//! knocked, a member looks the less the more links it has: the members of a swarm
//! together look about as often as one alone. A device with many shares looks for most
//! of them less often, too (`rounds`). Whoever is connected, or has no room, does not
//! look at all.

use std::time::Duration;

use crate::membership::Dice;

/// Pause between two looks into the mailboxes while all is fresh.
pub const LOOK: Duration = Duration::from_secs(10);
/// The same once nothing has happened for [`QUIET_AFTER`].
pub const QUIET_LOOK: Duration = Duration::from_secs(20);
/// The same once nothing has happened for [`STILL_AFTER`].
pub const STILL_LOOK: Duration = Duration::from_secs(30);
/// Longest pause between two looks, however many links and shares there are.
pub const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// How long after a knock others are expected, whom not everybody has met.
pub const ARRIVING: Duration = Duration::from_secs(120);
/// How long after something happened all is fresh.
pub const QUIET_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long after something happened it is merely quiet.
pub const STILL_AFTER: Duration = Duration::from_secs(2 * 3600);
/// A presence is said again after this long: the DHT forgets within two hours.
pub const REPUBLISH: Duration = Duration::from_secs(3600);
/// First pause after a failure; it doubles from one failure to the next.
pub const FIRST_BACK_OFF: Duration = Duration::from_secs(5);
/// Longest pause after failures.
pub const LONGEST_BACK_OFF: Duration = Duration::from_secs(120);

/// First pause between two looks for an answer, once a knock lies there.
const FIRST_CHECK: Duration = Duration::from_millis(1500);
/// Pause between two looks for an answer when it takes long.
const LONGEST_CHECK: Duration = Duration::from_secs(10);
/// The same when it takes very long.
const WAITING_CHECK: Duration = Duration::from_secs(15);
/// First pause until a knock is looked after, and the longest: another may have been
/// written over it at the same moment.
const DELIVER_AGAIN: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(60));
/// Times that a knock that was put in is expected to be answered soon: where it is
/// taken out again and again, somebody makes sport of it.
const HOPES: u32 = 8;
/// First pause until presences are read again, and the longest.
const LOOK_AROUND: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// What came of an errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done, and there was something new.
    News,
    /// Done.
    Done,
    /// The DHT could not be reached, or the place not be written.
    Failed,
}

/// When something is due next, with pauses that grow.
#[derive(Clone, Debug)]
struct Due {
    /// `None` while it is under way.
    at: Option<Duration>,
    /// When it was begun last.
    begun: Duration,
    /// It is to be done at once after what is under way.
    again: bool,
    /// Failures in a row.
    failures: u32,
}

impl Due {
    fn at(at: Duration) -> Due {
        Due {
            at: Some(at),
            begun: Duration::ZERO,
            again: false,
            failures: 0,
        }
    }

    fn done(&mut self, outcome: Outcome, now: Duration, pause: Duration, dice: &mut Dice) {
        let pause = match outcome {
            Outcome::Failed => {
                self.failures = self.failures.saturating_add(1);
                let doubled = FIRST_BACK_OFF * (1 << (self.failures - 1).min(6));
                doubled.min(LONGEST_BACK_OFF)
            }
            Outcome::News | Outcome::Done => {
                self.failures = 0;
                if std::mem::take(&mut self.again) {
                    self.at = Some(now);
                    return;
                }
                pause
            }
        };
        // A tenth up or down, so that many do not fall into step.
        let tenth = pause.as_millis() as usize / 10;
        let jitter = Duration::from_millis(dice.below(2 * tenth + 1) as u64);
        // Pauses count from one beginning to the next, but for the time that a slow
        // errand leaves.
        let from = self.begun.max(now.saturating_sub(pause / 2));
        self.at = Some((from + pause + jitter).saturating_sub(pause / 10));
    }

    fn take(&mut self, now: Duration) -> bool {
        let due = self.at.is_some_and(|at| at <= now);
        if due {
            self.at = None;
            self.begun = now;
        }
        due
    }

    /// Due at once, whatever failed before.
    fn renew(&mut self, now: Duration) {
        self.failures = 0;
        self.hasten(now);
    }

    /// Due at once, or after what is under way, unless failures say otherwise.
    fn hasten(&mut self, now: Duration) {
        match &mut self.at {
            Some(at) if self.failures == 0 => *at = (*at).min(now),
            Some(_) => {}
            None => self.again = true,
        }
    }
}

/// What is due, and what came of it. Times count from any moment.
pub trait Agenda {
    /// What there is to do.
    type Errand: Copy;

    /// The DHT can be reached again.
    fn online(&mut self, now: Duration);

    /// The next errand that is due, if any; it is under way until [`Agenda::done`].
    fn next(&mut self, now: Duration) -> Option<Self::Errand>;

    /// What came of an errand.
    fn done(&mut self, errand: Self::Errand, outcome: Outcome, now: Duration);

    /// When to ask again, if nothing changes before.
    fn wake(&self) -> Option<Duration>;
}

/// What a member is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberErrand {
    /// Say that it is there.
    Announce,
    /// Look into all mailboxes.
    Collect,
}

/// When a member of a share says that it is there, and looks for knocks.
#[derive(Clone, Debug)]
pub struct MemberAgenda {
    announce: Due,
    collect: Due,
    /// When something last happened.
    stirred: Duration,
    /// When something last happened that is of this share alone.
    touched: Duration,
    /// When somebody last knocked.
    knocked: Option<Duration>,
    /// Shortest pause, for the sake of other shares.
    least: Duration,
    links: usize,
    room: bool,
    dice: Dice,
}

impl MemberAgenda {
    /// Everything is due at once. Times count from any moment; `seed` decides
    /// the jitter.
    pub fn new(now: Duration, seed: u64) -> MemberAgenda {
        MemberAgenda {
            announce: Due::at(now),
            collect: Due::at(now),
            stirred: now,
            touched: now,
            knocked: None,
            least: LOOK,
            links: 0,
            room: true,
            dice: Dice::new(seed),
        }
    }

    /// How many others are linked, and whether anybody else can be let in.
    pub fn crowd(&mut self, now: Duration, links: usize, room: bool) {
        if links < self.links || (room && !self.room) {
            // Somebody was lost, who may be looking for us.
            self.touched = now;
            self.stir(now);
        }
        (self.links, self.room) = (links, room);
    }

    /// When something last happened that is of this share alone: it was offered,
    /// somebody knocked or was lost.
    pub fn touched(&self) -> Duration {
        self.touched
    }

    /// The pause between two looks is at least `pause` from now on, unless somebody has
    /// just knocked.
    pub fn leave_at_least(&mut self, pause: Duration) {
        self.least = pause;
    }

    /// Something happened to this device that others may come after: its addresses
    /// changed.
    pub fn renewed(&mut self, now: Duration) {
        self.announce.hasten(now);
        self.stir(now);
    }

    fn stir(&mut self, now: Duration) {
        self.stirred = now;
        self.collect.hasten(now);
    }
}

impl Agenda for MemberAgenda {
    type Errand = MemberErrand;

    fn online(&mut self, now: Duration) {
        self.announce.renew(now);
        self.collect.renew(now);
        self.stirred = now;
    }

    fn next(&mut self, now: Duration) -> Option<MemberErrand> {
        if !self.room {
            return None;
        }
        if self.announce.take(now) {
            return Some(MemberErrand::Announce);
        }
        self.collect.take(now).then_some(MemberErrand::Collect)
    }

    fn done(&mut self, errand: MemberErrand, outcome: Outcome, now: Duration) {
        match errand {
            MemberErrand::Announce => {
                self.announce.done(outcome, now, REPUBLISH, &mut self.dice);
            }
            MemberErrand::Collect => {
                if outcome == Outcome::News {
                    self.stirred = now;
                    self.touched = now;
                    self.knocked = Some(now);
                }
                let quiet = now.saturating_sub(self.stirred);
                let alone = match quiet {
                    quiet if quiet < QUIET_AFTER => LOOK,
                    quiet if quiet < STILL_AFTER => QUIET_LOOK,
                    _ => STILL_LOOK,
                };
                let arriving = self.knocked.is_some_and(|at| now < at + ARRIVING);
                let (others, least) = match arriving {
                    true => (0, LOOK),
                    false => (self.links, self.least),
                };
                let crowd = u32::try_from(others).unwrap_or(u32::MAX);
                let pause = alone
                    .max(least)
                    .saturating_mul(crowd.saturating_add(1))
                    .min(LONGEST_LOOK);
                self.collect.done(outcome, now, pause, &mut self.dice);
            }
        }
    }

    fn wake(&self) -> Option<Duration> {
        let times = [self.announce.at, self.collect.at];
        times.into_iter().flatten().min().filter(|_| self.room)
    }
}

/// What somebody is to do who looks for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekerErrand {
    /// Put the knock into a mailbox, or see that it is still there.
    Deliver,
    /// Read who is there.
    LookAround,
    /// Look for an answer.
    Check,
}

/// When somebody who looks for a member knocks in the DHT, and looks for answers.
#[derive(Clone, Debug)]
pub struct SeekerAgenda {
    deliver: Due,
    look_around: Due,
    check: Due,
    began: Duration,
    /// A knock lies in a mailbox.
    delivered: bool,
    delivers: u32,
    looks: u32,
    checks: u32,
    /// Times that putting in the knock is followed by looking often.
    hopes: u32,
    dice: Dice,
}

impl SeekerAgenda {
    /// Looking around is due at once, knocking once there is a knock.
    pub fn new(now: Duration, seed: u64) -> SeekerAgenda {
        SeekerAgenda {
            deliver: Due::at(Duration::MAX),
            look_around: Due::at(now),
            check: Due::at(now),
            began: now,
            delivered: false,
            delivers: 0,
            looks: 0,
            checks: 0,
            hopes: HOPES,
            dice: Dice::new(seed),
        }
    }

    /// There is a knock to deliver, the first or another one.
    pub fn renewed(&mut self, now: Duration) {
        self.deliver.hasten(now);
    }
}

impl Agenda for SeekerAgenda {
    type Errand = SeekerErrand;

    fn online(&mut self, now: Duration) {
        self.look_around.renew(now);
        self.check.renew(now);
        if self.deliver.at != Some(Duration::MAX) {
            self.deliver.renew(now);
        }
        self.began = now;
    }

    fn next(&mut self, now: Duration) -> Option<SeekerErrand> {
        if self.deliver.take(now) {
            return Some(SeekerErrand::Deliver);
        }
        if self.look_around.take(now) {
            return Some(SeekerErrand::LookAround);
        }
        (self.delivered && self.check.take(now)).then_some(SeekerErrand::Check)
    }

    /// News are a knock that had to be put in, a member that was not known, an answer.
    fn done(&mut self, errand: SeekerErrand, outcome: Outcome, now: Duration) {
        let dice = &mut self.dice;
        match errand {
            SeekerErrand::Deliver => {
                if outcome == Outcome::News && self.hopes > 0 {
                    // Whoever looks now finds it: the answer may come soon.
                    self.hopes -= 1;
                    (self.delivers, self.checks) = (0, 0);
                    self.check.at = self.check.at.map(|_| now + FIRST_CHECK);
                }
                self.delivered |= outcome != Outcome::Failed;
                let pause = growing(DELIVER_AGAIN, self.delivers);
                self.delivers = self.delivers.saturating_add(1);
                self.deliver.done(outcome, now, pause, dice);
            }
            SeekerErrand::LookAround => {
                let pause = growing(LOOK_AROUND, self.looks);
                self.looks = self.looks.saturating_add(1);
                self.look_around.done(outcome, now, pause, dice);
            }
            SeekerErrand::Check => {
                let longest = match now.saturating_sub(self.began) {
                    waited if waited < QUIET_AFTER => LONGEST_CHECK,
                    _ => WAITING_CHECK,
                };
                // A member looks every ten seconds: until then often.
                let pause = match self.checks {
                    0..8 => FIRST_CHECK,
                    more => growing((FIRST_CHECK * 2, longest), more - 8),
                };
                self.checks = self.checks.saturating_add(1);
                self.check.done(outcome, now, pause, dice);
            }
        }
    }

    fn wake(&self) -> Option<Duration> {
        let check = self.check.at.filter(|_| self.delivered);
        let deliver = self.deliver.at.filter(|at| *at != Duration::MAX);
        let times = [deliver, self.look_around.at, check];
        times.into_iter().flatten().min()
    }
}

/// From the first to the longest, half as much again each time.
fn growing((first, longest): (Duration, Duration), times: u32) -> Duration {
    first
        .mul_f64(1.5_f64.powi(times.min(16) as i32))
        .min(longest)
}
