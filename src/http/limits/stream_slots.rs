//! How many streams each address has open.
//!
//! Counts always, also where nothing limits it, so that a limit that is set
//! while the gateway runs finds the streams that are open already. Invariant:
//! an address is known here as long as it has a stream, and so there are no
//! more of them than streams.

use std::sync::Arc;

use dashmap::{DashMap, Entry};

use super::Address;

/// The streams that are open, by address.
#[derive(Debug, Default)]
pub(in crate::http) struct StreamSlots(DashMap<Address, u32>);

/// A stream's place among those of its address, until it is dropped.
#[derive(Debug)]
pub(in crate::http) struct StreamSlot {
    stream_slots: Arc<StreamSlots>,
    address: Address,
}

impl StreamSlots {
    /// Whether `address` may have one more, of at most `max`.
    pub(super) fn has_room(&self, address: Address, max: Option<usize>) -> bool {
        let Some(max) = max else { return true };
        let open = self.0.get(&address).map_or(0, |open| *open);
        (open as usize) < max
    }

    /// One more for `address`, unless it has `max` already.
    pub(super) fn take(
        self: &Arc<Self>,
        address: Address,
        max: Option<usize>,
    ) -> Option<StreamSlot> {
        let place = self.0.entry(address);
        let open = match &place {
            Entry::Occupied(open) => *open.get(),
            Entry::Vacant(_) => 0,
        };
        if max.is_some_and(|max| open as usize >= max) {
            return None;
        }
        place.insert(open + 1);
        Some(StreamSlot {
            stream_slots: Arc::clone(self),
            address,
        })
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.stream_slots.0.remove_if_mut(&self.address, |_, open| {
            *open -= 1;
            *open == 0
        });
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
    fn an_address_has_so_many_places_and_each_that_is_left_is_free_again() {
        let seats = Arc::new(StreamSlots::default());
        let max = Some(2);
        let first = seats.take(address(1), max).unwrap();
        assert!(seats.has_room(address(1), max));
        let _second = seats.take(address(1), max).unwrap();
        assert!(!seats.has_room(address(1), max));
        assert!(seats.take(address(1), max).is_none());
        let _other = seats.take(address(2), max).unwrap();
        drop(first);
        assert!(seats.has_room(address(1), max));
        let _third = seats.take(address(1), max).unwrap();
        assert!(seats.take(address(1), max).is_none());
    }

    #[test]
    fn a_limit_that_changes_counts_the_streams_that_are_open_already() {
        let seats = Arc::new(StreamSlots::default());
        let mut open: Vec<_> = (0..3).map(|_| seats.take(address(1), None)).collect();
        for max in [1, 2, 3] {
            assert!(seats.take(address(1), Some(max)).is_none(), "{max}");
        }
        open.push(seats.take(address(1), Some(4)));
        assert!(open.iter().all(Option::is_some));
        open.truncate(1);
        assert!(seats.take(address(1), Some(1)).is_none());
        assert!(seats.take(address(1), Some(2)).is_some());
    }

    #[test]
    fn nothing_is_kept_of_an_address_without_streams() {
        let seats = Arc::new(StreamSlots::default());
        let open: Vec<_> = (0..100).map(|n| seats.take(address(n % 7), None)).collect();
        assert_eq!(seats.0.len(), 7);
        drop(open);
        assert_eq!(seats.0.len(), 0);
    }
}
