//! Which of the tokens that a request brings counts, and what it is granted.

use hookrill_core::Topics;

use super::Gateway;
use crate::access::{AccessError, Grant, TokenError};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Events, as the topics' views show them.
    Events,
    /// Deliveries as they came, for which every topic needs a token that says so.
    Deliveries,
}

impl Gateway {
    /// The grant of the first token that gives one. Where none is needed, of the first
    /// that shows more than everybody sees.
    pub(super) async fn grant(
        &self,
        topics: &Topics,
        tokens: &[String],
        wanted: Wanted,
    ) -> Result<Grant, AccessError> {
        let Some((first, others)) = tokens.split_first() else {
            return self.grant_by(topics, None, wanted).await;
        };
        let mut checked = self.grant_by(topics, Some(first), wanted).await;
        for token in others {
            if checked.as_ref().is_ok_and(|grant| grant.token().is_some()) {
                break;
            }
            let next = self.grant_by(topics, Some(token), wanted).await;
            if rank(&next) > rank(&checked) {
                checked = next;
            }
        }
        checked
    }

    /// Verifies the token; a second time, where its issuer's keys were outdated.
    async fn grant_by(
        &self,
        topics: &Topics,
        token: Option<&str>,
        wanted: Wanted,
    ) -> Result<Grant, AccessError> {
        let check = || {
            let (topics, now) = (topics.clone(), self.clock.now());
            match wanted {
                Wanted::Events => self.access.check(topics, token, now),
                Wanted::Deliveries => self.access.check_deliveries(topics, token, now),
            }
        };
        let checked = check();
        let Err(AccessError::TokenBad(
            TokenError::KeyUnknown(issuer) | TokenError::KeysMissing(issuer),
        )) = checked
        else {
            return checked;
        };
        if self.key_sets.refresh(issuer).await {
            check()
        } else {
            checked
        }
    }
}

/// Which of several tokens counts: the one that gives the most, or else that which the
/// client can do most about.
fn rank(checked: &Result<Grant, AccessError>) -> u8 {
    match checked {
        Ok(grant) if grant.token().is_some() => 4,
        Ok(_) => 3,
        Err(AccessError::TokenBad(TokenError::KeysMissing(_))) => 2,
        Err(AccessError::NotCovered(_) | AccessError::NoDeliveries) => 1,
        Err(_) => 0,
    }
}
