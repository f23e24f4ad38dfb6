//! Whether this computer's network changed: other addresses, or a sleep in between.
//!
//! Looked at every two seconds. Then the names of STUN and TURN servers are looked up
//! anew, and whoever searches is told to begin afresh. A change beyond this computer,
//! such as a router that restarts, cannot be seen from here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::context::Context;
use crate::link;

/// How often the addresses are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The clock on the wall may run ahead of the program's by so much between two
/// looks before the computer is taken to have slept.
const SLEPT: Duration = Duration::from_secs(15);

/// Pauses between two tries to look up names that had no address: the first, and the
/// longest that it grows to.
const LOOK_UP_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// Watches the network for as long as this lives.
pub(crate) struct Network {
    changes: Arc<watch::Sender<u64>>,
    renewals: watch::Sender<u64>,
    looking: JoinHandle<()>,
}

impl Network {
    /// Begins to look at the addresses that an engine with `bind` uses.
    pub(crate) fn start(bind: &[IpAddr]) -> Network {
        let changes = Arc::new(watch::channel(0).0);
        let looking = tokio::spawn(look(bind.to_vec(), Arc::clone(&changes)));
        Network {
            changes,
            renewals: watch::channel(0).0,
            looking,
        }
    }

    /// The network is not what it was, as somebody else noticed.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Counts the times at which a connection that waits for nobody yet is better
    /// made anew.
    pub(crate) fn renewals(&self) -> watch::Receiver<u64> {
        self.renewals.subscribe()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// Keeps the addresses of servers current and tells whoever searches.
pub(crate) async fn follow(context: Arc<Context>) {
    let network = &context.network;
    let mut changes = network.changes.subscribe();
    let (first, longest) = LOOK_UP_AGAIN;
    let mut pause = first;
    // The first look-up, at the start, may have come before the network did.
    let mut complete = false;
    loop {
        let changed = tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            () = tokio::time::sleep(pause), if !complete => false,
        };
        let (all, news) = context.resolve_servers().await;
        if changed {
            context.open_port_again();
        }
        pause = if changed {
            first
        } else {
            longest.min(pause * 2)
        };
        complete = all;
        if changed || news {
            network.renewals.send_modify(|count| *count += 1);
        }
    }
}

async fn look(bind: Vec<IpAddr>, changes: Arc<watch::Sender<u64>>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Glance::now(&bind);
    loop {
        tick.tick().await;
        let now = Glance::now(&bind);
        if now.differs_from(&seen) {
            tracing::debug!("the network changed");
            changes.send_modify(|count| *count += 1);
        }
        seen = now;
    }
}

/// The network at one moment.
struct Glance {
    addresses: BTreeSet<IpAddr>,
    /// Stands still while the computer sleeps, on most systems.
    awake: Instant,
    wall: SystemTime,
}

impl Glance {
    fn now(bind: &[IpAddr]) -> Glance {
        Glance {
            addresses: link::local_addresses(bind).into_iter().collect(),
            awake: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn differs_from(&self, before: &Glance) -> bool {
        let awake = self.awake.saturating_duration_since(before.awake);
        // A clock that was set back says nothing about sleep.
        let wall = self.wall.duration_since(before.wall).unwrap_or_default();
        let slept = wall > awake + SLEPT || awake > LOOK + SLEPT;
        self.addresses != before.addresses || slept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(addresses: &[&str], awake: u64, wall: u64, begun: Instant) -> Glance {
        Glance {
            addresses: addresses
                .iter()
                .map(|ip| ip.parse().expect("an address"))
                .collect(),
            awake: begun + Duration::from_secs(awake),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall),
        }
    }

    #[test]
    fn another_address_or_a_sleep_is_a_change_and_a_clock_set_back_is_none() {
        let begun = Instant::now();
        let before = glance(&["192.0.2.7", "2001:db8::7"], 0, 1000, begun);
        let differs = |addresses: &[&str], awake, wall| {
            glance(addresses, awake, wall, begun).differs_from(&before)
        };
        assert!(!differs(&["2001:db8::7", "192.0.2.7"], 2, 1002));
        assert!(differs(&["192.0.2.7"], 2, 1002), "an address is gone");
        assert!(differs(&["192.0.2.8", "2001:db8::7"], 2, 1002));
        let same = ["192.0.2.7", "2001:db8::7"];
        assert!(differs(&same, 2, 1000 + 8 * 3600), "it slept for a night");
        assert!(differs(&same, 8 * 3600, 1000 + 8 * 3600));
        assert!(!differs(&same, 2, 0), "the clock was set back");
        assert!(!differs(&same, 4, 1004), "a look may be late");
    }

    #[tokio::test]
    async fn whoever_watches_is_told() {
        let network = Network::start(&["127.0.0.1".parse().expect("an address")]);
        let mut changes = network.changes.subscribe();
        assert!(!changes.has_changed().expect("it lives"));
        network.changed();
        changes.changed().await.expect("it lives");
    }
}
