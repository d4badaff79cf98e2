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
//! A record is an event and, if the event has one, its dedup entry:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the stored event |
//! | | the stored event (`stored.rs`) |
//! | 1 | 0, or 1 if a dedup entry follows |
//! | 16 | the delivery's fingerprint (`dedup.rs`) |
//! | 8 | until when it counts, in milliseconds since the Unix epoch |
//!
//! All numbers are little-endian. Invariants: a group that was being written
//! counts whole or not at all, so its records can be had only from a
//! [`CheckedGroup`]; but what is whole in a damaged one can be had too
//! (`intact.rs`). Its sequences are dense.

use bytes::{Buf as _, BufMut as _, Bytes};
use hookrill_core::{Event, Sequence, Timestamp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    dedup::Fingerprint,
    segment::{u32_at, u64_at},
};
use crate::journal::stored;

/// The length of a group's header.
pub(super) const HEADER_BYTES: usize = 36;
const MAGIC: [u8; 4] = *b"HRg\xd6";
/// The length of what comes before the stored event in a record.
pub(super) const RECORD_HEADER_BYTES: usize = 4;
/// No record is shorter.
pub(super) const RECORD_BYTES_MIN: usize = RECORD_HEADER_BYTES + stored::STORED_BYTES_MIN + 1;
/// The length of a dedup entry in a record.
const DEDUP_BYTES: usize = 24;

/// A dedup entry as its event's record has it.
pub(super) type DedupStamp = (Fingerprint, Timestamp);

/// Builds the bytes of one group after another in one buffer.
#[derive(Default)]
pub(super) struct GroupBuilder {
    bytes: Vec<u8>,
    first: Sequence,
    /// Where each record is in `bytes`.
    offsets: Vec<u32>,
}

impl GroupBuilder {
    /// Starts a group and forgets the one before.
    pub(super) fn start(&mut self, first: Sequence) {
        self.first = first;
        self.offsets.clear();
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES, 0);
    }

    /// Adds the event that follows the last one.
    pub(super) fn push(&mut self, event: &Event, dedup: Option<DedupStamp>) {
        let expected = self.first.0 + self.offsets.len() as u64;
        assert_eq!(event.sequence.0, expected, "a group's sequences are dense");
        let at = self.bytes.len();
        // A batch is far smaller than 4 GiB; `finish` makes sure.
        self.offsets.push(at as u32);
        self.bytes.put_u32_le(0);
        stored::encode_into(event, &mut self.bytes);
        let len = self.bytes.len() - at - RECORD_HEADER_BYTES;
        self.bytes[at..at + RECORD_HEADER_BYTES].copy_from_slice(&(len as u32).to_le_bytes());
        self.bytes.put_u8(u8::from(dedup.is_some()));
        if let Some((fingerprint, until)) = dedup {
            self.bytes.put_u128_le(fingerprint.0);
            self.bytes.put_u64_le(until.unix_ms());
        }
    }

    /// The group's bytes, for the log with this salt. `None` if they are more
    /// than a group can have.
    pub(super) fn finish(&mut self, salt: u64) -> Option<&[u8]> {
        assert!(!self.offsets.is_empty(), "a group has an event");
        let len = u32::try_from(self.bytes.len()).ok()? - HEADER_BYTES as u32;
        let (header, records) = self.bytes.split_at_mut(HEADER_BYTES);
        let records_checksum = xxh3_64_with_seed(records, salt);
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&(self.offsets.len() as u32).to_le_bytes());
        header[8..12].copy_from_slice(&len.to_le_bytes());
        header[12..20].copy_from_slice(&self.first.0.to_le_bytes());
        header[20..28].copy_from_slice(&records_checksum.to_le_bytes());
        let checksum = xxh3_64_with_seed(&header[..28], salt);
        header[28..].copy_from_slice(&checksum.to_le_bytes());
        Some(&self.bytes)
    }

    /// Where each record begins.
    pub(super) fn offsets(&self) -> &[u32] {
        &self.offsets
    }
}

/// What a group says of itself; its own checksum is right, if the log's salt is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHeader {
    pub(super) count: u32,
    /// Of the records.
    pub(super) len: usize,
    pub(super) first: Sequence,
    checksum: u64,
}

impl GroupHeader {
    /// The header that these bytes begin with, if they begin with one.
    pub(super) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let header = Self::unverified(bytes)?;
        let checksum = u64_at(bytes, 28)?;
        (xxh3_64_with_seed(&bytes[..28], salt) == checksum).then_some(header)
    }

    /// The header that these bytes begin with, without a look at its checksum: for a
    /// log of which the salt is lost.
    pub(super) fn unverified(bytes: &[u8]) -> Option<Self> {
        let (mut rest, _) = bytes.split_at_checked(HEADER_BYTES)?;
        if rest.get_u32_le() != u32::from_le_bytes(MAGIC) {
            return None;
        }
        let header = Self {
            count: rest.get_u32_le(),
            len: usize::try_from(rest.get_u32_le()).ok()?,
            first: Sequence(rest.get_u64_le()),
            checksum: rest.get_u64_le(),
        };
        (header.count > 0).then_some(header)
    }

    /// The last event's sequence.
    pub(super) fn last(&self) -> Sequence {
        let last = self.first.0.saturating_add(u64::from(self.count));
        Sequence(last.saturating_sub(1))
    }

    /// The length of the whole group.
    pub(super) fn group_bytes(&self) -> u64 {
        (HEADER_BYTES + self.len) as u64
    }

    /// Whether the records can be so many in so many bytes, the first of which
    /// are `begin`. Every group that was written passes; next to nothing else
    /// does, at no cost.
    pub(super) fn is_plausible(&self, begin: &[u8]) -> bool {
        let least = (self.count as usize).saturating_mul(RECORD_BYTES_MIN);
        let first = u32_at(begin, 0).map(|len| len as usize);
        let first_end = first.and_then(|len| len.checked_add(RECORD_HEADER_BYTES + 1));
        least <= self.len && first_end.is_some_and(|end| end <= self.len)
    }

    /// Whether the lengths in the records lead to the group's end, in as many
    /// steps as it has events.
    pub(super) fn is_framing(&self, records: &[u8]) -> bool {
        let mut rest = records;
        for _ in 0..self.count {
            let Some(after) = skip_record(rest) else {
                return false;
            };
            rest = after;
        }
        rest.is_empty()
    }

    /// The group, if these are its records.
    pub(super) fn check(self, records: Bytes, salt: u64) -> Option<CheckedGroup> {
        let is_right = xxh3_64_with_seed(&records, salt) == self.checksum;
        is_right.then_some(CheckedGroup {
            header: self,
            records,
        })
    }

    /// Where in these bytes a group may begin: where a look at them is worth
    /// it, in a damaged log.
    pub(super) fn find(bytes: &[u8]) -> Option<usize> {
        bytes.windows(MAGIC.len()).position(|found| found == MAGIC)
    }
}

/// What comes after the first record of these bytes.
fn skip_record(records: &[u8]) -> Option<&[u8]> {
    let len = u32_at(records, 0)? as usize;
    let (_, rest) = records.split_at_checked(RECORD_HEADER_BYTES.checked_add(len)?)?;
    let (dedup, rest) = rest.split_first()?;
    match dedup {
        0 => Some(rest),
        _ => rest.get(DEDUP_BYTES..),
    }
}

/// A group whose checksums are right.
pub(super) struct CheckedGroup {
    pub(super) header: GroupHeader,
    records: Bytes,
}

/// One event of a group.
pub(super) struct GroupRecord {
    /// Where it begins, counted from the first record.
    pub(super) offset: usize,
    pub(super) stored: Bytes,
    pub(super) dedup: Option<DedupStamp>,
}

impl CheckedGroup {
    /// The records, as many as make sense.
    pub(super) fn records(&self) -> impl Iterator<Item = GroupRecord> + use<> {
        records(&self.records)
    }
}

/// The records in these bytes, as many as make sense, by the lengths that they
/// say. Nothing is checked.
pub(super) fn records(records: &Bytes) -> impl Iterator<Item = GroupRecord> + use<> {
    let mut rest = records.clone();
    let whole = rest.len();
    std::iter::from_fn(move || {
        let offset = whole - rest.len();
        let len = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
        if len > rest.len() {
            return None;
        }
        let stored = rest.split_to(len);
        let dedup = match rest.try_get_u8().ok()? {
            0 => None,
            _ => {
                let fingerprint = Fingerprint(rest.try_get_u128_le().ok()?);
                let until = Timestamp::from_unix_ms(rest.try_get_u64_le().ok()?);
                Some((fingerprint, until))
            }
        };
        Some(GroupRecord {
            offset,
            stored,
            dedup,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::contract::draft;

    const SALT: u64 = 99;

    fn stamp() -> DedupStamp {
        (Fingerprint(0xABCD), Timestamp::from_unix_ms(9))
    }

    fn group() -> GroupBuilder {
        let mut group = GroupBuilder::default();
        group.start(Sequence(7));
        group.push(&draft("a.b", "one").at(Sequence(7)), None);
        group.push(&draft("c", "two").at(Sequence(8)), Some(stamp()));
        group
    }

    fn decode(bytes: &[u8]) -> Option<Vec<GroupRecord>> {
        let header = GroupHeader::decode(bytes, SALT)?;
        let found = bytes.get(HEADER_BYTES..HEADER_BYTES + header.len)?;
        let group = header.check(Bytes::copy_from_slice(found), SALT)?;
        assert!(header.is_plausible(found) && header.is_framing(found));
        assert_eq!(
            (header.count, header.first, header.last()),
            (2, Sequence(7), Sequence(8))
        );
        Some(group.records().collect())
    }

    #[test]
    fn a_group_comes_back_as_it_was_written() {
        let mut group = group();
        let bytes = group.finish(SALT).unwrap().to_vec();
        let records = decode(&bytes).unwrap();
        assert_eq!(records.len(), 2);
        for (record, offset) in records.iter().zip(group.offsets()) {
            assert_eq!(record.offset + HEADER_BYTES, *offset as usize);
        }
        let second = stored::decode(records[1].stored.clone()).unwrap();
        assert_eq!(second, draft("c", "two").at(Sequence(8)));
        assert!(records[0].dedup.is_none());
        assert_eq!(records[1].dedup, Some(stamp()));
        assert_eq!(
            GroupHeader::find(&[b"xHR".as_slice(), &bytes].concat()),
            Some(3)
        );
    }

    #[test]
    fn no_record_is_shorter_than_is_said() {
        let mut group = GroupBuilder::default();
        group.start(Sequence(1));
        let shortest = hookrill_core::Draft {
            event_type: "".into(),
            ..draft("a", "")
        };
        group.push(&shortest.at(Sequence(1)), None);
        let len = group.finish(SALT).unwrap().len();
        assert!(len >= HEADER_BYTES + RECORD_BYTES_MIN, "{len} bytes");
    }

    #[test]
    fn lengths_that_lead_elsewhere_are_refused_before_any_checksum() {
        let mut group = group();
        let bytes = group.finish(SALT).unwrap().to_vec();
        let header = GroupHeader::decode(&bytes, SALT).unwrap();
        let whole = &bytes[HEADER_BYTES..];
        let second = group.offsets()[1] as usize - HEADER_BYTES;
        for (at, longer) in [(0, 1), (0, 0x7f), (second, 1), (second + 3, 0x7f)] {
            let mut records = whole.to_vec();
            records[at] += longer;
            assert!(!header.is_framing(&records), "{longer} more at {at}");
        }
        for len in 0..whole.len() {
            assert!(!header.is_framing(&whole[..len]), "cut at {len}");
        }
        assert!(!header.is_plausible(&[0xff; 4]) && !header.is_plausible(&[]));
    }

    #[test]
    fn the_header_is_pinned_to_the_byte() {
        let mut group = group();
        let bytes = group.finish(SALT).unwrap();
        let hex = data_encoding::HEXLOWER.encode(&bytes[..HEADER_BYTES]);
        assert_eq!(
            hex,
            "485267d6020000008a00000007000000000000009e26ab5cf23efad44aca35d3a36badea"
        );
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let whole = group().finish(SALT).unwrap().to_vec();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            assert!(decode(&flipped).is_none(), "byte {at} flipped");
            assert!(decode(&whole[..at]).is_none(), "cut at {at}");
        }
        assert!(
            GroupHeader::decode(&whole, SALT + 1).is_none(),
            "of another log"
        );
    }
}
