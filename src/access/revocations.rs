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

use hookrill_core::Timestamp;

/// The most revocations that are remembered at a time.
pub const REVOCATIONS_MAX: usize = 10_000;

/// What a revocation speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevokedClaim {
    /// The one token with this `jti`.
    Jti,
    /// All tokens with this `sub`, of any issuer, that were issued by then.
    Sub,
}

/// The SHA-256 of a claim's value.
type Name = [u8; 32];

/// Whose a token is, as far as revocations ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenIdentity {
    jti: Option<Name>,
    sub: Option<Name>,
    pub(super) issued_at: Option<Timestamp>,
}

impl TokenIdentity {
    pub(super) fn new(jti: Option<&str>, sub: Option<&str>, issued_at: Option<Timestamp>) -> Self {
        Self {
            jti: jti.map(name),
            sub: sub.map(name),
            issued_at,
        }
    }

    /// Whether a revocation can speak of it at all.
    pub(super) fn is_revocable(&self) -> bool {
        self.jti.is_some() || self.sub.is_some()
    }
}

/// A revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    claim: RevokedClaim,
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
    pub fn new(claim: RevokedClaim, value: &str, now: Timestamp) -> Self {
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
    pub fn applies_to(&self, identity: &TokenIdentity) -> bool {
        let before = |at: Timestamp| at.unix_ms() <= self.at_ms;
        match self.claim {
            RevokedClaim::Jti => identity.jti == Some(self.name),
            RevokedClaim::Sub => {
                identity.sub == Some(self.name) && identity.issued_at.is_none_or(before)
            }
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
pub(super) struct RevocationList {
    entries: RwLock<HashMap<(RevokedClaim, Name), Revocation>>,
    /// Spares the lock where nothing ever was.
    any: AtomicBool,
}

impl RevocationList {
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

    /// Remembers each for at least so long from when it was made: what is
    /// refused today because it lives too long may be taken tomorrow.
    pub(super) fn extend_expiry(&self, remembered: Option<Duration>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for entry in entries.values_mut() {
            let at = Timestamp::from_unix_ms(entry.at_ms);
            let until = remembered.map(|time| at.plus(time).unix_ms());
            // `None` is for ever, on either side.
            entry.until_ms = entry.until_ms.zip(until).map(|(a, b)| a.max(b));
        }
    }

    /// Takes over what was kept.
    pub(super) fn restore(&self, kept: Vec<Revocation>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.into_iter().take(REVOCATIONS_MAX);
        entries.extend(kept.map(|entry| ((entry.claim, entry.name), entry)));
        self.any.store(!entries.is_empty(), Ordering::Release);
    }

    /// Whether this token was taken back.
    pub(super) fn has(&self, identity: &TokenIdentity) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let names = [
            (RevokedClaim::Jti, identity.jti),
            (RevokedClaim::Sub, identity.sub),
        ];
        names.into_iter().any(|(claim, name)| {
            let entry = name.and_then(|name| entries.get(&(claim, name)));
            entry.is_some_and(|entry| entry.applies_to(identity))
        })
    }
}

fn name(value: &str) -> Name {
    Sha256::digest(value).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_000);

    fn identity(jti: &str, sub: &str, issued_at: Option<u64>) -> TokenIdentity {
        let issued_at = issued_at.map(Timestamp::from_unix_secs);
        TokenIdentity::new(Some(jti), Some(sub), issued_at)
    }

    #[test]
    fn a_token_is_taken_back_by_its_name_and_all_of_a_subject_issued_so_far() {
        let revoked = RevocationList::default();
        let add = |claim, value| {
            let entry = Revocation::new(claim, value, NOW);
            revoked.add(entry, None, NOW).unwrap();
        };
        assert!(!revoked.has(&identity("a", "mia", Some(1))));
        add(RevokedClaim::Jti, "a");
        add(RevokedClaim::Sub, "mia");
        for (jti, sub, issued_at, expected) in [
            ("a", "leo", Some(2_000), true),
            ("b", "mia", Some(1_000), true),
            ("b", "mia", None, true),
            ("b", "mia", Some(1_001), false),
            // The name of the one is not the subject of the other.
            ("mia", "a", None, false),
            ("b", "leo", None, false),
        ] {
            let asked = revoked.has(&identity(jti, sub, issued_at));
            assert_eq!(asked, expected, "{jti} {sub} {issued_at:?}");
        }
    }

    #[test]
    fn as_many_are_remembered_as_may_be_and_what_has_passed_makes_room() {
        let revoked = RevocationList::default();
        let hour = Some(Duration::from_secs(3_600));
        let add = |n: usize, now| {
            let entry = Revocation::new(RevokedClaim::Jti, &n.to_string(), now);
            revoked.add(entry, hour, now).map(|all| all.len())
        };
        // Not through `add`, which gives all there are each time.
        let entry = |n: usize| Revocation {
            until_ms: Some(NOW.plus(Duration::from_secs(3_600)).unix_ms()),
            ..Revocation::new(RevokedClaim::Jti, &n.to_string(), NOW)
        };
        revoked.restore((1..REVOCATIONS_MAX).map(entry).collect());
        assert_eq!(add(0, NOW), Ok(REVOCATIONS_MAX));
        assert_eq!(add(REVOCATIONS_MAX, NOW), Err(RevocationsFull));
        assert_eq!(add(1, NOW), Ok(REVOCATIONS_MAX), "it is there already");
        assert!(revoked.has(&identity("0", "", None)));
        let later = NOW.plus(Duration::from_secs(3_601));
        assert_eq!(add(REVOCATIONS_MAX, later), Ok(1));
    }
}
