//! Remembers verified tokens, so that a storm of reconnects does not verify
//! each of them again.
//!
//! Keeps no token, only its hash; nothing that failed to verify; and no
//! decision: time and topics are checked at each use. Bounded in bytes, and so
//! in entries. Invariant: an entry was verified under the [`Rules`] that own
//! this cache, with the key that it names; the caller checks whether that key
//! is still in use.
//!
//! [`Rules`]: super::rules::Rules

use std::sync::Arc;

use hookrill_core::{Topic, Topics};
use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest as _, Sha256};

use super::verified_token::VerifiedToken;

/// The most bytes that entries may weigh together.
const CACHE_BYTES_MAX: u64 = 16 << 20;
/// The least that an entry weighs; most take less.
const ENTRY_BYTES_MIN: usize = 384;
/// What an entry takes besides its topics, at most.
const ENTRY_BYTES_FIXED: usize = 256;
/// The most entries.
const ENTRIES_MAX: usize = CACHE_BYTES_MAX as usize / ENTRY_BYTES_MIN;

/// The SHA-256 of a token's whole text, signature included.
pub(super) type TokenHash = [u8; 32];

/// The key under which a token is cached.
pub(super) fn token_hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// The verified tokens. The cache is sharded, so that no lookup waits long for
/// a lock, and evicts the coldest entries without a search.
///
/// Hashes are compared in the usual way, which stops at the first byte that
/// differs. Its timing tells something about SHA-256 values only: to come close
/// to a cached one, an attacker would have to find texts that hash to it byte
/// by byte, and would then know a hash and still no signature.
pub(super) struct TokenCache(Cache<TokenHash, Arc<VerifiedToken>, TokenWeigher>);

impl TokenCache {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(
            ENTRIES_MAX,
            CACHE_BYTES_MAX,
            TokenWeigher,
        ))
    }

    pub(super) fn get(&self, hash: &TokenHash) -> Option<Arc<VerifiedToken>> {
        self.0.get(hash)
    }

    pub(super) fn insert(&self, hash: TokenHash, token: &Arc<VerifiedToken>) {
        self.0.insert(hash, Arc::clone(token));
        debug_assert!(self.0.weight() <= CACHE_BYTES_MAX);
    }
}

/// Weighs entries by the bytes they take.
#[derive(Clone)]
struct TokenWeigher;

impl Weighter<TokenHash, Arc<VerifiedToken>> for TokenWeigher {
    fn weight(&self, _: &TokenHash, token: &Arc<VerifiedToken>) -> u64 {
        let topics = match &token.covered {
            Topics::All => 0,
            Topics::These(topics) => topics.iter().map(topic_bytes).sum(),
        };
        ENTRY_BYTES_MIN.max(topics + ENTRY_BYTES_FIXED) as u64
    }
}

/// The topic's text, its reference counts, and the pointer to it.
fn topic_bytes(topic: &Topic) -> usize {
    topic.as_str().len() + 2 * size_of::<usize>() + size_of::<Topic>()
}

#[cfg(test)]
mod tests {
    use hookrill_core::Timestamp;

    use super::*;
    use crate::access::{
        Issuer, KeySource, TokenIdentity, TopicSource, key::KeyFingerprint,
        token_verifier::TokenVerifier,
    };

    fn verifier() -> Arc<TokenVerifier> {
        let issuer = Issuer {
            name: None,
            audience: Box::default(),
            keys: KeySource::Url("".into()),
            topics: TopicSource::Claim("topics".into()),
        };
        Arc::new(TokenVerifier::new(issuer, 0))
    }

    fn token_for(topics: &[String]) -> Arc<VerifiedToken> {
        let topics = topics.iter().map(|topic| topic.parse().unwrap());
        Arc::new(VerifiedToken {
            verifier: verifier(),
            key: KeyFingerprint::default(),
            identity: TokenIdentity::default(),
            covered: Topics::these(topics.collect()),
            full: false,
            deliveries: false,
            expires_at: Timestamp::from_unix_secs(1),
            valid_from: None,
        })
    }

    #[test]
    fn no_more_is_cached_than_the_bound() {
        let cache = TokenCache::new();
        let small = token_for(&["a".into()]);
        for n in 0..3 * ENTRIES_MAX {
            cache.insert(token_hash(&n.to_string()), &small);
        }
        assert!(cache.0.weight() <= CACHE_BYTES_MAX && cache.0.len() <= ENTRIES_MAX);
        assert!(cache.0.len() > ENTRIES_MAX / 2, "{} cached", cache.0.len());
        let many: Vec<String> = (0..1_000).map(|n| format!("topic-{n}")).collect();
        let large = token_for(&many);
        for n in 0..1_000 {
            cache.insert(token_hash(&format!("large {n}")), &large);
        }
        assert!(cache.0.weight() <= CACHE_BYTES_MAX);
        let most = CACHE_BYTES_MAX as usize / (1_000 * 40);
        let cached = cache.0.iter().filter(|(_, it)| Arc::ptr_eq(it, &large));
        assert!(cached.count() <= most);
    }

    #[test]
    fn as_many_as_come_back_at_once_are_all_found() {
        let cache = TokenCache::new();
        let token = token_for(&["a".into()]);
        let hashes: Vec<_> = (0..15_000).map(|n| token_hash(&n.to_string())).collect();
        for hash in &hashes {
            cache.insert(*hash, &token);
        }
        assert!(hashes.iter().all(|hash| cache.get(hash).is_some()));
    }
}
