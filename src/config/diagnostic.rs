//! What is wrong with a configuration, and where.
//!
//! Mistakes are collected instead of stopping at the first one, so that they
//! can all be corrected at once. Invariant: no diagnostic contains a secret, or
//! anything that was read through `env:` or `file:`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    sync::Arc,
};

use crate::telemetry::append_causes;

/// The path of a key, as TOML spells it: `topics.github.secrets[0]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
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
    pub(super) fn includes(&self, other: &Self) -> bool {
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
        /// The column in that line, in characters from 1, where it says more
        /// than the key does.
        column: Option<usize>,
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
                name, line, column, ..
            } => {
                f.write_str(name)?;
                for number in line.iter().chain(column) {
                    write!(f, ":{number}")?;
                }
                Ok(())
            }
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Location {
    /// The line in the file, where it is known.
    pub(super) fn line(&self) -> Option<usize> {
        match self {
            Self::File { line, .. } => *line,
            _ => None,
        }
    }

    /// Orders what is read from the top of the file to its end, and after it
    /// what is not in the file.
    fn order(&self) -> (u8, usize, usize) {
        match self {
            Self::File { line, column, .. } => (0, line.unwrap_or(0), column.unwrap_or(0)),
            Self::Variable(_) => (1, 0, 0),
            Self::Default => (2, 0, 0),
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

/// What follows from a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// The configuration can't be used.
    Error,
    /// It can be used, and probably does not do what its writer meant.
    Warning,
}

/// One mistake in a configuration, or something in it that has no effect.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Diagnostic {
    /// What follows from it.
    pub severity: Severity,
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
    /// What else to look at.
    pub warnings: Vec<Diagnostic>,
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
        for warning in &self.warnings {
            write!(f, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

/// A key that no section knows.
pub(super) struct UnknownKey {
    pub(super) key: String,
    pub(super) path: KeyPath,
    pub(super) location: Location,
    /// The keys of its section.
    pub(super) known: Vec<&'static str>,
}

/// Collects diagnostics. Everything that checks shares one.
#[derive(Default)]
pub(super) struct Diagnostics {
    errors: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
    /// Reported once all keys are known, since one may belong to another section.
    unknown: RefCell<Vec<UnknownKey>>,
    /// The keys of each section.
    known: RefCell<BTreeMap<KeyPath, BTreeSet<&'static str>>>,
}

impl Diagnostics {
    /// Reports an error.
    pub(super) fn report(&self, path: &KeyPath, location: &Location, mistake: impl Into<Mistake>) {
        let error = diagnostic(Severity::Error, path, location, mistake.into());
        self.errors.borrow_mut().push(error);
    }

    /// Reports what is legal, and probably not meant.
    pub(super) fn warn(&self, path: &KeyPath, location: &Location, mistake: impl Into<Mistake>) {
        let warning = diagnostic(Severity::Warning, path, location, mistake.into());
        self.warnings.borrow_mut().push(warning);
    }

    /// Reports a key that its section does not know.
    pub(super) fn report_unknown(&self, unknown: UnknownKey) {
        self.unknown.borrow_mut().push(unknown);
    }

    /// The keys that were reported as unknown, to be explained.
    pub(super) fn take_unknown(&self) -> Vec<UnknownKey> {
        self.unknown.take()
    }

    /// Remembers that a section has this key.
    pub(super) fn add_known(&self, section: &KeyPath, key: &'static str) {
        let mut known = self.known.borrow_mut();
        known.entry(section.clone()).or_default().insert(key);
    }

    /// The keys of each section that was looked at.
    pub(super) fn known(&self) -> BTreeMap<KeyPath, BTreeSet<&'static str>> {
        self.known.borrow().clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many errors there are.
    pub(super) fn len(&self) -> usize {
        self.errors.borrow().len()
    }

    /// Keeps only the errors, and the unknown keys by their place, that these say; no
    /// warning.
    pub(super) fn retain(
        &self,
        is_kept: impl Fn(&Diagnostic) -> bool,
        is_unknown_kept: impl Fn(&Location) -> bool,
    ) {
        self.errors.borrow_mut().retain(is_kept);
        let mut unknown = self.unknown.borrow_mut();
        unknown.retain(|unknown| is_unknown_kept(&unknown.location));
        self.warnings.borrow_mut().clear();
    }

    /// The errors.
    pub(super) fn into_errors(self) -> Vec<Diagnostic> {
        self.errors.into_inner()
    }

    /// Whether this key, or one below it, has a mistake.
    pub(super) fn any_in(&self, path: &KeyPath) -> bool {
        let errors = self.errors.borrow();
        errors
            .iter()
            .any(|diagnostic| path.includes(&diagnostic.path))
    }

    /// The value and the warnings about it, if there is no mistake.
    pub(super) fn into_result<T>(self, value: T) -> Result<(T, Vec<Diagnostic>), ConfigError> {
        debug_assert!(
            self.unknown.borrow().is_empty(),
            "unknown keys are explained before the end"
        );
        let (mut diagnostics, mut warnings) = (self.errors.take(), self.warnings.take());
        for list in [&mut diagnostics, &mut warnings] {
            list.sort_by_key(|diagnostic| diagnostic.location.order());
        }
        if diagnostics.is_empty() {
            return Ok((value, warnings));
        }
        Err(ConfigError {
            diagnostics,
            warnings,
        })
    }
}

fn diagnostic(
    severity: Severity,
    path: &KeyPath,
    location: &Location,
    mistake: Mistake,
) -> Diagnostic {
    let Mistake { message, source } = mistake;
    debug_assert!(!message.is_empty(), "a diagnostic says what is wrong");
    Diagnostic {
        severity,
        path: path.clone(),
        location: location.clone(),
        message,
        source,
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
            column: None,
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
