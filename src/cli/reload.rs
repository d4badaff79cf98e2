//! When `serve` reads its configuration again: at SIGHUP, and when one of the
//! files that it was read from has changed.
//!
//! Decides nothing about the content: that is checked as at a start, and the
//! gateway applies it as a whole or rejects it. The environment variables of a
//! process can't change while it runs.

use std::{convert::Infallible, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    signal::unix::Signal,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{
    Context,
    watch::{ConfigWatch, RecordingReader},
};
use crate::{app::Reloader, config::MissingSecrets};

/// How often the files are polled.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// Reads the configuration again and again, and hands it to the gateway.
pub(super) struct ReloadLoop {
    pub(super) context: Context,
    pub(super) watch: ConfigWatch,
    pub(super) reloader: Reloader,
}

/// Why the configuration may have to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// Somebody sent SIGHUP.
    Hangup,
    /// It is time to poll the files.
    Poll,
}

impl ReloadLoop {
    /// Reloads whenever there is a reason to, until the future is dropped.
    pub(super) async fn run(self, mut hangup: Signal) -> Infallible {
        let mut polls = interval(POLL_EVERY);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let this = Arc::new(Mutex::new(self));
        loop {
            let trigger = tokio::select! {
                Some(()) = hangup.recv() => Trigger::Hangup,
                _ = polls.tick() => Trigger::Poll,
            };
            let this = Arc::clone(&this);
            // The files may be on a slow network disk.
            let done = spawn_blocking(move || this.lock().handle(trigger));
            if let Err(error) = done.await {
                tracing::error!(%error, "the reload crashed; the old configuration may still be in use");
            }
        }
    }

    fn handle(&mut self, trigger: Trigger) {
        match (trigger, self.watch.poll()) {
            (Trigger::Hangup, _) => tracing::info!("SIGHUP: reading the configuration again"),
            (Trigger::Poll, Some(file)) => {
                let file = file.display();
                tracing::info!(%file, "a file has changed: reading the configuration again");
            }
            (Trigger::Poll, None) => return,
        }
        let before = self.watch.stamps();
        let reader = RecordingReader::default();
        // The start has created the secrets of zero configuration: if they are
        // missing now, something is wrong.
        let config = self
            .context
            .config_recording(MissingSecrets::Refuse, &reader);
        let reloaded = self.reloader.reload(config);
        self.watch
            .record_attempt(before, reader.into_stamps(), reloaded.is_ok());
    }
}
