//! A tree of the values that people wrote, each with where it was written.
//!
//! Built from TOML and the environment; knows neither the keys nor the types of
//! Hookrill. Not serde, because serde stops at the first error and does not
//! keep where a value was written.

use std::{collections::BTreeMap, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostics, KeyPath, Location};

/// A value and where it was written.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) value: TreeValue,
    pub(super) location: Location,
}

/// The keys of a section.
pub(super) type Table = BTreeMap<String, Node>;

/// The forms of a value. Not `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) enum TreeValue {
    Table(Table),
    List(Vec<Node>),
    /// A string in the file.
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// Text whose type depends on the key: the environment has only strings.
    Untyped {
        text: String,
        /// Whether it was read through `env:` or `file:`. Then no message may
        /// repeat it.
        secret: bool,
    },
    /// A form that no key accepts: a float, a date.
    Unsupported(&'static str),
    /// It could not be read. A diagnostic says so already.
    Invalid,
}

impl Node {
    /// An empty section.
    pub(super) fn section(location: Location) -> Self {
        Self {
            value: TreeValue::Table(Table::new()),
            location,
        }
    }

    /// The value of an environment variable.
    pub(super) fn untyped(text: &str, location: Location) -> Self {
        let text = text.to_owned();
        Self {
            value: TreeValue::Untyped {
                text,
                secret: false,
            },
            location,
        }
    }

    /// A value that no message may repeat.
    pub(super) fn secret(text: String) -> Self {
        Self {
            value: TreeValue::Untyped { text, secret: true },
            location: Location::Default,
        }
    }

    /// A value that a diagnostic is about already.
    pub(super) fn invalid() -> Self {
        Self {
            value: TreeValue::Invalid,
            location: Location::Default,
        }
    }

    /// The node at `key`, if this is a section that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            TreeValue::Table(table) => table.get(key),
            _ => None,
        }
    }
}

/// Parses a TOML file, as far as possible.
pub(super) fn parse_toml(name: &Arc<str>, text: &str, diagnostics: &Diagnostics) -> Node {
    let file = TomlFile { name, text };
    let (table, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in &errors {
        // Not the error's `Display`, and not the error as the source: both
        // quote the line, which may contain a secret.
        let location = file.location(error.span().map(|span| span.start));
        diagnostics.report(
            &KeyPath::root(),
            &location,
            format!("this is not valid TOML: {}", error.message()),
        );
    }
    Node {
        value: TreeValue::Table(file.table(table.into_inner())),
        location: file.location(None),
    }
}

/// Knows the line of every byte of a file.
struct TomlFile<'a> {
    name: &'a Arc<str>,
    text: &'a str,
}

impl TomlFile<'_> {
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

    fn table(&self, table: DeTable<'_>) -> Table {
        let node = |(key, value): (toml::Spanned<_>, toml::Spanned<DeValue<'_>>)| {
            // Of a section, the span covers the header only in some forms; the
            // key is what people look for.
            let location = self.location(Some(key.span().start));
            let value = self.value(value.into_inner());
            let key: std::borrow::Cow<'_, str> = key.into_inner();
            (key.into_owned(), Node { value, location })
        };
        table.into_iter().map(node).collect()
    }

    fn value(&self, value: DeValue<'_>) -> TreeValue {
        match value {
            DeValue::String(text) => TreeValue::Text(text.into_owned()),
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(integer) => TreeValue::Integer(integer),
                    Err(_) => TreeValue::Unsupported("a number that does not fit into 64 bits"),
                }
            }
            DeValue::Boolean(boolean) => TreeValue::Boolean(boolean),
            DeValue::Float(_) => TreeValue::Unsupported("a number with a fraction"),
            DeValue::Datetime(_) => TreeValue::Unsupported("a date"),
            DeValue::Table(table) => TreeValue::Table(self.table(table)),
            DeValue::Array(items) => TreeValue::List(
                items
                    .iter()
                    .map(|item| Node {
                        value: self.value(item.get_ref().clone()),
                        location: self.location(Some(item.span().start)),
                    })
                    .collect(),
            ),
        }
    }
}
