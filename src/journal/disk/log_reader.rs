//! Reads whole groups out of a log, also where the log is damaged.
//!
//! Invariants: a group is handed out only with its checksums; a header alone
//! only with its own, which nobody can forge who does not know the salt, or, where the salt
//! is lost, only in its place behind the one before. A search takes
//! time in proportion to the log's length, whatever bytes are in it: a torn
//! end can hold what strangers sent.

use std::{fs::File, io, ops::RangeInclusive, os::unix::fs::FileExt as _};

use bytes::Bytes;
use hookrill_core::Sequence;

use super::{
    group::{self, CheckedGroup, GroupHeader},
    segment::{self, SegmentHeader},
};

/// How much is read at a time.
const WINDOW_BYTES: usize = 1 << 20;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// A search checks the records of so many times the log's length. Groups do not
/// overlap as they are written, so once is enough for any log of ours.
const CHECKED_TIMES_MAX: u64 = 8;

/// A log, with a part of it in memory that moves on as it is read.
pub(super) struct LogReader<'f> {
    file: &'f File,
    file_bytes: u64,
    /// `None` if it is lost: then nothing has a checksum that could be verified.
    salt: Option<u64>,
    window: Bytes,
    /// Where in the log the window begins.
    begin: u64,
    work: ScanWork,
}

/// What a reader has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ScanWork {
    /// Bytes read from the file.
    pub(super) read_bytes: u64,
    /// Places at which a search looked for a header.
    pub(super) candidates: u64,
    /// Bytes of records whose checksum a search computed.
    pub(super) checked_bytes: u64,
    /// Groups that a search did not check, since it had checked so many.
    pub(super) unchecked: u64,
}

impl<'f> LogReader<'f> {
    pub(super) fn new(file: &'f File, header: &SegmentHeader) -> io::Result<Self> {
        Self::with_salt(file, Some(header.salt))
    }

    /// A reader of a log of which the salt is lost. It has no whole groups, and only
    /// those headers that follow one another from the first one on: further on, a body
    /// can hold what looks like one.
    pub(super) fn without_salt(file: &'f File) -> io::Result<Self> {
        Self::with_salt(file, None)
    }

    fn with_salt(file: &'f File, salt: Option<u64>) -> io::Result<Self> {
        Ok(Self {
            file,
            file_bytes: file.metadata()?.len(),
            salt,
            window: Bytes::new(),
            begin: 0,
            work: ScanWork::default(),
        })
    }

    pub(super) fn work(&self) -> ScanWork {
        self.work
    }

    /// The whole group at `at`, if there is one that begins with `first`.
    pub(super) fn group_at(
        &mut self,
        at: u64,
        first: Sequence,
    ) -> io::Result<Option<CheckedGroup>> {
        let Some(bytes) = self.bytes(at, group::HEADER_BYTES)? else {
            return Ok(None);
        };
        let header = self.decode(&bytes);
        let Some(header) = header.filter(|header| header.first == first) else {
            return Ok(None);
        };
        let records = self.bytes(at + group::HEADER_BYTES as u64, header.len)?;
        Ok(records.and_then(|records| self.checked(header, records)))
    }

    /// The first whole group from `from` on that does not begin before
    /// `not_before`, and where it is.
    pub(super) fn next_group(
        &mut self,
        from: u64,
        not_before: Sequence,
    ) -> io::Result<Option<(u64, CheckedGroup)>> {
        let mut at = from;
        while let Some(candidate) = self.find_candidate(at)? {
            self.work.candidates += 1;
            if let Some(header) = self.plausible_header(candidate)?
                && header.first >= not_before
                && let Some(group) = self.check(candidate, header)?
            {
                return Ok(Some((candidate, group)));
            }
            at = candidate + 1;
        }
        Ok(None)
    }

    /// The next header from `from` on of a group that has its sequences within
    /// these and fits into the log, whole or not, and where it is.
    pub(super) fn next_header(
        &mut self,
        from: u64,
        sequences: RangeInclusive<Sequence>,
    ) -> io::Result<Option<(u64, GroupHeader)>> {
        if self.salt.is_none() {
            return self.next_unverified(from, sequences);
        }
        let mut at = from;
        while let Some(candidate) = self.find_candidate(at)? {
            self.work.candidates += 1;
            if let Some(header) = self.plausible_header(candidate)?
                && sequences.contains(&header.first)
                && sequences.contains(&header.last())
            {
                return Ok(Some((candidate, header)));
            }
            at = candidate + 1;
        }
        Ok(None)
    }

    /// The header at `at`, if it is that of the group that comes next, and the lengths in
    /// its records lead to its end.
    fn next_unverified(
        &mut self,
        at: u64,
        sequences: RangeInclusive<Sequence>,
    ) -> io::Result<Option<(u64, GroupHeader)>> {
        let Some(header) = self.plausible_header(at)? else {
            return Ok(None);
        };
        if header.first != *sequences.start() || header.last() > *sequences.end() {
            return Ok(None);
        }
        let records = self.records(at, header)?.unwrap_or_default();
        Ok(header.is_framing(&records).then_some((at, header)))
    }

    /// The last event of a group that begins with `first` at `at`, if that was
    /// written to its end and has changed since: an interrupted write leaves the
    /// blank end of the log, or parts of it by sectors.
    pub(super) fn finished_group_at(
        &mut self,
        at: u64,
        first: Sequence,
    ) -> io::Result<Option<Sequence>> {
        let header = self.bytes(at, group::HEADER_BYTES)?;
        let header = header.and_then(|bytes| self.decode(&bytes));
        let Some(header) = header.filter(|header| header.first == first) else {
            return Ok(None);
        };
        let Some(bytes) = self.bytes(at, group::HEADER_BYTES + header.len)? else {
            return Ok(None);
        };
        let is_blank = |part: &[u8]| part.iter().all(|byte| *byte == 0);
        let to_sector = (at.next_multiple_of(SECTOR_BYTES as u64) - at) as usize;
        let sectors = bytes.get(to_sector..).unwrap_or_default();
        let has_blank = sectors.chunks(SECTOR_BYTES).any(is_blank);
        let has_end = !bytes.ends_with(&[0, 0]);
        Ok((has_end && !has_blank).then(|| header.last()))
    }

    /// As [`Self::finished_group_at`], where the group's header has its checksum.
    pub(super) fn verified_finished_group_at(
        &mut self,
        at: u64,
        first: Sequence,
    ) -> io::Result<Option<Sequence>> {
        if self.salt.is_none() {
            return Ok(None);
        }
        self.finished_group_at(at, first)
    }

    /// The bytes of the records of the group with this header at `at`.
    pub(super) fn records(&mut self, at: u64, header: GroupHeader) -> io::Result<Option<Bytes>> {
        self.bytes(at + group::HEADER_BYTES as u64, header.len)
    }

    /// Whether these are the records of the group with this header, all of them whole.
    pub(super) fn is_whole(&self, header: GroupHeader, records: &Bytes) -> bool {
        self.checked(header, records.clone()).is_some()
    }

    /// Whether the group is whole that has the record at `offset`.
    pub(super) fn is_group_whole_around(&mut self, offset: u64) -> io::Result<bool> {
        let mut at = segment::HEADER_BYTES as u64;
        let all = Sequence::ZERO..=Sequence(u64::MAX);
        while let Some((begin, header)) = self.next_header(at, all.clone())? {
            at = begin + header.group_bytes();
            if offset < at {
                let records = self.records(begin, header)?;
                let group = records.and_then(|records| self.checked(header, records));
                return Ok(begin < offset && group.is_some());
            }
        }
        Ok(false)
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Whether nothing but zeros comes from `from` on.
    pub(super) fn is_blank(&mut self, from: u64) -> io::Result<bool> {
        let mut at = from;
        while at < self.file_bytes {
            let len = self.window_len(at);
            let part = self.bytes(at, len)?.unwrap_or_default();
            if part.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += len as u64;
        }
        Ok(true)
    }

    /// The next place from `from` on where a header may begin.
    fn find_candidate(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at + group::HEADER_BYTES as u64 <= self.file_bytes {
            // What is in memory already is not read again: there may be
            // millions of candidates.
            let in_window = self.in_window(at);
            let len = if in_window >= group::HEADER_BYTES {
                in_window
            } else {
                self.window_len(at)
            };
            let part = self.bytes(at, len)?.unwrap_or_default();
            if let Some(offset) = GroupHeader::find(&part) {
                return Ok(Some(at + offset as u64));
            }
            // A header may begin in the last bytes of this part.
            at += (part.len() - (group::HEADER_BYTES - 1)) as u64;
        }
        Ok(None)
    }

    /// The header at `at`, if all that can be said for little speaks for it.
    fn plausible_header(&mut self, at: u64) -> io::Result<Option<GroupHeader>> {
        let begin_bytes = group::HEADER_BYTES + group::RECORD_HEADER_BYTES;
        let Some(bytes) = self.bytes(at, begin_bytes)? else {
            return Ok(None);
        };
        let Some(header) = self.decode(&bytes) else {
            return Ok(None);
        };
        let fits = header.group_bytes() <= self.file_bytes - at;
        let is_plausible = fits && header.is_plausible(&bytes[group::HEADER_BYTES..]);
        Ok(is_plausible.then_some(header))
    }

    /// The group with this header at `at`, if it is whole.
    fn check(&mut self, at: u64, header: GroupHeader) -> io::Result<Option<CheckedGroup>> {
        let allowed = CHECKED_TIMES_MAX.saturating_mul(self.file_bytes);
        if self.work.checked_bytes + header.len as u64 > allowed {
            self.work.unchecked += 1;
            return Ok(None);
        }
        self.work.checked_bytes += header.len as u64;
        // From its header on, so that the window need not go back for the next
        // candidate.
        let Some(group) = self.bytes(at, group::HEADER_BYTES + header.len)? else {
            return Ok(None);
        };
        let records = group.slice(group::HEADER_BYTES..);
        if !header.is_framing(&records) {
            return Ok(None);
        }
        Ok(self.checked(header, records))
    }

    fn decode(&self, bytes: &[u8]) -> Option<GroupHeader> {
        match self.salt {
            Some(salt) => GroupHeader::decode(bytes, salt),
            None => GroupHeader::unverified(bytes),
        }
    }

    fn checked(&self, header: GroupHeader, records: Bytes) -> Option<CheckedGroup> {
        header.check(records, self.salt?)
    }

    /// The bytes at `at`; `None` if the file ends before them.
    fn bytes(&mut self, at: u64, len: usize) -> io::Result<Option<Bytes>> {
        if len as u64 > self.file_bytes.saturating_sub(at) {
            return Ok(None);
        }
        if self.in_window(at) < len {
            let mut window = vec![0; len.max(self.window_len(at))];
            self.file.read_exact_at(&mut window, at)?;
            self.work.read_bytes += window.len() as u64;
            (self.window, self.begin) = (window.into(), at);
        }
        let offset = (at - self.begin) as usize;
        Ok(Some(self.window.slice(offset..offset + len)))
    }

    /// How many bytes from `at` on are in memory.
    fn in_window(&self, at: u64) -> usize {
        let end = self.begin + self.window.len() as u64;
        if (self.begin..end).contains(&at) {
            (end - at) as usize
        } else {
            0
        }
    }

    /// How much is read at once from `at` on.
    fn window_len(&self, at: u64) -> usize {
        let left = self.file_bytes.saturating_sub(at);
        usize::try_from(left).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES))
    }
}
