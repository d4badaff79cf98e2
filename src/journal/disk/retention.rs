//! Deletes the oldest events, by age and bytes, in small steps.
//!
//! The floor rises event by event; files are deleted once all in them is below
//! it.
//!
//! An event that is stamped with a time that has not come yet says nothing about its
//! age: it goes with the next one that is old enough. Otherwise one such event would
//! keep all behind it.
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

use hookrill_core::{Sequence, SteadyClock, Timestamp};
use parking_lot::Mutex;

use super::{
    dedup_file::{DedupHeader, stored_entries_max},
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
    pub(super) clock: SteadyClock,
    pub(super) retention: Retention,
    /// How many deliveries are remembered.
    pub(super) dedup_entries_max: u64,
    /// The sequence below which no delivery is remembered.
    pub(super) oldest_remembered: Arc<AtomicU64>,
    /// The floor that is durable.
    pub(super) durable_floor: Sequence,
    /// Events at the front whose stamps say nothing, found in an earlier step.
    pub(super) passed: Option<Passed>,
}

/// Events behind the floor that were passed over.
pub(super) struct Passed {
    up_to: Sequence,
    /// The earliest time that one of them is stamped with: from when it is old enough
    /// on, all are looked at again.
    earliest: Timestamp,
}

/// What the stamp of an event says.
enum Age {
    /// It is to be deleted.
    Old,
    /// It is to be kept, and all behind it.
    Young,
    /// Nothing: it goes with the next one that is to be deleted.
    Unknown(Timestamp),
}

impl Age {
    /// Of a damaged event: looked at again only where what is behind it is old
    /// enough.
    const UNREADABLE: Self = Self::Unknown(Timestamp::from_unix_ms(u64::MAX));
}

impl Pruner {
    /// Deletes some of what is to be deleted; blocks.
    pub(super) fn step(&mut self) -> Result<NextRun, KeepError> {
        let now = self.clock.now();
        let floor = self.tail.floor();
        let by_bytes = self.goal_by_bytes(floor)?;
        let (goal, is_done) = self.goal_by_age(by_bytes, now.minus(self.retention.age))?;
        if goal > self.durable_floor {
            self.raise_floor(goal)?;
            return Ok(NextRun::AtOnce);
        }
        if !is_done {
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

    /// How far the floor is to rise from `goal` in this step, and whether all was looked
    /// at.
    fn goal_by_age(
        &mut self,
        mut goal: Sequence,
        oldest: Timestamp,
    ) -> Result<(Sequence, bool), ReadError> {
        let head = self.tail.head();
        let mut passed = self.passed.take();
        passed = passed.filter(|passed| passed.up_to > goal && passed.earliest >= oldest);
        let mut at = passed.as_ref().map_or(goal, |passed| passed.up_to);
        let mut earliest = passed.map_or(Timestamp::from_unix_ms(u64::MAX), |it| it.earliest);
        let (latest, mut looked_at) = (self.clock.latest(), 0);
        let segments = self.files.segments.list();
        for segment in between(&segments, at.next(), head) {
            if let LogSegment::Sealed(sealed) = segment
                && sealed.header.latest < oldest
            {
                (goal, at) = (sealed.header.last(), sealed.header.last());
                continue;
            }
            let last = segment.last().min(head);
            while at < last {
                if looked_at == STEP_EVENTS_MAX {
                    self.pass_over(goal, at, earliest);
                    return Ok((goal, false));
                }
                let next = at.next().max(segment.first());
                looked_at += 1;
                match self.age(segment, next, oldest, latest)? {
                    Age::Old => goal = next,
                    Age::Young => {
                        self.pass_over(goal, at, earliest);
                        return Ok((goal, true));
                    }
                    Age::Unknown(stamped) => earliest = earliest.min(stamped),
                }
                at = next;
            }
        }
        self.pass_over(goal, at, earliest);
        Ok((goal, true))
    }

    /// What is between `goal` and `up_to` need not be looked at again for now.
    fn pass_over(&mut self, goal: Sequence, up_to: Sequence, earliest: Timestamp) {
        self.passed = (up_to > goal).then_some(Passed { up_to, earliest });
    }

    /// Whether an event is older than `oldest`, where no honest stamp is later than
    /// `latest`.
    fn age(
        &self,
        segment: &LogSegment,
        sequence: Sequence,
        oldest: Timestamp,
        latest: Timestamp,
    ) -> Result<Age, ReadError> {
        let arrival = match self.arrival(segment, sequence) {
            Ok(arrival) => arrival,
            Err(e) if e.is_damage() => return Ok(Age::UNREADABLE),
            Err(e) => return Err(e),
        };
        // An arrival outside of what the index says is damage.
        let is_damaged = segment
            .arrivals()
            .is_some_and(|(first, last)| arrival < first || last < arrival);
        Ok(if is_damaged {
            Age::UNREADABLE
        } else if arrival > latest {
            Age::Unknown(arrival)
        } else if arrival < oldest {
            Age::Old
        } else {
            Age::Young
        })
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
                match self.files.segments.with_index(segment, look) {
                    Ok(prefix) => prefix,
                    Err(e) if e.is_damage() => (segment.last(), bytes),
                    Err(e) => return Err(e),
                }
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
    /// is deleted, and its entries have expired or are forgotten, or there are more than
    /// enough behind it.
    fn delete_dedup_file(&self, now: Timestamp) -> Result<bool, KeepError> {
        let segments = self.files.segments.list();
        let begin = segments.first().map_or(Sequence::ZERO, LogSegment::first);
        let oldest = Sequence(self.oldest_remembered.load(Ordering::Acquire));
        let unneeded = {
            let mut files = self.files.dedup_files.lock();
            let entries: u64 = files.iter().map(|file| file.entries).sum();
            // Oldest first: what is behind it is enough.
            let is_surplus = |file: &DedupHeader| {
                entries.saturating_sub(file.entries) >= stored_entries_max(self.dedup_entries_max)
            };
            let found = files.iter().position(|file| {
                let is_unneeded = file.until <= now || file.last < oldest || is_surplus(file);
                file.first < begin && is_unneeded
            });
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
