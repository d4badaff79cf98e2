//! What a command prints, and the exit status of the process.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
};

use super::plain::in_plain_words;

/// Nobody reads stdout any more. There is no reason to go on, and nothing
/// failed: `hookrill presets | head` ends like this.
#[derive(Debug, thiserror::Error)]
#[error("stdout is closed")]
pub(super) struct StdoutClosed;

/// The command worked, and its answer is no. Stdout says why.
#[derive(Debug, thiserror::Error)]
#[error("the answer is no")]
pub(super) struct NegativeResult;

/// The arguments are wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(String);

impl UsageError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Prints on stderr what went wrong, if anything did, and returns the exit
/// status.
#[must_use]
pub fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    if error.is::<StdoutClosed>() {
        return ExitCode::SUCCESS;
    }
    if !error.is::<NegativeResult>() {
        status(format_args!("hookrill: {}", in_plain_words(error.as_ref())));
    }
    ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
}

/// Prints a line about what is going on, on stderr.
pub(super) fn status(message: fmt::Arguments<'_>) {
    // Where stderr is closed, there is nobody to complain to.
    let _ = writeln!(io::stderr().lock(), "{message}");
}

/// Writes a result to stdout, and flushes it.
pub(super) fn print(result: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(result.as_ref()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => StdoutClosed.into(),
        _ => anyhow::Error::new(error).context("stdout cannot be written to"),
    })
}

/// Whether stdout is a terminal that shows colors.
pub(super) fn use_color(environment: &crate::config::Environment) -> bool {
    io::stdout().is_terminal() && environment.allows_color()
}

/// Text in columns, as wide as they need to be; the last one is not padded.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [
            row(["a", "bb", "c"]),
            row(["äää", "", "d"]),
            row(["", "", ""]),
        ];
        assert_eq!(table(&rows), "a    bb  c\näää      d\n\n");
    }

    #[test]
    fn the_exit_status_tells_no_from_wrong_usage_and_a_closed_pipe_is_neither() {
        let code = |error: anyhow::Error| format!("{:?}", exit_code(Err(error)));
        let expected = |status: u8| format!("{:?}", ExitCode::from(status));
        assert_eq!(code(StdoutClosed.into()), expected(0));
        assert_eq!(code(NegativeResult.into()), expected(1));
        assert_eq!(code(UsageError::new("no such thing").into()), expected(2));
        assert_eq!(code(anyhow::anyhow!("it broke")), expected(1));
        let cause = anyhow::anyhow!("it broke").context(UsageError::new("no such thing"));
        assert_eq!(code(cause), expected(2));
    }
}
