//! A journal's folder: made, locked, judged and opened.
//!
//! Refuses a folder that an older Hookrill's storage engine wrote. Invariant:
//! nothing is written before the lock is held; and the mark comes first, so
//! that segments without one are suspect.

use std::sync::Arc;

use hookrill_core::{Epoch, Sequence, Timestamp};

use super::{
    Place,
    dedup::Deliveries,
    found,
    high_water::Mark,
    lock::Lock,
    recover::{self, Asked},
    segment,
    store::{Outside, Sizes, Store},
};
use crate::{
    durable,
    journal::{Bounds, OpenError, fresh_epoch},
};

/// Where under the folder the storage engine of format 1 had its files.
const ENGINE_BEFORE: &str = "fjall";

/// A folder, opened.
pub(super) struct Opened {
    pub(super) store: Arc<Store>,
    pub(super) epoch: Epoch,
    pub(super) head: Sequence,
    pub(super) floor: Sequence,
    pub(super) deliveries: Deliveries,
}

/// Locks, opens and judges a folder; blocks.
pub(super) fn open(
    place: &Place,
    bounds: Bounds,
    now: Timestamp,
    outside: Outside,
) -> Result<Opened, OpenError> {
    let folder = &place.path;
    let io = |source| OpenError::Io {
        path: folder.clone(),
        source,
    };
    durable::create_folder(folder).map_err(io)?;
    let lock = Lock::take(folder)?;
    durable::remove_temporaries(folder).map_err(io)?;
    let segments = segment::folder(folder);
    if folder.join(ENGINE_BEFORE).exists() && !segments.exists() {
        return Err(OpenError::Older {
            path: folder.clone(),
        });
    }
    durable::create_folder(&segments).map_err(io)?;
    let mark = judge_mark(place)?;
    let asked = Asked {
        folder,
        mark,
        fresh: match mark {
            Some(mark) if !place.new_epoch => mark.epoch,
            _ => fresh_epoch()?,
        },
        new_epoch: place.new_epoch,
        dedup_entries_max: bounds.dedup_entries_max,
        now,
    };
    if mark.is_none() && !place.new_epoch {
        // First of all, so that a journal without a mark is suspect.
        let sequence = Sequence::ZERO;
        let epoch = asked.fresh;
        (Mark { epoch, sequence }).store(folder).map_err(io)?;
    }
    let recovered = recover::recover(&asked)?;
    let found = Mark {
        epoch: recovered.epoch,
        sequence: recovered.head,
    };
    if mark != Some(found) && (mark.is_some() || place.new_epoch) {
        found.store(folder).map_err(io)?;
    }
    let sizes = outside
        .sizes
        .unwrap_or_else(|| Sizes::by(&bounds.retention));
    let store = Store::new(
        folder.clone(),
        recovered.segments,
        recovered.log,
        recovered.dedup_files,
        sizes,
        outside,
        lock,
    );
    Ok(Opened {
        store: Arc::new(store),
        epoch: recovered.epoch,
        head: recovered.head,
        floor: recovered.floor,
        deliveries: recovered.deliveries,
    })
}

/// The folder's mark; refused where there is none beside segments. Who accepts
/// losses may have any.
fn judge_mark(place: &Place) -> Result<Option<Mark>, OpenError> {
    let folder = &place.path;
    match Mark::load(folder) {
        Ok(None) if !place.new_epoch && !found::list(folder)?.is_empty() => {
            Err(Mark::refuse(folder, "missing".into()))
        }
        Err(OpenError::HighWater { .. }) if place.new_epoch => Ok(None),
        loaded => loaded,
    }
}
