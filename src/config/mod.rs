//! Turns a file and the environment into a configuration that can be used.
//!
//! Both are merged into one tree (`tree`), and the whole tree is checked
//! before anything starts: every mistake is reported at once, with the key and
//! the line. Nothing here opens a socket, or builds what the settings describe.
//! Invariant: the settings in a [`Config`] are valid.

mod access;
mod contradictions;
mod deserialize;
mod diagnostic;
mod environment;
mod hints;
mod place;
mod readable;
mod restart;
mod scheme;
mod secrets;
mod section;
mod settings;
mod slips;
mod sources;
#[cfg(test)]
mod tests;
mod topics;
mod tree;
mod unread;
pub mod url;
mod values;
mod verification;
mod view;
mod zero_config;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

pub use diagnostic::{ConfigError, Diagnostic, KeyPath, Location, Severity};
pub use environment::{Environment, VariableError};
pub use hints::no_such_preset;
use hookrill_core::TopicMap;
pub use place::GatewayPlace;
pub use sources::{ReferenceError, Sources, read_file};
pub use topics::TopicSettings;
pub use values::BODY_BYTES_MAX;
pub use zero_config::{MissingSecrets, ZeroConfig};

use crate::{http, journal, subscribe, telemetry, wire::View};
use diagnostic::Diagnostics;

/// A configuration that can be used.
///
/// [`Config::load`] makes one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The address to listen on. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The URL at which the world reaches the gateway, without a trailing
    /// slash. By default, the URL at which this machine reaches it.
    pub public_url: String,
    /// Limits, timeouts, and who the operator is.
    pub server: http::Settings,
    /// Where events are stored.
    pub journal: journal::Settings,
    /// Heartbeats and retries of streams.
    pub subscribe: subscribe::Settings,
    /// How subscriber tokens are verified, and which topics need one.
    pub access: crate::access::Settings,
    /// What is logged.
    pub log: telemetry::Settings,
    /// The settings of each topic.
    pub topics: TopicMap<TopicSettings>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// The secrets in use where there is no configuration.
    pub zero_config: Option<ZeroConfig>,
    /// What is legal, and probably not meant. A gateway logs it at its start.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// Reads, merges and checks everything.
    ///
    /// Without a file and without topics in the environment, zero configuration
    /// applies, and `missing` says what to do where its secrets do not exist.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with every mistake.
    pub fn load(sources: Sources<'_>, mut missing: MissingSecrets) -> Result<Self, ConfigError> {
        let diagnostics = Diagnostics::default();
        let merged = sources::merge(sources, &diagnostics)?;
        let variables = merged.variables;
        if merged.file.is_some() || merged.root.get("topics").is_some() {
            let slips = merged.slips.as_ref();
            let config = settings::from_tree(merged.root, sources.environment, slips, &diagnostics);
            if slips.is_none() {
                unread::warn(sources.environment, &variables, &diagnostics);
            }
            return with_warnings(
                diagnostics,
                Self {
                    file: merged.file,
                    ..config
                },
            );
        }
        if missing == MissingSecrets::Create {
            // A dry run, so that no secret is created for a start that fails.
            let trial = Diagnostics::default();
            let root = merged.root.clone();
            _ = Self::without_file(root, MissingSecrets::Assume, sources, &trial);
            if !trial.is_empty() || !diagnostics.is_empty() {
                missing = MissingSecrets::Assume;
            }
        }
        let config = Self::without_file(merged.root, missing, sources, &diagnostics);
        unread::warn(sources.environment, &variables, &diagnostics);
        with_warnings(diagnostics, config)
    }

    fn without_file(
        mut root: tree::Node,
        missing: MissingSecrets,
        sources: Sources<'_>,
        diagnostics: &Diagnostics,
    ) -> Self {
        let path = root
            .get("journal")
            .and_then(|journal| journal.get("path"))
            .and_then(|path| values::path(&path.value).ok());
        let folder = settings::journal_path(path);
        let zero_config = zero_config::ensure_secrets(&mut root, folder, missing, diagnostics);
        let mut config = settings::from_tree(root, sources.environment, None, diagnostics);
        // Pages that are tried out on this machine; they need a token all the same.
        if config.server.cors_origins.is_empty() {
            config.server.cors_origins = http::LOOPBACK_ORIGINS.map(str::to_owned).into();
        }
        config.zero_config = Some(zero_config);
        config
    }

    /// The URL at which this machine reaches the gateway.
    #[must_use]
    pub fn local_url(&self) -> String {
        settings::local_url(self.listen)
    }

    /// What the subscribers of each topic are shown.
    #[must_use]
    pub fn views(&self) -> TopicMap<Arc<View>> {
        self.topics.map(|topic| Arc::clone(&topic.view))
    }
}

fn with_warnings(diagnostics: Diagnostics, config: Config) -> Result<Config, ConfigError> {
    let (config, warnings) = diagnostics.into_result(config)?;
    Ok(Config { warnings, ..config })
}
