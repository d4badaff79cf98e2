//! `--new-epoch`: makes a damaged folder usable, with gaps where the damage
//! was.
//!
//! Keeps every whole event, also of sealed segments. A log with damage in it is
//! written again as one log per run of whole events, and subscribers are told of
//! a gap between them. A header that is damaged is put right, or taken from the index.
//! Where that can't be done, nobody can say how the groups are sealed: events are kept as
//! far as the groups follow one another from the first one on. What is behind that can't
//! be believed, since it can be part of a body, so the log as it was is set aside.
//!
//! Invariant: what is written here is in place before what it comes from is
//! removed; so a second attempt finds at least as much as the first. A log that is
//! written again has another salt, so that nobody takes the index of the log that was
//! for its own.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::Path,
};

use hookrill_core::{Epoch, Sequence};

use super::directory::{SegmentFiles, list, newer, open_log};
use crate::{
    durable,
    journal::{
        DamageError, OpenError,
        disk::{
            dedup::DedupEntry,
            dedup_file::DedupHeader,
            floor,
            group::{DedupStamp, GroupBuilder, RECORD_BYTES_MIN},
            high_water::HighWaterMark,
            index::Index,
            index_file::{self, IndexHeader},
            intact::{self, IntactLog, LastEvent, OrdinalRun},
            log,
            scan::{self, LogEnd, ScanError, ScannedLog},
            segment::{self, FileKind, HeaderError, SegmentHeader},
        },
        scarcity::is_damage,
        stored::DecodeError,
    },
    telemetry::with_causes,
};

/// What the name of a log without a header ends with.
const SET_ASIDE_END: &str = "damaged";
/// About how many bytes of events are put under one checksum.
const GROUP_BYTES: usize = 256 << 10;
/// How many runs of lost events are named in the log.
const RUNS_NAMED_MAX: usize = 20;

/// A segment's log, and what else is whole of its files.
struct SegmentToSalvage<'j> {
    journal: &'j Path,
    header: SegmentHeader,
    file: File,
    source: HeaderSource,
    index: Option<(IndexHeader, Option<Index>)>,
}

/// Where the header of a log is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderSource {
    Log,
    /// From the index, or it was put right.
    Repair,
    /// It is lost: this one is made up, and its salt is not that of the groups.
    Nowhere,
}

/// What a strict scan of a log finds.
enum Scanned {
    Log(Box<ScannedLog>),
    /// Not even what comes before the damage.
    Nothing,
    /// An event of a newer version.
    Newer,
}

/// Repairs what can be repaired, logs what is lost, and leaves the rest to
/// recovery; blocks.
pub(super) fn salvage(journal: &Path, fresh_epoch: Epoch) -> Result<(), OpenError> {
    if let Err(error) = floor::load(journal) {
        tracing::warn!(error = %with_causes(&error), "events that retention had deleted may reappear");
        floor::store(journal, Sequence::ZERO).map_err(|e| io_error(journal, e))?;
    }
    let files = list(journal)?;
    tracing::info!(path = %journal.display(), "looking for damage in the whole journal");
    let mark = HighWaterMark::load(journal).ok().flatten();
    let epoch = mark.map_or(fresh_epoch, |mark| mark.epoch);
    for (first, _) in with_log(&files) {
        SegmentToSalvage::open(journal, first, epoch)?.salvage()?;
    }
    Ok(())
}

fn with_log(files: &SegmentFiles) -> impl Iterator<Item = (Sequence, &Vec<FileKind>)> {
    let all = files.iter().map(|(first, kinds)| (*first, kinds));
    all.filter(|(_, kinds)| kinds.contains(&FileKind::Log))
}

fn io_error(journal: &Path, source: io::Error) -> OpenError {
    OpenError::Io {
        path: segment::folder(journal),
        source,
    }
}

impl<'j> SegmentToSalvage<'j> {
    /// Opens a segment; a header that is lost is made up with this epoch.
    fn open(journal: &'j Path, first: Sequence, epoch: Epoch) -> Result<Self, OpenError> {
        let io = |source| io_error(journal, source);
        let index = match IndexHeader::load(journal, first).map_err(io)? {
            Some(Ok(header)) => {
                let path = segment::path(journal, first, FileKind::Index);
                let file = fs::read(path).map_err(io)?;
                Some((header, index_file::decode(&header, &file)))
            }
            Some(Err(HeaderError::Newer(version))) => return Err(newer(journal, version)),
            Some(Err(HeaderError::Older | HeaderError::Damaged)) | None => None,
        };
        let (header, file, source) = match open_log(journal, first) {
            Ok((header, file)) => (header, file, HeaderSource::Log),
            Err(OpenError::Damaged {
                source: error @ DamageError::SegmentHeader(_),
                ..
            }) => {
                tracing::warn!(error = %with_causes(&error), "looking for it elsewhere");
                let path = segment::path(journal, first, FileKind::Log);
                let file = File::options().read(true).write(true).open(path);
                let file = file.map_err(io)?;
                let indexed = index.as_ref().map(|(known, _)| known.segment);
                let (header, source) = lost_header(&file, first, indexed, epoch).map_err(io)?;
                (header, file, source)
            }
            Err(e) => return Err(e),
        };
        // An earlier attempt may have ended before it removed that of the log that was.
        let index = index.filter(|(known, _)| known.segment == header);
        Ok(Self {
            journal,
            header,
            file,
            source,
            index,
        })
    }

    /// Leaves a whole segment as it is, and writes the others again.
    fn salvage(self) -> Result<(), OpenError> {
        let io = |source| io_error(self.journal, source);
        let scanned = match self.scan()? {
            Scanned::Log(log) => Some(log),
            Scanned::Nothing => None,
            // Nothing is damaged; recovery, or a reader, says what to do.
            Scanned::Newer => return Ok(()),
        };
        let last = self.index.as_ref().map(|(header, _)| header.last());
        if let Some(log) = &scanned
            && self.source == HeaderSource::Log
            && log.end == LogEnd::Blank
            && last.is_none_or(|last| last == log.index.last())
        {
            return self.keep(log.index.end, log.end).map_err(io);
        }
        let (intact, stamps) = self.intact(last).map_err(|e| self.failed(e))?;
        let runs = intact.whole_runs();
        // A last write that was interrupted, and nothing whole behind it.
        if let (Some(log), None, HeaderSource::Log) = (&scanned, last, self.source)
            && log.end == LogEnd::Torn
            && runs == [(0, log.index.events())]
            && intact.index.missing.is_empty()
        {
            return self.keep(log.index.end, log.end).map_err(io);
        }
        let is_told =
            self.source == HeaderSource::Nowhere && self.keep_rest(&intact).map_err(io)?;
        if !is_told || !intact.index.missing.is_empty() {
            self.tell(&intact);
        }
        let salt = self.header.salt.wrapping_add(1);
        // The one that takes the damaged log's place comes last.
        for run in runs.iter().rev() {
            let written = self.write_run(&intact.index, *run, salt, &stamps);
            written.map_err(|e| self.failed(e))?;
        }
        if runs.first().is_none_or(|(begin, _)| *begin > 0) {
            self.remove(FileKind::Log).map_err(io)?;
        }
        // It is of the log that was.
        self.remove(FileKind::Index).map_err(io)
    }

    /// What a strict scan finds, up to the damage.
    fn scan(&self) -> Result<Scanned, OpenError> {
        match scan::scan(&self.file, &self.header) {
            Ok(log) => Ok(Scanned::Log(Box::new(log))),
            Err(ScanError::Io(e)) if is_damage(&e) => Ok(Scanned::Nothing),
            Err(ScanError::Event {
                source: DecodeError::Newer(_),
                ..
            }) => Ok(Scanned::Newer),
            Err(ScanError::Event { .. }) => Ok(Scanned::Nothing),
            Err(e) => Err(self.failed(e)),
        }
    }

    fn failed(&self, error: ScanError) -> OpenError {
        match error {
            ScanError::Io(e) => io_error(self.journal, e),
            ScanError::Event { sequence, source } => OpenError::Damaged {
                path: self.journal.into(),
                source: DamageError::Event { sequence, source },
            },
        }
    }

    /// Keeps a log that is whole up to `end`. Without its index, recovery makes
    /// a new one.
    fn keep(&self, end: u32, log_end: LogEnd) -> io::Result<()> {
        let is_sealed = matches!(&self.index, Some((_, Some(_)))) && log_end == LogEnd::Blank;
        let len = self.file.metadata()?.len();
        if is_sealed && len == u64::from(end) {
            return Ok(());
        }
        self.file.set_len(end.into())?;
        self.file.sync_all()?;
        self.remove(FileKind::Index)
    }

    /// What is whole, and what is known of its duplicates.
    fn intact(
        &self,
        last: Option<Sequence>,
    ) -> Result<(IntactLog, HashMap<Sequence, DedupStamp>), ScanError> {
        let first = self.header.first;
        let last = last.map_or(LastEvent::AtLeast(Sequence::ZERO), LastEvent::Known);
        let by_groups = || match self.source {
            HeaderSource::Nowhere => IntactLog::by_position(&self.file, first, last),
            _ => IntactLog::by_groups(&self.file, &self.header, last),
        };
        let of_file = match DedupHeader::load(self.journal, first)? {
            Some(dedup) => dedup.load_entries(self.journal)?,
            None => None,
        };
        let of_groups = |groups: IntactLog| groups.entries;
        let (intact, entries) = match &self.index {
            Some((_, Some(index))) => {
                let intact = IntactLog::by_index(&self.file, &self.header, index.clone())?;
                // Where neither is whole, late duplicates are stored again.
                let entries = of_file.or_else(|| by_groups().ok().map(of_groups));
                (intact, entries.unwrap_or_default())
            }
            _ => {
                let mut intact = by_groups()?;
                let entries = std::mem::take(&mut intact.entries);
                (intact, of_file.unwrap_or(entries))
            }
        };
        let stamp = |entry: DedupEntry| (entry.sequence, (entry.fingerprint, entry.until));
        Ok((intact, entries.into_iter().map(stamp).collect()))
    }

    /// Sets a copy of the log aside if there is more in it than was read; returns whether
    /// there is.
    fn keep_rest(&self, intact: &IntactLog) -> io::Result<bool> {
        let has_events = !intact.whole_runs().is_empty();
        if has_events && intact.is_all_of(&self.file)? {
            return Ok(false);
        }
        let path = segment::path(self.journal, self.header.first, FileKind::Log);
        let aside = path.with_added_extension(SET_ASIDE_END);
        fs::copy(&path, &aside)?;
        File::open(&aside)?.sync_all()?;
        durable::sync_folder(&segment::folder(self.journal))?;
        let (path, aside, last) = (path.display(), aside.display(), intact.index.last());
        tracing::error!(%path, %aside, %last, "the first bytes of this file are lost, and with them what tells events from bytes that senders chose; events are kept up to this one, and the file as it was is set aside");
        Ok(true)
    }

    fn tell(&self, intact: &IntactLog) {
        let path = segment::path(self.journal, self.header.first, FileKind::Log);
        let (path, missing) = (path.display(), intact.missing_runs());
        if missing.is_empty() {
            tracing::warn!(%path, "this file is damaged, and no event is; it is written again");
            return;
        }
        let names = missing.iter().take(RUNS_NAMED_MAX).map(|(begin, end)| {
            let (first, last) = (*begin, *end - 1);
            let index = &intact.index;
            format!("{}–{}", index.sequence(first), index.sequence(last))
        });
        let mut lost = names.collect::<Vec<_>>().join(", ");
        if missing.len() > RUNS_NAMED_MAX {
            lost.push_str(" and more");
        }
        let events = intact.index.missing.len();
        tracing::error!(%path, events, lost, "this file is damaged; these events are lost, and the others are kept");
    }

    /// Makes a log of its own of some events.
    fn write_run(
        &self,
        index: &Index,
        (begin, end): OrdinalRun,
        salt: u64,
        stamps: &HashMap<Sequence, DedupStamp>,
    ) -> Result<(), ScanError> {
        let first = index.sequence(begin);
        let header = SegmentHeader {
            first,
            salt,
            ..self.header
        };
        let mut bytes = header.encode().to_vec();
        let mut group = GroupBuilder::default();
        let mut group_bytes = 0;
        group.start(first);
        for ordinal in begin..end {
            let sequence = index.sequence(ordinal);
            let event = intact::read_event(&self.file, &self.header, index, ordinal)?;
            let changed = || io::Error::other("a log changes while it is read");
            let event = event.ok_or_else(changed)?;
            group_bytes += event.draft.weight();
            group.push(&event, stamps.get(&sequence).copied());
            if group_bytes >= GROUP_BYTES || ordinal + 1 == end {
                let too_long = || io::Error::other("a group of more than 4 GiB");
                bytes.extend(group.finish(header.salt).ok_or_else(too_long)?);
                group.start(sequence.next());
                group_bytes = 0;
            }
        }
        let path = segment::path(self.journal, first, FileKind::Log);
        durable::replace(&path, &bytes)?;
        Ok(())
    }

    fn remove(&self, kind: FileKind) -> io::Result<()> {
        durable::remove(&segment::path(self.journal, self.header.first, kind))
    }
}

/// The header of a log that has lost its own, from wherever it can be had.
fn lost_header(
    log: &File,
    first: Sequence,
    indexed: Option<SegmentHeader>,
    epoch: Epoch,
) -> io::Result<(SegmentHeader, HeaderSource)> {
    let repaired = match indexed {
        None => SegmentHeader::repair(log, first)?,
        indexed => indexed,
    };
    if let Some(header) = repaired {
        return Ok((header, HeaderSource::Repair));
    }
    let made_up = SegmentHeader {
        epoch,
        start: Sequence::ZERO,
        first,
        salt: log::fresh_salt()?,
    };
    Ok((made_up, HeaderSource::Nowhere))
}

/// A sequence that no event in a log that was set aside is above.
pub(super) fn max_set_aside(journal: &Path) -> Sequence {
    let entries = fs::read_dir(segment::folder(journal)).into_iter().flatten();
    let bounds = entries.flatten().filter_map(|entry| {
        let path = entry.path();
        let is_aside = path.extension().is_some_and(|end| end == SET_ASIDE_END);
        let name = path.file_stem().filter(|_| is_aside)?.to_str()?;
        let (first, _) = segment::parse_name(name)?;
        let bytes = entry.metadata().ok()?.len();
        Some(first.0.saturating_add(bytes / RECORD_BYTES_MIN as u64))
    });
    Sequence(bounds.max().unwrap_or_default())
}
