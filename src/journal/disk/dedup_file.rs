//! The file of a sealed segment's dedup entries, which outlives its events.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `hookrdup` |
//! | 8 | 8 | format: 2 |
//! | 16 | 8 | first sequence of the segment |
//! | 24 | 8 | last sequence of the segment |
//! | 32 | 8 | when the last of the entries expires |
//! | 40 | 8 | number of entries |
//! | 48 | 8 | xxh3-64 of the entries |
//! | 56 | 8 | xxh3-64 of the bytes above |
//! | 64 | | the entries |
//!
//! An entry is the delivery's fingerprint (16 bytes), until when it counts (8)
//! and its sequence (8). All numbers are little-endian, instants in
//! milliseconds since the Unix epoch. Invariant: entries are in the order of
//! their sequences, all of them within the segment.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use bytes::{Buf as _, BufMut as _};
use hookrill_core::{Sequence, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    dedup::{DedupEntry, Fingerprint},
    segment::{self, FORMAT, FileKind, u64_at},
};

const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"hookrdup";

/// How many entries are kept in files, where so many are remembered: more, since the
/// files of a section that sends much are also those of one that sends little, whose
/// entries are remembered for longer.
pub(super) const fn stored_entries_max(remembered_max: u64) -> u64 {
    remembered_max.saturating_mul(4)
}

/// What such a file says of itself in its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DedupHeader {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) until: Timestamp,
    pub(super) entries: u64,
    checksum: u64,
}

impl DedupHeader {
    /// Reads a segment's header; `None` if the file is missing or cut short, or
    /// the header is damaged.
    pub(super) fn load(journal: &Path, first: Sequence) -> io::Result<Option<Self>> {
        let file = match File::open(segment::path(journal, first, FileKind::Dedup)) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut bytes = [0; HEADER_BYTES];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Self::decode(&bytes).filter(|header| header.first == first)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads the entries; `None` if they are damaged.
    pub(super) fn load_entries(&self, journal: &Path) -> io::Result<Option<Vec<DedupEntry>>> {
        let path = segment::path(journal, self.first, FileKind::Dedup);
        Ok(self.decode_entries(&std::fs::read(path)?))
    }

    fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let is_known = bytes.starts_with(MAGIC) && u64_at(bytes, 8)? == u64::from(FORMAT);
        if !is_known || xxh3_64(&bytes[..56]) != u64_at(bytes, 56)? {
            return None;
        }
        Some(Self {
            first: Sequence(u64_at(bytes, 16)?),
            last: Sequence(u64_at(bytes, 24)?),
            until: Timestamp::from_unix_ms(u64_at(bytes, 32)?),
            entries: u64_at(bytes, 40)?,
            checksum: u64_at(bytes, 48)?,
        })
    }

    fn decode_entries(&self, file: &[u8]) -> Option<Vec<DedupEntry>> {
        let bytes = file.get(HEADER_BYTES..)?;
        let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        let is_whole = rest.is_empty() && chunks.len() as u64 == self.entries;
        if !is_whole || xxh3_64(bytes) != self.checksum {
            return None;
        }
        let entries = chunks.iter().map(|chunk| {
            let mut chunk = chunk.as_slice();
            DedupEntry {
                fingerprint: Fingerprint(chunk.get_u128_le()),
                until: Timestamp::from_unix_ms(chunk.get_u64_le()),
                sequence: Sequence(chunk.get_u64_le()),
            }
        });
        let entries: Vec<_> = entries.collect();
        self.are_in_order(&entries).then_some(entries)
    }

    fn are_in_order(&self, entries: &[DedupEntry]) -> bool {
        let is_inside = |entry: &DedupEntry| (self.first..=self.last).contains(&entry.sequence);
        entries.is_sorted_by(|a, b| a.sequence < b.sequence) && entries.iter().all(is_inside)
    }
}

/// The file of a segment's entries, and its header.
pub(super) fn encode(
    first: Sequence,
    last: Sequence,
    entries: &[DedupEntry],
) -> (DedupHeader, Vec<u8>) {
    let mut out = Vec::with_capacity(HEADER_BYTES + ENTRY_BYTES * entries.len());
    out.resize(HEADER_BYTES, 0);
    for entry in entries {
        out.put_u128_le(entry.fingerprint.0);
        out.put_u64_le(entry.until.unix_ms());
        out.put_u64_le(entry.sequence.0);
    }
    let until = entries.iter().map(|entry| entry.until).max();
    let header = DedupHeader {
        first,
        last,
        until: until.unwrap_or_default(),
        entries: entries.len() as u64,
        checksum: xxh3_64(&out[HEADER_BYTES..]),
    };
    assert!(header.are_in_order(entries), "dedup entries rise");
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.put_slice(MAGIC);
    bytes.put_u64_le(u64::from(FORMAT));
    bytes.put_u64_le(first.0);
    bytes.put_u64_le(last.0);
    bytes.put_u64_le(header.until.unix_ms());
    bytes.put_u64_le(header.entries);
    bytes.put_u64_le(header.checksum);
    bytes.put_u64_le(xxh3_64(&bytes));
    out[..HEADER_BYTES].copy_from_slice(&bytes);
    (header, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<DedupEntry> {
        let entry = |n: u64| DedupEntry {
            fingerprint: Fingerprint(u128::from(n) << 70),
            sequence: Sequence(n),
            until: Timestamp::from_unix_ms(100 - n),
        };
        [3, 5, 6].map(entry).into()
    }

    fn entries_of(bytes: &[u8]) -> Option<Vec<DedupEntry>> {
        DedupHeader::decode(bytes.first_chunk()?)?.decode_entries(bytes)
    }

    #[test]
    fn entries_come_back_as_they_were_written() {
        let (header, bytes) = encode(Sequence(2), Sequence(9), &entries());
        assert_eq!(
            DedupHeader::decode(bytes.first_chunk().unwrap()),
            Some(header)
        );
        assert_eq!((header.until.unix_ms(), header.entries), (97, 3));
        assert_eq!(entries_of(&bytes), Some(entries()));
        let hex = data_encoding::HEXLOWER.encode(&bytes[..96]);
        assert_eq!(
            hex,
            "686f6f6b7264757002000000000000000200000000000000090000000000000061000000\
             000000000300000000000000896d6b7ef5183b56c89ff061032aedb60000000000000000\
             c00000000000000061000000000000000300000000000000",
            "the format is pinned to the byte"
        );
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let (_, whole) = encode(Sequence(2), Sequence(9), &entries());
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            assert!(entries_of(&flipped).is_none(), "byte {at} flipped");
            assert!(entries_of(&whole[..at]).is_none(), "cut at {at}");
        }
    }
}
