//! `hookrill journal check`: says what of a journal's folder is damaged.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Context, NegativeResult, output};
use crate::{
    config::Environment,
    journal::{self, JournalDamage, JournalReport},
};

/// How wide the bar is.
const BAR_CHARS: usize = 30;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command.
    #[command(subcommand)]
    command: JournalCommand,
}

/// What can be done with a journal.
#[derive(Debug, clap::Subcommand)]
enum JournalCommand {
    /// Read every byte of a journal and list what is damaged; changes nothing
    ///
    /// Works while a gateway uses the journal, and on copies. The exit status is
    /// 0 if nothing is damaged, and 1 if something is.
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// The journal's folder [default: the configured one]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let JournalCommand::Check(args) = &args.command;
    let folder = context.journal_folder(args.folder.as_deref(), "a folder")?;
    let mut bar = ProgressBar::new(&context.environment);
    let report = journal::check(&folder, &mut |done, total| bar.show(done, total));
    bar.clear();
    let report = report?;
    let text = if args.json {
        format!("{:#}\n", object(&folder, &report))
    } else {
        summary(&folder, &report)
    };
    output::print(text)?;
    if report.is_whole() {
        Ok(())
    } else {
        Err(NegativeResult.into())
    }
}

fn summary(folder: &Path, report: &JournalReport) -> String {
    let state = if report.is_whole() { "ok" } else { "damaged" };
    let mut events = match report.damaged_events {
        0 => format!("{}, none damaged", report.events),
        damaged => format!("{} whole, {damaged} damaged or missing", report.events),
    };
    if report.given_up_events > 0 {
        let given_up = report.given_up_events;
        events.push_str(&format!("; {given_up} given up by an earlier --new-epoch"));
    }
    let rows = [
        [state.to_owned(), folder.display().to_string()],
        ["segments".to_owned(), report.segments.to_string()],
        ["events".to_owned(), events],
    ];
    let mut text = output::table(&rows);
    if report.is_whole() {
        return text;
    }
    let heading = ["FILE", "BYTES", "EVENTS", "WHAT"].map(str::to_owned);
    let damage = report.damage.iter().map(|damage| row(folder, damage));
    let table = output::table(&[heading].into_iter().chain(damage).collect::<Vec<_>>());
    text.push('\n');
    text.push_str(&table);
    if report.unlisted > 0 {
        text.push_str(&format!("and {} more\n", report.unlisted));
    }
    text.push_str(
        "\nRestore the folder from a backup, or start with hookrill serve --new-epoch: it keeps \
         every intact event.\n",
    );
    text
}

fn row(folder: &Path, damage: &JournalDamage) -> [String; 4] {
    let file = damage.file.strip_prefix(folder).unwrap_or(&damage.file);
    let range = |first: u64, last: u64| {
        if first >= last {
            first.to_string()
        } else {
            format!("{first}–{last}")
        }
    };
    let bytes = damage.bytes.as_ref();
    let bytes = bytes.map(|bytes| range(bytes.start, bytes.end.saturating_sub(1)));
    let events = damage.events.map(|(first, last)| range(first.0, last.0));
    [
        file.display().to_string(),
        bytes.unwrap_or_else(|| "-".to_owned()),
        events.unwrap_or_else(|| "-".to_owned()),
        damage.kind.to_string(),
    ]
}

fn object(folder: &Path, report: &JournalReport) -> serde_json::Value {
    let damage = report.damage.iter().map(|damage| {
        json!({
            "file": damage.file.display().to_string(),
            "from_byte": damage.bytes.as_ref().map(|bytes| bytes.start),
            "to_byte": damage.bytes.as_ref().map(|bytes| bytes.end),
            "first_event": damage.events.map(|(first, _)| first.0),
            "last_event": damage.events.map(|(_, last)| last.0),
            "kind": damage.kind.as_str(),
        })
    });
    json!({
        "folder": folder.display().to_string(),
        "ok": report.is_whole(),
        "segments": report.segments,
        "events": report.events,
        "damaged_events": report.damaged_events,
        "given_up_events": report.given_up_events,
        "damage": damage.collect::<serde_json::Value>(),
        "unlisted": report.unlisted,
    })
}

/// A bar on stderr, if that is a terminal.
struct ProgressBar {
    is_shown: bool,
    percent: Option<u64>,
}

impl ProgressBar {
    fn new(environment: &Environment) -> Self {
        let is_dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
        Self {
            is_shown: io::stderr().is_terminal() && !is_dumb,
            percent: None,
        }
    }

    fn show(&mut self, done: u64, total: u64) {
        let percent = done.saturating_mul(100) / total.max(1);
        if !self.is_shown || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        // Where stderr is closed, nobody looks.
        _ = write!(io::stderr(), "\r{}", bar(percent));
    }

    /// Leaves the line to what comes next.
    fn clear(&mut self) {
        if self.percent.is_some() {
            _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

pub(super) fn bar(percent: u64) -> String {
    let full = percent.min(100) as usize * BAR_CHARS / 100;
    format!("[{:<BAR_CHARS$}] {percent:>3} %", "=".repeat(full))
}

#[cfg(test)]
mod tests {
    use hookrill_core::Sequence;

    use super::*;
    use crate::journal::DamageKind;

    fn report() -> JournalReport {
        JournalReport {
            segments: 2,
            events: 58,
            damaged_events: 2,
            given_up_events: 3,
            damage: vec![
                JournalDamage {
                    file: "/data/segments/1.log".into(),
                    bytes: Some(100..300),
                    events: Some((Sequence(8), Sequence(9))),
                    kind: DamageKind::Events,
                },
                JournalDamage {
                    file: "/data/segments/1.idx".into(),
                    bytes: None,
                    events: None,
                    kind: DamageKind::Index,
                },
            ],
            unlisted: 0,
        }
    }

    #[test]
    fn what_is_damaged_is_said_with_where_and_which_events() {
        let text = summary("/data".as_ref(), &report());
        for line in [
            "damaged   /data",
            "events    58 whole, 2 damaged or missing; 3 given up by an earlier --new-epoch",
            "segments/1.log  100–299  8–9     events are damaged",
            "segments/1.idx  -        -       damaged; it can be made from the log",
            "--new-epoch: it keeps every intact event.",
        ] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
        let json = object("/data".as_ref(), &report());
        assert_eq!(json["ok"], false);
        assert_eq!(json["damage"][0]["last_event"], 9);
        assert_eq!(json["damage"][0]["to_byte"], 300);
        assert_eq!(json["damage"][1]["kind"], "index");
        let whole = JournalReport {
            events: 60,
            ..JournalReport::default()
        };
        let text_of_whole = summary("/data".as_ref(), &whole);
        assert!(text_of_whole.starts_with("ok        /data\n"));
        assert!(text_of_whole.ends_with("60, none damaged\n"));
    }

    #[test]
    fn the_bar_is_as_full_as_the_work() {
        assert_eq!(bar(0), format!("[{}]   0 %", " ".repeat(30)));
        assert_eq!(
            bar(50),
            format!("[{}{}]  50 %", "=".repeat(15), " ".repeat(15))
        );
        assert_eq!(bar(100), format!("[{}] 100 %", "=".repeat(30)));
    }
}
