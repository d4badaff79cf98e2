//! An event as text on the wire: SSE and CloudEvents.
//!
//! A [`Frame`] is encoded at most once per form, by whoever needs it first, and
//! shared by all subscribers. What of it they are shown, the [`View`] of the
//! event's own topic decides, and not what they subscribed to.
//! Invariants: nothing in a body, type or id can start a field of its own; a
//! form that is not full has nothing in it that the view hides.

mod chunk;
mod cloudevents;
mod delivery;
mod encoder;
mod form;
mod frame;
mod gap;
pub mod gzip;
mod header;
mod ndjson;
pub mod notices;
mod piece;
mod projection;
mod sse;
mod view;
mod withheld;

pub use chunk::{Chunk, Framing, LAST_CHUNK};
pub use encoder::Encoder;
pub use form::{Form, Format, PackedForm};
pub use frame::Frame;
pub use gap::{AskedFrom, ForeignId, Gap, GapReason};
pub use header::{ShownHeader, ShownHeaderError};
pub use piece::{Coding, CodingState, Piece};
pub use projection::{NotJson, Projection};
pub use view::View;
pub use withheld::Withheld;
