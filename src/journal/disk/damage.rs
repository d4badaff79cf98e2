//! What reads have found damaged, for whoever operates the journal.
//!
//! Each stretch is logged once, when it is met first. Invariants: the stretches
//! do not touch each other; no more than [`STRETCHES_MAX`] are told apart, and
//! what is beyond them is counted with the nearest.

use std::collections::BTreeMap;

use hookrill_core::Sequence;
use parking_lot::Mutex;

const STRETCHES_MAX: usize = 1024;

/// The stretches of damaged events, by their first, with their last.
#[derive(Debug, Default)]
pub(super) struct FoundDamage(Mutex<BTreeMap<Sequence, Sequence>>);

impl FoundDamage {
    /// Adds a stretch that a read met.
    pub(super) fn add(&self, first: Sequence, last: Sequence, why: &dyn std::fmt::Display) {
        assert!(first <= last, "a stretch has an event");
        let mut stretches = self.0.lock();
        let before = stretches.range(..=last.next()).next_back();
        let before = before.map(|(first, last)| (*first, *last));
        if before.is_some_and(|(begin, end)| begin <= first && last <= end) {
            return;
        }
        let (mut begin, mut end) = (first, last);
        // Those that it touches become one with it.
        while let Some((other, other_end)) = stretches
            .range(..=end.next())
            .next_back()
            .map(|(first, last)| (*first, *last))
            && other_end.next() >= begin
        {
            stretches.remove(&other);
            (begin, end) = (begin.min(other), end.max(other_end));
        }
        if stretches.len() < STRETCHES_MAX {
            stretches.insert(begin, end);
        } else if let Some((_, last)) = stretches.range_mut(..=begin).next_back() {
            *last = end;
        }
        drop(stretches);
        tracing::error!(
            %first,
            %last,
            %why,
            "events of the journal are damaged; subscribers are told of a gap and go on behind it"
        );
    }

    /// How many damaged events above the floor were found so far.
    pub(super) fn events_above(&self, floor: Sequence) -> u64 {
        let mut stretches = self.0.lock();
        stretches.retain(|_, last| *last > floor);
        let events = |(first, last): (&Sequence, &Sequence)| last.0 - first.0.max(floor.0 + 1) + 1;
        stretches.iter().map(events).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_counted_once_however_they_are_met_and_not_below_the_floor() {
        let found = FoundDamage::default();
        for (first, last) in [(5, 5), (7, 7), (5, 5), (6, 6), (20, 30), (25, 35), (1, 1), (18, 40)] {
            found.add(Sequence(first), Sequence(last), &"a test");
        }
        assert_eq!(found.events_above(Sequence::ZERO), 1 + 3 + 23);
        assert_eq!(found.events_above(Sequence(6)), 1 + 23);
        assert_eq!(found.events_above(Sequence(39)), 1);
        assert_eq!(found.events_above(Sequence(40)), 0);
    }
}
