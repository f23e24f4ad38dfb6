//! A small internet: hosts in networks, and routers between the networks and
//! the public one. Says for every packet which host gets it, and as what.
//!
//! Networks hang on one another as a tree; the public one is the root. A router's
//! inside is one network, its outside an address in another. IPv6 has one network
//! for all, with a firewall before each host. There is no clock and no device in here.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::firewall::{Ends, Firewall};
use crate::nat::Nat;
use crate::packet::Packet;

/// A host, by the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HostId(pub(crate) usize);

/// A router, by the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RouterId(usize);

/// Where a host or a router's outside is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Public,
    Behind(RouterId),
}

/// What is done with UDP that crosses a router.
#[derive(Debug)]
pub(crate) enum Gate {
    /// It is translated.
    Nat(Nat),
    /// It is dropped.
    NoUdp,
}

#[derive(Debug)]
struct Host {
    network: Network,
    addresses: Vec<Ipv4Addr>,
    ipv6: Option<(Ipv6Addr, Firewall)>,
    online: bool,
}

#[derive(Debug)]
struct Router {
    gate: Gate,
    network: Network,
    /// Whether those inside are kept from each other, as in a guest network.
    isolates: bool,
}

/// Hosts, networks and routers.
#[derive(Debug, Default)]
pub(crate) struct Internet {
    hosts: Vec<Host>,
    routers: Vec<Router>,
}

impl Internet {
    /// Adds a host with these addresses.
    pub(crate) fn add_host(&mut self, network: Network, addresses: Vec<Ipv4Addr>) -> HostId {
        self.hosts.push(Host {
            network,
            addresses,
            ipv6: None,
            online: true,
        });
        HostId(self.hosts.len() - 1)
    }

    /// Gives a host an address of IPv6, too, behind a firewall.
    pub(crate) fn give_ipv6(&mut self, host: HostId, address: Ipv6Addr, firewall: Firewall) {
        if let Some(host) = self.hosts.get_mut(host.0) {
            host.ipv6 = Some((address, firewall));
        }
    }

    /// Adds a router whose outside is in `network`.
    pub(crate) fn add_router(&mut self, network: Network, gate: Gate, isolates: bool) -> RouterId {
        self.routers.push(Router {
            gate,
            network,
            isolates,
        });
        RouterId(self.routers.len() - 1)
    }

    /// The host goes to another network, with another address there, and no IPv6.
    pub(crate) fn move_host(&mut self, host: HostId, network: Network, address: Ipv4Addr) {
        if let Some(host) = self.hosts.get_mut(host.0) {
            host.network = network;
            host.addresses = vec![address];
            host.ipv6 = None;
        }
    }

    /// Plugs the host in, or out.
    pub(crate) fn set_online(&mut self, host: HostId, online: bool) {
        if let Some(host) = self.hosts.get_mut(host.0) {
            host.online = online;
        }
    }

    /// The router forgets everything and is seen under another address.
    pub(crate) fn restart(&mut self, router: RouterId, outside: Ipv4Addr) {
        if let Some(Router {
            gate: Gate::Nat(nat),
            ..
        }) = self.routers.get_mut(router.0)
        {
            nat.restart(outside);
        }
    }

    /// Takes a packet that a host sent at `now`; says who gets it, and as what.
    pub(crate) fn carry(
        &mut self,
        from: HostId,
        packet: Packet,
        now: Duration,
    ) -> Option<(HostId, Packet)> {
        let host = self.hosts.get(from.0)?;
        // Nobody could answer to an address that is not the host's.
        if !host.online || !host.addresses.contains(packet.source().ip()) {
            return None;
        }
        self.up(host.network, packet, now)
    }

    /// Takes a datagram of IPv6 that a host sent at `now`; says who gets it.
    pub(crate) fn carry_ipv6(&mut self, from: HostId, ends: Ends, now: Duration) -> Option<HostId> {
        let Ends {
            source,
            destination,
        } = ends;
        let host = self.hosts.get_mut(from.0)?;
        let (address, firewall) = host.ipv6.as_mut()?;
        if !host.online || address != source.ip() {
            return None;
        }
        firewall.outbound(source, destination, now);
        let to = self.hosts.iter().position(|host| match &host.ipv6 {
            Some((address, firewall)) => {
                let is_there = host.online && address == destination.ip();
                is_there && firewall.lets_in(source, destination, now)
            }
            None => false,
        });
        to.map(HostId)
    }

    /// A packet comes from below or from within a network.
    fn up(&mut self, network: Network, packet: Packet, now: Duration) -> Option<(HostId, Packet)> {
        let to = *packet.destination().ip();
        let isolates = match network {
            Network::Public => false,
            Network::Behind(router) => self.routers.get(router.0)?.isolates,
        };
        if !isolates && self.is_in(network, to) {
            return self.down(network, packet, now);
        }
        let Network::Behind(id) = network else {
            return None;
        };
        let router = self.routers.get_mut(id.0)?;
        let Gate::Nat(nat) = &mut router.gate else {
            return None;
        };
        let outside = nat.outside();
        let hairpins = nat.hairpins();
        let beyond = router.network;
        let mut packet = packet;
        if to == outside && !hairpins {
            return None;
        }
        packet.set_source(nat.outbound(packet.source(), packet.destination(), now)?);
        match to == outside {
            true => self.down(beyond, packet, now),
            false => self.up(beyond, packet, now),
        }
    }

    /// Whether somebody in a network has an address.
    fn is_in(&self, network: Network, address: Ipv4Addr) -> bool {
        self.host(network, address).is_some() || self.router(network, address).is_some()
    }

    fn host(&self, network: Network, address: Ipv4Addr) -> Option<HostId> {
        let here = |host: &Host| host.network == network && host.addresses.contains(&address);
        self.hosts.iter().position(here).map(HostId)
    }

    fn router(&self, network: Network, address: Ipv4Addr) -> Option<RouterId> {
        let here = |router: &Router| match &router.gate {
            Gate::Nat(nat) => router.network == network && nat.outside() == address,
            Gate::NoUdp => false,
        };
        self.routers.iter().position(here).map(RouterId)
    }

    /// A packet goes to somebody in a network, or behind a router in it.
    fn down(
        &mut self,
        network: Network,
        mut packet: Packet,
        now: Duration,
    ) -> Option<(HostId, Packet)> {
        let to = packet.destination();
        if let Some(id) = self.host(network, *to.ip()) {
            let online = self.hosts.get(id.0)?.online;
            return online.then_some((id, packet));
        }
        let id = self.router(network, *to.ip())?;
        let Gate::Nat(nat) = &self.routers.get(id.0)?.gate else {
            return None;
        };
        packet.set_destination(nat.inbound(packet.source(), to.port(), now)?);
        self.down(Network::Behind(id), packet, now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddrV4, SocketAddrV6};

    use super::*;
    use crate::nat::{Behaviour, Depends, Ports};
    use crate::packet::packet;

    const NOW: Duration = Duration::ZERO;

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().expect("an address with a port")
    }

    fn gate(outside: &str, hairpin: bool) -> Gate {
        let behaviour = Behaviour {
            mapping: Depends::Nothing,
            filtering: Depends::AddressAndPort,
            ports: Ports::Kept,
            hairpin,
            lifetime: Duration::from_secs(120),
        };
        Gate::Nat(Nat::new(behaviour, ip(outside), 1))
    }

    /// Sends, and tells who got it, from where and at which address.
    fn send(
        internet: &mut Internet,
        from: HostId,
        ends: [&str; 2],
    ) -> Option<(HostId, SocketAddrV4, SocketAddrV4)> {
        let packet = packet(at(ends[0]), at(ends[1]), b"hello");
        let (to, packet) = internet.carry(from, packet, NOW)?;
        Some((to, packet.source(), packet.destination()))
    }

    #[test]
    fn a_request_goes_out_through_two_routers_and_its_answer_comes_back_in() {
        let mut internet = Internet::default();
        let server = internet.add_host(Network::Public, vec![ip("198.51.100.1")]);
        let carrier = internet.add_router(Network::Public, gate("203.0.113.1", false), false);
        let carrier = Network::Behind(carrier);
        let home = internet.add_router(carrier, gate("100.64.0.2", false), false);
        let host = internet.add_host(Network::Behind(home), vec![ip("192.168.1.10")]);
        assert_eq!(
            send(
                &mut internet,
                host,
                ["192.168.1.10:5000", "198.51.100.1:3478"]
            ),
            Some((server, at("203.0.113.1:5000"), at("198.51.100.1:3478")))
        );
        assert_eq!(
            send(
                &mut internet,
                server,
                ["198.51.100.1:3478", "203.0.113.1:5000"]
            ),
            Some((host, at("198.51.100.1:3478"), at("192.168.1.10:5000")))
        );
        assert_eq!(
            send(
                &mut internet,
                server,
                ["198.51.100.1:3479", "203.0.113.1:5000"]
            ),
            None
        );
        assert_eq!(
            send(
                &mut internet,
                server,
                ["198.51.100.1:3478", "192.168.1.10:5000"]
            ),
            None,
            "private addresses are nobody's outside"
        );
    }

    #[test]
    fn two_in_a_network_meet_there_unless_it_keeps_them_apart() {
        for (isolates, hairpin) in [(false, false), (true, false), (true, true)] {
            let mut internet = Internet::default();
            let router =
                internet.add_router(Network::Public, gate("203.0.113.1", hairpin), isolates);
            let [a, b] = ["192.168.1.10", "192.168.1.11"]
                .map(|address| internet.add_host(Network::Behind(router), vec![ip(address)]));
            let straight = send(&mut internet, a, ["192.168.1.10:5000", "192.168.1.11:6000"]);
            assert_eq!(straight.is_some(), !isolates);
            send(&mut internet, b, ["192.168.1.11:6000", "203.0.113.1:5000"]);
            let around = send(&mut internet, a, ["192.168.1.10:5000", "203.0.113.1:6000"]);
            let expected = (b, at("203.0.113.1:5000"), at("192.168.1.11:6000"));
            assert_eq!(around, hairpin.then_some(expected));
        }
    }

    #[test]
    fn a_host_that_moved_or_is_unplugged_is_not_where_it_was() {
        let mut internet = Internet::default();
        let a = internet.add_host(Network::Public, vec![ip("203.0.113.10")]);
        let b = internet.add_host(Network::Public, vec![ip("203.0.113.11")]);
        let ends = ["203.0.113.10:1", "203.0.113.11:1"];
        assert!(send(&mut internet, a, ends).is_some());
        internet.set_online(b, false);
        assert!(send(&mut internet, a, ends).is_none());
        internet.set_online(b, true);
        internet.move_host(a, Network::Public, ip("203.0.113.12"));
        assert!(send(&mut internet, a, ends).is_none(), "an old address");
        assert!(send(&mut internet, a, ["203.0.113.12:1", "203.0.113.11:1"]).is_some());
    }

    #[test]
    fn ipv6_reaches_whoever_has_sent_the_other_way() {
        let mut internet = Internet::default();
        let address = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        let [a, b] = [1, 2].map(|last| {
            let host = internet.add_host(Network::Public, vec![]);
            let firewall = Firewall::new(Duration::from_secs(120));
            internet.give_ipv6(host, address(last), firewall);
            host
        });
        let end = |last| SocketAddrV6::new(address(last), 5000, 0, 0);
        let mut send = |from, source, destination| {
            let ends = Ends {
                source: end(source),
                destination: end(destination),
            };
            internet.carry_ipv6(from, ends, NOW)
        };
        assert_eq!(send(a, 1, 2), None, "b has sent nothing");
        assert_eq!(send(b, 2, 1), Some(a));
        assert_eq!(send(a, 1, 2), Some(b));
        assert_eq!(send(a, 3, 2), None, "that is not its address");
        assert_eq!(send(a, 1, 3), None, "nobody is there");
        internet.set_online(b, false);
        assert_eq!(
            internet.carry_ipv6(
                a,
                Ends {
                    source: end(1),
                    destination: end(2)
                },
                NOW
            ),
            None
        );
    }

    #[test]
    fn nothing_crosses_a_router_that_blocks_udp() {
        let mut internet = Internet::default();
        let blocked = internet.add_router(Network::Public, Gate::NoUdp, false);
        let a = internet.add_host(Network::Behind(blocked), vec![ip("192.168.1.10")]);
        internet.add_host(Network::Public, vec![ip("203.0.113.11")]);
        assert!(send(&mut internet, a, ["192.168.1.10:1", "203.0.113.11:1"]).is_none());
    }
}
