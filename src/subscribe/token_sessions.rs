//! The open streams that have a token, so that they can be ended.
//!
//! Costs a stream one pointer, and nothing while nobody is revoked. Invariant:
//! a lease is marked before the streams are called, so that whoever hears the
//! call finds it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use dashmap::DashMap;

use crate::access::{TokenIdentity, VerifiedToken};

/// All of them.
#[derive(Default)]
pub(super) struct Leases {
    open: DashMap<u64, Arc<Lease>>,
    next: AtomicU64,
    /// How often any were ended.
    ended: AtomicU64,
}

/// One stream's.
pub(super) struct Lease {
    id: u64,
    proven: Arc<VerifiedToken>,
    over: AtomicBool,
}

impl Lease {
    /// What the stream's token says.
    pub(super) fn proven(&self) -> &VerifiedToken {
        &self.proven
    }

    /// Whether the stream is to end.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }
}

impl Leases {
    pub(super) fn begin(&self, proven: &Arc<VerifiedToken>) -> Arc<Lease> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let lease = Arc::new(Lease {
            id,
            proven: Arc::clone(proven),
            over: AtomicBool::new(false),
        });
        self.open.insert(id, Arc::clone(&lease));
        lease
    }

    pub(super) fn end(&self, lease: &Lease) {
        self.open.remove(&lease.id);
    }

    /// Marks those of these tokens; says how many it marked.
    pub(super) fn end_those(&self, of: impl Fn(&TokenIdentity) -> bool) -> usize {
        let marked = self.open.iter().filter(|lease| of(lease.proven.identity()));
        let count = marked
            .filter(|lease| !lease.over.swap(true, Ordering::AcqRel))
            .count();
        if count > 0 {
            self.ended.fetch_add(1, Ordering::Release);
        }
        count
    }

    /// Changes when any were marked.
    pub(super) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }
}
