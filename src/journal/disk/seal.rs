//! Sealing: the index and the dedup entries of a full segment go into files of
//! their own.
//!
//! Off the acknowledging path, but where the writer is so far ahead that it
//! seals by itself. Invariant: the index file comes last, so that a segment
//! that has one is sealed; one that has none is sealed again, from its log.

use std::{io, sync::Arc, sync::PoisonError};

use super::{
    dedup_file::{self, DedupFacts},
    index_file,
    segment::{self, FileKind},
    shelf::{Open, Sealed, Segment},
    store::{Purpose, Store},
};
use crate::durable;

impl Store {
    /// Seals the oldest of the segments that wait for it; says whether there
    /// was one. Blocks.
    pub(super) fn seal_oldest(&self) -> io::Result<bool> {
        let _one = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        let segments = self.shelf.segments();
        // The last one is still written.
        let full = segments.split_last().map_or(&[][..], |(_, full)| full);
        let waiting = full.iter().find_map(|segment| match segment {
            Segment::Open(open) => Some(Arc::clone(open)),
            Segment::Sealed(_) => None,
        });
        let Some(open) = waiting else {
            return Ok(false);
        };
        let write = |write: &mut dyn FnMut() -> io::Result<()>| self.write(Purpose::Seal, write);
        let (sealed, dedup) = seal(&self.folder, &open, write)?;
        let files = self.dedup_files.lock();
        files.unwrap_or_else(PoisonError::into_inner).extend(dedup);
        self.shelf.seal(sealed);
        Ok(true)
    }
}

/// Seals a segment that nobody writes to; blocks.
pub(super) fn seal(
    journal: &std::path::Path,
    open: &Open,
    write: impl Fn(&mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
) -> io::Result<(Sealed, Option<DedupFacts>)> {
    let contents = open.contents();
    let (first, last) = (open.head.first, contents.index.last());
    write(&mut || {
        open.file.set_len(contents.index.end.into())?;
        open.file.sync_all()
    })?;
    let mut dedup = None;
    if !contents.entries.is_empty() {
        let (facts, bytes) = dedup_file::encode(first, last, &contents.entries);
        let path = segment::path(journal, first, FileKind::Dedup);
        write(&mut || durable::replace(&path, &bytes).map(drop))?;
        dedup = Some(facts);
    }
    let (facts, bytes) = index_file::encode(&open.head, &contents.index, contents.entries.len());
    let path = segment::path(journal, first, FileKind::Index);
    write(&mut || durable::replace(&path, &bytes).map(drop))?;
    Ok((Sealed { facts }, dedup))
}
