//! What the log says of a stream at `debug`: that it was opened, and how it ended.
//!
//! Invariant: where nobody wants it, a stream has none, and takes eight bytes for it.

use hookrill_core::Cursor;
use tracing::Span;

/// Says how a stream ended when it is dropped.
pub(super) struct StreamLog {
    /// Of the request that opened it.
    span: Span,
    /// Why it ended; `None` while nobody but its peer has ended it.
    why: Option<&'static str>,
    events: u64,
}

impl StreamLog {
    /// Says that a stream was opened, which goes on after `position`; `None` where that
    /// is not logged.
    pub(super) fn begin(position: Cursor) -> Option<Box<Self>> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        tracing::debug!(%position, "stream opened");
        Some(Box::new(Self {
            span: Span::current(),
            why: None,
            events: 0,
        }))
    }

    pub(super) fn sent(&mut self, events: u64) {
        self.events += events;
    }

    /// The first reason is the one that counts.
    pub(super) fn ends(&mut self, why: &'static str) {
        self.why.get_or_insert(why);
    }
}

impl Drop for StreamLog {
    fn drop(&mut self) {
        let (why, events) = (self.why.unwrap_or("the client has left"), self.events);
        tracing::debug!(parent: &self.span, why, events, "stream ended");
    }
}
