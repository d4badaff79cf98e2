//! Heartbeats in shared phases, and the signal that the gateway drains.
//!
//! A timer per subscriber would wake a hundred thousand of them one by one, and
//! one timer for all would wake them all at once.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::{Instant, MissedTickBehavior, interval_at},
};

/// Into how many groups subscribers fall; each has its heartbeats at a time of
/// its own.
const PHASES: usize = 16;

/// Wakes all streams: for heartbeats, for the drain, and for another look at
/// what they may show.
#[derive(Debug)]
pub(super) struct Heartbeats {
    phases: [Phase; PHASES],
    joined: AtomicUsize,
    draining: AtomicBool,
}

#[derive(Debug, Default)]
struct Phase {
    /// Wraps around after 2^32 heartbeats: only whether it has changed counts.
    count: AtomicU32,
    wake: Notify,
}

/// Which phase a stream is in, and how many of its heartbeats it has seen. Small: every
/// stream has one.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeartbeatCursor {
    phase: u8,
    seen: u32,
}

/// What the gateway signals to all its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// A heartbeat is due.
    Heartbeat,
    /// The stream is to end.
    Drain,
}

impl HeartbeatCursor {
    /// For [`Heartbeats::notified`].
    pub(super) fn phase(self) -> usize {
        self.phase.into()
    }
}

impl Heartbeats {
    pub(super) fn new() -> Self {
        Self {
            phases: std::array::from_fn(|_| Phase::default()),
            joined: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// Assigns the next phase.
    pub(super) fn join(&self) -> HeartbeatCursor {
        let phase = self.joined.fetch_add(1, Ordering::Relaxed) % PHASES;
        HeartbeatCursor {
            phase: phase as u8,
            seen: self.phases[phase].count.load(Ordering::Acquire),
        }
    }

    /// What was signalled since the last time.
    pub(super) fn take_signal(&self, cursor: &mut HeartbeatCursor) -> Option<Signal> {
        if self.is_draining() {
            return Some(Signal::Drain);
        }
        let count = self.phases[cursor.phase()].count.load(Ordering::Acquire);
        let is_new = count != cursor.seen;
        cursor.seen = count;
        is_new.then_some(Signal::Heartbeat)
    }

    /// Completes with the next signal after this was called. No signal is missed
    /// by whoever calls this first, then [`Heartbeats::take_signal`], and then
    /// waits.
    pub(super) fn notified(&self, phase: usize) -> Notified<'_> {
        self.phases[phase].wake.notified()
    }

    /// Signals a heartbeat to every phase once in `every`; to be dropped at
    /// shutdown.
    pub(super) async fn run(&self, every: Duration) {
        let step = (every / PHASES as u32).max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + step, step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for phase in self.phases.iter().cycle() {
            ticks.tick().await;
            phase.count.fetch_add(1, Ordering::Release);
            phase.wake.notify_waiters();
        }
    }

    /// Ends every stream, also those that are opened later.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Has every stream check what it may still show.
    pub(super) fn wake_all(&self) {
        for phase in &self.phases {
            phase.wake.notify_waiters();
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
