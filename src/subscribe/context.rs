//! What all streams look at: the hub, history, access, heartbeats, and counters.
//!
//! Made once by [`Streams`](super::Streams) and shared by every stream; holds
//! none of them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hookrill_core::Clock;

use crate::{
    access::{Access, PolicyVersion},
    hub::Hub,
    telemetry::Telemetry,
};

use super::{
    Settings, heartbeats::Heartbeats, history::History, partial_events::PartialEvents,
    subscriber_counts::SubscriberCounts, token_sessions::TokenSessions, visits::Visits,
};

/// Over how much more than the usual wait a drain spreads its clients.
const DRAIN_SPREAD: Duration = Duration::from_secs(5);

pub(super) struct StreamContext {
    pub(super) hub: Arc<Hub>,
    pub(super) history: History,
    /// Asked whether a stream may go on after a reload.
    pub(super) access: Arc<Access>,
    pub(super) heartbeats: Heartbeats,
    pub(super) sessions: TokenSessions,
    pub(super) counts: SubscriberCounts,
    pub(super) visits: Visits,
    pub(super) partial_events: Arc<PartialEvents>,
    /// How often the hub's encoder was replaced.
    encoder_generation: AtomicU32,
    pub(super) settings: Settings,
    pub(super) telemetry: Arc<Telemetry>,
}

/// Changes when there is a reason to end some streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RevocationsSeen {
    sessions: u64,
    policy: PolicyVersion,
}

impl StreamContext {
    pub(super) fn new(
        hub: Arc<Hub>,
        history: History,
        access: Arc<Access>,
        settings: Settings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            hub,
            history,
            access,
            heartbeats: Heartbeats::new(),
            sessions: TokenSessions::default(),
            counts: SubscriberCounts::default(),
            visits: Visits::new(clock),
            partial_events: PartialEvents::new(
                settings.partial_events_bytes_max,
                Arc::clone(&telemetry),
            ),
            encoder_generation: AtomicU32::new(0),
            settings,
            telemetry,
        }
    }

    /// How often the encoder was replaced: what was encoded under another number
    /// must not go out any more.
    pub(super) fn encoder_generation(&self) -> u32 {
        self.encoder_generation.load(Ordering::Acquire)
    }

    /// The encoder was replaced.
    pub(super) fn next_encoder_generation(&self) {
        self.encoder_generation.fetch_add(1, Ordering::Release);
    }

    pub(super) fn revocations(&self) -> RevocationsSeen {
        RevocationsSeen {
            sessions: self.sessions.revocations(),
            policy: self.access.policy_version(),
        }
    }

    /// How long clients are to wait before they reconnect, as said in an opening.
    pub(super) fn retry(&self) -> Duration {
        jitter(self.settings.retry, self.settings.retry)
    }

    /// How long they are to wait when the gateway drains.
    pub(super) fn retry_after_drain(&self) -> Duration {
        jitter(self.settings.retry, DRAIN_SPREAD)
    }
}

/// At random from `least` to `least + spread`, in whole milliseconds.
pub(super) fn jitter(least: Duration, spread: Duration) -> Duration {
    let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
    least.saturating_add(Duration::from_millis(fastrand::u64(0..=spread_ms)))
}
