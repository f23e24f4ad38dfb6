//! A DHT of its own on the loopback, for programs that are measured while they are
//! in one.
//!
//! Its nodes are threads of this process, so that what they take is not counted as
//! anybody's. Some of them have gone without a word, as in every real DHT: a look-up
//! asks them as well, and waits for them.

use mainline::{Dht, Testnet};
use passalong_netns::Failure;

/// Nodes that the others know of, and those of them that do not answer.
const NODES: usize = 50;
const GONE: usize = 10;
/// Nodes where programs enter.
const DOORS: usize = 3;

/// A whole DHT; it ends with this.
#[derive(Debug)]
pub(crate) struct Directory {
    doors: Vec<String>,
    _nodes: Vec<Dht>,
}

impl Directory {
    /// Opens one, whose nodes all know each other.
    pub(crate) async fn open() -> Result<Directory, Failure> {
        let failed = |error| Failure::io("a DHT could not be made", error);
        let build = || Testnet::builder(NODES).build();
        let built = tokio::task::spawn_blocking(build).await;
        let mut net = built
            .map_err(|error| failed(error.into()))?
            .map_err(failed)?;
        net.bootstrap.truncate(DOORS);
        net.nodes.truncate(NODES - GONE);
        Ok(Directory {
            doors: net.bootstrap,
            _nodes: net.nodes,
        })
    }

    /// HOST:PORT of the nodes where it is entered.
    pub(crate) fn doors(&self) -> &[String] {
        &self.doors
    }
}
