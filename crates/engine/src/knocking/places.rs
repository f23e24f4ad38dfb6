//! Where a search knocks beside the addresses in the invite: what the local
//! network and the DHT know, as it becomes known.

use std::net::SocketAddr;
use std::sync::Arc;

use passalong_proto::invite::InviteSecret;

use crate::context::Context;
use crate::dht::Seeking;
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
    near: Vec<SocketAddr>,
    in_dht: Vec<SocketAddr>,
    /// Addresses found in the DHT are knocked at.
    use_dht: bool,
}

impl Places {
    /// Everywhere that the settings allow.
    pub(super) fn of(context: &Arc<Context>, secret: InviteSecret) -> Places {
        Places {
            lan: context.lan().map(|lan| lan.found()),
            dht: Seeking::start(context, secret),
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
            near: Vec::new(),
            in_dht: Vec::new(),
            use_dht: false,
        }
    }

    /// Takes in what is known by now; says whether there is a new address.
    pub(super) fn look(&mut self) -> bool {
        let mut any = false;
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

    /// Waits until there may be something to look at.
    pub(super) async fn changed(&mut self) {
        let Places { lan, dht, .. } = self;
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
        tokio::select! {
            () = lan => {}
            () = dht => {}
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

    /// Looks in the DHT no longer.
    pub(super) fn leave_dht(&mut self) {
        self.dht = None;
        self.in_dht.clear();
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
