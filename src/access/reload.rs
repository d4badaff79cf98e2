//! Other rules for who may subscribe, put in place of those in use.
//!
//! Whatever is the same before and after stays the same one: an issuer with its
//! fetched keys, and revocations always. Invariant: what the old rules granted
//! is not taken for granted by the new ones; an [`PolicyVersion`] tells them apart.

use std::sync::{Arc, atomic::Ordering};

use hookrill_core::Topics;

use super::{
    Access, Issuer, IssuerId, KeySource, Rules, Settings, TOPICS_CLAIM, TopicSource, VerifiedToken,
    revocations::RevocationList, token_cache::TokenCache, token_verifier::TokenVerifier,
};

/// Changes whenever what was granted before may be granted no more. Nobody
/// reloads so often between two looks that it comes round.
pub type PolicyVersion = u32;

impl Access {
    /// Takes these settings into use instead of those before; whether anything
    /// differs, and streams have to be called to look. One at a time: of two
    /// that overlap, either may win.
    pub fn reload(&self, settings: &Settings) -> bool {
        let before = self.rules.load();
        let rules = Rules::after(&before, settings);
        if rules.are(&before) {
            return false;
        }
        // First, so that none is forgotten under the old rules and asked for
        // under the new ones.
        self.revoked.extend_expiry(rules.remembered());
        self.rules.store(rules);
        self.bump_version();
        true
    }

    /// Changes when grants have to be looked at again: [`Access::still_grants`].
    #[must_use]
    pub fn policy_version(&self) -> PolicyVersion {
        self.policy_version.load(Ordering::Acquire)
    }

    /// To be called once something was replaced.
    pub(super) fn bump_version(&self) {
        self.policy_version.fetch_add(1, Ordering::Release);
    }

    /// Whether a stream of `topics` that was granted to this token, or without
    /// one, may go on as far as rules and keys say. Revocations and the
    /// token's end are heeded apart from this.
    ///
    /// A token that would be good again under another issuer's rules, or for
    /// topics that need none by now, ends as well: its client comes back and
    /// is let in as what it is.
    #[must_use]
    pub fn still_grants(&self, topics: &Topics, proven: Option<&VerifiedToken>) -> bool {
        let rules = self.rules.load();
        match (proven, rules.needs_token(topics)) {
            (_, Err(_)) | (None, Ok(true)) => false,
            (None, Ok(false)) => true,
            (Some(proven), Ok(_)) => {
                rules.issuers.contains(&proven.signer)
                    && proven.signer.has(&proven.key)
                    && rules
                        .require_revocable(&proven.identity, proven.ends)
                        .is_ok()
                    && rules.require(topics, &proven.covered).is_ok()
            }
        }
    }
}

impl Rules {
    /// Rules where there were none.
    pub(super) fn first(settings: &Settings, revoked: &Arc<RevocationList>) -> Self {
        Self::of(settings, &[], 0, revoked)
    }

    fn after(before: &Self, settings: &Settings) -> Self {
        Self::of(settings, &before.issuers, before.next, &before.revoked)
    }

    fn of(
        settings: &Settings,
        before: &[Arc<TokenVerifier>],
        mut next: IssuerId,
        revoked: &Arc<RevocationList>,
    ) -> Self {
        let issuers = issuers(settings).map(|issuer| signer(issuer, before, &mut next));
        Self {
            issuers: issuers.collect(),
            next,
            leeway: settings.leeway,
            ttl_max: settings.token_ttl_max,
            policies: settings.policies.clone(),
            revoked: Arc::clone(revoked),
            kept: TokenCache::new(),
        }
    }

    /// Whether these are the same rules.
    fn are(&self, other: &Self) -> bool {
        self.issuers == other.issuers
            && self.leeway == other.leeway
            && self.ttl_max == other.ttl_max
            && self.policies == other.policies
    }
}

/// All that sign, `access.secret` among them.
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

/// The one there was, if it is the same in all; with the keys there were, if
/// they are the same name's from the same place.
fn signer(
    issuer: Issuer,
    before: &[Arc<TokenVerifier>],
    next: &mut IssuerId,
) -> Arc<TokenVerifier> {
    let known = before.iter().find(|signer| {
        let there = &signer.issuer;
        there.name == issuer.name && there.keys == issuer.keys
    });
    match known {
        Some(known) if known.issuer == issuer => Arc::clone(known),
        Some(known) => Arc::new(known.with_rules_of(issuer)),
        None => {
            let id = *next;
            *next += 1;
            Arc::new(TokenVerifier::new(issuer, id))
        }
    }
}
