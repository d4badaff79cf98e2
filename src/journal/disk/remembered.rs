//! What is remembered of deliveries: read from the dedup files and from the
//! log that is written.
//!
//! Invariant: a file that is damaged is made anew from its segment's log; where
//! that is gone too, the start is refused.

use hookrill_core::Sequence;

use super::{
    dedup::{Deliveries, Entry},
    dedup_file::DedupFacts,
    found,
    recover::Asked,
    segment::{self, FileKind, damaged},
    shelf::Segment,
};
use crate::{durable, journal::OpenError};

impl Asked<'_> {
    /// What is remembered of deliveries, and where it is kept.
    pub(super) fn deliveries(
        &self,
        segments: &[Segment],
    ) -> Result<(Vec<DedupFacts>, Deliveries), OpenError> {
        let mut known = Vec::new();
        for first in found::list(self.folder)?.into_keys() {
            known.extend(self.dedup_facts(first, segments)?);
        }
        let mut deliveries = Deliveries::new(self.dedup_entries_max);
        let needed = self.needed(&known);
        deliveries.reserve(needed.iter().map(|facts| facts.entries).sum());
        for facts in needed {
            let entries = facts.entries(self.folder).map_err(|e| self.io(e))?;
            let entries = match entries {
                Some(entries) => entries,
                None => self.entries_again(facts.first, segments)?,
            };
            (entries.into_iter()).for_each(|entry| deliveries.remember(entry));
        }
        if let Some(Segment::Open(open)) = segments.last() {
            let contents = open.contents();
            (contents.entries.iter()).for_each(|entry| deliveries.remember(*entry));
        }
        deliveries.forget(self.now);
        Ok((known, deliveries))
    }

    /// The files whose entries may still be asked for: the newest that hold as
    /// many as are remembered.
    fn needed<'f>(&self, known: &'f [DedupFacts]) -> Vec<&'f DedupFacts> {
        let mut entries = 0;
        let newest = known.iter().rev().take_while(|facts| {
            let wanted = entries < self.dedup_entries_max;
            entries += facts.entries;
            wanted
        });
        let mut needed: Vec<_> = newest.filter(|facts| facts.until > self.now).collect();
        needed.reverse();
        needed
    }

    /// What a segment's dedup file says of itself; made anew where it is
    /// damaged and the log is there.
    fn dedup_facts(
        &self,
        first: Sequence,
        segments: &[Segment],
    ) -> Result<Option<DedupFacts>, OpenError> {
        let sealed = segments.iter().find(|segment| segment.first() == first);
        let is_expected = match sealed {
            Some(Segment::Sealed(sealed)) => sealed.facts.dedup_entries > 0,
            Some(Segment::Open(_)) => return Ok(None),
            None => true,
        };
        let load = || DedupFacts::load(self.folder, first).map_err(|e| self.io(e));
        match load()? {
            Some(facts) => Ok(Some(facts)),
            None if !is_expected => Ok(None),
            None => {
                self.entries_again(first, segments)?;
                load()
            }
        }
    }

    /// The dedup entries of a segment whose file of them is damaged.
    fn entries_again(
        &self,
        first: Sequence,
        segments: &[Segment],
    ) -> Result<Vec<Entry>, OpenError> {
        let path = segment::path(self.folder, first, FileKind::Dedup);
        if segments.iter().any(|segment| segment.first() == first) {
            tracing::warn!(path = %path.display(), "damaged; it is made anew");
            return self.seal(first).map(|(_, entries)| entries);
        }
        if self.new_epoch {
            tracing::warn!(path = %path.display(), "damaged; late duplicates may be stored again");
            durable::remove(&path).map_err(|e| self.io(e))?;
            return Ok(Vec::new());
        }
        Err(damaged(
            self.folder,
            format!("{} is damaged", path.display()),
        ))
    }
}
