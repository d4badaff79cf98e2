//! Revocations, kept in a file beside the journal.
//!
//! | line | what |
//! |---|---|
//! | first | `{"hookrill":"revocations","version":1}` |
//! | each after it | a revocation as JSON, with a hash for a name |
//! | last | `{"sha256":"…"}` of all bytes before it |
//!
//! Written whole or not at all, and readable by the owner alone. Refuses to open a file that is damaged, rather than to let in
//! again who was put out. Without a folder, memory is all there is.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::HEXLOWER;
use hookrill_core::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::{
    access::{Access, Revocation, RevocationsFull},
    durable,
};

const FILE: &str = "revocations";
/// Several times what the most revocations take.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where revocations are made.
pub struct Revocations {
    access: Arc<Access>,
    /// Held while the file is written, so that an older list never follows a
    /// newer one.
    path: Mutex<Option<PathBuf>>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} cannot be used: {reason}; put it back from a copy, or delete it and revoke again, \
     since tokens that were revoked would be taken"
)]
pub struct OpenError {
    path: PathBuf,
    reason: String,
}

/// Why a revocation does not hold as it should.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// It does not hold at all.
    #[error(transparent)]
    Full(#[from] RevocationsFull),
    /// It holds until the gateway stops.
    #[error("it holds now, but could not be kept for after a restart: {0}")]
    NotKept(String),
}

impl Revocations {
    /// Hands `access` what was kept in `folder`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where that is damaged.
    pub async fn open(access: Arc<Access>, folder: Option<PathBuf>) -> Result<Self, OpenError> {
        let path = folder.map(|folder| folder.join(FILE));
        if let Some(path) = path.clone() {
            let error = |reason| OpenError {
                path: path.clone(),
                reason,
            };
            let reading = path.clone();
            let read = spawn_blocking(move || read(&reading)).await;
            let kept = read.map_err(|e| e.to_string()).and_then(|read| read);
            access.restore(kept.map_err(error)?);
        }
        Ok(Self {
            access,
            path: Mutex::new(path),
        })
    }

    /// Takes tokens back, from now on and after a restart.
    ///
    /// # Errors
    ///
    /// [`RevokeError`], which says whether it holds all the same.
    pub async fn revoke(&self, entry: Revocation, now: Timestamp) -> Result<(), RevokeError> {
        let path = self.path.lock().await;
        // It holds before it is kept: a full disk must not let anybody stay.
        let all = self.access.revoke(entry, now)?;
        let Some(path) = path.clone() else {
            return Ok(());
        };
        let written = spawn_blocking(move || write(&path, &all)).await;
        match written.map_err(|error| error.to_string()) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(RevokeError::NotKept(error.to_string())),
            Err(error) => Err(RevokeError::NotKept(error)),
        }
    }
}

fn head() -> Value {
    json!({"hookrill": "revocations", "version": 1})
}

fn read(path: &Path) -> Result<Vec<Revocation>, String> {
    let mut text = String::new();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    parse(&text).ok_or_else(|| "it is damaged, or of a newer version".to_owned())
}

fn parse(text: &str) -> Option<Vec<Revocation>> {
    let body_end = text.strip_suffix('\n')?.rfind('\n')? + 1;
    let (body, sum) = text.split_at(body_end);
    let sum: Value = serde_json::from_str(sum).ok()?;
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
    let mut body = format!("{}\n", head());
    for entry in all {
        body.push_str(&serde_json::to_string(entry)?);
        body.push('\n');
    }
    let sum = json!({"sha256": HEXLOWER.encode(&Sha256::digest(&body))});
    durable::replace(path, format!("{body}{sum}\n").as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::access::RevokedClaim;

    const NOW: Timestamp = Timestamp::from_unix_secs(1_000);

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(&path), Ok(vec![]));
        let entry = |n: u32| Revocation::new(RevokedClaim::Sub, &format!("user-{n}"), NOW);
        for count in [1, 3, 0, 2] {
            let all: Vec<_> = (0..count).map(entry).collect();
            write(&path, &all).unwrap();
            assert_eq!(read(&path), Ok(all));
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
