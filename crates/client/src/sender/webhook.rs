//! What is sent, and what comes back.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event on its way to a gateway.
///
/// ```
/// use hookrill_client::Webhook;
///
/// let order = Webhook::new(r#"{"order":"A-1","total":12.50}"#)
///     .event_type("order.paid")
///     .id("order-A-1-paid");
/// ```
#[derive(Debug, Clone)]
pub struct Webhook {
    pub(super) body: Bytes,
    pub(super) headers: HeaderMap,
    pub(super) event_type: Option<String>,
    pub(super) id: Option<String>,
}

/// A gateway has taken a delivery: what it stored is durable there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Receipt {
    /// The id that the delivery was sent with, at each attempt the same.
    pub delivery_id: String,
    /// What was stored. `None` where the topic answers in its own way
    /// (`respond` in its section), as some providers want it.
    pub event: Option<AcceptedEvent>,
    /// The status of the answer, which is 200 or another of success.
    pub status: StatusCode,
    /// The answer as it came.
    pub body: Bytes,
}

/// An event that a gateway has stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AcceptedEvent {
    /// Its cursor, which subscribers see as its id.
    pub id: String,
    /// Its topic, below the one that it was sent to where that is partitioned.
    pub topic: String,
    /// The delivery had come before: this is the event that it became then.
    #[serde(default)]
    pub duplicate: bool,
}

impl Webhook {
    /// One with this body, which is sent as `application/json` if it is JSON,
    /// else as text.
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let is_json = serde_json::from_slice::<&RawValue>(&body).is_ok();
        let content_type = HeaderValue::from_static(if is_json {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        });
        Self {
            body,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            event_type: None,
            id: None,
        }
    }

    /// One with this value, written as JSON.
    ///
    /// # Errors
    ///
    /// Where the value can't be written as JSON, such as a map whose keys are
    /// not text.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::new(serde_json::to_vec(value)?))
    }

    /// Its type, which goes where the scheme has a place for it.
    #[must_use]
    pub fn event_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// The delivery's id. A gateway stores two deliveries with the same id
    /// once, where the scheme has a place for ids, as Standard Webhooks does.
    /// Without this each delivery has a random one.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The media type of the body.
    #[must_use]
    pub fn content_type(self, content_type: HeaderValue) -> Self {
        self.header(CONTENT_TYPE, content_type)
    }

    /// Another header, in place of one with the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}
