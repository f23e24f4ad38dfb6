//! BBR that takes rare loss for what it mostly is: a bad road, not a full one.
//!
//! quinn's BBR leaves its start-up at the first loss that comes with a round of no
//! growth, and then needs ten seconds to find the bandwidth of a lossy road. Like
//! version 3 of BBR (draft-ietf-ccwg-bbr, `BBRLossThresh`), this one lets it hear of
//! loss only beyond [`TOLERATED`] of what is on its way. All else is quinn's.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{BbrConfig, Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::RttEstimator;

/// Of the bytes of one round, the share that may be lost: one in so many.
const TOLERATED: u64 = 50;

/// Makes tolerant controllers.
#[derive(Debug, Default)]
pub(super) struct TolerantConfig(Arc<BbrConfig>);

impl ControllerFactory for TolerantConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Tolerant {
            inner: Arc::clone(&self.0).build(now, current_mtu),
            acked: 0,
            lost: 0,
        })
    }
}

struct Tolerant {
    inner: Box<dyn Controller>,
    /// Bytes of this round, which lasts until a window of them was acknowledged.
    acked: u64,
    lost: u64,
}

impl Controller for Tolerant {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.acked += bytes;
        if self.acked >= self.inner.window() {
            self.acked = 0;
            self.lost = 0;
        }
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.lost += lost_bytes;
        if is_persistent_congestion || self.lost * TOLERATED > self.inner.window() {
            let lost = std::mem::take(&mut self.lost);
            self.inner
                .on_congestion_event(now, sent, is_persistent_congestion, lost);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Tolerant {
            inner: self.inner.clone_box(),
            acked: self.acked,
            lost: self.lost,
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
