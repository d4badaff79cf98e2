//! `hookrill journal check`: looks at every byte of a folder, and changes none.
//!
//! Takes no lock, so it works on the journal of a gateway that runs, and on a
//! copy that can't be written to. All up to the high-water mark, which is read first,
//! was durable by then. Behind it, too, every event is looked at; only a last write that
//! was not finished, with nothing behind it, is no damage. What retention deletes
//! meanwhile is none either.

mod report;

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use hookrill_core::{Epoch, Sequence};

pub use self::report::{DamageKind, JournalDamage, JournalReport};
use super::{
    dedup_file::DedupHeader,
    floor,
    folder::{refuse_file, refuse_old_engine},
    high_water::HighWaterMark,
    index::Index,
    index_file::{self, IndexHeader},
    intact::{IntactLog, LastEvent},
    log_reader::LogReader,
    recovery,
    scan::{self, LogEnd, ScanError, ScannedLog},
    segment::{self, FileKind, HeaderError, SegmentHeader},
};
use crate::journal::{OpenError, scarcity::is_damage, stored::DecodeError};

/// How often a log is looked at again that grows.
const LOOKS_MAX: usize = 5;

/// Checks a folder; `progress` is told how many bytes of how many are done.
/// Blocks.
///
/// # Errors
///
/// [`OpenError`] where there is no journal, or it can't be read.
pub fn check(
    folder: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<JournalReport, OpenError> {
    let io = |source| OpenError::Io {
        path: segment::folder(folder),
        source,
    };
    refuse_file(folder)?;
    refuse_old_engine(folder)?;
    recovery::list_names(folder)?;
    let mut check = FolderCheck {
        folder,
        mark: None,
        floor: Sequence::ZERO,
        holes: Vec::new(),
        newest: None,
        report: JournalReport::default(),
    };
    check.read_mark_and_floor()?;
    let files = recovery::list_names(folder)?;
    let log_bytes = |first| {
        let log = fs::metadata(segment::path(folder, first, FileKind::Log));
        log.map_or(0, |log| log.len())
    };
    let total: u64 = files.keys().map(|first| log_bytes(*first)).sum();
    let last_log = files.iter().rev();
    let mut last_log = last_log.filter(|(_, kinds)| kinds.contains(&FileKind::Log));
    let last_log = last_log.next().map(|(first, _)| *first);
    let (mut done, mut expected) = (0, check.floor.next());
    for (first, kinds) in &files {
        progress(done, total);
        done += log_bytes(*first);
        let is_last = Some(*first) == last_log;
        let last = check.segment(*first, kinds, is_last).map_err(io)?;
        let Some(last) = last else { continue };
        check.hole(expected, first.previous());
        expected = expected.max(last.next());
    }
    progress(total, total);
    check.finish(expected);
    Ok(check.report)
}

/// A check under way.
struct FolderCheck<'f> {
    folder: &'f Path,
    mark: Option<HighWaterMark>,
    floor: Sequence,
    /// Events that are in no segment.
    holes: Vec<(Sequence, Sequence)>,
    /// Whose the newest log is, and up to where holes are known.
    newest: Option<(Epoch, Sequence)>,
    report: JournalReport,
}

/// The header of a log, as far as it can be had.
enum FoundHeader {
    Known(SegmentHeader),
    Lost,
    /// A newer Hookrill wrote it.
    Newer,
}

/// The files of a segment, as far as they are whole.
struct LoadedSegment {
    header: SegmentHeader,
    log: File,
    index_header: Option<IndexHeader>,
    index: Option<Index>,
}

impl FolderCheck<'_> {
    fn read_mark_and_floor(&mut self) -> Result<(), OpenError> {
        match HighWaterMark::load(self.folder) {
            Ok(Some(mark)) => self.mark = Some(mark),
            Ok(None) | Err(OpenError::HighWater { .. }) => {
                self.file_damage("high-water", DamageKind::HighWater);
            }
            Err(e) => return Err(e),
        }
        match floor::load(self.folder) {
            Ok(floor) => self.floor = floor,
            Err(OpenError::Damaged { .. }) => self.file_damage("floor", DamageKind::Floor),
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Checks a segment's files; returns its last event, if it has a log.
    fn segment(
        &mut self,
        first: Sequence,
        kinds: &[FileKind],
        is_last: bool,
    ) -> io::Result<Option<Sequence>> {
        let index = self.load_index(first, kinds)?;
        let index_header = index.as_ref().map(|(header, _)| *header);
        let index_last = index_header.map(|header| header.last());
        self.check_dedup(first, kinds, index_header)?;
        if !kinds.contains(&FileKind::Log) {
            if let Some(last) = index_last {
                self.miss(first, last);
            }
            return Ok(index_last);
        }
        let path = self.path(first, FileKind::Log);
        let log = match File::open(&path) {
            Ok(log) => log,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let last = index_last.unwrap_or(first);
                self.miss(first, last);
                return Ok(Some(last));
            }
            Err(e) => return Err(e),
        };
        self.report.segments += 1;
        let header = match self.log_header(first, &log, index_header)? {
            FoundHeader::Known(header) => header,
            FoundHeader::Lost => return self.check_by_position(first, &log, is_last).map(Some),
            FoundHeader::Newer => return Ok(index_last.or(Some(first.previous()))),
        };
        if is_last {
            self.newest = Some((header.epoch, header.start));
        }
        // A salvage that was interrupted leaves the index of the log that was.
        let own = index.filter(|(known, _)| known.segment == header);
        if own.is_none() && index_header.is_some() {
            self.damage(first, FileKind::Index, None, DamageKind::Index);
        }
        let files = LoadedSegment {
            header,
            log,
            index_header: own.as_ref().map(|(known, _)| *known),
            index: own.and_then(|(_, whole)| whole),
        };
        self.check_log(first, files, is_last).map(Some)
    }

    /// The index of a segment: its header, and the whole of it, if that is whole.
    fn load_index(
        &mut self,
        first: Sequence,
        kinds: &[FileKind],
    ) -> io::Result<Option<(IndexHeader, Option<Index>)>> {
        if !kinds.contains(&FileKind::Index) {
            return Ok(None);
        }
        let header = match IndexHeader::load(self.folder, first)? {
            Some(Ok(header)) => header,
            Some(Err(HeaderError::Newer(_))) => {
                self.damage(first, FileKind::Index, None, DamageKind::Newer);
                return Ok(None);
            }
            Some(Err(HeaderError::Older | HeaderError::Damaged)) => {
                self.damage(first, FileKind::Index, None, DamageKind::Index);
                return Ok(None);
            }
            None => return Ok(None),
        };
        let index = match fs::read(self.path(first, FileKind::Index)) {
            Ok(file) => index_file::decode(&header, &file),
            Err(e) if is_damage(&e) => None,
            Err(e) => return Err(e),
        };
        if index.is_none() {
            self.damage(first, FileKind::Index, None, DamageKind::Index);
        }
        Ok(Some((header, index)))
    }

    fn check_dedup(
        &mut self,
        first: Sequence,
        kinds: &[FileKind],
        index: Option<IndexHeader>,
    ) -> io::Result<()> {
        let is_expected = index.is_some_and(|header| header.dedup_entries > 0);
        if !is_expected && !kinds.contains(&FileKind::Dedup) {
            return Ok(());
        }
        let entries = match DedupHeader::load(self.folder, first)? {
            Some(header) => header.load_entries(self.folder),
            None => Ok(None),
        };
        match entries {
            Ok(Some(_)) => {}
            Err(e) if !is_damage(&e) => return Err(e),
            _ => self.damage(first, FileKind::Dedup, None, DamageKind::Dedup),
        }
        Ok(())
    }

    /// How a log's groups are sealed: by its header, which may have to be put right, or by
    /// that of its index.
    fn log_header(
        &mut self,
        first: Sequence,
        log: &File,
        index: Option<IndexHeader>,
    ) -> io::Result<FoundHeader> {
        let mut bytes = [0; segment::HEADER_BYTES];
        let read = match log.read_exact_at(&mut bytes, 0) {
            Ok(()) => SegmentHeader::decode(&bytes),
            Err(e) if is_damage(&e) => Err(HeaderError::Damaged),
            Err(e) => return Err(e),
        };
        match read {
            Ok(header) if header.first == first => return Ok(FoundHeader::Known(header)),
            Err(HeaderError::Newer(_)) => {
                self.damage(first, FileKind::Log, None, DamageKind::Newer);
                return Ok(FoundHeader::Newer);
            }
            _ => {}
        }
        let place = Some(0..segment::HEADER_BYTES as u64);
        self.damage(first, FileKind::Log, place, DamageKind::LogHeader);
        let known = match index {
            Some(header) => Some(header.segment),
            None => SegmentHeader::repair(log, first)?,
        };
        Ok(known.map_or(FoundHeader::Lost, FoundHeader::Known))
    }

    /// Checks the events of a log that has lost its header; returns the last one that is
    /// known. The hole behind that says which are lost.
    fn check_by_position(
        &mut self,
        first: Sequence,
        log: &File,
        is_last: bool,
    ) -> io::Result<Sequence> {
        let marked = self.mark.filter(|_| is_last).map(|mark| mark.sequence);
        let until = LastEvent::AtLeast(marked.unwrap_or_default());
        match IntactLog::by_position(log, first, until) {
            Ok(intact) => Ok(self.tell_events(first, &intact)),
            Err(ScanError::Io(e)) if !is_damage(&e) => Err(e),
            Err(_) => Ok(first.previous()),
        }
    }

    /// Checks the events of a log; returns the last one.
    fn check_log(
        &mut self,
        first: Sequence,
        files: LoadedSegment,
        is_last: bool,
    ) -> io::Result<Sequence> {
        let sealed_last = files.index_header.map(|header| header.last());
        let marked = self
            .mark
            .filter(|mark| is_last && mark.epoch == files.header.epoch);
        let marked = marked.map_or(Sequence::ZERO, |mark| mark.sequence);
        let scanned = match look_until_settled(&files, is_last) {
            Ok(log) => Some(log),
            Err(ScanError::Io(e)) if is_damage(&e) => None,
            Err(ScanError::Io(e)) => return Err(e),
            Err(ScanError::Event {
                sequence,
                source: DecodeError::Newer(_),
            }) => {
                self.damage(first, FileKind::Log, None, DamageKind::Newer);
                return Ok(sealed_last.unwrap_or(sequence));
            }
            Err(ScanError::Event { .. }) => None,
        };
        if let Some(looked) = &scanned {
            let (last, end) = (looked.log.index.last(), looked.log.end);
            let is_whole = match sealed_last {
                Some(sealed) => last == sealed && end == LogEnd::Blank,
                // What follows the last whole group was not finished.
                None if is_last => last >= marked && (looked.is_growing || !looked.has_lost),
                None => end == LogEnd::Blank,
            };
            if is_whole {
                self.count(first, last);
                self.check_length(first, &files)?;
                return Ok(last);
            }
        }
        let last = sealed_last.or((marked >= first).then_some(marked));
        let until = sealed_last.map_or(LastEvent::AtLeast(marked), LastEvent::Known);
        let header = files.header;
        let intact = match files.index {
            Some(index) => IntactLog::by_index(&files.log, &header, index),
            None => IntactLog::by_groups(&files.log, &header, until),
        };
        match intact {
            Ok(intact) => Ok(self.tell(first, &intact)),
            Err(ScanError::Io(e)) if !is_damage(&e) => Err(e),
            Err(ScanError::Io(_)) => {
                let last = last.unwrap_or(first);
                self.lose(
                    first,
                    FileKind::Log,
                    None,
                    (first, last),
                    DamageKind::Events,
                );
                Ok(last)
            }
            Err(ScanError::Event { sequence, .. }) => {
                self.damage(first, FileKind::Log, None, DamageKind::Newer);
                Ok(last.unwrap_or(sequence))
            }
        }
    }

    /// Tells what is damaged in a log; returns its last event.
    fn tell(&mut self, first: Sequence, intact: &IntactLog) -> Sequence {
        if intact.index.missing.is_empty() {
            self.damage(first, FileKind::Log, None, DamageKind::Log);
        }
        self.tell_events(first, intact)
    }

    /// Tells which events of a log are lost; returns its last one.
    fn tell_events(&mut self, first: Sequence, intact: &IntactLog) -> Sequence {
        let index = &intact.index;
        self.count(first, index.last());
        let before = self.report.damaged_events;
        let runs = intact.missing_runs();
        for &(begin, end) in &runs {
            let events = (index.sequence(begin), index.sequence(end).previous());
            let bytes = index.offset(begin).into()..index.offset(end).into();
            self.lose(
                first,
                FileKind::Log,
                Some(bytes),
                events,
                DamageKind::Events,
            );
        }
        self.report.events -= self.report.damaged_events - before;
        index.last()
    }

    /// A sealed log has the length that its index says.
    fn check_length(&mut self, first: Sequence, files: &LoadedSegment) -> io::Result<()> {
        let len = files.log.metadata()?.len();
        let sealed = files.index_header.map(|header| u64::from(header.log_bytes));
        if let Some(sealed) = sealed.filter(|sealed| *sealed != len) {
            self.damage(
                first,
                FileKind::Log,
                Some(sealed..len),
                DamageKind::LogLength,
            );
        }
        Ok(())
    }

    /// Counts events that are not deleted.
    fn count(&mut self, first: Sequence, last: Sequence) {
        let first = first.max(self.floor.next());
        self.report.events += last.next().0.saturating_sub(first.0);
    }

    /// Notes events that are in no segment, if there are any.
    fn hole(&mut self, first: Sequence, last: Sequence) {
        let first = first.max(self.floor.next());
        if first <= last {
            self.holes.push((first, last));
        }
    }

    /// Tells of the holes, but for those that were accepted before.
    fn finish(&mut self, expected: Sequence) {
        self.reload_floor();
        let (epoch, start) = self.newest.unzip();
        let mark = self.mark;
        if let Some(mark) = mark {
            self.hole(expected, mark.sequence);
            if epoch.is_some_and(|epoch| epoch != mark.epoch) {
                self.file_damage("high-water", DamageKind::HighWater);
            }
        }
        let accepted = start.unwrap_or_default();
        for (begin, last) in std::mem::take(&mut self.holes) {
            let first = begin.max(self.floor.next());
            let lost = last.min(accepted);
            if first <= lost {
                self.report.given_up_events += lost.0 - first.0 + 1;
            }
            let missing = first.max(accepted.next());
            if missing <= last {
                self.miss(missing, last);
            }
        }
    }

    /// Tells of a log that is not there, unless retention has deleted it meanwhile.
    fn miss(&mut self, first: Sequence, last: Sequence) {
        self.reload_floor();
        self.lose(
            first,
            FileKind::Log,
            None,
            (first, last),
            DamageKind::LogMissing,
        );
    }

    fn reload_floor(&mut self) {
        // A damaged one was told of.
        self.floor = floor::load(self.folder)
            .unwrap_or(self.floor)
            .max(self.floor);
    }

    /// Whether retention has deleted a file since it was listed.
    fn is_deleted(&mut self, first: Sequence, kind: FileKind) -> bool {
        self.reload_floor();
        let is_there = |file| self.path(first, file).exists();
        first <= self.floor && !is_there(FileKind::Log) && !is_there(kind)
    }

    /// Adds a damage by which events are lost, if any of them is not deleted.
    fn lose(
        &mut self,
        segment: Sequence,
        file: FileKind,
        bytes: Option<Range<u64>>,
        (first, last): (Sequence, Sequence),
        kind: DamageKind,
    ) {
        let first = first.max(self.floor.next());
        if first <= last {
            self.report.add(JournalDamage {
                file: self.path(segment, file),
                bytes,
                events: Some((first, last)),
                kind,
            });
        }
    }

    /// Adds a damage by which no event is lost.
    fn damage(
        &mut self,
        segment: Sequence,
        file: FileKind,
        bytes: Option<Range<u64>>,
        kind: DamageKind,
    ) {
        if self.is_deleted(segment, file) {
            return;
        }
        self.report.add(JournalDamage {
            file: self.path(segment, file),
            bytes,
            events: None,
            kind,
        });
    }

    fn file_damage(&mut self, name: &str, kind: DamageKind) {
        self.report.add(JournalDamage {
            file: self.folder.join(name),
            bytes: None,
            events: None,
            kind,
        });
    }

    fn path(&self, first: Sequence, kind: FileKind) -> PathBuf {
        segment::path(self.folder, first, kind)
    }
}

/// What a look at a log found.
struct LookedLog {
    log: ScannedLog,
    /// Whether something behind the last whole group was written and is damaged.
    has_lost: bool,
    /// Whether it has grown since the look before.
    is_growing: bool,
}

impl LookedLog {
    fn new(files: &LoadedSegment, before: Option<Sequence>) -> Result<Self, ScanError> {
        let scan = || scan::scan(&files.log, &files.header);
        let log = match scan() {
            // Its blank end was cut off, since it was sealed meanwhile.
            Err(ScanError::Io(e)) if e.kind() == io::ErrorKind::UnexpectedEof => scan(),
            looked => looked,
        }?;
        let (end, last) = (log.index.end.into(), log.index.last());
        let mut reader = LogReader::new(&files.log, &files.header)?;
        let has_lost = match log.end {
            LogEnd::Blank => false,
            LogEnd::Torn => reader.finished_group_at(end, last.next())?.is_some(),
            LogEnd::Damaged => true,
        };
        Ok(Self {
            log,
            has_lost,
            is_growing: before.is_some_and(|before| before < last),
        })
    }
}

/// Scans a log; the last one again, while it grows: between two looks of one
/// scan, a group may have been finished and another begun.
fn look_until_settled(files: &LoadedSegment, is_last: bool) -> Result<LookedLog, ScanError> {
    let mut looked = LookedLog::new(files, None)?;
    for _ in 1..LOOKS_MAX {
        if !is_last || !looked.has_lost {
            break;
        }
        looked = LookedLog::new(files, Some(looked.log.index.last()))?;
        if !looked.is_growing {
            break;
        }
    }
    Ok(looked)
}
