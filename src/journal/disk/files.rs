//! Whole files, written so that after a crash either the new one or the one
//! before it is there.
//!
//! Invariant: a file under its own name is complete. What is in the making has
//! `.new` behind its name and means nothing; a start removes it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// What a file in the making is called by.
const UNFINISHED: &str = "new";

/// Puts a file in the place of the one of that name, if there is one; returns
/// it, open for reading and writing. Durable when it returns; blocks.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let temporary = unfinished(path);
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true);
    // What was sent to us is for our eyes only, whatever the umask says.
    let mut file = options.mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    Ok(file)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a file; one that is gone already is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Whether a file of this name was in the making when the process died.
pub(super) fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == UNFINISHED)
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension(UNFINISHED)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(unfinished(&path), "left by a crash, and longer").unwrap();
        for text in ["first", "second"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(is_unfinished(&unfinished(&path)) && !is_unfinished(&path));
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
