//! Reading backwards: the newest events before a position, the newest first.
//!
//! For lists that people look at. What is damaged is passed over in silence: whoever
//! reads forward is told of it. Invariant: a read looks at a bounded number of entries,
//! segments and bytes, and says how far it looked.

use std::sync::Arc;

use hookrill_core::{Event, Selection, Sequence};

use super::{
    files::Files,
    index::Index,
    intact::decode_record,
    segment_set::{LogSegment, between},
    selection_iter::{Direction, SelectionIter},
    wanted_types::WantedTypes,
};
use crate::journal::{EventsBefore, PAGE_ENTRIES_MAX, ReadError, tail::LiveTail};

/// Where the record of an event is.
struct BackwardSpan {
    sequence: Sequence,
    begin: u32,
    end: u32,
}

/// A read under way.
struct BackwardReader<'s> {
    selection: &'s Selection,
    types: WantedTypes<'s>,
    /// How many events and bytes there is room for.
    count: usize,
    bytes_max: usize,
    bytes: usize,
    looked_at: usize,
    found: EventsBefore,
}

/// The newest events of `selection` before `before`; blocks.
pub(super) fn read_back(
    files: &Files,
    tail: &LiveTail,
    selection: &Selection,
    before: Sequence,
    count: usize,
    bytes_max: usize,
) -> Result<EventsBefore, ReadError> {
    let from = tail.floor().next();
    let up_to = before.previous().min(tail.head());
    let mut reader = BackwardReader {
        selection,
        types: WantedTypes::new(selection),
        count,
        bytes_max,
        bytes: 0,
        looked_at: 0,
        found: EventsBefore {
            events: Vec::new(),
            from,
        },
    };
    if up_to < from {
        return Ok(reader.found);
    }
    let segments = files.segments.list();
    let newest_first = between(&segments, from, up_to).iter().rev();
    for (n, segment) in newest_first.enumerate() {
        if n == files.sizes.segments_per_read {
            reader.found.from = segment.last().next();
            break;
        }
        reader.looked_at += files.segments.load_weight(segment);
        match reader.add_segment(files, segment, from, up_to) {
            Ok(true) => {}
            Ok(false) => break,
            // It was deleted meanwhile, and all before it.
            Err(_) if segment.last() <= tail.floor() => break,
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
    }
    debug_assert!(
        reader
            .found
            .events
            .is_sorted_by(|a, b| a.sequence > b.sequence)
    );
    Ok(reader.found)
}

impl BackwardReader<'_> {
    /// Adds the events of a segment; returns whether there is room for more.
    fn add_segment(
        &mut self,
        files: &Files,
        segment: &LogSegment,
        from: Sequence,
        up_to: Sequence,
    ) -> Result<bool, ReadError> {
        let look = |index: &Index| self.search(index, from, up_to);
        let (spans, looked_at, next) = files.segments.with_index(segment, look)?;
        self.looked_at = looked_at;
        for span in spans {
            let len = span.end.saturating_sub(span.begin) as usize;
            let Ok(bytes) = files.segments.read_log(segment, span.begin, len) else {
                continue;
            };
            let Ok(event) = decode_record(&bytes, 0, len, span.sequence) else {
                continue;
            };
            if self.selection.wants_type(&event.draft.event_type) {
                self.add(event);
            }
        }
        if let Some(next) = next {
            self.found.from = next;
        }
        Ok(next.is_none())
    }

    /// Searches an index for as many events as there is room for; also returns how many
    /// entries were looked at, and down to where, if that was not all of it.
    fn search(
        &self,
        index: &Index,
        from: Sequence,
        up_to: Sequence,
    ) -> (Vec<BackwardSpan>, usize, Option<Sequence>) {
        let range = index.ordinal(from)..index.ordinal(up_to.next());
        let types = self.types.within(index);
        let range = if types.is_empty(index) { 0..0 } else { range };
        let ordinals = SelectionIter::new(index, self.selection, range, Direction::Backward);
        let (mut looked_at, mut bytes) = (self.looked_at, self.bytes);
        let mut spans: Vec<BackwardSpan> = Vec::new();
        for ordinal in ordinals {
            let found = self.found.events.len() + spans.len();
            let is_full = found >= self.count || (bytes > self.bytes_max && found > 0);
            if is_full || looked_at >= PAGE_ENTRIES_MAX {
                let next = index.sequence(ordinal).next();
                return (spans, looked_at, Some(next));
            }
            looked_at += 1;
            if index.is_missing(ordinal) || !types.may_want(index, ordinal) {
                continue;
            }
            let (begin, end) = (index.offset(ordinal), index.offset(ordinal + 1));
            bytes += end.saturating_sub(begin) as usize;
            spans.push(BackwardSpan {
                sequence: index.sequence(ordinal),
                begin,
                end,
            });
        }
        (spans, looked_at, None)
    }

    fn add(&mut self, event: Event) {
        self.bytes += event.draft.weight();
        self.found.events.push(Arc::new(event));
    }
}
