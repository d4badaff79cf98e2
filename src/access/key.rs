//! One key that tokens are checked with, and the one algorithm that is its.
//!
//! Reads PEM public keys (RFC 7468, `SubjectPublicKeyInfo` of RFC 5280) of
//! RSA, P-256 and Ed25519; refuses private ones, which have no business here,
//! and RSA keys outside 2048 to 8192 bits. Invariant: the algorithm comes from
//! the key and never from a token, so that no public key can serve as an HMAC
//! secret, and `none` is no algorithm.

use std::fmt;

use data_encoding::BASE64;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use sha2::{Digest as _, Sha256};

use hookrill_core::Secret;

/// Says which key it was without saying the key.
pub(super) type KeyFingerprint = [u8; 32];

/// A key with its algorithm.
#[derive(Clone)]
pub struct Key {
    id: KeyFingerprint,
    pub(super) material: DecodingKey,
    validation: Validation,
}

/// Why something is no key that tokens can be checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM with a public key in it.
    #[error("this is no PEM public key: it begins with -----BEGIN PUBLIC KEY-----")]
    Form,
    /// PEM with a private key in it.
    #[error("this is a private key; write its public half: openssl pkey -in KEY -pubout")]
    Private,
    /// Another algorithm or curve.
    #[error("this key is for none of RS256 (RSA), ES256 (P-256) and EdDSA (Ed25519)")]
    Kind,
    /// An RSA key outside the bounds.
    #[error("an RSA key has 2048 to 8192 bits")]
    Size,
}

impl Key {
    /// The key of HS256.
    #[must_use]
    pub fn secret(secret: &Secret) -> Self {
        let material = DecodingKey::from_secret(secret.expose());
        Self::new(Algorithm::HS256, material, &[secret.expose()])
    }

    /// The public key of a PEM text, for the algorithm of its kind.
    ///
    /// # Errors
    ///
    /// [`KeyError`], which repeats nothing of the text.
    pub fn pem(text: &str) -> Result<Self, KeyError> {
        if text.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let body = text
            .trim()
            .strip_prefix("-----BEGIN PUBLIC KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"))
            .ok_or(KeyError::Form)?;
        let base64: String = body.split_ascii_whitespace().collect();
        let der = BASE64.decode(base64.as_bytes());
        Self::spki(&der.map_err(|_| KeyError::Form)?)
    }

    /// `SEQUENCE { AlgorithmIdentifier, BIT STRING }`. DER has one spelling
    /// for each, so the identifiers are compared as bytes.
    fn spki(der: &[u8]) -> Result<Self, KeyError> {
        /// `{ rsaEncryption, NULL }` (RFC 3279, section 2.3.1).
        const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
        /// `{ id-ecPublicKey, prime256v1 }` (RFC 5480, section 2.1.1).
        const P256: &[u8] =
            b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        /// `{ id-Ed25519 }` (RFC 8410, section 3).
        const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
        let whole = Der(der).only(SEQUENCE).ok_or(KeyError::Form)?;
        let (algorithm, rest) = Der(whole).take(SEQUENCE).ok_or(KeyError::Form)?;
        let bits = rest.only(BIT_STRING).ok_or(KeyError::Form)?;
        let Some((0, key)) = bits.split_first() else {
            return Err(KeyError::Form);
        };
        match algorithm {
            RSA => {
                let numbers = Der(key).only(SEQUENCE).ok_or(KeyError::Form)?;
                let (modulus, rest) = Der(numbers).take(INTEGER).ok_or(KeyError::Form)?;
                let exponent = rest.only(INTEGER).ok_or(KeyError::Form)?;
                Self::rsa(modulus, exponent)
            }
            P256 => match key.split_first() {
                Some((0x04, point)) if point.len() == 64 => {
                    let (x, y) = point.split_at(32);
                    Self::p256(x, y)
                }
                _ => Err(KeyError::Form),
            },
            ED25519 => Self::ed25519(key),
            _ => Err(KeyError::Kind),
        }
    }

    /// RS256, by big-endian modulus and exponent.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        // The leading byte is not zero, so this is right to seven bits.
        let bits = 8 * modulus.len();
        if !(2048..=8192).contains(&bits) || !(1..=8).contains(&exponent.len()) {
            return Err(KeyError::Size);
        }
        let material = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self::new(Algorithm::RS256, material, &[modulus, exponent]))
    }

    /// ES256, by the coordinates of its point.
    pub(super) fn p256(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if x.len() != 32 || y.len() != 32 {
            return Err(KeyError::Form);
        }
        let point = [&[0x04], x, y].concat();
        let material = DecodingKey::from_ec_der(&point);
        Ok(Self::new(Algorithm::ES256, material, &[&point]))
    }

    /// EdDSA with Ed25519.
    pub(super) fn ed25519(key: &[u8]) -> Result<Self, KeyError> {
        if key.len() != 32 {
            return Err(KeyError::Form);
        }
        let material = DecodingKey::from_ed_der(key);
        Ok(Self::new(Algorithm::EdDSA, material, &[key]))
    }

    fn new(algorithm: Algorithm, material: DecodingKey, bytes: &[&[u8]]) -> Self {
        let mut validation = Validation::new(algorithm);
        // The library would read the system's time; `check` is given one.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let mut id = Sha256::new();
        id.update(format!("{algorithm:?}"));
        for bytes in bytes {
            id.update((bytes.len() as u64).to_be_bytes());
            id.update(bytes);
        }
        Self {
            id: id.finalize().into(),
            material,
            validation,
        }
    }

    /// Which key it is.
    pub(super) fn id(&self) -> &KeyFingerprint {
        &self.id
    }

    /// What a token's `alg` has to be.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.validation.algorithms.first().copied()
    }

    /// For the library: this algorithm and no other, and no claim.
    pub(super) fn validation(&self) -> &Validation {
        &self.validation
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.algorithm())
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Elements of DER (X.690, section 8.1), one after the other.
#[derive(Clone, Copy)]
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The content of the next element, which has this tag, and what follows.
    fn take(self, tag: u8) -> Option<(&'d [u8], Self)> {
        let (&found, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 | 0x82 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0, |n, &d| n << 8 | usize::from(d));
                (length, rest)
            }
            // Longer than any key that is taken.
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        (found == tag).then_some((content, Self(rest)))
    }

    /// The content of the only element.
    fn only(self, tag: u8) -> Option<&'d [u8]> {
        let (content, rest) = self.take(tag)?;
        rest.0.is_empty().then_some(content)
    }
}
