//! The search for the newest events of a selection, step by step.
//!
//! Looks at indexes only. Invariant: a step looks at a bounded number of
//! entries and segments, so that other reads get their turn.

use hookrill_core::{Selection, Sequence};

use super::{
    index::Index,
    pages::between,
    store::Store,
    walk::{Direction, Walk},
};
use crate::journal::{LAST_ENTRIES_MAX, PAGE_ENTRIES_MAX, ReadError, live::Live};

/// Where the search is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    /// How many are still to be found.
    pub(super) wanted: usize,
    /// The oldest found.
    pub(super) oldest: Option<Sequence>,
    /// Only entries up to here are still to be looked at.
    pub(super) upto: Sequence,
    /// How many were looked at.
    pub(super) looked_at: usize,
}

impl Newest {
    /// Looks at the next entries towards the oldest; says whether there may be
    /// more to find. Blocks.
    pub(super) fn look(
        &mut self,
        store: &Store,
        live: &Live,
        selection: &Selection,
    ) -> Result<bool, ReadError> {
        let from = live.floor().next();
        if self.wanted == 0 || self.upto < from {
            return Ok(false);
        }
        let enough = self.looked_at + PAGE_ENTRIES_MAX;
        let segments = store.shelf.segments();
        let segments = between(&segments, from, self.upto).iter().rev();
        for (place, segment) in segments.enumerate() {
            if place == store.sizes.segments_per_read {
                return Ok(true);
            }
            let look = |index: &Index| self.look_into(index, selection, from, enough);
            match store.shelf.look(segment, look) {
                Ok(()) => {}
                // It was deleted meanwhile, and all before it.
                Err(_) if segment.last() <= live.floor() => return Ok(false),
                Err(e) => return Err(e),
            }
            if self.wanted == 0 || self.looked_at == enough {
                return Ok(self.wanted > 0 && self.looked_at < LAST_ENTRIES_MAX);
            }
            self.upto = segment.first().previous();
        }
        Ok(false)
    }

    fn look_into(&mut self, index: &Index, selection: &Selection, from: Sequence, enough: usize) {
        let range = index.number(from)..index.number(self.upto.next());
        for number in Walk::new(index, selection, range, Direction::Backward) {
            let sequence = index.sequence(number);
            self.looked_at += 1;
            self.upto = sequence.previous();
            if selection.wants_type(index.event_type(number)) {
                self.oldest = Some(sequence);
                self.wanted -= 1;
            }
            if self.wanted == 0 || self.looked_at == enough {
                return;
            }
        }
    }
}
