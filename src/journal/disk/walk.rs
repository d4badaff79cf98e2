//! The events of a selection's topics in one segment, merged in order.
//!
//! Invariant: each event comes once, however many of the topics it belongs to.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

use hookrill_core::{Selection, Topics};

use super::index::Index;

/// Which way to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the oldest.
    Forward,
    /// From the newest.
    Backward,
}

/// Numbers that rise: of all events, or of a topic's.
enum Numbers<'a> {
    All(Range<u32>),
    Of(&'a [u32]),
}

/// The numbers of a selection's events, each once.
pub(super) struct Walk<'a> {
    sources: Vec<Numbers<'a>>,
    /// The next number of each source that has one.
    next: BinaryHeap<Reverse<(u32, usize)>>,
    direction: Direction,
    last: Option<u32>,
}

impl<'a> Walk<'a> {
    /// Over the events of `selection` whose numbers are in `range`.
    pub(super) fn new(
        index: &'a Index,
        selection: &Selection,
        range: Range<u32>,
        direction: Direction,
    ) -> Self {
        let sources: Vec<_> = match &selection.topics {
            Topics::All => vec![Numbers::All(range)],
            Topics::These(topics) => {
                let lists = topics
                    .iter()
                    .filter_map(|name| index.topics.get(name.as_str()));
                lists.map(|list| Numbers::within(list, &range)).collect()
            }
        };
        let mut walk = Self {
            next: BinaryHeap::with_capacity(sources.len()),
            sources,
            direction,
            last: None,
        };
        for source in 0..walk.sources.len() {
            walk.pull(source);
        }
        walk
    }

    /// Puts the source's next number among those to choose from.
    fn pull(&mut self, source: usize) {
        if let Some(number) = self.sources[source].take(self.direction) {
            self.next.push(Reverse((self.rank(number), source)));
        }
    }

    /// The smallest rank comes first. Its own inverse.
    fn rank(&self, number: u32) -> u32 {
        match self.direction {
            Direction::Forward => number,
            Direction::Backward => !number,
        }
    }
}

impl<'a> Numbers<'a> {
    fn within(list: &'a [u32], range: &Range<u32>) -> Self {
        let begin = list.partition_point(|&number| number < range.start);
        let end = list.partition_point(|&number| number < range.end);
        Self::Of(&list[begin..end.max(begin)])
    }

    fn take(&mut self, direction: Direction) -> Option<u32> {
        match (self, direction) {
            (Self::All(range), Direction::Forward) => range.next(),
            (Self::All(range), Direction::Backward) => range.next_back(),
            (Self::Of(list), Direction::Forward) => list.split_off_first().copied(),
            (Self::Of(list), Direction::Backward) => list.split_off_last().copied(),
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        loop {
            let Reverse((rank, source)) = self.next.pop()?;
            self.pull(source);
            let number = self.rank(rank);
            if self.last.replace(number) != Some(number) {
                return Some(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookrill_core::{Sequence, Timestamp, Topic};

    #[test]
    fn topics_that_overlap_are_merged_without_doubles_both_ways() {
        let mut index = Index::new(Sequence(1), 0);
        for name in ["a", "a.b", "c", "d", "a.b.c", "c"] {
            let topic: Topic = name.parse().unwrap();
            index.add(0, &topic, "", Timestamp::default());
        }
        let select = |names: &[&str]| Selection {
            topics: Topics::These(names.iter().map(|name| name.parse().unwrap()).collect()),
            types: None,
        };
        for (selection, range, expected) in [
            (Selection::all(), 0..6, vec![0, 1, 2, 3, 4, 5]),
            (Selection::all(), 2..4, vec![2, 3]),
            (select(&["a"]), 0..6, vec![0, 1, 4]),
            (select(&["a.b", "a"]), 0..6, vec![0, 1, 4]),
            (select(&["c", "a", "x"]), 1..6, vec![1, 2, 4, 5]),
            (select(&["x"]), 0..6, vec![]),
            (select(&["a"]), 2..4, vec![]),
        ] {
            let walk = |direction| Walk::new(&index, &selection, range.clone(), direction);
            let forward: Vec<_> = walk(Direction::Forward).collect();
            assert_eq!(forward, expected, "{selection:?}");
            let mut backward: Vec<_> = walk(Direction::Backward).collect();
            backward.reverse();
            assert_eq!(backward, expected, "{selection:?}");
        }
    }
}
