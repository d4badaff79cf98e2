//! Hookrill under Shuttle's runtime (`shuttle run`), behind the feature
//! `shuttle`.
//!
//! Secrets stand in `Secrets.toml` under the names that the environment has
//! elsewhere: `HOOKRILL__TOPICS__GITHUB__PRESET = "github"`. The runtime brings
//! the address; all else is the same gateway as in the container. It reads its
//! configuration once, since the runtime gives secrets only at the start.
//!
//! Invariant: once it listens, the process does not end before the gateway has
//! drained, but by a second signal or after the configured grace.

use std::{
    ffi::OsString,
    net::SocketAddr,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    time::Duration,
};

use hookrill::{
    app::{App, ServeError, system_clock},
    cli::serve::{Signals, listen, raise_fd_limit},
    config::{Config, Environment, MissingSecrets, Sources, read_file},
    telemetry,
};
use shuttle_runtime::{CustomError, Error, SecretStore, Service};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// As in the container.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the gateway may take over its grace to say that it has ended.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// A gateway that waits for its address.
struct Gateway {
    app: App,
    /// How long it may take from a signal to its end.
    patience: Duration,
}

#[shuttle_runtime::main]
async fn main(#[shuttle_runtime::Secrets] secrets: SecretStore) -> Result<Gateway, Error> {
    let environment = environment(secrets);
    let sources = Sources {
        file: None,
        environment: &environment,
        read: &read_file,
    };
    let config = Config::load(sources, MissingSecrets::Create).map_err(CustomError::new)?;
    telemetry::log_to_stderr(&config.log).map_err(CustomError::new)?;
    raise_fd_limit(&config);
    let patience = patience(&config);
    let app = App::build(config, system_clock()).await;
    Ok(Gateway {
        app: app.map_err(CustomError::new)?,
        patience,
    })
}

/// How long the drop waits, for a gateway that keeps to its settings.
fn patience(config: &Config) -> Duration {
    let server = &config.server;
    server.shutdown_delay + server.shutdown_grace + SPARE_TIME
}

/// The secrets, and the runtime's address over theirs, so that URLs of this
/// gateway name where it really is.
fn environment(secrets: SecretStore) -> Environment {
    let named = |(name, value): (String, String)| (OsString::from(name), OsString::from(value));
    let address = runtime_address().into_iter().flat_map(|address| {
        let listen = ("HOOKRILL__SERVER__LISTEN".to_owned(), address.to_string());
        // It would be over `server.listen`.
        [listen, ("PORT".to_owned(), address.port().to_string())]
    });
    secrets.into_iter().chain(address).map(named).collect()
}

/// The address that the runtime is going to give, by what it was told itself.
fn runtime_address() -> Option<SocketAddr> {
    let process = Environment::from_process();
    let ip = process.get("SHUTTLE_RUNTIME_IP")?.parse().ok()?;
    let port = process.get("SHUTTLE_RUNTIME_PORT")?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

#[shuttle_runtime::async_trait]
impl Service for Gateway {
    async fn bind(mut self, address: SocketAddr) -> Result<(), Error> {
        let signals = Signals::listen()?;
        let listener = listen(address).map_err(CustomError::new)?;
        tracing::info!("listening on http://{address}");
        let mut serving = Serving::start(self, listener, signals);
        let ended = (&mut serving.task).await.map_err(CustomError::new)?;
        Ok(ended.map_err(CustomError::new)?)
    }
}

/// A gateway that serves in a task of its own, and drains when this is dropped.
///
/// The runtime answers SIGTERM and SIGINT by dropping what [`Service::bind`]
/// gave it and exiting at once, with the status 10. So it is in the drop that
/// the drain has to be waited for, in which nothing can be awaited.
struct Serving {
    task: JoinHandle<Result<(), ServeError>>,
    drain: CancellationToken,
    /// Hangs up when the task has ended, however it did.
    ended: Receiver<()>,
    patience: Duration,
}

impl Serving {
    fn start(gateway: Gateway, listener: TcpListener, signals: Signals) -> Self {
        let Gateway { app, patience } = gateway;
        let drain = CancellationToken::new();
        let asked = drain.clone().cancelled_owned();
        let (running, ended) = sync_channel(0);
        #[expect(
            clippy::disallowed_methods,
            reason = "it outlives `bind` on purpose, and the drop waits for it"
        )]
        let task = tokio::spawn(async move {
            let _running: SyncSender<()> = running;
            tokio::select! {
                // Signals first: what comes while the drain begins would else
                // be one with the signal that it was begun by.
                biased;
                () = second_of(signals) => {
                    tracing::warn!("ended by a second signal, before the drain was complete");
                    Ok(())
                }
                ended = app.serve(listener, asked) => ended,
            }
        });
        Self {
            task,
            drain,
            ended,
            patience,
        }
    }
}

/// The first signal is the runtime's, which drops the gateway; a second one
/// ends it at once.
async fn second_of(mut signals: Signals) {
    signals.next().await;
    signals.next().await;
}

impl Drop for Serving {
    /// Blocks the runtime's main thread, which does nothing else; its workers
    /// drain meanwhile.
    fn drop(&mut self) {
        self.drain.cancel();
        if self.ended.recv_timeout(self.patience) == Err(RecvTimeoutError::Timeout) {
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
    fn a_gateway_that_takes_all_of_its_delay_and_grace_is_waited_for() {
        let environment = [
            ("HOOKRILL__SERVER__SHUTDOWN_DELAY", "20s"),
            ("HOOKRILL__SERVER__SHUTDOWN_GRACE", "300s"),
        ];
        let sources = Sources {
            file: None,
            environment: &environment.into_iter().collect(),
            read: &|_| Err(ErrorKind::NotFound.into()),
        };
        let config = Config::load(sources, MissingSecrets::Assume).unwrap();
        assert!(patience(&config) > Duration::from_secs(320));
    }

    #[test]
    fn a_gateway_that_does_not_end_is_asked_to_and_not_waited_for_for_ever() {
        let runtime = Runtime::new().unwrap();
        let (_running, ended) = sync_channel(0);
        let drain = CancellationToken::new();
        let serving = Serving {
            task: runtime.spawn(pending()),
            drain: drain.clone(),
            ended,
            patience: Duration::from_millis(1),
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
