//! One laboratory: two hosts where a [`Pair`] says, perhaps a friend of theirs whom
//! everybody reaches, an internet between them, and
//! in it a server that answers STUN under two addresses and relays (TURN), and a
//! DHT where that is the carrier.
//!
//! Everything is made anew for each meeting, so that none profits from another.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use passalong_netns::{Failure, Namespace, Running, on_path};

use crate::dht;
use crate::firewall::Firewall;
use crate::internet::{Gate, HostId, Internet, Network, RouterId};
use crate::kernel::{Home, KernelRouter};
use crate::kinds::{Kind, LIFETIME, Pair, carrier, hairpinning};
use crate::meeting::Carrier;
use crate::nat::{Behaviour, Nat};
use crate::wires::{Wire, Wires, readdress};

/// The addresses of the server.
pub(crate) const SERVERS: [Ipv4Addr; 2] = [
    Ipv4Addr::new(198, 51, 100, 1),
    Ipv4Addr::new(198, 51, 100, 2),
];
/// The port of STUN and TURN (RFC 8489 §18.6).
pub(crate) const PORT: u16 = 3478;
/// Who may use the relay.
pub(crate) const ACCOUNT: [&str; 2] = ["natlab", "across"];
/// The length of a home's network.
const HOME: u8 = 24;
/// The length of an address that has no network around it.
const ALONE: u8 = 32;
/// The same with IPv6.
const ALONE_IPV6: u8 = 128;
/// How long the server may take to listen.
const READY: Duration = Duration::from_secs(20);

/// A host that somebody sits at.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) host: Namespace,
    /// Its router, where that is the kernel.
    pub(crate) router: Option<KernelRouter>,
    id: HostId,
    /// The device that leads out, of the host or of its router.
    device: String,
    /// The other routers between it and the internet, the outermost first.
    routers: Vec<RouterId>,
}

/// Two hosts and the internet between them, gone when dropped.
#[derive(Debug)]
pub(crate) struct Lab {
    // What runs in a namespace ends before it, and so do its wires.
    _server: Running,
    _nodes: Option<Running>,
    wires: Wires,
    pub(crate) places: [Place; 2],
    /// Whom both of them reach.
    pub(crate) friend: Option<Place>,
    _others: Vec<Namespace>,
}

/// Where a host is, before there is one.
struct Spot {
    network: Network,
    /// Its address there, or that of the kernel that is its router.
    address: (Ipv4Addr, u8),
    ipv6: Option<Ipv6Addr>,
    home: Option<Home>,
    routers: Vec<RouterId>,
}

impl Lab {
    /// Builds it for a meeting by `carrier`, with a friend if there is to be one; what
    /// hosts send is captured if a path is given.
    pub(crate) async fn build(
        pair: Pair,
        carrier: Carrier,
        friend: bool,
        capture: Option<&Path>,
    ) -> Result<Lab, Failure> {
        let mut internet = Internet::default();
        let spots = spots(&mut internet, pair);
        let mut wires = Vec::new();
        let mut places = Vec::new();
        for (spot, (mark, index)) in spots.into_iter().zip([("a", 0), ("b", 1)]) {
            let (place, wire) = settle(&mut internet, spot, mark, index).await?;
            places.push(place);
            wires.push(wire);
        }
        let mut friends = Vec::new();
        if friend {
            let open = spot(&mut internet, Kind::Open, 2);
            let (place, wire) = settle(&mut internet, open, "f", 2).await?;
            friends.push(place);
            wires.push(wire);
        }
        let mut others = Vec::new();
        let servers = SERVERS.to_vec();
        let nodes = carrier.has_dht().then(dht::addresses);
        for addresses in [Some(servers), nodes].into_iter().flatten() {
            let host = namespace("s")?;
            let alone: Vec<_> = addresses.iter().map(|ip| ((*ip).into(), ALONE)).collect();
            wires.push(Wire::plug(&host, &alone)?);
            internet.add_host(Network::Public, addresses);
            others.push(host);
        }
        let wires = Wires::connect(internet, wires, capture)?;
        let [server_host, rest @ ..] = &others[..] else {
            return Err(Failure::Broken("a laboratory has a server"));
        };
        let server = serve(server_host).await?;
        let nodes = match rest.first() {
            Some(host) => Some(dht::start(host).await?),
            None => None,
        };
        let places = places
            .try_into()
            .map_err(|_| Failure::Broken("a pair is two"))?;
        Ok(Lab {
            _server: server,
            _nodes: nodes,
            wires,
            places,
            friend: friends.pop(),
            _others: others,
        })
    }

    /// Plugs a host in, or out.
    pub(crate) fn set_online(&self, place: usize, online: bool) {
        self.wires
            .internet()
            .set_online(self.places[place].id, online);
    }

    /// Takes a host to another network with a router of its own, as somebody who
    /// leaves the house.
    pub(crate) fn move_away(&self, place: usize) -> Result<(), Failure> {
        let address = Ipv4Addr::new(10, 20, 30, 40 + place as u8);
        let outside = Ipv4Addr::new(203, 0, 113, 101 + place as u8);
        let behaviour = Kind::PortRestricted
            .behaviour()
            .ok_or(Failure::Broken("a router that translates"))?;
        let Place {
            host, id, device, ..
        } = &self.places[place];
        {
            let mut internet = self.wires.internet();
            let gate = Gate::Nat(Nat::new(behaviour, outside, seed()));
            let router = internet.add_router(Network::Public, gate, false);
            internet.move_host(*id, Network::Behind(router), address);
        }
        readdress(host, device, (address.into(), HOME))
    }

    /// Restarts the outermost router of a host, which comes back with another
    /// address.
    pub(crate) fn restart_router(&self, place: usize) {
        let outside = Ipv4Addr::new(203, 0, 113, 201 + place as u8);
        if let Some(router) = self.places[place].routers.first() {
            self.wires.internet().restart(*router, outside);
        }
    }
}

/// Whether everything that a laboratory needs beside namespaces is installed.
pub(crate) fn find_server() -> Result<PathBuf, Failure> {
    on_path("turnserver").ok_or_else(|| {
        let text = "The STUN and TURN server is missing: apt-get install coturn.";
        Failure::Missing(text.to_owned())
    })
}

fn namespace(mark: &str) -> Result<Namespace, Failure> {
    Namespace::new(&format!("{mark}{}", seed()))
}

/// Another number each time.
fn seed() -> u64 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    u64::from(NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Makes the host that `mark` stands for at a spot, and what leads out of it.
async fn settle(
    internet: &mut Internet,
    spot: Spot,
    mark: &str,
    index: u8,
) -> Result<(Place, Wire), Failure> {
    let host = namespace(mark)?;
    let (address, length) = spot.address;
    let id = internet.add_host(spot.network, vec![address]);
    let mut addresses = vec![(address.into(), length)];
    if let Some(ipv6) = spot.ipv6 {
        host.set_ipv6(true)?;
        addresses.push((ipv6.into(), ALONE_IPV6));
        internet.give_ipv6(id, ipv6, Firewall::new(LIFETIME));
    }
    let (router, wire) = match spot.home {
        Some(home) => {
            let router = namespace("r")?;
            let installed = KernelRouter::install(&host, router, home, index, address);
            let (router, wire) = installed.await?;
            (Some(router), wire)
        }
        None => (None, Wire::plug(&host, &addresses)?),
    };
    let place = Place {
        host,
        router,
        id,
        device: wire.name().to_owned(),
        routers: spot.routers,
    };
    Ok((place, wire))
}

/// Makes the routers of `pair`; tells where its hosts are.
fn spots(internet: &mut Internet, pair: Pair) -> [Spot; 2] {
    match pair {
        Pair::Apart(a, b) => [spot(internet, a, 0), spot(internet, b, 1)],
        Pair::OneNetwork | Pair::Guests => {
            let behaviour = match pair {
                Pair::OneNetwork => Kind::PortRestricted.behaviour(),
                _ => Some(hairpinning()),
            };
            let gate = gate(behaviour, outside(0));
            let router = internet.add_router(Network::Public, gate, pair == Pair::Guests);
            [0, 1].map(|index| home(router, index, vec![router]))
        }
        Pair::OneCarrier => {
            let gate = gate(Some(carrier()), outside(0));
            let carrier = internet.add_router(Network::Public, gate, false);
            [0, 1].map(|index| behind(internet, carrier, index))
        }
    }
}

fn spot(internet: &mut Internet, kind: Kind, index: u8) -> Spot {
    let carrier = kind.has_carrier().then(|| {
        let gate = gate(Some(carrier()), outside(index));
        internet.add_router(Network::Public, gate, false)
    });
    match (kind.home(), carrier) {
        (Some(home), carrier) => Spot {
            network: carrier.map_or(Network::Public, Network::Behind),
            address: (homes_outside(kind, index), ALONE),
            ipv6: None,
            home: Some(home),
            routers: carrier.into_iter().collect(),
        },
        (None, Some(carrier)) => behind(internet, carrier, index),
        (None, None) if kind == Kind::Open => Spot {
            network: Network::Public,
            address: (Ipv4Addr::new(203, 0, 113, 50 + index), ALONE),
            ipv6: None,
            home: None,
            routers: Vec::new(),
        },
        (None, None) => {
            let gate = gate(kind.behaviour(), outside(index));
            let router = internet.add_router(Network::Public, gate, false);
            let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0, index.into(), 0, 0, 0, 0x10);
            Spot {
                ipv6: (kind == Kind::DualStack).then_some(ipv6),
                ..home(router, index, vec![router])
            }
        }
    }
}

/// The outside address of a router that is the kernel. Ports are opened at public
/// addresses alone, and those kept for documentation count as none: so it is from the
/// network that radio amateurs keep for tests. Where a carrier is above that is not
/// where it is from the internet.
fn homes_outside(kind: Kind, index: u8) -> Ipv4Addr {
    match kind {
        Kind::Refusing => customer(index),
        _ => Ipv4Addr::new(44, 128, 0, 1 + index),
    }
}

/// The address that a carrier gives to a home (RFC 6598).
fn customer(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(100, 64, 0, 2 + index)
}

/// A home with a router of its own behind a carrier's.
fn behind(internet: &mut Internet, carrier: RouterId, index: u8) -> Spot {
    let outside = customer(index);
    let gate = gate(Kind::CarrierGrade.behaviour(), outside);
    let router = internet.add_router(Network::Behind(carrier), gate, false);
    home(router, index, vec![carrier, router])
}

/// A host at home. All homes have the same network, as most have.
fn home(router: RouterId, index: u8, routers: Vec<RouterId>) -> Spot {
    Spot {
        network: Network::Behind(router),
        address: (Ipv4Addr::new(192, 168, 1, 10 + index), HOME),
        ipv6: None,
        home: None,
        routers,
    }
}

fn outside(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 1 + index)
}

fn gate(behaviour: Option<Behaviour>, outside: Ipv4Addr) -> Gate {
    match behaviour {
        Some(behaviour) => Gate::Nat(Nat::new(behaviour, outside, seed())),
        None => Gate::NoUdp,
    }
}

/// Starts coturn and waits until it listens.
async fn serve(host: &Namespace) -> Result<Running, Failure> {
    let mut command = host.command(&find_server()?);
    command.args(["-n", "--no-tls", "--no-dtls", "--no-cli", "--no-tcp"]);
    command.args(SERVERS.map(|address| format!("--listening-ip={address}")));
    command.arg(format!("--relay-ip={}", SERVERS[0]));
    command.arg(format!("--listening-port={PORT}"));
    command.arg(format!("--user={}", ACCOUNT.join(":")));
    command.args(["--lt-cred-mech", "--realm=natlab.test"]);
    command.args([
        "-v",
        "--log-file=stdout",
        "--simple-log",
        "--pidfile=/dev/null",
    ]);
    let mut server = Running::start("turnserver", command)?;
    let listening = async {
        let mut missing = SERVERS.to_vec();
        while !missing.is_empty() {
            let Some(said) = server.line().await else {
                return false;
            };
            missing.retain(|address| {
                let opened = format!("{address}:{PORT}");
                !(said.text.contains("opened on") && said.text.contains(&opened))
            });
        }
        true
    };
    match tokio::time::timeout(READY, listening).await {
        Ok(true) => Ok(server),
        _ => Err(server.failure("it does not listen")),
    }
}
