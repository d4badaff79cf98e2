//! A gateway in this process, or its configuration for a process of its own.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::Router;
use hookrill::{
    app::{App, Reloaded, Reloader, ServeError},
    config::{Config, ConfigError, Environment, MissingSecrets, Sources},
    journal::Backend,
};
use hookrill_core::{Clock, Timestamp};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::timeout};

use crate::{ADMIN_TOKEN, BEGIN_SECS, Client, TOKEN_SECRET, WAIT_MAX};

const TOPICS: &str = r#"
[access]
secret = "0123456789abcdef0123456789abcdef"

[topics.open]
access = "public"
scheme = { kind = "none" }

[topics.shut]
scheme = { kind = "none" }

[topics.named]
access = "public"
event_names = true
preset = "github"
secrets = ["It's a Secret to Everybody", "the one before"]

[topics.standard]
access = "public"
preset = "standard-webhooks"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]

[topics.slack]
access = "public"
preset = "slack"
secrets = ["slack-signing-secret"]
"#;

/// A gateway that is yet to be started.
#[derive(Debug)]
pub struct GatewayBuilder {
    server: String,
    journal: String,
    sections: String,
    folder: Option<TempDir>,
    serves: Serves,
    has_new_epoch: bool,
}

/// Who accepts the gateway's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    App,
    /// A server that only takes a router.
    Router,
}

/// A gateway that runs in this process.
pub struct Gateway {
    client: Client,
    /// Where its journal is, if that is on disk.
    pub folder: Option<TempDir>,
    /// Its routes, for requests that take no socket.
    pub router: Router,
    /// Reads its configuration again.
    pub reloader: Reloader,
    /// What the configuration in use was read from.
    pub toml: String,
    /// Seconds that its clock was moved on.
    later_secs: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Gateway {
    /// One whose journal is in memory.
    #[must_use]
    pub fn in_memory() -> GatewayBuilder {
        GatewayBuilder::new("kind = \"memory\"", None)
    }

    /// One whose journal is in a new folder.
    #[must_use]
    pub fn on_disk() -> GatewayBuilder {
        Self::in_folder(TempDir::new().unwrap())
    }

    /// One whose journal is in this folder.
    #[must_use]
    pub fn in_folder(folder: TempDir) -> GatewayBuilder {
        let journal = format!(
            "kind = \"disk\"\npath = {:?}\ndisk_reserve = \"128 MiB\"",
            folder.path()
        );
        GatewayBuilder::new(&journal, Some(folder))
    }

    /// Stops it as an operator would; returns the folder.
    pub async fn stop(mut self) -> Option<TempDir> {
        self.request_stop();
        self.stopped().await.expect("the gateway stops cleanly");
        self.folder.take()
    }

    /// Asks it to stop.
    pub fn request_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).expect("the gateway runs");
        }
    }

    /// Waits until it has stopped.
    ///
    /// # Errors
    ///
    /// What it stopped for.
    pub async fn stopped(&mut self) -> Result<(), ServeError> {
        let stopped = timeout(WAIT_MAX, &mut self.running).await;
        stopped.expect("the gateway stops in time").unwrap()
    }

    /// Sets its clock to so many seconds after its start.
    pub fn set_clock(&self, secs: u64) {
        self.later_secs.store(secs, Ordering::Relaxed);
    }

    /// Moves its clock on.
    pub fn advance_clock(&self, secs: u64) {
        self.later_secs.fetch_add(secs, Ordering::Relaxed);
    }

    /// Reloads the configuration with the first of each pair replaced by the
    /// second, as the program does; keeps it if it was taken.
    ///
    /// # Errors
    ///
    /// What the gateway logs.
    pub fn reload(&mut self, changes: &[(&str, &str)]) -> Result<Reloaded, String> {
        let toml = replaced(&self.toml, changes);
        let reloaded = self.reloader.reload(config(&toml));
        let reloaded = reloaded.map_err(|error| error.to_string())?;
        self.toml = toml;
        Ok(reloaded)
    }
}

impl Deref for Gateway {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl GatewayBuilder {
    fn new(journal: &str, folder: Option<TempDir>) -> Self {
        Self {
            server: format!("listen = \"127.0.0.1:0\"\nadmin_token = \"{ADMIN_TOKEN}\""),
            journal: journal.into(),
            sections: TOPICS.into(),
            folder,
            serves: Serves::App,
            has_new_epoch: false,
        }
    }

    /// Adds a line to `[server]`.
    #[must_use]
    pub fn server(mut self, line: &str) -> Self {
        self.server = format!("{}\n{line}", self.server);
        self
    }

    /// Adds a line to `[journal]`, instead of one for the same key.
    #[must_use]
    pub fn journal(mut self, line: &str) -> Self {
        let key = line.split('=').next().unwrap();
        let others = self.journal.lines().filter(|other| !other.starts_with(key));
        self.journal = others.chain([line]).collect::<Vec<_>>().join("\n");
        self
    }

    /// Takes these lines for `[access]`, its head included.
    #[must_use]
    pub fn access(mut self, section: &str) -> Self {
        let usual = format!("[access]\nsecret = \"{TOKEN_SECRET}\"");
        self.sections = replaced(&self.sections, &[(&usual, section)]);
        self
    }

    /// Adds whole sections.
    #[must_use]
    pub fn sections(mut self, sections: &str) -> Self {
        self.sections = format!("{}\n{sections}", self.sections);
        self
    }

    /// Leaves the connections to a server that only takes a router.
    #[must_use]
    pub fn with_router_only(mut self) -> Self {
        self.serves = Serves::Router;
        self
    }

    /// Starts as `serve --new-epoch` does.
    #[must_use]
    pub fn with_new_epoch(mut self) -> Self {
        self.has_new_epoch = true;
        self
    }

    /// Starts it in this process.
    pub async fn start(self) -> Gateway {
        let started = self.try_start().await;
        started.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts it in this process.
    ///
    /// # Errors
    ///
    /// What the gateway would say.
    pub async fn try_start(self) -> Result<Gateway, String> {
        let toml = format!(
            "[server]\n{}\n[journal]\n{}\n{}",
            self.server, self.journal, self.sections
        );
        let mut config = config(&toml).map_err(|error| error.to_string())?;
        if let Backend::Disk { new_epoch, .. } = &mut config.journal.backend {
            *new_epoch = self.has_new_epoch;
        }
        let later_secs = Arc::new(AtomicU64::new(0));
        let clock = clock(&later_secs);
        let app = App::build(config, clock).await;
        let app = app.map_err(|error| error.to_string())?;
        let (router, reloader) = (app.router(), app.reloader());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            _ = stopped.await;
        };
        let running = match self.serves {
            Serves::App => tokio::spawn(app.serve(listener, shutdown)),
            Serves::Router => tokio::spawn(serve_router(app, listener, shutdown)),
        };
        Ok(Gateway {
            client: Client { address },
            folder: self.folder,
            router,
            reloader,
            toml,
            later_secs,
            stop: Some(stop),
            running,
        })
    }
}

fn clock(later_secs: &Arc<AtomicU64>) -> Clock {
    let later_secs = Arc::clone(later_secs);
    Clock::new(move || Timestamp::from_unix_secs(BEGIN_SECS + later_secs.load(Ordering::Relaxed)))
}

/// Serves as a program does that has the gateway's routes among its own.
async fn serve_router(
    app: App,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { _ = stopped.await };
    let serving = axum::serve(listener, app.router()).with_graceful_shutdown(stopped);
    let ending = async {
        shutdown.await;
        app.end_streams();
        drop(stop);
    };
    let (served, ()) = tokio::join!(serving.into_future(), ending);
    served.unwrap();
    app.close().await;
    Ok(())
}

/// Reads a configuration.
///
/// # Errors
///
/// All that is wrong with it.
pub fn config(toml: &str) -> Result<Config, ConfigError> {
    let environment = Environment::default();
    let read = |_: &std::path::Path| Ok(toml.to_owned().into_bytes());
    let sources = Sources::new(&environment)
        .with_file("test.toml".as_ref())
        .with_reader(&read);
    Config::load(sources, MissingSecrets::Create)
}

/// This text with changes, each of which has its place in it.
#[must_use]
pub fn replaced(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from:?} is not in {text}");
        text = text.replace(from, to);
    }
    text
}
