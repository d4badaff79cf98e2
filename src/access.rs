//! Who may subscribe to what: tokens in, [`Grant`]s out.
//!
//! A token is a JWT (RFC 7519) of one of the configured issuers, signed with
//! HS256, RS256, ES256 or EdDSA as that issuer's key says. Time is an argument,
//! and so are keys that stand elsewhere: somebody fetches them and hands them
//! in. What a token says is verified once and kept; whether it holds now, and
//! for these topics, is asked each time.
//! Invariant: only [`Access::check`] makes a [`Grant`], and `subscribe` opens
//! no stream without one.

mod claims;
mod issuer;
mod jwks;
mod key;
mod proven;
mod reload;
mod revoked;
mod signer;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;

use crate::{
    event::{Swap, Timestamp, Topic, TopicMap, Topics},
    verify::Secret,
};
pub use claims::Claims;
pub use issuer::{Issuer, KeySource, Template, TemplateError, TopicsFrom};
pub use jwks::{KEYS_MAX, Keys, KeysError};
pub use key::{Key, KeyError};
use proven::Kept;
pub use proven::Proven;
pub use reload::Edition;
use revoked::Revoked;
pub use revoked::{Claimed, Holder, REVOCATIONS_MAX, Revocation, RevocationsFull};
pub use signer::IssuerId;
use signer::Signer;

/// Who may subscribe to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Those whose token covers it.
    #[default]
    Token,
    /// Everybody.
    Public,
}

/// How subscriber tokens are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The HS256 secret that signs subscriber tokens, the simple form of an
    /// issuer without a name; `None` where others sign, or no topic needs one.
    pub secret: Option<Secret>,
    /// Others that sign. No two have the same name; one without a name is the
    /// only one, and then there is no secret.
    pub issuers: Vec<Issuer>,
    /// By how much `exp` may be past.
    pub leeway: Duration,
    /// The longest that a token may be good from when it was issued, and so the
    /// longest that a revocation is remembered; `None`: neither has a bound.
    pub token_ttl_max: Option<Duration>,
    /// Per topic: who may subscribe.
    pub policies: TopicMap<Policy>,
}

/// The longest token that is looked at, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The most topics that a token may name.
pub const TOKEN_TOPICS_MAX: usize = 1_000;
/// In a token: every topic.
const EVERYTHING: &str = "*";
/// The claim with its topics, where no other is configured.
pub const TOPICS_CLAIM: &str = "topics";
/// The claim of a token that shows bodies whole, where it is `true`.
const FULL_CLAIM: &str = "full";

/// The right to a stream of certain topics, until a certain instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    topics: Topics,
    expires_at: Option<Timestamp>,
    proven: Option<Arc<Proven>>,
    edition: Edition,
    full: bool,
}

impl Grant {
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

    /// What the token says; `None` where none was needed.
    #[must_use]
    pub fn proven(&self) -> Option<&Arc<Proven>> {
        self.proven.as_ref()
    }

    /// Whether bodies are shown whole, whatever is hidden from others.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// As of when this was granted: see [`Access::edition`].
    #[must_use]
    pub fn edition(&self) -> Edition {
        self.edition
    }

    /// Everything, for ever, until something changes: for tests of the rooms above.
    #[cfg(test)]
    pub(crate) fn of(topics: Topics, expires_at: Option<Timestamp>) -> Self {
        Self {
            topics,
            expires_at,
            proven: None,
            edition: 0,
            full: false,
        }
    }
}

/// Why a subscription was not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// Nothing configures the topic.
    #[error("no topic {0} is configured")]
    UnknownTopic(Topic),
    /// A token is needed and none came.
    #[error("a token is needed")]
    TokenMissing,
    /// A token came that does not hold.
    #[error("the token is not valid: {0}")]
    TokenBad(TokenError),
    /// The token is good for other topics.
    #[error("the token does not cover {0}")]
    NotCovered(Box<str>),
}

/// Why a token does not hold. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nothing is configured that could have signed it.
    #[error("no secret and no issuer is configured to check it with")]
    NoSecret,
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("it is longer than {TOKEN_BYTES_MAX} bytes")]
    Long,
    /// Not a JWT, another algorithm than the key's, or another key.
    #[error("its form, algorithm or signature is wrong")]
    Signature,
    /// It has a `crit` header, and names what must be understood.
    #[error("its header demands extensions (`crit`) and none is known here")]
    Critical,
    /// Nobody of that name may sign.
    #[error("its issuer (`iss`) is not one of those that may sign")]
    Issuer,
    /// It is for somebody else.
    #[error("it is not meant for this gateway (`aud`)")]
    Audience,
    /// The issuer has no key of that id; its set may have a newer one.
    #[error("its issuer has no such key")]
    KeyUnknown(IssuerId),
    /// The issuer's keys could not be had yet.
    #[error("its issuer's keys are not known yet")]
    KeysMissing(IssuerId),
    /// Claims that do not have the documented form.
    #[error("it needs the claims `exp`, a time, and `topics`, a list of topics or \"*\"")]
    Claims,
    /// A claim that a topic is built from is missing, empty, or too long.
    #[error("its claims do not make a topic")]
    Template,
    /// It is good for longer than tokens may be, or does not say since when.
    #[error("it is good for too long, or does not say since when (`iat`)")]
    LongLived,
    /// It has neither `jti` nor `sub`, so that nothing could revoke it.
    #[error("it has neither `jti` nor `sub`")]
    Nameless,
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// `exp` is past.
    #[error("it has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("it is not valid yet")]
    NotYet,
}

/// Signs a subscriber token with HS256 (RFC 7518, section 3.2).
///
/// # Errors
///
/// The library's error where the claims cannot be written as JSON.
pub fn mint(secret: &Secret, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
    let key = EncodingKey::from_secret(secret.expose());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
}

/// Decides who may subscribe.
pub struct Access {
    rules: Swap<Rules>,
    revoked: Arc<Revoked>,
    edition: AtomicU32,
}

/// What was configured, replaced as one.
struct Rules {
    issuers: Box<[Arc<Signer>]>,
    /// The id of the next issuer: none is given twice.
    next: IssuerId,
    leeway: Duration,
    ttl_max: Option<Duration>,
    policies: TopicMap<Policy>,
    /// The same ones whatever the rules.
    revoked: Arc<Revoked>,
    /// Good for these rules alone, so it lives and ends with them.
    kept: Kept,
}

impl Access {
    /// Takes the settings into use.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let revoked = Arc::new(Revoked::default());
        Self {
            rules: Swap::new(Rules::first(settings, &revoked)),
            revoked,
            edition: AtomicU32::new(0),
        }
    }

    /// The issuers whose keys are to be fetched and handed in, with where from.
    #[must_use]
    pub fn key_sets(&self) -> Vec<(IssuerId, Box<str>)> {
        let rules = self.rules.load();
        let places = rules.issuers.iter();
        let places = places.filter_map(|signer| match &signer.issuer.keys {
            KeySource::Url(url) => Some((signer.id(), url.clone())),
            KeySource::Secret(_) | KeySource::Public(_) => None,
        });
        places.collect()
    }

    /// Takes an issuer's keys into use, instead of those it had: what those
    /// alone had signed is refused from now on. `None` refuses everything.
    /// Whether a key was dropped, and streams have to be called to look.
    pub fn hand_in(&self, issuer: IssuerId, keys: Option<Keys>) -> bool {
        let rules = self.rules.load();
        let signer = rules.issuers.iter().find(|signer| signer.id() == issuer);
        let dropped = signer.is_some_and(|signer| signer.take(keys));
        if dropped {
            self.renew();
        }
        dropped
    }

    /// Takes tokens back from now on, kept ones included, and gives all
    /// revocations that are to be remembered. Open streams are not ended.
    ///
    /// # Errors
    ///
    /// [`RevocationsFull`]; nothing was taken back.
    pub fn revoke(
        &self,
        entry: Revocation,
        now: Timestamp,
    ) -> Result<Vec<Revocation>, RevocationsFull> {
        self.revoked.add(entry, self.rules.load().remembered(), now)
    }

    /// Takes over what was revoked before this was made.
    pub fn restore(&self, kept: Vec<Revocation>) {
        self.revoked.restore(kept);
        // They may have been made under a shorter life of tokens.
        self.revoked.lengthen(self.rules.load().remembered());
    }

    /// Whether the token of this grant was revoked meanwhile.
    #[must_use]
    pub fn is_revoked(&self, grant: &Grant) -> bool {
        let proven = grant.proven.as_ref();
        proven.is_some_and(|proven| self.revoked.has(&proven.holder))
    }

    /// Grants a stream of `topics` to whoever presents `token`.
    ///
    /// Where no topic needs a token, one is only looked at for more than all
    /// are shown: an old cookie must not close a public stream.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; unknown topics first, since no token helps there.
    pub fn check(
        &self,
        topics: Topics,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Grant, AccessError> {
        // Before the rules are: what is replaced from here on is noticed.
        let edition = self.edition();
        let rules = self.rules.load();
        let to = |topics: Topics, proven: Option<Arc<Proven>>| Grant {
            full: proven
                .as_ref()
                .is_some_and(|proven| proven.is_full_of(&topics)),
            topics,
            expires_at: proven.as_ref().map(|proven| proven.ends.plus(rules.leeway)),
            proven,
            edition,
        };
        if !rules.needs_token(&topics)? {
            let proven = token.and_then(|token| rules.proven(token, now).ok());
            let proven = proven.filter(|proven| proven.is_full_of(&topics));
            return Ok(to(topics, proven));
        }
        let token = token.ok_or(AccessError::TokenMissing)?;
        let proven = rules.proven(token, now).map_err(AccessError::TokenBad)?;
        rules.require(&topics, &proven.covered)?;
        Ok(to(topics, Some(proven)))
    }
}

impl Rules {
    /// For how long a revocation is remembered: what was issued by then, or is
    /// within the leeway of it, has ended, and has its leeway at that end as
    /// well.
    fn remembered(&self) -> Option<Duration> {
        self.ttl_max.map(|ttl| ttl + 2 * self.leeway)
    }

    fn needs_token(&self, topics: &Topics) -> Result<bool, AccessError> {
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
    fn proven(&self, token: &str, now: Timestamp) -> Result<Arc<Proven>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Long);
        }
        let name = proven::name(token);
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

    fn verify(&self, token: &str) -> Result<Proven, TokenError> {
        let signer = self.signer_of(token)?;
        let (key, said) = signer.verified(token)?;
        signer.require(&said)?;
        let exp = said.time("exp")?.ok_or(TokenError::Claims)?;
        let ends = Timestamp::from_unix_secs(exp);
        let issued_at = said.time("iat")?.map(Timestamp::from_unix_secs);
        let holder = Holder::new(said.text("jti")?, said.text("sub")?, issued_at);
        self.require_revocable(&holder, ends)?;
        Ok(Proven {
            signer: Arc::clone(signer),
            key,
            holder,
            covered: covered_by(&signer.topics(&said)?)?,
            full: said.is_true(FULL_CLAIM),
            ends,
            from: said.time("nbf")?.map(Timestamp::from_unix_secs),
        })
    }

    /// Where lives are bounded, whether a revocation is sure to outlive it.
    fn require_revocable(&self, holder: &Holder, ends: Timestamp) -> Result<(), TokenError> {
        let Some(ttl_max) = self.ttl_max else {
            return Ok(());
        };
        let issued_at = holder.issued_at.ok_or(TokenError::LongLived)?;
        if ends.since(issued_at) > ttl_max {
            return Err(TokenError::LongLived);
        }
        match holder.has_a_name() {
            true => Ok(()),
            false => Err(TokenError::Nameless),
        }
    }

    /// Whose token it says it is, which that issuer's key then has to confirm.
    fn signer_of(&self, token: &str) -> Result<&Arc<Signer>, TokenError> {
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
    fn require_now(&self, proven: &Proven, now: Timestamp) -> Result<(), TokenError> {
        // One instant for admission and for the end of the stream.
        if now >= proven.ends.plus(self.leeway) {
            return Err(TokenError::Expired);
        }
        let early = |from| now.plus(self.leeway) < from;
        let issued_at = proven.holder.issued_at.filter(|_| self.ttl_max.is_some());
        if proven.from.is_some_and(early) || issued_at.is_some_and(early) {
            return Err(TokenError::NotYet);
        }
        match self.revoked.has(&proven.holder) {
            true => Err(TokenError::Revoked),
            false => Ok(()),
        }
    }

    fn require(&self, topics: &Topics, covered: &Topics) -> Result<(), AccessError> {
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

fn covered_by(topics: &[String]) -> Result<Topics, TokenError> {
    if topics.len() > TOKEN_TOPICS_MAX {
        return Err(TokenError::Claims);
    }
    if topics.iter().any(|topic| topic == EVERYTHING) {
        return Ok(Topics::All);
    }
    let topics: Result<Vec<Topic>, _> = topics.iter().map(|topic| topic.parse()).collect();
    topics.map(Topics::these).map_err(|_| TokenError::Claims)
}

#[cfg(test)]
mod tests;
