//! A short stream of Server-Sent Events (Durable Streams, section 5.8): each `data` is
//! followed by a `control` that says where its reader is.
//!
//! Reads a page only when the one before it was taken. Ends by itself after some time,
//! when the gateway stops, and with the right to read: its client comes back with the
//! last offset, and is told then of what is gone. No space follows `data:`: the
//! protocol's conformance tests read what comes right behind the colon.

use std::{io, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use hookrill_core::Clock;
use http::{HeaderValue, header};
use serde_json::json;
use tokio::time::Instant;

use super::{Reader, WaitPermits, answer, offset::StreamOffset};
use crate::{
    http::{events::ACCEL_BUFFERING, limits::PagePlaces, media_types::EVENT_STREAM},
    subscribe::{HistoryReader, PageError, StreamPage, Waited},
};

/// The most bytes of events in one `data`; one event, if it is longer.
pub(super) const PAGE_BYTES_MAX: usize = 64 * 1024;

/// One reader's.
pub(super) struct ShortStream {
    pub(super) reading: HistoryReader,
    pub(super) reader: Reader,
    pub(super) places: Arc<PagePlaces>,
    /// When it ends.
    pub(super) until: Instant,
    pub(super) clock: Clock,
    /// What it says as its cursor: never less than before.
    pub(super) cursor: u64,
    /// There is something to say without a wait: at the beginning, and while more is
    /// stored.
    pub(super) is_behind: bool,
    pub(super) _permits: WaitPermits,
}

/// The response that carries it.
pub(super) fn response(stream: ShortStream) -> Response {
    let pieces = stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((piece, stream))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    for (name, value) in [
        // To the letter: some look for exactly this.
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, "no-cache, no-store, no-transform"),
        (ACCEL_BUFFERING, "no"),
        (header::VARY, "accept, authorization, cookie"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl ShortStream {
    /// The next piece, where there is one.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let is_due = self.is_behind;
            let is_due = match self.reading.wait_unless(is_due, self.until).await {
                Waited::News => is_due,
                Waited::Heartbeat => true,
                Waited::TimedOut | Waited::Drained | Waited::Revoked => return None,
            };
            let place = self.reader.place(&self.places, PAGE_BYTES_MAX).await;
            let Ok(mut place) = place else {
                return Some(Err(io::Error::other("there is no room for its next page")));
            };
            let page = match self.reading.page().await {
                Ok(page) => page,
                // Who comes back is told.
                Err(PageError::Gap(_)) => return None,
                Err(PageError::Journal(error)) => return Some(Err(io::Error::other(error))),
            };
            self.is_behind = !page.is_last;
            if page.is_empty() && page.is_last && !is_due {
                continue;
            }
            let text = self.text(&page);
            return Some(match place.resize(text.len()).await {
                Ok(()) => Ok(place.hold(text)),
                Err(_) => Err(io::Error::other("there is no room for its next page")),
            });
        }
    }

    fn text(&mut self, page: &StreamPage) -> Vec<u8> {
        let mut text = Vec::with_capacity(page.bytes() + 256);
        if !page.is_empty() {
            text.extend_from_slice(b"event: data\ndata:");
            page.write_array(&mut text);
            text.extend_from_slice(b"\n\n");
        }
        let now = answer::stream_cursor(self.clock.now(), None);
        self.cursor = self.cursor.max(now);
        let mut control = json!({
            "streamNextOffset": StreamOffset(page.next).to_string(),
            "streamCursor": self.cursor.to_string(),
        });
        if page.is_last {
            control["upToDate"] = true.into();
        }
        text.extend_from_slice(format!("event: control\ndata:{control}\n\n").as_bytes());
        text
    }
}
