//! The log that is written: one group and one fsync per commit.
//!
//! Invariant: what is in the segment's index is durable.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use hookrill_core::{Event, Sequence, Timestamp};

use super::{
    dedup::Entry,
    group::Group,
    index::Index,
    segment::{self, Head},
    shelf::{Open, Segment},
    store::{Purpose, Sizes, Store},
};

/// Zeros are written so many at a time.
const ZEROS: &[u8] = &[0; 64 * 1024];

/// The segment at the end, and how far it is written.
pub(super) struct Log {
    open: Arc<Open>,
    /// Where the next group goes.
    end: u64,
    /// How long the file is; from `end` on it has zeros.
    file_bytes: u64,
    /// Whether a write failed: what is behind `end` is then not known.
    failed: bool,
}

impl Log {
    /// Goes on with a segment whose file has only zeros behind its index's end.
    pub(super) fn new(open: Arc<Open>) -> io::Result<Self> {
        let end = open.contents().index.end.into();
        let file_bytes = open.file.metadata()?.len();
        Ok(Self {
            open,
            end,
            file_bytes,
            failed: false,
        })
    }

    /// Makes a group durable, in a new segment where this one is full.
    pub(super) fn append(
        &mut self,
        store: &Store,
        group: &mut Group,
        events: &[Arc<Event>],
        entries: &[Option<Entry>],
    ) -> io::Result<()> {
        if self.is_full(&store.sizes, group.len()) {
            self.roll(store)?;
        }
        let bytes = group.end(self.open.head.salt);
        let bytes = bytes.ok_or_else(|| io::Error::other("a commit of more than 4 GiB"))?;
        let (at, zeros) = (self.end, store.sizes.zeros_bytes);
        let file_bytes = &mut self.file_bytes;
        let file = &self.open.file;
        // Until it is known to be done.
        self.failed = true;
        store.write(Purpose::Append, || {
            file.write_all_at(bytes, at)?;
            let end = at + bytes.len() as u64;
            if end > *file_bytes {
                *file_bytes = fill(file, end, zeros)?;
            }
            file.sync_data()
        })?;
        self.failed = false;
        self.end += bytes.len() as u64;
        self.show(group.offsets(), at, events, entries);
        Ok(())
    }

    /// Puts what is durable into the index.
    fn show(&self, offsets: &[u32], at: u64, events: &[Arc<Event>], entries: &[Option<Entry>]) {
        let mut contents = self.open.contents_mut();
        for (offset, event) in offsets.iter().zip(events) {
            let (draft, offset) = (&event.draft, at as u32 + offset);
            let at = draft.received_at;
            (contents.index).add(offset, &draft.topic, &draft.event_type, at);
        }
        contents.index.end = self.end as u32;
        contents.entries.extend(entries.iter().flatten());
    }

    fn is_full(&self, sizes: &Sizes, more: u64) -> bool {
        let contents = self.open.contents();
        contents.index.events() > 0
            && (self.end + more > sizes.segment_bytes
                || contents.index.events() >= sizes.segment_events
                || contents.index.bytes() >= sizes.index_bytes)
    }

    /// Begins a new segment where this one has events that are to go: because
    /// all of them are below the floor, or since one came before `arrived`.
    pub(super) fn retire(
        &mut self,
        store: &Store,
        floor: Sequence,
        arrived: Timestamp,
    ) -> io::Result<()> {
        let (last, earliest) = {
            let contents = self.open.contents();
            let earliest = contents.index.arrivals.map(|(earliest, _)| earliest);
            (contents.index.last(), earliest)
        };
        match earliest {
            Some(earliest) if last <= floor || earliest < arrived => self.roll(store),
            _ => Ok(()),
        }
    }

    /// Begins a new segment. What is in this one has been synced.
    fn roll(&mut self, store: &Store) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("a write failed before"));
        }
        while unsealed(store) >= store.sizes.unsealed_max {
            store.seal_oldest()?;
        }
        let head = Head {
            first: self.open.contents().index.last().next(),
            salt: salt()?,
            ..self.open.head
        };
        let mut file = None;
        store.write(Purpose::Roll, || {
            file = Some(segment::create(&store.folder, &head)?);
            Ok(())
        })?;
        let file = file.ok_or_else(|| io::Error::other("a segment was not made"))?;
        let index = Index::new(head.first, segment::HEAD_BYTES as u32);
        self.open = Arc::new(Open::new(head, file, index, Vec::new()));
        self.end = segment::HEAD_BYTES as u64;
        self.file_bytes = self.end;
        store.shelf.push(Segment::Open(Arc::clone(&self.open)));
        Ok(())
    }
}

/// Segments that are full and wait to be sealed.
fn unsealed(store: &Store) -> usize {
    let segments = store.shelf.segments();
    let open = segments.iter().filter(|s| matches!(s, Segment::Open(_)));
    open.count().saturating_sub(1)
}

/// A salt for a new segment.
pub(super) fn salt() -> io::Result<u64> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(u64::from_le_bytes(random))
}

/// Writes zeros from `end` to the next multiple of `step`; returns where that
/// is.
fn fill(file: &File, end: u64, step: u64) -> io::Result<u64> {
    let upto = end.next_multiple_of(step.max(1));
    let mut at = end;
    while at < upto {
        let len = ZEROS.len().min((upto - at) as usize);
        file.write_all_at(&ZEROS[..len], at)?;
        at += len as u64;
    }
    Ok(upto)
}
