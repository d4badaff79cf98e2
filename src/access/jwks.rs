//! The keys of an issuer: one that was configured, or a JSON Web Key Set
//! (RFC 7517, section 5) that was fetched.
//!
//! Refuses more keys than [`KEYS_MAX`]. Skips keys that are not for RS256,
//! ES256 or EdDSA signatures, and symmetric ones always: a key set is public,
//! so nothing in it can be a secret.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use super::key::{Key, KeyFingerprint};

/// The most keys that a set may have.
pub const KEYS_MAX: usize = 64;
/// The longest key id that is taken, in bytes.
const KID_BYTES_MAX: usize = 256;

/// The keys of one issuer.
#[derive(Debug, Clone)]
pub struct IssuerKeys(KeyLookup);

#[derive(Debug, Clone)]
enum KeyLookup {
    /// The one that was configured, for tokens with any key id or none.
    Only(Box<Key>),
    /// Those of a set, found by key id.
    ById(Vec<NamedKey>),
}

#[derive(Debug, Clone)]
struct NamedKey {
    kid: Option<Box<str>>,
    key: Key,
}

/// Why a text is not a key set.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// Not JSON, or without a list `keys`.
    #[error("this is not a JSON Web Key Set")]
    // Not in the text: it may repeat a string of any length from the set.
    Form(#[from] serde_json::Error),
    /// More keys than [`KEYS_MAX`].
    #[error("the key set has {0} keys; the limit is {KEYS_MAX}")]
    Many(usize),
}

#[derive(Deserialize)]
struct Jwks {
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
    pub fn from_key(key: Key) -> Self {
        Self(KeyLookup::Only(Box::new(key)))
    }

    /// The usable keys of a set.
    ///
    /// # Errors
    ///
    /// [`JwksError`]. A set without a usable key is not an error: its issuer
    /// has withdrawn every key.
    pub fn from_jwks(json: &[u8]) -> Result<Self, JwksError> {
        let jwks: Jwks = serde_json::from_slice(json)?;
        if jwks.keys.len() > KEYS_MAX {
            return Err(JwksError::Many(jwks.keys.len()));
        }
        let usable = jwks.keys.into_iter().filter_map(NamedKey::from_json);
        Ok(Self(KeyLookup::ById(usable.collect())))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.0 {
            KeyLookup::Only(_) => 1,
            KeyLookup::ById(keys) => keys.len(),
        }
    }

    /// Whether this key is among them.
    pub(super) fn contains(&self, fingerprint: &KeyFingerprint) -> bool {
        match &self.0 {
            KeyLookup::Only(key) => key.fingerprint() == fingerprint,
            KeyLookup::ById(keys) => keys.iter().any(|it| it.key.fingerprint() == fingerprint),
        }
    }

    /// Whether each of these keys is among `others` too.
    pub(super) fn are_all_in(&self, others: &Self) -> bool {
        match &self.0 {
            KeyLookup::Only(key) => others.contains(key.fingerprint()),
            KeyLookup::ById(keys) => keys.iter().all(|it| others.contains(it.key.fingerprint())),
        }
    }

    /// The keys that may have signed a token with this header. A token without
    /// a key id is accepted where only one key fits it.
    pub(super) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Vec<&Key> {
        let keys = match &self.0 {
            KeyLookup::Only(key) => return vec![key],
            KeyLookup::ById(keys) => keys.iter(),
        };
        let mut fitting: Vec<_> = keys
            .filter(|it| it.key.algorithm() == algorithm)
            .filter(|it| kid.is_none() || it.kid.as_deref() == kid)
            .map(|it| &it.key)
            .collect();
        if kid.is_none() && fitting.len() > 1 {
            fitting.clear();
        }
        debug_assert!(fitting.len() <= KEYS_MAX);
        fitting
    }
}

impl NamedKey {
    fn from_json(value: Value) -> Option<Self> {
        let mut jwk: Jwk = serde_json::from_value(value).ok()?;
        if !jwk.is_for_signatures() || !jwk.has_short_kid() {
            return None;
        }
        Some(Self {
            kid: jwk.kid.take(),
            key: jwk.into_key()?,
        })
    }
}

impl Jwk {
    fn is_for_signatures(&self) -> bool {
        let by_use = self.purpose.as_deref().is_none_or(|it| it == "sig");
        let by_ops = match &self.key_ops {
            Some(ops) => ops.iter().any(|op| op == "verify"),
            None => true,
        };
        by_use && by_ops
    }

    fn has_short_kid(&self) -> bool {
        self.kid
            .as_ref()
            .is_none_or(|kid| kid.len() <= KID_BYTES_MAX)
    }

    fn into_key(self) -> Option<Key> {
        let (key, algorithms): (_, &[&str]) = match (&*self.kty, self.crv.as_deref()) {
            ("RSA", None) => {
                let key = Key::from_rsa(&bytes(self.n)?, &bytes(self.e)?);
                (key, &["RS256"])
            }
            ("EC", Some("P-256")) => {
                let key = Key::from_p256(&bytes(self.x)?, &bytes(self.y)?);
                (key, &["ES256"])
            }
            // RFC 9864 gives EdDSA with this curve a name of its own.
            ("OKP", Some("Ed25519")) => {
                let key = Key::from_ed25519(&bytes(self.x)?);
                (key, &["EdDSA", "Ed25519"])
            }
            _ => return None,
        };
        match self.alg {
            Some(alg) if !algorithms.contains(&&*alg) => None,
            _ => key.ok(),
        }
    }
}

fn bytes(base64url: Option<String>) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(base64url?.as_bytes()).ok()
}
