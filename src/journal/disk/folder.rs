//! A journal's folder: created, locked, checked and opened.
//!
//! Refuses a folder that an older Hookrill's storage engine wrote. Invariant:
//! nothing is written before the lock is held; and the mark comes first, so
//! that segments without one are suspect.

use std::{path::Path, sync::Arc};

use hookrill_core::{Epoch, Sequence, SteadyClock};

use super::{
    DiskSettings,
    dedup::DedupIndex,
    env::{Env, Sizes},
    files::Files,
    high_water::HighWaterMark,
    lock::FolderLock,
    log::Log,
    recovery::{self, RecoveryContext, recover},
    segment,
};
use crate::{
    durable,
    journal::{Bounds, OpenError, fresh_epoch},
};

/// Where in the folder the storage engine of format 1 had its files.
const OLD_ENGINE: &str = "fjall";

/// A folder, opened.
pub(super) struct OpenedFolder {
    pub(super) files: Arc<Files>,
    pub(super) log: Log,
    pub(super) epoch: Epoch,
    pub(super) head: Sequence,
    pub(super) floor: Sequence,
    pub(super) dedup: DedupIndex,
}

/// Locks, checks and opens a folder; blocks.
pub(super) fn open(
    settings: &DiskSettings,
    bounds: Bounds,
    clock: &SteadyClock,
    env: Env,
) -> Result<OpenedFolder, OpenError> {
    let folder = &settings.path;
    let io = |source| OpenError::Io {
        path: folder.clone(),
        source,
    };
    refuse_file(folder)?;
    durable::create_folder(folder).map_err(io)?;
    let lock = FolderLock::acquire(folder)?;
    if lock.is_copy && !settings.new_epoch {
        tracing::warn!(
            path = %folder.display(),
            "this folder was copied or moved to another file system since it was last used; if \
             the gateway that it was copied from has run on, ids are given out twice: stop, and \
             start with --new-epoch"
        );
    }
    durable::remove_temporaries(folder).map_err(io)?;
    let segments = segment::folder(folder);
    refuse_old_engine(folder)?;
    durable::create_folder(&segments).map_err(io)?;
    let mark = load_mark(settings)?;
    let context = RecoveryContext {
        folder,
        mark,
        fresh_epoch: match mark {
            Some(mark) if !settings.new_epoch => mark.epoch,
            _ => fresh_epoch()?,
        },
        new_epoch: settings.new_epoch,
        dedup_entries_max: bounds.dedup_entries_max,
        clock,
        env: &env,
    };
    if mark.is_none() && !settings.new_epoch {
        // First of all, so that a journal without a mark is suspect.
        let empty = HighWaterMark {
            epoch: context.fresh_epoch,
            sequence: Sequence::ZERO,
        };
        empty.store(folder).map_err(io)?;
    }
    let recovered = recover(&context)?;
    let found = HighWaterMark {
        epoch: recovered.epoch,
        sequence: recovered.head,
    };
    if mark != Some(found) && (mark.is_some() || settings.new_epoch) {
        found.store(folder).map_err(io)?;
    }
    let sizes = env.sizes;
    let files = Arc::new(Files::new(
        folder.clone(),
        recovered.segments,
        recovered.dedup_files,
        sizes.unwrap_or_else(|| Sizes::for_retention(&bounds.retention)),
        env,
        lock,
    ));
    Ok(OpenedFolder {
        log: Log::new(Arc::clone(&files), recovered.open).map_err(io)?,
        files,
        epoch: recovered.epoch,
        head: recovered.head,
        floor: recovered.floor,
        dedup: recovered.dedup,
    })
}

/// Refuses a file in place of the folder, or of one above it.
pub(super) fn refuse_file(folder: &Path) -> Result<(), OpenError> {
    match durable::in_the_way_of(folder) {
        Some(path) => Err(OpenError::NotAFolder { path: path.into() }),
        None => Ok(()),
    }
}

/// Refuses a folder of the storage engine of format 1.
pub(super) fn refuse_old_engine(folder: &Path) -> Result<(), OpenError> {
    if folder.join(OLD_ENGINE).exists() && !segment::folder(folder).exists() {
        return Err(OpenError::Older {
            path: folder.into(),
        });
    }
    Ok(())
}

/// The folder's mark; refused if there are segments and no mark. With a new
/// epoch, which accepts losses, it may be missing or damaged.
fn load_mark(settings: &DiskSettings) -> Result<Option<HighWaterMark>, OpenError> {
    let folder = &settings.path;
    match HighWaterMark::load(folder) {
        Ok(None) if !settings.new_epoch && !recovery::list(folder)?.is_empty() => {
            Err(HighWaterMark::refused(folder, "missing".into()))
        }
        Err(OpenError::HighWater { .. }) if settings.new_epoch => Ok(None),
        loaded => loaded,
    }
}
