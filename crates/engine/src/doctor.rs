//! The doctor: can others reach this computer, and what to do if not.
//!
//! It looks at what a connection would use: ports, the local network, STUN and
//! TURN servers. Every finding is something that was tried just now; what
//! cannot be tried from one computer alone is not claimed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use passalong_proto::knock::CandidateKind;
use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId};
use rtc_stun::xoraddr::XorMappedAddress;
use serde::Serialize;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use ts_rs::TS;

use crate::api::{Settings, TurnServer};
use crate::config::Config;
use crate::lan::Lan;
use crate::link::{Connecting, LinkSettings, local_addresses};
use crate::store::Store;

/// When a STUN request is sent, and sent again (after RFC 8489 §6.2.1, shorter).
const SENDS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_millis(1500),
];
/// When a STUN server is taken for silent.
const STUN_PATIENCE: Duration = Duration::from_secs(3);
/// When an announcement on the local network is taken for lost.
const LAN_PATIENCE: Duration = Duration::from_secs(4);
/// When a TURN server is taken for silent.
const TURN_PATIENCE: Duration = Duration::from_secs(5);
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

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Finding {
    /// How it is.
    pub level: FindingLevel,
    /// What was found, as a sentence.
    pub title: String,
    /// What that rests on or means.
    pub detail: String,
    /// What the person can do, if anything needs doing.
    pub remedy: Option<String>,
}

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum FindingLevel {
    /// As it should be.
    Good,
    /// It may get in the way.
    Notice,
    /// It does get in the way.
    Bad,
}

impl Finding {
    fn good(title: impl Into<String>, detail: impl Into<String>) -> Self {
        Finding {
            level: FindingLevel::Good,
            title: title.into(),
            detail: detail.into(),
            remedy: None,
        }
    }

    fn notice(
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            level: FindingLevel::Notice,
            remedy: Some(remedy.into()),
            ..Finding::good(title, detail)
        }
    }

    fn bad(title: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding {
            level: FindingLevel::Bad,
            ..Finding::notice(title, detail, remedy)
        }
    }
}

/// Looks at everything that `config`, or the settings it points to, would use.
/// Takes a few seconds, and no data folder away from a running Passalong.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let settings = settings(config, &mut findings).await;
    let stun = config.stun.as_ref().unwrap_or(&settings.stun);
    let turn = config.turn.as_ref().unwrap_or(&settings.turn);
    findings.push(ports(&config.bind));
    let (lan, stun, turn) = tokio::join!(
        local_network(&config.bind, config.lan.unwrap_or(settings.lan)),
        internet(&config.bind, stun),
        relays(&config.bind, turn),
    );
    findings.push(lan);
    findings.extend(stun);
    findings.extend(turn);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let named: Vec<(&str, IpAddr)> = interfaces
        .iter()
        .map(|interface| (interface.name.as_str(), interface.ip()))
        .collect();
    findings.extend(vpn(&named));
    findings
}

async fn settings(config: &Config, findings: &mut Vec<Finding>) -> Settings {
    let dir = config.data_dir.clone();
    let read = tokio::task::spawn_blocking(move || match dir.exists() {
        true => Store::open(&dir).and_then(|(store, _)| store.settings()),
        false => Ok(Settings::default()),
    });
    match read.await {
        Ok(Ok(settings)) => settings,
        Ok(Err(problem)) => {
            findings.push(Finding::notice(
                "The settings could not be read; the usual ones were checked.",
                problem.message,
                problem.remedy,
            ));
            Settings::default()
        }
        Err(_) => Settings::default(),
    }
}

fn ports(bind: &[IpAddr]) -> Finding {
    let addresses = local_addresses(bind);
    let opened = |ip: &IpAddr| std::net::UdpSocket::bind((*ip, 0)).is_ok();
    let (usable, refused): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(opened);
    let shown = list(&usable);
    if usable.is_empty() {
        return Finding::bad(
            "No network port can be opened.",
            format!("Tried: {}.", list(&refused)),
            "Check this computer's network, and the address given with --bind.",
        );
    }
    if bind.is_empty() && usable.iter().all(IpAddr::is_loopback) {
        return Finding::bad(
            "This computer is in no network.",
            "There is no address but that of the computer itself.",
            "Connect to a network: cable, Wi-Fi or mobile.",
        );
    }
    if !refused.is_empty() {
        return Finding::notice(
            "Not every address can be used.",
            format!(
                "A network port can be opened on {shown}, not on {}.",
                list(&refused)
            ),
            "Check the addresses given with --bind.",
        );
    }
    Finding::good("A network port can be opened.", format!("On {shown}."))
}

fn list(addresses: &[IpAddr]) -> String {
    let shown: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    shown.join(", ")
}

/// Announces something on the local network and listens for it.
async fn local_network(bind: &[IpAddr], wanted: bool) -> Finding {
    if !wanted {
        return Finding::notice(
            "People on the local network are not looked for.",
            "It is turned off.",
            "Turn it on in the settings, or leave out --no-lan.",
        );
    }
    let deaf = |detail: &str| {
        Finding::notice(
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
            "People on the local network can be found.",
            "A test announcement went out and was heard.",
        ),
        Err(_) => deaf("A test announcement went out and was not heard."),
    }
}

/// The port of the discard service (RFC 863): nobody knocks there.
const DISCARD_PORT: u16 = 9;

/// What a STUN server said.
#[derive(Clone, Debug)]
struct Asked {
    url: String,
    address: Option<SocketAddr>,
    seen: Option<SocketAddr>,
}

/// Asks every STUN server, all from one port, how it sees this computer.
async fn internet(bind: &[IpAddr], urls: &[String]) -> Vec<Finding> {
    if urls.is_empty() {
        return vec![Finding::notice(
            "No STUN server is set.",
            "Without one this computer does not know its public address.",
            "Add one in the settings, or with --stun, to meet people outside this network.",
        )];
    }
    let mut asked = Vec::new();
    for url in urls {
        let resolved = crate::ice::resolve(std::slice::from_ref(url), &[]).await;
        let address = resolved
            .first()
            .and_then(|server| server.url.strip_prefix("stun:")?.parse().ok());
        asked.push(Asked {
            url: url.clone(),
            address,
            seen: None,
        });
    }
    for is_ipv4 in [true, false] {
        let mut family: Vec<&mut Asked> = asked
            .iter_mut()
            .filter(|asked| asked.address.is_some_and(|a| a.is_ipv4() == is_ipv4))
            .collect();
        if !family.is_empty()
            && let Ok(socket) = UdpSocket::bind((source(bind, is_ipv4), 0)).await
        {
            // What was not answered stays empty.
            let _ = ask(&socket, &mut family).await;
        }
    }
    let mut findings: Vec<Finding> = asked.iter().map(server).collect();
    findings.push(router(&asked, &local_addresses(bind)));
    findings
}

fn source(bind: &[IpAddr], is_ipv4: bool) -> IpAddr {
    let any = match is_ipv4 {
        true => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        false => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    bind.iter()
        .copied()
        .find(|ip| ip.is_ipv4() == is_ipv4)
        .unwrap_or(any)
}

/// Sends binding requests until everybody answered or time is up.
async fn ask(socket: &UdpSocket, servers: &mut [&mut Asked]) -> io::Result<()> {
    let mut requests = Vec::new();
    for _ in servers.iter() {
        let mut request = Message::new();
        request
            .build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])
            .map_err(io::Error::other)?;
        requests.push(request);
    }
    let begun = Instant::now();
    let mut sends = SENDS.iter().peekable();
    let mut buffer = [0; 1500];
    while servers.iter().any(|server| server.seen.is_none()) {
        let next = begun + sends.peek().map_or(STUN_PATIENCE, |after| **after);
        match tokio::time::timeout_at(next, socket.recv_from(&mut buffer)).await {
            Ok(Ok((length, from))) => {
                let Some((id, seen)) = read(&buffer[..length]) else {
                    continue;
                };
                for (server, request) in servers.iter_mut().zip(&requests) {
                    if request.transaction_id == id && server.address == Some(from) {
                        server.seen = Some(seen);
                    }
                }
            }
            // An ICMP error for one server says nothing about the others.
            Ok(Err(_)) => tokio::task::yield_now().await,
            Err(_) if sends.next().is_none() => break,
            Err(_) => {
                for (server, request) in servers.iter().zip(&requests) {
                    if let (Some(address), None) = (server.address, server.seen) {
                        // A network that refuses to send is one that does not answer.
                        let _ = socket.send_to(&request.raw, address).await;
                    }
                }
            }
        }
    }
    Ok(())
}

fn read(datagram: &[u8]) -> Option<(TransactionId, SocketAddr)> {
    let mut answer = Message::new();
    answer.unmarshal_binary(datagram).ok()?;
    if answer.typ != BINDING_SUCCESS {
        return None;
    }
    let mut mapped = XorMappedAddress::default();
    mapped.get_from(&answer).ok()?;
    let seen = SocketAddr::new(mapped.ip, mapped.port);
    Some((answer.transaction_id, seen))
}

fn server(asked: &Asked) -> Finding {
    let url = &asked.url;
    match (asked.address, asked.seen) {
        (_, Some(seen)) => Finding::good(
            format!("{url} answers."),
            format!("It sees this computer as {seen}."),
        ),
        (Some(address), None) => Finding::notice(
            format!("{url} does not answer."),
            format!("Nothing came back from {address}."),
            "If others answer, this one can stay; else see below.",
        ),
        (None, None) => Finding::notice(
            format!("{url} is not found."),
            "Its name leads to no address.",
            "Check the spelling, and whether this computer is online.",
        ),
    }
}

/// What the servers' answers together say about the router.
fn router(asked: &[Asked], own: &[IpAddr]) -> Finding {
    let seen: Vec<SocketAddr> = asked.iter().filter_map(|asked| asked.seen).collect();
    if asked.iter().all(|asked| asked.address.is_none()) {
        return Finding::bad(
            "No STUN server is found: this computer seems to be offline.",
            "No name leads to an address. People on the local network can still be met.",
            "Check the internet connection and the names of the servers.",
        );
    }
    let Some(first) = seen.first() else {
        return Finding::bad(
            "No STUN server answers: UDP or the internet is blocked.",
            "People outside this network cannot connect straight to this computer.",
            "Check the internet connection and allow UDP in the firewall, or set a TURN server.",
        );
    };
    let comparable: Vec<_> = seen
        .iter()
        .filter(|s| s.is_ipv4() == first.is_ipv4())
        .collect();
    if own.contains(&first.ip()) {
        Finding::good(
            "This computer is seen under an address of its own.",
            "No router changes it on the way to the STUN server.",
        )
    } else if comparable.iter().any(|seen| *seen != first) {
        Finding::bad(
            "Your router gives each destination another port (endpoint-dependent mapping).",
            "People behind a router like this cannot connect straight to each other; people \
             behind other routers mostly can.",
            "If a connection fails: meet in one network, use IPv6, or set a TURN server.",
        )
    } else if comparable.len() == 1 {
        Finding::notice(
            "Only one STUN server answers.",
            "Whether your router gives each destination another port cannot be told from one.",
            "Set a second STUN server of somebody else.",
        )
    } else {
        Finding::good(
            "Your router keeps one port for everybody.",
            "People on the internet can mostly connect straight to this computer.",
        )
    }
}

/// Asks every TURN server for a relayed address.
async fn relays(bind: &[IpAddr], servers: &[TurnServer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in servers {
        findings.push(relay(bind, server).await);
    }
    findings
}

async fn relay(bind: &[IpAddr], server: &TurnServer) -> Finding {
    let url = &server.url;
    let fails = |detail: String| {
        Finding::bad(
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
            format!("{url} relays."),
            format!("It lent the address {}.", candidate.address),
        ),
        None => fails("It lent no address.".to_owned()),
    }
}

fn vpn(interfaces: &[(&str, IpAddr)]) -> Option<Finding> {
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    let (name, ip) = interfaces.iter().find(|(name, ip)| {
        let name = name.to_ascii_lowercase();
        usable(ip) && VPN_NAMES.iter().any(|vpn| name.starts_with(vpn))
    })?;
    Some(Finding::notice(
        "A VPN seems to be on.",
        format!("{name} has the address {ip}. Many VPNs keep computers from reaching each other."),
        "If a connection fails or is slow, turn the VPN off meanwhile, or allow the local network in it.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(seen: Option<&str>) -> Asked {
        Asked {
            url: "stun:stun.example:3478".to_owned(),
            address: "198.51.100.7:3478".parse().ok(),
            seen: seen.map(|seen| seen.parse().expect("an address")),
        }
    }

    fn level(seen: &[Option<&str>]) -> FindingLevel {
        let asked: Vec<_> = seen.iter().map(|seen| asked(*seen)).collect();
        let own = ["192.168.1.5".parse().expect("an address")];
        router(&asked, &own).level
    }

    #[test]
    fn the_router_is_judged_by_the_ports_that_servers_see() {
        let (a, b) = (Some("203.0.113.5:4000"), Some("203.0.113.5:4001"));
        assert_eq!(level(&[None, None]), FindingLevel::Bad);
        assert_eq!(level(&[a, None]), FindingLevel::Notice);
        assert_eq!(level(&[a, None, a]), FindingLevel::Good);
        assert_eq!(level(&[a, b]), FindingLevel::Bad);
        assert_eq!(level(&[Some("192.168.1.5:4000"), None]), FindingLevel::Good);
    }

    #[test]
    fn no_address_for_any_server_means_offline() {
        let nowhere = Asked {
            address: None,
            ..asked(None)
        };
        let offline = router(&[nowhere.clone(), nowhere.clone()], &[]);
        assert!(offline.title.contains("offline"), "{offline:?}");
        let silent = router(&[nowhere, asked(None)], &[]);
        assert!(silent.title.contains("UDP"), "{silent:?}");
    }

    #[test]
    fn another_family_is_no_other_port() {
        let (v4, v6) = (Some("203.0.113.5:4000"), Some("[2001:db8::5]:4001"));
        assert_eq!(level(&[v4, v6, v4]), FindingLevel::Good);
    }

    #[test]
    fn a_vpn_is_known_by_the_name_of_its_interface() {
        let of = |name, ip: &str| vpn(&[(name, ip.parse().expect("an address"))]).is_some();
        assert!(of("tun0", "10.8.0.2"));
        assert!(of("wg-home", "10.9.0.2"));
        assert!(!of("eth0", "10.8.0.2"));
        assert!(!of("utun3", "fe80::1"), "macOS has these without a VPN");
    }

    #[tokio::test]
    async fn servers_are_asked_from_one_port_and_strangers_ignored() {
        let (server, stranger) = (local().await, local().await);
        let address = server.local_addr().expect("an address");
        let socket = local().await;
        let own = socket.local_addr().expect("an address");
        let answering = async {
            let mut buffer = [0; 1500];
            let (length, from) = server.recv_from(&mut buffer).await.expect("a request");
            assert_eq!(from, own);
            let wrong = answer(&buffer[..length], "203.0.113.9:9");
            stranger.send_to(&wrong, from).await.expect("sent");
            let right = answer(&buffer[..length], "203.0.113.5:4000");
            server.send_to(&right, from).await.expect("sent");
        };
        let mut asked = Asked {
            address: Some(address),
            ..asked(None)
        };
        let mut servers = [&mut asked];
        let (outcome, ()) = tokio::join!(ask(&socket, &mut servers), answering);
        outcome.expect("asked");
        assert_eq!(asked.seen, "203.0.113.5:4000".parse().ok());
    }

    async fn local() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").await.expect("a socket")
    }

    fn answer(request: &[u8], seen: &str) -> Vec<u8> {
        let mut message = Message::new();
        message.unmarshal_binary(request).expect("a request");
        let seen: SocketAddr = seen.parse().expect("an address");
        let mut answer = Message::new();
        answer
            .build(&[
                Box::new(message.transaction_id),
                Box::new(BINDING_SUCCESS),
                Box::new(XorMappedAddress {
                    ip: seen.ip(),
                    port: seen.port(),
                }),
            ])
            .expect("an answer");
        answer.raw
    }
}
