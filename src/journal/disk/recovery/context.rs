//! What a recovery is given, and the errors it reports.

use std::{io, path::Path};

use hookrill_core::{Epoch, Sequence, SteadyClock};

use crate::journal::{
    DamageError, OpenError,
    disk::{env::Env, high_water::HighWaterMark, segment},
};

/// Inputs of recovery.
pub(in crate::journal::disk) struct RecoveryContext<'a> {
    /// The journal's folder.
    pub(in crate::journal::disk) folder: &'a Path,
    /// The mark that was found. There may be none in a new folder, or where a
    /// new epoch is asked for.
    pub(in crate::journal::disk) mark: Option<HighWaterMark>,
    /// The name of a journal that is new, or is to get a new one.
    pub(in crate::journal::disk) fresh_epoch: Epoch,
    /// Whether losses are accepted, and the journal gets a new name.
    pub(in crate::journal::disk) new_epoch: bool,
    pub(in crate::journal::disk) dedup_entries_max: u64,
    pub(in crate::journal::disk) clock: &'a SteadyClock,
    pub(in crate::journal::disk) env: &'a Env,
}

impl RecoveryContext<'_> {
    pub(super) fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io {
            path: segment::folder(self.folder),
            source,
        }
    }

    pub(super) fn damaged(&self, source: DamageError) -> OpenError {
        OpenError::Damaged {
            path: self.folder.into(),
            source,
        }
    }

    pub(super) fn lost(&self, expected: String, found: String) -> OpenError {
        OpenError::Lost {
            path: self.folder.into(),
            expected,
            found,
        }
    }

    /// Refuses a journal that ends with `last` if the mark is beyond that.
    pub(super) fn check_mark(&self, mark: HighWaterMark, last: Sequence) -> Result<(), OpenError> {
        if last >= mark.sequence {
            return Ok(());
        }
        Err(self.lost(acknowledged(mark), format!("it ends at event {last}")))
    }
}

/// What a mark says.
pub(super) fn acknowledged(mark: HighWaterMark) -> String {
    format!("event {} was acknowledged", mark.sequence)
}
