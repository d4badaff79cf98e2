//! One connection of a subscription: from the response's head to its end.
//!
//! Reads only while it is polled, and then one piece at a time. Invariant: a
//! piece is read once all events of the one before were taken.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    SubscribeError,
    item::{Item, Notice, ReceivedEvent, ReceivedGap, WithheldEvent},
};
use crate::{
    gzip::Inflater,
    sse::{SseEvent, SseReader},
    transport::Exchange,
};

/// A block of the stream.
#[derive(Debug)]
pub(super) enum StreamBlock {
    /// The first one has come, and is the next.
    Opened,
    /// The position moves, and there is nothing to see.
    Position(String),
    /// The gateway can't serve the stream now, and may say why. It cuts the connection
    /// then, which is not what went wrong.
    ComeBack(Option<String>),
    /// The token expires so soon.
    Expiring(String, Duration),
    /// Something for the subscriber; the position moves with it.
    Item(String, Item),
}

/// An open stream.
pub(super) struct OpenStream {
    exchange: Exchange,
    /// What came and was not read yet, as it came.
    input: Bytes,
    /// Where the stream is compressed.
    inflater: Option<Inflater>,
    /// What was inflated and not read yet.
    text: Bytes,
    pub(super) reader: SseReader,
    pub(super) opened: Instant,
    silence_max: Duration,
    silence: Pin<Box<Sleep>>,
    /// Whether the silence is being measured: from when there was nothing left
    /// to read, not from when somebody last asked.
    is_waiting: bool,
}

impl OpenStream {
    /// The stream that this answer is.
    pub(super) fn new(
        exchange: Exchange,
        reader: SseReader,
        silence_max: Duration,
    ) -> Result<Self, SubscribeError> {
        let inflater = inflater(&exchange.head.headers)?;
        Ok(Self {
            exchange,
            input: Bytes::new(),
            inflater,
            text: Bytes::new(),
            reader,
            opened: Instant::now(),
            silence_max,
            silence: Box::pin(sleep(silence_max)),
            is_waiting: false,
        })
    }

    /// The next block; `None` at the end of the stream.
    pub(super) fn poll_block(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<StreamBlock>, SubscribeError>> {
        loop {
            if let Some(block) = self.next_block()? {
                return Poll::Ready(Ok(Some(block)));
            }
            if self.inflate()? {
                continue;
            }
            match ready!(self.poll_input(cx)) {
                Some(input) => self.input = input?,
                None => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// The next block of the text that is there.
    fn next_block(&mut self) -> Result<Option<StreamBlock>, SubscribeError> {
        let text = if self.inflater.is_some() {
            &mut self.text
        } else {
            &mut self.input
        };
        let mut rest = &text[..];
        let block = self.reader.next(&mut rest)?.map(block);
        let read = text.len() - rest.len();
        text.advance(read);
        Ok(block)
    }

    /// Makes text of the input; returns whether there is some now.
    fn inflate(&mut self) -> Result<bool, SubscribeError> {
        debug_assert!(self.text.is_empty(), "the reader takes all");
        let Some(inflater) = &mut self.inflater else {
            return Ok(false);
        };
        let text = inflater.inflate(&mut self.input);
        let text = text.map_err(|error| SubscribeError::Gzip(error.into()))?;
        self.text = Bytes::copy_from_slice(text);
        Ok(!self.text.is_empty())
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, SubscribeError>>> {
        debug_assert!(self.input.is_empty(), "nothing is read ahead");
        if let Poll::Ready(input) = self.exchange.poll_data(cx) {
            self.is_waiting = false;
            return Poll::Ready(input.map(|input| input.map_err(Into::into)));
        }
        if !self.is_waiting {
            self.is_waiting = true;
            let until = Instant::now() + self.silence_max;
            self.silence.as_mut().reset(until);
        }
        ready!(self.silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(SubscribeError::Silent(self.silence_max))))
    }
}

fn inflater(headers: &HeaderMap) -> Result<Option<Inflater>, SubscribeError> {
    let text = |name| {
        let value = headers.get(name).map(http::HeaderValue::as_bytes);
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    if let Some(content_type) = text(CONTENT_TYPE) {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("text/event-stream") {
            return Err(SubscribeError::ContentType(content_type));
        }
    }
    match text(CONTENT_ENCODING) {
        Some(coding) if coding.eq_ignore_ascii_case("gzip") => Ok(Some(Inflater::new())),
        Some(coding) if !coding.eq_ignore_ascii_case("identity") => {
            Err(SubscribeError::ContentEncoding(coding))
        }
        _ => Ok(None),
    }
}

fn detail(json: &str) -> Option<String> {
    let said: serde_json::Value = serde_json::from_str(json).ok()?;
    said["detail"].as_str().map(str::to_owned)
}

fn block(event: SseEvent<'_>) -> StreamBlock {
    let id = event.id().into_owned();
    let item = match &*event.name() {
        "hookrill.wait" => return StreamBlock::ComeBack(detail(&event.data())),
        "hookrill.expiring" => {
            let left = Duration::from_secs(Notice::parse(&event.data()).seconds);
            return StreamBlock::Expiring(id, left);
        }
        "hookrill.cursor" if Notice::parse(&event.data()).live => Item::CaughtUp,
        "hookrill.gap" => Item::Gap(ReceivedGap::new(id.clone(), event.data().into_owned())),
        "hookrill.withheld" => {
            Item::Withheld(WithheldEvent::new(id.clone(), event.data().into_owned()))
        }
        // Events named `hookrill.…` that this version does not know come from a
        // newer gateway, never from a sender: only their id counts.
        own if own.starts_with("hookrill.") => return StreamBlock::Position(id),
        name => Item::Event(ReceivedEvent {
            id: id.clone(),
            name: name.to_owned(),
            data: event.data().into_owned(),
        }),
    };
    StreamBlock::Item(id, item)
}
