//! What is stored and streamed: a verified webhook and its place in the journal.
//!
//! Invariants, asserted where a draft gets its place: the place is not that
//! before the first event; there are at most [`HEADERS_MAX`] headers, and at most
//! [`PROOF_HEADERS_MAX`] of proof.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;

use crate::{HeaderList, Sequence, Timestamp, Topic};

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
    /// The headers worth keeping, without secrets. At most [`HEADERS_MAX`].
    pub headers: HeaderList,
    /// The body, byte for byte as it was signed, or what that was decoded to
    /// (`Content-Encoding`).
    pub body: Bytes,
    /// What else it takes to deliver it again as it came.
    pub original: Original,
    /// A random number of this append: whoever lost the answer to one knows by it
    /// whether what the journal has is its own.
    pub append_nonce: u64,
}

/// What subscribers are never shown of a delivery, and what it takes to deliver it again
/// as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The method.
    pub method: Cow<'static, str>,
    /// What stood behind the topic in the URL: a path, nearly always empty, and the query
    /// with its `?`. Without the token that may have been there.
    pub target: Box<str>,
    /// The headers that show that the delivery is the sender's.
    pub proof: Proof,
    /// The names of headers that came and were not kept, joined by commas.
    pub omitted: Box<str>,
    /// Whether headers are missing that are not even named: there were too many, or an
    /// older version stored the event.
    pub headers_cut: bool,
    /// The body as it was sent, where that is not [`Draft::body`].
    pub sent: Option<Bytes>,
}

/// The headers by which a delivery was verified, as far as they are not kept among the
/// others: signatures above all. A type of its own, so that no view can take it for
/// headers that subscribers are shown. At most [`PROOF_HEADERS_MAX`].
///
/// Its `Debug` shows names alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof(HeaderList);

/// The most headers that an event keeps.
pub const HEADERS_MAX: usize = 64;
/// The most headers of proof that an event keeps.
pub const PROOF_HEADERS_MAX: usize = 8;

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
        debug_assert!(self.original.proof.0.len() <= PROOF_HEADERS_MAX);
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
        FIXED_BYTES
            + self.topic.as_str().len()
            + self.event_type.len()
            + optional(&self.content_type)
            + optional(&self.dedup_id)
            + self.headers.as_bytes().len()
            + self.original.weight()
            + self.body.len()
    }
}

impl Original {
    /// The method of nearly all deliveries.
    pub const METHOD: &'static str = "POST";

    /// About how much memory and disk this takes, in bytes.
    fn weight(&self) -> usize {
        self.method.len()
            + self.target.len()
            + self.proof.0.as_bytes().len()
            + self.omitted.len()
            + self.sent.as_ref().map_or(0, Bytes::len)
    }
}

/// A POST with nothing behind its topic, of which no headers were left out.
impl Default for Original {
    fn default() -> Self {
        Self {
            method: Self::METHOD.into(),
            target: Box::default(),
            proof: Proof::default(),
            omitted: Box::default(),
            headers_cut: false,
            sent: None,
        }
    }
}

impl Proof {
    /// These headers as proof.
    #[must_use]
    pub fn new(headers: HeaderList) -> Self {
        Self(headers)
    }

    /// The headers: for the journal, and for those who may have deliveries as they came.
    #[must_use]
    pub fn headers(&self) -> &HeaderList {
        &self.0
    }
}
