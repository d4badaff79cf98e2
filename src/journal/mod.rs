//! The ordered, durable record of events.
//!
//! One trait, one contract suite (`contract.rs`), and a file per backend.
//! Invariant: an event is visible to `read`, `follow` and `head` only once it
//! is durable, and in sequence order.

#[cfg(test)]
mod contract;
pub mod disk;
pub mod memory;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::event::{Dedup, Draft, Epoch, Event, Selection, Sequence, stored::DecodeError};

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
    /// that are still here.
    ///
    /// # Errors
    ///
    /// As [`Journal::read`].
    async fn before_last(&self, selection: &Selection, count: usize)
    -> Result<Sequence, ReadError>;

    /// Every durable event after `after`, in order, as they come; for the
    /// pump. Commits arrive whole. Events that retention deleted before they
    /// were yielded are missing, which shows in the sequences.
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
    /// are refused. Idempotent.
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
}

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
