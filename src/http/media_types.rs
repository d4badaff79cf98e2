//! What a stream's head says of its bytes.

/// What an SSE client accepts.
pub(super) const EVENT_STREAM: &str = "text/event-stream";
/// Without the charset, `requests` and what is built on it read ISO-8859-1.
pub(super) const EVENT_STREAM_UTF_8: &str = "text/event-stream; charset=utf-8";
pub(super) const NDJSON: &str = "application/x-ndjson";
/// Not for a cache, nor for what would compress it and hold it back in blocks.
pub(super) const STREAM_CACHE_CONTROL: &str = "no-store, no-transform";
