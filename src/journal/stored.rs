//! The stored form of an event, version 1.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version: 1 |
//! | 1 | 8 | xxh3-64 of all that follows, little-endian |
//! | 9 | 8 | sequence, little-endian |
//! | 17 | 8 | arrival, milliseconds since the Unix epoch, little-endian |
//! | 25 | | topic, type: each a length (u32, little-endian) and UTF-8 |
//! | | | content type, dedup id: each a 0, or a 1 and a text as above |
//! | | 1 | number of headers; then name and value of each, as texts |
//! | | | the body, to the end |
//!
//! What a newer version wrote, or what fails its checksum, is refused and
//! never cut short in silence.

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use hookrill_core::{Draft, Event, HEADERS_MAX, Sequence, Timestamp, Topic};

const VERSION: u8 = 1;
const CHECKED_FROM: usize = 9;
/// Where in a stored event its arrival ends.
pub(crate) const ARRIVAL_END: usize = 25;

/// Why stored bytes are not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Written by a newer Hookrill.
    #[error(
        "stored event has version {0}, this Hookrill reads up to {VERSION}: run the version that wrote it, or a newer one"
    )]
    Newer(u8),
    /// Changed since it was written.
    #[error(
        "stored event is damaged (checksum): restore the journal's folder from a backup and start with --new-epoch"
    )]
    Checksum,
    /// Has its checksum and still no sense.
    #[error("stored event has its checksum but not the form of version {VERSION}")]
    Form,
}

/// Encodes an event for storage, behind what is in `out` already.
pub(crate) fn encode_into(event: &Event, out: &mut Vec<u8>) {
    let draft = &event.draft;
    let begin = out.len();
    out.reserve(draft.weight() + 8 * draft.headers.len());
    out.put_u8(VERSION);
    out.put_u64_le(0);
    out.put_u64_le(event.sequence.0);
    out.put_u64_le(draft.received_at.unix_ms());
    put_text(out, draft.topic.as_str());
    put_text(out, &draft.event_type);
    put_optional(out, draft.content_type.as_deref());
    put_optional(out, draft.dedup_id.as_deref());
    let headers = &draft.headers[..draft.headers.len().min(HEADERS_MAX)];
    out.put_u8(headers.len() as u8);
    for (name, value) in headers {
        put_text(out, name);
        put_text(out, value);
    }
    out.put_slice(&draft.body);
    let stored = &mut out[begin..];
    let checksum = xxh3_64(&stored[CHECKED_FROM..]);
    stored[1..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
}

/// When a stored event arrived, by its first [`ARRIVAL_END`] bytes; not
/// checked against the checksum, which is over all of it.
#[must_use]
pub(crate) fn arrival(begin: &[u8; ARRIVAL_END]) -> Timestamp {
    let [.., a, b, c, d, e, f, g, h] = *begin;
    Timestamp::from_unix_ms(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

/// Decodes a stored event; its body shares the bytes given.
///
/// # Errors
///
/// [`DecodeError`], which says what to do about it.
pub(crate) fn decode(mut stored: Bytes) -> Result<Event, DecodeError> {
    match stored.first() {
        Some(&VERSION) => {}
        Some(&newer) if newer > VERSION => return Err(DecodeError::Newer(newer)),
        _ => return Err(DecodeError::Checksum),
    }
    if stored.len() < CHECKED_FROM {
        return Err(DecodeError::Checksum);
    }
    stored.advance(1);
    let checksum = stored.get_u64_le();
    if xxh3_64(&stored) != checksum {
        return Err(DecodeError::Checksum);
    }
    read_event(&mut stored).ok_or(DecodeError::Form)
}

fn read_event(stored: &mut Bytes) -> Option<Event> {
    let sequence = Sequence(stored.try_get_u64_le().ok()?);
    let received_at = Timestamp::from_unix_ms(stored.try_get_u64_le().ok()?);
    let topic: Topic = take_text(stored)?.parse().ok()?;
    let event_type = take_text(stored)?;
    let content_type = take_optional(stored)?;
    let dedup_id = take_optional(stored)?;
    let count = usize::from(stored.try_get_u8().ok()?);
    if count > HEADERS_MAX {
        return None;
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        headers.push((take_text(stored)?, take_text(stored)?));
    }
    let draft = Draft {
        received_at,
        topic,
        event_type,
        content_type,
        dedup_id,
        headers,
        body: std::mem::take(stored),
    };
    Some(draft.at(sequence))
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // A text longer than 4 GiB cannot arrive: bodies and heads are bounded.
    out.put_u32_le(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.put_u8(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

fn take_text(stored: &mut Bytes) -> Option<Box<str>> {
    let len = usize::try_from(stored.try_get_u32_le().ok()?).ok()?;
    if len > stored.len() {
        return None;
    }
    let text = stored.split_to(len);
    Some(std::str::from_utf8(&text).ok()?.into())
}

fn take_optional(stored: &mut Bytes) -> Option<Option<Box<str>>> {
    match stored.try_get_u8().ok()? {
        0 => Some(None),
        1 => take_text(stored).map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(event: &Event) -> Bytes {
        // What is there already stays, and is no part of the event.
        let mut out = b"before".to_vec();
        encode_into(event, &mut out);
        Bytes::from(out).split_off(6)
    }

    fn sample() -> Event {
        Draft {
            received_at: Timestamp::from_unix_ms(1_700_000_000_123),
            topic: "orders.eu".parse().unwrap(),
            event_type: "order.paid".into(),
            content_type: Some("application/json".into()),
            dedup_id: None,
            headers: vec![("x-github-event".into(), "push".into())],
            body: Bytes::from_static(b"{\"a\":\0\xff}"),
        }
        .at(Sequence(42))
    }

    #[test]
    fn version_1_is_pinned_to_the_byte() {
        let hex = data_encoding::HEXLOWER.encode(&encode(&sample()));
        assert_eq!(
            hex,
            "01a9257d72230977ab2a000000000000007b68e5cf8b010000090000006f7264657273\
             2e65750a0000006f726465722e7061696401100000006170706c69636174696f6e2f6a\
             736f6e00010e000000782d6769746875622d6576656e7404000000707573687b226122\
             3a00ff7d"
        );
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let whole = encode(&sample());
        for at in 0..whole.len() {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 0x20;
            assert!(decode(flipped.into()).is_err(), "byte {at} flipped");
            assert!(decode(whole.slice(..at)).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_arrival_is_where_it_is_said_to_be() {
        let whole = encode(&sample());
        let begin = whole.first_chunk().unwrap();
        assert_eq!(arrival(begin), sample().draft.received_at);
    }

    #[test]
    fn what_a_newer_version_wrote_is_named() {
        let mut newer = encode(&sample()).to_vec();
        newer[0] = 2;
        assert_eq!(decode(newer.into()), Err(DecodeError::Newer(2)));
    }

    proptest! {
        #[test]
        fn an_event_comes_back_as_it_was(
            sequence: u64, ms: u64,
            event_type in ".{0,40}",
            content_type in proptest::option::of(".{0,20}"),
            dedup_id in proptest::option::of(".{0,20}"),
            headers in proptest::collection::vec((".{0,9}", ".{0,9}"), 0..HEADERS_MAX),
            body: Vec<u8>,
        ) {
            let event = Draft {
                received_at: Timestamp::from_unix_ms(ms),
                topic: "a.b".parse().unwrap(),
                event_type: event_type.into(),
                content_type: content_type.map(Into::into),
                dedup_id: dedup_id.map(Into::into),
                headers: headers.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
                body: body.into(),
            }.at(Sequence(sequence));
            prop_assert_eq!(decode(encode(&event)), Ok(event));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(bytes.into());
        }
    }
}
