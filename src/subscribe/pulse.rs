//! Heartbeats in shared phases, and the word that the gateway is draining.
//!
//! A timer per subscriber would cost a hundred thousand of them their wake-ups
//! one by one, and one timer for all would wake them all at once.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::{Instant, MissedTickBehavior, interval_at},
};

/// Into how many groups subscribers fall; each beats at its own time.
const PHASES: usize = 16;

/// The heart of all streams.
#[derive(Debug)]
pub(super) struct Pulse {
    phases: [Phase; PHASES],
    joined: AtomicUsize,
    draining: AtomicBool,
}

#[derive(Debug, Default)]
struct Phase {
    beats: AtomicU64,
    told: Notify,
}

/// Which phase a stream is in, and what it has heard of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ear {
    phase: usize,
    heard: u64,
}

/// What the gateway has to say to all its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// A sign of life is due.
    Beat,
    /// The stream is to end.
    Drain,
}

impl Ear {
    /// For [`Pulse::next`].
    pub(super) fn phase(&self) -> usize {
        self.phase
    }
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            phases: std::array::from_fn(|_| Phase::default()),
            joined: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// Joins the next phase.
    pub(super) fn join(&self) -> Ear {
        let phase = self.joined.fetch_add(1, Ordering::Relaxed) % PHASES;
        Ear {
            phase,
            heard: self.phases[phase].beats.load(Ordering::Acquire),
        }
    }

    /// What was said since the last time.
    pub(super) fn heard(&self, ear: &mut Ear) -> Option<Call> {
        if self.draining() {
            return Some(Call::Drain);
        }
        let beats = self.phases[ear.phase].beats.load(Ordering::Acquire);
        let beaten = beats != ear.heard;
        ear.heard = beats;
        beaten.then_some(Call::Beat)
    }

    /// Completes with the next call after this was called, which is how none
    /// is overheard: this first, then [`Pulse::heard`], then wait.
    pub(super) fn next(&self, phase: usize) -> Notified<'_> {
        self.phases[phase].told.notified()
    }

    /// Beats every phase once in `every`; to be dropped at shutdown.
    pub(super) async fn run(&self, every: Duration) {
        let step = (every / PHASES as u32).max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + step, step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for phase in self.phases.iter().cycle() {
            ticks.tick().await;
            phase.beats.fetch_add(1, Ordering::Release);
            phase.told.notify_waiters();
        }
    }

    /// Ends every stream, those to come included.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.call();
    }

    /// Has every stream look at what it has to heed.
    pub(super) fn call(&self) {
        for phase in &self.phases {
            phase.told.notify_waiters();
        }
    }

    pub(super) fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
