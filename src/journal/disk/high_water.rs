//! The high-water mark: how far events were acknowledged, in a file apart from
//! the segments.
//!
//! A log whose last events were cut off or changed looks like one that a crash
//! interrupted. A journal that ends below its mark is therefore refused.
//!
//! ```text
//! hookrill high-water 1
//! epoch k3f9x2ab
//! sequence 1042
//! checksum a7bf26db2561120c
//! ```
//!
//! Invariant: the events up to the mark are durable, because it is written
//! after them. It may lag by a second, which weakens the check and costs
//! nothing; that of a backup does not lag.

use std::{io, path::Path};

use hookrill_core::{Epoch, Sequence};

use super::checksummed_file::{self, ChecksummedFile};
use crate::journal::OpenError;

pub(super) const NAME: &str = "high-water";

/// How far the journal of this epoch was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HighWaterMark {
    pub(super) epoch: Epoch,
    pub(super) sequence: Sequence,
}

impl HighWaterMark {
    /// Reads the folder's mark; `None` if there is no such file.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, OpenError> {
        let path = folder.join(NAME);
        let mark = match checksummed_file::load(&path) {
            Ok(ChecksummedFile::Missing) => return Ok(None),
            Ok(ChecksummedFile::Lines(lines)) => Self::parse(&lines),
            Ok(ChecksummedFile::Damaged) => None,
            Err(source) => return Err(OpenError::Io { path, source }),
        };
        match mark {
            Some(mark) => Ok(Some(mark)),
            None => Err(Self::refused(folder, "damaged".into())),
        }
    }

    /// The error for a folder whose mark has this problem.
    pub(super) fn refused(folder: &Path, problem: String) -> OpenError {
        OpenError::HighWater {
            path: folder.join(NAME),
            problem,
        }
    }

    /// Writes the mark; after a crash either it or the one before is there.
    pub(super) fn store(&self, folder: &Path) -> io::Result<()> {
        checksummed_file::store(&folder.join(NAME), &self.lines())
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
        // Written again it must be the same text.
        (mark.lines() == text).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(text: &str) -> Option<HighWaterMark> {
        HighWaterMark::parse(&checksummed_file::without_checksum(text)?)
    }

    #[test]
    fn the_text_is_pinned_to_the_byte() {
        let mark = HighWaterMark {
            epoch: "k3f9x2ab".parse().unwrap(),
            sequence: Sequence(1042),
        };
        let text = "hookrill high-water 1\nepoch k3f9x2ab\nsequence 1042\n\
                    checksum a7bf26db2561120c\n";
        assert_eq!(checksummed_file::with_checksum(&mark.lines()), text);
        assert_eq!(parse(text), Some(mark));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let mark = HighWaterMark {
            epoch: "k3f9x2ab".parse().unwrap(),
            sequence: Sequence(1042),
        };
        let text = checksummed_file::with_checksum(&mark.lines());
        for at in 0..text.len() {
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1;
            let flipped_text = String::from_utf8(flipped).unwrap();
            assert_eq!(parse(&flipped_text), None, "byte {at} flipped");
            assert_eq!(parse(&text[..at]), None, "cut at {at}");
        }
        assert_eq!(parse(&format!("{text}\n")), None);
    }

    #[test]
    fn a_mark_comes_back_as_it_was_stored() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(HighWaterMark::load(folder.path()).unwrap(), None);
        for sequence in [0, 7, u64::MAX] {
            let mark = HighWaterMark {
                epoch: "a".parse().unwrap(),
                sequence: Sequence(sequence),
            };
            mark.store(folder.path()).unwrap();
            assert_eq!(HighWaterMark::load(folder.path()).unwrap(), Some(mark));
        }
        fs::write(folder.path().join(NAME), vec![b'x'; 300]).unwrap();
        assert!(HighWaterMark::load(folder.path()).is_err());
    }
}
