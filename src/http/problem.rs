//! From errors to responses: the one place that chooses error statuses.
//!
//! Strangers see little: every delivery that fails to verify gets one and the
//! same 401, to the byte, whatever the reason.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use serde_json::json;

use super::{
    body::BodyError,
    delivery_error::DeliveryError,
    limits::LimitExceeded,
    media_types::{EVENT_STREAM_UTF_8, STREAM_CACHE_CONTROL},
    stream_body::broken_off,
};
use crate::{
    access::{AccessError, TokenError},
    identity::RevokeError,
    ingest::IngestError,
    journal::{AppendError, ReadError},
    rate::RateLimited,
    subscribe::{TopicStatsError, retry_later_body},
    telemetry::with_causes,
    wire::{AskedFrom, Withheld},
};

/// How long a client is asked to wait, in seconds, where nobody knows better.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("5");
/// How senders may log in: HTTP Basic waits to be asked (RFC 7617).
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"hookrill\", charset=\"UTF-8\"");
/// How subscribers and operators do (RFC 6750, section 3).
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"hookrill\"");
const INVALID_TOKEN: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"hookrill\", error=\"invalid_token\"");
const INSUFFICIENT_SCOPE: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"hookrill\", error=\"insufficient_scope\"");
/// The one answer to every delivery that fails to verify.
const UNVERIFIED: &str = "signature verification failed: check topic, secret and signature";

/// An error response, as problem details (RFC 9457).
#[derive(Debug)]
pub(super) struct ProblemDetails {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl ProblemDetails {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            header: None,
        }
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        debug_assert!(self.header.is_none(), "a problem has one header");
        self.header = Some((name, value));
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// 400: a parameter that cannot be used, and why.
    pub(super) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("{name}: {why}"))
    }

    /// 503: the client may retry in a few seconds.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, RETRY_AFTER_SECS)
    }

    /// 429, with when the next request fits.
    fn rate_limited(limited: RateLimited, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
            .with_header(header::RETRY_AFTER, limited.wait_secs().into())
    }

    /// 405 on the ingest routes, with the methods of all topics together.
    pub(super) fn method_not_taken(methods: &[Method]) -> Self {
        let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
        let detail = format!("webhooks are sent with {}", names.join(" or "));
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, detail);
        match HeaderValue::from_str(&names.join(", ")) {
            Ok(allow) => problem.with_header(header::ALLOW, allow),
            Err(_) => problem,
        }
    }

    /// 404 on the ingest routes without a topic.
    pub(super) fn topic_missing() -> Self {
        let detail = "the URL names no topic: webhooks are sent to /ingest/<topic>";
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405 on `/streams`, which others fill.
    pub(super) fn read_only_stream() -> Self {
        let detail = "this route takes GET and HEAD: events are added by POST /ingest/<topic>";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    fn not_post(detail: &str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
            .with_header(header::ALLOW, HeaderValue::from_static("POST"))
    }

    /// 401 without the admin token; whether the request has another one.
    pub(super) fn operator_only(has_token: bool) -> Self {
        let challenge = if has_token { INVALID_TOKEN } else { BEARER };
        Self::unauthorized(
            "this route needs the admin token, as Authorization: Bearer",
            challenge,
        )
    }

    /// 429 after too many wrong admin tokens of one address.
    pub(super) fn wrong_tokens(limited: RateLimited) -> Self {
        Self::rate_limited(limited, "too many wrong admin tokens from this address")
    }

    /// 503: as many as may are reading deliveries.
    pub(super) fn lists_busy() -> Self {
        Self::unavailable("deliveries are being listed for others; try again shortly")
    }

    /// 503, with the cause in the log.
    pub(super) fn journal_unreadable(error: &ReadError) -> Self {
        let cause = with_causes(error);
        tracing::error!(error = %cause, "deliveries cannot be listed");
        Self::unavailable("the journal cannot be read")
    }

    /// 410: it was here.
    pub(super) fn delivery_gone(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, detail)
    }

    /// 404 for a delivery.
    pub(super) fn no_such_delivery(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 403: the admin token is not enough.
    pub(super) fn second_token(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 403: the token that it was sent with can't be cut out.
    pub(super) fn body_withheld() -> Self {
        let detail = "the body may have the sender's token in it, and cannot be read to cut that \
                      out";
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 409: a refused delivery can't be taken.
    pub(super) fn not_taken(why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::CONFLICT, why.to_string())
    }

    /// RFC 9110, section 15.5.2: a 401 says how to log in. The same for all topics.
    fn unauthorized(detail: impl Into<String>, challenge: HeaderValue) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail).with_header(header::WWW_AUTHENTICATE, challenge)
    }

    /// 403 for a page that asks whether it may send a request.
    pub(super) fn page_not_let_in() -> Self {
        let detail = "pages of this origin may not read streams; server.cors_origins does not \
                      name it";
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 503: every connection that could make room has a request under way.
    pub(super) fn busy() -> Self {
        Self::unavailable("too many requests are under way; try again shortly")
    }

    /// 431: a head that no sender has.
    pub(super) fn head_too_long() -> Self {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Self::new(status, "the request's head is longer than 32 KiB")
    }

    /// 400 for a request that can't be understood.
    pub(super) fn bad_request(error: impl std::error::Error) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }

    /// 503 of `/readyz`.
    pub(super) fn not_ready(reason: &str) -> Self {
        Self::unavailable(reason)
    }
}

impl From<IngestError> for ProblemDetails {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Topic(_)
            | IngestError::Unconfigured(_)
            | IngestError::BelowPartition(_)
            | IngestError::AddressNotAllowed(_)
            | IngestError::Unverified { .. }
            | IngestError::SecretNotAccepted(_) => Self::unauthorized(UNVERIFIED, BASIC),
            IngestError::RateLimited { limited, .. } => {
                Self::rate_limited(limited, "too many deliveries to this topic")
            }
            IngestError::Journal(AppendError::NoRoom { .. } | AppendError::Scarce(_)) => {
                Self::unavailable("there is no room to store events")
            }
            IngestError::Journal(AppendError::Stalled { .. }) => {
                Self::unavailable("the disk does not answer; events cannot be stored now")
            }
            IngestError::Journal(AppendError::Closed | AppendError::Failed(_))
            | IngestError::SecretNotStored { .. }
            | IngestError::Interrupted(_) => Self::unavailable("events cannot be stored"),
        }
    }
}

impl From<BodyError> for ProblemDetails {
    fn from(error: BodyError) -> Self {
        let detail = error.to_string();
        match error {
            BodyError::Long(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail),
            BodyError::Slow => Self::new(StatusCode::REQUEST_TIMEOUT, detail),
            BodyError::Broken | BodyError::CodingBroken => {
                Self::new(StatusCode::BAD_REQUEST, detail)
            }
            // RFC 9110, section 15.5.16.
            BodyError::CodingUnknown => Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
                .with_header(
                    header::ACCEPT_ENCODING,
                    HeaderValue::from_static("gzip, deflate, br, zstd"),
                ),
            BodyError::NoMemory => Self::unavailable(detail),
        }
    }
}

impl From<LimitExceeded> for ProblemDetails {
    fn from(limit: LimitExceeded) -> Self {
        let detail = limit.to_string();
        match limit {
            LimitExceeded::Rate(limited) => Self::rate_limited(limited, detail),
            LimitExceeded::Subscribers | LimitExceeded::Pages => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
                    .with_header(header::RETRY_AFTER, RETRY_AFTER_SECS)
            }
        }
    }
}

impl From<AccessError> for ProblemDetails {
    fn from(error: AccessError) -> Self {
        let detail = match error {
            // Strangers need not know what is configured.
            AccessError::TokenBad(TokenError::NoSecret) => {
                with_causes(&AccessError::TokenBad(TokenError::Signature)).to_string()
            }
            _ => with_causes(&error).to_string(),
        };
        match error {
            AccessError::UnknownTopic(_) => Self::new(StatusCode::NOT_FOUND, detail),
            AccessError::TokenMissing => Self::unauthorized(detail, BEARER),
            AccessError::TokenBad(_) => Self::unauthorized(detail, INVALID_TOKEN),
            AccessError::NotCovered(_) | AccessError::NoDeliveries => {
                Self::new(StatusCode::FORBIDDEN, detail)
                    .with_header(header::WWW_AUTHENTICATE, INSUFFICIENT_SCOPE)
            }
        }
    }
}

impl From<DeliveryError> for ProblemDetails {
    fn from(error: DeliveryError) -> Self {
        let gone = |detail: String| Self::new(StatusCode::GONE, detail);
        match error {
            DeliveryError::NoCursor => {
                let why = "this is no id of an event; one looks like 8bb8j9q3-17, as the answer to \
                           its webhook and its `id:` say";
                Self::new(StatusCode::BAD_REQUEST, why)
            }
            DeliveryError::Unknown(cursor) => {
                let why = format!("there is no delivery {cursor}, or none that the token shows");
                Self::new(StatusCode::NOT_FOUND, why)
            }
            DeliveryError::AnotherJournal(cursor) => {
                let why = format!("{cursor} is the id of an event in another journal");
                Self::new(StatusCode::NOT_FOUND, why)
            }
            DeliveryError::Deleted { asked, behind } => gone(format!(
                "{asked} is deleted, as journal.retain_age and retain_bytes say; what is left \
                 comes behind {behind}"
            )),
            DeliveryError::Damaged(cursor) => gone(format!(
                "{cursor} is damaged in the journal, and can't be read"
            )),
            DeliveryError::Withheld(Withheld::Hidden) => {
                let why = "the topic hides parts of its events, and a delivery shows all of it: \
                           the token needs the claim `\"full\": true` as well \
                           (`hookrill token --deliveries --full`)";
                Self::new(StatusCode::FORBIDDEN, why)
                    .with_header(header::WWW_AUTHENTICATE, INSUFFICIENT_SCOPE)
            }
            DeliveryError::Withheld(_) => {
                let why = "the topic is not configured any more, so nothing says what of it may \
                           be shown";
                Self::new(StatusCode::FORBIDDEN, why)
                    .with_header(header::WWW_AUTHENTICATE, INSUFFICIENT_SCOPE)
            }
            DeliveryError::Journal => Self::unavailable("the journal cannot be read"),
        }
    }
}

impl From<RevokeError> for ProblemDetails {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Full(full) => {
                let hint = "set access.token_ttl_max, so that old ones expire";
                Self::new(StatusCode::INSUFFICIENT_STORAGE, format!("{full}; {hint}"))
            }
            // The cause is in the log.
            RevokeError::NotStored(_) => Self::unavailable(
                "the revocation is in force only until a restart, since it could not be stored; \
                 try again",
            ),
        }
    }
}

impl From<TopicStatsError> for ProblemDetails {
    fn from(error: TopicStatsError) -> Self {
        match error {
            TopicStatsError::Busy => {
                Self::unavailable("topics are being counted for another request")
            }
            // The cause is in the log.
            TopicStatsError::Journal(_) => Self::unavailable("the journal cannot be read"),
        }
    }
}

impl IntoResponse for ProblemDetails {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let head = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let mut response = (self.status, head, body.to_string()).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What decides how a subscriber is told to retry.
#[derive(Debug)]
pub(super) struct Requester {
    /// It accepts `text/event-stream`.
    pub(super) wants_event_stream: bool,
    /// Where it says that it is.
    pub(super) place: Option<AskedFrom>,
    pub(super) version: Version,
}

/// For a subscriber that cannot be served now. `EventSource` stops for good on
/// any status but 200, so a client that may be one gets 200 and a wait. What
/// comes behind that is not an end but a cut: several other clients take an end for
/// the last word. The connection is closed, or it would hold a permit that ingest
/// and health need.
pub(super) fn retry_later(requester: &Requester, what: &'static str) -> Response {
    retry_after(requester, Duration::ZERO, ProblemDetails::unavailable(what))
}

/// As [`retry_later`], for a subscriber whose address has reached a limit.
pub(super) fn retry_when_allowed(requester: &Requester, limit: LimitExceeded) -> Response {
    let wait_min = match limit {
        LimitExceeded::Rate(limited) => limited.wait,
        LimitExceeded::Subscribers | LimitExceeded::Pages => Duration::ZERO,
    };
    retry_after(requester, wait_min, limit.into())
}

fn retry_after(requester: &Requester, wait_min: Duration, problem: ProblemDetails) -> Response {
    if requester.wants_event_stream {
        let head = [
            (header::CONTENT_TYPE, EVENT_STREAM_UTF_8),
            (header::CACHE_CONTROL, STREAM_CACHE_CONTROL),
        ];
        let body = retry_later_body(requester.place.as_ref(), wait_min, &problem.detail);
        // The cut closes the connection; to announce that would make the body
        // complete for some.
        (head, broken_off(body)).into_response()
    } else {
        closing(problem.into_response(), requester.version)
    }
}

/// The same response, after which the connection is closed.
pub(super) fn closing(mut response: Response, version: Version) -> Response {
    if version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// 410 for a place in a stream behind which history has a gap, and where it goes on.
pub(super) fn history_gone(reason: &str, earliest: &str, detail: &str) -> Response {
    let status = StatusCode::GONE;
    let body = json!({
        "type": "about:blank",
        "title": "Gone",
        "status": status.as_u16(),
        "detail": detail,
        "reason": reason,
        "earliest": earliest,
    });
    let head = [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, head, body.to_string()).into_response()
}

/// 404 for a path that is not a route.
pub(super) async fn no_such_route(uri: Uri) -> ProblemDetails {
    let detail = if uri.path().starts_with("//") {
        "no such route; the path begins with two slashes: remove one"
    } else {
        "no such route; the main ones are POST /ingest/<topic>, GET /events/<topic> and GET \
         /streams/<topic>"
    };
    ProblemDetails::new(StatusCode::NOT_FOUND, detail)
}

/// 405 on a route that takes POST.
pub(super) async fn not_a_post() -> ProblemDetails {
    ProblemDetails::not_post("this route takes POST")
}

/// 405 on a route that takes GET; axum adds `Allow`.
pub(super) async fn method_not_allowed() -> ProblemDetails {
    let detail = "this route takes GET";
    ProblemDetails::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
