//! What people wrote, with who wrote it: a tree out of TOML and environment.
//!
//! Knows no keys and no types of Hookrill's. Not serde, because serde stops
//! at the first error and keeps no origins.

use std::{collections::BTreeMap, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Place, Problems};

/// A value and who wrote it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) origin: Origin,
}

/// A section's keys.
pub(super) type Keys = BTreeMap<String, Node>;

/// The forms that a value can have. Shows itself to nobody: it may be secret.
#[derive(Clone)]
pub(super) enum Kind {
    Table(Keys),
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
    pub(super) fn section(origin: Origin) -> Self {
        Self {
            kind: Kind::Table(Keys::new()),
            origin,
        }
    }

    /// A value as the environment gives it.
    pub(super) fn untyped(text: &str, origin: Origin) -> Self {
        let text = text.to_owned();
        Self {
            kind: Kind::Untyped {
                text,
                hidden: false,
            },
            origin,
        }
    }

    /// A value that nothing may repeat.
    pub(super) fn hidden(text: String) -> Self {
        Self {
            kind: Kind::Untyped { text, hidden: true },
            origin: Origin::Hookrill,
        }
    }

    /// A value that was complained of already.
    pub(super) fn unreadable() -> Self {
        Self {
            kind: Kind::Unreadable,
            origin: Origin::Hookrill,
        }
    }

    /// The node at `key`, if this is a section that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Table(keys) => keys.get(key),
            _ => None,
        }
    }
}

/// Reads a TOML file, as far as it can be read.
pub(super) fn toml(name: &Arc<str>, text: &str, problems: &Problems) -> Node {
    let lines = Lines { name, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // Not the error's `Display`, which quotes the line: a secret may
        // stand in it.
        let origin = lines.origin(error.span().map(|span| span.start));
        problems.add(
            &Place::root(),
            &origin,
            format!("this is not TOML: {}", error.message()),
        );
    }
    Node {
        kind: Kind::Table(lines.keys(table.into_inner())),
        origin: lines.origin(None),
    }
}

/// Finds the line of an offset.
struct Lines<'a> {
    name: &'a Arc<str>,
    text: &'a str,
}

impl Lines<'_> {
    fn origin(&self, offset: Option<usize>) -> Origin {
        let line = offset.and_then(|end| {
            let before = self.text.as_bytes().get(..end)?;
            Some(1 + before.iter().filter(|b| **b == b'\n').count())
        });
        Origin::File {
            name: self.name.clone(),
            line,
        }
    }

    fn keys(&self, table: DeTable<'_>) -> Keys {
        table
            .into_iter()
            .map(|(key, value)| {
                // A section's own span covers its header only in some forms;
                // the key is what people look for.
                let origin = self.origin(Some(key.span().start));
                let kind = self.kind(value.into_inner());
                (key.into_inner().into_owned(), Node { kind, origin })
            })
            .collect()
    }

    fn kind(&self, value: DeValue<'_>) -> Kind {
        match value {
            DeValue::String(text) => Kind::Text(text.into_owned()),
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(integer) => Kind::Integer(integer),
                    Err(_) => Kind::Foreign("a number beyond 64 bits"),
                }
            }
            DeValue::Boolean(yes) => Kind::Boolean(yes),
            DeValue::Float(_) => Kind::Foreign("a fraction"),
            DeValue::Datetime(_) => Kind::Foreign("a date"),
            DeValue::Table(table) => Kind::Table(self.keys(table)),
            DeValue::Array(items) => Kind::List(
                items
                    .iter()
                    .map(|item| Node {
                        kind: self.kind(item.get_ref().clone()),
                        origin: self.origin(Some(item.span().start)),
                    })
                    .collect(),
            ),
        }
    }
}
