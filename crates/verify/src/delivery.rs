//! What comes in, and what comes out once it is proven.
//!
//! Invariant: only this room can build a [`Verified`], so what another room
//! stores or streams has been proven.

use std::fmt;

use bytes::Bytes;
use hookrill_core::{Secret, Timestamp};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// One raw POST, as it arrived: nothing of it is proven.
///
/// Its `Debug` shows neither header values nor query nor body, since a token
/// may be in any of them.
#[derive(Clone)]
pub struct Delivery {
    /// The request's method.
    pub method: Method,
    /// The request target from its path on: `/ingest/orders?a=1`, still
    /// percent-encoded.
    pub path_and_query: String,
    /// All header lines.
    pub headers: HeaderMap,
    /// The body, byte for byte: before any decompression.
    pub body: Bytes,
    /// When it arrived here.
    pub received_at: Timestamp,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path_and_query.split('?').next();
        f.debug_struct("Delivery")
            .field("method", &self.method)
            .field("path", &path.unwrap_or_default())
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .field("received_at", &self.received_at)
            .finish()
    }
}

/// What a proven delivery turned out to be.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events: boxing them would cost each an allocation"
)]
pub enum Outcome {
    /// An event, to be stored.
    Event(Verified),
    /// A provider's handshake: answer it and store nothing.
    Answer(Reply),
    /// The provider hands over the secret that it will sign by, and none is
    /// known yet: keep it, then answer, and store nothing.
    ProvisionedSecret {
        /// The secret. Nothing proves who sent it.
        secret: Secret,
        /// The answer, once it is kept.
        reply: Reply,
    },
}

/// An HTTP answer that a scheme asks for.
///
/// Send it with `X-Content-Type-Options: nosniff`: its body may echo what the
/// sender chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The `Content-Type`.
    pub content_type: HeaderValue,
    /// Other headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A delivery that was proven, and what its scheme took out of it.
#[derive(Debug, Clone)]
pub struct Verified {
    delivery: Delivery,
    facts: Facts,
}

/// What a scheme took out of a proven delivery.
///
/// Type and id are 1 to [`FACT_BYTES_MAX`](crate::FACT_BYTES_MAX) bytes; a longer one counts as absent,
/// because two long ids cut to one length could become one. They may hold any
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// What the provider calls this kind of event.
    pub event_type: Option<Box<str>>,
    /// Whether the signature covers `event_type`; if not, it can be forged
    /// by one who replays the delivery.
    pub event_type_signed: bool,
    /// The provider's id of the delivery.
    pub dedup_id: Option<Box<str>>,
    /// Whether the signature covers `dedup_id`. If not, key it together with
    /// the body's hash, or a replayer picks a fresh one each time.
    pub dedup_id_signed: bool,
    /// What stands below the topic for this delivery, where its topic has a
    /// partition: segments of the topic grammar. What it was made of is signed,
    /// where anything is.
    pub partition: Option<Box<str>>,
    /// The SHA-256 of what was signed, where that is not the body byte for
    /// byte: what stands for the body when deliveries are recognised, since
    /// a replayer can change the body itself.
    pub content: Option<[u8; 32]>,
    /// The answer that the provider demands on success, if not the usual one.
    pub respond: Option<Reply>,
}

impl Verified {
    /// Called once, behind the proof.
    pub(super) fn new(delivery: Delivery, facts: Facts) -> Self {
        Self { delivery, facts }
    }

    /// The delivery, without a token that proved it.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// What the scheme took out of it.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Both, to be taken apart.
    #[must_use]
    pub fn into_parts(self) -> (Delivery, Facts) {
        (self.delivery, self.facts)
    }
}
