//! From errors to responses: the one place that chooses refusing statuses.
//!
//! Strangers see little: every delivery that does not prove gets one and the
//! same 401, to the byte, whatever the reason. `application/problem+json` is
//! RFC 9457.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, Version, header};
use serde_json::json;

use super::{body::BodyError, limits::LimitExceeded};
use crate::{
    access::{AccessError, TokenError},
    identity::RevokeError,
    ingest::IngestError,
    journal::AppendError,
    rate::RateLimited,
    subscribe::{TopicStatsError, retry_later_body},
};

/// How long a sender is asked to wait, in seconds.
const RETRY_AFTER_SECS: &str = "5";

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(super) struct ProblemDetails {
    status: StatusCode,
    detail: String,
    header: Option<(header::HeaderName, HeaderValue)>,
}

impl ProblemDetails {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            header: None,
        }
    }

    fn with(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    /// More than a rate lets through; says when the next one fits.
    fn over_rate(over: RateLimited, what: &'static str) -> Self {
        let after = HeaderValue::from(over.wait_secs());
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, what);
        refusal.header = Some((header::RETRY_AFTER, after));
        refusal
    }

    /// A parameter that can't be used; says which and why.
    pub(super) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("{name}: {why}"))
    }

    pub(super) fn busy(what: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, what).with(header::RETRY_AFTER, RETRY_AFTER_SECS)
    }

    pub(super) fn post_only() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "webhooks are sent with POST",
        )
        .with(header::ALLOW, "POST")
    }

    pub(super) fn operator_only() -> Self {
        let detail = "for the operator: Authorization: Bearer with the admin token";
        Self::new(StatusCode::UNAUTHORIZED, detail).with(header::WWW_AUTHENTICATE, "Bearer")
    }

    pub(super) fn not_ready(reason: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason)
            .with(header::RETRY_AFTER, RETRY_AFTER_SECS)
    }
}

/// What does not prove: one text for all of it.
const UNPROVEN: &str = "the delivery does not prove: check topic, secret and signature";

impl From<IngestError> for ProblemDetails {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Topic(_)
            | IngestError::Unconfigured(_)
            | IngestError::BelowPartition(_)
            | IngestError::Unverified { .. }
            | IngestError::SecretNotAccepted(_) => Self::new(StatusCode::UNAUTHORIZED, UNPROVEN),
            IngestError::RateLimited { limited, .. } => {
                Self::over_rate(limited, "the topic takes no more deliveries now")
            }
            IngestError::Journal(AppendError::NoRoom { .. }) => {
                Self::busy("there is no room to store events")
            }
            IngestError::Journal(AppendError::Closed | AppendError::Failed(_))
            | IngestError::SecretNotStored { .. }
            | IngestError::Interrupted(_) => Self::busy("events cannot be stored"),
        }
    }
}

impl From<BodyError> for ProblemDetails {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Long(bytes_max) => {
                let detail = format!("a body has at most {bytes_max} bytes");
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
            }
            BodyError::Slow => {
                let detail = "the body took too long to arrive";
                Self::new(StatusCode::REQUEST_TIMEOUT, detail)
            }
            BodyError::Broken => Self::new(StatusCode::BAD_REQUEST, "the body broke off"),
            BodyError::NoMemory => Self::busy("too many bodies are being read"),
        }
    }
}

impl From<LimitExceeded> for ProblemDetails {
    fn from(over: LimitExceeded) -> Self {
        match over {
            LimitExceeded::Rate(over) => {
                Self::over_rate(over, "too many requests from this address")
            }
            LimitExceeded::Subscribers => {
                let detail = "this address has as many streams as it may";
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
                    .with(header::RETRY_AFTER, RETRY_AFTER_SECS)
            }
        }
    }
}

impl From<AccessError> for ProblemDetails {
    fn from(error: AccessError) -> Self {
        let status = match error {
            AccessError::UnknownTopic(_) => StatusCode::NOT_FOUND,
            AccessError::TokenMissing => StatusCode::UNAUTHORIZED,
            // What is configured is the operator's to know.
            AccessError::TokenBad(TokenError::NoSecret) => {
                return Self::from(AccessError::TokenBad(TokenError::Signature));
            }
            AccessError::TokenBad(_) => StatusCode::UNAUTHORIZED,
            AccessError::NotCovered(_) => StatusCode::FORBIDDEN,
        };
        let refusal = Self::new(status, error.to_string());
        match status {
            StatusCode::UNAUTHORIZED => refusal.with(header::WWW_AUTHENTICATE, "Bearer"),
            _ => refusal,
        }
    }
}

impl From<RevokeError> for ProblemDetails {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Full(full) => {
                let hint = "set access.token_ttl_max, so that old ones are forgotten";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, format!("{full}; {hint}"))
            }
            // The cause is in the log.
            RevokeError::NotKept(_) => {
                Self::busy("it is revoked until a restart, and could not be kept; try again")
            }
        }
    }
}

impl From<TopicStatsError> for ProblemDetails {
    fn from(error: TopicStatsError) -> Self {
        match error {
            TopicStatsError::Busy => Self::busy("topics are being counted for another request"),
            // The cause is in the log.
            TopicStatsError::Journal(_) => Self::busy("the journal cannot be read"),
        }
    }
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> Response {
        let problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = (
            self.status,
            [
                (header::CONTENT_TYPE, "application/problem+json"),
                (header::CACHE_CONTROL, "no-store"),
            ],
            problem.to_string(),
        )
            .into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Who is asked to come back later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requester {
    /// It accepts `text/event-stream`.
    pub(super) wants_event_stream: bool,
    pub(super) version: Version,
}

/// A subscriber that can't be served now. `EventSource` gives up for ever on
/// any status but 200, so one that may be there gets 200, a wait, and the end.
/// Its connection is closed: it would take a place from ingest and health.
pub(super) fn retry_later(waiter: Requester, what: &'static str) -> Response {
    answer_unavailable(waiter, Duration::ZERO, ProblemDetails::busy(what))
}

/// As [`retry_later`], for whoever has too much of what its address may
/// have.
pub(super) fn retry_when_allowed(waiter: Requester, over: LimitExceeded) -> Response {
    let least = match over {
        LimitExceeded::Rate(over) => over.wait,
        LimitExceeded::Subscribers => Duration::ZERO,
    };
    answer_unavailable(waiter, least, ProblemDetails::from(over))
}

fn answer_unavailable(waiter: Requester, least: Duration, otherwise: ProblemDetails) -> Response {
    let response = match waiter.wants_event_stream {
        true => {
            let head = [
                (header::CONTENT_TYPE, "text/event-stream"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (head, retry_later_body(least)).into_response()
        }
        false => otherwise.into_response(),
    };
    closing(response, waiter.version)
}

/// The same response, after which the connection is closed.
pub(super) fn closing(mut response: Response, version: Version) -> Response {
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

pub(super) async fn no_such_route() -> ProblemDetails {
    let detail = "there is POST /ingest/<topic> and GET /events/<topic>";
    ProblemDetails::new(StatusCode::NOT_FOUND, detail)
}

pub(super) async fn not_a_post() -> ProblemDetails {
    ProblemDetails::new(StatusCode::METHOD_NOT_ALLOWED, "this route takes POST")
        .with(header::ALLOW, "POST")
}

pub(super) async fn method_not_allowed() -> ProblemDetails {
    let detail = "this route takes GET";
    ProblemDetails::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
