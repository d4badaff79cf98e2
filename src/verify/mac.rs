//! HMAC over a message in pieces: RFC 2104.
//!
//! Invariant: MACs are compared as bytes and in constant time, and one of
//! another length never matches.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use super::{scheme::Hash, secret::Secret};

/// What is signed, piece by piece, so that a body of megabytes is not copied.
pub(super) type Message<'m> = Vec<Cow<'m, [u8]>>;

/// Which of `candidates` is this message's MAC under `key`.
pub(super) fn position(
    hash: Hash,
    key: &Secret,
    message: &Message<'_>,
    candidates: &[Vec<u8>],
) -> Option<usize> {
    match hash {
        Hash::Sha1 => position_by::<Hmac<Sha1>>(key, message, candidates),
        Hash::Sha256 => position_by::<Hmac<Sha256>>(key, message, candidates),
        Hash::Sha384 => position_by::<Hmac<Sha384>>(key, message, candidates),
        Hash::Sha512 => position_by::<Hmac<Sha512>>(key, message, candidates),
    }
}

/// This message's MAC under `key`.
pub(super) fn compute(hash: Hash, key: &Secret, message: &Message<'_>) -> Vec<u8> {
    match hash {
        Hash::Sha1 => compute_by::<Hmac<Sha1>>(key, message),
        Hash::Sha256 => compute_by::<Hmac<Sha256>>(key, message),
        Hash::Sha384 => compute_by::<Hmac<Sha384>>(key, message),
        Hash::Sha512 => compute_by::<Hmac<Sha512>>(key, message),
    }
}

fn position_by<M: Mac + KeyInit + Clone>(
    key: &Secret,
    message: &Message<'_>,
    candidates: &[Vec<u8>],
) -> Option<usize> {
    let mac = absorb::<M>(key, message);
    let matches = |candidate: &Vec<u8>| mac.clone().verify_slice(candidate).is_ok();
    candidates.iter().position(matches)
}

fn compute_by<M: Mac + KeyInit>(key: &Secret, message: &Message<'_>) -> Vec<u8> {
    let mac = absorb::<M>(key, message);
    mac.finalize().into_bytes().to_vec()
}

fn absorb<M: Mac + KeyInit>(key: &Secret, message: &Message<'_>) -> M {
    let mut mac = M::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    message.iter().for_each(|piece| mac.update(piece));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 2202 and RFC 4231, test case 2.
    #[test]
    fn every_hash_agrees_with_its_rfc() {
        let key = Secret::new(*b"Jefe");
        let message: Message<'_> = vec![
            Cow::Borrowed(b"what do ya want "),
            Cow::Borrowed(b"for nothing?"),
        ];
        for (hash, hex) in [
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
            let mac = compute(hash, &key, &message);
            assert_eq!(data_encoding::HEXLOWER.encode(&mac), hex);
            assert_eq!(mac.len(), hash.bytes());
            // Each byte missing at an end would make a forgery 256 times as
            // likely to succeed.
            let cut = [&mac[..0], &mac[..1], &mac[1..], &mac[..mac.len() - 1]];
            let mut candidates: Vec<Vec<u8>> = cut.map(<[u8]>::to_vec).into();
            candidates.push([&mac[..], &[0]].concat());
            assert_eq!(position(hash, &key, &message, &candidates), None);
            candidates.push(mac);
            assert_eq!(position(hash, &key, &message, &candidates), Some(5));
        }
    }
}
