//! StatsAccumulator what there is of each topic, segment by segment.
//!
//! Reads each index file once, past the indexes that are kept for readers, and
//! makes no index of it: of a segment only where its records begin is in
//! memory, and of its topics those that may be on the page. Invariant: an event
//! is counted by what its segment's index says of it, once, and only where it
//! is above the floor and up to the head that the walk began with.

use std::ops::Range;

use hookrill_core::{Sequence, Timestamp};

use super::{
    index::Index,
    index_file,
    pages::between,
    shelf::{Segment, Shelf},
    store::Store,
};
use crate::journal::{
    ReadError, StoredStats, StoredTopics, StoredTopicsQuery, live::Live, stats::StatsAccumulator,
};

/// Where the walk is: from the newest segment to the oldest.
pub(super) struct Stocktaking {
    counting: StatsAccumulator,
    head: Sequence,
    /// What is not above it is not counted.
    after: Sequence,
    /// Only segments that begin up to here are still to be looked at.
    upto: Sequence,
    /// How many segments were looked at.
    looked_at: usize,
    /// When the oldest event arrived that was looked at, if it and all before
    /// it are recent.
    all_recent_from: Option<Timestamp>,
}

/// Which events of a segment are counted, by number.
struct Counted {
    range: Range<u32>,
    /// From here on they are recent.
    recent: u32,
}

impl Stocktaking {
    pub(super) fn new(query: StoredTopicsQuery, live: &Live) -> Self {
        let (floor, head) = (live.floor(), live.head());
        Self {
            counting: StatsAccumulator::new(query),
            head,
            after: floor,
            upto: head,
            looked_at: 0,
            all_recent_from: None,
        }
    }

    /// Looks into the next segment towards the oldest; says whether there are
    /// more. Blocks.
    pub(super) fn look(&mut self, store: &Store, live: &Live) -> Result<bool, ReadError> {
        let segments = store.shelf.segments();
        let Some(segment) = between(&segments, self.after.next(), self.upto).last() else {
            return Ok(false);
        };
        if self.looked_at == store.sizes.segments_counted {
            self.after = self.upto;
            return Ok(false);
        }
        self.looked_at += 1;
        match self.count(&store.shelf, segment) {
            Ok(()) => {}
            // It was deleted meanwhile, and all before it.
            Err(_) if segment.last() <= live.floor() => return Ok(false),
            Err(e) => return Err(e),
        }
        self.upto = segment.first().previous();
        Ok(self.upto > self.after)
    }

    pub(super) fn finish(self) -> StoredTopics {
        let asked = self.counting.query.recent_from;
        // Where something before them is not counted, it may be recent too.
        let cut = self.all_recent_from.filter(|_| self.after > Sequence::ZERO);
        let recent_from = cut.map_or(asked, |from| from.max(asked));
        self.counting.finish((self.after, self.head), recent_from)
    }

    fn count(&mut self, shelf: &Shelf, segment: &Segment) -> Result<(), ReadError> {
        let Segment::Sealed(sealed) = segment else {
            return self.count_index(shelf, segment);
        };
        let file = shelf.index_file(&sealed.facts)?.unwrap_or_default();
        let Some((index, topics)) = index_file::catalogue(&sealed.facts, &file) else {
            // From the log, as for those who read.
            return self.count_index(shelf, segment);
        };
        let offset = |number| Ok(index.offset(number));
        let range = self.range(&index);
        let counted = self.counted(shelf, segment, range, offset)?;
        self.counting.add_to_all(&all(&index, &counted));
        for (name, numbers) in topics {
            if self.counting.is_beyond(name) {
                break;
            }
            if self.counting.wants(name) {
                let numbers: Vec<_> = numbers.iter().map(|&n| u32::from_le_bytes(n)).collect();
                self.add(name, &held(&index, &numbers, &counted));
            }
        }
        Ok(())
    }

    /// Counts by an index in memory: the one that is written, mostly, whose
    /// writer waits for the last look.
    fn count_index(&mut self, shelf: &Shelf, segment: &Segment) -> Result<(), ReadError> {
        let range = shelf.look(segment, |index| self.range(index))?;
        let offset = |number| shelf.look(segment, |index: &Index| index.offset(number));
        let counted = self.counted(shelf, segment, range, offset)?;
        shelf.look(segment, |index| {
            self.counting.add_to_all(&all(index, &counted));
            for (name, numbers) in &index.topics {
                if self.counting.wants(name) {
                    self.add(name, &held(index, numbers, &counted));
                }
            }
        })
    }

    fn add(&mut self, name: &str, held: &StoredStats) {
        if held.events > 0 {
            self.counting.add(name, held);
        }
    }

    fn range(&self, index: &Index) -> Range<u32> {
        index.number(self.after.next())..index.number(self.head.next())
    }

    /// Looks for the first recent event among those of `range`: arrivals rise
    /// with the numbers, but for moments and a clock that was set back.
    fn counted(
        &mut self,
        shelf: &Shelf,
        segment: &Segment,
        range: Range<u32>,
        offset: impl Fn(u32) -> Result<u32, ReadError>,
    ) -> Result<Counted, ReadError> {
        let from = self.counting.query.recent_from;
        let arrival = |number| Ok::<_, ReadError>(shelf.arrival(segment, offset(number)?)?);
        let (mut recent, mut older) = (range.end, range.start);
        if segment.arrivals().is_some_and(|(_, latest)| latest >= from) {
            while older < recent {
                let middle = older + (recent - older) / 2;
                match arrival(middle)? >= from {
                    true => recent = middle,
                    false => older = middle + 1,
                }
            }
        }
        let all_recent = recent == range.start && !range.is_empty();
        self.all_recent_from = match all_recent {
            true => Some(arrival(range.start)?),
            false => None,
        };
        Ok(Counted { range, recent })
    }
}

/// What the whole segment has.
fn all(index: &Index, counted: &Counted) -> StoredStats {
    let Counted { range, recent } = counted;
    let bytes = index
        .offset(range.end)
        .saturating_sub(index.offset(range.start));
    let span = (
        index.sequence(range.start),
        index.sequence(range.end).previous(),
    );
    StoredStats {
        events: range.len() as u64,
        bytes: bytes.into(),
        recent: u64::from(range.end - recent),
        span: (!range.is_empty()).then_some(span),
    }
}

/// What it has of the topic with these numbers. An event ends where the next
/// one begins.
fn held(index: &Index, numbers: &[u32], counted: &Counted) -> StoredStats {
    let Counted { range, recent } = counted;
    let begin = numbers.partition_point(|number| number < &range.start);
    let end = numbers.partition_point(|number| number < &range.end);
    let numbers = numbers.get(begin..end).unwrap_or_default();
    let older = numbers.partition_point(|number| number < recent);
    let bytes = |&number| {
        u64::from(
            index
                .offset(number + 1)
                .saturating_sub(index.offset(number)),
        )
    };
    let span = numbers.first().zip(numbers.last());
    StoredStats {
        events: numbers.len() as u64,
        bytes: numbers.iter().map(bytes).sum(),
        recent: (numbers.len() - older) as u64,
        span: span.map(|(&first, &last)| (index.sequence(first), index.sequence(last))),
    }
}
