//! Notices when a file that the configuration was read from has changed.
//!
//! Polls instead of using inotify. Orchestrators replace files by changing the
//! target of a symbolic link, and a file may disappear and come back: polling
//! handles both, because it follows links each time.
//! Refuses to report a file that is still being written: two polls in a row
//! have to see the same. Invariant: a change is reported once, and the file
//! again only after its next change.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::config::read_file;

/// The stamp of each file; `None` where there is no file, or it can't be seen.
pub(super) type FileStamps = BTreeMap<PathBuf, Option<FileStamp>>;

/// What tells two versions of a file apart without reading them. The owner can
/// set the time of modification, but not the time of the last status change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileStamp {
    device_and_inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    status_changed: (i64, i64),
}

/// Reads files and remembers the stamp that each had before it was read.
#[derive(Default)]
pub(super) struct RecordingReader(RefCell<FileStamps>);

/// Watches the files of a configuration.
#[derive(Debug)]
pub struct ConfigWatch {
    /// The files of the configuration in use.
    in_use: BTreeSet<PathBuf>,
    /// The stamp of every watched file at the last attempt to read the
    /// configuration, whether or not that attempt read the file.
    at_last_attempt: FileStamps,
    /// The stamps that the last poll saw.
    at_last_poll: FileStamps,
}

impl RecordingReader {
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut stamps = self.0.borrow_mut();
        // Taken before the read, so that a change during it shows later.
        stamps
            .entry(path.to_owned())
            .or_insert_with(|| file_stamp(path));
        read_file(path)
    }

    pub(super) fn into_stamps(self) -> FileStamps {
        self.0.into_inner()
    }
}

impl ConfigWatch {
    /// Watches the files that the configuration in use was read from.
    pub(super) fn new(read: FileStamps) -> Self {
        Self {
            in_use: read.keys().cloned().collect(),
            at_last_poll: read.clone(),
            at_last_attempt: read,
        }
    }

    /// Polls the files. Names one that has changed since the last attempt, as
    /// soon as two polls in a row have seen the same.
    pub(super) fn poll(&mut self) -> Option<PathBuf> {
        let now = self.stamps();
        let is_stable = now == self.at_last_poll;
        self.at_last_poll = now;
        if !is_stable {
            return None;
        }
        debug_assert!(
            self.at_last_attempt.keys().eq(self.at_last_poll.keys()),
            "a poll looks at the watched files and no others"
        );
        let mut pairs = self.at_last_attempt.iter().zip(self.at_last_poll.values());
        let changed = pairs.find(|((_, attempt), poll)| attempt != poll);
        changed.map(|((path, _), _)| path.clone())
    }

    /// The stamps of all watched files as they are now.
    pub(super) fn stamps(&self) -> FileStamps {
        let paths = self.at_last_attempt.keys();
        paths.map(|path| (path.clone(), file_stamp(path))).collect()
    }

    /// Records an attempt that read the files in `read`; `before` are the
    /// stamps of all watched files right before it. Where the attempt failed
    /// (`in_use` is false), the files of the configuration in use stay watched
    /// as well, since the next attempt may read them again.
    pub(super) fn record_attempt(
        &mut self,
        mut before: FileStamps,
        read: FileStamps,
        in_use: bool,
    ) {
        if in_use {
            self.in_use = read.keys().cloned().collect();
        }
        before.retain(|path, _| self.in_use.contains(path));
        before.extend(read);
        self.at_last_poll = before.clone();
        self.at_last_attempt = before;
    }
}

fn file_stamp(path: &Path) -> Option<FileStamp> {
    let file = fs::metadata(path).ok()?;
    Some(FileStamp {
        device_and_inode: (file.dev(), file.ino()),
        bytes: file.size(),
        modified: (file.mtime(), file.mtime_nsec()),
        status_changed: (file.ctime(), file.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(paths: &[&Path]) -> FileStamps {
        let reader = RecordingReader::default();
        for path in paths {
            _ = reader.read(path);
        }
        reader.into_stamps()
    }

    /// Reads these as a reload does.
    fn reload(watch: &mut ConfigWatch, paths: &[&Path], in_use: bool) {
        let before = watch.stamps();
        watch.record_attempt(before, read(paths), in_use);
    }

    #[test]
    fn a_changed_file_is_reported_once_two_polls_have_seen_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let mut watch = ConfigWatch::new(read(&[&path]));
        assert_eq!(watch.poll(), None);
        for half in ["o", "on", "one!"] {
            fs::write(&path, half).unwrap();
            assert_eq!(watch.poll(), None, "it is being written");
        }
        assert_eq!(watch.poll(), Some(path.clone()));
        reload(&mut watch, &[&path], true);
        assert_eq!((watch.poll(), watch.poll()), (None, None));
    }

    #[test]
    fn a_retargeted_link_is_a_change_and_so_is_a_file_that_disappears_or_appears() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["1", "2"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("secret"), "same size").unwrap();
        }
        symlink(at("1"), at("data")).unwrap();
        let path = at("data").join("secret");
        let mut watch = ConfigWatch::new(read(&[&path]));
        symlink(at("2"), at("new")).unwrap();
        fs::rename(at("new"), at("data")).unwrap();
        assert_eq!(watch.poll(), None);
        assert_eq!(watch.poll(), Some(path.clone()));
        reload(&mut watch, &[&path], true);
        for _ in 0..2 {
            if path.exists() {
                fs::remove_file(&path).unwrap();
            } else {
                fs::write(&path, "back").unwrap();
            }
            assert_eq!(watch.poll(), None);
            assert_eq!(watch.poll(), Some(path.clone()));
            reload(&mut watch, &[&path], true);
        }
    }

    #[test]
    fn a_rejected_configuration_is_retried_when_a_file_of_it_or_of_the_one_in_use_changes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (config, old, new) = (at("config"), at("old"), at("new"));
        for path in [&config, &old] {
            fs::write(path, "x").unwrap();
        }
        let mut watch = ConfigWatch::new(read(&[&config, &old]));
        // The new configuration names a file that does not exist yet. It does
        // not read the old file, which has changed too.
        fs::write(&config, "names new").unwrap();
        fs::write(&old, "changed").unwrap();
        assert_eq!(watch.poll(), None);
        assert!(watch.poll().is_some());
        reload(&mut watch, &[&config, &new], false);
        assert_eq!((watch.poll(), watch.poll()), (None, None));
        for path in [&new, &old] {
            fs::write(path, "is here").unwrap();
            assert_eq!(watch.poll(), None);
            assert_eq!(watch.poll(), Some(path.clone()));
            reload(&mut watch, &[&config, &new], false);
        }
        reload(&mut watch, &[&config, &new], true);
        fs::write(&old, "no longer in use").unwrap();
        assert_eq!((watch.poll(), watch.poll()), (None, None));
    }
}
