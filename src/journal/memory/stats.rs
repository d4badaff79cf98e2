//! StatsAccumulator what there is of each topic, some events at a time.
//!
//! Invariant: an append waits for one step at most.

use std::sync::Arc;

use hookrill_core::{Event, Sequence, Timestamp};

use super::Inner;
use crate::journal::{
    PAGE_ENTRIES_MAX, ReadError, STATS_ENTRIES_MAX, StoredStats, StoredTopics, StoredTopicsQuery,
    stats::StatsAccumulator,
};

/// Where the walk is: from the oldest event to the newest.
pub(super) struct Stocktaking {
    counting: StatsAccumulator,
    head: Sequence,
    /// What is not above it is not counted.
    after: Sequence,
    position: Sequence,
    /// When the first of all arrived.
    begun: Option<Timestamp>,
}

impl Stocktaking {
    pub(super) fn new(query: StoredTopicsQuery, inner: &Inner) -> Self {
        Self::of_newest(STATS_ENTRIES_MAX as u64, query, inner)
    }

    /// Only of so many events.
    fn of_newest(entries_max: u64, query: StoredTopicsQuery, inner: &Inner) -> Self {
        let (floor, head) = (inner.live.floor(), inner.live.head());
        let bound = head.0.saturating_sub(entries_max);
        let after = floor.max(Sequence(bound));
        Self {
            counting: StatsAccumulator::new(query),
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

    pub(super) fn finish(self) -> StoredTopics {
        let asked = self.counting.query.recent_from;
        // Where something before them is not counted, it may be recent too.
        let cut = self.begun.filter(|_| self.after > Sequence::ZERO);
        let recent_from = cut.map_or(asked, |from| from.max(asked));
        self.counting.finish((self.after, self.head), recent_from)
    }
}

fn count(counting: &mut StatsAccumulator, event: &Arc<Event>) {
    let is_recent = event.draft.received_at >= counting.query.recent_from;
    let held = StoredStats {
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
        CommitMetrics,
        contract::{NOON, ROOMY, append, draft},
        memory::Memory,
    };
    use hookrill_core::{Clock, Epoch};

    /// More events than one step looks at, of three topics.
    async fn journal() -> Memory {
        let epoch = Epoch::from_entropy(*b"entropy!");
        let clock = Clock::fixed(NOON);
        let memory = Memory::new(epoch, ROOMY, clock, CommitMetrics::noop()).unwrap();
        for n in 0..3 * PAGE_ENTRIES_MAX {
            append(&memory, draft(["a.b", "c", "d"][n % 3], "x")).await;
        }
        memory
    }

    fn query() -> StoredTopicsQuery {
        StoredTopicsQuery {
            after: None,
            under: None,
            limit: 10,
            recent_from: NOON,
        }
    }

    fn events(stored: &StoredTopics) -> Vec<(&str, u64)> {
        let topics = stored.topics.iter();
        topics.map(|(name, held)| (&**name, held.events)).collect()
    }

    #[tokio::test]
    async fn a_walk_of_several_steps_counts_each_event_once_and_none_that_came_later() {
        let memory = journal().await;
        let mut taking = Stocktaking::new(query(), &memory.inner);
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
        let mut taking = Stocktaking::of_newest(5, query(), &memory.inner);
        assert!(!taking.look(&memory.inner).unwrap());
        let stored = taking.finish();
        let expected = [("a", 1), ("a.b", 1), ("c", 2), ("d", 2)];
        assert_eq!(events(&stored), expected);
        assert_eq!(stored.counted_after.0, 3 * PAGE_ENTRIES_MAX as u64 - 5);
        assert_eq!(stored.total.events, 5);
    }
}
