//! How many streams listen to each topic, or to a subtopic of it.
//!
//! Counted where streams begin and end, whatever they do in between: replay,
//! wait for a socket, or be written by a group. Costs a stream nothing, and each
//! topic an entry while somebody listens. Refuses more than [`TOPICS_MAX`]
//! topics: a stream that would need more is counted as `uncounted`, and at no
//! topic.
//!
//! Invariant: a topic has an entry exactly while a counted stream listens to it.

use std::{collections::BTreeMap, ops::Bound};

use hookrill_core::{Topic, Topics};
use parking_lot::{Mutex, MutexGuard};

/// The most topics that are counted, parents of others included: some 20 MB with
/// names of usual length.
const TOPICS_MAX: usize = 1 << 18;

/// The counts. Locked where a stream begins or ends, and for a page of
/// `/admin/topics`; never while anything is written to a socket.
pub(super) struct SubscriberCounts {
    counts: Mutex<Counts>,
    topics_max: usize,
}

/// Who listens now.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// In the order of the names, so that a page of them is found at once.
    topics: BTreeMap<Box<str>, u32>,
    /// All streams.
    pub(super) streams: u64,
    /// Those that listen to every topic; they are counted at none.
    pub(super) wildcard: u64,
    /// Those that found no room.
    pub(super) uncounted: u64,
}

impl Default for SubscriberCounts {
    fn default() -> Self {
        Self::with_topics_max(TOPICS_MAX)
    }
}

impl SubscriberCounts {
    fn with_topics_max(topics_max: usize) -> Self {
        Self {
            counts: Mutex::default(),
            topics_max,
        }
    }

    /// Counts a stream of these topics. Returns whether it is counted at them,
    /// which [`SubscriberCounts::end`] has to know.
    pub(super) fn begin(&self, topics: &Topics) -> bool {
        let names = names(topics);
        let mut counts = self.lock();
        counts.streams += 1;
        let Some(names) = names else {
            counts.wildcard += 1;
            return true;
        };
        if !counts.has_room_for(&names, self.topics_max) {
            counts.uncounted += 1;
            return false;
        }
        for name in names {
            match counts.topics.get_mut(name) {
                Some(count) => *count += 1,
                None => _ = counts.topics.insert(name.into(), 1),
            }
        }
        true
    }

    /// Counts a stream no longer; `counted` is what [`SubscriberCounts::begin`]
    /// returned for it.
    pub(super) fn end(&self, topics: &Topics, counted: bool) {
        let names = names(topics);
        let mut counts = self.lock();
        counts.streams = decremented(counts.streams);
        match names {
            None => counts.wildcard = decremented(counts.wildcard),
            Some(_) if !counted => counts.uncounted = decremented(counts.uncounted),
            Some(names) => names.iter().for_each(|name| counts.decrement(name)),
        }
    }

    /// The counts; no stream begins or ends while they are locked.
    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

impl Counts {
    /// How many listen to this topic or below it; `None` where that is not known,
    /// since some streams are not counted.
    pub(super) fn at(&self, name: &str) -> Option<u64> {
        match self.topics.get(name) {
            Some(&count) => Some(count.into()),
            None => (self.uncounted == 0).then_some(0),
        }
    }

    /// The topics that somebody listens to, in order: those after `after`, and
    /// below or equal to `under`.
    pub(super) fn listed<'a>(
        &'a self,
        after: Option<&'a Topic>,
        under: Option<&'a Topic>,
    ) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        let after = after.map(Topic::as_str);
        let Some(under) = under.map(Topic::as_str) else {
            return Box::new(self.from(after.map_or(Bound::Unbounded, Bound::Excluded)));
        };
        // Not everything in between: `a-b` comes before `a.b` and is not below `a`.
        let is_after = |name: &&str| after.is_none_or(|after| *name > after);
        let own = self.topics.get_key_value(under).map(|(name, _)| &**name);
        let below = format!("{under}.");
        let begin = match after {
            Some(after) if after > &*below => Bound::Excluded(after),
            _ => Bound::Included(&*below),
        };
        let rest = self.from(begin);
        let rest = rest.take_while(move |name| name.starts_with(&below));
        Box::new(own.filter(is_after).into_iter().chain(rest))
    }

    fn from<'a>(&'a self, begin: Bound<&str>) -> impl Iterator<Item = &'a str> + use<'a> {
        let range = self.topics.range::<str, _>((begin, Bound::Unbounded));
        range.map(|(name, _)| &**name)
    }

    fn has_room_for(&self, names: &[&str], topics_max: usize) -> bool {
        let room = topics_max - self.topics.len();
        let is_new = |name: &&&str| !self.topics.contains_key(**name);
        names.len() <= room || names.iter().filter(is_new).count() <= room
    }

    fn decrement(&mut self, name: &str) {
        match self.topics.get_mut(name) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => _ = self.topics.remove(name),
            None => debug_assert!(false, "{name} has a count while it is listened to"),
        }
    }
}

/// One less. A count below zero would mean that a stream ended twice.
fn decremented(count: u64) -> u64 {
    debug_assert!(count > 0, "a stream ends once");
    count.saturating_sub(1)
}

/// The names of the topics and of all their parents, each once; `None` for
/// every topic.
fn names(topics: &Topics) -> Option<Vec<&str>> {
    let Topics::These(topics) = topics else {
        return None;
    };
    let mut names: Vec<_> = topics.iter().flat_map(Topic::lineage).collect();
    names.sort_unstable();
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> Topic {
        name.parse().unwrap()
    }

    fn topics(names: &[&str]) -> Topics {
        Topics::these(names.iter().map(|name| topic(name)).collect())
    }

    fn listed(counted: &SubscriberCounts, after: Option<&str>, under: Option<&str>) -> Vec<String> {
        let (after, under) = (after.map(topic), under.map(topic));
        let counts = counted.lock();
        let listed = counts.listed(after.as_ref(), under.as_ref());
        listed.map(str::to_owned).collect()
    }

    #[test]
    fn a_stream_counts_once_at_each_of_its_topics_and_above_them_until_it_ends() {
        let counted = SubscriberCounts::default();
        let several = topics(&["a.b", "a.c", "d"]);
        let one = topics(&["a.b.x"]);
        assert!(counted.begin(&several) && counted.begin(&one) && counted.begin(&Topics::All));
        for (name, count) in [
            ("a", 2),
            ("a.b", 2),
            ("a.b.x", 1),
            ("a.c", 1),
            ("d", 1),
            ("e", 0),
        ] {
            assert_eq!(counted.lock().at(name), Some(count), "{name}");
        }
        let all = |counts: &SubscriberCounts| {
            let counts = counts.lock();
            (counts.streams, counts.wildcard)
        };
        assert_eq!(all(&counted), (3, 1));
        counted.end(&several, true);
        assert_eq!(listed(&counted, None, None), ["a", "a.b", "a.b.x"]);
        counted.end(&one, true);
        counted.end(&Topics::All, true);
        assert!(
            counted.lock().topics.is_empty(),
            "unused topics are forgotten"
        );
        assert_eq!(all(&counted), (0, 0));
    }

    #[test]
    fn topics_are_listed_after_one_and_under_one() {
        let counted = SubscriberCounts::default();
        for name in ["a", "a-b", "a-b.c", "a.b.c", "a.d", "b", "a0"] {
            counted.begin(&topics(&[name]));
        }
        let all = ["a", "a-b", "a-b.c", "a.b", "a.b.c", "a.d", "a0", "b"];
        assert_eq!(listed(&counted, None, None), all);
        for (place, after) in all.iter().enumerate() {
            assert_eq!(listed(&counted, Some(after), None), all[place + 1..]);
        }
        for (after, under, expected) in [
            (None, "a", &["a", "a.b", "a.b.c", "a.d"][..]),
            (Some("A"), "a", &["a", "a.b", "a.b.c", "a.d"]),
            (Some("a"), "a", &["a.b", "a.b.c", "a.d"]),
            (Some("a-b"), "a", &["a.b", "a.b.c", "a.d"]),
            (Some("a.b"), "a", &["a.b.c", "a.d"]),
            (Some("a.x"), "a", &[]),
            (Some("z"), "a", &[]),
            (None, "a.b.c", &["a.b.c"]),
            (None, "c", &[]),
        ] {
            let found = listed(&counted, after, Some(under));
            assert_eq!(found, expected, "after {after:?} under {under}");
        }
    }

    #[test]
    fn at_the_bound_streams_are_told_apart_from_none() {
        let counted = SubscriberCounts::with_topics_max(3);
        assert!(counted.begin(&topics(&["a.b"])));
        assert!(!counted.begin(&topics(&["a.b", "c.d"])), "two more");
        assert!(counted.begin(&topics(&["a.c"])), "one more");
        assert!(counted.begin(&topics(&["a.b", "a.c"])), "none more");
        let figures = |name| counted.lock().at(name);
        assert_eq!(
            (figures("a"), figures("a.b"), figures("c")),
            (Some(3), Some(2), None)
        );
        assert_eq!(counted.lock().uncounted, 1);
        counted.end(&topics(&["a.c"]), true);
        counted.end(&topics(&["a.b", "c.d"]), false);
        assert_eq!(
            (figures("a"), figures("a.b"), figures("c")),
            (Some(2), Some(2), Some(0))
        );
    }
}
