//! Counting what is stored of each topic, segment by segment.
//!
//! Reads each index file once, without the indexes in memory that are for
//! readers, and makes no index of it: in memory are where the segment's records
//! begin, and those topics that may be on the page. Invariant: an event is
//! counted once, by what its segment's index says of it, and only if it is
//! above the floor and up to the head that the count began with.

use std::ops::Range;

use hookrill_core::{Sequence, Timestamp};

use super::{
    files::Files,
    index::Index,
    index_file,
    segment_set::{LogSegment, SegmentSet, between},
};
use crate::journal::{
    ReadError, StoredStats, StoredTopics, StoredTopicsQuery, stats::StatsAccumulator,
    tail::LiveTail,
};

/// A count under way: from the newest segment to the oldest.
pub(super) struct SegmentStatsScan {
    counted: StatsAccumulator,
    head: Sequence,
    /// Events up to here are not counted.
    after: Sequence,
    /// Only segments that begin up to here are still to be looked at.
    up_to: Sequence,
    /// How many segments were looked at.
    looked_at: usize,
    /// When the oldest event arrived that was counted, if all that were counted
    /// in its segment are recent.
    all_recent_from: Option<Timestamp>,
}

/// Which events of a segment are counted, by ordinal.
struct CountedRange {
    all: Range<u32>,
    /// Where the recent ones begin.
    recent_from: u32,
}

impl SegmentStatsScan {
    pub(super) fn new(query: StoredTopicsQuery, tail: &LiveTail) -> Self {
        let (floor, head) = (tail.floor(), tail.head());
        Self {
            counted: StatsAccumulator::new(query),
            head,
            after: floor,
            up_to: head,
            looked_at: 0,
            all_recent_from: None,
        }
    }

    /// Counts the next segment towards the oldest; returns whether there are
    /// more. Blocks.
    pub(super) fn step(&mut self, files: &Files, tail: &LiveTail) -> Result<bool, ReadError> {
        let segments = files.segments.list();
        let Some(segment) = between(&segments, self.after.next(), self.up_to).last() else {
            return Ok(false);
        };
        if self.looked_at == files.sizes.segments_counted {
            self.after = self.up_to;
            return Ok(false);
        }
        self.looked_at += 1;
        match self.count(&files.segments, segment) {
            Ok(()) => {}
            // It was deleted meanwhile, and all before it.
            Err(_) if segment.last() <= tail.floor() => return Ok(false),
            // What can't be read is not counted.
            Err(e) if e.is_damage() => {}
            Err(e) => return Err(e),
        }
        let up_to = segment.first().previous();
        debug_assert!(up_to < self.up_to, "each segment once");
        self.up_to = up_to;
        Ok(self.up_to > self.after)
    }

    pub(super) fn finish(self) -> StoredTopics {
        let asked = self.counted.query.recent_from;
        // Events before the oldest may be recent too, and are not counted.
        let is_cut = self.after > Sequence::ZERO;
        let recent_from = match self.all_recent_from {
            Some(arrival) if is_cut => arrival.max(asked),
            _ => asked,
        };
        self.counted.finish((self.after, self.head), recent_from)
    }

    fn count(&mut self, segments: &SegmentSet, segment: &LogSegment) -> Result<(), ReadError> {
        let LogSegment::Sealed(sealed) = segment else {
            return self.count_by_index(segments, segment);
        };
        let file = segments.index_file(&sealed.header)?.unwrap_or_default();
        let Some((index, topics)) = index_file::offsets_and_topics(&sealed.header, &file) else {
            // From the log, as for readers.
            return self.count_by_index(segments, segment);
        };
        let offset = |ordinal| Ok(index.offset(ordinal));
        let range = self.range(&index);
        let counted = self.counted_range(segments, segment, range, offset)?;
        self.counted.add_to_total(&stats_of_all(&index, &counted));
        for (name, ordinals) in topics {
            if self.counted.is_beyond(name) {
                break;
            }
            if self.counted.wants(name) {
                let ordinals: Vec<_> = ordinals.iter().map(|&n| u32::from_le_bytes(n)).collect();
                self.add(name, &stats_of(&index, &ordinals, &counted));
            }
        }
        Ok(())
    }

    /// Counts by an index in memory. It is mostly that of the segment that is
    /// written; its writer waits for the last look.
    fn count_by_index(
        &mut self,
        segments: &SegmentSet,
        segment: &LogSegment,
    ) -> Result<(), ReadError> {
        let range = segments.with_index(segment, |index| self.range(index))?;
        let offset = |ordinal| segments.with_index(segment, |index| index.offset(ordinal));
        let counted = self.counted_range(segments, segment, range, offset)?;
        segments.with_index(segment, |index| {
            self.counted.add_to_total(&stats_of_all(index, &counted));
            for (name, ordinals) in &index.topics {
                if self.counted.wants(name) {
                    self.add(name, &stats_of(index, ordinals, &counted));
                }
            }
        })
    }

    fn add(&mut self, name: &str, stats: &StoredStats) {
        if stats.events > 0 {
            self.counted.add(name, stats);
        }
    }

    fn range(&self, index: &Index) -> Range<u32> {
        index.ordinal(self.after.next())..index.ordinal(self.head.next())
    }

    /// Searches `all` for the first recent event: arrivals rise with the
    /// ordinals, but for moments and a clock that was set back.
    fn counted_range(
        &mut self,
        segments: &SegmentSet,
        segment: &LogSegment,
        all: Range<u32>,
        offset: impl Fn(u32) -> Result<u32, ReadError>,
    ) -> Result<CountedRange, ReadError> {
        let from = self.counted.query.recent_from;
        let arrival = |ordinal| Ok::<_, ReadError>(segments.arrival(segment, offset(ordinal)?)?);
        let (mut recent_from, mut older) = (all.end, all.start);
        if segment.arrivals().is_some_and(|(_, latest)| latest >= from) {
            while older < recent_from {
                let middle = older + (recent_from - older) / 2;
                if arrival(middle)? >= from {
                    recent_from = middle;
                } else {
                    older = middle + 1;
                }
            }
        }
        self.all_recent_from = if recent_from == all.start && !all.is_empty() {
            Some(arrival(all.start)?)
        } else {
            None
        };
        Ok(CountedRange { all, recent_from })
    }
}

/// What is counted of a whole segment.
fn stats_of_all(index: &Index, counted: &CountedRange) -> StoredStats {
    let CountedRange { all, recent_from } = counted;
    let (begin, end) = (index.offset(all.start), index.offset(all.end));
    let first = index.sequence(all.start);
    let last = index.sequence(all.end).previous();
    StoredStats {
        events: all.len() as u64,
        bytes: end.saturating_sub(begin).into(),
        recent: u64::from(all.end - recent_from),
        span: (!all.is_empty()).then_some((first, last)),
    }
}

/// What is counted of the topic with these ordinals. An event ends where the
/// next one begins.
fn stats_of(index: &Index, ordinals: &[u32], counted: &CountedRange) -> StoredStats {
    let CountedRange { all, recent_from } = counted;
    let begin = ordinals.partition_point(|ordinal| ordinal < &all.start);
    let end = ordinals.partition_point(|ordinal| ordinal < &all.end);
    let in_range = ordinals.get(begin..end).unwrap_or_default();
    let older = in_range.partition_point(|ordinal| ordinal < recent_from);
    let bytes = in_range.iter().map(|&ordinal| {
        let next = index.offset(ordinal + 1);
        u64::from(next.saturating_sub(index.offset(ordinal)))
    });
    let span = in_range.first().zip(in_range.last());
    StoredStats {
        events: in_range.len() as u64,
        bytes: bytes.sum(),
        recent: (in_range.len() - older) as u64,
        span: span.map(|(&first, &last)| (index.sequence(first), index.sequence(last))),
    }
}
