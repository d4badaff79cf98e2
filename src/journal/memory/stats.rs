//! Counting what is stored of each topic, some events at a time.
//!
//! Invariant: an append waits for one step at most.

use hookrill_core::{Event, Sequence, Timestamp};

use super::MemoryLog;
use crate::journal::{
    PAGE_ENTRIES_MAX, ReadError, STATS_ENTRIES_MAX, StoredStats, StoredTopics, StoredTopicsQuery,
    stats::StatsAccumulator,
};

/// A count under way: from the oldest event to the newest.
pub(super) struct MemoryStatsScan {
    counted: StatsAccumulator,
    head: Sequence,
    /// Events up to here are not counted.
    after: Sequence,
    /// The last event that was counted.
    position: Sequence,
    /// When the first event that was counted arrived.
    first_arrival: Option<Timestamp>,
}

impl MemoryStatsScan {
    pub(super) fn new(query: StoredTopicsQuery, log: &MemoryLog) -> Self {
        Self::of_newest(STATS_ENTRIES_MAX as u64, query, log)
    }

    /// A count of no more than the newest `entries_max` events.
    fn of_newest(entries_max: u64, query: StoredTopicsQuery, log: &MemoryLog) -> Self {
        let (floor, head) = (log.tail.floor(), log.tail.head());
        let bound = head.0.saturating_sub(entries_max);
        let after = floor.max(Sequence(bound));
        Self {
            counted: StatsAccumulator::new(query),
            head,
            after,
            position: after,
            first_arrival: None,
        }
    }

    /// Counts the next events; returns whether there are more.
    pub(super) fn step(&mut self, log: &MemoryLog) -> Result<bool, ReadError> {
        let state = log.open_state()?;
        let events = state.events_after(self.position, log.tail.floor());
        let events = events.take_while(|event| event.sequence <= self.head);
        let mut looked_at = 0;
        for event in events.take(PAGE_ENTRIES_MAX) {
            debug_assert!(event.sequence > self.position, "each event once");
            looked_at += 1;
            self.position = event.sequence;
            count(&mut self.counted, event);
            self.first_arrival.get_or_insert(event.draft.received_at);
        }
        Ok(looked_at == PAGE_ENTRIES_MAX)
    }

    pub(super) fn finish(self) -> StoredTopics {
        let asked = self.counted.query.recent_from;
        // Events before the first may be recent too, and are not counted.
        let is_cut = self.after > Sequence::ZERO;
        let recent_from = match self.first_arrival {
            Some(arrival) if is_cut => arrival.max(asked),
            _ => asked,
        };
        self.counted.finish((self.after, self.head), recent_from)
    }
}

fn count(counted: &mut StatsAccumulator, event: &Event) {
    let is_recent = event.draft.received_at >= counted.query.recent_from;
    let stats = StoredStats {
        events: 1,
        bytes: event.draft.weight() as u64,
        recent: u64::from(is_recent),
        span: Some((event.sequence, event.sequence)),
    };
    counted.add_to_total(&stats);
    for name in event.draft.topic.lineage() {
        if counted.wants(name) {
            counted.add(name, &stats);
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
    use hookrill_core::{Clock, Epoch, SteadyClock};

    /// More events than one step looks at, of three topics.
    async fn journal() -> Memory {
        let epoch = Epoch::from_entropy(*b"entropy!");
        let clock = SteadyClock::silent(Clock::fixed(NOON));
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
        topics
            .map(|(name, stats)| (&**name, stats.events))
            .collect()
    }

    #[tokio::test]
    async fn a_count_of_several_steps_counts_each_event_once_and_none_that_came_later() {
        let memory = journal().await;
        let mut scan = MemoryStatsScan::new(query(), &memory.log);
        for has_more in [true, true, true, false] {
            append(&memory, draft("later", "x")).await;
            assert_eq!(scan.step(&memory.log).unwrap(), has_more);
        }
        let each = PAGE_ENTRIES_MAX as u64;
        let expected = [("a", each), ("a.b", each), ("c", each), ("d", each)];
        assert_eq!(events(&scan.finish()), expected);
    }

    #[tokio::test]
    async fn of_too_many_events_the_newest_are_counted_and_the_answer_says_so() {
        let memory = journal().await;
        let mut scan = MemoryStatsScan::of_newest(5, query(), &memory.log);
        assert!(!scan.step(&memory.log).unwrap());
        let stored = scan.finish();
        let expected = [("a", 1), ("a.b", 1), ("c", 2), ("d", 2)];
        assert_eq!(events(&stored), expected);
        assert_eq!(stored.counted_after.0, 3 * PAGE_ENTRIES_MAX as u64 - 5);
        assert_eq!(stored.total.events, 5);
    }
}
