//! Opens what a folder holds, and decides whether it is whole.
//!
//! Refuses a journal that ends below its high-water mark, that belongs to
//! another epoch than its mark, or that has gaps. Damage inside a sealed
//! segment is noticed when it is read.
//!
//! ```text
//! context, directory, rewrite → salvage, segments → dedup → mod
//! ```
//!
//! Invariant: sequences never restart.

mod context;
mod dedup;
mod directory;
mod rewrite;
mod salvage;
mod segments;

use std::sync::Arc;

use hookrill_core::{Epoch, Sequence};

use self::context::acknowledged;
pub(super) use self::{
    context::RecoveryContext,
    directory::{SegmentFiles, list, list_names},
};
use super::{
    dedup::DedupIndex,
    dedup_file::DedupHeader,
    floor,
    high_water::HighWaterMark,
    log, seal,
    segment::{self, FileKind, SegmentHeader},
    segment_set::{LogSegment, OpenSegment},
};
use crate::{
    durable,
    journal::{DamageError, OpenError},
};

/// A journal as it was recovered.
pub(super) struct Recovered {
    pub(super) epoch: Epoch,
    pub(super) head: Sequence,
    pub(super) floor: Sequence,
    /// All segments, the open one included.
    pub(super) segments: Vec<LogSegment>,
    /// The segment that is written.
    pub(super) open: Arc<OpenSegment>,
    pub(super) dedup_files: Vec<DedupHeader>,
    pub(super) dedup: DedupIndex,
}

/// Decides whether the folder is whole, and opens it; blocks.
pub(super) fn recover(context: &RecoveryContext<'_>) -> Result<Recovered, OpenError> {
    if context.new_epoch {
        salvage::salvage(context.folder, context.fresh_epoch)?;
    }
    let floor = floor::load(context.folder)?;
    let (mut segments, lost) = context.load_segments(&list(context.folder)?, floor)?;
    context.check_complete(&segments, floor)?;
    let open = context.open_active(&mut segments, floor, lost)?;
    // What is to be forgotten depends on the time.
    let arrivals = segments.iter().rev().find_map(LogSegment::arrivals);
    if let Some((_, last_arrival)) = arrivals {
        context.clock.resume_from(last_arrival);
    }
    let (dedup_files, dedup) = context.load_dedup(&segments)?;
    let head = open.contents().index.last();
    Ok(Recovered {
        epoch: open.header.epoch,
        head,
        floor,
        segments,
        open,
        dedup_files,
        dedup,
    })
}

impl RecoveryContext<'_> {
    /// Refuses segments that do not hold all that was acknowledged.
    fn check_complete(&self, segments: &[LogSegment], floor: Sequence) -> Result<(), OpenError> {
        let Some(last) = segments.last() else {
            return match self.mark {
                Some(mark) if !self.new_epoch && mark.sequence > Sequence::ZERO => {
                    Err(self.lost(acknowledged(mark), "nothing is there".into()))
                }
                _ => Ok(()),
            };
        };
        if self.new_epoch {
            return self.check_no_gaps(segments, Sequence(u64::MAX));
        }
        let header = match last {
            LogSegment::Open(open) => open.header,
            LogSegment::Sealed(sealed) => sealed.header.segment,
        };
        if let Some(mark) = self.mark {
            if mark.epoch != header.epoch {
                let problem = format!("of journal {}, not of {}", mark.epoch, header.epoch);
                return Err(HighWaterMark::refused(self.folder, problem));
            }
            self.check_mark(mark, last.last())?;
        }
        self.check_no_gaps(segments, floor.max(header.start))?;
        if last.last() < floor {
            let expected = format!("it was deleted up to event {floor}");
            return Err(self.lost(expected, format!("it ends at event {}", last.last())));
        }
        Ok(())
    }

    /// Refuses segments of which one does not follow the one before; up to
    /// `start` it need not.
    fn check_no_gaps(&self, segments: &[LogSegment], start: Sequence) -> Result<(), OpenError> {
        let mut before = None;
        for segment in segments {
            let first = segment.first();
            let expected = before.map_or(start, |last| start.max(last)).next();
            if first > expected {
                let wanted = format!("it should have all events from {expected} on");
                return Err(self.lost(wanted, format!("event {expected} is missing")));
            }
            if before.is_some_and(|last| first <= last) {
                return Err(self.damaged(DamageError::Overlap(first)));
            }
            before = Some(segment.last());
        }
        Ok(())
    }

    /// The segment that is written from now on. Creates it if there is none, if
    /// the journal gets a new name, or behind events up to `lost`.
    fn open_active(
        &self,
        segments: &mut Vec<LogSegment>,
        floor: Sequence,
        lost: Option<Sequence>,
    ) -> Result<Arc<OpenSegment>, OpenError> {
        if let Some(LogSegment::Open(open)) = segments.last()
            && !self.new_epoch
            && lost.is_none()
        {
            return Ok(Arc::clone(open));
        }
        let head = self.max_known_sequence(segments, floor);
        let head = head.max(lost.unwrap_or_default());
        if let Some(LogSegment::Open(open)) = segments.pop_if(|last| is_open(last)) {
            segments.extend(self.seal_or_remove(&open)?);
        }
        let header = SegmentHeader {
            epoch: self.fresh_epoch,
            start: head,
            first: head.next(),
            salt: log::fresh_salt().map_err(|e| self.io(e))?,
        };
        let last = segments.last().map(LogSegment::last);
        assert!(
            last.is_none_or(|last| last < header.first),
            "sequences never restart"
        );
        let file = segment::create(self.folder, &header).map_err(|e| self.io(e))?;
        let open = Arc::new(OpenSegment::empty(header, file));
        segments.push(LogSegment::Open(Arc::clone(&open)));
        Ok(open)
    }

    /// Seals a segment that takes no more events. An empty one is removed: its
    /// place, and its name, are the next one's.
    fn seal_or_remove(&self, open: &OpenSegment) -> Result<Option<LogSegment>, OpenError> {
        if open.contents().index.events() == 0 {
            let path = segment::path(self.folder, open.header.first, FileKind::Log);
            durable::remove(&path).map_err(|e| self.io(e))?;
            return Ok(None);
        }
        let sealed = seal::seal(self.folder, open, |write| write());
        let (sealed, _) = sealed.map_err(|e| self.io(e))?;
        Ok(Some(LogSegment::Sealed(Arc::new(sealed))))
    }

    /// The highest sequence that was ever assigned, as far as anything here
    /// says.
    fn max_known_sequence(&self, segments: &[LogSegment], floor: Sequence) -> Sequence {
        let last = segments.last().map_or(Sequence::ZERO, LogSegment::last);
        let marked = self.mark.map_or(Sequence::ZERO, |mark| mark.sequence);
        let set_aside = salvage::max_set_aside(self.folder);
        last.max(floor).max(marked).max(set_aside)
    }
}

fn is_open(segment: &LogSegment) -> bool {
    matches!(segment, LogSegment::Open(_))
}
