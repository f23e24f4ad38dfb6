//! The router's own way of opening a port: UPnP IGD, PCP (RFC 6887) and NAT-PMP
//! (RFC 6886).
//!
//! The only module that knows `portmapper`. It finds out which of them the gateway
//! speaks and opens nothing. A gateway is a stranger, too: one that answers nonsense or
//! never counts as one that offers nothing, after [`PATIENCE`] at the latest.

use std::time::Duration;

use portmapper::{Client, Config, ProbeError};

/// When a gateway is taken for silent.
const PATIENCE: Duration = Duration::from_secs(4);

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
/// else may be one, what they offer.
pub(crate) async fn probe() -> Gateway {
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
