//! Takes the keys out of a section, each by its name and type.
//!
//! Invariant: [`Section::finish`] reports every key that nobody took, and every
//! section is finished.

use super::{
    diagnostic::{Diagnostics, KeyPath, Location, Mistake},
    environment::parse_index,
    tree::{Node, Table, TreeValue},
};

/// A section that is being read.
pub(super) struct Section<'d> {
    pub(super) path: KeyPath,
    pub(super) location: Location,
    pub(super) diagnostics: &'d Diagnostics,
    /// The keys that nobody has taken yet.
    left: Table,
    /// The keys that were asked for.
    known: Vec<&'static str>,
    /// Those of them that were written.
    taken: Vec<&'static str>,
}

/// A value with its path and location, for rules that look at it later.
pub(super) struct Located<T> {
    pub(super) path: KeyPath,
    pub(super) location: Location,
    pub(super) value: T,
}

/// Turns a value into what the program uses, or says what is wrong with it.
pub(super) type Parse<T> = fn(&TreeValue) -> Result<T, Mistake>;

impl<'d> Section<'d> {
    /// Reads a node as a section. Where it is not one, reports that and returns
    /// an empty section.
    pub(super) fn new(node: Node, path: KeyPath, diagnostics: &'d Diagnostics) -> Self {
        let left = match node.value {
            TreeValue::Table(table) => table,
            TreeValue::Invalid => Table::new(),
            _ => {
                let message = "must be a section with keys of its own, not a single value";
                diagnostics.report(&path, &node.location, message);
                Table::new()
            }
        };
        Self {
            path,
            location: node.location,
            diagnostics,
            left,
            known: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Whether `key` is written and not yet taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// Whether `key` was written and has been taken.
    pub(super) fn has_taken(&self, key: &str) -> bool {
        self.taken.contains(&key)
    }

    /// Whether the value at `key` is a text, and not a list.
    pub(super) fn has_text(&self, key: &str) -> bool {
        let node = self.left.get(key);
        node.is_some_and(|node| {
            matches!(node.value, TreeValue::Text(_) | TreeValue::Untyped { .. })
        })
    }

    /// Takes the node at `key`.
    pub(super) fn node(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let node = self.left.remove(key)?;
        self.taken.push(key);
        Some(node)
    }

    /// Takes the section at `key`; it is empty where nothing is written.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'d> {
        let node = self.node(key);
        let node = node.unwrap_or_else(|| Node::section(Location::Default));
        Section::new(node, self.path.key(key), self.diagnostics)
    }

    /// Takes the value at `key`, if it is written and good.
    pub(super) fn value<T>(&mut self, key: &'static str, parse: Parse<T>) -> Option<T> {
        self.located(key, parse).map(|located| located.value)
    }

    /// Takes the value at `key` with its path and location.
    pub(super) fn located<T>(&mut self, key: &'static str, parse: Parse<T>) -> Option<Located<T>> {
        let node = self.node(key)?;
        parsed(&node, self.path.key(key), self.diagnostics, parse)
    }

    /// Takes the list at `key`; `None` where nothing is written. Reports bad
    /// items and leaves them out.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let node = self.node(key)?;
        let path = self.path.key(key);
        let location = node.location.clone();
        let items = node.items().unwrap_or_else(|message| {
            self.diagnostics.report(&path, &location, message);
            Vec::new()
        });
        let item = |(index, item)| parsed(&item, path.item(index), self.diagnostics, parse);
        let value = items.into_iter().enumerate().filter_map(item).collect();
        Some(Located {
            path,
            location,
            value,
        })
    }

    /// Reports something about `key`, at the line of the section.
    pub(super) fn report(&self, key: &str, mistake: impl Into<Mistake>) {
        self.diagnostics
            .report(&self.path.key(key), &self.location, mistake);
    }

    /// Reports something about the section as a whole.
    pub(super) fn report_whole(&self, mistake: impl Into<Mistake>) {
        self.diagnostics.report(&self.path, &self.location, mistake);
    }

    /// All keys, for sections whose keys are names.
    pub(super) fn into_table(mut self) -> Table {
        std::mem::take(&mut self.left)
    }

    /// Reports every key that was not taken.
    pub(super) fn finish(mut self) {
        for (key, node) in std::mem::take(&mut self.left) {
            let mut message = "there is no such key".to_owned();
            if let Some(near) = nearest(&key, &self.known) {
                let near = as_written(near, &key, &node.location);
                message.push_str(&format!("; did you mean {near}?"));
            }
            self.diagnostics
                .report(&self.path.key(&key), &node.location, message);
        }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        debug_assert!(
            self.left.is_empty() || std::thread::panicking(),
            "every section is finished"
        );
    }
}

impl<T> Located<T> {
    /// Reports something about this value.
    pub(super) fn report(&self, diagnostics: &Diagnostics, mistake: impl Into<Mistake>) {
        diagnostics.report(&self.path, &self.location, mistake);
    }
}

fn parsed<T>(
    node: &Node,
    path: KeyPath,
    diagnostics: &Diagnostics,
    parse: Parse<T>,
) -> Option<Located<T>> {
    if let TreeValue::Invalid = node.value {
        return None;
    }
    let location = node.location.clone();
    match parse(&node.value) {
        Ok(value) => Some(Located {
            path,
            location,
            value,
        }),
        Err(mistake) => {
            diagnostics.report(&path, &location, mistake);
            None
        }
    }
}

impl Node {
    /// The node as a list. A section whose keys count from 0 is one, because
    /// that is how the environment spells lists.
    pub(super) fn items(self) -> Result<Vec<Node>, &'static str> {
        const COUNT: &str = "must be a list: number its items from __0, without gaps";
        let table = match self.value {
            TreeValue::List(items) => return Ok(items),
            TreeValue::Invalid => return Ok(Vec::new()),
            TreeValue::Table(table) => table,
            TreeValue::Untyped { .. } => {
                return Err("must be a list: append __0 to the variable's name");
            }
            _ => return Err("must be a list: write it in [ ]"),
        };
        let numbered = table.into_iter().map(|(key, node)| {
            let index = parse_index(&key).ok_or(COUNT)?;
            Ok((index, node))
        });
        let mut numbered = numbered.collect::<Result<Vec<_>, &'static str>>()?;
        numbered.sort_by_key(|(index, _)| *index);
        if numbered.iter().zip(0..).any(|((index, _), i)| *index != i) {
            return Err(COUNT);
        }
        Ok(numbered.into_iter().map(|(_, node)| node).collect())
    }
}

/// The key that was probably meant, if one is similar enough.
fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    const SIMILARITY_MIN: f64 = 0.8;
    known
        .iter()
        .map(|key| (strsim::jaro_winkler(written, key), *key))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

/// `key` as it has to be written in place of `written`: as a key of the file,
/// or as the name of a variable.
fn as_written(key: &str, written: &str, location: &Location) -> String {
    let Location::Variable(name) = location else {
        return format!("`{key}`");
    };
    let levels: Vec<&str> = name.split("__").collect();
    let at = levels
        .iter()
        .position(|level| level.eq_ignore_ascii_case(written));
    let above = levels.get(..at.unwrap_or(levels.len())).unwrap_or_default();
    format!("{}__{}", above.join("__"), key.to_ascii_uppercase())
}
