//! What was written → what can be used.
//!
//! A file and the environment are merged into one tree ([`written`]), and the
//! whole tree is checked before anything starts: all that is wrong is listed
//! at once, each with its place and who wrote it. Nothing here opens a socket
//! or builds what the settings describe.
//! Invariant: each room's settings in a [`Config`] are valid.

mod access;
mod diagnostic;
mod environment;
mod restart;
mod scheme;
mod section;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod topics;
mod tree;
pub mod url;
mod values;
mod verification;
mod view;
mod zero_config;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

pub use diagnostic::{ConfigError, Diagnostic, KeyPath, Location};
pub use environment::Environment;
use hookrill_core::TopicMap;
pub use sources::{Sources, read_file};
pub use topics::TopicSettings;
pub use zero_config::{MissingSecrets, ZeroConfig};

use crate::{http, journal, subscribe, telemetry, wire::View};
use diagnostic::Diagnostics;

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// How the world reaches the gateway, without a trailing slash; where it
    /// is not written, how this machine does.
    pub public_url: String,
    /// The bounds of what a stranger may do.
    pub server: http::Settings,
    /// Where events are kept.
    pub journal: journal::Settings,
    /// How streams are kept alive.
    pub subscribe: subscribe::Settings,
    /// How subscriber tokens are checked, and which topics need one.
    pub access: crate::access::Settings,
    /// What is logged.
    pub log: telemetry::Settings,
    /// What each topic's deliveries must look like.
    pub topics: TopicMap<TopicSettings>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// Where nothing was configured: what was made instead.
    pub zero_config: Option<ZeroConfig>,
}

impl Config {
    /// Reads, merges and checks everything.
    ///
    /// With neither file nor topics, this is a newcomer's start, and `missing`
    /// says what becomes of secrets that are not there.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with all that is wrong.
    pub fn load(sources: Sources<'_>, missing: MissingSecrets) -> Result<Self, ConfigError> {
        let diagnostics = Diagnostics::default();
        let written = sources::collect(sources, &diagnostics)?;
        let zero_config = written.file.is_none() && written.root.get("topics").is_none();
        if zero_config && missing == MissingSecrets::Create {
            // Nothing is made for a start that fails anyway.
            let root = written.root.clone();
            let rehearsal = Self::zero_config(root, MissingSecrets::Assume, sources, &diagnostics);
            if diagnostics.any() {
                return diagnostics.unless_any(rehearsal);
            }
        }
        let config = match zero_config {
            true => Self::zero_config(written.root, missing, sources, &diagnostics),
            false => settings::config(written.root, sources.environment, &diagnostics),
        };
        diagnostics.unless_any(Self {
            file: written.file,
            ..config
        })
    }

    fn zero_config(
        mut root: tree::Node,
        missing: MissingSecrets,
        sources: Sources<'_>,
        diagnostics: &Diagnostics,
    ) -> Self {
        let path = root
            .get("journal")
            .and_then(|journal| journal.get("path"))
            .and_then(|path| values::text(&path.kind).ok());
        let folder = settings::journal_path(path);
        let zero_config = zero_config::ensure_secrets(&mut root, folder, missing, diagnostics);
        Self {
            zero_config: Some(zero_config),
            ..settings::config(root, sources.environment, diagnostics)
        }
    }

    /// How this machine reaches the gateway.
    #[must_use]
    pub fn local_url(&self) -> String {
        settings::local_url(self.listen)
    }

    /// Per topic, what its subscribers are shown.
    #[must_use]
    pub fn views(&self) -> TopicMap<Arc<View>> {
        self.topics.map(|topic| Arc::clone(&topic.view))
    }
}
