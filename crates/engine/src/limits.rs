//! Limits on what this device sends and fetches, all shares together.
//!
//! Sending waits for each frame; fetching is limited by what is asked for, so
//! that control messages never wait behind file bytes.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::api::Settings;

/// Bytes drawn at a time; also the least that a limit lets through at once.
const STEP: u32 = 64 * 1024;
/// Most bytes that may go out at once after a pause, at least.
const BURST: u32 = 256 * 1024;
/// As a part of a second's bytes: what may be asked for is looked at ten times a
/// second, and what came in between must not be lost.
const BURSTS_A_SECOND: u32 = 8;
/// The greatest length of a piece: how far a budget may be overdrawn.
const PIECE: i64 = passalong_proto::tree::PIECE_LEN as i64;

type Limit = RwLock<Option<Arc<DefaultDirectRateLimiter>>>;

/// The limits in force.
#[derive(Default)]
pub(crate) struct Limits {
    up: Limit,
    down: Limit,
}

impl Limits {
    /// Takes the limits of these settings into force.
    pub(crate) fn apply(&self, settings: &Settings) {
        set(&self.up, settings.upload_limit);
        set(&self.down, settings.download_limit);
    }

    /// Waits until `bytes` may be sent.
    pub(crate) async fn send(&self, bytes: usize) {
        let Some(limit) = current(&self.up) else {
            return;
        };
        let mut left = u32::try_from(bytes).unwrap_or(u32::MAX);
        while let Some(some) = NonZeroU32::new(left.min(STEP)) {
            // A burst is never smaller than a step.
            let _ = limit.until_n_ready(some).await;
            left -= some.get();
        }
    }

    /// Adds what may be asked for by now to `budget`, until it is above 0: then a
    /// piece may be asked for, and what it has beyond the budget is paid for before
    /// the next.
    pub(crate) fn allow(&self, budget: &mut i64) {
        let (Some(limit), Some(step)) = (current(&self.down), NonZeroU32::new(STEP)) else {
            *budget = i64::MAX;
            return;
        };
        if *budget > PIECE {
            // A limit was set after there was none.
            *budget = -PIECE;
        }
        while *budget <= 0 && matches!(limit.check_n(step), Ok(Ok(()))) {
            *budget += i64::from(STEP);
        }
    }
}

fn set(limit: &Limit, bytes_a_second: Option<u64>) {
    let rate = bytes_a_second
        .map(|rate| u32::try_from(rate).unwrap_or(u32::MAX))
        .and_then(NonZeroU32::new);
    let made = rate.map(|rate| {
        let burst = (rate.get() / BURSTS_A_SECOND).max(BURST);
        let quota = Quota::per_second(rate);
        let quota = NonZeroU32::new(burst).map_or(quota, |burst| quota.allow_burst(burst));
        Arc::new(RateLimiter::direct(quota))
    });
    *limit.write().unwrap_or_else(PoisonError::into_inner) = made;
}

fn current(limit: &Limit) -> Option<Arc<DefaultDirectRateLimiter>> {
    limit.read().unwrap_or_else(PoisonError::into_inner).clone()
}
