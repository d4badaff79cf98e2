//! Takes the keys of one section, each by its name and form.
//!
//! Invariant: a key that nobody took is reported by [`Section::end`], with the
//! nearest key that somebody would have taken.

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    environment,
    tree::{Node, Table, TreeValue},
};

/// A section that is being read.
pub(super) struct Section<'p> {
    pub(super) path: KeyPath,
    pub(super) location: Location,
    pub(super) diagnostics: &'p Diagnostics,
    keys: Table,
    taken: Vec<&'static str>,
    /// Of those, the ones that were written.
    found: Vec<&'static str>,
}

/// A value with its path, which a later rule may have something to say about.
pub(super) struct Located<T> {
    pub(super) path: KeyPath,
    pub(super) location: Location,
    pub(super) value: T,
}

/// Turns a value into what the program uses, or says why not.
pub(super) type Parse<T> = fn(&TreeValue) -> Result<T, String>;

impl<'p> Section<'p> {
    /// Reads a node as a section. One that is none is reported and empty.
    pub(super) fn new(node: Node, path: KeyPath, diagnostics: &'p Diagnostics) -> Self {
        let keys = match node.kind {
            TreeValue::Table(keys) => keys,
            TreeValue::Unreadable => Table::new(),
            _ => {
                let what = "this is a section with keys of its own, not a value";
                diagnostics.add(&path, &node.location, what);
                Table::new()
            }
        };
        Self {
            path,
            location: node.location,
            diagnostics,
            keys,
            taken: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Whether `key` is written, well or badly.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Whether `key` was written and has been taken.
    pub(super) fn has_taken(&self, key: &str) -> bool {
        self.found.contains(&key)
    }

    /// Whether a text stands at `key`, and not a list.
    pub(super) fn holds_a_text(&self, key: &str) -> bool {
        let node = self.keys.get(key);
        node.is_some_and(|node| matches!(node.kind, TreeValue::Text(_) | TreeValue::Untyped { .. }))
    }

    /// Whatever stands at `key`.
    pub(super) fn node(&mut self, key: &'static str) -> Option<Node> {
        self.taken.push(key);
        let node = self.keys.remove(key)?;
        self.found.push(key);
        Some(node)
    }

    /// The section at `key`, empty where it is not written.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'p> {
        let node = self.node(key);
        let node = node.unwrap_or_else(|| Node::section(Location::Hookrill));
        Section::new(node, self.path.key(key), self.diagnostics)
    }

    /// The value at `key`, if it is written and good.
    pub(super) fn value<T>(&mut self, key: &'static str, parse: Parse<T>) -> Option<T> {
        self.located(key, parse).map(|located| located.value)
    }

    /// The value at `key` with its path.
    pub(super) fn located<T>(&mut self, key: &'static str, parse: Parse<T>) -> Option<Located<T>> {
        let node = self.node(key)?;
        parsed(&node, self.path.key(key), self.diagnostics, parse)
    }

    /// The values of the list at `key`; `None` where it is not written. Bad
    /// ones are reported and left out.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        parse: Parse<T>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let node = self.node(key)?;
        let path = self.path.key(key);
        let location = node.location.clone();
        let items = node.items().unwrap_or_else(|why| {
            self.diagnostics.add(&path, &location, why);
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

    /// Says something about `key`, or about the section where it is not there.
    pub(super) fn refuse(&self, key: &str, what: impl Into<String>) {
        self.diagnostics
            .add(&self.path.key(key), &self.location, what);
    }

    /// Says something about the section as a whole.
    pub(super) fn refuse_whole(&self, what: impl Into<String>) {
        self.diagnostics.add(&self.path, &self.location, what);
    }

    /// The keys that are left, for sections whose keys are names.
    pub(super) fn into_names(self) -> Table {
        self.keys
    }

    /// Reports every key that was not taken.
    pub(super) fn end(self) {
        for (key, node) in &self.keys {
            let mut what = "there is no such key".to_owned();
            if let Some(near) = nearest(key, &self.taken) {
                what.push_str("; did you mean ");
                what.push_str(&spelled(near, key, &node.location));
                what.push('?');
            }
            let path = self.path.key(key);
            self.diagnostics.add(&path, &node.location, what);
        }
    }
}

fn parsed<T>(
    node: &Node,
    path: KeyPath,
    diagnostics: &Diagnostics,
    parse: Parse<T>,
) -> Option<Located<T>> {
    if let TreeValue::Unreadable = node.kind {
        return None;
    }
    let location = node.location.clone();
    match parse(&node.kind) {
        Ok(value) => Some(Located {
            path,
            location,
            value,
        }),
        Err(what) => {
            diagnostics.add(&path, &location, what);
            None
        }
    }
}

impl Node {
    /// The node as a list. A section whose keys count from 0 is one: that is
    /// how the environment spells lists.
    pub(super) fn items(self) -> Result<Vec<Node>, &'static str> {
        const COUNT: &str = "this is a list: count its items from __0, without holes";
        match self.kind {
            TreeValue::List(items) => Ok(items),
            TreeValue::Unreadable => Ok(Vec::new()),
            TreeValue::Table(keys) => {
                let numbered = keys.into_iter().map(|(key, node)| {
                    let index = environment::index(&key).ok_or(COUNT)?;
                    Ok((index, node))
                });
                let mut numbered = numbered.collect::<Result<Vec<_>, &'static str>>()?;
                numbered.sort_by_key(|(index, _)| *index);
                match numbered.iter().zip(0..).all(|((index, _), i)| *index == i) {
                    true => Ok(numbered.into_iter().map(|(_, node)| node).collect()),
                    false => Err(COUNT),
                }
            }
            TreeValue::Untyped { .. } => Err("this is a list: add __0 to the variable's name"),
            _ => Err("this is a list: write it in [ ]"),
        }
    }
}

/// The key that was probably meant, if one is near enough.
fn nearest<'k>(written: &str, known: &[&'k str]) -> Option<&'k str> {
    const ALIKE_MIN: f64 = 0.8;
    known
        .iter()
        .map(|key| (strsim::jaro_winkler(written, key), *key))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, key)| key)
}

/// `key` in the path of `written`, as the same writer would spell it.
fn spelled(key: &str, written: &str, location: &Location) -> String {
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
