//! Follows the journal and publishes to the hub: one task, in order.
//!
//! Ingest never calls the hub. Two concurrent ingests may be stored as 5, 6
//! and finish as 6, 5; a subscriber would skip one of them.

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::Hub;
use crate::journal::{Journal, ReadError};

/// Why the pump stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PumpError {
    /// The journal could not be followed any further.
    #[error("the pump stopped")]
    Journal(#[from] ReadError),
    /// The journal ended its stream.
    #[error("the pump stopped: the journal was closed")]
    Closed,
}

/// Publishes every event that becomes durable; returns only when it can't go
/// on. To be dropped at shutdown.
///
/// # Errors
///
/// Always, with the reason: [`PumpError`].
pub async fn pump(hub: Arc<Hub>, journal: Arc<dyn Journal>) -> Result<(), PumpError> {
    let mut position = hub.published();
    let mut commits = journal.follow(position);
    while let Some(commit) = commits.next().await {
        let commit = commit?;
        let (Some(first), Some(last)) = (commit.first(), commit.last()) else {
            continue;
        };
        if first.sequence != position.next() {
            hub.reset(first.sequence.previous());
        }
        hub.publish(&commit);
        position = last.sequence;
    }
    Err(PumpError::Closed)
}
