//! What the journal asks of the world outside, and how large things get.
//!
//! These are arguments, so that tests can have a full disk, a failing one, tiny
//! segments, and a death between any two writes.

use std::{io, path::Path, sync::Arc, time::Duration};

use crate::journal::Retention;

/// The world outside.
#[derive(Clone)]
pub(super) struct Env {
    /// How often retention looks and the high-water mark is written.
    pub(super) maintenance_period: Duration,
    /// Free bytes of the file system that a path is on.
    pub(super) free_bytes: Arc<FreeBytes>,
    /// Does a write.
    pub(super) write: Arc<Write>,
    /// `None`: as large as retention wants them.
    pub(super) sizes: Option<Sizes>,
}

type FreeBytes = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;
type Write =
    dyn Fn(WritePurpose, &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> + Send + Sync;

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WritePurpose {
    /// At a start, the end of the log, of which nobody knows whether it is
    /// durable.
    Rewrite,
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

impl Env {
    /// The real one.
    pub(super) fn real() -> Self {
        Self {
            maintenance_period: Duration::from_secs(1),
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
    /// A segment is full once its log is so long.
    pub(super) segment_bytes: u64,
    /// Or once it has so many events.
    pub(super) segment_events: u32,
    /// Or once its index takes so much memory: it has long names in it.
    pub(super) index_bytes: usize,
    /// A segment whose oldest event is older than this is closed, or retention
    /// by age would leave a quiet journal's events on the disk for years.
    pub(super) segment_age: Duration,
    /// How much of a log is preallocated with zeros at a time: an fsync that
    /// stores no new length takes half of the processor's time.
    pub(super) preallocated_bytes: u64,
    /// Segments that wait to be sealed; at the bound the writer seals.
    pub(super) unsealed_max: usize,
    /// Segments that one read looks into.
    pub(super) segments_per_read: usize,
    /// The newest segments that are counted for an operator: 128 GiB, if they
    /// are of the largest.
    pub(super) segments_counted: usize,
}

const SEGMENT_BYTES_MAX: u64 = 64 << 20;
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Whole segments are deleted, so each is a small part of what is kept.
const SEGMENTS_MIN: u32 = 16;

impl Sizes {
    /// Sizes for a journal that keeps this much.
    pub(super) fn for_retention(retention: &Retention) -> Self {
        let share = retention.bytes / u64::from(SEGMENTS_MIN);
        Self {
            segment_bytes: share.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            segment_events: 1 << 17,
            index_bytes: 16 << 20,
            segment_age: retention.age / SEGMENTS_MIN,
            preallocated_bytes: 1 << 20,
            unsealed_max: 4,
            segments_per_read: 16,
            segments_counted: 2048,
        }
    }
}
