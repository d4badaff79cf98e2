//! Deliveries as they came, for those who may have them: exact bytes, method, target, and
//! all headers that are kept.
//!
//! The one place in this room that reads an event's [`Proof`](hookrill_core::Proof). Three
//! texts: Hookrill's own, that of smee (<https://github.com/probot/smee-client>), and that
//! of gosmee (<https://github.com/chmouel/gosmee>).

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::BASE64;
use hookrill_core::{Draft, Event};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json, value::RawValue};

use super::Encoder;

/// What their members in smee's texts are called, which no header may replace.
const SMEE_MEMBERS: [&str; 3] = ["body", "query", "timestamp"];
/// About one connection, or about bytes that a client of smee does not send on.
const OF_ONE_HOP: [&str; 5] = [
    "connection",
    "content-length",
    "host",
    "te",
    "transfer-encoding",
];

/// The delivery as one JSON object.
pub(super) fn delivery(event: &Event, encoder: &Encoder) -> String {
    let draft = &event.draft;
    let original = &draft.original;
    let omitted = original.omitted.split(',').filter(|name| !name.is_empty());
    let head = json!({
        "id": encoder.cursor(event.sequence).to_string(),
        "topic": draft.topic.as_str(),
        "type": &*draft.event_type,
        "time": draft.received_at.to_string(),
        "method": &*original.method,
        "target": &*original.target,
        "headers": headers(draft).collect::<Vec<_>>(),
        "headers_cut": original.headers_cut,
        "omitted": omitted.collect::<Vec<_>>(),
    });
    with_base64(head.to_string(), "body_base64", body(draft))
}

/// The body as it was sent.
pub(super) fn body(draft: &Draft) -> &Bytes {
    draft.original.sent.as_ref().unwrap_or(&draft.body)
}

/// The delivery as smee's clients read it: headers beside `body`, which is JSON. They
/// write that anew before they send it on.
pub(super) fn smee(event: &Event, json: Option<&str>) -> String {
    let draft = &event.draft;
    let mut text = smee_headers(draft, &["content-encoding"]);
    text.insert("query".into(), query(&draft.original.target));
    text.insert("timestamp".into(), draft.received_at.unix_ms().into());
    let body = json.map_or_else(|| json_body(&draft.body), Cow::Borrowed);
    with_member(Value::from(text).to_string(), "body", &body)
}

/// The delivery as gosmee's client reads it: headers beside `bodyB`, which has the exact
/// bytes. It takes one of both bodies, and any if it is sent two.
pub(super) fn gosmee(event: &Event) -> String {
    let draft = &event.draft;
    let mut text = smee_headers(draft, &[]);
    let at = draft.received_at.unix_ms().to_string();
    text.insert("timestamp".into(), at.into());
    with_base64(Value::from(text).to_string(), "bodyB", body(draft))
}

/// All headers that are kept, those of the proof behind the others.
fn headers(draft: &Draft) -> impl Iterator<Item = (&str, &str)> {
    let proof = draft.original.proof.headers();
    draft.headers.iter().chain(proof.iter())
}

fn smee_headers(draft: &Draft, left_out: &[&str]) -> Map<String, Value> {
    let mut members = Map::new();
    for (name, value) in headers(draft) {
        if [&SMEE_MEMBERS[..], &OF_ONE_HOP, left_out]
            .iter()
            .any(|names| names.contains(&name))
        {
            continue;
        }
        match members.get_mut(name) {
            // Several lines are one list (RFC 9110, section 5.3).
            Some(Value::String(lines)) => {
                lines.push_str(", ");
                lines.push_str(value);
            }
            _ => _ = members.insert(name.into(), value.into()),
        }
    }
    members
}

/// The parameters of a target's query; one that is there several times has a list.
fn query(target: &str) -> Value {
    let mut members = Map::new();
    let (_, pairs) = target.split_once('?').unwrap_or_default();
    for pair in pairs.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = Value::from(decoded(value));
        let name = decoded(name);
        match members.get_mut(&name) {
            None => _ = members.insert(name, value),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.take(), value]),
        }
    }
    members.into()
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// The body where JSON has to stand: itself, or its text as a string.
fn json_body(body: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(body);
    match text {
        Cow::Borrowed(text) if serde_json::from_str::<&RawValue>(text).is_ok() => text.into(),
        text => Value::from(text).to_string().into(),
    }
}

fn with_base64(object: String, name: &str, bytes: &[u8]) -> String {
    let mut member = String::with_capacity(bytes.len() * 4 / 3 + 8);
    member.push('"');
    BASE64.encode_append(bytes, &mut member);
    member.push('"');
    with_member(object, name, &member)
}

/// The object, which is not empty, with one member more.
fn with_member(mut object: String, name: &str, json: &str) -> String {
    debug_assert!(
        object.len() > 2 && object.ends_with('}'),
        "an object with members"
    );
    object.pop();
    for part in [",\"", name, "\":", json, "}"] {
        object.push_str(part);
    }
    object
}

#[cfg(test)]
mod tests {
    use hookrill_core::{HeaderList, Original, Proof, Sequence, Timestamp, TopicMap};

    use super::*;

    fn event(body: &'static [u8], target: &str, lines: &[(&str, &str)]) -> Event {
        let draft = Draft {
            received_at: Timestamp::from_unix_ms(1_700_000_000_123),
            topic: "a.b".parse().unwrap(),
            event_type: "push\"\n".into(),
            content_type: None,
            dedup_id: None,
            headers: lines.iter().copied().collect::<HeaderList>(),
            body: Bytes::from_static(body),
            original: Original {
                target: target.into(),
                proof: Proof::new([("x-hub-signature-256", "sha256=ab")].into_iter().collect()),
                omitted: "authorization,cookie".into(),
                ..Original::default()
            },
            append_nonce: 0,
        };
        draft.at(Sequence(7))
    }

    fn encoder() -> Encoder {
        Encoder {
            epoch: "e".parse().unwrap(),
            public_url: "".into(),
            views: TopicMap::default(),
        }
    }

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_delivery_is_told_to_the_byte() {
        let mut event = event(
            b"\xef\xbb\xbf{\"a\": 1.0}\r\n\0",
            "/?b=1",
            &[("x-a", "1"), ("x-a", "\"2")],
        );
        let told = read(&delivery(&event, &encoder()));
        let expected = json!({
            "id": "e-7",
            "topic": "a.b",
            "type": "push\"\n",
            "time": "2023-11-14T22:13:20.123Z",
            "method": "POST",
            "target": "/?b=1",
            "headers": [["x-a", "1"], ["x-a", "\"2"], ["x-hub-signature-256", "sha256=ab"]],
            "headers_cut": false,
            "omitted": ["authorization", "cookie"],
            "body_base64": BASE64.encode(&event.draft.body),
        });
        assert_eq!(told, expected);
        event.draft.original.sent = Some(Bytes::from_static(b"\x1f\x8b"));
        event.draft.original.omitted = "".into();
        let again = read(&delivery(&event, &encoder()));
        assert_eq!(again["body_base64"], BASE64.encode(b"\x1f\x8b"));
        assert_eq!(again["omitted"], json!([]));
    }

    #[test]
    fn smee_gets_json_whatever_the_body_is() {
        for (body, json, expected) in [
            (
                &b"{\"n\": 1.0, \"n\":1e400}"[..],
                None,
                "{\"n\": 1.0, \"n\":1e400}",
            ),
            (b"[1]", None, "[1]"),
            (b"", None, "\"\""),
            (b"a=1&b", None, "\"a=1&b\""),
            (b"a=1&b", Some("{\"a\":\"1\"}"), "{\"a\":\"1\"}"),
            (b"\xff\0", None, "\"\u{fffd}\\u0000\""),
        ] {
            let text = smee(&event(body, "", &[]), json);
            assert!(text.ends_with(&format!(",\"body\":{expected}}}")), "{text}");
        }
    }

    #[test]
    fn smee_gets_headers_query_and_time_and_no_header_in_their_place() {
        let lines = [
            ("x-a", "1"),
            ("x-a", "2"),
            ("host", "h"),
            ("body", "no"),
            ("query", "no"),
            ("timestamp", "no"),
            ("content-encoding", "gzip"),
            ("content-length", "9"),
        ];
        let event = event(b"{}", "?a=1&b=x+y%20%C3%A9&a=2&c", &lines);
        let expected = json!({
            "x-a": "1, 2",
            "x-hub-signature-256": "sha256=ab",
            "query": {"a": ["1", "2"], "b": "x y é", "c": ""},
            "timestamp": 1_700_000_000_123_u64,
            "body": {},
        });
        assert_eq!(read(&smee(&event, None)), expected);
        let of_gosmee = json!({
            "x-a": "1, 2",
            "x-hub-signature-256": "sha256=ab",
            "content-encoding": "gzip",
            "timestamp": "1700000000123",
            "bodyB": "e30=",
        });
        assert_eq!(read(&gosmee(&event)), of_gosmee);
    }
}
