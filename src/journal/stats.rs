//! What a journal stores of each topic, counted when somebody asks.
//!
//! Nothing is kept for it, so it costs an append nothing. However many topics
//! there are, the count holds no more than a page of them. Invariant: the
//! topics of a page are the first that the query matches, in the order of
//! their bytes.

use std::collections::BTreeMap;

use hookrill_core::{Sequence, Timestamp, Topic};

/// Which topics to list.
#[derive(Debug, Clone)]
pub struct StoredTopicsQuery {
    /// Only topics after this one, in the order of their bytes.
    pub after: Option<Topic>,
    /// Only this topic and its subtopics.
    pub under: Option<Topic>,
    /// At most this many.
    pub limit: usize,
    /// Events that arrived at this instant or later are recent.
    pub recent_from: Timestamp,
}

/// A page of topics that have events, and the totals of the journal.
#[derive(Debug, Clone)]
pub struct StoredTopics {
    /// Each with its subtopics, in the order of their bytes.
    pub topics: Vec<(Box<str>, StoredStats)>,
    /// Whether more topics follow the last one.
    pub has_more: bool,
    /// The whole journal, whatever was asked for.
    pub total: StoredStats,
    /// Only events after this position were counted: the floor, or a later
    /// position if there were too many events.
    pub counted_after: Sequence,
    /// Only events up to this position were counted: the head.
    pub counted_up_to: Sequence,
    /// Since when events are recent: as asked, or later where earlier events
    /// were not counted.
    pub recent_from: Timestamp,
}

/// What is stored of a topic and its subtopics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoredStats {
    /// How many events.
    pub events: u64,
    /// About how many bytes they take, measured as `retention.bytes` is.
    pub bytes: u64,
    /// How many of them are recent.
    pub recent: u64,
    /// The first and the last of them; `None` if there are none.
    pub span: Option<(Sequence, Sequence)>,
}

impl StoredStats {
    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.recent += other.recent;
        self.span = match (self.span, other.span) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, another) => one.or(another),
        };
        debug_assert!(self.recent <= self.events, "{self:?}");
        debug_assert!(self.span.is_none_or(|(first, last)| first <= last));
    }
}

impl StoredTopicsQuery {
    /// Whether it matches the topic of this name, on this page or a later one.
    fn matches(&self, name: &str) -> bool {
        let is_after = |after: &Topic| name > after.as_str();
        let is_under = |under: &Topic| under.covers_name(name);
        self.after.as_ref().is_none_or(is_after) && self.under.as_ref().is_none_or(is_under)
    }
}

/// Adds up the topics of a page, in whatever order they come.
#[derive(Debug)]
pub(super) struct StatsAccumulator {
    pub(super) query: StoredTopicsQuery,
    /// One more than the page has, to know whether there are more.
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

    /// Adds to the totals of the journal.
    pub(super) fn add_to_total(&mut self, stats: &StoredStats) {
        self.total.add(stats);
    }

    /// Whether the topic of this name may be on the page.
    pub(super) fn wants(&self, name: &str) -> bool {
        !self.is_beyond(name) && self.query.matches(name)
    }

    /// Whether neither this name nor any after it will be on the page.
    pub(super) fn is_beyond(&self, name: &str) -> bool {
        let last = self.topics.last_key_value();
        self.topics.len() > self.query.limit && last.is_some_and(|(last, _)| name > &**last)
    }

    /// Adds to a topic that is wanted. A topic that it pushes off the page
    /// can't come back, since the page's end only moves towards its beginning.
    pub(super) fn add(&mut self, name: &str, stats: &StoredStats) {
        match self.topics.get_mut(name) {
            Some(topic) => topic.add(stats),
            None => {
                self.topics.insert(name.into(), *stats);
                if self.topics.len() > self.query.limit + 1 {
                    self.topics.pop_last();
                }
            }
        }
        debug_assert!(self.topics.len() <= self.query.limit + 1);
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
