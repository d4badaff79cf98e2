//! Revocations, stored in a file in the journal's folder.
//!
//! | line | what |
//! |---|---|
//! | first | `{"hookrill":"revocations","version":1}` |
//! | each after it | a revocation as JSON, with a hash for a name |
//! | last | `{"sha256":"…"}` of all bytes before it |
//!
//! Written whole or not at all, and readable by the owner alone. Refuses to open
//! a damaged file, rather than to accept tokens again that were revoked. Without
//! a folder, revocations end with the process.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::HEXLOWER;
use hookrill_core::{SteadyClock, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::Mutex,
    task::{JoinError, spawn_blocking},
};

use crate::{
    access::{Access, REVOCATIONS_MAX, Revocation, RevocationsFull},
    durable,
};

const FILE: &str = "revocations";
/// Several times what the most revocations take.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Revokes tokens, and stores that.
pub struct Revocations {
    access: Arc<Access>,
    clock: SteadyClock,
    /// Held while the file is written, so that an older list never follows a
    /// newer one.
    path: Mutex<Option<PathBuf>>,
}

/// Why the stored revocations cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} cannot be used: {source}; restore it from a copy, or delete it and revoke again, since \
     tokens that were revoked would be accepted",
    path.display()
)]
pub struct OpenError {
    path: PathBuf,
    source: FileError,
}

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is damaged, or of a newer version")]
    Damaged,
    #[error(transparent)]
    Interrupted(#[from] JoinError),
}

/// Why a revocation is not in force, or only until a restart.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// It is not in force.
    #[error(transparent)]
    Full(#[from] RevocationsFull),
    /// It is in force until the gateway stops.
    #[error("it is in force until a restart, since it could not be stored")]
    NotStored(#[from] io::Error),
}

impl Revocations {
    /// Gives `access` the revocations that are stored in `folder`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where the file is damaged or cannot be read.
    pub async fn open(
        access: Arc<Access>,
        folder: Option<PathBuf>,
        clock: SteadyClock,
    ) -> Result<Self, OpenError> {
        let path = folder.map(|folder| folder.join(FILE));
        if let Some(path) = &path {
            match read_in_background(path.clone()).await {
                Ok(stored) => access.restore(stored),
                Err(source) => {
                    let path = path.clone();
                    return Err(OpenError { path, source });
                }
            }
        }
        Ok(Self {
            access,
            clock,
            path: Mutex::new(path),
        })
    }

    /// The time by which revocations are forgotten.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Revokes tokens, from now on and after a restart.
    ///
    /// # Errors
    ///
    /// [`RevokeError`], which says whether it is in force all the same.
    pub async fn revoke(&self, entry: Revocation) -> Result<(), RevokeError> {
        let path = self.path.lock().await;
        // In force before it is stored: a full disk must not keep anybody's
        // token valid.
        let all = self.access.revoke(entry, self.clock.now())?;
        let Some(path) = path.clone() else {
            return Ok(());
        };
        let written = spawn_blocking(move || write(&path, &all)).await;
        written.map_err(io::Error::from)??;
        Ok(())
    }
}

async fn read_in_background(path: PathBuf) -> Result<Vec<Revocation>, FileError> {
    spawn_blocking(move || read(&path)).await?
}

fn head() -> Value {
    json!({"hookrill": "revocations", "version": 1})
}

fn read(path: &Path) -> Result<Vec<Revocation>, FileError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    parse(&text).ok_or(FileError::Damaged)
}

fn parse(text: &str) -> Option<Vec<Revocation>> {
    let body_end = text.strip_suffix('\n')?.rfind('\n')? + 1;
    let (body, last) = text.split_at(body_end);
    let sum: Value = serde_json::from_str(last).ok()?;
    if sum["sha256"] != HEXLOWER.encode(&Sha256::digest(body)) {
        return None;
    }
    let mut lines = body.lines();
    if serde_json::from_str::<Value>(lines.next()?).ok()? != head() {
        return None;
    }
    lines.map(|line| serde_json::from_str(line).ok()).collect()
}

fn write(path: &Path, all: &[Revocation]) -> io::Result<()> {
    debug_assert!(all.len() <= REVOCATIONS_MAX);
    let mut text = format!("{}\n", head());
    for entry in all {
        text.push_str(&serde_json::to_string(entry)?);
        text.push('\n');
    }
    let sum = json!({"sha256": HEXLOWER.encode(&Sha256::digest(&text))});
    text.push_str(&format!("{sum}\n"));
    // What is written has to be read again.
    debug_assert!(text.len() as u64 <= FILE_BYTES_MAX);
    durable::replace(path, text.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt as _,
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use hookrill_core::{Clock, TopicMap};

    use super::*;
    use crate::access::{self, RevokedClaim};

    const NOW: Timestamp = Timestamp::from_unix_secs(1_000);

    /// Otherwise a token that was revoked would be valid again once the clock is right.
    #[tokio::test]
    async fn three_seconds_of_a_wrong_clock_forget_no_revocation() {
        let folder = tempfile::tempdir().unwrap();
        let access = Arc::new(Access::new(&access::Settings {
            secret: None,
            issuers: Vec::new(),
            leeway: Duration::ZERO,
            token_ttl_max: Some(Duration::from_secs(3_600)),
            policies: TopicMap::new([].into(), None),
        }));
        let ahead = Arc::new(AtomicU64::new(0));
        let wall = {
            let ahead = Arc::clone(&ahead);
            move || NOW.plus(Duration::from_secs(ahead.load(Ordering::SeqCst)))
        };
        let clock = SteadyClock::silent(Clock::with_monotonic(wall.clone(), || NOW));
        let place = folder.path().to_path_buf();
        let revocations = Revocations::open(access, Some(place), clock).await.unwrap();
        for (n, set_ahead) in [0, 8 * 86_400, 0].into_iter().enumerate() {
            ahead.store(set_ahead, Ordering::SeqCst);
            let entry = Revocation::new(RevokedClaim::Jti, &n.to_string(), wall());
            revocations.revoke(entry).await.unwrap();
            let stored = read(&folder.path().join(FILE)).unwrap();
            assert_eq!(stored.len(), n + 1);
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(&path).unwrap(), []);
        let entry = |n: u32| Revocation::new(RevokedClaim::Sub, &format!("user-{n}"), NOW);
        for count in [1, 3, 0, 2] {
            let all: Vec<_> = (0..count).map(entry).collect();
            write(&path, &all).unwrap();
            assert_eq!(read(&path).unwrap(), all);
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let whole = fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&whole).contains("user-"));
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(read(&path).is_err(), "cut at {end}");
        }
        for at in (0..whole.len() - 1).step_by(7) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(read(&path).is_err(), "flipped at {at}");
        }
    }
}
