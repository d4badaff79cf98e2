//! The segments of a journal, in order, and what of them is in memory.
//!
//! Bounded: indexes of sealed segments in bytes, their open files in number;
//! what is not here is read again. Segments that are not sealed yet, the one
//! that is written among them, keep theirs in memory.
//!
//! Invariant: the list is never empty, the segments in it follow each other,
//! and only the last one is written.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use hookrill_core::{Sequence, Swap, Timestamp};
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use quick_cache::{Weighter, sync::Cache};

use super::{
    dedup::DedupEntry,
    group::RECORD_HEADER_BYTES,
    index::Index,
    index_file::{self, IndexHeader},
    intact::{IntactLog, LastEvent},
    log_reader::LogReader,
    segment::{self, FileKind, SegmentHeader},
};
use crate::journal::{
    ReadError,
    scarcity::{is_damage, is_scarce},
    stored,
};

/// Indexes of sealed segments that are kept in memory.
const INDEX_BYTES_MAX: u64 = 32 << 20;
/// About how many indexes that is.
const INDEXES_EXPECTED: usize = 256;
/// So many entries of an index are read from its file in the time in which one is
/// looked at, about.
const LOADED_PER_ENTRY: usize = 4;
/// Sealed logs that are kept open: the rest of a process's descriptors are for
/// connections.
const FILES_MAX: usize = 64;

/// A segment that is full and has its index in a file.
#[derive(Debug)]
pub(super) struct SealedSegment {
    pub(super) header: IndexHeader,
}

/// A segment that is written, or waits to be sealed.
pub(super) struct OpenSegment {
    pub(super) header: SegmentHeader,
    pub(super) file: File,
    contents: RwLock<SegmentContents>,
}

/// What an open segment holds.
pub(super) struct SegmentContents {
    pub(super) index: Index,
    pub(super) entries: Vec<DedupEntry>,
}

/// A segment, sealed or not.
#[derive(Clone)]
pub(super) enum LogSegment {
    Sealed(Arc<SealedSegment>),
    Open(Arc<OpenSegment>),
}

impl OpenSegment {
    pub(super) fn new(
        header: SegmentHeader,
        file: File,
        index: Index,
        entries: Vec<DedupEntry>,
    ) -> Self {
        Self {
            header,
            file,
            contents: RwLock::new(SegmentContents { index, entries }),
        }
    }

    /// A segment without events.
    pub(super) fn empty(header: SegmentHeader, file: File) -> Self {
        let index = Index::new(header.first, segment::HEADER_BYTES as u32);
        Self::new(header, file, index, Vec::new())
    }

    pub(super) fn contents(&self) -> RwLockReadGuard<'_, SegmentContents> {
        self.contents.read()
    }

    /// For the writer alone.
    pub(super) fn contents_mut(&self) -> RwLockWriteGuard<'_, SegmentContents> {
        self.contents.write()
    }
}

impl LogSegment {
    pub(super) fn first(&self) -> Sequence {
        match self {
            Self::Sealed(sealed) => sealed.header.segment.first,
            Self::Open(open) => open.header.first,
        }
    }

    /// The last event's sequence; the one before the first, if there is none.
    pub(super) fn last(&self) -> Sequence {
        match self {
            Self::Sealed(sealed) => sealed.header.last(),
            Self::Open(open) => open.contents().index.last(),
        }
    }

    /// The earliest and the latest arrival.
    pub(super) fn arrivals(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Sealed(sealed) => Some((sealed.header.earliest, sealed.header.latest)),
            Self::Open(open) => open.contents().index.arrivals,
        }
    }

    /// How many bytes of groups its log has.
    pub(super) fn bytes(&self) -> u64 {
        let end = match self {
            Self::Sealed(sealed) => sealed.header.log_bytes,
            Self::Open(open) => open.contents().index.end,
        };
        u64::from(end).saturating_sub(segment::HEADER_BYTES as u64)
    }
}

/// The segments that may have events from `from` to `up_to`.
pub(super) fn between(segments: &[LogSegment], from: Sequence, up_to: Sequence) -> &[LogSegment] {
    let begin = segments.partition_point(|segment| segment.first() <= from);
    let end = segments.partition_point(|segment| segment.first() <= up_to);
    &segments[begin.saturating_sub(1).min(end)..end]
}

/// All segments of a journal.
pub(super) struct SegmentSet {
    journal: PathBuf,
    list: Swap<Vec<LogSegment>>,
    /// Held while the list is replaced.
    changing: Mutex<()>,
    indexes: Cache<u64, Arc<Index>, IndexWeigher>,
    files: Cache<u64, Arc<File>>,
    /// The segments whose index file is damaged and was told in the log: at most
    /// all.
    told: Mutex<HashSet<Sequence>>,
    /// Bytes of logs that were read.
    #[cfg(test)]
    pub(super) log_bytes_read: std::sync::atomic::AtomicU64,
}

impl SegmentSet {
    pub(super) fn new(journal: PathBuf, segments: Vec<LogSegment>) -> Self {
        assert_in_order(&segments);
        Self {
            journal,
            list: Swap::new(segments),
            changing: Mutex::new(()),
            indexes: Cache::with_weighter(INDEXES_EXPECTED, INDEX_BYTES_MAX, IndexWeigher),
            files: Cache::new(FILES_MAX),
            told: Mutex::default(),
            #[cfg(test)]
            log_bytes_read: 0.into(),
        }
    }

    /// The list as it is now.
    pub(super) fn list(&self) -> Arc<Vec<LogSegment>> {
        self.list.load()
    }

    /// Adds the segment that is written from now on, in place of one with the
    /// same first sequence, which has no event.
    pub(super) fn push(&self, segment: LogSegment) {
        self.change(|segments| {
            segments.retain(|other| other.first() != segment.first());
            segments.push(segment);
        });
    }

    /// Puts a sealed segment in place of the open one.
    pub(super) fn replace_with_sealed(&self, sealed: SealedSegment) {
        let first = sealed.header.segment.first;
        let sealed = Arc::new(sealed);
        self.change(|segments| {
            for segment in segments.iter_mut().filter(|s| s.first() == first) {
                *segment = LogSegment::Sealed(Arc::clone(&sealed));
            }
        });
    }

    /// Takes a segment off the list.
    pub(super) fn remove(&self, first: Sequence) {
        self.change(|segments| segments.retain(|segment| segment.first() != first));
        self.told.lock().remove(&first);
        self.indexes.remove(&first.0);
        self.files.remove(&first.0);
    }

    fn change(&self, change: impl FnOnce(&mut Vec<LogSegment>)) {
        let _one_at_a_time = self.changing.lock();
        let mut segments = self.list.load().to_vec();
        change(&mut segments);
        assert_in_order(&segments);
        self.list.store(segments);
    }

    /// Calls `look` with a segment's index. It must not take long: the writer
    /// waits for it.
    pub(super) fn with_index<T>(
        &self,
        segment: &LogSegment,
        look: impl FnOnce(&Index) -> T,
    ) -> Result<T, ReadError> {
        match segment {
            LogSegment::Open(open) => Ok(look(&open.contents().index)),
            LogSegment::Sealed(sealed) => {
                let first = sealed.header.segment.first.0;
                let load = || self.load_index(&sealed.header).map(Arc::new);
                let index = self.indexes.get_or_insert_with(&first, load)?;
                Ok(look(&index))
            }
        }
    }

    /// How many entries a look at a segment's index counts for before one of them
    /// is looked at: the index of a sealed segment has to be read, unless it is
    /// in memory.
    pub(super) fn load_weight(&self, segment: &LogSegment) -> usize {
        match segment {
            LogSegment::Open(_) => 0,
            LogSegment::Sealed(sealed) => {
                let is_loaded = self.indexes.peek(&sealed.header.segment.first.0).is_some();
                let events = if is_loaded { 0 } else { sealed.header.events };
                events as usize / LOADED_PER_ENTRY
            }
        }
    }

    /// The file of an index, if there is one. Does not touch the indexes in
    /// memory, which are for readers.
    pub(super) fn index_file(&self, header: &IndexHeader) -> io::Result<Option<Vec<u8>>> {
        match self.with_descriptor(|| fs::read(self.index_path(header))) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads an index, or makes it from the log if its file is damaged: of what is
    /// whole there, if that is damaged too.
    fn load_index(&self, header: &IndexHeader) -> Result<Index, ReadError> {
        let file = match self.index_file(header) {
            Ok(file) => file,
            Err(e) if is_damage(&e) => None,
            Err(e) => return Err(e.into()),
        };
        if let Some(index) = file.and_then(|file| index_file::decode(header, &file)) {
            return Ok(index);
        }
        let last = LastEvent::Known(header.last());
        let log = IntactLog::by_groups(&*self.file(header)?, &header.segment, last)?;
        if self.told.lock().insert(header.segment.first) {
            let (path, lost) = (self.index_path(header), log.index.missing.len());
            tracing::warn!(path = %path.display(), lost, "this file is damaged, and is made from the log as long as the process runs; hookrill journal check says what is damaged");
        }
        Ok(log.index)
    }

    /// Whether the group is whole that has the record at `offset`.
    pub(super) fn is_group_whole(
        &self,
        segment: &LogSegment,
        offset: u32,
    ) -> Result<bool, ReadError> {
        let at = offset.into();
        let is_whole = match segment {
            LogSegment::Open(open) => {
                LogReader::new(&open.file, &open.header)?.is_group_whole_around(at)
            }
            LogSegment::Sealed(sealed) => {
                let (file, header) = (self.file(&sealed.header)?, &sealed.header.segment);
                LogReader::new(&file, header)?.is_group_whole_around(at)
            }
        };
        Ok(is_whole?)
    }

    /// Reads bytes of a segment's log.
    pub(super) fn read_log(&self, segment: &LogSegment, at: u32, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.read_log_into(segment, at, &mut bytes)?;
        Ok(bytes.into())
    }

    fn read_log_into(&self, segment: &LogSegment, at: u32, bytes: &mut [u8]) -> io::Result<()> {
        #[cfg(test)]
        self.log_bytes_read
            .fetch_add(bytes.len() as u64, std::sync::atomic::Ordering::SeqCst);
        match segment {
            LogSegment::Open(open) => open.file.read_exact_at(bytes, at.into()),
            LogSegment::Sealed(sealed) => {
                let file = self.file(&sealed.header)?;
                file.read_exact_at(bytes, at.into())
            }
        }
    }

    /// When the event arrived whose record begins at `offset`, by that record.
    /// Nothing is checked.
    pub(super) fn arrival(&self, segment: &LogSegment, offset: u32) -> io::Result<Timestamp> {
        let mut begin = [0; stored::ARRIVAL_END];
        self.read_log_into(segment, offset + RECORD_HEADER_BYTES as u32, &mut begin)?;
        Ok(stored::arrival(&begin))
    }

    /// How many indexes of sealed segments are in memory.
    #[cfg(test)]
    pub(super) fn indexes_in_memory(&self) -> usize {
        self.indexes.len()
    }

    fn index_path(&self, header: &IndexHeader) -> PathBuf {
        segment::path(&self.journal, header.segment.first, FileKind::Index)
    }

    fn file(&self, header: &IndexHeader) -> io::Result<Arc<File>> {
        let first = header.segment.first;
        let path = segment::path(&self.journal, first, FileKind::Log);
        let open = || File::open(&path).map(Arc::new);
        self.with_descriptor(|| self.files.get_or_insert_with(&first.0, open))
    }

    /// Closes the sealed logs that no read uses just now.
    pub(super) fn close_files(&self) {
        self.files.clear();
    }

    /// Opens something, if need be in the place of the logs that are open.
    fn with_descriptor<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match open() {
            Err(e) if is_scarce(&e) => {
                self.close_files();
                open()
            }
            opened => opened,
        }
    }
}

fn assert_in_order(segments: &[LogSegment]) {
    assert!(
        segments.is_sorted_by(|a, b| a.first() < b.first()),
        "segments follow each other"
    );
    let is_written = matches!(segments.last(), Some(LogSegment::Open(_)));
    assert!(is_written, "the last segment is the one that is written");
}

/// Weighs an index by the memory it takes.
#[derive(Clone)]
struct IndexWeigher;

impl Weighter<u64, Arc<Index>> for IndexWeigher {
    fn weight(&self, _: &u64, index: &Arc<Index>) -> u64 {
        // Never nothing, or their number would have no bound.
        index.bytes().max(1024) as u64
    }
}
