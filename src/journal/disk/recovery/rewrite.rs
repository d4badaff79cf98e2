//! Writes the end of a log again, before it is believed.
//!
//! After an fsync that failed, the system takes what it has in memory for
//! written: a read shows it, another fsync has nothing to do, and a power cut
//! takes it away. Bytes that are written again are written.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use hookrill_core::Sequence;

use crate::journal::disk::{group, index::Index, segment};

/// How much is read and written at a time.
const WINDOW_BYTES: u64 = 1 << 20;
/// Memory and disks have pages of this size, or of a part of it.
const PAGE_BYTES: u64 = 4096;

/// Where the log begins of which nobody knows that it is durable: behind the
/// last event that is known to be.
pub(super) fn uncertain_from(index: &Index, durable: Sequence) -> u64 {
    if durable < index.first {
        return 0;
    }
    if durable >= index.last() {
        return index.end.into();
    }
    let record = u64::from(index.offset(index.ordinal(durable.next())));
    // Its group's header may be before it, and its page has older bytes too.
    let header = record.saturating_sub(group::HEADER_BYTES as u64);
    debug_assert!(record >= segment::HEADER_BYTES as u64);
    header - header % PAGE_BYTES
}

/// Reads a part of a log and writes it where it is; blocks.
pub(super) fn rewrite(file: &File, from: u64, end: u64) -> io::Result<()> {
    let mut window = Vec::new();
    let mut at = from;
    while at < end {
        let len = (end - at).min(WINDOW_BYTES);
        window.resize(len as usize, 0);
        file.read_exact_at(&mut window, at)?;
        file.write_all_at(&window, at)?;
        at += len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hookrill_core::Timestamp;

    use super::*;

    #[test]
    fn only_what_is_not_known_to_be_durable_is_written_again_by_whole_pages() {
        let mut index = Index::new(Sequence(11), segment::HEADER_BYTES as u32);
        let topic = "a".parse().unwrap();
        for offset in [100, 5000, 9000] {
            index.add(offset, &topic, "t", Timestamp::default());
        }
        index.end = 9500;
        for (durable, from) in [
            (0, 0),
            (10, 0),
            (11, 4096),
            (12, 8192),
            (13, 9500),
            (99, 9500),
        ] {
            assert_eq!(
                uncertain_from(&index, Sequence(durable)),
                from,
                "after {durable}"
            );
        }
    }

    #[test]
    fn a_part_that_is_written_again_is_the_same_to_the_byte() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let bytes: Vec<_> = (0..3_000_000_u32).map(|n| n as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        rewrite(&file, 4096, 2_999_999).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
