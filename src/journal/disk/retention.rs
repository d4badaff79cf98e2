//! Deletes a prefix of the journal, by age and bytes, in small steps.
//!
//! The floor rises event by event; files go once all in them is below it.
//! Invariant: the floor is raised for readers and made durable before the
//! first file below it is removed. So whoever finds an event missing finds a
//! floor above it; and after a crash files may be left below the floor, where
//! nobody looks, until the next start removes them.

use std::{
    io,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use hookrill_core::{Clock, Sequence, Timestamp};

use super::{
    floor,
    index::Index,
    pages::between,
    segment::{self, FileKind},
    shelf::Segment,
    store::{Purpose, Store},
};
use crate::{
    durable,
    journal::{ReadError, Retention, live::Live, ticker::Next},
};

/// The most events whose age one step looks at.
const STEP_EVENTS_MAX: usize = 1024;

/// What retention has.
pub(super) struct Retainer {
    pub(super) store: Arc<Store>,
    pub(super) live: Arc<Live>,
    pub(super) clock: Clock,
    pub(super) retention: Retention,
    /// Below it no delivery is remembered.
    pub(super) oldest_remembered: Arc<AtomicU64>,
    /// The floor that is durable.
    pub(super) durable: Sequence,
}

impl Retainer {
    /// Deletes some of what is to go; blocks.
    pub(super) fn step(&mut self) -> Result<Next, ReadError> {
        let now = self.clock.now();
        let floor = self.live.floor();
        let goal = self.goal(floor, now.minus(self.retention.age))?;
        if goal > self.durable {
            self.raise_floor(goal)?;
            return Ok(Next::Now);
        }
        let begun = now.minus(self.store.sizes.segment_age);
        self.fail_on(self.store.log().retire(&self.store, floor, begun))?;
        let deleted = self.delete_segment()? || self.delete_dedup_file(now)?;
        Ok(if deleted { Next::Now } else { Next::Wait })
    }

    /// Seals the oldest of the segments that wait for it; says whether there
    /// was one. Blocks.
    pub(super) fn seal(&self) -> Result<bool, ReadError> {
        let mut sealed = false;
        let written = self.store.seal_oldest().map(|one| sealed = one);
        self.fail_on(written)?;
        Ok(sealed)
    }

    /// How far the floor is to rise in this step.
    fn goal(&self, floor: Sequence, oldest: Timestamp) -> Result<Sequence, ReadError> {
        let floor = self.beyond_bytes(floor)?;
        let mut goal = floor;
        let (head, mut looked_at) = (self.live.head(), 0);
        let segments = self.store.shelf.segments();
        for segment in between(&segments, floor.next(), head) {
            if let Segment::Sealed(sealed) = segment
                && sealed.facts.latest < oldest
            {
                goal = sealed.facts.last();
                continue;
            }
            let (last, arrivals) = (segment.last().min(head), segment.arrivals());
            let mut sequence = goal;
            while sequence < last && looked_at < STEP_EVENTS_MAX {
                sequence = sequence.next();
                looked_at += 1;
                let arrival = self.arrival(segment, sequence)?;
                // One outside of what the index says is damage: it goes with
                // the next one that goes.
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
    fn beyond_bytes(&self, floor: Sequence) -> Result<Sequence, ReadError> {
        let segments = self.store.shelf.segments();
        let head = self.live.head();
        let held = between(&segments, floor.next(), head);
        let mut surplus = held.iter().map(Segment::bytes).sum::<u64>();
        surplus = surplus.saturating_sub(self.retention.bytes);
        let mut goal = floor;
        for segment in held {
            // The first one's bytes below the floor are counted, and taken off
            // here.
            let look = |index: &Index| least_prefix(index, surplus);
            let taken = match segment.bytes() {
                _ if surplus == 0 => return Ok(goal),
                bytes if bytes <= surplus => (segment.last(), bytes),
                _ => self.store.shelf.look(segment, look)?,
            };
            goal = goal.max(taken.0).min(head);
            surplus = surplus.saturating_sub(taken.1);
        }
        Ok(goal)
    }

    /// When an event arrived, as its record says. Nothing is checked: a
    /// damaged event only has to go, some time.
    fn arrival(&self, segment: &Segment, sequence: Sequence) -> Result<Timestamp, ReadError> {
        let shelf = &self.store.shelf;
        let place = |index: &Index| index.offset(index.number(sequence));
        let offset = shelf.look(segment, place)?;
        Ok(shelf.arrival(segment, offset)?)
    }

    fn raise_floor(&mut self, floor: Sequence) -> Result<(), ReadError> {
        self.live.raise_floor(floor);
        let store = || floor::store(&self.store.folder, floor);
        self.fail_on(self.store.write(Purpose::Floor, store))?;
        self.durable = floor;
        Ok(())
    }

    /// Removes the oldest segment, if all of it is below the floor.
    fn delete_segment(&self) -> Result<bool, ReadError> {
        let segments = self.store.shelf.segments();
        let Some(Segment::Sealed(oldest)) = segments.first() else {
            return Ok(false);
        };
        if oldest.facts.last() > self.durable {
            return Ok(false);
        }
        let first = oldest.facts.head.first;
        self.store.shelf.remove(first);
        // The index last: one without a log says what is missing.
        for kind in [FileKind::Log, FileKind::Index] {
            self.remove(first, kind)?;
        }
        Ok(true)
    }

    /// Removes the oldest file of dedup entries that nobody needs: its segment
    /// is gone, and its entries have expired or are forgotten.
    fn delete_dedup_file(&self, now: Timestamp) -> Result<bool, ReadError> {
        let segments = self.store.shelf.segments();
        let begin = segments.first().map_or(Sequence::ZERO, Segment::first);
        let oldest = Sequence(self.oldest_remembered.load(Ordering::Acquire));
        let found = {
            let files = self.store.dedup_files.lock();
            let mut files = files.unwrap_or_else(PoisonError::into_inner);
            let needless = files
                .iter()
                .position(|file| file.first < begin && (file.until <= now || file.last < oldest));
            needless.map(|place| files.remove(place))
        };
        match found {
            Some(file) => self.remove(file.first, FileKind::Dedup).map(|()| true),
            None => Ok(false),
        }
    }

    fn remove(&self, first: Sequence, kind: FileKind) -> Result<(), ReadError> {
        let path = segment::path(&self.store.folder, first, kind);
        let removed = self.store.write(Purpose::Delete, || durable::remove(&path));
        self.fail_on(removed)
    }

    /// A write that failed is the journal's failure; but where it is only room
    /// that is missing, the next step may make some.
    fn fail_on(&self, written: io::Result<()>) -> Result<(), ReadError> {
        if let Err(e) = &written
            && e.kind() != io::ErrorKind::StorageFull
        {
            self.live.fail(&e.to_string());
        }
        written.map_err(ReadError::from)
    }
}

/// The last event of the shortest prefix of a segment that has `bytes` bytes,
/// and how many it has.
fn least_prefix(index: &Index, bytes: u64) -> (Sequence, u64) {
    let begin = segment::HEAD_BYTES as u64;
    // An event ends where the next one begins.
    let ends = index.offsets.get(1..).unwrap_or_default();
    let number = ends.partition_point(|&end| u64::from(end) < begin + bytes) as u32;
    let end = u64::from(index.offset(number + 1));
    (index.sequence(number), end.saturating_sub(begin))
}
