//! Keeps the node inside the DHT: entered by nodes that an earlier run knew, then
//! by the public ones, and again with growing pauses where nobody answers, or as soon
//! as this device has other addresses.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::node::{Node, PUBLIC};
use super::{Entry, Health, Reach};
use crate::link::local_addresses;
use crate::store::Store;

/// Pauses between attempts to get inside.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often it is looked during a pause whether addresses changed.
const GLANCE: Duration = Duration::from_secs(2);
/// Entering takes this long at most.
const ENTERING: Duration = Duration::from_secs(6);
/// Names take this long at most to be resolved.
const RESOLVING: Duration = Duration::from_secs(5);
/// When the neighbours are first remembered, and how often from then on.
const REMEMBER_FIRST: Duration = Duration::from_secs(5);
const REMEMBER_AGAIN: Duration = Duration::from_secs(600);
/// Nodes that are remembered.
const REMEMBERED: usize = 64;
/// Remembered nodes that are begun with: more are asked too often by the library.
const BEGUN_WITH: usize = 8;

/// Runs for as long as anybody needs the node.
pub(super) async fn keep(
    entry: Entry,
    store: Arc<Store>,
    health: Arc<Health>,
    reach: watch::Sender<Reach>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        match enter(&entry, &store).await {
            Some(node) => {
                pause = FIRST_PAUSE;
                reach.send_replace(Reach::Inside(node.clone()));
                tokio::select! {
                    () = health.lost.notified() => {}
                    () = remember(&entry, &store, &node) => {}
                }
                tracing::info!("the DHT does not answer any more");
            }
            None => tracing::info!(again_in = ?pause, "the DHT cannot be reached"),
        }
        reach.send_replace(Reach::Unreachable);
        pause = match wait(pause).await {
            Waited::ForNothing => (pause * 2).min(LONGEST_PAUSE),
            Waited::ForAddresses => FIRST_PAUSE,
        };
    }
}

/// How a pause ended.
enum Waited {
    ForNothing,
    /// There is another network, or one at all.
    ForAddresses,
}

async fn wait(pause: Duration) -> Waited {
    let before = local_addresses(&[]);
    let end = Instant::now() + pause;
    while Instant::now() < end {
        tokio::time::sleep_until(end.min(Instant::now() + GLANCE)).await;
        if local_addresses(&[]) != before {
            return Waited::ForAddresses;
        }
    }
    Waited::ForNothing
}

async fn enter(entry: &Entry, store: &Store) -> Option<Node> {
    let remembered = recall(&known_as(entry.bootstrap.as_deref()), store);
    if !remembered.is_empty()
        && let Some(node) = enter_by(entry, remembered).await
    {
        return Some(node);
    }
    let known = resolve(entry).await;
    enter_by(entry, known).await
}

pub(super) async fn enter_by(entry: &Entry, doors: Vec<SocketAddrV4>) -> Option<Node> {
    if doors.is_empty() {
        return None;
    }
    let node = Node::start(entry.bind, doors).await;
    let node = node.map_err(|error| tracing::info!(%error, "no port for the DHT"));
    let node = node.ok()?;
    let inside = tokio::time::timeout(ENTERING, node.is_inside()).await;
    inside.unwrap_or(false).then_some(node)
}

/// Where the DHT is entered; names that cannot be resolved are left out.
pub(super) async fn resolve(entry: &Entry) -> Vec<SocketAddrV4> {
    let names: Vec<String> = match &entry.bootstrap {
        Some(names) => names.clone(),
        None => PUBLIC.map(str::to_owned).to_vec(),
    };
    let mut lookups = tokio::task::JoinSet::new();
    for name in names {
        lookups.spawn(async move {
            let lookup = tokio::time::timeout(RESOLVING, tokio::net::lookup_host(name));
            let found = lookup.await.ok()?.ok()?;
            Some(found.filter_map(v4).take(BEGUN_WITH).collect::<Vec<_>>())
        });
    }
    let found = lookups.join_all().await;
    found.into_iter().flatten().flatten().collect()
}

fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}

/// Remembers the neighbours from time to time; never ends.
async fn remember(entry: &Entry, store: &Store, node: &Node) {
    let mut pause = REMEMBER_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = REMEMBER_AGAIN;
        let mut neighbours = node.neighbours().await;
        neighbours.truncate(REMEMBERED);
        if !neighbours.is_empty()
            && let Err(problem) =
                store.set_dht_nodes(&known_as(entry.bootstrap.as_deref()), &neighbours)
        {
            tracing::warn!(problem.message, "nodes of the DHT could not be kept");
        }
    }
}

/// Some of the nodes that an earlier run knew of the DHT called `dht`.
pub(super) fn recall(dht: &str, store: &Store) -> Vec<SocketAddrV4> {
    let mut nodes = store.dht_nodes(dht).unwrap_or_default();
    nodes.truncate(REMEMBERED);
    let [start] = crate::random::<1>();
    let count = nodes.len();
    if count > 0 {
        nodes.rotate_left(usize::from(start) % count);
    }
    nodes.truncate(BEGUN_WITH);
    nodes
}

/// Which DHT it is that is entered there: nodes of one are of no use in another.
pub(super) fn known_as(bootstrap: Option<&[String]>) -> String {
    bootstrap.map_or_else(|| "public".to_owned(), |doors| doors.join(" "))
}
