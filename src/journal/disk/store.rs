//! The storage engine's files, opened, and the one way to write to them.
//!
//! Invariant: the folder's lock is held as long as the files are open.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, config::FilterPolicy,
};

use super::lock::Lock;
use crate::journal::{OpenError, ReadError};

const MIB: u64 = 1024 * 1024;
/// Blocks kept in memory, over all keyspaces.
const CACHE_BYTES: u64 = 32 * MIB;
/// The engine's write-ahead journals: the least it takes. More would only make
/// starts slower.
const WRITE_AHEAD_BYTES: u64 = 64 * MIB;
/// Open table files; the rest of a process's descriptors are for connections.
const FILES_MAX: usize = 128;
/// One flushes and compacts in turn. With two, the first of them waits for a
/// compaction by asking again without a pause, which takes a core from a small
/// server, and measured slower here.
const WORKERS: usize = 1;

/// The open files.
pub(super) struct Store {
    db: Database,
    pub(super) events: Keyspace,
    pub(super) index: Keyspace,
    pub(super) dedup: Keyspace,
    pub(super) dedup_order: Keyspace,
    pub(super) meta: Keyspace,
    pub(super) folder: PathBuf,
    pub(super) outside: Outside,
    /// Last, so that it is released when all else is closed.
    _lock: Lock,
}

/// What a batch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// New events.
    Append,
    /// A new floor.
    Floor,
    /// The events below the floor.
    Delete,
    /// The journal's name.
    Name,
}

/// What the journal asks of the world outside, as arguments, so that tests can
/// have a full disk and a failing one.
#[derive(Clone)]
pub(super) struct Outside {
    /// How often retention looks and the high-water mark is written.
    pub(super) tick: Duration,
    /// Free bytes of the file system that a path is on.
    pub(super) free_bytes: Arc<FreeBytes>,
    /// Commits a batch.
    pub(super) commit: Arc<Commit>,
}

type FreeBytes = dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync;
type Commit = dyn Fn(Purpose, OwnedWriteBatch) -> fjall::Result<()> + Send + Sync;

impl Outside {
    /// The real one.
    pub(super) fn real() -> Self {
        Self {
            tick: Duration::from_secs(1),
            free_bytes: Arc::new(|path| {
                let found = rustix::fs::statvfs(path)?;
                Ok(found.f_bavail.saturating_mul(found.f_frsize))
            }),
            commit: Arc::new(|_, batch| batch.commit()),
        }
    }
}

impl Store {
    /// Opens the files in `folder`, making them where there are none; blocks.
    pub(super) fn open(folder: &Path, lock: Lock, outside: Outside) -> Result<Self, OpenError> {
        let files = Self::files(folder);
        // Whatever the umask says, and whoever made the folder above: events
        // are for our eyes only.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&files)
            .map_err(|source| OpenError::Io {
                path: files.clone(),
                source,
            })?;
        let refuse = |e: fjall::Error| OpenError::Storage {
            path: folder.into(),
            reason: e.to_string(),
        };
        let db = Database::builder(&files)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(WRITE_AHEAD_BYTES)
            .max_cached_files(Some(FILES_MAX))
            .worker_threads(WORKERS)
            .open()
            .map_err(refuse)?;
        let keyspace = |name, memtable_mib, tune: fn(_) -> _| {
            let options =
                || tune(KeyspaceCreateOptions::default().max_memtable_size(memtable_mib * MIB));
            db.keyspace(name, options).map_err(refuse)
        };
        Ok(Self {
            // Who asks for an event knows from the index that it is there.
            events: keyspace("events", 8, |o| o.expect_point_read_hits(true))?,
            // Only ever scanned: filters would take memory and help nobody.
            index: keyspace("index", 4, |o| o.filter_policy(FilterPolicy::disabled()))?,
            dedup: keyspace("dedup", 4, |o| o)?,
            dedup_order: keyspace("dedup_order", 2, |o| {
                o.filter_policy(FilterPolicy::disabled())
            })?,
            meta: keyspace("meta", 1, |o| o)?,
            db,
            folder: folder.into(),
            outside,
            _lock: lock,
        })
    }

    /// Where under the journal's folder the engine's files are.
    pub(super) fn files(folder: &Path) -> PathBuf {
        folder.join("fjall")
    }

    /// A batch that is durable once it is committed.
    pub(super) fn durable_batch(&self) -> OwnedWriteBatch {
        self.db.batch().durability(Some(PersistMode::SyncAll))
    }

    /// A batch that becomes durable with the next durable one.
    pub(super) fn lazy_batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    /// Writes a batch: all of it or nothing.
    pub(super) fn commit(&self, purpose: Purpose, batch: OwnedWriteBatch) -> fjall::Result<()> {
        (self.outside.commit)(purpose, batch)
    }

    /// One instant of all keyspaces.
    pub(super) fn snapshot(&self) -> fjall::Snapshot {
        self.db.snapshot()
    }

    /// Whether the engine still takes writes: its own threads may have failed
    /// where nobody waits for them.
    pub(super) fn sound(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::Buffer)
    }

    pub(super) fn free_bytes(&self) -> std::io::Result<u64> {
        (self.outside.free_bytes)(&self.folder)
    }
}

impl From<fjall::Error> for ReadError {
    fn from(e: fjall::Error) -> Self {
        Self::Storage(e.to_string().into())
    }
}
