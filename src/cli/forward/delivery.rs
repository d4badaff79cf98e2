//! A delivery as the gateway hands it out, and what a request to a program is made of.
//!
//! Trusts the gateway with nothing: what it says is shown only as printable text, and its
//! ids are cursors before they name a file. Invariant: the body is what came, byte for
//! byte.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use data_encoding::BASE64;
use hookrill_core::{Cursor, Timestamp, Topic, printable};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST,
        PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
};
use serde::Deserialize;

/// The most characters of a type that are shown.
const TYPE_CHARS_MAX: usize = 60;

/// A delivery that a gateway has stored.
#[derive(Debug, Clone)]
pub(super) struct StoredDelivery {
    pub(super) id: Cursor,
    pub(super) topic: Topic,
    /// The type, if it has one, as it may be shown.
    pub(super) event_type: String,
    pub(super) arrived: Timestamp,
    pub(super) method: Method,
    /// The path below its topic and the query.
    pub(super) tail: String,
    /// Without those that are of the connection it came over.
    pub(super) headers: HeaderMap,
    /// Whether there were more headers.
    pub(super) is_cut: bool,
    pub(super) body: Bytes,
    /// Names of headers that the gateway has not kept.
    pub(super) omitted: BTreeSet<String>,
}

/// The same on the wire.
#[derive(Deserialize)]
struct WireDelivery {
    id: String,
    topic: String,
    #[serde(default, rename = "type")]
    event_type: Option<String>,
    time: String,
    method: String,
    #[serde(default)]
    target: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    headers_cut: bool,
    body_base64: String,
    #[serde(default)]
    omitted: Vec<String>,
}

impl StoredDelivery {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// Where it is none; nothing of it is repeated.
    pub(super) fn from_json(json: &[u8]) -> anyhow::Result<Self> {
        const NOT_ONE: &str = "the gateway sent something that is not a delivery; is it older \
                               than this program?";
        let wire: WireDelivery = match serde_json::from_slice(json) {
            Ok(wire) => wire,
            Err(_) => bail!(NOT_ONE),
        };
        let arrived = humantime::parse_rfc3339(&wire.time).context(NOT_ONE)?;
        let method = method(&wire.method).context(NOT_ONE)?;
        if !is_tail(&wire.target) {
            bail!(NOT_ONE);
        }
        let body = BASE64.decode(wire.body_base64.as_bytes()).ok();
        Ok(Self {
            id: wire.id.parse().ok().context(NOT_ONE)?,
            topic: wire.topic.parse().ok().context(NOT_ONE)?,
            event_type: printable(wire.event_type.as_deref().unwrap_or(""), TYPE_CHARS_MAX),
            arrived: arrived.into(),
            method,
            tail: wire.target,
            headers: headers(&wire.headers),
            is_cut: wire.headers_cut,
            body: body.context(NOT_ONE)?.into(),
            omitted: wire
                .omitted
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
        })
    }

    /// What names its file: a cursor has no character that a path or a shell would act
    /// upon.
    pub(super) fn name(&self) -> String {
        let name = self.id.to_string();
        debug_assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "{name} is a cursor"
        );
        name
    }
}

/// A method that a request can have whose answer is an answer.
fn method(text: &str) -> Option<Method> {
    let method: Method = text.parse().ok()?;
    (method != Method::CONNECT && method != Method::TRACE).then_some(method)
}

/// Whether this can follow a path.
fn is_tail(text: &str) -> bool {
    let is_beginning = text.is_empty() || text.starts_with(['/', '?']);
    is_beginning
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte >= 0x80)
}

/// The headers that are the sender's own, in their order.
fn headers(pairs: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes());
        // One that can't be sent was never received.
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    }
    let listed = headers.get_all(CONNECTION).iter();
    let listed = listed.filter_map(|value| value.to_str().ok());
    let hops: Vec<HeaderName> = listed
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in hops.iter().chain(&LEFT_OUT) {
        headers.remove(name);
    }
    for name in LEFT_OUT_TOO
        .iter()
        .filter_map(|name| name.parse::<HeaderName>().ok())
    {
        headers.remove(name);
    }
    headers
}

/// Those of one connection (RFC 9110, 7.6.1), those that say where it went, and those
/// that let somebody in.
const LEFT_OUT: [HeaderName; 13] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HOST,
    CONTENT_LENGTH,
    EXPECT,
    FORWARDED,
    AUTHORIZATION,
    COOKIE,
];
/// Those of them that have no constant.
const LEFT_OUT_TOO: [&str; 8] = [
    "keep-alive",
    "proxy-connection",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-forwarded-prefix",
];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One that came to `orders`, with these changes.
    pub(in super::super) fn wire(changes: serde_json::Value) -> Vec<u8> {
        let mut wire = serde_json::json!({
            "id": "e-7", "topic": "orders", "type": "order.paid",
            "time": "2026-11-30T12:00:00.000Z", "method": "POST", "target": "/x?y=1",
            "headers": [["content-type", "application/json"]], "headers_cut": false,
            "body_base64": BASE64.encode(b"{}"), "omitted": [],
        });
        if let (Some(wire), serde_json::Value::Object(changes)) = (wire.as_object_mut(), changes) {
            wire.extend(changes);
        }
        wire.to_string().into_bytes()
    }

    pub(in super::super) fn stored(changes: serde_json::Value) -> StoredDelivery {
        StoredDelivery::from_json(&wire(changes)).unwrap()
    }

    #[test]
    fn a_delivery_is_read_with_every_byte_of_its_body() {
        let body: Vec<u8> = (0..=255).collect();
        let stored = stored(serde_json::json!({
            "body_base64": BASE64.encode(&body), "type": null, "omitted": ["Authorization"],
        }));
        assert_eq!(stored.body, body);
        assert_eq!(stored.event_type, "");
        assert_eq!(stored.arrived.unix_secs(), 1_796_040_000);
        assert!(stored.omitted.contains("authorization"));
        assert_eq!(stored.name(), "e-7");
    }

    #[test]
    fn what_belongs_to_the_connection_is_left_out_and_the_rest_stays_in_order() {
        let stored = stored(serde_json::json!({"headers": [
            ["Host", "hooks.example.com"], ["Content-Length", "2"], ["Connection", "close, X-Hop"],
            ["X-Hop", "1"], ["X-Forwarded-For", "192.0.2.1"], ["Forwarded", "for=192.0.2.1"],
            ["Authorization", "Bearer a"], ["Cookie", "a=b"], ["Transfer-Encoding", "chunked"],
            ["X-B", "1"], ["X-A", "\u{e9}"], ["X-B", "2"], ["Content-Encoding", "gzip"],
            ["bad name", "x"], ["X-Bad", "a\r\nb"], ["X-Empty", ""],
        ]}));
        let kept: Vec<_> = stored.headers.iter().collect();
        let kept = kept
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        assert_eq!(
            kept.collect::<Vec<_>>(),
            [
                "x-b: 1",
                "x-b: 2",
                "x-a: \u{e9}",
                "content-encoding: gzip",
                "x-empty: "
            ]
        );
    }

    #[test]
    fn what_a_gateway_makes_up_is_refused_and_not_repeated() {
        for changes in [
            serde_json::json!({"id": "../../etc/passwd"}),
            serde_json::json!({"id": "e-1\u{1b}[2J"}),
            serde_json::json!({"id": ""}),
            serde_json::json!({"topic": "a/b"}),
            serde_json::json!({"time": "noon"}),
            serde_json::json!({"method": "CONNECT"}),
            serde_json::json!({"method": "GET / HTTP/1.1\r\n"}),
            serde_json::json!({"target": "@evil.example/"}),
            serde_json::json!({"target": "/a b"}),
            serde_json::json!({"target": "/a\r\nX: y"}),
            serde_json::json!({"body_base64": "%"}),
            serde_json::json!({"headers": "no"}),
        ] {
            let error = StoredDelivery::from_json(&wire(changes.clone())).unwrap_err();
            let said = format!("{error:#}");
            assert!(said.contains("not a delivery"), "{changes}: {said}");
            assert!(!said.contains(['\u{1b}', '\r']), "{changes}: {said}");
        }
        assert!(StoredDelivery::from_json(b"{\"order\":1}").is_err());
        let hostile = stored(serde_json::json!({"type": "\u{1b}]0;x\u{7}push"}));
        assert!(!hostile.event_type.contains(['\u{1b}', '\u{7}']));
    }
}
