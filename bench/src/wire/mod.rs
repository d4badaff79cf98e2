//! What comes over a connection: HTTP/1.1 responses, and the events of a stream
//! as `hookrill-client` reads them.
//!
//! Parsers only, fed with whatever pieces the socket gives. Invariant: how a
//! stream is split changes nothing.

use hookrill_client::sse::EventTooLong;

mod response;
mod sse;
mod subscription;

pub use response::Response;
pub use sse::Arrival;
pub use subscription::StreamDecoder;

/// Why an answer could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The head has no end.
    #[error("the response head is longer than {0} bytes")]
    HeadLong(usize),
    /// The status line or a header is not HTTP/1.1.
    #[error("the response head is not HTTP/1.1: {0}")]
    Head(String),
    /// The body's framing is broken.
    #[error("the chunk framing is broken")]
    Chunk,
    /// Compressed bytes that do not decode.
    #[error("the gzip stream does not decode: {0}")]
    Gzip(String),
    /// An event that no sender of the generator made.
    #[error(transparent)]
    Event(#[from] EventTooLong),
    /// Another status than a stream has.
    #[error("the subscription was answered with status {0}")]
    Status(u16),
}
