//! A library's program while it runs, and what is made of what it printed.

use std::{collections::BTreeSet, fs::File, process::Stdio};

use hookrill_testing::Subprocess;

use super::{
    library::{Library, Use},
    programs::{Programs, folder},
};

/// How a library came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It handed out each event once and in order, up to the last one.
    Resumes,
    /// It ended, or fell silent.
    Stops,
    /// Events are missing.
    Loses,
    /// Events came twice, or out of order.
    Repeats,
}

pub(super) struct Listener {
    /// Nobody waits for it.
    pub(super) is_known_to_stop: bool,
    /// It took too long once; nobody waits for it again.
    pub(super) has_given_up: bool,
    lines: Subprocess,
    seen: Vec<u32>,
}

impl Listener {
    /// Starts it on this stream; what it complains of is in a file of `scenario`'s.
    pub(super) fn start(
        programs: &Programs,
        (library, how): (&'static Library, Use),
        url: &str,
        scenario: &str,
    ) -> Self {
        let mut command = library.command(programs, how);
        command.env("HOOKRILL_URL", url).env("NO_COLOR", "1");
        command.stderr(complaints(library, how, scenario));
        Self {
            is_known_to_stop: false,
            has_given_up: false,
            lines: Subprocess::start(&library.name(), &mut command),
            seen: Vec::new(),
        }
    }

    /// Takes in what it has printed since the last look.
    pub(super) fn look(&mut self) {
        while let Some(line) = self.lines.try_next_line() {
            self.seen.extend(number(&line));
        }
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.lines.has_ended()
    }

    /// Whether it has handed out an event at least as new as this one.
    pub(super) fn has_seen(&self, number: u32) -> bool {
        self.seen.iter().any(|seen| *seen >= number)
    }

    /// What it made of everything, of which `last` was the last event.
    pub(super) fn outcome(&self, last: u32) -> Outcome {
        let Some(&first) = self.seen.first() else {
            return Outcome::Stops;
        };
        if !self.has_seen(last) {
            return Outcome::Stops;
        }
        let different: BTreeSet<_> = self.seen.iter().collect();
        if self.seen.iter().copied().eq(first..=last) {
            Outcome::Resumes
        } else if different.len() < (first..=last).count() {
            Outcome::Loses
        } else {
            Outcome::Repeats
        }
    }
}

/// The number of the event that a line is about, where it is about one.
fn number(line: &str) -> Option<u32> {
    let (_id, number) = line.strip_prefix("event ")?.rsplit_once(' ')?;
    number.parse().ok()
}

fn complaints(library: &Library, how: Use, scenario: &str) -> Stdio {
    let folder = folder().join("../../../target/compat/log");
    std::fs::create_dir_all(&folder).expect("the folder can be written to");
    let (language, program) = (library.language, library.program);
    let file = format!("{scenario}-{language:?}-{program}-{how:?}");
    let file = File::create(folder.join(file));
    file.expect("the folder can be written to").into()
}
