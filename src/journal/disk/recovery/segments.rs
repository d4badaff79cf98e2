//! Loads a folder's segments: sealed ones by the header of their index and the
//! length of their log, the others by reading their log whole.
//!
//! Seals what a crash kept from being sealed, and cuts the torn end of a last
//! write. Invariant: a log is refused if anything else follows its last whole
//! group.

use std::{
    fs::{self, File},
    sync::Arc,
};

use hookrill_core::Sequence;

use super::{
    context::RecoveryContext,
    directory::{SegmentFiles, newer, open_log},
    rewrite::{rewrite, uncertain_from},
};
use crate::{
    durable,
    journal::{
        DamageError, OpenError,
        disk::{
            dedup::DedupEntry,
            env::WritePurpose,
            index::Index,
            index_file::IndexHeader,
            log_reader::LogReader,
            scan::{self, LogEnd, ScanError, ScannedLog},
            seal,
            segment::{self, FileKind, HeaderError, SegmentHeader},
            segment_set::{LogSegment, OpenSegment, SealedSegment},
        },
    },
};

impl RecoveryContext<'_> {
    /// The segments, in order; the last one is open if it may be written. Also
    /// the last event of a write at the end that has changed since, if there is
    /// one: its sequence is not given out again.
    pub(super) fn load_segments(
        &self,
        files: &SegmentFiles,
        floor: Sequence,
    ) -> Result<(Vec<LogSegment>, Option<Sequence>), OpenError> {
        let has_log = |kinds: &Vec<FileKind>| kinds.contains(&FileKind::Log);
        let mut logs = files.iter().filter(|(_, kinds)| has_log(kinds));
        let last = logs.next_back().map(|(first, _)| *first);
        let (mut segments, mut lost) = (Vec::new(), None);
        for (first, kinds) in files {
            match (has_log(kinds), kinds.contains(&FileKind::Index)) {
                (true, _) if Some(*first) == last => {
                    let segment;
                    (segment, lost) = self.load_last(*first, kinds)?;
                    segments.push(segment);
                }
                (true, _) => {
                    let sealed = self.load_sealed(*first)?;
                    segments.push(LogSegment::Sealed(Arc::new(sealed)));
                }
                (false, true) => self.remove_index_without_log(*first, floor)?,
                // Dedup entries outlive their events.
                (false, false) => {}
            }
        }
        Ok((segments, lost))
    }

    /// The segment at the end, which is read whole, and the last event that was
    /// lost there, if any was.
    fn load_last(
        &self,
        first: Sequence,
        kinds: &[FileKind],
    ) -> Result<(LogSegment, Option<Sequence>), OpenError> {
        if kinds.contains(&FileKind::Index) {
            if self.new_epoch {
                let sealed = self.load_sealed(first)?;
                return Ok((LogSegment::Sealed(Arc::new(sealed)), None));
            }
            // It was sealed, so there was one after it.
            let path = segment::path(self.folder, first, FileKind::Log);
            let expected = format!("there was a segment after {}", path.display());
            return Err(self.lost(expected, "it is missing".into()));
        }
        let (header, file, log) = self.scan(first)?;
        let lost = match log.end {
            LogEnd::Blank => None,
            LogEnd::Torn => self.cut_torn_end(&file, &header, &log.index)?,
            LogEnd::Damaged => return Err(self.hole(&log.index, first)),
        };
        self.make_durable(&file, &header, &log.index)?;
        let open = OpenSegment::new(header, file, log.index, log.entries);
        Ok((LogSegment::Open(Arc::new(open)), lost))
    }

    /// What is shown from now on must not be lost in the next power cut. Up to
    /// the mark it can't be: the mark was written after an fsync that succeeded.
    fn make_durable(
        &self,
        file: &File,
        header: &SegmentHeader,
        index: &Index,
    ) -> Result<(), OpenError> {
        let mark = self.mark.filter(|mark| mark.epoch == header.epoch);
        let durable = mark.map_or(Sequence::ZERO, |mark| mark.sequence);
        let (from, end) = (uncertain_from(index, durable), index.end.into());
        let mut write = || {
            rewrite(file, from, end)?;
            file.sync_all()
        };
        let written = (self.env.write)(WritePurpose::Rewrite, &mut write);
        written.map_err(|e| self.io(e))
    }

    /// Cuts a torn end, unless its events are known to have been acknowledged.
    /// Those of a write that was finished may have been: the mark lags. Returns the
    /// last of them.
    fn cut_torn_end(
        &self,
        file: &File,
        header: &SegmentHeader,
        index: &Index,
    ) -> Result<Option<Sequence>, OpenError> {
        let path = segment::path(self.folder, header.first, FileKind::Log);
        if let Some(mark) = self.mark.filter(|_| !self.new_epoch) {
            self.check_mark(mark, index.last())?;
        }
        let (path, end, first) = (path.display(), index.end, index.last().next());
        let mut reader = LogReader::new(file, header).map_err(|e| self.io(e))?;
        let lost = reader.finished_group_at(end.into(), first);
        let lost = lost.map_err(|e| self.io(e))?;
        match lost {
            Some(last) => {
                tracing::error!(%path, end, %first, %last, "the last write is damaged, and is cut off; subscribers are told of a gap");
            }
            None => tracing::info!(%path, end, "the last write was incomplete, and is cut off"),
        }
        let cut = file.set_len(end.into());
        cut.map_err(|e| self.io(e)).map(|()| lost)
    }

    fn hole(&self, index: &Index, first: Sequence) -> OpenError {
        let (missing, end) = (index.last().next(), index.end);
        let path = segment::path(self.folder, first, FileKind::Log);
        let path = path.display();
        let found = format!("event {missing} is missing: {path} is damaged at byte {end}");
        self.lost("later events are there".into(), found)
    }

    /// A segment that is not the last: sealed before, or sealed now.
    fn load_sealed(&self, first: Sequence) -> Result<SealedSegment, OpenError> {
        match IndexHeader::load(self.folder, first).map_err(|e| self.io(e))? {
            Some(Ok(header)) => {
                let path = segment::path(self.folder, first, FileKind::Log);
                let len = fs::metadata(&path).map_err(|e| self.io(e))?.len();
                if len == u64::from(header.log_bytes) {
                    return Ok(SealedSegment { header });
                }
                let expected = format!("{} had {} bytes", path.display(), header.log_bytes);
                Err(self.lost(expected, format!("it has {len}")))
            }
            Some(Err(HeaderError::Newer(version))) => Err(newer(self.folder, version)),
            Some(Err(HeaderError::Older | HeaderError::Damaged)) => {
                let index = segment::path(self.folder, first, FileKind::Index);
                tracing::warn!(path = %index.display(), "this file is damaged, and is rebuilt");
                self.seal(first).map(|(sealed, _)| sealed)
            }
            None => self.seal(first).map(|(sealed, _)| sealed),
        }
    }

    /// Seals a segment from its log; also returns its dedup entries.
    pub(super) fn seal(
        &self,
        first: Sequence,
    ) -> Result<(SealedSegment, Vec<DedupEntry>), OpenError> {
        let (header, file, log) = self.scan(first)?;
        if log.end != LogEnd::Blank {
            // Another segment follows it, so its last write was finished.
            return Err(self.hole(&log.index, first));
        }
        let entries = log.entries.clone();
        let open = OpenSegment::new(header, file, log.index, log.entries);
        let sealed = seal::seal(self.folder, &open, |write| write());
        let (sealed, _) = sealed.map_err(|e| self.io(e))?;
        Ok((sealed, entries))
    }

    fn scan(&self, first: Sequence) -> Result<(SegmentHeader, File, ScannedLog), OpenError> {
        let (header, file) = open_log(self.folder, first)?;
        match scan::scan(&file, &header) {
            Ok(log) => Ok((header, file, log)),
            Err(ScanError::Io(e)) => Err(self.io(e)),
            Err(ScanError::Event { sequence, source }) => {
                Err(self.damaged(DamageError::Event { sequence, source }))
            }
        }
    }

    /// Removes an index without a log, if that is what a deletion left behind
    /// and not a loss.
    fn remove_index_without_log(&self, first: Sequence, floor: Sequence) -> Result<(), OpenError> {
        let header = IndexHeader::load(self.folder, first).map_err(|e| self.io(e))?;
        let is_below = match header {
            Some(Ok(header)) => header.last() <= floor,
            _ => first <= floor,
        };
        if is_below || self.new_epoch {
            let path = segment::path(self.folder, first, FileKind::Index);
            return durable::remove(&path).map_err(|e| self.io(e));
        }
        let log = segment::path(self.folder, first, FileKind::Log);
        let expected = format!("events from {first} on are in {}", log.display());
        Err(self.lost(expected, "it is missing".into()))
    }
}
