//! Tokens that were taken back before they ended.
//!
//! Knows hashes of names and no names: neither memory nor a file says whose.
//! Refuses more than [`REVOCATIONS_MAX`] entries. Invariant: an entry is
//! forgotten only once every token that it speaks of has ended.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::event::Timestamp;

/// The most revocations that are remembered at a time.
pub const REVOCATIONS_MAX: usize = 10_000;

/// What a revocation speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Claimed {
    /// The one token with this `jti`.
    Jti,
    /// All tokens with this `sub`, of any issuer, that were issued by then.
    Sub,
}

/// The SHA-256 of a claim's value.
type Name = [u8; 32];

/// Whose a token is, as far as revocations ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holder {
    jti: Option<Name>,
    sub: Option<Name>,
    pub(super) issued_at: Option<Timestamp>,
}

impl Holder {
    pub(super) fn new(jti: Option<&str>, sub: Option<&str>, issued_at: Option<Timestamp>) -> Self {
        Self {
            jti: jti.map(name),
            sub: sub.map(name),
            issued_at,
        }
    }

    /// Whether a revocation can speak of it at all.
    pub(super) fn has_a_name(&self) -> bool {
        self.jti.is_some() || self.sub.is_some()
    }
}

/// A revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    claim: Claimed,
    /// The SHA-256 of the claim's value.
    name: Name,
    /// When it was made, in milliseconds since the Unix epoch.
    at_ms: u64,
    /// When all that it speaks of has ended; `None`: not known.
    until_ms: Option<u64>,
}

impl Revocation {
    /// Takes back what has this value of this claim.
    #[must_use]
    pub fn new(claim: Claimed, value: &str, now: Timestamp) -> Self {
        Self {
            claim,
            name: name(value),
            at_ms: now.unix_ms(),
            until_ms: None,
        }
    }

    /// Whether it speaks of this token. One that does not say when it was
    /// issued may have been issued before.
    #[must_use]
    pub fn takes_back(&self, holder: &Holder) -> bool {
        let before = |at: Timestamp| at.unix_ms() <= self.at_ms;
        match self.claim {
            Claimed::Jti => holder.jti == Some(self.name),
            Claimed::Sub => holder.sub == Some(self.name) && holder.issued_at.is_none_or(before),
        }
    }

    fn has_passed(&self, now: Timestamp) -> bool {
        self.until_ms.is_some_and(|until| now.unix_ms() > until)
    }
}

/// There are as many revocations as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{REVOCATIONS_MAX} revocations are remembered, and no more can be")]
pub struct RevocationsFull;

/// What was revoked.
#[derive(Default)]
pub(super) struct Revoked {
    entries: RwLock<HashMap<(Claimed, Name), Revocation>>,
    /// Spares the lock where nothing ever was.
    any: AtomicBool,
}

impl Revoked {
    /// Adds an entry that is remembered for so long, and gives all there are.
    pub(super) fn add(
        &self,
        mut entry: Revocation,
        remembered: Option<Duration>,
        now: Timestamp,
    ) -> Result<Vec<Revocation>, RevocationsFull> {
        entry.until_ms = remembered.map(|time| now.plus(time).unix_ms());
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| !entry.has_passed(now));
        let key = (entry.claim, entry.name);
        if entries.len() >= REVOCATIONS_MAX && !entries.contains_key(&key) {
            return Err(RevocationsFull);
        }
        entries.insert(key, entry);
        self.any.store(true, Ordering::Release);
        Ok(entries.values().copied().collect())
    }

    /// Takes over what was kept.
    pub(super) fn restore(&self, kept: Vec<Revocation>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.into_iter().take(REVOCATIONS_MAX);
        entries.extend(kept.map(|entry| ((entry.claim, entry.name), entry)));
        self.any.store(!entries.is_empty(), Ordering::Release);
    }

    /// Whether this token was taken back.
    pub(super) fn has(&self, holder: &Holder) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let names = [(Claimed::Jti, holder.jti), (Claimed::Sub, holder.sub)];
        names.into_iter().any(|(claim, name)| {
            let entry = name.and_then(|name| entries.get(&(claim, name)));
            entry.is_some_and(|entry| entry.takes_back(holder))
        })
    }
}

fn name(value: &str) -> Name {
    Sha256::digest(value).into()
}
