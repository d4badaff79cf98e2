//! A bounded table in which no address can push out what is remembered of others.
//!
//! An address is an IPv4 address or a /64 network of IPv6: who has a larger network has
//! many of them. Invariants: there are at most as many entries as its maximum, and the address that
//! has the most of them gives way, with its oldest; each entry is listed at its
//! address, at the time when it was put in.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Entries by a hash of whom they are of.
pub(super) struct FairTable<V> {
    entries: HashMap<u64, Entry<V>>,
    /// The entries of each address, the oldest first.
    by_network: HashMap<u128, BTreeMap<u64, u64>>,
    /// The addresses, those with the most entries last.
    sizes: BTreeSet<(usize, u128)>,
    /// How often something was put in.
    age: u64,
    entries_max: usize,
}

struct Entry<V> {
    network: u128,
    age: u64,
    value: V,
}

impl<V> FairTable<V> {
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            by_network: HashMap::new(),
            sizes: BTreeSet::new(),
            age: 0,
            entries_max,
        }
    }

    /// Puts an entry in; one that was there is replaced.
    pub(super) fn insert(&mut self, key: u64, network: u128, value: V) {
        self.remove(key);
        if self.entries.len() == self.entries_max {
            self.evict();
        }
        self.age += 1;
        let age = self.age;
        self.change(network, |entries| _ = entries.insert(age, key));
        let entry = Entry {
            network,
            age,
            value,
        };
        self.entries.insert(key, entry);
        debug_assert!(self.entries.len() <= self.entries_max);
    }

    /// Takes an entry out.
    fn remove(&mut self, key: u64) -> Option<V> {
        let Entry {
            network,
            age,
            value,
        } = self.entries.remove(&key)?;
        self.change(network, |entries| _ = entries.remove(&age));
        Some(value)
    }

    /// The entry of this key.
    pub(super) fn get(&self, key: u64) -> Option<&V> {
        self.entries.get(&key).map(|entry| &entry.value)
    }

    /// The entry of this key, to be changed.
    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        self.entries.get_mut(&key).map(|entry| &mut entry.value)
    }

    /// All of them, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|entry| &entry.value)
    }

    fn evict(&mut self) {
        let heaviest = self.sizes.last().map(|(_, network)| *network);
        let entries = heaviest.and_then(|network| self.by_network.get(&network));
        if let Some((_, key)) = entries.and_then(BTreeMap::first_key_value) {
            let key = *key;
            self.remove(key);
        }
    }

    /// Changes the entries of an address, and its place among all.
    fn change(&mut self, network: u128, change: impl FnOnce(&mut BTreeMap<u64, u64>)) {
        let entries = self.by_network.entry(network).or_default();
        self.sizes.remove(&(entries.len(), network));
        change(entries);
        if entries.is_empty() {
            self.by_network.remove(&network);
        } else {
            self.sizes.insert((entries.len(), network));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_most_gives_way_with_its_oldest() {
        let mut table = FairTable::new(10);
        table.insert(1, 7, "other");
        for key in 100..10_000 {
            table.insert(key, 8, "flood");
        }
        assert_eq!(table.entries.len(), 10);
        assert_eq!(table.get(1), Some(&"other"));
        assert!(table.get(9_999).is_some() && table.get(9_990).is_none());
        // As many addresses as there are places.
        for network in 100..104 {
            table.insert(network as u64, network, "new");
        }
        assert_eq!(table.get(1), Some(&"other"));
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut table = FairTable::new(100);
        for key in 0..50 {
            table.insert(key, u128::from(key % 5), key);
            table.insert(key, u128::from(key % 7), key + 1);
        }
        for key in 0..50 {
            assert_eq!(table.remove(key), Some(key + 1));
            assert_eq!(table.remove(key), None);
        }
        assert!(table.by_network.is_empty() && table.sizes.is_empty());
    }
}
