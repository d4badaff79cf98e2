//! Reading: bounded walks over the segments' indexes, in sequence order.
//!
//! Refuses to look above the durable head, whatever the files hold, and to
//! believe an event that does not have its checksum and its sequence.
//! Invariant: events that are missing from a page are below the floor that it
//! reports, since the floor rises before a segment is deleted; or the page says
//! that they are damaged, or lost in an earlier salvage.

use std::sync::Arc;

use bytes::Bytes;
use hookrill_core::{Event, Selection, Sequence};

use super::{
    damage::{FoundDamage, Stretch},
    files::Files,
    index::Index,
    intact::decode_record,
    segment_set::{LogSegment, SegmentSet, between},
    selection_iter::{Direction, SelectionIter},
    wanted_types::WantedTypes,
};
use crate::{
    journal::{EventPage, PAGE_ENTRIES_MAX, ReadError, stored::DecodeError, tail::LiveTail},
    telemetry::with_causes,
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
        known_damage: &files.damage,
        tail,
        selection,
        types: WantedTypes::new(selection),
        gap: None,
        events: Vec::new(),
        bytes: 0,
        bytes_max,
        looked_at: 0,
        scanned: after.max(head),
    };
    if from <= head {
        builder.add_range(from, head, files.sizes.segments_per_read)?;
    }
    let is_damaged = builder.gap.is_some();
    if let Some(gap) = builder.gap {
        assert!(builder.events.is_empty(), "a page has events or a gap");
        builder.scanned = gap.last;
        if let Some(why) = gap.why {
            files.damage.add(&gap.damaged, &with_causes(&why));
        }
    }
    let page = EventPage {
        events: builder.events,
        scanned: builder.scanned,
        floor: tail.floor(),
        is_damaged,
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
    known_damage: &'s FoundDamage,
    tail: &'s LiveTail,
    selection: &'s Selection,
    types: WantedTypes<'s>,
    events: Vec<Arc<Event>>,
    bytes: usize,
    bytes_max: usize,
    /// Index entries, and what indexes that were read from their files count for.
    looked_at: usize,
    scanned: Sequence,
    /// What is not there, if that is all that the page has met.
    gap: Option<MetGap>,
}

/// Events of a selection that are not there, and none that is.
struct MetGap {
    last: Sequence,
    /// Those that are damaged: not those that a salvage has given up before.
    damaged: Vec<Stretch>,
    /// How the first of them is.
    why: Option<ReadError>,
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
        from: Sequence,
        up_to: Sequence,
        segments_max: usize,
    ) -> Result<(), ReadError> {
        let segments = self.segments.list();
        let mut expected = from;
        for (n, segment) in between(&segments, from, up_to).iter().enumerate() {
            if n == segments_max {
                self.scanned = segment.first().previous();
                return Ok(());
            }
            // What lies between two segments was lost in a salvage.
            if !self.pass_hole(expected, segment.first().previous()) {
                return Ok(());
            }
            expected = segment.last().next();
            let loading = self.segments.load_weight(segment);
            match self.add_segment(segment, from, up_to) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // It was deleted meanwhile, which the page's floor says.
                Err(_) if segment.last() <= self.tail.floor() => {}
                Err(e) if e.is_damage() => {
                    let first = segment.first().max(from);
                    let last = segment.last().min(up_to);
                    if !self.meet_damage(first, last, e) {
                        return Ok(());
                    }
                }
                Err(e) => return Err(e),
            }
            self.looked_at += loading;
            let last = segment.last();
            if self.looked_at >= PAGE_ENTRIES_MAX && (from..up_to).contains(&last) {
                self.scanned = last;
                return Ok(());
            }
        }
        self.pass_hole(expected, up_to);
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
        let range = if types.is_empty(index) { 0..0 } else { range };
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
                let begin = index.offset(ordinal);
                let end = if index.is_missing(ordinal) {
                    begin
                } else {
                    index.offset(ordinal + 1)
                };
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
            let bytes = self.read(segment, first.begin, end);
            for record in now {
                let event = match &bytes {
                    Ok(bytes) => decode(bytes, first.begin, *record),
                    // A disk that does not give out one part may the others.
                    Err(e) if e.is_damage() => self.read_one(segment, *record),
                    Err(e) => Err(e.clone()),
                };
                if !self.add_or_pass(segment, event, *record)? {
                    return Ok(false);
                }
            }
            rest = later;
        }
        Ok(true)
    }

    fn read(&self, segment: &LogSegment, begin: u32, end: u32) -> Result<Bytes, ReadError> {
        let len = end.saturating_sub(begin) as usize;
        Ok(self.segments.read_log(segment, begin, len)?)
    }

    fn read_one(&self, segment: &LogSegment, record: RecordSpan) -> Result<Event, ReadError> {
        let bytes = self.read(segment, record.begin, record.end)?;
        decode(&bytes, record.begin, record)
    }

    /// Adds an event, or passes it if it is damaged; returns whether the page
    /// may go on.
    fn add_or_pass(
        &mut self,
        segment: &LogSegment,
        event: Result<Event, ReadError>,
        record: RecordSpan,
    ) -> Result<bool, ReadError> {
        let sequence = record.sequence;
        match event {
            // What is whole behind the damage is the next page's.
            Ok(_) if self.gap.is_some() => Ok(false),
            Ok(event) => Ok(self.add(event)),
            Err(e) if e.is_damage() => Ok(self.meet_damage(sequence, sequence, e)),
            Err(ReadError::Decode {
                source: DecodeError::Newer(_),
                ..
            }) if self.is_no_newer(segment, record)? => {
                let source = DecodeError::Checksum;
                let damage = ReadError::Decode { sequence, source };
                Ok(self.meet_damage(sequence, sequence, damage))
            }
            Err(e) => Err(e),
        }
    }

    /// Whether the version of this event was not written, but has changed since:
    /// then its group does not have its checksum.
    fn is_no_newer(&self, segment: &LogSegment, record: RecordSpan) -> Result<bool, ReadError> {
        if self.known_damage.has(record.sequence) {
            return Ok(true);
        }
        let is_whole = self.segments.is_group_whole(segment, record.begin)?;
        Ok(!is_whole)
    }

    /// Notes that events are damaged; returns whether the page may go on.
    fn meet_damage(&mut self, first: Sequence, last: Sequence, why: ReadError) -> bool {
        // Deleted meanwhile, with the file that could not be read: no damage.
        if last <= self.tail.floor() {
            return true;
        }
        if !self.pass_gap(first, last) {
            return false;
        }
        if let Some(gap) = &mut self.gap {
            gap.why.get_or_insert(why);
            match gap.damaged.last_mut() {
                Some((_, end)) if end.next() == first => *end = last,
                _ => gap.damaged.push((first, last)),
            }
        }
        true
    }

    /// Passes events that are in no segment, if there are any from `first` to
    /// `last`; returns whether the page may go on.
    fn pass_hole(&mut self, first: Sequence, last: Sequence) -> bool {
        first > last || last <= self.tail.floor() || self.pass_gap(first, last)
    }

    /// Passes events that are not there; returns whether the page may go on. One
    /// that has events ends before them; else it looks how far they go.
    fn pass_gap(&mut self, first: Sequence, last: Sequence) -> bool {
        if !self.events.is_empty() {
            self.scanned = first.previous();
            return false;
        }
        let gap = self.gap.get_or_insert_with(|| MetGap {
            last,
            damaged: Vec::new(),
            why: None,
        });
        gap.last = last;
        true
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
    let at = record.begin.saturating_sub(begin) as usize;
    let end = record.end.saturating_sub(begin) as usize;
    decode_record(bytes, at, end, sequence).map_err(|source| ReadError::Decode { sequence, source })
}
