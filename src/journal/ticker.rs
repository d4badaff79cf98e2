//! A thread that does a chore now and then.
//!
//! Invariant: it ends when the [`Ticker`] is stopped or dropped; the chore in
//! hand is finished first.

use std::{
    io,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

/// What is to be done.
pub(super) trait Chore: Send + 'static {
    /// Does some of it; blocks.
    fn tick(&mut self) -> Next;

    /// Has the last word.
    fn end(self);
}

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
    /// Starts a thread that does the chore at once and then every `period`.
    pub(super) fn start(name: &str, period: Duration, mut chore: impl Chore) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let run = move || {
            let mut wait = Duration::ZERO;
            // A hang-up means the end; nobody sends anything.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
                wait = match chore.tick() {
                    Next::Now => Duration::ZERO,
                    Next::Wait => period,
                };
            }
            chore.end();
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
