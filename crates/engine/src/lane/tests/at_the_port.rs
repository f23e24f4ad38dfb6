//! Links whose only socket is a seat at the device's one UDP port.

use passalong_proto::knock::{Candidate, CandidateKind};

use super::*;
use crate::link::{Letter, Port, Reading};

/// A port on the loopback.
struct Device {
    port: Arc<Port>,
    letters: tokio::sync::mpsc::Receiver<Letter>,
    _reading: Reading,
}

fn device() -> Device {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (sender, letters) = Port::letters();
    let (port, reading) = Port::open(socket, sender).unwrap();
    Device {
        port,
        letters,
        _reading: reading,
    }
}

fn settings(addresses: Vec<IpAddr>) -> LinkSettings {
    LinkSettings {
        addresses,
        lent: Vec::new(),
        ice_servers: Vec::new(),
        relay_only: false,
        same_machine: false,
        patience: PATIENCE,
    }
}

/// A connection that has nothing but a seat at the device's port.
fn seated(device: &Device) -> LinkSettings {
    let address = device.port.local_addr();
    let candidate = Candidate {
        kind: CandidateKind::ServerReflexive,
        address,
        priority: 1,
    };
    LinkSettings {
        lent: vec![device.port.seat(move || vec![candidate])],
        ..settings(Vec::new())
    }
}

async fn met(a: &LinkSettings, b: &LinkSettings) -> (Link, Link) {
    let mut a = Connecting::offer(a).await.unwrap();
    a.gathered(PATIENCE).await;
    let mut b = Connecting::answer(b, &a.local_offer()).await.unwrap();
    b.gathered(PATIENCE).await;
    a.set_remote(&b.local_offer()).await.unwrap();
    let (a, b) = tokio::join!(a.connected(PATIENCE), b.connected(PATIENCE));
    (a.unwrap(), b.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_lanes_work_between_two_ports_and_knocks_go_on_arriving() {
    let (one, mut other) = (device(), device());
    for quic in [false, true] {
        let (a, b) = met(&seated(&one), &seated(&other)).await;
        let (mut knocker, mut answerer, _manner) = greeted(a, b, quic).await;
        if quic {
            has_quic(&mut answerer.lanes).await;
        }
        let sent = pieces(0..24);
        let mut arrived = Arrived::default();
        tokio::join!(
            send_all(&mut answerer.lanes, &sent),
            arrived.all(&mut knocker, &sent)
        );
        let lane = match quic {
            true => 1,
            false => DATA_CHANNEL,
        };
        assert_eq!(arrived.lanes, BTreeSet::from([lane]));
        let knock = [passalong_proto::knock::KNOCK_BYTE; 100];
        one.port.send_to(&knock, other.port.local_addr()).await;
        let letter = other.letters.recv().await.unwrap();
        assert_eq!(letter.from, one.port.local_addr());
        assert_eq!(letter.bytes, knock);
        tokio::join!(knocker.drop_link(), answerer.drop_link());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_links_share_one_port_and_each_gets_its_own() {
    let device = device();
    let mut links = Vec::new();
    for number in 0_u8..6 {
        let own = settings(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let (far, near) = met(&own, &seated(&device)).await;
        links.push((number, far, near));
    }
    let mut told = JoinSet::new();
    for (number, far, near) in links {
        told.spawn(async move {
            // Both whole, or the connections end with their handles.
            let (far, near) = (&far, &near);
            for round in 0_u8..50 {
                let message = [number, round].repeat(20_000);
                far.bulk.send(message.as_slice().into()).await.unwrap();
                assert!(near.bulk.receive().await.unwrap() == message);
                near.bulk
                    .send([round, number].as_slice().into())
                    .await
                    .unwrap();
                assert!(far.bulk.receive().await.unwrap()[..] == [round, number]);
            }
        });
    }
    while let Some(told) = told.join_next().await {
        told.unwrap();
    }
}
