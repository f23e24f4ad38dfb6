//! How long it takes two people to meet who have nothing but a code: a DHT on the
//! loopback, no local network, nobody reachable but through the DHT.
//!
//! ```text
//! cargo run -p passalong-tests --example meeting_in_the_dht -- [TRIES] [NODES] [LOST] [addresses]
//! ```
//!
//! Each try is two new people; the time counts from opening the code to the list
//! being on the screen. Some pairs share a DHT, of which `LOST` nodes vanish after
//! the files were offered; they begin one after the other. With `addresses`, the
//! addresses found there are knocked at as well; without, mailboxes have to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use passalong_engine::api::TransferState;
use passalong_tests::Person;
use passalong_tests::dht::Internet;
use tokio::task::JoinSet;

/// Pairs that share a DHT.
const PAIRS: usize = 10;
/// Between two pairs: codes are opened anywhere between two looks into the mailboxes.
const PAUSE: Duration = Duration::from_millis(1700);

#[tokio::main]
async fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let hidden = !given.iter().any(|word| word == "addresses");
    let mut numbers = given.iter().filter_map(|word| word.parse().ok());
    let mut number = |usual: usize| numbers.next().unwrap_or(usual);
    let (tries, nodes, lost) = (number(50), number(30), number(0));
    let mut times = Vec::new();
    while times.len() < tries {
        let pairs = PAIRS.min(tries - times.len());
        times.extend(meet(pairs, nodes, lost, hidden).await);
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64();
        println!(
            "{} tries, {nodes} nodes of which {lost} vanish: median {:.1} s, nine in ten \
             {:.1} s, slowest {:.1} s",
            times.len(),
            at(50),
            at(90),
            at(100),
        );
    }
}

/// How long each of some pairs takes.
async fn meet(pairs: usize, nodes: usize, lost: usize, hidden: bool) -> Vec<Duration> {
    let mut internet = Arc::new(Internet::new(nodes).await);
    let mut sharing = JoinSet::new();
    for _ in 0..pairs {
        let internet = Arc::clone(&internet);
        sharing.spawn(async move {
            let ana = person(&internet, "Ana", hidden).await;
            let share = ana.share(&[ana.write("a.txt", b"hello")]).await;
            internet.announced(&share.code).await;
            (ana, share.code)
        });
    }
    let sharers = sharing.join_all().await;
    let whole = Arc::get_mut(&mut internet).expect("nobody else has it");
    whole.lose(lost);
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
