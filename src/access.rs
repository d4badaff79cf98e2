//! Who may subscribe to what: tokens in, [`Grant`]s out.
//!
//! A token is a JWT (RFC 7519) signed with HS256. Time is an argument.
//! Invariant: only [`Access::check`] makes a [`Grant`], and `subscribe` opens
//! no stream without one.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    event::{Timestamp, Topic, TopicMap, Topics},
    verify::Secret,
};

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
        let (claims, expires_at) = self.claims(token, now).map_err(AccessError::TokenBad)?;
        let covered = covered_by(&claims).map_err(AccessError::TokenBad)?;
        self.require(&topics, &covered)?;
        Ok(Grant {
            topics,
            expires_at: Some(expires_at),
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

    fn claims(&self, token: &str, now: Timestamp) -> Result<(Claims, Timestamp), TokenError> {
        let key = self.key.as_ref().ok_or(TokenError::NoSecret)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Long);
        }
        // Decoded in two steps, so that a sound token with odd claims is told
        // from one that somebody made up.
        let proven = jsonwebtoken::decode::<serde_json::Value>(token, key, &self.validation)
            .map_err(|_| TokenError::Signature)?;
        let claims: Claims =
            serde_json::from_value(proven.claims).map_err(|_| TokenError::Claims)?;
        // One instant for admission and for the end of the stream.
        let expires_at = Timestamp::from_unix_secs(claims.exp).plus(self.leeway);
        if now >= expires_at {
            return Err(TokenError::Expired);
        }
        let from = claims.nbf.map(Timestamp::from_unix_secs);
        if from.is_some_and(|from| now.plus(self.leeway) < from) {
            return Err(TokenError::NotYet);
        }
        Ok((claims, expires_at))
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
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_000_000);

    fn secret() -> Secret {
        Secret::new(*b"0123456789abcdef0123456789abcdef")
    }

    fn access() -> Access {
        let topic = |name: &str| name.parse().unwrap();
        let named = [
            (topic("open"), Policy::Public),
            (topic("shut"), Policy::Token),
        ];
        Access::new(&Settings {
            secret: Some(secret()),
            leeway: Duration::from_secs(5),
            policies: TopicMap::new(named.into(), None),
        })
    }

    fn topics(names: &[&str]) -> Topics {
        Topics::these(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    fn signed(algorithm: Algorithm, claims: &Value, key: &[u8]) -> String {
        jsonwebtoken::encode(
            &Header::new(algorithm),
            claims,
            &EncodingKey::from_secret(key),
        )
        .unwrap()
    }

    fn token(claims: &Value) -> String {
        signed(Algorithm::HS256, claims, secret().expose())
    }

    #[test]
    fn public_topics_need_no_token_and_look_at_none() {
        let grant = access().check(topics(&["open.a"]), Some("rubbish"), NOW);
        assert_eq!(grant.unwrap().expires_at(), None);
    }

    #[test]
    fn a_token_covers_its_topics_and_what_is_below_them() {
        let shut = token(&json!({"topics": ["shut.a"], "exp": 1_000_010}));
        let all = token(&json!({"topics": ["*"], "exp": 1_000_010}));
        let unknown = |name: &str| AccessError::UnknownTopic(name.parse().unwrap());
        let not_covered = |name: &str| AccessError::NotCovered(name.into());
        for (wanted, token, expected) in [
            (topics(&["shut.a"]), Some(&shut), Ok(())),
            (topics(&["shut.a.b", "open"]), Some(&shut), Ok(())),
            (topics(&["shut"]), Some(&shut), Err(not_covered("shut"))),
            (
                topics(&["shut.ab"]),
                Some(&shut),
                Err(not_covered("shut.ab")),
            ),
            (topics(&["other"]), Some(&all), Err(unknown("other"))),
            (topics(&["shut"]), None, Err(AccessError::TokenMissing)),
            (
                topics(&["shut", "open"]),
                None,
                Err(AccessError::TokenMissing),
            ),
            (Topics::All, Some(&shut), Err(not_covered("*"))),
            (Topics::All, None, Err(AccessError::TokenMissing)),
            (Topics::All, Some(&all), Ok(())),
        ] {
            let granted = access().check(wanted.clone(), token.map(String::as_str), NOW);
            assert_eq!(granted.map(|_| ()), expected, "{wanted:?}");
        }
    }

    #[test]
    fn admission_and_the_end_of_the_stream_are_one_instant() {
        let token = token(&json!({"topics": ["shut"], "exp": 1_000_000}));
        let at = |secs: u64, ms: u64| {
            let now = Timestamp::from_unix_ms(secs * 1000 + ms);
            access().check(topics(&["shut"]), Some(&token), now)
        };
        let ends = Timestamp::from_unix_secs(1_000_005);
        assert_eq!(at(1_000_004, 999).unwrap().expires_at(), Some(ends));
        let expired = AccessError::TokenBad(TokenError::Expired);
        assert_eq!(at(1_000_005, 0), Err(expired));
    }

    #[test]
    fn a_token_that_does_not_hold_is_refused() {
        let good = json!({"topics": ["shut"], "exp": 1_000_010});
        let unsigned = {
            let part = |json: Value| BASE64URL_NOPAD.encode(json.to_string().as_bytes());
            format!("{}.{}.", part(json!({"alg": "none"})), part(good.clone()))
        };
        let hs512 = signed(Algorithm::HS512, &good, secret().expose());
        let other_key = signed(Algorithm::HS256, &good, b"another secret");
        let mut changed = token(&good);
        changed.replace_range(changed.len() - 5..changed.len() - 4, "-");
        for (bad, why) in [
            (String::new(), TokenError::Signature),
            ("a.b.c".into(), TokenError::Signature),
            (unsigned, TokenError::Signature),
            (hs512, TokenError::Signature),
            (other_key, TokenError::Signature),
            (changed, TokenError::Signature),
            ("x".repeat(TOKEN_BYTES_MAX + 1), TokenError::Long),
            (token(&json!({"topics": ["shut"]})), TokenError::Claims),
            (token(&json!({"exp": 1_000_010})), TokenError::Claims),
            (
                token(&json!({"topics": "shut", "exp": 1_000_010})),
                TokenError::Claims,
            ),
            (
                token(&json!({"topics": ["a b"], "exp": 1_000_010})),
                TokenError::Claims,
            ),
            (
                token(&json!({"topics": ["shut"], "exp": "soon"})),
                TokenError::Claims,
            ),
            (
                token(&json!({"topics": ["shut"], "exp": 1e300})),
                TokenError::Claims,
            ),
            (
                token(&json!({"topics": ["shut"], "exp": -1})),
                TokenError::Claims,
            ),
            (
                token(&json!({"topics": ["shut"], "exp": 999_995})),
                TokenError::Expired,
            ),
            (
                token(&json!({"topics": ["shut"], "exp": 1_000_010, "nbf": 1_000_006})),
                TokenError::NotYet,
            ),
        ] {
            let granted = access().check(topics(&["shut"]), Some(&bad), NOW);
            assert_eq!(granted, Err(AccessError::TokenBad(why)), "{bad}");
        }
    }

    #[test]
    fn a_time_may_have_a_fraction() {
        let token = token(&json!({"topics": ["shut"], "exp": 1_000_010.9, "nbf": 999_999.5}));
        let granted = access()
            .check(topics(&["shut"]), Some(&token), NOW)
            .unwrap();
        let ends = Timestamp::from_unix_secs(1_000_015);
        assert_eq!(granted.expires_at(), Some(ends));
    }

    #[test]
    fn a_minted_token_is_a_good_token() {
        let claims = Claims {
            topics: vec!["shut".into()],
            exp: 1_000_010,
            nbf: None,
            sub: Some("someone".into()),
        };
        let token = mint(&secret(), &claims).unwrap();
        assert!(access().check(topics(&["shut"]), Some(&token), NOW).is_ok());
    }
}
