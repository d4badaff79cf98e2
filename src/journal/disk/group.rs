//! Groups: what one commit adds to a log, under one checksum.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `HRg` and 0xD6 |
//! | 4 | 4 | number of events, at least 1 |
//! | 8 | 4 | length of the records |
//! | 12 | 8 | sequence of the first event |
//! | 20 | 8 | xxh3-64 of the records, seeded with the log's salt |
//! | 28 | 8 | xxh3-64 of the bytes above, seeded with the log's salt |
//! | 36 | | the records |
//!
//! A record is an event and, where it has one, its dedup entry:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the stored event |
//! | | the stored event (`event::stored`) |
//! | 1 | 0, or 1 where a dedup entry follows |
//! | 16 | the delivery's print (`dedup.rs`) |
//! | 8 | until when it counts, in milliseconds since the Unix epoch |
//!
//! All numbers are little-endian. Invariant: a group counts whole or not at
//! all.

use bytes::{Buf as _, BufMut as _, Bytes};
use hookrill_core::{Event, Sequence, Timestamp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::dedup::Print;
use crate::journal::stored;

/// The length of a group's head.
pub(super) const HEAD_BYTES: usize = 36;
const MAGIC: [u8; 4] = *b"HRg\xd6";
/// In a record, what comes before the stored event.
pub(super) const RECORD_HEAD_BYTES: usize = 4;

/// A dedup entry as its event's record has it.
pub(super) type Remembered = (Print, Timestamp);

/// A group in the making; used again and again.
#[derive(Default)]
pub(super) struct Group {
    bytes: Vec<u8>,
    first: Sequence,
    /// Where each record is in `bytes`.
    offsets: Vec<u32>,
}

impl Group {
    /// Forgets the group before.
    pub(super) fn begin(&mut self, first: Sequence) {
        self.first = first;
        self.offsets.clear();
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
    }

    /// Adds the event that follows the last.
    pub(super) fn push(&mut self, event: &Event, remembered: Option<Remembered>) {
        let at = self.bytes.len();
        // A turn's bytes are bounded far below 4 GiB; `end` makes sure.
        self.offsets.push(at as u32);
        self.bytes.put_u32_le(0);
        stored::encode_into(event, &mut self.bytes);
        let len = self.bytes.len() - at - RECORD_HEAD_BYTES;
        self.bytes[at..at + RECORD_HEAD_BYTES].copy_from_slice(&(len as u32).to_le_bytes());
        self.bytes.put_u8(u8::from(remembered.is_some()));
        if let Some((print, until)) = remembered {
            self.bytes.put_u128_le(print.0);
            self.bytes.put_u64_le(until.unix_ms());
        }
    }

    /// Its whole bytes, for the log with this salt. `None` where they are more
    /// than a group can have.
    pub(super) fn end(&mut self, salt: u64) -> Option<&[u8]> {
        let len = u32::try_from(self.bytes.len()).ok()? - HEAD_BYTES as u32;
        let (mut head, records) = self.bytes.split_at_mut(HEAD_BYTES);
        let records = xxh3_64_with_seed(records, salt);
        let whole = &mut *head;
        whole[..4].copy_from_slice(&MAGIC);
        whole[4..8].copy_from_slice(&(self.offsets.len() as u32).to_le_bytes());
        whole[8..12].copy_from_slice(&len.to_le_bytes());
        whole[12..20].copy_from_slice(&self.first.0.to_le_bytes());
        whole[20..28].copy_from_slice(&records.to_le_bytes());
        let checksum = xxh3_64_with_seed(&whole[..28], salt);
        head = &mut head[28..];
        head.copy_from_slice(&checksum.to_le_bytes());
        Some(&self.bytes)
    }

    /// How many bytes it has so far.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Where each record begins.
    pub(super) fn offsets(&self) -> &[u32] {
        &self.offsets
    }
}

/// What a group says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHead {
    pub(super) count: u32,
    /// Of the records.
    pub(super) len: usize,
    pub(super) first: Sequence,
    checksum: u64,
}

impl GroupHead {
    /// The head that these bytes begin with, if they do.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let (mut bytes, _) = bytes.split_at_checked(HEAD_BYTES)?;
        let whole = bytes;
        if bytes.get_u32_le() != u32::from_le_bytes(MAGIC) {
            return None;
        }
        let head = Self {
            count: bytes.get_u32_le(),
            len: usize::try_from(bytes.get_u32_le()).ok()?,
            first: Sequence(bytes.get_u64_le()),
            checksum: bytes.get_u64_le(),
        };
        (xxh3_64_with_seed(&whole[..28], salt) == bytes.get_u64_le()).then_some(head)
    }

    /// The last event's sequence.
    pub(super) fn last(&self) -> Sequence {
        Sequence(
            self.first
                .0
                .saturating_add(u64::from(self.count))
                .saturating_sub(1),
        )
    }

    /// Whether these are the group's records.
    pub(super) fn is_of(&self, records: &[u8], salt: u64) -> bool {
        xxh3_64_with_seed(records, salt) == self.checksum
    }

    /// Whether these bytes may be the beginning of a group: where to look
    /// closer, in a damaged log.
    pub(super) fn find(bytes: &[u8]) -> Option<usize> {
        bytes.windows(MAGIC.len()).position(|found| found == MAGIC)
    }
}

/// One event of a group.
pub(super) struct Record {
    /// Where it begins, counted from the first record.
    pub(super) offset: usize,
    pub(super) stored: Bytes,
    pub(super) remembered: Option<Remembered>,
}

/// The records of a group whose checksum is right, as many as make sense.
pub(super) fn records(records: Bytes) -> impl Iterator<Item = Record> {
    let mut rest = records;
    let whole = rest.len();
    std::iter::from_fn(move || {
        let offset = whole - rest.len();
        let len = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
        if len > rest.len() {
            return None;
        }
        let stored = rest.split_to(len);
        let remembered = match rest.try_get_u8().ok()? {
            0 => None,
            _ => {
                let print = Print(rest.try_get_u128_le().ok()?);
                let until = Timestamp::from_unix_ms(rest.try_get_u64_le().ok()?);
                Some((print, until))
            }
        };
        Some(Record {
            offset,
            stored,
            remembered,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::contract::draft;

    const SALT: u64 = 99;

    fn group() -> Group {
        let mut group = Group::default();
        group.begin(Sequence(7));
        group.push(&draft("a.b", "one").at(Sequence(7)), None);
        let remembered = (Print(0xABCD), Timestamp::from_unix_ms(9));
        group.push(&draft("c", "two").at(Sequence(8)), Some(remembered));
        group
    }

    fn take(bytes: &[u8]) -> Option<Vec<Record>> {
        let head = GroupHead::decode(bytes, SALT)?;
        let found = bytes.get(HEAD_BYTES..HEAD_BYTES + head.len)?;
        head.is_of(found, SALT).then_some(())?;
        assert_eq!(
            (head.count, head.first, head.last()),
            (2, Sequence(7), Sequence(8))
        );
        Some(records(Bytes::copy_from_slice(found)).collect())
    }

    #[test]
    fn a_group_comes_back_as_it_was_written() {
        let mut group = group();
        let bytes = group.end(SALT).unwrap().to_vec();
        let records = take(&bytes).unwrap();
        assert_eq!(records.len(), 2);
        for (record, offset) in records.iter().zip(group.offsets()) {
            assert_eq!(record.offset + HEAD_BYTES, *offset as usize);
        }
        let second = stored::decode(records[1].stored.clone()).unwrap();
        assert_eq!(second, draft("c", "two").at(Sequence(8)));
        assert!(records[0].remembered.is_none());
        let remembered = (Print(0xABCD), Timestamp::from_unix_ms(9));
        assert_eq!(records[1].remembered, Some(remembered));
        assert_eq!(
            GroupHead::find(&[b"xHR".as_slice(), &bytes].concat()),
            Some(3)
        );
    }

    #[test]
    fn the_head_is_pinned_to_the_byte() {
        let mut group = group();
        let bytes = group.end(SALT).unwrap();
        let hex = data_encoding::HEXLOWER.encode(&bytes[..HEAD_BYTES]);
        assert_eq!(
            hex,
            "485267d6020000008200000007000000000000001a8499d57a9fc813f47504bb0d150bac"
        );
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let whole = group().end(SALT).unwrap().to_vec();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            assert!(take(&flipped).is_none(), "byte {at} flipped");
            assert!(take(&whole[..at]).is_none(), "cut at {at}");
        }
        assert!(
            GroupHead::decode(&whole, SALT + 1).is_none(),
            "of another log"
        );
    }
}
