//! STUN servers asked how they see this computer (RFC 8489), all of one family from
//! one port, so that their answers can be compared.
//!
//! A server is a stranger: what it says is an [`Answer`] only if it came from where it
//! was asked, to the request that was sent, and could be true.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter, Message, TransactionId};
use rtc_stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// When a request is sent, and sent again (after RFC 8489 §6.2.1, shorter).
const SENDS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_millis(1500),
];
/// When a server is taken for silent.
const PATIENCE: Duration = Duration::from_secs(3);
/// Servers that are asked at most; the others are left out.
const MOST: usize = 16;

/// What came back from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing.
    Silence,
    /// Something that is no answer to what was asked.
    Nonsense,
    /// An address that this computer cannot have as seen from there.
    Impossible(SocketAddr),
    /// How it sees this computer.
    Seen(SocketAddr),
}

/// A server at one of its addresses, and what it said.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) url: String,
    /// `None`: its name leads to no address.
    pub(super) address: Option<SocketAddr>,
    pub(super) answer: Answer,
}

impl Asked {
    /// How it sees this computer, if that can be true.
    pub(super) fn seen(&self) -> Option<SocketAddr> {
        match self.answer {
            Answer::Seen(seen) => Some(seen),
            Answer::Silence | Answer::Nonsense | Answer::Impossible(_) => None,
        }
    }
}

/// Asks every server at its first address of each family. Takes five seconds at most.
pub(super) async fn ask_all(bind: &[IpAddr], urls: &[String]) -> Vec<Asked> {
    let mut lookups = JoinSet::new();
    for (place, url) in urls.iter().take(MOST).enumerate() {
        let url = url.clone();
        lookups.spawn(async move {
            let host = url.strip_prefix("stun:").unwrap_or(&url);
            let found = crate::ice::addresses_of(host).await;
            (place, url, found)
        });
    }
    let mut found = lookups.join_all().await;
    found.sort_by_key(|(place, ..)| *place);
    let (mut v4, mut v6, mut nowhere) = (Vec::new(), Vec::new(), Vec::new());
    for (_, url, addresses) in found {
        let asked = |address| Asked {
            url: url.clone(),
            address,
            answer: Answer::Silence,
        };
        let first = |is_ipv4| addresses.iter().find(|a| a.is_ipv4() == is_ipv4);
        v4.extend(first(true).map(|address| asked(Some(*address))));
        v6.extend(first(false).map(|address| asked(Some(*address))));
        if addresses.is_empty() {
            nowhere.push(asked(None));
        }
    }
    tokio::join!(
        ask_family(bind, Ipv4Addr::UNSPECIFIED.into(), &mut v4),
        ask_family(bind, Ipv6Addr::UNSPECIFIED.into(), &mut v6),
    );
    v4.into_iter().chain(v6).chain(nowhere).collect()
}

async fn ask_family(bind: &[IpAddr], any: IpAddr, servers: &mut [Asked]) {
    let same = |ip: &&IpAddr| ip.is_ipv4() == any.is_ipv4();
    let source = bind.iter().find(same).copied().unwrap_or(any);
    if servers.is_empty() || (!bind.is_empty() && source == any) {
        return;
    }
    if let Ok(socket) = UdpSocket::bind((source, 0)).await {
        // What was not answered stays silence.
        let _ = ask(&socket, servers).await;
    }
}

/// Sends binding requests until everybody answered or time is up.
async fn ask(socket: &UdpSocket, servers: &mut [Asked]) -> io::Result<()> {
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
    let answered = |server: &Asked| !matches!(server.answer, Answer::Silence | Answer::Nonsense);
    while !servers.iter().all(answered) {
        let next = begun + sends.peek().map_or(PATIENCE, |after| **after);
        if Instant::now() >= next {
            if sends.next().is_none() {
                break;
            }
            for (server, request) in servers.iter().zip(&requests) {
                if let (Some(address), false) = (server.address, answered(server)) {
                    // A network that refuses to send is one that does not answer.
                    let _ = socket.send_to(&request.raw, address).await;
                }
            }
            continue;
        }
        match tokio::time::timeout_at(next, socket.recv_from(&mut buffer)).await {
            Ok(Ok((length, from))) => {
                for (server, request) in servers.iter_mut().zip(&requests) {
                    if server.address == Some(from) && !answered(server) {
                        let answer = read(&buffer[..length], request.transaction_id, from);
                        server.answer = answer;
                    }
                }
            }
            // An ICMP error for one server says nothing about the others.
            Ok(Err(_)) => tokio::task::yield_now().await,
            Err(_) => {}
        }
    }
    Ok(())
}

fn read(datagram: &[u8], asked: TransactionId, from: SocketAddr) -> Answer {
    let mut message = Message::new();
    let mut mapped = XorMappedAddress::default();
    let fits = message.unmarshal_binary(datagram).is_ok()
        && message.typ == BINDING_SUCCESS
        && message.transaction_id == asked
        && mapped.get_from(&message).is_ok();
    if !fits {
        return Answer::Nonsense;
    }
    let seen = SocketAddr::new(mapped.ip, mapped.port);
    match is_possible(seen, from) {
        true => Answer::Seen(seen),
        false => Answer::Impossible(seen),
    }
}

/// Whether a server at `from` can have seen a request come from `seen`: one on the
/// internet sees only addresses of the internet.
fn is_possible(seen: SocketAddr, from: SocketAddr) -> bool {
    let ip = seen.ip();
    let nobody = ip.is_unspecified()
        || ip.is_multicast()
        || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] >= 240);
    seen.port() != 0
        && !nobody
        && ip.is_ipv4() == from.is_ipv4()
        && (is_public(ip) || !is_public(from.ip()))
}

/// Whether an address may be routed on the internet. Those that are kept for
/// documentation count as such, as private internets are made of them.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 6598: behind a carrier's router.
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || a == 0 || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    async fn local() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").await.expect("a socket")
    }

    fn asked(server: &UdpSocket) -> Asked {
        Asked {
            url: "stun:stun.example:3478".to_owned(),
            address: server.local_addr().ok(),
            answer: Answer::Silence,
        }
    }

    fn answer(request: &[u8], seen: &str) -> Vec<u8> {
        let mut message = Message::new();
        message.unmarshal_binary(request).expect("a request");
        let seen = address(seen);
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

    async fn request(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 1500];
        let (length, from) = server.recv_from(&mut buffer).await.expect("a request");
        (buffer[..length].to_vec(), from)
    }

    #[tokio::test]
    async fn servers_are_asked_from_one_port_and_strangers_ignored() {
        let (server, other, stranger) = (local().await, local().await, local().await);
        let socket = local().await;
        let own = socket.local_addr().expect("an address");
        let answering = async {
            let (first, from) = request(&server).await;
            assert_eq!(from, own);
            let wrong = answer(&first, "203.0.113.9:9");
            stranger.send_to(&wrong, from).await.expect("sent");
            let right = answer(&first, "203.0.113.5:4000");
            server.send_to(&right, from).await.expect("sent");
            let (second, from) = request(&other).await;
            assert_eq!(from, own, "the same port for every server");
            let right = answer(&second, "203.0.113.5:4001");
            other.send_to(&right, from).await.expect("sent");
        };
        let mut servers = [asked(&server), asked(&other)];
        let (outcome, ()) = tokio::join!(ask(&socket, &mut servers), answering);
        outcome.expect("asked");
        assert_eq!(servers[0].seen(), Some(address("203.0.113.5:4000")));
        assert_eq!(servers[1].seen(), Some(address("203.0.113.5:4001")));
    }

    #[tokio::test]
    async fn a_server_that_answers_nonsense_is_asked_again_and_may_yet_be_right() {
        let server = local().await;
        let socket = local().await;
        let answering = async {
            let (first, from) = request(&server).await;
            for rubbish in [&b""[..], b"\x01", &[0xff; 1400], &first] {
                server.send_to(rubbish, from).await.expect("sent");
            }
            let mut stale = answer(&first, "203.0.113.9:9");
            stale[10] ^= 1;
            server.send_to(&stale, from).await.expect("sent");
            let (again, from) = request(&server).await;
            let right = answer(&again, "203.0.113.5:4000");
            server.send_to(&right, from).await.expect("sent");
        };
        let mut servers = [asked(&server)];
        let (outcome, ()) = tokio::join!(ask(&socket, &mut servers), answering);
        outcome.expect("asked");
        assert_eq!(servers[0].seen(), Some(address("203.0.113.5:4000")));
    }

    #[tokio::test]
    async fn a_flood_of_nonsense_holds_the_check_up_no_longer_than_silence() {
        let server = local().await;
        let socket = local().await;
        let flood = async {
            let (_, from) = request(&server).await;
            loop {
                server.send_to(&[7; 40], from).await.expect("sent");
                tokio::task::yield_now().await;
            }
        };
        let mut servers = [asked(&server)];
        let begun = Instant::now();
        tokio::select! {
            outcome = ask(&socket, &mut servers) => outcome.expect("asked"),
            () = flood => {}
        }
        assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
        assert_eq!(servers[0].answer, Answer::Nonsense);
    }

    #[test]
    fn an_address_that_the_internet_does_not_carry_is_not_believed() {
        let from = address("198.51.100.7:3478");
        for wrong in [
            "192.168.1.5:4000",
            "10.0.0.1:4000",
            "100.64.3.2:4000",
            "127.0.0.1:4000",
            "169.254.1.1:4000",
            "0.0.0.0:4000",
            "0.1.2.3:4000",
            "224.0.0.251:5353",
            "255.255.255.255:4000",
            "250.1.2.3:4000",
            "203.0.113.5:0",
            "[2001:db8::5]:4000",
        ] {
            assert!(!is_possible(address(wrong), from), "{wrong}");
        }
        assert!(is_possible(address("203.0.113.5:4000"), from));
        let v6 = address("[2001:db8::7]:3478");
        assert!(is_possible(address("[2001:db8::5]:4000"), v6));
        for wrong in ["[fe80::1]:4000", "[fd00::1]:4000", "[::1]:4000"] {
            assert!(!is_possible(address(wrong), v6), "{wrong}");
        }
        // A server in one's own network sees what is used there.
        let near = address("192.168.1.1:3478");
        assert!(is_possible(address("192.168.1.5:4000"), near));
        assert!(!is_possible(address("192.168.1.5:0"), near));
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_told_as_such_and_the_others_are_asked() {
        let server = local().await;
        let port = server.local_addr().expect("an address").port();
        let answering = async {
            let (asked, from) = request(&server).await;
            let right = answer(&asked, &from.to_string());
            server.send_to(&right, from).await.expect("sent");
        };
        let urls = [
            "stun:no-such-host.invalid:3478".to_owned(),
            format!("stun:127.0.0.1:{port}"),
        ];
        let bind = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let (asked, ()) = tokio::join!(ask_all(&bind, &urls), answering);
        assert_eq!(asked.len(), 2);
        assert!(asked[0].seen().is_some_and(|seen| seen.ip().is_loopback()));
        assert_eq!((asked[1].address, asked[1].answer), (None, Answer::Silence));
    }
}
