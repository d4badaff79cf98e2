//! From a delivery to a stored event.
//!
//! Refuses whatever `verify` did not prove. Never calls the hub: the pump
//! learns of events from the journal, in their order.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use crate::{
    event::{Clock, Cursor, Dedup, Draft, HEADERS_MAX, Topic, TopicError, TopicMap},
    journal::{AppendError, Journal},
    telemetry::Telemetry,
    verify::{Delivery, Proven, Reply, Verified, Verifier, VerifyError},
};

/// How deliveries of a topic are taken.
#[derive(Debug)]
pub struct Route {
    /// Proves them.
    pub verifier: Verifier,
    /// How they are recognised when they come again; `None`: not at all.
    pub dedup: Option<DedupRule>,
}

/// How deliveries are recognised when they come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupRule {
    /// For how long.
    pub window: Duration,
    /// Whether a delivery without an id is known by its body.
    pub by_body: bool,
}

/// What became of a delivery that was proven.
#[derive(Debug)]
pub enum Outcome {
    /// It is in the journal.
    Stored {
        /// Where; the first one's place, if this is a duplicate.
        cursor: Cursor,
        /// Under which topic.
        topic: Topic,
        /// Whether it was there already.
        duplicate: bool,
        /// What the provider wants to hear instead of the usual answer.
        respond: Option<Reply>,
    },
    /// It was a handshake, answered here.
    Answered(Reply),
}

/// Why a delivery was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Not a topic at all.
    #[error("the topic is malformed: {0}")]
    Topic(#[from] TopicError),
    /// A topic that nothing configures.
    #[error("no topic {0} is configured")]
    Unconfigured(Topic),
    /// It does not prove.
    #[error("{topic}: {source}")]
    Unproven {
        /// To which topic it came.
        topic: Topic,
        /// Why it does not prove.
        source: VerifyError,
    },
    /// The check was cut short by the end of the process.
    #[error("the check did not finish")]
    Interrupted,
    /// The journal did not store it.
    #[error(transparent)]
    Journal(#[from] AppendError),
}

impl IngestError {
    /// The reason as a metric's label.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Topic(_) => "topic_malformed",
            Self::Unconfigured(_) => "topic_unknown",
            Self::Unproven { source, .. } => source.reason(),
            Self::Interrupted => "interrupted",
            Self::Journal(AppendError::NoRoom { .. }) => "journal_no_room",
            Self::Journal(AppendError::Closed) => "journal_closed",
            Self::Journal(AppendError::Failed(_)) => "journal_failed",
        }
    }
}

/// A body longer than this is checked on a thread of its own, in bytes: a MAC
/// over it takes longer than other connections should wait.
const INLINE_BODY_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of header values that an event keeps.
const KEPT_HEADER_BYTES_MAX: usize = 4 * 1024;
/// Takes deliveries.
pub struct Ingest {
    routes: TopicMap<Arc<Route>>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
}

impl Ingest {
    /// Takes deliveries of these routes into this journal.
    #[must_use]
    pub fn new(
        routes: TopicMap<Arc<Route>>,
        journal: Arc<dyn Journal>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            routes,
            journal,
            clock,
            telemetry,
        }
    }

    /// Proves a delivery and stores it; returns once it is durable.
    ///
    /// # Errors
    ///
    /// [`IngestError`]; nothing was stored, save that an event refused with
    /// [`AppendError::Failed`] may still turn up, once.
    pub async fn take(&self, topic: &str, delivery: Delivery) -> Result<Outcome, IngestError> {
        let taken = self.prove_and_store(topic, delivery).await;
        match &taken {
            Ok(Outcome::Answered(_)) => self.telemetry.handshakes.increment(1),
            Ok(Outcome::Stored { duplicate, .. }) if *duplicate => {
                self.telemetry.duplicates.increment(1);
            }
            Ok(Outcome::Stored { .. }) => self.telemetry.ingested.increment(1),
            Err(error) => self.telemetry.ingest_refused(error.reason()),
        }
        taken
    }

    async fn prove_and_store(
        &self,
        topic: &str,
        delivery: Delivery,
    ) -> Result<Outcome, IngestError> {
        let topic: Topic = topic.parse()?;
        let Some(route) = self.routes.lookup(&topic) else {
            return Err(IngestError::Unconfigured(topic));
        };
        let proven = match self.prove(route, delivery).await? {
            Ok(proven) => proven,
            Err(source) => return Err(IngestError::Unproven { topic, source }),
        };
        match proven {
            Proven::Answer(reply) => Ok(Outcome::Answered(reply)),
            Proven::Event(verified) => self.store(topic, route, verified).await,
        }
    }

    async fn prove(
        &self,
        route: &Arc<Route>,
        delivery: Delivery,
    ) -> Result<Result<Proven, VerifyError>, IngestError> {
        let now = self.clock.now();
        if delivery.body.len() <= INLINE_BODY_BYTES_MAX {
            return Ok(route.verifier.verify(delivery, now));
        }
        let route = Arc::clone(route);
        tokio::task::spawn_blocking(move || route.verifier.verify(delivery, now))
            .await
            .map_err(|_| IngestError::Interrupted)
    }

    async fn store(
        &self,
        topic: Topic,
        route: &Route,
        verified: Verified,
    ) -> Result<Outcome, IngestError> {
        let dedup = route.dedup.and_then(|rule| recognise(&verified, rule));
        let (delivery, facts) = verified.into_parts();
        let body_bytes = delivery.body.len() as u64;
        let draft = Draft {
            received_at: delivery.received_at,
            topic: topic.clone(),
            event_type: facts.event_type.unwrap_or_else(|| "webhook".into()),
            content_type: header(&delivery.headers, &http::header::CONTENT_TYPE),
            dedup_id: facts.dedup_id,
            headers: kept(&delivery.headers),
            body: delivery.body,
        };
        let appended = self.journal.append(draft, dedup).await?;
        if !appended.duplicate {
            self.telemetry.ingested_bytes.increment(body_bytes);
        }
        Ok(Outcome::Stored {
            cursor: Cursor {
                epoch: self.journal.epoch(),
                sequence: appended.sequence,
            },
            topic,
            duplicate: appended.duplicate,
            respond: facts.respond,
        })
    }
}

/// What a second delivery of the same event would have in common with this.
///
/// An id that the signature does not cover can be changed by whoever replays
/// the delivery, so it counts only together with the body.
fn recognise(verified: &Verified, rule: DedupRule) -> Option<Dedup> {
    let mut hash = Sha256::new();
    let facts = verified.facts();
    match &facts.dedup_id {
        Some(id) => {
            hash.update([u8::from(facts.dedup_id_signed)]);
            hash.update((id.len() as u64).to_le_bytes());
            hash.update(id.as_bytes());
            if !facts.dedup_id_signed {
                hash.update(&verified.delivery().body);
            }
        }
        None if rule.by_body => {
            hash.update([2]);
            hash.update(&verified.delivery().body);
        }
        None => return None,
    }
    Some(Dedup {
        key: hash.finalize().into(),
        window: rule.window,
    })
}

fn header(headers: &HeaderMap, name: &http::HeaderName) -> Option<Box<str>> {
    Some(headers.get(name)?.to_str().ok()?.into())
}

fn kept(headers: &HeaderMap) -> Vec<(Box<str>, Box<str>)> {
    let mut bytes = 0;
    headers
        .iter()
        .filter(|(name, _)| !may_be_secret(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().into(), value.to_str().ok()?.into())))
        .take(HEADERS_MAX)
        .take_while(|(_, value): &(Box<str>, Box<str>)| {
            bytes += value.len();
            bytes <= KEPT_HEADER_BYTES_MAX
        })
        .collect()
}

/// Whether a header's name, in lower case, says that it may be a secret, or may
/// prove something to whoever replays it; such a header is not kept. One pass
/// over the name, since a search for each word took longer than proving the
/// body.
fn may_be_secret(name: &str) -> bool {
    let name = name.as_bytes();
    (0..name.len()).any(|at| {
        let words: &[&[u8]] = match name[at] {
            b'a' => &[b"auth"],
            b'c' => &[b"cookie"],
            b'h' => &[b"hmac"],
            b'k' => &[b"key"],
            b'p' => &[b"password"],
            b's' => &[b"secret", b"sign"],
            b't' => &[b"token"],
            _ => &[],
        };
        words.iter().any(|word| name[at..].starts_with(word))
    })
}
