//! Signatures and tokens, as providers and operators make them.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookrill::access::{self, Claims};
use hookrill_core::Secret;
use sha2::Sha256;

use crate::{BEGIN_SECS, TOKEN_SECRET};

/// What GitHub sends in `X-Hub-Signature-256`.
#[must_use]
pub fn github_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body);
    format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// A subscriber's token for these topics, good for so many seconds from
/// [`BEGIN_SECS`] on.
#[must_use]
pub fn token(topics: &[&str], secs: u64) -> String {
    token_until(topics, BEGIN_SECS + secs)
}

/// A subscriber's token for these topics with this `exp`.
#[must_use]
pub fn token_until(topics: &[&str], exp: u64) -> String {
    let claims = Claims {
        topics: topics.iter().map(|&topic| topic.to_owned()).collect(),
        exp,
        ..Claims::default()
    };
    access::mint(&Secret::new(TOKEN_SECRET.as_bytes()), &claims).unwrap()
}
