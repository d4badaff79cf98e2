//! Counting what there is of each topic, some events at a time.
//!
//! Invariant: an append waits for one step at most.

use std::sync::Arc;

use hookrill_core::{Event, Sequence, Timestamp};

use super::Inner;
use crate::journal::{
    HOLDINGS_ENTRIES_MAX, Held, Holdings, Listing, PAGE_ENTRIES_MAX, ReadError, holdings::Counting,
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
        Self::of_newest(HOLDINGS_ENTRIES_MAX as u64, listing, inner)
    }

    /// Only of so many events.
    fn of_newest(entries_max: u64, listing: Listing, inner: &Inner) -> Self {
        let (floor, head) = (inner.live.floor(), inner.live.head());
        let bound = head.0.saturating_sub(entries_max);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{
        Measures,
        contract::{NOON, ROOMY, append, draft},
        memory::Memory,
    };
    use hookrill_core::{Clock, Epoch};

    /// More events than one step looks at, of three topics.
    async fn journal() -> Memory {
        let epoch = Epoch::from_entropy(*b"entropy!");
        let clock = Clock::fixed(NOON);
        let memory = Memory::new(epoch, ROOMY, clock, Measures::noop()).unwrap();
        for n in 0..3 * PAGE_ENTRIES_MAX {
            append(&memory, draft(["a.b", "c", "d"][n % 3], "x")).await;
        }
        memory
    }

    fn listing() -> Listing {
        Listing {
            after: None,
            under: None,
            count: 10,
            recent_from: NOON,
        }
    }

    fn events(holdings: &Holdings) -> Vec<(&str, u64)> {
        let topics = holdings.topics.iter();
        topics.map(|(name, held)| (&**name, held.events)).collect()
    }

    #[tokio::test]
    async fn a_walk_of_several_steps_counts_each_event_once_and_none_that_came_later() {
        let memory = journal().await;
        let mut taking = Stocktaking::new(listing(), &memory.inner);
        for more in [true, true, true, false] {
            append(&memory, draft("later", "x")).await;
            assert_eq!(taking.look(&memory.inner).unwrap(), more);
        }
        let each = PAGE_ENTRIES_MAX as u64;
        let expected = [("a", each), ("a.b", each), ("c", each), ("d", each)];
        assert_eq!(events(&taking.finish()), expected);
    }

    #[tokio::test]
    async fn of_too_many_events_the_newest_are_counted_and_the_answer_says_so() {
        let memory = journal().await;
        let mut taking = Stocktaking::of_newest(5, listing(), &memory.inner);
        assert!(!taking.look(&memory.inner).unwrap());
        let holdings = taking.finish();
        let expected = [("a", 1), ("a.b", 1), ("c", 2), ("d", 2)];
        assert_eq!(events(&holdings), expected);
        assert_eq!(holdings.counted_after.0, 3 * PAGE_ENTRIES_MAX as u64 - 5);
        assert_eq!(holdings.all.events, 5);
    }
}
