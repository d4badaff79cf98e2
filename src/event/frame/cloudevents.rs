//! Events in CloudEvents 1.0 structured JSON ("JSON Event Format for
//! CloudEvents", version 1.0.2).
//!
//! The body is kept to the byte: JSON stands verbatim in `data`, other text is
//! a JSON string, and what is neither goes to `data_base64`.

use bytes::Bytes;
use data_encoding::BASE64;
use serde_json::{Value, value::RawValue};

use super::{Cursor, Encoder, Event, Gap};

/// The media type of bytes nobody described (RFC 2046, section 4.5.1).
const OCTETS: &str = "application/octet-stream";

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
            (None, Self::Json(_)) => "application/json",
            (None, _) => OCTETS,
        }
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// The event as one JSON text in which the body is exact to the byte.
///
/// A JSON body with a carriage return, which SSE cannot carry, goes to
/// `data_base64`.
pub(super) fn exact(event: &Event, encoder: &Encoder) -> String {
    let mut out = String::with_capacity(event.draft.body.len() + 320);
    let data = match Data::of(event) {
        Data::Json(text) if text.contains('\r') => Data::Bytes(text.as_bytes()),
        data => data,
    };
    push_envelope(&mut out, event, encoder, &data);
    match data {
        Data::Json(text) => push_member(&mut out, "data", text),
        other => push_other(&mut out, &other),
    }
    out.push('}');
    out
}

/// The event as one line: JSON bodies lose white space outside strings and
/// nothing else.
pub(super) fn line(event: &Event, encoder: &Encoder) -> Bytes {
    let mut out = String::with_capacity(event.draft.body.len() + 320);
    let data = Data::of(event);
    push_envelope(&mut out, event, encoder, &data);
    match data {
        Data::Json(text) => push_member(&mut out, "data", &compact(text)),
        other => push_other(&mut out, &other),
    }
    out.push_str("}\n");
    out.into()
}

/// A gap as one line: a CloudEvent of type `hookrill.gap`.
#[must_use]
pub fn gap_line(gap: &Gap, encoder: &Encoder) -> Bytes {
    control_line("gap", gap.resumed, &gap.json(), encoder)
}

/// As one line that the stream's token ends in so many seconds: a CloudEvent
/// of type `hookrill.expiring`. The stream may be resumed from its id.
#[must_use]
pub fn expiring_line(at: Cursor, secs: u64, encoder: &Encoder) -> Bytes {
    control_line("expiring", at, &format!("{{\"seconds\":{secs}}}"), encoder)
}

/// What Hookrill itself has to say; `name` and `json` need no escape.
fn control_line(name: &str, id: Cursor, json: &str, encoder: &Encoder) -> Bytes {
    let source = Value::from(format!("{}/events", encoder.public_url));
    format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":{source},\"type\":\"hookrill.{name}\",\
         \"datacontenttype\":\"application/json\",\"data\":{json}}}\n"
    )
    .into()
}

fn push_envelope(out: &mut String, event: &Event, encoder: &Encoder, data: &Data<'_>) {
    let draft = &event.draft;
    out.push_str(r#"{"specversion":"1.0""#);
    let id = encoder.cursor(event.sequence).to_string();
    let source = format!("{}/ingest/{}", encoder.public_url, draft.topic);
    let event_type = match &*draft.event_type {
        "" => "webhook",
        named => named,
    };
    let media_type = data.media_type(draft.content_type.as_deref());
    for (name, value) in [
        ("id", &*id),
        ("source", &source),
        ("type", event_type),
        ("time", &draft.received_at.to_string()),
        ("topic", draft.topic.as_str()),
        ("datacontenttype", media_type),
    ] {
        push_member(out, name, &Value::from(value).to_string());
    }
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
    use crate::event::{Draft, Sequence, Timestamp, TopicMap};

    fn encoder() -> Encoder {
        Encoder {
            epoch: "e".parse().unwrap(),
            public_url: "https://hooks.example.com".into(),
            event_names: TopicMap::default(),
        }
    }

    fn event(content_type: Option<&str>, body: &[u8]) -> Event {
        Draft {
            received_at: Timestamp::from_unix_ms(0),
            topic: "t".parse().unwrap(),
            event_type: "a\"b\r".into(),
            content_type: content_type.map(Into::into),
            dedup_id: None,
            headers: vec![],
            body: Bytes::copy_from_slice(body),
        }
        .at(Sequence(9))
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
            let json = exact(&event(content_type, body), &encoder());
            assert!(json.ends_with(tail), "{json}");
            assert!(serde_json::from_str::<Value>(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn the_envelope_names_all_that_the_contract_names() {
        let json = exact(&event(Some("text/plain"), b"b"), &encoder());
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
        let line = line(&event(Some("application/json"), body), &encoder());
        let line = std::str::from_utf8(&line).unwrap();
        assert!(
            line.ends_with("\"data\":{\"a b\":[1.0,\"\\\" \\\\\",1E+2]}}\n"),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }
}
