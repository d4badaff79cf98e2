//! The process's log lines, which go to stderr.

use std::{error::Error, io::IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::ParseError, util::SubscriberInitExt as _};

/// How much is logged, and in what form.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// `tracing` filter directives: `info`, or `info,hookrill::hub=debug`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
    /// Whether a terminal may be shown colours.
    pub color: bool,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The level is not a filter.
    #[error("log.level {level:?} is not a filter such as info or info,hookrill=debug")]
    Level {
        /// What was written.
        level: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else in this process has set it up.
    #[error("logging cannot be set up")]
    SetUp(#[source] Box<dyn Error + Send + Sync>),
}

/// Sends this process's log lines to stderr from now on.
///
/// # Errors
///
/// [`LogError`] where the level is not a filter, or logging is set up already.
pub fn log_to_stderr(settings: &Settings) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&settings.level).map_err(|source| LogError::Level {
        level: settings.level.clone(),
        source,
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(settings.color && std::io::stderr().is_terminal())
        // Where stderr is closed or full, reporting that there would panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let set_up = match settings.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().finish().try_init(),
    };
    set_up.map_err(|error| LogError::SetUp(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_is_no_filter_is_named_with_its_cause() {
        let settings = Settings {
            level: "info,hookrill=loud".to_owned(),
            format: LogFormat::Text,
            color: false,
        };
        let error = log_to_stderr(&settings).unwrap_err();
        assert!(error.to_string().contains("\"info,hookrill=loud\""));
        assert!(error.source().is_some());
    }
}
