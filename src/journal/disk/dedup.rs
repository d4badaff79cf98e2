//! Which deliveries were stored before: decided in the writer, one event at a
//! time.
//!
//! Bounded; beyond the maximum the oldest are forgotten first. An entry takes
//! 32 bytes in `ring` and five in `positions`, twice over where those have
//! room to grow.
//!
//! Invariants: a fingerprint has at most one position, that of its newest
//! entry. Entries are in the order of their sequences. An entry is counted in its
//! section's share while it has a position.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::HashTable;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use hookrill_core::{Dedup, Sequence, TOPIC_BYTES_MAX, Timestamp, Topic};

use crate::journal::dedup_shares::{DedupShares, SectionHash};

/// A delivery in 16 bytes: two of its section's hash, and 14 of the xxh3-128 of its
/// topic, a 0 and its key. No topic has a 0 in it. The key is a SHA-256, so nobody
/// can choose two that collide here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(pub(super) u128);

impl Fingerprint {
    /// That of a delivery to `topic`.
    pub(super) fn new(topic: &Topic, dedup: &Dedup) -> Self {
        let topic = dedup.within.as_ref().unwrap_or(topic);
        let mut bytes = SmallVec::<[u8; TOPIC_BYTES_MAX + 33]>::new();
        bytes.extend_from_slice(topic.as_str().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&dedup.key);
        let section = u128::from(SectionHash::new(dedup.section.as_ref()).0);
        Self(section << 112 | xxh3_128(&bytes) >> 16)
    }

    fn section(self) -> SectionHash {
        SectionHash((self.0 >> 112) as u16)
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
    shares: DedupShares,
    /// Per section that made room: before this position it has no entry.
    evicted_to: HashMap<SectionHash, u32>,
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
            shares: DedupShares::default(),
            evicted_to: HashMap::new(),
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
                self.shares.add(entry.fingerprint.section());
            }
        }
        self.ring.push_back(entry);
        while self.positions.len() > self.entries_max {
            self.make_room(entry.fingerprint.section());
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

    /// Forgets the oldest entry of whoever has more than a share.
    fn make_room(&mut self, newest: SectionHash) {
        let section = self.shares.who_makes_room(newest, self.entries_max);
        let from = self.evicted_to.get(&section).copied().unwrap_or(self.base);
        // What was popped meanwhile is behind the base.
        let from = from.wrapping_sub(self.base).min(self.ring.len() as u32);
        let from = if from == self.ring.len() as u32 {
            0
        } else {
            from
        };
        let candidates = self.ring.iter().enumerate().skip(from as usize);
        let oldest = candidates
            .filter(|(_, entry)| entry.fingerprint.section() == section)
            .map(|(n, entry)| (self.base.wrapping_add(n as u32), *entry))
            .find(|(position, entry)| self.has_position(entry, *position));
        let Some((position, entry)) = oldest else {
            debug_assert!(false, "a section with entries has an oldest one");
            self.pop();
            return;
        };
        self.forget(entry.fingerprint, position);
        self.evicted_to.insert(section, position.wrapping_add(1));
        if position == self.base {
            self.pop();
        }
    }

    /// Takes an entry's position, if that is its own: another one belongs to a newer
    /// entry with the same fingerprint.
    fn forget(&mut self, fingerprint: Fingerprint, position: u32) {
        let own = self
            .positions
            .find_entry(fingerprint.hash(), |&found| found == position);
        if let Ok(own) = own {
            own.remove();
            self.shares.remove(fingerprint.section());
        }
    }

    /// Removes the oldest entry.
    fn pop(&mut self) {
        let Some(entry) = self.ring.front() else {
            debug_assert!(self.positions.is_empty(), "a position of no entry");
            return;
        };
        self.forget(entry.fingerprint, self.base);
        self.ring.pop_front();
        self.base = self.base.wrapping_add(1);
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
        self.evicted_to.clear();
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
    use std::time::Duration;

    use super::*;

    fn dedup(section: Option<&str>, key: u8) -> Dedup {
        Dedup {
            within: None,
            section: section.map(|name| name.parse().unwrap()),
            key: [key; 32],
            window: Duration::from_secs(1),
        }
    }

    fn entry(fingerprint: u128, sequence: u64, until: u64) -> DedupEntry {
        DedupEntry {
            // Spread like a hash; all of one section.
            fingerprint: Fingerprint(
                fingerprint.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835) >> 16,
            ),
            sequence: Sequence(sequence),
            until: Timestamp::from_unix_ms(until),
        }
    }

    #[test]
    fn a_fingerprint_is_of_topic_and_key() {
        let topic = |name: &str| name.parse::<Topic>().unwrap();
        let fingerprint = |name, key| Fingerprint::new(&topic(name), &dedup(None, key));
        assert_eq!(fingerprint("a", 1), fingerprint("a", 1));
        assert_ne!(fingerprint("a", 1), fingerprint("a", 2));
        assert_ne!(fingerprint("a", 1), fingerprint("b", 1));
        assert_eq!(
            fingerprint("a.b", 7).0,
            59_846_725_564_664_695_827_730_699_964_613_720_670
        );
        let of_section = Fingerprint::new(&topic("a.b"), &dedup(Some("a"), 7));
        assert_eq!(of_section.0 << 16, fingerprint("a.b", 7).0 << 16);
        assert_ne!(of_section.section(), fingerprint("a.b", 7).section());
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

    /// The oldest of who has more than a share, while there are more than 50; then the
    /// oldest of all, while they have expired.
    fn forget_as_a_map_would(
        plain: &mut HashMap<u128, DedupEntry>,
        newest: SectionHash,
        now: Timestamp,
    ) {
        let count = |map: &HashMap<u128, DedupEntry>, section| {
            let all = map.values();
            all.filter(|seen| seen.fingerprint.section() == section)
                .count()
        };
        let oldest = |map: &HashMap<u128, DedupEntry>, section: Option<SectionHash>| {
            let all = map.iter().filter(|(_, seen)| {
                section.is_none_or(|section| seen.fingerprint.section() == section)
            });
            let oldest = all.min_by_key(|(_, seen)| seen.sequence);
            oldest.map(|(key, seen)| (*key, seen.until))
        };
        if plain.len() > 50 {
            let sections: Vec<_> = (0..3)
                .map(SectionHash)
                .filter(|&it| count(plain, it) > 0)
                .collect();
            let largest = sections.iter().max_by_key(|it| (count(plain, **it), it.0));
            let is_over = count(plain, newest) > 50 / sections.len();
            let section = if is_over { newest } else { *largest.unwrap() };
            plain.remove(&oldest(plain, Some(section)).unwrap().0);
        }
        while let Some((key, until)) = oldest(plain, None)
            && until <= now
        {
            plain.remove(&key);
        }
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
            let mut fresh = entry(fingerprint, sequence, sequence + rng.u64(..200));
            // One of three sections sends most.
            let section = [0, 0, 0, 1, 2][(fingerprint % 5) as usize];
            fresh.fingerprint.0 |= section << 112;
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
            forget_as_a_map_would(&mut plain, fresh.fingerprint.section(), now);
            assert_eq!(dedup.positions.len(), plain.len(), "at {sequence}");
        }
    }
}
