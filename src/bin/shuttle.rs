//! Hookrill under Shuttle's runtime (`shuttle run`), behind the feature
//! `shuttle`.
//!
//! `Secrets.toml` contains the variables that are in the environment elsewhere:
//! `HOOKRILL__TOPICS__GITHUB__PRESET = "github"`. The runtime chooses the
//! address; the rest is the same gateway as in the container. It reads its
//! configuration only once, because the runtime provides secrets only at the
//! start.
//!
//! Invariant: once the gateway listens, the process ends only after the drain,
//! after a second signal, or after the configured grace period.

use std::{
    ffi::OsString,
    net::SocketAddr,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::Duration,
};

use hookrill::{
    App, Config, Environment, MissingSecrets, ServeError, Sources,
    cli::serve::{Signals, listen, raise_fd_limit},
    log_to_stderr, system_clock,
};
use shuttle_runtime::{CustomError, Error, SecretStore, Service};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// The same as in the container.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much longer than its grace period the gateway may take.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// A gateway whose address is not known yet.
struct ShuttleService {
    app: App,
    /// How long the gateway may take from a signal to its end.
    shutdown_timeout: Duration,
}

#[shuttle_runtime::main]
async fn main(#[shuttle_runtime::Secrets] secrets: SecretStore) -> Result<ShuttleService, Error> {
    let environment = environment(secrets);
    let config = Config::load(Sources::new(&environment), MissingSecrets::Create)
        .map_err(CustomError::new)?;
    log_to_stderr(&config.log).map_err(CustomError::new)?;
    raise_fd_limit();
    let shutdown_timeout = shutdown_timeout(&config);
    let app = App::build(config, system_clock()).await;
    Ok(ShuttleService {
        app: app.map_err(CustomError::new)?,
        shutdown_timeout,
    })
}

/// How long the drop waits: as long as the settings allow the gateway.
fn shutdown_timeout(config: &Config) -> Duration {
    let server = &config.server;
    server.shutdown_delay + server.shutdown_grace + SPARE_TIME
}

/// The secrets, with the runtime's address instead of theirs, so that the
/// gateway's URLs are right.
fn environment(secrets: SecretStore) -> Environment {
    let named = |(name, value): (String, String)| (OsString::from(name), OsString::from(value));
    let address = runtime_address().into_iter().flat_map(|address| {
        let listen = ("HOOKRILL__SERVER__LISTEN".to_owned(), address.to_string());
        // `PORT` would win over `server.listen`.
        [listen, ("PORT".to_owned(), address.port().to_string())]
    });
    secrets.into_iter().chain(address).map(named).collect()
}

/// The address that the runtime is going to choose, from its own variables.
fn runtime_address() -> Option<SocketAddr> {
    let process = Environment::from_process();
    let ip = process.get("SHUTTLE_RUNTIME_IP")?.parse().ok()?;
    let port = process.get("SHUTTLE_RUNTIME_PORT")?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

#[shuttle_runtime::async_trait]
impl Service for ShuttleService {
    async fn bind(mut self, address: SocketAddr) -> Result<(), Error> {
        let signals = Signals::listen()?;
        let listener = listen(address).map_err(CustomError::new)?;
        tracing::info!("listening on http://{address}");
        let mut serving = ServingTask::start(self, listener, signals);
        let ended = (&mut serving.task).await.map_err(CustomError::new)?;
        Ok(ended.map_err(CustomError::new)?)
    }
}

/// A gateway that serves in a task of its own and drains when this is dropped.
///
/// At SIGTERM and SIGINT the runtime drops the future of [`Service::bind`] and
/// exits at once, with the status 10. So only the drop can wait for the drain,
/// and a drop can't await.
struct ServingTask {
    task: JoinHandle<Result<(), ServeError>>,
    drain: CancellationToken,
    /// Disconnects when the task has ended, for whatever reason.
    ended: Receiver<()>,
    shutdown_timeout: Duration,
}

impl ServingTask {
    fn start(service: ShuttleService, listener: TcpListener, signals: Signals) -> Self {
        let ShuttleService {
            app,
            shutdown_timeout,
        } = service;
        let drain = CancellationToken::new();
        let shutdown = drain.clone().cancelled_owned();
        let (running, ended) = sync_channel(0);
        #[expect(
            clippy::disallowed_methods,
            reason = "it has to outlive `bind`, and the drop waits for it"
        )]
        let task = tokio::spawn(async move {
            let _running: SyncSender<()> = running;
            tokio::select! {
                // Signals first. Otherwise a signal that arrives while the
                // drain begins would be merged with the one that began it.
                biased;
                () = second_signal(signals) => {
                    tracing::warn!("ended by a second signal, before the drain was complete");
                    Ok(())
                }
                served = app.serve(listener, shutdown) => served,
            }
        });
        Self {
            task,
            drain,
            ended,
            shutdown_timeout,
        }
    }
}

/// The runtime handles the first signal and drops the gateway. The second one
/// ends the gateway at once.
async fn second_signal(mut signals: Signals) {
    signals.next().await;
    signals.next_request().await;
}

impl Drop for ServingTask {
    /// Blocks the runtime's main thread, which has nothing else to do; the
    /// workers drain meanwhile.
    fn drop(&mut self) {
        self.drain.cancel();
        if self.ended.recv_timeout(self.shutdown_timeout) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the gateway did not end in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, io::ErrorKind, thread};

    use tokio::runtime::Runtime;

    use super::*;

    #[test]
    fn the_drop_waits_for_the_whole_delay_and_grace() {
        let environment = [
            ("HOOKRILL__SERVER__SHUTDOWN_DELAY", "20s"),
            ("HOOKRILL__SERVER__SHUTDOWN_GRACE", "300s"),
        ];
        let environment = environment.into_iter().collect();
        let sources = Sources::new(&environment).with_reader(&|_| Err(ErrorKind::NotFound.into()));
        let config = Config::load(sources, MissingSecrets::Assume).unwrap();
        assert!(shutdown_timeout(&config) > Duration::from_secs(320));
    }

    #[test]
    fn the_drop_starts_the_drain_and_does_not_wait_for_ever() {
        let runtime = Runtime::new().unwrap();
        let (_running, ended) = sync_channel(0);
        let drain = CancellationToken::new();
        let serving = ServingTask {
            task: runtime.spawn(pending()),
            drain: drain.clone(),
            ended,
            shutdown_timeout: Duration::from_millis(1),
        };
        let (dropped, waited) = sync_channel(1);
        thread::spawn(move || {
            drop(serving);
            dropped.send(())
        });
        assert_eq!(waited.recv_timeout(Duration::from_secs(30)), Ok(()));
        assert!(drain.is_cancelled());
    }
}
