//! What a folder says when it is opened, and whether to believe it.
//!
//! Refuses a journal that ends below its high-water mark, that belongs to
//! another epoch than its mark, or that has holes. What is damaged inside a
//! sealed segment is noticed where it is read.
//!
//! Invariant: sequences never restart.

use std::{io, path::Path, sync::Arc};

use hookrill_core::{Epoch, Sequence, Timestamp};

use super::{
    dedup::Deliveries,
    dedup_file::DedupFacts,
    floor, found,
    high_water::Mark,
    index::Index,
    log::{self, Log},
    salvage, seal,
    segment::{self, FileKind, Head, damaged},
    shelf::{Open, Segment},
};
use crate::{durable, journal::OpenError};

/// A journal as it was found.
pub(super) struct Recovered {
    pub(super) epoch: Epoch,
    pub(super) head: Sequence,
    pub(super) floor: Sequence,
    pub(super) segments: Vec<Segment>,
    pub(super) log: Log,
    pub(super) dedup_files: Vec<DedupFacts>,
    pub(super) deliveries: Deliveries,
}

/// What the start is told.
pub(super) struct Asked<'a> {
    /// The journal's folder.
    pub(super) folder: &'a Path,
    /// The mark that was found; where a new name is asked for, and in a new
    /// folder, there need be none.
    pub(super) mark: Option<Mark>,
    /// The name of a journal that is new, or is to have a new one.
    pub(super) fresh: Epoch,
    /// Whether losses are accepted, and the journal gets a new name.
    pub(super) new_epoch: bool,
    pub(super) dedup_entries_max: u64,
    pub(super) now: Timestamp,
}

/// Decides whether the folder is whole, and opens it; blocks.
pub(super) fn recover(asked: &Asked<'_>) -> Result<Recovered, OpenError> {
    if asked.new_epoch {
        salvage::salvage(asked.folder)?;
    }
    let floor = floor::load(asked.folder)?;
    let found = asked.segments(&found::list(asked.folder)?, floor)?;
    asked.believe(&found, floor)?;
    let found = asked.go_on(found, floor)?;
    let (dedup_files, deliveries) = asked.deliveries(&found)?;
    let Some(Segment::Open(last)) = found.last() else {
        return Err(damaged(asked.folder, "no segment is open"));
    };
    let (epoch, log) = (last.head.epoch, Log::new(Arc::clone(last)));
    Ok(Recovered {
        epoch,
        head: found.last().map_or(Sequence::ZERO, Segment::last),
        floor,
        log: log.map_err(|e| asked.io(e))?,
        segments: found,
        dedup_files,
        deliveries,
    })
}

impl Asked<'_> {
    pub(super) fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io {
            path: segment::folder(self.folder),
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

    /// Whether all that was acknowledged is there.
    fn believe(&self, segments: &[Segment], floor: Sequence) -> Result<(), OpenError> {
        let Some(last) = segments.last() else {
            return match self.mark {
                Some(mark) if !self.new_epoch && mark.sequence > Sequence::ZERO => {
                    Err(self.lost(acknowledged(mark), "nothing is there".into()))
                }
                _ => Ok(()),
            };
        };
        let head = match last {
            Segment::Open(open) => open.head,
            Segment::Sealed(sealed) => sealed.facts.head,
        };
        if self.new_epoch {
            return self.no_holes(segments, Sequence(u64::MAX));
        }
        if let Some(mark) = self.mark {
            if mark.epoch != head.epoch {
                let wrong = format!("of journal {}, not of {}", mark.epoch, head.epoch);
                return Err(Mark::refuse(self.folder, wrong));
            }
            self.reaches(mark, last.last())?;
        }
        self.no_holes(segments, floor.max(head.start))?;
        match last.last() < floor {
            true => {
                let expected = format!("it was deleted up to event {floor}");
                Err(self.lost(expected, format!("it ends at event {}", last.last())))
            }
            false => Ok(()),
        }
    }

    pub(super) fn reaches(&self, mark: Mark, last: Sequence) -> Result<(), OpenError> {
        if last >= mark.sequence {
            return Ok(());
        }
        Err(self.lost(acknowledged(mark), format!("it ends at event {last}")))
    }

    /// Whether each segment follows the one before; up to `start` it need not.
    fn no_holes(&self, segments: &[Segment], start: Sequence) -> Result<(), OpenError> {
        let mut before = None;
        for segment in segments {
            let first = segment.first();
            let expected = before.map_or(start, |last| start.max(last)).next();
            if first > expected {
                let wanted = format!("it should have all from {expected} on");
                return Err(self.lost(wanted, format!("event {expected} is not there")));
            }
            if before.is_some_and(|last| first <= last) {
                let reason = format!("two of its segments have event {first}");
                return Err(damaged(self.folder, reason));
            }
            before = Some(segment.last());
        }
        Ok(())
    }

    /// Makes the segment that is written where there is none, or where the
    /// journal gets a new name.
    fn go_on(
        &self,
        mut segments: Vec<Segment>,
        floor: Sequence,
    ) -> Result<Vec<Segment>, OpenError> {
        if !segments.is_empty() && !self.new_epoch {
            return Ok(segments);
        }
        let head = self.highest(&segments, floor);
        if let Some(Segment::Open(open)) = segments.last() {
            let open = Arc::clone(open);
            segments.pop();
            // An empty one gives its place, and its name, to the new one.
            if open.contents().index.events() > 0 {
                let sealed = seal::seal(self.folder, &open, |write| write());
                let (sealed, _) = sealed.map_err(|e| self.io(e))?;
                segments.push(Segment::Sealed(Arc::new(sealed)));
            } else {
                let path = segment::path(self.folder, open.head.first, FileKind::Log);
                durable::remove(&path).map_err(|e| self.io(e))?;
            }
        }
        let head = Head {
            epoch: self.fresh,
            start: head,
            first: head.next(),
            salt: log::salt().map_err(|e| self.io(e))?,
        };
        let file = segment::create(self.folder, &head).map_err(|e| self.io(e))?;
        let index = Index::new(head.first, segment::HEAD_BYTES as u32);
        let open = Open::new(head, file, index, Vec::new());
        segments.push(Segment::Open(Arc::new(open)));
        Ok(segments)
    }

    /// The highest sequence that was ever given, as far as anything here says.
    fn highest(&self, segments: &[Segment], floor: Sequence) -> Sequence {
        let last = segments.last().map_or(Sequence::ZERO, Segment::last);
        let marked = self.mark.map_or(Sequence::ZERO, |mark| mark.sequence);
        let set_aside = salvage::highest_set_aside(self.folder);
        last.max(floor).max(marked).max(set_aside)
    }
}

fn acknowledged(mark: Mark) -> String {
    format!("event {} was acknowledged", mark.sequence)
}
