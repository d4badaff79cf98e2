//! When `serve` reads its configuration again: at SIGHUP, and when a file that
//! it was read from has changed.
//!
//! Decides nothing about what is read: that is checked as at a start, and the
//! gateway takes it whole or refuses it. Environment variables of a process
//! stay as they are.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    signal::unix::Signal,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use super::{
    Context,
    watch::{Reading, Watch},
};
use crate::{app::Reloader, config::MissingSecrets};

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Reads and reloads.
pub(super) struct Reloads {
    pub(super) context: Context,
    pub(super) watch: Watch,
    pub(super) reloader: Reloader,
}

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Asked,
    /// If one has.
    FileChanged,
}

impl Reloads {
    /// Reloads whenever there is a reason to, until it is dropped.
    pub(super) async fn run(self, mut hangup: Signal) -> Infallible {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reloads = Arc::new(Mutex::new(self));
        loop {
            let why = tokio::select! {
                Some(()) = hangup.recv() => Why::Asked,
                _ = looks.tick() => Why::FileChanged,
            };
            let reloads = Arc::clone(&reloads);
            // A disk may be far away.
            let done = spawn_blocking(move || {
                let mut reloads = reloads.lock().unwrap_or_else(PoisonError::into_inner);
                reloads.heed(why);
            });
            if let Err(error) = done.await {
                tracing::error!(%error, "a reload did not end; the configuration may be the old one");
            }
        }
    }

    fn heed(&mut self, why: Why) {
        match (why, self.watch.changed()) {
            (Why::Asked, _) => tracing::info!("SIGHUP: the configuration is read again"),
            (Why::FileChanged, Some(file)) => {
                let file = file.display();
                tracing::info!(%file, "a file has changed: the configuration is read again");
            }
            (Why::FileChanged, None) => return,
        }
        let before = self.watch.looks();
        let reading = Reading::default();
        // A newcomer's secrets were made at the start: they are there, or
        // something is wrong.
        let config = self.context.config_by(MissingSecrets::Refuse, &reading);
        let reloaded = self.reloader.reload(config);
        self.watch.note(before, reading.looks(), reloaded.is_ok());
    }
}
