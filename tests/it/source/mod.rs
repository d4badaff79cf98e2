//! What holds for the source of every crate of the workspace, whatever it does.

mod circles;
mod imports;
mod modules;
mod names;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

use modules::Modules;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every library and program of the workspace, with files named from its root.
fn crates() -> impl Iterator<Item = Modules> {
    let read = |path: &Path| fs::read_to_string(root().join(path)).ok();
    roots()
        .into_iter()
        .map(move |root| Modules::read(&root, &read))
}

/// Their root files.
fn roots() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for folder in package_folders() {
        let source = folder.join("src");
        let mut files = vec![source.join("lib.rs"), source.join("main.rs")];
        if let Ok(programs) = fs::read_dir(root().join(&source).join("bin")) {
            let names = programs.map(|entry| entry.unwrap().file_name());
            files.extend(names.map(|name| source.join("bin").join(name)));
        }
        roots.extend(files.into_iter().filter(|file| root().join(file).exists()));
    }
    roots
}

/// The folders of all packages, from the workspace's own.
pub(crate) fn package_folders() -> Vec<PathBuf> {
    let crates = fs::read_dir(root().join("crates")).unwrap();
    let crates = crates.map(|entry| Path::new("crates").join(entry.unwrap().file_name()));
    let mut folders: Vec<_> = crates.collect();
    folders.extend([PathBuf::new(), "bench".into()]);
    folders.sort();
    folders
}

/// The room of a file: a module at the top of the gateway, or a whole crate.
fn room(file: &Path) -> String {
    let parts: Vec<_> = file.iter().filter_map(|part| part.to_str()).collect();
    match parts.as_slice() {
        ["crates", name, ..] => format!("crates/{name}"),
        ["src", name, ..] => name.trim_end_matches(".rs").to_owned(),
        [first, ..] => (*first).to_owned(),
        [] => String::new(),
    }
}
