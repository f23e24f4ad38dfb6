//! What every task of an engine shares: identity, settings, sockets, records.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use passalong_proto::keys::{DeviceId, DeviceKey};
use passalong_proto::knock::{Candidate, CandidateKind, DeviceName};
use tokio::sync::watch;

use crate::api::{DeviceView, Settings};
use crate::board::Board;
use crate::config::Config;
use crate::dht::Dht;
use crate::lan::Lan;
use crate::lane::Manner;
use crate::limits::Limits;
use crate::link::{self, IceServer, Lent, LinkSettings};
use crate::network::Network;
use crate::peer::Ways;
use crate::portmap::{self, OpenPort};
use crate::post::Post;
use crate::store::Store;
use crate::turns::Turns;

/// How long a connection waits for the names of STUN and TURN servers.
const SERVERS_KNOWN: Duration = Duration::from_secs(2);

/// Shared by the tasks of one engine.
pub(crate) struct Context {
    pub(crate) key: DeviceKey,
    pub(crate) board: Board,
    pub(crate) post: Post,
    pub(crate) store: Arc<Store>,
    pub(crate) config: Config,
    pub(crate) limits: Limits,
    pub(crate) turns: Turns,
    pub(crate) network: Network,
    name: RwLock<DeviceName>,
    settings: RwLock<Settings>,
    lan: RwLock<Option<Arc<Lan>>>,
    dht: watch::Sender<Option<Arc<Dht>>>,
    open_port: Arc<RwLock<Option<OpenPort>>>,
    /// `None` until the names of the servers were looked up.
    ice: watch::Sender<Option<Vec<IceServer>>>,
    manner: watch::Sender<Manner>,
    /// Bytes that were carried for others since the start.
    carried: AtomicU64,
}

impl Context {
    pub(crate) fn new(
        config: Config,
        store: Arc<Store>,
        post: Post,
        key: DeviceKey,
        name: DeviceName,
        settings: Settings,
    ) -> Self {
        Context {
            network: Network::start(&config.bind),
            key,
            board: Board::new(),
            post,
            store,
            config,
            limits: Limits::default(),
            turns: Turns::new(settings.upload_slots),
            name: RwLock::new(name),
            settings: RwLock::new(settings),
            lan: RwLock::new(None),
            dht: watch::channel(None).0,
            open_port: Arc::default(),
            ice: watch::channel(None).0,
            manner: watch::channel(Manner::Fast).0,
            carried: AtomicU64::new(0),
        }
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.key.public()
    }

    pub(crate) fn device_view(&self) -> DeviceView {
        DeviceView {
            id: self.device().short(),
            name: self.name().as_str().to_owned(),
        }
    }

    pub(crate) fn name(&self) -> DeviceName {
        self.name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_name(&self, name: DeviceName) {
        *self.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes new settings into use: servers are resolved in the background,
    /// the local network and the DHT are joined or left.
    pub(crate) fn set_settings(self: &Arc<Self>, settings: Settings) {
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
        self.apply_settings();
    }

    pub(crate) fn apply_settings(self: &Arc<Self>) {
        let settings = self.settings();
        self.limits.apply(&settings);
        self.turns.set_limit(settings.upload_slots);
        let manner = match settings.background {
            true => Manner::Polite,
            false => Manner::Fast,
        };
        self.manner
            .send_if_modified(|now| std::mem::replace(now, manner) != manner);
        let wanted = self.config.lan.unwrap_or(settings.lan);
        {
            let mut lan = self.lan.write().unwrap_or_else(PoisonError::into_inner);
            match (&*lan, wanted) {
                (None, true) => *lan = Lan::start(&self.config.bind),
                (Some(_), false) => *lan = None,
                _ => {}
            }
        }
        let wanted = self.config.dht.unwrap_or(settings.dht);
        self.dht.send_if_modified(|dht| {
            let before = dht.is_some();
            if !wanted {
                *dht = None;
            } else if !before {
                let bootstrap = self.config.dht_bootstrap.clone();
                *dht = Dht::new(&self.config.bind, bootstrap, Arc::clone(&self.store));
            }
            dht.is_some() != before
        });
        let wanted = self.config.port_mapping.unwrap_or(settings.port_mapping);
        {
            let mut open = self
                .open_port
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            match (&*open, wanted) {
                (None, true) => *open = OpenPort::ask(&self.config.bind, self.post.port()),
                (Some(_), false) => *open = None,
                _ => {}
            }
        }
        let context = Arc::clone(self);
        tokio::spawn(async move { context.resolve_servers().await });
    }

    /// Asks the router of another network to open the port of knocks, too.
    pub(crate) fn open_port_again(&self) {
        let open = self
            .open_port
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*open {
            open.again();
        }
    }

    /// Where this device can be knocked at, best first: what a link carries.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.post.addresses(outside(&self.open_port))
    }

    /// Waits until the router has answered whether it opens the port, or `limit` passed.
    pub(crate) async fn port_asked(&self, limit: Duration) {
        let answered = {
            let open = self
                .open_port
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            open.as_ref().map(OpenPort::answered)
        };
        if let Some(mut answered) = answered {
            // What is not known by then is left out.
            let _ = tokio::time::timeout(limit, answered.wait_for(|answered| *answered)).await;
        }
    }

    /// A place at the device's port for a connection that may need one: the port may be
    /// open to those whom sockets of its own do not hear. Relays need none of that.
    fn seat(&self, servers: &[IceServer]) -> Option<Arc<dyn Lent>> {
        let is_direct = !self.config.relay_only && !servers.iter().any(IceServer::relays);
        let leads_out = is_direct && portmap::may_have_gateway(&self.config.bind);
        let port = self.post.ipv4().filter(|_| leads_out)?;
        let open_port = Arc::clone(&self.open_port);
        let seat = port.seat(move || outside(&open_port).map(reflexive).into_iter().collect());
        Some(seat)
    }

    /// Looks the names of the servers up anew. Gives whether every one has an address,
    /// and whether any of them changed.
    pub(crate) async fn resolve_servers(&self) -> (bool, bool) {
        let settings = self.settings();
        let stun = self.config.stun.clone().unwrap_or(settings.stun);
        let turn = self.config.turn.clone().unwrap_or(settings.turn);
        let servers = crate::ice::resolve(&stun, &turn).await;
        let all = servers.len() == stun.len() + turn.len();
        let before = self.ice.send_replace(Some(servers.clone()));
        (all, before.is_some_and(|before| before != servers))
    }

    pub(crate) fn lan(&self) -> Option<Arc<Lan>> {
        self.lan
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn dht(&self) -> Option<Arc<Dht>> {
        self.dht.borrow().clone()
    }

    /// The same, and when it is switched on or off.
    pub(crate) fn dht_switch(&self) -> watch::Receiver<Option<Arc<Dht>>> {
        self.dht.subscribe()
    }

    /// How pieces may be sent on links.
    pub(crate) fn ways(&self) -> Ways {
        Ways {
            quic: self.config.quic,
            manner: self.manner.subscribe(),
        }
    }

    /// Whether datagrams are carried for others now.
    pub(crate) fn carries(&self) -> bool {
        let settings = self.settings.read();
        let settings = settings.unwrap_or_else(PoisonError::into_inner);
        self.config.carry.unwrap_or(settings.carry) && !settings.paused
    }

    /// Counts bytes that are carried for others.
    pub(crate) fn count_carried(&self, bytes: usize) {
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that were carried for others since the start.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    pub(crate) fn download_dir(&self) -> PathBuf {
        self.config
            .download_dir
            .clone()
            .or_else(|| self.settings().download_dir.map(PathBuf::from))
            .unwrap_or_else(Config::default_download_dir)
    }

    /// What a connection is built from now.
    pub(crate) async fn link_settings(
        &self,
        same_machine: bool,
        patience: Duration,
    ) -> LinkSettings {
        // A connection gathers once, so one that is built before the servers are known
        // has none for good. Within one computer none is needed.
        if !same_machine {
            let mut ice = self.ice.subscribe();
            let known = ice.wait_for(Option::is_some);
            let _ = tokio::time::timeout(SERVERS_KNOWN, known).await;
        }
        let addresses: Vec<IpAddr> = link::local_addresses(&self.config.bind);
        let ice_servers = self.ice.borrow().clone().unwrap_or_default();
        let seat = match same_machine {
            true => None,
            false => self.seat(&ice_servers),
        };
        LinkSettings {
            addresses,
            lent: seat.into_iter().collect(),
            ice_servers,
            relay_only: self.config.relay_only,
            same_machine,
            patience,
        }
    }
}

/// Where a router says that this device's port is reached from outside.
fn outside(open_port: &RwLock<Option<OpenPort>>) -> Option<SocketAddr> {
    let open = open_port.read().unwrap_or_else(PoisonError::into_inner);
    open.as_ref().and_then(OpenPort::address)
}

/// The candidate of an address that the router forwards: preferred less than what
/// sockets of a connection's own find out (RFC 8445 §5.1.2.1).
fn reflexive(address: SocketAddr) -> Candidate {
    Candidate {
        kind: CandidateKind::ServerReflexive,
        address,
        priority: (100 << 24) | 255,
    }
}
