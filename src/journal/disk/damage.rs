//! What reads have found damaged, for whoever operates the journal.
//!
//! Each place is logged once, by the read that meets it first. Invariants: the
//! stretches do not touch each other; no more than [`STRETCHES_MAX`] are told
//! apart, and what is beyond them is neither counted nor logged one by one.

use std::{collections::BTreeMap, fmt};

use hookrill_core::Sequence;
use parking_lot::Mutex;

const STRETCHES_MAX: usize = 1024;

/// Damaged events that follow each other: the first and the last.
pub(super) type Stretch = (Sequence, Sequence);

/// The stretches of damaged events that were found so far.
#[derive(Debug, Default)]
pub(super) struct FoundDamage(Mutex<Stretches>);

#[derive(Debug, Default)]
struct Stretches {
    /// The last of each, by the first.
    known: BTreeMap<Sequence, Sequence>,
    /// Whether there are more than are told apart.
    has_more: bool,
}

/// What is new about a stretch.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// It is known, or it touches one that is.
    Nothing,
    Place,
    /// It is the first of those that are not told apart.
    Bound,
}

impl FoundDamage {
    /// Adds what a read met at one place, and logs it if that is new.
    pub(super) fn add(&self, met: &[Stretch], why: &dyn fmt::Display) {
        let (Some((first, _)), Some((_, last))) = (met.first(), met.last()) else {
            return;
        };
        let news = {
            let mut stretches = self.0.lock();
            let news: Vec<_> = met.iter().map(|&found| stretches.add(found)).collect();
            news
        };
        if news.contains(&News::Place) {
            let events: u64 = met.iter().map(|(begin, end)| end.0 - begin.0 + 1).sum();
            tracing::error!(
                %first,
                %last,
                events,
                %why,
                "the journal is damaged here; subscribers are told of a gap and go on behind it. hookrill journal check lists all that is damaged"
            );
        }
        if news.contains(&News::Bound) {
            tracing::error!(
                %first,
                "the journal is damaged in more places than are logged; hookrill journal check lists them"
            );
        }
    }

    /// Whether this event is known to be damaged.
    pub(super) fn has(&self, sequence: Sequence) -> bool {
        let stretches = self.0.lock();
        let before = stretches.known.range(..=sequence).next_back();
        before.is_some_and(|(_, last)| sequence <= *last)
    }

    /// How many damaged events above the floor were found so far.
    pub(super) fn events_above(&self, floor: Sequence) -> u64 {
        let mut stretches = self.0.lock();
        stretches.known.retain(|_, last| *last > floor);
        let events = |(first, last): (&Sequence, &Sequence)| last.0 - first.0.max(floor.0 + 1) + 1;
        stretches.known.iter().map(events).sum()
    }
}

impl Stretches {
    /// Adds a stretch; those that it touches become one with it.
    fn add(&mut self, (first, last): Stretch) -> News {
        assert!(first <= last, "a stretch has an event");
        let (mut begin, mut end, mut touches) = (first, last, false);
        while let Some((other, other_end)) = self.before(end.next())
            && other_end.next() >= begin
        {
            touches = true;
            if other <= begin && end <= other_end {
                return News::Nothing;
            }
            self.known.remove(&other);
            (begin, end) = (begin.min(other), end.max(other_end));
        }
        if self.known.len() < STRETCHES_MAX {
            self.known.insert(begin, end);
            return if touches { News::Nothing } else { News::Place };
        }
        if std::mem::replace(&mut self.has_more, true) {
            News::Nothing
        } else {
            News::Bound
        }
    }

    /// The last stretch that does not begin behind `sequence`.
    fn before(&self, sequence: Sequence) -> Option<Stretch> {
        let before = self.known.range(..=sequence).next_back();
        before.map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(first: u64, last: u64) -> Stretch {
        (Sequence(first), Sequence(last))
    }

    #[test]
    fn stretches_are_counted_once_however_they_are_met_and_not_below_the_floor() {
        let found = FoundDamage::default();
        for (first, last) in [
            (5, 5),
            (7, 7),
            (5, 5),
            (6, 6),
            (20, 30),
            (25, 35),
            (1, 1),
            (18, 40),
        ] {
            found.add(&[stretch(first, last)], &"a test");
        }
        let has = |n| found.has(Sequence(n));
        assert!(has(1) && has(5) && has(7) && has(40));
        assert!(!has(2) && !has(4) && !has(8) && !has(41));
        assert_eq!(found.events_above(Sequence::ZERO), 1 + 3 + 23);
        assert_eq!(found.events_above(Sequence(6)), 1 + 23);
        assert_eq!(found.events_above(Sequence(39)), 1);
        assert_eq!(found.events_above(Sequence(40)), 0);
    }

    #[test]
    fn a_place_is_news_once_and_beyond_the_bound_there_is_one_line() {
        let mut stretches = Stretches::default();
        assert_eq!(stretches.add(stretch(5, 6)), News::Place);
        for known in [(5, 6), (5, 5), (7, 7), (4, 8)] {
            assert_eq!(stretches.add(stretch(known.0, known.1)), News::Nothing);
        }
        for n in 1..STRETCHES_MAX as u64 {
            assert_eq!(stretches.add(stretch(100 * n, 100 * n)), News::Place);
        }
        assert_eq!(stretches.add(stretch(10, 10)), News::Bound);
        assert_eq!(stretches.add(stretch(12, 12)), News::Nothing);
        assert_eq!(stretches.known.len(), STRETCHES_MAX);
        // What touches a known one needs no place of its own.
        assert_eq!(stretches.add(stretch(101, 101)), News::Nothing);
        assert_eq!(stretches.known[&Sequence(100)], Sequence(101));
    }
}
