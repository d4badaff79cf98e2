//! The high-water mark: how far events were acknowledged, kept apart from the
//! storage engine.
//!
//! A byte flipped in the engine's write-ahead journal makes it open without an
//! error and drop all that follows. A journal that ends below its mark is
//! therefore refused.
//!
//! ```text
//! hookrill high-water 1
//! epoch k3f9x2ab
//! sequence 1042
//! checksum a7bf26db2561120c
//! ```
//!
//! The checksum is the xxh3-64 of the lines above it.
//!
//! Invariant: what it says is durable in the journal, because it is written
//! after the fact. It may lag by a second, which weakens the check and costs
//! nothing.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    event::{Epoch, Sequence},
    journal::OpenError,
};

const NAME: &str = "high-water";
/// A mark is shorter; a longer file is none.
const BYTES_MAX: u64 = 256;

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
        let io = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        let bytes = match fs::metadata(&path) {
            Ok(found) if found.len() > BYTES_MAX => Vec::new(),
            Ok(_) => fs::read(&path).map_err(io)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        match std::str::from_utf8(&bytes).ok().and_then(Self::parse) {
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
        let temporary: PathBuf = folder.join("high-water.new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, folder.join(NAME))?;
        File::open(folder)?.sync_all()
    }

    fn text(&self) -> String {
        let lines = format!(
            "hookrill high-water 1\nepoch {}\nsequence {}\n",
            self.epoch, self.sequence
        );
        let checksum = xxh3_64(lines.as_bytes());
        format!("{lines}checksum {checksum:016x}\n")
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
        (mark.text() == text).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_pinned_to_the_byte() {
        let mark = Mark {
            epoch: "k3f9x2ab".parse().unwrap(),
            sequence: Sequence(1042),
        };
        let text = "hookrill high-water 1\nepoch k3f9x2ab\nsequence 1042\n\
                    checksum a7bf26db2561120c\n";
        assert_eq!(mark.text(), text);
        assert_eq!(Mark::parse(text), Some(mark));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let mark = Mark {
            epoch: "k3f9x2ab".parse().unwrap(),
            sequence: Sequence(1042),
        };
        let text = mark.text();
        for at in 0..text.len() {
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1;
            let flipped = String::from_utf8(flipped).unwrap();
            assert_eq!(Mark::parse(&flipped), None, "byte {at} flipped");
            assert_eq!(Mark::parse(&text[..at]), None, "cut at {at}");
        }
        assert_eq!(Mark::parse(&format!("{text}\n")), None);
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
