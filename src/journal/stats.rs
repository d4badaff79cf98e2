//! What a journal holds of each topic, counted at the time of the question.
//!
//! Nothing is kept for it, so an append costs nothing more. Refuses to hold
//! more than a page: however many topics there are, only those that may still
//! be on the page are remembered while counting. Invariant: the topics of a
//! page are the first that are asked for, in the order of their bytes.

use std::collections::BTreeMap;

use hookrill_core::{Sequence, Timestamp, Topic};

/// Which topics to list.
#[derive(Debug, Clone)]
pub struct StoredTopicsQuery {
    /// Only those after this one, in the order of their bytes.
    pub after: Option<Topic>,
    /// Only this one and its subtopics.
    pub under: Option<Topic>,
    /// At most so many.
    pub limit: usize,
    /// Events that arrived from then on are recent.
    pub recent_from: Timestamp,
}

/// A page of topics that have events, and what there is in all.
#[derive(Debug, Clone)]
pub struct StoredTopics {
    /// Each with its subtopics, in the order of their bytes.
    pub topics: Vec<(Box<str>, StoredStats)>,
    /// Whether there are more of them behind the last.
    pub has_more: bool,
    /// The whole journal, whatever was asked for.
    pub total: StoredStats,
    /// Only events after this position were counted: the floor, or a later one
    /// where there were too many.
    pub counted_after: Sequence,
    /// And only up to here: the head.
    pub counted_up_to: Sequence,
    /// Since when events are recent: as asked, or later, where those before
    /// were not counted.
    pub recent_from: Timestamp,
}

/// What there is of a topic and its subtopics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoredStats {
    /// How many events.
    pub events: u64,
    /// About how many bytes they take, by the measure of `retention.bytes`.
    pub bytes: u64,
    /// How many of them are recent.
    pub recent: u64,
    /// The first and the last of them; `None` where there are none.
    pub span: Option<(Sequence, Sequence)>,
}

impl StoredStats {
    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.recent += other.recent;
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
    }
}

impl StoredTopicsQuery {
    /// Whether it asks for the topic of this name, on this page or a later one.
    fn asks_for(&self, name: &str) -> bool {
        let is_after = |after: &Topic| name > after.as_str();
        let is_under = |under: &Topic| under.covers_name(name);
        self.after.as_ref().is_none_or(is_after) && self.under.as_ref().is_none_or(is_under)
    }
}

/// A page in the making.
#[derive(Debug)]
pub(super) struct StatsAccumulator {
    pub(super) query: StoredTopicsQuery,
    /// One more than the page has, to know whether there is more.
    topics: BTreeMap<Box<str>, StoredStats>,
    total: StoredStats,
}

impl StatsAccumulator {
    pub(super) fn new(query: StoredTopicsQuery) -> Self {
        Self {
            query,
            topics: BTreeMap::new(),
            total: StoredStats::default(),
        }
    }

    /// Counts what the whole journal has.
    pub(super) fn add_to_all(&mut self, held: &StoredStats) {
        self.total.add(held);
    }

    /// Whether what the topic of this name has is to be added.
    pub(super) fn wants(&self, name: &str) -> bool {
        !self.is_beyond(name) && self.query.asks_for(name)
    }

    /// Whether neither this name nor any behind it will be on the page.
    pub(super) fn is_beyond(&self, name: &str) -> bool {
        let last = self.topics.last_key_value();
        self.topics.len() > self.query.limit && last.is_some_and(|(last, _)| name > &**last)
    }

    /// Adds to a topic that is wanted. What falls off the page for it can't
    /// come back, since the page's end only moves towards its beginning.
    pub(super) fn add(&mut self, name: &str, held: &StoredStats) {
        match self.topics.get_mut(name) {
            Some(topic) => topic.add(held),
            None => {
                self.topics.insert(name.into(), *held);
                if self.topics.len() > self.query.limit + 1 {
                    self.topics.pop_last();
                }
            }
        }
    }

    /// What was counted between these positions.
    pub(super) fn finish(
        self,
        (counted_after, counted_up_to): (Sequence, Sequence),
        recent_from: Timestamp,
    ) -> StoredTopics {
        let limit = self.query.limit;
        StoredTopics {
            has_more: self.topics.len() > limit,
            topics: self.topics.into_iter().take(limit).collect(),
            total: self.total,
            counted_after,
            counted_up_to,
            recent_from,
        }
    }
}
