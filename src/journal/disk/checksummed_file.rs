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

/// No such file is longer.
const BYTES_MAX: u64 = 256;

/// What is found under the name of such a file.
pub(super) enum ChecksummedFile {
    /// No file.
    Missing,
    /// A file whose checksum is wrong, or that has none.
    Damaged,
    /// The file's lines, without the checksum.
    Lines(String),
}

/// Reads a file.
pub(super) fn load(path: &Path) -> io::Result<ChecksummedFile> {
    let bytes = match fs::metadata(path) {
        Ok(found) if found.len() > BYTES_MAX => return Ok(ChecksummedFile::Damaged),
        Ok(_) => fs::read(path)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(ChecksummedFile::Missing),
        Err(e) => return Err(e),
    };
    let text = std::str::from_utf8(&bytes).ok();
    Ok(match text.and_then(without_checksum) {
        Some(lines) => ChecksummedFile::Lines(lines),
        None => ChecksummedFile::Damaged,
    })
}

/// Writes a file in place of the one before.
pub(super) fn store(path: &Path, lines: &str) -> io::Result<()> {
    let text = with_checksum(lines);
    assert!(text.len() as u64 <= BYTES_MAX, "a file of a few lines");
    durable::replace(path, text.as_bytes()).map(drop)
}

/// The whole text of a file with these lines.
pub(super) fn with_checksum(lines: &str) -> String {
    let checksum = xxh3_64(lines.as_bytes());
    format!("{lines}checksum {checksum:016x}\n")
}

/// The lines of a file's text, if its checksum is right.
pub(super) fn without_checksum(text: &str) -> Option<String> {
    let end = text.rfind("checksum ")?;
    let lines = &text[..end];
    (with_checksum(lines) == text).then(|| lines.to_owned())
}
