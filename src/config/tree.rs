//! A tree of the values that people wrote, each with where it was written.
//!
//! Built from TOML and the environment; knows neither the keys nor the types of
//! Hookrill. Not serde, because serde stops at the first error and does not
//! keep where a value was written.

use std::{collections::BTreeMap, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    readable::readable,
};

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

/// Parses a TOML file, as far as possible. Reports keys that are written twice to
/// `diagnostics`, since the rest can be read all the same, and what is not TOML to
/// `not_toml`.
pub(super) fn parse_toml(
    name: &Arc<str>,
    text: &str,
    diagnostics: &Diagnostics,
    not_toml: &Diagnostics,
) -> Node {
    let (parsed, mut errors) = readable(text);
    let (table, more) = DeTable::parse_recoverable(&parsed);
    errors.extend(more);
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let slips = errors.iter().filter(|error| !is_duplicate(error));
    let file = TomlFile {
        name,
        text,
        slips: slips
            .filter_map(|error| Some(error.span()?.start))
            .collect(),
    };
    let mut line_before = None;
    for error in &errors {
        // Not the error's `Display`, and not the error as the source: both
        // quote the line, which may contain a secret.
        let location = file.location_with_column(error.span().map(|span| span.start));
        if is_duplicate(error) {
            let key = error.span().and_then(|span| text.get(span));
            let message = format!(
                "`{}` is written twice; a key or a section can be written only once",
                key.unwrap_or_default().escape_debug()
            );
            diagnostics.report(&KeyPath::root(), &location, message);
            continue;
        }
        // What follows in the same line mostly comes of the first mistake in it.
        let line = file.line(error.span().map(|span| span.start));
        if line.is_some() && line == line_before {
            continue;
        }
        line_before = line;
        let hint = line.and_then(|line| value_hint(text.lines().nth(line - 1)?));
        let message = format!(
            "this is not valid TOML: {}{}",
            error.message(),
            hint.unwrap_or_default()
        );
        not_toml.report(&KeyPath::root(), &location, message);
    }
    Node {
        value: TreeValue::Table(file.table(table.get_ref())),
        location: file.location(None),
    }
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message() == "duplicate key"
}

/// What most lines lack that are not TOML. Repeats nothing of the line, which may be a
/// secret.
fn value_hint(line: &str) -> Option<&'static str> {
    let (_, value) = line.split_once('=')?;
    let value = value.trim();
    if value.is_empty() || value.starts_with('#') {
        return Some("; a value is missing behind the `=`");
    }
    let is_bare = !value.starts_with(['"', '\'', '[', '{', '=']);
    is_bare.then_some("; a text has to be in quotes")
}

/// Knows the line of every byte of a file.
struct TomlFile<'a> {
    name: &'a Arc<str>,
    text: &'a str,
    /// Where it is not TOML. What the parser makes of such a value is a guess.
    slips: Vec<usize>,
}

impl TomlFile<'_> {
    fn line(&self, offset: Option<usize>) -> Option<usize> {
        let before = self.text.as_bytes().get(..offset?)?;
        Some(1 + before.iter().filter(|b| **b == b'\n').count())
    }

    fn location(&self, offset: Option<usize>) -> Location {
        Location::File {
            name: self.name.clone(),
            line: self.line(offset),
            column: None,
        }
    }

    fn location_with_column(&self, offset: Option<usize>) -> Location {
        let before = offset.and_then(|end| self.text.get(..end));
        let of_line = before.map(|before| before.rsplit('\n').next().unwrap_or(before));
        match self.location(offset) {
            Location::File { name, line, .. } => Location::File {
                name,
                line,
                column: of_line.map(|text| text.chars().count() + 1),
            },
            other => other,
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let node = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            // Of a section, the span covers the header only in some forms; the
            // key is what people look for.
            let location = self.location(Some(key.span().start));
            let value = self.value(value);
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            (key.clone().into_owned(), Node { value, location })
        };
        table.iter().map(node).collect()
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> TreeValue {
        let span = value.span();
        if self.has_slip(&(span.start..=span.end)) && !has_sections(value.get_ref()) {
            return TreeValue::Invalid;
        }
        match value.get_ref() {
            DeValue::Table(table) => TreeValue::Table(self.table(table)),
            DeValue::Array(items) => {
                let item = |item: &Spanned<DeValue<'_>>| Node {
                    value: self.value(item),
                    location: self.location(Some(item.span().start)),
                };
                TreeValue::List(items.iter().map(item).collect())
            }
            DeValue::String(text) => TreeValue::Text(text.clone().into_owned()),
            DeValue::Integer(digits) => {
                match i64::from_str_radix(digits.as_str(), digits.radix()) {
                    Ok(integer) => TreeValue::Integer(integer),
                    Err(_) => TreeValue::Unsupported("a number that does not fit into 64 bits"),
                }
            }
            DeValue::Boolean(boolean) => TreeValue::Boolean(*boolean),
            DeValue::Float(_) => TreeValue::Unsupported("a number with a fraction"),
            DeValue::Datetime(_) => TreeValue::Unsupported("a date"),
        }
    }

    fn has_slip(&self, within: &std::ops::RangeInclusive<usize>) -> bool {
        let next = self.slips.partition_point(|slip| slip < within.start());
        self.slips
            .get(next)
            .is_some_and(|slip| within.contains(slip))
    }
}

/// Whether a value is a section, or a list of sections: each key in it is looked at by
/// itself.
fn has_sections(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => {
            let mut each = items.iter();
            !items.is_empty() && each.all(|item| matches!(item.get_ref(), DeValue::Table(_)))
        }
        _ => false,
    }
}
