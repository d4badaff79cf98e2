//! What `hookrill serve` needs around the gateway: its arguments, the socket,
//! the signals, and what a newcomer is told. `main` puts it together, and so
//! does the program for Shuttle's runtime with what it needs of this.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use hookrill_core::Clock;
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{Context, output, reload::Reloads, token, watch::Reading};
use crate::{
    access::Claims,
    app::{Reloader, SPARE_CONNECTIONS, raise_open_files_limit},
    config::{Config, ConfigError, MissingSecrets, ZeroConfig},
    journal,
    telemetry::LogFormat,
};

pub use super::watch::Watch;

/// Connections that the system keeps until they are accepted: many come at
/// once when clients return after a restart.
const BACKLOG: u32 = 4096;
/// How long a newcomer's ready URL is good.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Accept that the journal may have lost events, after a backup was
    /// restored: it gets a new name, and subscribers are told of the gap
    #[arg(long)]
    new_epoch: bool,
}

/// The configuration to serve with, and the files that it was read from. A
/// newcomer's secrets are made here.
///
/// # Errors
///
/// All that is wrong with it.
pub fn config(args: &Args, context: &Context) -> Result<(Config, Watch), ConfigError> {
    let reading = Reading::default();
    let mut config = context.config_by(MissingSecrets::Create, &reading)?;
    if let journal::Backend::Disk { new_epoch, .. } = &mut config.journal.backend {
        *new_epoch = args.new_epoch;
    }
    Ok((config, Watch::new(reading.looks())))
}

/// Raises the limit of open files, since every connection takes one, and warns
/// where it stays too low for the configured subscribers.
pub fn raise_limits(config: &Config) {
    let wanted = config.server.subscribers_max as u64 + SPARE_CONNECTIONS as u64;
    match raise_open_files_limit() {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "fewer open files than subscribers_max needs; raise the hard limit (ulimit -Hn)"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// Opens the socket.
///
/// # Errors
///
/// As the system says, with the address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // Or a restart would wait for the last connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; end what listens there, or set server.listen or PORT",
            io::ErrorKind::AddrNotAvailable => "; set server.listen to an address of this machine",
            io::ErrorKind::PermissionDenied => "; set server.listen or PORT to 1024 or above",
            _ => "",
        };
        io::Error::new(error.kind(), format!("{address}: {error}{hint}"))
    })
}

/// The signals that ask a process to end: SIGTERM, and Ctrl-C.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Caught, so that a file that may not grow is a write that fails, which
    /// the journal answers for, and not the end of the process.
    _file_size: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Completes with the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The signal that asks a process to read its configuration again.
pub struct Hangup(Signal);

impl Hangup {
    /// Listens from now on: until then, it would end the process.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn listen() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }
}

/// Reads the configuration again whenever there is a reason to, and gives it
/// to the gateway; until it is dropped.
pub async fn reload(
    context: &Context,
    watch: Watch,
    hangup: Hangup,
    reloader: Reloader,
) -> Infallible {
    let reloads = Reloads {
        context: context.clone(),
        watch,
        reloader,
    };
    reloads.run(hangup.0).await
}

/// Says that the gateway listens, and to a newcomer what to do next.
pub fn greet(config: &Config, address: SocketAddr, clock: &Clock) {
    if config.log.format == LogFormat::Json {
        tracing::info!("listening on http://{address}");
    } else {
        output::talk(format_args!("listening on http://{address}"));
    }
    if let Some(zero_config) = &config.zero_config {
        let local = Config {
            listen: address,
            ..config.clone()
        };
        output::talk(format_args!("{}", welcome(&local, zero_config, clock)));
    }
}

fn welcome(config: &Config, zero_config: &ZeroConfig, clock: &Clock) -> String {
    let url = config.local_url();
    let folder = zero_config.folder.display();
    let verb = if zero_config.created { "made" } else { "kept" };
    let everything = Claims {
        topics: vec!["*".to_owned()],
        ..Claims::default()
    };
    let token = token::mint(config, everything, TOKEN_TTL, clock).unwrap_or_default();
    let program = program();
    // Other shells know nothing of this process's environment.
    let place = match folder.to_string().as_str() {
        "data" => String::new(),
        other => format!("HOOKRILL__JOURNAL__PATH={} ", quoted(other)),
    };
    let gateway = match config.listen.port() {
        8080 => String::new(),
        _ => format!(" --url {url}"),
    };
    format!(
        "
There is no configuration, so this takes any topic that is signed with the
secret in {folder}/webhook-secret (Standard Webhooks). Secrets were {verb} in
{folder}/, readable by you alone.

Watch, in another terminal or in a browser (the token is good for a day):

  curl -N '{url}/events/hello?token={token}'

Send an event:

  {place}{program} send hello '{{\"text\":\"Hello, world\"}}'{gateway}
"
    )
}

/// This program as it was called, so that what is printed can be pasted.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match called.is_empty() || !called.chars().all(plain) {
        true => "hookrill".to_owned(),
        false => called,
    }
}

/// A word as a shell reads it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
