//! How many streams listen to each topic, or to a subtopic of it.
//!
//! Counted where streams begin and end, whatever they do in between: replay,
//! wait for a socket, or leave the listening to another. Costs a stream
//! nothing, and each topic an entry for as long as somebody listens. Refuses
//! more than [`TOPICS_MAX`] topics: a stream that would need more is counted
//! at none, and as one of those.
//!
//! Invariant: a topic is here as long as a counted stream listens to it.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use hookrill_core::{Topic, Topics};

/// The most topics that are counted, those above others included: some 20 MB
/// with names of usual length.
const TOPICS_MAX: usize = 1 << 18;

/// The counts. Locked where a stream begins or ends, and for a page of an
/// answer; never while anything is written.
pub(super) struct Audience {
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
    /// Those of everything, which are at no topic.
    pub(super) of_everything: u64,
    /// Those that found no room.
    pub(super) uncounted: u64,
}

impl Default for Audience {
    fn default() -> Self {
        Self::of_at_most(TOPICS_MAX)
    }
}

impl Audience {
    fn of_at_most(topics_max: usize) -> Self {
        Self {
            counts: Mutex::default(),
            topics_max,
        }
    }

    /// Counts a stream of these topics. To be told whether it did when the
    /// stream ends.
    pub(super) fn begin(&self, topics: &Topics) -> bool {
        let names = names(topics);
        let mut counts = self.counts();
        counts.streams += 1;
        let Some(names) = names else {
            counts.of_everything += 1;
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

    /// The stream has ended.
    pub(super) fn end(&self, topics: &Topics, counted: bool) {
        let names = names(topics);
        let mut counts = self.counts();
        counts.streams -= 1;
        match names {
            None => counts.of_everything -= 1,
            Some(_) if !counted => counts.uncounted -= 1,
            Some(names) => names.iter().for_each(|name| counts.leave(name)),
        }
    }

    /// Keeps streams from beginning and ending meanwhile: to be brief.
    // A panic while the lock is held would have to come from the collections
    // themselves; what they hold is whole at every step.
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// How many listen to this topic or below it; `None` where some may that
    /// are not counted.
    pub(super) fn of(&self, name: &str) -> Option<u64> {
        match self.topics.get(name) {
            Some(&count) => Some(count.into()),
            None => (self.uncounted == 0).then_some(0),
        }
    }

    /// The topics that anybody listens to, in order, after one and under one.
    pub(super) fn listed<'a>(
        &'a self,
        after: Option<&'a Topic>,
        under: Option<&'a Topic>,
    ) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        let after = after.map(Topic::as_str);
        let Some(under) = under.map(Topic::as_str) else {
            return Box::new(self.from(after.map_or(Bound::Unbounded, Bound::Excluded)));
        };
        // Not all that lies between: `a-b` comes before `a.b`, and is not below
        // `a`.
        let is_asked = |name: &&str| after.is_none_or(|after| *name > after);
        let own = self.topics.get_key_value(under).map(|(name, _)| &**name);
        let below = format!("{under}.");
        let begin = match after {
            Some(after) if after > &*below => Bound::Excluded(after),
            _ => Bound::Included(&*below),
        };
        let rest = self.from(begin);
        let rest = rest.take_while(move |name| name.starts_with(&below));
        Box::new(own.filter(is_asked).into_iter().chain(rest))
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

    fn leave(&mut self, name: &str) {
        match self.topics.get_mut(name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = self.topics.remove(name),
        }
    }
}

/// The names of topics and of all above them, each once; `None` for
/// everything.
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

    fn listed(audience: &Audience, after: Option<&str>, under: Option<&str>) -> Vec<String> {
        let (after, under) = (after.map(topic), under.map(topic));
        let counts = audience.counts();
        let listed = counts.listed(after.as_ref(), under.as_ref());
        listed.map(str::to_owned).collect()
    }

    #[test]
    fn a_stream_counts_once_at_each_of_its_topics_and_above_them_until_it_ends() {
        let audience = Audience::default();
        let several = topics(&["a.b", "a.c", "d"]);
        let one = topics(&["a.b.x"]);
        assert!(audience.begin(&several) && audience.begin(&one) && audience.begin(&Topics::All));
        for (name, count) in [
            ("a", 2),
            ("a.b", 2),
            ("a.b.x", 1),
            ("a.c", 1),
            ("d", 1),
            ("e", 0),
        ] {
            assert_eq!(audience.counts().of(name), Some(count), "{name}");
        }
        let counts = audience.counts();
        assert_eq!((counts.streams, counts.of_everything), (3, 1));
        drop(counts);
        audience.end(&several, true);
        assert_eq!(listed(&audience, None, None), ["a", "a.b", "a.b.x"]);
        audience.end(&one, true);
        audience.end(&Topics::All, true);
        let counts = audience.counts();
        assert!(counts.topics.is_empty(), "nobody's topics are forgotten");
        assert_eq!((counts.streams, counts.of_everything), (0, 0));
    }

    #[test]
    fn topics_are_listed_after_one_and_under_one() {
        let audience = Audience::default();
        for name in ["a", "a-b", "a-b.c", "a.b.c", "a.d", "b", "a0"] {
            audience.begin(&topics(&[name]));
        }
        let all = ["a", "a-b", "a-b.c", "a.b", "a.b.c", "a.d", "a0", "b"];
        assert_eq!(listed(&audience, None, None), all);
        for (place, after) in all.iter().enumerate() {
            assert_eq!(listed(&audience, Some(after), None), all[place + 1..]);
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
            let found = listed(&audience, after, Some(under));
            assert_eq!(found, expected, "after {after:?} under {under}");
        }
    }

    #[test]
    fn at_the_bound_streams_are_told_apart_from_none() {
        let audience = Audience::of_at_most(3);
        assert!(audience.begin(&topics(&["a.b"])));
        assert!(!audience.begin(&topics(&["a.b", "c.d"])), "two more");
        assert!(audience.begin(&topics(&["a.c"])), "one more");
        assert!(audience.begin(&topics(&["a.b", "a.c"])), "none more");
        let figures = |name| audience.counts().of(name);
        assert_eq!(
            (figures("a"), figures("a.b"), figures("c")),
            (Some(3), Some(2), None)
        );
        assert_eq!(audience.counts().uncounted, 1);
        audience.end(&topics(&["a.c"]), true);
        audience.end(&topics(&["a.b", "c.d"]), false);
        assert_eq!(
            (figures("a"), figures("a.b"), figures("c")),
            (Some(2), Some(2), Some(0))
        );
    }
}
