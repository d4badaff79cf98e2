//! Reading a log from its head on: what is whole in it, and what comes behind.
//!
//! Invariant: what a scan takes is whole groups with their checksums, dense
//! sequences, and events with theirs.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use bytes::Bytes;
use hookrill_core::Sequence;

use super::{
    dedup::Entry,
    group::{self, GroupHead, records},
    index::Index,
    segment::{self, Head},
};
use crate::journal::stored::{self, DecodeError};

/// How much is read at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// What a log holds.
pub(super) struct Scanned {
    pub(super) index: Index,
    pub(super) entries: Vec<Entry>,
    pub(super) rest: Rest,
}

/// What comes behind the last whole group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing, or zeros.
    Blank,
    /// Something, and nothing whole in it: as a crash leaves it behind.
    Torn,
    /// Something, and a whole group further on: what is between was written and
    /// is damaged.
    Damaged,
}

/// Why a log could not be scanned.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An event that has its group's checksum and not its own, or none that is
    /// known here.
    #[error("event {sequence}: {source}")]
    Event {
        sequence: Sequence,
        source: DecodeError,
    },
}

/// Reads a log whose head is known; blocks.
pub(super) fn scan(file: &File, head: &Head) -> Result<Scanned, ScanError> {
    let mut window = Window::new(file)?;
    let mut found = Scanned {
        index: Index::new(head.first, segment::HEAD_BYTES as u32),
        entries: Vec::new(),
        rest: Rest::Blank,
    };
    loop {
        let (at, expected) = (u64::from(found.index.end), found.index.last().next());
        match window.group(at, head.salt)? {
            Some((group, records)) if group.first == expected => found.take(group, records)?,
            _ => {
                found.rest = window.rest(at, head.salt, expected)?;
                return Ok(found);
            }
        }
    }
}

impl Scanned {
    fn take(&mut self, group: GroupHead, bytes: Bytes) -> Result<(), ScanError> {
        let begin = self.index.end as usize + group::HEAD_BYTES;
        let mut sequence = group.first;
        for record in records(bytes) {
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
            if let Some((print, until)) = record.remembered {
                self.entries.push(Entry {
                    print,
                    sequence,
                    until,
                });
            }
            sequence = sequence.next();
        }
        if sequence != group.last().next() {
            let source = DecodeError::Form;
            return Err(ScanError::Event { sequence, source });
        }
        self.index.end = (begin + group.len) as u32;
        Ok(())
    }
}

/// Whole groups that follow each other in a damaged log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    /// Where in the log they begin and end.
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// All that is whole in a log, damaged or not; blocks.
pub(super) fn runs(file: &File, head: &Head) -> io::Result<Vec<Run>> {
    let mut window = Window::new(file)?;
    let mut runs: Vec<Run> = Vec::new();
    let (mut at, mut expected) = (segment::HEAD_BYTES as u64, head.first);
    while let Some((begin, group)) = window.next_group(at, head.salt, expected)? {
        let end = begin + (group::HEAD_BYTES + group.len) as u64;
        match runs.last_mut() {
            Some(run) if run.end == begin && run.last.next() == group.first => {
                (run.end, run.last) = (end, group.last());
            }
            _ => runs.push(Run {
                first: group.first,
                last: group.last(),
                begin,
                end,
            }),
        }
        (at, expected) = (end, group.last().next());
    }
    Ok(runs)
}

/// A part of a log in memory, moved on as it is read.
struct Window<'a> {
    file: &'a File,
    file_bytes: u64,
    part: Bytes,
    begin: u64,
}

impl<'a> Window<'a> {
    fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self {
            file,
            file_bytes: file.metadata()?.len(),
            part: Bytes::new(),
            begin: 0,
        })
    }

    /// The bytes at `at`; `None` where the file ends before them.
    fn bytes(&mut self, at: u64, len: usize) -> io::Result<Option<Bytes>> {
        let left = self.file_bytes.saturating_sub(at);
        if (len as u64) > left {
            return Ok(None);
        }
        let is_here = at >= self.begin && at + len as u64 <= self.begin + self.part.len() as u64;
        if !is_here {
            let more = len.max(WINDOW_BYTES.min(left as usize));
            let mut part = vec![0; more];
            self.file.read_exact_at(&mut part, at)?;
            (self.part, self.begin) = (part.into(), at);
        }
        let offset = (at - self.begin) as usize;
        Ok(Some(self.part.slice(offset..offset + len)))
    }

    /// The whole group at `at`, if there is one.
    fn group(&mut self, at: u64, salt: u64) -> io::Result<Option<(GroupHead, Bytes)>> {
        let Some(bytes) = self.bytes(at, group::HEAD_BYTES)? else {
            return Ok(None);
        };
        let Some(head) = GroupHead::decode(&bytes, salt).filter(|head| head.count > 0) else {
            return Ok(None);
        };
        let records = self.bytes(at + group::HEAD_BYTES as u64, head.len)?;
        let records = records.filter(|records| head.is_of(records, salt));
        Ok(records.map(|records| (head, records)))
    }

    /// The first whole group from `at` on whose sequences are not before
    /// `expected`.
    fn next_group(
        &mut self,
        mut at: u64,
        salt: u64,
        expected: Sequence,
    ) -> io::Result<Option<(u64, GroupHead)>> {
        loop {
            let left = self.file_bytes.saturating_sub(at);
            let len = WINDOW_BYTES.min(left as usize);
            let Some(part) = self
                .bytes(at, len)?
                .filter(|part| part.len() >= group::HEAD_BYTES)
            else {
                return Ok(None);
            };
            let Some(offset) = GroupHead::find(&part) else {
                // A head may begin in the last bytes of this part.
                let step = part.len() - (group::HEAD_BYTES - 1);
                at += step as u64;
                continue;
            };
            at += offset as u64;
            match self.group(at, salt)? {
                Some((group, _)) if group.first >= expected => return Ok(Some((at, group))),
                _ => at += 1,
            }
        }
    }

    /// What comes from `at` on, where no whole group follows.
    fn rest(&mut self, at: u64, salt: u64, expected: Sequence) -> io::Result<Rest> {
        if self.is_blank(at)? {
            return Ok(Rest::Blank);
        }
        let next = self.next_group(at, salt, expected)?;
        Ok(next.map_or(Rest::Torn, |_| Rest::Damaged))
    }

    fn is_blank(&mut self, mut at: u64) -> io::Result<bool> {
        while at < self.file_bytes {
            let len = WINDOW_BYTES.min((self.file_bytes - at) as usize);
            let part = self.bytes(at, len)?.unwrap_or_default();
            if part.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += len as u64;
        }
        Ok(true)
    }
}
