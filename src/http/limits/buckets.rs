//! A bucket for each address, up to a bound.
//!
//! Refuses to grow beyond [`ADDRESSES_MAX`]: where that many addresses have used
//! some of their rate, all others share one bucket, and those that have their
//! own keep it. Invariants: an address is dropped only when its bucket is full,
//! so that nobody gains by being dropped; there is room reserved for each
//! address before it is added, and no more than the bound.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use dashmap::{DashMap, Entry};
use hookrill_core::Timestamp;

use super::Address;
use crate::rate::{Bucket, Rate, RateLimited};

/// The most addresses that have a bucket of their own; some megabytes.
const ADDRESSES_MAX: usize = 65_536;
/// Minimum interval between sweeps that drop idle (full) buckets. A sweep takes
/// a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// The same while there is no room.
const SWEEP_INTERVAL_WHEN_FULL: Duration = Duration::from_secs(1);

/// Holds each address to a rate.
pub(super) struct Buckets {
    rate: Rate,
    addresses_max: usize,
    buckets: DashMap<Address, Bucket>,
    /// How many places in `buckets` are taken, or are about to be.
    reserved: AtomicUsize,
    /// Shared by all addresses that there is no room for.
    overflow: Bucket,
    /// When the last sweep was, in milliseconds.
    swept_at_ms: AtomicU64,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self::with_addresses_max(ADDRESSES_MAX, rate)
    }

    fn with_addresses_max(addresses_max: usize, rate: Rate) -> Self {
        Self {
            rate,
            addresses_max,
            buckets: DashMap::new(),
            reserved: AtomicUsize::new(0),
            overflow: Bucket::default(),
            swept_at_ms: AtomicU64::new(0),
        }
    }

    /// Counts one request of `address`.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] where it sends too many.
    pub(super) fn take(&self, address: Address, now: Timestamp) -> Result<(), RateLimited> {
        if let Some(bucket) = self.buckets.get(&address) {
            return bucket.take(self.rate, now);
        }
        self.sweep_if_due(now);
        if !self.reserve() {
            return self.overflow.take(self.rate, now);
        }
        match self.buckets.entry(address) {
            Entry::Vacant(entry) => entry.insert(Bucket::default()).take(self.rate, now),
            Entry::Occupied(entry) => {
                // Another request of this address was faster.
                self.release();
                entry.get().take(self.rate, now)
            }
        }
    }

    /// Whether one more request of `address` would be within its rate; counts none.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] where it has sent too many.
    pub(super) fn check(&self, address: Address, now: Timestamp) -> Result<(), RateLimited> {
        match self.buckets.get(&address) {
            Some(bucket) => bucket.check(self.rate, now),
            None if self.reserved.load(Ordering::Relaxed) < self.addresses_max => Ok(()),
            None => self.overflow.check(self.rate, now),
        }
    }

    /// Reserves a place in the map before it is filled: otherwise as many
    /// threads as there are could exceed the bound at once.
    fn reserve(&self) -> bool {
        let order = Ordering::Relaxed;
        let one_more = |reserved| (reserved < self.addresses_max).then_some(reserved + 1);
        let reserved = self.reserved.fetch_update(order, order, one_more);
        debug_assert!(self.reserved.load(order) <= self.addresses_max);
        reserved.is_ok()
    }

    /// Gives a place back.
    fn release(&self) {
        let before = self.reserved.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "only a reserved place is given back");
    }

    /// Drops addresses whose buckets are as good as new, if it is time to.
    fn sweep_if_due(&self, now: Timestamp) {
        if !self.claim_sweep(now) {
            return;
        }
        self.buckets.retain(|_, bucket| {
            let is_full = bucket.is_full(self.rate, now);
            if is_full {
                self.release();
            }
            !is_full
        });
    }

    /// Whether a sweep is due, and this thread is the one to do it.
    fn claim_sweep(&self, now: Timestamp) -> bool {
        let order = Ordering::Relaxed;
        let has_room = self.reserved.load(order) < self.addresses_max;
        let interval = if has_room {
            SWEEP_INTERVAL
        } else {
            SWEEP_INTERVAL_WHEN_FULL
        };
        let (before, now_ms) = (self.swept_at_ms.load(order), now.unix_ms());
        // Either way: the clock may have been set back.
        let elapsed = Duration::from_millis(now_ms.abs_diff(before));
        if elapsed < interval {
            return false;
        }
        let swept_at = &self.swept_at_ms;
        let claimed = swept_at.compare_exchange(before, now_ms, order, order);
        claimed.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_700_000_000);

    fn address(n: u32) -> Address {
        Address::V4(Ipv4Addr::from(n))
    }

    fn buckets(addresses_max: usize, rate: &str) -> Buckets {
        Buckets::with_addresses_max(addresses_max, rate.parse().unwrap())
    }

    fn at(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    #[test]
    fn each_address_has_a_bucket_of_its_own() {
        let buckets = buckets(10, "2/s");
        for n in 0..5 {
            assert_eq!(buckets.take(address(n), NOW), Ok(()));
            assert_eq!(buckets.take(address(n), NOW), Ok(()));
            assert!(buckets.take(address(n), NOW).is_err());
        }
    }

    #[test]
    fn where_there_is_no_room_new_addresses_share_one_bucket_and_the_others_keep_theirs() {
        let buckets = buckets(3, "2/m");
        for n in 0..3 {
            assert_eq!(buckets.take(address(n), NOW), Ok(()));
        }
        assert_eq!(buckets.take(address(10), NOW), Ok(()));
        assert_eq!(buckets.take(address(11), NOW), Ok(()));
        for n in 10..10_000 {
            assert!(buckets.take(address(n), NOW).is_err(), "{n}");
        }
        for n in 0..3 {
            assert_eq!(buckets.take(address(n), NOW), Ok(()), "{n}");
            assert!(buckets.take(address(n), NOW).is_err(), "{n}");
        }
        assert_eq!(buckets.buckets.len(), 3);
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_map_beyond_its_bound() {
        let buckets = Buckets::new("1/h".parse().unwrap());
        for n in 0..100_000 {
            _ = buckets.take(address(n), NOW);
        }
        assert_eq!(buckets.buckets.len(), ADDRESSES_MAX);
        // All buckets are full an hour later, and the next request sweeps them.
        assert_eq!(buckets.take(address(1 << 31), at(3_601)), Ok(()));
        assert_eq!(buckets.buckets.len(), 1);
    }

    #[test]
    fn an_address_over_its_rate_is_not_dropped_and_one_that_has_waited_is() {
        let buckets = buckets(2, "2/m");
        // At 60 s, the first bucket is full and the other is not.
        _ = buckets.take(address(0), NOW);
        for _ in 0..2 {
            _ = buckets.take(address(1), at(50));
        }
        assert_eq!(buckets.take(address(2), at(60)), Ok(()));
        assert!(!buckets.buckets.contains_key(&address(0)));
        assert!(buckets.take(address(1), at(60)).is_err());
    }

    #[test]
    fn a_sweep_comes_even_where_there_is_room() {
        let buckets = buckets(1_000, "2/s");
        for n in 0..100 {
            _ = buckets.take(address(n), NOW);
        }
        _ = buckets.take(address(1_000), at(59));
        assert_eq!(buckets.buckets.len(), 101);
        _ = buckets.take(address(1_001), at(60));
        assert_eq!(buckets.buckets.len(), 1);
        assert_eq!(buckets.reserved.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn threads_that_come_at_once_take_no_more_places_than_there_are() {
        let buckets = buckets(100, "1/h");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..1_000 {
                        _ = buckets.take(address(n), NOW);
                    }
                });
            }
        });
        assert_eq!(buckets.buckets.len(), 100);
        assert_eq!(buckets.reserved.load(Ordering::Relaxed), 100);
    }
}
