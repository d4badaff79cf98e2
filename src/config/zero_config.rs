//! The start without any configuration: secrets that are made once and kept.
//!
//! Each is a file of its own in the journal's folder, readable by the owner
//! alone. Invariant: a file that is there is never written to; one that makes
//! no sense is an error, not a reason to make another.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER};

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    tree::{Node, TreeValue},
};
use crate::durable;

/// What the signing secret is made of, in bytes: Standard Webhooks wants 24
/// to 64.
const ENTROPY_BYTES: usize = 32;
/// No secret is that long: what is longer is another file.
const SECRET_BYTES_MAX: u64 = 1024;

/// What may be done about secrets that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingSecrets {
    /// Make them: this is `serve`.
    Create,
    /// Say so: they belong to a gateway that was not started here.
    Refuse,
    /// Go on as if they were made: this is `check`.
    Assume,
}

/// Where a newcomer's secrets are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZeroConfig {
    /// The folder.
    pub folder: PathBuf,
    /// Whether they were made just now.
    pub created: bool,
}

/// One secret: where it is kept, which key it sets, how it is made.
struct Kept {
    file: &'static str,
    key: [&'static str; 2],
    make: fn(&[u8; ENTROPY_BYTES]) -> String,
    bytes_min: usize,
}

const SIGNING: Kept = Kept {
    file: "webhook-secret",
    key: ["topics", "*"],
    make: |entropy| format!("whsec_{}", BASE64.encode(entropy)),
    bytes_min: 38,
};
const TOKEN: Kept = Kept {
    file: "token-secret",
    key: ["access", "secret"],
    make: |entropy| HEXLOWER.encode(entropy),
    bytes_min: 32,
};
const ADMIN: Kept = Kept {
    file: "admin-token",
    key: ["server", "admin_token"],
    make: |entropy| HEXLOWER.encode(entropy),
    bytes_min: 16,
};

/// Writes into the tree what a newcomer is given: every topic, signed by
/// Standard Webhooks and read with a token. Table that are there stay.
pub(super) fn ensure_secrets(
    root: &mut Node,
    folder: PathBuf,
    missing: MissingSecrets,
    diagnostics: &Diagnostics,
) -> ZeroConfig {
    let mut created = false;
    // One cause, such as a folder that is not there, is said once.
    let before = diagnostics.count();
    for kept in [SIGNING, TOKEN, ADMIN] {
        let [section, key] = kept.key;
        let TreeValue::Table(sections) = &mut root.kind else {
            break;
        };
        let section = sections
            .entry(section.to_owned())
            .or_insert_with(|| Node::section(Location::Hookrill));
        let TreeValue::Table(keys) = &mut section.kind else {
            continue; // A section that is none is an error of its own.
        };
        if keys.contains_key(key) {
            continue;
        }
        match kept.secret(&folder, missing) {
            Ok((secret, new)) => {
                created |= new;
                let secret = Node::hidden(secret);
                let value = match key {
                    "*" => standard_webhooks(secret),
                    _ => secret,
                };
                keys.insert(key.to_owned(), value);
            }
            Err(what) => {
                let key_path = KeyPath::root();
                if diagnostics.count() == before {
                    diagnostics.add(&key_path, &Location::Hookrill, what);
                }
                keys.insert(key.to_owned(), Node::unreadable());
            }
        }
    }
    ZeroConfig { folder, created }
}

/// A topic's section.
fn standard_webhooks(secret: Node) -> Node {
    let secrets = Node {
        kind: TreeValue::List(vec![secret]),
        location: Location::Hookrill,
    };
    let preset = Node {
        kind: TreeValue::Text("standard-webhooks".to_owned()),
        location: Location::Hookrill,
    };
    let keys = [("preset", preset), ("secrets", secrets)];
    Node {
        kind: TreeValue::Table(keys.map(|(key, node)| (key.to_owned(), node)).into()),
        location: Location::Hookrill,
    }
}

impl Kept {
    /// The secret, and whether it is new.
    fn secret(&self, folder: &Path, missing: MissingSecrets) -> Result<(String, bool), String> {
        let path = folder.join(self.file);
        let shown = path.display();
        match (read(&path), missing) {
            (Ok(text), _) => match text.trim_end_matches(['\r', '\n']) {
                text if text.len() < self.bytes_min => Err(format!(
                    "{shown} holds no whole secret; put it back, or delete it and a new one is made"
                )),
                text => Ok((text.to_owned(), false)),
            },
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("{shown} cannot be read: {error}"))
            }
            (Err(_), MissingSecrets::Refuse) => Err(format!(
                "there is no configuration, and no {shown} of a gateway that runs without one; \
                 name a file with --config, or run `hookrill serve` in this folder first"
            )),
            (Err(_), MissingSecrets::Assume) => Ok((self.generate()?, true)),
            (Err(_), MissingSecrets::Create) => {
                let secret = self.generate()?;
                let line = format!("{secret}\n");
                let written = durable::create_folder(folder)
                    .and_then(|()| durable::create_new(&path, line.as_bytes()));
                written.map_err(|error| {
                    format!(
                        "{shown} cannot be made: {error}; give journal.path a folder that can \
                         be written to, or write a configuration"
                    )
                })?;
                Ok((secret, true))
            }
        }
    }

    fn generate(&self) -> Result<String, String> {
        let mut entropy = [0; ENTROPY_BYTES];
        let unable = |error| format!("the system gives no random numbers: {error}");
        getrandom::fill(&mut entropy).map_err(unable)?;
        Ok((self.make)(&entropy))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    file.take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
