//! Entering the DHT again after a restart, and after it was lost.

use std::time::Duration;

use mainline::{Dht as Library, Testnet};

use super::*;

/// Waits until a node is inside.
async fn inside(dht: &Dht) -> Lease {
    let lease = dht.join();
    let waited = tokio::time::timeout(Duration::from_secs(60), lease.inside()).await;
    waited.expect("the node gets inside");
    lease
}

fn dht(doors: &[String], store: &Arc<Store>) -> Arc<Dht> {
    let bind = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    Dht::new(&bind, Some(doors.to_vec()), Arc::clone(store)).expect("it has IPv4")
}

fn doors(net: &Testnet) -> Vec<String> {
    net.bootstrap.iter().take(2).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_were_known_before_lead_inside_when_the_usual_doors_are_shut() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Store::open(dir.path()).expect("a store").0);
    let build = || Testnet::builder(8).build().expect("a DHT");
    let mut net = tokio::task::spawn_blocking(build).await.expect("built");
    let doors = doors(&net);
    let first = dht(&doors, &store);
    let lease = inside(&first).await;
    let name = doors.join(" ");
    let remembered = async {
        while store.dht_nodes(&name).expect("read").len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    let remembered = tokio::time::timeout(Duration::from_secs(60), remembered).await;
    remembered.expect("neighbours are remembered");
    drop((lease, first));
    assert!(store.dht_nodes("another DHT").expect("read").is_empty());
    let shut: Vec<Library> = net.nodes.drain(..2).collect();
    drop(shut);
    inside(&dht(&doors, &store)).await;
}

#[tokio::test]
async fn where_only_ipv6_is_to_be_used_there_is_no_dht() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Store::open(dir.path()).expect("a store").0);
    let bind = [IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
    assert!(Dht::new(&bind, None, store).is_none());
    assert_eq!(probe(&bind, None, Vec::new()).await, Entered::NoIpv4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_whether_anybody_answers_at_the_doors_or_among_those_known_before() {
    let build = || Testnet::builder(8).build().expect("a DHT");
    let net = tokio::task::spawn_blocking(build).await.expect("built");
    let bind = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let met = |entered| matches!(entered, Entered::Met(3..=8));
    let entered = probe(&bind, Some(doors(&net)), Vec::new()).await;
    assert!(met(entered), "{entered:?}");

    // Somebody has the port and never says anything.
    let shut = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let shut = vec![shut.local_addr().expect("an address").to_string()];
    let known = doors(&net)
        .into_iter()
        .map(|door| door.parse().expect("IPv4"));
    let entered = probe(&bind, Some(shut.clone()), known.collect()).await;
    assert!(met(entered), "{entered:?}");
    let silence = probe(&bind, Some(shut), Vec::new());
    let silence = tokio::time::timeout(Duration::from_secs(10), silence).await;
    assert_eq!(silence.expect("in time"), Entered::Silence);
    let nowhere = probe(&bind, Some(Vec::new()), Vec::new()).await;
    assert_eq!(nowhere, Entered::Silence);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_write_at_the_same_time_both_write() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Store::open(dir.path()).expect("a store").0);
    let build = || Testnet::builder(8).build().expect("a DHT");
    let net = tokio::task::spawn_blocking(build).await.expect("built");
    let doors = doors(&net);
    let (ana, ben) = (dht(&doors, &store), dht(&doors, &store));
    let (ana, ben) = (inside(&ana).await, inside(&ben).await);
    let secret = passalong_proto::invite::InviteSecret::from_bytes([1; 12]);
    let slot = Slot::new(&secret, passalong_proto::rendezvous::Place::Mailbox(0));
    // Each adds its letter to what is there already.
    let add = |letter: u8| {
        move |read: &[Vec<u8>]| {
            let newest = read.first().map(|note| note[..8].to_vec());
            let mut content = newest.unwrap_or_else(|| vec![0; 8]);
            let free = content.iter().position(|byte| *byte == 0)?;
            (!content.contains(&letter)).then(|| {
                content[free] = letter;
                content
            })
        }
    };
    // Where neither notices the other, whoever looks again sees it.
    let both = async {
        loop {
            let (one, other) = tokio::join!(ana.write(&slot, add(1)), ben.write(&slot, add(2)));
            if one == Ok(false) && other == Ok(false) {
                return;
            }
        }
    };
    let both = tokio::time::timeout(Duration::from_secs(60), both).await;
    both.expect("both are there in the end");
    let read = ana.read(&slot).await.expect("read");
    assert!(read[0][..8].contains(&1) && read[0][..8].contains(&2));
}
