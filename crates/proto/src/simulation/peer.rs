//! One simulated peer: the three policies as the engine runs them, and its ends
//! of links. What it wants sent is put into an outbox; how things travel is not
//! its business.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::keys::DeviceId;
use crate::knock::DeviceName;
use crate::membership::{Dice, Membership};
use crate::pieces::PieceSet;
use crate::scheduler::{Arrival, Order, PeerKey, PieceState, Scheduler};
use crate::slots::{SlotEvent, Slots};

use super::events::Note;

/// One end of a link, as its peer sees it.
#[derive(Clone, Debug)]
pub(super) struct LinkEnd {
    pub(super) link: u32,
    /// The peer at the other end.
    pub(super) other: u32,
    /// The other end was told that something is wanted from it.
    interested: bool,
}

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) device: DeviceId,
    pub(super) membership: Membership,
    pub(super) slots: Slots<u32>,
    pub(super) scheduler: Scheduler,
    pub(super) links: Vec<LinkEnd>,
    pub(super) alive: bool,
    /// When it had everything.
    pub(super) complete: Option<Duration>,
    held: u32,
    /// What to send on which link.
    pub(super) outbox: Vec<(u32, Note)>,
    /// Something happened that the policies should be asked about.
    pub(super) stirred: bool,
    /// Something happened that the membership should be asked about.
    pub(super) met: bool,
    pub(super) wasted: u64,
    pub(super) violations: usize,
    name: DeviceName,
    address: SocketAddr,
}

/// The device of a peer; its number is in the bytes, so that it can be found.
pub(super) fn device(number: u32, dice: &mut Dice) -> DeviceId {
    let mut id = dice.device();
    id.0[8..12].copy_from_slice(&number.to_be_bytes());
    id
}

/// The number of the peer that has a device.
pub(super) fn number(device: &DeviceId) -> u32 {
    let bytes = &device.0;
    u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])
}

impl Peer {
    pub(super) fn new(
        number: u32,
        pieces: u32,
        piece_bytes: u32,
        slots: usize,
        dice: &mut Dice,
    ) -> Peer {
        let device = device(number, dice);
        let name = DeviceName::new("Ana's laptop");
        let mut scheduler = Scheduler::equal(pieces, piece_bytes, dice.next());
        for piece in 0..pieces {
            scheduler.want(piece);
            scheduler.open(piece);
        }
        Peer {
            device,
            membership: Membership::new(device, name.clone(), dice.next()),
            slots: Slots::new(slots),
            scheduler,
            links: Vec::new(),
            alive: false,
            complete: None,
            held: 0,
            outbox: Vec::new(),
            stirred: false,
            met: false,
            wasted: 0,
            violations: 0,
            name,
            address: SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + number), 4000)),
        }
    }

    /// It takes part from now on.
    pub(super) fn starts(&mut self) {
        self.alive = true;
        self.met = true;
        self.membership.set_active(true);
        self.tell_membership();
    }

    /// It has everything from the beginning.
    pub(super) fn holds_everything(&mut self) {
        for piece in 0..self.scheduler.count() {
            self.scheduler.stored(piece);
        }
        self.held = self.scheduler.count();
        self.complete = Some(Duration::ZERO);
    }

    /// How many pieces it holds.
    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// What its membership tells of it is as things are.
    pub(super) fn tell_membership(&mut self) {
        let addresses = vec![self.address];
        let complete = self.complete.is_some();
        self.membership
            .set_own(self.name.clone(), self.held, complete, addresses);
    }

    /// There is a link with another peer.
    pub(super) fn linked(&mut self, link: u32, other: u32, device: DeviceId, now: Duration) {
        self.membership.linked(device, self.name.clone(), now);
        self.scheduler.joined(key(link), now);
        self.links.push(LinkEnd {
            link,
            other,
            interested: false,
        });
        if self.held > 0 {
            let held = Box::new(self.scheduler.stored_set().clone());
            self.outbox.push((link, Note::Field(held)));
        }
        if self.complete.is_some() {
            self.outbox.push((link, Note::Complete));
        }
        self.met = true;
        self.stirred = true;
    }

    /// A link is over, as far as pieces go; gives who was at the other end.
    pub(super) fn parted(&mut self, link: u32) -> Option<u32> {
        let place = self.links.iter().position(|end| end.link == link)?;
        let end = self.links.swap_remove(place);
        self.scheduler.left(key(link));
        self.slots.left(link);
        self.stirred = true;
        self.met = true;
        Some(end.other)
    }

    /// The link with another peer, if there is one.
    pub(super) fn link_with(&self, other: u32) -> Option<u32> {
        let mut links = self.links.iter();
        links.find(|end| end.other == other).map(|end| end.link)
    }

    /// The other end of a link has these pieces.
    pub(super) fn hears_field(&mut self, link: u32, held: PieceSet) {
        self.scheduler.set_holdings(key(link), held);
        self.reckon_interest(link);
        self.stirred = true;
    }

    /// The other end of a link has one more piece.
    pub(super) fn hears_holds(&mut self, link: u32, piece: u32) {
        self.scheduler.holds(key(link), piece);
        let lacks = !matches!(
            self.scheduler.state(piece),
            PieceState::Received | PieceState::Stored
        );
        if lacks
            && let Some(end) = self.links.iter_mut().find(|end| end.link == link)
            && !end.interested
        {
            end.interested = true;
            self.outbox.push((link, Note::Interest(true)));
        }
    }

    /// A linked peer has all it wants.
    pub(super) fn hears_complete(&mut self, device: DeviceId, now: Duration) {
        let count = self.scheduler.count();
        self.membership.holds(device, count, true, now);
    }

    fn reckon_interest(&mut self, link: u32) {
        let wants = self.scheduler.wants_from(key(link));
        if let Some(end) = self.links.iter_mut().find(|end| end.link == link)
            && end.interested != wants
        {
            end.interested = wants;
            self.outbox.push((link, Note::Interest(wants)));
        }
    }

    /// Bytes of a piece came.
    pub(super) fn came(
        &mut self,
        link: u32,
        piece: u32,
        offset: u32,
        bytes: u32,
        now: Duration,
    ) -> bool {
        match self.scheduler.came(key(link), piece, offset, bytes, now) {
            Ok(Arrival::Part) => false,
            Ok(Arrival::Unneeded) => {
                self.stirred = true;
                self.wasted += u64::from(bytes);
                false
            }
            Ok(Arrival::Whole) => {
                self.stirred = true;
                self.stores(piece, now);
                true
            }
            Err(_) => {
                self.violations += 1;
                false
            }
        }
    }

    fn stores(&mut self, piece: u32, now: Duration) {
        self.scheduler.stored(piece);
        self.held += 1;
        let complete = self.held == self.scheduler.count();
        if complete {
            self.complete = Some(now);
            self.tell_membership();
            self.met = true;
        }
        for end in &mut self.links {
            // To those who hold it themselves it makes no difference.
            let news = |held: &PieceSet| !held.contains(piece);
            if self.scheduler.holdings(key(end.link)).is_none_or(news) {
                self.outbox.push((end.link, Note::Holds(piece)));
            }
            if complete {
                self.outbox.push((end.link, Note::Complete));
            }
            if end.interested && !self.scheduler.wants_from(key(end.link)) {
                end.interested = false;
                self.outbox.push((end.link, Note::Interest(false)));
            }
        }
    }

    /// Requests of a peer that has no slot, or that are cancelled, are dropped.
    pub(super) fn hears_dropped(&mut self, link: u32, pieces: &[u32], now: Duration) {
        for piece in pieces {
            let dropped = self.scheduler.dropped(key(link), *piece, now);
            self.violations += usize::from(dropped.is_err());
        }
        self.stirred = true;
    }

    /// Puts into the outbox what the scheduler wants sent. Gives the links that
    /// lost their slots.
    pub(super) fn ask_policies(&mut self, now: Duration) -> Vec<u32> {
        self.stirred = false;
        let mut budget = i64::MAX;
        while let Some(order) = self.scheduler.poll(now, &mut budget) {
            let (peer, note) = match order {
                Order::Request { peer, pieces } => (peer, Note::Request(pieces)),
                Order::Cancel { peer, pieces } => (peer, Note::Cancel(pieces)),
            };
            self.outbox.push((peer.0 as u32, note));
        }
        let mut choked = Vec::new();
        while let Some(event) = self.slots.poll(now) {
            match event {
                SlotEvent::Unchoke(link) => self.outbox.push((link, Note::Unchoke)),
                SlotEvent::Choke(link) => {
                    self.outbox.push((link, Note::Choke));
                    choked.push(link);
                }
            }
        }
        choked
    }
}

/// The scheduler's name for a link.
pub(super) fn key(link: u32) -> PeerKey {
    PeerKey(u64::from(link))
}
