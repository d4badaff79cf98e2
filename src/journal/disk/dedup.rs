//! Which deliveries were here before: decided in the writer, one turn at a
//! time.
//!
//! Invariant: a key has at most one entry in `dedup`, and each entry has one in
//! `dedup_order`; both change in the batch of the event that they speak of.

use std::collections::{HashMap, HashSet};

use fjall::OwnedWriteBatch;

use super::{
    keys::{self, Seen, State},
    store::Store,
};
use crate::{
    event::{Sequence, Timestamp},
    journal::ReadError,
};

/// The most entries that one turn forgets, so that a lowered maximum is reached
/// step by step. More than a turn can add.
const FORGET_MAX: usize = 1024;

/// What a turn of the writer adds to the memory of deliveries.
#[derive(Default)]
pub(super) struct Additions {
    /// Not yet written.
    fresh: HashMap<Vec<u8>, Seen>,
    /// Entries of `dedup_order` whose key has been seen anew.
    replaced: HashSet<Sequence>,
}

impl Additions {
    /// Where the key was seen, if a delivery at `at` is its duplicate; else
    /// remembers it as `seen`, in place of an expired entry or of none.
    pub(super) fn meet(
        &mut self,
        store: &Store,
        key: Vec<u8>,
        at: Timestamp,
        seen: Seen,
    ) -> Result<Option<Sequence>, ReadError> {
        let mut stale = None;
        let before = match self.fresh.get(&key) {
            Some(fresh) => Some(*fresh),
            None => {
                stale = stored(store, &key)?;
                stale
            }
        };
        if let Some(before) = before
            && at < before.until
        {
            return Ok(Some(before.sequence));
        }
        self.replaced.extend(stale.map(|stale| stale.sequence));
        self.fresh.insert(key, seen);
        Ok(None)
    }

    /// Puts all into the batch, and forgets the oldest entries: those beyond
    /// the maximum, and the expired ones at the front.
    pub(super) fn write(
        self,
        store: &Store,
        batch: &mut OwnedWriteBatch,
        state: &mut State,
        bound: &mut Bound,
        now: Timestamp,
    ) -> Result<(), ReadError> {
        let replaced = self.replaced.len();
        let kept = state.dedup_entries.saturating_sub(replaced as u64);
        let over = (kept + self.fresh.len() as u64).saturating_sub(bound.entries_max);
        let forgotten = if over > 0 || replaced > 0 || now >= bound.front_until {
            let front = Front {
                batch,
                replaced: &self.replaced,
                now,
            };
            front.forget(store, state, bound, over)?
        } else {
            0
        };
        for sequence in self.replaced {
            batch.remove(&store.dedup_order, keys::sequence(sequence));
        }
        let mut fresh: Vec<_> = self.fresh.into_iter().collect();
        fresh.sort_by_key(|(_, seen)| seen.sequence);
        // Where nothing older is left, the oldest of this turn go.
        let nothing_older = forgotten + replaced < FORGET_MAX;
        let over = over.saturating_sub(forgotten as u64);
        if nothing_older && over > 0 {
            let over = usize::try_from(over).unwrap_or(usize::MAX);
            fresh.drain(..over.min(fresh.len()));
        }
        state.dedup_entries = kept.saturating_sub(forgotten as u64) + fresh.len() as u64;
        for (key, seen) in fresh {
            let order = keys::order_value(seen.until, &key);
            batch.insert(&store.dedup_order, keys::sequence(seen.sequence), order);
            batch.insert(&store.dedup, key, seen.encode());
        }
        Ok(())
    }
}

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    entries_max: u64,
    /// The oldest entry expires no sooner, so there is no use in looking: that
    /// takes longer than all else here.
    front_until: Timestamp,
}

impl Bound {
    pub(super) fn new(entries_max: u64) -> Self {
        Self {
            entries_max,
            front_until: Timestamp::from_unix_ms(0),
        }
    }
}

/// The old end of `dedup_order`.
struct Front<'a> {
    batch: &'a mut OwnedWriteBatch,
    replaced: &'a HashSet<Sequence>,
    now: Timestamp,
}

impl Front<'_> {
    /// Forgets from the oldest on; at least `over` entries, if there are as many
    /// and the turn's bound allows.
    fn forget(
        self,
        store: &Store,
        state: &mut State,
        bound: &mut Bound,
        over: u64,
    ) -> Result<usize, ReadError> {
        let mut forgotten = 0;
        bound.front_until = self.now;
        // The entries below are gone: only their tombstones are left to walk.
        let range = keys::sequence(state.dedup_floor.next())..;
        for entry in store.dedup_order.range(range).take(FORGET_MAX) {
            let (order_key, value) = entry.into_inner()?;
            let sequence = keys::sequence_of(&order_key).ok_or_else(damaged)?;
            if !self.replaced.contains(&sequence) {
                let (until, key) = keys::take_order_value(&value).ok_or_else(damaged)?;
                if forgotten as u64 >= over && until > self.now {
                    bound.front_until = until;
                    break;
                }
                self.batch.remove(&store.dedup, key);
                self.batch.remove(&store.dedup_order, order_key);
                forgotten += 1;
            }
            state.dedup_floor = sequence;
        }
        Ok(forgotten)
    }
}

fn stored(store: &Store, key: &[u8]) -> Result<Option<Seen>, ReadError> {
    match store.dedup.get(key)? {
        Some(value) => Ok(Some(Seen::decode(&value).ok_or_else(damaged)?)),
        None => Ok(None),
    }
}

fn damaged() -> ReadError {
    ReadError::Storage("a dedup entry is damaged".into())
}
