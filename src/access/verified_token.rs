//! What a verified token says.
//!
//! Decides nothing: whether the token is valid at a given time, and for which
//! topics, is for the rules. Invariant: only [`Rules`](super::rules::Rules)
//! makes one, after a key of the token's issuer has verified the signature.

use std::sync::Arc;

use hookrill_core::{Timestamp, Topic, Topics};

use super::{
    issuer::ALL_TOPICS, key::KeyFingerprint, revocation_list::TokenIdentity,
    token_verifier::TokenVerifier,
};

/// What a verified token says.
#[derive(Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Its issuer.
    pub(super) verifier: Arc<TokenVerifier>,
    /// Which of the issuer's keys verified it.
    pub(super) key: KeyFingerprint,
    /// What a revocation can name it by.
    pub(super) identity: TokenIdentity,
    /// The topics it may read.
    pub(super) covered: Topics,
    /// Whether it shows whole bodies.
    pub(super) full: bool,
    /// Whether it shows deliveries as they came.
    pub(super) deliveries: bool,
    /// When it expires (`exp`), without leeway.
    pub(super) expires_at: Timestamp,
    /// When it becomes valid (`nbf`), without leeway.
    pub(super) valid_from: Option<Timestamp>,
}

impl VerifiedToken {
    /// Whether it shows the whole bodies of these topics. It has to cover all
    /// of them: a stream may include public topics that the token does not
    /// cover, and must not show more of those.
    pub(super) fn shows_full(&self, topics: &Topics) -> bool {
        self.full && self.not_covered(topics).is_none()
    }

    /// The first of these topics that the token does not cover itself, public or not.
    pub(super) fn not_covered<'t>(&self, topics: &'t Topics) -> Option<&'t str> {
        match (&self.covered, topics) {
            (Topics::All, _) => None,
            (Topics::These(_), Topics::All) => Some(ALL_TOPICS),
            (covered, Topics::These(wanted)) => wanted
                .iter()
                .find(|topic| !covered.contains(topic))
                .map(Topic::as_str),
        }
    }

    /// What a revocation can name it by.
    #[must_use]
    pub fn identity(&self) -> &TokenIdentity {
        &self.identity
    }
}
