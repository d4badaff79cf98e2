//! What is stored and streamed: a verified webhook and its place in the journal.

use std::time::Duration;

use bytes::Bytes;

use crate::{Sequence, Timestamp, Topic};

/// A proven webhook at its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Position in the journal; rises by at least one from event to event.
    pub sequence: Sequence,
    /// What happened: everything but the place.
    pub draft: Draft,
}

/// An event before the journal gave it a place.
///
/// Built by `ingest` alone, from a `Verified`: what was not proven cannot be
/// stored. A test holds that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// When the delivery arrived here.
    pub received_at: Timestamp,
    /// The topic it was ingested to, or the subtopic that its content said.
    pub topic: Topic,
    /// What the provider calls this kind of event (`push`), else `webhook`.
    /// May hold any characters: encoders escape it.
    pub event_type: Box<str>,
    /// The delivery's `Content-Type`, as sent.
    pub content_type: Option<Box<str>>,
    /// The provider's id of the delivery, where the scheme names one.
    pub dedup_id: Option<Box<str>>,
    /// The headers worth keeping, lower-case names, secrets already removed.
    /// At most [`HEADERS_MAX`].
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body, byte for byte as it was signed.
    pub body: Bytes,
}

/// The most headers that an event keeps.
pub const HEADERS_MAX: usize = 64;

/// How a delivery is recognised when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// The topic that it came to, where that is not the event's; the key counts
    /// within it.
    pub within: Option<Topic>,
    /// SHA-256 of what identifies the delivery within its topic.
    pub key: [u8; 32],
    /// For how long after its arrival a second one counts as a duplicate.
    pub window: Duration,
}

impl Draft {
    /// Gives the draft its place.
    #[must_use]
    pub fn at(self, sequence: Sequence) -> Event {
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
