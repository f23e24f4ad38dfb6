//! The kinds of places that people are in, and which of them can meet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nat::{Behaviour, Depends, Ports};

/// How long a router remembers what went out: the least that RFC 4787 allows
/// (REQ-5).
const LIFETIME: Duration = Duration::from_secs(120);

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
}

impl Kind {
    /// All of them.
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
        }
    }

    /// What its router does, if it has one that translates. Two layers have
    /// [`carrier`] above this one.
    pub(crate) fn behaviour(self) -> Option<Behaviour> {
        let (mapping, filtering, ports) = match self {
            Kind::Open | Kind::Blocked => return None,
            Kind::FullCone => (Depends::Nothing, Depends::Nothing, Ports::Kept),
            Kind::AddressRestricted => (Depends::Nothing, Depends::Address, Ports::Kept),
            Kind::PortRestricted | Kind::CarrierGrade => {
                (Depends::Nothing, Depends::AddressAndPort, Ports::Kept)
            }
            Kind::EndpointDependent => (
                Depends::AddressAndPort,
                Depends::AddressAndPort,
                Ports::Drawn,
            ),
        };
        Some(Behaviour {
            mapping,
            filtering,
            ports,
            hairpin: false,
            lifetime: LIFETIME,
        })
    }

    /// Whether only the exact address and port that was sent to may answer.
    fn is_strict(self) -> bool {
        matches!(
            self,
            Kind::PortRestricted | Kind::EndpointDependent | Kind::CarrierGrade
        )
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
    /// Every unordered pair.
    pub(crate) fn all() -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (index, a) in Kind::ALL.into_iter().enumerate() {
            pairs.extend(Kind::ALL[index..].iter().map(|b| Pair::Apart(a, *b)));
        }
        pairs.extend([Pair::OneNetwork, Pair::Guests, Pair::OneCarrier]);
        pairs
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

    /// Whether hole punching can serve it, or a relay if there is one.
    pub(crate) fn can_meet(self, relay: bool) -> bool {
        let Pair::Apart(a, b) = self else {
            return true;
        };
        if [a, b].contains(&Kind::Blocked) {
            return false;
        }
        let changes = |kind| kind == Kind::EndpointDependent;
        relay || !(changes(a) && b.is_strict() || changes(b) && a.is_strict())
    }

    /// Whether the first of them can be knocked at from anywhere.
    pub(crate) fn has_open_door(self) -> bool {
        matches!(self, Pair::Apart(Kind::Open, _))
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
        assert_eq!(Pair::all().len(), 31);
        // Three with endpoint-dependent, seven with no UDP.
        assert_eq!(apart(false), 10);
        assert_eq!(apart(true), 7);
        let pair = Pair::Apart(Kind::PortRestricted, Kind::EndpointDependent);
        assert!(!pair.can_meet(false) && pair.can_meet(true));
        assert!(Pair::Apart(Kind::AddressRestricted, Kind::EndpointDependent).can_meet(false));
    }
}
