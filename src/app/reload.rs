//! Gives a running gateway a new configuration.
//!
//! Applies all of it or nothing: every step that can fail comes first.
//! Invariant: a reload fails closed. First it applies who may listen, then what
//! subscribers are shown, and last what is accepted. So a stream that the old
//! rules let in never receives an event of a new topic, nor one that a new rule
//! withholds.

use std::{fmt, path::PathBuf, sync::Arc};

use hookrill_core::TopicMap;
use parking_lot::Mutex;

use super::routes::{install_secrets, log_warnings, routes, warn_about};
use crate::{
    access::Access,
    config::{Config, ConfigError},
    http::Gateway,
    identity::KeySets,
    ingest::{IngestRoute, ProvisionedSecretError, ProvisionedSecrets},
    subscribe::Streams,
    telemetry::{Telemetry, with_causes},
};

/// Gives a running gateway a new configuration. Clones are for the same
/// gateway; they keep none of its tasks running.
#[derive(Clone)]
pub struct Reloader(Arc<Targets>);

/// Everything that a reload changes or compares with.
pub(super) struct Targets {
    /// The configuration that the process started with.
    pub(super) at_start: Config,
    /// The configuration in use. Locked for a whole reload, so that only one
    /// runs at a time.
    pub(super) in_use: Mutex<Config>,
    pub(super) access: Arc<Access>,
    pub(super) key_sets: Arc<KeySets>,
    pub(super) streams: Arc<Streams>,
    pub(super) provisioned: Arc<ProvisionedSecrets>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) telemetry: Arc<Telemetry>,
}

/// The result of a reload that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Whether anything is different now.
    pub changed: bool,
    /// The keys whose new value needs a restart. The old values stay in use.
    pub needs_restart: Vec<&'static str>,
}

/// Why a configuration was rejected. The old one stays in use, all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// It has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file was deleted; we do not silently fall back to zero-config mode.
    #[error("{} was deleted; restore it, or restart to run without it", .0.display())]
    FileGone(PathBuf),
    /// A secret that a provider has sent can't be read.
    #[error(transparent)]
    ProvisionedSecret(#[from] ProvisionedSecretError),
}

impl Reloader {
    pub(super) fn new(targets: Targets) -> Self {
        Self(Arc::new(targets))
    }

    /// Applies the configuration that was read, or rejects it; counts and logs
    /// the result. Blocks while it reads secrets that providers have sent.
    ///
    /// # Errors
    ///
    /// [`ReloadError`], which is already logged. Nothing has changed then.
    pub fn reload(&self, read: Result<Config, ConfigError>) -> Result<Reloaded, ReloadError> {
        let targets = &*self.0;
        let mut in_use = targets.in_use.lock();
        let reloaded = read
            .map_err(ReloadError::from)
            .and_then(|new| targets.apply(&mut in_use, new));
        targets.telemetry.reloaded(reloaded.is_ok());
        match &reloaded {
            Ok(reloaded) => log_applied(reloaded),
            Err(error) => log_rejected(error),
        }
        reloaded
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloader")
    }
}

impl Targets {
    fn apply(&self, in_use: &mut Config, new: Config) -> Result<Reloaded, ReloadError> {
        if let (Some(file), None) = (&in_use.file, &new.file) {
            return Err(ReloadError::FileGone(file.clone()));
        }
        let needs_restart = self.at_start.needs_restart(&new);
        let new = Config {
            server: new.server.bounded_as(&self.at_start.server),
            ..new
        };
        log_warnings(&new);
        let new_routes = (in_use.topics != new.topics).then(|| routes(&new, &self.telemetry));
        // The last step that can fail.
        if let Some(routes) = &new_routes {
            install_secrets(routes, &self.provisioned)?;
        }

        let mut changed = self.apply_access(&new);
        changed |= self.streams.replace_views(new.views(), &new.public_url);
        if let Some(routes) = &new_routes {
            self.apply_routes(routes);
            changed = true;
        }
        if in_use.server != new.server {
            self.gateway.reload(new.server.clone());
            changed = true;
        }
        *in_use = new;
        Ok(Reloaded {
            changed,
            needs_restart,
        })
    }

    /// Applies `[access]` and ends the streams that it no longer allows.
    /// Returns whether anything has changed.
    fn apply_access(&self, new: &Config) -> bool {
        let changed = self.access.reload(&new.access);
        if changed {
            self.key_sets.reload();
            self.streams.recheck_grants();
        }
        changed
    }

    fn apply_routes(&self, routes: &TopicMap<Arc<IngestRoute>>) {
        self.gateway.ingest().reload(routes.clone());
        // A provider may have sent its secret to the old route since the secrets
        // were read above.
        if let Err(error) = install_secrets(routes, &self.provisioned) {
            tracing::error!(
                error = %with_causes(&error),
                "a topic has no secret until the next reload"
            );
        }
        warn_about(routes);
    }
}

fn log_applied(reloaded: &Reloaded) {
    if reloaded.changed {
        tracing::info!("the new configuration is in use");
    } else {
        tracing::info!("the configuration was read again; nothing has changed");
    }
    for key in &reloaded.needs_restart {
        tracing::warn!(key, "changing this requires a restart");
    }
}

/// Logs a line for each mistake, as `hookrill check` prints it.
fn log_rejected(error: &ReloadError) {
    match error {
        ReloadError::Config(error) => {
            for diagnostic in &error.diagnostics {
                tracing::error!("{diagnostic}");
            }
            for warning in &error.warnings {
                tracing::warn!("{warning}");
            }
        }
        error => tracing::error!("{}", with_causes(error)),
    }
    tracing::error!("the new configuration was rejected as a whole; the old one stays in use");
}
