//! A thread that runs a task now and then.
//!
//! Invariant: the thread ends when its [`PeriodicThread`] is stopped or
//! dropped; a run that has begun is finished first.

use std::{
    io,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

/// What such a thread does.
pub(super) trait PeriodicTask: Send + 'static {
    /// Does some of the work; blocks.
    fn run(&mut self) -> NextRun;

    /// Called once, after the last run.
    fn finish(self);
}

/// When a task is to run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextRun {
    /// At once: there is more to do.
    AtOnce,
    /// When the period is over.
    NextPeriod,
}

/// A running thread.
pub(super) struct PeriodicThread {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl PeriodicThread {
    /// Starts a thread that runs the task at once and then every `period`.
    pub(super) fn start(
        name: &str,
        period: Duration,
        mut task: impl PeriodicTask,
    ) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let run = move || {
            let mut wait = Duration::ZERO;
            // Nobody sends anything; that the sender is gone means stop.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(wait) {
                wait = match task.run() {
                    NextRun::AtOnce => Duration::ZERO,
                    NextRun::NextPeriod => period,
                };
            }
            task.finish();
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread and waits for it; blocks.
    pub(super) fn stop(self) {
        drop(self.stop);
        // A task that panicked has nothing more to finish.
        let _ = self.thread.join();
    }
}
