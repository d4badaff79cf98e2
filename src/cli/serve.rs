//! What `hookrill serve` needs around the gateway: its arguments, the socket,
//! the signals, and the banner. `main` puts the parts together; the binary for
//! Shuttle's runtime uses some of them too.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use hookrill_core::Clock;
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{Context, output, reload::ReloadLoop, token, watch::RecordingReader};
use crate::{
    access::Claims,
    app::{App, BuildError, Reloader, raise_open_files_limit},
    config::{Config, ConfigError, MissingSecrets, ZeroConfig},
    journal::{self, OpenError},
    telemetry::{COMMIT, LogFormat},
};

pub use super::watch::ConfigWatch;

/// How many connections the system queues until they are accepted: after a
/// restart all clients come back at once.
const BACKLOG: u32 = 4096;
/// How long the token in the printed URL is valid.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Accept that the journal may have lost events, for example after restoring
    /// a backup. The journal gets a new epoch, and subscribers are sent a gap
    #[arg(long)]
    new_epoch: bool,
}

/// The configuration to serve with, and a watch over the files that it was read
/// from. Creates the secrets where there is no configuration.
///
/// # Errors
///
/// Everything that is wrong with the configuration.
pub fn config(args: &Args, context: &Context) -> Result<(Config, ConfigWatch), ConfigError> {
    let reader = RecordingReader::default();
    let mut config = context.config_recording(MissingSecrets::Create, &reader)?;
    if let journal::Backend::Disk { new_epoch, .. } = &mut config.journal.backend {
        *new_epoch = args.new_epoch;
    }
    Ok((config, ConfigWatch::new(reader.into_stamps())))
}

/// Raises the limit of open files, since every connection takes one. The server
/// says if it stays too low for the configured number of subscribers.
pub fn raise_fd_limit() {
    if let Err(error) = raise_open_files_limit() {
        tracing::warn!(%error, "the open-file limit cannot be raised");
    }
}

/// Why the socket can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}{hint}")]
pub struct ListenError {
    address: SocketAddr,
    /// What to do, in parentheses; or nothing.
    hint: &'static str,
    source: io::Error,
}

/// Opens the socket.
///
/// # Errors
///
/// [`ListenError`], which says what to do.
pub fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // Without it, a restart would have to wait until the system has
        // forgotten the last connections.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                " (stop the program that uses it, or set server.listen or PORT)"
            }
            io::ErrorKind::AddrNotAvailable => " (set server.listen to an address of this machine)",
            io::ErrorKind::PermissionDenied => " (set server.listen or PORT to 1024 or above)",
            _ => "",
        };
        ListenError {
            address,
            hint,
            source: error,
        }
    })
}

/// Why a gateway can't be built, with what to do about it.
pub fn advised(error: BuildError) -> anyhow::Error {
    if let BuildError::Journal(OpenError::Locked { .. }) = error {
        anyhow!("{error} (stop that process, or give this one another folder: journal.path)")
    } else {
        error.into()
    }
}

/// Signals within this time are one: GNU timeout, `tini -g`, npm and a shell's job
/// control send the same one to the process and to its group.
const SAME_REQUEST: Duration = Duration::from_secs(1);

/// The signals that ask a process to end: SIGTERM, and Ctrl-C.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Caught, so that a file at its size limit is a failed write, which the
    /// journal handles, instead of the end of the process.
    _file_size: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// Completes when the next one arrives.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Completes when somebody insists: when another one arrives that is not part of
    /// the same request as the one that arrived just now.
    pub async fn next_request(&mut self) {
        let begun = Instant::now();
        loop {
            self.next().await;
            if begun.elapsed() >= SAME_REQUEST {
                return;
            }
        }
    }
}

/// The signal that asks a process to read its configuration again.
pub struct Hangup(Signal);

impl Hangup {
    /// Installs the handler. Without one, the signal ends the process.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn listen() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }
}

/// Reads the configuration again whenever there is a reason to, and hands it
/// to the gateway, until the future is dropped.
pub async fn reload(
    context: &Context,
    watch: ConfigWatch,
    hangup: Hangup,
    reloader: Reloader,
) -> Infallible {
    let reload_loop = ReloadLoop {
        context: context.clone(),
        watch,
        reloader,
    };
    reload_loop.run(hangup.0).await
}

/// Says where the gateway listens, and what it is. Where there is no configuration, also
/// prints how to subscribe and how to send.
pub fn print_banner(config: &Config, app: &App, clock: &Clock) {
    let file = config.file.as_ref().map(|file| file.display().to_string());
    let named = config.topics.named().count();
    let topics = named + usize::from(config.topics.any().is_some());
    let (epoch, events) = (app.epoch(), app.events());
    let (version, commit) = (env!("CARGO_PKG_VERSION"), COMMIT);
    tracing::info!(version, commit, file, topics, %epoch, events, "the gateway starts");
    let address = config.listen;
    if config.log.format == LogFormat::Json {
        tracing::info!("listening on http://{address}");
    } else {
        output::status(format_args!("listening on http://{address}"));
    }
    if let Some(zero_config) = &config.zero_config {
        output::status(format_args!("{}", first_steps(config, zero_config, clock)));
    }
}

fn first_steps(config: &Config, zero_config: &ZeroConfig, clock: &Clock) -> String {
    let url = config.local_url();
    let folder = zero_config.folder.display();
    let origin = if zero_config.created {
        "has just created"
    } else {
        "uses"
    };
    let everything = Claims {
        topics: vec!["*".to_owned()],
        ..Claims::default()
    };
    let token = token::mint(config, everything, TOKEN_TTL, clock).unwrap_or_default();
    let program = program();
    // The other terminal does not have this process's environment.
    let variables = match folder.to_string().as_str() {
        "data" => String::new(),
        other => format!("HOOKRILL__JOURNAL__PATH={} ", shell_quoted(other)),
    };
    let gateway = match config.listen.port() {
        8080 => String::new(),
        _ => format!(" --url {url}"),
    };
    format!(
        "
There is no configuration, so Hookrill {origin} the secrets in {folder}/,
readable by you alone. It accepts every topic, as long as deliveries are signed
with {folder}/webhook-secret (Standard Webhooks).

Watch, in another terminal or in a browser (the token is valid for a day):

  curl -N '{url}/events/hello?token={token}'

Send an event:

  {variables}{program} send hello '{{\"text\":\"Hello, world\"}}'{gateway}

Bring events to a program of your own, here one that listens on port 3000:

  {variables}{program} forward hello 3000{gateway}
"
    )
}

/// This program as it was called, so that what is printed can be pasted.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if called.is_empty() || !called.chars().all(is_plain) {
        "hookrill".to_owned()
    } else {
        called
    }
}

/// The text as one word for a shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
