//! Builds everything and owns it: what runs, what stops it, and in what order.
//!
//! Reads no arguments and no environment. Invariant: every task belongs to the
//! app, and none of them runs any more once [`App::serve`] has returned.

mod background;
mod error;
mod reload;
mod routes;

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::Router;
use hookrill_core::{Clock, ClockJump, Epoch, SteadyClock, Timestamp};
use humantime::format_duration;
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};

pub use crate::http::raise_open_files_limit;
use crate::{
    access::Access,
    config::Config,
    http::{Gateway, Server},
    hub::Hub,
    identity::{self, KeySets, Revocations},
    ingest::Ingest,
    journal::{self, CommitMetrics, Journal},
    subscribe::Streams,
    telemetry::{Telemetry, with_causes},
    wire::Encoder,
};
use background::BackgroundTasks;
pub use error::{BuildError, ServeError};
use reload::Targets;
pub use reload::{ReloadError, Reloaded, Reloader};

/// About how many bytes of the newest frames stay in memory.
const RING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The share of the grace period that connections get. The rest is for closing
/// the journal.
const CONNECTIONS_SHARE: f64 = 0.75;
/// The reason that `/readyz` gives once the gateway was told to stop.
const STOPPING: &str = "the gateway is stopping";

/// A running gateway.
pub struct App {
    journal: Arc<dyn Journal>,
    streams: Arc<Streams>,
    gateway: Arc<Gateway>,
    telemetry: Arc<Telemetry>,
    reloader: Reloader,
    shutdown_delay: Duration,
    shutdown_grace: Duration,
    background: BackgroundTasks,
}

/// The system's clock.
#[must_use]
pub fn system_clock() -> Clock {
    let wall = || {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is where the time comes from"
        )]
        let now = SystemTime::now();
        Timestamp::from(now)
    };
    let (started, started_at) = (Instant::now(), wall());
    Clock::with_monotonic(wall, move || started_at.plus(started.elapsed()))
}

impl App {
    /// Opens the journal and starts everything that needs no socket.
    ///
    /// # Errors
    ///
    /// [`BuildError`], which says what to do about it.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, BuildError> {
        routes::log_warnings(&config);
        let telemetry = Telemetry::new()?;
        telemetry.started(clock.now());
        let steady_clock = SteadyClock::new(clock.clone(), log_clock_jump);
        let journal = open_journal(&config, &steady_clock, &telemetry).await?;
        let (routes, provisioned) = routes::at_start(&config, folder(&config.journal), &telemetry)?;
        let hub = new_hub(&config, &*journal);
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
            Arc::clone(&provisioned),
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
        let revocations = folder(&config.journal).map(Path::to_path_buf);
        let revocations = Revocations::open(Arc::clone(&access), revocations, steady_clock).await?;
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
        let background = BackgroundTasks::start(&journal, &hub, &streams, &key_sets, &telemetry);
        background.spawn(background::count_withheld(withheld));
        background.spawn(background::report_left_out_lines(Arc::clone(&gateway)));
        let (shutdown_delay, shutdown_grace) =
            (config.server.shutdown_delay, config.server.shutdown_grace);
        let reloader = Reloader::new(Targets {
            at_start: config.clone(),
            in_use: Mutex::new(config),
            access,
            key_sets,
            streams: Arc::clone(&streams),
            provisioned,
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

    /// Gives this gateway a new configuration while it runs.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// The routes, for a server of your own. To stop that server: call
    /// [`App::end_streams`], drain the server, then call [`App::close`].
    pub fn router(&self) -> Router {
        self.gateway.router()
    }

    /// The name of the journal.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.journal.epoch()
    }

    /// How many events are stored.
    #[must_use]
    pub fn events(&self) -> u64 {
        let (head, floor) = (self.journal.head(), self.journal.floor());
        head.0.saturating_sub(floor.0)
    }

    /// Ends every stream and refuses new ones.
    pub fn end_streams(&self) {
        self.telemetry.readiness.set_unready(STOPPING);
        self.streams.drain();
    }

    /// Stops the background tasks and closes the journal, within the journal's
    /// share of the grace period.
    pub async fn close(self) {
        self.background.stop().await;
        self.gateway.report_last_left_out_lines();
        let grace = self.shutdown_grace.mul_f64(1.0 - CONNECTIONS_SHARE);
        if timeout(grace, self.journal.close()).await.is_err() {
            tracing::warn!("the journal did not close in time; acknowledged events are safe");
        }
        tracing::info!("stopped");
    }

    /// Serves `listener` until `shutdown` completes or the gateway fails.
    ///
    /// When `shutdown` completes, `/readyz` answers 503 at once, and everything
    /// else goes on for [`shutdown_delay`]. Then the gateway drains: it accepts
    /// no new connections, ends the streams, answers the requests in progress
    /// and closes the journal, all within [`shutdown_grace`].
    ///
    /// # Errors
    ///
    /// [`ServeError`] if the gateway failed. It has drained in that case, too.
    ///
    /// [`shutdown_delay`]: crate::http::Settings::shutdown_delay
    /// [`shutdown_grace`]: crate::http::Settings::shutdown_grace
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServeError> {
        let server = Server::new(&self.gateway);
        let ended = tokio::select! {
            biased;
            error = self.background.failed() => Err(error),
            () = self.delayed(shutdown) => Ok(()),
            never = server.accept(&listener) => match never {},
            never = server.watch_peers(&listener) => match never {},
        };
        if let Err(error) = &ended {
            tracing::error!(error = %with_causes(error), "the gateway failed");
        }
        self.end_streams();
        drop(listener);
        self.drain(&server).await;
        ended
    }

    /// Completes when it is time to drain: the shutdown delay after `shutdown`,
    /// in which load balancers notice that `/readyz` fails and stop sending
    /// requests here.
    async fn delayed(&self, shutdown: impl Future<Output = ()>) {
        shutdown.await;
        self.telemetry.readiness.set_unready(STOPPING);
        if !self.shutdown_delay.is_zero() {
            tracing::info!(
                delay = ?self.shutdown_delay,
                "/readyz answers 503 from now on; still serving until the delay is over"
            );
            sleep(self.shutdown_delay).await;
        }
    }

    async fn drain(self, server: &Server) {
        tracing::info!("draining");
        let drained = server
            .drain(self.shutdown_grace.mul_f64(CONNECTIONS_SHARE))
            .await;
        if drained.cut > 0 {
            tracing::warn!(
                cut = drained.cut,
                "some connections did not end in time and were cut"
            );
        }
        self.close().await;
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("App")
    }
}

async fn open_journal(
    config: &Config,
    clock: &SteadyClock,
    telemetry: &Telemetry,
) -> Result<Arc<dyn Journal>, journal::OpenError> {
    let metrics = CommitMetrics {
        commit_secs: telemetry.commit_secs.clone(),
        commit_events: telemetry.commit_events.clone(),
    };
    journal::open(config.journal.clone(), clock.clone(), metrics).await
}

/// Says what the clock did, since what is deleted depends on it.
fn log_clock_jump(jump: ClockJump) {
    match jump {
        ClockJump::Noticed {
            is_ahead,
            width,
            hold,
        } => {
            let (width, hold) = (format_duration(width), format_duration(hold));
            let direction = if is_ahead { "ahead" } else { "back" };
            tracing::warn!(
                "the clock was set {direction} by {width}; what deletes and forgets goes by the \
                 old time until the new one has held for {hold}"
            );
        }
        ClockJump::Resumed { width, hold } => {
            let (width, hold) = (format_duration(width), format_duration(hold));
            tracing::info!(
                "the newest event is {width} old; if that is because the clock is wrong, there \
                 are {hold} to set it right before anything is deleted by age"
            );
        }
        ClockJump::Held { width } => {
            let width = format_duration(width);
            tracing::info!("what deletes and forgets goes by the clock again, {width} apart");
        }
        ClockJump::Undone => tracing::info!("the clock is set right again"),
    }
}

fn new_hub(config: &Config, journal: &dyn Journal) -> Arc<Hub> {
    let encoder = Encoder {
        epoch: journal.epoch(),
        public_url: config.public_url.as_str().into(),
        views: config.views(),
    };
    Hub::new(journal.head(), RING_BYTES_MAX, encoder)
}

/// The journal's folder, if it has one. Secrets and revocations are kept there
/// as well, so that they are as durable as events.
fn folder(journal: &journal::Settings) -> Option<&Path> {
    match &journal.backend {
        journal::Backend::Disk { path, .. } => Some(path),
        _ => None,
    }
}
