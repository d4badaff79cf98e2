//! Who may subscribe to what: tokens in, [`Grant`]s out.
//!
//! A token is a JWT (RFC 7519) of one of the configured issuers, signed with
//! HS256, RS256, ES256 or EdDSA as that issuer's key says. Time is an argument,
//! and so are keys that stand elsewhere: somebody fetches them and hands them
//! in. What a token says is verified once and kept; whether it holds now, and
//! for these topics, is asked each time.
//! Invariant: only [`Access::check`] makes a [`Grant`], and `subscribe` opens
//! no stream without one.

mod claims;
mod error;
mod issuer;
mod jwks;
mod key;
mod reload;
mod revocations;
mod rules;
mod token_cache;
mod token_verifier;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use jsonwebtoken::{Algorithm, EncodingKey, Header};

pub use claims::Claims;
pub use error::{AccessError, TokenError};
use hookrill_core::{Secret, Swap, Timestamp, TopicMap, Topics};
pub use issuer::{Issuer, KeySource, Template, TemplateError, TopicSource};
pub use jwks::{IssuerKeys, JwksError, KEYS_MAX};
pub use key::{Key, KeyError};
pub use reload::PolicyVersion;
use revocations::RevocationList;
pub use revocations::{REVOCATIONS_MAX, Revocation, RevocationsFull, RevokedClaim, TokenIdentity};
use rules::Rules;
pub use token_cache::VerifiedToken;
pub use token_verifier::IssuerId;

/// Who may subscribe to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Those whose token covers it.
    #[default]
    Token,
    /// Everybody.
    Public,
}

/// How subscriber tokens are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The HS256 secret that signs subscriber tokens, the simple form of an
    /// issuer without a name; `None` where others sign, or no topic needs one.
    pub secret: Option<Secret>,
    /// Others that sign. No two have the same name; one without a name is the
    /// only one, and then there is no secret.
    pub issuers: Vec<Issuer>,
    /// By how much `exp` may be past.
    pub leeway: Duration,
    /// The longest that a token may be good from when it was issued, and so the
    /// longest that a revocation is remembered; `None`: neither has a bound.
    pub token_ttl_max: Option<Duration>,
    /// Per topic: who may subscribe.
    pub policies: TopicMap<Policy>,
}

/// The longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The most topics that a token may name.
pub const TOKEN_TOPICS_MAX: usize = 1_000;
/// In a token: every topic.
const EVERYTHING: &str = "*";
/// The claim with its topics, where no other is configured.
pub const TOPICS_CLAIM: &str = "topics";

/// The right to a stream of certain topics, until a certain instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    topics: Topics,
    expires_at: Option<Timestamp>,
    proven: Option<Arc<VerifiedToken>>,
    policy_version: PolicyVersion,
    full: bool,
}

impl Grant {
    /// What may be streamed.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// When the stream has to end; `None` where no token was needed.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// What the token says; `None` where none was needed.
    #[must_use]
    pub fn token(&self) -> Option<&Arc<VerifiedToken>> {
        self.proven.as_ref()
    }

    /// Whether bodies are shown whole, whatever is hidden from others.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// As of when this was granted: see [`Access::policy_version`].
    #[must_use]
    pub fn policy_version(&self) -> PolicyVersion {
        self.policy_version
    }

    /// Everything, for ever, until something changes: for tests of the rooms above.
    #[cfg(test)]
    pub(crate) fn new(topics: Topics, expires_at: Option<Timestamp>) -> Self {
        Self {
            topics,
            expires_at,
            proven: None,
            policy_version: 0,
            full: false,
        }
    }
}

/// Signs a subscriber token with HS256 (RFC 7518, section 3.2).
///
/// # Errors
///
/// The library's error where the claims cannot be written as JSON.
pub fn mint(secret: &Secret, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
    let key = EncodingKey::from_secret(secret.expose());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
}

/// Decides who may subscribe.
pub struct Access {
    rules: Swap<Rules>,
    revoked: Arc<RevocationList>,
    policy_version: AtomicU32,
}

impl Access {
    /// Takes the settings into use.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let revoked = Arc::new(RevocationList::default());
        Self {
            rules: Swap::new(Rules::first(settings, &revoked)),
            revoked,
            policy_version: AtomicU32::new(0),
        }
    }

    /// The issuers whose keys are to be fetched and handed in, with where from.
    #[must_use]
    pub fn key_sets(&self) -> Vec<(IssuerId, Box<str>)> {
        let rules = self.rules.load();
        let places = rules.issuers.iter();
        let places = places.filter_map(|signer| match &signer.issuer.keys {
            KeySource::Url(url) => Some((signer.id(), url.clone())),
            KeySource::Secret(_) | KeySource::Public(_) => None,
        });
        places.collect()
    }

    /// Takes an issuer's keys into use, instead of those it had: what those
    /// alone had signed is refused from now on. `None` refuses everything.
    /// Whether a key was dropped, and streams have to be called to look.
    pub fn set_keys(&self, issuer: IssuerId, keys: Option<IssuerKeys>) -> bool {
        let rules = self.rules.load();
        let signer = rules.issuers.iter().find(|signer| signer.id() == issuer);
        let dropped = signer.is_some_and(|signer| signer.take(keys));
        if dropped {
            self.bump_version();
        }
        dropped
    }

    /// Takes tokens back from now on, kept ones included, and gives all
    /// revocations that are to be remembered. Open streams are not ended.
    ///
    /// # Errors
    ///
    /// [`RevocationsFull`]; nothing was taken back.
    pub fn revoke(
        &self,
        entry: Revocation,
        now: Timestamp,
    ) -> Result<Vec<Revocation>, RevocationsFull> {
        self.revoked.add(entry, self.rules.load().remembered(), now)
    }

    /// Takes over what was revoked before this was made.
    pub fn restore(&self, kept: Vec<Revocation>) {
        self.revoked.restore(kept);
        // They may have been made under a shorter life of tokens.
        self.revoked.extend_expiry(self.rules.load().remembered());
    }

    /// Whether the token of this grant was revoked meanwhile.
    #[must_use]
    pub fn is_revoked(&self, grant: &Grant) -> bool {
        let proven = grant.proven.as_ref();
        proven.is_some_and(|proven| self.revoked.has(&proven.identity))
    }

    /// Grants a stream of `topics` to whoever presents `token`.
    ///
    /// Where no topic needs a token, one is only looked at for more than all
    /// are shown: an old cookie must not close a public stream.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; unknown topics first, since no token helps there.
    pub fn check(
        &self,
        topics: Topics,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Grant, AccessError> {
        // Before the rules are: what is replaced from here on is noticed.
        let policy_version = self.policy_version();
        let rules = self.rules.load();
        let to = |topics: Topics, proven: Option<Arc<VerifiedToken>>| Grant {
            full: proven
                .as_ref()
                .is_some_and(|proven| proven.is_full_of(&topics)),
            topics,
            expires_at: proven.as_ref().map(|proven| proven.ends.plus(rules.leeway)),
            proven,
            policy_version,
        };
        if !rules.needs_token(&topics)? {
            let proven = token.and_then(|token| rules.proven(token, now).ok());
            let proven = proven.filter(|proven| proven.is_full_of(&topics));
            return Ok(to(topics, proven));
        }
        let token = token.ok_or(AccessError::TokenMissing)?;
        let proven = rules.proven(token, now).map_err(AccessError::TokenBad)?;
        rules.require(&topics, &proven.covered)?;
        Ok(to(topics, Some(proven)))
    }
}

#[cfg(test)]
mod tests;
