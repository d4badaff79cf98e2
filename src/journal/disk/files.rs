//! The journal's files, opened, and the one way to write to them.
//!
//! Invariants: the folder's lock is held for as long as the files are open.
//! Once the journal runs, every write but the high-water mark's goes through
//! [`Files::write`].

use std::{io, path::PathBuf, sync::Arc};

use parking_lot::Mutex;

use super::{
    damage::FoundDamage,
    dedup_file::DedupHeader,
    env::{Env, Sizes, WritePurpose},
    lock::FolderLock,
    reserve::DescriptorReserve,
    seal,
    segment_set::{LogSegment, OpenSegment, SegmentSet},
};
use crate::journal::scarcity::{ScarcityLog, is_scarce};

/// The open files.
pub(super) struct Files {
    pub(super) folder: PathBuf,
    pub(super) segments: SegmentSet,
    pub(super) sizes: Sizes,
    pub(super) env: Env,
    pub(super) damage: Arc<FoundDamage>,
    pub(super) scarcity: ScarcityLog,
    pub(super) reserve: DescriptorReserve,
    /// Held while a segment is sealed.
    sealing: Mutex<()>,
    /// The `.dup` files, oldest first.
    pub(super) dedup_files: Mutex<Vec<DedupHeader>>,
    /// Last, so that it is released when all else is closed.
    _lock: FolderLock,
}

impl Files {
    pub(super) fn new(
        folder: PathBuf,
        segments: Vec<LogSegment>,
        dedup_files: Vec<DedupHeader>,
        sizes: Sizes,
        env: Env,
        lock: FolderLock,
    ) -> Self {
        Self {
            segments: SegmentSet::new(folder.clone(), segments),
            damage: Arc::default(),
            scarcity: ScarcityLog::default(),
            reserve: DescriptorReserve::new(folder.clone()),
            folder,
            sizes,
            env,
            sealing: Mutex::new(()),
            dedup_files: Mutex::new(dedup_files),
            _lock: lock,
        }
    }

    /// Does a write. One that finds no descriptor is done again with those that
    /// are kept for it; but not an append, which opens nothing.
    pub(super) fn write(
        &self,
        purpose: WritePurpose,
        mut write: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        match (self.env.write)(purpose, &mut write) {
            Err(e) if purpose != WritePurpose::Append && is_scarce(&e) => {
                self.segments.close_files();
                self.reserve.release();
                let written = (self.env.write)(purpose, &mut write);
                self.reserve.refill();
                written
            }
            written => written,
        }
    }

    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        (self.env.free_bytes)(&self.folder)
    }

    /// Seals the oldest of the segments that wait for it; returns whether there
    /// was one. Blocks. Usually off the acknowledging path, but a writer that
    /// is far ahead calls it itself.
    pub(super) fn seal_oldest(&self) -> io::Result<bool> {
        let _one_at_a_time = self.sealing.lock();
        let Some(open) = self.oldest_unsealed() else {
            return Ok(false);
        };
        let write =
            |write: &mut dyn FnMut() -> io::Result<()>| self.write(WritePurpose::Seal, write);
        let (sealed, dedup) = seal::seal(&self.folder, &open, write)?;
        self.dedup_files.lock().extend(dedup);
        self.segments.replace_with_sealed(sealed);
        Ok(true)
    }

    fn oldest_unsealed(&self) -> Option<Arc<OpenSegment>> {
        let segments = self.segments.list();
        // The last one is still written.
        let (_, full) = segments.split_last()?;
        full.iter().find_map(|segment| match segment {
            LogSegment::Open(open) => Some(Arc::clone(open)),
            LogSegment::Sealed(_) => None,
        })
    }

    /// How many segments are full and wait to be sealed.
    pub(super) fn unsealed(&self) -> usize {
        let segments = self.segments.list();
        let full = segments.split_last().map_or(&[][..], |(_, full)| full);
        let is_open = |segment: &&LogSegment| matches!(segment, LogSegment::Open(_));
        full.iter().filter(is_open).count()
    }
}
