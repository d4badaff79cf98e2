//! A gateway that says what a test wants it to say, true or not.

use std::{io::Write as _, net::TcpStream};

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::app::{FakeApp, Request, answer, hold};

/// What opens a stream at this place of the journal.
pub(super) fn opening(sequence: u64) -> String {
    format!("event: hookrill.cursor\nretry: 50\nid: e-{sequence}\ndata: {{}}\n\n")
}

/// What comes right after what was stored.
pub(super) fn live(sequence: u64) -> String {
    format!("event: hookrill.cursor\nid: e-{sequence}\ndata: {{\"live\":true}}\n\n")
}

/// A delivery of the topic `orders`, with these changes.
pub(super) fn delivery(sequence: u64, changes: Value) -> Value {
    let mut delivery = json!({
        "id": format!("e-{sequence}"), "topic": "orders", "type": "order.paid",
        "time": "2026-11-30T12:00:00.000Z", "method": "POST", "target": "",
        "headers": [["content-type", "application/json"], ["x-number", sequence.to_string()]],
        "headers_cut": false, "body_base64": BASE64.encode(b"{}"), "omitted": [],
    });
    if let (Some(delivery), Value::Object(changes)) = (delivery.as_object_mut(), changes) {
        delivery.extend(changes);
    }
    delivery
}

/// The same as an event of a stream.
pub(super) fn event(sequence: u64, changes: Value) -> String {
    format!(
        "id: e-{sequence}\ndata: {}\n\n",
        delivery(sequence, changes)
    )
}

/// An answer of a gateway that refuses.
pub(super) fn refusal(status: &str, detail: &str) -> String {
    let body = json!({ "detail": detail }).to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nContent-Length: {length}\r\n\
         \r\n{body}"
    )
}

/// What a gateway does with a request.
pub(super) enum Reply {
    /// Opens a stream with these blocks and leaves it open.
    Stream(String),
    /// The same, and closes it.
    Cut(String),
    /// These bytes.
    Bytes(String),
}

/// A gateway that says what it is told.
pub(super) struct FakeGateway(FakeApp);

impl FakeGateway {
    /// One that replies to requests by their number.
    pub(super) fn start(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self(FakeApp::start(move |stream, number| match reply(number) {
            Reply::Stream(text) => {
                stream_of(stream, &text);
                hold(stream);
            }
            Reply::Cut(text) => stream_of(stream, &text),
            Reply::Bytes(text) => _ = stream.write_all(text.as_bytes()),
        }))
    }

    /// One that opens its first stream with this, and further ones with nothing.
    pub(super) fn streaming(text: String) -> Self {
        Self::start(move |number| match number {
            1 => Reply::Stream(text.clone()),
            _ => Reply::Stream(String::new()),
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(super) fn next_request(&self) -> Request {
        self.0.next()
    }
}

fn stream_of(stream: &mut TcpStream, text: &str) {
    answer(stream, "200 OK", "Content-Type: text/event-stream", text);
}
