//! The ingest routes of a configuration, and the secrets that providers have
//! sent to them.

use std::{path::Path, sync::Arc};

use hookrill_core::TopicMap;

use crate::{
    config::{Config, TopicSettings},
    ingest::{IngestRoute, ProvisionedSecretError, ProvisionedSecrets},
    telemetry::Telemetry,
};

pub(super) fn routes(config: &Config, telemetry: &Telemetry) -> TopicMap<Arc<IngestRoute>> {
    config.topics.map(|topic| Arc::new(route(topic, telemetry)))
}

/// The routes of a start, with the secrets that providers have sent earlier; `folder`
/// is where these are kept.
pub(super) fn at_start(
    config: &Config,
    folder: Option<&Path>,
    telemetry: &Telemetry,
) -> Result<(TopicMap<Arc<IngestRoute>>, Arc<ProvisionedSecrets>), ProvisionedSecretError> {
    let provisioned = Arc::new(ProvisionedSecrets::new(folder));
    let routes = routes(config, telemetry);
    install_secrets(&routes, &provisioned)?;
    warn_about(&routes);
    Ok((routes, provisioned))
}

fn route(topic: &TopicSettings, telemetry: &Telemetry) -> IngestRoute {
    let route = IngestRoute::new(
        topic.name.clone(),
        topic.verifier.clone(),
        topic.dedup,
        Arc::clone(&topic.view),
        telemetry,
    );
    let route = route.with_allow_from(topic.allow_from.as_deref());
    let route = route.with_proof(topic.keep_proof);
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

/// Warns of topics whose secret anybody may still set.
pub(super) fn warn_about(routes: &TopicMap<Arc<IngestRoute>>) {
    for (topic, route) in routes.named() {
        if route.verifier().awaits_secret() {
            tracing::warn!(%topic, "this topic has no secret yet; it accepts the first one that is sent to it");
        }
    }
}

/// Logs what is legal in a configuration, and probably not meant.
pub(super) fn log_warnings(config: &Config) {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}
