//! The stored form of an event, version 2; version 1 is read as well.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version: 2 |
//! | 1 | 8 | xxh3-64 of all that follows, little-endian |
//! | 9 | 8 | sequence, little-endian |
//! | 17 | 8 | arrival, milliseconds since the Unix epoch, little-endian |
//! | 25 | 8 | nonce of the append, little-endian |
//! | 33 | 1 | which of the optional parts there are, and whether headers were cut |
//! | 34 | | texts: topic, type, [content type], [dedup id], [method], target, headers, proof, names of omitted headers, [body as sent] |
//! | | | the body, to the end |
//!
//! A text is its length (LEB128) and its bytes, which are UTF-8 but for those of the
//! body as sent. Headers are a text of lines: [`HeaderList`]. Without a method it is POST.
//!
//! Version 1 had neither nonce nor flags. From offset 25 on: topic and type, each with a
//! length of four bytes; content type and dedup id, each behind a 0 or a 1; the number of
//! headers, and name and value of each; the body. A body as it was sent stood among the
//! headers, in Base64, as `:sent`.
//!
//! What a newer version wrote, or what fails its checksum, is refused and
//! never cut short in silence.

mod version_1;

use std::borrow::Cow;

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use hookrill_core::{
    Draft, Event, HEADERS_MAX, HeaderList, Original, PROOF_HEADERS_MAX, Proof, Sequence, Timestamp,
    Topic,
};

const VERSION: u8 = 2;
const CHECKED_FROM: usize = 9;
/// Where in a stored event its arrival ends.
pub(crate) const ARRIVAL_END: usize = 25;
/// The fewest bytes of a stored event, of either version.
pub(crate) const STORED_BYTES_MIN: usize = version_1::STORED_BYTES_MIN;

const HAS_CONTENT_TYPE: u8 = 1;
const HAS_DEDUP_ID: u8 = 1 << 1;
const HAS_METHOD: u8 = 1 << 2;
const HAS_SENT: u8 = 1 << 3;
const HEADERS_CUT: u8 = 1 << 4;
/// Others are a form that nobody wrote.
const FLAGS: u8 = HAS_CONTENT_TYPE | HAS_DEDUP_ID | HAS_METHOD | HAS_SENT | HEADERS_CUT;

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
    #[error("stored event has its checksum but not the form of its version")]
    Form,
}

/// Encodes an event for storage, behind what is in `out` already.
pub(crate) fn encode_into(event: &Event, out: &mut Vec<u8>) {
    let draft = &event.draft;
    let original = &draft.original;
    let method = (original.method != Original::METHOD).then_some(original.method.as_bytes());
    let content_type = draft.content_type.as_deref().map(str::as_bytes);
    let dedup_id = draft.dedup_id.as_deref().map(str::as_bytes);
    let begin = out.len();
    out.reserve(draft.weight());
    out.put_u8(VERSION);
    out.put_u64_le(0);
    out.put_u64_le(event.sequence.0);
    out.put_u64_le(draft.received_at.unix_ms());
    out.put_u64_le(draft.append_nonce);
    let mut flags = 0;
    for (flag, is_set) in [
        (HAS_CONTENT_TYPE, content_type.is_some()),
        (HAS_DEDUP_ID, dedup_id.is_some()),
        (HAS_METHOD, method.is_some()),
        (HAS_SENT, original.sent.is_some()),
        (HEADERS_CUT, original.headers_cut),
    ] {
        flags |= flag * u8::from(is_set);
    }
    out.put_u8(flags);
    for text in [
        Some(draft.topic.as_str().as_bytes()),
        Some(draft.event_type.as_bytes()),
        content_type,
        dedup_id,
        method,
        Some(original.target.as_bytes()),
        Some(draft.headers.as_bytes()),
        Some(original.proof.headers().as_bytes()),
        Some(original.omitted.as_bytes()),
        original.sent.as_deref(),
    ]
    .into_iter()
    .flatten()
    {
        put_bytes(out, text);
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

/// Decodes a stored event; its body and its headers share the bytes given.
///
/// # Errors
///
/// [`DecodeError`], which says what to do about it.
pub(crate) fn decode(mut stored: Bytes) -> Result<Event, DecodeError> {
    let read = match stored.first() {
        Some(&version_1::VERSION) => version_1::read_event,
        Some(&VERSION) => read_event,
        Some(&newer) if newer > VERSION => return Err(DecodeError::Newer(newer)),
        _ => return Err(DecodeError::Checksum),
    };
    if stored.len() < CHECKED_FROM {
        return Err(DecodeError::Checksum);
    }
    stored.advance(1);
    let checksum = stored.get_u64_le();
    if xxh3_64(&stored) != checksum {
        return Err(DecodeError::Checksum);
    }
    read(&mut stored).ok_or(DecodeError::Form)
}

fn read_event(stored: &mut Bytes) -> Option<Event> {
    let sequence = Sequence(stored.try_get_u64_le().ok()?);
    let received_at = Timestamp::from_unix_ms(stored.try_get_u64_le().ok()?);
    let append_nonce = stored.try_get_u64_le().ok()?;
    let flags = stored.try_get_u8().ok()?;
    if flags & !FLAGS != 0 {
        return None;
    }
    let has = |flag| flags & flag != 0;
    let topic: Topic = take_text(stored)?.parse().ok()?;
    let event_type = take_text(stored)?;
    let content_type = take_if(has(HAS_CONTENT_TYPE), stored, take_text)?;
    let dedup_id = take_if(has(HAS_DEDUP_ID), stored, take_text)?;
    let method = take_if(has(HAS_METHOD), stored, take_text)?;
    let target = take_text(stored)?;
    let headers = take_headers(stored, HEADERS_MAX)?;
    let proof = Proof::new(take_headers(stored, PROOF_HEADERS_MAX)?);
    let omitted = take_text(stored)?;
    let sent = take_if(has(HAS_SENT), stored, take_bytes)?;
    let draft = Draft {
        received_at,
        topic,
        event_type,
        content_type,
        dedup_id,
        headers,
        body: std::mem::take(stored),
        original: Original {
            method: method.map_or(Original::METHOD.into(), |other| Cow::Owned(other.into())),
            target,
            proof,
            omitted,
            headers_cut: has(HEADERS_CUT),
            sent,
        },
        append_nonce,
    };
    (sequence > Sequence::ZERO).then(|| draft.at(sequence))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut len = bytes.len();
    while len >= 0x80 {
        out.put_u8(len as u8 | 0x80);
        len >>= 7;
    }
    out.put_u8(len as u8);
    out.put_slice(bytes);
}

fn take_bytes(stored: &mut Bytes) -> Option<Bytes> {
    let mut len = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = stored.try_get_u8().ok()?;
        len |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let len = usize::try_from(len).ok()?;
            return (len <= stored.len()).then(|| stored.split_to(len));
        }
    }
    None
}

fn take_text(stored: &mut Bytes) -> Option<Box<str>> {
    let text = take_bytes(stored)?;
    Some(std::str::from_utf8(&text).ok()?.into())
}

fn take_headers(stored: &mut Bytes, most: usize) -> Option<HeaderList> {
    let headers = HeaderList::from_bytes(take_bytes(stored)?)?;
    (headers.len() <= most).then_some(headers)
}

/// What `take` reads, where it is there; `None` where that can't be read.
fn take_if<T>(
    is_there: bool,
    stored: &mut Bytes,
    take: fn(&mut Bytes) -> Option<T>,
) -> Option<Option<T>> {
    if is_there {
        take(stored).map(Some)
    } else {
        Some(None)
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
            headers: [("x-github-event", "push")].into_iter().collect(),
            body: Bytes::from_static(b"{\"a\":\0\xff}"),
            original: Original {
                method: "PUT".into(),
                target: "?a=b".into(),
                proof: Proof::new([("x-hub-signature-256", "sha256=ab")].into_iter().collect()),
                omitted: "authorization,cookie".into(),
                headers_cut: true,
                sent: Some(Bytes::from_static(b"\x1f\x8b")),
            },
            append_nonce: 0x0102_0304_0506_0708,
        }
        .at(Sequence(42))
    }

    #[test]
    fn version_2_is_pinned_to_the_byte() {
        let hex = data_encoding::HEXLOWER.encode(&encode(&sample()));
        assert_eq!(
            hex,
            "029e118add912dfe1c2a000000000000007b68e5cf8b01000008070605040302011d09\
             6f72646572732e65750a6f726465722e70616964106170706c69636174696f6e2f6a73\
             6f6e03505554043f613d6214782d6769746875622d6576656e740a707573680a1e782d\
             6875622d7369676e61747572652d3235360a7368613235363d61620a14617574686f72\
             697a6174696f6e2c636f6f6b6965021f8b7b2261223a00ff7d"
        );
    }

    /// A version with less in it took this many bytes for the same delivery, besides the
    /// body.
    #[test]
    fn what_it_takes_to_deliver_again_costs_little() {
        const HEADERS: [(&str, &str); 10] = [
            ("host", "hooks.example.com"),
            ("user-agent", "GitHub-Hookshot/ede37db"),
            ("content-length", "7654"),
            ("accept", "*/*"),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            ("x-github-event", "push"),
            ("x-github-hook-id", "292430182"),
            ("x-github-hook-installation-target-id", "79929171"),
            ("x-github-hook-installation-target-type", "repository"),
            ("content-type", "application/json"),
        ];
        const VERSION_1_BYTES: usize = 483;
        let signature = format!("sha256={}", "a".repeat(64));
        let proof = [("x-hub-signature-256", &*signature)];
        let event = Draft {
            topic: "github".parse().unwrap(),
            event_type: "push".into(),
            dedup_id: Some("72d3162e-cc78-11e3-81ab-4c9367dc0958".into()),
            headers: HEADERS.into_iter().collect(),
            body: Bytes::new(),
            original: Original {
                proof: Proof::new(proof.into_iter().collect()),
                omitted: "x-hub-signature".into(),
                ..Original::default()
            },
            ..sample().draft
        };
        let bytes = encode(&event.at(Sequence(1))).len();
        assert!(bytes * 100 <= VERSION_1_BYTES * 112, "{bytes} bytes");
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
        newer[0] = 3;
        assert_eq!(decode(newer.into()), Err(DecodeError::Newer(3)));
    }

    /// A delivery's headers of few enough lines.
    fn headers(most: usize) -> impl Strategy<Value = HeaderList> {
        let lines = proptest::collection::vec((".{0,9}", ".{0,9}"), 0..most);
        lines.prop_map(HeaderList::from_iter)
    }

    fn originals() -> impl Strategy<Value = Original> {
        let all = (
            prop_oneof![Just("POST".to_owned()), "[A-Z]{1,9}"],
            ".{0,200}",
            headers(PROOF_HEADERS_MAX),
            "[a-z,]{0,20}",
            any::<bool>(),
            proptest::option::of(any::<Vec<u8>>()),
        );
        all.prop_map(
            |(method, target, proof, omitted, headers_cut, sent)| Original {
                method: method.into(),
                target: target.into(),
                proof: Proof::new(proof),
                omitted: omitted.into(),
                headers_cut,
                sent: sent.map(Bytes::from),
            },
        )
    }

    proptest! {
        #[test]
        fn an_event_comes_back_as_it_was(
            sequence in 1_u64..,
            ms: u64,
            append_nonce: u64,
            event_type in ".{0,200}",
            content_type in proptest::option::of(".{0,20}"),
            dedup_id in proptest::option::of(".{0,20}"),
            headers in headers(HEADERS_MAX),
            original in originals(),
            body: Vec<u8>,
        ) {
            let event = Draft {
                received_at: Timestamp::from_unix_ms(ms),
                topic: "a.b".parse().unwrap(),
                event_type: event_type.into(),
                content_type: content_type.map(Into::into),
                dedup_id: dedup_id.map(Into::into),
                headers,
                body: body.into(),
                original,
                append_nonce,
            }.at(Sequence(sequence));
            prop_assert_eq!(decode(encode(&event)), Ok(event));
        }

        #[test]
        fn whatever_has_a_checksum_is_read_or_refused(
            version in prop_oneof![Just(1_u8), Just(VERSION)],
            rest in proptest::collection::vec(prop_oneof![0_u8..4, any::<u8>()], 0..80),
        ) {
            let mut stored = vec![version];
            stored.extend_from_slice(&xxh3_64(&rest).to_le_bytes());
            stored.extend_from_slice(&rest);
            if let Ok(event) = decode(stored.into()) {
                let again = encode(&event);
                prop_assert_eq!(decode(again), Ok(event));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = decode(bytes.into());
        }
    }
}
