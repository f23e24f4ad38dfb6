//! The findings about routers and servers, in words.

use std::net::SocketAddr;

use super::nat::{Ipv6, Mapping, agreed};
use super::stun::{Answer, Asked};
use super::{Finding, Topic};
use crate::dht::Entered;
use crate::portmap::Gateway;

/// What kind of network this is, as seen from the internet.
pub(super) fn internet(mapping: Mapping) -> Finding {
    let topic = Topic::Internet;
    match mapping {
        Mapping::NotAsked => Finding::notice(
            topic,
            "No STUN server is set.",
            "Without one this computer does not know its public address, and people outside \
             this network hardly find a way to it.",
            "Add one in the settings, or with --stun.",
        ),
        Mapping::Offline => Finding::bad(
            topic,
            "This computer seems to be offline.",
            "No name of a STUN server leads to an address. People on the same network can still \
             be met.",
            "Check the internet connection, and the names of the servers in the settings.",
        ),
        Mapping::Blocked => Finding::bad(
            topic,
            "This network lets no UDP through, or has no internet.",
            "No STUN server answers. Everything between two computers travels by UDP, so people \
             outside this network cannot be met.",
            "Allow UDP in the firewall, or use another network, such as a phone's.",
        ),
        Mapping::OnlyIpv6 => Finding::notice(
            topic,
            "Only IPv6 leads to the internet.",
            "Over IPv4 no STUN server answers. People who have no IPv6 cannot be met straight.",
            "Use another network for people who have no IPv6, or set a TURN server.",
        ),
        Mapping::Implausible => Finding::bad(
            topic,
            "Something between here and the internet answers in place of the STUN servers.",
            "What came back cannot be true, as from a network that wants a sign-in first.",
            "Open any web page and sign in if asked, or use another network.",
        ),
        Mapping::Unchanged => Finding::good(
            topic,
            "This computer is seen under an address of its own.",
            "No router changes it on the way. Anybody can be met, if the firewall lets UDP in.",
        ),
        Mapping::Independent => Finding::good(
            topic,
            "Your router keeps one port for everybody.",
            "The usual kind. People behind routers like this meet straight, and mostly those \
             on other networks, too.",
        ),
        Mapping::Dependent => Finding::bad(
            topic,
            "Your router gives each destination another port.",
            "The strict kind, as mobile and company networks have it. People behind most home \
             routers cannot be met straight from here over IPv4; those without a router can.",
            "Use another network, have IPv6 turned on, or set a TURN server.",
        ),
        Mapping::Single => Finding::notice(
            topic,
            "Only one STUN server answers.",
            "From one answer it cannot be told whether your router is of the usual or the strict \
             kind. It is probably the usual one, with which most people can be met.",
            "Set a second STUN server of somebody else.",
        ),
        Mapping::Contradictory => Finding::notice(
            topic,
            "The STUN servers contradict each other.",
            "Each sees this computer at another address. Either you are connected in two ways at \
             once, or one of them is wrong.",
            "Set a third STUN server of somebody else.",
        ),
    }
}

pub(super) fn ipv6(ipv6: Ipv6) -> Finding {
    let topic = Topic::Ipv6;
    match ipv6 {
        Ipv6::Works(ip) => Finding::good(
            topic,
            "IPv6 works.",
            format!("Seen as {ip}. People who have it, too, are met without routers in between."),
        ),
        Ipv6::Silent(ip) => Finding::notice(
            topic,
            "There is an IPv6 address, but nothing comes back over it.",
            format!("It is {ip}. People are met over IPv4 alone."),
            "Restart the router, or ask your provider whether IPv6 is on.",
        ),
        Ipv6::NotTried(ip) => Finding::notice(
            topic,
            "There is an IPv6 address, and it could not be tried.",
            format!("It is {ip}. No STUN server in the settings has an IPv6 address."),
            "Set a STUN server that has one.",
        ),
        Ipv6::Absent => Finding::notice(
            topic,
            "There is no IPv6 here.",
            "People are met over IPv4 alone, where routers get in the way more often.",
            "If your provider offers IPv6, turn it on in the router.",
        ),
    }
}

/// What the router does when asked to open a port.
pub(super) fn gateway(gateway: &Gateway) -> Option<Finding> {
    let topic = Topic::PortMapping;
    match gateway {
        Gateway::Offers(how) => Some(Finding::good(
            topic,
            "Your router opens ports when asked.",
            format!(
                "By {}. With an open port, people behind strict routers find a way in, too.",
                how.join(", ")
            ),
        )),
        Gateway::OffersNothing => Some(Finding::notice(
            topic,
            "Your router opens no ports when asked.",
            "Neither UPnP nor PCP nor NAT-PMP was answered. People behind strict routers may \
             find no way in, and links lead nowhere from outside; the DHT and reply codes go on working.",
            "Turn UPnP or PCP on in the router, if it is yours.",
        )),
        Gateway::Absent => None,
    }
}

/// Whether people can meet in the DHT; `None` if they are not to.
pub(super) fn dht(entered: Option<Entered>) -> Finding {
    let topic = Topic::Dht;
    match entered {
        None => Finding::notice(
            topic,
            "People are not looked for in the DHT.",
            "It is turned off. Beyond this network a code alone finds nobody; links and reply \
             codes work all the same.",
            "Turn it on in the settings, or leave out --no-dht.",
        ),
        Some(Entered::Met(nodes)) => Finding::good(
            topic,
            "The DHT answers.",
            format!(
                "Nodes that did just now: {nodes}. A code alone is enough to meet people on other \
                 networks."
            ),
        ),
        Some(Entered::Silence) => Finding::notice(
            topic,
            "The DHT does not answer.",
            "It goes over UDP, and some networks block it. Beyond this network a code alone finds \
             nobody; links and reply codes go on working.",
            "Send the link or a reply code instead of the code, or use another network.",
        ),
        Some(Entered::NoIpv4) => Finding::notice(
            topic,
            "The DHT cannot be reached over IPv6 alone.",
            "Only IPv6 is to be used here, which the DHT has not.",
            "Send the link or a reply code instead of the code, or allow an IPv4 address with \
             --bind.",
        ),
    }
}

/// What each STUN server said.
pub(super) fn servers(asked: &[Asked]) -> Vec<Finding> {
    let common = |is_ipv4: bool| {
        let seen: Vec<SocketAddr> = asked.iter().filter_map(Asked::seen).collect();
        let family: Vec<SocketAddr> = seen
            .into_iter()
            .filter(|seen| seen.is_ipv4() == is_ipv4)
            .collect();
        agreed(&family)
    };
    let common = [common(true), common(false)];
    asked.iter().map(|asked| server(asked, common)).collect()
}

/// `common` is what most servers agree on, over IPv4 and IPv6.
fn server(asked: &Asked, common: [Option<SocketAddr>; 2]) -> Finding {
    let topic = Topic::StunServer;
    let url = &asked.url;
    let over = match asked.address {
        Some(address) if address.is_ipv6() => " over IPv6",
        _ => "",
    };
    let others = "The others are used. If it stays like this, remove it from the settings.";
    match (asked.address, asked.answer) {
        (None, _) => Finding::notice(
            topic,
            format!("{url} is not found."),
            "Its name leads to no address.",
            "Check the spelling, and whether this computer is online.",
        ),
        (Some(address), Answer::Silence) => Finding::notice(
            topic,
            format!("{url} does not answer{over}."),
            format!("Nothing came back from {address}."),
            "If others answer, this one can stay.",
        ),
        (Some(address), Answer::Nonsense) => Finding::notice(
            topic,
            format!("{url} answers nonsense{over}."),
            format!("What came from {address} is no answer to a STUN request."),
            others,
        ),
        (Some(_), Answer::Impossible(seen)) => Finding::notice(
            topic,
            format!("{url} says what cannot be true{over}."),
            format!("This computer cannot be seen as {seen} from the internet."),
            others,
        ),
        (Some(_), Answer::Seen(seen)) => {
            let [v4, v6] = common;
            let common = if seen.is_ipv4() { v4 } else { v6 };
            match common.filter(|common| *common != seen) {
                None => Finding::good(
                    topic,
                    format!("{url} answers{over}."),
                    format!("It sees this computer as {seen}."),
                ),
                Some(common) => Finding::notice(
                    topic,
                    format!("{url} says something else than the others{over}."),
                    format!("It sees this computer as {seen}, others as {common}."),
                    others,
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FindingLevel;
    use super::*;

    const MAPPINGS: [Mapping; 10] = [
        Mapping::NotAsked,
        Mapping::Offline,
        Mapping::Blocked,
        Mapping::OnlyIpv6,
        Mapping::Implausible,
        Mapping::Unchanged,
        Mapping::Independent,
        Mapping::Dependent,
        Mapping::Single,
        Mapping::Contradictory,
    ];

    #[test]
    fn whatever_is_not_good_has_a_remedy_and_what_is_good_has_none() {
        let ip = "2001:db8::5".parse().expect("an address");
        let mut all: Vec<Finding> = MAPPINGS.map(internet).to_vec();
        all.extend(
            [
                Ipv6::Works(ip),
                Ipv6::Silent(ip),
                Ipv6::NotTried(ip),
                Ipv6::Absent,
            ]
            .map(ipv6),
        );
        all.extend(gateway(&Gateway::Offers(vec!["UPnP", "PCP"])));
        all.extend(gateway(&Gateway::OffersNothing));
        let entered = [Entered::Met(20), Entered::Silence, Entered::NoIpv4];
        all.extend(entered.map(Some).into_iter().chain([None]).map(dht));
        for finding in all {
            let good = finding.level == FindingLevel::Good;
            assert_eq!(finding.remedy.is_none(), good, "{finding:?}");
            for text in [&finding.title, &finding.detail] {
                assert!(text.ends_with('.'), "{text}");
            }
        }
        assert_eq!(gateway(&Gateway::Absent), None);
    }

    #[test]
    fn a_server_that_differs_from_the_others_is_named() {
        let asked = |url: &str, answer| Asked {
            url: url.to_owned(),
            address: "198.51.100.7:3478".parse().ok(),
            answer,
        };
        let seen = |text: &str| Answer::Seen(text.parse().expect("an address"));
        let told = servers(&[
            asked("stun:a", seen("203.0.113.5:4000")),
            asked("stun:b", seen("203.0.113.9:4000")),
            asked("stun:c", seen("203.0.113.5:4000")),
            asked("stun:d", Answer::Nonsense),
            asked("stun:e", Answer::Silence),
        ]);
        let titles: Vec<&str> = told.iter().map(|finding| finding.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "stun:a answers.",
                "stun:b says something else than the others.",
                "stun:c answers.",
                "stun:d answers nonsense.",
                "stun:e does not answer.",
            ]
        );
    }
}
