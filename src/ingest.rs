//! From a delivery to a stored event.
//!
//! Refuses whatever `verify` did not prove. Never calls the hub: the pump
//! learns of events from the journal, in their order.

mod provisioned;
mod route;
mod withheld;

use std::sync::Arc;

use http::HeaderMap;

use hookrill_core::{Clock, Cursor, Draft, HEADERS_MAX, Secret, Swap, Topic, TopicError, TopicMap};
use hookrill_verify::{Delivery, Outcome, Reply, Verified, VerifyError};
pub use provisioned::{ProvisionedSecretError, ProvisionedSecrets, StoreSecretError};
pub use route::{DedupBy, DedupRule, IngestRoute};

use crate::{
    journal::{AppendError, Journal, ReadError},
    rate::RateLimited,
    telemetry::Telemetry,
};

/// What became of a delivery that was proven.
#[derive(Debug)]
pub enum Accepted {
    /// It is in the journal.
    Stored {
        /// Where; the first one's place, if this is a duplicate.
        cursor: Cursor,
        /// Under which topic: the one that it came to, or a subtopic that it
        /// names. Of a duplicate, where it would have been.
        topic: Topic,
        /// Whether it was there already.
        duplicate: bool,
        /// What the provider wants to hear instead of the usual answer.
        respond: Option<Reply>,
    },
    /// It was a handshake, answered here.
    Answered {
        /// At which topic.
        topic: Topic,
        /// The answer.
        reply: Reply,
        /// Whether the provider's secret was kept on the way.
        secret_stored: bool,
    },
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
    /// A topic below one whose deliveries say their subtopic themselves.
    #[error("{0} takes no deliveries: the section above it has a partition; they go to that topic")]
    BelowPartition(Topic),
    /// It does not prove.
    #[error("{topic}: {source}")]
    Unverified {
        /// To which topic it came.
        topic: Topic,
        /// Why it does not prove.
        source: VerifyError,
    },
    /// A secret is handed over where none is taken.
    #[error("{0}: a secret is handed over, which only a topic with a section of its own takes")]
    SecretNotAccepted(Topic),
    /// A secret that was handed over could not be kept.
    #[error("{topic}: {source}")]
    SecretNotStored {
        /// To which topic it came.
        topic: Topic,
        /// Why not.
        source: std::io::Error,
    },
    /// Its section takes no more now.
    #[error("{topic}: {over}")]
    RateLimited {
        /// To which topic it came.
        topic: Topic,
        /// When it takes the next one.
        over: RateLimited,
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
            Self::BelowPartition(_) => "topic_below_partition",
            Self::Unverified { source, .. } => source.reason(),
            Self::SecretNotAccepted(_) => "handed_elsewhere",
            Self::SecretNotStored { .. } => "not_kept",
            Self::RateLimited { .. } => "rate_topic",
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
    routes: Arc<Swap<TopicMap<Arc<IngestRoute>>>>,
    handed: Arc<ProvisionedSecrets>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
}

impl Ingest {
    /// Takes deliveries of these routes into this journal.
    #[must_use]
    pub fn new(
        routes: TopicMap<Arc<IngestRoute>>,
        handed: Arc<ProvisionedSecrets>,
        journal: Arc<dyn Journal>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            routes: Arc::new(Swap::new(routes)),
            handed,
            journal,
            clock,
            telemetry,
        }
    }

    /// Takes deliveries of these routes from now on. One that is being proven
    /// goes on by the route it began with.
    pub fn reload(&self, routes: TopicMap<Arc<IngestRoute>>) {
        self.routes.store(routes);
    }

    /// Counts the events of which nothing can be shown, among those that
    /// become durable from this call on; until the journal is closed.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the journal can't be followed any further.
    pub fn count_withheld(&self) -> impl Future<Output = Result<(), ReadError>> + Send + use<> {
        let commits = self.journal.follow(self.journal.head());
        withheld::count(
            commits,
            Arc::clone(&self.routes),
            Arc::clone(&self.telemetry),
        )
    }

    /// Proves a delivery and stores it; returns once it is durable.
    ///
    /// # Errors
    ///
    /// [`IngestError`]; nothing was stored, save that an event refused with
    /// [`AppendError::Failed`] may still turn up, once.
    pub async fn accept(&self, topic: &str, delivery: Delivery) -> Result<Accepted, IngestError> {
        let taken = self.verify_and_store(topic, delivery).await;
        match &taken {
            Ok(Accepted::Answered { .. }) => self.telemetry.handshakes.increment(1),
            Ok(Accepted::Stored { duplicate, .. }) if *duplicate => {
                self.telemetry.duplicates.increment(1);
            }
            Ok(Accepted::Stored { .. }) => self.telemetry.ingested.increment(1),
            Err(error) => self.telemetry.ingest_refused(error.reason()),
        }
        taken
    }

    /// Answers a handshake that comes by another method than events do;
    /// `None` where the topic has none of that method.
    ///
    /// # Errors
    ///
    /// [`IngestError`] where it does not prove itself.
    pub async fn handshake(
        &self,
        topic: &str,
        delivery: Delivery,
    ) -> Option<Result<Accepted, IngestError>> {
        let known: Topic = topic.parse().ok()?;
        let route = self.route(&known).ok()?;
        match route.verifier().has_handshake(&delivery.method) {
            true => Some(self.accept(topic, delivery).await),
            false => None,
        }
    }

    async fn verify_and_store(
        &self,
        topic: &str,
        delivery: Delivery,
    ) -> Result<Accepted, IngestError> {
        let topic: Topic = topic.parse()?;
        let route = self.route(&topic)?;
        let proven = match self.verify(&route, delivery).await? {
            Ok(proven) => proven,
            Err(source) => return Err(IngestError::Unverified { topic, source }),
        };
        match proven {
            Outcome::Answer(reply) => Ok(Accepted::Answered {
                topic,
                reply,
                secret_stored: false,
            }),
            Outcome::ProvisionedSecret { secret, reply } => {
                self.provision(&topic, &route, secret).await?;
                Ok(Accepted::Answered {
                    topic,
                    reply,
                    secret_stored: true,
                })
            }
            Outcome::Event(verified) => {
                // Only what is proven counts: a flood that is not would keep
                // out what is. Handshakes store nothing, and do not count.
                if let Err(over) = route.admit(self.clock.now()) {
                    return Err(IngestError::RateLimited { topic, over });
                }
                self.store(topic, &route, verified).await
            }
        }
    }

    /// How deliveries to this topic are taken.
    fn route(&self, topic: &Topic) -> Result<Arc<IngestRoute>, IngestError> {
        match self.routes.load().lookup(topic) {
            None => Err(IngestError::Unconfigured(topic.clone())),
            Some(route) if !route.takes(topic) => Err(IngestError::BelowPartition(topic.clone())),
            Some(route) => Ok(Arc::clone(route)),
        }
    }

    async fn verify(
        &self,
        route: &Arc<IngestRoute>,
        delivery: Delivery,
    ) -> Result<Result<Outcome, VerifyError>, IngestError> {
        let now = self.clock.now();
        let verifier = route.verifier();
        if delivery.body.len() <= INLINE_BODY_BYTES_MAX {
            return Ok(verifier.verify(delivery, now));
        }
        tokio::task::spawn_blocking(move || verifier.verify(delivery, now))
            .await
            .map_err(|_| IngestError::Interrupted)
    }

    /// Keeps a secret that was handed over, and proves by it from now on.
    ///
    /// Only under the name of a section: below it, and under `"*"`, anybody
    /// could open a topic of their own and be believed there.
    async fn provision(
        &self,
        topic: &Topic,
        route: &Arc<IngestRoute>,
        secret: Secret,
    ) -> Result<(), IngestError> {
        if !route.is_of(topic) {
            return Err(IngestError::SecretNotAccepted(topic.clone()));
        }
        let (handed, name, kept) = (Arc::clone(&self.handed), topic.clone(), secret.clone());
        let kept = tokio::task::spawn_blocking(move || handed.store(&name, &kept)).await;
        let taken = || IngestError::Unverified {
            topic: topic.clone(),
            source: VerifyError::SecretAlreadyProvisioned,
        };
        match kept.map_err(|_| IngestError::Interrupted)? {
            Ok(()) if route.install_secret(secret.clone()) => {
                // A reload on the way may not have found it yet.
                let now = self.route(topic).ok().filter(|now| now.is_of(topic));
                now.map(|now| now.install_secret(secret));
                Ok(())
            }
            Ok(()) | Err(StoreSecretError::Taken) => Err(taken()),
            Err(StoreSecretError::Io(source)) => Err(IngestError::SecretNotStored {
                topic: topic.clone(),
                source,
            }),
        }
    }

    async fn store(
        &self,
        topic: Topic,
        route: &IngestRoute,
        verified: Verified,
    ) -> Result<Accepted, IngestError> {
        let dedup = route
            .dedup
            .and_then(|rule| route::dedup_key(&topic, &verified, rule));
        let (delivery, facts) = verified.into_parts();
        let topic = match &facts.partition {
            // That it is one for any delivery was checked at start.
            Some(partition) => topic.below(partition)?,
            None => topic,
        };
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
        Ok(Accepted::Stored {
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

fn header(headers: &HeaderMap, name: &http::HeaderName) -> Option<Box<str>> {
    Some(headers.get(name)?.to_str().ok()?.into())
}

fn kept(headers: &HeaderMap) -> Vec<(Box<str>, Box<str>)> {
    let mut bytes = 0;
    headers
        .iter()
        .filter(|(name, _)| keeps_header(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str().into(), value.to_str().ok()?.into())))
        .take(HEADERS_MAX)
        .take_while(|(_, value): &(Box<str>, Box<str>)| {
            bytes += value.len();
            bytes <= KEPT_HEADER_BYTES_MAX
        })
        .collect()
}

/// Whether events keep a header of this name, which is in lower case.
#[must_use]
pub fn keeps_header(name: &str) -> bool {
    !may_be_secret(name)
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
