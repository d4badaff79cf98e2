//! One delivery that came and was not stored, and what is known of it.
//!
//! Invariant: it is taken at most once, by one at a time.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use hookrill_core::{Cursor, Timestamp};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::kept::{BODY_BYTES_KEPT_MAX, KeptRequest};

/// What became of a delivery that was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptKind {
    /// It was refused.
    Refused,
    /// It had been stored before.
    Duplicate,
    /// It was a handshake, and was answered.
    Handshake,
}

/// What is known of an attempt without looking into it.
#[derive(Debug, Clone)]
pub struct AttemptSummary {
    /// What became of it.
    pub kind: AttemptKind,
    /// When it arrived.
    pub at: Timestamp,
    /// The section that covers its topic, if one does.
    pub section: Option<Arc<str>>,
    /// Where it was sent: a topic, or what stood in its place, cut.
    pub topic: Box<str>,
    /// Whence.
    pub address: Option<IpAddr>,
    /// Stands for all addresses that count as one.
    pub network: u128,
    /// How long its body was, if it was read.
    pub body_bytes: Option<usize>,
    /// Why it was refused, in one word.
    pub reason: Option<&'static str>,
    /// The same in a sentence.
    pub error: Option<Box<str>>,
    /// Whether it was read to its end.
    pub is_read: bool,
    /// The event that it is a duplicate of.
    pub event: Option<Cursor>,
    /// Stands for its body: see [`content_hash`].
    pub content: [u8; 32],
}

impl AttemptSummary {
    /// Whether they are counted as one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.network == other.network
            && self.reason == other.reason
            && self.content == other.content
            && self.event == other.event
            && self.topic == other.topic
    }
}

/// What stands for a body: the SHA-256 of what is kept of it, and its length where that is
/// not all. Where it is empty, what a delivery says is in its target.
#[must_use]
pub fn content_hash(target: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    if body.is_empty() {
        hash.update(target);
    }
    match body.split_at_checked(BODY_BYTES_KEPT_MAX) {
        Some((kept, rest)) if !rest.is_empty() => {
            hash.update(kept);
            hash.update((body.len() as u64).to_le_bytes());
        }
        _ => hash.update(body),
    }
    hash.finalize().into()
}

/// One delivery that came and was not stored.
#[derive(Debug)]
pub struct KeptAttempt {
    /// Numbers rise with the time of arrival.
    pub number: u64,
    /// What is known without looking into it.
    pub summary: AttemptSummary,
    /// What is kept of it.
    pub request: KeptRequest,
    /// The SHA-256 of the whole body, once it is known.
    pub body_sha256: OnceLock<[u8; 32]>,
    taken: Mutex<TakeState>,
}

#[derive(Debug, Clone, Copy, Default)]
enum TakeState {
    #[default]
    No,
    UnderWay,
    /// Stored as this event.
    As(Cursor),
}

/// Why an attempt can't be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TakeError {
    /// Somebody else is about to.
    #[error("it is being taken by another request")]
    UnderWay,
    /// It is an event already.
    #[error("it was taken before, as {0}")]
    Taken(Cursor),
}

/// The right to take an attempt; given back where that comes to nothing.
#[derive(Debug)]
pub struct TakePermit<'a>(&'a KeptAttempt);

impl KeptAttempt {
    pub(super) fn new(number: u64, summary: AttemptSummary, request: KeptRequest) -> Self {
        let body_sha256 = OnceLock::new();
        if summary.is_read && request.body.is_empty() {
            _ = body_sha256.set(Sha256::digest([]).into());
        } else if summary.is_read && !request.body_is_cut {
            _ = body_sha256.set(summary.content);
        }
        Self {
            number,
            summary,
            request,
            body_sha256,
            taken: Mutex::default(),
        }
    }

    /// About how much memory this takes, in bytes.
    pub(super) fn weight(&self) -> usize {
        const FIXED_BYTES: usize = 512;
        let error = self.summary.error.as_ref().map_or(0, |error| error.len());
        FIXED_BYTES + self.summary.topic.len() + error + self.request.bytes()
    }

    /// The event as which it was stored since.
    #[must_use]
    pub fn taken_as(&self) -> Option<Cursor> {
        match *self.taken.lock() {
            TakeState::As(cursor) => Some(cursor),
            TakeState::No | TakeState::UnderWay => None,
        }
    }

    /// Claims it.
    ///
    /// # Errors
    ///
    /// [`TakeError`] where another has done so.
    pub fn begin_to_take(&self) -> Result<TakePermit<'_>, TakeError> {
        let mut taken = self.taken.lock();
        match *taken {
            TakeState::No => *taken = TakeState::UnderWay,
            TakeState::UnderWay => return Err(TakeError::UnderWay),
            TakeState::As(cursor) => return Err(TakeError::Taken(cursor)),
        }
        Ok(TakePermit(self))
    }
}

impl TakePermit<'_> {
    /// It is stored as this event now.
    pub fn taken_as(self, cursor: Cursor) {
        *self.0.taken.lock() = TakeState::As(cursor);
    }
}

impl Drop for TakePermit<'_> {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock();
        if let TakeState::UnderWay = *taken {
            *taken = TakeState::No;
        }
    }
}

/// An attempt as it stands in a list.
#[derive(Debug, Clone)]
pub struct ListedAttempt {
    /// The first of those that are counted as one.
    pub attempt: Arc<KeptAttempt>,
    /// How many they are.
    pub count: u64,
    /// When the last one arrived.
    pub last: Timestamp,
    /// Rises from one arrival to the next, of whatever attempt.
    pub tick: u64,
}
