//! One issuer's key set: who waits for it, and how its fetches have gone.
//!
//! Decides when to fetch again and how long old keys are used; fetches nothing
//! itself. Invariant: keys are used for at most [`Settings::stale_max`] after
//! they were fetched.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{access::IssuerId, telemetry::Telemetry};

/// The most requests that wait for one key set at a time.
const WAITERS_MAX: usize = 1_024;

/// How long keys are used, and how often they are fetched.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a set is fresh whose response does not say.
    pub age: Duration,
    /// The least that a response may say (`Cache-Control: max-age`).
    pub age_min: Duration,
    /// The most that a response may say.
    pub age_max: Duration,
    /// Within this time after a fetch, an unknown key id causes no other.
    pub refresh_pause: Duration,
    /// The wait after a failed fetch; doubles with each, up to `age`.
    pub retry: Duration,
    /// How long keys are used that could not be fetched again.
    pub stale_max: Duration,
    /// The longest that a fetch may take.
    pub fetch_time_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(60 * 60),
            age_min: Duration::from_secs(60),
            age_max: Duration::from_secs(24 * 60 * 60),
            refresh_pause: Duration::from_secs(10),
            retry: Duration::from_secs(5),
            stale_max: Duration::from_secs(24 * 60 * 60),
            fetch_time_max: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// Whether a request may cause a fetch.
    fn allows_refresh(&self, last_fetch: Option<Instant>) -> bool {
        last_fetch.is_none_or(|at| at.elapsed() >= self.refresh_pause)
    }
}

/// One issuer's key set.
pub(super) struct KeySet {
    pub(super) issuer: IssuerId,
    pub(super) url: Arc<str>,
    /// Somebody needs newer keys.
    refresh: Notify,
    /// When the newest fetch ended, successful or not.
    last_fetch: watch::Sender<Option<Instant>>,
    waiters: Semaphore,
    /// Cancelled once no issuer has this set.
    removed: CancellationToken,
}

impl KeySet {
    pub(super) fn new(issuer: IssuerId, url: &str) -> Arc<Self> {
        Arc::new(Self {
            issuer,
            url: url.into(),
            refresh: Notify::new(),
            last_fetch: watch::Sender::new(None),
            waiters: Semaphore::new(WAITERS_MAX),
            removed: CancellationToken::new(),
        })
    }

    /// Says that no issuer has this set any more.
    pub(super) fn remove(&self) {
        self.removed.cancel();
    }

    /// Runs this until the set is removed.
    pub(super) async fn while_in_use(&self, future: impl Future<Output = ()>) {
        self.removed.run_until_cancelled(future).await;
    }

    /// Causes a fetch, unless one was just made, and waits for it; returns
    /// whether there was one. All that wait at a time wait for the same one.
    pub(super) async fn refreshed(&self, settings: &Settings) -> bool {
        let Ok(_waiting) = self.waiters.try_acquire() else {
            return false;
        };
        let mut last_fetch = self.last_fetch.subscribe();
        if !settings.allows_refresh(*last_fetch.borrow_and_update()) {
            return false;
        }
        self.refresh.notify_one();
        // A fetch that is under way may take as long as the next one.
        let wait_max = settings.fetch_time_max * 2;
        matches!(timeout(wait_max, last_fetch.changed()).await, Ok(Ok(())))
    }

    /// Tells all that wait that a fetch has ended.
    pub(super) fn fetch_ended(&self, at: Instant) {
        // Whoever asked during this fetch has been answered by it.
        _ = self.refresh.notified().now_or_never();
        self.last_fetch.send_replace(Some(at));
    }

    /// Waits until the next fetch is due, or somebody needs newer keys.
    pub(super) async fn next_fetch(
        &self,
        last_fetch: Instant,
        wait: Duration,
        settings: &Settings,
    ) {
        let due = sleep_until(last_fetch + wait);
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = &mut due => return,
                () = self.refresh.notified() => if settings.allows_refresh(Some(last_fetch)) {
                    return;
                },
            }
        }
    }

    /// Waits until the next fetch has ended.
    #[cfg(test)]
    pub(super) async fn until_fetched(&self) {
        self.last_fetch.subscribe().changed().await.unwrap();
    }

    /// Waits until any fetch has ended.
    #[cfg(test)]
    pub(super) async fn until_first_fetched(&self) {
        let mut last_fetch = self.last_fetch.subscribe();
        last_fetch.wait_for(Option::is_some).await.unwrap();
    }
}

/// How the fetches of a set have gone.
#[derive(Default)]
pub(super) struct FetchHistory {
    /// Failed ones since the last success.
    failures: u32,
    /// While there are any.
    stale: Option<StaleMark>,
    /// When the keys in use were fetched; `None`: there are none.
    keys_from: Option<Instant>,
}

/// What is left of a set after a failed fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeysLeft {
    /// The old keys, still in use.
    Old,
    /// None, since the old keys have just become too old.
    Expired,
    /// None, since there never were any, or they were too old before.
    None,
}

impl FetchHistory {
    pub(super) fn succeeded(&mut self, now: Instant) {
        *self = Self {
            keys_from: Some(now),
            ..Self::default()
        };
    }

    /// What is left, and how long to wait before the next fetch.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        settings: &Settings,
        telemetry: &Arc<Telemetry>,
    ) -> (KeysLeft, Duration) {
        self.stale.get_or_insert_with(|| StaleMark::new(telemetry));
        self.failures = self.failures.saturating_add(1);
        let doubled = 2_u32.saturating_pow(self.failures - 1);
        let wait = settings.retry.saturating_mul(doubled).min(settings.age);
        let Some(from) = self.keys_from else {
            return (KeysLeft::None, wait);
        };
        let usable_for = settings.stale_max.saturating_sub(now - from);
        if usable_for.is_zero() {
            self.keys_from = None;
            return (KeysLeft::Expired, wait);
        }
        // The next fetch has to end the use of keys that are too old by then.
        (KeysLeft::Old, wait.min(usable_for.max(settings.retry)))
    }
}

/// Counts a set as stale until it is dropped, which happens also to a set that
/// is removed.
struct StaleMark(Arc<Telemetry>);

impl StaleMark {
    fn new(telemetry: &Arc<Telemetry>) -> Self {
        telemetry.key_sets_stale.increment(1.0);
        Self(Arc::clone(telemetry))
    }
}

impl Drop for StaleMark {
    fn drop(&mut self) {
        self.0.key_sets_stale.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_failures_the_wait_doubles_and_the_old_keys_expire_in_time() {
        let telemetry = Telemetry::new().unwrap();
        let secs = Duration::from_secs;
        let settings = Settings {
            age: secs(60),
            retry: secs(5),
            stale_max: secs(100),
            ..Settings::default()
        };
        let start = Instant::now();
        let mut history = FetchHistory::default();
        for (after, wait) in [(0, 5), (5, 10)] {
            let failed = history.failed(start + secs(after), &settings, &telemetry);
            assert_eq!(failed, (KeysLeft::None, secs(wait)));
        }
        history.succeeded(start);
        for (after, left, wait) in [
            (0, KeysLeft::Old, 5),
            (20, KeysLeft::Old, 10),
            (30, KeysLeft::Old, 20),
            (75, KeysLeft::Old, 25),
            (98, KeysLeft::Old, 5),
            (100, KeysLeft::Expired, 60),
            (200, KeysLeft::None, 60),
        ] {
            let failed = history.failed(start + secs(after), &settings, &telemetry);
            assert_eq!(failed, (left, secs(wait)), "{after}");
        }
    }
}
