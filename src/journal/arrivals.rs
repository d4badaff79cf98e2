//! The search for the first event that arrived at some time or later.
//!
//! Arrivals are stamped by a clock that may be set, so they need not rise. The search
//! goes from the oldest event to the newest and never passes over an event that is
//! stamped with that time or later. A stamp that has not come yet says nothing: what
//! has one counts as what follows it, but only until it has come: no answer is kept
//! that passes over one. Invariant: the position never falls.

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
    /// The first event whose stamp has not come yet.
    future: Option<Sequence>,
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
            future: None,
            position,
            found: None,
        }
    }

    /// Looks at the next event, which arrived at this time, where that is known; returns
    /// whether the search is over.
    pub(super) fn look_at(&mut self, sequence: Sequence, arrived: Option<Timestamp>) -> bool {
        debug_assert!(sequence > self.position, "a search goes forward");
        self.position = sequence;
        if arrived.is_some_and(|at| at > self.now) {
            self.future.get_or_insert(sequence);
        }
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
            self.future.get_or_insert(first);
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
/// there. Invariant: at most [`ANSWERS_MAX`], each for another time.
#[derive(Debug, Default)]
pub(super) struct ArrivalAnswers(Vec<KeptAnswer>);

/// All events up to `start` arrived before `from`, or at a time that nobody will know.
#[derive(Debug, Clone, Copy)]
struct KeptAnswer {
    from: Timestamp,
    start: Sequence,
}

impl ArrivalAnswers {
    /// A search for what arrived at `from` or later, from where it may begin.
    pub(super) fn search(&self, from: Timestamp, now: Timestamp) -> ArrivalSearch {
        let earlier = self.0.iter().filter(|answer| answer.from <= from);
        let begin = earlier.map(|answer| answer.start).max();
        ArrivalSearch::new(from, now, begin.unwrap_or_default())
    }

    /// Keeps what a search has found that is over, where that helps the next one.
    pub(super) fn add(&mut self, search: &ArrivalSearch, head: Sequence) {
        let ArrivalSearch { from, now, .. } = *search;
        let before_future = search.future.map_or(head, Sequence::previous);
        let start = search.start(head).min(before_future);
        // What is asked of the future is found at the head, whoever asks.
        if from > now || start <= self.search(from, now).position {
            return;
        }
        // Answers for one time after another take each other's place, and those for
        // others stay.
        let distance = |answer: &KeptAnswer| {
            let (earlier, later) = (answer.from.min(from), answer.from.max(from));
            later.since(earlier)
        };
        let is_full = self.0.len() == ANSWERS_MAX;
        let nearest = self.0.iter_mut().min_by_key(|answer| distance(answer));
        match nearest.filter(|answer| is_full || answer.from == from) {
            Some(nearest) => *nearest = KeptAnswer { from, start },
            None => self.0.push(KeptAnswer { from, start }),
        }
        debug_assert!(self.0.len() <= ANSWERS_MAX);
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

    /// A stamp of zero is damaged.
    const NONE: u64 = 0;

    /// Searches through what is kept for the answer; returns where the search began.
    fn search(answers: &mut ArrivalAnswers, stamps: &[u64], from: u64, now: u64) -> (u64, u64) {
        let mut search = answers.search(at(from), at(now));
        let begin = search.position;
        let events = (1..).map(Sequence).zip(stamps);
        for (sequence, &stamp) in events.filter(|(sequence, _)| *sequence > begin) {
            let arrived = (stamp != NONE).then(|| at(stamp));
            if search.look_at(sequence, arrived) {
                break;
            }
        }
        let head = Sequence(stamps.len() as u64);
        answers.add(&search, head);
        (begin.0, search.start(head).0)
    }

    #[test]
    fn no_answer_passes_over_a_stamp_that_was_still_to_come() {
        for (stamps, first, then, start) in [
            (&[1, 900, 2, 3][..], (3, 100), (500, 1000), 1),
            (&[1, 2, 3, 900], (3, 100), (500, 1000), 3),
            (&[1, 900, 2], (50, 100), (500, 1000), 1),
            (&[1, 2, NONE, 900, 4], (3, 100), (500, 1000), 2),
        ] {
            let mut answers = ArrivalAnswers::default();
            search(&mut answers, stamps, first.0, first.1);
            let (_, found) = search(&mut answers, stamps, then.0, then.1);
            assert_eq!(found, start, "{stamps:?}");
        }
        // Passed over as a segment.
        let mut answers = ArrivalAnswers::default();
        let mut passing = answers.search(at(50), at(100));
        assert!(passing.pass_over(Sequence(1), Sequence(4), (at(1), at(2))));
        assert!(passing.pass_over(Sequence(5), Sequence(8), (at(900), at(901))));
        assert!(passing.pass_over(Sequence(9), Sequence(12), (at(3), at(4))));
        answers.add(&passing, Sequence(12));
        assert_eq!(answers.search(at(500), at(1000)).position, Sequence(4));
    }

    #[test]
    fn answers_help_later_times_and_no_earlier_ones() {
        let stamps: Vec<u64> = (1..=100).collect();
        let mut answers = ArrivalAnswers::default();
        let mut begin = |from| search(&mut answers, &stamps, from, 1000).0;
        assert_eq!(begin(51), 0);
        assert_eq!(begin(31), 0);
        assert_eq!(begin(41), 30);
        assert_eq!(begin(52), 50);
        assert_eq!(begin(21), 0);
    }

    #[test]
    fn answers_for_one_time_after_another_push_out_no_others() {
        let stamps: Vec<u64> = (1..=1000).collect();
        let mut answers = ArrivalAnswers::default();
        let mut begin = |from| search(&mut answers, &stamps, from, 2000).0;
        for hours_ago in 1..ANSWERS_MAX as u64 {
            begin(hours_ago * 10);
        }
        for now in 500..900 {
            begin(now);
        }
        assert_eq!(begin(900), 898, "the last one is kept");
        assert_eq!(begin(12), 9, "and the first one as well");
        assert_eq!(answers.0.len(), ANSWERS_MAX);
    }

    #[test]
    fn what_helps_nobody_is_not_kept() {
        let stamps = [5, 6, 7, 8];
        let mut answers = ArrivalAnswers::default();
        for (from, now) in [(1, 100), (5, 100), (200, 100)] {
            search(&mut answers, &stamps, from, now);
            assert_eq!(answers.0.len(), 0, "from {from}");
        }
        for _ in 0..3 {
            search(&mut answers, &stamps, 7, 100);
        }
        assert_eq!(answers.0.len(), 1, "once");
    }
}
