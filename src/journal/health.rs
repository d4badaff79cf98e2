//! How a journal does while it runs, for those who operate it.

use std::time::Duration;

use hookrill_core::Timestamp;

/// How much a journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// Bytes of the events, measured as `retention.bytes` is.
    pub bytes: u64,
    /// When the oldest event arrived; `None` if there is none, or it can't be read.
    pub oldest: Option<Timestamp>,
    /// Free bytes of its file system; `None` if it has none, or they can't be read.
    pub free_bytes: Option<u64>,
}

/// How a journal does at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Health {
    /// How long the commit under way has taken so far; zero if there is none.
    pub commit_age: Duration,
    /// Whether that is longer than a commit may take: nothing is stored until
    /// it is done.
    pub is_stalled: bool,
    /// How many damaged events reads have found, of those that are not deleted.
    pub damaged_events: u64,
}
