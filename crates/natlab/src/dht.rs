//! A Mainline DHT in the laboratory: nodes with an address each, all in one
//! namespace and one process, which is this program started once more.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use mainline::Dht;
use passalong_netns::{Failure, Namespace, Running};

/// Nodes that know each other.
const NODES: u8 = 20;
/// Nodes where everybody else enters.
const DOORS: u8 = 3;
/// The port of every node.
const PORT: u16 = 6881;
/// What the process says when the nodes know each other.
const READY: &str = "ready";
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The addresses of the nodes.
pub(crate) fn addresses() -> Vec<Ipv4Addr> {
    (0..NODES).map(address).collect()
}

/// Where the DHT is entered, as the command takes it.
pub(crate) fn doors() -> Vec<String> {
    (0..DOORS)
        .map(|index| format!("{}:{PORT}", address(index)))
        .collect()
}

fn address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 100 + index)
}

/// Starts the nodes in `host`, which has their addresses; waits until they know
/// each other.
pub(crate) async fn start(host: &Namespace) -> Result<Running, Failure> {
    let here = std::env::current_exe();
    let here = here.map_err(|error| Failure::io("this program was not found again", error))?;
    let mut command = host.command(Path::new(&here));
    command.arg("--be-a-dht");
    let mut nodes = Running::start("the DHT", command)?;
    let said = tokio::time::timeout(PATIENCE, nodes.line()).await;
    match said {
        Ok(Some(said)) if said.text == READY => Ok(nodes),
        _ => Err(nodes.failure("its nodes did not find each other")),
    }
}

/// Is the nodes, until the process is ended.
pub(crate) async fn be() -> Result<(), Failure> {
    let failed = |error| Failure::io("a node could not be started", error);
    let mut nodes = Vec::new();
    for index in 0..NODES {
        let mut builder = Dht::builder();
        builder.server_mode().port(PORT);
        builder.bind_address(address(index));
        builder.public_ip(address(index));
        match index {
            0 => builder.no_bootstrap(),
            _ => builder.bootstrap(&doors()[..1]),
        };
        nodes.push(builder.build().map_err(failed)?.as_async());
    }
    for node in &nodes[1..] {
        if !node.bootstrapped().await {
            return Err(Failure::program("the DHT", "a node knows no other"));
        }
    }
    println!("{READY}");
    std::future::pending().await
}
