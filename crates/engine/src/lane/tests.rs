//! Both lanes of real links over a relay that loses, doubles and delays datagrams,
//! lets no QUIC through, and adds rubbish of its own; and at the device's one port.

mod at_the_port;
mod moving;
mod parallel;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use passalong_proto::invite::InviteSecret;
use passalong_proto::keys::{DeviceKey, Role, ShareKey};
use passalong_proto::knock::Offer;
use passalong_proto::tree::PIECE_LEN;
use passalong_proto::wire::Message;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::link::{Connecting, Link, LinkSettings};
use crate::peer::{Inbound, Peer, Ways, greet};

const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a lane without a sign of life lasts.
const SILENCE: Duration = Duration::from_secs(7);

/// What the relay does to datagrams.
#[derive(Debug, Default)]
struct Trouble {
    /// Of a thousand datagrams, so many are lost, sent twice, or sent after the next.
    lost: u64,
    doubled: u64,
    late: u64,
    /// How long each datagram holds up those behind it.
    pause: Duration,
    /// Nothing with QUIC's bit gets through.
    no_quic: AtomicBool,
    /// Nothing but ICE's checks gets through.
    only_checks: AtomicBool,
    /// Of each datagram that is no check of ICE's, the first that comes is lost.
    firsts: bool,
    seed: AtomicU64,
}

impl Trouble {
    fn draw(&self) -> u64 {
        // Weyl's sequence through a mixer: the same for every run.
        let weyl = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.seed.fetch_add(weyl, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)) % 1000
    }
}

/// Carries datagrams between two sides that each take it for the other.
struct Relay {
    /// What each side sends to.
    sides: [Arc<UdpSocket>; 2],
    /// Where each side is.
    ends: [SocketAddr; 2],
    _tasks: JoinSet<()>,
}

async fn bound() -> (Arc<UdpSocket>, SocketAddr) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    (Arc::new(socket), address)
}

async fn carry(from: Arc<UdpSocket>, to: Arc<UdpSocket>, end: SocketAddr, trouble: Arc<Trouble>) {
    let mut buffer = vec![0; 65_536];
    let mut held: Option<Vec<u8>> = None;
    let mut seen = HashSet::new();
    loop {
        let Ok((length, _)) = from.recv_from(&mut buffer).await else {
            continue;
        };
        let datagram = &buffer[..length];
        let quic = datagram.first().is_some_and(|first| first & 0x40 != 0);
        let check = datagram.first().is_some_and(|first| *first < 4);
        let stopped = quic && trouble.no_quic.load(Ordering::Relaxed)
            || !check && trouble.only_checks.load(Ordering::Relaxed)
            || !check && trouble.firsts && seen.insert(datagram.to_vec());
        if stopped || trouble.draw() < trouble.lost {
            continue;
        }
        if held.is_none() && trouble.draw() < trouble.late {
            held = Some(datagram.to_vec());
            continue;
        }
        let times = 1 + usize::from(trouble.draw() < trouble.doubled);
        for _ in 0..times {
            let _ = to.send_to(datagram, end).await;
        }
        if let Some(held) = held.take() {
            let _ = to.send_to(&held, end).await;
        }
        if !trouble.pause.is_zero() {
            tokio::time::sleep(trouble.pause).await;
        }
    }
}

struct Pair {
    knocker: Peer,
    answerer: Peer,
    relay: Relay,
    trouble: Arc<Trouble>,
    manner: watch::Sender<Manner>,
}

fn only(offer: &Offer, address: SocketAddr) -> Offer {
    let mut offer = offer.clone();
    offer.candidates.truncate(1);
    offer.candidates[0].address = address;
    offer
}

/// Two linked peers; `quic` says whether they have a QUIC lane.
async fn linked(trouble: Trouble, quic: bool) -> Pair {
    let settings = LinkSettings {
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        lent: Vec::new(),
        ice_servers: Vec::new(),
        relay_only: false,
        same_machine: false,
        patience: PATIENCE,
    };
    let trouble = Arc::new(trouble);
    let ((facing_a, as_b), (facing_b, as_a)) = (bound().await, bound().await);
    let mut a = Connecting::offer(&settings).await.unwrap();
    a.gathered(PATIENCE).await;
    let offer = a.local_offer();
    let mut b = Connecting::answer(&settings, &only(&offer, as_a))
        .await
        .unwrap();
    b.gathered(PATIENCE).await;
    let answer = b.local_offer();
    let ends = [offer.candidates[0].address, answer.candidates[0].address];
    let mut tasks = JoinSet::new();
    for (from, to, end) in [
        (&facing_a, &facing_b, ends[1]),
        (&facing_b, &facing_a, ends[0]),
    ] {
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        tasks.spawn(carry(from, to, end, Arc::clone(&trouble)));
    }
    a.set_remote(&only(&answer, as_b)).await.unwrap();
    let (a, b) = tokio::join!(a.connected(PATIENCE), b.connected(PATIENCE));
    let (knocker, answerer, manner) = greeted(a.unwrap(), b.unwrap(), quic).await;
    Pair {
        knocker,
        answerer,
        relay: Relay {
            sides: [facing_a, facing_b],
            ends,
            _tasks: tasks,
        },
        trouble,
        manner,
    }
}

/// Two peers that introduced themselves; `quic` says whether they have a QUIC lane, which
/// the third keeps.
async fn greeted(a: Link, b: Link, quic: bool) -> (Peer, Peer, watch::Sender<Manner>) {
    let secret: InviteSecret = ShareKey::from_seed([7; 32]).secret();
    let keys = [1, 2].map(|seed| DeviceKey::from_seed([seed; 32]));
    let devices = [keys[0].public(), keys[1].public()];
    let (sender, manner) = watch::channel(Manner::Fast);
    let ways = Ways { quic, manner };
    let (knocker, answerer) = tokio::join!(
        greet(
            a,
            Role::Knocker,
            &keys[0],
            devices[1],
            &secret,
            ways.clone()
        ),
        greet(b, Role::Answerer, &keys[1], devices[0], &secret, ways),
    );
    (knocker.unwrap(), answerer.unwrap(), sender)
}

/// Different pieces of a few lengths.
fn pieces(numbers: std::ops::Range<u32>) -> Vec<Piece> {
    numbers
        .map(|number| {
            let length = match number % 4 {
                0 => PIECE_LEN as usize,
                1 => 1,
                2 => 4096,
                _ => 700_001,
            };
            let bytes: Vec<u8> = (0..length).map(|at| (at as u32 ^ number) as u8).collect();
            let piece = PieceRef {
                entry: 0,
                piece: number,
            };
            (piece, bytes.into())
        })
        .collect()
}

async fn send_one(lanes: &mut Sender, piece: &Piece, limits: &Limits) {
    loop {
        let way = lanes.way().await;
        let outcome = way
            .send(std::slice::from_ref(piece), limits, &|_, _| {})
            .await;
        match lanes.settle(&outcome).await {
            Next::Others => return,
            Next::Again => {}
            Next::Nothing => panic!("the link is gone"),
        }
    }
}

/// Sends one piece after the other.
async fn send_all(lanes: &mut Sender, pieces: &[Piece]) {
    let limits = Limits::default();
    for piece in pieces {
        send_one(lanes, piece, &limits).await;
    }
}

/// What arrived, piece by piece, and on which lanes.
#[derive(Default)]
struct Arrived {
    whole: BTreeMap<u32, Vec<u8>>,
    parts: BTreeMap<(u32, u32), Vec<u8>>,
    lanes: BTreeSet<u32>,
}

impl Arrived {
    /// Takes the next frame; each continues its piece on its lane, whose number is
    /// returned.
    async fn frame(&mut self, peer: &mut Peer, expected: &[Piece]) -> u32 {
        self.frame_but_of(peer, expected, u32::MAX).await
    }

    /// The same, leaving out what comes on a lane that broke.
    async fn frame_but_of(&mut self, peer: &mut Peer, expected: &[Piece], broken: u32) -> u32 {
        loop {
            match timeout(PATIENCE, peer.inbound.recv()).await.unwrap() {
                Some(Inbound::Frame(_, lane)) if lane == broken => {}
                Some(Inbound::Frame(frame, lane)) => {
                    let number = frame.piece.piece;
                    let part = self.parts.entry((lane, number)).or_default();
                    assert_eq!(
                        frame.offset as usize,
                        part.len(),
                        "piece {number} on {lane}"
                    );
                    part.extend_from_slice(&frame.data);
                    let length = expected
                        .iter()
                        .find(|(piece, _)| piece.piece == number)
                        .map(|(_, bytes)| bytes.len());
                    if Some(part.len()) == length {
                        let part = std::mem::take(part);
                        self.parts.remove(&(lane, number));
                        self.whole.insert(number, part);
                    }
                    self.lanes.insert(lane);
                    return lane;
                }
                Some(Inbound::Message(_)) => {}
                other => panic!("not a frame: {other:?}"),
            }
        }
    }

    async fn all(&mut self, peer: &mut Peer, expected: &[Piece]) {
        while self.whole.len() < expected.len() {
            self.frame(peer, expected).await;
        }
        for (piece, bytes) in expected {
            assert!(self.whole[&piece.piece] == *bytes, "piece {}", piece.piece);
        }
    }
}

async fn has_quic(lanes: &mut Sender) {
    let up = lanes.quic.wait_for(Option::is_some);
    timeout(PATIENCE, up).await.unwrap().unwrap();
    // Not seen by the sender yet.
    lanes.quic.mark_changed();
}

fn bad_road() -> Trouble {
    Trouble {
        lost: 20,
        doubled: 30,
        late: 50,
        ..Trouble::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_arrive_over_quic_though_datagrams_are_lost_doubled_and_late() {
    let mut pair = linked(bad_road(), true).await;
    has_quic(&mut pair.knocker.lanes).await;
    assert!(
        pair.knocker.lanes.has_room(0, 1),
        "it waits for what was begun before"
    );
    assert!(!pair.knocker.lanes.has_room(1, 0));
    let sent = pieces(0..24);
    let mut arrived = Arrived::default();
    tokio::join!(
        send_all(&mut pair.knocker.lanes, &sent),
        arrived.all(&mut pair.answerer, &sent),
    );
    assert_eq!(arrived.lanes, BTreeSet::from([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_arrive_over_the_data_channel_though_datagrams_are_lost_doubled_and_late() {
    let mut pair = linked(bad_road(), false).await;
    // Else it gets connections beside it.
    pair.manner.send_replace(Manner::Polite);
    let sent = pieces(0..8);
    let mut arrived = Arrived::default();
    tokio::join!(
        send_all(&mut pair.answerer.lanes, &sent),
        arrived.all(&mut pair.knocker, &sent),
    );
    assert_eq!(arrived.lanes, BTreeSet::from([DATA_CHANNEL]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_made_though_each_datagram_is_lost_when_it_comes_first() {
    let trouble = Trouble {
        firsts: true,
        ..Trouble::default()
    };
    linked(trouble, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_heard_is_kept_while_its_computer_answers() {
    let mut pair = linked(Trouble::default(), false).await;
    let sent = pieces(0..4);
    pair.trouble.only_checks.store(true, Ordering::Relaxed);
    let mut arrived = Arrived::default();
    let receiving = async {
        let heard = arrived.frame(&mut pair.knocker, &sent);
        assert!(timeout(SILENCE, heard).await.is_err(), "it was heard");
        pair.trouble.only_checks.store(false, Ordering::Relaxed);
        arrived.all(&mut pair.knocker, &sent).await;
    };
    tokio::join!(send_all(&mut pair.answerer.lanes, &sent), receiving);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_dies_mid_piece_loses_only_what_was_on_its_way_and_is_made_again() {
    let mut pair = linked(Trouble::default(), true).await;
    has_quic(&mut pair.answerer.lanes).await;
    let sent = pieces(0..40);
    let trouble = Arc::clone(&pair.trouble);
    let lane = pair.answerer.lanes.quic.borrow().clone().unwrap();
    let Pair {
        knocker, answerer, ..
    } = &mut pair;
    let mut arrived = Arrived::default();
    let sending = async {
        send_all(&mut answerer.lanes, &sent).await;
        let lost = timeout(PATIENCE, answerer.lost.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(lost.lane, 1);
        lost.pieces
    };
    let receiving = async {
        while lane.delivered().await == 0 {
            arrived.frame(knocker, &sent).await;
        }
        trouble.no_quic.store(true, Ordering::Relaxed);
        // What is under way still comes, until the lane is given up here as well.
        while timeout(SILENCE, arrived.frame(knocker, &sent))
            .await
            .is_ok()
        {}
    };
    let (lost, ()) = tokio::join!(sending, receiving);
    let lost: BTreeSet<u32> = lost.iter().map(|piece| piece.piece).collect();
    for (piece, _) in &sent {
        let number = piece.piece;
        let known = arrived.whole.contains_key(&number) || lost.contains(&number);
        assert!(known, "piece {number} is neither here nor told as lost");
    }
    assert!(
        !lost.is_empty() && lost.len() < sent.len(),
        "{} lost",
        lost.len()
    );

    arrived.parts.clear();
    let again: Vec<Piece> = sent
        .iter()
        .filter(|(piece, _)| !arrived.whole.contains_key(&piece.piece))
        .cloned()
        .collect();
    let whole = arrived.all(knocker, &sent);
    tokio::join!(send_all(&mut answerer.lanes, &again), whole);
    assert!(arrived.lanes.contains(&DATA_CHANNEL));

    trouble.no_quic.store(false, Ordering::Relaxed);
    has_quic(&mut pair.answerer.lanes).await;
    let more = pieces(40..44);
    let mut arrived = Arrived::default();
    tokio::join!(
        send_all(&mut pair.answerer.lanes, &more),
        arrived.all(&mut pair.knocker, &more),
    );
    assert!(
        arrived.lanes.iter().all(|lane| *lane > 1),
        "{:?}",
        arrived.lanes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_quic_does_not_get_through_the_data_channel_carries_everything() {
    let trouble = Trouble {
        no_quic: true.into(),
        ..Trouble::default()
    };
    let mut pair = linked(trouble, true).await;
    let sent = pieces(0..8);
    let mut arrived = Arrived::default();
    tokio::join!(
        send_all(&mut pair.knocker.lanes, &sent),
        arrived.all(&mut pair.answerer, &sent),
    );
    assert_eq!(arrived.lanes, BTreeSet::from([DATA_CHANNEL]));
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_every_first_byte_from_strangers_and_from_the_path_break_nothing() {
    let mut pair = linked(Trouble::default(), true).await;
    has_quic(&mut pair.knocker.lanes).await;
    let (stranger, _) = bound().await;
    let sent = pieces(0..16);
    let mut arrived = Arrived::default();
    let [_, facing_b] = &pair.relay.sides;
    let rubbish = async {
        for length in [1, 2, 20, 1200] {
            for first in 0..=255_u8 {
                let mut datagram = vec![first ^ 0x5A; length];
                datagram[0] = first;
                for from in [&stranger, facing_b] {
                    let _ = from.send_to(&datagram, pair.relay.ends[1]).await;
                }
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(
        rubbish,
        send_all(&mut pair.knocker.lanes, &sent),
        arrived.all(&mut pair.answerer, &sent),
    );
    // The control channel lives, too.
    pair.knocker.control.send(Message::Complete);
    loop {
        match timeout(PATIENCE, pair.answerer.inbound.recv())
            .await
            .unwrap()
        {
            Some(Inbound::Message(Message::Complete)) => break,
            Some(Inbound::Message(_) | Inbound::Frame(..)) => {}
            other => panic!("the link broke: {other:?}"),
        }
    }
    assert_eq!(arrived.lanes, BTreeSet::from([1]));
}
