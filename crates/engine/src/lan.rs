//! The local network: shares announced and found by mDNS (RFC 6762, RFC 6763).
//!
//! An announcement is a hash of the invite and a port. No name, file or device
//! can be read from it; two announcements of one invite can be told to belong
//! together.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::watch;

const SERVICE: &str = "_passalong._udp.local.";
/// Addresses remembered for one invite.
const MAX_FOUND: usize = 16;

type Found = HashMap<String, HashSet<SocketAddr>>;

/// Announces and finds on the local network.
pub(crate) struct Lan {
    daemon: ServiceDaemon,
    announced: Mutex<HashMap<String, String>>,
    found: watch::Receiver<Found>,
    bind: Vec<IpAddr>,
}

impl Lan {
    /// Starts listening. `None` where multicast is not to be had.
    pub(crate) fn start(bind: &[IpAddr]) -> Option<Arc<Lan>> {
        let daemon = ServiceDaemon::new().ok()?;
        if !bind.is_empty() {
            daemon.disable_interface(IfKind::All).ok()?;
            for ip in bind {
                let kind = match ip {
                    IpAddr::V4(v4) if v4.is_loopback() => IfKind::LoopbackV4,
                    IpAddr::V6(v6) if v6.is_loopback() => IfKind::LoopbackV6,
                    _ => IfKind::Addr(*ip),
                };
                daemon.enable_interface(kind).ok()?;
            }
        }
        let events = daemon.browse(SERVICE).ok()?;
        let (sender, found) = watch::channel(Found::new());
        tokio::spawn(async move {
            while let Ok(event) = events.recv_async().await {
                if sender.is_closed() {
                    return;
                }
                if let ServiceEvent::ServiceResolved(service) = event {
                    let Some(tag) = tag_of(&service.fullname) else {
                        continue;
                    };
                    let addresses = service.addresses.iter().map(|a| a.to_ip_addr());
                    let addresses: Vec<SocketAddr> = addresses
                        .map(|ip| SocketAddr::new(ip, service.port))
                        .collect();
                    sender.send_modify(|found| {
                        let known = found.entry(tag.to_owned()).or_default();
                        for address in addresses {
                            if known.len() < MAX_FOUND {
                                known.insert(address);
                            }
                        }
                    });
                }
            }
        });
        Some(Arc::new(Lan {
            daemon,
            announced: Mutex::default(),
            found,
            bind: bind.to_vec(),
        }))
    }

    /// Announces that knocks for `tag` are answered on `port`.
    pub(crate) fn announce(&self, tag: &str, port: u16) {
        let random: [u8; 4] = crate::random();
        // Several devices may answer for one invite, so each has its own name.
        let instance = format!("{tag}-{:08x}", u32::from_le_bytes(random));
        let host = format!("{instance}.local.");
        let properties: &[(&str, &str)] = &[];
        let info = ServiceInfo::new(
            SERVICE,
            &instance,
            &host,
            self.bind.as_slice(),
            port,
            properties,
        );
        let Ok(info) = info else { return };
        let info = if self.bind.is_empty() {
            info.enable_addr_auto()
        } else {
            info
        };
        let name = info.get_fullname().to_owned();
        if self.daemon.register(info).is_ok() {
            lock(&self.announced).insert(tag.to_owned(), name);
        }
    }

    /// Withdraws an announcement.
    pub(crate) fn withdraw(&self, tag: &str) {
        if let Some(name) = lock(&self.announced).remove(tag) {
            // The answer only says whether a goodbye went out.
            let _ = self.daemon.unregister(&name);
        }
    }

    /// Addresses found, as they become known.
    pub(crate) fn found(&self) -> LanWatch {
        LanWatch {
            found: self.found.clone(),
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

/// Watches what the local network offers.
#[derive(Clone)]
pub(crate) struct LanWatch {
    found: watch::Receiver<Found>,
}

impl LanWatch {
    /// Where `tag` is answered, as far as known.
    pub(crate) fn addresses(&mut self, tag: &str) -> Vec<SocketAddr> {
        let found = self.found.borrow_and_update();
        found
            .get(tag)
            .map(|known| known.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Waits until more is known; never ends if nothing more can be.
    pub(crate) async fn changed(&mut self) {
        if self.found.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn tag_of(fullname: &str) -> Option<&str> {
    let (tag, _) = fullname.strip_suffix(SERVICE)?.split_once('-')?;
    let fits = tag.len() == 20 && tag.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then_some(tag)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
