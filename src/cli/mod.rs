//! The command line: what was typed → what is done.
//!
//! One file per command. Results go to stdout and talk to stderr; the exit
//! status is 0 on success, 1 when the answer is no, 2 for wrong usage. Only
//! here and in `main` may errors be of any kind.

mod check;
mod client;
mod health;
mod output;
mod presets;
mod reload;
mod send;
pub mod serve;
mod tail;
mod token;
mod verify;
mod watch;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use hookrill_core::Clock;

use crate::{
    app::system_clock,
    config::{Config, ConfigError, Environment, MissingSecrets, Sources, read_file},
};
pub use output::exit_code;
use output::{No, Usage};
use watch::Reading;

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "hookrill", version, about, max_term_width = 100)]
pub struct CommandLine {
    /// The configuration [default: $HOOKRILL_CONFIG, else hookrill.toml if it is here]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum Command {
    /// Run the gateway
    Serve(serve::Args),
    /// Sign an event as its topic demands, and post it
    Send(send::Args),
    /// Print events as they come, resuming over disconnects
    Tail(tail::Args),
    /// Mint a subscriber token
    Token(token::Args),
    /// Ask a running gateway whether it works
    Health(health::Args),
    /// Check the configuration, and say what is wrong and where
    Check(check::Args),
    /// List the presets
    Presets(presets::Args),
    /// Say offline whether a captured delivery proves, and if not, why
    Verify(verify::Args),
}

/// What the commands have in common.
#[derive(Clone)]
pub struct Context {
    environment: Environment,
    file: Option<PathBuf>,
    clock: Clock,
}

impl CommandLine {
    /// Reads the arguments of this process. Wrong ones, `--help` and
    /// `--version` end here.
    ///
    /// # Errors
    ///
    /// The exit status, after the message was printed.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        Self::try_parse_from(arguments).map_err(|error| {
            // Nobody listens to a closed stdout or stderr.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        })
    }
}

impl Context {
    /// What the commands of this process need.
    #[must_use]
    pub fn of_process(line: &CommandLine) -> Self {
        Self {
            environment: Environment::of_process(),
            file: line.config.clone(),
            clock: system_clock(),
        }
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn config(&self, missing: MissingSecrets) -> Result<Config, ConfigError> {
        Config::load(self.sources(), missing)
    }

    /// The configuration, read in a way that can be watched.
    fn config_by(&self, missing: MissingSecrets, reading: &Reading) -> Result<Config, ConfigError> {
        let sources = Sources {
            read: &|path| reading.read(path),
            ..self.sources()
        };
        Config::load(sources, missing)
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            file: self.file.as_deref(),
            environment: &self.environment,
            read: &read_file,
        }
    }

    /// The gateway that was named, or the configured one on this machine.
    fn url(&self, named: Option<&str>) -> anyhow::Result<String> {
        match named {
            Some(url) => Ok(url.to_owned()),
            None => Ok(self
                .config(MissingSecrets::Assume)
                .context("without --url, the configuration says where the gateway is")?
                .local_url()),
        }
    }
}

/// Does what is asked, save for `serve`, which `main` shows.
///
/// # Errors
///
/// Whatever went wrong; [`exit_code`] knows what it means.
pub fn run(command: Command, context: &Context) -> anyhow::Result<()> {
    match command {
        Command::Serve(_) => Err(Usage::new("serve is run by main").into()),
        Command::Send(args) => send::run(&args, context),
        Command::Tail(args) => tail::run(&args, context),
        Command::Token(args) => token::run(&args, context),
        Command::Health(args) => health::run(&args, context),
        Command::Check(args) => check::run(&args, context),
        Command::Presets(args) => presets::run(&args),
        Command::Verify(args) => verify::run(&args, context),
    }
}

/// Reads `--url`.
fn url(text: &str) -> Result<String, &'static str> {
    crate::config::url::base(text).ok_or("a URL such as https://hooks.example.com")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_table_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn documented_command_lines_are_read() {
        for line in [
            "serve",
            "serve --new-epoch",
            "--config a.toml check",
            "check --config a.toml",
            "send orders.eu {} --url http://a --secret s --preset github --type push",
            "send orders -",
            "send orders",
            "tail a b --json --since earliest --url https://a/b --token t",
            "tail * --last 10 --types push,issues",
            "token --topic a --topic * --ttl 1h --sub me",
            "health --url http://127.0.0.1:1",
            "presets --json",
            "verify --preset github --secret s --header H:v body.json --show-signed",
            "verify --topic a --header H:v - --at 2026-11-23T15:41:00Z",
        ] {
            let line = format!("hookrill {line}");
            let read = CommandLine::try_parse_from(line.split(' '));
            assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
        }
    }

    #[test]
    fn wrong_usage_is_told_from_an_answer_of_no() {
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
            "token",
            "token --topic a --ttl 1",
            "verify body",
            "verify --preset github body",
            "verify --preset github --secret s --topic a body",
            "verify --topic a --header nocolon body",
            "verify --topic a body --at noon",
        ] {
            let line = format!("hookrill {line}");
            let read = CommandLine::try_parse_from(line.split_whitespace());
            assert_eq!(read.unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
