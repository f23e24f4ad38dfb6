//! Which pieces to ask of which peers: events in, next requests out, for one
//! fetch from any number of peers.
//!
//! ```text
//! Unwanted -> Closed -> Missing -> Requested -> Received -> Stored
//!                          ^-----------+------------+
//! ```
//!
//! Invariant: a piece is in exactly one state at any time, a request of a peer is
//! in its list until it is answered. Verifying, storing, and what the numbers of
//! pieces stand for is not decided here; neither is there a clock: `now` is the
//! time since some start.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::pieces::{PieceMap, PieceSet};
use crate::serve::Violation;

use peer::{Peer, cost};
use rarity::Rarity;

mod asking;
mod pace;
mod peer;
mod rarity;

/// Most bytes asked of one peer and not here.
pub const MAX_WINDOW: u64 = 16 * 1024 * 1024;
/// Bytes that every peer may be asked for at once: two whole pieces.
pub const LEAST_WINDOW: u64 = 2 * 1024 * 1024;
/// Bytes that the only peer may be asked for at once: nobody else is there to ask,
/// and a path that it takes long to measure is full from the first round trip on.
pub const LONE_WINDOW: u64 = 8 * 1024 * 1024;
/// Most bytes asked of all peers, or here and not stored.
pub const MAX_PENDING: u64 = 48 * 1024 * 1024;
/// Bytes that a smaller piece counts as, so that a window is 1024 pieces at most.
pub const PIECE_COST: u64 = MAX_WINDOW / 1024;

/// One link to a peer; never used again for another link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey(pub u64);

/// The state of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceState {
    /// Not to be fetched.
    Unwanted,
    /// Wanted, but it could not be verified yet.
    Closed,
    /// Wanted, and asked of nobody.
    Missing,
    /// Asked of one peer, or two in the endgame.
    Requested,
    /// Here whole, not verified and stored yet.
    Received,
    /// Verified and stored.
    Stored,
}

/// What to send to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ask for these pieces, in this order.
    Request {
        /// Of whom.
        peer: PeerKey,
        /// At most [`crate::wire::REQUESTS_PER_MESSAGE`].
        pieces: Vec<u32>,
    },
    /// These requests are not needed any more.
    Cancel {
        /// Of whom it was asked.
        peer: PeerKey,
        /// At most [`crate::wire::REQUESTS_PER_MESSAGE`].
        pieces: Vec<u32>,
    },
}

/// What bytes that came are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// To be kept; more of the piece is to come.
    Part,
    /// To be kept; the piece is whole.
    Whole,
    /// To be thrown away: the request was cancelled.
    Unneeded,
}

/// Whom a piece was asked of.
#[derive(Clone, Copy, Debug)]
struct Owners {
    first: PeerKey,
    second: Option<PeerKey>,
}

impl Owners {
    fn one(first: PeerKey) -> Owners {
        Owners {
            first,
            second: None,
        }
    }
}

#[derive(Clone, Debug)]
enum Lengths {
    Map(Arc<PieceMap>),
    Equal(u32),
}

impl Lengths {
    fn of(&self, piece: u32) -> u32 {
        match self {
            Lengths::Map(map) => map.len(piece),
            Lengths::Equal(length) => *length,
        }
    }
}

/// The piece scheduler of one fetch.
#[derive(Clone, Debug)]
pub struct Scheduler {
    lengths: Lengths,
    states: Vec<PieceState>,
    stored: PieceSet,
    /// Wanted, and neither received nor stored.
    lacking: PieceSet,
    rarity: Rarity,
    /// Of the pieces that are requested.
    owners: BTreeMap<u32, Owners>,
    /// Of the pieces that are received, who sent them.
    senders: BTreeMap<u32, PeerKey>,
    peers: BTreeMap<PeerKey, Peer>,
    /// Cost of all live requests and of what is received and not stored.
    pending: u64,
    cancels: BTreeMap<PeerKey, Vec<u32>>,
    paused: bool,
    /// Something happened since the last round over the peers.
    stirred: bool,
    /// Peers with room that were not asked in this round, the next one last.
    round: Vec<PeerKey>,
    /// Peers with room for which nothing was missing in this round.
    idle: Vec<PeerKey>,
    /// Peers that owe something, and for how many seconds, the slowest last; while
    /// the idle ones are looked at.
    slow: Vec<(f64, PeerKey)>,
    /// Nothing was missing that a peer could be asked for in this round.
    endgame: bool,
    /// Time passed since the idle ones were looked at.
    ticked: bool,
    next_tick: Duration,
}

impl Scheduler {
    /// A scheduler for the pieces of a share, none of them wanted yet. Schedulers
    /// of different `seed`s begin at different pieces.
    pub fn new(pieces: Arc<PieceMap>, seed: u64) -> Scheduler {
        let count = pieces.count();
        Scheduler::of(Lengths::Map(pieces), count, seed)
    }

    /// A scheduler for `count` pieces of `length` bytes.
    pub fn equal(count: u32, length: u32, seed: u64) -> Scheduler {
        Scheduler::of(Lengths::Equal(length), count, seed)
    }

    fn of(lengths: Lengths, count: u32, seed: u64) -> Scheduler {
        Scheduler {
            lengths,
            states: vec![PieceState::Unwanted; count as usize],
            stored: PieceSet::none(count),
            lacking: PieceSet::none(count),
            rarity: Rarity::new(count, seed),
            owners: BTreeMap::new(),
            senders: BTreeMap::new(),
            peers: BTreeMap::new(),
            pending: 0,
            cancels: BTreeMap::new(),
            paused: false,
            stirred: true,
            round: Vec::new(),
            idle: Vec::new(),
            slow: Vec::new(),
            endgame: false,
            ticked: false,
            next_tick: Duration::ZERO,
        }
    }

    /// A scheduler with the same peers for which nothing is wanted or stored.
    /// What was asked for is cancelled.
    pub fn again(&self) -> Scheduler {
        let mut again = self.clone();
        again.cancel_all();
        for piece in 0..again.count() {
            again.enter(piece, PieceState::Unwanted);
        }
        again.senders.clear();
        again.pending = 0;
        again
    }

    /// How many pieces there are.
    pub fn count(&self) -> u32 {
        self.states.len() as u32
    }

    /// The piece that is asked for first of a lone source.
    pub fn origin(&self) -> u32 {
        self.rarity.origin()
    }

    /// The state of a piece; `Unwanted` if there is none of this number.
    pub fn state(&self, piece: u32) -> PieceState {
        let state = self.states.get(piece as usize);
        state.copied().unwrap_or(PieceState::Unwanted)
    }

    /// The pieces that are stored.
    pub fn stored_set(&self) -> &PieceSet {
        &self.stored
    }

    /// Whether everything wanted is received or stored.
    pub fn lacks_nothing(&self) -> bool {
        self.lacking.is_empty()
    }

    /// Connected peers that hold a piece.
    pub fn copies(&self, piece: u32) -> u32 {
        self.rarity.copies(piece)
    }

    /// The connected peers, in the order of their keys.
    pub fn peers(&self) -> impl Iterator<Item = PeerKey> + '_ {
        self.peers.keys().copied()
    }

    /// What a connected peer holds, as it says.
    pub fn holdings(&self, peer: PeerKey) -> Option<&PieceSet> {
        self.peers.get(&peer).map(|peer| &peer.holds)
    }

    /// Whether a peer holds anything that is wanted and not here.
    pub fn wants_from(&self, peer: PeerKey) -> bool {
        let peer = self.peers.get(&peer);
        peer.is_some_and(|peer| peer.holds.meets(&self.lacking))
    }

    /// Whether any of these pieces is wanted, not here, and held by a connected
    /// peer.
    pub fn has_source(&self, mut pieces: Range<u32>) -> bool {
        pieces.any(|piece| self.lacking.contains(piece) && self.copies(piece) > 0)
    }

    /// Whether those of these pieces that are wanted and not here are held by
    /// connected peers.
    pub fn is_obtainable(&self, mut pieces: Range<u32>) -> bool {
        pieces.all(|piece| !self.lacking.contains(piece) || self.copies(piece) > 0)
    }

    /// Whether a peer holds any of these pieces.
    pub fn holds_any(&self, peer: PeerKey, mut pieces: Range<u32>) -> bool {
        let holds = self.holdings(peer);
        holds.is_some_and(|holds| pieces.any(|piece| holds.contains(piece)))
    }

    /// What was asked of a peer and is neither answered nor cancelled.
    pub fn asked_of(&self, peer: PeerKey) -> impl Iterator<Item = u32> + '_ {
        let requests = self.peers.get(&peer).into_iter();
        requests
            .flat_map(|peer| peer.requests.iter())
            .filter(|request| request.live)
            .map(|request| request.piece)
    }

    /// Cost that may be asked of a peer at once, in bytes, small pieces counted as
    /// [`PIECE_COST`].
    pub fn window_of(&self, peer: PeerKey) -> u64 {
        self.peers.get(&peer).map_or(0, Peer::window)
    }

    /// Cost, in bytes, of all that is asked for or received and not stored.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Whether anything is asked for that is not here.
    pub fn is_waiting(&self) -> bool {
        !self.owners.is_empty()
    }

    /// How fast a peer sends, in bytes a second; 0 if nothing is asked of it.
    pub fn rate_of(&self, peer: PeerKey) -> u64 {
        let peer = self.peers.get(&peer);
        peer.filter(|peer| !peer.requests.is_empty())
            .map_or(0, |peer| peer.pace.rate())
    }

    /// A peer is connected. It holds nothing and is choked until it says
    /// otherwise.
    pub fn joined(&mut self, peer: PeerKey, now: Duration) {
        let count = self.count();
        self.peers
            .entry(peer)
            .or_insert_with(|| Peer::new(count, now));
        self.count_peers();
    }

    fn count_peers(&mut self) {
        let least = match self.peers.len() {
            1 => LONE_WINDOW,
            _ => LEAST_WINDOW,
        };
        for peer in self.peers.values_mut() {
            peer.least_window = least;
        }
    }

    /// A peer is gone: what was asked of it is missing again.
    pub fn left(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.remove(&key) else {
            return;
        };
        self.stirred = true;
        self.cancels.remove(&key);
        for request in peer.requests.iter().filter(|request| request.live) {
            self.pending -= cost(self.lengths.of(request.piece));
            self.release(key, request.piece);
        }
        self.rarity.uncount(&peer.holds, peer.full);
        self.count_peers();
    }

    /// A peer holds exactly these pieces from now on.
    pub fn set_holdings(&mut self, key: PeerKey, holds: PieceSet) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let full = holds.capacity() > 0 && holds.is_full();
        if !peer.full && !full {
            let before = std::mem::replace(&mut peer.holds, holds);
            let after = &peer.holds;
            for piece in after.iter().filter(|piece| !before.contains(*piece)) {
                self.rarity.add_copy(piece);
            }
            for piece in before.iter().filter(|piece| !after.contains(*piece)) {
                self.rarity.remove_copy(piece);
            }
        } else {
            self.rarity.uncount(&peer.holds, peer.full);
            self.rarity.count(&holds, full);
            peer.holds = holds;
            peer.full = full;
        }
        self.stirred = true;
    }

    /// A peer holds everything.
    pub fn holds_all(&mut self, key: PeerKey) {
        self.set_holdings(key, PieceSet::all(self.count()));
    }

    /// A peer holds one more piece; says whether there is such a piece.
    pub fn holds(&mut self, key: PeerKey, piece: u32) -> bool {
        if piece >= self.count() {
            return false;
        }
        let Some(peer) = self.peers.get_mut(&key) else {
            return true;
        };
        if peer.holds.insert(piece) {
            self.rarity.add_copy(piece);
            self.stirred = true;
        }
        true
    }

    /// A peer does not hold these pieces any more; those that were asked of it
    /// are answered by this.
    pub fn holds_no_more(&mut self, key: PeerKey, pieces: Range<u32>, now: Duration) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        peer.stirs(now);
        let lost = |piece: u32| pieces.contains(&piece);
        let requests = peer.requests.iter().map(|request| request.piece);
        for piece in requests.filter(|piece| lost(*piece)).collect::<Vec<_>>() {
            self.settle(key, piece);
        }
        if let Some(peer) = self.peers.get(&key) {
            let mut holds = peer.holds.clone();
            let mut any = false;
            for piece in pieces {
                any |= holds.remove(piece);
            }
            if any {
                self.set_holdings(key, holds);
            }
        }
        self.stirred = true;
    }

    /// A peer answers no requests until it says otherwise.
    pub fn choked(&mut self, key: PeerKey, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.choked = true;
            peer.stirs(now);
        }
    }

    /// A peer answers requests from now on.
    pub fn unchoked(&mut self, key: PeerKey, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.choked = false;
            peer.stirs(now);
            self.stirred = true;
        }
    }

    /// Bytes of a piece came from a peer.
    ///
    /// # Errors
    ///
    /// They were not asked of it, or do not follow those before.
    pub fn came(
        &mut self,
        key: PeerKey,
        piece: u32,
        offset: u32,
        bytes: u32,
        now: Duration,
    ) -> Result<Arrival, Violation> {
        let length = self.lengths.of(piece);
        let peer = self.peers.get_mut(&key);
        let request = peer.and_then(|peer| Some((peer.find(piece)?, peer)));
        let Some((place, peer)) = request else {
            return Err(Violation("it sent a piece that was not asked for"));
        };
        let request = &mut peer.requests[place];
        if offset != request.got || bytes > length - request.got {
            return Err(Violation("it sent a piece out of order or too long"));
        }
        if let (0, Some(at)) = (offset, request.alone) {
            peer.pace.first_byte(now.saturating_sub(at));
        }
        request.got += bytes;
        let (live, whole) = (request.live, request.got == length);
        if live {
            peer.owed -= u64::from(bytes);
        }
        let extra = match whole {
            true => cost(length) - u64::from(length),
            false => 0,
        };
        peer.pace.came(u64::from(bytes), extra, now);
        peer.stirs(now);
        if std::mem::take(&mut peer.silent) {
            self.stirred = true;
        }
        match (live, whole) {
            (true, false) => Ok(Arrival::Part),
            (false, false) => Ok(Arrival::Unneeded),
            (false, true) => {
                self.settle(key, piece);
                Ok(Arrival::Unneeded)
            }
            (true, true) => {
                peer.delivers();
                self.receive(key, piece);
                Ok(Arrival::Whole)
            }
        }
    }

    /// A peer will not answer a request by a piece.
    ///
    /// # Errors
    ///
    /// There was no such request.
    pub fn dropped(&mut self, key: PeerKey, piece: u32, now: Duration) -> Result<(), Violation> {
        let peer = self.peers.get_mut(&key);
        let request = peer.and_then(|peer| Some((peer.find(piece)?, peer)));
        let Some((place, peer)) = request else {
            return Err(Violation("it dropped a request that was not made"));
        };
        peer.stirs(now);
        if peer.requests[place].live && !peer.choked {
            peer.declines(now);
        }
        self.settle(key, piece);
        Ok(())
    }

    /// What a peer sent of a piece may be lost: if it did not come whole, it will
    /// not answer the request.
    pub fn may_be_lost(&mut self, key: PeerKey, piece: u32, now: Duration) {
        let peer = self.peers.get_mut(&key);
        if let Some(peer) = peer.filter(|peer| peer.find(piece).is_some()) {
            peer.stirs(now);
            self.settle(key, piece);
        }
    }

    /// A piece is wanted, but cannot be verified yet.
    pub fn want(&mut self, piece: u32) {
        if self.state(piece) == PieceState::Unwanted {
            self.enter(piece, PieceState::Closed);
        }
    }

    /// A wanted piece can be verified from now on.
    pub fn open(&mut self, piece: u32) {
        if self.state(piece) == PieceState::Closed {
            self.enter(piece, PieceState::Missing);
        }
    }

    /// A piece is verified and stored; says whether it was not before.
    pub fn stored(&mut self, piece: u32) -> bool {
        let before = self.state(piece);
        if piece >= self.count() || before == PieceState::Stored {
            return false;
        }
        self.withdraw(piece);
        self.enter(piece, PieceState::Stored);
        true
    }

    /// A received piece is verified and stored; says whether it was received.
    pub fn received_stored(&mut self, piece: u32) -> bool {
        self.state(piece) == PieceState::Received && self.stored(piece)
    }

    /// A received piece did not verify: it is missing again. Gives the peer that
    /// sent it.
    pub fn rejected(&mut self, piece: u32) -> Option<PeerKey> {
        if self.state(piece) != PieceState::Received {
            return None;
        }
        let sender = self.senders.get(&piece).copied();
        self.withdraw(piece);
        self.enter(piece, PieceState::Missing);
        sender
    }

    /// A piece is not wanted any more.
    pub fn unwant(&mut self, piece: u32) {
        self.withdraw(piece);
        self.enter(piece, PieceState::Unwanted);
    }

    /// Stops asking, and cancels what is asked, or goes on.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.stirred = true;
        if paused {
            self.cancel_all();
        }
    }

    fn cancel_all(&mut self) {
        for piece in self.owners.keys().copied().collect::<Vec<_>>() {
            self.cancel_owners(piece);
        }
    }

    /// The one place where a piece changes its state, but for asking.
    fn enter(&mut self, piece: u32, state: PieceState) {
        let Some(before) = self.states.get_mut(piece as usize) else {
            return;
        };
        let before = std::mem::replace(before, state);
        if before == state {
            return;
        }
        self.stirred = true;
        match before {
            PieceState::Missing => {
                self.rarity.remove(piece);
            }
            PieceState::Stored => {
                self.stored.remove(piece);
            }
            _ => {}
        }
        match state {
            PieceState::Missing => self.rarity.insert(piece),
            PieceState::Stored => {
                self.stored.insert(piece);
            }
            _ => {}
        }
        match state {
            PieceState::Closed | PieceState::Missing | PieceState::Requested => {
                self.lacking.insert(piece);
            }
            PieceState::Unwanted | PieceState::Received | PieceState::Stored => {
                self.lacking.remove(piece);
            }
        }
    }

    /// A piece came whole from a peer: others need not send it.
    fn receive(&mut self, key: PeerKey, piece: u32) {
        if let Some(owners) = self.owners.remove(&piece) {
            for owner in [Some(owners.first), owners.second].into_iter().flatten() {
                if owner != key {
                    self.cancel(owner, piece);
                }
            }
        }
        self.settle(key, piece);
        self.pending += cost(self.lengths.of(piece));
        self.senders.insert(piece, key);
        self.enter(piece, PieceState::Received);
    }

    /// Nobody is to send a piece, and nothing that came of it counts.
    fn withdraw(&mut self, piece: u32) {
        self.cancel_owners(piece);
        if self.senders.remove(&piece).is_some() {
            self.pending -= cost(self.lengths.of(piece));
        }
    }

    fn cancel_owners(&mut self, piece: u32) {
        if let Some(owners) = self.owners.get(&piece).copied() {
            self.cancel(owners.first, piece);
            if let Some(second) = owners.second {
                self.cancel(second, piece);
            }
        }
    }

    /// A peer need not answer a request by the piece.
    fn cancel(&mut self, key: PeerKey, piece: u32) {
        let length = self.lengths.of(piece);
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let place = peer.find(piece);
        if place.is_some_and(|place| peer.cancel(place, length)) {
            self.pending -= cost(length);
            self.cancels.entry(key).or_default().push(piece);
            self.release(key, piece);
        }
    }

    /// A request is answered, one way or other.
    fn settle(&mut self, key: PeerKey, piece: u32) {
        let length = self.lengths.of(piece);
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let Some(place) = peer.find(piece) else {
            return;
        };
        self.stirred = true;
        if peer.settle(place, length) {
            self.pending -= cost(length);
            self.release(key, piece);
        } else if let Some(cancels) = self.cancels.get_mut(&key) {
            cancels.retain(|cancelled| *cancelled != piece);
            if cancels.is_empty() {
                self.cancels.remove(&key);
            }
        }
    }

    /// A requested piece is not asked of this peer any more.
    fn release(&mut self, key: PeerKey, piece: u32) {
        let Some(owners) = self.owners.get_mut(&piece) else {
            return;
        };
        match (owners.first == key, owners.second) {
            (true, Some(second)) => *owners = Owners::one(second),
            (true, None) => {
                self.owners.remove(&piece);
                self.enter(piece, PieceState::Missing);
            }
            (false, Some(second)) if second == key => owners.second = None,
            (false, _) => {}
        }
    }
}
