//! `GET /events`: who may, a place among all streams, and the stream.
//!
//! Refuses in the order of what a refusal costs: rates before anything is read,
//! the request before its token, the token before places and the journal.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use hookrill_core::{Timestamp, Topics};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Gateway,
    limits::LimitExceeded,
    params::{self, EVENT_STREAM, NDJSON, SubscribeParams},
    patience::{Held, Streaming},
    problem::{ProblemDetails, Requester, retry_later, retry_when_allowed},
    writer::{Stream, Takeable},
};
use crate::{
    access::{AccessError, Grant, TokenError},
    journal::ReadError,
    subscribe::{self, Subscription},
    wire::{Coding, Format},
};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) async fn subscribe(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    // A body that nobody asked for is let go of when all is said.
    let (request, _body) = request.into_parts();
    let client = gateway.client_ip(&request.extensions, &request.headers);
    match gateway.stream(&request, client).await {
        Ok(response) => response,
        Err(why) => {
            gateway.note(&why, client);
            let waiter = Requester {
                wants_event_stream: params::accepts(&request.headers, EVENT_STREAM),
                version: request.version,
            };
            why.response(waiter)
        }
    }
}

/// Why there is no stream.
enum NoStream {
    /// What was asked for can't be read.
    Malformed(ProblemDetails),
    /// Its address has too much already; counted and logged where it was found.
    LimitExceeded(LimitExceeded),
    /// It may not.
    Access(AccessError),
    /// The gateway is about to stop.
    Draining,
    /// All places are taken.
    Full,
    /// The journal can't say where to begin.
    Journal(ReadError),
}

impl From<LimitExceeded> for NoStream {
    fn from(over: LimitExceeded) -> Self {
        Self::LimitExceeded(over)
    }
}

impl From<AccessError> for NoStream {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

impl NoStream {
    /// The reason as a metric's label.
    fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::LimitExceeded(over) => over.reason(),
            Self::Access(AccessError::UnknownTopic(_)) => "topic_unknown",
            Self::Access(AccessError::TokenMissing) => "token_missing",
            Self::Access(AccessError::TokenBad(_)) => "token_bad",
            Self::Access(AccessError::NotCovered(_)) => "topic_not_covered",
            Self::Draining => "draining",
            Self::Full => "subscribers_max",
            Self::Journal(_) => "journal",
        }
    }

    /// Where waiting helps, an answer that does not end an `EventSource`.
    fn response(self, waiter: Requester) -> Response {
        let what = match self {
            Self::Malformed(refusal) => return refusal.into_response(),
            Self::LimitExceeded(over) => return retry_when_allowed(waiter, over),
            // Its issuer may be back before the token ends.
            Self::Access(AccessError::TokenBad(TokenError::KeysMissing(_))) => {
                "the keys of the token's issuer cannot be had"
            }
            Self::Access(error) => return ProblemDetails::from(error).into_response(),
            Self::Draining => "the gateway is about to stop",
            Self::Full => "there are as many subscribers as there may be",
            Self::Journal(_) => "the journal cannot be read",
        };
        retry_later(waiter, what)
    }
}

impl Gateway {
    /// A stream of what was asked for, as the response that carries it.
    async fn stream(&self, request: &Parts, client: Option<IpAddr>) -> Result<Response, NoStream> {
        self.admit_to_events(client)?;
        let asked =
            SubscribeParams::read(&request.uri, &request.headers).map_err(NoStream::Malformed)?;
        let grant = self.grant(&asked.topics, asked.token.as_deref()).await?;
        let permit = self.permit(&grant)?;
        let seat = self.take_stream_slot(client)?;
        let now = self.clock.now();
        let head = head(&asked.request, now);
        let held = hold(request, &grant, now);
        let stream = Stream {
            subscription: self.open(&grant, asked.request).await?,
            places: (permit, seat, held),
        };
        Ok(match request.extensions.get::<Takeable>() {
            Some(Takeable) => stream.riding_on(head.into_response()),
            None => (head, stream.into_body()).into_response(),
        })
    }

    /// Looks at the token, and once more where its issuer's keys were old.
    async fn grant(&self, topics: &Topics, token: Option<&str>) -> Result<Grant, AccessError> {
        let check = || self.access.check(topics.clone(), token, self.clock.now());
        let checked = check();
        let Err(AccessError::TokenBad(
            TokenError::KeyUnknown(issuer) | TokenError::KeysMissing(issuer),
        )) = checked
        else {
            return checked;
        };
        match self.key_sets.refresh(issuer).await {
            true => check(),
            false => checked,
        }
    }

    /// The stream's places among all that there may be.
    fn permit(&self, grant: &Grant) -> Result<OwnedSemaphorePermit, NoStream> {
        if self.streams.draining() {
            return Err(NoStream::Draining);
        }
        let weight = weight(grant.topics()).min(self.settings().subscribers_max);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.stream_permits);
        let permit = permits.try_acquire_many_owned(weight);
        permit.map_err(|_| NoStream::Full)
    }

    async fn open(
        &self,
        grant: &Grant,
        request: subscribe::Request,
    ) -> Result<Subscription, NoStream> {
        let opened = self.streams.open(grant, request).await;
        let opened = opened.map_err(NoStream::Journal)?;
        // A revocation between the look at the token and the stream's opening
        // found no stream to end.
        match self.access.is_revoked(grant) {
            true => Err(AccessError::TokenBad(TokenError::Revoked).into()),
            false => Ok(opened),
        }
    }

    /// Counts and logs it, for the operator.
    fn note(&self, why: &NoStream, client: Option<IpAddr>) {
        if let NoStream::LimitExceeded(_) = why {
            return;
        }
        self.telemetry.subscribe_refused(why.reason());
        match why {
            NoStream::Access(error) if self.log_budget.take(self.clock.now()) => {
                let client = client.map(tracing::field::display);
                tracing::info!(client, %error, "subscription refused");
            }
            NoStream::Journal(error) => {
                tracing::error!(%error, "no stream: the journal cannot be read");
            }
            _ => {}
        }
    }
}

/// Lets the connection be quiet for as long as the stream may last. A server
/// that only took the router has no connections to look after.
fn hold(request: &Parts, grant: &Grant, now: Timestamp) -> Option<Held> {
    let connection = request.extensions.get::<Streaming>()?;
    Some(connection.hold(grant.expires_at().map(|end| end.since(now))))
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

/// What a stream's response says of it.
fn head(request: &subscribe::Request, now: Timestamp) -> HeaderMap {
    let media_type = match request.format {
        Format::NdJson => NDJSON,
        Format::Raw | Format::CloudEvents => EVENT_STREAM,
    };
    let mut head = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would collect the stream into its buffers.
        (ACCEL_BUFFERING, "no"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::VARY, "accept-encoding"),
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

    /// Until when its connection may be silent, with no token or one that ends
    /// an hour from now.
    fn patience_beside(hours: Option<u64>) -> Option<Duration> {
        let now = Timestamp::from_unix_secs(1_000_000);
        let end = hours.map(|hours| now.plus(Duration::from_secs(hours * 3600)));
        let (mut request, ()) = http::Request::new(()).into_parts();
        let streaming = Streaming::default();
        request.extensions.insert(streaming.clone());
        let _held = hold(&request, &Grant::without_token(Topics::All, end), now);
        let stalled_at = Instant::now();
        streaming
            .patience_ends(stalled_at)
            .map(|at| at - stalled_at)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_may_be_silent_for_as_long_as_its_stream_lasts() {
        assert_eq!(patience_beside(None), None);
        assert_eq!(patience_beside(Some(1)), Some(Duration::from_secs(3600)));
    }
}
