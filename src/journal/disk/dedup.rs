//! Which deliveries were here before: decided in the writer, one event at a
//! time.
//!
//! Bounded; beyond the maximum the oldest are forgotten first. An entry takes
//! 32 bytes in `ring` and five, two times over where there is room to grow, in
//! `places`.
//!
//! Invariant: a print has at most one place, that of its newest entry; entries
//! are in the order of their sequences.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashTable;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use hookrill_core::{Sequence, TOPIC_BYTES_MAX, Timestamp, Topic};

/// A delivery, in 16 bytes: the xxh3-128 of its topic, a 0 and its key. No
/// topic has a 0 in it. The key is a SHA-256, so that nobody can choose two
/// that collide here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print(pub(super) u128);

impl Print {
    pub(super) fn of(topic: &Topic, key: &[u8; 32]) -> Self {
        let mut bytes = SmallVec::<[u8; TOPIC_BYTES_MAX + 33]>::new();
        bytes.extend_from_slice(topic.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(key);
        Self(xxh3_128(&bytes))
    }

    /// It is a hash already; half of it is enough to find it by.
    fn hash(self) -> u64 {
        self.0 as u64
    }
}

/// Where a delivery was seen, and until when a second one is its duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) print: Print,
    pub(super) sequence: Sequence,
    pub(super) until: Timestamp,
}

/// The deliveries that are remembered.
pub(super) struct Deliveries {
    /// Oldest first. Those whose print came anew have no place any more.
    ring: VecDeque<Entry>,
    /// What the first of `ring` is called in `places`.
    base: u32,
    places: HashTable<u32>,
    entries_max: usize,
    oldest: Arc<AtomicU64>,
}

/// The most entries, whatever is configured: places are 32 bits wide, and some
/// entries are in the ring for nothing.
const ENTRIES_MAX: u64 = 1 << 30;
/// So many of those may be in the ring beside a quarter of the living.
const DEAD_MAX: usize = 1024;

impl Deliveries {
    pub(super) fn new(entries_max: u64) -> Self {
        Self {
            ring: VecDeque::new(),
            base: 0,
            places: HashTable::new(),
            entries_max: usize::try_from(entries_max.min(ENTRIES_MAX)).unwrap_or(usize::MAX),
            oldest: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// Makes room for so many at once.
    pub(super) fn reserve(&mut self, entries: u64) {
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let entries = entries.min(self.entries_max);
        self.ring.reserve(entries);
        let (ring, base) = (&self.ring, self.base);
        let hash = |&place: &u32| at(ring, base, place).print.hash();
        self.places.reserve(entries, hash);
    }

    /// Where the delivery was seen, if one that arrived at `arrived` is its
    /// duplicate; else remembers it, in place of an expired entry or of none.
    pub(super) fn meet(&mut self, entry: Entry, arrived: Timestamp) -> Option<Sequence> {
        if let Some(before) = self.find(entry.print)
            && arrived < before.until
        {
            return Some(before.sequence);
        }
        self.remember(entry);
        None
    }

    fn find(&self, print: Print) -> Option<Entry> {
        let found = |&place: &u32| at(&self.ring, self.base, place).print == print;
        let place = self.places.find(print.hash(), found)?;
        Some(*at(&self.ring, self.base, *place))
    }

    /// Remembers an entry that is younger than all, in place of one with the
    /// same print, if there is one.
    pub(super) fn remember(&mut self, entry: Entry) {
        if self.ring.len() > self.places.len() + self.places.len() / 4 + DEAD_MAX {
            self.bury();
        }
        let (ring, base) = (&self.ring, self.base);
        let fresh = base.wrapping_add(ring.len() as u32);
        let found = |&place: &u32| at(ring, base, place).print == entry.print;
        match self.places.find_mut(entry.print.hash(), found) {
            Some(place) => *place = fresh,
            None => {
                let hash = |&place: &u32| at(ring, base, place).print.hash();
                self.places.insert_unique(entry.print.hash(), fresh, hash);
            }
        }
        self.ring.push_back(entry);
        while self.places.len() > self.entries_max {
            self.pop();
        }
    }

    /// Forgets the expired ones at the front.
    pub(super) fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.ring.front()
            && (oldest.until <= now || !self.is_at(self.base, oldest))
        {
            self.pop();
        }
        let oldest = self.ring.front().map_or(u64::MAX, |entry| entry.sequence.0);
        self.oldest.store(oldest, Ordering::Release);
    }

    /// Below it nothing is remembered; `u64::MAX` where nothing is.
    pub(super) fn oldest(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.oldest)
    }

    /// Whether this place is that of the entry's print.
    fn is_at(&self, place: u32, entry: &Entry) -> bool {
        let found = self
            .places
            .find(entry.print.hash(), |&found| found == place);
        found.is_some()
    }

    fn pop(&mut self) {
        let Some(entry) = self.ring.front() else {
            return;
        };
        let base = self.base;
        // Another place is that of a younger entry with the same print.
        let own = self
            .places
            .find_entry(entry.print.hash(), |&place| place == base);
        if let Ok(own) = own {
            own.remove();
        }
        self.ring.pop_front();
        self.base = base.wrapping_add(1);
    }

    /// Takes those out that have no place any more.
    fn bury(&mut self) {
        let ring = std::mem::take(&mut self.ring);
        let (places, base) = (&self.places, self.base);
        let living = ring.into_iter().enumerate().filter(|(number, entry)| {
            let place = base.wrapping_add(*number as u32);
            places
                .find(entry.print.hash(), |&found| found == place)
                .is_some()
        });
        self.ring = living.map(|(_, entry)| entry).collect();
        self.base = 0;
        self.places.clear();
        let ring = &self.ring;
        for (number, entry) in ring.iter().enumerate() {
            let hash = |&place: &u32| at(ring, 0, place).print.hash();
            self.places
                .insert_unique(entry.print.hash(), number as u32, hash);
        }
    }
}

fn at(ring: &VecDeque<Entry>, base: u32, place: u32) -> &Entry {
    &ring[place.wrapping_sub(base) as usize]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn entry(print: u128, sequence: u64, until: u64) -> Entry {
        Entry {
            // Spread like a hash.
            print: Print(print.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)),
            sequence: Sequence(sequence),
            until: Timestamp::from_unix_ms(until),
        }
    }

    #[test]
    fn a_print_is_of_topic_and_key() {
        let topic = |name: &str| name.parse::<Topic>().unwrap();
        let print = |name, key| Print::of(&topic(name), &[key; 32]);
        assert_eq!(print("a", 1), print("a", 1));
        assert_ne!(print("a", 1), print("a", 2));
        assert_ne!(print("a", 1), print("b", 1));
        assert_eq!(
            print("a.b", 7).0,
            20_445_475_128_775_887_303_427_622_364_392_625_419
        );
    }

    #[test]
    fn renewed_entries_do_not_pile_up_behind_one_that_stays() {
        let mut deliveries = Deliveries::new(1000);
        assert_eq!(
            deliveries.meet(entry(0, 1, u64::MAX), Timestamp::default()),
            None
        );
        for sequence in 2..100_000 {
            let arrived = Timestamp::from_unix_ms(sequence);
            let renewed = entry(1 + u128::from(sequence % 7), sequence, sequence + 1);
            assert_eq!(deliveries.meet(renewed, arrived), None);
            deliveries.forget(arrived);
        }
        assert!(
            deliveries.ring.len() < 2 * DEAD_MAX,
            "{}",
            deliveries.ring.len()
        );
        let again = deliveries.meet(entry(0, 9, 9), Timestamp::from_unix_ms(100_000));
        assert_eq!(again, Some(Sequence(1)));
    }

    #[test]
    fn it_does_what_a_plain_map_would() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut deliveries = Deliveries::new(50);
        // Where a wrap would show.
        deliveries.base = u32::MAX - 500;
        let mut plain: HashMap<u128, Entry> = HashMap::new();
        for sequence in 1..20_000 {
            let (print, arrived) = (u128::from(rng.u64(..90)), sequence + rng.u64(..20));
            let arrived = Timestamp::from_unix_ms(arrived);
            let fresh = entry(print, sequence, sequence + rng.u64(..200));
            let expected = plain.get(&print).filter(|seen| arrived < seen.until);
            let expected = expected.map(|seen| seen.sequence);
            assert_eq!(deliveries.meet(fresh, arrived), expected, "at {sequence}");
            if expected.is_none() {
                plain.insert(print, fresh);
            }
            let now = Timestamp::from_unix_ms(sequence.saturating_sub(9));
            deliveries.forget(now);
            let oldest = |plain: &HashMap<u128, Entry>| {
                let oldest = plain.iter().min_by_key(|(_, seen)| seen.sequence);
                oldest.map(|(print, seen)| (*print, seen.until))
            };
            while let Some((print, until)) = oldest(&plain) {
                if plain.len() <= 50 && until > now {
                    break;
                }
                plain.remove(&print);
            }
            assert_eq!(deliveries.places.len(), plain.len(), "at {sequence}");
        }
    }
}
