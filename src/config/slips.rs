//! What can be said of a file that is TOML in parts only.
//!
//! A slip may hide the keys behind it, so what seems to be missing may well be written.
//! Invariant: no diagnostic is kept that may only follow from a slip.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    diagnostic::{Diagnostic, Diagnostics, KeyPath, Location},
    environment::parse_index,
    tree::{Node, TreeValue},
};

/// The places where a file is not TOML, and what is written in the rest of it.
pub(super) struct Slips {
    /// One for each line.
    slips: Vec<Diagnostic>,
    lines: BTreeSet<usize>,
    /// The keys whose value could be read, and the sections of which nothing is lost.
    written: BTreeSet<KeyPath>,
}

impl Slips {
    /// `slips` are those of the file that is the tree `root`.
    pub(super) fn new(slips: Vec<Diagnostic>, root: &Node) -> Self {
        let lines: BTreeSet<_> = slips
            .iter()
            .filter_map(|slip| slip.location.line())
            .collect();
        let mut written = Written::default();
        written.add(root, &KeyPath::root());
        for line in &lines {
            written.lose(*line);
        }
        Self {
            slips,
            lines,
            written: written.keys,
        }
    }

    /// Removes what may only follow from a slip, and reports the slips.
    pub(super) fn apply(&self, diagnostics: &Diagnostics) {
        diagnostics.retain(
            |error| {
                let is_about_all = error.path == KeyPath::root();
                let is_written = is_about_all || self.written.contains(&error.path);
                is_written && !self.is_on_slip(&error.location)
            },
            |unknown| !self.is_on_slip(unknown),
        );
        for slip in &self.slips {
            diagnostics.report(&slip.path, &slip.location, &*slip.message);
        }
    }

    fn is_on_slip(&self, location: &Location) -> bool {
        location
            .line()
            .is_some_and(|line| self.lines.contains(&line))
    }
}

#[derive(Default)]
struct Written {
    keys: BTreeSet<KeyPath>,
    /// The sections by the line on which they begin.
    sections: BTreeMap<usize, KeyPath>,
}

impl Written {
    fn add(&mut self, node: &Node, path: &KeyPath) {
        match &node.value {
            TreeValue::Invalid => return,
            TreeValue::Table(table) => {
                if let Some(line) = node.location.line() {
                    self.sections.insert(line, path.clone());
                }
                for (key, child) in table {
                    self.add(child, &path.key(key));
                    // The environment spells lists as sections.
                    if let Some(index) = parse_index(key) {
                        self.add(child, &path.item(index));
                    }
                }
            }
            TreeValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(item, &path.item(index));
                }
            }
            _ => {}
        }
        self.keys.insert(path.clone());
    }

    /// Something on this line is lost: its section is not all that was written.
    fn lose(&mut self, line: usize) {
        if let Some((_, section)) = self.sections.range(..=line).next_back() {
            self.keys.retain(|key| !key.includes(section));
        }
    }
}
