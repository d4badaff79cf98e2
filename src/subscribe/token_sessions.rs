//! The open streams that were granted by a token, so that they can be ended.
//!
//! Costs a stream one pointer, and nothing while no token is revoked.
//! Invariant: a session is marked before its stream is woken, so that the
//! stream finds the mark.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use dashmap::DashMap;

use crate::access::{TokenIdentity, VerifiedToken};

/// All of them.
#[derive(Default)]
pub(super) struct TokenSessions {
    open: DashMap<u64, Arc<TokenSession>>,
    next: AtomicU64,
    /// How often any were revoked.
    revocations: AtomicU64,
}

/// One stream's.
pub(super) struct TokenSession {
    id: u64,
    token: Arc<VerifiedToken>,
    revoked: AtomicBool,
}

impl TokenSession {
    /// The token that granted the stream.
    pub(super) fn token(&self) -> &VerifiedToken {
        &self.token
    }

    /// Whether the stream is to end.
    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }
}

impl TokenSessions {
    pub(super) fn open(&self, token: &Arc<VerifiedToken>) -> Arc<TokenSession> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let session = Arc::new(TokenSession {
            id,
            token: Arc::clone(token),
            revoked: AtomicBool::new(false),
        });
        self.open.insert(id, Arc::clone(&session));
        session
    }

    pub(super) fn close(&self, session: &TokenSession) {
        let closed = self.open.remove(&session.id);
        debug_assert!(closed.is_some(), "a session is closed once");
    }

    /// Marks the sessions of these tokens; returns how many it marked.
    pub(super) fn revoke_where(&self, is_revoked: impl Fn(&TokenIdentity) -> bool) -> usize {
        let open = self.open.iter();
        let matching = open.filter(|session| is_revoked(session.token.identity()));
        let count = matching
            .filter(|session| !session.revoked.swap(true, Ordering::AcqRel))
            .count();
        if count > 0 {
            self.revocations.fetch_add(1, Ordering::Release);
        }
        count
    }

    /// Changes when any were marked.
    pub(super) fn revocations(&self) -> u64 {
        self.revocations.load(Ordering::Acquire)
    }
}
