//! How long it takes two people to meet who have nothing but a code: a DHT on the
//! loopback, no local network, mailboxes alone.
//!
//! ```text
//! cargo run -p passalong-tests --example meeting_in_the_dht -- [TRIES] [NODES] [LOST]
//! ```
//!
//! Each try is two new people; the time counts from opening the code to the list
//! being on the screen. `LOST` nodes vanish after the files were offered.

use std::time::{Duration, Instant};

use passalong_engine::api::TransferState;
use passalong_tests::dht::Internet;

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
        for seed in 0..tries {
            times.push(meet(nodes, lost, hidden, seed as u64).await);
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

/// How long one meeting takes. The pause before the code is opened differs from
/// try to try, so that it falls anywhere between two looks into the mailboxes.
async fn meet(nodes: usize, lost: usize, hidden: bool, seed: u64) -> Duration {
    let mut internet = Internet::new(nodes).await;
    let person = async |name| match hidden {
        true => internet.hidden(name).await,
        false => internet.person(name).await,
    };
    let (ana, ben) = (person("Ana").await, person("Ben").await);
    let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
    internet.announced(&share.code).await;
    internet.lose(lost);
    tokio::time::sleep(Duration::from_millis(seed * 997 % 10_000)).await;
    let opened = Instant::now();
    let id = ben.open(&share.code).await.expect("an invite");
    ben.transfer_until(&id, |t| t.state == TransferState::Offered)
        .await;
    let took = opened.elapsed();
    ana.engine.shutdown().await;
    ben.engine.shutdown().await;
    took
}
