//! From a delivery to a stored event.
//!
//! Refuses whatever `verify` does not verify. Never calls the hub: the pump
//! learns of events from the journal, in their order.

mod dedup;
mod error;
mod headers;
mod original;
mod provisioned;
mod refusal;
mod route;
mod second_look;
mod withheld;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hookrill_core::{Clock, Cursor, Draft, Original, Secret, Swap, Topic, TopicError, TopicMap};
use hookrill_verify::{Delivery, Outcome, Refused, Reply, Verified, VerifyError};
use http::{Method, header::CONTENT_TYPE};
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinError, spawn_blocking};

use crate::{
    journal::{AppendError, Appended, Health, Journal, ReadError},
    telemetry::{SectionMetrics, Telemetry},
};
use dedup::dedup_key;
pub use dedup::{DedupBy, DedupRule};
pub use error::IngestError;
pub use headers::keeps_header;
use original::kept_of;
pub use provisioned::{ProvisionedSecretError, ProvisionedSecrets, StoreSecretError};
pub use refusal::Refusal;
pub use route::IngestRoute;
pub use second_look::{SecondLook, SecondLookError};

/// A delivery that was accepted.
#[derive(Debug)]
pub enum Accepted {
    /// Its event is in the journal.
    Stored {
        /// Where; of a duplicate, where the first one is.
        cursor: Cursor,
        /// Under which topic: the one that it was sent to, or a subtopic that it
        /// names. Of a duplicate, where it would have been.
        topic: Topic,
        /// Whether it was stored already.
        duplicate: bool,
        /// What the provider expects instead of the usual answer.
        respond: Option<Reply>,
    },
    /// It was a handshake, which stores nothing.
    Answered {
        /// The topic that it was sent to.
        topic: Topic,
        /// The answer.
        reply: Reply,
        /// Whether the handshake brought the provider's secret, which is stored
        /// now.
        secret_stored: bool,
    },
}

/// A body longer than this, in bytes, is verified on a thread of its own: a MAC
/// over it takes longer than other connections should wait.
const INLINE_BODY_BYTES_MAX: usize = 256 * 1024;

/// Accepts deliveries.
pub struct Ingest {
    routes: Arc<Swap<TopicMap<Arc<IngestRoute>>>>,
    /// The methods of all routes together.
    methods: Swap<Vec<Method>>,
    /// Whether some routes are for some senders alone.
    restricts: AtomicBool,
    secrets: Arc<ProvisionedSecrets>,
    journal: Arc<dyn Journal>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
}

impl Ingest {
    /// Accepts deliveries by these routes, into this journal.
    #[must_use]
    pub fn new(
        routes: TopicMap<Arc<IngestRoute>>,
        secrets: Arc<ProvisionedSecrets>,
        journal: Arc<dyn Journal>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self {
            methods: Swap::new(methods(&routes)),
            restricts: AtomicBool::new(restrict(&routes)),
            routes: Arc::new(Swap::new(routes)),
            secrets,
            journal,
            clock,
            telemetry,
        }
    }

    /// Accepts deliveries by these routes from now on. One that is being
    /// verified keeps the route it started with.
    pub fn reload(&self, routes: TopicMap<Arc<IngestRoute>>) {
        self.methods.store(methods(&routes));
        let restricts = restrict(&routes);
        self.routes.store(routes);
        self.restricts.store(restricts, Ordering::Release);
    }

    /// Whether this sender may send to the topic at all, as far as that is known before
    /// anything of a delivery is read.
    ///
    /// # Errors
    ///
    /// [`Refusal`], which says so.
    pub fn admit(&self, topic: &str, sender: Option<IpAddr>) -> Result<(), Box<Refusal>> {
        if !self.restricts.load(Ordering::Acquire) {
            return Ok(());
        }
        // What has no route is refused like the others, once it was read.
        let Ok(topic) = topic.parse::<Topic>() else {
            return Ok(());
        };
        match self.route(&topic) {
            Some(route) if !route.allows(sender) => {
                let error = IngestError::AddressNotAllowed(topic);
                route.section().ingest_refused(error.reason());
                Err(Box::new(Refusal::new(error, Some(route))))
            }
            _ => Ok(()),
        }
    }

    /// By which methods deliveries come: those of all topics together, so that nobody
    /// can tell one topic from another, or from none.
    #[must_use]
    pub fn methods(&self) -> Arc<Vec<Method>> {
        self.methods.load()
    }

    /// The journal, to be asked how much it holds.
    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal)
    }

    /// How the journal does at the moment.
    #[must_use]
    pub fn journal_health(&self) -> Health {
        self.journal.health()
    }

    /// Counts the events of which subscribers see nothing, among those that
    /// become durable from this call on; ends when the journal is closed.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the journal cannot be followed any further.
    pub fn count_withheld(&self) -> impl Future<Output = Result<(), ReadError>> + Send + use<> {
        let commits = self.journal.follow(self.journal.head());
        withheld::count(
            commits,
            Arc::clone(&self.routes),
            Arc::clone(&self.telemetry),
        )
    }

    /// Verifies a delivery and stores its event; returns once that is durable.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; nothing was stored, except that after
    /// [`AppendError::Failed`] the event may
    /// still turn up, once.
    pub async fn accept(&self, topic: &str, delivery: Delivery) -> Result<Accepted, Box<Refusal>> {
        let accepted = match self.destination(topic) {
            Ok(destination) => self.verify_and_store(destination, delivery).await,
            Err(refusal) => Err(refusal.with_unverified(delivery).into()),
        };
        if let Err(refusal) = &accepted {
            if let Some(untried) = refusal.delivery_before_mac() {
                // Few come here, and what it takes would make every delivery's task longer.
                Box::pin(hash_for_nothing(untried)).await;
            }
            let section = refusal.section().unwrap_or(&self.telemetry.no_section);
            section.ingest_refused(refusal.error.reason());
        }
        accepted
    }

    /// The counters of the section that covers a topic; `None` where none does.
    #[must_use]
    pub fn section(&self, topic: &Topic) -> Option<Arc<SectionMetrics>> {
        self.route(topic).map(|route| Arc::clone(route.section()))
    }

    /// The route of the section that covers a topic; `None` where none does.
    #[must_use]
    pub fn route_of(&self, topic: &Topic) -> Option<Arc<IngestRoute>> {
        self.route(topic)
    }

    /// Answers a handshake that comes by another method than events do; `None`
    /// where the topic has no handshake by that method.
    ///
    /// # Errors
    ///
    /// [`Refusal`] where the handshake does not verify.
    pub async fn handshake(
        &self,
        topic: &str,
        delivery: Delivery,
    ) -> Option<Result<Accepted, Box<Refusal>>> {
        let parsed = topic.parse().ok()?;
        let route = self.route(&parsed)?;
        if !route.accepts(&parsed) || !route.verifier().has_handshake(&delivery.method) {
            return None;
        }
        Some(self.accept(topic, delivery).await)
    }

    /// Where a delivery to this topic goes.
    fn destination(&self, topic: &str) -> Result<Destination, Box<Refusal>> {
        let unrouted = |error, route| Err(Box::new(Refusal::new(error, route)));
        let topic = match topic.parse::<Topic>() {
            Ok(topic) => topic,
            Err(malformed) => return unrouted(malformed.into(), None),
        };
        match self.route(&topic) {
            Some(route) if route.accepts(&topic) => Ok(Destination { topic, route }),
            Some(route) => unrouted(IngestError::BelowPartition(topic), Some(route)),
            None => unrouted(IngestError::Unconfigured(topic), None),
        }
    }

    async fn verify_and_store(
        &self,
        to: Destination,
        delivery: Delivery,
    ) -> Result<Accepted, Box<Refusal>> {
        let verified = self.verify(&to.route, delivery).await;
        match self.take(&to, verified)? {
            Taken::Answered(accepted) => {
                to.route.section().handshakes.increment(1);
                Ok(accepted)
            }
            Taken::Secret { secret, reply } => {
                let provisioned = Box::pin(self.provision(&to, secret)).await;
                provisioned.map_err(|error| to.refusal(error))?;
                to.route.section().handshakes.increment(1);
                Ok(Accepted::Answered {
                    topic: to.topic,
                    reply,
                    secret_stored: true,
                })
            }
            Taken::Event(storing) => {
                let stored = self.stored(storing, &to.route).await;
                stored.map_err(|error| to.refusal(error.into()))
            }
        }
    }

    /// The route of the section that covers this topic.
    fn route(&self, topic: &Topic) -> Option<Arc<IngestRoute>> {
        self.routes.load().lookup(topic).map(Arc::clone)
    }

    /// What a delivery is. A long one is verified on a thread of its own.
    async fn verify(
        &self,
        route: &IngestRoute,
        delivery: Delivery,
    ) -> Result<Result<Outcome, Box<Refused>>, JoinError> {
        let now = self.clock.now();
        let verifier = route.verifier();
        // It may be over either.
        let sent_bytes = delivery.sent.as_ref().map_or(0, Bytes::len);
        if delivery.body.len() + sent_bytes <= INLINE_BODY_BYTES_MAX {
            return Ok(verifier.verify_or_return(delivery, now));
        }
        spawn_blocking(move || verifier.verify_or_return(delivery, now)).await
    }

    /// What is left to do with a delivery; an event is on its way into the journal.
    ///
    /// No part of [`Ingest::verify_and_store`], whose task would hold each step's values
    /// until the event is durable.
    fn take(
        &self,
        to: &Destination,
        verified: Result<Result<Outcome, Box<Refused>>, JoinError>,
    ) -> Result<Taken<'_>, Box<Refusal>> {
        let outcome = verified.map_err(|error| to.refusal(error.into()))?;
        let outcome = outcome.map_err(|unverified| {
            let (topic, source) = (to.topic.clone(), unverified.error);
            let refusal = to.refusal(IngestError::Unverified { topic, source });
            Box::new(refusal.with_unverified(unverified.delivery))
        })?;
        match outcome {
            Outcome::Answer(reply) => Ok(Taken::Answered(Accepted::Answered {
                topic: to.topic.clone(),
                reply,
                secret_stored: false,
            })),
            Outcome::ProvisionedSecret { secret, reply } => Ok(Taken::Secret { secret, reply }),
            Outcome::Event(event) => {
                // Only verified deliveries count, or a flood of others would
                // keep them out. Handshakes store nothing, and do not count.
                if let Err(limited) = to.route.admit(self.clock.monotonic()) {
                    let topic = to.topic.clone();
                    let refusal = to.refusal(IngestError::RateLimited { topic, limited });
                    let id = event.into_parts().1.dedup_id;
                    return Err(Box::new(refusal.with_id(id)));
                }
                let storing = self.store(to, event);
                Ok(Taken::Event(
                    storing.map_err(|error| to.refusal(error.into()))?,
                ))
            }
        }
    }

    /// Stores a secret that the provider sent, and verifies with it from now on.
    ///
    /// Only for a section's own topic: below it, and under `"*"`, anybody could
    /// make up a topic, send a secret for it, and be trusted there.
    async fn provision(&self, to: &Destination, secret: Secret) -> Result<(), IngestError> {
        let Destination { topic, route } = to;
        if !route.is_own_topic(topic) {
            return Err(IngestError::SecretNotAccepted(topic.clone()));
        }
        let is_stored = self.store_secret(topic, &secret).await?;
        if !is_stored || !route.install_secret(secret.clone()) {
            return Err(IngestError::Unverified {
                topic: topic.clone(),
                source: VerifyError::SecretAlreadyProvisioned,
            });
        }
        // A reload meanwhile may have made a route without the secret.
        if let Some(newest) = self.route(topic)
            && newest.is_own_topic(topic)
        {
            newest.install_secret(secret);
        }
        Ok(())
    }

    /// Whether the secret was stored; false where there is one already.
    async fn store_secret(&self, topic: &Topic, secret: &Secret) -> Result<bool, IngestError> {
        let secrets = Arc::clone(&self.secrets);
        let (name, stored) = (topic.clone(), secret.clone());
        match spawn_blocking(move || secrets.store(&name, &stored)).await? {
            Ok(()) => Ok(true),
            Err(StoreSecretError::Taken) => Ok(false),
            Err(StoreSecretError::Io(source)) => Err(IngestError::SecretNotStored {
                topic: topic.clone(),
                source,
            }),
        }
    }

    /// Hands an event to the journal.
    fn store(&self, to: &Destination, verified: Verified) -> Result<Storing<'_>, TopicError> {
        let Destination { topic, route } = to;
        let rule = route.dedup();
        let dedup = rule.and_then(|rule| dedup_key(topic, route.topic(), &verified, rule));
        let (headers, original) = kept_of(route, verified.delivery());
        let (delivery, facts) = verified.into_parts();
        let topic = match &facts.partition {
            // The start checked that any value makes a topic.
            Some(partition) => topic.below(partition)?,
            None => topic.clone(),
        };
        let body_bytes = delivery.body.len() as u64;
        let draft = Draft {
            received_at: delivery.received_at,
            topic: topic.clone(),
            event_type: facts.event_type.unwrap_or_else(|| "webhook".into()),
            content_type: headers::text(&delivery.headers, &CONTENT_TYPE),
            dedup_id: facts.dedup_id,
            headers,
            original: Original {
                // The body of a GET is made of its query.
                sent: match delivery.method {
                    Method::GET => Some(Bytes::new()),
                    _ => delivery.sent,
                },
                ..original
            },
            body: delivery.body,
            append_nonce: fastrand::u64(..),
        };
        Ok(Storing {
            appending: self.journal.append(draft, dedup),
            topic,
            body_bytes,
            respond: facts.respond,
        })
    }

    /// Waits until an event is durable.
    async fn stored(
        &self,
        storing: Storing<'_>,
        route: &IngestRoute,
    ) -> Result<Accepted, AppendError> {
        let appended = storing.appending.await?;
        let section = route.section();
        if appended.duplicate {
            section.duplicates.increment(1);
        } else {
            section.stored.increment(1);
            section.stored_bytes.increment(storing.body_bytes);
        }
        Ok(Accepted::Stored {
            cursor: Cursor {
                epoch: self.journal.epoch(),
                sequence: appended.sequence,
            },
            topic: storing.topic,
            duplicate: appended.duplicate,
            respond: storing.respond,
        })
    }
}

/// The topic that a delivery was sent to, and the route of the section that covers it.
struct Destination {
    topic: Topic,
    route: Arc<IngestRoute>,
}

impl Destination {
    fn refusal(&self, error: IngestError) -> Box<Refusal> {
        Box::new(Refusal::new(error, Some(Arc::clone(&self.route))))
    }
}

/// What is left to do with a delivery that was not refused.
enum Taken<'i> {
    Answered(Accepted),
    /// To be stored before its reply is sent.
    Secret {
        secret: Secret,
        reply: Reply,
    },
    Event(Storing<'i>),
}

/// An event on its way into the journal.
struct Storing<'i> {
    appending: BoxFuture<'i, Result<Appended, AppendError>>,
    topic: Topic,
    body_bytes: u64,
    respond: Option<Reply>,
}

/// The methods of these routes, each once; where there are none, that of most.
fn methods(routes: &TopicMap<Arc<IngestRoute>>) -> Vec<Method> {
    let named = routes.named().map(|(_, route)| route);
    let mut all = Vec::new();
    for route in named.chain(routes.any()) {
        for method in route.verifier().methods() {
            if !all.contains(method) {
                all.push(method.clone());
            }
        }
    }
    if all.is_empty() {
        all.push(Method::POST);
    }
    all.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    all
}

/// Whether one of these routes is for some senders alone.
fn restrict(routes: &TopicMap<Arc<IngestRoute>>) -> bool {
    let mut named = routes.named().map(|(_, route)| route);
    named.any(|route| route.restricts()) || routes.any().is_some_and(|route| route.restricts())
}

/// Reads a body as a MAC would. Otherwise the time of a refusal would tell strangers
/// which topics there are: those of which no key was tried answer sooner, the more so
/// the longer the body is.
async fn hash_for_nothing(delivery: &Delivery) {
    for body in [Some(&delivery.body), delivery.sent.as_ref()]
        .into_iter()
        .flatten()
    {
        let body = body.clone();
        let is_short = body.len() <= INLINE_BODY_BYTES_MAX;
        let hash = move || {
            std::hint::black_box(Sha256::digest(&body));
        };
        if is_short {
            hash();
        } else {
            // One that is not done because the process ends is not missed.
            _ = spawn_blocking(hash).await;
        }
    }
}
