//! The words that all of Hookrill speaks: events, topics, cursors, time.
//!
//! Pure values: no clock of its own, no environment, no I/O. The gateway, the
//! verifier and the client are built on these types.

mod cursor;
mod escape;
mod event;
mod pointer;
mod secret;
mod selection;
mod swap;
mod time;
mod topic;

pub use cursor::{Cursor, CursorError, Epoch, EpochError, Sequence};
pub use escape::{SEGMENT_BYTES_MAX, escape, segment, unescape};
pub use event::{Dedup, Draft, Event, HEADERS_MAX};
pub use pointer::{Pointer, PointerError};
pub use secret::Secret;
pub use selection::{Selection, Topics};
pub use swap::Swap;
pub use time::{Clock, Timestamp};
pub use topic::{SEGMENTS_MAX, TOPIC_BYTES_MAX, Topic, TopicError, TopicMap};
