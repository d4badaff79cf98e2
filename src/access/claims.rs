//! What a token says, read strictly.
//!
//! Refuses a name that stands twice (RFC 7519, section 4 lets a reader do
//! so): two readers of one token could see two values. A time may have a
//! fraction, which is dropped (section 2, "NumericDate").

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::TokenError;

/// A subscriber token's claims, for [`mint`](super::mint).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Claims {
    /// The topics it may read with their subtopics; `"*"` for all.
    pub topics: Vec<String>,
    /// Until when, in seconds since the Unix epoch.
    pub exp: u64,
    /// From when on, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Since when, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Its name, by which it can be revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// For whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Whether bodies are whole, whatever is hidden from others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
}

/// Claims as they stand in a token.
pub(super) struct RawClaims(pub(super) Map<String, Value>);

impl RawClaims {
    /// Reads the text of a token's second part.
    pub(super) fn read(json: &[u8]) -> Result<Self, TokenError> {
        serde_json::from_slice(json).map_err(|_| TokenError::Claims)
    }

    /// A text, if the claim is there.
    pub(super) fn text(&self, claim: &str) -> Result<Option<&str>, TokenError> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::Claims),
        }
    }

    /// A time in seconds since the Unix epoch, if the claim is there.
    pub(super) fn time(&self, claim: &str) -> Result<Option<u64>, TokenError> {
        let Some(value) = self.0.get(claim) else {
            return Ok(None);
        };
        let fraction = || value.as_f64().filter(|secs| (0.0..9e15).contains(secs));
        let secs = value.as_u64().or_else(|| Some(fraction()? as u64));
        secs.map(Some).ok_or(TokenError::Claims)
    }

    /// Whether the claim is there and `true`: anything else gives no more.
    pub(super) fn is_true(&self, claim: &str) -> bool {
        self.0.get(claim) == Some(&Value::Bool(true))
    }

    /// The texts of a list, or one that stands alone; `None` where the claim
    /// is not there, or is neither.
    pub(super) fn one_or_many(&self, claim: &str) -> Option<Vec<&str>> {
        match self.0.get(claim)? {
            Value::String(one) => Some(vec![one]),
            Value::Array(many) => many.iter().map(Value::as_str).collect(),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for RawClaims {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(UniqueClaims)
    }
}

/// Reads an object in which each name stands once.
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
                return Err(A::Error::custom("a claim stands twice"));
            }
        }
        Ok(RawClaims(claims))
    }
}
