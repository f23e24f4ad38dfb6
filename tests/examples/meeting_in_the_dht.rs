//! How long it takes two people to meet who have nothing but a code: a DHT on the
//! loopback, no local network, nobody reachable but through the DHT.
//!
//! ```text
//! cargo run -p passalong-tests --example meeting_in_the_dht -- [TRIES] [NODES] [LOST]
//! ```
//!
//! Each try is two new people; the time counts from opening the code to the list
//! being on the screen. Some pairs share a DHT, of which `LOST` nodes vanish after
//! the files were offered; they begin one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use passalong_engine::api::TransferState;
use passalong_tests::Person;
use passalong_tests::dht::Internet;
use tokio::task::JoinSet;

/// Pairs that share a DHT.
const PAIRS: usize = 25;
/// Between two pairs: codes are opened anywhere between two looks into the mailboxes.
const PAUSE: Duration = Duration::from_millis(1700);

#[tokio::main]
async fn main() {
    let mut given = std::env::args().skip(1).map(|word| word.parse());
    let mut number = |usual: usize| match given.next() {
        Some(Ok(number)) => number,
        Some(Err(error)) => panic!("not a number: {error}"),
        None => usual,
    };
    let (tries, nodes, lost) = (number(50), number(30), number(0));
    for (road, hidden) in [("by the mailboxes", true), ("by addresses as well", false)] {
        let mut times = Vec::new();
        while times.len() < tries {
            let pairs = PAIRS.min(tries - times.len());
            times.extend(meet(pairs, nodes, lost, hidden).await);
        }
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64();
        println!(
            "{road}: {tries} tries, {nodes} nodes of which {lost} vanish: median {:.1} s, \
             nine in ten {:.1} s, slowest {:.1} s",
            at(50),
            at(90),
            at(100),
        );
    }
}

/// How long each of some pairs takes.
async fn meet(pairs: usize, nodes: usize, lost: usize, hidden: bool) -> Vec<Duration> {
    let mut internet = Internet::new(nodes).await;
    let mut sharers = Vec::new();
    for _ in 0..pairs {
        let ana = person(&internet, "Ana", hidden).await;
        let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
        sharers.push((ana, share.code));
    }
    for (_, code) in &sharers {
        internet.announced(code).await;
    }
    internet.lose(lost);
    let internet = Arc::new(internet);
    let mut meetings = JoinSet::new();
    for (number, (ana, code)) in sharers.into_iter().enumerate() {
        let internet = Arc::clone(&internet);
        meetings.spawn(async move {
            tokio::time::sleep(PAUSE * number as u32).await;
            let ben = person(&internet, "Ben", hidden).await;
            let opened = Instant::now();
            let id = ben.open(&code).await.expect("an invite");
            ben.transfer_until(&id, |t| t.state == TransferState::Offered)
                .await;
            let took = opened.elapsed();
            ana.engine.shutdown().await;
            ben.engine.shutdown().await;
            took
        });
    }
    meetings.join_all().await
}

async fn person(internet: &Internet, name: &str, hidden: bool) -> Person {
    match hidden {
        true => internet.hidden(name).await,
        false => internet.person(name).await,
    }
}
