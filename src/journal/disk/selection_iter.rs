//! The events of a selection's topics in one segment, merged in order.
//!
//! Invariant: each event comes once, in order, even if it belongs to several of
//! the topics.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use hookrill_core::{Selection, Topics};

use super::index::Index;

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the oldest.
    Forward,
    /// From the newest.
    Backward,
}

/// Ordinals that rise: of all events, or of a topic's.
enum OrdinalSource<'i> {
    All(Range<u32>),
    Topic(&'i [u32]),
}

/// The ordinals of a selection's events, each once.
pub(super) struct SelectionIter<'i> {
    sources: Vec<OrdinalSource<'i>>,
    /// The next ordinal of each source that has one, by its rank.
    next: BinaryHeap<Reverse<(u32, usize)>>,
    direction: Direction,
    last_rank: Option<u32>,
}

impl<'i> SelectionIter<'i> {
    /// Goes over the events of `selection` whose ordinals are in `range`.
    pub(super) fn new(
        index: &'i Index,
        selection: &Selection,
        range: Range<u32>,
        direction: Direction,
    ) -> Self {
        let sources: Vec<_> = match &selection.topics {
            Topics::All => vec![OrdinalSource::All(range)],
            Topics::These(topics) => {
                let lists = topics
                    .iter()
                    .filter_map(|name| index.topics.get(name.as_str()));
                // A damaged event may be of any topic.
                let missing = (!index.missing.is_empty()).then_some(&index.missing);
                lists
                    .chain(missing)
                    .map(|list| OrdinalSource::within(list, &range))
                    .collect()
            }
        };
        let mut iter = Self {
            next: BinaryHeap::with_capacity(sources.len()),
            sources,
            direction,
            last_rank: None,
        };
        for source in 0..iter.sources.len() {
            iter.pull(source);
        }
        iter
    }

    /// About how many events are still to come: those that several topics have
    /// count for each.
    pub(super) fn entries(&self) -> usize {
        let left = self.sources.iter().map(OrdinalSource::len);
        left.sum::<usize>() + self.next.len()
    }

    /// Puts the source's next ordinal among those to choose from.
    fn pull(&mut self, source: usize) {
        if let Some(ordinal) = self.sources[source].take(self.direction) {
            self.next.push(Reverse((self.rank(ordinal), source)));
        }
    }

    /// The smallest rank comes first. Its own inverse.
    fn rank(&self, ordinal: u32) -> u32 {
        match self.direction {
            Direction::Forward => ordinal,
            Direction::Backward => !ordinal,
        }
    }
}

impl<'i> OrdinalSource<'i> {
    fn within(list: &'i [u32], range: &Range<u32>) -> Self {
        let begin = list.partition_point(|&ordinal| ordinal < range.start);
        let end = list.partition_point(|&ordinal| ordinal < range.end);
        Self::Topic(&list[begin..end.max(begin)])
    }

    fn len(&self) -> usize {
        match self {
            Self::All(range) => range.len(),
            Self::Topic(list) => list.len(),
        }
    }

    fn take(&mut self, direction: Direction) -> Option<u32> {
        match (self, direction) {
            (Self::All(range), Direction::Forward) => range.next(),
            (Self::All(range), Direction::Backward) => range.next_back(),
            (Self::Topic(list), Direction::Forward) => list.split_off_first().copied(),
            (Self::Topic(list), Direction::Backward) => list.split_off_last().copied(),
        }
    }
}

impl Iterator for SelectionIter<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            let Reverse((rank, source)) = self.next.pop()?;
            self.pull(source);
            let last = self.last_rank.replace(rank);
            debug_assert!(last <= Some(rank), "ordinals in a topic's list rise");
            if last != Some(rank) {
                return Some(self.rank(rank));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookrill_core::{Sequence, Timestamp, Topic};

    fn select(names: &[&str]) -> Selection {
        let topics = names.iter().map(|name| name.parse().unwrap());
        Selection {
            topics: Topics::These(topics.collect()),
            types: None,
        }
    }

    #[test]
    fn topics_that_overlap_are_merged_without_duplicates_both_ways() {
        let mut index = Index::new(Sequence(1), 0);
        for (n, name) in (64..).zip(["a", "a.b", "c", "d", "a.b.c", "c"]) {
            let topic: Topic = name.parse().unwrap();
            index.add(n, &topic, "", Timestamp::default());
        }
        for (selection, range, expected) in [
            (Selection::all(), 0..6, vec![0, 1, 2, 3, 4, 5]),
            (Selection::all(), 2..4, vec![2, 3]),
            (select(&["a"]), 0..6, vec![0, 1, 4]),
            (select(&["a.b", "a"]), 0..6, vec![0, 1, 4]),
            (select(&["c", "a", "x"]), 1..6, vec![1, 2, 4, 5]),
            (select(&["x"]), 0..6, vec![]),
            (select(&["a"]), 2..4, vec![]),
        ] {
            let ordinals =
                |direction| SelectionIter::new(&index, &selection, range.clone(), direction);
            let forward: Vec<_> = ordinals(Direction::Forward).collect();
            assert_eq!(forward, expected, "{selection:?}");
            let mut backward: Vec<_> = ordinals(Direction::Backward).collect();
            backward.reverse();
            assert_eq!(backward, expected, "{selection:?}");
        }
    }
}
