//! Deletes the oldest events, by age and bytes, in small steps.
//!
//! The floor rises event by event; files are deleted once all in them is below
//! it.
//!
//! Invariant: the floor is raised for readers and made durable before the
//! first file below it is removed. So a reader that finds an event missing
//! finds a floor above it; and after a crash files may be left below the floor,
//! where nobody looks, until the next start removes them.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hookrill_core::{Clock, Sequence, Timestamp};
use parking_lot::Mutex;

use super::{
    env::WritePurpose,
    files::Files,
    floor,
    index::Index,
    log::Log,
    segment::{self, FileKind},
    segment_set::{LogSegment, between},
};
use crate::{
    durable,
    journal::{
        FatalError, ReadError, Retention, periodic::NextRun, scarcity::is_temporary, tail::LiveTail,
    },
};

/// The most events whose age one step looks at.
const STEP_EVENTS_MAX: usize = 1024;

/// Why nothing more is sealed or deleted for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the journal cannot be written")]
    Write(#[source] Arc<io::Error>),
}

/// Deletes what is older or more than is to be kept.
pub(super) struct Pruner {
    pub(super) files: Arc<Files>,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) tail: Arc<LiveTail>,
    pub(super) clock: Clock,
    pub(super) retention: Retention,
    /// The sequence below which no delivery is remembered.
    pub(super) oldest_remembered: Arc<AtomicU64>,
    /// The floor that is durable.
    pub(super) durable_floor: Sequence,
}

impl Pruner {
    /// Deletes some of what is to be deleted; blocks.
    pub(super) fn step(&mut self) -> Result<NextRun, KeepError> {
        let now = self.clock.now();
        let floor = self.tail.floor();
        let goal = self.goal(floor, now.minus(self.retention.age))?;
        if goal > self.durable_floor {
            self.raise_floor(goal)?;
            return Ok(NextRun::AtOnce);
        }
        let begun = now.minus(self.files.sizes.segment_age);
        self.fail_on(self.log.lock().roll_if_expired(floor, begun))?;
        let has_deleted = self.delete_segment()? || self.delete_dedup_file(now)?;
        Ok(if has_deleted {
            NextRun::AtOnce
        } else {
            NextRun::NextPeriod
        })
    }

    /// Seals the oldest of the segments that wait for it; returns whether there
    /// was one. Blocks.
    pub(super) fn seal(&self) -> Result<bool, KeepError> {
        self.fail_on(self.files.seal_oldest())
    }

    /// How far the floor is to rise in this step.
    fn goal(&self, floor: Sequence, oldest: Timestamp) -> Result<Sequence, ReadError> {
        let mut goal = self.goal_by_bytes(floor)?;
        let (head, mut looked_at) = (self.tail.head(), 0);
        let segments = self.files.segments.list();
        for segment in between(&segments, goal.next(), head) {
            if let LogSegment::Sealed(sealed) = segment
                && sealed.header.latest < oldest
            {
                goal = sealed.header.last();
                continue;
            }
            let (last, arrivals) = (segment.last().min(head), segment.arrivals());
            let mut sequence = goal;
            while sequence < last && looked_at < STEP_EVENTS_MAX {
                sequence = sequence.next();
                looked_at += 1;
                let arrival = self.arrival(segment, sequence)?;
                // An arrival outside of what the index says is damage: the event
                // is deleted with the next one that is.
                if arrivals.is_some_and(|(a, b)| arrival < a || b < arrival) {
                    continue;
                }
                if arrival >= oldest {
                    return Ok(goal);
                }
                goal = sequence;
            }
            if looked_at == STEP_EVENTS_MAX {
                break;
            }
        }
        Ok(goal)
    }

    /// The floor above which there are no more bytes than are to be kept.
    fn goal_by_bytes(&self, floor: Sequence) -> Result<Sequence, ReadError> {
        let segments = self.files.segments.list();
        let head = self.tail.head();
        let stored = between(&segments, floor.next(), head);
        let stored_bytes = stored.iter().map(LogSegment::bytes).sum::<u64>();
        let mut surplus = stored_bytes.saturating_sub(self.retention.bytes);
        let mut goal = floor;
        for segment in stored {
            if surplus == 0 {
                break;
            }
            // The first segment's bytes below the floor are counted in the
            // surplus, and here as well.
            let bytes = segment.bytes();
            let (last, taken) = if bytes <= surplus {
                (segment.last(), bytes)
            } else {
                let look = |index: &Index| shortest_prefix(index, surplus);
                self.files.segments.with_index(segment, look)?
            };
            goal = goal.max(last).min(head);
            surplus = surplus.saturating_sub(taken);
        }
        Ok(goal)
    }

    /// When an event arrived, by its record. Nothing is checked: a damaged
    /// event only has to be deleted some time.
    fn arrival(&self, segment: &LogSegment, sequence: Sequence) -> Result<Timestamp, ReadError> {
        let segments = &self.files.segments;
        let look = |index: &Index| index.offset(index.ordinal(sequence));
        let offset = segments.with_index(segment, look)?;
        Ok(segments.arrival(segment, offset)?)
    }

    fn raise_floor(&mut self, floor: Sequence) -> Result<(), KeepError> {
        self.tail.raise_floor(floor);
        let store = || floor::store(&self.files.folder, floor);
        self.fail_on(self.files.write(WritePurpose::Floor, store))?;
        assert!(floor > self.durable_floor, "the floor only rises");
        self.durable_floor = floor;
        Ok(())
    }

    /// Removes the oldest segment, if all of it is below the floor.
    fn delete_segment(&self) -> Result<bool, KeepError> {
        let segments = self.files.segments.list();
        let Some(LogSegment::Sealed(oldest)) = segments.first() else {
            return Ok(false);
        };
        if oldest.header.last() > self.durable_floor {
            return Ok(false);
        }
        let first = oldest.header.segment.first;
        // The index last: one without a log says what is missing.
        for kind in [FileKind::Log, FileKind::Index] {
            self.remove(first, kind)?;
        }
        // At last, so that a removal that failed is tried again.
        self.files.segments.remove(first);
        Ok(true)
    }

    /// Removes the oldest file of dedup entries that nobody needs: its segment
    /// is deleted, and its entries have expired or are forgotten.
    fn delete_dedup_file(&self, now: Timestamp) -> Result<bool, KeepError> {
        let segments = self.files.segments.list();
        let begin = segments.first().map_or(Sequence::ZERO, LogSegment::first);
        let oldest = Sequence(self.oldest_remembered.load(Ordering::Acquire));
        let unneeded = {
            let mut files = self.files.dedup_files.lock();
            let found = files
                .iter()
                .position(|file| file.first < begin && (file.until <= now || file.last < oldest));
            found.map(|at| files.remove(at))
        };
        match unneeded {
            Some(file) => self.remove(file.first, FileKind::Dedup).map(|()| true),
            None => Ok(false),
        }
    }

    fn remove(&self, first: Sequence, kind: FileKind) -> Result<(), KeepError> {
        let path = segment::path(&self.files.folder, first, kind);
        let remove = || durable::remove(&path);
        self.fail_on(self.files.write(WritePurpose::Delete, remove))
    }

    /// A write that failed is the journal's end; but where the disk is full, or
    /// something is scarce, the next step may do.
    fn fail_on<T>(&self, written: io::Result<T>) -> Result<T, KeepError> {
        written.map_err(|e| {
            let (is_temporary, source) = (is_temporary(&e), Arc::new(e));
            if !is_temporary {
                self.tail.fail(FatalError::Write(Arc::clone(&source)));
            }
            KeepError::Write(source)
        })
    }
}

/// The last event of the shortest prefix of a segment that has `bytes` bytes,
/// and how many it has.
fn shortest_prefix(index: &Index, bytes: u64) -> (Sequence, u64) {
    let begin = segment::HEADER_BYTES as u64;
    // An event ends where the next one begins.
    let ends = index.offsets.get(1..).unwrap_or_default();
    let ordinal = ends.partition_point(|&end| u64::from(end) < begin + bytes) as u32;
    let end = u64::from(index.offset(ordinal + 1));
    (index.sequence(ordinal), end.saturating_sub(begin))
}
