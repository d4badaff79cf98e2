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
//! An entry is the delivery's print (16 bytes), until when it counts and its
//! sequence. All numbers are little-endian, instants in milliseconds since the
//! Unix epoch. Invariant: entries are in the order of their sequences.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use bytes::{Buf as _, BufMut as _};
use hookrill_core::{Sequence, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    dedup::{Entry, Print},
    segment::{self, FORMAT, FileKind, number},
};

const FACTS_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"hookrdup";

/// What is known of such a file without reading all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DedupFacts {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) until: Timestamp,
    pub(super) entries: u64,
    checksum: u64,
}

impl DedupFacts {
    /// Reads what the file begins with; `None` where that is damaged, cut short
    /// or not there.
    pub(super) fn load(journal: &Path, first: Sequence) -> io::Result<Option<Self>> {
        let Some(file) = open(journal, first)? else {
            return Ok(None);
        };
        let mut bytes = [0; FACTS_BYTES];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Self::decode(&bytes).filter(|facts| facts.first == first)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads the entries; `None` where they are damaged.
    pub(super) fn entries(&self, journal: &Path) -> io::Result<Option<Vec<Entry>>> {
        let path = segment::path(journal, self.first, FileKind::Dedup);
        Ok(self.take(&std::fs::read(path)?))
    }

    fn decode(bytes: &[u8; FACTS_BYTES]) -> Option<Self> {
        let is_known = bytes.starts_with(MAGIC) && number(bytes, 8)? == u64::from(FORMAT);
        if !is_known || xxh3_64(&bytes[..56]) != number(bytes, 56)? {
            return None;
        }
        Some(Self {
            first: Sequence(number(bytes, 16)?),
            last: Sequence(number(bytes, 24)?),
            until: Timestamp::from_unix_ms(number(bytes, 32)?),
            entries: number(bytes, 40)?,
            checksum: number(bytes, 48)?,
        })
    }

    fn take(&self, file: &[u8]) -> Option<Vec<Entry>> {
        let bytes = file.get(FACTS_BYTES..)?;
        let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        let is_whole = rest.is_empty() && entries.len() as u64 == self.entries;
        if !is_whole || xxh3_64(bytes) != self.checksum {
            return None;
        }
        let entries = entries.iter().map(|entry| {
            let mut entry = entry.as_slice();
            Entry {
                print: Print(entry.get_u128_le()),
                until: Timestamp::from_unix_ms(entry.get_u64_le()),
                sequence: Sequence(entry.get_u64_le()),
            }
        });
        Some(entries.collect())
    }
}

fn open(journal: &Path, first: Sequence) -> io::Result<Option<File>> {
    match File::open(segment::path(journal, first, FileKind::Dedup)) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The bytes of the file with a segment's entries.
pub(super) fn encode(first: Sequence, last: Sequence, entries: &[Entry]) -> (DedupFacts, Vec<u8>) {
    let mut out = Vec::with_capacity(FACTS_BYTES + ENTRY_BYTES * entries.len());
    out.resize(FACTS_BYTES, 0);
    for entry in entries {
        out.put_u128_le(entry.print.0);
        out.put_u64_le(entry.until.unix_ms());
        out.put_u64_le(entry.sequence.0);
    }
    let until = entries.iter().map(|entry| entry.until).max();
    let facts = DedupFacts {
        first,
        last,
        until: until.unwrap_or_default(),
        entries: entries.len() as u64,
        checksum: xxh3_64(&out[FACTS_BYTES..]),
    };
    let mut begin = Vec::with_capacity(FACTS_BYTES);
    begin.put_slice(MAGIC);
    begin.put_u64_le(u64::from(FORMAT));
    begin.put_u64_le(first.0);
    begin.put_u64_le(last.0);
    begin.put_u64_le(facts.until.unix_ms());
    begin.put_u64_le(facts.entries);
    begin.put_u64_le(facts.checksum);
    begin.put_u64_le(xxh3_64(&begin));
    out[..FACTS_BYTES].copy_from_slice(&begin);
    (facts, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let entry = |n: u64| Entry {
            print: Print(u128::from(n) << 70),
            sequence: Sequence(n),
            until: Timestamp::from_unix_ms(100 - n),
        };
        [3, 5, 6].map(entry).into()
    }

    fn load(bytes: &[u8]) -> Option<Vec<Entry>> {
        DedupFacts::decode(bytes.first_chunk()?)?.take(bytes)
    }

    #[test]
    fn entries_come_back_as_they_were_written() {
        let (facts, bytes) = encode(Sequence(2), Sequence(9), &entries());
        assert_eq!(
            DedupFacts::decode(bytes.first_chunk().unwrap()),
            Some(facts)
        );
        assert_eq!((facts.until.unix_ms(), facts.entries), (97, 3));
        assert_eq!(load(&bytes), Some(entries()));
        let hex = data_encoding::HEXLOWER.encode(&bytes[..96]);
        assert_eq!(
            hex,
            "686f6f6b7264757002000000000000000200000000000000090000000000000061000000\
             000000000300000000000000896d6b7ef5183b56c89ff061032aedb60000000000000000\
             c00000000000000061000000000000000300000000000000",
            "the form is pinned to the byte"
        );
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let (_, whole) = encode(Sequence(2), Sequence(9), &entries());
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x20;
            assert!(load(&flipped).is_none(), "byte {at} flipped");
            assert!(load(&whole[..at]).is_none(), "cut at {at}");
        }
    }
}
