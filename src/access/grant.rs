//! The right to a stream.
//!
//! Invariant: only [`Access::check`](super::Access::check) makes one, of a
//! token that covers its topics or of topics that need none.

use std::{sync::Arc, time::Duration};

use hookrill_core::{Timestamp, Topics};

use super::{reload::PolicyVersion, verified_token::VerifiedToken};

/// The right to a stream of certain topics, until a certain instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    topics: Topics,
    expires_at: Option<Timestamp>,
    token: Option<Arc<VerifiedToken>>,
    policy_version: PolicyVersion,
    full: bool,
}

impl Grant {
    pub(super) fn new(
        topics: Topics,
        token: Option<Arc<VerifiedToken>>,
        leeway: Duration,
        policy_version: PolicyVersion,
    ) -> Self {
        let expires_at = token.as_ref().map(|token| token.expires_at.plus(leeway));
        let full = token.as_ref().is_some_and(|it| it.shows_full(&topics));
        Self {
            topics,
            expires_at,
            token,
            policy_version,
            full,
        }
    }

    /// What may be streamed.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// When the stream has to end; `None` where no token was needed.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// The token that it was granted to; `None` where none was needed.
    #[must_use]
    pub fn token(&self) -> Option<&Arc<VerifiedToken>> {
        self.token.as_ref()
    }

    /// Whether bodies are shown whole, whatever is hidden from others.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// What [`Access::policy_version`](super::Access::policy_version) was when
    /// this was granted.
    #[must_use]
    pub fn policy_version(&self) -> PolicyVersion {
        self.policy_version
    }

    /// A grant without a token, for tests of the rooms above.
    #[cfg(test)]
    pub(crate) fn without_token(topics: Topics, expires_at: Option<Timestamp>) -> Self {
        Self {
            topics,
            expires_at,
            token: None,
            policy_version: 0,
            full: false,
        }
    }
}
