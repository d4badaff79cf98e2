//! Attempts of one kind, up to a bound.
//!
//! Invariants: one address has no more than its share; where there is no room, the oldest
//! one goes of the address that has the most.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::attempt::{AttemptSummary, KeptAttempt, ListedAttempt};

/// Attempts of one kind, the oldest first.
pub(super) struct AttemptBucket {
    entries_max: usize,
    address_max: usize,
    listed: Mutex<VecDeque<ListedAttempt>>,
    /// How many there are and what they weigh, for whoever compares buckets.
    entries: AtomicUsize,
    bytes: AtomicUsize,
    /// Of the newest.
    tick: AtomicU64,
}

impl AttemptBucket {
    pub(super) fn new(entries_max: usize, address_max: usize) -> Self {
        Self {
            entries_max,
            address_max,
            listed: Mutex::default(),
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            tick: AtomicU64::new(0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries() == 0
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// Counts one more of an attempt that is here; returns whether it is.
    pub(super) fn count_again(&self, summary: &AttemptSummary, tick: impl FnOnce() -> u64) -> bool {
        let mut listed = self.listed.lock();
        let same = |one: &&mut ListedAttempt| one.attempt.summary.is_same(summary);
        let Some(known) = listed.iter_mut().find(same) else {
            return false;
        };
        known.count += 1;
        known.last = summary.at;
        known.tick = tick();
        self.tick.store(known.tick, Ordering::Relaxed);
        true
    }

    /// Adds an attempt; returns how many had to go.
    pub(super) fn push(&self, attempt: &Arc<KeptAttempt>, tick: impl FnOnce() -> u64) -> usize {
        let mut listed = self.listed.lock();
        let own = attempt.summary.network;
        let of_address = |one: &&ListedAttempt| one.attempt.summary.network == own;
        let mut removed = 0;
        if listed.iter().filter(of_address).count() >= self.address_max {
            removed += usize::from(self.remove(&mut listed, own));
        }
        let tick = tick();
        listed.push_back(ListedAttempt {
            attempt: Arc::clone(attempt),
            count: 1,
            last: attempt.summary.at,
            tick,
        });
        self.tick.store(tick, Ordering::Relaxed);
        self.entries.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(attempt.weight(), Ordering::Relaxed);
        if listed.len() > self.entries_max
            && let Some(fullest) = fullest_address(&listed)
        {
            removed += usize::from(self.remove(&mut listed, fullest));
        }
        debug_assert!(listed.len() <= self.entries_max);
        debug_assert_eq!(listed.len(), self.entries());
        removed
    }

    /// Removes the oldest one of the address that has the most; returns whether there was
    /// one.
    pub(super) fn remove_one(&self) -> bool {
        let mut listed = self.listed.lock();
        let fullest = fullest_address(&listed);
        fullest.is_some_and(|address| self.remove(&mut listed, address))
    }

    /// Removes the oldest one of this address.
    fn remove(&self, listed: &mut VecDeque<ListedAttempt>, network: u128) -> bool {
        let of_address = |one: &ListedAttempt| one.attempt.summary.network == network;
        let Some(removed) = listed
            .iter()
            .position(of_address)
            .and_then(|oldest| listed.remove(oldest))
        else {
            return false;
        };
        let before = self.entries.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "what is removed was added");
        self.bytes
            .fetch_sub(removed.attempt.weight(), Ordering::Relaxed);
        true
    }

    /// Adds those that `is_wanted` to a list.
    pub(super) fn list(
        &self,
        is_wanted: &impl Fn(&ListedAttempt) -> bool,
        list: &mut Vec<ListedAttempt>,
    ) {
        let listed = self.listed.lock();
        list.extend(listed.iter().filter(|one| is_wanted(one)).cloned());
    }
}

/// The address that has the most; of several the one that has had one for the longest.
fn fullest_address(listed: &VecDeque<ListedAttempt>) -> Option<u128> {
    let mut counts: HashMap<u128, usize> = HashMap::with_capacity(listed.len());
    for one in listed {
        *counts.entry(one.attempt.summary.network).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    let mut networks = listed.iter().map(|one| one.attempt.summary.network);
    networks.find(|network| counts.get(network) == Some(&most))
}
