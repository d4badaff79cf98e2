//! The segments of a journal, in order, and what of them is in memory.
//!
//! Bounded: indexes of sealed segments in bytes, their open files in number;
//! what is not here is read again. The segments that are not sealed yet, the
//! one that is written among them, have theirs in memory.
//!
//! Invariant: the list is never empty, rises, and its last segment is the one
//! that is written.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use bytes::Bytes;
use hookrill_core::{Sequence, Timestamp};
use quick_cache::{Weighter, sync::Cache};

use super::{
    dedup::Entry,
    group::RECORD_HEAD_BYTES,
    index::Index,
    index_file::{self, Facts},
    scan::{self, Rest},
    segment::{self, FileKind, Head},
};
use crate::journal::{ReadError, stored};

/// Indexes of sealed segments that are kept in memory.
const INDEX_BYTES_MAX: u64 = 32 << 20;
/// Sealed logs that are kept open: the rest of a process's descriptors are for
/// connections.
const FILES_MAX: usize = 64;

/// A segment that takes no more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) facts: Facts,
}

/// A segment that is written, or waits to be sealed.
pub(super) struct Open {
    pub(super) head: Head,
    pub(super) file: File,
    contents: RwLock<Contents>,
}

/// What an open segment has.
pub(super) struct Contents {
    pub(super) index: Index,
    pub(super) entries: Vec<Entry>,
}

/// One of the list.
#[derive(Clone)]
pub(super) enum Segment {
    Sealed(Arc<Sealed>),
    Open(Arc<Open>),
}

impl Open {
    pub(super) fn new(head: Head, file: File, index: Index, entries: Vec<Entry>) -> Self {
        Self {
            head,
            file,
            contents: RwLock::new(Contents { index, entries }),
        }
    }

    pub(super) fn contents(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the one who writes.
    pub(super) fn contents_mut(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Segment {
    pub(super) fn first(&self) -> Sequence {
        match self {
            Self::Sealed(sealed) => sealed.facts.head.first,
            Self::Open(open) => open.head.first,
        }
    }

    /// The last event's sequence; the one before the first, if there is none.
    pub(super) fn last(&self) -> Sequence {
        match self {
            Self::Sealed(sealed) => sealed.facts.last(),
            Self::Open(open) => open.contents().index.last(),
        }
    }

    /// The earliest and the latest arrival.
    pub(super) fn arrivals(&self) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Sealed(sealed) => Some((sealed.facts.earliest, sealed.facts.latest)),
            Self::Open(open) => open.contents().index.arrivals,
        }
    }

    /// How many bytes of groups its log has.
    pub(super) fn bytes(&self) -> u64 {
        let end = match self {
            Self::Sealed(sealed) => sealed.facts.log_bytes,
            Self::Open(open) => open.contents().index.end,
        };
        u64::from(end).saturating_sub(segment::HEAD_BYTES as u64)
    }
}

/// The list.
pub(super) struct Shelf {
    journal: PathBuf,
    segments: RwLock<Arc<[Segment]>>,
    indexes: Cache<u64, Arc<Index>, Charge>,
    files: Cache<u64, Arc<File>>,
}

impl Shelf {
    pub(super) fn new(journal: PathBuf, segments: Vec<Segment>) -> Self {
        Self {
            journal,
            segments: RwLock::new(segments.into()),
            indexes: Cache::with_weighter(256, INDEX_BYTES_MAX, Charge),
            files: Cache::new(FILES_MAX),
        }
    }

    /// The list as it is now.
    pub(super) fn segments(&self) -> Arc<[Segment]> {
        let segments = self.segments.read();
        Arc::clone(&segments.unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds the segment that is written from now on, in the place of one with
    /// the same first sequence, which has no event.
    pub(super) fn push(&self, segment: Segment) {
        self.change(|segments| {
            segments.retain(|other| other.first() != segment.first());
            segments.push(segment);
        });
    }

    /// Puts a sealed segment in the place of the open one.
    pub(super) fn seal(&self, sealed: Sealed) {
        let (first, mut sealed) = (sealed.facts.head.first, Some(sealed));
        self.change(|segments| {
            for segment in segments.iter_mut().filter(|s| s.first() == first) {
                if let Some(sealed) = sealed.take() {
                    *segment = Segment::Sealed(Arc::new(sealed));
                }
            }
        });
    }

    /// Takes a segment off the list.
    pub(super) fn remove(&self, first: Sequence) {
        self.change(|segments| segments.retain(|segment| segment.first() != first));
        self.indexes.remove(&first.0);
        self.files.remove(&first.0);
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Segment>)) {
        let segments = self.segments.write();
        let mut segments = segments.unwrap_or_else(PoisonError::into_inner);
        let mut changed = segments.to_vec();
        change(&mut changed);
        *segments = changed.into();
    }

    /// Looks at a segment's index, which must not take long: who writes waits.
    pub(super) fn look<T>(
        &self,
        segment: &Segment,
        look: impl FnOnce(&Index) -> T,
    ) -> Result<T, ReadError> {
        match segment {
            Segment::Open(open) => Ok(look(&open.contents().index)),
            Segment::Sealed(sealed) => {
                let first = sealed.facts.head.first.0;
                let load = || self.load(&sealed.facts).map(Arc::new);
                let index = self.indexes.get_or_insert_with(&first, load)?;
                Ok(look(&index))
            }
        }
    }

    /// The file of an index, if there is one; past what is in memory, which is
    /// for those who read.
    pub(super) fn index_file(&self, facts: &Facts) -> io::Result<Option<Vec<u8>>> {
        match fs::read(segment::path(
            &self.journal,
            facts.head.first,
            FileKind::Index,
        )) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Reads an index; from the log, where its file is damaged.
    fn load(&self, facts: &Facts) -> Result<Index, ReadError> {
        let bytes = self.index_file(facts)?;
        if let Some(index) = bytes.and_then(|bytes| index_file::decode(facts, &bytes)) {
            return Ok(index);
        }
        let path = segment::path(&self.journal, facts.head.first, FileKind::Index);
        let scanned = scan::scan(&*self.file(facts)?, &facts.head);
        let scanned = scanned.map_err(|e| ReadError::Storage(e.to_string().into()))?;
        let is_whole = scanned.rest == Rest::Blank && scanned.index.last() == facts.last();
        if !is_whole {
            let text = format!("{} and its log are damaged", path.display());
            return Err(ReadError::Storage(text.into()));
        }
        let path = path.display();
        tracing::warn!(%path, "damaged; remove it before the next start, which makes it anew");
        Ok(scanned.index)
    }

    /// Reads bytes of a segment's log.
    pub(super) fn read(&self, segment: &Segment, at: u32, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        self.read_into(segment, at, &mut bytes)?;
        Ok(bytes.into())
    }

    /// As [`Shelf::read`], into what the caller has.
    pub(super) fn read_into(&self, segment: &Segment, at: u32, bytes: &mut [u8]) -> io::Result<()> {
        match segment {
            Segment::Open(open) => open.file.read_exact_at(bytes, at.into()),
            Segment::Sealed(sealed) => {
                let file = self.file(&sealed.facts)?;
                file.read_exact_at(bytes, at.into())
            }
        }
    }

    /// When the event arrived whose record begins at `offset`, as that says.
    /// Nothing is checked.
    pub(super) fn arrival(&self, segment: &Segment, offset: u32) -> io::Result<Timestamp> {
        let mut begin = [0; stored::ARRIVAL_END];
        self.read_into(segment, offset + RECORD_HEAD_BYTES as u32, &mut begin)?;
        Ok(stored::arrival(&begin))
    }

    /// How many indexes of sealed segments are kept.
    #[cfg(test)]
    pub(super) fn indexes_in_memory(&self) -> usize {
        self.indexes.len()
    }

    fn file(&self, facts: &Facts) -> io::Result<Arc<File>> {
        let first = facts.head.first;
        let open = || File::open(segment::path(&self.journal, first, FileKind::Log)).map(Arc::new);
        self.files.get_or_insert_with(&first.0, open)
    }
}

/// What an index is charged.
#[derive(Clone)]
struct Charge;

impl Weighter<u64, Arc<Index>> for Charge {
    fn weight(&self, _: &u64, index: &Arc<Index>) -> u64 {
        // Not nothing, or there would be no bound on how many.
        index.bytes().max(1024) as u64
    }
}
