//! The start without any configuration: secrets that are created once and kept.
//!
//! Each secret is a file of its own in the journal's folder, readable by the
//! owner alone. Invariant: an existing file is never written to. A file without
//! a usable secret is an error, not a reason to create another secret.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER};

use super::{
    diagnostic::{Diagnostics, KeyPath, Location, Mistake},
    tree::{Node, TreeValue},
};
use crate::durable;

/// The entropy of each secret, in bytes: Standard Webhooks requires 24 to 64.
const ENTROPY_BYTES: usize = 32;
/// The most bytes that are read. No secret is that long: a longer file is not
/// one of ours.
const SECRET_BYTES_MAX: u64 = 1024;

/// What to do where the secrets of zero configuration do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingSecrets {
    /// Create them, as `hookrill serve` does.
    Create,
    /// Refuse: they belong to a gateway that was not started in this folder.
    Refuse,
    /// Continue as if they had been created, as `hookrill check` does.
    Assume,
}

/// The secrets of zero configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZeroConfig {
    /// The folder that they are in.
    pub folder: PathBuf,
    /// Whether they were created just now.
    pub created: bool,
}

/// One secret: its file, the key that it sets, and how to generate it.
struct SecretFile {
    name: &'static str,
    key: [&'static str; 2],
    generate: fn(&[u8; ENTROPY_BYTES]) -> String,
    bytes_min: usize,
}

const FILES: [SecretFile; 3] = [
    SecretFile {
        name: "webhook-secret",
        key: ["topics", "*"],
        generate: |entropy| format!("whsec_{}", BASE64.encode(entropy)),
        bytes_min: 38,
    },
    SecretFile {
        name: "token-secret",
        key: ["access", "secret"],
        generate: |entropy| HEXLOWER.encode(entropy),
        bytes_min: 32,
    },
    SecretFile {
        name: "admin-token",
        key: ["server", "admin_token"],
        generate: |entropy| HEXLOWER.encode(entropy),
        bytes_min: 16,
    },
];

/// Why a secret can't be used.
#[derive(Debug, thiserror::Error)]
enum SecretFileError {
    #[error(
        "{} does not contain a complete secret; restore it, or delete it to get a new one",
        .0.display()
    )]
    Incomplete(PathBuf),
    #[error(
        "{} is a file, and the secrets of a gateway without a configuration need a folder: set \
         journal.path to a folder, or move the file away",
        .0.display()
    )]
    NotAFolder(PathBuf),
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "there is no configuration, and the secret of a gateway without one, {}, does not exist; \
         name a configuration file with --config, or run `hookrill serve` in this folder first",
        .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "cannot create {} (set journal.path to a writable folder, or write a configuration)",
        path.display()
    )]
    NotCreated { path: PathBuf, source: io::Error },
    #[error("the system provides no random numbers")]
    Random(#[source] getrandom::Error),
}

/// Adds to the tree what holds without a configuration: every topic, signed by
/// Standard Webhooks and read with a token. Keys that are written stay.
pub(super) fn ensure_secrets(
    root: &mut Node,
    folder: PathBuf,
    missing: MissingSecrets,
    diagnostics: &Diagnostics,
) -> ZeroConfig {
    let mut created = false;
    // A cause that all three share, such as a missing folder, is reported once.
    let before = diagnostics.len();
    for file in FILES {
        let Some((table, key)) = file.place(root) else {
            continue;
        };
        match file.secret(&folder, missing) {
            Ok((secret, is_new)) => {
                created |= is_new;
                let secret = Node::secret(secret);
                let value = match key {
                    "*" => standard_webhooks(secret),
                    _ => secret,
                };
                table.insert(key.to_owned(), value);
            }
            Err(error) => {
                if diagnostics.len() == before {
                    let mistake = Mistake::from_error(error);
                    diagnostics.report(&KeyPath::root(), &Location::Default, mistake);
                }
                table.insert(key.to_owned(), Node::invalid());
            }
        }
    }
    ZeroConfig { folder, created }
}

/// The section of a topic.
fn standard_webhooks(secret: Node) -> Node {
    let node = |value| Node {
        value,
        location: Location::Default,
    };
    let keys = [
        (
            "preset",
            node(TreeValue::Text("standard-webhooks".to_owned())),
        ),
        ("secrets", node(TreeValue::List(vec![secret]))),
    ];
    node(TreeValue::Table(
        keys.map(|(key, value)| (key.to_owned(), value)).into(),
    ))
}

impl SecretFile {
    /// Where in the tree to put the secret; `None` where the key is written
    /// already, or its section is not a section, which is an error of its own.
    fn place<'t>(&self, root: &'t mut Node) -> Option<(&'t mut super::tree::Table, &'static str)> {
        let [section, key] = self.key;
        let TreeValue::Table(sections) = &mut root.value else {
            return None;
        };
        let section = sections
            .entry(section.to_owned())
            .or_insert_with(|| Node::section(Location::Default));
        match &mut section.value {
            TreeValue::Table(table) if !table.contains_key(key) => Some((table, key)),
            _ => None,
        }
    }

    /// The secret, and whether it is new.
    fn secret(
        &self,
        folder: &Path,
        missing: MissingSecrets,
    ) -> Result<(String, bool), SecretFileError> {
        if let Some(file) = durable::in_the_way_of(folder) {
            return Err(SecretFileError::NotAFolder(file.into()));
        }
        let path = folder.join(self.name);
        match read(&path) {
            Ok(text) => self.checked(&text, path).map(|secret| (secret, false)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match missing {
                MissingSecrets::Refuse => Err(SecretFileError::Missing(path)),
                MissingSecrets::Assume => Ok((self.new_secret()?, true)),
                MissingSecrets::Create => Ok((self.create(folder, path)?, true)),
            },
            Err(source) => Err(SecretFileError::Unreadable { path, source }),
        }
    }

    fn checked(&self, text: &str, path: PathBuf) -> Result<String, SecretFileError> {
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.len() < self.bytes_min {
            return Err(SecretFileError::Incomplete(path));
        }
        Ok(secret.to_owned())
    }

    fn create(&self, folder: &Path, path: PathBuf) -> Result<String, SecretFileError> {
        let secret = self.new_secret()?;
        let line = format!("{secret}\n");
        let written = durable::create_folder(folder)
            .and_then(|()| durable::create_new(&path, line.as_bytes()));
        match written {
            Ok(()) => Ok(secret),
            Err(source) => Err(SecretFileError::NotCreated { path, source }),
        }
    }

    fn new_secret(&self) -> Result<String, SecretFileError> {
        let mut entropy = [0; ENTROPY_BYTES];
        getrandom::fill(&mut entropy).map_err(SecretFileError::Random)?;
        let secret = (self.generate)(&entropy);
        debug_assert!(
            secret.len() >= self.bytes_min,
            "a new secret is long enough to be read again"
        );
        Ok(secret)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
