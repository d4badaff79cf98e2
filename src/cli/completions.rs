//! `hookrill completions`: a script by which a shell completes commands and options.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{CommandLine, output};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell to print the script for
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut command = CommandLine::command();
    clap_complete::generate(args.shell, &mut command, "hookrill", &mut script);
    output::print(script)
}
