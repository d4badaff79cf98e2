//! The process's environment, and the configuration keys in it.
//!
//! `HOOKRILL__SERVER__LISTEN` is `server.listen`: `__` separates the levels,
//! which are converted to lower case; `__0`, `__1` are the items of a list.
//! Reads the environment only in [`Environment::from_process`].

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    tree::{Node, TreeValue},
};

/// The prefix of every variable that sets a key.
pub(super) const PREFIX: &str = "HOOKRILL__";
/// The deepest key there is: `topics.<name>.scheme.<part>.<part>.<part>`.
const LEVELS_MAX: usize = 12;

/// Environment variables: those of the process, or others.
///
/// Not `Debug`, since there are secrets in it.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

/// Why a variable can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariableError {
    /// There is no such variable.
    #[error("is not set")]
    Unset,
    /// Its value is empty.
    #[error("is empty")]
    Empty,
    /// Its value is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn from_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The value of a variable, without the line ends that `$(cat FILE)` does not
    /// leave and other ways to fill a variable do.
    pub(super) fn text(&self, name: &str) -> Result<&str, VariableError> {
        let value = self.0.get(name).ok_or(VariableError::Unset)?;
        match value
            .to_str()
            .map(|text| text.trim_end_matches(['\r', '\n']))
        {
            Some("") => Err(VariableError::Empty),
            Some(text) => Ok(text),
            None => Err(VariableError::NotUtf8),
        }
    }

    /// All variables by name; `None` stands for a value that is not UTF-8.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let variables = self.0.iter();
        variables.map(|(name, value)| (name.as_str(), value.to_str()))
    }

    /// The value of a variable; `None` where it is not set, empty or not UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.text(name).ok()
    }

    /// Whether a terminal may be shown colours: not with `NO_COLOR` (no-color.org), and
    /// not where `TERM` says that it understands nothing.
    #[must_use]
    pub fn allows_color(&self) -> bool {
        self.get("NO_COLOR").is_none() && self.get("TERM") != Some("dumb")
    }

    /// Writes every `HOOKRILL__` key over the tree of the file.
    pub(super) fn overlay(&self, root: &mut Node, diagnostics: &Diagnostics) {
        let mut keys: Vec<_> = self
            .0
            .keys()
            .filter_map(|name| Some((levels(name.strip_prefix(PREFIX)?), name)))
            .collect();
        // So that `__10` comes after `__2`, and a section after a value of the
        // same name.
        keys.sort_by_cached_key(|(levels, _)| numeric_order(levels));
        for (levels, name) in keys {
            let location = Location::Variable(Arc::from(name.as_str()));
            if let Err(message) = self.insert_variable(root, &levels, name, &location) {
                diagnostics.report(&KeyPath::root(), &location, message);
            }
        }
    }

    fn insert_variable(
        &self,
        root: &mut Node,
        levels: &[String],
        name: &str,
        location: &Location,
    ) -> Result<(), &'static str> {
        if levels.len() > LEVELS_MAX || levels.iter().any(String::is_empty) {
            return Err(
                "the name must be words with `__` between them, such as HOOKRILL__SERVER__LISTEN",
            );
        }
        match self.text(name) {
            Err(VariableError::NotUtf8) => Err("the value is not UTF-8"),
            // An empty value counts as written: keys that need a value report
            // it.
            text => insert(root, levels, text.unwrap_or_default(), location),
        }
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        // Nothing asks for a name that is not UTF-8.
        let named = |(name, value): (OsString, _)| Some((name.into_string().ok()?, value));
        Self(variables.into_iter().filter_map(named).collect())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(variables: I) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.into());
        Self(variables.into_iter().map(owned).collect())
    }
}

fn levels(key: &str) -> Vec<String> {
    key.split("__").map(str::to_ascii_lowercase).collect()
}

/// Sorts indexes by number, before everything else.
fn numeric_order(levels: &[String]) -> Vec<(usize, String)> {
    let level = |level: &String| match parse_index(level) {
        Some(index) => (index, String::new()),
        None => (usize::MAX, level.clone()),
    };
    levels.iter().map(level).collect()
}

/// A list index: decimal, without leading zeros.
pub(super) fn parse_index(level: &str) -> Option<usize> {
    let is_number = !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit());
    let is_canonical = level == "0" || !level.starts_with('0');
    if !is_number || !is_canonical {
        return None;
    }
    level.parse().ok()
}

/// Puts a value at its place, and creates the sections on the way.
///
/// `0` may be an item of a list or the name of a topic. That is known only
/// where the file has a list at that place; elsewhere this creates a section,
/// which [`Node::items`] can read as a list.
fn insert(
    node: &mut Node,
    levels: &[String],
    text: &str,
    location: &Location,
) -> Result<(), &'static str> {
    let Some((level, below)) = levels.split_first() else {
        // At this point, only the environment has made untyped values.
        if let TreeValue::Untyped { .. } = node.value {
            return Err("another variable sets the same key");
        }
        *node = Node::untyped(text, location.clone());
        return Ok(());
    };
    let section = || Node::section(location.clone());
    if !matches!(
        node.value,
        TreeValue::Table(_) | TreeValue::List(_) | TreeValue::Untyped { .. }
    ) {
        *node = section();
    }
    let child = match &mut node.value {
        TreeValue::Table(table) => table.entry(level.clone()).or_insert_with(section),
        TreeValue::List(items) => {
            let index =
                parse_index(level).ok_or("this key is a list: its items are __0, __1, …")?;
            if index == items.len() {
                items.push(section());
            }
            let item = items.get_mut(index);
            item.ok_or("an item before this one is missing: number the items from __0")?
        }
        _ => return Err("another variable sets the key above this one to a single value"),
    };
    insert(child, below, text, location)
}
