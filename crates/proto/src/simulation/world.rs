//! The loop of a simulation: what arrives in a step, what the policies make of
//! it, and the file bytes that flow meanwhile.

use std::time::Duration;

use crate::membership::{Action, Dice};
use crate::wire::Message;

use super::events::{End, Event, Events, Note};
use super::lines::{Arrived, Lines};
use super::peer::{Peer, key, number};
use super::{Departure, Outcome, STEP, Scenario};

/// The number of the sharer.
const SHARER: u32 = 0;
/// Round trips from a knock to the first message on a link: knock, ICE, DTLS
/// (two), SCTP (two) and the introduction.
const SET_UP_TRIPS: u32 = 7;
/// When an attempt to connect with one who is gone is given up.
const NO_ANSWER: Duration = Duration::from_secs(8);
/// How long a link is silent before it is taken for dead.
const SILENCE: Duration = Duration::from_secs(6);
/// How long a message that was lost takes longer.
const SENT_AGAIN: Duration = Duration::from_millis(200);
/// Steps between two looks at the clock by the scheduler, and by the membership.
const SCHEDULER_STEPS: u64 = 7;
const MEMBERSHIP_STEPS: u64 = 17;
/// Steps between two knocks of somebody without links at the address in the invite.
const INVITE_STEPS: u64 = 333;
/// Steps between two counts of links.
const COUNT_STEPS: u64 = 67;

/// A link: who is at its ends, which of them take it for alive, and before which
/// step nothing more arrives at them, as messages do not overtake each other.
#[derive(Debug)]
struct Link {
    ends: [u32; 2],
    open: [bool; 2],
    not_before: [u64; 2],
}

/// A scenario on its way.
#[derive(Debug)]
pub(super) struct World {
    scenario: Scenario,
    dice: Dice,
    /// Steps that passed.
    step: u64,
    events: Events,
    lines: Lines,
    peers: Vec<Peer>,
    links: Vec<Link>,
    arrived: Vec<Arrived>,
    /// Of each piece, receivers that hold it.
    copies: Vec<u32>,
    /// Pieces that no receiver holds.
    rare: u32,
    stored: u64,
    incomplete: usize,
    departed: bool,
    trip: usize,
    way: usize,
    gossip_bytes: u64,
    member_steps: u64,
    link_sum: u64,
    link_counts: u64,
    outcome: Outcome,
}

fn steps(time: Duration) -> usize {
    time.as_nanos().div_ceil(STEP.as_nanos()) as usize
}

impl World {
    pub(super) fn new(scenario: &Scenario) -> World {
        let mut dice = Dice::new(scenario.seed);
        let count = scenario.receivers as u32 + 1;
        let Scenario {
            pieces,
            piece_bytes,
            slots,
            ..
        } = *scenario;
        let mut peers: Vec<Peer> = (0..count)
            .map(|number| Peer::new(number, pieces, piece_bytes, slots, &mut dice))
            .collect();
        peers[0].holds_everything();
        peers[0].starts();
        let mut events = Events::default();
        let span = steps(scenario.arrival) + 1;
        for number in 1..count {
            events.put(dice.below(span), Event::Arrives(number));
        }
        let worth = 1.0 - scenario.loss;
        let (up, down) = (scenario.up * worth, scenario.down * worth);
        World {
            dice,
            step: 0,
            events,
            lines: Lines::new(peers.len(), up, down, piece_bytes),
            peers,
            links: Vec::new(),
            arrived: Vec::new(),
            copies: vec![0; pieces as usize],
            rare: pieces,
            stored: 0,
            incomplete: scenario.receivers,
            departed: scenario.departure == Departure::Nobody,
            trip: steps(scenario.trip),
            way: steps(scenario.trip / 2),
            gossip_bytes: 0,
            member_steps: 0,
            link_sum: 0,
            link_counts: 0,
            outcome: Outcome::default(),
            scenario: scenario.clone(),
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        while self.incomplete > 0 && self.now() < self.scenario.limit {
            self.advance();
        }
        self.result()
    }

    fn now(&self) -> Duration {
        STEP * u32::try_from(self.step).unwrap_or(u32::MAX)
    }

    fn advance(&mut self) {
        self.step += 1;
        for event in self.events.step() {
            self.happen(event);
        }
        for at in 0..self.peers.len() as u32 {
            if self.peers[at as usize].alive {
                self.member_steps += 1;
                self.ask(at);
            }
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        self.lines.step(&mut arrived);
        for bytes in arrived.drain(..) {
            self.deliver(bytes);
        }
        self.arrived = arrived;
        self.depart();
        if self.step.is_multiple_of(COUNT_STEPS) {
            let alive = self.peers.iter().filter(|peer| peer.alive);
            self.link_counts += alive.clone().count() as u64;
            self.link_sum += alive.map(|peer| peer.links.len() as u64).sum::<u64>();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrives(at) => {
                self.peers[at as usize].starts();
                self.knock(at, SHARER);
            }
            Event::Answered { from, to } => self.answered(from, to),
            Event::Gone(end) => self.gone(end),
            Event::Came(end, note) => self.hear(end, note),
        }
    }

    // Links.

    /// Sets out to connect with a peer.
    fn knock(&mut self, from: u32, to: u32) {
        let time = match self.peers[to as usize].alive {
            true => self.scenario.trip * SET_UP_TRIPS,
            false => NO_ANSWER,
        };
        self.events.put(steps(time), Event::Answered { from, to });
    }

    fn answered(&mut self, from: u32, to: u32) {
        let now = self.now();
        if !self.peers[from as usize].alive {
            return;
        }
        let device = self.peers[to as usize].device;
        if !self.peers[to as usize].alive {
            let peer = &mut self.peers[from as usize];
            peer.membership.failed(device, now);
            peer.met = true;
            return;
        }
        let links = [(from, to), (to, from)].map(|(a, b)| self.peers[a as usize].link_with(b));
        if links[0].is_some() && links[0] == links[1] {
            // They dialled each other; the first link stays.
            self.peers[from as usize].membership.linked(
                device,
                crate::knock::DeviceName::new(""),
                now,
            );
            return;
        }
        // One end may not have noticed yet that an earlier link is over.
        for (at, link) in [from, to].into_iter().zip(links) {
            if let Some(link) = link {
                let side = self.side(link, at);
                self.gone(End { link, side });
            }
        }
        let link = self.links.len() as u32;
        self.links.push(Link {
            ends: [from, to],
            open: [true; 2],
            not_before: [0; 2],
        });
        self.lines.add(from, to);
        self.lines.add(to, from);
        for (at, other) in [(from, to), (to, from)] {
            let device = self.peers[other as usize].device;
            self.peers[at as usize].linked(link, other, device, now);
            self.flush(at);
        }
    }

    fn side(&self, link: u32, at: u32) -> u8 {
        u8::from(self.links[link as usize].ends[1] == at)
    }

    /// An end notices that its link is over.
    fn gone(&mut self, end: End) {
        let now = self.now();
        let link = &mut self.links[end.link as usize];
        let at = link.ends[end.side as usize] as usize;
        if !std::mem::take(&mut link.open[end.side as usize]) || !self.peers[at].alive {
            return;
        }
        if let Some(other) = self.peers[at].parted(end.link) {
            let device = self.peers[other as usize].device;
            self.peers[at].membership.unlinked(device, now);
        }
        self.lines.drop_all(end.link * 2);
        self.lines.drop_all(end.link * 2 + 1);
    }

    /// An end gives its link up; the other notices after so many steps.
    fn part(&mut self, link: u32, at: u32, after: usize) {
        let side = self.side(link, at);
        self.links[link as usize].open[side as usize] = false;
        self.peers[at as usize].parted(link);
        self.lines.drop_all(link * 2);
        self.lines.drop_all(link * 2 + 1);
        let end = End { link, side }.other();
        self.events.put(after, Event::Gone(end));
    }

    fn crash(&mut self, at: u32) {
        let peer = &mut self.peers[at as usize];
        if peer.complete.is_none() {
            self.incomplete -= 1;
        }
        peer.alive = false;
        for end in std::mem::take(&mut peer.links) {
            self.part(end.link, at, steps(SILENCE));
        }
    }

    /// Whoever is to leave does so when the time has come.
    fn depart(&mut self) {
        if self.rare == 0 && self.outcome.spread.is_zero() {
            self.outcome.spread = self.now();
        }
        if self.departed {
            return;
        }
        match self.scenario.departure {
            Departure::Nobody => {}
            Departure::Sharer => {
                if self.rare == 0 {
                    self.departed = true;
                    self.crash(SHARER);
                }
            }
            Departure::Crowd { percent } => {
                let receivers = self.scenario.receivers;
                let all = receivers as u64 * u64::from(self.scenario.pieces);
                if self.stored * 2 >= all {
                    self.departed = true;
                    let mut leave: Vec<u32> = (1..=receivers as u32).collect();
                    for place in 0..receivers * percent / 100 {
                        let other = place + self.dice.below(leave.len() - place);
                        leave.swap(place, other);
                        self.crash(leave[place]);
                    }
                }
            }
        }
    }

    // Messages.

    fn send(&mut self, from: End, note: Note, after: usize) {
        let to = from.other();
        let link = &mut self.links[to.link as usize];
        let mut at = self.step + after as u64;
        // A chance in 2^32, to draw no more than one number.
        let lost = (self.dice.next() >> 32) as f64 / 4_294_967_296.0 < self.scenario.loss;
        if lost {
            at += steps(SENT_AGAIN) as u64;
        }
        let not_before = &mut link.not_before[to.side as usize];
        *not_before = at.max(*not_before);
        let after = (*not_before - self.step) as usize;
        self.events.put(after, Event::Came(to, note));
    }

    /// Sends what a peer put into its outbox.
    fn flush(&mut self, at: u32) {
        let mut outbox = std::mem::take(&mut self.peers[at as usize].outbox);
        for (link, note) in outbox.drain(..) {
            let side = self.side(link, at);
            // File bytes arrive when they are sent; the request takes their time
            // on the way as well.
            let after = match note {
                Note::Request(_) => self.trip,
                _ => self.way,
            };
            self.send(End { link, side }, note, after);
        }
        self.peers[at as usize].outbox = outbox;
    }

    fn hear(&mut self, end: End, note: Note) {
        let link = &self.links[end.link as usize];
        if !link.open[end.side as usize] {
            return;
        }
        let at = link.ends[end.side as usize];
        let other = link.ends[end.other().side as usize];
        let now = self.now();
        let peer = &mut self.peers[at as usize];
        let upload = end.link * 2 + u32::from(end.side);
        match note {
            Note::Field(held) => peer.hears_field(end.link, *held),
            Note::Holds(piece) => peer.hears_holds(end.link, piece),
            Note::Complete => {
                let device = self.peers[other as usize].device;
                self.peers[at as usize].hears_complete(end.link, device, now);
            }
            Note::Interest(true) => {
                peer.slots.interested(end.link, now);
                peer.stirred = true;
            }
            Note::Interest(false) => {
                peer.slots.uninterested(end.link);
                peer.stirred = true;
            }
            Note::Unchoke => {
                peer.scheduler.unchoked(key(end.link), now);
                peer.stirred = true;
            }
            Note::Choke => peer.scheduler.choked(key(end.link), now),
            Note::Request(pieces) => {
                if peer.slots.holds(&end.link) && self.links[end.link as usize].open == [true; 2] {
                    self.lines.ask(upload, &pieces);
                } else {
                    self.send(end, Note::Dropped(pieces), self.way);
                }
            }
            Note::Cancel(pieces) => {
                let dropped = self
                    .lines
                    .drop_pieces(upload, |piece| pieces.contains(&piece));
                if !dropped.is_empty() {
                    self.send(end, Note::Dropped(dropped), self.way);
                }
            }
            Note::Dropped(pieces) => peer.hears_dropped(end.link, &pieces, now),
            Note::Members(members) => {
                let device = self.peers[other as usize].device;
                let peer = &mut self.peers[at as usize];
                peer.membership.gossip(device, members, now);
                peer.met = true;
            }
        }
    }

    // Policies.

    fn ask(&mut self, at: u32) {
        let now = self.now();
        let turn = self.step + u64::from(at);
        if turn.is_multiple_of(INVITE_STEPS) && self.peers[at as usize].links.is_empty() {
            self.knock(at, SHARER);
        }
        let peer = &mut self.peers[at as usize];
        if peer.met || turn.is_multiple_of(MEMBERSHIP_STEPS) {
            peer.met = false;
            peer.tell_membership();
            while let Some(action) = self.peers[at as usize].membership.poll(now) {
                self.act(at, action);
            }
            let links = self.peers[at as usize].links.len();
            self.outcome.most_links = self.outcome.most_links.max(links);
        }
        let peer = &mut self.peers[at as usize];
        if peer.stirred || turn.is_multiple_of(SCHEDULER_STEPS) {
            for link in peer.ask_policies(now) {
                let upload = link * 2 + u32::from(self.side(link, at));
                let dropped = self.lines.drop_pieces(upload, |_| true);
                if !dropped.is_empty() {
                    self.peers[at as usize]
                        .outbox
                        .push((link, Note::Dropped(dropped)));
                }
            }
        }
        if !self.peers[at as usize].outbox.is_empty() {
            self.flush(at);
        }
    }

    fn act(&mut self, at: u32, action: Action) {
        match action {
            Action::Connect { device, .. } => self.knock(at, number(&device)),
            Action::Drop { device } => {
                if let Some(link) = self.peers[at as usize].link_with(number(&device)) {
                    self.part(link, at, self.way);
                }
            }
            Action::Gossip { to, members } => {
                let message = Message::Members { members };
                self.gossip_bytes += message.encode().len() as u64;
                let link = self.peers[at as usize].link_with(number(&to));
                if let (Some(link), Message::Members { members }) = (link, message) {
                    let side = self.side(link, at);
                    self.send(End { link, side }, Note::Members(members), self.way);
                }
            }
        }
    }

    /// File bytes reach the peer that they flow to.
    fn deliver(&mut self, arrived: Arrived) {
        let now = self.now();
        let link = arrived.flow / 2;
        let at = self.lines.flows[arrived.flow as usize].to;
        let side = self.side(link, at);
        if !self.links[link as usize].open[side as usize] {
            return;
        }
        let Arrived {
            piece,
            offset,
            bytes,
            ..
        } = arrived;
        let peer = &mut self.peers[at as usize];
        if !peer.came(link, piece, offset, bytes, now) {
            return;
        }
        self.stored += 1;
        let copies = &mut self.copies[piece as usize];
        if *copies == 0 {
            self.rare -= 1;
        }
        *copies += 1;
        if peer.held() == self.scenario.pieces {
            self.incomplete -= 1;
        }
    }

    fn result(mut self) -> Outcome {
        let receivers = &self.peers[1..];
        let stayed = receivers.iter().filter(|peer| peer.alive);
        let mut times: Vec<Duration> = stayed.clone().filter_map(|peer| peer.complete).collect();
        times.sort_unstable();
        let came = (self.stored * u64::from(self.scenario.piece_bytes)) as f64;
        let wasted = receivers.iter().map(|peer| peer.wasted).sum::<u64>() as f64;
        let size = f64::from(self.scenario.pieces) * f64::from(self.scenario.piece_bytes);
        let seconds = self.member_steps as f64 * STEP.as_secs_f64();
        let outcome = &mut self.outcome;
        outcome.stayed = stayed.count();
        outcome.complete = times.len();
        outcome.all = STEP * self.step as u32;
        outcome.half = times.get(times.len() / 2).copied().unwrap_or_default();
        outcome.mean_links = self.link_sum as f64 / self.link_counts.max(1) as f64;
        outcome.gossip_rate = self.gossip_bytes as f64 / seconds.max(1.0);
        outcome.sharer_sent = self.lines.sent[0] as f64 / size;
        outcome.wasted = wasted / (came + wasted).max(1.0);
        outcome.violations = self.peers.iter().map(|peer| peer.violations).sum();
        self.outcome
    }
}
