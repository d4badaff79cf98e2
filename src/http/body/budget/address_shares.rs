//! How much of the memory for bodies those of one address may take while they wait
//! for more of themselves.
//!
//! Bodies that arrive with their heads are not counted: most do, and they hold memory
//! for no longer than it takes to verify them. Invariant: an address has an entry only
//! while a charge of it lives.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::BudgetExhausted;
use crate::http::limits::Address;

/// What the waiting bodies of each address hold, in portions.
#[derive(Debug)]
pub(super) struct AddressShares {
    per_address_max: usize,
    held: Mutex<HashMap<Address, usize>>,
}

/// What one waiting body holds of its address's share, until it is dropped.
#[derive(Debug)]
pub(super) struct AddressCharge {
    shares: Arc<AddressShares>,
    address: Address,
    portions: usize,
}

impl AddressShares {
    pub(super) fn new(per_address_max: usize) -> Arc<Self> {
        Arc::new(Self {
            per_address_max,
            held: Mutex::default(),
        })
    }

    /// Charges an address with a body that holds so many portions.
    pub(super) fn charge(
        self: &Arc<Self>,
        address: Address,
        portions: usize,
    ) -> Result<AddressCharge, BudgetExhausted> {
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
    pub(super) fn grow_to(&mut self, portions: usize) -> Result<(), BudgetExhausted> {
        let more = portions.saturating_sub(self.portions);
        if more == 0 {
            return Ok(());
        }
        let mut held = self.shares.held.lock();
        let others = held.get(&self.address).copied().unwrap_or_default();
        if others + more > self.shares.per_address_max {
            return Err(BudgetExhausted);
        }
        held.insert(self.address, others + more);
        self.portions += more;
        Ok(())
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
        let Some(all) = held.get_mut(&self.address) else {
            debug_assert!(false, "an address is counted while it is charged");
            return;
        };
        *all -= self.portions;
        if *all == 0 {
            held.remove(&self.address);
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
        let shares = AddressShares::new(10);
        let mut first = shares.charge(address(1), 1).unwrap();
        let second = shares.charge(address(1), 6).unwrap();
        assert!(shares.charge(address(1), 4).is_err());
        assert!(shares.charge(address(2), 10).is_ok());
        assert_eq!(first.grow_to(4), Ok(()));
        assert_eq!(first.grow_to(5), Err(BudgetExhausted));
        drop(second);
        assert_eq!(first.grow_to(10), Ok(()));
        drop(first);
        assert!(shares.held.lock().is_empty());
    }
}
