//! The ordered, durable record of events.
//!
//! One trait, one contract suite (`contract.rs`), and a file or folder per
//! backend. The backends share `tail.rs` (head, floor, followers), `stats.rs`
//! (what is stored of each topic) and `periodic.rs` (a thread of their own).
//!
//! Invariants: `read`, `follow` and `head` show an event only once it is
//! durable, and in sequence order. The floor is never above the head.

mod arrivals;
#[cfg(test)]
mod contract;
mod dedup_shares;
mod disk;
mod error;
mod health;
mod memory;
mod periodic;
mod scarcity;
mod stats;
pub(crate) mod stored;
mod tail;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

pub use disk::{
    CopyError, DamageKind, JournalCopy, JournalDamage, JournalReport, backup, check, restore,
};
pub use error::{AppendError, DamageError, FatalError, OpenError, ReadError};
pub use health::{Health, Usage};
pub use stats::{StoredStats, StoredTopics, StoredTopicsQuery};
pub use stored::DecodeError;

use hookrill_core::{Dedup, Draft, Epoch, Event, Selection, Sequence, SteadyClock, Timestamp};

use disk::{Disk, DiskSettings};
use memory::Memory;

/// Opens the journal that `settings` names, and creates it if it is missing.
///
/// Needs a tokio runtime: what blocks runs on its blocking threads.
///
/// # Errors
///
/// [`OpenError`], which says what to do about it.
pub async fn open(
    settings: Settings,
    clock: SteadyClock,
    metrics: CommitMetrics,
) -> Result<Arc<dyn Journal>, OpenError> {
    let bounds = Bounds {
        retention: settings.retention,
        dedup_entries_max: settings.dedup_entries_max,
    };
    match settings.backend {
        Backend::Memory => {
            let memory = Memory::new(fresh_epoch()?, bounds, clock, metrics)?;
            Ok(Arc::new(memory))
        }
        Backend::Disk {
            path,
            reserve_bytes,
            commit_stall_max,
            new_epoch,
        } => {
            let folder = DiskSettings {
                path,
                reserve_bytes,
                commit_stall_max,
                new_epoch,
            };
            let disk = Disk::open(folder, bounds, clock, metrics).await?;
            Ok(Arc::new(disk))
        }
    }
}

/// How much a journal keeps, whatever its backend.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    retention: Retention,
    dedup_entries_max: u64,
}

fn fresh_epoch() -> Result<Epoch, OpenError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|e| OpenError::Random(io::Error::other(e)))?;
    Ok(Epoch::from_entropy(random))
}

/// Where events are kept.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// Stores an event and returns once it is durable, or finds that it is a
    /// duplicate of one that is stored.
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
    /// [`ReadError`] where the journal is closed, or can't be read now. Damaged
    /// events are no error: the page says so.
    async fn read(
        &self,
        selection: &Selection,
        after: Sequence,
        bytes_max: usize,
    ) -> Result<EventPage, ReadError>;

    /// The newest durable events of `selection` before `before`, the newest first: at most
    /// `count` and about `bytes_max` bytes of them. Looks at a bounded number of events; the
    /// answer says how far it looked. Damaged events are left out.
    ///
    /// # Errors
    ///
    /// As [`Journal::read`].
    async fn read_back(
        &self,
        selection: &Selection,
        before: Sequence,
        count: usize,
        bytes_max: usize,
    ) -> Result<EventsBefore, ReadError>;

    /// The position just before the newest `count` events of `selection` that
    /// are still stored, or before all of them if they are fewer; the head, if
    /// there are none. Looks at no more than the newest million events of the
    /// selection's topics.
    ///
    /// # Errors
    ///
    /// As [`Journal::read`].
    async fn start_of_last_n(
        &self,
        selection: &Selection,
        count: usize,
    ) -> Result<Sequence, ReadError>;

    /// The position just before the first event that arrived at `from` or later, by its
    /// stamp; the head, if there is none. Stamps need not rise: none from then on is
    /// passed over, and some from before may follow. What is stamped with a time after
    /// `now` goes with what follows it.
    ///
    /// # Errors
    ///
    /// As [`Journal::read`].
    async fn start_of_arrivals(
        &self,
        from: Timestamp,
        now: Timestamp,
    ) -> Result<Sequence, ReadError>;

    /// What is stored of each topic, a page of topics at a time.
    ///
    /// Goes through the whole journal, in steps between which other reads get
    /// their turn: meant for an operator, and for one question at a time. Of a
    /// very large journal only the newest part is counted; the answer says
    /// from where on.
    ///
    /// # Errors
    ///
    /// As [`Journal::read`].
    async fn stored_topics(&self, query: StoredTopicsQuery) -> Result<StoredTopics, ReadError>;

    /// Every durable event after `after`, in order, as they come; for the
    /// pump. A follower that keeps up gets whole commits; one that is behind
    /// gets pages of about the same size instead. Events that retention
    /// deleted before they were yielded are missing, as are damaged ones, which
    /// shows in the sequences. Ends after an error, and when the journal is closed.
    fn follow(&self, after: Sequence) -> BoxStream<'static, Result<Commit, ReadError>>;

    /// The position of the newest durable event; never falls.
    fn head(&self) -> Sequence;

    /// The position of the newest deleted event: everything after it is
    /// stored.
    fn floor(&self) -> Sequence;

    /// The journal's name.
    fn epoch(&self) -> Epoch;

    /// How it does at the moment.
    fn health(&self) -> Health;

    /// How much it holds; `None` where others read it, or it is closed. Blocks on the
    /// disk.
    fn usage(&self) -> Option<Usage>;

    /// Completes when the journal can no longer store, with the reason. Never
    /// completes otherwise.
    async fn failed(&self) -> FatalError;

    /// Makes everything durable and releases what the journal holds. Later
    /// appends and reads are refused. Idempotent; every caller returns only
    /// once it is done.
    async fn close(&self);
}

/// Events that became durable together, in sequence order; never empty.
pub type Commit = Arc<[Arc<Event>]>;

/// What became of an appended event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its position; if this is a duplicate, that of the first one.
    pub sequence: Sequence,
    /// Whether it was stored before.
    pub duplicate: bool,
}

/// A part of the journal, as one read found it.
#[derive(Debug, Clone)]
pub struct EventPage {
    /// The events found, in order.
    pub events: Vec<Arc<Event>>,
    /// How far the read looked: every event of the selection after the asked
    /// position and up to here is in `events`, except those that are below
    /// `floor`. Never before the asked position. A read that came to the end
    /// reports the head as it was before the read.
    pub scanned: Sequence,
    /// The floor as read after the events. Where it is above the position
    /// asked for, events up to it may be missing from `events`.
    pub floor: Sequence,
    /// Whether the events of the selection after the position asked for and up
    /// to `scanned` are damaged. `events` is empty then: what is whole comes
    /// with the next read.
    pub is_damaged: bool,
}

/// The newest events before a position, as one read found them.
#[derive(Debug, Clone)]
pub struct EventsBefore {
    /// The events found, the newest first.
    pub events: Vec<Arc<Event>>,
    /// How far the read looked: what is older than this is left to the next read, before
    /// this position. Not above the floor's next one where nothing is left.
    pub from: Sequence,
}

/// What a journal measures of its commits; `app` makes the handles.
#[derive(Clone)]
pub struct CommitMetrics {
    /// Seconds that a commit took, fsync included.
    pub commit_secs: metrics::Histogram,
    /// Events in a commit.
    pub commit_events: metrics::Histogram,
}

impl CommitMetrics {
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

/// The most index entries that `start_of_last_n` looks at, from the newest.
/// Matches further back do not count.
const LAST_ENTRIES_MAX: usize = 1 << 20;

/// The most events that the journal in memory counts for
/// [`Journal::stored_topics`], from the newest.
const STATS_ENTRIES_MAX: usize = 1 << 24;

/// The size of a follower's page.
const FOLLOW_BYTES_MAX: usize = 1 << 20;

/// How long and how much a journal keeps. What is older or more is deleted,
/// the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Events older than this are deleted.
    pub age: Duration,
    /// The oldest events are deleted while all together take more than this.
    pub bytes: u64,
}

/// Which journal, and within what bounds.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Where events are kept.
    pub backend: Backend,
    /// How long and how much is kept.
    pub retention: Retention,
    /// The most dedup entries; beyond it the oldest are forgotten first, so
    /// that a late duplicate may be stored again.
    pub dedup_entries_max: u64,
}

/// Where a journal keeps its events.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Backend {
    /// In this process. Nothing survives its end, and all that is kept takes
    /// memory, so `retention.bytes` should be small.
    Memory,
    /// In a folder.
    Disk {
        /// The folder; created if it is missing.
        path: PathBuf,
        /// When fewer bytes are free on the file system, nothing is stored.
        reserve_bytes: u64,
        /// When a commit takes longer, further events are refused until it is
        /// done.
        commit_stall_max: Duration,
        /// Give the journal a new name, and accept that it may have lost
        /// events: after a backup was restored.
        new_epoch: bool,
    },
}
