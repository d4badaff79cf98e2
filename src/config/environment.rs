//! The process's environment, and the keys of a configuration in it.
//!
//! `HOOKRILL__SERVER__LISTEN` is `server.listen`: levels are parted by `__`
//! and lower-cased, list items are `__0`, `__1`. Reads nothing itself but in
//! [`Environment::from_process`].

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    tree::{Node, TreeValue},
};

/// What the name of every key in the environment begins with.
const PREFIX: &str = "HOOKRILL__";
/// The deepest key there is: `topics.<name>.scheme.<part>.<part>.<part>`.
const LEVELS_MAX: usize = 12;

/// Environment variables: the process's own, or a test's.
///
/// Shows itself to nobody, since secrets stand in it.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

/// Why a variable gives no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoText {
    #[error("is not set")]
    Unset,
    #[error("is empty")]
    Empty,
    #[error("is not UTF-8")]
    NotUnicode,
}

impl Environment {
    /// The environment that this process was started with.
    #[must_use]
    pub fn from_process() -> Self {
        std::env::vars_os().collect()
    }

    /// What a variable holds.
    pub(super) fn text(&self, name: &str) -> Result<&str, NoText> {
        let value = self.0.get(name).ok_or(NoText::Unset)?;
        match value.to_str() {
            Some("") => Err(NoText::Empty),
            Some(text) => Ok(text),
            None => Err(NoText::NotUnicode),
        }
    }

    /// What a variable holds; `None` if that is nothing or no text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.text(name).ok()
    }

    /// Writes every `HOOKRILL__` key over the tree of the file.
    pub(super) fn overlay(&self, root: &mut Node, diagnostics: &Diagnostics) {
        let mut keys: Vec<_> = self
            .0
            .keys()
            .filter_map(|name| Some((levels(name.strip_prefix(PREFIX)?), name)))
            .collect();
        // `__10` comes after `__2`, and a section after a value of its name.
        keys.sort_by_cached_key(|(levels, _)| natural(levels));
        for (levels, name) in keys {
            let location = Location::Variable(Arc::from(name.as_str()));
            let what = match self.text(name) {
                _ if levels.len() > LEVELS_MAX || levels.iter().any(String::is_empty) => {
                    Some("a key is words with `__` between them, such as HOOKRILL__SERVER__LISTEN")
                }
                Err(NoText::NotUnicode) => Some("the value is not UTF-8"),
                // An empty value is a value: what takes none will say so.
                text => insert(root, &levels, text.unwrap_or_default(), &location).err(),
            };
            if let Some(what) = what {
                diagnostics.add(&KeyPath::root(), &location, what);
            }
        }
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        // No name that Hookrill or a configuration can ask for is not UTF-8.
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

/// Orders numbers by value, and everything else somehow.
fn natural(levels: &[String]) -> Vec<(usize, String)> {
    let level = |level: &String| match index(level) {
        Some(index) => (index, String::new()),
        None => (usize::MAX, level.clone()),
    };
    levels.iter().map(level).collect()
}

/// A list index: decimal, without leading zeros.
pub(super) fn index(level: &str) -> Option<usize> {
    let digits = !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit());
    let canonical = level == "0" || !level.starts_with('0');
    (digits && canonical).then(|| level.parse().ok()).flatten()
}

/// Puts a value at its key_path, making sections on the way.
///
/// Whether `0` is an item or a topic of that name shows only where the key
/// meets a list of the file's; elsewhere a section is made, which
/// [`Node::items`] can read as a list.
fn insert(
    node: &mut Node,
    levels: &[String],
    text: &str,
    location: &Location,
) -> Result<(), &'static str> {
    let Some((level, below)) = levels.split_first() else {
        // Nothing but the environment makes untyped values so far.
        if let TreeValue::Untyped { .. } = node.kind {
            return Err("another variable sets the same key");
        }
        *node = Node::untyped(text, location.clone());
        return Ok(());
    };
    let section = || Node::section(location.clone());
    if !matches!(
        node.kind,
        TreeValue::Table(_) | TreeValue::List(_) | TreeValue::Untyped { .. }
    ) {
        *node = section();
    }
    let child = match &mut node.kind {
        TreeValue::Table(keys) => keys.entry(level.clone()).or_insert_with(section),
        TreeValue::List(items) => {
            let index = index(level).ok_or("this is a list: its items are __0, __1, …")?;
            if index == items.len() {
                items.push(section());
            }
            let item = items.get_mut(index);
            item.ok_or("an item before this one is missing: count from __0")?
        }
        _ => return Err("another variable sets the key above this one as a value"),
    };
    insert(child, below, text, location)
}
