//! The ordered, durable record of events.
//!
//! One trait, one contract suite (`contract.rs`), and a file or folder per
//! backend; what they share is in `live.rs` (head, floor, followers) and
//! `ticker.rs`.
//!
//! Invariant: an event is visible to `read`, `follow` and `head` only once it
//! is durable, and in sequence order.

#[cfg(test)]
mod contract;
mod disk;
mod live;
mod memory;
mod ticker;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::event::{Clock, Dedup, Draft, Epoch, Event, Selection, Sequence, stored::DecodeError};

/// Opens the journal that `settings` names, making it where there is none.
///
/// Needs a tokio runtime: what blocks runs on its blocking threads.
///
/// # Errors
///
/// [`OpenError`], which says what to do about it.
pub async fn open(
    settings: Settings,
    clock: Clock,
    measures: Measures,
) -> Result<Arc<dyn Journal>, OpenError> {
    let Settings {
        kind,
        retention,
        dedup_entries_max,
    } = settings;
    let bounds = Bounds {
        retention,
        dedup_entries_max,
    };
    match kind {
        Kind::Memory => Ok(Arc::new(memory::Memory::new(
            fresh_epoch()?,
            bounds,
            clock,
            measures,
        )?)),
        Kind::Disk {
            path,
            reserve_bytes,
            new_epoch,
        } => {
            let place = disk::Place {
                path,
                reserve_bytes,
                new_epoch,
            };
            let disk = disk::Disk::open(place, bounds, clock, measures).await?;
            Ok(Arc::new(disk))
        }
    }
}

/// How much a journal keeps; what every backend is told.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    retention: Retention,
    dedup_entries_max: u64,
}

fn fresh_epoch() -> Result<Epoch, OpenError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| OpenError::Random(e.to_string()))?;
    Ok(Epoch::from_entropy(random))
}

/// Where events are kept.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Stores an event and returns once it is durable, or finds that it is
    /// here already.
    ///
    /// # Errors
    ///
    /// [`AppendError`]. An event that was refused with
    /// [`AppendError::Failed`] may still turn up, once.
    async fn append(&self, draft: Draft, dedup: Option<Dedup>) -> Result<Appended, AppendError>;

    /// The next durable events of `selection` after `after`, in sequence
    /// order: at most about `bytes_max` bytes of them, and at least one if
    /// there is one.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where stored bytes can't be read or make no sense.
    async fn read(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<Page, ReadError>;

    /// The position just before the newest `count` events of `selection`
    /// that are still here; of as many as there are, if they are fewer. The
    /// head, if there is none. Looks at no more than the newest million events
    /// of the selection's topics.
    ///
    /// # Errors
    ///
    /// As [`Journal::read`].
    async fn before_last(&self, selection: &Selection, count: usize)
    -> Result<Sequence, ReadError>;

    /// Every durable event after `after`, in order, as they come; for the
    /// pump. Commits arrive whole to a follower that keeps up; one that is
    /// behind gets pages of about the same size instead. Events that retention
    /// deleted before they were yielded are missing, which shows in the
    /// sequences. Ends after an error, and when the journal is closed.
    fn follow(&self, after: Sequence) -> BoxStream<'static, Result<Commit, ReadError>>;

    /// The position of the newest durable event; never falls.
    fn head(&self) -> Sequence;

    /// The position of the newest deleted event: what follows it is here.
    fn floor(&self) -> Sequence;

    /// The journal's name.
    fn epoch(&self) -> Epoch;

    /// Completes when the journal can no longer store, with the reason. Never
    /// completes otherwise.
    async fn failed(&self) -> String;

    /// Makes all durable and releases what the journal holds. Later appends
    /// and reads are refused. Idempotent; every caller returns only once it is
    /// done.
    async fn close(&self);
}

/// Events that became durable together, in sequence order; never empty.
pub type Commit = Arc<[Arc<Event>]>;

/// What became of an appended event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its position; of the first one, if this is a duplicate.
    pub sequence: Sequence,
    /// Whether it was here already.
    pub duplicate: bool,
}

/// A part of the journal, as one read found it.
#[derive(Debug, Clone)]
pub struct Page {
    /// The events found, in order.
    pub events: Vec<Arc<Event>>,
    /// How far the read looked: every event of the selection after the asked
    /// position and up to here is in `events`, save what `floor` took.
    pub scanned: Sequence,
    /// The floor as read after the events. Where it is above the position
    /// asked for, events up to it may be missing from `events`.
    pub floor: Sequence,
}

/// Why an event was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Free disk is below the reserve; passes when there is room again.
    #[error("{free_bytes} bytes are free on the journal's disk; the reserve is {reserve_bytes}")]
    NoRoom {
        /// Free bytes on the journal's file system.
        free_bytes: u64,
        /// The configured reserve.
        reserve_bytes: u64,
    },
    /// The journal is shutting down.
    #[error("the journal is closed")]
    Closed,
    /// A write failed; the journal takes nothing any more.
    #[error("the journal failed: {0}")]
    Failed(Arc<str>),
}

/// Why the journal could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The storage engine says so.
    #[error("the journal cannot be read: {0}")]
    Storage(Arc<str>),
    /// Stored bytes that are no event.
    #[error("event {sequence}: {source}")]
    Decode {
        /// Which event.
        sequence: Sequence,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why a journal could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused something.
    #[error("the journal's {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// Another process, or another part of this one, has it open.
    #[error("the journal in {} is in use by {holder}: one process per folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// `process 4711`, or `another process`.
        holder: String,
    },
    /// The storage engine can't open its files.
    #[error(
        "the journal in {} cannot be opened: {reason}. Restore the folder from a backup and start with --new-epoch",
        path.display()
    )]
    Storage {
        /// The folder.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
    /// Acknowledged events are missing.
    #[error(
        "the journal in {} has lost events: {found}; {expected}. Restore the folder from a backup, or accept the loss, and start with --new-epoch",
        path.display()
    )]
    Lost {
        /// The folder.
        path: PathBuf,
        /// What is known to have been acknowledged.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The file that says how far events were acknowledged can't be believed.
    #[error(
        "{} is {wrong}, so nothing proves that the journal is whole. Restore the folder from a backup, or accept that events may be lost, and start with --new-epoch",
        path.display()
    )]
    HighWater {
        /// The file.
        path: PathBuf,
        /// `missing`, `damaged`, or whose it is.
        wrong: String,
    },
    /// A newer Hookrill wrote this folder.
    #[error(
        "the journal in {} has format {version}, this Hookrill reads up to {version_max}: run the version that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        version: u8,
        /// The newest format known here.
        version_max: u8,
    },
    /// The system has no random bytes for the journal's name.
    #[error("no random bytes for the journal's name: {0}")]
    Random(String),
}

/// What a journal measures; `app` makes the handles.
#[derive(Clone)]
pub struct Measures {
    /// Seconds that a commit took, fsync included.
    pub commit_secs: metrics::Histogram,
    /// Events in a commit.
    pub commit_events: metrics::Histogram,
}

impl Measures {
    /// Measures nothing.
    #[must_use]
    pub fn noop() -> Self {
        Self {
            commit_secs: metrics::Histogram::noop(),
            commit_events: metrics::Histogram::noop(),
        }
    }
}

/// The most index entries that one read looks at, so that a rare event type
/// can't make one read walk millions: it returns early, with `scanned`.
const PAGE_ENTRIES_MAX: usize = 8192;

/// The most index entries that `before_last` looks at, from the newest.
/// Matches further back do not count.
const LAST_ENTRIES_MAX: usize = 1 << 20;

/// The size of a follower's page.
const FOLLOW_BYTES_MAX: usize = 1 << 20;

/// How long and how much a journal keeps. What is older or more is deleted
/// from the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this go.
    pub age: Duration,
    /// The oldest go while all events together take more than this.
    pub bytes: u64,
}

/// Which journal, and within what bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where events are kept.
    pub kind: Kind,
    /// How long and how much is kept.
    pub retention: Retention,
    /// The most dedup entries; beyond it the oldest are forgotten first, so
    /// that a late duplicate may be stored again.
    pub dedup_entries_max: u64,
}

/// A journal's backend.
#[derive(Debug, Clone)]
pub enum Kind {
    /// In this process: what it acknowledged survives nothing.
    Memory,
    /// In a folder.
    Disk {
        /// The folder; made where it is missing.
        path: std::path::PathBuf,
        /// Free bytes of the file system below which nothing is stored.
        reserve_bytes: u64,
        /// Give the journal a new name, and accept that it may have lost
        /// events: after a backup was restored.
        new_epoch: bool,
    },
}
