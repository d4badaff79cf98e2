//! What comes in, and what comes out once it is verified.
//!
//! Invariant: only this crate can build a [`Verified`], so whatever a caller
//! stores or forwards as one has been verified.

use std::fmt;

use bytes::Bytes;
use hookrill_core::{FormReader, Secret, Timestamp, begins_as_json};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};

use crate::{error::VerifyError, limits::FACT_BYTES_MAX};

/// One raw request of a sender, as it arrived: nothing of it is verified.
///
/// Its `Debug` shows neither header values nor query nor body, since a token
/// may be in any of them.
#[derive(Clone)]
#[non_exhaustive]
pub struct Delivery {
    /// The request's method.
    pub method: Method,
    /// The request target from its path on: `/ingest/orders?a=1`, still
    /// percent-encoded.
    pub path_and_query: String,
    /// All header lines.
    pub headers: HeaderMap,
    /// The body, byte for byte; without its codings (`Content-Encoding`), where those
    /// were undone.
    pub body: Bytes,
    /// The body as it was sent, where codings of it were undone: providers sign either.
    /// Of what was verified, only if it is what the signature is over.
    pub sent: Option<Bytes>,
    /// When it arrived here.
    pub received_at: Timestamp,
    /// The body as JSON, where it is a form and was read.
    pub(crate) form_json: Option<Box<str>>,
}

impl Delivery {
    /// A delivery of these parts; see the fields for what each has to be.
    pub fn new(
        method: Method,
        path_and_query: impl Into<String>,
        headers: HeaderMap,
        body: impl Into<Bytes>,
        received_at: Timestamp,
    ) -> Self {
        Self {
            method,
            path_and_query: path_and_query.into(),
            headers,
            body: body.into(),
            sent: None,
            received_at,
            form_json: None,
        }
    }

    /// A delivery from an HTTP request whose body was read whole.
    ///
    /// Keep the path that the sender called: some providers sign it, and a
    /// router that cuts off a prefix would change it.
    pub fn from_request<B: Into<Bytes>>(request: Request<B>, received_at: Timestamp) -> Self {
        let (head, body) = request.into_parts();
        let path_and_query = head.uri.path_and_query().map_or("/", |text| text.as_str());
        let path_and_query = path_and_query.to_owned();
        Self::new(head.method, path_and_query, head.headers, body, received_at)
    }

    /// Where JSON pointers look: the body, or what a form was read as.
    pub(crate) fn json(&self) -> &[u8] {
        self.form_json.as_deref().map_or(&self.body, str::as_bytes)
    }

    /// Reads the body as a form, unless it begins as JSON does. Whatever its
    /// `Content-Type` says: nobody signs that, and whoever replays the delivery with
    /// another one must not change its id or its subtopic.
    pub(crate) fn read_form(&mut self, forms: &FormReader) {
        if !begins_as_json(&self.body) {
            self.form_json = forms.json(&self.body).map(Into::into);
        }
    }

    /// Makes the query of a GET its body, as the form that it is.
    pub(crate) fn take_query_as_form(&mut self) {
        debug_assert!(self.body.is_empty(), "one with a body was refused");
        let query = self.path_and_query.split_once('?').unwrap_or_default().1;
        self.body = Bytes::copy_from_slice(query.as_bytes());
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        self.headers.insert(CONTENT_TYPE, form);
    }
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

/// A delivery that was refused, as it came, and why.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refused {
    /// The delivery; nothing of it is verified.
    pub delivery: Delivery,
    /// Why: for logs and metrics, never for the sender.
    pub error: VerifyError,
}

/// What a delivery that was not refused turned out to be.
///
/// Each needs a decision of the caller, so a new one is a breaking change.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are events: boxing them would cost each an allocation"
)]
pub enum Outcome {
    /// An event, to be stored.
    Event(Verified),
    /// A provider's handshake: send this answer, and store nothing.
    Answer(Reply),
    /// The provider sends the secret that it will sign with, and none is known
    /// yet: store the secret, go on with
    /// [`Verifier::with_provisioned_secret`](crate::Verifier::with_provisioned_secret),
    /// and only then answer.
    ProvisionedSecret {
        /// The secret. Nothing verifies who sent it.
        secret: Secret,
        /// The answer, once the secret is stored.
        reply: Reply,
    },
}

/// An HTTP answer that a scheme asks for.
///
/// Send it with `X-Content-Type-Options: nosniff`: its body may echo what the
/// sender chose.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

/// A delivery that was verified, and what its scheme took out of it.
#[derive(Debug, Clone)]
pub struct Verified {
    delivery: Delivery,
    facts: Facts,
}

/// What a scheme took out of a verified delivery.
///
/// Type and id are 1 to [`FACT_BYTES_MAX`] bytes; a longer one counts as absent,
/// because two long ids cut to one length could become one. They may hold any
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Facts {
    /// What the provider calls this kind of event.
    pub event_type: Option<Box<str>>,
    /// Whether the signature covers `event_type`. If not, whoever replays the
    /// delivery can change it.
    pub event_type_signed: bool,
    /// The provider's id of the delivery.
    pub dedup_id: Option<Box<str>>,
    /// Whether the signature covers `dedup_id`. If not, key it together with
    /// the body's hash, or whoever replays the delivery picks a new one each
    /// time.
    pub dedup_id_signed: bool,
    /// The subtopic of this delivery, where [`Settings::partition`] is set:
    /// segments of the topic grammar, joined by dots. If anything is signed,
    /// what it was made of is signed.
    ///
    /// [`Settings::partition`]: crate::Settings::partition
    pub partition: Option<Box<str>>,
    /// The SHA-256 of what was signed, where that is not the body byte for
    /// byte. It stands for the body when duplicates are recognised, since
    /// whoever replays the delivery can change the body itself.
    pub content: Option<[u8; 32]>,
    /// The answer that the provider demands on success, if not the usual one.
    pub respond: Option<Reply>,
}

impl Verified {
    /// Called by the verifier alone, once the delivery is verified.
    pub(crate) fn new(delivery: Delivery, facts: Facts) -> Self {
        for fact in [&facts.event_type, &facts.dedup_id].into_iter().flatten() {
            debug_assert!(
                (1..=FACT_BYTES_MAX).contains(&fact.len()),
                "a fact has 1 to {FACT_BYTES_MAX} bytes, and this one {}",
                fact.len()
            );
        }
        Self { delivery, facts }
    }

    /// The delivery, without the token that it may have been verified by.
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
