//! What can be looked at on this computer and its own network: ports, announcements,
//! VPNs, and the person's own relays.

use std::net::IpAddr;
use std::time::Duration;

use passalong_proto::knock::CandidateKind;
use tokio::task::JoinSet;

use super::{Finding, Topic};
use crate::api::TurnServer;
use crate::lan::Lan;
use crate::link::{Connecting, LinkSettings, local_addresses};

/// When an announcement on the local network is taken for lost.
const LAN_PATIENCE: Duration = Duration::from_secs(4);
/// When a TURN server is taken for silent.
const TURN_PATIENCE: Duration = Duration::from_secs(5);
/// The port of the discard service (RFC 863): nobody knocks there.
const DISCARD_PORT: u16 = 9;
/// How interfaces of VPN programs are named.
const VPN_NAMES: [&str; 11] = [
    "tun",
    "tap",
    "wg",
    "ppp",
    "utun",
    "ipsec",
    "tailscale",
    "zt",
    "nordlynx",
    "proton",
    "mullvad",
];

/// Whether a network port can be opened.
pub(super) fn ports(bind: &[IpAddr]) -> Finding {
    let addresses = local_addresses(bind);
    let opened = |ip: &IpAddr| std::net::UdpSocket::bind((*ip, 0)).is_ok();
    let (usable, refused): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(opened);
    let shown = list(&usable);
    if usable.is_empty() {
        return Finding::bad(
            Topic::Port,
            "No network port can be opened.",
            format!("Tried: {}.", list(&refused)),
            "Check this computer's network, and the address given with --bind.",
        );
    }
    if bind.is_empty() && usable.iter().all(IpAddr::is_loopback) {
        return Finding::bad(
            Topic::Port,
            "This computer is in no network.",
            "There is no address but that of the computer itself.",
            "Connect to a network: cable, Wi-Fi or mobile.",
        );
    }
    if !refused.is_empty() {
        return Finding::notice(
            Topic::Port,
            "Not every address can be used.",
            format!(
                "A network port can be opened on {shown}, not on {}.",
                list(&refused)
            ),
            "Check the addresses given with --bind.",
        );
    }
    Finding::good(
        Topic::Port,
        "A network port can be opened.",
        format!("On {shown}."),
    )
}

fn list(addresses: &[IpAddr]) -> String {
    let shown: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    shown.join(", ")
}

/// Announces something on the local network and listens for it.
pub(super) async fn local_network(bind: &[IpAddr], wanted: bool) -> Finding {
    if !wanted {
        return Finding::notice(
            Topic::LocalNetwork,
            "People on the local network are not looked for.",
            "It is turned off.",
            "Turn it on in the settings, or leave out --no-lan.",
        );
    }
    let deaf = |detail: &str| {
        Finding::notice(
            Topic::LocalNetwork,
            "People on the local network cannot be found by themselves.",
            detail,
            "Allow multicast (mDNS, UDP port 5353) in the firewall; guest networks often block \
             it. Links work all the same.",
        )
    };
    let (Some(speaker), Some(listener)) = (Lan::start(bind), Lan::start(bind)) else {
        return deaf("This computer allows no multicast.");
    };
    let tag = data_encoding::HEXLOWER.encode(&crate::random::<10>());
    speaker.announce(&tag, DISCARD_PORT);
    let mut found = listener.found();
    let heard = async {
        while found.addresses(&tag).is_empty() {
            found.changed().await;
        }
    };
    match tokio::time::timeout(LAN_PATIENCE, heard).await {
        Ok(()) => Finding::good(
            Topic::LocalNetwork,
            "People on the local network can be found.",
            "A test announcement went out and was heard.",
        ),
        Err(_) => deaf("A test announcement went out and was not heard."),
    }
}

/// Asks every TURN server for a relayed address.
pub(super) async fn relays(bind: &[IpAddr], servers: &[TurnServer]) -> Vec<Finding> {
    let mut asked = JoinSet::new();
    for (place, server) in servers.iter().cloned().enumerate() {
        let bind = bind.to_vec();
        asked.spawn(async move { (place, relay(&bind, &server).await) });
    }
    let mut findings = asked.join_all().await;
    findings.sort_by_key(|(place, _)| *place);
    findings.into_iter().map(|(_, finding)| finding).collect()
}

async fn relay(bind: &[IpAddr], server: &TurnServer) -> Finding {
    let url = &server.url;
    let fails = |detail: String| {
        Finding::bad(
            Topic::TurnServer,
            format!("{url} does not relay."),
            detail,
            "Check its address, user name and password, and that it takes UDP.",
        )
    };
    let ice_servers = crate::ice::resolve(&[], std::slice::from_ref(server)).await;
    if ice_servers.is_empty() {
        return fails("Its name leads to no address.".to_owned());
    }
    let settings = LinkSettings {
        addresses: local_addresses(bind),
        lent: Vec::new(),
        ice_servers,
        relay_only: true,
        same_machine: false,
        patience: TURN_PATIENCE,
    };
    let mut connecting = match Connecting::offer(&settings).await {
        Ok(connecting) => connecting,
        Err(error) => return fails(format!("It could not be asked: {error}.")),
    };
    connecting.gathered(TURN_PATIENCE).await;
    let candidates = connecting.local_offer().candidates;
    connecting.close().await;
    let relayed = candidates
        .iter()
        .find(|candidate| candidate.kind == CandidateKind::Relayed);
    match relayed {
        Some(candidate) => Finding::good(
            Topic::TurnServer,
            format!("{url} relays."),
            format!("It lent the address {}.", candidate.address),
        ),
        None => fails("It lent no address.".to_owned()),
    }
}

/// Whether an interface, by its name and address, is that of a VPN.
pub(super) fn vpn(interfaces: &[(&str, IpAddr)]) -> Option<Finding> {
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    let (name, ip) = interfaces.iter().find(|(name, ip)| {
        let name = name.to_ascii_lowercase();
        usable(ip) && VPN_NAMES.iter().any(|vpn| name.starts_with(vpn))
    })?;
    Some(Finding::notice(
        Topic::Vpn,
        "A VPN seems to be on.",
        format!("{name} has the address {ip}. Many VPNs keep computers from reaching each other."),
        "If a connection fails or is slow, turn the VPN off meanwhile, or allow the local network in it.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vpn_is_known_by_the_name_of_its_interface() {
        let of = |name, ip: &str| vpn(&[(name, ip.parse().expect("an address"))]).is_some();
        assert!(of("tun0", "10.8.0.2"));
        assert!(of("wg-home", "10.9.0.2"));
        assert!(!of("eth0", "10.8.0.2"));
        assert!(!of("utun3", "fe80::1"), "macOS has these without a VPN");
    }
}
