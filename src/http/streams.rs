//! `GET /streams`: history that ends, as the read half of the Durable Streams protocol.
//!
//! A page of what is stored (section 5.6), a wait for more (5.7), or a short stream
//! (5.8). Refuses as `/events` does, but always with a status: no reader of this is an
//! `EventSource` that a status would end for good. Invariant: where history has a gap,
//! the answer is 410 and says where it goes on.

mod answer;
mod asked;
mod body;
mod offset;
mod sse;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tracing::Instrument as _;

use super::{
    Gateway,
    events::SubscribeError,
    grants::Wanted,
    limits::{
        Address, LimitExceeded, PagePlace, PagePlacesFull, RequestProgress, StreamSlot,
        WaitingRequest,
    },
    problem::{self, ProblemDetails},
    request_log::shown_path,
};
use crate::{
    access::{AccessError, Grant, TokenError},
    subscribe::{
        HistoryReader, PageError, PageGap, PageRequest, Start, StreamBreaker, StreamPage, Waited,
    },
    wire::GapReason,
};
use answer::{Caching, EARLIEST_OFFSET, PagePosition};
use asked::{Asked, Live};
use body::PageBody;
use offset::StreamOffset;

/// How `/streams` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Whether it answers at all.
    pub enabled: bool,
    /// How long a long poll waits.
    pub long_poll: Duration,
    /// How long a stream of Server-Sent Events lasts.
    pub sse_ttl: Duration,
    /// The most bytes of a page; one event, if it is longer.
    pub page_bytes: usize,
    /// Whether caches may keep pages that are not the last for ever, whatever a reload
    /// hides.
    pub immutable: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            long_poll: Duration::from_secs(30),
            sse_ttl: Duration::from_secs(60),
            page_bytes: 256 * 1024,
            immutable: false,
        }
    }
}

/// Whether a path is one of this route.
pub(super) fn is_below(path: &str) -> bool {
    let rest = path.strip_prefix("/streams");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Why there is no page.
enum ReadRefused {
    Subscribe(SubscribeError),
    Gap(PageGap),
}

impl<E: Into<SubscribeError>> From<E> for ReadRefused {
    fn from(error: E) -> Self {
        Self::Subscribe(error.into())
    }
}

impl From<PageError> for ReadRefused {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Gap(gap) => Self::Gap(gap),
            PageError::Journal(error) => Self::Subscribe(SubscribeError::Journal(error)),
        }
    }
}

impl From<PagePlacesFull> for SubscribeError {
    fn from(full: PagePlacesFull) -> Self {
        match full {
            PagePlacesFull::Address => LimitExceeded::Pages.into(),
            PagePlacesFull::All => Self::PagesFull,
        }
    }
}

/// Who a page is for.
#[derive(Clone)]
struct Reader {
    address: Option<Address>,
    /// Breaks off what is on its way to it.
    breaker: Option<Arc<StreamBreaker>>,
}

/// What a reader holds that waits: the place of a subscriber.
struct WaitPermits {
    _all: OwnedSemaphorePermit,
    _address: Option<StreamSlot>,
    _connection: Option<WaitingRequest>,
}

pub(super) async fn read(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    // A body that nobody asked for is dropped after the response was made.
    let (request, _body) = request.into_parts();
    if !gateway.settings().streams.enabled {
        return problem::no_such_route(request.uri).await.into_response();
    }
    let client = gateway.client_ip(&request.extensions, &request.headers);
    let span = tracing::debug_span!(
        "page",
        request = gateway.next_request_number(),
        client = client.map(tracing::field::display),
        path = shown_path(request.uri.path()),
    );
    let answered = gateway.answer(&request, client).instrument(span.clone());
    let mut response = match answered.await {
        Ok(response) => response,
        Err(ReadRefused::Gap(gap)) => gone(&gap),
        Err(ReadRefused::Subscribe(why)) => {
            let _entered = span.entered();
            gateway.note(&why, &request, client);
            why.problem().into_response()
        }
    };
    answer::protect(&mut response);
    response
}

/// 204 for whoever asks what there is to ask, and is no page.
pub(super) async fn options() -> Response {
    let allow = [(header::ALLOW, "GET, HEAD, OPTIONS")];
    (StatusCode::NO_CONTENT, allow).into_response()
}

/// 405: streams are written by `/ingest` alone.
pub(super) async fn method_not_allowed() -> Response {
    let mut response = ProblemDetails::read_only_stream().into_response();
    let allow = HeaderValue::from_static("GET, HEAD, OPTIONS");
    response.headers_mut().insert(header::ALLOW, allow);
    answer::protect(&mut response);
    response
}

fn gone(gap: &PageGap) -> Response {
    let what = match gap.reason {
        GapReason::Epoch => "the offset is of another journal",
        GapReason::Unknown => {
            "the offset is behind the end of the stream: none was given out there"
        }
        GapReason::Retention | GapReason::Damaged => "what follows the offset was deleted",
    };
    let detail = format!("{what}; read on from earliest, and take what was before that for lost");
    let earliest = StreamOffset(gap.earliest).to_string();
    let mut response = problem::history_gone(gap.reason.as_str(), &earliest, &detail);
    if let Ok(earliest) = HeaderValue::from_str(&earliest) {
        response.headers_mut().insert(EARLIEST_OFFSET, earliest);
    }
    response
}

impl Gateway {
    /// In the order of what a refusal costs, as for `/events`.
    async fn answer(
        &self,
        request: &Parts,
        client: Option<IpAddr>,
    ) -> Result<Response, ReadRefused> {
        self.admit_to_pages(client)?;
        let asked = Asked::read(&request.uri, &request.headers);
        let asked = asked.map_err(SubscribeError::Malformed)?;
        let grant = self
            .grant(&asked.topics, &asked.tokens, Wanted::Events)
            .await?;
        if request.method == Method::HEAD {
            let (earliest, head) = self.streams.bounds();
            return Ok(answer::ends(earliest, head, asked.shape));
        }
        match asked.live {
            Live::No => self.page(request, client, &asked, &grant).await,
            Live::LongPoll => self.long_poll(request, client, &asked, &grant).await,
            Live::Sse => self.short_stream(request, client, &asked, &grant).await,
        }
    }

    /// What is stored now.
    async fn page(
        &self,
        request: &Parts,
        client: Option<IpAddr>,
        asked: &Asked,
        grant: &Grant,
    ) -> Result<Response, ReadRefused> {
        let mut reading = self.begin_reading(asked, grant, false).await?;
        if asked.start == Start::Now {
            let next = reading.position();
            let response = answer::at(&self.place(next, true, asked), asked, &request.uri);
            return Ok(with_body(response, Body::from("[]"), asked));
        }
        let reader = Reader::of(request, client);
        let (page, place) = self.next_page(&mut reading, &reader).await?;
        self.page_response(request, asked, grant, &page, place)
            .await
    }

    /// What is stored, or comes soon.
    async fn long_poll(
        &self,
        request: &Parts,
        client: Option<IpAddr>,
        asked: &Asked,
        grant: &Grant,
    ) -> Result<Response, ReadRefused> {
        let _permits = self.wait_permits(request, client, grant)?;
        let mut reading = self.begin_reading(asked, grant, true).await?;
        let until = Instant::now() + self.settings().streams.long_poll;
        let reader = Reader::of(request, client);
        loop {
            let (page, place) = self.next_page(&mut reading, &reader).await?;
            if !page.is_empty() || !page.is_last {
                return self
                    .page_response(request, asked, grant, &page, place)
                    .await;
            }
            drop(place);
            match reading.wait(until).await {
                Waited::News | Waited::Heartbeat => {}
                Waited::TimedOut | Waited::Drained => break,
                Waited::Revoked => {
                    // Refused as whoever comes now is.
                    self.grant(&asked.topics, &asked.tokens, Wanted::Events)
                        .await?;
                    break;
                }
            }
        }
        let place = self.place(reading.position(), true, asked);
        let response = answer::at(&place, asked, &request.uri);
        Ok(answer::empty(response, StatusCode::NO_CONTENT))
    }

    /// What is stored and what comes, for a while.
    async fn short_stream(
        &self,
        request: &Parts,
        client: Option<IpAddr>,
        asked: &Asked,
        grant: &Grant,
    ) -> Result<Response, ReadRefused> {
        let permits = self.wait_permits(request, client, grant)?;
        let reading = self.begin_reading(asked, grant, true).await?;
        let stream = sse::ShortStream {
            reading,
            reader: Reader::of(request, client),
            places: Arc::clone(&self.page_places),
            until: Instant::now() + self.settings().streams.sse_ttl,
            cursor: answer::stream_cursor(self.clock.now(), asked.cursor),
            clock: self.clock.clone(),
            is_behind: true,
            _permits: permits,
        };
        Ok(sse::response(stream))
    }

    async fn begin_reading(
        &self,
        asked: &Asked,
        grant: &Grant,
        waits: bool,
    ) -> Result<HistoryReader, ReadRefused> {
        let page_bytes = self.settings().streams.page_bytes;
        let request = PageRequest {
            start: asked.start,
            types: asked.types.clone(),
            format: asked.format,
            events_max: asked.events_max,
            bytes_max: if asked.live == Live::Sse {
                page_bytes.min(sse::PAGE_BYTES_MAX)
            } else {
                page_bytes
            },
        };
        let reading = self.streams.read(grant, request, waits).await?;
        // A revocation after the token was verified, and before this was begun, found
        // nobody to end.
        if self.access.is_revoked(grant) {
            return Err(AccessError::TokenBad(TokenError::Revoked).into());
        }
        Ok(reading)
    }

    fn wait_permits(
        &self,
        request: &Parts,
        client: Option<IpAddr>,
        grant: &Grant,
    ) -> Result<WaitPermits, ReadRefused> {
        let all = self.permit(grant)?;
        let address = self.take_stream_slot(client)?;
        let connection = request.extensions.get::<RequestProgress>();
        Ok(WaitPermits {
            _all: all,
            _address: address,
            _connection: connection.map(RequestProgress::waits_for_events),
        })
    }

    /// The next page, and its place among those that are on their way.
    async fn next_page(
        &self,
        reading: &mut HistoryReader,
        reader: &Reader,
    ) -> Result<(StreamPage, PagePlace), ReadRefused> {
        let bytes = self.settings().streams.page_bytes;
        let place = reader.place(&self.page_places, bytes).await;
        let place = place.map_err(SubscribeError::from)?;
        Ok((reading.page().await?, place))
    }

    async fn page_response(
        &self,
        request: &Parts,
        asked: &Asked,
        grant: &Grant,
        page: &StreamPage,
        mut place: PagePlace,
    ) -> Result<Response, ReadRefused> {
        let here = self.place(page.next, page.is_last, asked);
        let mut response = answer::at(&here, asked, &request.uri);
        if asked.has_offset {
            let tag = answer::etag(page, grant.is_full(), asked);
            response = answer::kept(response, self.caching(asked, grant, page), &tag);
            if answer::has_it(&request.headers, &tag) {
                return Ok(answer::empty(response, StatusCode::NOT_MODIFIED));
            }
        }
        let text = answer::text(page, asked.shape);
        let resized = place.resize(text.len()).await;
        resized.map_err(SubscribeError::from)?;
        let body = PageBody::new(place.progress(), place.hold(text));
        *response.body_mut() = Body::new(body);
        Ok(response)
    }

    fn caching(&self, asked: &Asked, grant: &Grant, page: &StreamPage) -> Caching {
        let is_public = grant.token().is_none();
        // What is the oldest changes with retention.
        let stays = !page.is_last && asked.start != Start::Earliest;
        if stays && self.settings().streams.immutable {
            return Caching::Immutable { is_public };
        }
        Caching::For { is_public }
    }

    fn place(&self, next: hookrill_core::Cursor, is_last: bool, asked: &Asked) -> PagePosition {
        PagePosition {
            next,
            is_last,
            cursor: answer::stream_cursor(self.clock.now(), asked.cursor),
        }
    }
}

impl Reader {
    fn of(request: &Parts, client: Option<IpAddr>) -> Self {
        Self {
            address: client.map(Address::from),
            breaker: request.extensions.get().cloned(),
        }
    }

    /// Room for its next page.
    async fn place(
        &self,
        places: &Arc<super::limits::PagePlaces>,
        bytes: usize,
    ) -> Result<PagePlace, PagePlacesFull> {
        places.take(self.address, self.breaker.clone(), bytes).await
    }
}

/// Nothing, in the shape that was asked for.
fn with_body(mut response: Response, empty_array: Body, asked: &Asked) -> Response {
    *response.body_mut() = match asked.shape {
        asked::Shape::Array => empty_array,
        asked::Shape::Lines => Body::empty(),
    };
    response
}
