//! How many streams each address has open.
//!
//! Counts even where there is no limit, so that a limit that is set while the
//! gateway runs counts the streams that are open already. Invariant: an address
//! is here exactly while it has a slot, so there are never more addresses than
//! streams.

use std::sync::Arc;

use dashmap::{DashMap, Entry};

use super::Address;

/// The open streams of each address.
#[derive(Debug, Default)]
pub(in crate::http) struct StreamSlots(DashMap<Address, u32>);

/// One open stream of an address, until it is dropped.
#[derive(Debug)]
pub(in crate::http) struct StreamSlot {
    slots: Arc<StreamSlots>,
    address: Address,
}

impl StreamSlots {
    /// Whether `address` may have one more, of at most `max`.
    pub(super) fn has_room(&self, address: Address, max: Option<usize>) -> bool {
        let Some(max) = max else { return true };
        let open = self.0.get(&address).map_or(0, |open| *open);
        (open as usize) < max
    }

    /// One more for `address`; `None` where it has `max` already.
    pub(super) fn take(
        self: &Arc<Self>,
        address: Address,
        max: Option<usize>,
    ) -> Option<StreamSlot> {
        let entry = self.0.entry(address);
        let open = match &entry {
            Entry::Occupied(open) => *open.get(),
            Entry::Vacant(_) => 0,
        };
        if max.is_some_and(|max| open as usize >= max) {
            return None;
        }
        entry.insert(open + 1);
        Some(StreamSlot {
            slots: Arc::clone(self),
            address,
        })
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let slots = &self.slots.0;
        let mut was_counted = false;
        slots.remove_if_mut(&self.address, |_, open| {
            was_counted = *open > 0;
            *open = open.saturating_sub(1);
            *open == 0
        });
        debug_assert!(was_counted, "an address is here while it has a slot");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(n: u32) -> Address {
        Address::V4(Ipv4Addr::from(n))
    }

    #[test]
    fn an_address_has_so_many_slots_and_one_that_is_dropped_is_free_again() {
        let slots = Arc::new(StreamSlots::default());
        let max = Some(2);
        let first = slots.take(address(1), max).unwrap();
        assert!(slots.has_room(address(1), max));
        let _second = slots.take(address(1), max).unwrap();
        assert!(!slots.has_room(address(1), max));
        assert!(slots.take(address(1), max).is_none());
        let _other = slots.take(address(2), max).unwrap();
        drop(first);
        assert!(slots.has_room(address(1), max));
        let _third = slots.take(address(1), max).unwrap();
        assert!(slots.take(address(1), max).is_none());
    }

    #[test]
    fn a_limit_that_changes_counts_the_streams_that_are_open_already() {
        let slots = Arc::new(StreamSlots::default());
        let mut open: Vec<_> = (0..3).map(|_| slots.take(address(1), None)).collect();
        for max in [1, 2, 3] {
            assert!(slots.take(address(1), Some(max)).is_none(), "{max}");
        }
        open.push(slots.take(address(1), Some(4)));
        assert!(open.iter().all(Option::is_some));
        open.truncate(1);
        assert!(slots.take(address(1), Some(1)).is_none());
        assert!(slots.take(address(1), Some(2)).is_some());
    }

    #[test]
    fn nothing_is_kept_of_an_address_without_streams() {
        let slots = Arc::new(StreamSlots::default());
        let open: Vec<_> = (0..100).map(|n| slots.take(address(n % 7), None)).collect();
        assert_eq!(slots.0.len(), 7);
        drop(open);
        assert_eq!(slots.0.len(), 0);
    }
}
