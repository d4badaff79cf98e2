//! Takes the keys out of a section, each by its name and type.
//!
//! Invariant: [`Section::finish`] reports every key that nobody took, and every
//! section is finished.

use std::collections::BTreeMap;

use super::{
    diagnostic::{Diagnostics, KeyPath, Location, Mistake, UnknownKey},
    environment::parse_index,
    hints, secrets,
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
    /// Those of them that were written, and where.
    taken: BTreeMap<&'static str, Location>,
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
            taken: BTreeMap::new(),
        }
    }

    /// Whether `key` is written and not yet taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.left.contains_key(key)
    }

    /// Whether there is any key that is not yet taken.
    pub(super) fn has_any(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether `key` was written and has been taken.
    pub(super) fn has_taken(&self, key: &str) -> bool {
        self.taken.contains_key(key)
    }

    /// Whether `key` was written or read, and is in the file: what an image or a
    /// platform sets for all configurations says nothing about this one.
    pub(super) fn is_in_file(&self, key: &str) -> bool {
        matches!(self.taken.get(key), Some(Location::File { .. }))
    }

    /// Whether a key that nobody knows was probably meant to be `key`.
    pub(super) fn is_misspelt(&self, key: &str) -> bool {
        let mut left = self.left.keys();
        left.any(|written| hints::nearest(written, &[key]).is_some())
    }

    /// Whether there is nothing but sections, none of which was meant to be a key of
    /// `known`.
    pub(super) fn has_only_sections(&self, known: &[&str]) -> bool {
        let mut left = self.left.iter();
        !self.left.is_empty()
            && left.all(|(key, node)| {
                matches!(node.value, TreeValue::Table(_)) && hints::nearest(key, known).is_none()
            })
    }

    /// Takes what is a section and was not meant to be a key that is known so far.
    pub(super) fn take_sections(&mut self) -> Vec<(String, Node)> {
        let (sections, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(key, node)| {
                matches!(node.value, TreeValue::Table(_))
                    && hints::nearest(key, &self.known).is_none()
            });
        self.left = others.into_iter().collect();
        sections
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
        self.diagnostics.add_known(&self.path, key);
        let node = self.left.remove(key)?;
        self.taken.insert(key, node.location.clone());
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

    /// Takes the secret at `key`, and warns of what may be a mistake in it.
    pub(super) fn secret<T>(&mut self, key: &'static str, parse: Parse<T>) -> Option<T> {
        if let Some(node) = self.left.get(key) {
            warn_of_oddities(node, &self.path.key(key), self.diagnostics);
        }
        self.value(key, parse)
    }

    /// Takes the list of secrets at `key`, and warns of what may be a mistake in them.
    pub(super) fn secrets<T>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let items = self.left.get(key).cloned().map(Node::items);
        for (index, item) in items.into_iter().flatten().flatten().enumerate() {
            let path = self.path.key(key).item(index);
            warn_of_oddities(&item, &path, self.diagnostics);
        }
        self.list(key, parse)
    }

    /// Reports something about `key`, at its line, or at that of the section where
    /// it is not written.
    pub(super) fn report(&self, key: &str, mistake: impl Into<Mistake>) {
        self.diagnostics
            .report(&self.path.key(key), self.location_of(key), mistake);
    }

    /// Warns of something about `key`: it is legal, and probably not meant.
    pub(super) fn warn(&self, key: &str, mistake: impl Into<Mistake>) {
        self.diagnostics
            .warn(&self.path.key(key), self.location_of(key), mistake);
    }

    fn location_of(&self, key: &str) -> &Location {
        self.taken.get(key).unwrap_or(&self.location)
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
            self.diagnostics.report_unknown(UnknownKey {
                path: self.path.key(&key),
                key,
                location: node.location,
                known: self.known.clone(),
            });
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

    /// Warns of something about this value.
    pub(super) fn warn(&self, diagnostics: &Diagnostics, mistake: impl Into<Mistake>) {
        diagnostics.warn(&self.path, &self.location, mistake);
    }
}

fn warn_of_oddities(secret: &Node, path: &KeyPath, diagnostics: &Diagnostics) {
    for oddity in secrets::oddities(&secret.value) {
        diagnostics.warn(path, &secret.location, oddity);
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
