//! Which deliveries were stored before: decided in the writer, one event at a
//! time.
//!
//! Bounded; beyond the maximum the oldest are forgotten first. An entry takes
//! 32 bytes in `ring` and five in `positions`, twice over where those have
//! room to grow.
//!
//! Invariants: a fingerprint has at most one position, that of its newest
//! entry. Entries are in the order of their sequences.

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

/// A delivery in 16 bytes: the xxh3-128 of its topic, a 0 and its key. No
/// topic has a 0 in it. The key is a SHA-256, so nobody can choose two that
/// collide here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u128);

impl Fingerprint {
    pub(super) fn new(topic: &Topic, key: &[u8; 32]) -> Self {
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

/// Where a delivery was stored, and until when another one is its duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DedupEntry {
    pub(super) fingerprint: Fingerprint,
    pub(super) sequence: Sequence,
    pub(super) until: Timestamp,
}

/// The deliveries that are remembered.
pub(super) struct DedupIndex {
    /// Oldest first. An entry that a newer one replaced stays here until it is
    /// popped or compacted away, but has no position.
    ring: VecDeque<DedupEntry>,
    /// The position of the first entry of `ring`. Positions wrap around.
    base: u32,
    positions: HashTable<u32>,
    entries_max: usize,
    oldest: Arc<AtomicU64>,
}

/// The most entries, whatever is configured: positions are 32 bits wide, and
/// replaced entries take some of them.
const ENTRIES_MAX: u64 = 1 << 30;
/// So many replaced entries may be in the ring, and a quarter of the others.
const REPLACED_MAX: usize = 1024;

impl DedupIndex {
    pub(super) fn new(entries_max: u64) -> Self {
        Self {
            ring: VecDeque::new(),
            base: 0,
            positions: HashTable::new(),
            entries_max: usize::try_from(entries_max.min(ENTRIES_MAX)).unwrap_or(usize::MAX),
            oldest: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }

    /// Makes room for this many entries at once.
    pub(super) fn reserve(&mut self, entries: u64) {
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let entries = entries.min(self.entries_max);
        self.ring.reserve(entries);
        let (ring, base) = (&self.ring, self.base);
        let hash = |&position: &u32| at(ring, base, position).fingerprint.hash();
        self.positions.reserve(entries, hash);
    }

    /// Where the delivery was stored, if one that arrived at `arrived` is its
    /// duplicate. Otherwise inserts it, in place of an expired entry if there
    /// is one.
    pub(super) fn check_and_insert(
        &mut self,
        entry: DedupEntry,
        arrived: Timestamp,
    ) -> Option<Sequence> {
        if let Some(before) = self.find(entry.fingerprint)
            && arrived < before.until
        {
            return Some(before.sequence);
        }
        self.insert(entry);
        None
    }

    /// The newest entry's sequence.
    pub(super) fn newest(&self) -> Option<Sequence> {
        self.ring.back().map(|entry| entry.sequence)
    }

    fn find(&self, fingerprint: Fingerprint) -> Option<DedupEntry> {
        let is_same =
            |&position: &u32| at(&self.ring, self.base, position).fingerprint == fingerprint;
        let position = self.positions.find(fingerprint.hash(), is_same)?;
        Some(*at(&self.ring, self.base, *position))
    }

    /// Inserts an entry that is newer than all others, in place of one with
    /// the same fingerprint if there is one.
    pub(super) fn insert(&mut self, entry: DedupEntry) {
        let newest = self.ring.back();
        debug_assert!(newest.is_none_or(|newest| newest.sequence < entry.sequence));
        if self.ring.len() > self.positions.len() + self.positions.len() / 4 + REPLACED_MAX {
            self.compact();
        }
        let (ring, base) = (&self.ring, self.base);
        let fresh = base.wrapping_add(ring.len() as u32);
        let hash = |&position: &u32| at(ring, base, position).fingerprint.hash();
        let is_same = |&position: &u32| at(ring, base, position).fingerprint == entry.fingerprint;
        match self.positions.find_mut(entry.fingerprint.hash(), is_same) {
            Some(position) => *position = fresh,
            None => {
                let unique = entry.fingerprint.hash();
                self.positions.insert_unique(unique, fresh, hash);
            }
        }
        self.ring.push_back(entry);
        while self.positions.len() > self.entries_max {
            self.pop();
        }
        debug_assert!(self.positions.len() <= self.ring.len());
    }

    /// Removes the oldest entries that have expired by now.
    pub(super) fn remove_expired(&mut self, now: Timestamp) {
        while let Some(oldest) = self.ring.front()
            && (oldest.until <= now || !self.has_position(oldest, self.base))
        {
            self.pop();
        }
        let oldest = self.ring.front().map_or(u64::MAX, |entry| entry.sequence.0);
        self.oldest.store(oldest, Ordering::Release);
    }

    /// The sequence below which nothing is remembered; `u64::MAX` while
    /// nothing is.
    pub(super) fn oldest(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.oldest)
    }

    /// Whether the entry's fingerprint has this position: a newer entry with
    /// the same fingerprint would have taken it.
    fn has_position(&self, entry: &DedupEntry, position: u32) -> bool {
        let hash = entry.fingerprint.hash();
        self.positions
            .find(hash, |&found| found == position)
            .is_some()
    }

    /// Removes the oldest entry.
    fn pop(&mut self) {
        let Some(entry) = self.ring.front() else {
            debug_assert!(self.positions.is_empty(), "a position of no entry");
            return;
        };
        let base = self.base;
        // Another position belongs to a newer entry with the same fingerprint.
        let own = self
            .positions
            .find_entry(entry.fingerprint.hash(), |&position| position == base);
        if let Ok(own) = own {
            own.remove();
        }
        self.ring.pop_front();
        self.base = base.wrapping_add(1);
    }

    /// Removes the entries that newer ones have replaced.
    fn compact(&mut self) {
        let all = std::mem::take(&mut self.ring);
        let current = all.into_iter().enumerate().filter(|(n, entry)| {
            let position = self.base.wrapping_add(*n as u32);
            self.has_position(entry, position)
        });
        let ring: VecDeque<_> = current.map(|(_, entry)| entry).collect();
        debug_assert_eq!(ring.len(), self.positions.len());
        self.base = 0;
        self.positions.clear();
        let hash = |&position: &u32| at(&ring, 0, position).fingerprint.hash();
        for (n, entry) in ring.iter().enumerate() {
            let unique = entry.fingerprint.hash();
            self.positions.insert_unique(unique, n as u32, hash);
        }
        self.ring = ring;
    }
}

fn at(ring: &VecDeque<DedupEntry>, base: u32, position: u32) -> &DedupEntry {
    &ring[position.wrapping_sub(base) as usize]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn entry(fingerprint: u128, sequence: u64, until: u64) -> DedupEntry {
        DedupEntry {
            // Spread like a hash.
            fingerprint: Fingerprint(
                fingerprint.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835),
            ),
            sequence: Sequence(sequence),
            until: Timestamp::from_unix_ms(until),
        }
    }

    #[test]
    fn a_fingerprint_is_of_topic_and_key() {
        let topic = |name: &str| name.parse::<Topic>().unwrap();
        let fingerprint = |name, key| Fingerprint::new(&topic(name), &[key; 32]);
        assert_eq!(fingerprint("a", 1), fingerprint("a", 1));
        assert_ne!(fingerprint("a", 1), fingerprint("a", 2));
        assert_ne!(fingerprint("a", 1), fingerprint("b", 1));
        assert_eq!(
            fingerprint("a.b", 7).0,
            20_445_475_128_775_887_303_427_622_364_392_625_419
        );
    }

    #[test]
    fn renewed_entries_do_not_pile_up_behind_one_that_stays() {
        let mut dedup = DedupIndex::new(1000);
        assert_eq!(
            dedup.check_and_insert(entry(0, 1, u64::MAX), Timestamp::default()),
            None
        );
        for sequence in 2..100_000 {
            let arrived = Timestamp::from_unix_ms(sequence);
            let renewed = entry(1 + u128::from(sequence % 7), sequence, sequence + 1);
            assert_eq!(dedup.check_and_insert(renewed, arrived), None);
            dedup.remove_expired(arrived);
        }
        assert!(dedup.ring.len() < 2 * REPLACED_MAX, "{}", dedup.ring.len());
        let again = dedup.check_and_insert(entry(0, 9, 9), Timestamp::from_unix_ms(100_000));
        assert_eq!(again, Some(Sequence(1)));
    }

    #[test]
    fn it_does_what_a_plain_map_would() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut dedup = DedupIndex::new(50);
        // Where a wrap would show.
        dedup.base = u32::MAX - 500;
        let mut plain: HashMap<u128, DedupEntry> = HashMap::new();
        for sequence in 1..20_000 {
            let fingerprint = u128::from(rng.u64(..90));
            let arrived = Timestamp::from_unix_ms(sequence + rng.u64(..20));
            let fresh = entry(fingerprint, sequence, sequence + rng.u64(..200));
            let expected = plain.get(&fingerprint).filter(|seen| arrived < seen.until);
            let expected = expected.map(|seen| seen.sequence);
            assert_eq!(
                dedup.check_and_insert(fresh, arrived),
                expected,
                "at {sequence}"
            );
            if expected.is_none() {
                plain.insert(fingerprint, fresh);
            }
            let now = Timestamp::from_unix_ms(sequence.saturating_sub(9));
            dedup.remove_expired(now);
            while let Some((&oldest, seen)) = plain.iter().min_by_key(|(_, seen)| seen.sequence) {
                if plain.len() <= 50 && seen.until > now {
                    break;
                }
                plain.remove(&oldest);
            }
            assert_eq!(dedup.positions.len(), plain.len(), "at {sequence}");
        }
    }
}
