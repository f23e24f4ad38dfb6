//! What is asked next, of whom: rounds over the peers with room, the emptiest
//! first, and at the end of everything the endgame.

use std::time::Duration;

use super::peer::cost;
use super::{MAX_PENDING, Order, Owners, PeerKey, PieceState, Scheduler};
use crate::tree::PIECE_LEN;
use crate::wire::{MAX_OUTSTANDING, REQUESTS_PER_MESSAGE};

/// How often the time alone is a reason to look after the peers.
const TICK: Duration = Duration::from_millis(100);
/// How much sooner another peer has to be done to be asked for the same piece.
const WORTH_A_COPY: f64 = 1.25;
/// How much sooner it has to be done to be asked instead of another.
const WORTH_TAKING: f64 = 1.5;
/// How much sooner it has to be done to be asked instead of one of two others.
const WORTH_A_RELIEF: f64 = 4.0;

impl Scheduler {
    /// The next order to carry out, if any. To be called until `None` after
    /// every event, and about every 100 ms. `budget` is how many bytes may still
    /// be asked for; what is asked for is taken off it, and the last request may
    /// go beyond it.
    pub fn poll(&mut self, now: Duration, budget: &mut i64) -> Option<Order> {
        self.tick(now);
        if let Some(order) = self.next_cancel() {
            return Some(order);
        }
        if self.paused {
            return None;
        }
        if *budget <= 0 {
            self.stirred = true;
            return None;
        }
        if std::mem::take(&mut self.stirred) {
            self.new_round(now);
        }
        while let Some(peer) = self.round.pop() {
            if self.pending + PIECE_LEN > MAX_PENDING {
                // Whatever is stored begins the next round.
                self.round.clear();
                self.idle.clear();
                return None;
            }
            let pieces = self.ask(peer, now, budget);
            if pieces.len() == REQUESTS_PER_MESSAGE {
                self.round.push(peer);
            }
            if !pieces.is_empty() {
                return Some(Order::Request { peer, pieces });
            }
            self.idle.push(peer);
        }
        if !self.idle.is_empty() && (self.ticked || self.rarity.is_empty()) {
            self.ticked = false;
            self.endgame = self.is_endgame();
            self.line_up_slow(now);
        }
        if self.slow.is_empty() {
            self.idle.clear();
        }
        while let Some(peer) = self.idle.pop() {
            let pieces = self.take_over(peer, now, budget);
            if !pieces.is_empty() {
                return Some(Order::Request { peer, pieces });
            }
        }
        self.slow.clear();
        None
    }

    /// Looks after peers that the time has something to say about.
    fn tick(&mut self, now: Duration) {
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + TICK;
        self.stirred = true;
        self.ticked = true;
        let mut silent = Vec::new();
        for (key, peer) in &mut self.peers {
            if peer.requests.is_empty() {
                continue;
            }
            peer.pace.tick(now);
            if peer.is_overdue(now) {
                peer.silent = true;
            }
            if peer.silent {
                silent.push(*key);
            }
        }
        for key in silent {
            self.relieve(key);
        }
    }

    /// Takes from a silent peer what another one can send.
    fn relieve(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else {
            return;
        };
        let live = peer.requests.iter().filter(|request| request.live);
        let elsewhere = live.map(|request| request.piece).filter(|piece| {
            self.rarity.copies(*piece) > 1
                && self.peers.iter().any(|(other, peer)| {
                    *other != key
                        && peer.is_able()
                        && peer.holds.contains(*piece)
                        && peer.find(*piece).is_none_or(|at| peer.requests[at].live)
                })
        });
        for piece in elsewhere.collect::<Vec<_>>() {
            self.cancel(key, piece);
        }
    }

    fn next_cancel(&mut self) -> Option<Order> {
        let (peer, mut pieces) = self.cancels.pop_first()?;
        if pieces.len() > REQUESTS_PER_MESSAGE {
            let rest = pieces.split_off(REQUESTS_PER_MESSAGE);
            self.cancels.insert(peer, rest);
        }
        Some(Order::Cancel { peer, pieces })
    }

    /// Lines up the peers that have room, the emptiest last.
    fn new_round(&mut self, now: Duration) {
        self.idle.clear();
        let fill = |key: &PeerKey| {
            let peer = self.peers.get(key);
            peer.map_or(0, |peer| peer.cost * 1024 / peer.window().max(1))
        };
        let mut round: Vec<PeerKey> = (self.peers.iter())
            .filter(|(_, peer)| peer.has_room(now))
            .map(|(key, _)| *key)
            .collect();
        round.sort_by_cached_key(|key| std::cmp::Reverse(fill(key)));
        self.round = round;
    }

    /// Asks a peer for missing pieces, the rarest first.
    fn ask(&mut self, key: PeerKey, now: Duration, budget: &mut i64) -> Vec<u32> {
        let mut pieces = Vec::new();
        let Some(peer) = self.peers.get_mut(&key) else {
            return pieces;
        };
        if !self.rarity.any(&peer.holds) {
            return pieces;
        }
        // Cancelled there and missing again: not to be asked twice of one peer.
        let mut holds = std::mem::take(&mut peer.holds);
        let cancelled = peer.requests.iter().filter(|request| !request.live);
        let cancelled: Vec<u32> = cancelled
            .map(|request| request.piece)
            .filter(|piece| holds.remove(*piece))
            .collect();
        let mut room = peer.room(now);
        let mut level = 0;
        while pieces.len() < REQUESTS_PER_MESSAGE
            && peer.requests.len() < MAX_OUTSTANDING
            && *budget > 0
            && room > 0
        {
            let Some(piece) = self.rarity.next(&holds, peer.run, &mut level) else {
                break;
            };
            let length = self.lengths.of(piece);
            let cost = cost(length);
            // A window is passed by a first request only.
            if self.pending + cost > MAX_PENDING || cost > room && peer.cost > 0 {
                break;
            }
            peer.ask(piece, length, now);
            peer.run = Some(piece + 1);
            self.rarity.remove(piece);
            self.states[piece as usize] = PieceState::Requested;
            self.owners.insert(piece, Owners::one(key));
            self.pending += cost;
            room = room.saturating_sub(cost);
            *budget -= i64::from(length);
            pieces.push(piece);
        }
        for piece in cancelled {
            holds.insert(piece);
        }
        peer.holds = holds;
        pieces
    }

    /// Whether nothing is missing that a peer could be asked for.
    fn is_endgame(&self) -> bool {
        let mut able = self.peers.values().filter(|peer| peer.is_able());
        !self.owners.is_empty() && !able.any(|peer| self.rarity.any(&peer.holds))
    }

    /// Lines up the peers that owe something, the slowest last.
    fn line_up_slow(&mut self, now: Duration) {
        let owing = self.peers.iter().filter(|(_, peer)| peer.owed > 0);
        let mut slow: Vec<(f64, PeerKey)> = owing
            .map(|(key, peer)| (peer.seconds(0, now), *key))
            .collect();
        slow.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        self.slow = slow;
    }

    /// Asks a peer that has nothing else to do for what slower ones owe: instead
    /// of them what they have not begun, or in the endgame as well as them.
    fn take_over(&mut self, key: PeerKey, now: Duration, budget: &mut i64) -> Vec<u32> {
        let mut pieces = Vec::new();
        while pieces.len() < REQUESTS_PER_MESSAGE && *budget > 0 {
            let taken = self.worth_taking(key, now);
            let relieved = || self.worth_a_relief(key, now).filter(|_| self.endgame);
            let Some((piece, from)) = taken.or_else(relieved) else {
                break;
            };
            let length = self.lengths.of(piece);
            let Some(peer) = self.peers.get_mut(&key) else {
                break;
            };
            let fits = cost(length) <= peer.room(now) || peer.cost == 0;
            if !fits || self.pending + cost(length) > MAX_PENDING {
                break;
            }
            peer.ask(piece, length, now);
            let is_copied = taken.is_some() && self.endgame;
            if !is_copied {
                self.cancel(from, piece);
            }
            match self.owners.get_mut(&piece) {
                Some(owners) => owners.second = Some(key),
                None => {
                    self.rarity.remove(piece);
                    self.states[piece as usize] = PieceState::Requested;
                    self.owners.insert(piece, Owners::one(key));
                }
            }
            self.pending += cost(length);
            *budget -= i64::from(length);
            pieces.push(piece);
        }
        pieces
    }

    /// A piece that two others owe while `key` would bring it far sooner than
    /// either, and the slower of them.
    fn worth_a_relief(&self, key: PeerKey, now: Duration) -> Option<(u32, PeerKey)> {
        let peer = self.peers.get(&key).filter(|peer| peer.is_able())?;
        if peer.room(now) == 0 {
            return None;
        }
        let seconds = |key: PeerKey| {
            let peer = self.peers.get(&key);
            peer.map_or(f64::INFINITY, |peer| peer.seconds(0, now))
        };
        self.owners.iter().find_map(|(piece, owners)| {
            let second = owners.second.filter(|second| *second != key)?;
            if owners.first == key || !peer.holds.contains(*piece) || peer.find(*piece).is_some() {
                return None;
            }
            let (one, other) = (seconds(owners.first), seconds(second));
            let mine = peer.seconds(u64::from(self.lengths.of(*piece)), now);
            let slower = if one > other { owners.first } else { second };
            (mine * WORTH_A_RELIEF < one.min(other)).then_some((*piece, slower))
        })
    }

    /// The last piece that one of the slowest peers owes alone and that `key` would
    /// bring sooner, and who owes it.
    fn worth_taking(&self, key: PeerKey, now: Duration) -> Option<(u32, PeerKey)> {
        let peer = self.peers.get(&key).filter(|peer| peer.is_able())?;
        if peer.room(now) == 0 {
            return None;
        }
        let worth = match self.endgame {
            true => WORTH_A_COPY,
            false => WORTH_TAKING,
        };
        let least = peer.seconds(0, now) * worth;
        let slow = self.slow.iter().rev();
        let slow = slow.take_while(|(seconds, _)| *seconds > least);
        for (_, other) in slow.filter(|(_, other)| *other != key) {
            let Some(owing) = self.peers.get(other) else {
                continue;
            };
            let mut behind = 0;
            let mut live = owing.requests.iter().filter(|request| request.live);
            // What it may have begun is left to it, but for the endgame.
            if !self.endgame {
                live.next();
            }
            for request in live.rev() {
                let piece = request.piece;
                let length = u64::from(self.lengths.of(piece));
                let owners = self.owners.get(&piece);
                let is_alone =
                    owners.is_some_and(|owners| owners.first == *other && owners.second.is_none());
                let is_begun = request.got > 0 && !self.endgame;
                if is_alone && !is_begun && peer.holds.contains(piece) && peer.find(piece).is_none()
                {
                    let theirs =
                        owing.seconds(0, now) - owing.pace.seconds(behind) + owing.pace.seconds(0);
                    if peer.seconds(length, now) * worth < theirs {
                        return Some((piece, *other));
                    }
                    break;
                }
                behind += length - u64::from(request.got);
            }
        }
        None
    }
}
