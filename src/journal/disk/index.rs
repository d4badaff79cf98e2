//! Where the events of one segment are, by number and by topic.
//!
//! An event's number is its place in the segment, from 0. Grows with the log
//! while that is written; `index_file.rs` keeps it once it is sealed.
//!
//! Invariant: numbers in a topic's list rise, and each is below the number of
//! events. The segment's sequences are dense: number `n` is sequence
//! `first + n`.

use std::collections::HashMap;

use hookrill_core::{Sequence, Timestamp, Topic};

/// What a topic's list, or a type's name, takes beside its text.
const NAME_BYTES: usize = 64;

/// The index of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) first: Sequence,
    /// Where the log's last group ends.
    pub(super) end: u32,
    /// Where the record of each event begins.
    pub(super) offsets: Vec<u32>,
    /// The type of each event, by its place in `type_names`.
    pub(super) types: Vec<u32>,
    pub(super) type_names: Vec<Box<str>>,
    /// The numbers of each topic's events, subtopics included.
    pub(super) topics: HashMap<Box<str>, Vec<u32>>,
    /// The earliest and the latest arrival.
    pub(super) arrivals: Option<(Timestamp, Timestamp)>,
    /// The places in `type_names`; empty where nothing is added any more.
    type_places: HashMap<Box<str>, u32>,
    /// About how many bytes of memory this takes.
    bytes: usize,
}

impl Index {
    /// The index of a log that has a head of `end` bytes and no event.
    pub(super) fn new(first: Sequence, end: u32) -> Self {
        Self {
            first,
            end,
            offsets: Vec::new(),
            types: Vec::new(),
            type_names: Vec::new(),
            topics: HashMap::new(),
            arrivals: None,
            type_places: HashMap::new(),
            bytes: 0,
        }
    }

    /// Adds the event that follows the last.
    pub(super) fn add(&mut self, offset: u32, topic: &Topic, event_type: &str, at: Timestamp) {
        let number = self.offsets.len() as u32;
        self.offsets.push(offset);
        let place = self.type_place(event_type);
        self.types.push(place);
        self.bytes += 8;
        for name in topic.lineage() {
            self.bytes += 4;
            match self.topics.get_mut(name) {
                Some(numbers) => numbers.push(number),
                None => {
                    self.bytes += name.len() + NAME_BYTES;
                    self.topics.insert(name.into(), vec![number]);
                }
            }
        }
        let (earliest, latest) = self.arrivals.unwrap_or((at, at));
        self.arrivals = Some((earliest.min(at), latest.max(at)));
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

    /// Counts what a decoder filled in.
    pub(super) fn weigh(&mut self) {
        let topics = self.topics.iter();
        let topics = topics.map(|(name, numbers)| name.len() + NAME_BYTES + 4 * numbers.len());
        let types = self.type_names.iter().map(|name| name.len() + NAME_BYTES);
        self.bytes = 8 * self.offsets.len() + topics.sum::<usize>() + types.sum::<usize>();
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
    pub(super) fn sequence(&self, number: u32) -> Sequence {
        Sequence(self.first.0 + u64::from(number))
    }

    /// The number of the first event that is not before `sequence`.
    pub(super) fn number(&self, sequence: Sequence) -> u32 {
        let number = sequence.0.saturating_sub(self.first.0);
        number.min(u64::from(self.events())) as u32
    }

    /// Where the record of an event begins; the end of the log, if there is no
    /// such event.
    pub(super) fn offset(&self, number: u32) -> u32 {
        let offset = self.offsets.get(number as usize);
        offset.copied().unwrap_or(self.end)
    }

    /// The type of an event.
    pub(super) fn event_type(&self, number: u32) -> &str {
        let place = self.types.get(number as usize);
        let name = place.and_then(|place| self.type_names.get(*place as usize));
        name.map_or("", |name| name)
    }
}
