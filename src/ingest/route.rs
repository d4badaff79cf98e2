//! What holds for deliveries to a topic: the verifier, the rule by which
//! duplicates are known, and how many are taken.
//!
//! Invariant: a verifier changes once at most, from one that awaits the
//! provider's secret to one that has it.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use hookrill_core::{Dedup, Secret, Timestamp, Topic};
use hookrill_verify::{Verified, Verifier};
use sha2::{Digest as _, Sha256};

use crate::{
    rate::{Bucket, Rate, RateLimited},
    wire::View,
};

/// How deliveries of a topic are taken.
#[derive(Debug)]
pub struct IngestRoute {
    /// The topic whose section says so; `None` for `"*"`. Only under this
    /// name, not below it, may a provider hand over a secret.
    topic: Option<Topic>,
    /// How they are recognised when they come again; `None`: not at all.
    pub(super) dedup: Option<DedupRule>,
    /// What subscribers are shown of its events.
    view: Arc<View>,
    /// Whether deliveries say which subtopic they belong to.
    partitions: bool,
    /// How often, and how far that is used up; `None`: as often as they come.
    rate: Option<(Rate, Bucket)>,
    verifier: RwLock<Arc<Verifier>>,
}

/// How deliveries are recognised when they come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupRule {
    /// For how long.
    pub window: Duration,
    /// By what.
    pub by: DedupBy,
}

/// By what deliveries are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DedupBy {
    /// By the provider's id; those without one are not recognised.
    Id,
    /// By the provider's id, else by the body.
    IdOrBody,
    /// By the body alone.
    Body,
}

impl DedupBy {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::IdOrBody => "id or body",
            Self::Body => "body",
        }
    }
}

impl IngestRoute {
    /// A route of the section for `topic`, or of `"*"`.
    #[must_use]
    pub fn new(
        topic: Option<Topic>,
        verifier: Verifier,
        dedup: Option<DedupRule>,
        view: Arc<View>,
    ) -> Self {
        Self {
            topic,
            dedup,
            view,
            partitions: verifier.has_partition(),
            rate: None,
            verifier: RwLock::new(Arc::new(verifier)),
        }
    }

    /// Whether deliveries come to this topic, which is the section's or below
    /// it.
    ///
    /// Where they say their subtopic themselves, not below it: the URL is not
    /// signed, and a replayer would put one customer's event before another.
    pub(super) fn takes(&self, topic: &Topic) -> bool {
        !self.partitions || self.is_of(topic)
    }

    /// The same, with at most so many deliveries over all topics that have
    /// this route.
    #[must_use]
    pub fn with_rate_max(mut self, rate: Option<Rate>) -> Self {
        self.rate = rate.map(|rate| (rate, Bucket::default()));
        self
    }

    /// Lets one proven delivery through.
    pub(super) fn admit(&self, now: Timestamp) -> Result<(), RateLimited> {
        match &self.rate {
            Some((rate, bucket)) => bucket.take(*rate, now),
            None => Ok(()),
        }
    }

    /// Whether this is the route of that topic's own section.
    pub(super) fn is_of(&self, topic: &Topic) -> bool {
        self.topic.as_ref() == Some(topic)
    }

    /// Proves its deliveries.
    #[must_use]
    pub fn verifier(&self) -> Arc<Verifier> {
        let verifier = self.verifier.read();
        Arc::clone(&verifier.unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether only parts of its events are shown.
    pub(super) fn cuts(&self) -> bool {
        self.view.projection.is_some()
    }

    /// Whether nothing of this body is shown, since it can't be cut.
    pub(super) fn withholds(&self, body: &[u8]) -> bool {
        let projection = self.view.projection.as_ref();
        projection.is_some_and(|projection| projection.cut(body).is_err())
    }

    /// Takes a secret that was handed over; says whether none was there yet.
    pub fn install_secret(&self, secret: Secret) -> bool {
        let mut verifier = self
            .verifier
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let awaits = verifier.awaits_secret();
        if awaits {
            let with = Verifier::clone(&verifier).with_provisioned_secret(secret);
            *verifier = Arc::new(with);
        }
        awaits
    }
}

/// What a second delivery of the same event would have in common with this.
///
/// An id that the signature does not cover can be changed by whoever replays
/// the delivery, so it counts only together with what was signed: the body,
/// or where that is not signed as it stands, the signed text.
///
/// It counts within the topic that the delivery came to, wherever in it the
/// event belongs: so a partition that is added, or an id that comes again with
/// another content, changes nothing about what is known.
pub(super) fn dedup_key(topic: &Topic, verified: &Verified, rule: DedupRule) -> Option<Dedup> {
    let facts = verified.facts();
    let content = match &facts.content {
        Some(signed) => &signed[..],
        None => &verified.delivery().body[..],
    };
    let mut hash = Sha256::new();
    match (&facts.dedup_id, rule.by) {
        (Some(id), DedupBy::Id | DedupBy::IdOrBody) => {
            hash.update([u8::from(facts.dedup_id_signed)]);
            hash.update((id.len() as u64).to_le_bytes());
            hash.update(id.as_bytes());
            if !facts.dedup_id_signed {
                hash.update(content);
            }
        }
        (None, DedupBy::Id) => return None,
        (None, DedupBy::IdOrBody) | (_, DedupBy::Body) => {
            hash.update([2]);
            hash.update(content);
        }
    }
    Some(Dedup {
        within: Some(topic.clone()),
        key: hash.finalize().into(),
        window: rule.window,
    })
}
