//! This machine's addresses, and which others can only be near.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

/// Local addresses that peers can be told: those asked for, or every address of
/// an interface that is up, loopback only where there is nothing else.
pub(crate) fn local_addresses(bind: &[IpAddr]) -> Vec<IpAddr> {
    if !bind.is_empty() {
        return bind.to_vec();
    }
    static FALLBACK: OnceLock<Vec<IpAddr>> = OnceLock::new();
    let found: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| !ip.is_loopback() && !is_link_local(*ip))
        .collect();
    if found.is_empty() {
        FALLBACK
            .get_or_init(|| vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
            .clone()
    } else {
        found
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether an address can only belong to this machine or its local network.
pub(super) fn is_nearby(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || own_network(v4)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Whether an address is one of this machine's.
pub(crate) fn is_own(address: IpAddr) -> bool {
    address.is_loopback()
        || if_addrs::get_if_addrs().is_ok_and(|all| all.iter().any(|own| own.ip() == address))
}

/// Whether a public-looking IPv4 address is in the network of an interface.
fn own_network(address: Ipv4Addr) -> bool {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().any(|interface| match &interface.addr {
        if_addrs::IfAddr::V4(v4) => {
            let mask = u32::from(v4.netmask);
            mask != 0 && u32::from(v4.ip) & mask == u32::from(address) & mask
        }
        if_addrs::IfAddr::V6(_) => false,
    })
}
