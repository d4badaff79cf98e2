//! What was written → what can be used.
//!
//! A file and the environment are merged into one tree ([`written`]), and the
//! whole tree is checked before anything starts: all that is wrong is listed
//! at once, each with its place and who wrote it. Nothing here opens a socket
//! or builds what the settings describe.
//! Invariant: each room's settings in a [`Config`] are valid.

mod access;
mod check;
mod environment;
mod newcomer;
mod problem;
mod proof;
mod restart;
mod scheme;
mod section;
mod sources;
#[cfg(test)]
mod tests;
mod topics;
pub mod url;
mod values;
mod view;
mod written;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

pub use environment::Environment;
use hookrill_core::TopicMap;
pub use newcomer::{Missing, Newcomer};
pub use problem::{ConfigError, Origin, Place, Problem};
pub use sources::{Sources, read_file};
pub use topics::TopicSettings;

use crate::{http, journal, subscribe, telemetry, wire::View};
use problem::Problems;

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
    pub newcomer: Option<Newcomer>,
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
    pub fn load(sources: Sources<'_>, missing: Missing) -> Result<Self, ConfigError> {
        let problems = Problems::default();
        let written = sources::collect(sources, &problems)?;
        let newcomer = written.file.is_none() && written.root.get("topics").is_none();
        if newcomer && missing == Missing::Make {
            // Nothing is made for a start that fails anyway.
            let root = written.root.clone();
            let rehearsal = Self::newcomer(root, Missing::Pretend, sources, &problems);
            if problems.any() {
                return problems.unless_any(rehearsal);
            }
        }
        let config = match newcomer {
            true => Self::newcomer(written.root, missing, sources, &problems),
            false => check::config(written.root, sources.environment, &problems),
        };
        problems.unless_any(Self {
            file: written.file,
            ..config
        })
    }

    fn newcomer(
        mut root: written::Node,
        missing: Missing,
        sources: Sources<'_>,
        problems: &Problems,
    ) -> Self {
        let path = root
            .get("journal")
            .and_then(|journal| journal.get("path"))
            .and_then(|path| values::text(&path.kind).ok());
        let folder = check::journal_path(path);
        let newcomer = newcomer::settle(&mut root, folder, missing, problems);
        Self {
            newcomer: Some(newcomer),
            ..check::config(root, sources.environment, problems)
        }
    }

    /// How this machine reaches the gateway.
    #[must_use]
    pub fn local_url(&self) -> String {
        check::local_url(self.listen)
    }

    /// Per topic, what its subscribers are shown.
    #[must_use]
    pub fn views(&self) -> TopicMap<Arc<View>> {
        self.topics.map(|topic| Arc::clone(&topic.view))
    }
}
