//! Who may subscribe to what: tokens in, [`Grant`]s out.
//!
//! A token is a JWT (RFC 7519) signed with HS256. Time is an argument. What a
//! token says is verified once and kept; whether it holds now, and for these
//! topics, is asked each time.
//! Invariant: only [`Access::check`] makes a [`Grant`], and `subscribe` opens
//! no stream without one.

mod proven;

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    event::{Timestamp, Topic, TopicMap, Topics},
    verify::Secret,
};
use proven::{Kept, Proven};

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
#[derive(Debug, Clone)]
pub struct Settings {
    /// The HS256 secret that signs subscriber tokens; `None` where no topic
    /// needs one.
    pub secret: Option<Secret>,
    /// By how much `exp` may be past.
    pub leeway: Duration,
    /// Per topic: who may subscribe.
    pub policies: TopicMap<Policy>,
}

/// The longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The most topics that a token may name.
pub const TOKEN_TOPICS_MAX: usize = 1_000;
/// In a token: every topic.
const EVERYTHING: &str = "*";

/// The right to a stream of certain topics, until a certain instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    topics: Topics,
    expires_at: Option<Timestamp>,
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

    /// Everything, for ever: for tests of the rooms above.
    #[cfg(test)]
    pub(crate) fn of(topics: Topics, expires_at: Option<Timestamp>) -> Self {
        Self { topics, expires_at }
    }
}

/// Why a subscription was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nothing configures the topic.
    #[error("no topic {0} is configured")]
    UnknownTopic(Topic),
    /// A token is needed and none came.
    #[error("a token is needed")]
    TokenMissing,
    /// A token came that does not hold.
    #[error("the token is not valid: {0}")]
    TokenBad(TokenError),
    /// The token is good for other topics.
    #[error("the token does not cover {0}")]
    NotCovered(Box<str>),
}

/// Why a token does not hold. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No secret is configured that could have signed it.
    #[error("no secret is configured to check it with")]
    NoSecret,
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    Long,
    /// Not a JWT, another algorithm than HS256, or another secret.
    #[error("its form, algorithm or signature is wrong")]
    Signature,
    /// It has a `crit` header, and names what must be understood.
    #[error("its header demands extensions (`crit`) and none is known here")]
    Critical,
    /// Claims that do not have the documented form.
    #[error("it needs the claims `exp`, a time, and `topics`, a list of topics or \"*\"")]
    Claims,
    /// `exp` is past.
    #[error("it has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("it is not valid yet")]
    NotYet,
}

/// What a subscriber token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The topics it may read with their subtopics; `"*"` for all.
    pub topics: Vec<String>,
    /// Until when, in seconds since the Unix epoch.
    #[serde(deserialize_with = "numeric_date")]
    pub exp: u64,
    /// From when on, in seconds since the Unix epoch.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_numeric_date"
    )]
    pub nbf: Option<u64>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
}

/// A time that may have a fraction, which is dropped (RFC 7519, section 2,
/// "NumericDate").
fn numeric_date<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(from)?;
    let whole = number.as_u64();
    let fraction = || number.as_f64().filter(|secs| (0.0..9e15).contains(secs));
    whole
        .or_else(|| Some(fraction()? as u64))
        .ok_or_else(|| serde::de::Error::custom("not a time in seconds since the Unix epoch"))
}

fn some_numeric_date<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    numeric_date(from).map(Some)
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
    key: Option<DecodingKey>,
    validation: Validation,
    leeway: Duration,
    policies: TopicMap<Policy>,
    /// Good for this secret alone, so it lives and ends with it.
    kept: Kept,
}

impl Access {
    /// Takes the settings into use.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would read the system's time; `check` is given one.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self {
            key: settings
                .secret
                .as_ref()
                .map(|secret| DecodingKey::from_secret(secret.expose())),
            validation,
            leeway: settings.leeway,
            policies: settings.policies.clone(),
            kept: Kept::new(),
        }
    }

    /// Grants a stream of `topics` to whoever presents `token`.
    ///
    /// Where no topic needs a token, none is looked at: an old cookie must not
    /// close a public stream.
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
        if !self.needs_token(&topics)? {
            return Ok(Grant {
                topics,
                expires_at: None,
            });
        }
        let token = token.ok_or(AccessError::TokenMissing)?;
        let proven = self.proven(token, now).map_err(AccessError::TokenBad)?;
        self.require(&topics, &proven.covered)?;
        Ok(Grant {
            topics,
            expires_at: Some(proven.expires_at),
        })
    }

    fn needs_token(&self, topics: &Topics) -> Result<bool, AccessError> {
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

    /// What the token says, if it holds now.
    fn proven(&self, token: &str, now: Timestamp) -> Result<Arc<Proven>, TokenError> {
        let key = self.key.as_ref().ok_or(TokenError::NoSecret)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Long);
        }
        let name = proven::name(token);
        if let Some(proven) = self.kept.find(&name) {
            self.require_now(&proven, now)?;
            return Ok(proven);
        }
        let proven = Arc::new(self.verify(token, key)?);
        self.require_now(&proven, now)?;
        // Only what held: whoever makes tokens up must not push others out.
        self.kept.put(name, &proven);
        Ok(proven)
    }

    fn verify(&self, token: &str, key: &DecodingKey) -> Result<Proven, TokenError> {
        // Decoded in two steps, so that a sound token with odd claims is told
        // from one that somebody made up.
        let sound = jsonwebtoken::decode::<serde_json::Value>(token, key, &self.validation)
            .map_err(|_| TokenError::Signature)?;
        // RFC 7515, section 4.1.11: whoever does not understand all that is
        // named there must refuse. Nothing is understood here, and to name
        // nothing is not allowed either.
        if sound.header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let claims: Claims =
            serde_json::from_value(sound.claims).map_err(|_| TokenError::Claims)?;
        Ok(Proven {
            covered: covered_by(&claims)?,
            // One instant for admission and for the end of the stream.
            expires_at: Timestamp::from_unix_secs(claims.exp).plus(self.leeway),
            from: claims.nbf.map(Timestamp::from_unix_secs),
        })
    }

    /// Asked at each use: time passes, also for what is kept.
    fn require_now(&self, proven: &Proven, now: Timestamp) -> Result<(), TokenError> {
        if now >= proven.expires_at {
            return Err(TokenError::Expired);
        }
        let early = |from| now.plus(self.leeway) < from;
        if proven.from.is_some_and(early) {
            return Err(TokenError::NotYet);
        }
        Ok(())
    }

    fn require(&self, topics: &Topics, covered: &Topics) -> Result<(), AccessError> {
        let Topics::These(wanted) = topics else {
            return match covered {
                Topics::All => Ok(()),
                Topics::These(_) => Err(AccessError::NotCovered(EVERYTHING.into())),
            };
        };
        let open = |topic: &Topic| self.policies.lookup(topic) == Some(&Policy::Public);
        match wanted.iter().find(|t| !open(t) && !covered.contains(t)) {
            Some(topic) => Err(AccessError::NotCovered(topic.as_str().into())),
            None => Ok(()),
        }
    }
}

fn covered_by(claims: &Claims) -> Result<Topics, TokenError> {
    if claims.topics.len() > TOKEN_TOPICS_MAX {
        return Err(TokenError::Claims);
    }
    if claims.topics.iter().any(|topic| topic == EVERYTHING) {
        return Ok(Topics::All);
    }
    let topics: Result<Vec<Topic>, _> = claims.topics.iter().map(|topic| topic.parse()).collect();
    topics.map(Topics::these).map_err(|_| TokenError::Claims)
}

#[cfg(test)]
mod tests;
