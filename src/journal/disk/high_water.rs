//! The high-water mark: how far events were acknowledged, kept apart from the
//! segments.
//!
//! A log whose last events were cut off, or changed, looks like one that a
//! crash caught while it wrote them. A journal that ends below its mark is
//! therefore refused.
//!
//! ```text
//! hookrill high-water 1
//! epoch k3f9x2ab
//! sequence 1042
//! checksum a7bf26db2561120c
//! ```
//!
//! Invariant: what it says is durable in the journal, because it is written
//! after the fact. It may lag by a second, which weakens the check and costs
//! nothing.

use std::{io, path::Path};

use hookrill_core::{Epoch, Sequence};

use super::note::{self, Found};
use crate::journal::OpenError;

const NAME: &str = "high-water";

/// How far the journal of this epoch was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: Epoch,
    pub(super) sequence: Sequence,
}

impl Mark {
    /// Reads the folder's mark; `None` where there is no such file.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, OpenError> {
        let path = folder.join(NAME);
        let parsed = match note::load(&path) {
            Ok(Found::Nothing) => return Ok(None),
            Ok(Found::Lines(lines)) => Self::parse(&lines),
            Ok(Found::Damaged) => None,
            Err(source) => return Err(OpenError::Io { path, source }),
        };
        match parsed {
            Some(mark) => Ok(Some(mark)),
            None => Err(Self::refuse(folder, "damaged".into())),
        }
    }

    /// The error that says what is wrong with a folder's mark.
    pub(super) fn refuse(folder: &Path, wrong: String) -> OpenError {
        OpenError::HighWater {
            path: folder.join(NAME),
            wrong,
        }
    }

    /// Writes the mark so that after a crash either it or the one before is
    /// there, whole.
    pub(super) fn store(&self, folder: &Path) -> io::Result<()> {
        note::store(&folder.join(NAME), &self.lines())
    }

    fn lines(&self) -> String {
        format!(
            "hookrill high-water 1\nepoch {}\nsequence {}\n",
            self.epoch, self.sequence
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1);
        let epoch = lines.next()?.strip_prefix("epoch ")?.parse().ok()?;
        let sequence = lines.next()?.strip_prefix("sequence ")?.parse().ok()?;
        let mark = Self {
            epoch,
            sequence: Sequence(sequence),
        };
        // Only what it would be written as is a mark: nothing else to check.
        (mark.lines() == text).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(text: &str) -> Option<Mark> {
        Mark::parse(&note::unseal(text)?)
    }

    #[test]
    fn the_text_is_pinned_to_the_byte() {
        let mark = Mark {
            epoch: "k3f9x2ab".parse().unwrap(),
            sequence: Sequence(1042),
        };
        let text = "hookrill high-water 1\nepoch k3f9x2ab\nsequence 1042\n\
                    checksum a7bf26db2561120c\n";
        assert_eq!(note::seal(&mark.lines()), text);
        assert_eq!(parse(text), Some(mark));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let mark = Mark {
            epoch: "k3f9x2ab".parse().unwrap(),
            sequence: Sequence(1042),
        };
        let text = note::seal(&mark.lines());
        for at in 0..text.len() {
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1;
            let flipped = String::from_utf8(flipped).unwrap();
            assert_eq!(parse(&flipped), None, "byte {at} flipped");
            assert_eq!(parse(&text[..at]), None, "cut at {at}");
        }
        assert_eq!(parse(&format!("{text}\n")), None);
    }

    #[test]
    fn a_mark_comes_back_as_it_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Mark::load(folder.path()).unwrap(), None);
        for sequence in [0, 7, u64::MAX] {
            let mark = Mark {
                epoch: "a".parse().unwrap(),
                sequence: Sequence(sequence),
            };
            mark.store(folder.path()).unwrap();
            assert_eq!(Mark::load(folder.path()).unwrap(), Some(mark));
        }
        fs::write(folder.path().join(NAME), vec![b'x'; 300]).unwrap();
        assert!(Mark::load(folder.path()).is_err());
    }
}
