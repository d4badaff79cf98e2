//! Where a configuration comes from: a file, the environment, and what values
//! of the form `env:NAME` and `file:PATH` point to.
//!
//! Files are read through a function that is handed in, so that tests are
//! tables.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    diagnostic::{ConfigError, Diagnostics, KeyPath, Location},
    environment::Environment,
    tree::{self, Node, TreeValue},
};

/// The file that is read without being asked for.
const FILE: &str = "hookrill.toml";
/// The longest configuration or secret that is read: a device or a log named
/// by mistake must not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a configuration is read from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The file that was asked for by `--config`.
    pub file: Option<&'a Path>,
    /// The environment.
    pub environment: &'a Environment,
    /// Reads a whole file.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

impl Sources<'_> {
    /// A value given elsewhere than in a configuration, such as on the command
    /// line: itself, or what it points to by `env:NAME` or `file:PATH`.
    ///
    /// # Errors
    ///
    /// What is wrong with the key_path it points to.
    pub fn value(&self, text: &str) -> Result<String, String> {
        pointed_to(text, *self).unwrap_or_else(|| Ok(text.to_owned()))
    }
}

/// Reads a whole file of at most 1 MiB.
///
/// # Errors
///
/// As the file system says, and for longer files.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other("it is longer than 1 MiB")),
        false => Ok(bytes),
    }
}

/// All that was written, merged: the environment over the file.
pub(super) struct Written {
    pub(super) root: Node,
    /// The file that was found.
    pub(super) file: Option<PathBuf>,
}

/// Finds and merges what was written.
///
/// # Errors
///
/// Where a file cannot be read or is not TOML. Then nothing else is checked:
/// what half a file seems to say is a guess.
pub(super) fn collect(
    sources: Sources<'_>,
    diagnostics: &Diagnostics,
) -> Result<Written, ConfigError> {
    let unread = Diagnostics::default();
    let file = find(sources, &unread);
    let mut root = match &file {
        Some((path, text)) => {
            let name = Arc::from(path.display().to_string());
            tree::toml(&name, text, &unread)
        }
        None => Node::section(Location::Hookrill),
    };
    unread.unless_any(())?;
    sources.environment.overlay(&mut root, diagnostics);
    follow(&mut root, &KeyPath::root(), sources, diagnostics);
    Ok(Written {
        root,
        file: file.map(|(path, _)| path),
    })
}

/// The file: `--config`, else `HOOKRILL_CONFIG`, else `./hookrill.toml`.
fn find(sources: Sources<'_>, unread: &Diagnostics) -> Option<(PathBuf, String)> {
    const VARIABLE: &str = "HOOKRILL_CONFIG";
    let named = sources.environment.get(VARIABLE);
    let (path, asked_by) = match (sources.file, named) {
        (Some(path), _) => (path, Some("--config")),
        (None, Some(path)) => (Path::new(path), Some(VARIABLE)),
        (None, None) => (Path::new(FILE), None),
    };
    let error = match (sources.read)(path).map(String::from_utf8) {
        Ok(Ok(text)) => return Some((path.to_owned(), text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && asked_by.is_none() => return None,
        Ok(Err(_)) => "it is not UTF-8".to_owned(),
        Err(error) => error.to_string(),
    };
    let mut what = format!("{} cannot be read: {error}", path.display());
    if let Some(asked_by) = asked_by {
        let _ = write!(what, "; {asked_by} names it");
    }
    unread.add(&KeyPath::root(), &Location::Hookrill, what);
    None
}

/// Replaces each `env:NAME` and `file:PATH` by what it points to, once: what
/// is found there is a value, and points nowhere.
fn follow(node: &mut Node, key_path: &KeyPath, sources: Sources<'_>, diagnostics: &Diagnostics) {
    match &mut node.kind {
        TreeValue::Table(keys) => {
            for (key, child) in keys {
                follow(child, &key_path.key(key), sources, diagnostics);
            }
        }
        TreeValue::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                follow(item, &key_path.item(index), sources, diagnostics);
            }
        }
        TreeValue::Text(text) | TreeValue::Untyped { text, .. } => {
            let Some(found) = pointed_to(text, sources) else {
                return;
            };
            node.kind = match found {
                Ok(text) => TreeValue::Untyped { text, hidden: true },
                Err(what) => {
                    diagnostics.add(key_path, &node.location, what);
                    TreeValue::Unreadable
                }
            };
        }
        _ => {}
    }
}

/// What a pointer points to; `None` if the value is none.
fn pointed_to(text: &str, sources: Sources<'_>) -> Option<Result<String, String>> {
    match text.split_once(':')? {
        ("env", name) => Some(variable(name, sources.environment)),
        ("file", path) => Some(file(Path::new(path), sources.read)),
        _ => None,
    }
}

fn variable(name: &str, environment: &Environment) -> Result<String, String> {
    match environment.text(name) {
        Ok(text) => Ok(text.to_owned()),
        Err(why) => Err(format!(
            "the environment variable {name} {why}; set it, or write another source"
        )),
    }
}

/// The text of a file without the line ends that editors and `echo` leave at
/// its end.
fn file(path: &Path, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<String, String> {
    let path_shown = path.display();
    let bytes = read(path).map_err(|error| format!("{path_shown} cannot be read: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{path_shown} is not UTF-8"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{path_shown} is empty; write the value into it")),
        text => Ok(text.to_owned()),
    }
}
