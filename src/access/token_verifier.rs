//! Verifies the tokens of one issuer with the keys it has now.
//!
//! Decides whether a token is its issuer's, and what it says; what it may do
//! here is for the rules. Invariant: an [`IssuerId`] stands for one issuer's
//! keys from the first to the last, and never for another's.

use std::{fmt, sync::Arc};

use hookrill_core::{Swap, Topic};
use serde_json::value::RawValue;

use super::{
    claims::RawClaims,
    error::TokenError,
    issuer::{ALL_TOPICS, Issuer, IssuerId, KeySource, Template, TopicSource},
    jwks::IssuerKeys,
    key::{Key, KeyFingerprint},
};

/// An issuer that is in use, and what verifies its tokens.
pub(super) struct TokenVerifier {
    issuer: Issuer,
    ring: Arc<KeyRing>,
}

/// An issuer's keys. Verifiers of the same issuer under other rules share it.
struct KeyRing {
    id: IssuerId,
    /// `None` while they could not be fetched.
    keys: Swap<Option<Arc<IssuerKeys>>>,
}

impl TokenVerifier {
    /// A verifier with the issuer's configured keys; keys at a URL are missing
    /// until [`set_keys`](Self::set_keys).
    pub(super) fn new(issuer: Issuer, id: IssuerId) -> Self {
        let keys = match &issuer.keys {
            KeySource::Secret(secret) => Some(IssuerKeys::from_key(Key::from_secret(secret))),
            KeySource::Public(key) => Some(IssuerKeys::from_key(Key::clone(key))),
            KeySource::Url(_) => None,
        };
        let keys = Swap::new(keys.map(Arc::new));
        let ring = Arc::new(KeyRing { id, keys });
        Self { issuer, ring }
    }

    /// A verifier for the same name and keys, configured otherwise.
    pub(super) fn reconfigured(&self, issuer: Issuer) -> Self {
        assert!(
            self.issuer.has_keys_of(&issuer),
            "keys stay with their issuer"
        );
        let ring = Arc::clone(&self.ring);
        Self { issuer, ring }
    }

    /// What it was made from.
    pub(super) fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Which issuer's keys these are.
    pub(super) fn id(&self) -> IssuerId {
        self.ring.id
    }

    /// Replaces the keys; returns whether one of those before is gone.
    pub(super) fn set_keys(&self, keys: Option<IssuerKeys>) -> bool {
        let keys = keys.map(Arc::new);
        let before = self.keys();
        self.ring.keys.store(keys.clone());
        match (before, keys) {
            (None, _) => false,
            (Some(before), None) => before.count() > 0,
            (Some(before), Some(now)) => !before.are_all_in(&now),
        }
    }

    /// Whether this is one of its keys now.
    pub(super) fn has_key(&self, key: &KeyFingerprint) -> bool {
        self.keys().is_some_and(|keys| keys.contains(key))
    }

    fn keys(&self) -> Option<Arc<IssuerKeys>> {
        self.ring.keys.load().as_ref().clone()
    }

    /// Verifies the signature; returns which key did so, and the claims.
    pub(super) fn verify(&self, token: &str) -> Result<(KeyFingerprint, RawClaims), TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Signature)?;
        let keys = self.keys().ok_or(TokenError::KeysMissing(self.id()))?;
        let candidates = keys.candidates(header.kid.as_deref(), header.alg);
        if candidates.is_empty() {
            return Err(TokenError::KeyUnknown(self.id()));
        }
        for key in candidates {
            let (material, validation) = key.verification();
            // The claims are read in a second step, so that a signed token with
            // odd claims is told from one that somebody made up.
            let decoded = jsonwebtoken::decode::<Box<RawValue>>(token, material, validation);
            let Ok(signed) = decoded else {
                continue;
            };
            // RFC 7515, section 4.1.11: a verifier must refuse a token unless
            // it understands every extension that `crit` names. This one
            // understands none, and an empty `crit` is not allowed.
            if signed.header.crit.is_some() {
                return Err(TokenError::Critical);
            }
            let claims = RawClaims::from_json(signed.claims.get().as_bytes())?;
            return Ok((*key.fingerprint(), claims));
        }
        Err(TokenError::Signature)
    }

    /// Whether the token is by this issuer and for this gateway.
    pub(super) fn check_claims(&self, claims: &RawClaims) -> Result<(), TokenError> {
        let name = self.issuer.name.as_deref();
        if name.is_some() && claims.string("iss")? != name {
            return Err(TokenError::Issuer);
        }
        let accepted = &self.issuer.audience;
        let audience = claims.one_or_many("aud").unwrap_or_default();
        let is_meant = accepted.iter().any(|one| audience.contains(&&**one));
        if accepted.is_empty() || is_meant {
            Ok(())
        } else {
            Err(TokenError::Audience)
        }
    }

    /// The topics that the token may read, as text.
    pub(super) fn topics(&self, claims: &RawClaims) -> Result<Vec<String>, TokenError> {
        match &self.issuer.topics {
            TopicSource::Claim(claim) => {
                let topics = claims.list(claim)?;
                Ok(topics.into_iter().map(str::to_owned).collect())
            }
            TopicSource::Templates(templates) => {
                let topics = templates.iter().map(|template| filled(template, claims));
                topics.collect()
            }
        }
    }
}

fn filled(template: &Template, claims: &RawClaims) -> Result<String, TokenError> {
    let topic = template.fill(claims.as_map()).ok_or(TokenError::Template)?;
    if topic == ALL_TOPICS || topic.parse::<Topic>().is_ok() {
        Ok(topic)
    } else {
        Err(TokenError::Template)
    }
}

/// Equal only to itself, not to one that looks the same: an issuer that was
/// removed and came back has to verify its tokens again.
impl PartialEq for TokenVerifier {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for TokenVerifier {}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenVerifier({:?})", self.issuer.name)
    }
}
