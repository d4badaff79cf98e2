//! Reads events that were stored before version 2: [`super`] has the form.
//!
//! They have none of what it takes to deliver them again, and say so.

use bytes::{Buf, Bytes};
use data_encoding::BASE64;
use hookrill_core::{Draft, Event, HEADERS_MAX, HeaderList, Original, Sequence, Timestamp, Topic};

pub(super) const VERSION: u8 = 1;
/// The fewest bytes: with a topic of one letter, and nothing else.
pub(super) const STORED_BYTES_MIN: usize = 37;

/// Under which name the body as it was sent stood among the headers.
const SENT_BODY: &str = ":sent";

pub(super) fn read_event(stored: &mut Bytes) -> Option<Event> {
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
    let mut lines = Vec::with_capacity(count);
    for _ in 0..count {
        lines.push((take_text(stored)?, take_text(stored)?));
    }
    let sent = lines.iter().find(|(name, _)| &**name == SENT_BODY);
    let sent = sent.map(|(_, base64)| BASE64.decode(base64.as_bytes()));
    let sent = sent.transpose().ok()?.map(Bytes::from);
    lines.retain(|(name, _)| &**name != SENT_BODY);
    let draft = Draft {
        received_at,
        topic,
        event_type,
        content_type,
        dedup_id,
        headers: HeaderList::from_iter(lines),
        body: std::mem::take(stored),
        original: Original {
            headers_cut: true,
            sent,
            ..Original::default()
        },
        append_nonce: 0,
    };
    (sequence > Sequence::ZERO).then(|| draft.at(sequence))
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
    use super::super::decode;
    use super::*;

    fn stored(hex: &str) -> Bytes {
        data_encoding::HEXLOWER
            .decode(hex.as_bytes())
            .unwrap()
            .into()
    }

    #[test]
    fn what_version_1_wrote_is_read_and_says_what_it_lacks() {
        let stored = stored(
            "01a9257d72230977ab2a000000000000007b68e5cf8b010000090000006f7264657273\
             2e65750a0000006f726465722e7061696401100000006170706c69636174696f6e2f6a\
             736f6e00010e000000782d6769746875622d6576656e7404000000707573687b226122\
             3a00ff7d",
        );
        let event = decode(stored.clone()).unwrap();
        let expected = Draft {
            received_at: Timestamp::from_unix_ms(1_700_000_000_123),
            topic: "orders.eu".parse().unwrap(),
            event_type: "order.paid".into(),
            content_type: Some("application/json".into()),
            dedup_id: None,
            headers: [("x-github-event", "push")].into_iter().collect(),
            body: Bytes::from_static(b"{\"a\":\0\xff}"),
            original: Original {
                headers_cut: true,
                ..Original::default()
            },
            append_nonce: 0,
        };
        assert_eq!(event, expected.at(Sequence(42)));
        for at in 0..stored.len() {
            let mut flipped = stored.to_vec();
            flipped[at] ^= 0x20;
            assert!(decode(flipped.into()).is_err(), "byte {at} flipped");
            assert!(decode(stored.slice(..at)).is_err(), "cut at {at}");
        }
    }
}
