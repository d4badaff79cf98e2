//! The journal's files, opened, and the one way to write to them.
//!
//! Invariant: the folder's lock is held as long as the files are open; and
//! every write goes through `Outside::write`.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    dedup_file::DedupFacts,
    lock::Lock,
    log::Log,
    shelf::{Segment, Shelf},
};
use crate::journal::{ReadError, Retention};

/// The open files.
pub(super) struct Store {
    pub(super) folder: PathBuf,
    pub(super) shelf: Shelf,
    pub(super) sizes: Sizes,
    pub(super) outside: Outside,
    log: Mutex<Log>,
    /// StoredStats by who seals.
    pub(super) sealing: Mutex<()>,
    /// The `.dup` files, oldest first.
    pub(super) dedup_files: Mutex<Vec<DedupFacts>>,
    /// Last, so that it is released when all else is closed.
    _lock: Lock,
}

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// New events.
    Append,
    /// A new segment.
    Roll,
    /// One step of sealing a segment.
    Seal,
    /// A new floor.
    Floor,
    /// Removing one file below the floor.
    Delete,
}

/// What the journal asks of the world outside, as arguments, so that tests can
/// have a full disk, a failing one, and a death between any two writes.
#[derive(Clone)]
pub(super) struct Outside {
    /// How often retention looks and the high-water mark is written.
    pub(super) tick: Duration,
    /// Free bytes of the file system that a path is on.
    pub(super) free_bytes: Arc<FreeBytes>,
    /// Does a write.
    pub(super) write: Arc<Write>,
    /// `None` is by what retention keeps.
    pub(super) sizes: Option<Sizes>,
}

type FreeBytes = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;
type Write = dyn Fn(Purpose, &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> + Send + Sync;

impl Outside {
    /// The real one.
    pub(super) fn real() -> Self {
        Self {
            tick: Duration::from_secs(1),
            free_bytes: Arc::new(|path| {
                let found = rustix::fs::statvfs(path)?;
                Ok(found.f_bavail.saturating_mul(found.f_frsize))
            }),
            write: Arc::new(|_, write| write()),
            sizes: None,
        }
    }
}

/// How large things get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// A log of this length takes no more.
    pub(super) segment_bytes: u64,
    /// Nor does one with so many events.
    pub(super) segment_events: u32,
    /// Nor one whose index takes as much memory: it has long names in it.
    pub(super) index_bytes: usize,
    /// Nor one whose oldest event is this old, or retention by age would leave
    /// a quiet journal's events on the disk for years.
    pub(super) segment_age: Duration,
    /// How far a log is filled with zeros at a time: an fsync that need not
    /// store a new length takes half of the processor's time.
    pub(super) zeros_bytes: u64,
    /// Segments that wait to be sealed; at the bound the writer seals.
    pub(super) unsealed_max: usize,
    /// Sealed segments that one read looks into.
    pub(super) segments_per_read: usize,
    /// The newest segments that are counted for an operator: of the largest,
    /// 128 GiB.
    pub(super) segments_counted: usize,
}

const SEGMENT_BYTES_MAX: u64 = 64 << 20;
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// What is deleted goes by segments, so each is a small part of what is kept.
const SEGMENTS_MIN: u32 = 16;

impl Sizes {
    /// By how much is kept.
    pub(super) fn by(retention: &Retention) -> Self {
        let share = retention.bytes / u64::from(SEGMENTS_MIN);
        Self {
            segment_bytes: share.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            segment_events: 1 << 17,
            index_bytes: 16 << 20,
            segment_age: retention.age / SEGMENTS_MIN,
            zeros_bytes: 1 << 20,
            unsealed_max: 4,
            segments_per_read: 16,
            segments_counted: 2048,
        }
    }
}

impl Store {
    pub(super) fn new(
        folder: PathBuf,
        segments: Vec<Segment>,
        log: Log,
        dedup_files: Vec<DedupFacts>,
        sizes: Sizes,
        outside: Outside,
        lock: Lock,
    ) -> Self {
        Self {
            shelf: Shelf::new(folder.clone(), segments),
            folder,
            sizes,
            outside,
            log: Mutex::new(log),
            sealing: Mutex::new(()),
            dedup_files: Mutex::new(dedup_files),
            _lock: lock,
        }
    }

    /// The log that is written; whoever has it keeps the others waiting.
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes.
    pub(super) fn write(
        &self,
        purpose: Purpose,
        mut write: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        (self.outside.write)(purpose, &mut write)
    }

    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        (self.outside.free_bytes)(&self.folder)
    }
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        Self::Storage(e.to_string().into())
    }
}
