//! Why somebody may not subscribe. Says nothing of a token's content.

use hookrill_core::Topic;

use super::{IssuerId, TOKEN_BYTES_MAX};

/// Why a subscription was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nothing configures the topic.
    #[error("no topic {0} is configured")]
    UnknownTopic(Topic),
    /// A token is needed and none came.
    #[error("a token is needed")]
    TokenMissing,
    /// A token came that does not hold.
    #[error("the token is not valid: {0}")]
    TokenBad(TokenError),
    /// The token is good for other topics.
    #[error("the token does not cover {0}")]
    NotCovered(Box<str>),
}

/// Why a token does not hold. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing is configured that could have signed it.
    #[error("no secret and no issuer is configured to check it with")]
    NoSecret,
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    Long,
    /// Not a JWT, another algorithm than the key's, or another key.
    #[error("its form, algorithm or signature is wrong")]
    Signature,
    /// It has a `crit` header, and names what must be understood.
    #[error("its header demands extensions (`crit`) and none is known here")]
    Critical,
    /// Nobody of that name may sign.
    #[error("its issuer (`iss`) is not one of those that may sign")]
    Issuer,
    /// It is for somebody else.
    #[error("it is not meant for this gateway (`aud`)")]
    Audience,
    /// The issuer has no key of that id; its set may have a newer one.
    #[error("its issuer has no such key")]
    KeyUnknown(IssuerId),
    /// The issuer's keys could not be had yet.
    #[error("its issuer's keys are not known yet")]
    KeysMissing(IssuerId),
    /// Claims that do not have the documented form.
    #[error("it needs the claims `exp`, a time, and `topics`, a list of topics or \"*\"")]
    Claims,
    /// A claim that a topic is built from is missing, empty, or too long.
    #[error("its claims do not make a topic")]
    Template,
    /// It is good for longer than tokens may be, or does not say since when.
    #[error("it is good for too long, or does not say since when (`iat`)")]
    LongLived,
    /// It has neither `jti` nor `sub`, so that nothing could revoke it.
    #[error("it has neither `jti` nor `sub`")]
    Nameless,
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// `exp` is past.
    #[error("it has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("it is not valid yet")]
    NotYet,
}
