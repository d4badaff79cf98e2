//! The search for the newest `n` events of a selection, step by step.
//!
//! Looks at indexes only. Invariants: a step looks at a bounded number of
//! entries and segments, so that other reads get their turn. What is known to be
//! damaged does not count, and is read over, so that it is told of.

use hookrill_core::{Selection, Sequence};

use super::{
    files::Files,
    index::Index,
    segment_set::between,
    selection_iter::{Direction, SelectionIter},
    wanted_types::WantedTypes,
};
use crate::journal::{LAST_ENTRIES_MAX, PAGE_ENTRIES_MAX, ReadError, tail::LiveTail};

/// A search under way: from the newest event to the oldest.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastNSearch {
    /// How many events are still to be found.
    wanted: usize,
    /// The oldest event found.
    pub(super) oldest: Option<Sequence>,
    /// Only entries up to here are still to be looked at.
    up_to: Sequence,
    /// How many entries were looked at.
    looked_at: usize,
    /// What indexes that were read from their files count for.
    loaded: usize,
}

impl LastNSearch {
    pub(super) fn new(count: usize, head: Sequence) -> Self {
        Self {
            wanted: count,
            oldest: None,
            up_to: head,
            looked_at: 0,
            loaded: 0,
        }
    }

    /// Looks at the next entries towards the oldest; returns whether there may
    /// be more to find. Blocks.
    pub(super) fn step(
        &mut self,
        files: &Files,
        tail: &LiveTail,
        selection: &Selection,
    ) -> Result<bool, ReadError> {
        let from = tail.floor().next();
        if self.wanted == 0 || self.up_to < from {
            return Ok(false);
        }
        let enough = self.looked_at + PAGE_ENTRIES_MAX;
        let enough_work = self.work() + PAGE_ENTRIES_MAX;
        let types = WantedTypes::new(selection);
        let segments = files.segments.list();
        // What is gone from the list by now is below the floor.
        let from = from.max(tail.floor().next());
        let newest_first = between(&segments, from, self.up_to).iter().rev();
        for (n, segment) in newest_first.enumerate() {
            if n == files.sizes.segments_per_read {
                return Ok(true);
            }
            self.begin_before(segment.last().next().max(from));
            self.loaded += files.segments.load_weight(segment);
            let search = |index: &Index| self.search(index, selection, &types, from, enough);
            match files.segments.with_index(segment, search) {
                Ok(()) => {}
                // It was deleted meanwhile, and all before it.
                Err(_) if segment.last() <= tail.floor() => return Ok(false),
                Err(e) if e.is_damage() => self.begin_before(segment.first().max(from)),
                Err(e) => return Err(e),
            }
            if self.wanted == 0 || self.looked_at >= LAST_ENTRIES_MAX {
                return Ok(false);
            }
            if self.work() >= enough_work {
                return Ok(true);
            }
            self.up_to = segment.first().previous();
        }
        self.begin_before(from);
        Ok(false)
    }

    /// Begins before `sequence`, which is damaged or lost, if the search has come
    /// there; so whoever reads from there is told of it.
    fn begin_before(&mut self, sequence: Sequence) {
        if sequence <= self.up_to {
            self.oldest = Some(sequence);
        }
    }

    /// What the search has cost so far, in entries.
    fn work(&self) -> usize {
        self.looked_at + self.loaded
    }

    /// Searches an index, until the search has found all or looked at enough.
    fn search(
        &mut self,
        index: &Index,
        selection: &Selection,
        types: &WantedTypes<'_>,
        from: Sequence,
        enough: usize,
    ) {
        let range = index.ordinal(from)..index.ordinal(self.up_to.next());
        let ordinals = SelectionIter::new(index, selection, range, Direction::Backward);
        let types = types.within(index);
        if types.is_empty(index) {
            self.looked_at += ordinals.entries();
            self.up_to = index.first.previous();
            return;
        }
        for ordinal in ordinals {
            let sequence = index.sequence(ordinal);
            debug_assert!(self.oldest.is_none_or(|oldest| sequence < oldest));
            self.looked_at += 1;
            self.up_to = sequence.previous();
            if index.is_missing(ordinal) {
                self.oldest = Some(sequence);
            } else if types.may_want(index, ordinal) {
                self.oldest = Some(sequence);
                assert!(self.wanted > 0, "the search ends with the last one");
                self.wanted -= 1;
            }
            if self.wanted == 0 || self.looked_at >= enough {
                return;
            }
        }
    }
}
