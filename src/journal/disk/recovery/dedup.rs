//! Loads the dedup entries: from the dedup files, and from the log that is
//! written.
//!
//! Invariant: a damaged file is rebuilt from its segment's log; if that is gone
//! too, the start is refused.

use hookrill_core::Sequence;

use super::{context::RecoveryContext, directory};
use crate::{
    durable,
    journal::{
        DamageError, OpenError,
        disk::{
            dedup::{DedupEntry, DedupIndex},
            dedup_file::{DedupHeader, stored_entries_max},
            segment::{self, FileKind},
            segment_set::LogSegment,
        },
    },
};

impl RecoveryContext<'_> {
    /// The dedup files, oldest first, and the index of their entries.
    pub(super) fn load_dedup(
        &self,
        segments: &[LogSegment],
    ) -> Result<(Vec<DedupHeader>, DedupIndex), OpenError> {
        let mut files = Vec::new();
        for first in directory::list(self.folder)?.into_keys() {
            files.extend(self.load_header(first, segments)?);
        }
        let mut index = DedupIndex::new(self.dedup_entries_max);
        let needed = self.needed(&files);
        index.reserve(needed.iter().map(|file| file.entries).sum());
        for file in needed {
            let entries = match file.load_entries(self.folder).map_err(|e| self.io(e))? {
                Some(entries) => entries,
                None => self.rebuild(file.first, segments)?,
            };
            insert_newer(&mut index, &entries);
        }
        if let Some(LogSegment::Open(open)) = segments.last() {
            insert_newer(&mut index, &open.contents().entries);
        }
        index.remove_expired(self.clock.now());
        Ok((files, index))
    }

    /// The files whose entries may still be asked for: the newest ones that
    /// together have as many as are worth keeping.
    fn needed<'f>(&self, files: &'f [DedupHeader]) -> Vec<&'f DedupHeader> {
        let mut entries = 0;
        let newest = files.iter().rev().take_while(|file| {
            let is_wanted = entries < stored_entries_max(self.dedup_entries_max);
            entries += file.entries;
            is_wanted
        });
        let now = self.clock.now();
        let mut needed: Vec<_> = newest.filter(|file| file.until > now).collect();
        needed.reverse();
        needed
    }

    /// The header of a segment's dedup file. If it is damaged and the log is
    /// there, the file is rebuilt.
    fn load_header(
        &self,
        first: Sequence,
        segments: &[LogSegment],
    ) -> Result<Option<DedupHeader>, OpenError> {
        let segment = segments.iter().find(|segment| segment.first() == first);
        let is_expected = match segment {
            Some(LogSegment::Sealed(sealed)) => sealed.header.dedup_entries > 0,
            Some(LogSegment::Open(_)) => return Ok(None),
            None => true,
        };
        let load = || DedupHeader::load(self.folder, first).map_err(|e| self.io(e));
        match load()? {
            Some(header) => Ok(Some(header)),
            None if !is_expected => Ok(None),
            None => {
                self.rebuild(first, segments)?;
                load()
            }
        }
    }

    /// The entries of a segment whose dedup file is damaged or missing.
    fn rebuild(
        &self,
        first: Sequence,
        segments: &[LogSegment],
    ) -> Result<Vec<DedupEntry>, OpenError> {
        let path = segment::path(self.folder, first, FileKind::Dedup);
        if segments.iter().any(|segment| segment.first() == first) {
            tracing::warn!(path = %path.display(), "this file was damaged or missing, and is rebuilt");
            return self.seal(first).map(|(_, entries)| entries);
        }
        if self.new_epoch {
            tracing::warn!(path = %path.display(), "this file is damaged and was removed; late duplicates may be stored again");
            durable::remove(&path).map_err(|e| self.io(e))?;
            return Ok(Vec::new());
        }
        Err(self.damaged(DamageError::DedupFile(path)))
    }
}

/// Inserts the entries that are newer than all so far. After a salvage, the file
/// of a segment that was split can have entries of the segment after it.
fn insert_newer(index: &mut DedupIndex, entries: &[DedupEntry]) {
    let newest = index.newest();
    for entry in entries {
        if newest.is_none_or(|newest| newest < entry.sequence) {
            index.insert(*entry);
        }
    }
}
