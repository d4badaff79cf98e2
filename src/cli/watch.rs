//! Whether files that a configuration was read from have changed.
//!
//! Looks at them now and then, which has no traps: links are followed each
//! time, as orchestrators change files by changing what a link points to, and
//! a file may go and come back. Refuses to call for a file that is still being
//! written: it has to look the same twice. Invariant: what has changed since it
//! was read calls once, and again only when it changes again.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::config::read_file;

/// How files look without being read; `None`: there is none that can be seen.
pub(super) type Looks = BTreeMap<PathBuf, Option<Look>>;

/// How a file looks. Its owner may set when it was modified, and not when that
/// or anything else about it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    place: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Reads files and remembers how each looked before it was read.
#[derive(Default)]
pub(super) struct Reading(RefCell<Looks>);

/// The files of a configuration.
#[derive(Debug)]
pub struct Watch {
    /// What the configuration in use was read from.
    in_use: BTreeSet<PathBuf>,
    /// How all that is watched looked when it was last read, or read past.
    read: Looks,
    /// How it looked last.
    last: Looks,
}

impl Reading {
    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut looks = self.0.borrow_mut();
        // Before it is read: what changes meanwhile looks different later.
        looks.entry(path.to_owned()).or_insert_with(|| look(path));
        read_file(path)
    }

    pub(super) fn looks(self) -> Looks {
        self.0.into_inner()
    }
}

impl Watch {
    /// Watches what a configuration was read from that is now in use.
    pub(super) fn new(read: Looks) -> Self {
        Self {
            in_use: read.keys().cloned().collect(),
            last: read.clone(),
            read,
        }
    }

    /// Looks; names a file that has changed since it was read, once nothing
    /// has changed from one look to the next.
    pub(super) fn changed(&mut self) -> Option<PathBuf> {
        let now = self.looks();
        let settled = now == self.last;
        self.last = now;
        if !settled {
            return None;
        }
        let mut looks = self.read.iter().zip(self.last.values());
        let changed = looks.find(|((_, before), now)| before != now);
        changed.map(|((path, _), _)| path.clone())
    }

    /// How all that is watched looks.
    pub(super) fn looks(&self) -> Looks {
        let paths = self.read.keys();
        paths.map(|path| (path.clone(), look(path))).collect()
    }

    /// Takes note of an attempt that read these files; `before` it, all that
    /// is watched looked so. If what came of it is not in use, what is stays
    /// watched as well: the next attempt reads it too.
    pub(super) fn note(&mut self, mut before: Looks, read: Looks, in_use: bool) {
        if in_use {
            self.in_use = read.keys().cloned().collect();
        }
        before.retain(|path, _| self.in_use.contains(path));
        before.extend(read);
        self.last = before.clone();
        self.read = before;
    }
}

fn look(path: &Path) -> Option<Look> {
    let file = fs::metadata(path).ok()?;
    Some(Look {
        place: (file.dev(), file.ino()),
        bytes: file.size(),
        modified: (file.mtime(), file.mtime_nsec()),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(paths: &[&Path]) -> Looks {
        let reading = Reading::default();
        for path in paths {
            _ = reading.read(path);
        }
        reading.looks()
    }

    /// Reads these as a reload does.
    fn reload(watch: &mut Watch, paths: &[&Path], in_use: bool) {
        let before = watch.looks();
        watch.note(before, read(paths), in_use);
    }

    #[test]
    fn a_changed_file_calls_once_it_has_stayed_the_same_for_two_looks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "one").unwrap();
        let mut watch = Watch::new(read(&[&path]));
        assert_eq!(watch.changed(), None);
        for half in ["o", "on", "one!"] {
            fs::write(&path, half).unwrap();
            assert_eq!(watch.changed(), None, "it is being written");
        }
        assert_eq!(watch.changed(), Some(path.clone()));
        reload(&mut watch, &[&path], true);
        assert_eq!((watch.changed(), watch.changed()), (None, None));
    }

    #[test]
    fn a_link_that_points_elsewhere_is_a_change_and_so_is_a_file_that_goes_or_comes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["1", "2"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("secret"), "same size").unwrap();
        }
        symlink(at("1"), at("data")).unwrap();
        let path = at("data").join("secret");
        let mut watch = Watch::new(read(&[&path]));
        symlink(at("2"), at("new")).unwrap();
        fs::rename(at("new"), at("data")).unwrap();
        assert_eq!(watch.changed(), None);
        assert_eq!(watch.changed(), Some(path.clone()));
        reload(&mut watch, &[&path], true);
        for _ in 0..2 {
            match path.exists() {
                true => fs::remove_file(&path).unwrap(),
                false => fs::write(&path, "back").unwrap(),
            }
            assert_eq!(watch.changed(), None);
            assert_eq!(watch.changed(), Some(path.clone()));
            reload(&mut watch, &[&path], true);
        }
    }

    #[test]
    fn what_was_refused_is_tried_again_when_any_file_of_either_changes_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (config, old, new) = (at("config"), at("old"), at("new"));
        for path in [&config, &old] {
            fs::write(path, "x").unwrap();
        }
        let mut watch = Watch::new(read(&[&config, &old]));
        // It names a file that is not there, and the old one has changed, which
        // this attempt does not read.
        fs::write(&config, "names new").unwrap();
        fs::write(&old, "changed").unwrap();
        assert_eq!(watch.changed(), None);
        assert!(watch.changed().is_some());
        reload(&mut watch, &[&config, &new], false);
        assert_eq!((watch.changed(), watch.changed()), (None, None));
        for path in [&new, &old] {
            fs::write(path, "is here").unwrap();
            assert_eq!(watch.changed(), None);
            assert_eq!(watch.changed(), Some(path.clone()));
            reload(&mut watch, &[&config, &new], false);
        }
        reload(&mut watch, &[&config, &new], true);
        fs::write(&old, "no longer in use").unwrap();
        assert_eq!((watch.changed(), watch.changed()), (None, None));
    }
}
