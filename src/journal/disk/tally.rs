//! How many bytes the journal holds, known without looking.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of stored events ever appended, less those ever deleted.
pub(super) struct Tally {
    appended: AtomicU64,
    deleted: AtomicU64,
}

impl Tally {
    pub(super) fn new(appended: u64, deleted: u64) -> Self {
        Self {
            appended: appended.into(),
            deleted: deleted.into(),
        }
    }

    /// The writer's new total.
    pub(super) fn appended(&self, total: u64) {
        self.appended.store(total, Ordering::Release);
    }

    /// Retention's new total.
    pub(super) fn deleted(&self, total: u64) {
        self.deleted.store(total, Ordering::Release);
    }

    pub(super) fn bytes_deleted(&self) -> u64 {
        self.deleted.load(Ordering::Acquire)
    }

    /// What is here.
    pub(super) fn bytes(&self) -> u64 {
        let deleted = self.bytes_deleted();
        self.appended
            .load(Ordering::Acquire)
            .saturating_sub(deleted)
    }
}
