//! What people wrote, with who wrote it: a tree out of TOML and environment.
//!
//! Knows no keys and no types of Hookrill's. Not serde, because serde stops
//! at the first error and keeps no origins.

use std::{collections::BTreeMap, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostics, KeyPath, Location};

/// A value and who wrote it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) kind: TreeValue,
    pub(super) location: Location,
}

/// A section's keys.
pub(super) type Table = BTreeMap<String, Node>;

/// The forms that a value can have. Shows itself to nobody: it may be secret.
#[derive(Clone)]
pub(super) enum TreeValue {
    Table(Table),
    List(Vec<Node>),
    /// A string that stands in the file.
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// Text whose type the target decides: the environment knows strings only.
    Untyped {
        text: String,
        /// Read through `env:` or `file:`, so that nothing may repeat it.
        hidden: bool,
    },
    /// A form that no key takes: a float, a date.
    Foreign(&'static str),
    /// What was written could not be read, and that was said already.
    Unreadable,
}

impl Node {
    /// An empty section.
    pub(super) fn section(location: Location) -> Self {
        Self {
            kind: TreeValue::Table(Table::new()),
            location,
        }
    }

    /// A value as the environment gives it.
    pub(super) fn untyped(text: &str, location: Location) -> Self {
        let text = text.to_owned();
        Self {
            kind: TreeValue::Untyped {
                text,
                hidden: false,
            },
            location,
        }
    }

    /// A value that nothing may repeat.
    pub(super) fn hidden(text: String) -> Self {
        Self {
            kind: TreeValue::Untyped { text, hidden: true },
            location: Location::Hookrill,
        }
    }

    /// A value that was complained of already.
    pub(super) fn unreadable() -> Self {
        Self {
            kind: TreeValue::Unreadable,
            location: Location::Hookrill,
        }
    }

    /// The node at `key`, if this is a section that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            TreeValue::Table(keys) => keys.get(key),
            _ => None,
        }
    }
}

/// Reads a TOML file, as far as it can be read.
pub(super) fn toml(name: &Arc<str>, text: &str, diagnostics: &Diagnostics) -> Node {
    let lines = Lines { name, text };
    let (table, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in &errors {
        // Not the error's `Display`, which quotes the line: a secret may
        // stand in it.
        let location = lines.location(error.span().map(|span| span.start));
        diagnostics.add(
            &KeyPath::root(),
            &location,
            format!("this is not TOML: {}", error.message()),
        );
    }
    Node {
        kind: TreeValue::Table(lines.keys(table.into_inner())),
        location: lines.location(None),
    }
}

/// Finds the line of an offset.
struct Lines<'a> {
    name: &'a Arc<str>,
    text: &'a str,
}

impl Lines<'_> {
    fn location(&self, offset: Option<usize>) -> Location {
        let line = offset.and_then(|end| {
            let before = self.text.as_bytes().get(..end)?;
            Some(1 + before.iter().filter(|b| **b == b'\n').count())
        });
        Location::File {
            name: self.name.clone(),
            line,
        }
    }

    fn keys(&self, table: DeTable<'_>) -> Table {
        table
            .into_iter()
            .map(|(key, value)| {
                // A section's own span covers its header only in some forms;
                // the key is what people look for.
                let location = self.location(Some(key.span().start));
                let kind = self.kind(value.into_inner());
                (key.into_inner().into_owned(), Node { kind, location })
            })
            .collect()
    }

    fn kind(&self, value: DeValue<'_>) -> TreeValue {
        match value {
            DeValue::String(text) => TreeValue::Text(text.into_owned()),
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(integer) => TreeValue::Integer(integer),
                    Err(_) => TreeValue::Foreign("a number beyond 64 bits"),
                }
            }
            DeValue::Boolean(yes) => TreeValue::Boolean(yes),
            DeValue::Float(_) => TreeValue::Foreign("a fraction"),
            DeValue::Datetime(_) => TreeValue::Foreign("a date"),
            DeValue::Table(table) => TreeValue::Table(self.keys(table)),
            DeValue::Array(items) => TreeValue::List(
                items
                    .iter()
                    .map(|item| Node {
                        kind: self.kind(item.get_ref().clone()),
                        location: self.location(Some(item.span().start)),
                    })
                    .collect(),
            ),
        }
    }
}
