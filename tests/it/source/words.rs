//! A signature is verified, never proven, wherever somebody reads about it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{room, root};

/// The noun is a word of ours: the headers by which a delivery was verified.
const WORDS: [&str; 7] = [
    "prove", "proves", "proved", "proven", "proving", "provable", "unproven",
];

/// Folders and pages that are read, from the project's root.
const PLACES: [&str; 14] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "bench",
    "clients",
    "crates",
    "deploy",
    "docs",
    "examples",
    "fuzz",
    "scripts",
    "src",
    "tests/ecosystem",
];

/// Folders that nobody here writes.
const INSTALLED: [&str; 5] = ["node_modules", "target", ".venv", "__pycache__", "dist"];

/// Rooms and pages that still say it. This list only ever gets shorter.
const STILL_SAID: &[&str] = &[];

#[test]
fn a_signature_is_verified_and_never_proven() {
    let mut saying = BTreeSet::new();
    let mut said = Vec::new();
    for (file, text) in texts() {
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(word) = found(line) {
                let place = room(&file);
                if !STILL_SAID.contains(&&*place) {
                    said.push(format!("{}:{number}: {word}", file.display()));
                }
                saying.insert(place);
            }
        }
    }
    assert!(said.is_empty(), "say verify:\n{}", said.join("\n"));
    let mut still = STILL_SAID.iter();
    assert_eq!(still.find(|place| !saying.contains(**place)), None);
}

/// The first of [`WORDS`] in a line, also as a part of a name.
fn found(line: &str) -> Option<String> {
    let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
    let mut parts = words.by_ref().flat_map(parts_of_name);
    parts.find(|part| WORDS.contains(&&**part))
}

/// `TokenProof` has two.
fn parts_of_name(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() || parts.is_empty() {
            parts.push(String::new());
        }
        let part = parts.last_mut().expect("there is one");
        part.push(letter.to_ascii_lowercase());
    }
    parts.push(name.to_ascii_lowercase());
    parts
}

/// Every text of those places that is written by hand.
fn texts() -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    let mut left: Vec<_> = PLACES.iter().map(PathBuf::from).collect();
    while let Some(path) = left.pop() {
        if let Ok(entries) = fs::read_dir(root().join(&path)) {
            let names = entries.map(|entry| entry.unwrap().file_name());
            let written = names.filter(|name| !INSTALLED.iter().any(|other| name == other));
            left.extend(written.map(|name| path.join(name)));
        } else if is_written(&path) {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            texts.push((path, text));
        }
    }
    texts
}

fn is_written(path: &Path) -> bool {
    let kind = path.extension().and_then(|kind| kind.to_str());
    kind.is_none_or(|kind| {
        [
            "rs", "md", "toml", "yaml", "yml", "conf", "mjs", "py", "js", "ts", "html",
        ]
        .contains(&kind)
    }) && !path.ends_with("LICENSE")
}

#[test]
fn the_words_are_found_in_prose_and_in_names() {
    for line in [
        "it Proves.",
        "fn prove_again()",
        "struct ProvenToken;",
        "UNPROVEN",
        "(proves)",
    ] {
        assert!(found(line).is_some(), "{line}");
    }
    for line in ["approve", "improved", "provider", "proofread", "the proof"] {
        assert_eq!(found(line), None, "{line}");
    }
}
