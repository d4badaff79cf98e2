//! A gateway behind a proxy.
//!
//! The gateway's configuration knows nothing of which proxy it is. Invariant:
//! what was started for a setup ends with it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::proxy::Proxy;
use hookrill_testing::Process;

use crate::program::give_to_nobody;

/// Longer than anything here takes on a slow day.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at something that tells nobody when it happens.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Where requests that are to be told from the proxy's own come from.
pub(crate) const BROWSER: &str = "127.0.0.77";
pub(crate) const ORIGIN: &str = "https://app.example.com";

/// No heartbeat comes to anybody's help.
const QUIET: &str = "heartbeat = \"10m\"";
/// What a stream of a client that has to come back needs.
pub(crate) const BRISK: &str = "heartbeat = \"1s\"\nretry = \"200ms\"";

const TOPICS: &str = r#"
[access]
secret = "6b2f0c9d8e7a41529384a5b6c7d8e9f00112233445566778899aabbccddeeff0"

[topics.open]
access = "public"
[topics.open.scheme]
kind = "none"
dedup_id = [{ header = "X-Delivery" }]

[topics.shut]
scheme = { kind = "none" }
"#;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Nginx,
    Caddy,
    Traefik,
    Haproxy,
    Apache,
    Varnish,
}

/// A gateway behind a proxy.
pub(crate) struct Setup {
    pub proxy: Proxy,
    pub gateway: Process,
    _folder: TempDir,
}

/// A setup that is yet to be built.
pub(crate) struct SetupBuilder {
    pub kind: ProxyKind,
    /// In the proxy's file, what instead of what.
    pub changes: Vec<(String, String)>,
    subscribe: &'static str,
    server: &'static str,
    pub origin: String,
    /// Of Traefik's own log.
    pub log_level: &'static str,
}

impl Setup {
    pub(crate) fn behind(kind: ProxyKind) -> SetupBuilder {
        SetupBuilder {
            kind,
            changes: Vec::new(),
            subscribe: QUIET,
            server: "",
            origin: ORIGIN.to_owned(),
            log_level: "INFO",
        }
    }

    /// Starts the gateway once more, where it was.
    pub(crate) fn restart(self) -> Self {
        Self {
            gateway: self.gateway.restart(),
            ..self
        }
    }

    /// Waits until the gateway has so many subscribers.
    pub(crate) fn has_subscribers(&self, count: usize) {
        eventually(&format!("{count} subscribers"), || {
            (self.gateway.subscribers() == count).then_some(())
        });
    }
}

impl SetupBuilder {
    /// Changes a line of the proxy's file, which has to be there.
    pub(crate) fn with(mut self, written: &str, instead: &str) -> Self {
        self.changes.push((written.to_owned(), instead.to_owned()));
        self
    }

    /// The `[subscribe]` section.
    pub(crate) fn subscribe(mut self, section: &'static str) -> Self {
        self.subscribe = section;
        self
    }

    /// A line of `[server]`.
    pub(crate) fn server(mut self, line: &'static str) -> Self {
        self.server = line;
        self
    }

    /// The origin whose pages may listen.
    pub(crate) fn origin(mut self, origin: &str) -> Self {
        origin.clone_into(&mut self.origin);
        self
    }

    pub(crate) fn log_level(mut self, level: &'static str) -> Self {
        self.log_level = level;
        self
    }

    pub(crate) fn build(self) -> Setup {
        let folder = TempDir::new().unwrap();
        let (inside, outside) = (folder.path().join("gateway"), folder.path().join("proxy"));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        let gateway = Process::start(
            &inside,
            &format!(
                "trusted_proxies = [\"127.0.0.1/32\"]\ncors_origins = [{:?}]\n\
                 metrics_public = true\n{}\n[subscribe]\n{}\n{TOPICS}",
                self.origin, self.server, self.subscribe
            ),
        );
        give_to_nobody(folder.path());
        give_to_nobody(&outside);
        let proxy = Proxy::start(&self, outside, gateway.address);
        Setup {
            proxy,
            gateway,
            _folder: folder,
        }
    }
}

/// Looks until it is there.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "there never was {what}");
        thread::park_timeout(POLL_INTERVAL);
    }
}
