//! The keys of identity providers, fetched and handed to `access`; and what
//! was revoked, kept for it over a restart.
//!
//! Each key set is kept by one future, which alone fetches it: before it
//! ages out, and when somebody shows a token with a key id that is not in it.
//! All that wait for a fetch wait for the same one, and fetches that strangers
//! can cause are apart by [`Settings::asked_pause`]. While the provider cannot
//! be reached the old keys stay, for [`Settings::stale_max`]; where there never
//! were any, nothing is taken.
//!
//! Invariant: what a token may do is decided in `access` alone; here are
//! addresses and times.

mod fetch;
mod revocations;

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use hookrill_core::Swap;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::spawn_blocking,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, IssuerId, IssuerKeys},
    telemetry::Telemetry,
};
use fetch::{Fetched, fetch};
pub use revocations::{OpenError, Revocations, RevokeError};

/// The most requests that wait for one key set at a time.
const WAITERS_MAX: usize = 1_024;

/// How long keys are good, and how often they are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a set is good whose answer does not say.
    pub age: Duration,
    /// The bounds of what an answer may say (`Cache-Control: max-age`).
    pub age_min: Duration,
    /// The longest that a set is good.
    pub age_max: Duration,
    /// How long after a fetch an unknown key id causes no other.
    pub asked_pause: Duration,
    /// The wait after a fetch that failed; doubles up to `age`.
    pub retry: Duration,
    /// How long keys are used that could not be fetched anew.
    pub stale_max: Duration,
    /// How long a fetch may take in all.
    pub fetch_time_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            age: Duration::from_secs(60 * 60),
            age_min: Duration::from_secs(60),
            age_max: Duration::from_secs(24 * 60 * 60),
            asked_pause: Duration::from_secs(10),
            retry: Duration::from_secs(5),
            stale_max: Duration::from_secs(24 * 60 * 60),
            fetch_time_max: Duration::from_secs(5),
        }
    }
}

/// The key sets of all issuers that have one.
pub struct KeySets {
    access: Arc<Access>,
    sets: Swap<Box<[Arc<KeySet>]>>,
    /// Other sets are to be kept.
    changed: Notify,
    /// A key was dropped.
    dropped: Notify,
    settings: Settings,
    telemetry: Arc<Telemetry>,
}

/// One issuer's.
struct KeySet {
    issuer: IssuerId,
    url: Arc<str>,
    asked: Notify,
    /// When the newest fetch ended, in whatever way.
    fetched: watch::Sender<Option<Instant>>,
    waiters: Semaphore,
    /// Nobody asks for it any more.
    over: CancellationToken,
}

/// How a set has fared.
#[derive(Default)]
struct Record {
    failures: u32,
    /// While the newest fetch failed.
    stale: Option<Stale>,
    /// When the keys in use came.
    had_at: Option<Instant>,
}

/// Counts a set among the stale ones, until it is dropped: also with a set
/// that is not kept any more.
struct Stale(Arc<Telemetry>);

impl Stale {
    fn mark(telemetry: &Arc<Telemetry>) -> Self {
        telemetry.key_sets_stale.increment(1.0);
        Self(Arc::clone(telemetry))
    }
}

impl Drop for Stale {
    fn drop(&mut self) {
        self.0.key_sets_stale.decrement(1.0);
    }
}

impl KeySet {
    fn new(issuer: IssuerId, url: &str) -> Arc<Self> {
        Arc::new(Self {
            issuer,
            url: url.into(),
            asked: Notify::new(),
            fetched: watch::Sender::new(None),
            waiters: Semaphore::new(WAITERS_MAX),
            over: CancellationToken::new(),
        })
    }
}

impl KeySets {
    /// The sets that `access` wants; nothing is fetched yet.
    #[must_use]
    pub fn new(access: Arc<Access>, settings: Settings, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let sets = access.jwks_urls();
        let sets = sets.iter().map(|(issuer, url)| KeySet::new(*issuer, url));
        Arc::new(Self {
            sets: Swap::new(sets.collect()),
            changed: Notify::new(),
            dropped: Notify::new(),
            access,
            settings,
            telemetry,
        })
    }

    /// Follows `access` after a reload: sets that it still wants go on as they
    /// are, others end, new ones begin.
    pub fn follow(&self) {
        let before = self.sets.load();
        let set = |(issuer, url): (IssuerId, Box<str>)| {
            let known = before.iter().find(|set| set.issuer == issuer);
            known.map_or_else(|| KeySet::new(issuer, &url), Arc::clone)
        };
        let sets: Box<[_]> = self.access.jwks_urls().into_iter().map(set).collect();
        let wanted = |set: &Arc<KeySet>| sets.iter().any(|other| Arc::ptr_eq(set, other));
        for set in before.iter().filter(|set| !wanted(set)) {
            set.over.cancel();
        }
        self.sets.store(sets);
        self.changed.notify_one();
    }

    /// Keeps every set fresh; to be dropped at shutdown.
    pub async fn keep(&self) {
        let (mut keeping, mut kept) = (FuturesUnordered::new(), HashSet::new());
        loop {
            let sets = self.sets.load();
            kept.retain(|issuer| sets.iter().any(|set| set.issuer == *issuer));
            // No issuer's id is given twice.
            for set in sets.iter().filter(|set| kept.insert(set.issuer)) {
                keeping.push(self.keep_while_wanted(Arc::clone(set)));
            }
            tokio::select! {
                () = self.changed.notified() => {}
                // It was not wanted any more.
                Some(()) = keeping.next() => {}
            }
        }
    }

    /// Completes when a key that was in use has been dropped, and streams of
    /// tokens that it signed are to end.
    pub async fn dropped_a_key(&self) {
        self.dropped.notified().await;
    }

    async fn keep_while_wanted(&self, set: Arc<KeySet>) {
        set.over.run_until_cancelled(self.keep_one(&set)).await;
    }

    /// Asks for an issuer's keys anew, for a token whose key is not known, and
    /// waits until they came. Whether to look at the token again.
    pub async fn refresh(&self, issuer: IssuerId) -> bool {
        let sets = self.sets.load();
        let Some(set) = sets.iter().find(|set| set.issuer == issuer) else {
            return false;
        };
        let Ok(_waiting) = set.waiters.try_acquire() else {
            return false;
        };
        let mut fetched = set.fetched.subscribe();
        if !self.may_ask(*fetched.borrow_and_update()) {
            return false;
        }
        set.asked.notify_one();
        // A fetch that was under way may take as long as one that is not.
        let patience = self.settings.fetch_time_max * 2;
        matches!(timeout(patience, fetched.changed()).await, Ok(Ok(())))
    }

    fn may_ask(&self, last: Option<Instant>) -> bool {
        last.is_none_or(|last| last.elapsed() >= self.settings.asked_pause)
    }

    async fn keep_one(&self, set: &KeySet) {
        let mut record = Record::default();
        loop {
            let url = Arc::clone(&set.url);
            let settings = self.settings;
            let answer = spawn_blocking(move || fetch(&url, &settings)).await;
            let wait = match answer {
                Ok(Ok(fetched)) => self.take(set, fetched, &mut record),
                Ok(Err(error)) => self.do_without(set, &error.to_string(), &mut record),
                Err(error) => self.do_without(set, &error.to_string(), &mut record),
            };
            let ended = Instant::now();
            // Whoever asked during this fetch is answered by it.
            _ = set.asked.notified().now_or_never();
            set.fetched.send_replace(Some(ended));
            let due = sleep_until(ended + wait);
            tokio::pin!(due);
            loop {
                tokio::select! {
                    () = &mut due => break,
                    () = set.asked.notified() => if self.may_ask(Some(ended)) { break },
                }
            }
        }
    }

    /// Takes keys into use; says when to ask for them again.
    fn take(&self, set: &KeySet, fetched: Fetched, record: &mut Record) -> Duration {
        self.telemetry.key_fetches.increment(1);
        record.failures = 0;
        record.stale = None;
        record.had_at = Some(Instant::now());
        let (url, keys) = (&set.url, fetched.keys.count());
        match keys {
            0 => tracing::warn!(%url, "the key set has no key for RS256, ES256 or EdDSA"),
            _ => tracing::debug!(%url, keys, "a key set was fetched"),
        }
        self.hand_in(set, Some(fetched.keys));
        // Before it ages out, so that nobody has to wait.
        fetched.age.mul_f64(0.8)
    }

    fn hand_in(&self, set: &KeySet, keys: Option<IssuerKeys>) {
        if self.access.set_keys(set.issuer, keys) {
            self.dropped.notify_one();
        }
    }

    /// Goes on with the old keys, for a while; says when to try again.
    fn do_without(&self, set: &KeySet, error: &str, record: &mut Record) -> Duration {
        let url = &set.url;
        self.telemetry.key_fetches_failed.increment(1);
        let mark = || Stale::mark(&self.telemetry);
        record.stale.get_or_insert_with(mark);
        record.failures += 1;
        let stale_max = self.settings.stale_max;
        match record.had_at {
            Some(had_at) if had_at.elapsed() < stale_max => {
                tracing::warn!(%url, %error, "a key set cannot be fetched; the old keys stay");
            }
            Some(_) => {
                tracing::error!(%url, %error, "a key set is too old; its tokens are refused");
                self.hand_in(set, None);
                record.had_at = None;
            }
            None => tracing::error!(%url, %error, "no keys: the issuer's tokens are refused"),
        }
        let doubled = 2_u32.saturating_pow(record.failures - 1);
        let wait = self.settings.retry.saturating_mul(doubled);
        let left = record
            .had_at
            .map(|at| stale_max.saturating_sub(at.elapsed()));
        let wait = wait.min(self.settings.age);
        left.map_or(wait, |left| wait.min(left.max(self.settings.retry)))
    }
}

#[cfg(test)]
mod tests;
