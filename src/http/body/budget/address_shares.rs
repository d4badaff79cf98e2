//! How much of the memory for bodies those of one address may take while they wait
//! for more of themselves.
//!
//! All together leave some to bodies that are not waited for, so that those find room
//! at once.
//!
//! Bodies that arrive with their heads are not counted: most do, and they hold memory
//! for no longer than it takes to verify them. Invariant: an address has an entry only
//! while a charge of it lives.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use crate::http::limits::Address;

/// What the waiting bodies of each address hold, in portions.
#[derive(Debug)]
pub(in crate::http::body) struct AddressShares {
    per_address_max: usize,
    all_max: usize,
    held: Mutex<HeldPortions>,
}

#[derive(Debug, Default)]
struct HeldPortions {
    per_address: HashMap<Address, usize>,
    all: usize,
}

/// Why an address is not charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http::body) enum ShareExhausted {
    /// Its own share is used up.
    Address,
    /// All addresses together hold what waiting bodies may.
    All,
}

/// What one waiting body holds of its address's share, until it is dropped.
#[derive(Debug)]
pub(in crate::http::body) struct AddressCharge {
    shares: Arc<AddressShares>,
    address: Address,
    portions: usize,
}

impl AddressShares {
    pub(in crate::http::body) fn new(per_address_max: usize, all_max: usize) -> Arc<Self> {
        Arc::new(Self {
            per_address_max,
            all_max,
            held: Mutex::default(),
        })
    }

    /// Charges an address with a body that holds so many portions.
    pub(in crate::http::body) fn charge(
        self: &Arc<Self>,
        address: Address,
        portions: usize,
    ) -> Result<AddressCharge, ShareExhausted> {
        let mut charge = AddressCharge {
            shares: Arc::clone(self),
            address,
            portions: 0,
        };
        charge.grow_to(portions)?;
        Ok(charge)
    }
}

impl AddressCharge {
    /// Charges it with as many portions in all.
    pub(super) fn grow_to(&mut self, portions: usize) -> Result<(), ShareExhausted> {
        let more = portions.saturating_sub(self.portions);
        if more == 0 {
            return Ok(());
        }
        let mut held = self.shares.held.lock();
        let others = held.per_address.get(&self.address);
        let others = others.copied().unwrap_or_default();
        if others + more > self.shares.per_address_max {
            return Err(ShareExhausted::Address);
        }
        if held.all + more > self.shares.all_max {
            return Err(ShareExhausted::All);
        }
        held.per_address.insert(self.address, others + more);
        held.all += more;
        self.portions += more;
        Ok(())
    }

    /// How many portions it is charged with.
    pub(super) fn portions(&self) -> usize {
        self.portions
    }

    /// Whether it is of these shares.
    pub(super) fn is_of(&self, shares: &Arc<AddressShares>) -> bool {
        Arc::ptr_eq(&self.shares, shares)
    }
}

impl Drop for AddressCharge {
    fn drop(&mut self) {
        if self.portions == 0 {
            return;
        }
        let mut held = self.shares.held.lock();
        held.all -= self.portions;
        let Some(its) = held.per_address.get_mut(&self.address) else {
            debug_assert!(false, "an address is counted while it is charged");
            return;
        };
        *its -= self.portions;
        if *its == 0 {
            held.per_address.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(last: u8) -> Address {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn one_address_has_its_share_and_gets_it_back() {
        let shares = AddressShares::new(10, 18);
        let mut first = shares.charge(address(1), 1).unwrap();
        let second = shares.charge(address(1), 6).unwrap();
        assert!(shares.charge(address(1), 4).is_err());
        assert!(shares.charge(address(2), 10).is_ok());
        let all = shares.charge(address(2), 10);
        assert_eq!(
            shares.charge(address(3), 2).err(),
            Some(ShareExhausted::All)
        );
        drop(all);
        assert_eq!(first.grow_to(4), Ok(()));
        assert_eq!(first.grow_to(5), Err(ShareExhausted::Address));
        drop(second);
        assert_eq!(first.grow_to(10), Ok(()));
        drop(first);
        assert!(shares.held.lock().per_address.is_empty() && shares.held.lock().all == 0);
    }
}
