//! Files that survive a power cut, readable by their owner alone.
//!
//! A file is written under a temporary name in the same folder, synced, and
//! then renamed; at last its folder is synced, since a name is durable only
//! then. A crash can leave the temporary behind: it means nothing, and whoever
//! holds the folder's lock calls [`remove_temporaries`] at the next start.
//!
//! All functions block. Invariants: a file under its own name is whole; when a
//! function returns without an error, what it did is durable.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

/// Read and write, for the owner alone, whatever the umask is.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// What the name of a temporary ends with. It begins with a dot.
const TEMPORARY_END: &str = ".new";

/// Writes a file, in place of the one of that name if there is one. Returns
/// it, open for reading and writing.
///
/// # Errors
///
/// Of the operating system. The file that was there before may still be there,
/// or the new one; either is whole.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    write_in_steps(path, bytes, Existing::Replace, &mut |_| Ok(()))
}

/// Writes a file whose name must be free; a link by that name counts as taken.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] where the name is taken; else as
/// [`replace`].
pub fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_in_steps(path, bytes, Existing::Refuse, &mut |_| Ok(())).map(drop)
}

/// What is in the way of a folder: itself or one above it, if that is a file.
#[must_use]
pub fn in_the_way_of(folder: &Path) -> Option<&Path> {
    let is_file = |path: &&Path| fs::metadata(path).is_ok_and(|found| !found.is_dir());
    folder.ancestors().find(is_file)
}

/// Makes a folder where there is none, with those above it. One that exists
/// keeps its mode.
///
/// # Errors
///
/// Of the operating system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    create_folder_with(path, &mut sync_folder)
}

fn create_folder_with(
    path: &Path,
    sync: &mut impl FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let parent = parent(path);
    if path.is_dir() {
        // A run that was killed may have made it, and not come to this.
        return match sync(parent) {
            Err(e) if nothing_was_made_there(e.kind()) => Ok(()),
            synced => synced,
        };
    }
    create_folder_with(parent, sync)?;
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        // Another process was faster.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        created => created?,
    }
    sync(parent)
}

/// Whether a folder that can't be synced for this reason is none that a run of this
/// program made something in: it may not read it, or nobody may write there.
fn nothing_was_made_there(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(
        kind,
        InvalidInput | PermissionDenied | ReadOnlyFilesystem | Unsupported
    )
}

/// Makes the names in a folder durable: what was created, renamed, removed.
///
/// # Errors
///
/// Of the operating system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a file; one that is gone already is no error. The one exception
/// here: after a power cut the file may be there again.
///
/// # Errors
///
/// Of the operating system.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Removes the temporaries that a crash left in a folder. Only for whoever
/// keeps others from writing there: it would take theirs away.
///
/// # Errors
///
/// Of the operating system.
pub fn remove_temporaries(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_temporary(&entry.path()) && entry.file_type()?.is_file() {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file of this name is a temporary of this module.
#[must_use]
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.strip_prefix('.')?.strip_suffix(TEMPORARY_END))
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What happens to a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Replace,
    Refuse,
}

/// The steps of a write, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteStep {
    Create,
    Write,
    Sync,
    Rename,
    SyncFolder,
}

/// Calls `before` in front of each step, so that tests can look, or fail it.
fn write_in_steps(
    path: &Path,
    bytes: &[u8],
    existing: Existing,
    before: &mut dyn FnMut(WriteStep) -> io::Result<()>,
) -> io::Result<File> {
    let folder = parent(path);
    let temporary = temporary(folder)?;
    before(WriteStep::Create)?;
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    let mut file = options.mode(FILE_MODE).open(&temporary)?;
    let mut write_and_rename = || {
        before(WriteStep::Write)?;
        file.write_all(bytes)?;
        before(WriteStep::Sync)?;
        file.sync_all()?;
        before(WriteStep::Rename)?;
        match existing {
            Existing::Replace => fs::rename(&temporary, path),
            Existing::Refuse => rename_to_free_name(&temporary, path),
        }
    };
    if let Err(e) = write_and_rename() {
        // The first error is the one to tell.
        _ = remove(&temporary);
        return Err(e);
    }
    before(WriteStep::SyncFolder)?;
    sync_folder(folder)?;
    Ok(file)
}

fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // NFS does not know the flag. A hard link replaces nothing either;
        // some other file systems have none, so it is only the second choice.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            // It is there under its name; a second name does no harm.
            _ = remove(from);
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}

/// A name that nobody else uses at the same time, and that no topic can have.
fn temporary(folder: &Path) -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let random = u64::from_le_bytes(random);
    Ok(folder.join(format!(".{random:016x}{TEMPORARY_END}")))
}

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

    use super::*;

    const STEPS: [WriteStep; 5] = [
        WriteStep::Create,
        WriteStep::Write,
        WriteStep::Sync,
        WriteStep::Rename,
        WriteStep::SyncFolder,
    ];

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// The files of a folder by name, with what is in them.
    fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for text in ["first, and longer", "second"] {
            let file = replace(&path, text.as_bytes()).unwrap();
            assert_eq!(file.metadata().unwrap().len(), text.len() as u64);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(mode(&path), 0o600);
        }
        assert_eq!(files(folder.path()).len(), 1, "no temporary is left");
    }

    #[test]
    fn a_crash_before_any_step_leaves_the_old_file_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let mut seen = Vec::new();
        let mut look = |step| {
            let mut found = files(folder.path());
            let expected = if step == WriteStep::SyncFolder {
                "new"
            } else {
                "old"
            };
            assert_eq!(found.remove(&path).unwrap(), expected.as_bytes());
            for temporary in found.keys() {
                assert!(is_temporary(temporary), "{}", temporary.display());
                assert_eq!(mode(temporary), 0o600, "nobody else may look in");
            }
            seen.push(step);
            Ok(())
        };
        write_in_steps(&path, b"new", Existing::Replace, &mut look).unwrap();
        assert_eq!(seen, STEPS, "its name is synced after it, and last of all");
    }

    #[test]
    fn a_step_that_fails_is_told_and_leaves_no_temporary() {
        for existing in [Existing::Replace, Existing::Refuse] {
            for failing in STEPS {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("a");
                let mut fail = |step| match step {
                    _ if step == failing => Err(io::Error::other("on purpose")),
                    _ => Ok(()),
                };
                let failed = write_in_steps(&path, b"new", existing, &mut fail);
                assert_eq!(failed.unwrap_err().to_string(), "on purpose");
                // A name that is not known to be durable is there all the same.
                let is_named = failing == WriteStep::SyncFolder;
                let left: Vec<_> = files(folder.path()).into_keys().collect();
                assert_eq!(left, if is_named { vec![path] } else { vec![] });
            }
        }
    }

    /// Each name is synced by the run that made it, or by the next one.
    #[test]
    fn folders_above_are_synced_also_where_a_crash_came_before() {
        let root = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "a/b", "a/b/c"].map(|path| root.path().join(path));
        let mut synced = Vec::new();
        // A run that is killed at its second sync.
        let mut run = || {
            let mut left = 1_usize;
            _ = create_folder_with(&c, &mut |folder| {
                left = left.checked_sub(1).ok_or(io::ErrorKind::Other)?;
                synced.push(folder.to_path_buf());
                Ok(())
            });
        };
        for (there, missing) in [(&a, &b), (&b, &c), (&c, &c.join("d"))] {
            run();
            assert!(there.exists() && !missing.exists());
        }
        run();
        for folder in [root.path(), &a, &b] {
            assert!(
                synced.iter().any(|one| one == folder),
                "{}",
                folder.display()
            );
        }
        let unreadable =
            create_folder_with(&c, &mut |_| Err(io::ErrorKind::PermissionDenied.into()));
        assert!(unreadable.is_ok());
        assert!(create_folder_with(&c, &mut |_| Err(io::Error::other("broken"))).is_err());
    }

    #[test]
    fn a_name_that_is_taken_is_refused_also_by_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        create_new(&path, b"first").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("target"), &link).unwrap();
        for taken in [&path, &link] {
            let refused = create_new(taken, b"second").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(
            (fs::read(&path).unwrap(), mode(&path)),
            (b"first".into(), 0o600)
        );
        assert!(!folder.path().join("target").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn of_many_who_create_one_file_one_succeeds_and_the_file_is_its() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let created: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8_u8)
                .map(|n| {
                    let path = &path;
                    scope.spawn(move || create_new(path, &vec![n; 1000]))
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let winners: Vec<_> = (0..8_u8)
            .zip(&created)
            .filter(|(_, created)| created.is_ok())
            .collect();
        assert_eq!(winners.len(), 1, "{created:?}");
        assert_eq!(fs::read(&path).unwrap(), vec![winners[0].0; 1000]);
        assert_eq!(files(folder.path()).len(), 1);
    }

    #[test]
    fn a_folder_is_made_with_those_above_it_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/here");
        for _ in 0..2 {
            create_folder(&path).unwrap();
        }
        for made in [&path, path.parent().unwrap()] {
            assert_eq!(mode(made), 0o700);
        }
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(create_folder(&folder.path().join("file")).is_err());
        assert_eq!(parent(Path::new("relative")), Path::new("."));
    }

    #[test]
    fn only_temporaries_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let kept = [
            "a",
            "a.new",
            ".hidden",
            ".hidden.new",
            ".0123456789abcdeg.new",
        ];
        for name in kept {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::write(temporary(folder.path()).unwrap(), "half").unwrap();
        remove_temporaries(folder.path()).unwrap();
        let left = files(folder.path()).into_keys();
        let mut expected = kept.map(|name| folder.path().join(name));
        expected.sort();
        assert!(left.eq(expected));
        remove(&folder.path().join("a")).unwrap();
        remove(&folder.path().join("a")).unwrap();
    }
}
