//! Whether there is a DHT to be seen from here: found out by entering it once, with a
//! node of its own that is given up again. Nothing is looked for and nothing is written.

use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use super::Entry;
use super::keeping::{enter_by, known_as, recall, resolve};
use crate::store::Store;

/// Entering takes this long at most.
const ENTERING: Duration = Duration::from_secs(7);
/// Once inside, others are got to know for this long at most.
const MEETING: Duration = Duration::from_secs(2);

/// What came of entering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// So many nodes answered.
    Met(usize),
    /// Nobody answered.
    Silence,
    /// Only IPv6 is to be used, which the DHT has not.
    NoIpv4,
}

/// Nodes by which the DHT can be entered beside its usual doors: those that the last run
/// knew.
pub(crate) fn remembered(store: &Store, bootstrap: Option<&[String]>) -> Vec<SocketAddrV4> {
    recall(&known_as(bootstrap), store)
}

/// Enters by the usual doors and by `remembered` nodes at the same time, whichever lead
/// inside first. Takes less than ten seconds.
pub(crate) async fn probe(
    bind: &[IpAddr],
    bootstrap: Option<Vec<String>>,
    remembered: Vec<SocketAddrV4>,
) -> Entered {
    let Some(entry) = Entry::new(bind, bootstrap) else {
        return Entered::NoIpv4;
    };
    let by_doors = async { enter_by(&entry, resolve(&entry).await).await };
    let by_remembered = enter_by(&entry, remembered);
    let first = async {
        tokio::select! {
            Some(node) = by_doors => Some(node),
            Some(node) = by_remembered => Some(node),
            else => None,
        }
    };
    let Ok(Some(node)) = tokio::time::timeout(ENTERING, first).await else {
        return Entered::Silence;
    };
    // Who is known by then is enough to be told.
    let _ = tokio::time::timeout(MEETING, node.looked_around()).await;
    Entered::Met(node.neighbours().await.len())
}
