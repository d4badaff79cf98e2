//! The ingest routes of a configuration, and the secrets that providers have
//! sent to them.

use std::sync::Arc;

use hookrill_core::TopicMap;

use crate::{
    config::{Config, TopicSettings},
    ingest::{IngestRoute, ProvisionedSecretError, ProvisionedSecrets},
};

pub(super) fn routes(config: &Config) -> TopicMap<Arc<IngestRoute>> {
    config.topics.map(|topic| Arc::new(route(topic)))
}

fn route(topic: &TopicSettings) -> IngestRoute {
    let route = IngestRoute::new(
        topic.name.clone(),
        topic.verifier.clone(),
        topic.dedup,
        Arc::clone(&topic.view),
    );
    route.with_rate_max(topic.rate_max)
}

/// Installs the secrets that providers have sent earlier.
pub(super) fn install_secrets(
    routes: &TopicMap<Arc<IngestRoute>>,
    provisioned: &ProvisionedSecrets,
) -> Result<(), ProvisionedSecretError> {
    for (topic, route) in routes.named() {
        if !route.verifier().awaits_secret() {
            continue;
        }
        if let Some(secret) = provisioned.load(topic)? {
            route.install_secret(secret);
        }
    }
    Ok(())
}

/// Warns of topics whose secret anybody may still set, and where there are no
/// topics at all.
pub(super) fn warn_about(routes: &TopicMap<Arc<IngestRoute>>) {
    for (topic, route) in routes.named() {
        warn_about_short_secrets(topic.as_str(), route);
        if route.verifier().awaits_secret() {
            tracing::warn!(%topic, "this topic has no secret yet; it accepts the first one that is sent to it");
        }
    }
    if let Some(route) = routes.any() {
        warn_about_short_secrets("*", route);
    }
    // Without a file every topic is accepted. An empty file changes that, which
    // may surprise.
    if routes.any().is_none() && routes.named().next().is_none() {
        tracing::warn!(
            "no topics are configured: every delivery and every subscription is refused"
        );
    }
}

/// A secret that can be guessed lets anybody sign: whoever has one delivery can try
/// millions of secrets a second on it, unseen.
fn warn_about_short_secrets(topic: &str, route: &IngestRoute) {
    /// RFC 2104, section 3, advises the length of the hash; 128 bits can't be guessed.
    const BYTES_MIN: usize = 16;
    let shortest = route.verifier().shortest_secret_bytes();
    if let Some(bytes) = shortest.filter(|bytes| *bytes < BYTES_MIN) {
        tracing::warn!(
            topic,
            "the shortest secret of this topic has {bytes} bytes, so it can be guessed; use one \
             of at least {BYTES_MIN} if the provider lets you choose it"
        );
    }
}
