//! A thread that does a chore now and then.
//!
//! Invariant: it ends when the [`Ticker`] is stopped or dropped; the chore in
//! hand is finished first, and `last` is its last word.

use std::{
    io,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

/// What a chore wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// To be called again at once: there is more to do.
    Now,
    /// To be called at the next tick.
    Wait,
}

/// A running thread.
pub(super) struct Ticker {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Ticker {
    /// Starts a thread that calls `chore` every `period`, and at the end `last`.
    pub(super) fn start(
        name: &str,
        period: Duration,
        mut chore: impl FnMut() -> Next + Send + 'static,
        last: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let run = move || {
            let mut wait = Duration::ZERO;
            // An answer and a hang-up both mean the end.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
                wait = match chore() {
                    Next::Now => Duration::ZERO,
                    Next::Wait => period,
                };
            }
            last();
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread and waits for it; blocks.
    pub(super) fn stop(self) {
        drop(self.stop);
        // A chore that panicked has nothing more to say.
        let _ = self.thread.join();
    }
}
