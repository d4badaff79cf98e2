//! Secrets that providers handed over, kept in the journal's folder.
//!
//! One file per topic that has a section of its own, for the owner alone, so
//! there are as many as somebody configured. Where the journal has no folder,
//! they are kept for as long as the process lives. Invariants: a secret that
//! is kept is never replaced by another; one that is there is whole.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hookrill_core::{Secret, Topic};
use hookrill_verify::CHALLENGE_BYTES_MAX;

use crate::durable;

/// The folder in the journal's.
const FOLDER: &str = "handed-over";

/// Keeps secrets that were handed over.
#[derive(Debug)]
pub struct ProvisionedSecrets {
    /// `None`: nothing outlives the process.
    folder: Option<PathBuf>,
    /// Those that have no folder. Locked while one is written to a file, so
    /// that there is one at a time.
    here: Mutex<HashMap<Topic, Secret>>,
}

/// Why a secret was not kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreSecretError {
    /// There is one already.
    #[error("another secret is kept already")]
    Taken,
    /// It could not be written.
    #[error("the secret that was handed over cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// Why a kept secret can't be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be used: {source}; put it back, or delete it and let the provider hand over \
     its secret anew",
    path.display()
)]
pub struct ProvisionedSecretError {
    path: PathBuf,
    source: io::Error,
}

impl ProvisionedSecrets {
    /// Keeps them in this journal's folder; without one, in memory.
    #[must_use]
    pub fn new(journal: Option<&Path>) -> Self {
        Self {
            folder: journal.map(|path| path.join(FOLDER)),
            here: Mutex::default(),
        }
    }

    /// The secret that is kept for a topic.
    ///
    /// # Errors
    ///
    /// [`ProvisionedSecretError`] where there is a file and no secret in it.
    pub fn load(&self, topic: &Topic) -> Result<Option<Secret>, ProvisionedSecretError> {
        let Some(folder) = &self.folder else {
            return Ok(self.lock().get(topic).cloned());
        };
        let path = folder.join(topic.as_str());
        match read(&path) {
            Ok(secret) => Ok(Some(secret)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ProvisionedSecretError { path, source }),
        }
    }

    /// Keeps a secret; returns once it is durable.
    ///
    /// # Errors
    ///
    /// [`StoreSecretError`]; the one that was there before is still there.
    pub fn store(&self, topic: &Topic, secret: &Secret) -> Result<(), StoreSecretError> {
        let mut here = self.lock();
        let Some(folder) = &self.folder else {
            return match here.entry(topic.clone()) {
                Entry::Vacant(place) => {
                    place.insert(secret.clone());
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Topic, Secret>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(CHALLENGE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    // Whoever puts one there by hand leaves a line end.
    while bytes
        .last()
        .is_some_and(|byte| matches!(byte, b'\r' | b'\n'))
    {
        bytes.pop();
    }
    match (1..=CHALLENGE_BYTES_MAX).contains(&bytes.len()) {
        true => Ok(Secret::new(bytes)),
        false => Err(io::Error::other("it holds no secret")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn topic(name: &str) -> Topic {
        name.parse().unwrap()
    }

    #[test]
    fn a_kept_secret_is_never_replaced_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (asana, other) = (topic("asana"), topic("asana.b"));
        let handed = ProvisionedSecrets::new(Some(folder.path()));
        assert!(handed.load(&asana).unwrap().is_none());
        handed.store(&asana, &Secret::new(*b"first")).unwrap();
        let again = handed.store(&asana, &Secret::new(*b"second"));
        assert!(matches!(again, Err(StoreSecretError::Taken)));
        handed.store(&other, &Secret::new(*b"other")).unwrap();

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
        let kept = folder.path().join(FOLDER);
        fs::create_dir(&kept).unwrap();
        let temporary = kept.join(".0123456789abcdef.new");
        fs::write(&temporary, "half a se").unwrap();
        let handed = ProvisionedSecrets::new(Some(folder.path()));
        handed.store(&topic("a"), &Secret::new(*b"whole")).unwrap();
        assert_eq!(
            handed.load(&topic("a")).unwrap().unwrap().expose(),
            b"whole"
        );
        assert!(!temporary.exists());
        fs::write(kept.join("b"), "\n").unwrap();
        let error = handed.load(&topic("b")).unwrap_err().to_string();
        assert!(error.contains("holds no secret"), "{error}");
    }
}
