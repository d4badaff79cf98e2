//! Writes streams: each by itself, or many of one channel together.
//!
//! ```text
//! StreamState ──poll/batch──▶ alone ──┬─ idle on a shared channel ─▶ group
//!                               ▲     └─ ended ─▶ finish
//!                               └──────── needs more than the next event
//! ```
//!
//! Knows no HTTP: bytes go to a [`Sink`], be it a socket or the body of a
//! response. Refuses to queue: what a sink does not take stays where it is.
//! Invariant: whoever writes a stream, its events go out in order, each once.

mod alone;
mod fanout;
mod group;
mod groups;
mod inbox;
mod sink;
mod writer;

pub use alone::write_to_end;
pub use fanout::Fanout;
#[cfg(test)]
pub(crate) use fanout::task_bytes;
pub use sink::{Disconnected, Sink, WriteOutcome};
pub use writer::StreamWriter;

#[cfg(test)]
mod tests;
