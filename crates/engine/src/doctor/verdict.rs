//! The one light and the one sentence that all findings come to.

use super::nat::{Ipv6, Mapping};
use super::{FindingLevel, Topic};

/// What the light depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) ports: FindingLevel,
    pub(super) mapping: Mapping,
    pub(super) ipv6: Ipv6,
    /// A TURN server of the person's own relays.
    pub(super) relay: bool,
    pub(super) lan: FindingLevel,
    pub(super) dht: FindingLevel,
    pub(super) vpn: bool,
}

const SAME_NETWORK_ONLY: &str = "From here you can meet people on the same network only.";

/// The light, what it means for whom one can reach, and what it rests on.
pub(super) fn verdict(facts: &Facts) -> (FindingLevel, String, Option<Topic>) {
    use FindingLevel::{Bad, Good, Notice};
    let told = |level, sentence: &str, cause| (level, sentence.to_owned(), cause);
    let internet = Some(Topic::Internet);
    if facts.ports == Bad {
        let nobody = "From here you can meet nobody: this computer is in no network.";
        return told(Bad, nobody, Some(Topic::Port));
    }
    let by_ipv6 = matches!(facts.ipv6, Ipv6::Works(_));
    match facts.mapping {
        Mapping::Unchanged | Mapping::Independent => {}
        Mapping::Offline => return told(Bad, SAME_NETWORK_ONLY, internet),
        Mapping::OnlyIpv6 => {
            let some = "You can meet people who have IPv6, and those on the same network.";
            return told(Notice, some, internet);
        }
        Mapping::Blocked | Mapping::Implausible if facts.relay => {
            let relayed = "You can meet people through your TURN server only.";
            return told(Notice, relayed, internet);
        }
        Mapping::Blocked | Mapping::Implausible => return told(Bad, SAME_NETWORK_ONLY, internet),
        Mapping::Dependent if facts.relay => {
            let relayed = "You can meet most people, many of them through your TURN server.";
            return told(Notice, relayed, internet);
        }
        Mapping::Dependent if by_ipv6 => {
            let some = "You can meet people who have IPv6, and some of the others.";
            return told(Notice, some, internet);
        }
        Mapping::Dependent => {
            let few =
                "On the internet you can meet few people from here; on the same network, all.";
            return told(Bad, few, internet);
        }
        Mapping::Single | Mapping::Contradictory => {
            let probably = "You can probably meet most people; it could not be made sure.";
            return told(Notice, probably, internet);
        }
        Mapping::NotAsked => {
            let unknown = "You can meet people on the same network; beyond it, hardly anybody.";
            return told(Notice, unknown, internet);
        }
    }
    if facts.vpn {
        let through = "You can meet most people, if the VPN that is on lets you.";
        return told(Notice, through, Some(Topic::Vpn));
    }
    if facts.dht != Good {
        let links = "You can meet most people by a link; far away a code alone finds nobody.";
        return told(Notice, links, Some(Topic::Dht));
    }
    if facts.lan != Good {
        let codes =
            "You can meet most people; on the same network a code alone does not find them.";
        return told(Notice, codes, Some(Topic::LocalNetwork));
    }
    told(Good, "You can meet most people, near and far.", None)
}

#[cfg(test)]
mod tests {
    use super::FindingLevel::{Bad, Good, Notice};
    use super::*;

    const FINE: Facts = Facts {
        ports: Good,
        mapping: Mapping::Independent,
        ipv6: Ipv6::Absent,
        relay: false,
        lan: Good,
        dht: Good,
        vpn: false,
    };

    fn light(facts: Facts) -> (FindingLevel, Option<Topic>) {
        let (level, sentence, cause) = verdict(&facts);
        assert!(sentence.ends_with('.'), "{sentence}");
        (level, cause)
    }

    #[test]
    fn the_usual_home_network_is_green_with_and_without_ipv6() {
        assert_eq!(light(FINE), (Good, None));
        let mapping = Mapping::Unchanged;
        assert_eq!(light(Facts { mapping, ..FINE }), (Good, None));
    }

    #[test]
    fn a_strict_router_is_red_unless_there_is_a_way_around_it() {
        let strict = Facts {
            mapping: Mapping::Dependent,
            ..FINE
        };
        let internet = Some(Topic::Internet);
        assert_eq!(light(strict), (Bad, internet));
        let relay = true;
        assert_eq!(light(Facts { relay, ..strict }), (Notice, internet));
        let ipv6 = Ipv6::Works("2001:db8::5".parse().expect("an address"));
        assert_eq!(light(Facts { ipv6, ..strict }), (Notice, internet));
    }

    #[test]
    fn what_was_not_made_sure_is_yellow_and_never_green() {
        for mapping in [Mapping::Single, Mapping::Contradictory, Mapping::NotAsked] {
            let (level, cause) = light(Facts { mapping, ..FINE });
            assert_eq!((level, cause), (Notice, Some(Topic::Internet)));
        }
    }

    #[test]
    fn nothing_that_comes_back_is_red_and_tells_what_to_look_at() {
        for mapping in [Mapping::Offline, Mapping::Blocked, Mapping::Implausible] {
            let told = light(Facts { mapping, ..FINE });
            assert_eq!(told, (Bad, Some(Topic::Internet)));
        }
        let alone = Facts {
            ports: Bad,
            mapping: Mapping::Offline,
            ..FINE
        };
        assert_eq!(light(alone), (Bad, Some(Topic::Port)));
    }

    #[test]
    fn a_vpn_a_silent_dht_or_a_deaf_local_network_is_yellow_when_all_else_is_well() {
        let vpn = true;
        assert_eq!(light(Facts { vpn, ..FINE }), (Notice, Some(Topic::Vpn)));
        let dht = Notice;
        assert_eq!(light(Facts { dht, ..FINE }), (Notice, Some(Topic::Dht)));
        let lan = Notice;
        let local = Some(Topic::LocalNetwork);
        assert_eq!(light(Facts { lan, ..FINE }), (Notice, local));
    }
}
