//! Another configuration for a gateway that runs.
//!
//! Refuses whole what cannot be applied whole: all that can fail comes first.
//! Invariant: it fails closed. Who may listen is settled before what they
//! would see, and that before what comes in; so no event of a new topic, and
//! none that a new rule withholds, meets a stream that the rules before let in.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use hookrill_core::TopicMap;

use super::{adopt, routes, warn_of_routes};
use crate::{
    access::Access,
    config::{Config, ConfigError},
    http::Gateway,
    identity::KeySets,
    ingest::{IngestRoute, ProvisionedSecretError, ProvisionedSecrets},
    subscribe::Streams,
    telemetry::Telemetry,
};

/// Gives a gateway that runs another configuration. Clones are for the same
/// gateway; they keep none of its tasks running.
#[derive(Clone)]
pub struct Reloader(Arc<Running>);

/// What a reload reaches.
pub(super) struct Running {
    /// What was read at the start.
    pub(super) at_start: Config,
    /// What was taken last. Locked for a whole reload: one at a time.
    pub(super) config: Mutex<Config>,
    pub(super) access: Arc<Access>,
    pub(super) key_sets: Arc<KeySets>,
    pub(super) streams: Arc<Streams>,
    pub(super) handed: Arc<ProvisionedSecrets>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) telemetry: Arc<Telemetry>,
}

/// What came of a configuration that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Whether anything is different now.
    pub changed: bool,
    /// The keys that differ and are read at a start only: those in use stay.
    pub needs_restart: Vec<&'static str>,
}

/// Why a configuration was not taken. The one before stays, in all of it.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no file any more, and nobody wants what holds without one.
    #[error("{} is gone; put it back, or restart to run without it", .0.display())]
    FileGone(PathBuf),
    /// A secret that a provider handed over can't be read.
    #[error(transparent)]
    HandedOver(#[from] ProvisionedSecretError),
}

impl Reloader {
    pub(super) fn of(running: Running) -> Self {
        Self(Arc::new(running))
    }

    /// Takes what was read as it is at a start, or refuses it; counts it and
    /// logs what came of it. Blocks while it reads secrets that providers have
    /// handed over.
    ///
    /// # Errors
    ///
    /// [`ReloadError`], which is logged already; nothing has changed.
    pub fn reload(&self, read: Result<Config, ConfigError>) -> Result<Reloaded, ReloadError> {
        let running = &*self.0;
        let mut config = running
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let reloaded = read
            .map_err(ReloadError::from)
            .and_then(|new| running.apply(&mut config, new));
        running.telemetry.reloaded(reloaded.is_ok());
        match &reloaded {
            Ok(reloaded) => log(reloaded),
            Err(error) => log_refused(error),
        }
        reloaded
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloader")
    }
}

impl Running {
    fn apply(&self, config: &mut Config, new: Config) -> Result<Reloaded, ReloadError> {
        if let (Some(file), None) = (&config.file, &new.file) {
            return Err(ReloadError::FileGone(file.clone()));
        }
        let needs_restart = self.at_start.needs_restart(&new);
        let new = Config {
            server: new.server.bounded_as(&self.at_start.server),
            ..new
        };
        let routes = (config.topics != new.topics).then(|| routes(&new));
        // All that can fail.
        routes
            .iter()
            .try_for_each(|routes| adopt(routes, &self.handed))?;

        let mut changed = self.settle_access(&new);
        changed |= self.streams.replace_views(new.views(), &new.public_url);
        if let Some(routes) = routes {
            self.take_routes(&routes);
            changed = true;
        }
        if config.server != new.server {
            self.gateway.reload(new.server.clone());
            changed = true;
        }
        *config = new;
        Ok(Reloaded {
            changed,
            needs_restart,
        })
    }

    /// Whether anything has changed: then streams that are no longer allowed
    /// end.
    fn settle_access(&self, new: &Config) -> bool {
        let changed = self.access.reload(&new.access);
        if changed {
            self.key_sets.follow();
            self.streams.recheck_grants();
        }
        changed
    }

    fn take_routes(&self, routes: &TopicMap<Arc<IngestRoute>>) {
        self.gateway.ingest().reload(routes.clone());
        // A provider may have handed over its secret since the first look, to
        // a route that was still in use.
        if let Err(error) = adopt(routes, &self.handed) {
            tracing::error!(%error, "a topic has no secret until the next reload");
        }
        warn_of_routes(routes);
    }
}

fn log(reloaded: &Reloaded) {
    match reloaded.changed {
        true => tracing::info!("the configuration was read again and is in use"),
        false => tracing::info!("the configuration was read again; nothing in use has changed"),
    }
    for key in &reloaded.needs_restart {
        tracing::warn!(
            key,
            "this has changed and is read at a start only; restart for it"
        );
    }
}

/// A line for each thing that is wrong, as `hookrill check` has it.
fn log_refused(error: &ReloadError) {
    match error {
        ReloadError::Config(error) => {
            for problem in &error.diagnostics {
                tracing::error!("{problem}");
            }
        }
        error => tracing::error!("{error}"),
    }
    tracing::error!("the configuration is refused as a whole; the one before stays in use");
}
