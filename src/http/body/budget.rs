//! Memory for all bodies that are being read.
//!
//! Anybody can send a large body slowly, verified or not; so the many small
//! ones have a budget of their own, and the bodies of one address that are waited
//! for take a part of it at most. Where the budget is used up, the bodies that arrive
//! slowest are given up. Invariant: a body is filled only as far as its
//! share reaches, and all shares together are no more than the budget.

mod address_shares;
mod waiting_bodies;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

pub(super) use self::address_shares::AddressShares;
use self::{
    address_shares::{AddressCharge, ShareExhausted},
    waiting_bodies::{WaitingBodies, WaitingBody},
};
use crate::http::limits::Address;

/// The part of a budget that one address may take while its bodies are waited for.
const ADDRESS_PART: usize = 4;
/// This part of a budget is left to bodies that are not waited for: one in so many.
const WAITING_REST: usize = 8;
/// Up to this length a body is a small one, in bytes.
pub(super) const SMALL_BYTES_MAX: usize = 256 * 1024;
/// The size of a portion, in which the budget is given out, in bytes.
pub(super) const PORTION_BYTES: usize = 16 * 1024;
/// What all small bodies may take together, in bytes.
const SMALL_BUDGET_BYTES: usize = 128 * 1024 * 1024;
/// What all others may take together, in bytes; at least two of the longest.
const LARGE_BUDGET_BYTES: usize = 256 * 1024 * 1024;
/// How long a body waits for memory.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How often slow bodies are looked for meanwhile.
const GIVE_UP_PERIOD: Duration = Duration::from_millis(250);

/// Memory for all bodies that are being read.
#[derive(Debug)]
pub(in crate::http) struct BodyBudget {
    small: BudgetPart,
    large: BudgetPart,
}

/// The memory for bodies up to a length, or beyond it.
#[derive(Debug)]
struct BudgetPart {
    portions: Arc<Semaphore>,
    of_addresses: Arc<AddressShares>,
    /// For what bodies hold until their addresses are charged: of what is left to those
    /// that are not waited for, half.
    uncharged: Semaphore,
    waiting: Arc<WaitingBodies>,
}

impl BudgetPart {
    fn new(bytes: usize, of_address_bytes: usize) -> Self {
        let portions = (bytes / PORTION_BYTES).min(Semaphore::MAX_PERMITS);
        let of_address = of_address_bytes.div_ceil(PORTION_BYTES);
        // The longest body may be waited for as well.
        let of_all = (portions - portions / WAITING_REST).max(of_address);
        Self {
            portions: Arc::new(Semaphore::new(portions)),
            of_addresses: AddressShares::new(of_address, of_all),
            uncharged: Semaphore::new(portions / WAITING_REST / 2),
            waiting: Arc::default(),
        }
    }

    /// Charges an address with a body that holds so many portions.
    async fn charge(
        &self,
        address: Address,
        portions: usize,
    ) -> Result<AddressCharge, BudgetExhausted> {
        let charge = || self.of_addresses.charge(address, portions);
        self.until_charged(portions, charge).await
    }

    /// Charges, and gives up slow bodies until that is possible.
    async fn until_charged<T>(
        &self,
        portions: usize,
        mut charge: impl FnMut() -> Result<T, ShareExhausted>,
    ) -> Result<T, BudgetExhausted> {
        let mut uncharged = None;
        for _ in 0..WAIT_MAX.as_millis() / GIVE_UP_PERIOD.as_millis() {
            match charge() {
                Ok(charged) => return Ok(charged),
                Err(ShareExhausted::Address) => return Err(BudgetExhausted),
                Err(ShareExhausted::All) => self.waiting.give_up(portions),
            }
            if uncharged.is_none() {
                let count = u32::try_from(portions).map_err(|_| BudgetExhausted)?;
                let permit = self.uncharged.try_acquire_many(count);
                uncharged = Some(permit.map_err(|_| BudgetExhausted)?);
            }
            sleep(GIVE_UP_PERIOD).await;
        }
        Err(BudgetExhausted)
    }
}

/// Other bodies hold all the memory that there is for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BudgetExhausted;

impl BodyBudget {
    /// A budget for bodies of at most `body_bytes_max` bytes.
    pub(in crate::http) fn new(body_bytes_max: usize) -> Self {
        let large_bytes = LARGE_BUDGET_BYTES.max(body_bytes_max.saturating_mul(2));
        // A body is read into room that doubles, so the longest takes twice as much.
        let large_of_address = (large_bytes / ADDRESS_PART).max(body_bytes_max.saturating_mul(2));
        let small_of_address = SMALL_BUDGET_BYTES / ADDRESS_PART;
        Self {
            small: BudgetPart::new(SMALL_BUDGET_BYTES, small_of_address),
            large: BudgetPart::new(large_bytes, large_of_address),
        }
    }
}

/// A body's part of the budget, given back when it is dropped.
#[derive(Debug, Default)]
pub(in crate::http) struct BudgetShare {
    small: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    /// Once the body was waited for, where its address is known.
    of_address: Option<(Address, AddressCharge)>,
    /// While the body is waited for.
    waiting: Option<WaitingBody>,
}

impl BudgetShare {
    /// The body is waited for: from now on its address is charged with it, and it may be
    /// given up for others.
    pub(super) async fn wait(
        &mut self,
        budget: &BodyBudget,
        address: Option<Address>,
        received_bytes: usize,
    ) -> Result<(), BudgetExhausted> {
        let part = if self.large.is_some() {
            &budget.large
        } else {
            &budget.small
        };
        let portions = self.portions();
        if let Some(address) = address.filter(|_| self.of_address.is_none()) {
            // Even one of which nothing came takes room of its own.
            let charge = part.charge(address, portions.max(1)).await?;
            self.of_address = Some((address, charge));
        }
        let waiting = self.waiting.get_or_insert_with(|| part.waiting.enter());
        waiting.advance(received_bytes, portions);
        Ok(())
    }

    /// Completes when the body is given up for others; never, before it is waited for.
    pub(super) async fn given_up(&self) {
        match &self.waiting {
            Some(waiting) => waiting.given_up().await,
            None => std::future::pending().await,
        }
    }

    /// The body came.
    pub(super) fn has_body(&mut self) {
        self.waiting = None;
    }

    async fn grow_charge(
        &mut self,
        part: &BudgetPart,
        portions: usize,
    ) -> Result<(), BudgetExhausted> {
        let Some((address, charge)) = &mut self.of_address else {
            return Ok(());
        };
        if charge.is_of(&part.of_addresses) {
            let missing = portions.saturating_sub(charge.portions());
            return part
                .until_charged(missing, || charge.grow_to(portions))
                .await;
        }
        *charge = part.charge(*address, portions).await?;
        Ok(())
    }

    /// Grows the share to what a body of so many bytes needs.
    pub(super) async fn grow(
        &mut self,
        budget: &BodyBudget,
        body_bytes: usize,
    ) -> Result<(), BudgetExhausted> {
        let portions = body_bytes.div_ceil(PORTION_BYTES);
        if body_bytes <= SMALL_BYTES_MAX {
            self.grow_charge(&budget.small, portions).await?;
            grow_permit(&mut self.small, &budget.small, portions).await?;
        } else {
            self.grow_charge(&budget.large, portions).await?;
            grow_permit(&mut self.large, &budget.large, portions).await?;
            if self.small.take().is_some() {
                // It waits among the others of its length from now on.
                self.waiting = None;
            }
        }
        debug_assert!(self.portions() >= portions, "each byte is paid for");
        Ok(())
    }

    /// Gives back what a body of so many bytes does not need.
    pub(super) fn shrink(&mut self, body_bytes: usize) {
        let needed = body_bytes.div_ceil(PORTION_BYTES);
        for permit in [&mut self.small, &mut self.large].into_iter().flatten() {
            let more = permit.num_permits().saturating_sub(needed);
            drop(permit.split(more));
        }
    }

    fn portions(&self) -> usize {
        held(&self.small) + held(&self.large)
    }
}

/// Makes a permit as large as `needed` portions.
async fn grow_permit(
    permit: &mut Option<OwnedSemaphorePermit>,
    part: &BudgetPart,
    needed: usize,
) -> Result<(), BudgetExhausted> {
    let missing = needed.saturating_sub(held(permit));
    if missing == 0 {
        return Ok(());
    }
    let missing = u32::try_from(missing).map_err(|_| BudgetExhausted)?;
    let more = match Arc::clone(&part.portions).try_acquire_many_owned(missing) {
        Ok(more) => more,
        Err(_) => wait_for(part, missing).await?,
    };
    match permit {
        Some(permit) => permit.merge(more),
        None => *permit = Some(more),
    }
    Ok(())
}

async fn wait_for(
    part: &BudgetPart,
    portions: u32,
) -> Result<OwnedSemaphorePermit, BudgetExhausted> {
    let more = Arc::clone(&part.portions).acquire_many_owned(portions);
    let more = timeout(WAIT_MAX, more);
    tokio::pin!(more);
    loop {
        part.waiting.give_up(portions as usize);
        // More may be slow a moment later.
        match timeout(GIVE_UP_PERIOD, &mut more).await {
            Ok(Ok(Ok(permit))) => return Ok(permit),
            Ok(Ok(Err(_)) | Err(_)) => return Err(BudgetExhausted),
            Err(_) => {}
        }
    }
}

fn held(permit: &Option<OwnedSemaphorePermit>) -> usize {
    permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 5 << 20;

    #[tokio::test(start_paused = true)]
    async fn large_bodies_cannot_keep_small_ones_waiting() {
        let budget = BodyBudget::new(LARGE);
        let mut stalled = Vec::new();
        for _ in 0..LARGE_BUDGET_BYTES / LARGE {
            let mut share = BudgetShare::default();
            share.grow(&budget, LARGE).await.unwrap();
            stalled.push(share);
        }
        let rest = budget.large.portions.available_permits();
        let _rest = budget
            .large
            .portions
            .acquire_many(rest as u32)
            .await
            .unwrap();
        let refused = BudgetShare::default().grow(&budget, LARGE).await;
        assert_eq!(refused, Err(BudgetExhausted));
        let small = BudgetShare::default().grow(&budget, SMALL_BYTES_MAX).await;
        assert_eq!(small, Ok(()));
        stalled.pop();
        let large = BudgetShare::default().grow(&budget, LARGE).await;
        assert_eq!(large, Ok(()));
    }

    #[tokio::test]
    async fn a_body_that_turns_out_large_gives_back_its_small_share() {
        let budget = BodyBudget::new(LARGE);
        let before = budget.small.portions.available_permits();
        let mut share = BudgetShare::default();
        for bytes in [1, PORTION_BYTES + 1, SMALL_BYTES_MAX] {
            share.grow(&budget, bytes).await.unwrap();
            let taken = before - budget.small.portions.available_permits();
            assert_eq!(taken, bytes.div_ceil(PORTION_BYTES));
        }
        share.grow(&budget, SMALL_BYTES_MAX + 1).await.unwrap();
        assert_eq!(budget.small.portions.available_permits(), before);
        drop(share);
        assert_eq!(
            budget.large.portions.available_permits(),
            LARGE_BUDGET_BYTES / PORTION_BYTES
        );
    }

    /// Strangers that begin bodies from ever more addresses leave room to those that
    /// send theirs at once.
    #[tokio::test(start_paused = true)]
    async fn bodies_that_wait_to_be_charged_leave_memory_to_others() {
        use futures_util::FutureExt as _;
        let budget = &BodyBudget::new(LARGE);
        let all = budget.small.portions.available_permits();
        let mut waiting = Vec::new();
        for n in 0..all as u32 {
            let address = Address::from(std::net::IpAddr::from((n << 8).to_be_bytes()));
            let mut body = Box::pin(async move {
                let mut share = BudgetShare::default();
                share.grow(budget, 1).await?;
                share.wait(budget, Some(address), 1).await?;
                std::future::pending::<Result<(), BudgetExhausted>>().await
            });
            if (&mut body).now_or_never().is_none() {
                waiting.push(body);
            }
        }
        let left = budget.small.portions.available_permits();
        assert!(left >= all / WAITING_REST / 2, "{left} of {all} are left");
        assert!(waiting.len() > all / 2);
        let mut share = BudgetShare::default();
        let small = share.grow(budget, SMALL_BYTES_MAX).now_or_never();
        assert_eq!(small, Some(Ok(())));
    }
}
