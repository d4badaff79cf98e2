//! The words that Hookrill's crates share: events, topics, cursors, time.
//!
#![doc = include_str!("../README.md")]

mod cursor;
mod escape;
mod event;
mod foreign_text;
mod form;
mod header_list;
mod pointer;
mod secret;
mod selection;
mod shown_url;
mod steady_clock;
mod swap;
mod time;
mod topic;

pub use cursor::{Cursor, CursorError, Epoch, EpochError, Sequence};
pub use escape::{SEGMENT_BYTES_MAX, escape, segment, unescape};
pub use event::{Dedup, Draft, Event, HEADERS_MAX, Original, PROOF_HEADERS_MAX, Proof};
pub use foreign_text::{is_json, printable};
pub use form::{FormReader, begins_as_json, form_parts, is_form, without_byte_order_mark};
pub use header_list::HeaderList;
pub use pointer::{Pointer, PointerError};
pub use secret::Secret;
pub use selection::{Selection, Topics};
pub use shown_url::without_secrets;
pub use steady_clock::{ClockJump, SteadyClock};
pub use swap::Swap;
pub use time::{Clock, Timestamp};
pub use topic::{SEGMENTS_MAX, TOPIC_BYTES_MAX, Topic, TopicError, TopicMap};
