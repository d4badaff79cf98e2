//! The keys of an issuer: one that was configured, or a JSON Web Key Set
//! (RFC 7517, section 5) that somebody fetched.
//!
//! Refuses more keys than [`KEYS_MAX`]. Skips what is not for signatures of
//! RS256, ES256 or EdDSA, and symmetric keys always: a set is public, and a
//! secret in it is none.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use super::key::{Key, KeyFingerprint};

/// The most keys that a set may have.
pub const KEYS_MAX: usize = 64;
/// The longest key id that is known, in bytes.
const KID_BYTES_MAX: usize = 256;

/// The keys of one issuer.
#[derive(Debug, Clone)]
pub struct IssuerKeys {
    keys: Vec<(Option<Box<str>>, Key)>,
    /// Whether a key id matters; a single configured key takes any.
    by_id: bool,
}

/// Why a text is no key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not JSON, or without a list `keys`.
    #[error("this is no JSON Web Key Set")]
    Form,
    /// More keys than [`KEYS_MAX`].
    #[error("the set has more than {KEYS_MAX} keys")]
    Many,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// A key as it is written (RFC 7517, section 4; RFC 7518, section 6).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<Box<str>>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl IssuerKeys {
    /// One key that was configured.
    #[must_use]
    pub fn of(key: Key) -> Self {
        Self {
            keys: vec![(None, key)],
            by_id: false,
        }
    }

    /// The usable keys of a set.
    ///
    /// # Errors
    ///
    /// [`JwksError`]. A set without a usable key is a set: its issuer has
    /// withdrawn all that it signed.
    pub fn of_set(json: &[u8]) -> Result<Self, JwksError> {
        let set: Set = serde_json::from_slice(json).map_err(|_| JwksError::Form)?;
        if set.keys.len() > KEYS_MAX {
            return Err(JwksError::Many);
        }
        let usable = |value| serde_json::from_value::<Jwk>(value).ok()?.key();
        Ok(Self {
            keys: set.keys.into_iter().filter_map(usable).collect(),
            by_id: true,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Which ones.
    pub(super) fn ids(&self) -> impl Iterator<Item = &KeyFingerprint> {
        self.keys.iter().map(|(_, key)| key.id())
    }

    /// Whether this key is still among them.
    pub(super) fn has(&self, id: &KeyFingerprint) -> bool {
        self.keys.iter().any(|(_, key)| key.id() == id)
    }

    /// The keys that may have signed a token with this header. One without a
    /// key id is taken where there is no choice.
    pub(super) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<&Key> {
        let fitting = |key: &Key| !self.by_id || key.algorithm() == Some(algorithm);
        let named = |name: Option<&str>| !self.by_id || kid.is_none() || name == kid;
        let found: Vec<_> = self
            .keys
            .iter()
            .filter(|(name, key)| named(name.as_deref()) && fitting(key))
            .map(|(_, key)| key)
            .collect();
        match self.by_id && kid.is_none() && found.len() > 1 {
            true => Vec::new(),
            false => found,
        }
    }
}

impl Jwk {
    fn key(self) -> Option<(Option<Box<str>>, Key)> {
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        let for_signatures = self
            .purpose
            .as_deref()
            .is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(verifies);
        let known = self
            .kid
            .as_ref()
            .is_none_or(|kid| kid.len() <= KID_BYTES_MAX);
        if !for_signatures || !known {
            return None;
        }
        let (key, algorithms): (_, &[&str]) = match (&*self.kty, self.crv.as_deref()) {
            ("RSA", None) => (Key::rsa(&bytes(self.n)?, &bytes(self.e)?), &["RS256"]),
            ("EC", Some("P-256")) => (Key::p256(&bytes(self.x)?, &bytes(self.y)?), &["ES256"]),
            // RFC 9864 gives EdDSA with this curve a name of its own.
            ("OKP", Some("Ed25519")) => (Key::ed25519(&bytes(self.x)?), &["EdDSA", "Ed25519"]),
            _ => return None,
        };
        let fits = self
            .alg
            .as_deref()
            .is_none_or(|alg| algorithms.contains(&alg));
        fits.then_some((self.kid, key.ok()?))
    }
}

fn bytes(base64url: Option<String>) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(base64url?.as_bytes()).ok()
}
