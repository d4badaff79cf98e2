//! What `recent` is given of deliveries that were not stored.
//!
//! Reads nothing of them, and copies what is kept within bounds. What was not read to its
//! end is kept by its head. Invariant: a refusal takes as long as before, with a topic or
//! without: all are hashed up to the same length, and beyond it when they were answered.

use std::{error::Error, sync::Arc};

use axum::extract::Request;
use hookrill_core::Topic;
use http::{HeaderMap, Method, Uri, request::Parts};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::{Gateway, limits::Address, request_log::Caller};
use crate::{
    ingest::{Accepted, Refusal},
    rate::Rate,
    recent::{AttemptKind, AttemptSummary, KeptAttempt, KeptRequest, content_hash},
    telemetry::with_causes,
};

/// How much is kept of what stands in a topic's place, in bytes: more than a topic has.
const TOPIC_BYTES_MAX: usize = 256;
/// How many bodies are hashed that are not kept whole: so many at once, then one a second.
const DIGESTS: Rate = Rate::each_second_after(16);
/// How much of an error's text, in bytes.
const ERROR_BYTES_MAX: usize = 512;

/// The head of a request.
#[derive(Clone, Copy)]
pub(super) struct Head<'r> {
    method: &'r Method,
    uri: &'r Uri,
    headers: &'r HeaderMap,
}

impl<'r> Head<'r> {
    pub(super) fn of(request: &'r Request) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        }
    }

    fn kept(self) -> KeptRequest {
        let target = self.uri.path_and_query().map_or("/", |text| text.as_str());
        KeptRequest::of_head(self.method, target, self.headers)
    }
}

impl<'r> From<&'r Parts> for Head<'r> {
    fn from(head: &'r Parts) -> Self {
        Self {
            method: &head.method,
            uri: &head.uri,
            headers: &head.headers,
        }
    }
}

impl Gateway {
    /// A delivery that was read and is not accepted.
    pub(super) fn keep_refused(
        &self,
        refusal: &Refusal,
        topic: &str,
        body_bytes: usize,
        who: &Caller,
    ) {
        if !self.recent.keeps_refused() {
            return;
        }
        let delivery = refusal.unverified();
        let error = &refusal.error;
        let mut summary = self.summary(AttemptKind::Refused, topic, who);
        summary.section = refusal.section().map(|section| Arc::clone(section.name()));
        summary.body_bytes = Some(body_bytes);
        summary.reason = Some(error.reason());
        summary.error = Some(shortened(&with_causes(error).to_string(), ERROR_BYTES_MAX));
        if let Some(delivery) = delivery {
            summary.at = delivery.received_at;
            summary.content = content_hash(&delivery.path_and_query, &delivery.body);
        }
        let kept = || match delivery {
            Some(delivery) => {
                KeptRequest::of_delivery(delivery).with_confidential(refusal.confidential())
            }
            // It was verified, and is with whoever refused it.
            None => KeptRequest::default(),
        };
        if let (Some(attempt), Some(delivery)) = (self.recent.refused(summary, kept), delivery) {
            self.hash_whole(attempt, delivery.body.clone());
        }
    }

    /// A delivery that was refused before it was read to its end.
    pub(super) fn keep_unread(
        &self,
        reason: &'static str,
        error: &dyn Error,
        topic: &str,
        head: Head<'_>,
        who: &Caller,
    ) {
        if !self.recent.keeps_refused() {
            return;
        }
        let route = topic
            .parse()
            .ok()
            .and_then(|topic: Topic| self.ingest.route_of(&topic));
        let mut summary = self.summary(AttemptKind::Refused, topic, who);
        summary.section = route
            .as_ref()
            .map(|route| Arc::clone(route.section().name()));
        summary.is_read = false;
        summary.reason = Some(reason);
        summary.error = Some(shortened(&error.to_string(), ERROR_BYTES_MAX));
        let confidential = || route.map(|route| route.confidential());
        self.recent
            .refused(summary, || head.kept().with_confidential(confidential()));
    }

    /// A delivery that was accepted and not stored: a handshake, or a duplicate.
    pub(super) fn keep_accepted(&self, accepted: &Accepted, body_bytes: usize, who: &Caller) {
        let (kind, topic, event) = match accepted {
            Accepted::Answered { topic, .. } => (AttemptKind::Handshake, topic, None),
            Accepted::Stored {
                topic,
                cursor,
                duplicate: true,
                ..
            } => (AttemptKind::Duplicate, topic, Some(*cursor)),
            Accepted::Stored { .. } => return,
        };
        let section = self.ingest.section(topic);
        let mut summary = self.summary(kind, topic.as_str(), who);
        summary.section = section.map(|section| Arc::clone(section.name()));
        summary.body_bytes = Some(body_bytes);
        summary.event = event;
        match kind {
            AttemptKind::Handshake => self.recent.handshake(summary),
            _ => self.recent.duplicate(summary),
        }
    }

    fn summary(&self, kind: AttemptKind, topic: &str, who: &Caller) -> AttemptSummary {
        let network = who.client.map_or(Address::UNKNOWN, Address::from);
        AttemptSummary {
            kind,
            at: self.clock.now(),
            section: None,
            topic: shortened(topic, TOPIC_BYTES_MAX),
            address: who.client,
            network: network.number(),
            body_bytes: None,
            reason: None,
            error: None,
            is_read: true,
            event: None,
            content: [0; 32],
        }
    }

    /// Hashes a body that is not kept whole, when nobody waits for it; none where another
    /// is being hashed or many were, or a flood of long ones would keep the processors busy.
    fn hash_whole(&self, attempt: Arc<KeptAttempt>, body: bytes::Bytes) {
        if attempt.body_sha256.get().is_some() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.digest_permit).try_acquire_owned() else {
            return;
        };
        if self.digests.take(DIGESTS, self.clock.monotonic()).is_err() {
            return;
        }
        // One that is not done because the process ends is not missed.
        drop(spawn_blocking(move || {
            _ = attempt.body_sha256.set(Sha256::digest(&body).into());
            drop(permit);
        }));
    }
}

fn shortened(text: &str, bytes_max: usize) -> Box<str> {
    text[..text.floor_char_boundary(bytes_max)].into()
}
