//! How deliveries of one section are accepted: the verifier, the rule by which
//! duplicates are recognised, and the rate limit.
//!
//! Invariant: a verifier changes at most once, from one that waits for the
//! provider's secret to one that has it.

use std::{net::IpAddr, sync::Arc};

use hookrill_core::{Draft, Secret, Timestamp, Topic};
use hookrill_verify::{Confidential, Verifier};
use ipnet::IpNet;
use parking_lot::RwLock;

use super::dedup::DedupRule;
use crate::{
    rate::{Bucket, Rate, RateLimited},
    telemetry::{SectionMetrics, Telemetry},
    wire::View,
};

/// How deliveries of one section are accepted.
#[derive(Debug)]
pub struct IngestRoute {
    /// The section's topic; `None` for the section `"*"`. A provider's secret is
    /// accepted only under exactly this name, not below it.
    topic: Option<Topic>,
    /// The section's name for the operator, which is its topic or `*`, and its counters.
    section: Arc<SectionMetrics>,
    /// How duplicates are recognised; `None`: not at all.
    dedup: Option<DedupRule>,
    /// What subscribers are shown of its events.
    view: Arc<View>,
    /// What of its deliveries is not to be shown.
    confidential: Arc<Confidential>,
    /// Whether events keep the headers by which their deliveries were verified.
    keeps_proof: bool,
    /// Whether deliveries name the subtopic that they belong to.
    partitions: bool,
    /// Who may send; `None`: anybody.
    allow_from: Option<Box<[IpNet]>>,
    /// The rate limit, and what is left of it; `None`: no limit.
    rate: Option<(Rate, Bucket)>,
    /// Locked for writing while a secret is installed, so that only the first
    /// one is.
    verifier: RwLock<Arc<Verifier>>,
}

impl IngestRoute {
    /// The route of the section for `topic`, or of `"*"`.
    #[must_use]
    pub fn new(
        topic: Option<Topic>,
        verifier: Verifier,
        dedup: Option<DedupRule>,
        view: Arc<View>,
        telemetry: &Telemetry,
    ) -> Self {
        let name = topic.as_ref().map_or("*", Topic::as_str);
        let section = telemetry.section(&name.into());
        Self {
            topic,
            section,
            dedup,
            view,
            confidential: Arc::new(verifier.confidential()),
            keeps_proof: true,
            partitions: verifier.has_partition(),
            allow_from: None,
            rate: None,
            verifier: RwLock::new(Arc::new(verifier)),
        }
    }

    /// The same, with a rate limit over all topics that have this route.
    #[must_use]
    pub fn with_rate_max(mut self, rate: Option<Rate>) -> Self {
        self.rate = rate.map(|rate| (rate, Bucket::default()));
        self
    }

    /// The same, for senders in these networks alone.
    #[must_use]
    pub fn with_allow_from(mut self, networks: Option<&[IpNet]>) -> Self {
        self.allow_from = networks.map(Into::into);
        self
    }

    /// The same, and events keep the headers by which their deliveries were verified, or
    /// not.
    #[must_use]
    pub fn with_proof(mut self, is_kept: bool) -> Self {
        self.keeps_proof = is_kept;
        self
    }

    /// Whether events keep the headers by which their deliveries were verified.
    pub(super) fn keeps_proof(&self) -> bool {
        self.keeps_proof
    }

    /// Whether it is for some senders alone.
    pub(super) fn restricts(&self) -> bool {
        self.allow_from.is_some()
    }

    /// Whether this sender may send; one without a known address may not, where it
    /// matters.
    pub(super) fn allows(&self, sender: Option<IpAddr>) -> bool {
        let Some(networks) = &self.allow_from else {
            return true;
        };
        let sender = sender.map(|address| address.to_canonical());
        sender.is_some_and(|sender| networks.iter().any(|network| network.contains(&sender)))
    }

    /// Whether this topic, which is the section's or below it, accepts
    /// deliveries.
    ///
    /// Where deliveries name their subtopic themselves, only the section's own
    /// topic does: the URL is not signed, so whoever replays a delivery could
    /// put one customer's event into another's subtopic.
    pub(super) fn accepts(&self, topic: &Topic) -> bool {
        !self.partitions || self.is_own_topic(topic)
    }

    /// The section's topic; `None` for `"*"`.
    pub(super) fn topic(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    /// The section's counters.
    #[must_use]
    pub fn section(&self) -> &Arc<SectionMetrics> {
        &self.section
    }

    /// Where its scheme's secrets and signatures are in a delivery.
    #[must_use]
    pub fn confidential(&self) -> Arc<Confidential> {
        Arc::clone(&self.confidential)
    }

    /// Whether this is the section's own topic.
    pub(super) fn is_own_topic(&self, topic: &Topic) -> bool {
        self.topic.as_ref() == Some(topic)
    }

    /// Counts one verified delivery against the rate limit.
    pub(super) fn admit(&self, now: Timestamp) -> Result<(), RateLimited> {
        match &self.rate {
            Some((rate, bucket)) => bucket.take(*rate, now),
            None => Ok(()),
        }
    }

    /// How duplicates are recognised; `None`: not at all.
    pub(super) fn dedup(&self) -> Option<DedupRule> {
        self.dedup
    }

    /// What verifies its deliveries.
    #[must_use]
    pub fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.verifier.read())
    }

    /// Whether subscribers see only parts of its events' bodies.
    #[must_use]
    pub fn cuts(&self) -> bool {
        self.view.projection.is_some()
    }

    /// Whether subscribers see nothing of this event.
    pub(super) fn withholds(&self, draft: &Draft) -> bool {
        self.view.withholds(draft)
    }

    /// Installs the secret that a provider sent; returns false where the
    /// verifier has one already, which then stays.
    pub fn install_secret(&self, secret: Secret) -> bool {
        let mut verifier = self.verifier.write();
        if !verifier.awaits_secret() {
            return false;
        }
        *verifier = Arc::new(Verifier::clone(&verifier).with_provisioned_secret(secret));
        debug_assert!(!verifier.awaits_secret(), "it changes only once");
        true
    }
}
