//! Watches the commit under way, so that a disk that hangs is noticed.
//!
//! Decides nothing about the commit itself: it becomes durable or fails as the
//! disk decides, however late, and its senders are answered then. Invariants:
//! the journal is stalled only while a commit is under way; one log line says
//! that it began, and one that it is over.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::journal::Health;

/// When the commit under way began, and whether it takes too long.
pub(super) struct CommitWatch {
    /// A commit that takes longer is a disk that hangs.
    stall_max: Duration,
    began: Mutex<Option<Instant>>,
    is_stalled: watch::Sender<bool>,
}

impl CommitWatch {
    pub(super) fn new(stall_max: Duration) -> Self {
        Self {
            stall_max,
            began: Mutex::new(None),
            is_stalled: watch::Sender::new(false),
        }
    }

    /// Waits for the end of a commit that has just begun.
    pub(super) async fn watch<T>(&self, commit: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let before = self.began.lock().replace(began);
        debug_assert!(before.is_none(), "one commit at a time");
        let mut commit = std::pin::pin!(commit);
        let done = match timeout(self.stall_max, &mut commit).await {
            Ok(done) => done,
            Err(_) => {
                self.is_stalled.send_replace(true);
                let limit = self.stall_max;
                tracing::error!(
                    ?limit,
                    "the journal's disk hangs: a commit takes longer than journal.commit_stall_max; \
                     until it is done, deliveries get 503 and /readyz says so"
                );
                let done = commit.await;
                let took = began.elapsed();
                tracing::info!(?took, "the journal's disk works again");
                done
            }
        };
        self.began.lock().take();
        self.is_stalled.send_if_modified(std::mem::take);
        done
    }

    pub(super) fn health(&self) -> Health {
        let began = *self.began.lock();
        Health {
            commit_age: began.map_or(Duration::ZERO, |began| began.elapsed()),
            is_stalled: self.is_stalled(),
            ..Health::default()
        }
    }

    pub(super) fn is_stalled(&self) -> bool {
        *self.is_stalled.borrow()
    }

    /// Completes when the journal is stalled.
    pub(super) async fn stalled(&self) {
        let mut is_stalled = self.is_stalled.subscribe();
        // The sender is in `self`, so it is not gone.
        _ = is_stalled.wait_for(|is_stalled| *is_stalled).await;
    }
}
