//! Reads what a configuration consists of: a file, the environment, and the
//! values that `env:NAME` and `file:PATH` refer to.
//!
//! Reads files through a function that the caller provides, so that tests need
//! no files.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    diagnostic::{ConfigError, Diagnostics, KeyPath, Location, Mistake},
    environment::{Environment, VariableError},
    hints, secrets,
    slips::Slips,
    tree::{self, Node, TreeValue},
    values,
};

/// The file that is read by default.
const FILE: &str = "hookrill.toml";
/// The longest file that is read, in bytes: a device or a log that was named by
/// mistake must not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What to read a configuration from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    file: Option<&'a Path>,
    pub(super) environment: &'a Environment,
    read: ReadFile<'a>,
}

/// Reads a whole file.
type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// Why the value that `env:NAME` or `file:PATH` refers to can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The environment variable can't be used.
    #[error(
        "the environment variable {name} {problem}; {}",
        match near {
            Some(near) => format!("did you mean `env:{near}`?"),
            None => format!("set it, or change `env:{name}`"),
        }
    )]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong with it.
        problem: VariableError,
        /// The variable that was probably meant.
        near: Option<String>,
    },
    /// There is no such variable, and its name may be the secret itself.
    #[error(
        "the text after env: is not the name of a variable that is set; is it the secret itself? \
         (It is not shown here, since it may be){}",
        match near {
            Some(near) => format!("; did you mean `env:{near}`?"),
            None => String::new(),
        }
    )]
    NotAName {
        /// The variable that was probably meant.
        near: Option<String>,
    },
    /// Several references in one text.
    #[error("must be a list with one reference in each item: [\"env:A\", \"env:B\"]")]
    Several,
    /// Nothing follows `env:` or `file:`.
    #[error("nothing follows `{reference}`; write {example}")]
    Empty {
        /// `file:`.
        reference: &'static str,
        /// How a whole one looks.
        example: &'static str,
    },
    /// There is no such file, and its path may be the secret itself.
    #[error(
        "there is no file where the text after file: says; is it the secret itself? (It is not \
         shown here, since it may be)"
    )]
    NotAPath,
    /// The path begins with what only a shell replaces.
    #[error("{problem}; write the whole path, not {}", path.display())]
    FileUnexpanded {
        /// The path as it is written.
        path: PathBuf,
        /// What is not replaced.
        problem: &'static str,
    },
    /// The text is a reference in the spelling of another tool.
    #[error("the value {0}")]
    Lookalike(String),
    /// The file can't be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not UTF-8.
    #[error("{} is not UTF-8", path.display())]
    FileNotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The file is empty.
    #[error("{} is empty; write the value into it", path.display())]
    FileEmpty {
        /// The file.
        path: PathBuf,
    },
}

impl<'a> Sources<'a> {
    /// This environment, and the file that its `HOOKRILL_CONFIG` names, or else
    /// `./hookrill.toml` if it exists.
    #[must_use]
    pub fn new(environment: &'a Environment) -> Self {
        Self {
            file: None,
            environment,
            read: &read_file,
        }
    }

    /// The same with this configuration file, which has to exist.
    #[must_use]
    pub fn with_file(self, file: &'a Path) -> Self {
        Self {
            file: Some(file),
            ..self
        }
    }

    /// The same, with files read by `read` instead of [`read_file`].
    #[must_use]
    pub fn with_reader(self, read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Self {
        Self { read, ..self }
    }

    /// A value that stands somewhere else than in a configuration, such as on
    /// the command line: `text` itself, or what it refers to by `env:NAME` or
    /// `file:PATH`.
    ///
    /// # Errors
    ///
    /// [`ReferenceError`] where the reference can't be resolved.
    pub fn value(&self, text: &str) -> Result<String, ReferenceError> {
        if let Some(resolved) = resolve(text, *self) {
            return resolved;
        }
        match secrets::lookalike(text) {
            Some(message) => Err(ReferenceError::Lookalike(message)),
            None => Ok(text.to_owned()),
        }
    }
}

/// Reads a whole file of at most 1 MiB.
///
/// # Errors
///
/// The system's error, or one of its own for longer files.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("the file is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// Everything that was written: the environment over the file.
pub(super) struct Merged {
    pub(super) root: Node,
    /// The file that was read.
    pub(super) file: Option<PathBuf>,
    /// The variables that are named by `env:`.
    pub(super) variables: BTreeSet<String>,
    /// Where the file is not TOML.
    pub(super) slips: Option<Slips>,
}

/// Finds and merges what was written.
///
/// # Errors
///
/// Where the file can't be read.
pub(super) fn merge(
    sources: Sources<'_>,
    diagnostics: &Diagnostics,
) -> Result<Merged, ConfigError> {
    let of_file = Diagnostics::default();
    let file = find_file(sources, &of_file);
    of_file.into_result(())?;
    let not_toml = Diagnostics::default();
    let mut root = match &file {
        Some((path, text)) => {
            let name = Arc::from(path.display().to_string());
            tree::parse_toml(&name, text, diagnostics, &not_toml)
        }
        None => Node::section(Location::Default),
    };
    sources.environment.overlay(&mut root, diagnostics);
    let slips = (!not_toml.is_empty()).then(|| Slips::new(not_toml.into_errors(), &root));
    let mut variables = BTreeSet::new();
    add_variables(&root, &mut variables);
    resolve_all(&mut root, &KeyPath::root(), sources, diagnostics);
    Ok(Merged {
        root,
        file: file.map(|(path, _)| path),
        variables,
        slips,
    })
}

/// Adds every `NAME` that is written as `env:NAME`.
fn add_variables(node: &Node, variables: &mut BTreeSet<String>) {
    match &node.value {
        TreeValue::Table(table) => {
            for child in table.values() {
                add_variables(child, variables);
            }
        }
        TreeValue::List(items) => {
            for item in items {
                add_variables(item, variables);
            }
        }
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } => {
            variables.extend(text.strip_prefix("env:").map(str::to_owned));
        }
        _ => {}
    }
}

/// The file: `--config`, else `HOOKRILL_CONFIG`, else `./hookrill.toml`.
pub(super) fn find_file(
    sources: Sources<'_>,
    diagnostics: &Diagnostics,
) -> Option<(PathBuf, String)> {
    const VARIABLE: &str = "HOOKRILL_CONFIG";
    let (path, named_by) = match (sources.file, sources.environment.get(VARIABLE)) {
        (Some(path), _) => (path, " (named by --config)"),
        (None, Some(path)) => (Path::new(path), " (named by HOOKRILL_CONFIG)"),
        (None, None) => (Path::new(FILE), ""),
    };
    let is_default = named_by.is_empty();
    let message = format!("cannot read {}{named_by}", path.display());
    let mistake = match (sources.read)(path).map(String::from_utf8) {
        Ok(Ok(text)) => return Some((path.to_owned(), text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_default => return None,
        Ok(Err(_)) => Mistake::from(format!("{message}: it is not UTF-8")),
        Err(error) => Mistake::caused_by(message, error),
    };
    diagnostics.report(&KeyPath::root(), &Location::Default, mistake);
    None
}

/// Replaces each `env:NAME` and `file:PATH` by the value that it refers to.
/// What stands there is a value, and never refers to another.
fn resolve_all(node: &mut Node, path: &KeyPath, sources: Sources<'_>, diagnostics: &Diagnostics) {
    match &mut node.value {
        TreeValue::Table(table) => {
            for (key, child) in table {
                resolve_all(child, &path.key(key), sources, diagnostics);
            }
        }
        TreeValue::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                resolve_all(item, &path.item(index), sources, diagnostics);
            }
        }
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } => {
            let Some(resolved) = resolve(text, sources) else {
                return;
            };
            node.value = match resolved {
                Ok(secret) => TreeValue::Untyped {
                    text: secret,
                    secret: true,
                },
                Err(error) => {
                    diagnostics.report(path, &node.location, Mistake::from_error(error));
                    TreeValue::Invalid
                }
            };
        }
        _ => {}
    }
}

/// The value that `text` refers to; `None` where it is not a reference.
fn resolve(text: &str, sources: Sources<'_>) -> Option<Result<String, ReferenceError>> {
    match text.split_once(':')? {
        ("env" | "file", rest) if is_several(rest) => Some(Err(ReferenceError::Several)),
        ("env", name) if name.trim().is_empty() => Some(Err(ReferenceError::Empty {
            reference: "env:",
            example: "the name of a variable, as in env:GITHUB_SECRET",
        })),
        ("file", path) if path.trim().is_empty() => Some(Err(ReferenceError::Empty {
            reference: "file:",
            example: "the path of a file, as in file:/run/secrets/github",
        })),
        ("env", name) => Some(variable(name, sources.environment)),
        ("file", path) => Some(match values::unexpanded(path) {
            Some(problem) => Err(ReferenceError::FileUnexpanded {
                path: path.into(),
                problem,
            }),
            None => file(Path::new(path), sources.read).map_err(|error| match error {
                ReferenceError::File { .. } if !secrets::is_plainly_a_path(path) => {
                    ReferenceError::NotAPath
                }
                error => error,
            }),
        }),
        _ => None,
    }
}

/// Whether more than one reference stands in a text, as in `env:A,env:B`.
fn is_several(after_first: &str) -> bool {
    let others = after_first.split([',', ';', ' ']).skip(1);
    let mut others = others.map(|text| text.trim_matches(['"', '\'']));
    others.any(|other| other.starts_with("env:") || other.starts_with("file:"))
}

fn variable(name: &str, environment: &Environment) -> Result<String, ReferenceError> {
    let problem = match environment.text(name) {
        Ok(text) => return Ok(text.to_owned()),
        Err(problem) => problem,
    };
    // What is in the environment is a name.
    let is_unset = problem == VariableError::Unset;
    let near = is_unset.then(|| near(name, environment)).flatten();
    if is_unset && !secrets::is_plainly_a_name(name) {
        return Err(ReferenceError::NotAName { near });
    }
    let name = name.to_owned();
    Err(ReferenceError::Variable {
        name,
        problem,
        near,
    })
}

/// What was meant by `env://NAME`, `env:$NAME`, or a misspelt name.
fn near(written: &str, environment: &Environment) -> Option<String> {
    let plain = secrets::variable_name(written);
    if plain != written && secrets::is_plainly_a_name(plain) {
        return Some(plain.to_owned());
    }
    let names: Vec<&str> = environment.iter().map(|(name, _)| name).collect();
    hints::nearest_name(written, &names).map(str::to_owned)
}

/// The text of a file without the line ends that editors and `echo` leave at
/// its end.
fn file(path: &Path, read: ReadFile<'_>) -> Result<String, ReferenceError> {
    let path = path.to_owned();
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(source) => return Err(ReferenceError::File { path, source }),
    };
    // Not with the error as the source: that holds the bytes, which are secret.
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(ReferenceError::FileNotUtf8 { path });
    };
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(ReferenceError::FileEmpty { path }),
        text => Ok(text.to_owned()),
    }
}
