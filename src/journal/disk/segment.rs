//! Segments: the files of the log, their names and their first bytes.
//!
//! `segments/<first sequence, 20 digits>.log` holds events from that sequence
//! on. Once a segment is full it is sealed and gets an `.idx`, where its events
//! are, and a `.dup`, its dedup entries. The header of a `.log`, all numbers
//! little-endian:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `hookrill` |
//! | 8 | 1 | format: 2 |
//! | 9 | 1 | length of the epoch |
//! | 10 | 16 | the epoch's text, then zeros |
//! | 26 | 6 | zeros |
//! | 32 | 8 | start: gaps before this sequence are known and accepted |
//! | 40 | 8 | first sequence |
//! | 48 | 8 | salt of the groups' checksums |
//! | 56 | 8 | xxh3-64 of the bytes above |
//!
//! Groups follow (`group.rs`), then zeros or the end. Format 1 was a folder of
//! another storage engine.
//!
//! Invariant: a `.log` has a whole header, because it gets its name after that.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use hookrill_core::{Epoch, Sequence};
use xxhash_rust::xxh3::xxh3_64;

use crate::{durable, journal::scarcity::is_damage};

/// The format of a journal's folder that this code reads and writes.
pub(super) const FORMAT: u8 = 2;
/// The length of a log's header.
pub(super) const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"hookrill";

/// What a log says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) epoch: Epoch,
    pub(super) start: Sequence,
    pub(super) first: Sequence,
    /// Random, so that nobody can send a body that contains a valid group: in
    /// a torn end, such a body would make the start refuse the journal.
    pub(super) salt: u64,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// A newer Hookrill wrote them.
    Newer(u8),
    /// An older Hookrill wrote them.
    Older,
    Damaged,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
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

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.first_chunk().ok_or(HeaderError::Damaged)?;
        let [.., format] = *bytes.first_chunk::<9>().ok_or(HeaderError::Damaged)?;
        if bytes.starts_with(MAGIC) && format != FORMAT && !Self::was_known(bytes) {
            return Err(match format {
                0 => HeaderError::Damaged,
                older if older < FORMAT => HeaderError::Older,
                newer => HeaderError::Newer(newer),
            });
        }
        Self::decode_known(bytes).ok_or(HeaderError::Damaged)
    }

    /// Whether these bytes have the checksum that they had with this format: then
    /// nobody wrote another one, it has changed.
    fn was_known(bytes: &[u8; HEADER_BYTES]) -> bool {
        let mut known = *bytes;
        known[8] = FORMAT;
        Self::decode_known(&known).is_some()
    }

    /// The header that a log had whose header is damaged, if one changed byte or two
    /// flipped bits explain all that is not the same in every header. Its checksum
    /// vouches for it: one in 10^14 damaged headers has a second explanation.
    pub(super) fn repair(log: &File, first: Sequence) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_BYTES];
        match log.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Self::repair_bytes(bytes, first)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) if is_damage(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn repair_bytes(mut bytes: [u8; HEADER_BYTES], first: Sequence) -> Option<Self> {
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = FORMAT;
        bytes[26..32].fill(0);
        bytes[40..48].copy_from_slice(&first.0.to_le_bytes());
        let with_byte = |at: usize, byte: u8| {
            let mut changed = bytes;
            changed[at] = byte;
            changed
        };
        let with_flips = |flips: [usize; 2]| {
            let mut changed = bytes;
            for bit in flips {
                changed[bit / 8] ^= 1 << (bit % 8);
            }
            changed
        };
        let places = 0..HEADER_BYTES;
        let one_byte = places.flat_map(|at| (0..=u8::MAX).map(move |byte| with_byte(at, byte)));
        let bits = 0..8 * HEADER_BYTES;
        let two_bits = bits.flat_map(|a| (0..a).map(move |b| with_flips([a, b])));
        let mut possible = one_byte.chain(two_bits);
        let header = possible.find_map(|changed| Self::decode_known(&changed))?;
        // A whole header under another name is that of another segment.
        (header.first == first).then_some(header)
    }

    fn decode_known(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        if Some(xxh3_64(&bytes[..56])) != u64_at(bytes, 56) {
            return None;
        }

        let epoch = bytes.get(10..10 + usize::from(bytes[9]))?;
        let header = Self {
            epoch: std::str::from_utf8(epoch).ok()?.parse().ok()?,
            start: Sequence(u64_at(bytes, 32)?),
            first: Sequence(u64_at(bytes, 40)?),
            salt: u64_at(bytes, 48)?,
        };
        // Encoded again it must be the same bytes, checksum and zeros included.
        (header.encode() == *bytes).then_some(header)
    }
}

/// The little-endian u64 at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// The little-endian u32 at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The files of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FileKind {
    /// The events.
    Log,
    /// Where the events are.
    Index,
    /// The dedup entries.
    Dedup,
}

impl FileKind {
    const ALL: [Self; 3] = [Self::Log, Self::Index, Self::Dedup];

    fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "idx",
            Self::Dedup => "dup",
        }
    }
}

/// The folder of the segments in the journal's folder.
pub(super) fn folder(journal: &Path) -> PathBuf {
    journal.join("segments")
}

/// The path of one of a segment's files.
pub(super) fn path(journal: &Path, first: Sequence, kind: FileKind) -> PathBuf {
    folder(journal).join(format!("{:020}.{}", first.0, kind.extension()))
}

/// Which file of which segment has this name.
pub(super) fn parse_name(name: &str) -> Option<(Sequence, FileKind)> {
    let (digits, extension) = name.split_once('.')?;
    let mut kinds = FileKind::ALL.into_iter();
    let kind = kinds.find(|kind| kind.extension() == extension)?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((Sequence(digits.parse().ok()?), kind))
}

/// Creates a log that has a header and no group, durable; blocks.
pub(super) fn create(journal: &Path, header: &SegmentHeader) -> io::Result<File> {
    let path = path(journal, header.first, FileKind::Log);
    durable::replace(&path, &header.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            epoch: "k3f9x2ab".parse().unwrap(),
            start: Sequence(3),
            first: Sequence(4),
            salt: 5,
        }
    }

    #[test]
    fn the_header_is_pinned_to_the_byte() {
        let hex = data_encoding::HEXLOWER.encode(&header().encode());
        assert_eq!(
            hex,
            "686f6f6b72696c6c02086b336639783261620000000000000000000000000000\
             0300000000000000040000000000000005000000000000002dc06900b463fa52"
        );
        assert_eq!(SegmentHeader::decode(&header().encode()), Ok(header()));
    }

    #[test]
    fn every_changed_byte_and_every_cut_of_a_header_is_refused() {
        let whole = header().encode();
        for at in 0..whole.len() {
            let mut flipped = whole;
            flipped[at] ^= 0x10;
            assert!(
                SegmentHeader::decode(&flipped).is_err(),
                "byte {at} flipped"
            );
            assert!(SegmentHeader::decode(&whole[..at]).is_err(), "cut at {at}");
        }
        let mut newer = whole;
        newer[8] = FORMAT + 1;
        assert_eq!(SegmentHeader::decode(&newer), Err(HeaderError::Damaged));
        // It has another checksum, wherever that is.
        newer[40] = 9;
        assert_eq!(
            SegmentHeader::decode(&newer),
            Err(HeaderError::Newer(FORMAT + 1))
        );
        let mut older = newer;
        older[8] = FORMAT - 1;
        assert_eq!(SegmentHeader::decode(&older), Err(HeaderError::Older));
    }

    #[test]
    fn one_changed_byte_or_two_flipped_bits_are_put_right() {
        let whole = header().encode();
        let repaired = |bytes| SegmentHeader::repair_bytes(bytes, Sequence(4));
        let mut damaged = Vec::new();
        for at in 0..whole.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = whole;
                changed[at] ^= change;
                damaged.push(changed);
            }
        }
        for (a, b) in [(11, 33), (50, 51), (48, 63)] {
            let mut changed = whole;
            changed[a] ^= 4;
            changed[b] ^= 0x40;
            damaged.push(changed);
        }
        // What every header has, and what the file's name says.
        let mut changed = whole;
        changed[..9].fill(0);
        changed[26..32].fill(7);
        changed[40..48].fill(0xff);
        damaged.push(changed);
        for bytes in damaged {
            assert_eq!(repaired(bytes), Some(header()), "{bytes:?}");
        }
        assert_eq!(repaired([0; HEADER_BYTES]), None);
        let mut without_salt = whole;
        without_salt[48..56].fill(0xff);
        assert_eq!(repaired(without_salt), None);
        assert_eq!(SegmentHeader::repair_bytes(whole, Sequence(5)), None);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for first in [0, 42, u64::MAX] {
            for kind in FileKind::ALL {
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
