//! What was configured, asked of one token: whose it is, what it says, whether
//! that holds now, and for which topics.
//!
//! Invariant: what a token says is believed only after its issuer's key has
//! confirmed it; `iss` is read before that to find the key, and for nothing else.

use std::{sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use hookrill_core::{Timestamp, Topic, TopicMap, Topics};
use serde::Deserialize;

use super::{
    AccessError, EVERYTHING, IssuerId, Policy, TOKEN_BYTES_MAX, TOKEN_TOPICS_MAX, TokenError,
    TokenIdentity, VerifiedToken,
    revocations::RevocationList,
    token_cache::{self, TokenCache},
    token_verifier::TokenVerifier,
};

/// The claim of a token that shows bodies whole, where it is `true`.
const FULL_CLAIM: &str = "full";

/// What was configured, replaced as one.
pub(super) struct Rules {
    pub(super) issuers: Box<[Arc<TokenVerifier>]>,
    /// The id of the next issuer: none is given twice.
    pub(super) next: IssuerId,
    pub(super) leeway: Duration,
    pub(super) ttl_max: Option<Duration>,
    pub(super) policies: TopicMap<Policy>,
    /// The same ones whatever the rules.
    pub(super) revoked: Arc<RevocationList>,
    /// Good for these rules alone, so it lives and ends with them.
    pub(super) kept: TokenCache,
}

impl Rules {
    /// For how long a revocation is remembered: what was issued by then, or is
    /// within the leeway of it, has ended, and has its leeway at that end as
    /// well.
    pub(super) fn remembered(&self) -> Option<Duration> {
        self.ttl_max.map(|ttl| ttl + 2 * self.leeway)
    }

    pub(super) fn needs_token(&self, topics: &Topics) -> Result<bool, AccessError> {
        let Topics::These(topics) = topics else {
            return Ok(true);
        };
        let mut needed = false;
        for topic in topics {
            match self.policies.lookup(topic) {
                None => return Err(AccessError::UnknownTopic(topic.clone())),
                Some(Policy::Token) => needed = true,
                Some(Policy::Public) => {}
            }
        }
        Ok(needed)
    }

    /// What the token says, if it holds now.
    pub(super) fn proven(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Long);
        }
        let name = token_cache::name(token);
        let kept = self.kept.find(&name);
        // Who rotates a key out means what it signed, kept or not.
        if let Some(proven) = kept.filter(|proven| proven.signer.has(&proven.key)) {
            self.require_now(&proven, now)?;
            return Ok(proven);
        }
        let proven = Arc::new(self.verify(token)?);
        self.require_now(&proven, now)?;
        // Only what held: whoever makes tokens up must not push others out.
        self.kept.put(name, &proven);
        Ok(proven)
    }

    fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        let signer = self.signer_of(token)?;
        let (key, said) = signer.verified(token)?;
        signer.require(&said)?;
        let exp = said.time("exp")?.ok_or(TokenError::Claims)?;
        let ends = Timestamp::from_unix_secs(exp);
        let issued_at = said.time("iat")?.map(Timestamp::from_unix_secs);
        let identity = TokenIdentity::new(said.text("jti")?, said.text("sub")?, issued_at);
        self.require_revocable(&identity, ends)?;
        Ok(VerifiedToken {
            signer: Arc::clone(signer),
            key,
            identity,
            covered: parse_topics(&signer.topics(&said)?)?,
            full: said.is_true(FULL_CLAIM),
            ends,
            from: said.time("nbf")?.map(Timestamp::from_unix_secs),
        })
    }

    /// Where lives are bounded, whether a revocation is sure to outlive it.
    pub(super) fn require_revocable(
        &self,
        identity: &TokenIdentity,
        ends: Timestamp,
    ) -> Result<(), TokenError> {
        let Some(ttl_max) = self.ttl_max else {
            return Ok(());
        };
        let issued_at = identity.issued_at.ok_or(TokenError::LongLived)?;
        if ends.since(issued_at) > ttl_max {
            return Err(TokenError::LongLived);
        }
        match identity.is_revocable() {
            true => Ok(()),
            false => Err(TokenError::Nameless),
        }
    }

    /// Whose token it says it is, which that issuer's key then has to confirm.
    fn signer_of(&self, token: &str) -> Result<&Arc<TokenVerifier>, TokenError> {
        let find = |name: Option<&str>| {
            let mut issuers = self.issuers.iter();
            issuers.find(|signer| signer.issuer.name.as_deref() == name)
        };
        let unnamed = find(None);
        match (&*self.issuers, unnamed) {
            ([], _) => return Err(TokenError::NoSecret),
            ([only], Some(_)) => return Ok(only),
            _ => {}
        }
        let said = issuer_said(token)?;
        let named = said.as_deref().and_then(|name| find(Some(name)));
        named.or(unnamed).ok_or(TokenError::Issuer)
    }

    /// Asked at each use: time passes, also for what is kept.
    fn require_now(&self, proven: &VerifiedToken, now: Timestamp) -> Result<(), TokenError> {
        // One instant for admission and for the end of the stream.
        if now >= proven.ends.plus(self.leeway) {
            return Err(TokenError::Expired);
        }
        let early = |from| now.plus(self.leeway) < from;
        let issued_at = proven.identity.issued_at.filter(|_| self.ttl_max.is_some());
        if proven.from.is_some_and(early) || issued_at.is_some_and(early) {
            return Err(TokenError::NotYet);
        }
        match self.revoked.has(&proven.identity) {
            true => Err(TokenError::Revoked),
            false => Ok(()),
        }
    }

    pub(super) fn require(&self, topics: &Topics, covered: &Topics) -> Result<(), AccessError> {
        let Topics::These(wanted) = topics else {
            return match covered {
                Topics::All => Ok(()),
                Topics::These(_) => Err(AccessError::NotCovered(EVERYTHING.into())),
            };
        };
        let open = |topic: &Topic| self.policies.lookup(topic) == Some(&Policy::Public);
        match wanted.iter().find(|t| !open(t) && !covered.contains(t)) {
            Some(topic) => Err(AccessError::NotCovered(topic.as_str().into())),
            None => Ok(()),
        }
    }
}

/// The `iss` of a token, before anything of it is believed.
fn issuer_said(token: &str) -> Result<Option<String>, TokenError> {
    #[derive(Deserialize)]
    struct Named {
        iss: Option<String>,
    }
    let claims = token.split('.').nth(1).ok_or(TokenError::Signature)?;
    let claims = BASE64URL_NOPAD.decode(claims.as_bytes());
    let claims = claims.map_err(|_| TokenError::Signature)?;
    let named: Named = serde_json::from_slice(&claims).map_err(|_| TokenError::Claims)?;
    Ok(named.iss)
}

/// What these names cover.
pub(super) fn parse_topics(topics: &[String]) -> Result<Topics, TokenError> {
    if topics.len() > TOKEN_TOPICS_MAX {
        return Err(TokenError::Claims);
    }
    if topics.iter().any(|topic| topic == EVERYTHING) {
        return Ok(Topics::All);
    }
    let topics: Result<Vec<Topic>, _> = topics.iter().map(|topic| topic.parse()).collect();
    topics.map(Topics::these).map_err(|_| TokenError::Claims)
}
