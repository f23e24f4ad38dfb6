//! What the answers of STUN servers say together about the routers in between.
//!
//! RFC 5780 calls it the mapping behaviour. How a router filters what comes in cannot be
//! tried without a server that answers from elsewhere, so nothing is said about it.

use std::net::{IpAddr, SocketAddr};

use super::stun::{Answer, Asked};

/// How this computer is seen from the internet over IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// There are no servers to ask.
    NotAsked,
    /// No name of a server leads to an address.
    Offline,
    /// Requests went out and nothing came back.
    Blocked,
    /// Only over IPv6 did anything come back.
    OnlyIpv6,
    /// Answers came back and none can be true.
    Implausible,
    /// No router changes the address.
    Unchanged,
    /// The same port whoever is asked: endpoint-independent mapping.
    Independent,
    /// Another port for each: endpoint-dependent mapping.
    Dependent,
    /// Only one server's answer can be used.
    Single,
    /// Several answers that contradict each other.
    Contradictory,
}

/// Judges the answers over IPv4; over IPv6 where no server has an address of the other.
pub(super) fn mapping(asked: &[Asked], own: &[IpAddr]) -> Mapping {
    if asked.is_empty() {
        return Mapping::NotAsked;
    }
    let addressed: Vec<&Asked> = asked.iter().filter(|a| a.address.is_some()).collect();
    if addressed.is_empty() {
        return Mapping::Offline;
    }
    let is_v4 = |seen: &SocketAddr| seen.is_ipv4();
    let mut seen: Vec<SocketAddr> = addressed.iter().filter_map(|asked| asked.seen()).collect();
    let v4_asked = addressed
        .iter()
        .any(|asked| asked.address.is_some_and(|address| address.is_ipv4()));
    if v4_asked {
        let over_v6 = !seen.is_empty();
        seen.retain(is_v4);
        if over_v6 && seen.is_empty() {
            return Mapping::OnlyIpv6;
        }
    }
    let Some(first) = seen.first() else {
        let said = addressed
            .iter()
            .any(|asked| asked.answer != Answer::Silence);
        return match said {
            true => Mapping::Implausible,
            false => Mapping::Blocked,
        };
    };
    if let Some(common) = agreed(&seen) {
        return match own.contains(&common.ip()) {
            true => Mapping::Unchanged,
            false => Mapping::Independent,
        };
    }
    if seen.len() == 1 {
        return match own.contains(&first.ip()) {
            true => Mapping::Unchanged,
            false => Mapping::Single,
        };
    }
    let one_address = seen.iter().any(|a| {
        seen.iter()
            .any(|b| a.ip() == b.ip() && a.port() != b.port())
    });
    match one_address {
        true => Mapping::Dependent,
        false => Mapping::Contradictory,
    }
}

/// What at least two servers say alike, the most of them if there is a choice.
pub(super) fn agreed(seen: &[SocketAddr]) -> Option<SocketAddr> {
    let count = |wanted: &SocketAddr| seen.iter().filter(|seen| *seen == wanted).count();
    let most = seen.iter().max_by_key(|seen| count(seen))?;
    (count(most) > 1).then_some(*most)
}

/// How IPv6 goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ipv6 {
    /// An address of the internet, and a server answered over it.
    Works(IpAddr),
    /// An address of the internet, over which nothing comes back.
    Silent(IpAddr),
    /// An address of the internet, and nobody to try it with.
    NotTried(IpAddr),
    /// No address of the internet.
    Absent,
}

/// Judges the answers over IPv6.
pub(super) fn ipv6(asked: &[Asked], own: &[IpAddr]) -> Ipv6 {
    let is_global = |ip: &&IpAddr| ip.is_ipv6() && super::stun::is_public(**ip);
    let Some(ip) = own.iter().find(is_global).copied() else {
        return Ipv6::Absent;
    };
    let mut tried = asked
        .iter()
        .filter(|asked| asked.address.is_some_and(|address| address.is_ipv6()))
        .peekable();
    if tried.peek().is_none() {
        return Ipv6::NotTried(ip);
    }
    match tried.find_map(Asked::seen) {
        Some(seen) => Ipv6::Works(seen.ip()),
        None => Ipv6::Silent(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(answer: Answer) -> Asked {
        Asked {
            url: "stun:stun.example:3478".to_owned(),
            address: "198.51.100.7:3478".parse().ok(),
            answer,
        }
    }

    fn over_v6(answer: Answer) -> Asked {
        Asked {
            address: "[2001:db8::7]:3478".parse().ok(),
            ..asked(answer)
        }
    }

    fn judged(seen: &[Option<&str>]) -> Mapping {
        let asked: Vec<_> = seen
            .iter()
            .map(|seen| match seen.map(|seen| seen.parse::<SocketAddr>()) {
                Some(Ok(seen)) if seen.is_ipv6() => over_v6(Answer::Seen(seen)),
                Some(seen) => asked(Answer::Seen(seen.expect("an address"))),
                None => asked(Answer::Silence),
            })
            .collect();
        let own = ["192.168.1.5", "2001:db8::5"].map(|ip| ip.parse().expect("an address"));
        mapping(&asked, &own)
    }

    const A: Option<&str> = Some("203.0.113.5:4000");
    const B: Option<&str> = Some("203.0.113.5:4001");

    #[test]
    fn the_router_is_judged_by_the_ports_that_servers_see() {
        assert_eq!(judged(&[]), Mapping::NotAsked);
        assert_eq!(judged(&[None, None]), Mapping::Blocked);
        assert_eq!(judged(&[A, None]), Mapping::Single);
        assert_eq!(judged(&[A, None, A]), Mapping::Independent);
        assert_eq!(judged(&[A, B]), Mapping::Dependent);
        let own = Some("192.168.1.5:4000");
        assert_eq!(judged(&[own, None]), Mapping::Unchanged);
        assert_eq!(judged(&[own, own]), Mapping::Unchanged);
    }

    #[test]
    fn one_liar_among_three_changes_nothing_and_among_two_is_not_believed() {
        let lie = Some("198.51.100.99:4000");
        for order in [[A, A, lie], [A, lie, A], [lie, A, A]] {
            assert_eq!(judged(&order), Mapping::Independent, "{order:?}");
        }
        assert_eq!(judged(&[A, lie]), Mapping::Contradictory);
        assert_eq!(judged(&[A, lie, B]), Mapping::Dependent);
    }

    #[test]
    fn another_family_is_no_other_port() {
        let v6 = Some("[2001:db8::5]:4001");
        assert_eq!(judged(&[A, v6, A]), Mapping::Independent);
        assert_eq!(judged(&[A, v6]), Mapping::Single);
        assert_eq!(judged(&[v6, v6]), Mapping::Unchanged);
        assert_eq!(judged(&[None, v6, v6]), Mapping::OnlyIpv6);
    }

    #[test]
    fn offline_silent_and_lying_are_three_things() {
        let nowhere = Asked {
            address: None,
            ..asked(Answer::Silence)
        };
        let alone = [nowhere.clone(), nowhere.clone()];
        assert_eq!(mapping(&alone, &[]), Mapping::Offline);
        let silent = [nowhere.clone(), asked(Answer::Silence)];
        assert_eq!(mapping(&silent, &[]), Mapping::Blocked);
        for lie in [
            Answer::Nonsense,
            Answer::Impossible("10.0.0.1:1".parse().expect("an address")),
        ] {
            let lying = [nowhere.clone(), asked(lie)];
            assert_eq!(mapping(&lying, &[]), Mapping::Implausible);
        }
    }

    #[test]
    fn ipv6_counts_when_an_answer_came_over_it() {
        let own: Vec<IpAddr> = ["192.168.1.5", "fd00::5", "2001:db8::5"]
            .map(|ip| ip.parse().expect("an address"))
            .to_vec();
        let seen = Answer::Seen("[2001:db8::5]:4000".parse().expect("an address"));
        assert_eq!(ipv6(&[over_v6(seen)], &own[..2]), Ipv6::Absent);
        assert_eq!(ipv6(&[over_v6(seen)], &own), Ipv6::Works(own[2]));
        assert_eq!(
            ipv6(&[over_v6(Answer::Silence)], &own),
            Ipv6::Silent(own[2])
        );
        assert_eq!(
            ipv6(&[asked(Answer::Silence)], &own),
            Ipv6::NotTried(own[2])
        );
    }
}
