//! Tokens that were revoked before they expired.
//!
//! Keeps hashes of token ids and subjects, so neither memory nor a file says
//! whose they are. Refuses more than [`REVOCATIONS_MAX`] entries. Invariant: an
//! entry is dropped only after every token that it applies to has expired.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use hookrill_core::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The most revocations at one time.
pub const REVOCATIONS_MAX: usize = 10_000;

/// Which claim a revocation goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevokedClaim {
    /// The one token with this `jti`.
    Jti,
    /// All tokens with this `sub`, of any issuer, that were issued until then.
    Sub,
}

/// The SHA-256 of a claim's value.
type ClaimHash = [u8; 32];

/// What a revocation can name a token by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenIdentity {
    jti: Option<ClaimHash>,
    sub: Option<ClaimHash>,
    issued_at: Option<Timestamp>,
}

impl TokenIdentity {
    pub(super) fn new(jti: Option<&str>, sub: Option<&str>, issued_at: Option<Timestamp>) -> Self {
        Self {
            jti: jti.map(claim_hash),
            sub: sub.map(claim_hash),
            issued_at,
        }
    }

    /// Whether a revocation can name the token at all.
    pub(super) fn is_revocable(&self) -> bool {
        self.jti.is_some() || self.sub.is_some()
    }

    /// When the token was issued (`iat`), if it says so.
    pub(super) fn issued_at(&self) -> Option<Timestamp> {
        self.issued_at
    }
}

/// A revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    claim: RevokedClaim,
    /// The SHA-256 of the claim's value.
    #[serde(rename = "name")]
    hash: ClaimHash,
    /// When it was made, in milliseconds since the Unix epoch.
    at_ms: u64,
    /// When all tokens that it applies to have expired; `None`: never known.
    until_ms: Option<u64>,
}

impl Revocation {
    /// Revokes the tokens whose claim has this value.
    #[must_use]
    pub fn new(claim: RevokedClaim, value: &str, now: Timestamp) -> Self {
        Self {
            claim,
            hash: claim_hash(value),
            at_ms: now.unix_ms(),
            until_ms: None,
        }
    }

    /// Whether it revokes this token. A token that does not say when it was
    /// issued may have been issued before.
    #[must_use]
    pub fn applies_to(&self, token: &TokenIdentity) -> bool {
        let was_before = |at: Timestamp| at.unix_ms() <= self.at_ms;
        match self.claim {
            RevokedClaim::Jti => token.jti == Some(self.hash),
            RevokedClaim::Sub => {
                token.sub == Some(self.hash) && token.issued_at.is_none_or(was_before)
            }
        }
    }

    fn has_expired(&self, now: Timestamp) -> bool {
        self.until_ms.is_some_and(|until| now.unix_ms() > until)
    }

    fn key(&self) -> (RevokedClaim, ClaimHash) {
        (self.claim, self.hash)
    }
}

/// There are as many revocations as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {REVOCATIONS_MAX} revocations, which is the limit")]
pub struct RevocationsFull;

/// What was revoked.
#[derive(Default)]
pub(super) struct RevocationList {
    entries: RwLock<HashMap<(RevokedClaim, ClaimHash), Revocation>>,
    /// False only while there never was an entry: spares the lock then.
    any: AtomicBool,
}

impl RevocationList {
    /// Adds an entry that expires after `keep_for` (`None`: never); returns all
    /// entries.
    pub(super) fn add(
        &self,
        mut entry: Revocation,
        keep_for: Option<Duration>,
        now: Timestamp,
    ) -> Result<Vec<Revocation>, RevocationsFull> {
        let at = Timestamp::from_unix_ms(entry.at_ms).max(now);
        entry.until_ms = keep_for.map(|time| at.plus(time).unix_ms());
        let mut entries = self.entries.write();
        entries.retain(|_, known| !known.has_expired(now));
        if entries.len() >= REVOCATIONS_MAX && !entries.contains_key(&entry.key()) {
            return Err(RevocationsFull);
        }
        entries.insert(entry.key(), entry);
        assert!(entries.len() <= REVOCATIONS_MAX, "the list is bounded");
        self.any.store(true, Ordering::Release);
        Ok(entries.values().copied().collect())
    }

    /// Keeps each entry for at least so long from when it was made, and never
    /// shorter than before: a token that is refused today because it lives too
    /// long may be accepted tomorrow.
    pub(super) fn extend_expiry(&self, keep_for: Option<Duration>) {
        let mut entries = self.entries.write();
        for entry in entries.values_mut() {
            let at = Timestamp::from_unix_ms(entry.at_ms);
            let until = keep_for.map(|time| at.plus(time).unix_ms());
            let later = later_of(entry.until_ms, until);
            debug_assert_eq!(later, later_of(later, entry.until_ms), "never sooner");
            entry.until_ms = later;
        }
    }

    /// Adds entries that were stored before the start.
    pub(super) fn restore(&self, stored: Vec<Revocation>) {
        let mut entries = self.entries.write();
        let room = REVOCATIONS_MAX.saturating_sub(entries.len());
        for entry in stored.into_iter().take(room) {
            entries.insert(entry.key(), entry);
        }
        assert!(entries.len() <= REVOCATIONS_MAX, "the list is bounded");
        self.any.store(!entries.is_empty(), Ordering::Release);
    }

    /// Whether this token was revoked.
    pub(super) fn contains(&self, token: &TokenIdentity) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let entries = self.entries.read();
        let names = [
            (RevokedClaim::Jti, token.jti),
            (RevokedClaim::Sub, token.sub),
        ];
        names.into_iter().any(|(claim, hash)| {
            let entry = hash.and_then(|hash| entries.get(&(claim, hash)));
            entry.is_some_and(|entry| entry.applies_to(token))
        })
    }
}

/// The later of two expiries; `None` is never.
fn later_of(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.zip(other).map(|(a, b)| a.max(b))
}

fn claim_hash(value: &str) -> ClaimHash {
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
    fn a_token_is_revoked_by_its_id_and_all_of_a_subject_issued_so_far() {
        let list = RevocationList::default();
        let add = |claim, value| {
            let entry = Revocation::new(claim, value, NOW);
            list.add(entry, None, NOW).unwrap();
        };
        assert!(!list.contains(&identity("a", "mia", Some(1))));
        add(RevokedClaim::Jti, "a");
        add(RevokedClaim::Sub, "mia");
        for (jti, sub, issued_at, expected) in [
            ("a", "leo", Some(2_000), true),
            ("b", "mia", Some(1_000), true),
            ("b", "mia", None, true),
            ("b", "mia", Some(1_001), false),
            // The id of one token is not the subject of another.
            ("mia", "a", None, false),
            ("b", "leo", None, false),
        ] {
            let asked = list.contains(&identity(jti, sub, issued_at));
            assert_eq!(asked, expected, "{jti} {sub} {issued_at:?}");
        }
    }

    #[test]
    fn the_list_is_bounded_and_what_has_expired_makes_room() {
        let list = RevocationList::default();
        let hour = Some(Duration::from_secs(3_600));
        let add = |n: usize, now| {
            let entry = Revocation::new(RevokedClaim::Jti, &n.to_string(), now);
            list.add(entry, hour, now).map(|all| all.len())
        };
        // Not through `add`, which copies all entries each time.
        let stored = |n: usize| Revocation {
            until_ms: Some(NOW.plus(Duration::from_secs(3_600)).unix_ms()),
            ..Revocation::new(RevokedClaim::Jti, &n.to_string(), NOW)
        };
        list.restore((1..REVOCATIONS_MAX).map(stored).collect());
        assert_eq!(add(0, NOW), Ok(REVOCATIONS_MAX));
        assert_eq!(add(REVOCATIONS_MAX, NOW), Err(RevocationsFull));
        assert_eq!(add(1, NOW), Ok(REVOCATIONS_MAX), "it is there already");
        assert!(list.contains(&identity("0", "", None)));
        let later = NOW.plus(Duration::from_secs(3_601));
        assert_eq!(add(REVOCATIONS_MAX, later), Ok(1));
    }
}
