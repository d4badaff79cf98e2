//! Why a subscription or a token is refused. Repeats nothing of a token.

use hookrill_core::Topic;

use super::issuer::IssuerId;

/// The longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Why a subscription was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// No section of the configuration covers the topic.
    #[error("no topic {0} is configured")]
    UnknownTopic(Topic),
    /// The request has no token, and needs one.
    #[error("a token is needed: `token=` in the URL, or the header `Authorization: Bearer`")]
    TokenMissing,
    /// The request has a token that is not valid.
    #[error("the token is not valid")]
    TokenBad(#[source] TokenError),
    /// The token is valid, for other topics.
    #[error("the token does not cover {0}")]
    NotCovered(Box<str>),
    /// The token is valid, and shows no deliveries.
    #[error(
        "the token does not show deliveries as they came: it needs the claim `\"deliveries\": true` \
         (`hookrill token --deliveries`)"
    )]
    NoDeliveries,
}

/// Why a token is not valid. Repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nothing is configured that could have signed it.
    #[error("neither a secret nor an issuer is configured that could verify it")]
    NoSecret,
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    Long,
    /// Not a JWT, another algorithm than the key's, or another key.
    #[error("its form, algorithm or signature is wrong")]
    Signature,
    /// It has a `crit` header, which names what a verifier must understand.
    #[error("its header requires extensions (`crit`); none is supported")]
    Critical,
    /// No configured issuer has its `iss`.
    #[error("its issuer (`iss`) is not configured")]
    Issuer,
    /// It is for somebody else.
    #[error("it is for another audience (`aud`)")]
    Audience,
    /// The issuer has no key with that id; a newer key set may have it.
    #[error("its issuer has no key with its key id")]
    KeyUnknown(IssuerId),
    /// The issuer's keys could not be fetched yet.
    #[error("its issuer's keys could not be fetched yet")]
    KeysMissing(IssuerId),
    /// A claim is missing or has another type than documented.
    #[error("it needs the claims `exp`, a time, and `topics`, a list of topics or \"*\"")]
    Claims,
    /// A claim that a topic is built from is missing, empty, or too long.
    #[error("its claims do not make a topic")]
    Template,
    /// Its lifetime exceeds `access.token_ttl_max`, or has no known start.
    #[error("its lifetime is too long, or it does not say when it was issued (`iat`)")]
    LongLived,
    /// It has neither `jti` nor `sub`, so no revocation could name it.
    #[error("it has neither `jti` nor `sub`")]
    Nameless,
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// `exp` has passed.
    #[error("it has expired")]
    Expired,
    /// `nbf` has not come yet, or `iat` is in the future.
    #[error("it is not valid yet")]
    NotYet,
}
