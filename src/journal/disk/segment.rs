//! Segments: the files of the log, their names and their first bytes.
//!
//! `segments/<first sequence, 20 digits>.log` holds events from that sequence
//! on. Beside it, once it takes no more: `.idx`, where everything is, and
//! `.dup`, the dedup entries. The head of a `.log`, all numbers little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `hookrill` |
//! | 8 | 1 | format: 2 |
//! | 9 | 1 | length of the epoch |
//! | 10 | 16 | the epoch's text, then zeros |
//! | 26 | 6 | zeros |
//! | 32 | 8 | start: up to here holes are known of and accepted |
//! | 40 | 8 | first sequence |
//! | 48 | 8 | salt of the groups' checksums |
//! | 56 | 8 | xxh3-64 of the bytes above |
//!
//! Groups follow (`group.rs`), then zeros or the end. Format 1 was a folder of
//! another storage engine.
//!
//! Invariant: a `.log` has a whole head, because it gets its name after that.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use hookrill_core::{Epoch, Sequence};
use xxhash_rust::xxh3::xxh3_64;

use crate::{durable, journal::OpenError};

/// The format of a journal's folder that this code reads and writes.
pub(super) const FORMAT: u8 = 2;
/// The length of a log's head.
pub(super) const HEAD_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"hookrill";

/// What a log says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: Epoch,
    pub(super) start: Sequence,
    pub(super) first: Sequence,
    /// Random, so that nobody can send a body with a group in it that counts
    /// as one: such a body in a torn tail would make the start refuse.
    pub(super) salt: u64,
}

/// Why bytes are no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHead {
    /// Written by a newer Hookrill.
    Newer(u8),
    Damaged,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let epoch = self.epoch.as_str().as_bytes();
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = FORMAT;
        bytes[9] = epoch.len() as u8;
        bytes[10..10 + epoch.len()].copy_from_slice(epoch);
        bytes[32..40].copy_from_slice(&self.start.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = xxh3_64(&bytes[..56]);
        bytes[56..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, NoHead> {
        let bytes = bytes.first_chunk().ok_or(NoHead::Damaged)?;
        let [.., newer] = *bytes.first_chunk::<9>().ok_or(NoHead::Damaged)?;
        if bytes.starts_with(MAGIC) && newer > FORMAT {
            return Err(NoHead::Newer(newer));
        }
        Self::decode_known(bytes).ok_or(NoHead::Damaged)
    }

    fn decode_known(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let epoch = bytes.get(10..10 + usize::from(bytes[9]))?;
        let head = Self {
            epoch: std::str::from_utf8(epoch).ok()?.parse().ok()?,
            start: Sequence(number(bytes, 32)?),
            first: Sequence(number(bytes, 40)?),
            salt: number(bytes, 48)?,
        };
        // Only what it would be written as is a head: nothing else to check.
        (head.encode() == *bytes).then_some(head)
    }
}

/// The little-endian u64 at `at`.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The little-endian u32 at `at`.
pub(super) fn small_number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The three files of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileKind {
    /// The events.
    Log,
    /// Where they are.
    Index,
    /// The dedup entries.
    Dedup,
}

const KINDS: [(FileKind, &str); 3] = [
    (FileKind::Log, "log"),
    (FileKind::Index, "idx"),
    (FileKind::Dedup, "dup"),
];

/// The folder of the segments in the journal's folder.
pub(super) fn folder(journal: &Path) -> PathBuf {
    journal.join("segments")
}

/// The path of one of a segment's files.
pub(super) fn path(journal: &Path, first: Sequence, kind: FileKind) -> PathBuf {
    let end = KINDS.iter().find(|(named, _)| *named == kind);
    let end = end.map_or("", |(_, end)| end);
    folder(journal).join(format!("{:020}.{end}", first.0))
}

/// Which file of which segment a name stands for.
pub(super) fn parse_name(name: &str) -> Option<(Sequence, FileKind)> {
    let (digits, end) = name.split_once('.')?;
    let (kind, _) = KINDS.iter().find(|(_, known)| *known == end)?;
    let is_written_so = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    let first = digits.parse().ok().filter(|_| is_written_so)?;
    Some((Sequence(first), *kind))
}

/// Makes a log with nothing but a head, durable; blocks.
pub(super) fn create(journal: &Path, head: &Head) -> io::Result<File> {
    durable::replace(&path(journal, head.first, FileKind::Log), &head.encode())
}

/// The error for a folder that has something damaged in it.
pub(super) fn damaged(journal: &Path, reason: impl Into<String>) -> OpenError {
    OpenError::Storage {
        path: journal.into(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            epoch: "k3f9x2ab".parse().unwrap(),
            start: Sequence(3),
            first: Sequence(4),
            salt: 5,
        }
    }

    #[test]
    fn the_head_is_pinned_to_the_byte() {
        let hex = data_encoding::HEXLOWER.encode(&head().encode());
        assert_eq!(
            hex,
            "686f6f6b72696c6c02086b336639783261620000000000000000000000000000\
             0300000000000000040000000000000005000000000000002dc06900b463fa52"
        );
        assert_eq!(Head::decode(&head().encode()), Ok(head()));
    }

    #[test]
    fn every_changed_byte_and_every_cut_of_a_head_is_refused() {
        let whole = head().encode();
        for at in 0..whole.len() {
            let mut flipped = whole;
            flipped[at] ^= 0x10;
            assert!(Head::decode(&flipped).is_err(), "byte {at} flipped");
            assert!(Head::decode(&whole[..at]).is_err(), "cut at {at}");
        }
        let mut newer = whole;
        newer[8] = FORMAT + 1;
        assert_eq!(Head::decode(&newer), Err(NoHead::Newer(FORMAT + 1)));
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for first in [0, 42, u64::MAX] {
            for (kind, _) in KINDS {
                let path = path(Path::new("j"), Sequence(first), kind);
                let name = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(parse_name(name), Some((Sequence(first), kind)));
            }
        }
        for other in ["1.log", "00000000000000000001.log.new", "lock", "x.idx"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
