//! What verified tokens say, kept so that a storm of reconnects does not
//! verify each of them anew.
//!
//! Keeps no token, only its hash; nothing that did not verify; and no answer:
//! time and topics are asked of it at each use. Bounded in bytes, and so in
//! entries. Invariant: what is found was verified by the [`Rules`] that hold it,
//! with the key that it names; whether that is still a key is for the asker to
//! see.
//!
//! [`Rules`]: super::Rules

use std::sync::Arc;

use hookrill_core::{Timestamp, Topic, Topics};
use quick_cache::{Weighter, sync::Cache};
use sha2::{Digest as _, Sha256};

use super::{TokenIdentity, key::KeyFingerprint, token_verifier::TokenVerifier};

/// The most bytes that are kept, as they are charged.
const KEPT_BYTES_MAX: u64 = 16 << 20;
/// What an entry is charged at least; most take less.
const ENTRY_BYTES_MIN: usize = 384;
/// So this is the most entries.
const ENTRIES_MAX: usize = KEPT_BYTES_MAX as usize / ENTRY_BYTES_MIN;

/// What a verified token says.
#[derive(Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Whose token it is.
    pub(super) signer: Arc<TokenVerifier>,
    /// What has signed it.
    pub(super) key: KeyFingerprint,
    /// Whose it is.
    pub(super) identity: TokenIdentity,
    /// The topics it may read.
    pub(super) covered: Topics,
    /// Whether it shows bodies whole.
    pub(super) full: bool,
    /// When it ends, leeway not included.
    pub(super) ends: Timestamp,
    /// When it begins, leeway not included.
    pub(super) from: Option<Timestamp>,
}

impl VerifiedToken {
    /// Whether it shows the bodies of these topics whole: of all of them, since
    /// a stream with topics that the token does not cover, but everybody may
    /// read, must not show more of those.
    pub(super) fn is_full_of(&self, topics: &Topics) -> bool {
        let covered = match (&self.covered, topics) {
            (Topics::All, _) => true,
            (Topics::These(_), Topics::All) => false,
            (covered, Topics::These(wanted)) => wanted.iter().all(|topic| covered.contains(topic)),
        };
        self.full && covered
    }

    /// Whose the token is.
    #[must_use]
    pub fn identity(&self) -> &TokenIdentity {
        &self.identity
    }
}

/// What a token is kept under: the SHA-256 of all of its text, signature
/// included.
pub(super) type Name = [u8; 32];

/// A token's name.
pub(super) fn name(token: &str) -> Name {
    Sha256::digest(token).into()
}

/// The verified tokens: sharded, so that a look takes no lock for longer than
/// one takes, and freed from the coldest without a search.
///
/// Names are compared in the usual way, which stops at the first byte that
/// differs. What that tells by its time is about SHA-256 values: to come close
/// to one that is kept, somebody would have to find texts that hash to it byte
/// by byte, and would then know a hash and still no signature.
pub(super) struct TokenCache(Cache<Name, Arc<VerifiedToken>, TokenWeigher>);

impl TokenCache {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(
            ENTRIES_MAX,
            KEPT_BYTES_MAX,
            TokenWeigher,
        ))
    }

    pub(super) fn find(&self, name: &Name) -> Option<Arc<VerifiedToken>> {
        self.0.get(name)
    }

    pub(super) fn put(&self, name: Name, proven: &Arc<VerifiedToken>) {
        self.0.insert(name, Arc::clone(proven));
    }
}

/// What an entry is charged.
#[derive(Clone)]
struct TokenWeigher;

impl Weighter<Name, Arc<VerifiedToken>> for TokenWeigher {
    fn weight(&self, _: &Name, proven: &Arc<VerifiedToken>) -> u64 {
        let topics = match &proven.covered {
            Topics::All => 0,
            Topics::These(topics) => topics.iter().map(topic_bytes).sum(),
        };
        ENTRY_BYTES_MIN.max(topics + 256) as u64
    }
}

/// The name, what counts its users, and the pointer to it.
fn topic_bytes(topic: &Topic) -> usize {
    topic.as_str().len() + 2 * size_of::<usize>() + size_of::<Topic>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Arc<TokenVerifier> {
        let issuer = crate::access::Issuer {
            name: None,
            audience: Box::default(),
            keys: crate::access::KeySource::Url("".into()),
            topics: crate::access::TopicSource::Claim("topics".into()),
        };
        Arc::new(TokenVerifier::new(issuer, 0))
    }

    fn proven(topics: &[String]) -> Arc<VerifiedToken> {
        let topics = topics.iter().map(|topic| topic.parse().unwrap());
        Arc::new(VerifiedToken {
            signer: signer(),
            key: KeyFingerprint::default(),
            identity: TokenIdentity::default(),
            covered: Topics::these(topics.collect()),
            full: false,
            ends: Timestamp::from_unix_secs(1),
            from: None,
        })
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let kept = TokenCache::new();
        let small = proven(&["a".into()]);
        for n in 0..3 * ENTRIES_MAX {
            kept.put(name(&n.to_string()), &small);
        }
        assert!(kept.0.weight() <= KEPT_BYTES_MAX && kept.0.len() <= ENTRIES_MAX);
        assert!(kept.0.len() > ENTRIES_MAX / 2, "{} kept", kept.0.len());
        let many: Vec<String> = (0..1_000).map(|n| format!("topic-{n}")).collect();
        let large = proven(&many);
        for n in 0..1_000 {
            kept.put(name(&format!("large {n}")), &large);
        }
        assert!(kept.0.weight() <= KEPT_BYTES_MAX);
        let most = KEPT_BYTES_MAX as usize / (1_000 * 40);
        assert!(
            kept.0
                .iter()
                .filter(|(_, p)| Arc::ptr_eq(p, &large))
                .count()
                <= most
        );
    }

    #[test]
    fn as_many_as_come_back_at_once_are_all_found() {
        let kept = TokenCache::new();
        let one = proven(&["a".into()]);
        let names: Vec<Name> = (0..15_000).map(|n| name(&n.to_string())).collect();
        for name in &names {
            kept.put(*name, &one);
        }
        assert!(names.iter().all(|name| kept.find(name).is_some()));
    }
}
