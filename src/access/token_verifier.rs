//! An issuer and the keys that its tokens are checked with now.
//!
//! Decides whether a token is its issuer's and what that says; what it may do
//! here is for the rules. Invariant: an [`IssuerId`] is one issuer's keys from
//! their first to their last, and no others' after them.

use std::{fmt, sync::Arc};

use hookrill_core::{Swap, Topic};
use serde_json::value::RawValue;

use super::{
    EVERYTHING, Issuer, IssuerKeys, Key, KeySource, TokenError, TopicSource, claims::RawClaims,
    key::KeyFingerprint,
};

/// Which issuer's keys: those of one name from one place.
pub type IssuerId = usize;

/// An issuer in use.
pub(super) struct TokenVerifier {
    pub(super) issuer: Issuer,
    ring: Arc<KeyRing>,
}

/// An issuer's keys. Other rules for the same issuer have the same ring.
struct KeyRing {
    id: IssuerId,
    /// `None` where they are to be fetched and never were.
    keys: Swap<Option<Arc<IssuerKeys>>>,
}

impl TokenVerifier {
    /// A new one; those that are fetched it does not have yet.
    pub(super) fn new(issuer: Issuer, id: IssuerId) -> Self {
        let keys = match &issuer.keys {
            KeySource::Secret(secret) => Some(IssuerKeys::of(Key::secret(secret))),
            KeySource::Public(key) => Some(IssuerKeys::of(Key::clone(key))),
            KeySource::Url(_) => None,
        };
        let keys = Swap::new(keys.map(Arc::new));
        let ring = Arc::new(KeyRing { id, keys });
        Self { issuer, ring }
    }

    /// The same name and keys under other rules.
    pub(super) fn with_rules_of(&self, issuer: Issuer) -> Self {
        let ring = Arc::clone(&self.ring);
        Self { issuer, ring }
    }

    /// Which keys these are.
    pub(super) fn id(&self) -> IssuerId {
        self.ring.id
    }

    /// Takes these keys instead of those it had; whether one was dropped.
    pub(super) fn take(&self, keys: Option<IssuerKeys>) -> bool {
        let keys = keys.map(Arc::new);
        let before = self.keys();
        self.ring.keys.store(keys.clone());
        let kept = |id: &KeyFingerprint| keys.as_ref().is_some_and(|keys| keys.has(id));
        before.is_some_and(|before| !before.ids().all(kept))
    }

    /// Whether this is one of its keys now.
    pub(super) fn has(&self, id: &KeyFingerprint) -> bool {
        self.keys().is_some_and(|keys| keys.has(id))
    }

    fn keys(&self) -> Option<Arc<IssuerKeys>> {
        self.ring.keys.load().as_ref().clone()
    }

    /// What the token says, and which key has signed it.
    pub(super) fn verified(&self, token: &str) -> Result<(KeyFingerprint, RawClaims), TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Signature)?;
        let keys = self.keys().ok_or(TokenError::KeysMissing(self.id()))?;
        let candidates = keys.candidates(header.kid.as_deref(), header.alg);
        if candidates.is_empty() {
            return Err(TokenError::KeyUnknown(self.id()));
        }
        // Decoded in two steps, so that a sound token with odd claims is told
        // from one that somebody made up.
        let sound = |key: &&Key| {
            let read =
                jsonwebtoken::decode::<Box<RawValue>>(token, &key.material, key.validation());
            Some((*key.id(), read.ok()?))
        };
        let (key, sound) = candidates
            .iter()
            .find_map(sound)
            .ok_or(TokenError::Signature)?;
        // RFC 7515, section 4.1.11: whoever does not understand all that is
        // named there must refuse. Nothing is understood here, and to name
        // nothing is not allowed either.
        if sound.header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        Ok((key, RawClaims::read(sound.claims.get().as_bytes())?))
    }

    /// Whether it is by this issuer and for this gateway.
    pub(super) fn require(&self, said: &RawClaims) -> Result<(), TokenError> {
        let name = self.issuer.name.as_deref();
        if name.is_some() && said.text("iss")? != name {
            return Err(TokenError::Issuer);
        }
        let audience = &self.issuer.audience;
        let meant = said.one_or_many("aud").unwrap_or_default();
        match audience.is_empty() || audience.iter().any(|one| meant.contains(&&**one)) {
            true => Ok(()),
            false => Err(TokenError::Audience),
        }
    }

    /// The topics it may read, as text.
    pub(super) fn topics(&self, said: &RawClaims) -> Result<Vec<String>, TokenError> {
        match &self.issuer.topics {
            TopicSource::Claim(claim) => match said.0.get(&**claim) {
                Some(serde_json::Value::Array(_)) => {
                    let topics = said.one_or_many(claim).ok_or(TokenError::Claims)?;
                    Ok(topics.into_iter().map(str::to_owned).collect())
                }
                _ => Err(TokenError::Claims),
            },
            TopicSource::Templates(templates) => {
                let topics = templates.iter().map(|template| template.topic(&said.0));
                let topics: Option<Vec<String>> = topics.collect();
                let topics = topics.ok_or(TokenError::Template)?;
                let good = |topic: &String| topic == EVERYTHING || topic.parse::<Topic>().is_ok();
                match topics.iter().all(good) {
                    true => Ok(topics),
                    false => Err(TokenError::Template),
                }
            }
        }
    }
}

/// The same one, not one that is like it: an issuer that was removed and came
/// back has to confirm its tokens anew.
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
