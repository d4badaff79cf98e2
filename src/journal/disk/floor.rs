//! The floor: up to where retention has deleted events, in a file of its own.
//!
//! ```text
//! hookrill floor 1
//! sequence 1042
//! checksum …
//! ```
//!
//! A missing file means a floor of zero. Invariant: the floor is durable before
//! the first file below it is removed.

use std::{io, path::Path};

use hookrill_core::Sequence;

use super::checksummed_file::{self, ChecksummedFile};
use crate::journal::{DamageError, OpenError};

pub(super) const NAME: &str = "floor";

/// Reads the folder's floor.
pub(super) fn load(folder: &Path) -> Result<Sequence, OpenError> {
    let path = folder.join(NAME);
    let floor = match checksummed_file::load(&path) {
        Ok(ChecksummedFile::Missing) => return Ok(Sequence::ZERO),
        Ok(ChecksummedFile::Lines(lines)) => parse(&lines),
        Ok(ChecksummedFile::Damaged) => None,
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    floor.ok_or_else(|| OpenError::Damaged {
        path: folder.into(),
        source: DamageError::Floor,
    })
}

/// Makes a floor durable; blocks.
pub(super) fn store(folder: &Path, floor: Sequence) -> io::Result<()> {
    checksummed_file::store(&folder.join(NAME), &lines(floor))
}

fn lines(floor: Sequence) -> String {
    format!("hookrill floor 1\nsequence {floor}\n")
}

fn parse(text: &str) -> Option<Sequence> {
    let digits = text.lines().nth(1)?.strip_prefix("sequence ")?;
    let floor = Sequence(digits.parse().ok()?);
    // Written again it must be the same text.
    (lines(floor) == text).then_some(floor)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_floor_comes_back_as_it_was_stored_and_a_damaged_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), Sequence::ZERO);
        for floor in [Sequence(7), Sequence(u64::MAX)] {
            store(folder.path(), floor).unwrap();
            assert_eq!(load(folder.path()).unwrap(), floor);
        }
        let path = folder.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert!(load(folder.path()).is_err(), "byte {at} flipped");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(load(folder.path()).is_err(), "cut at {at}");
        }
    }
}
