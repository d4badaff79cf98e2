//! What is whole in a log that is damaged, event by event.
//!
//! Believes an event that has its checksum in a place that another checksum
//! vouches for: an index, a whole group, or a group's header of which the lengths
//! in the records lead to the group's end; or, where the salt of these checksums is lost,
//! in the place where the group before it leads. Refuses to search in bytes that are
//! not vouched for: a body can hold what looks like an event, with a checksum.
//!
//! Invariant: each event from the first to the last is in the index that comes
//! out, as whole or as missing.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use bytes::Bytes;
use hookrill_core::{Event, Sequence};

use super::{
    dedup::DedupEntry,
    group::{self, GroupHeader, GroupRecord, RECORD_HEADER_BYTES},
    index::Index,
    log_reader::{LogReader, ScanWork},
    scan::ScanError,
    segment::{self, SegmentHeader, u32_at},
};
use crate::journal::{
    scarcity::is_damage,
    stored::{self, DecodeError},
};

/// What is whole in a log.
pub(super) struct IntactLog {
    /// All events, with those that are missing.
    pub(super) index: Index,
    /// The dedup entries of whole groups.
    pub(super) entries: Vec<DedupEntry>,
    /// Up to where the log was read.
    read_until: u64,
    /// What it took to find them.
    pub(super) work: ScanWork,
}

/// Up to where a log has events.
#[derive(Debug, Clone, Copy)]
pub(super) enum LastEvent {
    /// It is sealed, and its last event is this one.
    Known(Sequence),
    /// It may go on behind this one, which was acknowledged. A last write that was
    /// interrupted is none of it.
    AtLeast(Sequence),
}

/// Events that follow each other, by ordinal: from the first to before the
/// second.
pub(super) type OrdinalRun = (u32, u32);

impl IntactLog {
    /// What is whole by what the log says of itself; blocks.
    pub(super) fn by_groups(
        file: &File,
        header: &SegmentHeader,
        last: LastEvent,
    ) -> Result<Self, ScanError> {
        let mut reader = LogReader::new(file, header)?;
        Self::read(&mut reader, header.first, last)
    }

    /// What is whole in a log of which the salt is lost: by the events' own checksums, as
    /// far as its groups follow one another; blocks.
    pub(super) fn by_position(
        file: &File,
        first: Sequence,
        last: LastEvent,
    ) -> Result<Self, ScanError> {
        let mut reader = LogReader::without_salt(file)?;
        Self::read(&mut reader, first, last)
    }

    /// Whether nothing but zeros comes behind what was read; blocks.
    pub(super) fn is_all_of(&self, file: &File) -> io::Result<bool> {
        LogReader::without_salt(file)?.is_blank(self.read_until)
    }

    fn read(
        reader: &mut LogReader<'_>,
        first: Sequence,
        last: LastEvent,
    ) -> Result<Self, ScanError> {
        let until = match last {
            LastEvent::Known(last) => last,
            LastEvent::AtLeast(acknowledged) => {
                let (log, finished) = Self::read_until(reader, first, None)?;
                let written = finished.max(acknowledged);
                if log.index.last() == written {
                    return Ok(log);
                }
                written
            }
        };
        // Without a last write that was not finished, or with what is missing there.
        Ok(Self::read_until(reader, first, Some(until))?.0)
    }

    /// What is whole, up to `last` or to the end, and the last event of which it is
    /// certain that it was written.
    fn read_until(
        reader: &mut LogReader<'_>,
        first: Sequence,
        last: Option<Sequence>,
    ) -> Result<(Self, Sequence), ScanError> {
        let mut log = Self {
            index: Index::new(first, segment::HEADER_BYTES as u32),
            entries: Vec::new(),
            read_until: segment::HEADER_BYTES as u64,
            work: ScanWork::default(),
        };
        let until = last.unwrap_or(Sequence(u64::MAX));
        let (mut at, mut written) = (segment::HEADER_BYTES as u64, first.previous());
        while log.index.last() < until {
            let expected = log.index.last().next()..=until;
            let Some((begin, group)) = reader.next_header(at, expected)? else {
                // Its records are so damaged that a search passes over it.
                let next = log.index.last().next();
                let finished = reader.verified_finished_group_at(at, next)?;
                written = finished.unwrap_or(written);
                break;
            };
            log.miss_until(group.first.previous(), at)?;
            let has_whole = log.add_group(reader, begin, group)?;
            if has_whole || reader.finished_group_at(begin, group.first)?.is_some() {
                written = group.last();
            }
            at = begin + group.group_bytes();
            log.index.end = offset(at)?;
        }
        if let Some(last) = last {
            log.miss_until(last, at)?;
            log.index.end = offset(reader.file_bytes().max(at))?;
        }
        (log.read_until, log.work) = (at, reader.work());
        Ok((log, written))
    }

    /// What is whole of the events that an index knows; blocks.
    pub(super) fn by_index(
        file: &File,
        header: &SegmentHeader,
        index: Index,
    ) -> Result<Self, ScanError> {
        let mut log = Self {
            read_until: index.end.into(),
            index,
            entries: Vec::new(),
            work: ScanWork::default(),
        };
        for ordinal in 0..log.index.events() {
            if !is_whole(file, header, &log.index, ordinal)? {
                log.index.missing.push(ordinal);
            }
        }
        Ok(log)
    }

    /// The events that are missing, in runs.
    pub(super) fn missing_runs(&self) -> Vec<OrdinalRun> {
        let mut runs: Vec<OrdinalRun> = Vec::new();
        for &ordinal in &self.index.missing {
            match runs.last_mut() {
                Some((_, end)) if *end == ordinal => *end += 1,
                _ => runs.push((ordinal, ordinal + 1)),
            }
        }
        runs
    }

    /// The events that are whole, in runs.
    pub(super) fn whole_runs(&self) -> Vec<OrdinalRun> {
        let (mut at, mut runs) = (0, Vec::new());
        for (begin, end) in self.missing_runs() {
            runs.push((at, begin));
            at = end;
        }
        runs.push((at, self.index.events()));
        runs.retain(|(begin, end)| begin < end);
        runs
    }

    /// All up to `last` that is not in the index is missing; its bytes, if there
    /// are any, begin at `at`.
    fn miss_until(&mut self, last: Sequence, at: u64) -> io::Result<()> {
        let at = offset(at)?;
        while self.index.last() < last {
            self.index.add_missing(at);
        }
        Ok(())
    }

    /// Adds a group's events; returns whether any of them is whole.
    fn add_group(
        &mut self,
        reader: &mut LogReader<'_>,
        begin: u64,
        header: GroupHeader,
    ) -> Result<bool, ScanError> {
        let missing = self.index.missing.len();
        let records = reader.records(begin, header)?.unwrap_or_default();
        let is_whole = reader.is_whole(header, &records);
        let begin = begin + group::HEADER_BYTES as u64;
        if is_whole || header.is_framing(&records) {
            for record in group::records(&records).take(header.count as usize) {
                self.add_record(&record, begin, is_whole)?;
            }
        }
        self.miss_until(header.last(), begin + records.len() as u64)?;
        assert_eq!(self.index.last(), header.last(), "all of the group, once");
        let missing_here = self.index.missing.len() - missing;
        Ok(missing_here < header.count as usize)
    }

    fn add_record(
        &mut self,
        record: &GroupRecord,
        begin: u64,
        is_whole: bool,
    ) -> Result<(), ScanError> {
        let sequence = self.index.last().next();
        let at = offset(begin + record.offset as u64)?;
        let event = match stored::decode(record.stored.clone()) {
            Ok(event) if event.sequence == sequence => event,
            // As it was written.
            Err(source @ DecodeError::Newer(_)) if is_whole => {
                return Err(ScanError::Event { sequence, source });
            }
            _ => {
                self.index.add_missing(at);
                return Ok(());
            }
        };
        let draft = &event.draft;
        (self.index).add(at, &draft.topic, &draft.event_type, draft.received_at);
        if let Some((fingerprint, until)) = record.dedup.filter(|_| is_whole) {
            self.entries.push(DedupEntry {
                fingerprint,
                sequence,
                until,
            });
        }
        Ok(())
    }
}

/// The event of a record at `at` of these bytes, the last of which is before
/// `end`; what comes before that and is none of the event's is not looked at.
pub(super) fn decode_record(
    bytes: &Bytes,
    at: usize,
    end: usize,
    sequence: Sequence,
) -> Result<Event, DecodeError> {
    let len = bytes.get(..end).and_then(|read| u32_at(read, at));
    let stored = at + RECORD_HEADER_BYTES;
    let until = len.map_or(usize::MAX, |len| stored.saturating_add(len as usize));
    if until > end {
        return Err(DecodeError::Checksum);
    }
    let event = stored::decode(bytes.slice(stored..until))?;
    if event.sequence != sequence {
        return Err(DecodeError::Form);
    }
    Ok(event)
}

/// Reads an event where the index has it; `None` if it is damaged.
pub(super) fn read_event(
    file: &File,
    header: &SegmentHeader,
    index: &Index,
    ordinal: u32,
) -> Result<Option<Event>, ScanError> {
    let (begin, end) = (index.offset(ordinal), index.offset(ordinal + 1));
    let mut record = vec![0; end.saturating_sub(begin) as usize];
    match file.read_exact_at(&mut record, begin.into()) {
        Ok(()) => {}
        Err(e) if is_damage(&e) => return Ok(None),
        Err(e) => return Err(e.into()),
    }
    let (len, sequence) = (record.len(), index.sequence(ordinal));
    match decode_record(&record.into(), 0, len, sequence) {
        Ok(event) => Ok(Some(event)),
        Err(source @ DecodeError::Newer(_))
            if LogReader::new(file, header)?.is_group_whole_around(begin.into())? =>
        {
            Err(ScanError::Event { sequence, source })
        }
        Err(_) => Ok(None),
    }
}

fn is_whole(
    file: &File,
    header: &SegmentHeader,
    index: &Index,
    ordinal: u32,
) -> Result<bool, ScanError> {
    Ok(read_event(file, header, index, ordinal)?.is_some())
}

fn offset(at: u64) -> io::Result<u32> {
    u32::try_from(at).map_err(io::Error::other)
}
