//! What a router that translates addresses does with UDP, in the terms of
//! RFC 4787: to which outside port an inside one is mapped, and who may answer.
//!
//! Invariant: at any time an outside port stands for one inside address at most.
//! There is no packet, clock or device in here: addresses and time are arguments,
//! and the same seed draws the same ports.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// The lowest port that is given out.
const LOWEST: u16 = 1024;
/// Ports that are drawn until one is free.
const DRAWS: u32 = 256;

/// On what of the far end something depends (RFC 4787 §4.1 and §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Depends {
    /// Endpoint-independent.
    Nothing,
    /// Address-dependent.
    Address,
    /// Address- and port-dependent.
    AddressAndPort,
}

impl Depends {
    /// The part of `far` that matters; the rest is zero.
    fn part(self, far: SocketAddrV4) -> SocketAddrV4 {
        match self {
            Depends::Nothing => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            Depends::Address => SocketAddrV4::new(*far.ip(), 0),
            Depends::AddressAndPort => far,
        }
    }
}

/// Which outside port is given to an inside one (RFC 4787 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// The same, if it is free.
    Kept,
    /// Any.
    Drawn,
}

/// What a router does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// Who of the far ends sees the same outside port.
    pub(crate) mapping: Depends,
    /// Who of the far ends may send to an outside port, once something was sent.
    pub(crate) filtering: Depends,
    pub(crate) ports: Ports,
    /// Whether two inside can reach each other by their outside addresses.
    pub(crate) hairpin: bool,
    /// How long what was sent opens the way for what comes back. Only what goes out
    /// prolongs it (RFC 4787 §4.3, REQ-6).
    pub(crate) lifetime: Duration,
}

/// A router's table.
#[derive(Debug)]
pub(crate) struct Nat {
    behaviour: Behaviour,
    outside: Ipv4Addr,
    seed: u64,
    drawn: u64,
    /// The outside port of an inside address and what of the far end its mapping
    /// depends on.
    ports: HashMap<(SocketAddrV4, SocketAddrV4), u16>,
    mapped: HashMap<u16, Mapped>,
}

#[derive(Debug)]
struct Mapped {
    inside: SocketAddrV4,
    far: SocketAddrV4,
    until: Duration,
    /// Until when whom was sent to may answer, by what the filter looks at.
    talked: HashMap<SocketAddrV4, Duration>,
}

impl Nat {
    /// An empty table. `seed` decides which ports are drawn.
    pub(crate) fn new(behaviour: Behaviour, outside: Ipv4Addr, seed: u64) -> Nat {
        Nat {
            behaviour,
            outside,
            seed,
            drawn: 0,
            ports: HashMap::new(),
            mapped: HashMap::new(),
        }
    }

    /// The address that everybody outside sees.
    pub(crate) fn outside(&self) -> Ipv4Addr {
        self.outside
    }

    /// Whether two inside can reach each other by their outside addresses.
    pub(crate) fn hairpins(&self) -> bool {
        self.behaviour.hairpin
    }

    /// Something goes from `inside` to `far`: the address that it comes from
    /// outside, or `None` if there is no port left.
    pub(crate) fn outbound(
        &mut self,
        inside: SocketAddrV4,
        far: SocketAddrV4,
        now: Duration,
    ) -> Option<SocketAddrV4> {
        let key = (inside, self.behaviour.mapping.part(far));
        let known = self.ports.get(&key).copied();
        let port = match known.filter(|port| self.is_alive(*port, now)) {
            Some(port) => port,
            None => self.map(key, now)?,
        };
        let until = now + self.behaviour.lifetime;
        let mapped = self.mapped.get_mut(&port)?;
        mapped.until = until;
        mapped.talked.retain(|_, until| *until > now);
        mapped
            .talked
            .insert(self.behaviour.filtering.part(far), until);
        Some(SocketAddrV4::new(self.outside, port))
    }

    /// Something comes from `far` to the outside `port`: the address inside that
    /// it goes to, if it may come in.
    pub(crate) fn inbound(
        &self,
        far: SocketAddrV4,
        port: u16,
        now: Duration,
    ) -> Option<SocketAddrV4> {
        let mapped = self.mapped.get(&port)?;
        let until = mapped.talked.get(&self.behaviour.filtering.part(far))?;
        (now < mapped.until && now < *until).then_some(mapped.inside)
    }

    /// Starts anew: everything is forgotten, and the provider gave it another address.
    pub(crate) fn restart(&mut self, outside: Ipv4Addr) {
        self.outside = outside;
        self.ports.clear();
        self.mapped.clear();
    }

    fn is_alive(&self, port: u16, now: Duration) -> bool {
        self.mapped
            .get(&port)
            .is_some_and(|mapped| now < mapped.until)
    }

    fn map(&mut self, key: (SocketAddrV4, SocketAddrV4), now: Duration) -> Option<u16> {
        let kept = match self.behaviour.ports {
            Ports::Kept => Some(key.0.port()),
            Ports::Drawn => None,
        };
        let kept = kept.filter(|port| *port >= LOWEST && !self.is_alive(*port, now));
        let port = kept.or_else(|| self.draw(now))?;
        if let Some(before) = self.mapped.remove(&port) {
            self.ports.remove(&(before.inside, before.far));
        }
        self.ports.insert(key, port);
        let mapped = Mapped {
            inside: key.0,
            far: key.1,
            until: now + self.behaviour.lifetime,
            talked: HashMap::new(),
        };
        self.mapped.insert(port, mapped);
        Some(port)
    }

    /// A free port by chance.
    fn draw(&mut self, now: Duration) -> Option<u16> {
        for _ in 0..DRAWS {
            self.drawn += 1;
            let mut lot = [0; 16];
            lot[..8].copy_from_slice(&self.seed.to_le_bytes());
            lot[8..].copy_from_slice(&self.drawn.to_le_bytes());
            let hash = blake3::hash(&lot);
            let number = u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]);
            let port = LOWEST + number % (u16::MAX - LOWEST);
            if !self.is_alive(port, now) {
                return Some(port);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(120);
    const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

    fn at(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), port)
    }

    fn depends() -> impl Strategy<Value = Depends> {
        prop_oneof![
            Just(Depends::Nothing),
            Just(Depends::Address),
            Just(Depends::AddressAndPort)
        ]
    }

    fn behaviour() -> impl Strategy<Value = Behaviour> {
        (depends(), depends(), any::<bool>(), any::<bool>()).prop_map(
            |(mapping, filtering, kept, hairpin)| Behaviour {
                mapping,
                filtering,
                ports: if kept { Ports::Kept } else { Ports::Drawn },
                hairpin,
                lifetime: LIFETIME,
            },
        )
    }

    fn end() -> impl Strategy<Value = SocketAddrV4> {
        (0u8..4, 5000u16..5004).prop_map(|(last, port)| at(last, port))
    }

    proptest! {
        #[test]
        fn who_was_sent_to_can_answer_until_the_lifetime_is_over(
            behaviour in behaviour(), seed: u64,
            sent in prop::collection::vec((end(), end(), 0u64..100), 1..60),
        ) {
            let mut nat = Nat::new(behaviour, OUTSIDE, seed);
            let mut now = Duration::ZERO;
            for (inside, far, pause) in sent {
                now += Duration::from_secs(pause);
                let seen = nat.outbound(inside, far, now).expect("a port");
                prop_assert_eq!(*seen.ip(), OUTSIDE);
                let last = now + LIFETIME - Duration::from_nanos(1);
                for time in [now, last] {
                    prop_assert_eq!(nat.inbound(far, seen.port(), time), Some(inside));
                }
                prop_assert_eq!(nat.inbound(far, seen.port(), now + LIFETIME), None);
            }
        }

        #[test]
        fn mapping_and_filtering_depend_on_what_they_are_said_to(
            behaviour in behaviour(), seed: u64,
            sent in prop::collection::vec((end(), end()), 1..60),
        ) {
            let mut nat = Nat::new(behaviour, OUTSIDE, seed);
            let now = Duration::ZERO;
            let seen: Vec<_> = sent
                .iter()
                .map(|(inside, far)| (*inside, *far, nat.outbound(*inside, *far, now).expect("a port")))
                .collect();
            for (inside, far, port) in &seen {
                for (other, elsewhere, other_port) in &seen {
                    let same = inside == other
                        && behaviour.mapping.part(*far) == behaviour.mapping.part(*elsewhere);
                    prop_assert_eq!(port == other_port, same);
                }
            }
            for (inside, _, port) in &seen {
                let may: HashSet<_> = seen
                    .iter()
                    .filter(|(_, _, other)| other == port)
                    .map(|(_, far, _)| behaviour.filtering.part(*far))
                    .collect();
                for stranger in (0..4).flat_map(|last| (5000..5004).map(move |port| at(last, port))) {
                    let let_in = may.contains(&behaviour.filtering.part(stranger));
                    prop_assert_eq!(
                        nat.inbound(stranger, port.port(), now),
                        let_in.then_some(*inside)
                    );
                }
            }
        }

        #[test]
        fn nothing_comes_in_where_nothing_went_out(behaviour in behaviour(), seed: u64, far in end(), port: u16) {
            let mut nat = Nat::new(behaviour, OUTSIDE, seed);
            prop_assert_eq!(nat.inbound(far, port, Duration::ZERO), None);
            let before = nat.outbound(at(1, 5000), far, Duration::ZERO).expect("a port");
            nat.restart(Ipv4Addr::new(203, 0, 113, 2));
            prop_assert_eq!(nat.inbound(far, before.port(), Duration::ZERO), None);
        }
    }

    #[test]
    fn a_port_is_kept_if_it_is_free_and_drawn_if_not() {
        let behaviour = Behaviour {
            mapping: Depends::Nothing,
            filtering: Depends::Nothing,
            ports: Ports::Kept,
            hairpin: true,
            lifetime: LIFETIME,
        };
        let mut nat = Nat::new(behaviour, OUTSIDE, 1);
        let now = Duration::ZERO;
        let first = nat.outbound(at(1, 5000), at(9, 1), now);
        assert_eq!(first, Some(SocketAddrV4::new(OUTSIDE, 5000)));
        let second = nat.outbound(at(2, 5000), at(9, 1), now).expect("a port");
        assert_ne!(second.port(), 5000);
        assert_eq!(nat.inbound(at(9, 1), 5000, now), Some(at(1, 5000)));
        let later = nat.outbound(at(3, 5000), at(9, 1), LIFETIME);
        assert_eq!(later, first, "nobody uses it any more");
    }

    #[test]
    fn a_router_without_a_free_port_maps_nothing() {
        let behaviour = Behaviour {
            mapping: Depends::AddressAndPort,
            filtering: Depends::AddressAndPort,
            ports: Ports::Drawn,
            hairpin: false,
            lifetime: LIFETIME,
        };
        let mut nat = Nat::new(behaviour, OUTSIDE, 1);
        let mut given = HashSet::new();
        for number in 0..u32::from(u16::MAX) {
            let far = SocketAddrV4::new(Ipv4Addr::from(number), 1);
            match nat.outbound(at(1, 5000), far, Duration::ZERO) {
                Some(seen) => assert!(given.insert(seen.port()), "given twice"),
                None => {
                    assert!(given.len() > 60_000, "{} ports", given.len());
                    return;
                }
            }
        }
        panic!("more ports than there are");
    }
}
