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
    log_reader::{LogReader, ScanWork},
    segment::{self, SegmentHeader},
};
use crate::journal::stored::{self, DecodeError};

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

/// Whole groups that follow each other in a damaged log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupRun {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    /// Where in the log they begin and end.
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// All whole groups of a log, damaged or not, and what it took to find them;
/// blocks.
pub(super) fn group_runs(
    file: &File,
    header: &SegmentHeader,
) -> io::Result<(Vec<GroupRun>, ScanWork)> {
    let mut reader = LogReader::new(file, header)?;
    let mut runs: Vec<GroupRun> = Vec::new();
    let (mut at, mut next) = (segment::HEADER_BYTES as u64, header.first);
    while let Some((begin, group)) = reader.next_group(at, next)? {
        let group = group.header;
        let end = begin + group.group_bytes();
        match runs.last_mut() {
            Some(run) if run.end == begin && run.last.next() == group.first => {
                (run.end, run.last) = (end, group.last());
            }
            _ => runs.push(GroupRun {
                first: group.first,
                last: group.last(),
                begin,
                end,
            }),
        }
        (at, next) = (end, group.last().next());
    }
    debug_assert!(runs.is_sorted_by(|a, b| a.last < b.first && a.end <= b.begin));
    Ok((runs, reader.work()))
}
