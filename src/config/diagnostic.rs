//! What is wrong with a configuration, and where.
//!
//! Diagnostics are gathered, not returned at the first: who mends a
//! configuration wants to do it once. Invariant: no problem shows a secret,
//! nor anything that was read through `env:` or `file:`.

use std::{cell::RefCell, fmt, sync::Arc};

/// Where in the configuration: `topics.github.secrets[0]`, spelled as in TOML.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPath(String);

impl KeyPath {
    /// The whole configuration.
    pub(super) fn root() -> Self {
        Self::default()
    }

    /// A key in this section.
    pub(super) fn key(&self, key: &str) -> Self {
        let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let key = match !key.is_empty() && key.bytes().all(bare) {
            true => key.to_owned(),
            // Debug also escapes control characters, which a key may have.
            false => format!("{key:?}"),
        };
        match self.0.is_empty() {
            true => Self(key),
            false => Self(format!("{}.{key}", self.0)),
        }
    }

    /// An item of this list.
    pub(super) fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The path as text; empty for the whole configuration.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who wrote a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A configuration file, at this line, counted from 1.
    File {
        /// The file as it was named.
        name: Arc<str>,
        /// The line, where it is known.
        line: Option<usize>,
    },
    /// An environment variable of this name.
    Variable(Arc<str>),
    /// Nobody: a default, or what a start without configuration supplies.
    Hookrill,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                name,
                line: Some(line),
            } => write!(f, "{name}:{line}"),
            Self::File { name, line: None } => f.write_str(name),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Hookrill => f.write_str("not written"),
        }
    }
}

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub path: KeyPath,
    /// Who wrote it.
    pub location: Location,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.0.is_empty() {
            write!(f, "{}: ", self.path.0)?;
        }
        f.write_str(&self.what)?;
        match self.location {
            Location::Hookrill => Ok(()),
            ref location => write!(f, " ({location})"),
        }
    }
}

/// Why there is no usable configuration: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The diagnostics; at least one.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.diagnostics.len() {
            1 => f.write_str("the configuration has an error:")?,
            n => write!(f, "the configuration has {n} errors:")?,
        }
        for problem in &self.diagnostics {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The diagnostics found so far. Shared by all that look.
#[derive(Debug, Default)]
pub(super) struct Diagnostics(RefCell<Vec<Diagnostic>>);

impl Diagnostics {
    pub(super) fn add(&self, path: &KeyPath, location: &Location, what: impl Into<String>) {
        self.0.borrow_mut().push(Diagnostic {
            path: path.clone(),
            location: location.clone(),
            what: what.into(),
        });
    }

    pub(super) fn any(&self) -> bool {
        self.count() > 0
    }

    /// Whether something in this path, or in a part of it, is wrong.
    pub(super) fn below(&self, path: &KeyPath) -> bool {
        let found = self.0.borrow();
        found
            .iter()
            .any(|problem| problem.path.0.starts_with(&path.0))
    }

    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// The value, if nothing was found.
    pub(super) fn unless_any<T>(self, value: T) -> Result<T, ConfigError> {
        let diagnostics = self.0.into_inner();
        match diagnostics.is_empty() {
            true => Ok(value),
            false => Err(ConfigError { diagnostics }),
        }
    }
}
