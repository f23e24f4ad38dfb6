//! [`passalong_proto::congestion`] as a controller of quinn's.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passalong_proto::congestion::Congestion;
use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

/// Makes controllers that follow the bandwidth.
#[derive(Debug)]
pub(super) struct Bandwidth;

impl ControllerFactory for Bandwidth {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let congestion = Congestion::new(u64::from(current_mtu));
        Box::new(Control {
            started: now,
            initial_window: congestion.window(),
            congestion,
        })
    }
}

#[derive(Clone, Debug)]
struct Control {
    started: Instant,
    initial_window: u64,
    congestion: Congestion,
}

impl Control {
    fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.started)
    }
}

impl Controller for Control {
    fn on_sent(&mut self, _now: Instant, _bytes: u64, last_packet_number: u64) {
        self.congestion.sent(last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        let (sent, now) = (self.time(sent), self.time(now));
        self.congestion.acked(sent, bytes, app_limited, now);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        _app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        if let Some(largest) = largest_packet_num_acked {
            let now = self.time(now);
            self.congestion.acks_end(largest, in_flight, now);
        }
    }

    fn on_congestion_event(
        &mut self,
        _now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.congestion.lost(lost_bytes);
        if is_persistent_congestion {
            self.congestion.collapsed();
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.congestion.set_mtu(u64::from(new_mtu));
    }

    fn window(&self) -> u64 {
        self.congestion.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.initial_window
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
