//! `hookrill backup` and `hookrill restore`: a journal's folder, copied while it is in
//! use, and put in place.

use std::{
    path::{Path, PathBuf},
    thread::park_timeout,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use hookrill_core::SteadyClock;

use super::{Context, output};
use crate::journal::{self, JournalCopy};

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// Folder to make the copy in; it must not exist, or be empty
    #[arg(value_name = "FOLDER")]
    to: PathBuf,

    /// The journal's folder [default: the configured one]
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,

    /// How much is read at most, per second
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = rate)]
    rate_max: u64,
}

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// A folder that `hookrill backup` has made
    #[arg(value_name = "FOLDER")]
    from: PathBuf,

    /// Folder to put it in; it must not exist, or be empty [default: the journal's
    /// configured one]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// Refuses what is no folder, which can't be written into.
fn refuse_file(folder: &Path, instead: &str) -> anyhow::Result<()> {
    if folder.is_file() {
        let folder = folder.display();
        anyhow::bail!("{folder} is a file; {instead}");
    }
    Ok(())
}

pub(super) fn backup(args: &BackupArgs, context: &Context) -> anyhow::Result<()> {
    let from = context.journal_folder(args.from.as_deref(), "--from")?;
    refuse_file(
        &args.to,
        "name a folder that does not exist, or an empty one",
    )?;
    refuse_file(&from, "name the journal's folder")?;
    let mut pace = Pace::new(args.rate_max);
    let copy = journal::backup(&from, &args.to, &mut |bytes| pace.wait(bytes))?;
    output::print(summary(&args.to, &from, &copy))
}

pub(super) fn restore(args: &RestoreArgs, context: &Context) -> anyhow::Result<()> {
    let to = context.journal_folder(args.to.as_deref(), "--to")?;
    refuse_file(
        &args.from,
        "name the folder that `hookrill backup` has made",
    )?;
    refuse_file(&to, "name a folder that does not exist, or an empty one")?;
    let clock = SteadyClock::new(context.clock.clone(), |_| {});
    let copy = journal::restore(&args.from, &to, &clock, &mut |_| {})?;
    output::print(summary(&to, &args.from, &copy))
}

fn summary(folder: &Path, from: &Path, copy: &JournalCopy) -> String {
    let rows = [
        ["ok".to_owned(), folder.display().to_string()],
        ["from".to_owned(), from.display().to_string()],
        [
            "newest event".to_owned(),
            format!("{}-{}", copy.epoch, copy.head),
        ],
        [
            "copied".to_owned(),
            ByteSize(copy.bytes).display().iec().to_string(),
        ],
    ];
    output::table(&rows)
}

fn rate(text: &str) -> Result<u64, &'static str> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => Err("must be a size such as 64MiB"),
    }
}

/// Holds a copy to a rate, so that the gateway keeps its disk.
struct Pace {
    rate: f64,
    begun: Instant,
    bytes: u64,
}

impl Pace {
    fn new(rate: u64) -> Self {
        Self {
            rate: rate as f64,
            begun: Instant::now(),
            bytes: 0,
        }
    }

    fn wait(&mut self, bytes: u64) {
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / self.rate);
        while let Some(left) = due
            .checked_sub(self.begun.elapsed())
            .filter(|left| !left.is_zero())
        {
            park_timeout(left);
        }
    }
}
