//! The command line: parses the arguments and runs the command.
//!
//! One file per command. Results go to stdout, everything else to stderr. The
//! exit status is 0 on success, 1 on failure or when the answer is no, 2 for
//! wrong usage. Only here and in `main` may errors be `anyhow`'s.

pub mod address;
mod admin;
mod backup;
mod captured;
mod check;
mod completions;
mod deliveries;
mod explain;
mod forward;
mod health;
mod journal;
mod output;
mod plain;
mod presets;
mod reload;
mod resend;
mod send;
pub mod serve;
mod tail;
mod token;
mod verify;
mod watch;

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Arg, Parser, Subcommand, builder::TypedValueParser, error::ErrorKind};
use hookrill_core::{Clock, printable, without_secrets};

use crate::{
    app::system_clock,
    config::{Config, ConfigError, Environment, GatewayPlace, MissingSecrets, Sources},
    journal::Backend,
};
pub use output::exit_code;
use output::{NegativeResult, UsageError};
use watch::RecordingReader;

/// What the commands send as `User-Agent`.
const USER_AGENT: &str = concat!("hookrill/", env!("CARGO_PKG_VERSION"));

/// The most that is repeated of a URL, in characters.
const URL_CHARS_MAX: usize = 200;

/// The arguments of the process.
#[derive(Debug, Parser)]
#[command(name = "hookrill", version = crate::telemetry::VERSION, about, max_term_width = 100)]
pub struct CommandLine {
    /// The configuration file [default: $HOOKRILL_CONFIG, or else ./hookrill.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum Command {
    /// Run the gateway
    Serve(serve::Args),
    /// Sign an event as its topic requires, and send it to a gateway
    Send(send::Args),
    /// Print events as they arrive; reconnects and resumes
    Tail(tail::Args),
    /// Bring deliveries to a program on this machine, as they came; resumes, waits, replays
    ///
    /// Each delivery has its method, path, query, headers and bytes, so that the program's own
    /// check of signatures passes. A program that is down is waited for, and nothing is lost.
    #[command(visible_alias = "listen")]
    Forward(forward::Args),
    /// Send deliveries again that a gateway has, by their ids, then end
    Resend(resend::Args),
    /// Create a subscriber token
    Token(token::Args),
    /// Ask a running gateway whether it is healthy
    Health(health::Args),
    /// Check the configuration and list every mistake and warning, with its line
    Check(check::Args),
    /// List the providers whose signatures Hookrill knows, or show one in full
    Presets(presets::Args),
    /// Check a captured delivery's signature offline and explain failures
    Verify(verify::Args),
    /// List what came to a gateway, refused deliveries too
    Deliveries(deliveries::Args),
    /// Explain why a gateway refused a delivery; with --take, store it once it verifies
    Explain(explain::Args),
    /// Look after a journal's folder
    Journal(journal::Args),
    /// Copy the journal's folder, also while a gateway uses it
    ///
    /// Copies events, dedup entries, revocations and secrets. The copy is whole once the
    /// command has ended with success. It contains secrets: keep it as you keep those.
    Backup(backup::BackupArgs),
    /// Put a backup in place, under a new epoch
    ///
    /// Checks the backup first. Subscribers that come back are sent a gap, since what was
    /// stored after the backup is not there; no id is given out twice.
    Restore(backup::RestoreArgs),
    /// Print a script by which a shell completes commands and options
    Completions(completions::Args),
}

/// What all commands need.
#[derive(Clone)]
pub struct Context {
    environment: Environment,
    file: Option<PathBuf>,
    clock: Clock,
}

impl CommandLine {
    /// Parses the arguments of this process.
    ///
    /// # Errors
    ///
    /// For wrong arguments, `--help` and `--version`: the exit status, after
    /// the message was printed.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        Self::try_parse_from(arguments).map_err(|error| {
            // Where stdout or stderr is closed, nobody reads it.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        })
    }
}

impl Context {
    /// The context of this process.
    #[must_use]
    pub fn from_process(line: &CommandLine) -> Self {
        Self {
            environment: Environment::from_process(),
            file: line.config.clone(),
            clock: system_clock(),
        }
    }

    /// Loads the configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn config(&self, missing: MissingSecrets) -> Result<Config, ConfigError> {
        Config::load(self.sources(), missing)
    }

    /// Loads the configuration and records which files it was read from.
    fn config_recording(
        &self,
        missing: MissingSecrets,
        reader: &RecordingReader,
    ) -> Result<Config, ConfigError> {
        let read = |path: &Path| reader.read(path);
        Config::load(self.sources().with_reader(&read), missing)
    }

    fn sources(&self) -> Sources<'_> {
        let sources = Sources::new(&self.environment);
        match &self.file {
            Some(file) => sources.with_file(file),
            None => sources,
        }
    }

    /// Where the configured gateway is, however broken its file is.
    fn place(&self) -> GatewayPlace {
        GatewayPlace::read(self.sources())
    }

    /// The folder that was given, or else the journal's as a gateway would have it: never a
    /// guess from a file that can't be read. `instead` is what to give where there is none.
    fn journal_folder(&self, given: Option<&Path>, instead: &str) -> anyhow::Result<PathBuf> {
        if let Some(folder) = given {
            return Ok(folder.to_owned());
        }
        let config = self.config(MissingSecrets::Assume).with_context(|| {
            format!("cannot read the journal's folder from the configuration; give {instead}")
        })?;
        match config.journal.backend {
            Backend::Disk { path, .. } => Ok(path),
            Backend::Memory => {
                anyhow::bail!(
                    "the configured journal is in memory and has no folder; give {instead}"
                )
            }
        }
    }

    /// The URL that was given by `--url`, or else that of the gateway on this machine,
    /// found as `health` finds it.
    fn url(&self, given: Option<&str>) -> String {
        match given {
            Some(url) => url.to_owned(),
            None => address::likeliest(&self.place()),
        }
    }
}

/// Runs a command, except `serve`, which `main` runs.
///
/// # Errors
///
/// Whatever went wrong; [`exit_code`] turns it into a status.
pub fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Serve(_) => Err(UsageError::new("main runs serve").into()),
        Command::Send(args) => send::run(&args, context),
        Command::Tail(args) => tail::run(&args, context),
        Command::Forward(args) => forward::run(&args, context),
        Command::Resend(args) => resend::run(&args, context),
        Command::Token(args) => token::run(&args, context),
        Command::Health(args) => health::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Presets(args) => presets::run(&args),
        Command::Verify(args) => verify::run(&args, context),
        Command::Deliveries(args) => deliveries::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Journal(args) => journal::run(&args, context),
        Command::Backup(args) => backup::backup(&args, context),
        Command::Restore(args) => backup::restore(&args, context),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Runs a command that waits for a gateway.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be started")?;
    let done = runtime.block_on(work);
    // Does not wait for a name that is still being resolved.
    runtime.shutdown_background();
    done
}

/// Parses `--url`. What is wrong with one is said without what may be secret in it, which
/// clap would repeat.
#[derive(Debug, Clone, Copy)]
struct UrlParser;

impl TypedValueParser for UrlParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let text = value.to_string_lossy();
        crate::config::url::base_url(&text).ok_or_else(|| {
            let shown = without_secrets(&text);
            let option = argument.map_or_else(|| "--url".to_owned(), Arg::to_string);
            let message = format!(
                "invalid value '{}' for '{option}': must be a URL such as \
                 https://hooks.example.com, without user, query and fragment\n",
                printable(&shown, URL_CHARS_MAX)
            );
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn clap_accepts_the_commands() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn documented_command_lines_parse() {
        for line in [
            "serve",
            "serve --new-epoch",
            "--config a.toml check",
            "check --config a.toml --strict",
            "send orders.eu {} --url http://a --secret s --preset github --type push",
            "send orders -",
            "send orders",
            "tail a b --json --since earliest --url https://a/b --token t",
            "tail * --last 10 --types push,issues",
            "forward github 3000/webhooks/github",
            "listen github=3000 stripe=:4000/x *=https://127.0.0.1:1 --insecure",
            "forward a b 3000 --since 2h --until now --types x --match /a=b --match /n>1 --json",
            "forward a 3000 --last 10 --no-follow --concurrency 4 --retries 10 --timeout 5s",
            "forward a 3000 --signature fresh --secret env:S --preset stripe --save out",
            "forward a 3000 -H X:y --drop-header Accept --public-url https://a --url http://b",
            "forward 3000 --id e-1 --id e-2",
            "resend e-1 e-2 3000/hooks --token t",
            "token --topic a --topic * --ttl 1h --sub me",
            "health --url http://127.0.0.1:1",
            "presets --json",
            "presets github",
            "verify --preset github --secret s --header H:v body.json --show-signed",
            "deliveries",
            "deliveries --refused --follow --topic a --reason mismatch --address 192.0.2.7",
            "deliveries --outcome stored,duplicate --type push --limit 500 --json --url http://a",
            "explain r-41",
            "explain r-41 --secret env:A --secret b --admin-token env:T",
            "explain r-41 --take",
            "explain r-41 --show-signed",
            "journal check",
            "journal check /data --json",
            "backup /backups/monday",
            "backup /backups/monday --from /data --rate-max 10MiB",
            "restore /backups/monday --to /data",
            "completions bash",
            "verify --topic a --header H:v - --at 2026-11-23T15:41:00Z",
            "verify --topic a --request -",
            "verify --preset github --secret s --request captured.http --show-signed",
        ] {
            let line = format!("hookrill {line}");
            let read = CommandLine::try_parse_from(line.split(' '));
            assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
        }
    }

    #[test]
    fn wrong_usage_has_the_exit_status_2() {
        for line in [
            "",
            "serv",
            "send",
            "send a/b {}",
            "send a {} --preset github",
            "send a {} --url nowhere",
            "tail",
            "tail a --last 0",
            "tail a --last 1001",
            "tail a --last 5 --since earliest",
            "tail a..b",
            "forward",
            "forward a 3000 --id e-1 --since 2h",
            "forward a 3000 --id ../x",
            "forward a 3000 --since 2h --last 3",
            "forward a 3000 --no-follow --until now",
            "forward a 3000 --until noon",
            "forward a 3000 --retries 11",
            "forward a 3000 --concurrency 0",
            "forward a 3000 --timeout 0s",
            "forward a 3000 --match a=b",
            "forward a 3000 --signature again",
            "resend e-1",
            "token",
            "token --topic a --ttl 1",
            "deliveries --refused --outcome stored",
            "deliveries --limit 0",
            "deliveries --topic a..b",
            "explain",
            "explain k3f9x2ab-1",
            "explain r-x",
            "explain r-1 --take --secret a",
            "journal",
            "journal mend",
            "journal check a b",
            "backup",
            "backup a --rate-max 0",
            "restore",
            "completions",
            "completions csh",
            "verify body",
            "verify --preset github body",
            "verify --preset github --secret s --topic a body",
            "verify --topic a --header nocolon body",
            "verify --topic a body --at noon",
            "verify --topic a",
            "verify --topic a body --request captured.http",
            "verify --topic a --request captured.http --method GET",
        ] {
            let line = format!("hookrill {line}");
            let read = CommandLine::try_parse_from(line.split_whitespace());
            assert_eq!(read.unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
