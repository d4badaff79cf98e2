//! By what right a stream goes on: its token's time, its session, the policy.
//!
//! Invariant: asked before anything is written, so that nothing goes out by a
//! right that has ended.

use std::{sync::Arc, time::Duration};

use hookrill_core::Topics;
use tokio::time::Instant;

use crate::{
    access::{Grant, PolicyVersion},
    subscribe::{context::StreamContext, token_sessions::TokenSession},
};

/// The longest lifetime that is timed; a stream that would last longer ends
/// after this, and its client reconnects.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Clients are told of their token's end when a tenth of the stream's lifetime
/// is left.
const NOTICE_SHARE: u64 = 10;
/// The bounds of that, in seconds.
const NOTICE_SECS_MIN: u8 = 5;
const NOTICE_SECS_MAX: u8 = 60;

pub(in crate::subscribe) struct Entitlement {
    /// When the token expires.
    expires_at: Option<Instant>,
    /// How many seconds before that the client is told; 0 once it was.
    notice_secs: u8,
    /// Whether it was found to be over.
    is_over: bool,
    /// Marked where the token is revoked; `None` where no token was needed.
    session: Option<Arc<TokenSession>>,
    /// The policy by which the stream was granted last.
    policy_version: PolicyVersion,
}

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::subscribe) enum TokenStatus {
    Valid,
    /// It expires this soon, and the client has not been told.
    Expiring(Duration),
    Expired,
    /// It is valid, and the stream is too old: its client is to come back.
    Aged,
}

impl Entitlement {
    /// The right of a stream that `grant` allows for `lifetime` from `now`.
    pub(in crate::subscribe) fn new(
        context: &StreamContext,
        grant: &Grant,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Self {
        Self {
            expires_at: lifetime.map(|left| now + left.min(LIFETIME_MAX)),
            notice_secs: lifetime.map_or(0, notice_secs),
            is_over: false,
            session: grant.token().map(|token| context.sessions.open(token)),
            policy_version: grant.policy_version(),
        }
    }

    /// When the token expires.
    pub(in crate::subscribe) fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    /// When the token calls for a look: to tell the client, or to end.
    pub(in crate::subscribe) fn deadline(&self) -> Option<Instant> {
        let notice = Duration::from_secs(self.notice_secs.into());
        self.expires_at
            .map(|at| at.checked_sub(notice).unwrap_or(at))
    }

    /// How the token stands at `now`, which is asked for only where a token
    /// expires at all.
    pub(in crate::subscribe) fn token_status(&self, now: impl FnOnce() -> Instant) -> TokenStatus {
        let (Some(expires_at), Some(deadline)) = (self.expires_at, self.deadline()) else {
            return TokenStatus::Valid;
        };
        let now = now();
        if now >= expires_at {
            return TokenStatus::Expired;
        }
        if now >= deadline {
            return TokenStatus::Expiring(expires_at.duration_since(now));
        }
        TokenStatus::Valid
    }

    /// Whether the stream ends because this right does.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The token has expired or was revoked, or the policy grants it no more.
    pub(super) fn set_over(&mut self) {
        self.is_over = true;
    }

    /// The client was told that its token expires.
    pub(super) fn notice_given(&mut self) {
        self.notice_secs = 0;
    }

    /// Whether the stream has to end: its token was revoked, or the policy of
    /// today would not grant it.
    pub(in crate::subscribe) fn is_revoked(
        &mut self,
        context: &StreamContext,
        topics: &Topics,
    ) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| session.is_revoked()) || !self.is_granted(context, topics)
    }

    /// Checks the grant again where the policy changed since the last time; also
    /// one that was made just before a change, and opened just after it.
    fn is_granted(&mut self, context: &StreamContext, topics: &Topics) -> bool {
        let policy_version = context.access.policy_version();
        if self.policy_version == policy_version {
            return true;
        }
        let token = self.session.as_ref().map(|session| session.token());
        let is_granted = context.access.still_grants(topics, token);
        if is_granted {
            self.policy_version = policy_version;
        }
        is_granted
    }

    /// The stream has ended.
    pub(in crate::subscribe) fn end(&self, context: &StreamContext) {
        if let Some(session) = &self.session {
            context.sessions.close(session);
        }
    }
}

/// How long before its end a stream of this lifetime tells of it; 0 where it
/// lasts no longer than that.
fn notice_secs(lifetime: Duration) -> u8 {
    let share = lifetime.as_secs() / NOTICE_SHARE;
    let secs = u8::try_from(share).unwrap_or(NOTICE_SECS_MAX);
    let secs = secs.clamp(NOTICE_SECS_MIN, NOTICE_SECS_MAX);
    if lifetime > Duration::from_secs(secs.into()) {
        secs
    } else {
        0
    }
}
