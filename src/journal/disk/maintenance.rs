//! The journal's second thread: it seals full segments, deletes old events, and
//! writes the high-water mark at most once a period.
//!
//! Off the acknowledging path: nobody waits for it. What goes wrong here is
//! logged, once, since there is nobody to return it to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hookrill_core::{Epoch, Sequence};

use super::{
    files::Files,
    high_water::HighWaterMark,
    retention::{KeepError, Pruner},
};
use crate::{
    journal::{
        periodic::{NextRun, PeriodicTask},
        tail::{FailOnPanic, LiveTail},
    },
    telemetry::with_causes,
};

/// The thread's name.
pub(super) const THREAD: &str = "journal-keep";

/// What the thread has.
pub(super) struct Maintenance {
    files: Arc<Files>,
    tail: Arc<LiveTail>,
    epoch: Epoch,
    pruner: Pruner,
    /// How far events were acknowledged, by the mark on the disk.
    marked: Sequence,
    marked_at: Instant,
    /// Whether that the mark can't be written has been logged.
    has_warned_of_mark: bool,
    /// Whether that segments can't be sealed or deleted has been logged.
    has_warned: bool,
    _guard: FailOnPanic,
}

impl Maintenance {
    pub(super) fn new(
        files: Arc<Files>,
        tail: Arc<LiveTail>,
        epoch: Epoch,
        pruner: Pruner,
    ) -> Self {
        let guard = FailOnPanic {
            tail: Arc::clone(&tail),
            thread: THREAD,
        };
        Self {
            marked: tail.head(),
            files,
            tail,
            epoch,
            pruner,
            marked_at: Instant::now(),
            has_warned_of_mark: false,
            has_warned: false,
            _guard: guard,
        }
    }

    /// How often it is to run.
    pub(super) fn period(&self) -> Duration {
        self.files.env.maintenance_period
    }

    fn step(&mut self) -> Result<NextRun, KeepError> {
        if self.pruner.seal()? {
            return Ok(NextRun::AtOnce);
        }
        self.pruner.step()
    }

    fn write_mark(&mut self) {
        let sequence = self.tail.head();
        assert!(self.marked <= sequence, "the head never falls");
        if sequence == self.marked {
            return;
        }
        let mark = HighWaterMark {
            epoch: self.epoch,
            sequence,
        };
        match mark.store(&self.files.folder) {
            Ok(()) => (self.marked, self.has_warned_of_mark) = (sequence, false),
            // The older mark stays: a weaker check, and no loss.
            Err(error) if !self.has_warned_of_mark => {
                self.has_warned_of_mark = true;
                tracing::warn!(error = %with_causes(&error), "cannot write the journal's high-water mark");
            }
            Err(_) => {}
        }
        self.marked_at = Instant::now();
    }
}

impl PeriodicTask for Maintenance {
    fn run(&mut self) -> NextRun {
        if self.marked_at.elapsed() >= self.period() {
            self.write_mark();
        }
        self.files.reserve.refill();
        if self.tail.failure().is_some() {
            return NextRun::NextPeriod;
        }
        match self.step() {
            Ok(next) => {
                self.has_warned = false;
                next
            }
            Err(error) => {
                if !self.has_warned {
                    self.has_warned = true;
                    tracing::warn!(error = %with_causes(&error), "cannot seal segments or delete old events");
                }
                NextRun::NextPeriod
            }
        }
    }

    fn finish(mut self) {
        self.write_mark();
    }
}
