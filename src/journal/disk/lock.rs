//! One process per folder.
//!
//! The operating system holds the lock, so it goes with the process, however
//! that ends; the process id in the file is only for the message.
//!
//! The file also says which inode it is. A folder that was copied has another one, and
//! may give out the ids of the one that it was copied from, if that runs on. A move to
//! another file system looks the same, so nothing is refused for it.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek as _, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use crate::journal::OpenError;

/// The longest file that is read, in bytes: it may hold anything.
const BYTES_MAX: u64 = 64;
const INODE: &str = "inode ";

/// Locks a folder for as long as this lives.
pub(super) struct FolderLock {
    _file: File,
    /// Whether the folder is another one than when it was last locked: it was copied, or
    /// moved to another file system.
    pub(super) is_copy: bool,
}

impl FolderLock {
    /// Locks the folder for this process.
    pub(super) fn acquire(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join("lock");
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.mode(0o600);
        let mut file = options.open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked {
                    path: folder.into(),
                    holder: holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let inode = file.metadata().map_err(io)?.ino();
        let before = read(&mut file);
        let before = before.lines().find_map(|line| line.strip_prefix(INODE));
        let before = before.and_then(|digits| digits.parse::<u64>().ok());
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        let text = format!("{}\n{INODE}{inode}\n", std::process::id());
        file.write_all(text.as_bytes()).map_err(io)?;
        Ok(Self {
            _file: file,
            is_copy: before.is_some_and(|before| before != inode),
        })
    }
}

fn holder(file: &mut File) -> String {
    let text = read(file);
    let id: Option<u32> = text.lines().next().and_then(|line| line.parse().ok());
    match id {
        Some(id) if std::process::id() == id => "this process".into(),
        Some(id) => format!("process {id}"),
        None => "another process".into(),
    }
}

/// What the file says; nothing, where it can't be read.
fn read(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(BYTES_MAX).read_to_string(&mut text);
    read.map(|_| text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_that_was_copied_is_known_once_and_one_that_was_moved_is_not_taken_for_one() {
        let places = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let folder = places.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            folder
        };
        let is_copy = |folder: &Path| FolderLock::acquire(folder).unwrap().is_copy;
        let (original, copied) = (place("original"), place("copied"));
        assert!(!is_copy(&original));
        assert!(!is_copy(&original));
        fs::copy(original.join("lock"), copied.join("lock")).unwrap();
        assert!(is_copy(&copied));
        assert!(!is_copy(&copied), "it is told once");
        let moved = places.path().join("moved");
        fs::rename(&original, &moved).unwrap();
        assert!(!is_copy(&moved));
        fs::write(moved.join("lock"), "4711\n").unwrap();
        assert!(!is_copy(&moved), "as an earlier version wrote it");
    }
}
