//! This device's node in the Mainline DHT: reads and writes mutable items (BEP 44).
//! The only file that knows the library.
//!
//! What is read comes from anybody: it is bounded here and believed nowhere. The
//! library runs a thread for the node, which ends when the last handle is dropped;
//! should that thread die, operations fail like those of a node without a network.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use futures_lite::StreamExt;
use mainline::async_dht::AsyncDht;
use mainline::errors::PutMutableError;
use mainline::{DEFAULT_BOOTSTRAP_NODES, Dht, MutableItem};
use passalong_proto::rendezvous::Slot;
use passalong_proto::rendezvous::note::NOTE_LEN;
use tokio::task::JoinSet;

/// The places where the public DHT is entered.
pub(super) const PUBLIC: [&str; 4] = DEFAULT_BOOTSTRAP_NODES;
/// Different items taken out of one read: nodes may disagree, or lie.
const MAX_ITEMS: usize = 32;
/// An operation that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(12);
/// A node that has not answered for this long is passed over. Some always are gone, so
/// this is what most operations take.
const NODE_LIMIT: Duration = Duration::from_millis(1200);
/// Nodes that are enough to begin with.
const ENOUGH: usize = 4;
/// How often it is looked whether that many are known.
const GLANCE: Duration = Duration::from_millis(50);

/// Something that lies in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) seq: i64,
    pub(super) value: Vec<u8>,
}

/// Nobody in the DHT answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreachable;

/// Why a slot was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    Unreachable,
    /// Somebody else wrote at the same time, or left no greater number.
    Conflict,
}

/// A node, with its socket and thread.
#[derive(Clone)]
pub(super) struct Node(AsyncDht);

impl Node {
    /// Binds a port that is free and begins to enter the DHT.
    pub(super) async fn start(bind: Ipv4Addr, bootstrap: Vec<SocketAddrV4>) -> io::Result<Node> {
        let build = move || {
            let mut builder = Dht::builder();
            builder.bind_address(bind).port(0).bootstrap(&bootstrap);
            builder.request_timeout(NODE_LIMIT);
            Ok(Node(builder.build()?.as_async()))
        };
        let built = tokio::task::spawn_blocking(build).await;
        built.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Whether there is a DHT to be seen from here.
    pub(super) async fn is_inside(&self) -> bool {
        let known = async {
            while self.neighbours().await.len() < ENOUGH {
                tokio::time::sleep(GLANCE).await;
            }
        };
        tokio::select! {
            inside = self.looked_around() => inside,
            () = known => true,
        }
    }

    /// Asks around until all the way to the nodes next to this one is known. Says whether
    /// anybody answered.
    pub(super) async fn looked_around(&self) -> bool {
        let dht = self.0.clone();
        limited(async move { dht.bootstrapped().await }).await == Some(true)
    }

    /// Nodes that a later start may begin with: they have answered.
    pub(super) async fn neighbours(&self) -> Vec<SocketAddrV4> {
        let dht = self.0.clone();
        let told = limited(async move { dht.to_bootstrap().await }).await;
        let parse = |address: &String| address.parse().ok();
        told.unwrap_or_default().iter().filter_map(parse).collect()
    }

    /// What lies in a slot, each item once, the greatest number first. Once there is
    /// one, slower nodes are waited for no longer than `grace`.
    pub(super) async fn read(
        &self,
        slot: &Slot,
        grace: Duration,
    ) -> Result<Vec<Item>, Unreachable> {
        let (dht, key) = (self.0.clone(), slot.public());
        let read = limited(read(dht, key, grace)).await;
        read.unwrap_or(Err(Unreachable))
    }

    /// Puts something into a slot. Where `over` is given, only over the item with
    /// that number.
    pub(super) async fn write(
        &self,
        slot: &Slot,
        item: &Item,
        over: Option<i64>,
    ) -> Result<(), Unwritten> {
        let dht = self.0.clone();
        let item = MutableItem::new(slot.signing_key().clone(), &item.value, item.seq, None);
        let written = limited(async move { dht.put_mutable(item, over).await }).await;
        match written {
            Some(Ok(_)) => Ok(()),
            Some(Err(PutMutableError::Concurrency(_))) => Err(Unwritten::Conflict),
            Some(Err(PutMutableError::Query(error))) => {
                tracing::debug!(%error, "the DHT took nothing");
                Err(Unwritten::Unreachable)
            }
            None => Err(Unwritten::Unreachable),
        }
    }
}

async fn read(dht: AsyncDht, key: [u8; 32], grace: Duration) -> Result<Vec<Item>, Unreachable> {
    let mut lookup = dht.get_mutable_detailed(&key, None, None);
    let mut items: Vec<Item> = Vec::new();
    let mut patience = LIMIT;
    while let Ok(Some(found)) = tokio::time::timeout(patience, lookup.items.next()).await {
        patience = grace;
        let known = |item: &Item| item.seq == found.seq() && item.value == found.value();
        if found.value().len() <= NOTE_LEN && items.len() < MAX_ITEMS && !items.iter().any(known) {
            items.push(Item {
                seq: found.seq(),
                value: found.value().to_vec(),
            });
        }
    }
    if items.is_empty() {
        let outcome = lookup.outcome.recv().await;
        if outcome.responded() == 0 {
            return Err(Unreachable);
        }
    }
    items.sort_by_key(|item| std::cmp::Reverse(item.seq));
    Ok(items)
}

/// Does an operation of the library in a task of its own, as the library panics
/// when its thread is gone. `None`: it did, or took too long.
async fn limited<T: Send + 'static>(
    operation: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let mut task = JoinSet::new();
    task.spawn(operation);
    let joined = tokio::time::timeout(LIMIT, task.join_next()).await;
    joined.ok().flatten()?.ok()
}
