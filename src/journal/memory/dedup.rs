//! Which deliveries were stored before, in memory.
//!
//! Bounded; beyond the maximum the oldest are forgotten first of the section that has
//! more than its share.
//!
//! Invariants: each key is in the order of its section once, and that order is the one
//! of the sequences.

use std::collections::{HashMap, VecDeque};

use hookrill_core::{Dedup, Sequence, Timestamp, Topic};

use crate::journal::dedup_shares::{DedupShares, SectionHash};

/// What a delivery is known by: within its topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DedupKey {
    within: Topic,
    key: [u8; 32],
}

/// The event that had a key first, and until when others are its duplicates.
struct FirstSeen {
    sequence: Sequence,
    until: Timestamp,
    section: SectionHash,
}

/// The deliveries that are remembered.
#[derive(Default)]
pub(super) struct MemoryDedup {
    seen: HashMap<DedupKey, FirstSeen>,
    /// Per section, oldest first.
    order: HashMap<SectionHash, VecDeque<(Sequence, DedupKey)>>,
    shares: DedupShares,
}

impl DedupKey {
    /// That of a delivery to `topic`.
    pub(super) fn new(topic: &Topic, dedup: &Dedup) -> Self {
        Self {
            within: dedup.within.as_ref().unwrap_or(topic).clone(),
            key: dedup.key,
        }
    }
}

impl MemoryDedup {
    /// Where the delivery was stored, if one that arrived at `arrived` is its duplicate.
    pub(super) fn first_seen(&self, key: &DedupKey, arrived: Timestamp) -> Option<Sequence> {
        let seen = self.seen.get(key)?;
        (arrived < seen.until).then_some(seen.sequence)
    }

    /// Remembers a delivery, in place of an expired one with the same key, and forgets
    /// what is beyond the maximum.
    pub(super) fn remember(
        &mut self,
        key: DedupKey,
        section: SectionHash,
        sequence: Sequence,
        until: Timestamp,
        entries_max: usize,
    ) {
        self.forget(&key);
        let order = self.order.entry(section).or_default();
        order.push_back((sequence, key.clone()));
        self.shares.add(section);
        self.seen.insert(
            key,
            FirstSeen {
                sequence,
                until,
                section,
            },
        );
        while self.seen.len() > entries_max {
            let section = self.shares.who_makes_room(section, entries_max);
            if !self.forget_oldest(section) {
                return;
            }
        }
    }

    /// Forgets those at the front of each section that have expired by now.
    pub(super) fn remove_expired(&mut self, now: Timestamp) {
        let sections: Vec<SectionHash> = self.order.keys().copied().collect();
        for section in sections {
            while self.oldest_until(section).is_some_and(|until| until <= now) {
                self.forget_oldest(section);
            }
        }
    }

    fn oldest_until(&self, section: SectionHash) -> Option<Timestamp> {
        let (_, key) = self.order.get(&section)?.front()?;
        self.seen.get(key).map(|seen| seen.until)
    }

    /// Forgets the oldest of a section; returns whether there was one.
    fn forget_oldest(&mut self, section: SectionHash) -> bool {
        let oldest = self.order.get(&section).and_then(VecDeque::front);
        let Some(key) = oldest.map(|(_, key)| key.clone()) else {
            debug_assert!(false, "a section with entries has an oldest one");
            return false;
        };
        self.forget(&key);
        true
    }

    fn forget(&mut self, key: &DedupKey) {
        let Some(seen) = self.seen.remove(key) else {
            return;
        };
        self.shares.remove(seen.section);
        let Some(order) = self.order.get_mut(&seen.section) else {
            debug_assert!(false, "each key is in the order of its section");
            return;
        };
        if let Ok(at) = order.binary_search_by_key(&seen.sequence, |(sequence, _)| *sequence) {
            order.remove(at);
        }
        if order.is_empty() {
            self.order.remove(&seen.section);
        }
    }
}
