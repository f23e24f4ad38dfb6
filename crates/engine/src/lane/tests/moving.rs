//! Links whose nominated pair changes while pieces flow. One side has two addresses, as
//! a computer with a cable and a wireless network, and moves from one to the other; the
//! other side stays. ICE moves by a restart, whose halves the test carries.

use std::sync::Mutex;

use passalong_proto::knock::{Candidate, CandidateKind};

use super::*;
use crate::api::Settings;
use crate::link::LinkHandle;
use crate::link::udp::AsyncUdpSocket as _;

/// Bytes a second while the link moves: pieces flow for longer than it takes.
const RATE: u64 = 4 << 20;

/// What a way between the two sides lets through.
#[derive(Clone, Copy, Debug)]
enum Opening {
    Nothing,
    /// What is no check of ICE, which has to choose another way, then.
    NoChecks,
    Everything,
}

/// A socket that stands for a side, and where it is.
type Stand = (Arc<UdpSocket>, SocketAddr);

/// Both ways between the side that moves and the one that stays.
struct Ways {
    mover: Role,
    openings: [Mutex<Opening>; 2],
    /// What the side that moves sends to, whichever way it takes.
    staying: Stand,
    /// What the side that stays sends to, on each way.
    moving: [Stand; 2],
}

impl Ways {
    /// The first way is open, the second is not.
    async fn new(mover: Role) -> Ways {
        Ways {
            mover,
            openings: [Opening::Everything, Opening::Nothing].map(Mutex::new),
            staying: bound().await,
            moving: [bound().await, bound().await],
        }
    }

    /// Where a side is on a way, as the other one sees it.
    fn seen(&self, side: Role, way: usize) -> SocketAddr {
        match self.mover == side {
            true => self.moving[way].1,
            false => self.staying.1,
        }
    }

    fn open(&self, way: usize, opening: Opening) {
        *self.openings[way].lock().unwrap() = opening;
    }

    fn lets_through(&self, way: usize, datagram: &[u8]) -> bool {
        match *self.openings[way].lock().unwrap() {
            Opening::Nothing => false,
            Opening::NoChecks => datagram.first().is_some_and(|first| *first > 3),
            Opening::Everything => true,
        }
    }

    /// Carries what comes on one way from the side that stays to where the other is.
    async fn carry_to_moving(self: Arc<Self>, way: usize, end: SocketAddr) {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((length, _)) = self.moving[way].0.recv_from(&mut buffer).await else {
                continue;
            };
            let datagram = &buffer[..length];
            if self.lets_through(way, datagram) {
                let _ = self.staying.0.send_to(datagram, end).await;
            }
        }
    }

    /// Carries what comes from the side that moves, on the way of the address it is from.
    async fn carry_to_staying(self: Arc<Self>, ends: [SocketAddr; 2], end: SocketAddr) {
        let mut buffer = vec![0; 65_536];
        loop {
            let Ok((length, from)) = self.staying.0.recv_from(&mut buffer).await else {
                continue;
            };
            let datagram = &buffer[..length];
            let way = ends.iter().position(|address| *address == from);
            if let Some(way) = way.filter(|way| self.lets_through(*way, datagram)) {
                let _ = self.moving[way].0.send_to(datagram, end).await;
            }
        }
    }
}

/// Two linked peers, of which one can move.
struct Moving {
    knocker: Peer,
    answerer: Peer,
    /// The knocker's and the answerer's.
    links: [LinkHandle; 2],
    ways: Arc<Ways>,
    /// Where the side that moves is on each way.
    ends: [SocketAddr; 2],
    _carrying: JoinSet<()>,
    _manner: watch::Sender<Manner>,
}

async fn moving(mover: Role) -> Moving {
    let settings = |side| LinkSettings {
        addresses: (1..=1 + u8::from(mover == side))
            .map(|last| IpAddr::from([127, 0, 0, last]))
            .collect(),
        lent: Vec::new(),
        ice_servers: Vec::new(),
        relay_only: false,
        same_machine: false,
        patience: PATIENCE,
    };
    let ways = Arc::new(Ways::new(mover).await);
    let mut a = Connecting::offer(&settings(Role::Knocker)).await.unwrap();
    a.gathered(PATIENCE).await;
    let offer = a.local_offer();
    let as_a = ways.seen(Role::Knocker, 0);
    let mut b = Connecting::answer(&settings(Role::Answerer), &only(&offer, as_a))
        .await
        .unwrap();
    b.gathered(PATIENCE).await;
    let answer = b.local_offer();
    let (moves, stays) = match mover {
        Role::Knocker => (&offer, &answer),
        Role::Answerer => (&answer, &offer),
    };
    let ends = [1, 2].map(|last| {
        let ip = IpAddr::from([127, 0, 0, last]);
        let mut candidates = moves.candidates.iter();
        candidates.find(|c| c.address.ip() == ip).unwrap().address
    });
    let end = stays.candidates[0].address;
    let mut carrying = JoinSet::new();
    for (way, end) in ends.into_iter().enumerate() {
        carrying.spawn(Arc::clone(&ways).carry_to_moving(way, end));
    }
    carrying.spawn(Arc::clone(&ways).carry_to_staying(ends, end));
    let as_b = ways.seen(Role::Answerer, 0);
    a.set_remote(&only(&answer, as_b)).await.unwrap();
    let (a, b) = tokio::join!(a.connected(PATIENCE), b.connected(PATIENCE));
    let (a, b) = (a.unwrap(), b.unwrap());
    let links = [a.handle.clone(), b.handle.clone()];
    let (knocker, answerer, manner) = greeted(a, b, true).await;
    Moving {
        knocker,
        answerer,
        links,
        ways,
        ends,
        _carrying: carrying,
        _manner: manner,
    }
}

/// ICE begins again, and either side knows of nothing but the second way.
async fn restart([knocker, answerer]: &[LinkHandle; 2], ways: &Ways) {
    let on_second_way = |mut half: Offer, side| {
        half.candidates.push(Candidate {
            kind: CandidateKind::Host,
            address: ways.seen(side, 1),
            priority: 1,
        });
        half
    };
    let offer = on_second_way(knocker.restart().await.unwrap(), Role::Knocker);
    let answer = answerer.join_restart(&offer).await.unwrap();
    let answer = on_second_way(answer, Role::Answerer);
    knocker.complete_restart(&answer).await.unwrap();
}

/// Pieces flow from the answerer to the knocker while `mover` moves from the first way,
/// of which `left` is left, to the second.
async fn pieces_survive_a_move(mover: Role, left: Opening) {
    let mut moving = moving(mover).await;
    let Moving {
        knocker,
        answerer,
        links,
        ways,
        ends,
        ..
    } = &mut moving;
    has_quic(&mut answerer.lanes).await;
    let limits = Limits::default();
    limits.apply(&Settings {
        upload_limit: Some(RATE),
        ..Settings::default()
    });
    let all = pieces(0..120);
    let moved = AtomicBool::new(false);
    let mut arrived = Arrived::default();
    let sending = async {
        let mut sent = 0;
        while sent < all.len() && !moved.load(Ordering::Relaxed) {
            send_one(&mut answerer.lanes, &all[sent], &limits).await;
            sent += 1;
        }
        let lost = timeout(PATIENCE, answerer.lost.recv()).await.unwrap();
        (&all[..sent], lost.unwrap())
    };
    let receiving = async {
        while arrived.whole.len() < 2 {
            arrived.frame(knocker, &all).await;
        }
        assert_eq!(arrived.lanes, BTreeSet::from([1]));
        ways.open(0, left);
        ways.open(1, Opening::Everything);
        restart(links, ways).await;
        while arrived.lanes.last().is_none_or(|lane| *lane < 2) {
            arrived.frame(knocker, &all).await;
        }
        moved.store(true, Ordering::Relaxed);
    };
    let ((sent, lost), ()) = tokio::join!(sending, receiving);
    assert_eq!(lost.lane, 1);
    assert!(lost.pieces.len() < sent.len());
    if matches!(left, Opening::Nothing) {
        assert!(!lost.pieces.is_empty());
    }
    let kept: Vec<u32> = sent
        .iter()
        .filter(|(piece, _)| !lost.pieces.contains(piece))
        .map(|(piece, _)| piece.piece)
        .collect();
    while kept.iter().any(|piece| !arrived.whole.contains_key(piece)) {
        arrived.frame(knocker, sent).await;
    }
    let again: Vec<Piece> = sent
        .iter()
        .filter(|(piece, _)| !arrived.whole.contains_key(&piece.piece))
        .cloned()
        .collect();
    tokio::join!(
        send_all(&mut answerer.lanes, &again),
        arrived.all(knocker, sent)
    );

    // The new lane needs nothing of the old way.
    ways.open(0, Opening::Nothing);
    let more = pieces(120..140);
    let mut arrived = Arrived::default();
    tokio::join!(
        send_all(&mut answerer.lanes, &more),
        arrived.all(knocker, &more),
    );
    assert!(
        arrived.lanes.iter().all(|lane| *lane > 1),
        "{:?}",
        arrived.lanes
    );
    for (side, other, link) in [
        (Role::Knocker, Role::Answerer, &links[0]),
        (Role::Answerer, Role::Knocker, &links[1]),
    ] {
        let (socket, remote) = link.path().await.unwrap();
        assert_eq!(remote, ways.seen(other, 1));
        if side == mover {
            assert_eq!(socket.local_addr().unwrap(), ends[1]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_way_of_the_knocker_is_cut_a_new_lane_comes_up_on_the_other_and_no_piece_is_missing()
 {
    pieces_survive_a_move(Role::Knocker, Opening::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_way_of_the_answerer_is_cut_a_new_lane_comes_up_on_the_other_and_no_piece_is_missing()
 {
    pieces_survive_a_move(Role::Answerer, Opening::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_goes_where_the_knocker_moves_though_its_old_way_still_carries_it() {
    pieces_survive_a_move(Role::Knocker, Opening::NoChecks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_goes_where_the_answerer_moves_though_its_old_way_still_carries_it() {
    pieces_survive_a_move(Role::Answerer, Opening::NoChecks).await;
}
