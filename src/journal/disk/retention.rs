//! Deletes a prefix of the journal, by age and bytes, in small steps.
//!
//! Invariant: the floor is raised for readers and made durable before the
//! first event below it is deleted. So whoever finds an event missing finds a
//! floor above it; and after a crash events may be left below the floor, where
//! nobody looks, until the next start deletes them.

use std::sync::Arc;

use fjall::OwnedWriteBatch;

use super::{
    keys::{self, Floor},
    store::{Purpose, Store},
    tally::Tally,
};
use crate::{
    event::{Clock, Event, Sequence, stored},
    journal::{ReadError, Retention, live::Live, ticker::Next},
};

/// The most events that one step deletes.
const STEP_EVENTS_MAX: usize = 1024;
/// A step takes no further event once it has read as much.
const STEP_BYTES_MAX: u64 = 8 << 20;

/// What retention has.
pub(super) struct Retainer {
    store: Arc<Store>,
    live: Arc<Live>,
    tally: Arc<Tally>,
    clock: Clock,
    retention: Retention,
    /// Whether a crash may have left events below the floor.
    leftovers: bool,
}

/// Some of the oldest events.
#[derive(Default)]
struct Prefix {
    /// `None` where the stored form is damaged: what is wrong with it is told
    /// to readers; here it only has to go.
    events: Vec<(Sequence, Option<Event>)>,
    bytes: u64,
}

impl Retainer {
    pub(super) fn new(
        store: Arc<Store>,
        live: Arc<Live>,
        tally: Arc<Tally>,
        clock: Clock,
        retention: Retention,
    ) -> Self {
        Self {
            store,
            live,
            tally,
            clock,
            retention,
            leftovers: true,
        }
    }

    /// Deletes some of what is to go; blocks.
    pub(super) fn step(&mut self) -> Result<Next, ReadError> {
        if self.leftovers {
            let left = self.prefix(Sequence::ZERO, self.live.floor(), |_, _| true)?;
            self.leftovers = !left.events.is_empty();
            if self.leftovers {
                self.delete(&left)?;
                return Ok(Next::Now);
            }
        }
        let oldest = self.clock.now().minus(self.retention.age);
        let held = self.tally.bytes();
        let surplus = held.saturating_sub(self.retention.bytes);
        let going = self.prefix(self.live.floor(), self.live.head(), |event, bytes| {
            bytes < surplus || event.is_some_and(|e| e.draft.received_at < oldest)
        })?;
        let Some(&(last, _)) = going.events.last() else {
            return Ok(Next::Wait);
        };
        self.raise_floor(last, going.bytes)?;
        self.delete(&going)?;
        Ok(Next::Now)
    }

    /// The events after `after` and up to `upto` that go, given the event and
    /// the bytes that go before it. A damaged one goes for its bytes, or with
    /// one behind it that goes.
    fn prefix(
        &self,
        after: Sequence,
        upto: Sequence,
        goes: impl Fn(Option<&Event>, u64) -> bool,
    ) -> Result<Prefix, ReadError> {
        let mut prefix = Prefix::default();
        if after >= upto {
            return Ok(prefix);
        }
        let (mut going, mut bytes) = (0, 0);
        let range = keys::sequence(after.next())..=keys::sequence(upto);
        for entry in self.store.events.range(range).take(STEP_EVENTS_MAX) {
            let (key, value) = entry.into_inner()?;
            let sequence = keys::sequence_of(&key)
                .ok_or_else(|| ReadError::Storage("a key is cut short".into()))?;
            let len = value.len() as u64;
            let event = stored::decode(value.into()).ok();
            let goes = goes(event.as_ref(), bytes);
            if (!goes && event.is_some()) || bytes >= STEP_BYTES_MAX {
                break;
            }
            bytes += len;
            prefix.events.push((sequence, event));
            if goes {
                going = prefix.events.len();
                prefix.bytes = bytes;
            }
        }
        prefix.events.truncate(going);
        Ok(prefix)
    }

    fn raise_floor(&self, floor: Sequence, bytes: u64) -> Result<(), ReadError> {
        self.live.raise_floor(floor);
        let bytes_deleted = self.tally.bytes_deleted() + bytes;
        let value = Floor {
            floor,
            bytes_deleted,
        };
        let mut batch = self.store.durable_batch();
        batch.insert(&self.store.meta, keys::FLOOR, value.encode());
        self.commit(Purpose::Floor, batch)?;
        self.tally.deleted(bytes_deleted);
        Ok(())
    }

    /// Needs no fsync: what a crash brings back is deleted at the next start.
    fn delete(&self, prefix: &Prefix) -> Result<(), ReadError> {
        let mut batch = self.store.lazy_batch();
        for (sequence, event) in &prefix.events {
            batch.remove(&self.store.events, keys::sequence(*sequence));
            // The index of a damaged event is not known and stays, unread.
            if let Some(event) = event {
                for key in keys::indexes(&event.draft.topic, *sequence) {
                    batch.remove(&self.store.index, key);
                }
            }
        }
        self.commit(Purpose::Delete, batch)
    }

    /// Writes; a failure is the journal's.
    fn commit(&self, purpose: Purpose, batch: OwnedWriteBatch) -> Result<(), ReadError> {
        let written = self.store.commit(purpose, batch);
        written
            .inspect_err(|e| self.live.fail(&e.to_string()))
            .map_err(ReadError::from)
    }
}
