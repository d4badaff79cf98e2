//! MACs over a message in pieces: HMAC (RFC 2104), and the older construction
//! that hashes the secret in front of the message.
//!
//! Invariant: MACs are compared as bytes and in constant time, and one of
//! another length never matches.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use hookrill_core::Secret;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq as _;

use crate::scheme::{Hash, MacConstruction};

/// What is signed, piece by piece, so that a body of megabytes is not copied.
pub(crate) type SignedMessage<'m> = Vec<Cow<'m, [u8]>>;

/// How a MAC is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MacAlgorithm {
    pub(crate) hash: Hash,
    pub(crate) construction: MacConstruction,
}

impl MacAlgorithm {
    /// The message's MAC under `key`.
    pub(crate) fn compute(self, key: &Secret, message: &SignedMessage<'_>) -> Vec<u8> {
        let mac = match (self.hash, self.construction) {
            (Hash::Md5, MacConstruction::Hmac) => hmac::<Hmac<Md5>>(key, message),
            (Hash::Sha1, MacConstruction::Hmac) => hmac::<Hmac<Sha1>>(key, message),
            (Hash::Sha256, MacConstruction::Hmac) => hmac::<Hmac<Sha256>>(key, message),
            (Hash::Sha384, MacConstruction::Hmac) => hmac::<Hmac<Sha384>>(key, message),
            (Hash::Sha512, MacConstruction::Hmac) => hmac::<Hmac<Sha512>>(key, message),
            (hash, MacConstruction::Prefix) => {
                let secret = Cow::Borrowed(key.expose());
                digest(hash, std::iter::once(&secret).chain(message))
            }
        };
        debug_assert_eq!(mac.len(), self.hash.bytes());
        mac
    }

    /// Whether one of `candidates` is the message's MAC under `key`.
    pub(super) fn matches_any(
        self,
        key: &Secret,
        message: &SignedMessage<'_>,
        candidates: &[Vec<u8>],
    ) -> bool {
        let mac = self.compute(key, message);
        candidates
            .iter()
            .any(|candidate| mac.ct_eq(candidate).into())
    }
}

/// The hash of pieces, one behind the other.
pub(crate) fn digest<'p>(
    hash: Hash,
    pieces: impl IntoIterator<Item = &'p Cow<'p, [u8]>>,
) -> Vec<u8> {
    match hash {
        Hash::Md5 => digest_by::<Md5>(pieces),
        Hash::Sha1 => digest_by::<Sha1>(pieces),
        Hash::Sha256 => digest_by::<Sha256>(pieces),
        Hash::Sha384 => digest_by::<Sha384>(pieces),
        Hash::Sha512 => digest_by::<Sha512>(pieces),
    }
}

fn digest_by<'p, D: Digest>(pieces: impl IntoIterator<Item = &'p Cow<'p, [u8]>>) -> Vec<u8> {
    let mut hash = D::new();
    pieces.into_iter().for_each(|piece| hash.update(piece));
    hash.finalize().to_vec()
}

fn hmac<M: Mac + KeyInit>(key: &Secret, message: &SignedMessage<'_>) -> Vec<u8> {
    let mut mac = M::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    message.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 2202 and RFC 4231, test case 2.
    #[test]
    fn every_hash_agrees_with_its_rfc() {
        let key = Secret::new(*b"Jefe");
        let message: SignedMessage<'_> = vec![
            Cow::Borrowed(b"what do ya want "),
            Cow::Borrowed(b"for nothing?"),
        ];
        for (hash, hex) in [
            (Hash::Md5, "750c783e6ab0b503eaa86e310a5db738"),
            (Hash::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (
                Hash::Sha256,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                Hash::Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
                 8e2240ca5e69e2c78b3239ecfab21649",
            ),
            (
                Hash::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
                 9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            let algorithm = MacAlgorithm {
                hash,
                construction: MacConstruction::Hmac,
            };
            let mac = algorithm.compute(&key, &message);
            assert_eq!(data_encoding::HEXLOWER.encode(&mac), hex);
            assert_eq!(mac.len(), hash.bytes());
            // Each byte missing at an end would make a forgery 256 times as
            // likely to succeed.
            let cut = [&mac[..0], &mac[..1], &mac[1..], &mac[..mac.len() - 1]];
            let mut candidates: Vec<Vec<u8>> = cut.map(<[u8]>::to_vec).into();
            candidates.push([&mac[..], &[0]].concat());
            assert!(!algorithm.matches_any(&key, &message, &candidates));
            candidates.push(mac);
            assert!(algorithm.matches_any(&key, &message, &candidates));
        }
    }
}
