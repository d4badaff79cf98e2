//! The configured rules, applied to one token: whose it is, what it says,
//! whether it is valid now, and for which topics.
//!
//! Invariant: nothing in a token is trusted before its issuer's key has
//! verified it; `iss` is read before that to pick the key, and for nothing else.

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use hookrill_core::{Timestamp, Topic, TopicMap, Topics};
use serde::Deserialize;

use super::{
    Policy,
    error::{AccessError, TOKEN_BYTES_MAX, TokenError},
    issuer::{ALL_TOPICS, IssuerId},
    revocation_list::{RevocationList, TokenIdentity},
    token_cache::{TokenCache, token_hash},
    token_verifier::TokenVerifier,
    verified_token::VerifiedToken,
};

/// The most topics that a token may name.
pub const TOKEN_TOPICS_MAX: usize = 1_000;
/// The claim that shows whole bodies where it is `true`.
const FULL_CLAIM: &str = "full";
/// The claim that shows deliveries as they came where it is `true`.
const DELIVERIES_CLAIM: &str = "deliveries";

/// What was configured, replaced as a whole.
pub(super) struct Rules {
    pub(super) verifiers: Box<[Arc<TokenVerifier>]>,
    /// The id of the next new issuer: none is given twice.
    pub(super) next_issuer: IssuerId,
    pub(super) leeway: Duration,
    pub(super) token_ttl_max: Option<Duration>,
    pub(super) policies: TopicMap<Policy>,
    /// Shared by all rules, before and after a reload.
    pub(super) revocations: Arc<RevocationList>,
    /// Valid under these rules alone, so dropped with them.
    pub(super) cache: TokenCache,
}

impl Rules {
    /// How long a revocation has to be kept, until every token that was issued
    /// by then has expired: the longest lifetime, and the leeway at both of its
    /// ends.
    pub(super) fn keep_revocations_for(&self) -> Option<Duration> {
        self.token_ttl_max.map(|ttl| ttl + 2 * self.leeway)
    }

    /// Whether a stream of these topics needs a token.
    pub(super) fn needs_token(&self, topics: &Topics) -> Result<bool, AccessError> {
        let Topics::These(topics) = topics else {
            return Ok(true);
        };
        let mut needed = false;
        for topic in topics {
            match self.policies.lookup(topic) {
                None => return Err(AccessError::UnknownTopic(topic.clone())),
                Some(Policy::Token) => needed = true,
                Some(Policy::Public) => {}
            }
        }
        Ok(needed)
    }

    /// What the token says, if it is valid now.
    pub(super) fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Long);
        }
        let hash = token_hash(token);
        // An issuer that removes a key takes back all that it signed, cached or
        // not.
        if let Some(cached) = self.cache.get(&hash)
            && cached.verifier.has_key(&cached.key)
        {
            self.check_validity(&cached, now)?;
            return Ok(cached);
        }
        let verified = Arc::new(self.verify_uncached(token)?);
        self.check_validity(&verified, now)?;
        // Only valid ones: made-up tokens must not push others out.
        self.cache.insert(hash, &verified);
        Ok(verified)
    }

    fn verify_uncached(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        let verifier = self.verifier_for(token)?;
        let (key, claims) = verifier.verify(token)?;
        verifier.check_claims(&claims)?;
        let exp = claims.time("exp")?.ok_or(TokenError::Claims)?;
        let expires_at = Timestamp::from_unix_secs(exp);
        let issued_at = claims.time("iat")?.map(Timestamp::from_unix_secs);
        let identity = TokenIdentity::new(claims.string("jti")?, claims.string("sub")?, issued_at);
        self.check_revocable(&identity, expires_at)?;
        Ok(VerifiedToken {
            verifier: Arc::clone(verifier),
            key,
            identity,
            covered: parse_topics(&verifier.topics(&claims)?)?,
            full: claims.is_true(FULL_CLAIM),
            deliveries: claims.is_true(DELIVERIES_CLAIM),
            expires_at,
            valid_from: claims.time("nbf")?.map(Timestamp::from_unix_secs),
        })
    }

    /// Where lifetimes are bounded: whether a revocation is sure to outlive the
    /// token.
    pub(super) fn check_revocable(
        &self,
        identity: &TokenIdentity,
        expires_at: Timestamp,
    ) -> Result<(), TokenError> {
        let Some(ttl_max) = self.token_ttl_max else {
            return Ok(());
        };
        let issued_at = identity.issued_at().ok_or(TokenError::LongLived)?;
        if expires_at.since(issued_at) > ttl_max {
            return Err(TokenError::LongLived);
        }
        if !identity.is_revocable() {
            return Err(TokenError::Nameless);
        }
        Ok(())
    }

    /// Picks the issuer by the unverified `iss`; its key then verifies the
    /// token.
    fn verifier_for(&self, token: &str) -> Result<&Arc<TokenVerifier>, TokenError> {
        let named = |name: Option<&str>| {
            let mut verifiers = self.verifiers.iter();
            verifiers.find(|verifier| verifier.issuer().name.as_deref() == name)
        };
        let unnamed = named(None);
        match (&*self.verifiers, unnamed) {
            ([], _) => return Err(TokenError::NoSecret),
            ([only], Some(_)) => return Ok(only),
            _ => {}
        }
        let issuer = unverified_issuer(token)?;
        let by_name = issuer.as_deref().and_then(|name| named(Some(name)));
        by_name.or(unnamed).ok_or(TokenError::Issuer)
    }

    /// Checked at each use, since time passes for cached tokens too.
    fn check_validity(&self, token: &VerifiedToken, now: Timestamp) -> Result<(), TokenError> {
        // The same instant at which the stream of this token ends.
        if now >= token.expires_at.plus(self.leeway) {
            return Err(TokenError::Expired);
        }
        let is_ahead = |from: Timestamp| now.plus(self.leeway) < from;
        if token.valid_from.is_some_and(is_ahead) {
            return Err(TokenError::NotYet);
        }
        // Where lifetimes are bounded, they count from `iat`.
        let issued_at = token.identity.issued_at();
        if self.token_ttl_max.is_some() && issued_at.is_some_and(is_ahead) {
            return Err(TokenError::NotYet);
        }
        if self.revocations.contains(&token.identity) {
            return Err(TokenError::Revoked);
        }
        Ok(())
    }

    /// Whether topics that `covered` has, and public ones, are all of `topics`.
    pub(super) fn check_covered(
        &self,
        topics: &Topics,
        covered: &Topics,
    ) -> Result<(), AccessError> {
        let Topics::These(wanted) = topics else {
            return match covered {
                Topics::All => Ok(()),
                Topics::These(_) => Err(AccessError::NotCovered(ALL_TOPICS.into())),
            };
        };
        for topic in wanted {
            let is_public = self.policies.lookup(topic) == Some(&Policy::Public);
            if !is_public && !covered.contains(topic) {
                return Err(AccessError::NotCovered(topic.as_str().into()));
            }
        }
        Ok(())
    }
}

/// The `iss` of a token, before anything in it is trusted.
fn unverified_issuer(token: &str) -> Result<Option<String>, TokenError> {
    #[derive(Deserialize)]
    struct Payload {
        iss: Option<String>,
    }
    let base64url = token.split('.').nth(1).ok_or(TokenError::Signature)?;
    let json = BASE64URL_NOPAD
        .decode(base64url.as_bytes())
        .map_err(|_| TokenError::Signature)?;
    let payload: Payload = serde_json::from_slice(&json).map_err(|_| TokenError::Claims)?;
    Ok(payload.iss)
}

/// The topics that a token lists.
pub(super) fn parse_topics(names: &[String]) -> Result<Topics, TokenError> {
    if names.len() > TOKEN_TOPICS_MAX {
        return Err(TokenError::Claims);
    }
    if names.iter().any(|name| name == ALL_TOPICS) {
        return Ok(Topics::All);
    }
    let topics: Result<Vec<Topic>, _> = names.iter().map(|name| name.parse()).collect();
    topics.map(Topics::these).map_err(|_| TokenError::Claims)
}
