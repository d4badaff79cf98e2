//! Secrets that providers sent during a handshake, stored in the journal's
//! folder.
//!
//! One file per topic that has its own section, readable by the owner alone, so
//! the configuration bounds their number. Where the journal has no folder, they
//! last as long as the process. Invariants: a stored secret is never replaced
//! by another; a file under its name is whole.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs,
    io::{self, Read as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use hookrill_core::{Secret, Topic};
use hookrill_verify::CHALLENGE_BYTES_MAX;
use parking_lot::Mutex;

use crate::durable;

/// The folder within the journal's.
const FOLDER: &str = "provisioned-secrets";

/// How long a secret is, in bytes.
const SECRET_BYTES: RangeInclusive<usize> = 1..=CHALLENGE_BYTES_MAX;

/// Stores the secrets that providers sent.
#[derive(Debug)]
pub struct ProvisionedSecrets {
    /// `None`: nothing outlives the process.
    folder: Option<PathBuf>,
    /// The secrets, where there is no folder. Also held while a file is written,
    /// so that one is written at a time.
    in_memory: Mutex<HashMap<Topic, Secret>>,
}

/// Why a secret was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreSecretError {
    /// There is one already.
    #[error("another secret is stored already")]
    Taken,
    /// It could not be written.
    #[error("the provider's secret could not be stored")]
    Io(#[from] io::Error),
}

/// Why a stored secret cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be used: {source}; restore it, or delete it and let the provider send its secret \
     again",
    path.display()
)]
pub struct ProvisionedSecretError {
    path: PathBuf,
    source: io::Error,
}

impl ProvisionedSecrets {
    /// Stores them in this journal's folder; without one, in memory.
    #[must_use]
    pub fn new(journal: Option<&Path>) -> Self {
        Self {
            folder: journal.map(|path| path.join(FOLDER)),
            in_memory: Mutex::default(),
        }
    }

    /// The secret that is stored for a topic.
    ///
    /// # Errors
    ///
    /// [`ProvisionedSecretError`] where its file cannot be read or holds no
    /// secret.
    pub fn load(&self, topic: &Topic) -> Result<Option<Secret>, ProvisionedSecretError> {
        let Some(folder) = &self.folder else {
            return Ok(self.in_memory.lock().get(topic).cloned());
        };
        let path = folder.join(topic.as_str());
        match read(&path) {
            Ok(secret) => Ok(Some(secret)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ProvisionedSecretError { path, source }),
        }
    }

    /// Stores a secret; returns once it is durable.
    ///
    /// # Errors
    ///
    /// [`StoreSecretError`]; one that was stored before is still there.
    pub fn store(&self, topic: &Topic, secret: &Secret) -> Result<(), StoreSecretError> {
        let bytes = secret.expose().len();
        debug_assert!(
            SECRET_BYTES.contains(&bytes),
            "or it could not be read back"
        );
        let mut in_memory = self.in_memory.lock();
        let Some(folder) = &self.folder else {
            return match in_memory.entry(topic.clone()) {
                Entry::Vacant(entry) => {
                    entry.insert(secret.clone());
                    Ok(())
                }
                Entry::Occupied(_) => Err(StoreSecretError::Taken),
            };
        };
        durable::create_folder(folder)?;
        // Nobody else writes here: the journal's folder is locked, and so is this.
        durable::remove_temporaries(folder)?;
        match durable::create_new(&folder.join(topic.as_str()), secret.expose()) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(StoreSecretError::Taken),
            created => Ok(created?),
        }
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(CHALLENGE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    // A file that was written by hand ends with a line end.
    while let Some(b'\r' | b'\n') = bytes.last() {
        bytes.pop();
    }
    if !SECRET_BYTES.contains(&bytes.len()) {
        return Err(io::Error::other("it holds no secret"));
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn topic(name: &str) -> Topic {
        name.parse().unwrap()
    }

    #[test]
    fn a_stored_secret_is_never_replaced_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (asana, other) = (topic("asana"), topic("asana.b"));
        let secrets = ProvisionedSecrets::new(Some(folder.path()));
        assert!(secrets.load(&asana).unwrap().is_none());
        secrets.store(&asana, &Secret::new(*b"first")).unwrap();
        let again = secrets.store(&asana, &Secret::new(*b"second"));
        assert!(matches!(again, Err(StoreSecretError::Taken)));
        secrets.store(&other, &Secret::new(*b"other")).unwrap();

        let reopened = ProvisionedSecrets::new(Some(folder.path()));
        assert_eq!(reopened.load(&asana).unwrap().unwrap().expose(), b"first");
        assert_eq!(reopened.load(&other).unwrap().unwrap().expose(), b"other");
        let folder = folder.path().join(FOLDER);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("asana")), 0o600);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
    }

    #[test]
    fn what_a_crash_left_behind_is_no_secret_and_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join(FOLDER);
        fs::create_dir(&inner).unwrap();
        let temporary = inner.join(".0123456789abcdef.new");
        fs::write(&temporary, "half a se").unwrap();
        let secrets = ProvisionedSecrets::new(Some(folder.path()));
        secrets.store(&topic("a"), &Secret::new(*b"whole")).unwrap();
        assert_eq!(
            secrets.load(&topic("a")).unwrap().unwrap().expose(),
            b"whole"
        );
        assert!(!temporary.exists());
        fs::write(inner.join("b"), "\n").unwrap();
        let error = secrets.load(&topic("b")).unwrap_err().to_string();
        assert!(error.contains("holds no secret"), "{error}");
    }
}
