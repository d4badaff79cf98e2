//! Tables of what is written and of what it results in.

mod errors;
mod limits;
mod newcomers;
mod partition;
mod schemes;
mod sources;
mod usable;
mod warnings;
mod zero_config;

use std::{collections::BTreeMap, io, path::Path};

use super::{Config, ConfigError, Environment, MissingSecrets, Sources};

/// Files and variables that exist in no file system and in no process.
#[derive(Default)]
struct Machine<'a> {
    files: BTreeMap<&'a str, &'a str>,
    variables: Vec<(&'a str, &'a str)>,
    named: Option<&'a str>,
}

impl<'a> Machine<'a> {
    fn with(toml: &'a str) -> Self {
        Self::default().file("hookrill.toml", toml)
    }

    fn file(mut self, path: &'a str, text: &'a str) -> Self {
        self.files.insert(path, text);
        self
    }

    fn set(mut self, name: &'a str, value: &'a str) -> Self {
        self.variables.push((name, value));
        self
    }

    /// Names the configuration file, as `--config` does.
    fn name_file(mut self, path: &'a str) -> Self {
        self.named = Some(path);
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        self.load_or(MissingSecrets::Assume)
    }

    fn load_or(&self, missing: MissingSecrets) -> Result<Config, ConfigError> {
        let environment: Environment = self.variables.iter().copied().collect();
        let read = |path: &Path| match self.files.get(path.to_str().unwrap()) {
            Some(text) => Ok(text.as_bytes().to_owned()),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let mut sources = Sources::new(&environment).with_reader(&read);
        if let Some(file) = self.named {
            sources = sources.with_file(Path::new(file));
        }
        Config::load(sources, missing)
    }

    /// The diagnostics, a line each.
    fn diagnostics(&self) -> Vec<String> {
        match self.load() {
            Ok(_) => Vec::new(),
            Err(error) => error.diagnostics.iter().map(ToString::to_string).collect(),
        }
    }

    /// The warnings, a line each.
    #[track_caller]
    fn warnings(&self) -> Vec<String> {
        let warnings = self.load().unwrap().warnings;
        warnings.iter().map(ToString::to_string).collect()
    }
}

/// Whether a diagnostic begins as expected; `…` stands for any text.
fn says(diagnostic: &str, expected: &str) -> bool {
    let mut parts = expected.split('…');
    let beginning = parts.next().unwrap_or_default();
    let Some(mut rest) = diagnostic.strip_prefix(beginning) else {
        return false;
    };
    parts.all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// The diagnostics are as expected, in any order.
#[track_caller]
fn assert_says(found: &[String], expected: &[&str], of: &str) {
    let is_found = |one: &&&str| found.iter().any(|line| says(line, one));
    let missing: Vec<_> = expected.iter().filter(|one| !is_found(one)).collect();
    assert!(
        missing.is_empty() && found.len() == expected.len(),
        "expected {expected:#?} of\n{of}\nand got {found:#?}"
    );
}

/// The example of the documentation, in which only the section of `"*"` is
/// incomplete.
const EXAMPLE: &str = include_str!("example.toml");

fn example() -> Machine<'static> {
    Machine::with(EXAMPLE)
        .set("HOOKRILL_ADMIN_TOKEN", "admin-token-of-20-by")
        .set("HOOKRILL_TOKEN_SECRET", "0123456789abcdef0123456789abcdef")
        .set("GITHUB_WEBHOOK_SECRET", "It's a Secret to Everybody")
        .set("ORDERS_SECRET", "orders-secret")
}
