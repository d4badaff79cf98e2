//! The keys of identity providers, fetched for `access`; and revocations, stored
//! so that they outlive a restart.
//!
//! Each key set has one future, which alone fetches it: before it ages out, and
//! when a token names a key id that is not in it. All that wait for a fetch wait
//! for the same one, and strangers can cause one only every
//! [`Settings::refresh_pause`]. While the provider cannot be reached the old keys
//! stay in use, for [`Settings::stale_max`]; where there never were any, the
//! issuer's tokens are refused.
//!
//! Invariant: what a token may do is decided in `access` alone; here are URLs and
//! times.

mod fetch;
mod key_set;
mod revocations;

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hookrill_core::Swap;
use tokio::{sync::Notify, time::Instant};

use crate::{
    access::{Access, IssuerId, IssuerKeys},
    telemetry::{Telemetry, with_causes},
};
use fetch::{FetchError, Fetched, fetch};
pub use key_set::Settings;
use key_set::{FetchHistory, KeySet, KeysLeft};
pub use revocations::{OpenError, Revocations, RevokeError};

/// The key sets of all issuers that have one.
pub struct KeySets {
    access: Arc<Access>,
    sets: Swap<Box<[Arc<KeySet>]>>,
    /// `sets` was replaced.
    changed: Notify,
    /// A key was dropped that had been in use.
    key_dropped: Notify,
    settings: Settings,
    telemetry: Arc<Telemetry>,
}

impl KeySets {
    /// The sets that `access` needs; nothing is fetched yet.
    #[must_use]
    pub fn new(access: Arc<Access>, settings: Settings, telemetry: Arc<Telemetry>) -> Arc<Self> {
        let urls = access.jwks_urls();
        let sets = urls.iter().map(|(issuer, url)| KeySet::new(*issuer, url));
        Arc::new(Self {
            sets: Swap::new(sets.collect()),
            changed: Notify::new(),
            key_dropped: Notify::new(),
            access,
            settings,
            telemetry,
        })
    }

    /// To be called after `access` was reloaded: sets that it still needs stay as
    /// they are, others are removed, new ones added.
    pub fn reload(&self) {
        let before = self.sets.load();
        let mut sets = Vec::new();
        for (issuer, url) in self.access.jwks_urls() {
            let known = before.iter().find(|set| set.issuer == issuer);
            sets.push(known.map_or_else(|| KeySet::new(issuer, &url), Arc::clone));
        }
        for old in before.iter() {
            let is_kept = sets.iter().any(|set| Arc::ptr_eq(set, old));
            if !is_kept {
                old.remove();
            }
        }
        self.sets.store(sets.into());
        self.changed.notify_one();
    }

    /// Keeps every set fresh; to be dropped at shutdown.
    pub async fn run(&self) {
        let (mut running, mut started) = (FuturesUnordered::new(), HashSet::new());
        loop {
            let sets = self.sets.load();
            started.retain(|issuer| sets.iter().any(|set| set.issuer == *issuer));
            // One future each: no issuer's id is given out twice.
            for set in sets.iter().filter(|set| started.insert(set.issuer)) {
                running.push(self.keep_fresh(Arc::clone(set)));
            }
            debug_assert_eq!(started.len(), sets.len());
            tokio::select! {
                () = self.changed.notified() => {}
                // A set was removed.
                Some(()) = running.next() => {}
            }
        }
    }

    /// Completes when a key that was in use has been dropped, so that streams of
    /// tokens that it signed have to end.
    pub async fn key_dropped(&self) {
        self.key_dropped.notified().await;
    }

    /// Fetches an issuer's keys for a token whose key is not known, and waits for
    /// them; returns whether to verify the token again.
    pub async fn refresh(&self, issuer: IssuerId) -> bool {
        let sets = self.sets.load();
        match sets.iter().find(|set| set.issuer == issuer) {
            Some(set) => set.refreshed(&self.settings).await,
            None => false,
        }
    }

    async fn keep_fresh(&self, set: Arc<KeySet>) {
        set.while_in_use(self.fetch_repeatedly(&set)).await;
    }

    async fn fetch_repeatedly(&self, set: &KeySet) {
        let mut history = FetchHistory::default();
        loop {
            let fetched = fetch(&set.url, &self.settings).await;
            let ended = Instant::now();
            let wait = match fetched {
                Ok(fetched) => self.succeeded(set, fetched, &mut history, ended),
                Err(error) => self.failed(set, &error, &mut history, ended),
            };
            set.fetch_ended(ended);
            set.next_fetch(ended, wait, &self.settings).await;
        }
    }

    /// Puts fetched keys into use; returns when to fetch again.
    fn succeeded(
        &self,
        set: &KeySet,
        fetched: Fetched,
        history: &mut FetchHistory,
        now: Instant,
    ) -> Duration {
        self.telemetry.key_fetches.increment(1);
        history.succeeded(now);
        let (url, keys) = (&set.url, fetched.keys.count());
        if keys == 0 {
            tracing::warn!(%url, "the key set has no key for RS256, ES256 or EdDSA");
        } else {
            tracing::debug!(%url, keys, "key set fetched");
        }
        self.set_keys(set, Some(fetched.keys));
        // Before it ages out, so that nobody has to wait.
        fetched.age.mul_f64(0.8)
    }

    /// Continues with the old keys, for a while; returns when to try again.
    fn failed(
        &self,
        set: &KeySet,
        error: &FetchError,
        history: &mut FetchHistory,
        now: Instant,
    ) -> Duration {
        let url = &set.url;
        self.telemetry.key_fetches_failed.increment(1);
        let (left, wait) = history.failed(now, &self.settings, &self.telemetry);
        let error = with_causes(error);
        match left {
            KeysLeft::Old => {
                tracing::warn!(%url, %error, "key set not fetched; its old keys stay in use");
            }
            KeysLeft::Expired => {
                tracing::error!(%url, %error, "key set too old; its issuer's tokens are refused");
                self.set_keys(set, None);
            }
            KeysLeft::None => {
                tracing::error!(%url, %error, "key set not fetched; its issuer's tokens are refused");
            }
        }
        wait
    }

    fn set_keys(&self, set: &KeySet, keys: Option<IssuerKeys>) {
        if self.access.set_keys(set.issuer, keys) {
            self.key_dropped.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
