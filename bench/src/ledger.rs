//! Checks that each subscriber of a topic got every acknowledged event once,
//! and all of them in the same order.
//!
//! Whoever is furthest ahead writes the order that the others are held to, so
//! that a delivery costs one comparison. A subscriber that strays from it is
//! recorded whole from there on, and judged at the end against the first one
//! that is complete: the one that wrote the order may have been the wrong one.
//! Invariant: what differs from the order is never forgotten.

use std::collections::HashMap;

use serde::Serialize;

/// What was wrong with deliveries, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Acknowledged events that a subscriber did not get.
    pub missing: u64,
    /// Events that a subscriber got once more.
    pub doubled: u64,
    /// Events before which a subscriber already had a later one.
    pub disordered: u64,
    /// Deliveries whose body has another length than was sent, or a number
    /// that was never sent to that topic.
    pub damaged: u64,
    /// The first one found, for a person to look for.
    pub example: Option<String>,
}

impl Faults {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.missing + self.doubled + self.disordered + self.damaged
    }

    /// Whether there are others than missing ones.
    #[must_use]
    pub fn beyond_missing(&self) -> bool {
        self.count() > self.missing
    }

    /// Counts another's in.
    pub fn add(&mut self, other: &Faults) {
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.damaged += other.damaged;
        if self.example.is_none() {
            self.example.clone_from(&other.example);
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        self.example.get_or_insert_with(what);
    }
}

/// Where one subscriber is in its topic.
#[derive(Debug, Default)]
pub struct Place {
    /// So many events agreed with the order.
    agreed: usize,
    /// What came since it strayed.
    strayed: Option<Vec<u32>>,
}

impl Place {
    /// How many events came.
    #[must_use]
    pub fn count(&self) -> usize {
        self.agreed + self.strayed.as_ref().map_or(0, Vec::len)
    }
}

/// What was sent to one topic.
#[derive(Debug, Default)]
pub struct Sent {
    /// The numbers of the acknowledged events, per sender in its order.
    pub acknowledged: Vec<Vec<u32>>,
    /// Those without an answer: they may turn up, once.
    pub unanswered: Vec<u32>,
}

/// The order in which one topic's subscribers got its events.
#[derive(Debug, Default)]
pub struct Ledger {
    order: Vec<u32>,
}

impl Ledger {
    /// A subscriber got an event.
    pub fn take(&mut self, place: &mut Place, number: u32) {
        if let Some(strayed) = &mut place.strayed {
            strayed.push(number);
            return;
        }
        match self.order.get(place.agreed) {
            Some(expected) if *expected == number => place.agreed += 1,
            Some(_) => place.strayed = Some(vec![number]),
            None => {
                self.order.push(number);
                place.agreed += 1;
            }
        }
    }

    /// What was wrong, when all is over.
    #[must_use]
    pub fn verdict<'p>(
        &self,
        places: impl Iterator<Item = &'p Place> + Clone,
        sent: &Sent,
    ) -> Faults {
        let all = Known::of(sent);
        let got = |place: &Place| -> Vec<u32> {
            let agreed = self.order[..place.agreed].iter();
            let strayed = place.strayed.iter().flatten();
            agreed.chain(strayed).copied().collect()
        };
        // All alike: one stands for all.
        if self.is_plain(places.clone())
            && all.judge(0, &self.order, &ranks(&self.order)).count() == 0
        {
            return Faults::default();
        }
        let lists: Vec<Vec<u32>> = places.map(got).collect();
        let complete = lists.iter().find(|list| all.is_complete(list));
        // Where nobody is, the longest shows an order at least.
        let longest = lists.iter().max_by_key(|list| list.len());
        let ranks = ranks(complete.or(longest).map_or(&[], Vec::as_slice));
        let mut faults = Faults::default();
        for (subscriber, list) in lists.iter().enumerate() {
            faults.add(&all.judge(subscriber, list, &ranks));
        }
        faults
    }

    fn is_plain<'p>(&self, mut places: impl Iterator<Item = &'p Place>) -> bool {
        places.all(|place| place.strayed.is_none() && place.agreed == self.order.len())
    }
}

/// The events that a topic has, by number.
struct Known<'s> {
    sent: &'s Sent,
    /// Number → acknowledged by which sender, and at which place there.
    acknowledged: HashMap<u32, (usize, usize)>,
}

impl<'s> Known<'s> {
    fn of(sent: &'s Sent) -> Self {
        let senders = sent.acknowledged.iter().enumerate();
        let acknowledged = senders.flat_map(|(sender, numbers)| {
            let places = numbers.iter().enumerate();
            places.map(move |(place, number)| (*number, (sender, place)))
        });
        Self {
            sent,
            acknowledged: acknowledged.collect(),
        }
    }

    /// Whether a list has each acknowledged event once, and each sender's
    /// events in that sender's order.
    fn is_complete(&self, list: &[u32]) -> bool {
        self.judge(0, list, &ranks(list)).count() == 0
    }

    fn judge(&self, subscriber: usize, list: &[u32], ranks: &HashMap<u32, usize>) -> Faults {
        let mut faults = Faults::default();
        let mut counts: HashMap<u32, u32> = HashMap::with_capacity(list.len());
        let mut latest = None;
        let mut latest_of = vec![None; self.sent.acknowledged.len()];
        for &number in list {
            let acknowledged = self.acknowledged.get(&number);
            if acknowledged.is_none() && !self.sent.unanswered.contains(&number) {
                faults.damaged += 1;
                faults.note(|| format!("subscriber {subscriber} got {number}, which was not sent"));
                continue;
            }
            let count = counts.entry(number).or_default();
            *count += 1;
            if *count > 1 {
                faults.doubled += 1;
                faults.note(|| format!("subscriber {subscriber} got {number} again"));
                continue;
            }
            let rank = ranks.get(&number).copied();
            let behind = rank.is_some() && rank < latest;
            latest = latest.max(rank);
            let overtaken = acknowledged.is_some_and(|&(sender, place)| {
                let before = latest_of[sender].replace(place);
                before > Some(place)
            });
            if behind || overtaken {
                faults.disordered += 1;
                faults.note(|| format!("subscriber {subscriber} got {number} too late"));
            }
        }
        self.count_missing(subscriber, &counts, &mut faults);
        faults
    }

    fn count_missing(&self, subscriber: usize, counts: &HashMap<u32, u32>, faults: &mut Faults) {
        for number in self.sent.acknowledged.iter().flatten() {
            if !counts.contains_key(number) {
                faults.missing += 1;
                faults.note(|| format!("subscriber {subscriber} lacks {number}"));
            }
        }
    }
}

/// The place at which each event came first.
fn ranks(order: &[u32]) -> HashMap<u32, usize> {
    let mut ranks = HashMap::with_capacity(order.len());
    for (rank, number) in order.iter().enumerate() {
        ranks.entry(*number).or_insert(rank);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found where subscribers got these lists, and one sender sent 0
    /// to 4 in that order: missing, doubled, disordered, damaged.
    fn check(lists: &[&[u32]], expect: [u64; 4]) {
        let mut ledger = Ledger::default();
        let mut places: Vec<Place> = lists.iter().map(|_| Place::default()).collect();
        // Side by side, so that each list leads for a while.
        for step in 0..lists.iter().map(|list| list.len()).max().unwrap_or(0) {
            for (place, list) in places.iter_mut().zip(lists) {
                if let Some(number) = list.get(step) {
                    ledger.take(place, *number);
                }
            }
        }
        let sent = Sent {
            acknowledged: vec![vec![0, 1, 2, 3, 4]],
            unanswered: vec![9],
        };
        let faults = ledger.verdict(places.iter(), &sent);
        let found = [
            faults.missing,
            faults.doubled,
            faults.disordered,
            faults.damaged,
        ];
        assert_eq!(found, expect, "{lists:?}: {faults:?}");
        assert_eq!(faults.example.is_some(), faults.count() > 0);
    }

    #[test]
    fn what_all_got_alike_is_right() {
        check(&[&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 4]], [0, 0, 0, 0]);
    }

    #[test]
    fn each_kind_of_fault_is_named_whoever_leads() {
        let right: &[u32] = &[0, 1, 2, 3, 4];
        let wrong: [(&[u32], [u64; 4]); 6] = [
            (&[0, 1, 3, 4], [1, 0, 0, 0]),
            (&[0, 1, 2, 3], [1, 0, 0, 0]),
            (&[], [5, 0, 0, 0]),
            (&[0, 1, 1, 2, 3, 4], [0, 1, 0, 0]),
            (&[0, 2, 1, 3, 4], [0, 0, 1, 0]),
            (&[0, 1, 2, 3, 4, 7], [0, 0, 0, 1]),
        ];
        for (list, expect) in wrong {
            check(&[list, right], expect);
            check(&[right, list], expect);
            check(&[list], expect);
        }
    }

    #[test]
    fn a_sender_whose_events_overtake_each_other_for_all_is_found_out() {
        let swapped: &[u32] = &[0, 2, 1, 3, 4];
        check(&[swapped, swapped], [0, 0, 2, 0]);
    }

    #[test]
    fn an_event_without_an_answer_may_turn_up_once() {
        check(&[&[0, 9, 1, 2, 3, 4], &[0, 9, 1, 2, 3, 4]], [0, 0, 0, 0]);
        check(&[&[0, 9, 9, 1, 2, 3, 4]], [0, 1, 0, 0]);
    }

    #[test]
    fn two_subscribers_with_different_orders_do_not_pass() {
        let mut ledger = Ledger::default();
        let mut places = [Place::default(), Place::default()];
        for (place, list) in places.iter_mut().zip([[0, 1], [1, 0]]) {
            for number in list {
                ledger.take(place, number);
            }
        }
        // Two senders: neither order is wrong by itself.
        let sent = Sent {
            acknowledged: vec![vec![0], vec![1]],
            unanswered: Vec::new(),
        };
        assert_eq!(ledger.verdict(places.iter(), &sent).disordered, 1);
    }
}
