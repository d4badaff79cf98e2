//! What a command says, and with which status the process ends.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
};

/// Nobody reads stdout any more: no reason to go on, and no failure.
#[derive(Debug, thiserror::Error)]
#[error("stdout is closed")]
pub(super) struct Closed;

/// The answer is no, and stdout says why.
#[derive(Debug, thiserror::Error)]
#[error("no")]
pub(super) struct No;

/// What was typed makes no sense together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(String);

impl Usage {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Says on stderr what went wrong, if something did, and gives the status.
#[must_use]
pub fn exit_code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    if error.is::<Closed>() {
        return ExitCode::SUCCESS;
    }
    if !error.is::<No>() {
        talk(format_args!("hookrill: {error:#}"));
    }
    ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
}

/// Says something on stderr.
pub(super) fn talk(what: fmt::Arguments<'_>) {
    // Where stderr is closed, there is nobody to complain to.
    let _ = writeln!(io::stderr().lock(), "{what}");
}

/// Writes a result to stdout, and sees to it that it arrives now.
pub(super) fn print(what: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(what.as_ref()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow::Error::new(error).context("stdout cannot be written to"),
    })
}

/// Whether colours mean something to whoever reads stdout.
pub(super) fn in_colour(environment: &crate::config::Environment) -> bool {
    io::stdout().is_terminal() && environment.optional("NO_COLOR").is_none()
}

/// Text in columns, as wide as they need to be; the last one is not padded.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
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
    fn the_status_tells_no_from_wrong_usage_and_a_closed_pipe_is_neither() {
        let code = |error: anyhow::Error| format!("{:?}", exit_code(Err(error)));
        let expected = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(Closed.into()), expected(0));
        assert_eq!(code(No.into()), expected(1));
        assert_eq!(code(Usage::new("no such thing").into()), expected(2));
        assert_eq!(code(anyhow::anyhow!("it broke")), expected(1));
    }
}
