//! Pages and positions as HTTP responses (Durable Streams, sections 5.5 to 5.8 and 8).
//!
//! Invariant: an answer that a cache may keep has an `ETag` in which is all that its
//! body depends on: how events are encoded, whether they are shown whole, and which they
//! are.

use std::{convert::Infallible, fmt::Write as _};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use hookrill_core::{Cursor, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    asked::{Asked, Live, Shape},
    offset::StreamOffset,
};
use crate::{http::media_types::NDJSON, subscribe::StreamPage, wire::Format};

const JSON: &str = "application/json";
pub(super) const NEXT_OFFSET: HeaderName = HeaderName::from_static("stream-next-offset");
pub(super) const EARLIEST_OFFSET: HeaderName = HeaderName::from_static("stream-earliest-offset");
const UP_TO_DATE: HeaderName = HeaderName::from_static("stream-up-to-date");
const CURSOR: HeaderName = HeaderName::from_static("stream-cursor");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// From when intervals are counted: 2024-10-09.
const INTERVALS_BEGIN: Timestamp = Timestamp::from_unix_secs(1_728_432_000);
const INTERVAL_SECS: u64 = 20;
/// By how many seconds a cursor is set forward at most.
const JITTER_SECS_MAX: u64 = 3_600;

/// What would end a link's target, or is no part of a URL.
const NOT_IN_LINKS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Who may keep an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caching {
    /// Caches, for a while; all of them, where it needs no token.
    For { is_public: bool },
    /// As long as they like.
    Immutable { is_public: bool },
}

impl Caching {
    fn value(self) -> HeaderValue {
        let text = match self {
            Self::For { is_public: true } => "public, max-age=60, stale-while-revalidate=300",
            Self::For { is_public: false } => "private, max-age=60, stale-while-revalidate=300",
            Self::Immutable { is_public: true } => "public, max-age=31536000, immutable",
            Self::Immutable { is_public: false } => "private, max-age=31536000, immutable",
        };
        HeaderValue::from_static(text)
    }
}

/// A reader's place, as headers say it.
pub(super) struct PagePosition {
    pub(super) next: Cursor,
    pub(super) is_last: bool,
    /// For `Stream-Cursor`.
    pub(super) cursor: u64,
}

/// What tells a page from another.
pub(super) fn etag(page: &StreamPage, is_full: bool, asked: &Asked) -> String {
    let edition = page.edition;
    let (after, next) = (page.after.sequence, page.newest);
    let mut tag = format!("\"{:x}.{}-", edition.process, edition.generation);
    tag.push(if is_full { 'f' } else { 'v' });
    tag.push(match asked.format {
        Format::RawNdJson => 'r',
        _ => 'c',
    });
    tag.push(match asked.shape {
        Shape::Array => 'a',
        Shape::Lines => 'l',
    });
    _ = write!(tag, "-{after}-{next}-{}", page.len());
    tag.push_str(if page.is_last { "-l\"" } else { "\"" });
    tag
}

/// Whether the reader has the page of this tag (RFC 9110, section 13.1.2).
pub(super) fn has_it(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).into_iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given) == tag)
}

/// The cursor of an answer: of the present interval, and above the one that the
/// reader came with, so that no cache answers it with the same page for ever.
pub(super) fn stream_cursor(now: Timestamp, echoed: Option<u64>) -> u64 {
    let interval = now.since(INTERVALS_BEGIN).as_secs() / INTERVAL_SECS;
    match echoed {
        Some(echoed) if echoed >= interval => {
            let jitter = fastrand::u64(1..=JITTER_SECS_MAX).div_ceil(INTERVAL_SECS);
            echoed.saturating_add(jitter)
        }
        _ => interval,
    }
}

/// What every answer of this route has.
pub(super) fn protect(response: &mut Response) {
    let headers = response.headers_mut();
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    // For requests without CORS: pages that are let in read all the same.
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
}

/// The head of an answer at this place.
pub(super) fn at(place: &PagePosition, asked: &Asked, uri: &Uri) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let next = StreamOffset(place.next).to_string();
    headers.insert(NEXT_OFFSET, value(&next));
    if place.is_last {
        headers.insert(UP_TO_DATE, TRUE);
    }
    headers.insert(CURSOR, place.cursor.into());
    headers.insert(header::LINK, value(&link(uri, &next, asked.live, place)));
    headers.insert(header::CONTENT_TYPE, media_type(asked.shape));
    // A token decides what is shown, and whether at all.
    let vary = HeaderValue::from_static("accept, authorization, cookie");
    headers.insert(header::VARY, vary);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// The same, to be kept like this.
pub(super) fn kept(mut response: Response, caching: Caching, tag: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, caching.value());
    headers.insert(header::ETAG, value(tag));
    if let Caching::For { is_public: true } | Caching::Immutable { is_public: true } = caching {
        let vary = HeaderValue::from_static("accept, authorization");
        headers.insert(header::VARY, vary);
    }
    response
}

/// With this status, and without a body.
pub(super) fn empty(mut response: Response, status: StatusCode) -> Response {
    *response.status_mut() = status;
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// What `HEAD` is answered: where the stream begins and ends.
pub(super) fn ends(earliest: Cursor, head: Cursor, shape: Shape) -> Response {
    // Of no known length: that of a page would stand here.
    let body = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(NEXT_OFFSET, value(&StreamOffset(head).to_string()));
    headers.insert(EARLIEST_OFFSET, value(&StreamOffset(earliest).to_string()));
    headers.insert(header::CONTENT_TYPE, media_type(shape));
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// The text of a page.
pub(super) fn text(page: &StreamPage, shape: Shape) -> Vec<u8> {
    let mut text = Vec::with_capacity(page.bytes() + "[]".len());
    match shape {
        Shape::Array => page.write_array(&mut text),
        Shape::Lines => page.write_lines(&mut text),
    }
    text
}

fn media_type(shape: Shape) -> HeaderValue {
    HeaderValue::from_static(match shape {
        Shape::Array => JSON,
        Shape::Lines => NDJSON,
    })
}

/// The next page's address, relative to this one's: whatever proxies put before the
/// path stays there. Has what makes the page what it is and nothing else of the query: a
/// token, however its parameter is called, would stand in logs and caches.
fn link(uri: &Uri, next: &str, live: Live, place: &PagePosition) -> String {
    const REPEATED: [&str; 5] = ["topic", "types", "format", "limit", "live"];
    let mut target = format!("?offset={next}");
    for pair in uri.query().unwrap_or_default().split('&') {
        let name = pair.split('=').next().unwrap_or_default();
        if REPEATED.contains(&name) {
            _ = write!(target, "&{}", utf8_percent_encode(pair, NOT_IN_LINKS));
        }
    }
    if live != Live::No {
        _ = write!(target, "&cursor={}", place.cursor);
    }
    format!("<{target}>; rel=\"next\"")
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_of_the_present_interval_and_always_above_the_echoed_one() {
        let now = INTERVALS_BEGIN.plus(std::time::Duration::from_secs(20 * 7 + 19));
        assert_eq!(stream_cursor(now, None), 7);
        assert_eq!(stream_cursor(now, Some(6)), 7);
        for echoed in [7, 8, 1_000_000, u64::MAX / 2] {
            let next = stream_cursor(now, Some(echoed));
            assert!(next > echoed && next - echoed <= 180, "{echoed} {next}");
        }
        assert_eq!(stream_cursor(Timestamp::from_unix_secs(0), None), 0);
    }

    #[test]
    fn a_tag_is_found_among_others_weak_or_not() {
        for (lines, found) in [
            (&["\"a\""][..], true),
            (&["W/\"a\""], true),
            (&["\"b\", \"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&["*"], true),
            (&["a"], false),
            (&["\"ab\""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::IF_NONE_MATCH, line.parse().unwrap());
            }
            assert_eq!(has_it(&headers, "\"a\""), found, "{lines:?}");
        }
    }

    #[test]
    fn a_link_leads_on_with_all_that_was_asked_for_and_without_the_token() {
        let place = PagePosition {
            next: "e-7".parse().unwrap(),
            is_last: true,
            cursor: 9,
        };
        let next = "e_00000000000000000007";
        for (query, live, target) in [
            ("", Live::No, "?offset=e_00000000000000000007"),
            (
                "?offset=-1&types=a,b&token=x&access_token=y&limit=5&&since=1m&last=1&x=z",
                Live::No,
                "?offset=e_00000000000000000007&types=a,b&limit=5",
            ),
            (
                "?offset=-1&live=sse&cursor=3&%74oken=x&topic=a%3E%22",
                Live::Sse,
                "?offset=e_00000000000000000007&live=sse&topic=a%3E%22&cursor=9",
            ),
        ] {
            let uri: Uri = format!("/streams/a{query}").parse().unwrap();
            let expected = format!("<{target}>; rel=\"next\"");
            assert_eq!(link(&uri, next, live, &place), expected, "{query}");
        }
    }
}
