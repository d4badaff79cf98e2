//! Sealing: the index and the dedup entries of a full segment go into files of
//! their own.
//!
//! Invariant: the index file comes last, so that a segment that has one is
//! sealed; one that has none is sealed again, from its log.

use std::{io, path::Path};

use super::{
    dedup_file::{self, DedupHeader},
    index_file,
    segment::{self, FileKind},
    segment_set::{OpenSegment, SealedSegment},
};
use crate::durable;

/// Seals a segment that nobody writes to; each of its writes goes through
/// `write`. Blocks.
pub(super) fn seal(
    journal: &Path,
    open: &OpenSegment,
    write: impl Fn(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
) -> io::Result<(SealedSegment, Option<DedupHeader>)> {
    let contents = open.contents();
    let (first, last) = (open.header.first, contents.index.last());
    write(&mut || {
        open.file.set_len(contents.index.end.into())?;
        open.file.sync_all()
    })?;
    let mut dedup = None;
    if !contents.entries.is_empty() {
        let (header, bytes) = dedup_file::encode(first, last, &contents.entries);
        let path = segment::path(journal, first, FileKind::Dedup);
        write(&mut || durable::replace(&path, &bytes).map(drop))?;
        dedup = Some(header);
    }
    let (header, bytes) = index_file::encode(&open.header, &contents.index, contents.entries.len());
    let path = segment::path(journal, first, FileKind::Index);
    write(&mut || durable::replace(&path, &bytes).map(drop))?;
    Ok((SealedSegment { header }, dedup))
}
