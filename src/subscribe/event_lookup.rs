//! One event by its place, for who asks for that one alone.

use hookrill_core::{Cursor, Selection, Sequence};

use super::Streams;
use crate::{journal::ReadError, wire::Frame};

/// What is at a place of the journal.
#[derive(Debug)]
pub enum EventLookup {
    /// This event.
    Found(Frame),
    /// Nothing any more; the oldest event that there may be comes behind this place.
    Deleted {
        /// The place.
        behind: Cursor,
    },
    /// An event that can't be read.
    Damaged,
    /// Nothing: it is a place of another journal.
    AnotherJournal,
    /// Nothing: no event has had this place.
    Unknown,
}

impl Streams {
    /// What is at a place.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the journal can't be read now.
    pub async fn event_at(&self, at: Cursor) -> Result<EventLookup, ReadError> {
        if at.epoch != self.epoch() {
            return Ok(EventLookup::AnotherJournal);
        }
        let Some(before) = at.sequence.0.checked_sub(1).map(Sequence) else {
            return Ok(EventLookup::Unknown);
        };
        if at.sequence > self.journal.head() {
            return Ok(EventLookup::Unknown);
        }
        // One event comes, however few bytes are asked for.
        let mut page = self.journal.read(&Selection::all(), before, 1).await?;
        if page.floor >= at.sequence {
            let behind = Cursor {
                sequence: page.floor,
                ..at
            };
            return Ok(EventLookup::Deleted { behind });
        }
        match page.events.drain(..).next() {
            Some(event) if event.sequence == at.sequence => {
                let encoder = self.context.hub.encoder();
                Ok(EventLookup::Found(Frame::new(event, &encoder)))
            }
            None if page.is_damaged && page.scanned >= at.sequence => Ok(EventLookup::Damaged),
            _ => Ok(EventLookup::Unknown),
        }
    }
}
