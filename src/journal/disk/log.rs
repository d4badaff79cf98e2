//! The log that is written: one group and one fsync per commit.
//!
//! Invariants: what is in the segment's index is durable. Each group continues
//! the sequences of the one before.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use hookrill_core::{Event, Sequence, Timestamp};

use super::{
    dedup::DedupEntry,
    env::WritePurpose,
    files::Files,
    group::GroupBuilder,
    segment::{self, SegmentHeader},
    segment_set::{LogSegment, OpenSegment},
};

/// Zeros are written so many at a time.
const ZEROS: &[u8] = &[0; 64 * 1024];

/// The segment at the end, and how far it is written.
pub(super) struct Log {
    files: Arc<Files>,
    open: Arc<OpenSegment>,
    /// Where the next group goes.
    end: u64,
    /// How long the file is; from `end` on it has zeros.
    file_bytes: u64,
    /// Whether a write failed: what is after `end` is then not known.
    failed: bool,
}

impl Log {
    /// Continues a segment whose file has only zeros after its index's end.
    pub(super) fn new(files: Arc<Files>, open: Arc<OpenSegment>) -> io::Result<Self> {
        let end = open.contents().index.end.into();
        let file_bytes = open.file.metadata()?.len();
        assert!(end <= file_bytes, "the index ends within the log");
        Ok(Self {
            files,
            open,
            end,
            file_bytes,
            failed: false,
        })
    }

    /// Begins a new segment if this one has no room for about so many bytes.
    /// Where that fails, nothing has changed, and it can be tried again.
    pub(super) fn roll_if_full(&mut self, more: u64) -> io::Result<()> {
        if self.is_full(more) {
            self.roll()?;
        }
        Ok(())
    }

    /// Makes a group durable.
    pub(super) fn append(
        &mut self,
        group: &mut GroupBuilder,
        events: &[Arc<Event>],
        entries: &[Option<DedupEntry>],
    ) -> io::Result<()> {
        let too_long = || io::Error::other("a commit of more than 4 GiB");
        let bytes = group.finish(self.open.header.salt).ok_or_else(too_long)?;
        let (at, end) = (self.end, self.end + bytes.len() as u64);
        u32::try_from(end).map_err(|_| too_long())?;
        let step = self.files.sizes.preallocated_bytes;
        let (file, file_bytes) = (&self.open.file, &mut self.file_bytes);
        // Until it is known to be done.
        self.failed = true;
        self.files.write(WritePurpose::Append, || {
            file.write_all_at(bytes, at)?;
            if end > *file_bytes {
                *file_bytes = preallocate(file, end, step)?;
            }
            file.sync_data()
        })?;
        self.failed = false;
        self.end = end;
        self.index_group(group.offsets(), at, events, entries);
        Ok(())
    }

    /// Puts a durable group into the index.
    fn index_group(
        &self,
        offsets: &[u32],
        at: u64,
        events: &[Arc<Event>],
        entries: &[Option<DedupEntry>],
    ) {
        let mut contents = self.open.contents_mut();
        assert_eq!(
            u64::from(contents.index.end),
            at,
            "groups follow each other"
        );
        let first = events.first().map(|event| event.sequence);
        let expected = contents.index.last().next();
        assert_eq!(first, Some(expected), "sequences in a segment are dense");
        for (offset, event) in offsets.iter().zip(events) {
            let (draft, offset) = (&event.draft, at as u32 + offset);
            let arrived = draft.received_at;
            (contents.index).add(offset, &draft.topic, &draft.event_type, arrived);
        }
        contents.index.end = self.end as u32;
        contents.entries.extend(entries.iter().flatten());
    }

    fn is_full(&self, more: u64) -> bool {
        let (index, sizes) = (&self.open.contents().index, &self.files.sizes);
        index.events() > 0
            && (self.end + more > sizes.segment_bytes
                || index.events() >= sizes.segment_events
                || index.bytes() >= sizes.index_bytes)
    }

    /// Begins a new segment if events of this one are to be deleted: because
    /// all of them are below the floor, or because one arrived before
    /// `arrived`.
    pub(super) fn roll_if_expired(
        &mut self,
        floor: Sequence,
        arrived: Timestamp,
    ) -> io::Result<()> {
        let (last, arrivals) = {
            let index = &self.open.contents().index;
            (index.last(), index.arrivals)
        };
        match arrivals {
            Some((earliest, _)) if last <= floor || earliest < arrived => self.roll(),
            _ => Ok(()),
        }
    }

    /// Begins a new segment. What is in this one has been synced.
    fn roll(&mut self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("a write failed before"));
        }
        while self.files.unsealed() >= self.files.sizes.unsealed_max {
            self.files.seal_oldest()?;
        }
        let header = SegmentHeader {
            first: self.open.contents().index.last().next(),
            salt: fresh_salt()?,
            ..self.open.header
        };
        let mut file = None;
        self.files.write(WritePurpose::Roll, || {
            file = Some(segment::create(&self.files.folder, &header)?);
            Ok(())
        })?;
        let file = file.ok_or_else(|| io::Error::other("a segment was not created"))?;
        self.open = Arc::new(OpenSegment::empty(header, file));
        self.end = segment::HEADER_BYTES as u64;
        self.file_bytes = self.end;
        let open = LogSegment::Open(Arc::clone(&self.open));
        self.files.segments.push(open);
        Ok(())
    }
}

/// A salt for a new segment.
pub(super) fn fresh_salt() -> io::Result<u64> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(u64::from_le_bytes(random))
}

/// Writes zeros from `end` to the next multiple of `step`; returns where that
/// is.
fn preallocate(file: &File, end: u64, step: u64) -> io::Result<u64> {
    let until = end.next_multiple_of(step.max(1));
    let mut at = end;
    while at < until {
        let len = ZEROS.len().min((until - at) as usize);
        file.write_all_at(&ZEROS[..len], at)?;
        at += len as u64;
    }
    Ok(until)
}
