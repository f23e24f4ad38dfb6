//! Meeting in the Mainline DHT: one node for the engine, there while somebody
//! needs it.
//!
//! `node` is the library, `keeping` starts the node and starts it again, `member`
//! is the side that has something to offer and `seeker` the side that looks for it.
//! What lies where, and when it is looked at, is decided in `proto::rendezvous`. `probe`
//! only finds out whether anybody answers.
//! Nothing here is ever an error to a person: a DHT that cannot be reached is a
//! carrier that is not to be had, tried again later.

mod keeping;
mod member;
mod node;
mod probe;
mod seeker;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use passalong_proto::invite::InviteSecret;
use passalong_proto::rendezvous::rounds::Rounds;
use passalong_proto::rendezvous::{Hour, Place, Slot, next_seq};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

pub(crate) use self::member::{Mail, Member};
use self::node::{Item, Node, Unreachable, Unwritten};
pub(crate) use self::probe::{Entered, probe, remembered};
pub(crate) use self::seeker::Seeking;
use crate::store::Store;

/// Operations under way at a time, those of all shares together.
const OPERATIONS: usize = 8;
/// Times that a slot is tried to be written when others write at the same time.
const ATTEMPTS: u32 = 3;
/// Operations in a row that nobody answered before the node is started again.
const LOST_AFTER: u32 = 6;
/// How long nodes that have an older or other note are waited for.
const GRACE: Duration = Duration::from_millis(500);
/// The same where any note will do.
const LITTLE_GRACE: Duration = Duration::from_millis(200);
/// How long tidying up after somebody who has met may take.
const TIDYING: Duration = Duration::from_secs(10);

/// Where the node is entered and bound.
#[derive(Clone, Debug)]
struct Entry {
    bind: Ipv4Addr,
    /// `None`: the public DHT.
    bootstrap: Option<Vec<String>>,
}

impl Entry {
    /// `None` where only IPv6 addresses are to be used, which the DHT has not.
    fn new(bind: &[IpAddr], bootstrap: Option<Vec<String>>) -> Option<Entry> {
        let v4 = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        };
        let bind = match bind {
            [] => Ipv4Addr::UNSPECIFIED,
            some => some.iter().find_map(v4)?,
        };
        Some(Entry { bind, bootstrap })
    }
}

/// The engine's way into the DHT.
pub(crate) struct Dht {
    entry: Entry,
    store: Arc<Store>,
    node: Mutex<Weak<Running>>,
    tidying: Mutex<JoinSet<()>>,
    /// What times of members count from.
    began: Instant,
    rounds: Mutex<Rounds>,
}

/// How the node is.
#[derive(Clone)]
enum Reach {
    Starting,
    Inside(Node),
    Unreachable,
}

/// What the operations say about the node.
#[derive(Default)]
struct Health {
    failures: AtomicU32,
    lost: Notify,
}

/// The node while it runs; ends with the last lease.
struct Running {
    reach: watch::Receiver<Reach>,
    health: Arc<Health>,
    permits: Semaphore,
    keeper: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Dht {
    /// `None` where only IPv6 addresses are to be used, which the DHT has not.
    pub(crate) fn new(
        bind: &[IpAddr],
        bootstrap: Option<Vec<String>>,
        store: Arc<Store>,
    ) -> Option<Arc<Dht>> {
        Some(Arc::new(Dht {
            entry: Entry::new(bind, bootstrap)?,
            store,
            node: Mutex::default(),
            tidying: Mutex::default(),
            began: Instant::now(),
            rounds: Mutex::default(),
        }))
    }

    /// The node, started if nobody else uses it yet.
    fn join(&self) -> Lease {
        let mut node = self.node.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = node.upgrade() {
            return Lease(running);
        }
        let health = Arc::<Health>::default();
        let (reach, receiver) = watch::channel(Reach::Starting);
        let keeping = keeping::keep(
            self.entry.clone(),
            Arc::clone(&self.store),
            Arc::clone(&health),
            reach,
        );
        let running = Arc::new(Running {
            reach: receiver,
            health,
            permits: Semaphore::new(OPERATIONS),
            keeper: tokio::spawn(keeping),
        });
        *node = Arc::downgrade(&running);
        Lease(running)
    }

    /// The shares that are looked after here.
    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that nobody waits for, unless the engine ends before.
    fn tidy(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tidying = self.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        while tidying.try_join_next().is_some() {}
        tidying.spawn(async move {
            // What takes too long is forgotten by the DHT itself.
            let _ = tokio::time::timeout(TIDYING, task).await;
        });
    }
}

/// A share in the node: it runs as long as anybody holds one.
#[derive(Clone)]
struct Lease(Arc<Running>);

impl Lease {
    /// Waits until the node is inside the DHT.
    async fn inside(&self) {
        let mut reach = self.0.reach.clone();
        let inside = reach.wait_for(|reach| matches!(reach, Reach::Inside(_)));
        if inside.await.is_err() {
            // The keeper ends with the engine.
            std::future::pending::<()>().await;
        }
    }

    fn is_inside(&self) -> bool {
        matches!(*self.0.reach.borrow(), Reach::Inside(_))
    }

    fn reach(&self) -> watch::Receiver<Reach> {
        self.0.reach.clone()
    }

    fn node(&self) -> Result<Node, Unreachable> {
        match &*self.0.reach.borrow() {
            Reach::Inside(node) => Ok(node.clone()),
            Reach::Starting | Reach::Unreachable => Err(Unreachable),
        }
    }

    /// What lies in a slot and was sealed for it, the latest first.
    async fn read(&self, slot: &Slot) -> Result<Vec<Vec<u8>>, Unreachable> {
        let items = self.items(slot, GRACE).await?;
        Ok(opened(slot, &items))
    }

    /// The same for a slot in which somebody else puts one note: as soon as it is
    /// there.
    async fn glance(&self, slot: &Slot) -> Result<Vec<Vec<u8>>, Unreachable> {
        let items = self.items(slot, LITTLE_GRACE).await?;
        Ok(opened(slot, &items))
    }

    /// What lies in each of these places; those that could not be read are left out.
    async fn read_each(
        &self,
        secret: &InviteSecret,
        places: impl Iterator<Item = Place>,
    ) -> Vec<Vec<Vec<u8>>> {
        let mut reads = JoinSet::new();
        for place in places {
            let (lease, slot) = (self.clone(), Slot::new(secret, place));
            reads.spawn(async move { lease.read(&slot).await });
        }
        let read = reads.join_all().await;
        read.into_iter().filter_map(Result::ok).collect()
    }

    async fn items(&self, slot: &Slot, grace: Duration) -> Result<Vec<Item>, Unreachable> {
        let node = self.node()?;
        let Ok(_permit) = self.0.permits.acquire().await else {
            return Err(Unreachable);
        };
        let read = node.read(slot, grace).await;
        self.note(read.is_ok());
        read
    }

    /// Changes what lies in a slot: `change` gets what was read from it and says
    /// what it is to say, or `None` if it is right as it is. Says whether it
    /// was changed.
    async fn write(
        &self,
        slot: &Slot,
        change: impl Fn(&[Vec<u8>]) -> Option<Vec<u8>>,
    ) -> Result<bool, Unwritten> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                let [random] = crate::random();
                tokio::time::sleep(Duration::from_millis(100 + 2 * u64::from(random))).await;
            }
            let items = self.items(slot, GRACE).await;
            let items = items.map_err(|_| Unwritten::Unreachable)?;
            let Some(content) = change(&opened(slot, &items)) else {
                return Ok(false);
            };
            let seen = items.first().map(|item| item.seq);
            let seq = next_seq(seen).ok_or(Unwritten::Conflict)?;
            // Where nodes disagree most of them would refuse a condition.
            let agreed = seen.filter(|seen| items.iter().all(|item| item.seq == *seen));
            let sealed = slot.seal(crate::random(), &content);
            let value = sealed.map_err(|_| Unwritten::Conflict)?;
            let node = self.node().map_err(|_| Unwritten::Unreachable)?;
            let Ok(_permit) = self.0.permits.acquire().await else {
                return Err(Unwritten::Unreachable);
            };
            let written = node.write(slot, &Item { seq, value }, agreed).await;
            self.note(!matches!(written, Err(Unwritten::Unreachable)));
            match written {
                Ok(()) => return Ok(true),
                Err(Unwritten::Conflict) => {}
                Err(Unwritten::Unreachable) => return Err(Unwritten::Unreachable),
            }
        }
        Err(Unwritten::Conflict)
    }

    fn note(&self, answered: bool) {
        let health = &self.0.health;
        if answered {
            health.failures.store(0, Ordering::Relaxed);
        } else if health.failures.fetch_add(1, Ordering::Relaxed) + 1 >= LOST_AFTER {
            health.failures.store(0, Ordering::Relaxed);
            health.lost.notify_one();
        }
    }
}

fn opened(slot: &Slot, items: &[Item]) -> Vec<Vec<u8>> {
    let open = |item: &Item| slot.open(&item.value).ok();
    items.iter().filter_map(open).collect()
}

/// The hour by this device's clock.
fn this_hour() -> Hour {
    Hour::of_unix(crate::engine::unix_millis() / 1000)
}

#[cfg(test)]
mod tests;
