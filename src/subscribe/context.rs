//! What all streams look at: the hub, history, access, heartbeats, and counters.
//!
//! Made once by [`Streams`](super::Streams) and shared by every stream; holds
//! none of them.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use hookrill_core::Clock;
use tokio::time::Instant;

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
    /// From when the ages of streams are counted.
    begun: Instant,
    /// How often the hub's encoder was replaced.
    encoder_generation: AtomicU32,
    /// Tells its encoders from those of other processes.
    process: u64,
    pub(super) settings: Settings,
    pub(super) telemetry: Arc<Telemetry>,
}

/// How events are encoded: differs after each reload that changes what is shown, and
/// after each start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edition {
    /// Random.
    pub process: u64,
    /// How often the encoder was replaced.
    pub generation: u32,
}

/// When a stream is too old, in ticks since the context was made: every stream has one,
/// and an instant would take four times as much.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndOfAge(NonZeroU32);

impl EndOfAge {
    /// Thirteen years of them fit.
    const TICK: Duration = Duration::from_millis(100);
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
            begun: Instant::now(),
            encoder_generation: AtomicU32::new(0),
            process: fastrand::u64(..),
            settings,
            telemetry,
        }
    }

    /// How often the encoder was replaced: what was encoded under another number
    /// must not go out any more.
    pub(super) fn encoder_generation(&self) -> u32 {
        self.encoder_generation.load(Ordering::Acquire)
    }

    /// How events are encoded now.
    pub(super) fn edition(&self) -> Edition {
        Edition {
            process: self.process,
            generation: self.encoder_generation(),
        }
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

    /// When a stream that is opened at `now` is too old: streams that were opened
    /// together do not end together.
    pub(super) fn end_of_age(&self, now: Instant) -> Option<EndOfAge> {
        let age_max = self.settings.stream_age_max?;
        let age = jitter(age_max * 3 / 4, age_max / 4);
        let ticks = (now + age - self.begun).as_millis() / EndOfAge::TICK.as_millis();
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
        Some(EndOfAge(NonZeroU32::new(ticks).unwrap_or(NonZeroU32::MIN)))
    }

    pub(super) fn instant_of(&self, end: EndOfAge) -> Instant {
        self.begun + EndOfAge::TICK * end.0.get()
    }

    /// How long they are to wait when the gateway drains, or a stream is too old.
    pub(super) fn retry_after_drain(&self) -> Duration {
        jitter(self.settings.retry, DRAIN_SPREAD)
    }
}

/// At random from `least` to `least + spread`, in whole milliseconds.
pub(super) fn jitter(least: Duration, spread: Duration) -> Duration {
    let spread_ms = u64::try_from(spread.as_millis()).unwrap_or(u64::MAX);
    least.saturating_add(Duration::from_millis(fastrand::u64(0..=spread_ms)))
}
