//! Reading: bounded walks over the index, in sequence order.
//!
//! Refuses to look above the durable head, whatever the files hold.
//! Invariant: a walk reads one instant of the files, and a deletion removes an
//! event and its index entries in one batch; so an entry without its event is
//! damage and never a race.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use fjall::{Readable, Snapshot};

use super::{keys, store::Store};
use crate::{
    event::{
        Event, Selection, Sequence, Topics,
        stored::{self, DecodeError},
    },
    journal::{LAST_ENTRIES_MAX, PAGE_ENTRIES_MAX, Page, ReadError, live::Live},
};

/// The next events of `selection` after `after`; blocks.
pub(super) fn page(
    store: &Store,
    live: &Live,
    selection: &Selection,
    after: Sequence,
    bytes_max: usize,
) -> Result<Page, ReadError> {
    let head = live.head();
    // Below the floor there are only tombstones to walk over.
    let from = after.max(live.floor()).next();
    let mut filling = Filling {
        events: Vec::new(),
        bytes: 0,
        bytes_max,
        scanned: after.max(head),
    };
    if from <= head {
        let snapshot = store.snapshot();
        if *selection == Selection::all() {
            filling.with_everything(store, &snapshot, from, head)?;
        } else {
            let walk = Walk::new(store, &snapshot, selection, from, head, Direction::Forward)?;
            filling.with_walk(store, &snapshot, walk)?;
        }
    }
    Ok(Page {
        events: filling.events,
        scanned: filling.scanned,
        floor: live.floor(),
    })
}

/// Where the search for the newest events of a selection is.
pub(super) struct Newest {
    /// How many are still to be found.
    pub(super) wanted: usize,
    /// The oldest found.
    pub(super) oldest: Option<Sequence>,
    /// Only entries up to here are still to be looked at.
    pub(super) upto: Sequence,
    /// How many were looked at.
    pub(super) looked_at: usize,
}

impl Newest {
    /// Looks at the next entries towards the oldest; says whether there may be
    /// more to find. Blocks.
    pub(super) fn look(
        &mut self,
        store: &Store,
        live: &Live,
        selection: &Selection,
    ) -> Result<bool, ReadError> {
        let from = live.floor().next();
        if self.wanted == 0 || self.upto < from {
            return Ok(false);
        }
        let (snapshot, upto) = (store.snapshot(), self.upto);
        let backward = Direction::Backward;
        let walk = Walk::new(store, &snapshot, selection, from, upto, backward)?;
        let enough = self.looked_at + PAGE_ENTRIES_MAX;
        for entry in walk {
            let entry = entry?;
            self.looked_at += 1;
            self.upto = entry.sequence.previous();
            if entry.wanted {
                self.oldest = Some(entry.sequence);
                self.wanted -= 1;
            }
            if self.wanted == 0 || self.looked_at == enough {
                return Ok(self.wanted > 0 && self.looked_at < LAST_ENTRIES_MAX);
            }
        }
        Ok(false)
    }
}

/// A page in the making.
struct Filling {
    events: Vec<Arc<Event>>,
    bytes: usize,
    bytes_max: usize,
    scanned: Sequence,
}

impl Filling {
    fn with_everything(
        &mut self,
        store: &Store,
        snapshot: &Snapshot,
        from: Sequence,
        upto: Sequence,
    ) -> Result<(), ReadError> {
        let range = keys::sequence(from)..=keys::sequence(upto);
        for entry in snapshot.range(&store.events, range) {
            let (key, value) = entry.into_inner()?;
            if !self.take(decode(&key, value)?) {
                break;
            }
        }
        Ok(())
    }

    fn with_walk(
        &mut self,
        store: &Store,
        snapshot: &Snapshot,
        walk: Walk,
    ) -> Result<(), ReadError> {
        for (looked_at, entry) in walk.enumerate() {
            let Entry { sequence, wanted } = entry?;
            if looked_at == PAGE_ENTRIES_MAX {
                self.scanned = sequence.previous();
                break;
            }
            if wanted && !self.take(load(store, snapshot, sequence)?) {
                break;
            }
        }
        Ok(())
    }

    /// Whether the event still fitted.
    fn take(&mut self, event: Event) -> bool {
        let weight = event.draft.weight();
        let full = self.events.len() == PAGE_ENTRIES_MAX || self.bytes + weight > self.bytes_max;
        if full && !self.events.is_empty() {
            self.scanned = event.sequence.previous();
            return false;
        }
        self.bytes += weight;
        self.events.push(Arc::new(event));
        true
    }
}

fn load(store: &Store, snapshot: &Snapshot, sequence: Sequence) -> Result<Event, ReadError> {
    let key = keys::sequence(sequence);
    match snapshot.get(&store.events, key)? {
        Some(value) => decode(&key, value),
        None => Err(ReadError::Storage(
            format!("event {sequence} is in the index and nowhere else").into(),
        )),
    }
}

fn decode(key: &[u8], value: fjall::UserValue) -> Result<Event, ReadError> {
    let sequence = sequence_of(key)?;
    let event =
        stored::decode(value.into()).map_err(|source| ReadError::Decode { sequence, source })?;
    if event.sequence != sequence {
        let source = DecodeError::Form;
        return Err(ReadError::Decode { sequence, source });
    }
    Ok(event)
}

fn sequence_of(key: &[u8]) -> Result<Sequence, ReadError> {
    keys::sequence_of(key).ok_or_else(|| ReadError::Storage("a key is cut short".into()))
}

/// Which way to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the oldest.
    Forward,
    /// From the newest.
    Backward,
}

/// One event as the index knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) sequence: Sequence,
    /// Whether the selection wants its type.
    pub(super) wanted: bool,
}

/// The index entries of a selection's topics, merged in order, each event once.
pub(super) struct Walk<'a> {
    sources: Vec<fjall::Iter>,
    /// The next entry of each source that has one.
    next: BinaryHeap<Reverse<(u64, usize, bool)>>,
    selection: &'a Selection,
    direction: Direction,
    last: Option<Sequence>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        store: &Store,
        snapshot: &Snapshot,
        selection: &'a Selection,
        from: Sequence,
        upto: Sequence,
        direction: Direction,
    ) -> Result<Self, ReadError> {
        let open = |name| {
            let range = keys::index(name, from)..=keys::index(name, upto);
            snapshot.range(&store.index, range)
        };
        let sources: Vec<_> = match &selection.topics {
            Topics::All => vec![open(keys::EVERYTHING)],
            Topics::These(topics) => topics.iter().map(|topic| open(topic.as_str())).collect(),
        };
        let mut walk = Self {
            next: BinaryHeap::with_capacity(sources.len()),
            sources,
            selection,
            direction,
            last: None,
        };
        for source in 0..walk.sources.len() {
            walk.pull(source)?;
        }
        Ok(walk)
    }

    /// Puts the source's next entry among those to choose from.
    fn pull(&mut self, source: usize) -> Result<(), ReadError> {
        let from = &mut self.sources[source];
        let entry = match self.direction {
            Direction::Forward => from.next(),
            Direction::Backward => from.next_back(),
        };
        let Some(entry) = entry else { return Ok(()) };
        let (key, event_type) = entry.into_inner()?;
        let sequence = sequence_of(&key)?;
        let wanted = match std::str::from_utf8(&event_type) {
            Ok(event_type) => self.selection.wants_type(event_type),
            Err(_) => {
                let text = format!("the index entry of event {sequence} is damaged");
                return Err(ReadError::Storage(text.into()));
            }
        };
        self.next
            .push(Reverse((self.rank(sequence), source, wanted)));
        Ok(())
    }

    /// The smallest rank comes first. Its own inverse.
    fn rank(&self, Sequence(sequence): Sequence) -> u64 {
        match self.direction {
            Direction::Forward => sequence,
            Direction::Backward => !sequence,
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Reverse((rank, source, wanted)) = self.next.pop()?;
            if let Err(e) = self.pull(source) {
                return Some(Err(e));
            }
            let sequence = Sequence(self.rank(Sequence(rank)));
            if self.last.replace(sequence) != Some(sequence) {
                return Some(Ok(Entry { sequence, wanted }));
            }
        }
    }
}
