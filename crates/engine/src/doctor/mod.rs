//! The connection check: can others reach this computer, and what to do if not.
//!
//! It looks at what a connection would use: ports, the local network, the DHT, STUN and
//! TURN servers, the router. Every finding is something that was tried just now; what
//! cannot be tried from one computer alone is not claimed. It runs when asked and takes
//! less than ten seconds. `stun` asks, `nat` and `verdict` judge, `words` say it.

mod nat;
mod places;
mod stun;
mod verdict;
mod words;

use std::net::{IpAddr, SocketAddrV4};

use serde::Serialize;
use ts_rs::TS;

use crate::api::{Problem, Settings};
use crate::config::Config;
use crate::dht;
use crate::link::local_addresses;
use crate::portmap::{self, Gateway};
use crate::store::Store;

/// What the check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Checkup {
    /// Green, yellow or red.
    pub level: FindingLevel,
    /// What that means for whom one can reach, in one sentence.
    pub summary: String,
    /// What the level rests on, unless it is green: its first finding that is not good
    /// has the remedy.
    pub cause: Option<Topic>,
    /// Everything that was looked at.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub struct Finding {
    /// What was looked at.
    pub topic: Topic,
    /// How it is.
    pub level: FindingLevel,
    /// What was found, as a sentence.
    pub title: String,
    /// What that rests on or means.
    pub detail: String,
    /// What the person can do, if anything needs doing.
    pub remedy: Option<String>,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum Topic {
    /// The settings that the check used.
    Settings,
    /// Ports and addresses of this computer.
    Port,
    /// The way to the internet over IPv4, and the routers on it.
    Internet,
    /// The way to the internet over IPv6.
    Ipv6,
    /// Whether the router opens ports when asked.
    PortMapping,
    /// Finding people on the local network.
    LocalNetwork,
    /// Meeting in the DHT.
    Dht,
    /// A VPN.
    Vpn,
    /// One STUN server.
    StunServer,
    /// One TURN server.
    TurnServer,
}

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, TS)]
#[serde(rename_all = "camelCase")]
#[ts(export)]
pub enum FindingLevel {
    /// As it should be; green.
    Good,
    /// It may get in the way; yellow.
    Notice,
    /// It does get in the way; red.
    Bad,
}

impl Finding {
    fn good(topic: Topic, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Finding {
            topic,
            level: FindingLevel::Good,
            title: title.into(),
            detail: detail.into(),
            remedy: None,
        }
    }

    fn notice(
        topic: Topic,
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            level: FindingLevel::Notice,
            remedy: Some(remedy.into()),
            ..Finding::good(topic, title, detail)
        }
    }

    fn bad(
        topic: Topic,
        title: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding {
            level: FindingLevel::Bad,
            ..Finding::notice(topic, title, detail, remedy)
        }
    }
}

/// Looks at everything that `config`, or the settings it points to, would use. Takes no
/// data folder away from a running Passalong.
pub async fn check(config: &Config) -> Checkup {
    let (kept, problem) = kept(config).await;
    let mut checkup = examine(config, kept).await;
    checkup.findings.extend(problem);
    checkup
}

/// What the check takes from the data folder.
#[derive(Default)]
pub(crate) struct Kept {
    settings: Settings,
    /// Nodes of the DHT that were known before.
    nodes: Vec<SocketAddrV4>,
}

impl Kept {
    /// What is kept in `store`, with the settings read already.
    pub(crate) fn of(config: &Config, store: &Store, settings: Settings) -> Kept {
        Kept {
            settings,
            nodes: dht::remembered(store, config.dht_bootstrap.as_deref()),
        }
    }
}

async fn kept(config: &Config) -> (Kept, Option<Finding>) {
    let config = config.clone();
    let read = tokio::task::spawn_blocking(move || -> Result<Kept, Problem> {
        if !config.data_dir.exists() {
            return Ok(Kept::default());
        }
        let (store, _) = Store::open(&config.data_dir)?;
        let settings = store.settings()?;
        Ok(Kept::of(&config, &store, settings))
    });
    match read.await {
        Ok(Ok(kept)) => (kept, None),
        Ok(Err(problem)) => {
            let title = "The settings could not be read; the usual ones were checked.";
            let finding = Finding::notice(Topic::Settings, title, problem.message, problem.remedy);
            (Kept::default(), Some(finding))
        }
        Err(_) => (Kept::default(), None),
    }
}

/// Looks at everything that an engine with this configuration and what is kept uses.
pub(crate) async fn examine(config: &Config, kept: Kept) -> Checkup {
    let Kept { settings, nodes } = kept;
    let bind = &config.bind;
    let stun = config.stun.as_ref().unwrap_or(&settings.stun);
    let turn = config.turn.as_ref().unwrap_or(&settings.turn);
    let ports = places::ports(bind);
    let (lan, dht, asked, relays, gateway) = tokio::join!(
        places::local_network(bind, config.lan.unwrap_or(settings.lan)),
        meeting(config, config.dht.unwrap_or(settings.dht), nodes),
        stun::ask_all(bind, stun),
        places::relays(bind, turn),
        gateway(bind, config.port_mapping.unwrap_or(settings.port_mapping)),
    );
    let own = local_addresses(bind);
    let mapping = nat::mapping(&asked, &own);
    let ipv6 = nat::ipv6(&asked, &own);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let named: Vec<(&str, IpAddr)> = interfaces
        .iter()
        .map(|interface| (interface.name.as_str(), interface.ip()))
        .collect();
    let vpn = places::vpn(&named);
    let (level, summary, cause) = verdict::verdict(&verdict::Facts {
        ports: ports.level,
        mapping,
        ipv6,
        relay: relays.iter().any(|relay| relay.level == FindingLevel::Good),
        lan: lan.level,
        dht: dht.level,
        vpn: vpn.is_some(),
    });
    let mut findings = vec![ports, words::internet(mapping)];
    if mapping != nat::Mapping::NotAsked {
        findings.push(words::ipv6(ipv6));
    }
    if mapping != nat::Mapping::Unchanged {
        findings.extend(gateway.as_ref().and_then(words::gateway));
    }
    findings.extend([lan, dht]);
    findings.extend(vpn);
    findings.extend(words::servers(&asked));
    findings.extend(relays);
    Checkup {
        level,
        summary,
        cause,
        findings,
    }
}

/// Enters the DHT, if it is to be used.
async fn meeting(config: &Config, wanted: bool, nodes: Vec<SocketAddrV4>) -> Finding {
    if !wanted {
        return words::dht(None);
    }
    let bootstrap = config.dht_bootstrap.clone();
    words::dht(Some(dht::probe(&config.bind, bootstrap, nodes).await))
}

/// Asks the router what it offers, if it is to be asked for anything.
async fn gateway(bind: &[IpAddr], wanted: bool) -> Option<Gateway> {
    match wanted {
        true => Some(portmap::probe(bind).await),
        false => None,
    }
}
