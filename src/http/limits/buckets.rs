//! A bucket for each address, as many as there may be.
//!
//! Refuses to grow beyond [`ADDRESSES_MAX`]: where that many addresses have
//! something to wait for, all newcomers share one bucket, and those that are
//! known keep theirs. Invariant: an address that is forgotten had a full
//! bucket, so that nobody gets ahead by being forgotten.

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
/// How often newcomers make the map forget those with full buckets. A look at
/// all of them takes a millisecond.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How often where there is no room.
const FORGET_EVERY_WHEN_FULL: Duration = Duration::from_secs(1);

/// Holds each address to a rate.
pub(super) struct Buckets {
    rate: Rate,
    addresses_max: usize,
    known: DashMap<Address, Bucket>,
    /// How many places of `known` are taken, or are about to be.
    taken: AtomicUsize,
    /// What all those share for whom there is no room.
    newcomers: Bucket,
    /// When the last look for full buckets was, in milliseconds.
    forgot_at_ms: AtomicU64,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        Self::for_at_most(ADDRESSES_MAX, rate)
    }

    fn for_at_most(addresses_max: usize, rate: Rate) -> Self {
        Self {
            rate,
            addresses_max,
            known: DashMap::new(),
            taken: AtomicUsize::new(0),
            newcomers: Bucket::default(),
            forgot_at_ms: AtomicU64::new(0),
        }
    }

    /// Lets one request of `address` through.
    ///
    /// # Errors
    ///
    /// [`RateLimited`] where it comes too often.
    pub(super) fn take(&self, address: Address, now: Timestamp) -> Result<(), RateLimited> {
        if let Some(bucket) = self.known.get(&address) {
            return bucket.take(self.rate, now);
        }
        self.forget_full(now);
        if !self.reserve() {
            return self.newcomers.take(self.rate, now);
        }
        match self.known.entry(address) {
            Entry::Vacant(place) => place.insert(Bucket::default()).take(self.rate, now),
            Entry::Occupied(known) => {
                // Another request of it was faster.
                self.taken.fetch_sub(1, Ordering::Relaxed);
                known.get().take(self.rate, now)
            }
        }
    }

    /// Takes a place in the map, before it is filled: so many at once as there
    /// are threads would otherwise get past the bound.
    fn reserve(&self) -> bool {
        let order = Ordering::Relaxed;
        let one_more = |taken| (taken < self.addresses_max).then_some(taken + 1);
        self.taken.fetch_update(order, order, one_more).is_ok()
    }

    /// Forgets addresses that are as good as new, if it is time to.
    fn forget_full(&self, now: Timestamp) {
        let order = Ordering::Relaxed;
        let every = match self.taken.load(order) >= self.addresses_max {
            true => FORGET_EVERY_WHEN_FULL,
            false => FORGET_EVERY,
        };
        let (before, now_ms) = (self.forgot_at_ms.load(order), now.unix_ms());
        // The clock may have been set back.
        let is_early = u128::from(now_ms.abs_diff(before)) < every.as_millis();
        let is_others = || {
            let claimed = self
                .forgot_at_ms
                .compare_exchange(before, now_ms, order, order);
            claimed.is_err()
        };
        if is_early || is_others() {
            return;
        }
        self.known.retain(|_, bucket| {
            let forget = bucket.is_full(self.rate, now);
            self.taken.fetch_sub(usize::from(forget), order);
            !forget
        });
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
        Buckets::for_at_most(addresses_max, rate.parse().unwrap())
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
    fn where_there_is_no_room_newcomers_share_one_bucket_and_the_known_keep_theirs() {
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
        assert_eq!(buckets.known.len(), 3);
    }

    #[test]
    fn a_flood_of_addresses_does_not_grow_the_map_beyond_its_bound() {
        let buckets = Buckets::new("1/h".parse().unwrap());
        for n in 0..100_000 {
            _ = buckets.take(address(n), NOW);
        }
        assert_eq!(buckets.known.len(), ADDRESSES_MAX);
        // All are as good as new an hour later, and gone with the first one
        // that comes.
        assert_eq!(buckets.take(address(1 << 31), at(3_601)), Ok(()));
        assert_eq!(buckets.known.len(), 1);
    }

    #[test]
    fn who_is_over_the_rate_is_not_forgotten_and_who_has_waited_is() {
        let buckets = buckets(2, "2/m");
        // At 60 s, the first one's bucket is full, the other's is not.
        _ = buckets.take(address(0), NOW);
        for _ in 0..2 {
            _ = buckets.take(address(1), at(50));
        }
        assert_eq!(buckets.take(address(2), at(60)), Ok(()));
        assert!(!buckets.known.contains_key(&address(0)));
        assert!(buckets.take(address(1), at(60)).is_err());
    }

    #[test]
    fn the_map_forgets_at_times_also_where_it_has_room() {
        let buckets = buckets(1_000, "2/s");
        for n in 0..100 {
            _ = buckets.take(address(n), NOW);
        }
        _ = buckets.take(address(1_000), at(59));
        assert_eq!(buckets.known.len(), 101);
        _ = buckets.take(address(1_001), at(60));
        assert_eq!(buckets.known.len(), 1);
        assert_eq!(buckets.taken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn those_who_come_at_once_take_no_more_places_than_there_are() {
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
        assert_eq!(buckets.known.len(), 100);
        assert_eq!(buckets.taken.load(Ordering::Relaxed), 100);
    }
}
