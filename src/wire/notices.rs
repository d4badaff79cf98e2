//! What Hookrill itself says in a stream, in the format of that stream.
//!
//! Everything else on the wire is an event. Invariant: every notice has data, which
//! is JSON, so naive clients can parse all that they are handed.

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use hookrill_core::Cursor;
use serde_json::json;

use super::{AskedFrom, Encoder, Format, Gap, Withheld, cloudevents::notice_line, sse};

/// What a cursor says in addition to where a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// All that was stored before the stream was opened was sent.
    Live,
    /// Nothing.
    Unsaid,
}

impl Liveness {
    fn json(self) -> &'static str {
        match self {
            Self::Live => r#"{"live":true}"#,
            Self::Unsaid => "{}",
        }
    }
}

/// The first bytes of a stream that begins at `at`, or behind `gap`. Clients are
/// to wait `retry` before they reconnect.
///
/// With a gap a client keeps the id that it came with until it has the gap: cut
/// off in between, it is told again.
#[must_use]
pub fn opening(
    format: Format,
    at: Cursor,
    liveness: Liveness,
    retry: Duration,
    gap: Option<&Gap>,
    encoder: &Encoder,
) -> Vec<u8> {
    let begin: &dyn Display = gap.map_or(&at, |gap| &gap.asked);
    let cursor = if format.is_lines() {
        notice_line("cursor", begin, liveness.json(), encoder)
    } else {
        let name = opening_name(format);
        sse::notice_with_retry(name, Some(begin), millis(retry), liveness.json())
    };
    let mut opening = Vec::from(cursor);
    if let Some(told) = gap {
        opening.extend_from_slice(&self::gap(format, told, encoder));
    }
    opening
}

/// A sign of life, which moves the client's last id to `at`.
#[must_use]
pub fn cursor(format: Format, at: Cursor, liveness: Liveness, encoder: &Encoder) -> Bytes {
    notice(format, "cursor", at, liveness.json(), encoder)
}

/// A stretch of history that the subscriber asked for and can't be given.
#[must_use]
pub fn gap(format: Format, gap: &Gap, encoder: &Encoder) -> Bytes {
    notice(format, "gap", gap.resumed, &gap.json(), encoder)
}

/// Stands in for an event that is not shown, so that there is no silent hole.
#[must_use]
pub fn withheld(format: Format, id: Cursor, why: Withheld, encoder: &Encoder) -> Bytes {
    notice(format, "withheld", id, &why.json(), encoder)
}

/// The subscriber's token expires in `secs` seconds; the stream can be resumed
/// from `at`.
#[must_use]
pub fn expiring(format: Format, at: Cursor, secs: u64, encoder: &Encoder) -> Bytes {
    let json = format!("{{\"seconds\":{secs}}}");
    notice(format, "expiring", at, &json, encoder)
}

/// The last bytes of a stream that its gateway ends at `at`; clients are to wait
/// `retry` before they reconnect. Newline-delimited JSON has no such word.
#[must_use]
pub fn closing(format: Format, at: Cursor, retry: Duration, encoder: &Encoder) -> Bytes {
    if format.is_lines() {
        return cursor(format, at, Liveness::Unsaid, encoder);
    }
    let json = Liveness::Unsaid.json();
    sse::notice_with_retry("hookrill.cursor", Some(&at), millis(retry), json)
}

/// All that an SSE client is sent that can't be served now: why, and how long to
/// wait. Its place is said back to it where it has one, another server's too, since
/// some clients take a block without an id for one with an empty id.
#[must_use]
pub fn come_back(place: Option<&AskedFrom>, wait: Duration, why: &str) -> Bytes {
    let json = json!({ "detail": why }).to_string();
    let place = place.map(|place| place as &dyn Display);
    sse::notice_with_retry("hookrill.wait", place, millis(wait), &json)
}

fn notice(format: Format, name: &str, id: Cursor, json: &str, encoder: &Encoder) -> Bytes {
    if format.is_lines() {
        return notice_line(name, &id, json, encoder);
    }
    // gosmee's client sends on whatever has data, but for what it knows by name.
    let (name, json) = match (format, name) {
        (Format::Gosmee, "gap" | "withheld") => ("gosmee-gap".into(), json),
        (Format::Gosmee, name) => (format!("hookrill.{name}"), Liveness::Unsaid.json()),
        (_, name) => (format!("hookrill.{name}"), json),
    };
    sse::notice(&name, id, json)
}

/// The name of a stream's first event: smee's clients wait for one of their own.
fn opening_name(format: Format) -> &'static str {
    match format {
        Format::Smee | Format::Gosmee => "ready",
        _ => "hookrill.cursor",
    }
}

/// A wait of millennia is as good as any that is longer.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use hookrill_core::TopicMap;

    use super::*;
    use crate::wire::{ForeignId, GapReason};

    const RETRY: Duration = Duration::from_millis(3000);
    /// What a notice may take more than one without data once did.
    const GROWTH_BYTES_MAX: usize = 16;

    fn encoder() -> Encoder {
        Encoder {
            epoch: "e".parse().unwrap(),
            public_url: "https://hooks.example.com".into(),
            views: TopicMap::default(),
        }
    }

    fn at() -> Cursor {
        "e-7".parse().unwrap()
    }

    fn told() -> Gap {
        Gap {
            reason: GapReason::Epoch,
            asked: AskedFrom::Foreign(ForeignId::new("\"4\\2")),
            resumed: at(),
        }
    }

    /// Everything that Hookrill says in a stream of this format.
    fn all(format: Format) -> Vec<u8> {
        let encoder = &encoder();
        let opening = |gap, liveness| opening(format, at(), liveness, RETRY, gap, encoder);
        [
            opening(None, Liveness::Live),
            opening(None, Liveness::Unsaid),
            opening(Some(&told()), Liveness::Unsaid),
            cursor(format, at(), Liveness::Unsaid, encoder).into(),
            cursor(format, at(), Liveness::Live, encoder).into(),
            gap(format, &told(), encoder).into(),
            withheld(format, at(), Withheld::NotJson, encoder).into(),
            expiring(format, at(), 5, encoder).into(),
            closing(format, at(), RETRY, encoder).into(),
        ]
        .concat()
    }

    /// Whether the clients of smee know an event by its name.
    fn is_of_smee(format: Format, name: &str) -> bool {
        match format {
            Format::Smee => name == "ready",
            Format::Gosmee => name == "ready" || name == "gosmee-gap",
            _ => false,
        }
    }

    #[test]
    fn every_block_has_an_id_and_data_that_is_json() {
        for format in Format::ALL {
            let text = String::from_utf8(all(format)).unwrap();
            if format.is_lines() {
                for line in text.lines() {
                    let line: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert!(line["type"].as_str().unwrap().starts_with("hookrill."));
                    assert!(line["id"].is_string() && line["data"].is_object(), "{line}");
                }
                continue;
            }
            for block in text.split_terminator("\n\n") {
                let field = |name: &str| {
                    let mut lines = block.lines();
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let data: serde_json::Value = serde_json::from_str(field("data").unwrap()).unwrap();
                assert!(data.is_object(), "{block}");
                assert!(field("id").is_some(), "{block}");
                let name = field("event").unwrap();
                let is_known = name.starts_with("hookrill.") || is_of_smee(format, name);
                assert!(is_known, "{block}");
            }
        }
    }

    #[test]
    fn who_is_to_come_back_is_told_why_and_keeps_its_place() {
        let wait = Duration::from_secs(5);
        let foreign = AskedFrom::Foreign(ForeignId::new("4f/2 a"));
        for (place, id) in [
            (None, ""),
            (Some(at().into()), "id: e-7\n"),
            (Some(foreign), "id: 4f/2 a\n"),
        ] {
            let text = come_back(place.as_ref(), wait, "no \"room\"\n");
            let expected = format!(
                "retry: 5000\nevent: hookrill.wait\n{id}\
                 data: {{\"detail\":\"no \\\"room\\\"\\n\"}}\n\n"
            );
            assert_eq!(text, expected.as_bytes());
        }
    }

    /// Measured against the text with no data at all, which is dropped by half of
    /// all clients and misunderstood by the others.
    #[test]
    fn openings_and_heartbeats_stay_as_short_as_they_were() {
        let before = "event: hookrill.cursor\nid: e-7\ndata:\n\n".len();
        let opening_before = "retry: 3000\n\n".len() + before;
        for liveness in [Liveness::Live, Liveness::Unsaid] {
            let encoder = &encoder();
            let beat = cursor(Format::Raw, at(), liveness, encoder).len();
            assert!(beat <= before + GROWTH_BYTES_MAX, "{beat} bytes");
            let opening = opening(Format::Raw, at(), liveness, RETRY, None, encoder).len();
            assert!(
                opening <= opening_before + GROWTH_BYTES_MAX,
                "{opening} bytes"
            );
        }
    }
}
