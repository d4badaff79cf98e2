//! Steps of the search for an arrival, through segments on disk.
//!
//! A segment that arrived before or after says so in its header; of the one in between
//! the stamps of its records are read. Invariant: a step looks at a bounded number of
//! records and segments, so that other reads get their turn.

use hookrill_core::Sequence;

use super::{
    files::Files,
    segment_set::{LogSegment, between},
};
use crate::journal::{PAGE_ENTRIES_MAX, ReadError, arrivals::ArrivalSearch, tail::LiveTail};

/// Looks at the next events up to `head`; returns whether there may be more to find.
/// Blocks.
pub(super) fn step(
    search: &mut ArrivalSearch,
    files: &Files,
    tail: &LiveTail,
    head: Sequence,
) -> Result<bool, ReadError> {
    search.position = search.position.max(tail.floor());
    let segments = files.segments.list();
    let mut records = 0;
    for (n, segment) in between(&segments, search.position.next(), head)
        .iter()
        .enumerate()
    {
        if n == files.sizes.segments_per_read || records >= PAGE_ENTRIES_MAX {
            return Ok(true);
        }
        let last = segment.last().min(head);
        if last <= search.position {
            continue;
        }
        let first = segment.first().max(search.position.next());
        let arrivals = segment.arrivals();
        if arrivals.is_some_and(|arrivals| search.pass_over(first, last, arrivals)) {
            continue;
        }
        match look_at_records(search, files, segment, last, PAGE_ENTRIES_MAX - records) {
            Ok(Looked::Found) => return Ok(false),
            Ok(Looked::At(count)) => records += count,
            // It was deleted meanwhile, and all before it.
            Err(_) if segment.last() <= tail.floor() => {}
            Err(e) => return Err(e),
        }
        if search.position < last {
            return Ok(true);
        }
    }
    Ok(false)
}

enum Looked {
    Found,
    /// At so many.
    At(usize),
}

/// Looks at records of a segment up to `last`, at most so many.
fn look_at_records(
    search: &mut ArrivalSearch,
    files: &Files,
    segment: &LogSegment,
    last: Sequence,
    count_max: usize,
) -> Result<Looked, ReadError> {
    // Copied: the writer waits for whoever looks at the index it writes.
    let records: Vec<_> = files.segments.with_index(segment, |index| {
        let ordinals = index.ordinal(search.position.next())..index.ordinal(last.next());
        let ordinals = ordinals.take(count_max);
        let record = |ordinal| {
            let is_whole = !index.is_missing(ordinal);
            let offset = is_whole.then(|| index.offset(ordinal));
            (index.sequence(ordinal), offset)
        };
        ordinals.map(record).collect()
    })?;
    for &(sequence, offset) in &records {
        let arrived = offset.map(|offset| files.segments.arrival(segment, offset));
        let arrived = match arrived.transpose().map_err(ReadError::from) {
            Err(e) if e.is_damage() => None,
            arrived => arrived?,
        };
        if search.look_at(sequence, arrived) {
            return Ok(Looked::Found);
        }
    }
    Ok(Looked::At(records.len()))
}
