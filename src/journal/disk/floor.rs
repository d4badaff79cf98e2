//! The floor: up to where retention has deleted, in a file of its own.
//!
//! ```text
//! hookrill floor 1
//! sequence 1042
//! checksum …
//! ```
//!
//! No file is a floor of zero. Invariant: it is durable before the first file
//! below it is removed.

use std::{io, path::Path};

use hookrill_core::Sequence;

use super::note::{self, Found};
use crate::journal::{OpenError, disk::segment::damaged};

const NAME: &str = "floor";

/// Reads the folder's floor.
pub(super) fn load(folder: &Path) -> Result<Sequence, OpenError> {
    let path = folder.join(NAME);
    let parsed = match note::load(&path) {
        Ok(Found::Nothing) => return Ok(Sequence::ZERO),
        Ok(Found::Lines(lines)) => parse(&lines),
        Ok(Found::Damaged) => None,
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    parsed.ok_or_else(|| damaged(folder, "its floor is damaged"))
}

/// Makes a floor durable; blocks.
pub(super) fn store(folder: &Path, floor: Sequence) -> io::Result<()> {
    note::store(&folder.join(NAME), &lines(floor))
}

fn lines(floor: Sequence) -> String {
    format!("hookrill floor 1\nsequence {floor}\n")
}

fn parse(text: &str) -> Option<Sequence> {
    let digits = text.lines().nth(1)?.strip_prefix("sequence ")?;
    let floor = Sequence(digits.parse().ok()?);
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
