//! Which file of a crate uses which, by name.
//!
//! An import leads to the file that defines what is imported, however many
//! modules re-export it on the way. Naming a module leads nowhere: what is used
//! of it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::modules::{Modules, Segments};

/// For each file, those that it uses and what of them.
pub(super) type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>;

/// Where a path leads: to a module, or to something that a module defines.
#[derive(Clone, Copy)]
enum Target {
    Module(usize),
    Item(usize),
}

/// The names under way, so that one which leads to itself comes to an end.
type Seen<'a> = BTreeSet<(usize, &'a str)>;

impl Modules {
    /// Every use between two files of this crate. A file and those of its own
    /// child modules may use each other: those uses are left out.
    pub(super) fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (at, module) in self.0.iter().enumerate() {
            let imported = module.imports.iter().map(|import| &import.path);
            for path in imported.chain(&module.names) {
                let Some(Target::Item(target)) = self.resolve(at, path, &mut Seen::new()) else {
                    continue;
                };
                let used = &self.0[target].file;
                if *used != module.file && !self.are_parent_and_child(&module.file, used) {
                    let uses = imports.entry(module.file.clone()).or_default();
                    let names = uses.entry(used.clone()).or_default();
                    names.insert(path.last().cloned().unwrap_or_default());
                }
            }
        }
        imports
    }

    fn are_parent_and_child(&self, one: &Path, other: &Path) -> bool {
        let (one, other) = (self.of_file(one), self.of_file(other));
        let parent = |module: usize| self.0[module].parent.map(|parent| &self.0[parent].file);
        parent(one) == Some(&self.0[other].file) || parent(other) == Some(&self.0[one].file)
    }

    /// The module that a file is.
    fn of_file(&self, file: &Path) -> usize {
        let mut modules = self.0.iter();
        let found = modules.position(|module| module.file == file);
        found.expect("it is a file of this crate")
    }

    fn resolve<'a>(
        &'a self,
        from: usize,
        path: &'a Segments,
        seen: &mut Seen<'a>,
    ) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let mut target = match first.as_str() {
            "crate" => Target::Module(0),
            "self" => Target::Module(from),
            "super" => Target::Module(self.0[from].parent?),
            name => self.look_up(from, name, seen)?,
        };
        for name in rest {
            // What follows an item is a variant or an associated item.
            let Target::Module(module) = target else {
                return Some(target);
            };
            target = match name.as_str() {
                "super" => Target::Module(self.0[module].parent?),
                name => self.look_up(module, name, seen)?,
            };
        }
        Some(target)
    }

    fn look_up<'a>(&'a self, at: usize, name: &'a str, seen: &mut Seen<'a>) -> Option<Target> {
        if !seen.insert((at, name)) {
            return None;
        }
        let module = &self.0[at];
        if let Some(child) = module.children.get(name) {
            return Some(Target::Module(*child));
        }
        if module.items.contains(name) {
            return Some(Target::Item(at));
        }
        for import in module.imports.iter().filter(|import| import.name == name) {
            if let Some(target) = self.resolve(at, &import.path, seen) {
                return Some(target);
            }
        }
        for glob in &module.globs {
            if let Some(Target::Module(all)) = self.resolve(at, glob, seen)
                && let Some(target) = self.look_up(all, name, seen)
            {
                return Some(target);
            }
        }
        None
    }
}
