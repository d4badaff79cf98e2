//! What is stored and streamed: a verified webhook and its place in the journal.
//!
//! Invariants, asserted where a draft gets its place: the place is not that
//! before the first event; there are at most [`HEADERS_MAX`] headers.

use std::time::Duration;

use bytes::Bytes;

use crate::{Sequence, Timestamp, Topic};

/// A verified webhook at its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Position in the journal, from 1 on; rises by at least one from event to
    /// event.
    pub sequence: Sequence,
    /// The event itself: everything but the place.
    pub draft: Draft,
}

/// An event before the journal gave it a place.
///
/// Built by the gateway's `ingest` alone, from a `Verified`: what was not
/// verified cannot be stored. A test of the gateway checks that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// When the delivery arrived here.
    pub received_at: Timestamp,
    /// The topic that it was ingested to, or the subtopic that its content names.
    pub topic: Topic,
    /// What the provider calls this kind of event (`push`), else `webhook`.
    /// May hold any characters: encoders escape it.
    pub event_type: Box<str>,
    /// The delivery's `Content-Type`, as sent.
    pub content_type: Option<Box<str>>,
    /// The provider's id of the delivery, where the scheme names one.
    pub dedup_id: Option<Box<str>>,
    /// The headers worth keeping, name and value, without secrets. Names are in
    /// lower case. At most [`HEADERS_MAX`].
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body, byte for byte as it was signed, or what that was decoded to
    /// (`Content-Encoding`).
    pub body: Bytes,
}

/// The most headers that an event keeps.
pub const HEADERS_MAX: usize = 64;

/// How a delivery is recognised when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// The topic that it came to, if that is not the event's; keys of different
    /// topics never match.
    pub within: Option<Topic>,
    /// The section of the configuration that verified it, and whose share of the
    /// memory it takes; `None` for that of `"*"`.
    pub section: Option<Topic>,
    /// SHA-256 of what identifies the delivery within its topic.
    pub key: [u8; 32],
    /// For how long after its arrival a second one counts as a duplicate.
    pub window: Duration,
}

impl Draft {
    /// Gives the draft its place.
    #[must_use]
    pub fn at(self, sequence: Sequence) -> Event {
        debug_assert!(sequence > Sequence::ZERO, "the first event has 1");
        debug_assert!(self.headers.len() <= HEADERS_MAX);
        Event {
            sequence,
            draft: self,
        }
    }

    /// About how much memory and disk this takes, in bytes: body, headers and
    /// the fixed parts.
    #[must_use]
    pub fn weight(&self) -> usize {
        const FIXED_BYTES: usize = 128;
        let optional = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        FIXED_BYTES
            + self.topic.as_str().len()
            + self.event_type.len()
            + optional(&self.content_type)
            + optional(&self.dedup_id)
            + headers
            + self.body.len()
    }
}
