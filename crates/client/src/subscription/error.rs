//! Why a subscription has no connection.

use std::time::Duration;

use http::StatusCode;

use crate::{
    sse::EventTooLong,
    token::BoxError,
    transport::{ConnectOptionsError, ExchangeError, StatusError},
};

/// Why a connection ended, or none came about.
///
/// [`Interruption`](crate::Interruption) carries those that another attempt may
/// mend; a [`Subscription`](crate::Subscription) ends with those that it can't.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The gateway, or a proxy before it, refused.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The gateway can't serve the stream now, and says why.
    #[error("the gateway can't serve the stream now: {0}")]
    PutOff(String),
    /// No connection, or it broke.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// Nothing came for so long, not even a heartbeat.
    #[error("the connection was silent for {0:?}")]
    Silent(Duration),
    /// The answer is something other than a stream, such as the page of a
    /// Wi-Fi that wants a login first.
    #[error("the answer is {0:?}, not text/event-stream")]
    ContentType(String),
    /// The answer is compressed in a way that was not asked for.
    #[error("the stream has the unknown content encoding {0:?}")]
    ContentEncoding(String),
    /// What came is not gzip, although the answer says so.
    #[error("the stream can't be decompressed")]
    Gzip(#[source] BoxError),
    /// An event is longer than it may be.
    #[error(transparent)]
    EventTooLong(#[from] EventTooLong),
    /// The stream set an id that can't be sent back: it is not a cursor.
    #[error("the stream has the id {0:?}, which can't be resumed from")]
    Id(String),
    /// There is no token.
    #[error("the token source failed")]
    Token(#[source] BoxError),
    /// The token source gave what can't be sent in a header.
    #[error("the token contains characters that an Authorization header can't carry")]
    TokenText,
}

/// Options that make no subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeOptionsError {
    /// How to connect.
    #[error(transparent)]
    Connect(#[from] ConnectOptionsError),
    /// Neither a topic nor all of them.
    #[error("no topic to subscribe to")]
    NoTopic,
    /// The token has characters that can't be sent in a header.
    #[error("the token contains characters that an Authorization header can't carry")]
    Token,
    /// The position to resume from is not a cursor.
    #[error("{0:?} is not a position to resume from")]
    Position(String),
}

impl SubscribeError {
    /// Whether another attempt can't mend it: a refusal that stays, or an event
    /// that would be too long again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Status(error) => !error.is_temporary(),
            Self::EventTooLong(_) | Self::Id(_) => true,
            _ => false,
        }
    }

    /// Whether the gateway refuses the token, or that there is none.
    pub(super) fn is_about_token(&self) -> bool {
        let about = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        matches!(self, Self::Status(error) if about.contains(&error.status))
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(error) => error.retry_after,
            _ => None,
        }
    }
}
