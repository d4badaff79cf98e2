//! `GET /events`: who may subscribe, a place among all streams, and the stream.
//!
//! Refuses in the order of what a refusal costs: rates before anything is read,
//! the request before its token, the token before places and the journal.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use hookrill_core::{Timestamp, Topics};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument as _, Level};

use super::{
    Gateway,
    grants::Wanted,
    hijack::{EventStream, Hijackable, StreamPermits},
    limits::LimitExceeded,
    media_types::{EVENT_STREAM_UTF_8, NDJSON, STREAM_CACHE_CONTROL},
    negotiation::takes_event_stream,
    params::{self, SubscribeParams},
    problem::{ProblemDetails, Requester, retry_later, retry_when_allowed},
    request_log::{Caller, SubscribeRefusal, shown_path},
    stall_timeout::{StreamingFlag, StreamingGuard},
    stream_body::StreamBody,
};
use crate::{
    access::{AccessError, Grant, TokenError},
    journal::ReadError,
    subscribe::{self, StreamBreaker, SubscriberStream},
    telemetry::with_causes,
    wire::Coding,
};

const DRAINING: &str = "the gateway is shutting down";
const FULL: &str = "the limit of subscribers is reached";
const PAGES_FULL: &str = "too many pages are on their way to others";
pub(super) const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn subscribe(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    // A body that nobody asked for is dropped after the response was made.
    let (request, _body) = request.into_parts();
    let client = gateway.client_ip(&request.extensions, &request.headers);
    let span = tracing::debug_span!(
        "subscription",
        request = gateway.next_request_number(),
        client = client.map(tracing::field::display),
        path = shown_path(request.uri.path()),
    );
    match gateway
        .stream(&request, client)
        .instrument(span.clone())
        .await
    {
        Ok(response) => response,
        Err(why) => {
            let _entered = span.entered();
            gateway.note(&why, &request, client);
            let requester = Requester {
                wants_event_stream: takes_event_stream(&request.headers)
                    && !params::is_for_gosmee(&request.uri, &request.headers),
                place: params::place(&request.uri, &request.headers, gateway.streams.epoch()),
                version: request.version,
            };
            why.response(&requester)
        }
    }
}

/// Why there is no stream.
pub(super) enum SubscribeError {
    /// The request can't be read.
    Malformed(ProblemDetails),
    /// Its address has too much already.
    LimitExceeded(LimitExceeded),
    /// It may not subscribe to this.
    Access(AccessError),
    /// The gateway is shutting down.
    Draining,
    /// There are as many streams as there may be.
    Full,
    /// As many pages are on their way as there may be.
    PagesFull,
    /// The journal can't say where to begin.
    Journal(ReadError),
}

impl From<LimitExceeded> for SubscribeError {
    fn from(over: LimitExceeded) -> Self {
        Self::LimitExceeded(over)
    }
}

impl From<AccessError> for SubscribeError {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl SubscribeError {
    /// The reason as a metric's label.
    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::LimitExceeded(over) => over.reason(),
            Self::Access(AccessError::UnknownTopic(_)) => "topic_unknown",
            Self::Access(AccessError::TokenMissing) => "token_missing",
            Self::Access(AccessError::TokenBad(_)) => "token_bad",
            Self::Access(AccessError::NotCovered(_)) => "topic_not_covered",
            Self::Access(AccessError::NoDeliveries) => "no_deliveries",
            Self::Draining => "draining",
            Self::Full => "subscribers_max",
            Self::PagesFull => "pages",
            Self::Journal(_) => "journal",
        }
    }

    /// At which level it is logged, of a topic that is configured.
    fn level(&self) -> Level {
        match self {
            Self::Draining => Level::INFO,
            Self::Journal(_) => Level::ERROR,
            _ => Level::WARN,
        }
    }

    /// What happened, for the operator.
    fn detail(&self) -> Cow<'_, str> {
        match self {
            Self::Malformed(problem) => problem.detail().into(),
            Self::LimitExceeded(limit) => with_causes(limit).to_string().into(),
            Self::Access(error) => with_causes(error).to_string().into(),
            Self::Draining => DRAINING.into(),
            Self::Full => FULL.into(),
            Self::PagesFull => PAGES_FULL.into(),
            Self::Journal(error) => with_causes(error).to_string().into(),
        }
    }

    /// The response; where waiting helps, one that does not end an `EventSource`.
    fn response(self, requester: &Requester) -> Response {
        match self {
            Self::LimitExceeded(over) => retry_when_allowed(requester, over),
            _ => match self.passing() {
                Some(what) => retry_later(requester, what),
                None => self.problem().into_response(),
            },
        }
    }

    /// Why the client is to wait, where waiting helps.
    fn passing(&self) -> Option<&'static str> {
        Some(match self {
            // Its issuer may be back before the token expires.
            Self::Access(AccessError::TokenBad(TokenError::KeysMissing(_))) => {
                "the keys of the token's issuer cannot be fetched"
            }
            Self::Draining => DRAINING,
            Self::Full => FULL,
            Self::PagesFull => PAGES_FULL,
            Self::Journal(_) => "the journal cannot be read",
            Self::Malformed(_) | Self::LimitExceeded(_) | Self::Access(_) => return None,
        })
    }

    /// The response to whoever is no `EventSource`.
    pub(super) fn problem(self) -> ProblemDetails {
        if let Some(what) = self.passing() {
            return ProblemDetails::unavailable(what);
        }
        match self {
            Self::Malformed(problem) => problem,
            Self::LimitExceeded(over) => over.into(),
            Self::Access(error) => error.into(),
            Self::Draining | Self::Full | Self::PagesFull | Self::Journal(_) => {
                ProblemDetails::unavailable(DRAINING)
            }
        }
    }
}

impl Gateway {
    /// A stream of what was asked for, as the response that carries it.
    async fn stream(
        &self,
        request: &Parts,
        client: Option<IpAddr>,
    ) -> Result<Response, SubscribeError> {
        self.admit_to_events(client)?;
        let params = SubscribeParams::read(
            &request.uri,
            &request.headers,
            self.streams.epoch(),
            self.settings().compression,
        )
        .map_err(SubscribeError::Malformed)?;
        let wanted = if params.request.format.shows_deliveries() {
            Wanted::Deliveries
        } else {
            Wanted::Events
        };
        let grant = self.grant(&params.topics, &params.tokens, wanted).await?;
        let who = Caller::new(client, &request.headers);
        let permit = self.permit(&grant)?;
        let slot = self.take_stream_slot(client)?;
        let now = self.clock.now();
        let head = head(&params.request, now);
        let streaming = begin_streaming(request, &grant, now);
        let mut stream = EventStream {
            subscription: self.open(&grant, params.request, &who).await?,
            permits: StreamPermits {
                _all: permit,
                _address: slot,
                streaming,
            },
        };
        if let Some(breaker) = request.extensions.get::<Arc<StreamBreaker>>() {
            stream.subscription.state.set_breaker(Arc::clone(breaker));
        }
        Ok(match request.extensions.get::<Hijackable>() {
            Some(Hijackable) => stream.attach_to(head.into_response()),
            None => (head, Body::new(StreamBody::new(stream))).into_response(),
        })
    }

    /// The stream's place among all that there may be.
    pub(super) fn permit(&self, grant: &Grant) -> Result<OwnedSemaphorePermit, SubscribeError> {
        if self.streams.is_draining() {
            return Err(SubscribeError::Draining);
        }
        let weight = weight(grant.topics()).min(self.settings().subscribers_max);
        let count = u32::try_from(weight).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.stream_permits);
        let permit = permits.try_acquire_many_owned(count);
        permit.map_err(|_| SubscribeError::Full)
    }

    async fn open(
        &self,
        grant: &Grant,
        request: subscribe::Request,
        who: &Caller,
    ) -> Result<SubscriberStream, SubscribeError> {
        let visitor = who.visitor();
        let opened = self.streams.open(grant, request, Some(&visitor)).await;
        let subscription = opened.map_err(SubscribeError::Journal)?;
        if let Some(stuck) = &subscription.stuck {
            self.log_stuck(stuck, who);
        }
        // A revocation after the token was verified, and before the stream was
        // opened, found no stream to end.
        if self.access.is_revoked(grant) {
            return Err(AccessError::TokenBad(TokenError::Revoked).into());
        }
        Ok(subscription)
    }

    /// Counts and logs it, for the operator.
    pub(super) fn note(&self, why: &SubscribeError, request: &Parts, client: Option<IpAddr>) {
        let refusal = SubscribeRefusal {
            level: why.level(),
            reason: why.reason(),
            error: why.detail(),
            origin: request.headers.get(header::ORIGIN),
            is_unknown: matches!(why, SubscribeError::Access(AccessError::UnknownTopic(_))),
        };
        let who = Caller::new(client, &request.headers);
        self.note_refused_subscription(&refusal, &request.uri, &who);
    }
}

/// Lets the connection be quiet for as long as the stream may last. A server that
/// only took the router has no stall timeout of ours.
pub(super) fn begin_streaming(
    request: &Parts,
    grant: &Grant,
    now: Timestamp,
) -> Option<StreamingGuard> {
    let connection = request.extensions.get::<StreamingFlag>()?;
    Some(connection.begin(grant.expires_at().map(|end| end.since(now))))
}

/// How many places a stream takes: each topic has a channel, and a stream of
/// many must not cost as much as many streams for the price of one.
fn weight(topics: &Topics) -> usize {
    const TOPICS_PER_PLACE: usize = 8;
    match topics {
        Topics::All => 1,
        Topics::These(topics) => topics.len().div_ceil(TOPICS_PER_PLACE),
    }
}

/// The headers of a stream's response.
fn head(request: &subscribe::Request, now: Timestamp) -> HeaderMap {
    let media_type = if request.format.is_lines() {
        NDJSON
    } else {
        EVENT_STREAM_UTF_8
    };
    let mut head = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, STREAM_CACHE_CONTROL),
        // nginx would collect the stream into its buffers.
        (ACCEL_BUFFERING, "no"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::VARY, "accept, accept-encoding, sec-fetch-mode"),
    ] {
        head.insert(name, HeaderValue::from_static(value));
    }
    if request.coding == Coding::Gzip {
        head.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    // hyper adds it, but not to a response that it does not write.
    head.insert(header::DATE, date(now));
    head
}

/// The time as HTTP writes it (RFC 9110, section 5.6.7).
fn date(now: Timestamp) -> HeaderValue {
    let at = UNIX_EPOCH + Duration::from_millis(now.unix_ms());
    let text = httpdate::fmt_http_date(at);
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// How long its connection may stall, with no token or one that ends in so many
    /// hours.
    fn stall_time(hours: Option<u64>) -> Option<Duration> {
        let now = Timestamp::from_unix_secs(1_000_000);
        let end = hours.map(|hours| now.plus(Duration::from_secs(hours * 3600)));
        let (mut request, ()) = http::Request::new(()).into_parts();
        let streaming = StreamingFlag::default();
        request.extensions.insert(streaming.clone());
        let _guard = begin_streaming(&request, &Grant::without_token(Topics::All, end), now);
        let stalled_at = Instant::now();
        streaming
            .stall_deadline(stalled_at)
            .map(|at| at - stalled_at)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_silent_for_as_long_as_its_stream_lasts() {
        assert_eq!(stall_time(None), None);
        assert_eq!(stall_time(Some(1)), Some(Duration::from_secs(3600)));
    }
}
