//! One process per folder.
//!
//! The operating system holds the lock, so it goes with the process, however
//! that ends; the process id in the file is only for the message.

use std::{
    fs::{File, TryLockError},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::journal::OpenError;

/// Locks a folder for as long as this lives.
pub(super) struct FolderLock {
    _file: File,
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
        file.set_len(0).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // No more than a process id takes: the file may hold anything.
    let read = file.take(20).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(id) if read.is_ok() && id == std::process::id() => "this process".into(),
        Ok(id) if read.is_ok() => format!("process {id}"),
        _ => "another process".into(),
    }
}
