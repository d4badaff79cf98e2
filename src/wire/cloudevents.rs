//! Events in CloudEvents 1.0 structured JSON ("JSON Event Format for
//! CloudEvents", version 1.0.2).
//!
//! A body that is shown whole is kept to the byte: JSON stands verbatim in
//! `data`, other text is a JSON string, and what is neither goes to
//! `data_base64`.

use std::fmt::Display;

use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::{Value, value::RawValue};

use hookrill_core::{Event, is_json};

use super::{Encoder, View, ndjson};

/// The media type of bytes nobody described (RFC 2046, section 4.5.1).
const OCTETS: &str = "application/octet-stream";
const JSON: &str = "application/json";

/// What a subscriber is shown of an event.
pub(super) struct Shown<'e> {
    pub(super) event: &'e Event,
    /// What is shown instead of its body: JSON that was cut out of it, or that it is.
    pub(super) json: Option<&'e str>,
    pub(super) view: Option<&'e View>,
}

/// How a body stands in the envelope.
enum Data<'a> {
    Json(&'a str),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Data<'a> {
    fn of(event: &'a Event) -> Self {
        let body = &event.draft.body;
        let Ok(text) = std::str::from_utf8(body) else {
            return Self::Bytes(body);
        };
        let content_type = event.draft.content_type.as_deref();
        let valid = || serde_json::from_str::<&RawValue>(text).is_ok();
        match content_type.map(is_json) {
            // A JSON media type makes `data` mean JSON, so that text which is
            // not JSON cannot stand there as a string.
            Some(true) | None if valid() => Self::Json(text),
            Some(false) => Self::Text(text),
            _ => Self::Bytes(body),
        }
    }

    fn media_type(&self, written: Option<&'a str>) -> &'a str {
        match (written, self) {
            (Some(written), _) => written,
            (None, Self::Json(_)) => JSON,
            (None, _) => OCTETS,
        }
    }
}

impl Shown<'_> {
    /// The event as one JSON text in which the body is exact to the byte.
    ///
    /// A JSON body with a carriage return, which SSE cannot carry, goes to
    /// `data_base64`.
    pub(super) fn exact(&self, encoder: &Encoder) -> String {
        let data = match self.data() {
            Data::Json(text) if text.contains('\r') => Data::Bytes(text.as_bytes()),
            data => data,
        };
        let mut out = self.envelope(encoder, &data);
        match data {
            Data::Json(text) => push_member(&mut out, "data", text),
            other => push_other(&mut out, &other),
        }
        out.push('}');
        out
    }

    /// The event as one line: JSON bodies lose white space outside strings, and
    /// what others take for the end of a line is escaped in them.
    pub(super) fn line(&self, encoder: &Encoder) -> Bytes {
        let data = self.data();
        let mut out = self.envelope(encoder, &data);
        match data {
            Data::Json(text) => push_member(&mut out, "data", &compact(text)),
            other => push_other(&mut out, &other),
        }
        out.push('}');
        ndjson::line(out)
    }

    /// The body alone as one line of JSON: as in [`Shown::line`], or as a string where it
    /// is not JSON.
    pub(super) fn raw_line(&self) -> Bytes {
        ndjson::line(match self.data() {
            Data::Json(text) => compact(text),
            Data::Text(text) => Value::from(text).to_string(),
            Data::Bytes(bytes) => Value::from(String::from_utf8_lossy(bytes)).to_string(),
        })
    }

    fn data(&self) -> Data<'_> {
        match self.json {
            Some(json) => Data::Json(json),
            None => Data::of(self.event),
        }
    }

    /// The object up to its data.
    fn envelope(&self, encoder: &Encoder, data: &Data<'_>) -> String {
        let draft = &self.event.draft;
        let mut out = String::with_capacity(draft.body.len() + 320);
        out.push_str(r#"{"specversion":"1.0""#);
        let id = encoder.cursor(self.event.sequence).to_string();
        let ingested_to = self.view.and_then(|view| view.source.as_ref());
        let ingested_to = ingested_to.unwrap_or(&draft.topic);
        let source = format!("{}/ingest/{ingested_to}", encoder.public_url);
        let event_type = match &*draft.event_type {
            "" => "webhook",
            named => named,
        };
        let written = draft.content_type.as_deref();
        // This is JSON, whatever the sender called it.
        let written = written.filter(|written| self.json.is_none() || is_json(written));
        for (name, value) in [
            ("id", &*id),
            ("source", &source),
            ("type", event_type),
            ("time", &draft.received_at.to_string()),
            ("topic", draft.topic.as_str()),
            ("datacontenttype", data.media_type(written)),
        ] {
            push_member(&mut out, name, &Value::from(value).to_string());
        }
        for header in self.view.iter().flat_map(|view| &view.headers) {
            if let Some(value) = header.value(self.event) {
                push_member(
                    &mut out,
                    header.attribute(),
                    &Value::from(value).to_string(),
                );
            }
        }
        out
    }
}

/// What Hookrill itself has to say, as one line: a CloudEvent of type
/// `hookrill.<name>`. Its id is a place to resume from. `name` and `json` need no
/// escape.
pub(super) fn notice_line(name: &str, id: &dyn Display, json: &str, encoder: &Encoder) -> Bytes {
    let id = Value::from(id.to_string());
    let source = Value::from(format!("{}/events", encoder.public_url));
    let line = format!(
        "{{\"specversion\":\"1.0\",\"id\":{id},\"source\":{source},\"type\":\"hookrill.{name}\",\
         \"datacontenttype\":\"application/json\",\"data\":{json}}}"
    );
    ndjson::line(line)
}

fn push_other(out: &mut String, data: &Data<'_>) {
    match data {
        Data::Json(text) | Data::Text(text) => {
            push_member(out, "data", &Value::from(*text).to_string());
        }
        Data::Bytes(bytes) => {
            out.push_str(",\"data_base64\":\"");
            BASE64.encode_append(bytes, out);
            out.push('"');
        }
    }
}

fn push_member(out: &mut String, name: &str, json: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(json);
}

/// Valid JSON without the white space between its tokens.
fn compact(json: &str) -> String {
    let mut in_string = false;
    let mut escaped = false;
    json.chars()
        .filter(|&c| {
            if in_string {
                in_string = escaped || c != '"';
                escaped = c == '\\' && !escaped;
                return true;
            }
            in_string = c == '"';
            !matches!(c, ' ' | '\t' | '\n' | '\r')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ShownHeader;
    use hookrill_core::{Draft, Sequence, Timestamp, TopicMap};

    fn encoder() -> Encoder {
        Encoder {
            epoch: "e".parse().unwrap(),
            public_url: "https://hooks.example.com".into(),
            views: TopicMap::default(),
        }
    }

    fn event(content_type: Option<&str>, body: &[u8]) -> Event {
        Draft {
            received_at: Timestamp::from_unix_ms(0),
            topic: "t".parse().unwrap(),
            event_type: "a\"b\r".into(),
            content_type: content_type.map(Into::into),
            dedup_id: None,
            headers: hookrill_core::HeaderList::default(),
            body: Bytes::copy_from_slice(body),
            original: hookrill_core::Original::default(),
            append_nonce: 0,
        }
        .at(Sequence(9))
    }

    fn whole(event: &Event) -> Shown<'_> {
        Shown {
            event,
            json: None,
            view: None,
        }
    }

    #[test]
    fn the_body_is_exact_to_the_byte() {
        const JSON: Option<&str> = Some("application/json; charset=utf-8");
        const TEXT: Option<&str> = Some("text/plain");
        for (content_type, body, tail) in [
            (
                JSON,
                &b"{\"n\":1.0,\n \"n\":1e2}"[..],
                "\"data\":{\"n\":1.0,\n \"n\":1e2}}",
            ),
            (JSON, b"{\r\n}", "\"data_base64\":\"ew0KfQ==\"}"),
            (JSON, b"not json", "\"data_base64\":\"bm90IGpzb24=\"}"),
            (JSON, b"\"\xff\"", "\"data_base64\":\"Iv8i\"}"),
            (Some("application/vnd.api+JSON"), b"[]", "\"data\":[]}"),
            (TEXT, b"a\r\n\0b", "\"data\":\"a\\r\\n\\u0000b\"}"),
            (TEXT, b"", "\"data\":\"\"}"),
            (TEXT, b"\xff", "\"data_base64\":\"/w==\"}"),
            (
                None,
                b"{}",
                "\"datacontenttype\":\"application/json\",\"data\":{}}",
            ),
            (
                None,
                b"x",
                "\"datacontenttype\":\"application/octet-stream\",\"data_base64\":\"eA==\"}",
            ),
        ] {
            let json = whole(&event(content_type, body)).exact(&encoder());
            assert!(json.ends_with(tail), "{json}");
            assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn the_envelope_names_all_that_the_contract_names() {
        let json = whole(&event(Some("text/plain"), b"b")).exact(&encoder());
        let envelope: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            envelope,
            serde_json::json!({
                "specversion": "1.0", "id": "e-9", "type": "a\"b\r", "topic": "t",
                "source": "https://hooks.example.com/ingest/t",
                "time": "1970-01-01T00:00:00.000Z",
                "datacontenttype": "text/plain", "data": "b",
            })
        );
    }

    #[test]
    fn a_line_loses_white_space_outside_strings_and_nothing_else() {
        let body = b"{ \"a b\" :\r\n[ 1.0 , \"\\\" \\\\\" , 1E+2 ]\t}";
        let line = whole(&event(Some("application/json"), body)).line(&encoder());
        let line = std::str::from_utf8(&line).unwrap();
        assert!(
            line.ends_with("\"data\":{\"a b\":[1.0,\"\\\" \\\\\",1E+2]}}\n"),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }

    #[test]
    fn nothing_but_a_line_feed_ends_a_line_for_anybody() {
        let ends = "\u{85}\u{2028}\u{2029}";
        let json = format!("{{\"{ends}\":\"a{ends}é\\n\"}}");
        let text = format!("a{ends}\r\n\u{b}\u{c}\u{1c}\u{1d}\u{1e}b");
        for (content_type, body) in [("application/json", &json), ("text/plain", &text)] {
            let mut event = event(Some(content_type), body.as_bytes());
            event.draft.event_type = format!("t{ends}").into();
            let line = whole(&event).line(&encoder());
            let line = std::str::from_utf8(&line).unwrap();
            let inner = line.strip_suffix('\n').unwrap();
            // All that Python's `str.splitlines` cuts at.
            let cut = |c: char| matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}') || ends.contains(c);
            assert!(!inner.contains(cut), "{inner:?}");
            let read: Value = serde_json::from_str(inner).unwrap();
            let data = match serde_json::from_str::<Value>(body) {
                Ok(parsed) => parsed,
                Err(_) => Value::from(&**body),
            };
            assert_eq!(read["data"], data);
            assert_eq!(read["type"], format!("t{ends}"));
        }
    }

    #[test]
    fn a_cut_body_is_json_and_chosen_headers_go_out() {
        let mut event = event(Some("text/plain"), b"{\"a\":1,\"s\":2}");
        event.draft.headers = [
            ("x-a", "1"),
            ("x-b", "2"),
            ("x-a", "\"3"),
            ("x-secret", "4"),
        ]
        .into_iter()
        .collect();
        let names = ["X-A", "X-C", "x-b"];
        let view = View {
            headers: names.map(|name| ShownHeader::new(name).unwrap()).into(),
            source: Some("above".parse().unwrap()),
            ..View::default()
        };
        let shown = Shown {
            event: &event,
            json: Some(r#"{"a":1}"#),
            view: Some(&view),
        };
        let line = shown.line(&encoder());
        let envelope: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(
            envelope,
            serde_json::json!({
                "specversion": "1.0", "id": "e-9", "type": "a\"b\r", "topic": "t",
                "source": "https://hooks.example.com/ingest/above",
                "time": "1970-01-01T00:00:00.000Z", "xa": "1, \"3", "xb": "2",
                "datacontenttype": "application/json", "data": {"a": 1},
            })
        );
        assert_eq!(
            shown.exact(&encoder()).as_bytes(),
            line.strip_suffix(b"\n").unwrap()
        );
    }
}
