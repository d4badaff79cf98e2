//! The bytes under which things are kept, and the small values.
//!
//! All numbers are u64 and big-endian, so that keys sort as numbers do.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `events` | sequence | `event::stored` |
//! | `index` | topic, a 0, sequence | the event's type |
//! | `dedup` | topic, a 0, 32 bytes | sequence, until (ms) |
//! | `dedup_order` | sequence | until (ms), then the key in `dedup` |
//! | `meta` | `epoch` | format (one byte: 1), start, the epoch's text |
//! | `meta` | `state` | head, bytes appended, dedup entries, dedup floor |
//! | `meta` | `floor` | floor, bytes deleted |
//!
//! The index has an entry for the event's topic, for each topic above it, and
//! for the empty topic, which stands for everything. No topic has a 0 in it,
//! so no topic's entries are among another's.

use crate::event::{Epoch, Sequence, Timestamp, Topic};

/// The format of a journal's folder that this code reads and writes.
pub(super) const FORMAT: u8 = 1;

pub(super) const EPOCH: &str = "epoch";
pub(super) const STATE: &str = "state";
pub(super) const FLOOR: &str = "floor";

/// The topic that stands for everything in the index.
pub(super) const EVERYTHING: &str = "";

pub(super) fn sequence(sequence: Sequence) -> [u8; 8] {
    sequence.0.to_be_bytes()
}

/// The sequence that ends a key of `events`, `index` or `dedup_order`.
pub(super) fn sequence_of(key: &[u8]) -> Option<Sequence> {
    let bytes = key.last_chunk()?;
    Some(Sequence(u64::from_be_bytes(*bytes)))
}

pub(super) fn index(topic: &str, sequence: Sequence) -> Vec<u8> {
    under(topic, &sequence.0.to_be_bytes())
}

/// Every key that the index has for an event.
pub(super) fn indexes(topic: &Topic, sequence: Sequence) -> impl Iterator<Item = Vec<u8>> {
    let names = topic.lineage().chain([EVERYTHING]);
    names.map(move |name| index(name, sequence))
}

pub(super) fn dedup(topic: &Topic, key: &[u8; 32]) -> Vec<u8> {
    under(topic.as_str(), key)
}

fn under(topic: &str, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(topic.len() + 1 + rest.len());
    key.extend_from_slice(topic.as_bytes());
    key.push(0);
    key.extend_from_slice(rest);
    key
}

/// Where a delivery was seen, and until when a second one is its duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) sequence: Sequence,
    pub(super) until: Timestamp,
}

impl Seen {
    pub(super) fn encode(self) -> Vec<u8> {
        numbers([self.sequence.0, self.until.unix_ms()])
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let [sequence, until] = take_numbers(value)?;
        Some(Self {
            sequence: Sequence(sequence),
            until: Timestamp::from_unix_ms(until),
        })
    }
}

pub(super) fn order_value(until: Timestamp, dedup_key: &[u8]) -> Vec<u8> {
    let mut value = numbers([until.unix_ms()]);
    value.extend_from_slice(dedup_key);
    value
}

pub(super) fn take_order_value(value: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (until, dedup_key) = value.split_first_chunk()?;
    Some((
        Timestamp::from_unix_ms(u64::from_be_bytes(*until)),
        dedup_key,
    ))
}

/// What the writer counts; written in each of its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) head: Sequence,
    /// Of stored forms, since the journal was made.
    pub(super) bytes_appended: u64,
    pub(super) dedup_entries: u64,
    /// No entry of `dedup_order` is at or below it: scans start above.
    pub(super) dedup_floor: Sequence,
}

impl State {
    pub(super) fn encode(self) -> Vec<u8> {
        numbers([
            self.head.0,
            self.bytes_appended,
            self.dedup_entries,
            self.dedup_floor.0,
        ])
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let [head, bytes_appended, dedup_entries, dedup_floor] = take_numbers(value)?;
        Some(Self {
            head: Sequence(head),
            bytes_appended,
            dedup_entries,
            dedup_floor: Sequence(dedup_floor),
        })
    }
}

/// What retention counts; durable before what it speaks of is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Floor {
    pub(super) floor: Sequence,
    /// Of stored forms, since the journal was made.
    pub(super) bytes_deleted: u64,
}

impl Floor {
    pub(super) fn encode(self) -> Vec<u8> {
        numbers([self.floor.0, self.bytes_deleted])
    }

    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let [floor, bytes_deleted] = take_numbers(value)?;
        Some(Self {
            floor: Sequence(floor),
            bytes_deleted,
        })
    }
}

/// The journal's name, and where under this name it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) epoch: Epoch,
    /// The head when the name was given: up to here holes are known of and
    /// accepted.
    pub(super) start: Sequence,
}

impl Named {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut value = vec![FORMAT];
        value.extend(numbers([self.start.0]));
        value.extend_from_slice(self.epoch.as_str().as_bytes());
        value
    }

    /// The name, if the format is one that is known here.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let (start, epoch) = value.strip_prefix(&[FORMAT])?.split_first_chunk()?;
        Some(Self {
            epoch: std::str::from_utf8(epoch).ok()?.parse().ok()?,
            start: Sequence(u64::from_be_bytes(*start)),
        })
    }
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.map(u64::to_be_bytes).concat()
}

fn take_numbers<const N: usize>(value: &[u8]) -> Option<[u64; N]> {
    let (chunks, rest) = value.as_chunks::<8>();
    let chunks: &[[u8; 8]; N] = chunks.try_into().ok()?;
    rest.is_empty().then(|| chunks.map(u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_pinned_to_the_byte() {
        let topic: Topic = "a.b".parse().unwrap();
        let keys: Vec<_> = indexes(&topic, Sequence(0x0102)).collect();
        assert_eq!(
            keys,
            [
                b"a.b\0\0\0\0\0\0\0\x01\x02".as_slice(),
                b"a\0\0\0\0\0\0\0\x01\x02",
                b"\0\0\0\0\0\0\0\x01\x02"
            ]
        );
        assert_eq!(sequence_of(&keys[0]), Some(Sequence(0x0102)));
        assert_eq!(
            dedup(&topic, &[7; 32]),
            [b"a.b\0".as_slice(), &[7; 32]].concat()
        );
    }

    #[test]
    fn values_come_back_as_they_were_written() {
        let state = State {
            head: Sequence(1),
            bytes_appended: 2,
            dedup_entries: 3,
            dedup_floor: Sequence(4),
        };
        assert_eq!(State::decode(&state.encode()), Some(state));
        let floor = Floor {
            floor: Sequence(5),
            bytes_deleted: u64::MAX,
        };
        assert_eq!(Floor::decode(&floor.encode()), Some(floor));
        let named = Named {
            epoch: "k3f9".parse().unwrap(),
            start: Sequence(6),
        };
        assert_eq!(named.encode(), b"\x01\0\0\0\0\0\0\0\x06k3f9");
        assert_eq!(Named::decode(&named.encode()), Some(named));
        let until = Timestamp::from_unix_ms(9);
        let value = order_value(until, b"key");
        assert_eq!(take_order_value(&value), Some((until, b"key".as_slice())));
    }

    #[test]
    fn values_of_another_form_are_refused() {
        for bad in [b"".as_slice(), b"1234567", &[0; 33]] {
            assert_eq!(State::decode(bad), None);
            assert_eq!(Floor::decode(bad), None);
            assert_eq!(Seen::decode(bad), None);
            assert_eq!(Named::decode(bad), None);
        }
    }
}
