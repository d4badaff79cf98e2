//! Reading: bounded walks over the segments' indexes, in sequence order.
//!
//! Refuses to look above the durable head, whatever the files hold, and to
//! believe an event that does not have its checksum and its sequence.
//! Invariant: events that are missing from a page are below the floor that it
//! reports, since the floor rises before a segment is deleted.

use std::sync::Arc;

use bytes::Bytes;
use hookrill_core::{Event, Selection, Sequence};

use super::{
    files::Files,
    group::RECORD_HEADER_BYTES,
    index::Index,
    segment::u32_at,
    segment_set::{LogSegment, SegmentSet, between},
    selection_iter::{Direction, SelectionIter},
    wanted_types::WantedTypes,
};
use crate::journal::{
    EventPage, PAGE_ENTRIES_MAX, ReadError,
    stored::{self, DecodeError},
    tail::LiveTail,
};

/// Events with fewer bytes between them are read at once.
const GAP_BYTES_MAX: u32 = 8 * 1024;
/// So many bytes are read at once, and more if one event has more.
const READ_BYTES_MAX: u32 = 1 << 20;
/// About how much more an event weighs than its record has bytes.
const WEIGHT_OVER_RECORD: usize = 64;

/// The next events of `selection` after `after`; blocks.
pub(super) fn read_page(
    files: &Files,
    tail: &LiveTail,
    selection: &Selection,
    after: Sequence,
    bytes_max: usize,
) -> Result<EventPage, ReadError> {
    let head = tail.head();
    let from = after.max(tail.floor()).next();
    let mut builder = PageBuilder {
        segments: &files.segments,
        selection,
        types: WantedTypes::new(selection),
        events: Vec::new(),
        bytes: 0,
        bytes_max,
        looked_at: 0,
        scanned: after.max(head),
    };
    if from <= head {
        builder.add_range(tail, from, head, files.sizes.segments_per_read)?;
    }
    let page = EventPage {
        events: builder.events,
        scanned: builder.scanned,
        floor: tail.floor(),
    };
    debug_assert!(is_in_order(&page, after), "a page is in order");
    Ok(page)
}

/// Whether sequences rise, after the position asked for and up to where the
/// read looked.
fn is_in_order(page: &EventPage, after: Sequence) -> bool {
    let last = page.events.last().map_or(after, |last| last.sequence);
    page.events.is_sorted_by(|a, b| a.sequence < b.sequence)
        && page.events.iter().all(|event| event.sequence > after)
        && last <= page.scanned
}

/// Collects the events of a page.
struct PageBuilder<'s> {
    segments: &'s SegmentSet,
    selection: &'s Selection,
    types: WantedTypes<'s>,
    events: Vec<Arc<Event>>,
    bytes: usize,
    bytes_max: usize,
    /// Index entries, and what indexes that were read from their files count for.
    looked_at: usize,
    scanned: Sequence,
}

/// Where the record of an event is.
#[derive(Debug, Clone, Copy)]
struct RecordSpan {
    sequence: Sequence,
    begin: u32,
    /// Where the next one begins, or a group's header before that.
    end: u32,
}

/// What an index has for a page.
struct IndexHits {
    wanted: Vec<RecordSpan>,
    /// The first event that was not looked at, if any is left.
    next: Option<Sequence>,
}

impl PageBuilder<'_> {
    /// Adds the events between `from` and `up_to`, looking into a bounded
    /// number of segments.
    fn add_range(
        &mut self,
        tail: &LiveTail,
        from: Sequence,
        up_to: Sequence,
        segments_max: usize,
    ) -> Result<(), ReadError> {
        let segments = self.segments.list();
        for (n, segment) in between(&segments, from, up_to).iter().enumerate() {
            if n == segments_max {
                self.scanned = segment.first().previous();
                return Ok(());
            }
            let loading = self.segments.load_weight(segment);
            match self.add_segment(segment, from, up_to) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // It was deleted meanwhile, which the page's floor says.
                Err(_) if segment.last() <= tail.floor() => {}
                Err(e) => return Err(e),
            }
            self.looked_at += loading;
            let last = segment.last();
            if self.looked_at >= PAGE_ENTRIES_MAX && (from..up_to).contains(&last) {
                self.scanned = last;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Adds the events of a segment; returns whether there is room for more.
    fn add_segment(
        &mut self,
        segment: &LogSegment,
        from: Sequence,
        up_to: Sequence,
    ) -> Result<bool, ReadError> {
        let mut from = from;
        loop {
            let look = |index: &Index| self.search(index, from, up_to);
            let (hits, looked_at) = self.segments.with_index(segment, look)?;
            self.looked_at = looked_at;
            if !self.read_and_add(segment, &hits.wanted)? {
                return Ok(false);
            }
            let Some(next) = hits.next else {
                return Ok(true);
            };
            if self.looked_at >= PAGE_ENTRIES_MAX {
                self.scanned = next.previous();
                return Ok(false);
            }
            from = next;
        }
    }

    /// Searches an index for as many events as may fit; also returns how many
    /// entries the page has looked at then.
    fn search(&self, index: &Index, from: Sequence, up_to: Sequence) -> (IndexHits, usize) {
        let range = index.ordinal(from)..index.ordinal(up_to.next());
        let types = self.types.within(index);
        let range = if types.is_empty() { 0..0 } else { range };
        let ordinals = SelectionIter::new(index, self.selection, range, Direction::Forward);
        let (mut looked_at, mut bytes) = (self.looked_at, self.bytes);
        let mut hits = IndexHits {
            wanted: Vec::new(),
            next: None,
        };
        for ordinal in ordinals {
            let is_full = bytes > self.bytes_max && !hits.wanted.is_empty();
            if is_full || looked_at >= PAGE_ENTRIES_MAX {
                hits.next = Some(index.sequence(ordinal));
                break;
            }
            looked_at += 1;
            if types.may_want(index, ordinal) {
                let (begin, end) = (index.offset(ordinal), index.offset(ordinal + 1));
                bytes += end.saturating_sub(begin) as usize + WEIGHT_OVER_RECORD;
                hits.wanted.push(RecordSpan {
                    sequence: index.sequence(ordinal),
                    begin,
                    end,
                });
            }
        }
        (hits, looked_at)
    }

    /// Reads events and adds them; returns whether all of them fitted.
    fn read_and_add(
        &mut self,
        segment: &LogSegment,
        wanted: &[RecordSpan],
    ) -> Result<bool, ReadError> {
        let mut rest = wanted;
        while let Some(first) = rest.first() {
            let (now, later) = rest.split_at(one_read(rest));
            let end = now.last().map_or(first.end, |last| last.end);
            let len = end.saturating_sub(first.begin) as usize;
            let bytes = self.segments.read_log(segment, first.begin, len)?;
            for record in now {
                let event = decode(&bytes, first.begin, *record)?;
                if !self.add(event) {
                    return Ok(false);
                }
            }
            rest = later;
        }
        Ok(true)
    }

    /// Adds an event if it is wanted; returns whether it still fitted.
    fn add(&mut self, event: Event) -> bool {
        if !self.selection.wants_type(&event.draft.event_type) {
            return true;
        }
        let weight = event.draft.weight();
        if self.bytes + weight > self.bytes_max && !self.events.is_empty() {
            self.scanned = event.sequence.previous();
            return false;
        }
        self.bytes += weight;
        self.events.push(Arc::new(event));
        true
    }
}

/// How many of these records, from the first on, are worth one read.
fn one_read(records: &[RecordSpan]) -> usize {
    let Some(first) = records.first() else {
        return 0;
    };
    let apart = records.windows(2).position(|pair| {
        pair[1].begin.saturating_sub(pair[0].end) > GAP_BYTES_MAX
            || pair[1].end.saturating_sub(first.begin) > READ_BYTES_MAX
    });
    apart.map_or(records.len(), |before| before + 1)
}

/// The event of a record in `bytes`, which begin at `begin` of the log.
fn decode(bytes: &Bytes, begin: u32, record: RecordSpan) -> Result<Event, ReadError> {
    let sequence = record.sequence;
    let refuse = |source| ReadError::Decode { sequence, source };
    let at = record.begin.saturating_sub(begin) as usize;
    let end = record.end.saturating_sub(begin) as usize;
    let len = bytes.get(..end).and_then(|read| u32_at(read, at));
    let stored = at + RECORD_HEADER_BYTES;
    let until = len.map_or(usize::MAX, |len| stored.saturating_add(len as usize));
    if until > end {
        return Err(refuse(DecodeError::Checksum));
    }
    let event = stored::decode(bytes.slice(stored..until)).map_err(refuse)?;
    if event.sequence != sequence {
        return Err(refuse(DecodeError::Form));
    }
    Ok(event)
}
