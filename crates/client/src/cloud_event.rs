//! Events in CloudEvents 1.0 structured JSON ("JSON Event Format for
//! CloudEvents", version 1.0.2), as a gateway writes them.
//!
//! The body is exact to the byte.

use std::borrow::Cow;

use data_encoding::BASE64;
use hookrill_core::is_json;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

/// An event with all that the gateway says about it.
///
/// ```
/// use hookrill_client::CloudEvent;
///
/// let text = r#"{"specversion":"1.0","id":"e-7","source":"/ingest/orders",
///     "type":"order.paid","time":"2026-11-30T08:00:00Z","topic":"orders.eu",
///     "datacontenttype":"application/json","data":{"total":12.50}}"#;
/// let event = CloudEvent::parse(text)?;
/// assert_eq!((&*event.event_type, &*event.topic), ("order.paid", "orders.eu"));
/// assert_eq!(event.body(), &br#"{"total":12.50}"#[..]);
/// # Ok::<(), hookrill_client::CloudEventError>(())
/// ```
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct CloudEvent<'a> {
    /// Its cursor.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The address that it was posted to.
    #[serde(borrow)]
    pub source: Cow<'a, str>,
    /// Its type.
    #[serde(rename = "type", borrow)]
    pub event_type: Cow<'a, str>,
    /// Its topic, which may be below the one that was subscribed to.
    #[serde(borrow, default)]
    pub topic: Cow<'a, str>,
    /// When the gateway received it (RFC 3339).
    #[serde(borrow, default)]
    pub time: Cow<'a, str>,
    /// The media type of the body.
    #[serde(rename = "datacontenttype", borrow, default)]
    pub content_type: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    /// The body's bytes, where `data` can't hold them.
    #[serde(skip)]
    bytes: Option<Vec<u8>>,
}

/// The one field that needs decoding.
#[derive(Deserialize)]
struct Base64<'a> {
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
}

/// A text is not a CloudEvent, or its body not what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudEventError {
    /// It is not JSON, or lacks what every CloudEvent has.
    #[error("this is not a CloudEvent")]
    Json(#[from] serde_json::Error),
    /// `data_base64` is not base64.
    #[error("the event's body is not base64")]
    Base64(#[from] data_encoding::DecodeError),
}

impl<'a> CloudEvent<'a> {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`CloudEventError`] where the text is not a CloudEvent.
    pub fn parse(text: &'a str) -> Result<Self, CloudEventError> {
        let mut event: Self = serde_json::from_str(text)?;
        if event.data.is_none() {
            let Base64 { data_base64 } = serde_json::from_str(text)?;
            let bytes = data_base64.map(|base64| BASE64.decode(base64.as_bytes()));
            event.bytes = bytes.transpose()?;
        }
        Ok(event)
    }

    /// The body, as it was posted.
    #[must_use]
    pub fn body(&self) -> Cow<'_, [u8]> {
        if let Some(bytes) = &self.bytes {
            return Cow::Borrowed(bytes);
        }
        let json = self.data.map_or("", RawValue::get);
        if is_json(&self.content_type) {
            return Cow::Borrowed(json.as_bytes());
        }
        // Text that is not JSON is a JSON string here.
        match serde_json::from_str::<String>(json) {
            Ok(text) => Cow::Owned(text.into_bytes()),
            Err(_) => Cow::Borrowed(json.as_bytes()),
        }
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// Where it is not JSON, or other JSON than a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body())
    }
}

/// A body that is `null` is there.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(content_type: &str, data: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"e-1","source":"/ingest/a","type":"webhook","time":"2026-11-30T08:00:00Z","topic":"a","datacontenttype":"{content_type}","xshop":"1",{data}}}"#
        )
    }

    #[test]
    fn a_body_is_exact_to_the_byte() {
        for (content_type, data, body) in [
            (
                "application/json",
                r#""data":{"a": 1.0}"#,
                &br#"{"a": 1.0}"#[..],
            ),
            ("application/json", r#""data":"text""#, br#""text""#),
            ("application/json", r#""data":null"#, b"null"),
            (
                "application/vnd.x+json; charset=utf-8",
                r#""data":[]"#,
                b"[]",
            ),
            ("text/plain", r#""data":"a\n\u00e9""#, "a\né".as_bytes()),
            (
                "application/octet-stream",
                r#""data_base64":"/wA=""#,
                b"\xff\0",
            ),
            (
                "application/json",
                r#""data_base64":"eyJhIjoxfQ==""#,
                br#"{"a":1}"#,
            ),
        ] {
            let text = envelope(content_type, data);
            let event = CloudEvent::parse(&text).unwrap();
            assert_eq!(event.body(), body, "{text}");
        }
        let text = envelope("application/json", r#""data":{"a":1}"#);
        let read: serde_json::Value = CloudEvent::parse(&text).unwrap().json().unwrap();
        assert_eq!(read["a"], 1);
    }

    #[test]
    fn what_is_none_is_an_error() {
        for text in ["", "{}", "[]", r#"{"id":1,"source":"","type":""}"#] {
            assert!(CloudEvent::parse(text).is_err(), "{text}");
        }
        let text = envelope("a/b", r#""data_base64":"?""#);
        assert!(CloudEvent::parse(&text).is_err());
    }
}
