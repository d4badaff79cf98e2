//! Heartbeats in shared phases, and the word that the gateway is draining.
//!
//! A timer per subscriber would cost a hundred thousand of them their wake-ups
//! one by one, and one timer for all would wake them all at once.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};

/// Into how many groups subscribers fall; each beats at its own time.
const PHASES: usize = 16;

/// What the gateway has to say to all its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Beat {
    /// A sign of life is due.
    #[default]
    Alive,
    /// The stream is to end.
    Drain,
}

/// The heart of all streams.
#[derive(Debug)]
pub(super) struct Pulse {
    phases: [watch::Sender<Beat>; PHASES],
    joined: AtomicUsize,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            phases: std::array::from_fn(|_| watch::Sender::default()),
            joined: AtomicUsize::new(0),
        }
    }

    /// Joins the next phase.
    pub(super) fn join(&self) -> watch::Receiver<Beat> {
        let joined = self.joined.fetch_add(1, Ordering::Relaxed);
        let mut receiver = self.phases[joined % PHASES].subscribe();
        // Told of the past as well: a drain may have begun.
        if *receiver.borrow() == Beat::Drain {
            receiver.mark_changed();
        }
        receiver
    }

    /// Beats every phase once in `every`; to be dropped at shutdown.
    pub(super) async fn run(&self, every: Duration) {
        let step = (every / PHASES as u32).max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + step, step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for phase in self.phases.iter().cycle() {
            ticks.tick().await;
            phase.send_if_modified(|beat| *beat != Beat::Drain);
        }
    }

    /// Ends every stream, those to come included.
    pub(super) fn drain(&self) {
        for phase in &self.phases {
            phase.send_replace(Beat::Drain);
        }
    }

    pub(super) fn draining(&self) -> bool {
        *self.phases[0].borrow() == Beat::Drain
    }
}
