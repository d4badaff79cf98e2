//! The tables of `docs/clients.md` that are made from a run, and what they say.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use super::{
    endings::{ENDS, End},
    library::{LIBRARIES, Library, Use},
    listener::Outcome,
    outage::{OUTAGES, Outage},
};

const BEGIN: &str = "<!-- Made by tests/ecosystem/compat.rs from a run. Do not edit:\n     \
                     HOOKRILL_WRITE_DOCS=1 cargo test --test ecosystem compat -->\n";
const END: &str = "<!-- The end of what is made. -->\n";

/// How a library comes through, for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Resumes,
    NeedsLine,
    Cannot,
}

impl Cell {
    const ALL: [Self; 3] = [Self::Resumes, Self::NeedsLine, Self::Cannot];

    pub(super) fn of(naive: Outcome, with_line: Option<Outcome>) -> Self {
        if naive == Outcome::Resumes {
            Self::Resumes
        } else if with_line == Some(Outcome::Resumes) {
            Self::NeedsLine
        } else {
            Self::Cannot
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Resumes => "resumes",
            Self::NeedsLine => "needs a line",
            Self::Cannot => "can't",
        }
    }

    /// Whether this use comes through.
    pub(super) fn allows(self, how: Use) -> bool {
        match how {
            Use::Naive => self == Self::Resumes,
            Use::WithLine => self != Self::Cannot,
        }
    }
}

/// By the library's place in the list.
pub(super) type Outages = BTreeMap<(usize, Outage), Cell>;
pub(super) type Endings = BTreeMap<(usize, End), bool>;

fn document() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/clients.md")
}

/// What is made, as it stands in the document.
pub(super) fn written() -> String {
    let text = fs::read_to_string(document()).expect("it is there");
    let (_, rest) = text.split_once(BEGIN).expect("it says what is made");
    let (made, _) = rest.split_once(END).expect("it says where that ends");
    made.to_owned()
}

/// Puts this in its place.
pub(super) fn write(made: &str) {
    let text = fs::read_to_string(document()).expect("it is there");
    let text = text.replace(&written(), made);
    fs::write(document(), text).expect("it can be written to");
}

/// What the document says of this library.
pub(super) fn known(written: &str, library: &Library) -> BTreeMap<Outage, Cell> {
    let begin = format!("| {} |", library.name());
    let Some(row) = written.lines().find_map(|line| line.strip_prefix(&begin)) else {
        return BTreeMap::new();
    };
    let read = |text: &str| {
        Cell::ALL
            .into_iter()
            .find(|cell| cell.text() == text.trim())
    };
    let cells = OUTAGES.into_iter().zip(row.split('|').map(read));
    cells
        .filter_map(|(outage, cell)| Some((outage, cell?)))
        .collect()
}

/// Whether the document says that this library comes back after that end.
pub(super) fn known_to_come_back(written: &str, library: &Library, end: End) -> Option<bool> {
    let begin = format!("| {} |", end.name());
    let row = written.lines().find_map(|line| line.strip_prefix(&begin))?;
    let stays_away = |part: &str| part.split(", ").any(|name| name.trim() == library.name());
    let never = written.lines().find_map(|line| line.strip_prefix(NEVER))?;
    Some(!row.split('|').any(stays_away) && !stays_away(never.trim_end_matches('.')))
}

const NEVER: &str = "None of these comes back by itself: ";

pub(super) fn made(outages: &Outages, endings: &Endings) -> String {
    let mut text = String::new();
    text += "\n| library | SIGKILL | SIGTERM | limit | 70 kB | gzip for all |\n|---|---|---|---|---|---|\n";
    for (index, library) in LIBRARIES.iter().enumerate() {
        let cells = OUTAGES.map(|outage| outages[&(index, outage)].text());
        writeln!(text, "| {} | {} |", library.name(), cells.join(" | "))
            .expect("a string takes all");
    }
    text += "\nThe lines that are needed, as they stand in the programs of `tests/ecosystem/compat/`,\n\
             where `follow` is one connection that keeps the last id:\n\n| library | lines |\n|---|---|\n";
    for (index, library) in LIBRARIES.iter().enumerate() {
        let needed = |outage| outages[&(index, outage)] == Cell::NeedsLine;
        if OUTAGES.into_iter().any(needed) {
            let lines = library.lines().into_iter();
            let lines: Vec<_> = lines
                .map(|line| format!("<code>{}</code>", escaped(&line)))
                .collect();
            writeln!(text, "| {} | {} |", library.name(), lines.join("<br>"))
                .expect("a string takes all");
        }
    }
    text += &after_ends(endings);
    text
}

fn after_ends(endings: &Endings) -> String {
    let comes_back = |index: usize| ENDS.into_iter().any(|end| endings[&(index, end)]);
    let names = |picked: &dyn Fn(usize) -> bool| {
        let all = LIBRARIES
            .iter()
            .enumerate()
            .filter(|(index, _)| picked(*index));
        let names: Vec<_> = all.map(|(_, library)| library.name()).collect();
        names
    };
    let mut text =
        String::from("\n| the stream's end | comes back | stays away |\n|---|---|---|\n");
    for end in ENDS {
        let back = names(&|index| endings[&(index, end)]).len();
        let away = names(&|index| comes_back(index) && !endings[&(index, end)]);
        writeln!(text, "| {} | {back} | {} |", end.name(), away.join(", "))
            .expect("a string takes all");
    }
    let never = names(&|index| !comes_back(index));
    writeln!(text, "\n{NEVER}{}.\n", never.join(", ")).expect("a string takes all");
    text
}

/// Safe between the bars of a table, with its indentation.
fn escaped(line: &str) -> String {
    let text = line
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('|', "&#124;");
    let indent = text.len() - text.trim_start().len();
    "&nbsp;".repeat(indent) + text.trim_start()
}
