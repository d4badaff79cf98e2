//! New rules in place of those in use.
//!
//! Whatever is the same before and after stays: an issuer keeps its fetched
//! keys, and revocations always stay. Invariant: a stream that the old rules
//! granted is checked again under the new ones; the [`PolicyVersion`] tells it
//! when.

use std::sync::{Arc, atomic::Ordering};

use hookrill_core::Topics;

use super::{
    Access, Settings,
    issuer::{Issuer, IssuerId, KeySource, TOPICS_CLAIM, TopicSource},
    revocation_list::RevocationList,
    rules::Rules,
    token_cache::TokenCache,
    token_verifier::TokenVerifier,
    verified_token::VerifiedToken,
};

/// Changes whenever a grant may no longer hold. Wraps around, after more
/// changes than can happen between two checks of one stream.
pub type PolicyVersion = u32;

impl Access {
    /// Replaces the settings; returns whether anything differs, so that open
    /// streams have to be checked again. Not for concurrent calls: of two that
    /// overlap, either may win.
    pub fn reload(&self, settings: &Settings) -> bool {
        let before = self.rules.load();
        let rules = Rules::after(&before, settings);
        if rules.is_same(&before) {
            return false;
        }
        // Before the new rules are in force, so that no revocation is dropped
        // by the old ones that the new ones still need.
        self.revocations.extend_expiry(rules.keep_revocations_for());
        self.rules.store(rules);
        self.bump_version();
        true
    }

    /// Changes when open streams have to be checked with
    /// [`Access::still_grants`].
    #[must_use]
    pub fn policy_version(&self) -> PolicyVersion {
        self.version.load(Ordering::Acquire)
    }

    /// To be called after something was replaced.
    pub(super) fn bump_version(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Whether a stream of `topics` that was granted to this token, or without
    /// one, may go on as far as rules and keys say. Does not look at
    /// revocations and the token's expiry, which end streams by themselves.
    ///
    /// A token that would be valid again under another issuer's rules, or for
    /// topics that are public by now, ends as well: its client reconnects, and
    /// is granted what the new rules say.
    #[must_use]
    pub fn still_grants(&self, topics: &Topics, token: Option<&VerifiedToken>) -> bool {
        let rules = self.rules.load();
        let Ok(needs_token) = rules.needs_token(topics) else {
            return false;
        };
        match token {
            None => !needs_token,
            Some(token) => rules.still_accepts(token) && rules.covers(topics, token),
        }
    }
}

impl Rules {
    /// The rules of a start.
    pub(super) fn new(settings: &Settings, revocations: &Arc<RevocationList>) -> Self {
        Self::build(settings, &[], 0, revocations)
    }

    fn after(before: &Self, settings: &Settings) -> Self {
        let (verifiers, next) = (&before.verifiers, before.next_issuer);
        Self::build(settings, verifiers, next, &before.revocations)
    }

    fn build(
        settings: &Settings,
        before: &[Arc<TokenVerifier>],
        mut next_issuer: IssuerId,
        revocations: &Arc<RevocationList>,
    ) -> Self {
        let verifiers: Box<[_]> = issuers(settings)
            .map(|issuer| verifier(issuer, before, &mut next_issuer))
            .collect();
        let are_given_out = verifiers.iter().all(|it| it.id() < next_issuer);
        assert!(are_given_out, "an id that is in use is never the next one");
        Self {
            verifiers,
            next_issuer,
            leeway: settings.leeway,
            token_ttl_max: settings.token_ttl_max,
            policies: settings.policies.clone(),
            revocations: Arc::clone(revocations),
            cache: TokenCache::new(),
        }
    }

    /// Whether these decide as the others do.
    fn is_same(&self, other: &Self) -> bool {
        self.verifiers == other.verifiers
            && self.leeway == other.leeway
            && self.token_ttl_max == other.token_ttl_max
            && self.policies == other.policies
    }

    fn still_accepts(&self, token: &VerifiedToken) -> bool {
        self.verifiers.contains(&token.verifier)
            && token.verifier.has_key(&token.key)
            && self
                .check_revocable(&token.identity, token.expires_at)
                .is_ok()
    }

    fn covers(&self, topics: &Topics, token: &VerifiedToken) -> bool {
        self.check_covered(topics, &token.covered).is_ok()
    }
}

/// All issuers, the simple form `access.secret` among them.
fn issuers(settings: &Settings) -> impl Iterator<Item = Issuer> {
    let by_secret = settings.secret.iter().map(|secret| Issuer {
        name: None,
        // Whoever has the secret could write any audience.
        audience: Box::default(),
        keys: KeySource::Secret(secret.clone()),
        topics: TopicSource::Claim(TOPICS_CLAIM.into()),
    });
    settings.issuers.iter().cloned().chain(by_secret)
}

/// The verifier from before, if its issuer is the same in all; one with the
/// keys from before, if those are of the same name and place; else a new one.
fn verifier(
    issuer: Issuer,
    before: &[Arc<TokenVerifier>],
    next_issuer: &mut IssuerId,
) -> Arc<TokenVerifier> {
    let known = before.iter().find(|it| it.issuer().has_keys_of(&issuer));
    match known {
        Some(known) if *known.issuer() == issuer => Arc::clone(known),
        Some(known) => Arc::new(known.reconfigured(issuer)),
        None => {
            let id = *next_issuer;
            *next_issuer += 1;
            Arc::new(TokenVerifier::new(issuer, id))
        }
    }
}
