//! Counting what there is of each topic, some events at a time.
//!
//! Invariant: an append waits for one step at most.

use std::sync::Arc;

use super::Inner;
use crate::{
    event::{Event, Sequence, Timestamp},
    journal::{
        HOLDINGS_ENTRIES_MAX, Held, Holdings, Listing, PAGE_ENTRIES_MAX, ReadError,
        holdings::Counting,
    },
};

/// Where the walk is: from the oldest event to the newest.
pub(super) struct Stocktaking {
    counting: Counting,
    head: Sequence,
    /// What is not above it is not counted.
    after: Sequence,
    position: Sequence,
    /// When the first of all arrived.
    begun: Option<Timestamp>,
}

impl Stocktaking {
    pub(super) fn new(listing: Listing, inner: &Inner) -> Self {
        let (floor, head) = (inner.live.floor(), inner.live.head());
        let bound = head.0.saturating_sub(HOLDINGS_ENTRIES_MAX as u64);
        let after = floor.max(Sequence(bound));
        Self {
            counting: Counting::new(listing),
            head,
            after,
            position: after,
            begun: None,
        }
    }

    /// Looks at the next events; says whether there are more.
    pub(super) fn look(&mut self, inner: &Inner) -> Result<bool, ReadError> {
        let kept = inner.read()?;
        let gone = inner.live.floor();
        let begin = self.position.max(gone).0 - gone.0;
        let begin = usize::try_from(begin).unwrap_or(usize::MAX);
        let ahead = kept.events.range(begin.min(kept.events.len())..);
        let ahead = ahead.take_while(|event| event.sequence <= self.head);
        let mut looked_at = 0;
        for event in ahead.take(PAGE_ENTRIES_MAX) {
            looked_at += 1;
            self.position = event.sequence;
            count(&mut self.counting, event);
            self.begun.get_or_insert(event.draft.received_at);
        }
        Ok(looked_at == PAGE_ENTRIES_MAX)
    }

    pub(super) fn finish(self) -> Holdings {
        let asked = self.counting.listing.recent_from;
        // Where something before them is not counted, it may be recent too.
        let cut = self.begun.filter(|_| self.after > Sequence::ZERO);
        let recent_from = cut.map_or(asked, |from| from.max(asked));
        self.counting.finish((self.after, self.head), recent_from)
    }
}

fn count(counting: &mut Counting, event: &Arc<Event>) {
    let is_recent = event.draft.received_at >= counting.listing.recent_from;
    let held = Held {
        events: 1,
        bytes: event.draft.weight() as u64,
        recent: u64::from(is_recent),
        span: Some((event.sequence, event.sequence)),
    };
    counting.add_to_all(&held);
    for name in event.draft.topic.lineage() {
        if counting.wants(name) {
            counting.add(name, &held);
        }
    }
}
