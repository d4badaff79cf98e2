//! Which pages of other origins may read what the gateway says (Fetch, "CORS
//! protocol"; RFC 6454).
//!
//! Says so on every answer that a page can get, refusals included: a page sees nothing
//! of an answer without it, not even its status. Never repeats an origin that is not
//! let in: that with credentials would let any site read a user's streams.

mod missing;
mod origin;

use std::{
    convert::Infallible,
    future,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use futures_util::future::{BoxFuture, Either};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, uri::Authority};
use tower::{Layer, Service};

use super::{Gateway, problem::ProblemDetails, request_log::Caller};
pub(super) use missing::MissingOrigins;
use origin::Parts;
pub use origin::{OriginError, OriginPattern};

/// Pages that are on this machine itself, at any port.
pub const LOOPBACK_ORIGINS: [&str; 6] = [
    "http://localhost:*",
    "https://localhost:*",
    "http://127.0.0.1:*",
    "https://127.0.0.1:*",
    "http://[::1]:*",
    "https://[::1]:*",
];

/// What a preflight allows besides `server.cors_headers`: what a subscriber sends, and
/// what tracing adds to every request of a page without asking.
const HEADERS: [&str; 10] = [
    "accept",
    "authorization",
    "baggage",
    "cache-control",
    "content-type",
    "if-none-match",
    "last-event-id",
    "sentry-trace",
    "traceparent",
    "tracestate",
];
/// What a page may read besides: for how long it was put off, and where a stream goes on.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "retry-after, etag, link, stream-next-offset, stream-up-to-date, stream-cursor, \
     stream-earliest-offset",
);
/// For how many seconds a browser may remember a preflight.
const PREFLIGHT_SECS: HeaderValue = HeaderValue::from_static("3600");
const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "origin, access-control-request-method, access-control-request-headers",
);

/// The pages that are let in.
pub(super) struct Cors {
    origins: Origins,
    /// The headers that a preflight allows, as a list.
    headers: HeaderValue,
}

enum Origins {
    Any,
    These(Box<[OriginPattern]>),
}

impl Cors {
    /// Lets pages of these origins in, and lets them send these headers.
    pub(super) fn new(origins: &[String], headers: &[HeaderName]) -> Self {
        let patterns: Vec<OriginPattern> = origins
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        let is_any = patterns.contains(&OriginPattern::Any);
        let more = headers.iter().map(HeaderName::as_str);
        let all: Vec<_> = HEADERS.into_iter().chain(more).collect();
        let list = HeaderValue::from_str(&all.join(", "));
        Self {
            origins: if is_any {
                Origins::Any
            } else {
                Origins::These(patterns.into())
            },
            headers: list.expect("names of headers are a header's value"),
        }
    }

    /// What a page of this origin is told; `None` where it is not let in.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::These(patterns) => {
                let text = origin.to_str().ok()?;
                let mut patterns = patterns.iter();
                let matches = patterns.any(|pattern| pattern.matches(text));
                matches.then(|| origin.clone())
            }
        }
    }

    /// Lets the page read the response, if it is let in.
    fn mark(&self, origin: Option<&HeaderValue>, response: &mut Response) {
        let allowed = origin.and_then(|origin| self.allowed(origin));
        let headers = response.headers_mut();
        if let Some(allowed) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            self.allow_credentials(headers);
        }
        if self.depends_on_origin() {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }

    /// The answer to a page that asks whether it may send a request.
    fn preflight(&self, allowed: HeaderValue) -> Response {
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        self.allow_credentials(headers);
        let methods = HeaderValue::from_static("GET, HEAD");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone());
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECS);
        headers.insert(header::VARY, VARY_PREFLIGHT);
        response
    }

    fn allow_credentials(&self, headers: &mut HeaderMap) {
        if matches!(self.origins, Origins::These(_)) {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }

    /// Whether two pages may get different headers.
    fn depends_on_origin(&self) -> bool {
        matches!(&self.origins, Origins::These(patterns) if !patterns.is_empty())
    }
}

/// Lets those pages in that are configured now.
#[derive(Clone)]
pub(super) struct AcrossOrigins(pub(super) Arc<Gateway>);

impl<S> Layer<S> for AcrossOrigins {
    type Service = CrossOriginService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CrossOriginService {
            gateway: Arc::clone(&self.0),
            inner,
        }
    }
}

/// Answers preflights, and marks the answers to pages. No function of axum's
/// `middleware`: that costs each webhook two allocations, and webhooks come from no page.
#[derive(Clone)]
pub(super) struct CrossOriginService<S> {
    gateway: Arc<Gateway>,
    inner: S,
}

impl<S> Service<Request> for CrossOriginService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let page = Page::of(&request);
        if !page.is_told() {
            return Either::Left(self.inner.call(request));
        }
        self.gateway.note_page(&page, &request);
        if let Some(preflight) = self.gateway.preflight(&page) {
            return Either::Right(Box::pin(future::ready(Ok(preflight))));
        }
        let gateway = Arc::clone(&self.gateway);
        let answering = self.inner.call(request);
        Either::Right(Box::pin(async move {
            let mut response = answering.await?;
            gateway.mark_for(&page, &mut response);
            Ok(response)
        }))
    }
}

/// The page that sends a request, if any.
pub(super) struct Page {
    origin: Option<HeaderValue>,
    /// It asks whether it may send another request.
    is_preflight: bool,
    path: PathKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PathKind {
    Stream,
    /// Of the operator, who uses no page of another origin.
    Operator,
    Other,
}

impl PathKind {
    fn of(path: &str) -> Self {
        let is_below = |root: &str| {
            let rest = path.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if is_below("/events") || is_below("/streams") {
            Self::Stream
        } else if is_below("/metrics") || is_below("/admin") {
            Self::Operator
        } else {
            Self::Other
        }
    }
}

impl Page {
    pub(super) fn of<B>(request: &http::Request<B>) -> Self {
        let headers = request.headers();
        let asks = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let origin = headers.get(header::ORIGIN).cloned();
        Self {
            is_preflight: asks && origin.is_some() && request.method() == Method::OPTIONS,
            origin,
            path: PathKind::of(request.uri().path()),
        }
    }

    /// Whether its answer says who may read it. Webhooks come from no page, and their
    /// answers are kept by no cache.
    fn is_told(&self) -> bool {
        self.path == PathKind::Stream || self.origin.is_some()
    }
}

impl Gateway {
    /// Lets the page read the response, if it is let in.
    pub(super) fn mark_for(&self, page: &Page, response: &mut Response) {
        if page.is_told() {
            let is_let_in = page.path != PathKind::Operator;
            let origin = page.origin.as_ref().filter(|_| is_let_in);
            self.cors.load().mark(origin, response);
        }
    }

    /// The answer to a page that asks whether it may send a request.
    pub(super) fn preflight(&self, page: &Page) -> Option<Response> {
        let origin = page.origin.as_ref().filter(|_| page.is_preflight)?;
        let cors = self.cors.load();
        let allowed = cors.allowed(origin);
        Some(match allowed.filter(|_| page.path != PathKind::Operator) {
            Some(allowed) => cors.preflight(allowed),
            None => {
                let mut refusal = ProblemDetails::page_not_let_in().into_response();
                refusal.headers_mut().insert(header::VARY, VARY_PREFLIGHT);
                refusal
            }
        })
    }

    /// Tells the operator of a page that would read a stream and may not: it sees
    /// nothing but "CORS error", and the stream is open all the same.
    fn note_page(&self, page: &Page, request: &Request) {
        let Some(origin) = &page.origin else { return };
        if page.path != PathKind::Stream || self.cors.load().allowed(origin).is_some() {
            return;
        }
        let Ok(origin) = origin.to_str() else { return };
        if !is_own_page(origin, request) && (origin == "null" || Parts::of(origin).is_some()) {
            let client = self.client_ip(request.extensions(), request.headers());
            self.log_missing_origin(origin, &Caller::new(client, request.headers()));
        }
    }
}

/// Whether the page comes from the gateway's own host, so that it needs no leave.
fn is_own_page(origin: &str, request: &Request) -> bool {
    let fetch_site = request.headers().get("sec-fetch-site");
    if fetch_site.is_some_and(|site| site == "same-origin") {
        return true;
    }
    let Some(page) = Parts::of(origin) else {
        return false;
    };
    // Whoever makes a header up spares the log a line.
    let hosts = [header::HOST.as_str(), "x-forwarded-host"];
    let hosts = hosts
        .iter()
        .filter_map(|name| request.headers().get(*name)?.to_str().ok());
    let authority = request.uri().authority().map(Authority::as_str);
    hosts.chain(authority).any(|host| page.is_at(host))
}
