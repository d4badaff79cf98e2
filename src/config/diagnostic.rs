//! What is wrong with a configuration, and where.
//!
//! Mistakes are collected instead of stopping at the first one, so that they
//! can all be corrected at once. Invariant: no diagnostic contains a secret, or
//! anything that was read through `env:` or `file:`.

use std::{cell::RefCell, error::Error, fmt, sync::Arc};

use crate::telemetry::append_causes;

/// The path of a key, as TOML spells it: `topics.github.secrets[0]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPath(String);

impl KeyPath {
    /// The whole configuration.
    pub(super) fn root() -> Self {
        Self::default()
    }

    /// A key in this section.
    pub(super) fn key(&self, key: &str) -> Self {
        let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let key = if !key.is_empty() && key.bytes().all(is_bare) {
            key.to_owned()
        } else {
            // Debug also escapes control characters, which a key may have.
            format!("{key:?}")
        };
        if self.0.is_empty() {
            Self(key)
        } else {
            Self(format!("{}.{key}", self.0))
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

    /// Whether `other` is this key or stands below it.
    fn includes(&self, other: &Self) -> bool {
        let rest = other.0.strip_prefix(&self.0);
        rest.is_some_and(|rest| {
            self.0.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])
        })
    }
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// In a configuration file.
    File {
        /// The file, as it was named.
        name: Arc<str>,
        /// The line, counted from 1, where it is known.
        line: Option<usize>,
    },
    /// In the environment variable of this name.
    Variable(Arc<str>),
    /// Nowhere: it is a default, or belongs to zero configuration.
    Default,
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
            Self::Default => f.write_str("default"),
        }
    }
}

/// What is wrong with a value: a sentence that says what to write instead, and
/// the error that it comes from.
#[derive(Debug, Clone)]
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Mistake {
    /// The error's own message, and the error as the source.
    pub(super) fn from_error(error: impl Error + Send + Sync + 'static) -> Self {
        Self::caused_by(error.to_string(), error)
    }

    pub(super) fn caused_by(
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            message: message.into(),
            source: Some(Arc::new(source)),
        }
    }
}

impl From<String> for Mistake {
    fn from(message: String) -> Self {
        Self {
            message,
            source: None,
        }
    }
}

impl From<&str> for Mistake {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

/// One mistake in a configuration.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Diagnostic {
    /// The key that it is about; empty for the whole configuration.
    pub path: KeyPath,
    /// Where the value was written.
    pub location: Location,
    /// What is wrong and what to do.
    pub message: String,
    /// The error that it comes from.
    pub source: Option<Arc<dyn Error + Send + Sync>>,
}

/// `topics.a.secrets[0]: cannot read /run/a: No such file (hookrill.toml:4)`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.0.is_empty() {
            write!(f, "{}: ", self.path.0)?;
        }
        let source = self.source.as_deref();
        let source = source.map(|source| source as &dyn Error);
        f.write_str(&append_causes(self.message.clone(), source))?;
        match &self.location {
            Location::Default => Ok(()),
            location => write!(f, " ({location})"),
        }
    }
}

/// Why a configuration can't be used: all its mistakes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConfigError {
    /// The mistakes; at least one.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.diagnostics.len() {
            1 => f.write_str("the configuration has an error:")?,
            count => write!(f, "the configuration has {count} errors:")?,
        }
        for diagnostic in &self.diagnostics {
            write!(f, "\n  {diagnostic}")?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

/// Collects diagnostics. Everything that checks shares one.
#[derive(Debug, Default)]
pub(super) struct Diagnostics(RefCell<Vec<Diagnostic>>);

impl Diagnostics {
    pub(super) fn report(&self, path: &KeyPath, location: &Location, mistake: impl Into<Mistake>) {
        let Mistake { message, source } = mistake.into();
        debug_assert!(!message.is_empty(), "a diagnostic says what is wrong");
        self.0.borrow_mut().push(Diagnostic {
            path: path.clone(),
            location: location.clone(),
            message,
            source,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether this key, or one below it, has a mistake.
    pub(super) fn any_in(&self, path: &KeyPath) -> bool {
        let found = self.0.borrow();
        found
            .iter()
            .any(|diagnostic| path.includes(&diagnostic.path))
    }

    /// The value, if there is no mistake.
    pub(super) fn into_result<T>(self, value: T) -> Result<T, ConfigError> {
        let diagnostics = self.0.into_inner();
        if diagnostics.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError { diagnostics })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_includes_what_stands_below_it_and_not_what_only_begins_alike() {
        let key = KeyPath::root().key("topics").key("a");
        for below in [key.clone(), key.key("b"), key.item(0)] {
            assert!(key.includes(&below), "{below:?}");
        }
        for other in [
            KeyPath::root().key("topics").key("ab"),
            KeyPath::root().key("topics"),
        ] {
            assert!(!key.includes(&other), "{other:?}");
        }
        assert!(KeyPath::root().includes(&key));
    }

    #[test]
    fn a_mistake_is_shown_with_its_causes_and_the_place_where_it_was_written() {
        let diagnostics = Diagnostics::default();
        let location = Location::File {
            name: "a.toml".into(),
            line: Some(3),
        };
        let source = std::io::Error::other("it is gone");
        let path = KeyPath::root().key("b");
        diagnostics.report(
            &path,
            &location,
            Mistake::caused_by("cannot read c", source),
        );
        let error = diagnostics.into_result(()).unwrap_err();
        let shown = error.diagnostics[0].to_string();
        assert_eq!(shown, "b: cannot read c: it is gone (a.toml:3)");
        assert!(error.diagnostics[0].source.is_some());
    }
}
