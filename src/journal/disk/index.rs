//! Where the events of one segment are, by their place and by topic.
//!
//! An event's ordinal is its place in the segment, counted from 0. The index
//! grows with the log while that is written; `index_file.rs` stores it once the
//! segment is sealed.
//!
//! Invariants: the ordinals in a topic's list rise, and each is below the
//! number of events. Each event's type is one of the names. Records follow each
//! other in the log. Sequences are dense: ordinal `n` is sequence `first + n`. An
//! index that was made from a damaged log names the events that are missing; it is
//! never stored.

use std::collections::HashMap;

use hookrill_core::{Sequence, Timestamp, Topic};

/// What a topic's list, or a type's name, takes in addition to its text.
const NAME_BYTES: usize = 64;

/// The index of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) first: Sequence,
    /// Where the log's last group ends.
    pub(super) end: u32,
    /// Where the record of each event begins.
    pub(super) offsets: Vec<u32>,
    /// The ordinals of events that are damaged, so that nobody knows their
    /// topics: mostly none.
    pub(super) missing: Vec<u32>,
    /// The type of each event, as a place in `type_names`.
    pub(super) types: Vec<u32>,
    pub(super) type_names: Vec<Box<str>>,
    /// The ordinals of each topic's events, subtopics included.
    pub(super) topics: HashMap<Box<str>, Vec<u32>>,
    /// The earliest and the latest arrival.
    pub(super) arrivals: Option<(Timestamp, Timestamp)>,
    /// Where each type is in `type_names`; empty in an index that was decoded,
    /// to which nothing is added.
    type_places: HashMap<Box<str>, u32>,
    /// About how much memory this takes.
    bytes: usize,
}

impl Index {
    /// The index of a log that has a header of `end` bytes and no event.
    pub(super) fn new(first: Sequence, end: u32) -> Self {
        Self {
            first,
            end,
            offsets: Vec::new(),
            missing: Vec::new(),
            types: Vec::new(),
            type_names: Vec::new(),
            topics: HashMap::new(),
            arrivals: None,
            type_places: HashMap::new(),
            bytes: 0,
        }
    }

    /// Adds the event that follows the last one.
    pub(super) fn add(&mut self, offset: u32, topic: &Topic, event_type: &str, arrived: Timestamp) {
        let is_behind = self.offsets.last().is_none_or(|&last| last < offset);
        assert!(is_behind, "records follow each other in a log");
        let ordinal = self.offsets.len() as u32;
        self.offsets.push(offset);
        let place = self.type_place(event_type);
        self.types.push(place);
        self.bytes += 8;
        for name in topic.lineage() {
            self.bytes += 4;
            match self.topics.get_mut(name) {
                Some(ordinals) => ordinals.push(ordinal),
                None => {
                    self.bytes += name.len() + NAME_BYTES;
                    self.topics.insert(name.into(), vec![ordinal]);
                }
            }
        }
        let (earliest, latest) = self.arrivals.unwrap_or((arrived, arrived));
        self.arrivals = Some((earliest.min(arrived), latest.max(arrived)));
    }

    /// Adds a damaged event in place of the one that follows the last one, and
    /// where its bytes begin, as far as is known.
    pub(super) fn add_missing(&mut self, offset: u32) {
        let is_behind = self.offsets.last().is_none_or(|&last| last <= offset);
        assert!(is_behind, "records follow each other in a log");
        self.missing.push(self.offsets.len() as u32);
        self.offsets.push(offset);
        self.types.push(u32::MAX);
        self.bytes += 12;
    }

    /// Whether an event is known to be damaged.
    pub(super) fn is_missing(&self, ordinal: u32) -> bool {
        !self.missing.is_empty() && self.missing.binary_search(&ordinal).is_ok()
    }

    fn type_place(&mut self, name: &str) -> u32 {
        if let Some(place) = self.type_places.get(name) {
            return *place;
        }
        let place = self.type_names.len() as u32;
        self.bytes += 2 * (name.len() + NAME_BYTES);
        self.type_names.push(name.into());
        self.type_places.insert(name.into(), place);
        place
    }

    /// Computes what the index takes, for a decoder that filled it in.
    pub(super) fn compute_bytes(&mut self) {
        let topics = self.topics.iter();
        let topics = topics.map(|(name, ordinals)| name.len() + NAME_BYTES + 4 * ordinals.len());
        let types = self.type_names.iter().map(|name| name.len() + NAME_BYTES);
        self.bytes = 8 * self.offsets.len() + topics.sum::<usize>() + types.sum::<usize>();
    }

    /// Whether offsets, types and ordinals are as they must be; a decoder asks
    /// this.
    pub(super) fn is_in_order(&self) -> bool {
        let events = self.events();
        let types = self.type_names.len();
        let has_types = self.types.len() == self.offsets.len()
            && self.types.iter().all(|&place| (place as usize) < types);
        let rises = |ordinals: &Vec<u32>| {
            ordinals.is_sorted_by(|a, b| a < b) && ordinals.last().is_none_or(|&last| last < events)
        };
        self.has_rising_offsets() && has_types && self.topics.values().all(rises)
    }

    /// Whether records follow each other, within the log.
    pub(super) fn has_rising_offsets(&self) -> bool {
        let last = self.offsets.last();
        self.offsets.is_sorted_by(|a, b| a < b) && last.is_none_or(|&last| last < self.end)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn events(&self) -> u32 {
        self.offsets.len() as u32
    }

    /// The last event's sequence; the one before the first, if there is none.
    pub(super) fn last(&self) -> Sequence {
        Sequence(self.first.0 + u64::from(self.events())).previous()
    }

    /// The sequence of an event.
    pub(super) fn sequence(&self, ordinal: u32) -> Sequence {
        Sequence(self.first.0 + u64::from(ordinal))
    }

    /// The ordinal of the first event that is not before `sequence`.
    pub(super) fn ordinal(&self, sequence: Sequence) -> u32 {
        let ordinal = sequence.0.saturating_sub(self.first.0);
        ordinal.min(u64::from(self.events())) as u32
    }

    /// Where the record of an event begins; the end of the log, if there is no
    /// such event.
    pub(super) fn offset(&self, ordinal: u32) -> u32 {
        let offset = self.offsets.get(ordinal as usize);
        offset.copied().unwrap_or(self.end)
    }

    /// The type of an event; `None` where this does not know it.
    pub(super) fn event_type(&self, ordinal: u32) -> Option<&str> {
        let place = *self.types.get(ordinal as usize)?;
        self.type_names.get(place as usize).map(|name| &**name)
    }
}
