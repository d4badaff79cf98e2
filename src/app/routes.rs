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
        if route.verifier().awaits_secret() {
            tracing::warn!(%topic, "this topic has no secret yet; it accepts the first one that is sent to it");
        }
    }
    // Without a file every topic is accepted. An empty file changes that, which
    // may surprise.
    if routes.any().is_none() && routes.named().next().is_none() {
        tracing::warn!(
            "no topics are configured: every delivery and every subscription is refused"
        );
    }
}
