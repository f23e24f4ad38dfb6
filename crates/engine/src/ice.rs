//! STUN and TURN servers: their names resolved before a connection needs them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::api::TurnServer;
use crate::link::IceServer;

/// Default port of STUN and TURN (RFC 8489 §18.6).
const PORT: u16 = 3478;
/// A name that takes longer is left out of this connection.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Resolves every server; those that cannot be are left out.
pub(crate) async fn resolve(stun: &[String], turn: &[TurnServer]) -> Vec<IceServer> {
    let mut lookups = tokio::task::JoinSet::new();
    for url in stun {
        let url = url.clone();
        lookups.spawn(async move {
            let address = address_of(url.strip_prefix("stun:")?).await?;
            Some(IceServer {
                url: format!("stun:{address}"),
                username: String::new(),
                password: String::new(),
            })
        });
    }
    for server in turn.iter().cloned() {
        lookups.spawn(async move {
            let host = server.url.strip_prefix("turn:")?;
            let address = address_of(host.split('?').next()?).await?;
            Some(IceServer {
                url: format!("turn:{address}?transport=udp"),
                username: server.username,
                password: server.password,
            })
        });
    }
    let mut servers: Vec<IceServer> = lookups.join_all().await.into_iter().flatten().collect();
    servers.sort_by(|a, b| a.url.cmp(&b.url));
    servers
}

async fn address_of(host: &str) -> Option<SocketAddr> {
    addresses_of(host).await.first().copied()
}

/// Where a server is, IPv4 first; nowhere if its name leads to no address in time.
pub(crate) async fn addresses_of(host: &str) -> Vec<SocketAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let host = if host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    {
        host.to_owned()
    } else {
        format!("{host}:{PORT}")
    };
    let lookup = tokio::time::timeout(PATIENCE, tokio::net::lookup_host(host)).await;
    let mut addresses: Vec<SocketAddr> = match lookup {
        Ok(Ok(found)) => found.collect(),
        _ => Vec::new(),
    };
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
}
