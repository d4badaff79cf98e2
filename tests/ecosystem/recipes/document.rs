//! The recipes of `docs/clients.md`, as they stand there.
//!
//! Refuses to mend anything: what a reader would copy is what is run. Invariant:
//! each heading has one block of code, or none.

use std::{collections::BTreeMap, fs, path::Path};

const DOCUMENT: &str = include_str!("../../../docs/clients.md");
/// What the document says to put one's own gateway in place of.
pub(super) const PLACEHOLDER: &str = "https://hooks.example.com";

/// Each recipe's code, by its heading.
pub(super) fn recipes() -> BTreeMap<&'static str, &'static str> {
    let sections = DOCUMENT.split("\n## ").skip(1);
    let recipes = sections.filter(|section| section.contains("\n```"));
    recipes.map(recipe).collect()
}

fn recipe(section: &'static str) -> (&'static str, &'static str) {
    let (heading, rest) = section.split_once('\n').expect("a section has lines");
    let mut parts = rest.split("\n```");
    let code = parts.nth(1).and_then(|block| block.split_once('\n'));
    let (_language, code) = code.unwrap_or_else(|| panic!("{heading} has no code"));
    assert_eq!(parts.count(), 1, "{heading} has one block of code");
    (heading, code)
}

/// Writes a recipe into a file of its own, for this gateway.
pub(super) fn write(heading: &str, file: &Path, gateway: &str) {
    let code = recipes()[heading].replace(PLACEHOLDER, gateway);
    fs::write(file, code + "\n").expect("the folder can be written to");
}
