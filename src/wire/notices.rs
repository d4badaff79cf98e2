//! What Hookrill itself says in a stream, in the format of that stream.
//!
//! Everything else on the wire is an event. Invariant: no notice is empty, so
//! each can be a chunk of its own.

use std::time::Duration;

use bytes::Bytes;
use hookrill_core::Cursor;

use super::{
    Encoder, Format, Gap, Withheld,
    cloudevents::{expiring_line, gap_line, withheld_line},
    sse,
};

/// The first bytes of a stream that begins at `at`, or behind `gap`. Clients are
/// to wait `retry` before they reconnect.
///
/// With a gap a client keeps the id that it came with until it has the gap: cut
/// off in between, it is told again.
#[must_use]
pub fn opening(
    format: Format,
    at: Cursor,
    retry: Duration,
    gap: Option<&Gap>,
    encoder: &Encoder,
) -> Vec<u8> {
    let mut opening = Vec::new();
    if format != Format::NdJson {
        opening.extend_from_slice(&reconnect_after(retry));
        opening.extend_from_slice(&match gap {
            None => sse::cursor(at),
            Some(gap) => sse::cursor(&gap.asked),
        });
    } else if gap.is_none() {
        opening.push(b'\n');
    }
    if let Some(told) = gap {
        opening.extend_from_slice(&self::gap(format, told, encoder));
    }
    opening
}

/// A sign of life; in SSE it also moves the client's last id to `at`.
#[must_use]
pub fn heartbeat(format: Format, at: Cursor) -> Bytes {
    match format {
        Format::NdJson => Bytes::from_static(b"\n"),
        Format::Raw | Format::CloudEvents => sse::cursor(at),
    }
}

/// A stretch of history that the subscriber asked for and can't be given.
#[must_use]
pub fn gap(format: Format, gap: &Gap, encoder: &Encoder) -> Bytes {
    match format {
        Format::Raw | Format::CloudEvents => sse::gap(gap),
        Format::NdJson => gap_line(gap, encoder),
    }
}

/// Stands in for an event that is not shown, so that there is no silent hole.
#[must_use]
pub fn withheld(format: Format, id: Cursor, why: Withheld, encoder: &Encoder) -> Bytes {
    match format {
        Format::Raw | Format::CloudEvents => sse::withheld(id, why),
        Format::NdJson => withheld_line(id, why, encoder),
    }
}

/// The subscriber's token expires in `secs` seconds; the stream can be resumed
/// from `at`.
#[must_use]
pub fn expiring(format: Format, at: Cursor, secs: u64, encoder: &Encoder) -> Bytes {
    match format {
        Format::Raw | Format::CloudEvents => sse::expiring(at, secs),
        Format::NdJson => expiring_line(at, secs, encoder),
    }
}

/// The last bytes of a stream that ends because its gateway does; clients are to
/// wait `retry` before they reconnect. Newline-delimited JSON has no such word.
#[must_use]
pub fn closing(format: Format, retry: Duration) -> Option<Bytes> {
    (format != Format::NdJson).then(|| reconnect_after(retry))
}

/// Tells an SSE client how long to wait before it reconnects.
#[must_use]
pub fn reconnect_after(wait: Duration) -> Bytes {
    // A wait of millennia is as good as any that is longer.
    sse::retry(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}
