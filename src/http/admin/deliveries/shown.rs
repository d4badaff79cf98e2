//! How deliveries are written for the operator: in lists, and in full.
//!
//! Everything a stranger sent is hostile: texts are cut, and have no character that a
//! terminal or a page would act upon. Invariant: what is shown of a request goes through
//! the `Confidential` of the scheme that it came to, of the one in use now, and of names
//! in general; for what no section covers, of all schemes that are known.

use std::borrow::Cow;

use data_encoding::{BASE64, HEXLOWER};
use hookrill_core::{Cursor, Epoch, Event, Timestamp, printable};
use hookrill_verify::{Confidential, ShownValue, presets};
use http::HeaderName;
use serde_json::{Value, json};

use crate::{
    http::{
        Gateway,
        request_log::{shown_error, shown_topic},
    },
    recent::{AttemptKind, KeptAttempt, ListedAttempt},
};

/// The longest text that is shown, in characters.
const TEXT_CHARS_MAX: usize = 16 * 1024;
/// How much of a body is shown with its delivery, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
const INGEST: &str = "/ingest/";

/// The letter that ids of this kind begin with.
pub(super) const fn letter(kind: AttemptKind) -> char {
    match kind {
        AttemptKind::Refused => 'r',
        AttemptKind::Duplicate => 'd',
        AttemptKind::Handshake => 'h',
    }
}

pub(super) const fn outcome(kind: AttemptKind) -> &'static str {
    match kind {
        AttemptKind::Refused => "refused",
        AttemptKind::Duplicate => "duplicate",
        AttemptKind::Handshake => "handshake",
    }
}

/// What is not stored, as a line of a list.
pub(super) fn attempt_row(listed: &ListedAttempt) -> Value {
    let ListedAttempt {
        attempt,
        count,
        last,
        ..
    } = listed;
    let summary = &attempt.summary;
    let event = attempt.taken_as().or(summary.event);
    json!({
        "id": format!("{}-{}", letter(summary.kind), attempt.number),
        "at": summary.at.to_string(),
        "outcome": outcome(summary.kind),
        "topic": shown_topic(&summary.topic),
        "section": summary.section.as_deref(),
        "type": null,
        "address": summary.address,
        "bytes": summary.body_bytes,
        "reason": summary.reason,
        "count": count,
        "last": last.to_string(),
        "event": event.as_ref().map(ToString::to_string),
    })
}

/// An event, as a line of a list.
pub(super) fn event_row(gateway: &Gateway, epoch: Epoch, event: &Event) -> Value {
    let draft = &event.draft;
    let sequence = event.sequence;
    let section = gateway.ingest.section(&draft.topic);
    let at: Timestamp = draft.received_at;
    json!({
        "id": Cursor { epoch, sequence }.to_string(),
        "at": at.to_string(),
        "outcome": "stored",
        "topic": draft.topic.as_str(),
        "section": section.as_ref().map(|section| &**section.name()),
        "type": printable(&draft.event_type, TEXT_CHARS_MAX),
        "address": null,
        "bytes": draft.body.len(),
        "reason": null,
        "count": 1,
        "last": at.to_string(),
        "event": null,
    })
}

/// What may be shown of an attempt's request.
pub(super) struct ShownRequest<'a> {
    attempt: &'a KeptAttempt,
    confidential: Confidential,
}

impl<'a> ShownRequest<'a> {
    pub(super) fn new(gateway: &Gateway, attempt: &'a KeptAttempt) -> Self {
        let topic = attempt.summary.topic.parse().ok();
        let route = topic.and_then(|topic| gateway.ingest.route_of(&topic));
        let mut confidential = Confidential::default();
        if let Some(then) = &attempt.request.confidential {
            confidential = confidential.and(then);
        }
        if let Some(route) = &route {
            confidential = confidential.and(&route.confidential());
        }
        if attempt.summary.section.is_none() {
            let known = gateway.confidential.get_or_init(of_all_presets);
            confidential = confidential.and(known);
        }
        Self {
            attempt,
            confidential,
        }
    }

    /// The body without what is confidential; `None` where that can't be told apart.
    pub(super) fn body(&self) -> Option<Cow<'a, [u8]>> {
        let request = &self.attempt.request;
        self.confidential.body(&request.body, request.body_is_cut)
    }

    /// Whether bytes that were made of this request may be shown: only where nothing of it is
    /// in them that is not shown itself.
    pub(super) fn may_show(&self, made: &[u8]) -> bool {
        let request = &self.attempt.request;
        let is_whole = self.body().is_some_and(|shown| *shown == *request.body);
        is_whole
            && self.target() == request.target()
            && request.headers().all(|(name, value)| {
                value.is_empty()
                    || self.is_shown_whole(name, value)
                    || memchr::memmem::find(made, value).is_none()
            })
    }

    fn is_shown_whole(&self, name: &[u8], value: &[u8]) -> bool {
        HeaderName::from_bytes(name).is_ok_and(|name| {
            match self.confidential.header(&name, value) {
                ShownValue::Text(text) => text.as_bytes() == value,
                ShownValue::Bytes(_) => false,
            }
        })
    }

    /// Path and query, without what may be a token in them.
    fn target(&self) -> String {
        let target = self.attempt.request.target();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let mut shown = match path.strip_prefix(INGEST) {
            Some(topic) => format!("{INGEST}{}", shown_topic(topic)),
            None => printable(path, TEXT_CHARS_MAX),
        };
        if let Some(query) = query {
            let query = self.confidential.target(&format!("?{query}"));
            shown.push_str(&printable(&query, TEXT_CHARS_MAX));
        }
        shown
    }

    fn header(&self, name: &[u8], value: &[u8]) -> Value {
        let shown = match HeaderName::from_bytes(name) {
            Ok(name) => self.confidential.header(&name, value),
            Err(_) => ShownValue::Bytes(value.len()),
        };
        let text = match shown {
            ShownValue::Text(text) => printable(&text, TEXT_CHARS_MAX),
            ShownValue::Bytes(bytes) => format!("‹redacted, {bytes} bytes›"),
        };
        json!([String::from_utf8_lossy(name), text])
    }

    /// All that is shown of it beside its line.
    pub(super) fn add_to(&self, row: &mut Value) {
        let (request, summary) = (&self.attempt.request, &self.attempt.summary);
        let error = summary.error.as_deref();
        row["error"] = error
            .map(|error| printable(&shown_error(error, &summary.topic), TEXT_CHARS_MAX))
            .into();
        row["request"] = Value::Null;
        if !request.is_kept {
            return;
        }
        let headers: Vec<_> = request
            .headers()
            .map(|(name, value)| self.header(name, value))
            .collect();
        row["request"] = json!({
            "method": printable(request.method(), TEXT_CHARS_MAX),
            "target": self.target(),
            "target_cut": request.target_is_cut,
            "headers": headers,
            "headers_left_out": request.headers_left_out,
            "body": self.body_json(),
        });
    }

    fn body_json(&self) -> Value {
        let (request, summary) = (&self.attempt.request, &self.attempt.summary);
        if !summary.is_read {
            return Value::Null;
        }
        let body = self.body();
        // Of what is cut out of it, its hash would let words be guessed.
        let is_whole = body.as_deref().is_some_and(|shown| *shown == *request.body);
        let sha256 = self.attempt.body_sha256.get().filter(|_| is_whole);
        json!({
            "bytes": summary.body_bytes,
            "base64": body.as_deref().map(|body| BASE64.encode(body)),
            "cut": request.body_is_cut,
            "withheld": body.is_none(),
            "sha256": sha256.map(|hash| HEXLOWER.encode(hash)),
        })
    }
}

fn of_all_presets() -> Confidential {
    let presets = presets();
    Confidential::of_schemes(presets.iter().map(|preset| &preset.scheme))
}

/// The kept headers and the body of an event.
pub(super) fn event_request(event: &Event) -> Value {
    let draft = &event.draft;
    let body = &draft.body[..draft.body.len().min(BODY_BYTES_MAX)];
    let headers: Vec<_> = draft
        .headers
        .iter()
        .map(|(name, value)| json!([name, printable(value, TEXT_CHARS_MAX)]))
        .collect();
    let original = &draft.original;
    json!({
        "method": &*original.method,
        "target": printable(&original.target, TEXT_CHARS_MAX),
        "headers": headers,
        "headers_cut": original.headers_cut,
        "body": {
            "bytes": draft.body.len(),
            "base64": BASE64.encode(body),
            "cut": body.len() < draft.body.len(),
        },
    })
}
