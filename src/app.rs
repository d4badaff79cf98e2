//! Builds everything and owns it: what runs, what ends it, and in what order.
//!
//! Reads no arguments and no environment. Invariant: every task belongs to the
//! app, and after [`App::serve`] none of them runs any more.

mod reload;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use axum::Router;
use hookrill_core::{Clock, TopicMap};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{interval, sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

pub use crate::http::{SPARE_CONNECTIONS, raise_open_files_limit};
use crate::{
    access::Access,
    config::{Config, TopicSettings},
    http::{Gateway, Server},
    hub::{self, Hub},
    identity::{self, KeySets, Revocations},
    ingest::{Ingest, IngestRoute, ProvisionedSecretError, ProvisionedSecrets},
    journal::{self, CommitMetrics, Journal, ReadError},
    subscribe::Streams,
    telemetry::{Telemetry, UPKEEP_EVERY},
    wire::Encoder,
};
use reload::Running;
pub use reload::{ReloadError, Reloaded, Reloader};

/// About how many bytes of the newest frames are kept in memory.
const RING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Which part of the grace connections have; the journal's closing has the
/// rest.
const CONNECTIONS_SHARE: f64 = 0.75;
/// What readiness says once the gateway was told to stop.
const STOPPING: &str = "the gateway is about to stop";

/// A gateway that runs.
pub struct App {
    journal: Arc<dyn Journal>,
    streams: Arc<Streams>,
    gateway: Arc<Gateway>,
    telemetry: Arc<Telemetry>,
    reloader: Reloader,
    shutdown_delay: Duration,
    shutdown_grace: Duration,
    background: Background,
}

/// Why no gateway could be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The journal can't be opened.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// A secret that a provider handed over can't be read.
    #[error(transparent)]
    HandedOver(#[from] ProvisionedSecretError),
    /// What was revoked can't be read.
    #[error(transparent)]
    Revocations(#[from] identity::OpenError),
    /// The metrics can't be set up.
    #[error("metrics cannot be set up: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// Why a gateway stopped by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the gateway stopped: {reason}")]
pub struct ServeError {
    reason: String,
}

/// The system's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Clock::new(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where the time comes from"
        )]
        let now = SystemTime::now();
        now.into()
    })
}

impl App {
    /// Opens the journal and starts all that works without a socket.
    ///
    /// # Errors
    ///
    /// [`BuildError`], which says what to do about it.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, BuildError> {
        let telemetry = Telemetry::new()?;
        let measures = CommitMetrics {
            commit_secs: telemetry.commit_secs.clone(),
            commit_events: telemetry.commit_events.clone(),
        };
        let handed = Arc::new(ProvisionedSecrets::new(folder(&config.journal)));
        let journal = journal::open(config.journal.clone(), clock.clone(), measures).await?;
        let routes = routes(&config);
        adopt(&routes, &handed)?;
        warn_of_routes(&routes);
        let encoder = Encoder {
            epoch: journal.epoch(),
            public_url: config.public_url.as_str().into(),
            views: config.views(),
        };
        let hub = Hub::new(journal.head(), RING_BYTES_MAX, encoder);
        let access = Arc::new(Access::new(&config.access));
        let streams = Streams::new(
            Arc::clone(&journal),
            Arc::clone(&hub),
            Arc::clone(&access),
            config.subscribe.clone(),
            clock.clone(),
            Arc::clone(&telemetry),
        );
        let ingest = Ingest::new(
            routes,
            Arc::clone(&handed),
            Arc::clone(&journal),
            clock.clone(),
            Arc::clone(&telemetry),
        );
        let withheld = ingest.count_withheld();
        let key_sets = KeySets::new(
            Arc::clone(&access),
            identity::Settings::default(),
            Arc::clone(&telemetry),
        );
        let kept_in = folder(&config.journal).map(Path::to_path_buf);
        let revocations = Revocations::open(Arc::clone(&access), kept_in).await?;
        let gateway = Gateway::new(
            config.server.clone(),
            ingest,
            Arc::clone(&access),
            Arc::clone(&key_sets),
            revocations,
            Arc::clone(&streams),
            clock,
            Arc::clone(&telemetry),
        );
        let background = Background::start(&journal, &hub, &streams, &telemetry);
        background.run(heed_dropped_keys(
            Arc::clone(&key_sets),
            Arc::clone(&streams),
        ));
        background.run(count_withheld(withheld));
        let keeper = Arc::clone(&key_sets);
        background.run(async move { keeper.keep().await });
        let shutdown_delay = config.server.shutdown_delay;
        let shutdown_grace = config.server.shutdown_grace;
        let reloader = Reloader::of(Running {
            at_start: config.clone(),
            config: Mutex::new(config),
            access,
            key_sets,
            streams: Arc::clone(&streams),
            handed,
            gateway: Arc::clone(&gateway),
            telemetry: Arc::clone(&telemetry),
        });
        Ok(Self {
            journal,
            streams,
            gateway,
            telemetry,
            reloader,
            shutdown_delay,
            shutdown_grace,
            background,
        })
    }

    /// What gives this gateway another configuration while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The routes, for a server that only takes a router. When that is to
    /// stop: [`App::end_streams`], the server's own drain, [`App::close`].
    pub fn router(&self) -> Router {
        self.gateway.router()
    }

    /// Ends every stream and refuses new ones.
    pub fn end_streams(&self) {
        self.telemetry.readiness.set_unready(STOPPING);
        self.streams.drain();
    }

    /// Stops what runs in the background and closes the journal, within its
    /// part of the grace.
    pub async fn close(self) {
        self.background.stop().await;
        let rest = self.shutdown_grace.mul_f64(1.0 - CONNECTIONS_SHARE);
        if timeout(rest, self.journal.close()).await.is_err() {
            tracing::warn!("the journal did not close in time; what it acknowledged is safe");
        }
        tracing::info!("stopped");
    }

    /// Serves `listener` until `shutdown` completes or the gateway fails. Told
    /// to stop, it turns unready and serves on for the configured delay. Then
    /// it drains: readiness off, no new connections, streams ended, requests
    /// under way answered, journal closed, all within the configured grace.
    ///
    /// # Errors
    ///
    /// [`ServeError`] where the gateway failed; it has drained all the same.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let server = Server::new(&self.gateway);
        let ended = tokio::select! {
            biased;
            reason = self.background.failed() => Err(ServeError { reason }),
            () = self.stopped_by(shutdown) => Ok(()),
            never = server.accept(&listener) => match never {},
        };
        if let Err(error) = &ended {
            tracing::error!(%error, "draining");
        }
        self.end_streams();
        drop(listener);
        self.drain(&server).await;
        ended
    }

    /// Completes when it is time to drain: whoever routes to this gateway has
    /// had the delay to see that it is not ready, and to route elsewhere.
    async fn stopped_by(&self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.telemetry.readiness.set_unready(STOPPING);
        if !self.shutdown_delay.is_zero() {
            tracing::info!(delay = ?self.shutdown_delay, "not ready any more, and serving on");
            sleep(self.shutdown_delay).await;
        }
    }

    async fn drain(self, server: &Server) {
        tracing::info!("draining");
        let drained = server
            .drain(self.shutdown_grace.mul_f64(CONNECTIONS_SHARE))
            .await;
        if drained.cut > 0 {
            tracing::warn!(cut = drained.cut, "connections did not end in time");
        }
        self.close().await;
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App")
    }
}

fn routes(config: &Config) -> TopicMap<Arc<IngestRoute>> {
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

/// The journal's folder, if it has one: what is kept there is as safe as
/// events are.
fn folder(journal: &journal::Settings) -> Option<&Path> {
    match &journal.backend {
        journal::Backend::Disk { path, .. } => Some(path),
        _ => None,
    }
}

/// Gives routes the secrets that providers have handed over.
fn adopt(
    routes: &TopicMap<Arc<IngestRoute>>,
    handed: &ProvisionedSecrets,
) -> Result<(), ProvisionedSecretError> {
    for (topic, route) in routes.named() {
        if !route.verifier().awaits_secret() {
            continue;
        }
        if let Some(secret) = handed.load(topic)? {
            route.install_secret(secret);
        }
    }
    Ok(())
}

fn warn_of_routes(routes: &TopicMap<Arc<IngestRoute>>) {
    let awaiting = routes.named();
    for (topic, _) in awaiting.filter(|(_, route)| route.verifier().awaits_secret()) {
        tracing::warn!(%topic, "takes the first secret that is handed over to it");
    }
    // A file without topics ends the start without a file, which takes all.
    if routes.any().is_none() && routes.named().next().is_none() {
        tracing::warn!(
            "no topics are configured: every delivery and every subscription is refused"
        );
    }
}

/// Streams end whose token was signed with a key that its issuer withdrew.
async fn heed_dropped_keys(key_sets: Arc<KeySets>, streams: Arc<Streams>) {
    loop {
        key_sets.dropped_a_key().await;
        streams.recheck_grants();
    }
}

/// The tasks that run beside the connections.
struct Background {
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends the tasks where the app is dropped without having served.
    _stop: DropGuard,
    failure: watch::Receiver<Option<String>>,
}

impl Background {
    fn start(
        journal: &Arc<dyn Journal>,
        hub: &Arc<Hub>,
        streams: &Arc<Streams>,
        telemetry: &Arc<Telemetry>,
    ) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (failed, failure) = watch::channel(None);
        let run = |task: futures_util::future::BoxFuture<'static, ()>| {
            tasks.spawn(stop.clone().run_until_cancelled_owned(task));
        };
        run(Box::pin(watch_over(
            Arc::clone(journal),
            Arc::clone(hub),
            Arc::clone(telemetry),
            failed,
        )));
        run(Box::pin(keep_figures(
            Arc::clone(journal),
            Arc::clone(hub),
            Arc::clone(telemetry),
        )));
        let streams = Arc::clone(streams);
        run(Box::pin(async move { streams.run_heartbeats().await }));
        Self {
            tasks,
            _stop: stop.clone().drop_guard(),
            stop,
            failure,
        }
    }

    /// Runs this beside the rest, until all of it stops.
    fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(stop.run_until_cancelled_owned(task));
    }

    /// Completes when the gateway can't do its work any more.
    async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        let told = failure
            .wait_for(Option::is_some)
            .await
            .map(|told| told.clone());
        match told {
            Ok(Some(reason)) => reason,
            // The task that would say so is gone.
            Ok(None) | Err(_) => "the pump panicked".to_owned(),
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Runs the pump until it or the journal fails, and says so.
async fn watch_over(
    journal: Arc<dyn Journal>,
    hub: Arc<Hub>,
    telemetry: Arc<Telemetry>,
    failed: watch::Sender<Option<String>>,
) {
    let reason = tokio::select! {
        reason = journal.failed() => reason,
        ended = hub::pump(hub, Arc::clone(&journal)) => match ended {
            Ok(()) => "the pump stopped".to_owned(),
            Err(error) => error.to_string(),
        },
    };
    telemetry.readiness.set_unready(reason.as_str());
    failed.send_replace(Some(reason));
}

/// Counts withheld events for as long as the journal can be followed.
async fn count_withheld(counting: impl Future<Output = Result<(), ReadError>>) {
    if let Err(error) = counting.await {
        tracing::warn!(%error, "withheld events are not counted any more");
    }
}

/// Keeps the figures up to date that no room counts as it goes.
async fn keep_figures(journal: Arc<dyn Journal>, hub: Arc<Hub>, telemetry: Arc<Telemetry>) {
    let mut ticks = interval(UPKEEP_EVERY);
    loop {
        ticks.tick().await;
        let (head, done) = (journal.head(), hub.published());
        telemetry.journal_head.set(head.0 as f64);
        telemetry.journal_floor.set(journal.floor().0 as f64);
        telemetry.pump_lag.set(head.0.saturating_sub(done.0) as f64);
        telemetry.upkeep();
    }
}
