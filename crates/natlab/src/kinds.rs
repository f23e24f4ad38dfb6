//! The kinds of places that people are in, and which of them can meet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernel::{Asked, Home};
use crate::nat::{Behaviour, Depends, Ports};

/// How long a router remembers what went out: the least that RFC 4787 allows
/// (REQ-5).
pub(crate) const LIFETIME: Duration = Duration::from_secs(120);

/// Where a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// an address of its own on the internet
    Open,
    /// a router that lets anybody in where something went out
    FullCone,
    /// a router that lets in whose address was sent to
    AddressRestricted,
    /// a router that lets in whose address and port was sent to
    PortRestricted,
    /// a router that gives each destination another port
    EndpointDependent,
    /// a router at home behind a carrier's router
    CarrierGrade,
    /// a router that lets no UDP through
    Blocked,
    /// the kernel's own translation, which is port-restricted
    Kernel,
    /// a port-restricted router that opens ports when asked
    Opening,
    /// an endpoint-dependent router that opens ports when asked
    OpeningDependent,
    /// an endpoint-dependent router that opens ports when asked, but not by UPnP
    OpeningByPcp,
    /// a router that opens ports towards a carrier's
    OpeningInside,
    /// a router behind a carrier's that refuses to open ports
    Refusing,
    /// a port-restricted router that answers nonsense when it is asked
    Nonsense,
    /// an endpoint-dependent router, and IPv6 behind a firewall
    DualStack,
}

impl Kind {
    /// Those of which every pair meets.
    pub(crate) const ALL: [Kind; 7] = [
        Kind::Open,
        Kind::FullCone,
        Kind::AddressRestricted,
        Kind::PortRestricted,
        Kind::EndpointDependent,
        Kind::CarrierGrade,
        Kind::Blocked,
    ];

    /// What it is called in tables.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Kind::Open => "no NAT",
            Kind::FullCone => "full cone",
            Kind::AddressRestricted => "address-restricted",
            Kind::PortRestricted => "port-restricted",
            Kind::EndpointDependent => "endpoint-dependent",
            Kind::CarrierGrade => "two layers",
            Kind::Blocked => "UDP blocked",
            Kind::Kernel => "kernel",
            Kind::Opening => "port-restricted (opens ports)",
            Kind::OpeningDependent => "endpoint-dependent (opens ports)",
            Kind::OpeningByPcp => "endpoint-dependent (opens ports, no UPnP)",
            Kind::OpeningInside => "two layers (opens ports of the inner one)",
            Kind::Refusing => "two layers (refuses to open ports)",
            Kind::Nonsense => "port-restricted (answers nonsense)",
            Kind::DualStack => "endpoint-dependent with IPv6",
        }
    }

    /// What its router does, if it has one that translates by a table here. Two
    /// layers have [`carrier`] above this one.
    pub(crate) fn behaviour(self) -> Option<Behaviour> {
        let (mapping, filtering, ports) = match self {
            Kind::Open | Kind::Blocked => return None,
            _ if self.home().is_some() => return None,
            Kind::FullCone => (Depends::Nothing, Depends::Nothing, Ports::Kept),
            Kind::AddressRestricted => (Depends::Nothing, Depends::Address, Ports::Kept),
            Kind::EndpointDependent | Kind::DualStack => (
                Depends::AddressAndPort,
                Depends::AddressAndPort,
                Ports::Drawn,
            ),
            _ => (Depends::Nothing, Depends::AddressAndPort, Ports::Kept),
        };
        Some(Behaviour {
            mapping,
            filtering,
            ports,
            hairpin: false,
            lifetime: LIFETIME,
        })
    }

    /// What its router does, if that is the kernel.
    pub(crate) fn home(self) -> Option<Home> {
        let (draws, asked) = match self {
            Kind::Kernel => (false, Asked::Silent),
            Kind::Opening | Kind::OpeningInside => (false, Asked::Opens),
            Kind::OpeningDependent => (true, Asked::Opens),
            Kind::OpeningByPcp => (true, Asked::OpensByPcp),
            Kind::Refusing => (false, Asked::Refuses),
            Kind::Nonsense => (false, Asked::Nonsense),
            _ => return None,
        };
        Some(Home { draws, asked })
    }

    /// Whether there is a carrier's router above the one at home.
    pub(crate) fn has_carrier(self) -> bool {
        matches!(
            self,
            Kind::CarrierGrade | Kind::OpeningInside | Kind::Refusing
        )
    }

    /// Whether its router opens a port of the internet when it is asked.
    pub(crate) fn opens(self) -> bool {
        let opening = [Kind::Opening, Kind::OpeningDependent, Kind::OpeningByPcp];
        opening.contains(&self)
    }

    /// Whether each destination sees another port.
    fn changes(self) -> bool {
        matches!(self, Kind::EndpointDependent | Kind::DualStack)
    }

    /// Whether only the exact address and port that was sent to may answer.
    fn is_strict(self) -> bool {
        !matches!(self, Kind::Open | Kind::FullCone | Kind::AddressRestricted)
    }
}

/// What a carrier's router does: as RFC 6888 asks, with the ports of all its
/// customers mixed.
pub(crate) fn carrier() -> Behaviour {
    Behaviour {
        mapping: Depends::Nothing,
        filtering: Depends::AddressAndPort,
        ports: Ports::Drawn,
        hairpin: true,
        lifetime: LIFETIME,
    }
}

/// What a router does that lets those inside reach each other by what is seen
/// outside.
pub(crate) fn hairpinning() -> Behaviour {
    Behaviour {
        ports: Ports::Kept,
        ..carrier()
    }
}

/// Where the two who meet are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pair {
    /// Each in a place of its own.
    Apart(Kind, Kind),
    /// In one network behind a port-restricted router.
    OneNetwork,
    /// In one network that keeps its guests apart; its router hairpins.
    Guests,
    /// Each behind a router at home, and both behind one carrier's, which hairpins.
    OneCarrier,
}

impl Pair {
    /// Every pair of [`Kind::ALL`], either way around where both can meet somebody,
    /// and those who share a router.
    pub(crate) fn all() -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (index, a) in Kind::ALL.into_iter().enumerate() {
            for b in Kind::ALL[index..].iter().copied() {
                pairs.push(Pair::Apart(a, b));
                if a != b && b != Kind::Blocked {
                    pairs.push(Pair::Apart(b, a));
                }
            }
        }
        pairs.extend([Pair::OneNetwork, Pair::Guests, Pair::OneCarrier]);
        pairs
    }

    /// Those with a router that is asked to open ports.
    pub(crate) fn gateways() -> Vec<Pair> {
        vec![
            Pair::Apart(Kind::Opening, Kind::PortRestricted),
            Pair::Apart(Kind::Opening, Kind::EndpointDependent),
            Pair::Apart(Kind::EndpointDependent, Kind::Opening),
            Pair::Apart(Kind::OpeningDependent, Kind::PortRestricted),
            Pair::Apart(Kind::OpeningDependent, Kind::EndpointDependent),
            Pair::Apart(Kind::EndpointDependent, Kind::OpeningDependent),
            Pair::Apart(Kind::OpeningDependent, Kind::OpeningDependent),
            Pair::Apart(Kind::OpeningByPcp, Kind::EndpointDependent),
            Pair::Apart(Kind::OpeningInside, Kind::PortRestricted),
            Pair::Apart(Kind::OpeningInside, Kind::EndpointDependent),
            Pair::Apart(Kind::OpeningInside, Kind::OpeningDependent),
            Pair::Apart(Kind::Refusing, Kind::PortRestricted),
            Pair::Apart(Kind::Nonsense, Kind::PortRestricted),
            Pair::Apart(Kind::PortRestricted, Kind::Nonsense),
        ]
    }

    /// Those with IPv6.
    pub(crate) fn ipv6() -> Vec<Pair> {
        vec![
            Pair::Apart(Kind::DualStack, Kind::DualStack),
            Pair::Apart(Kind::DualStack, Kind::FullCone),
            Pair::Apart(Kind::Open, Kind::DualStack),
            Pair::Apart(Kind::DualStack, Kind::EndpointDependent),
        ]
    }

    /// Those with the kernel's translation.
    pub(crate) fn kernel() -> Vec<Pair> {
        vec![
            Pair::Apart(Kind::Open, Kind::Kernel),
            Pair::Apart(Kind::Kernel, Kind::Kernel),
            Pair::Apart(Kind::Kernel, Kind::PortRestricted),
            Pair::Apart(Kind::Kernel, Kind::EndpointDependent),
        ]
    }

    /// What it is called in tables.
    pub(crate) fn words(self) -> String {
        match self {
            Pair::Apart(a, b) => format!("{} and {}", a.words(), b.words()),
            Pair::OneNetwork => "both in one network".to_owned(),
            Pair::Guests => "both in one network that keeps them apart (hairpin)".to_owned(),
            Pair::OneCarrier => "two homes behind one carrier's router (hairpin)".to_owned(),
        }
    }

    /// Whether an open port, IPv6 or hole punching can serve it, or a relay if there
    /// is one.
    pub(crate) fn can_meet(self, relay: bool) -> bool {
        let Pair::Apart(a, b) = self else {
            return true;
        };
        if [a, b].contains(&Kind::Blocked) {
            return false;
        }
        let around =
            a.opens() || b.opens() || self == Pair::Apart(Kind::DualStack, Kind::DualStack);
        relay || around || !(a.changes() && b.is_strict() || b.changes() && a.is_strict())
    }

    /// Whether the first of them, who shares, can be knocked at from anywhere.
    pub(crate) fn has_open_door(self) -> bool {
        matches!(self, Pair::Apart(a, _) if a == Kind::Open || a.opens())
    }

    /// Whether only the second of them, who fetches, can be knocked at from anywhere.
    pub(crate) fn has_back_door(self) -> bool {
        let turned = matches!(self, Pair::Apart(a, b) if Pair::Apart(b, a).has_open_door());
        turned && !self.has_open_door()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changing_ports_strict_filters_and_blocked_udp_keep_people_apart() {
        let apart = |relay| {
            let all = Pair::all().into_iter();
            all.filter(|pair| !pair.can_meet(relay)).count()
        };
        assert_eq!(Pair::all().len(), 46);
        // Five with endpoint-dependent, seven with no UDP.
        assert_eq!(apart(false), 12);
        assert_eq!(apart(true), 7);
        let pair = Pair::Apart(Kind::PortRestricted, Kind::EndpointDependent);
        assert!(!pair.can_meet(false) && pair.can_meet(true));
        assert!(Pair::Apart(Kind::AddressRestricted, Kind::EndpointDependent).can_meet(false));
    }

    #[test]
    fn an_open_port_lets_everybody_meet_and_one_that_leads_nowhere_changes_nothing() {
        let meet = |a, b| {
            let [one, other] = [Pair::Apart(a, b), Pair::Apart(b, a)].map(|p| p.can_meet(false));
            assert_eq!(one, other, "{a:?} and {b:?}");
            one
        };
        for kind in [Kind::Opening, Kind::OpeningDependent, Kind::OpeningByPcp] {
            assert!(meet(kind, Kind::EndpointDependent));
            assert!(!meet(kind, Kind::Blocked));
        }
        for kind in [
            Kind::OpeningInside,
            Kind::Refusing,
            Kind::Nonsense,
            Kind::Kernel,
        ] {
            assert!(meet(kind, Kind::PortRestricted));
            assert!(!meet(kind, Kind::EndpointDependent));
        }
    }

    #[test]
    fn ipv6_helps_where_both_have_it() {
        let with = |other| Pair::Apart(Kind::DualStack, other);
        assert!(with(Kind::DualStack).can_meet(false));
        assert!(!with(Kind::EndpointDependent).can_meet(false));
        assert!(with(Kind::EndpointDependent).can_meet(true));
        assert!(with(Kind::FullCone).can_meet(false));
    }

    #[test]
    fn a_door_is_at_one_end_of_a_pair() {
        let doors = |a, b| {
            let pair = Pair::Apart(a, b);
            (pair.has_open_door(), pair.has_back_door())
        };
        assert_eq!(doors(Kind::Open, Kind::FullCone), (true, false));
        assert_eq!(doors(Kind::FullCone, Kind::Open), (false, true));
        assert_eq!(doors(Kind::Open, Kind::Open), (true, false));
        assert_eq!(doors(Kind::FullCone, Kind::FullCone), (false, false));
        assert_eq!(doors(Kind::OpeningInside, Kind::Opening), (false, true));
    }
}
