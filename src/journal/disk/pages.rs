//! Reading: bounded walks over the segments' indexes, in sequence order.
//!
//! Refuses to look above the durable head, whatever the files hold, and to
//! believe an event that does not have its checksum and its sequence.
//! Invariant: what is missing from a page is below the floor that it reports,
//! since the floor rises before a segment goes.

use std::sync::Arc;

use bytes::Bytes;
use hookrill_core::{Event, Selection, Sequence};

use super::{
    group::RECORD_HEAD_BYTES,
    index::Index,
    segment::small_number,
    shelf::{Segment, Shelf},
    store::Store,
    walk::{Direction, Walk},
};
use crate::journal::{
    EventPage, PAGE_ENTRIES_MAX, ReadError,
    live::Live,
    stored::{self, DecodeError},
};

/// Events with less between them are read at once.
const GAP_BYTES_MAX: u32 = 8 * 1024;
/// As much is read at once, and more where one event has more.
const READ_BYTES_MAX: u32 = 1 << 20;
/// About how much more an event weighs than its record has bytes.
const RECORD_WEIGHS_MORE: usize = 64;

/// The next events of `selection` after `after`; blocks.
pub(super) fn page(
    store: &Store,
    live: &Live,
    selection: &Selection,
    after: Sequence,
    bytes_max: usize,
) -> Result<EventPage, ReadError> {
    let head = live.head();
    let from = after.max(live.floor()).next();
    let mut filling = Filling {
        shelf: &store.shelf,
        selection,
        events: Vec::new(),
        bytes: 0,
        bytes_max,
        looked_at: 0,
        scanned: after.max(head),
    };
    if from <= head {
        filling.fill(live, from, head, store.sizes.segments_per_read)?;
    }
    Ok(EventPage {
        events: filling.events,
        scanned: filling.scanned,
        floor: live.floor(),
    })
}

/// The segments that may have events from `from` to `upto`.
pub(super) fn between(segments: &[Segment], from: Sequence, upto: Sequence) -> &[Segment] {
    let begin = segments.partition_point(|segment| segment.first() <= from);
    let end = segments.partition_point(|segment| segment.first() <= upto);
    &segments[begin.saturating_sub(1).min(end)..end]
}

/// A page in the making.
struct Filling<'a> {
    shelf: &'a Shelf,
    selection: &'a Selection,
    events: Vec<Arc<Event>>,
    bytes: usize,
    bytes_max: usize,
    /// Index entries.
    looked_at: usize,
    scanned: Sequence,
}

/// Where the record of a wanted event is.
#[derive(Debug, Clone, Copy)]
struct Place {
    sequence: Sequence,
    begin: u32,
    /// Where the next one begins, or a group's head before that.
    end: u32,
}

/// What a look at an index found.
struct Found {
    wanted: Vec<Place>,
    /// The first event that was not looked at, if any is left.
    next: Option<Sequence>,
}

impl Filling<'_> {
    /// Fills the page from the events between `from` and `upto`, looking into
    /// a bounded number of segments.
    fn fill(
        &mut self,
        live: &Live,
        from: Sequence,
        upto: Sequence,
        segments_max: usize,
    ) -> Result<(), ReadError> {
        let segments = self.shelf.segments();
        for (place, segment) in between(&segments, from, upto).iter().enumerate() {
            if place == segments_max {
                self.scanned = segment.first().previous();
                return Ok(());
            }
            match self.fill_from(segment, from, upto) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // It was deleted meanwhile, which the page's floor says.
                Err(_) if segment.last() <= live.floor() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether there is room for more.
    fn fill_from(
        &mut self,
        segment: &Segment,
        mut from: Sequence,
        upto: Sequence,
    ) -> Result<bool, ReadError> {
        loop {
            let look = |index: &Index| self.look(index, from, upto);
            let (found, looked_at) = self.shelf.look(segment, look)?;
            self.looked_at = looked_at;
            if !self.take_all(segment, &found.wanted)? {
                return Ok(false);
            }
            let Some(next) = found.next else {
                return Ok(true);
            };
            if self.looked_at == PAGE_ENTRIES_MAX {
                self.scanned = next.previous();
                return Ok(false);
            }
            from = next;
        }
    }

    /// Looks for as many events as may fit, and says how many entries were
    /// looked at.
    fn look(&self, index: &Index, from: Sequence, upto: Sequence) -> (Found, usize) {
        let range = index.number(from)..index.number(upto.next());
        let walk = Walk::new(index, self.selection, range, Direction::Forward);
        let (mut looked_at, mut bytes) = (self.looked_at, self.bytes);
        let mut found = Found {
            wanted: Vec::new(),
            next: None,
        };
        for number in walk {
            let full = bytes > self.bytes_max && !found.wanted.is_empty();
            if full || looked_at == PAGE_ENTRIES_MAX {
                found.next = Some(index.sequence(number));
                break;
            }
            looked_at += 1;
            if self.selection.wants_type(index.event_type(number)) {
                let (begin, end) = (index.offset(number), index.offset(number + 1));
                bytes += end.saturating_sub(begin) as usize + RECORD_WEIGHS_MORE;
                found.wanted.push(Place {
                    sequence: index.sequence(number),
                    begin,
                    end,
                });
            }
        }
        (found, looked_at)
    }

    /// Whether all of them fitted.
    fn take_all(&mut self, segment: &Segment, wanted: &[Place]) -> Result<bool, ReadError> {
        let mut rest = wanted;
        while let Some(first) = rest.first() {
            let near = near(rest);
            let (now, later) = rest.split_at(near);
            let end = now.last().map_or(first.end, |last| last.end);
            let len = end.saturating_sub(first.begin) as usize;
            let bytes = self.shelf.read(segment, first.begin, len)?;
            for place in now {
                let event = decode(&bytes, first.begin, *place)?;
                if !self.take(event) {
                    return Ok(false);
                }
            }
            rest = later;
        }
        Ok(true)
    }

    /// Whether the event still fitted.
    fn take(&mut self, event: Event) -> bool {
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

/// How many of these, from the first on, are worth one read.
fn near(places: &[Place]) -> usize {
    let Some(first) = places.first() else {
        return 0;
    };
    let apart = places.windows(2).position(|pair| {
        pair[1].begin.saturating_sub(pair[0].end) > GAP_BYTES_MAX
            || pair[1].end.saturating_sub(first.begin) > READ_BYTES_MAX
    });
    apart.map_or(places.len(), |before| before + 1)
}

/// The event of a record in `bytes`, which are from `begin` of the log on.
fn decode(bytes: &Bytes, begin: u32, place: Place) -> Result<Event, ReadError> {
    let sequence = place.sequence;
    let refuse = |source| ReadError::Decode { sequence, source };
    let at = place.begin.saturating_sub(begin) as usize;
    let end = place.end.saturating_sub(begin) as usize;
    let len = bytes.get(..end).and_then(|record| small_number(record, at));
    let stored = at + RECORD_HEAD_BYTES;
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
