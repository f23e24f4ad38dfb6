//! Where a search knocks beside the addresses in the invite: what the local
//! network and the DHT know, as it becomes known. The DHT is left, or joined, as soon
//! as it is switched off or on.

use std::net::SocketAddr;
use std::sync::Arc;

use passalong_proto::invite::InviteSecret;
use tokio::sync::watch;

use crate::context::Context;
use crate::dht::{Dht, Seeking};
use crate::lan::LanWatch;

/// Attempts at which addresses found in the DHT are knocked at, and how often
/// from then on: anybody with the invite can put addresses there.
const FOUND_FIRST: usize = 8;
const FOUND_EVERY: usize = 5;

/// See the module.
pub(super) struct Places {
    tag: String,
    lan: Option<LanWatch>,
    dht: Option<Seeking>,
    /// What begins another search in the DHT, where there is to be one.
    seeks: Option<Seeks>,
    near: Vec<SocketAddr>,
    in_dht: Vec<SocketAddr>,
    /// Addresses found in the DHT are knocked at.
    use_dht: bool,
}

/// What a search in the DHT is begun with when the DHT is switched on.
struct Seeks {
    context: Arc<Context>,
    secret: InviteSecret,
    switch: watch::Receiver<Option<Arc<Dht>>>,
}

impl Places {
    /// Everywhere that the settings allow.
    pub(super) fn of(context: &Arc<Context>, secret: InviteSecret) -> Places {
        let switch = context.dht_switch();
        Places {
            lan: context.lan().map(|lan| lan.found()),
            dht: Seeking::start(context, secret),
            seeks: Some(Seeks {
                context: Arc::clone(context),
                secret,
                switch,
            }),
            use_dht: context.config.dht_addresses,
            ..Places::none(secret)
        }
    }

    /// Nowhere else.
    pub(super) fn none(secret: InviteSecret) -> Places {
        Places {
            tag: secret.lan_tag(),
            lan: None,
            dht: None,
            seeks: None,
            near: Vec::new(),
            in_dht: Vec::new(),
            use_dht: false,
        }
    }

    /// Takes in what is known by now; says whether there is a new place to knock at.
    pub(super) fn look(&mut self) -> bool {
        let mut any = self.follow_switch();
        if let Some(lan) = &mut self.lan {
            for address in lan.addresses(&self.tag) {
                if !self.near.contains(&address) {
                    self.near.push(address);
                    any = true;
                }
            }
        }
        if let Some(dht) = &mut self.dht {
            let mut found = dht.found();
            if !self.use_dht {
                found.clear();
            }
            any |= found.iter().any(|each| !self.in_dht.contains(each));
            self.in_dht = found;
        }
        any
    }

    /// Searches in the DHT as long as it is switched on; says whether that begins now.
    fn follow_switch(&mut self) -> bool {
        let Some(seeks) = &mut self.seeks else {
            return false;
        };
        if !seeks.switch.has_changed().unwrap_or(false) {
            return false;
        }
        seeks.switch.mark_unchanged();
        self.dht = Seeking::start(&seeks.context, seeks.secret);
        self.in_dht.clear();
        self.dht.is_some()
    }

    /// Waits until there may be something to look at.
    pub(super) async fn changed(&mut self) {
        let Places {
            lan, dht, seeks, ..
        } = self;
        let lan = async {
            match lan {
                Some(lan) => lan.changed().await,
                None => std::future::pending().await,
            }
        };
        let dht = async {
            match dht {
                Some(dht) => dht.changed().await,
                None => std::future::pending().await,
            }
        };
        let switched = async {
            // A copy: what changed stays to be seen by `look`.
            let Some(mut switch) = seeks.as_ref().map(|seeks| seeks.switch.clone()) else {
                return std::future::pending().await;
            };
            if switch.changed().await.is_err() {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = lan => {}
            () = dht => {}
            () = switched => {}
        }
    }

    /// Where to knock at the `attempt`th attempt.
    pub(super) fn addresses(&self, attempt: usize) -> impl Iterator<Item = &SocketAddr> {
        let in_dht = match attempt <= FOUND_FIRST || attempt.is_multiple_of(FOUND_EVERY) {
            true => self.in_dht.as_slice(),
            false => &[],
        };
        self.near.iter().chain(in_dht)
    }

    /// Whether the local network is searched.
    pub(super) fn has_lan(&self) -> bool {
        self.lan.is_some()
    }

    /// Whether the DHT is searched, and can be reached as far as is known.
    pub(super) fn has_dht(&self) -> bool {
        self.dht.as_ref().is_some_and(Seeking::is_possible)
    }

    /// Where a knock can be left.
    pub(super) fn dht(&self) -> Option<&Seeking> {
        self.dht.as_ref()
    }
}
