//! The thread beside the writer: it seals full segments, deletes what is old,
//! and writes the high-water mark at most once a tick.
//!
//! Off the acknowledging path: nobody waits for it. What goes wrong here is
//! told once in the log, since there is nobody to return it to.

use std::{sync::Arc, time::Instant};

use hookrill_core::{Epoch, Sequence};

use super::{high_water::Mark, retention::Retainer, store::Store};
use crate::journal::{
    ReadError,
    live::Live,
    ticker::{Chore, Next},
};

/// What the thread has.
pub(super) struct Keeper {
    store: Arc<Store>,
    live: Arc<Live>,
    epoch: Epoch,
    retainer: Retainer,
    marked: Sequence,
    marked_at: Instant,
    /// Whether the log knows already.
    told_of_mark: bool,
    told: bool,
}

impl Keeper {
    pub(super) fn new(
        store: Arc<Store>,
        live: Arc<Live>,
        epoch: Epoch,
        retainer: Retainer,
    ) -> Self {
        Self {
            marked: live.head(),
            store,
            live,
            epoch,
            retainer,
            marked_at: Instant::now(),
            told_of_mark: false,
            told: false,
        }
    }

    fn step(&mut self) -> Result<Next, ReadError> {
        if self.retainer.seal()? {
            return Ok(Next::Now);
        }
        self.retainer.step()
    }

    fn mark(&mut self) {
        let sequence = self.live.head();
        if sequence == self.marked {
            return;
        }
        let epoch = self.epoch;
        match (Mark { epoch, sequence }).store(&self.store.folder) {
            Ok(()) => (self.marked, self.told_of_mark) = (sequence, false),
            // The older mark stays: a weaker check, and no loss.
            Err(error) if !self.told_of_mark => {
                self.told_of_mark = true;
                tracing::warn!(%error, "cannot write the journal's high-water mark");
            }
            Err(_) => {}
        }
        self.marked_at = Instant::now();
    }
}

impl Chore for Keeper {
    fn tick(&mut self) -> Next {
        if self.marked_at.elapsed() >= self.store.outside.tick {
            self.mark();
        }
        if self.live.failure().is_some() {
            return Next::Wait;
        }
        match self.step() {
            Ok(next) => {
                self.told = false;
                next
            }
            Err(error) => {
                if !self.told {
                    self.told = true;
                    tracing::warn!(%error, "cannot seal segments or delete old events");
                }
                Next::Wait
            }
        }
    }

    fn end(mut self) {
        self.mark();
    }
}
