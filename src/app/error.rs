//! Why a gateway can't be built, and why one stops by itself.

use std::sync::Arc;

use crate::{hub::PumpError, identity, ingest::ProvisionedSecretError, journal};

/// Why the gateway can't be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The journal can't be opened.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// A secret that a provider has sent can't be read.
    #[error(transparent)]
    ProvisionedSecret(#[from] ProvisionedSecretError),
    /// The list of revoked tokens can't be read.
    #[error(transparent)]
    Revocations(#[from] identity::OpenError),
    /// The metrics can't be set up.
    #[error("cannot set up the metrics")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Why a gateway stopped by itself.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The journal can no longer store events.
    #[error("the gateway stopped, because the journal failed")]
    Journal(#[source] journal::FatalError),
    /// The pump can no longer read events from the journal.
    #[error("the gateway stopped, because it cannot read new events any more")]
    Pump(#[source] Arc<PumpError>),
    /// The pump's task ended without a reason: it must have panicked.
    #[error("the gateway stopped, because its pump panicked")]
    PumpPanicked,
}
