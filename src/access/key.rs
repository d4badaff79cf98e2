//! One key that verifies tokens, and the one algorithm that it is for.
//!
//! Reads PEM public keys (RFC 7468, `SubjectPublicKeyInfo` of RFC 5280) of
//! RSA, P-256 and Ed25519. Refuses private keys, which have no business here,
//! and RSA keys outside 2048 to 8192 bits. Invariant: the algorithm comes from
//! the key and never from a token, so no public key can serve as an HMAC
//! secret, and `none` is never an algorithm.

use std::fmt;

use data_encoding::BASE64;
use hookrill_core::Secret;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use sha2::{Digest as _, Sha256};
use spki::{
    AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfoRef,
    der::{
        self, Decode as _, Reader as _, SliceReader,
        asn1::{AnyRef, UintRef},
    },
};

/// A SHA-256 that identifies a key without revealing it.
pub(super) type KeyFingerprint = [u8; 32];

/// A key with its algorithm.
#[derive(Clone)]
pub struct Key {
    fingerprint: KeyFingerprint,
    material: DecodingKey,
    algorithm: Algorithm,
    validation: Validation,
}

/// Why a text is not a key that can verify tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not PEM, or not a public key in DER.
    #[error("this is not a PEM public key; one starts with -----BEGIN PUBLIC KEY-----")]
    Form,
    /// PEM with a private key in it.
    #[error("this is a private key; use its public half: openssl pkey -in KEY -pubout")]
    Private,
    /// Another algorithm or curve.
    #[error("the key must be for RS256 (RSA), ES256 (P-256) or EdDSA (Ed25519)")]
    Kind,
    /// An RSA key outside the bounds.
    #[error("an RSA key must have 2048 to 8192 bits")]
    Size,
}

impl Key {
    /// The key of HS256.
    #[must_use]
    pub fn from_secret(secret: &Secret) -> Self {
        let material = DecodingKey::from_secret(secret.expose());
        Self::new(Algorithm::HS256, material, &[secret.expose()])
    }

    /// The public key in a PEM text; its kind decides the algorithm.
    ///
    /// # Errors
    ///
    /// [`KeyError`], which repeats nothing of the text.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
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
        Self::from_spki(&der.map_err(|_| KeyError::Form)?)
    }

    fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        /// `rsaEncryption` with `NULL` (RFC 3279, section 2.3.1).
        const RSA: AlgorithmIdentifierRef<'_> = AlgorithmIdentifierRef {
            oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
            parameters: Some(AnyRef::NULL),
        };
        /// `id-ecPublicKey`; the curve is its parameter (RFC 5480, section 2.1.1).
        const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
        const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
        /// `id-Ed25519` without parameters (RFC 8410, section 3).
        const ED25519: AlgorithmIdentifierRef<'_> = AlgorithmIdentifierRef {
            oid: ObjectIdentifier::new_unwrap("1.3.101.112"),
            parameters: None,
        };
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Form)?;
        let key = spki.subject_public_key.as_bytes().ok_or(KeyError::Form)?;
        let algorithm = spki.algorithm;
        if algorithm == RSA {
            let (modulus, exponent) = rsa_numbers(key).map_err(|_| KeyError::Form)?;
            Self::from_rsa(modulus.as_bytes(), exponent.as_bytes())
        } else if algorithm.assert_oids(EC, P256).is_ok() {
            // Uncompressed, as every provider writes it (SEC 1, section 2.3.3).
            let point = key.strip_prefix(&[0x04]).ok_or(KeyError::Form)?;
            let (x, y) = point.split_at_checked(32).ok_or(KeyError::Form)?;
            Self::from_p256(x, y)
        } else if algorithm == ED25519 {
            Self::from_ed25519(key)
        } else {
            Err(KeyError::Kind)
        }
    }

    /// RS256, by big-endian modulus and exponent.
    pub(super) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
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
    pub(super) fn from_p256(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if x.len() != 32 || y.len() != 32 {
            return Err(KeyError::Form);
        }
        let point = [&[0x04], x, y].concat();
        let material = DecodingKey::from_ec_der(&point);
        Ok(Self::new(Algorithm::ES256, material, &[&point]))
    }

    /// EdDSA with Ed25519.
    pub(super) fn from_ed25519(key: &[u8]) -> Result<Self, KeyError> {
        if key.len() != 32 {
            return Err(KeyError::Form);
        }
        let material = DecodingKey::from_ed_der(key);
        Ok(Self::new(Algorithm::EdDSA, material, &[key]))
    }

    fn new(algorithm: Algorithm, material: DecodingKey, parts: &[&[u8]]) -> Self {
        let mut validation = Validation::new(algorithm);
        // The library would read the system's time; `check` is given one.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let mut hash = Sha256::new();
        hash.update(format!("{algorithm:?}"));
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let key = Self {
            fingerprint: hash.finalize().into(),
            material,
            algorithm,
            validation,
        };
        key.assert_one_algorithm();
        key
    }

    /// Which key it is.
    pub(super) fn fingerprint(&self) -> &KeyFingerprint {
        &self.fingerprint
    }

    /// What a token's `alg` has to be.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What the library verifies a token with: this key, this algorithm and no
    /// other, and no claim.
    pub(super) fn verification(&self) -> (&DecodingKey, &Validation) {
        self.assert_one_algorithm();
        (&self.material, &self.validation)
    }

    /// The file's invariant: no token can choose another algorithm.
    fn assert_one_algorithm(&self) {
        assert_eq!(self.validation.algorithms, [self.algorithm]);
    }

    /// The same key by name, with other bytes: verifies nothing that the
    /// original did.
    #[cfg(test)]
    pub(super) fn with_material(mut self, material: DecodingKey) -> Self {
        self.material = material;
        self
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?})", self.algorithm)
    }
}

/// `SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017, section
/// A.1.1).
fn rsa_numbers(der: &[u8]) -> der::Result<(UintRef<'_>, UintRef<'_>)> {
    let mut reader = SliceReader::new(der)?;
    let numbers = reader.sequence(|inner| Ok((UintRef::decode(inner)?, inner.decode()?)));
    reader.finish()?;
    numbers
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests;
