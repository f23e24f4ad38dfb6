//! The router's own way of opening a port: UPnP IGD, PCP (RFC 6887) and NAT-PMP
//! (RFC 6886).
//!
//! The only module that knows `portmapper`. It keeps the device's one UDP port open at the
//! gateway ([`OpenPort`]), and finds out what the gateway speaks without opening anything
//! ([`probe`]). A gateway is a stranger, too: one that answers nonsense or never counts as
//! one that offers nothing, after [`PATIENCE`] at the latest.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use portmapper::{Client, Config, ProbeError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// When a gateway is taken for silent.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a gateway may take to open a port before nobody waits for it.
const OPENING: Duration = Duration::from_secs(2);
/// How long a gateway may take to close a port.
const CLOSING: Duration = Duration::from_secs(2);

/// A UDP port of this computer, asked for at the gateway and kept open for as long as
/// this lives.
pub(crate) struct OpenPort {
    client: Client,
    outside: watch::Receiver<Option<SocketAddrV4>>,
    asking: JoinHandle<()>,
    /// Whether the gateway has had its time to answer.
    answered: watch::Receiver<bool>,
    again: Arc<Notify>,
}

impl OpenPort {
    /// Asks for `port` in the background, and again before the gateway forgets it.
    /// `None` where no router can be on the way: an engine that is bound to nothing but
    /// this computer, or to IPv6.
    pub(crate) fn ask(bind: &[IpAddr], port: u16) -> Option<OpenPort> {
        let port = NonZeroU16::new(port).filter(|_| may_have_gateway(bind))?;
        let client = Client::new(Config::default());
        let again = Arc::new(Notify::new());
        let (answer, answered) = watch::channel(false);
        Some(OpenPort {
            outside: client.watch_external_address(),
            asking: tokio::spawn(keep_open(client.clone(), port, Arc::clone(&again), answer)),
            answered,
            again,
            client,
        })
    }

    /// Asks again: the network is another one.
    pub(crate) fn again(&self) {
        self.again.notify_one();
    }

    /// Turns true once the gateway has opened the port, or has had its time to.
    pub(crate) fn answered(&self) -> watch::Receiver<bool> {
        self.answered.clone()
    }

    /// Where the gateway says that the port is reached from outside.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let outside = *self.outside.borrow();
        outside.filter(is_credible).map(SocketAddr::V4)
    }
}

impl Drop for OpenPort {
    /// The gateway is told to close the port, where the program goes on for that long;
    /// else it forgets it by itself.
    fn drop(&mut self) {
        self.asking.abort();
        let (client, mut outside) = (self.client.clone(), self.outside.clone());
        client.deactivate();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let closed = outside.wait_for(Option::is_none);
                // A gateway that does not answer closes it in its own time.
                let _ = tokio::time::timeout(CLOSING, closed).await;
                drop(client);
            });
        }
    }
}

/// Asks for a port now and whenever it is to be asked again. What the gateway speaks is
/// found out first: not knowing it, the library tries UPnP alone.
async fn keep_open(
    client: Client,
    port: NonZeroU16,
    again: Arc<Notify>,
    answer: watch::Sender<bool>,
) {
    let mut outside = client.watch_external_address();
    loop {
        // What it has not said by then it does not speak.
        let found = judged(async { client.probe().await.ok() }).await;
        client.update_local_port(port);
        client.procure_mapping();
        if let Gateway::Offers(_) = found {
            let opened = outside.wait_for(Option::is_some);
            // It may yet open it later.
            let _ = tokio::time::timeout(OPENING, opened).await;
        }
        answer.send_replace(true);
        again.notified().await;
    }
}

/// Whether a router for IPv4 can be on the way from what an engine with `bind` uses.
pub(crate) fn may_have_gateway(bind: &[IpAddr]) -> bool {
    let leads_out = |ip: &IpAddr| ip.is_ipv4() && !ip.is_loopback();
    bind.is_empty() || bind.iter().any(leads_out)
}

/// Whether an address can be one that others reach.
fn is_credible(address: &SocketAddrV4) -> bool {
    let ip = address.ip();
    let nobodys = ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_broadcast()
        || ip.is_link_local();
    !nobodys && address.port() != 0
}

/// What the gateway offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gateway {
    /// It speaks these, by name.
    Offers(Vec<&'static str>),
    /// It speaks none of them.
    OffersNothing,
    /// There is none, or only one for IPv6, which needs no mapping.
    Absent,
}

/// Asks the gateway of this computer's IPv4 network, and by multicast (SSDP) whoever
/// else may be one, what they offer; nobody where there cannot be one.
pub(crate) async fn probe(bind: &[IpAddr]) -> Gateway {
    if !may_have_gateway(bind) {
        return Gateway::Absent;
    }
    let client = Client::new(Config::default());
    judged(async { client.probe().await.ok() }).await
}

/// What came of a probe, however long it would take.
async fn judged(
    probe: impl Future<Output = Option<Result<portmapper::ProbeOutput, ProbeError>>>,
) -> Gateway {
    match tokio::time::timeout(PATIENCE, probe).await {
        Ok(Some(Ok(found))) => {
            let all = [
                (found.upnp, "UPnP"),
                (found.pcp, "PCP"),
                (found.nat_pmp, "NAT-PMP"),
            ];
            let offers: Vec<_> = all.iter().filter(|(is, _)| *is).map(|(_, n)| *n).collect();
            match offers.is_empty() {
                true => Gateway::OffersNothing,
                false => Gateway::Offers(offers),
            }
        }
        Ok(Some(Err(ProbeError::NoGateway { .. } | ProbeError::Ipv6Gateway { .. }))) => {
            Gateway::Absent
        }
        Ok(Some(Err(_)) | None) | Err(_) => Gateway::OffersNothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portmapper::ProbeOutput;

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_never_answers_offers_nothing_after_a_few_seconds() {
        let begun = tokio::time::Instant::now();
        assert_eq!(judged(std::future::pending()).await, Gateway::OffersNothing);
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[test]
    fn an_address_that_nobody_can_have_is_not_believed() {
        let credible = |text: &str| is_credible(&text.parse().expect("an address"));
        assert!(credible("203.0.113.5:4000"));
        assert!(credible("10.64.0.2:4000"), "behind a second router");
        for nonsense in [
            "0.0.0.0:4000",
            "127.0.0.1:4000",
            "224.0.0.1:4000",
            "255.255.255.255:4000",
            "169.254.1.1:4000",
            "203.0.113.5:0",
        ] {
            assert!(!credible(nonsense), "{nonsense}");
        }
    }

    #[tokio::test]
    async fn nothing_is_asked_for_where_no_router_is_on_the_way() {
        let bound = |ip: &str| OpenPort::ask(&[ip.parse().expect("an address")], 4000);
        assert!(bound("127.0.0.1").is_none());
        assert!(bound("::1").is_none());
        assert!(OpenPort::ask(&[], 0).is_none());
    }

    #[tokio::test]
    async fn what_is_offered_is_named() {
        let found = |upnp, pcp, nat_pmp| {
            let found = ProbeOutput { upnp, pcp, nat_pmp };
            judged(std::future::ready(Some(Ok(found))))
        };
        assert_eq!(
            found(true, false, true).await,
            Gateway::Offers(vec!["UPnP", "NAT-PMP"])
        );
        assert_eq!(found(false, false, false).await, Gateway::OffersNothing);
        assert_eq!(
            judged(std::future::ready(None)).await,
            Gateway::OffersNothing
        );
    }
}
