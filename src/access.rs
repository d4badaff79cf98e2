//! Who may subscribe to what: tokens in, [`Grant`]s out.
//!
//! A token is a JWT (RFC 7519) of a configured issuer, signed with HS256, RS256,
//! ES256 or EdDSA, whichever the issuer's key is for. The clock is an argument,
//! and keys at a URL are fetched elsewhere and handed to [`Access::set_keys`]. A
//! token's signature is verified once and remembered; whether it is valid now,
//! and for these topics, is checked at each use.
//! Invariant: only [`Access::check`] makes a [`Grant`], and `subscribe` opens
//! no stream without one.

mod claims;
mod error;
mod grant;
mod issuer;
mod jwks;
mod key;
mod reload;
mod revocation_list;
mod rules;
mod token_cache;
mod token_verifier;
mod verified_token;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use hookrill_core::{Secret, Swap, Timestamp, TopicMap, Topics};
use jsonwebtoken::{Algorithm, EncodingKey, Header};

pub use claims::Claims;
pub use error::{AccessError, TOKEN_BYTES_MAX, TokenError};
pub use grant::Grant;
pub use issuer::{Issuer, IssuerId, KeySource, TOPICS_CLAIM, Template, TemplateError, TopicSource};
pub use jwks::{IssuerKeys, JwksError, KEYS_MAX};
pub use key::{Key, KeyError};
pub use reload::PolicyVersion;
use revocation_list::RevocationList;
pub use revocation_list::{
    REVOCATIONS_MAX, Revocation, RevocationsFull, RevokedClaim, TokenIdentity,
};
use rules::Rules;
pub use rules::TOKEN_TOPICS_MAX;
pub use verified_token::VerifiedToken;

/// Who may subscribe to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Those whose token covers it.
    #[default]
    Token,
    /// Everybody.
    Public,
}

/// How subscriber tokens are verified, and which topics need one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The HS256 secret that signs subscriber tokens, the simple form of an
    /// issuer without a name; `None` where others sign, or no topic needs one.
    pub secret: Option<Secret>,
    /// Issuers. No two have the same name; one without a name is the only one,
    /// and then there is no secret.
    pub issuers: Vec<Issuer>,
    /// How long after `exp` a token is still accepted.
    pub leeway: Duration,
    /// The longest lifetime of a token from when it was issued, and so the
    /// longest that a revocation is kept; `None`: neither has a bound.
    pub token_ttl_max: Option<Duration>,
    /// Per topic: who may subscribe.
    pub policies: TopicMap<Policy>,
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
    revocations: Arc<RevocationList>,
    /// Rises after each change: see [`PolicyVersion`].
    version: AtomicU32,
}

impl Access {
    /// Takes the settings into use.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let revocations = Arc::new(RevocationList::default());
        Self {
            rules: Swap::new(Rules::new(settings, &revocations)),
            revocations,
            version: AtomicU32::new(0),
        }
    }

    /// The issuers whose keys have to be fetched, with the URL of each.
    #[must_use]
    pub fn jwks_urls(&self) -> Vec<(IssuerId, Box<str>)> {
        let rules = self.rules.load();
        let urls = rules.verifiers.iter().filter_map(|verifier| {
            let KeySource::Url(url) = &verifier.issuer().keys else {
                return None;
            };
            Some((verifier.id(), url.clone()))
        });
        urls.collect()
    }

    /// Replaces an issuer's keys: tokens that only the keys before verified are
    /// refused from now on. `None` refuses all its tokens. Returns whether a key
    /// was dropped, so that open streams have to be checked again.
    pub fn set_keys(&self, issuer: IssuerId, keys: Option<IssuerKeys>) -> bool {
        let rules = self.rules.load();
        let verifier = rules.verifiers.iter().find(|it| it.id() == issuer);
        let dropped = verifier.is_some_and(|verifier| verifier.set_keys(keys));
        if dropped {
            self.bump_version();
        }
        dropped
    }

    /// Revokes tokens from now on, and returns all revocations that have to be
    /// stored. Does not end open streams.
    ///
    /// # Errors
    ///
    /// [`RevocationsFull`]; nothing was revoked.
    pub fn revoke(
        &self,
        entry: Revocation,
        now: Timestamp,
    ) -> Result<Vec<Revocation>, RevocationsFull> {
        let keep_for = self.rules.load().keep_revocations_for();
        self.revocations.add(entry, keep_for, now)
    }

    /// Adds revocations that were stored before the start.
    pub fn restore(&self, stored: Vec<Revocation>) {
        self.revocations.restore(stored);
        // The settings may have allowed only shorter lifetimes then.
        let keep_for = self.rules.load().keep_revocations_for();
        self.revocations.extend_expiry(keep_for);
    }

    /// Whether the token of this grant was revoked meanwhile.
    #[must_use]
    pub fn is_revoked(&self, grant: &Grant) -> bool {
        let token = grant.token();
        token.is_some_and(|token| self.revocations.contains(&token.identity))
    }

    /// Grants a stream of `topics` to whoever presents `token`.
    ///
    /// Where no topic needs a token, an invalid one is ignored: an old cookie
    /// must not close a public stream. A valid one counts only if it shows more
    /// than everybody sees.
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
        // Read before the rules, so that a change from here on is noticed.
        let version = self.policy_version();
        let rules = self.rules.load();
        let verified = if rules.needs_token(&topics)? {
            let given = token.ok_or(AccessError::TokenMissing)?;
            let verified = rules.verify(given, now).map_err(AccessError::TokenBad)?;
            rules.check_covered(&topics, &verified.covered)?;
            Some(verified)
        } else {
            let verified = token.and_then(|given| rules.verify(given, now).ok());
            verified.filter(|verified| verified.shows_full(&topics))
        };
        Ok(Grant::new(topics, verified, rules.leeway, version))
    }

    /// Grants the deliveries of `topics` as they came to whoever presents `token`, which
    /// has to say that it shows them: public topics need one as well.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; unknown topics first, since no token helps there.
    pub fn check_deliveries(
        &self,
        topics: Topics,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Grant, AccessError> {
        let version = self.policy_version();
        let rules = self.rules.load();
        rules.needs_token(&topics)?;
        let given = token.ok_or(AccessError::TokenMissing)?;
        let verified = rules.verify(given, now).map_err(AccessError::TokenBad)?;
        if let Some(topic) = verified.not_covered(&topics) {
            return Err(AccessError::NotCovered(topic.into()));
        }
        if !verified.deliveries {
            return Err(AccessError::NoDeliveries);
        }
        Ok(Grant::new(topics, Some(verified), rules.leeway, version))
    }
}

#[cfg(test)]
mod tests;
