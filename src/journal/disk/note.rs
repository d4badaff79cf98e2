//! Small files of a few lines with a checksum: the high-water mark and the
//! floor.
//!
//! ```text
//! hookrill floor 1
//! sequence 1042
//! checksum a7bf26db2561120c
//! ```
//!
//! The checksum is the xxh3-64 of the lines above it. Invariant: what is read
//! is, to the byte, what was written.

use std::{fs, io, path::Path};

use xxhash_rust::xxh3::xxh3_64;

use crate::durable;

/// A note is shorter; a longer file is none.
const BYTES_MAX: u64 = 256;

/// What is found under a note's name.
pub(super) enum Found {
    /// No such file.
    Nothing,
    /// A file that is no note.
    Damaged,
    /// A note's lines, the checksum left out.
    Lines(String),
}

/// Reads a note.
pub(super) fn load(path: &Path) -> io::Result<Found> {
    let bytes = match fs::metadata(path) {
        Ok(found) if found.len() > BYTES_MAX => return Ok(Found::Damaged),
        Ok(_) => fs::read(path)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(e),
    };
    Ok(match std::str::from_utf8(&bytes).ok().and_then(unseal) {
        Some(lines) => Found::Lines(lines),
        None => Found::Damaged,
    })
}

/// Writes a note in the place of the one before.
pub(super) fn store(path: &Path, lines: &str) -> io::Result<()> {
    durable::replace(path, seal(lines).as_bytes()).map(drop)
}

/// The note's whole text.
pub(super) fn seal(lines: &str) -> String {
    let checksum = xxh3_64(lines.as_bytes());
    format!("{lines}checksum {checksum:016x}\n")
}

/// The lines of a text that is, to the byte, what they are sealed to.
pub(super) fn unseal(text: &str) -> Option<String> {
    let end = text.rfind("checksum ")?;
    let lines = &text[..end];
    (seal(lines) == text).then(|| lines.to_owned())
}
