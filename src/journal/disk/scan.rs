//! Reads a log from its header on: the whole groups in it, and what comes
//! after them.
//!
//! Invariant: a scan yields whole groups with their checksums, dense
//! sequences, and events with theirs.

use std::{fs::File, io};

use hookrill_core::Sequence;

use super::{
    dedup::DedupEntry,
    group::{self, CheckedGroup},
    index::Index,
    log_reader::LogReader,
    segment::{self, SegmentHeader},
};
use crate::journal::{
    ReadError,
    stored::{self, DecodeError},
};

/// What a log holds.
pub(super) struct ScannedLog {
    pub(super) index: Index,
    pub(super) entries: Vec<DedupEntry>,
    pub(super) end: LogEnd,
}

/// What comes after the last whole group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogEnd {
    /// Nothing, or zeros.
    Blank,
    /// Bytes, and no whole group among them: as a crash leaves them.
    Torn,
    /// Bytes, and a whole group further on: what is between was written and is
    /// damaged. Or so much that looks like groups that not all was checked.
    Damaged,
}

/// Why a log could not be scanned.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The group's checksum is right, and the event's own is wrong or unknown.
    #[error("event {sequence}: {source}")]
    Event {
        sequence: Sequence,
        source: DecodeError,
    },
}

impl From<ScanError> for ReadError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Io(source) => source.into(),
            ScanError::Event { sequence, source } => Self::Decode { sequence, source },
        }
    }
}

/// Reads a log whose header is known; blocks.
pub(super) fn scan(file: &File, header: &SegmentHeader) -> Result<ScannedLog, ScanError> {
    let (mut reader, mut log) = (LogReader::new(file, header)?, ScannedLog::new(header));
    loop {
        let (at, next) = (u64::from(log.index.end), log.index.last().next());
        match reader.group_at(at, next)? {
            Some(group) => log.add(&group)?,
            None => {
                log.end = log_end(&mut reader, at, next)?;
                return Ok(log);
            }
        }
    }
}

/// What comes from `at` on, where no whole group begins with `next`.
fn log_end(reader: &mut LogReader<'_>, at: u64, next: Sequence) -> io::Result<LogEnd> {
    if reader.is_blank(at)? {
        return Ok(LogEnd::Blank);
    }
    let found = reader.next_group(at, next)?;
    let is_damaged = found.is_some() || reader.work().unchecked > 0;
    Ok(if is_damaged {
        LogEnd::Damaged
    } else {
        LogEnd::Torn
    })
}

impl ScannedLog {
    fn new(header: &SegmentHeader) -> Self {
        Self {
            index: Index::new(header.first, segment::HEADER_BYTES as u32),
            entries: Vec::new(),
            end: LogEnd::Blank,
        }
    }

    fn add(&mut self, group: &CheckedGroup) -> Result<(), ScanError> {
        let begin = self.index.end as usize + group::HEADER_BYTES;
        let mut sequence = group.header.first;
        assert_eq!(sequence, self.index.last().next(), "sequences are dense");
        for record in group.records() {
            let failed = |source| ScanError::Event { sequence, source };
            let event = stored::decode(record.stored).map_err(failed)?;
            if event.sequence != sequence {
                return Err(failed(DecodeError::Form));
            }
            let (draft, offset) = (&event.draft, begin + record.offset);
            self.index.add(
                offset as u32,
                &draft.topic,
                &draft.event_type,
                draft.received_at,
            );
            if let Some((fingerprint, until)) = record.dedup {
                self.entries.push(DedupEntry {
                    fingerprint,
                    sequence,
                    until,
                });
            }
            sequence = sequence.next();
        }
        if sequence != group.header.last().next() {
            let source = DecodeError::Form;
            return Err(ScanError::Event { sequence, source });
        }
        self.index.end = u32::try_from(begin + group.header.len).map_err(io::Error::other)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use xxhash_rust::xxh3::xxh3_64_with_seed;

    use super::{super::log_reader::ScanWork, *};
    use crate::journal::{
        contract::draft,
        disk::{
            group::GroupBuilder,
            intact::{IntactLog, LastEvent},
        },
    };

    const SALT: u64 = 77;
    const MAGIC: &[u8] = b"HRg\xd6";
    /// How long the end of the log is that looks like groups.
    const TAIL_BYTES: usize = 5 << 20;

    fn header() -> SegmentHeader {
        SegmentHeader {
            epoch: "e".parse().unwrap(),
            start: Sequence::ZERO,
            first: Sequence(1),
            salt: SALT,
        }
    }

    /// A whole group of one event.
    fn group(sequence: u64) -> Vec<u8> {
        let mut group = GroupBuilder::default();
        group.start(Sequence(sequence));
        let event = draft("a", vec![b'x'; 100]).at(Sequence(sequence));
        group.push(&event, None);
        group.finish(SALT).unwrap().to_vec()
    }

    /// The header of a group that claims to have so many bytes of records.
    fn claim(first: u64, count: u32, len: usize, salt: u64) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend((len as u32).to_le_bytes());
        bytes.extend(first.to_le_bytes());
        bytes.extend(0x0123_4567_89ab_cdef_u64.to_le_bytes());
        let checksum = xxh3_64_with_seed(&bytes, salt);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// So many bytes of the same, each part made for where it stands.
    fn repeated(part: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(TAIL_BYTES);
        while bytes.len() < TAIL_BYTES {
            bytes.extend(part(bytes.len()));
        }
        bytes
    }

    /// A log with two groups, then these bytes.
    fn log(tail: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let parts = [&header().encode()[..], &group(1), &group(2), tail];
        file.write_all(&parts.concat()).unwrap();
        file
    }

    /// The end of a log with this tail, and what finding it took.
    fn end_of(tail: &[u8]) -> (LogEnd, ScanWork) {
        let file = log(tail);
        let mut reader = LogReader::new(&file, &header()).unwrap();
        let begin = segment::HEADER_BYTES + group(1).len() + group(2).len();
        let end = log_end(&mut reader, begin as u64, Sequence(3)).unwrap();
        let scanned = scan(&file, &header()).unwrap();
        assert_eq!((scanned.end, scanned.index.events()), (end, 2));
        (end, reader.work())
    }

    /// What is whole in a log with this tail, by its groups.
    fn intact(tail: &[u8]) -> IntactLog {
        IntactLog::by_groups(&log(tail), &header(), LastEvent::AtLeast(Sequence::ZERO)).unwrap()
    }

    /// Fails where a search did more than a few passes over the tail.
    fn assert_linear(work: ScanWork, what: &str) {
        let tail = TAIL_BYTES as u64;
        assert!(work.read_bytes <= 4 * tail, "{what}: {work:?}");
        assert!(work.checked_bytes <= 9 * tail, "{what}: {work:?}");
        // With those of the whole groups.
        let most = tail / MAGIC.len() as u64 + 4;
        assert!(work.candidates <= most, "{what}: {work:?}");
    }

    /// Tails that look like groups everywhere, and are none.
    fn lookalikes() -> Vec<(&'static str, Vec<u8>)> {
        let rest = |at: usize| TAIL_BYTES - at;
        vec![
            ("magic", repeated(|_| MAGIC.to_vec())),
            ("magic and a byte", repeated(|_| b"HRg\xd6H".to_vec())),
            (
                "headers of another log",
                repeated(|at| claim(3, 9, rest(at), SALT + 1)),
            ),
            (
                "headers that claim the rest",
                repeated(|at| claim(3, 9, rest(at), SALT)),
            ),
            (
                "headers that claim most events",
                repeated(|at| claim(3, u32::MAX, rest(at), SALT)),
            ),
            (
                "headers that claim 4 GiB",
                repeated(|_| claim(3, 9, u32::MAX as usize, SALT)),
            ),
            (
                "headers that claim a window",
                repeated(|_| claim(3, 9, 1 << 20, SALT)),
            ),
            (
                "old headers",
                repeated(|at| plausible(claim(1, 9, rest(at), SALT))),
            ),
        ]
    }

    /// A header with the length of a first record that could be.
    fn plausible(mut claim: Vec<u8>) -> Vec<u8> {
        claim.extend(500_u32.to_le_bytes());
        claim
    }

    #[test]
    fn a_torn_end_that_looks_like_groups_everywhere_is_searched_once() {
        for (what, tail) in lookalikes() {
            let (end, work) = end_of(&tail);
            assert_eq!(end, LogEnd::Torn, "{what}");
            assert_linear(work, what);
            assert_eq!(work.checked_bytes, 0, "{what}: no record is looked at");
        }
    }

    #[test]
    fn a_whole_group_is_found_behind_all_that_looks_like_one() {
        for (what, mut tail) in lookalikes() {
            let begin = segment::HEADER_BYTES + group(1).len() + group(2).len() + tail.len();
            tail.extend(group(7));
            let (end, work) = end_of(&tail);
            assert_eq!(end, LogEnd::Damaged, "{what}");
            assert_linear(work, what);
            let intact = intact(&tail);
            assert_linear(intact.work, what);
            assert_eq!(intact.whole_runs(), [(0, 2), (6, 7)], "{what}");
            let record = begin + crate::journal::disk::group::HEADER_BYTES;
            assert_eq!(intact.index.offset(6) as usize, record, "{what}");
        }
    }

    /// Only who knows the salt can write these.
    #[test]
    fn claims_that_overlap_are_checked_so_often_and_then_taken_for_damage() {
        for len in [64 << 10, 1 << 20, 2 << 20] {
            let claims = repeated(|_| plausible(claim(3, 9, len, SALT)));
            let (end, work) = end_of(&claims);
            assert_eq!(end, LogEnd::Damaged, "claims of {len}");
            assert!(work.unchecked > 0, "claims of {len}: {work:?}");
            assert!(work.read_bytes <= 40 * TAIL_BYTES as u64, "{work:?}");
            assert!(work.checked_bytes <= 9 * TAIL_BYTES as u64, "{work:?}");
            let intact = intact(&claims);
            assert_linear(intact.work, "claims");
            let whole = intact.whole_runs();
            assert_eq!(whole, [(0, 2)], "what is whole before them is kept");
        }
    }

    #[test]
    fn events_that_a_flipped_bit_separates_are_found_with_each_byte_read_once() {
        const FLIPPED: u32 = 6_000;
        let mut bytes = Vec::new();
        for sequence in 3..3 * u64::from(FLIPPED) + 3 {
            let mut whole = group(sequence);
            if sequence % 3 == 0 {
                // In the body, which the dedup flag follows.
                let at = whole.len() - 2;
                whole[at] ^= 1;
            }
            bytes.extend(whole);
        }
        let intact = intact(&bytes);
        let whole = intact.whole_runs();
        assert_eq!(whole.len() as u32, 1 + FLIPPED);
        assert_eq!(whole[0], (0, 2));
        assert!(whole[1..].iter().all(|(begin, end)| *end == begin + 2));
        assert_eq!(intact.index.missing.len() as u32, FLIPPED);
        let work = intact.work;
        assert!(work.read_bytes <= 2 * bytes.len() as u64, "{work:?}");
    }
}
