//! A token's claims, read strictly.
//!
//! Refuses a claim name that occurs twice, as RFC 7519, section 4 allows: two
//! readers of one token could see two values. A time may have a fraction, which
//! is dropped (section 2, "NumericDate").

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::error::TokenError;

/// Seconds beyond which a fractional time is refused; far beyond any calendar,
/// and still exact as a float.
const FRACTIONAL_SECS_MAX: f64 = 9e15;

/// A subscriber token's claims, for [`mint`](super::mint).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Claims {
    /// The topics it may read with their subtopics; `"*"` for all.
    pub topics: Vec<String>,
    /// When it expires, in seconds since the Unix epoch.
    pub exp: u64,
    /// When it becomes valid, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// When it was issued, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Its id, by which it can be revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Its subject: who it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Whether it shows whole bodies, whatever is hidden from others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
    /// Whether it shows deliveries as they came: every header that is kept, those that
    /// signatures are in among them, the target, and the exact body.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deliveries: bool,
}

/// Claims as a token has them, not yet checked.
pub(super) struct RawClaims(Map<String, Value>);

impl RawClaims {
    /// Reads the JSON of a token's second part.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, TokenError> {
        serde_json::from_slice(json).map_err(|_| TokenError::Claims)
    }

    /// All of them by name.
    pub(super) fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// A string, if the claim is present.
    pub(super) fn string(&self, claim: &str) -> Result<Option<&str>, TokenError> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Claims),
        }
    }

    /// A time in seconds since the Unix epoch, if the claim is present.
    pub(super) fn time(&self, claim: &str) -> Result<Option<u64>, TokenError> {
        let Some(value) = self.0.get(claim) else {
            return Ok(None);
        };
        if let Some(secs) = value.as_u64() {
            return Ok(Some(secs));
        }
        match value.as_f64() {
            Some(secs) if (0.0..FRACTIONAL_SECS_MAX).contains(&secs) => Ok(Some(secs as u64)),
            _ => Err(TokenError::Claims),
        }
    }

    /// Whether the claim is present and `true`; any other value is false.
    pub(super) fn is_true(&self, claim: &str) -> bool {
        self.0.get(claim) == Some(&Value::Bool(true))
    }

    /// A list of strings; a single string is not a list.
    pub(super) fn list(&self, claim: &str) -> Result<Vec<&str>, TokenError> {
        match self.0.get(claim) {
            Some(Value::Array(items)) => strings(items).ok_or(TokenError::Claims),
            _ => Err(TokenError::Claims),
        }
    }

    /// The strings of a list, or the one string that is there instead of a
    /// list (RFC 7519, section 4.1.3, of `aud`); `None` for anything else.
    pub(super) fn one_or_many(&self, claim: &str) -> Option<Vec<&str>> {
        match self.0.get(claim)? {
            Value::String(one) => Some(vec![one]),
            Value::Array(items) => strings(items),
            _ => None,
        }
    }
}

/// These values, if all of them are strings.
fn strings(values: &[Value]) -> Option<Vec<&str>> {
    values.iter().map(Value::as_str).collect()
}

impl<'de> Deserialize<'de> for RawClaims {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(UniqueClaims)
    }
}

/// Reads an object in which no name occurs twice.
struct UniqueClaims;

impl<'de> Visitor<'de> for UniqueClaims {
    type Value = RawClaims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<RawClaims, A::Error> {
        let mut claims = Map::new();
        while let Some((name, value)) = from.next_entry::<String, Value>()? {
            if claims.insert(name, value).is_some() {
                return Err(A::Error::custom("a claim occurs twice"));
            }
        }
        Ok(RawClaims(claims))
    }
}
