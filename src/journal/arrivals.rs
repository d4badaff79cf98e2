//! The search for the first event that arrived at some time or later.
//!
//! Arrivals are stamped by a clock that may be set, so they need not rise. The search
//! goes from the oldest event to the newest and never passes over an event that is
//! stamped with that time or later. A stamp that has not come yet says nothing: what
//! has one counts as what follows it. Invariant: the position never falls.

use std::collections::VecDeque;

use hookrill_core::{Sequence, Timestamp};

/// So many answers are kept: of clients that ask for the last ten minutes, the last
/// hour, and so on.
const ANSWERS_MAX: usize = 16;

/// A search under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrivalSearch {
    from: Timestamp,
    now: Timestamp,
    /// The first of the events before `position` of whose arrival nothing is known.
    unknown: Option<Sequence>,
    /// All events up to here were looked at.
    pub(super) position: Sequence,
    found: Option<Sequence>,
}

impl ArrivalSearch {
    /// For what arrived at `from` or later, after `position`.
    pub(super) fn new(from: Timestamp, now: Timestamp, position: Sequence) -> Self {
        Self {
            from,
            now,
            unknown: None,
            position,
            found: None,
        }
    }

    /// Looks at the next event, which arrived at this time, where that is known; returns
    /// whether the search is over.
    pub(super) fn look_at(&mut self, sequence: Sequence, arrived: Option<Timestamp>) -> bool {
        debug_assert!(sequence > self.position, "a search goes forward");
        self.position = sequence;
        match arrived.filter(|arrived| *arrived <= self.now) {
            Some(arrived) if arrived < self.from => self.unknown = None,
            Some(_) => self.found = Some(self.unknown.unwrap_or(sequence)),
            None => {
                self.unknown.get_or_insert(sequence);
            }
        }
        self.found.is_some()
    }

    /// Passes over the events up to `last`, if none of them can be the one: they arrived
    /// between these times. Returns whether it did.
    pub(super) fn pass_over(
        &mut self,
        first: Sequence,
        last: Sequence,
        (earliest, latest): (Timestamp, Timestamp),
    ) -> bool {
        if latest < self.from {
            self.unknown = None;
        } else if earliest > self.now {
            self.unknown.get_or_insert(first);
        } else {
            return false;
        }
        self.position = self.position.max(last);
        true
    }

    /// The position just before the event that was found.
    pub(super) fn start(&self, head: Sequence) -> Sequence {
        let found = self.found.or(self.unknown);
        found.map_or(head, Sequence::previous)
    }
}

/// What was found for some times, so that the next search for about the same begins
/// there.
#[derive(Debug, Default)]
pub(super) struct ArrivalAnswers(VecDeque<(Timestamp, Sequence)>);

impl ArrivalAnswers {
    /// All events up to here arrived before `from`, or at a time that nobody knows.
    pub(super) fn best_for(&self, from: Timestamp) -> Sequence {
        let earlier = self.0.iter().filter(|(asked, _)| *asked <= from);
        earlier.map(|(_, start)| *start).max().unwrap_or_default()
    }

    pub(super) fn add(&mut self, from: Timestamp, start: Sequence) {
        if self.0.len() == ANSWERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((from, start));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_unix_secs(secs)
    }

    #[test]
    fn no_event_from_then_on_is_passed_over_however_the_clock_was_set() {
        const NOW: u64 = 100;
        const NONE: u64 = 0;
        for (stamps, from, start) in [
            (&[][..], 5, 0),
            (&[1, 2, 3, 4], 3, 2),
            (&[1, 2, 3, 4], 0, 0),
            (&[1, 2, 3, 4], 5, 4),
            // The clock was set back, and had gone ahead before.
            (&[1, 9, 2, 3], 3, 1),
            (&[8, 1, 2, 3], 8, 0),
            // In the future: with what follows it.
            (&[1, 900, 2, 3], 3, 3),
            (&[1, 2, 900, 901, 3], 3, 2),
            (&[1, 2, 900], 3, 2),
            // Damaged.
            (&[1, NONE, 3], 3, 1),
            (&[NONE, 1, 3], 3, 2),
        ] {
            let mut search = ArrivalSearch::new(at(from), at(NOW), Sequence::ZERO);
            for (n, &stamp) in stamps.iter().enumerate() {
                let arrived = (stamp != NONE).then(|| at(stamp));
                if search.look_at(Sequence(n as u64 + 1), arrived) {
                    break;
                }
            }
            let head = Sequence(stamps.len() as u64);
            assert_eq!(search.start(head).0, start, "{stamps:?} from {from}");
        }
    }

    #[test]
    fn answers_help_later_times_and_no_earlier_ones() {
        let mut answers = ArrivalAnswers::default();
        assert_eq!(answers.best_for(at(5)), Sequence::ZERO);
        answers.add(at(5), Sequence(50));
        answers.add(at(3), Sequence(30));
        assert_eq!(answers.best_for(at(4)), Sequence(30));
        assert_eq!(answers.best_for(at(5)), Sequence(50));
        assert_eq!(answers.best_for(at(2)), Sequence::ZERO);
        for n in 0..100 {
            answers.add(at(100 + n), Sequence(1000 + n));
        }
        assert_eq!(answers.best_for(at(99)), Sequence::ZERO, "they are few");
    }
}
