//! Server-Sent Events text (WHATWG HTML, "Server-sent events", 9.2.5–9.2.6).
//!
//! `\n`, `\r\n` and a lone `\r` all end a line there, so each of them ends a
//! `data:` line here; a parser joins the lines with `\n`.
//!
//! Invariant: every block has data. The standard drops one without, and a third
//! of the clients in use hand it out, as an event with no name and no data.

use std::fmt::{self, Write as _};

use bytes::Bytes;

use hookrill_core::Cursor;

/// Names that `EventSource` fires by itself: a listener could not tell.
const RESERVED_NAMES: [&str; 3] = ["open", "error", "message"];
/// Events that Hookrill itself writes.
const OWN_PREFIX: &str = "hookrill.";

/// An event: its id, its name where it has one, and its data.
pub(super) fn event(id: Cursor, name: Option<&str>, data: &str) -> Bytes {
    let mut out = String::with_capacity(data.len() + 64);
    _ = writeln!(out, "id: {id}");
    if let Some(name) = name.filter(|name| !name.is_empty()) {
        push_name(&mut out, name);
    }
    push_data(&mut out, data);
    out.push('\n');
    out.into()
}

/// What Hookrill itself says; `name` and `json` need no escape.
pub(super) fn notice(name: &str, id: Cursor, json: &str) -> Bytes {
    format!("event: {name}\nid: {id}\ndata: {json}\n\n").into()
}

/// As [`notice`], after which a client is to wait so many milliseconds before it
/// reconnects.
pub(super) fn notice_with_retry(
    name: &str,
    id: Option<&dyn fmt::Display>,
    retry_ms: u64,
    json: &str,
) -> Bytes {
    let mut out = format!("retry: {retry_ms}\nevent: {name}\n");
    if let Some(id) = id {
        _ = writeln!(out, "id: {id}");
    }
    _ = write!(out, "data: {json}\n\n");
    out.into()
}

fn push_name(out: &mut String, name: &str) {
    out.push_str("event: ");
    if RESERVED_NAMES.contains(&name) || name.starts_with(OWN_PREFIX) {
        out.push_str("x-");
    }
    // A type may hold anything; CR and LF would start a field of their own, and
    // so would U+2028 and U+2029 where lines are cut as Python's `splitlines` does.
    let ends_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    out.extend(
        name.chars()
            .map(|c| if ends_line(c) { '\u{fffd}' } else { c }),
    );
    out.push('\n');
}

fn push_data(out: &mut String, data: &str) {
    let mut rest = data;
    loop {
        let end = rest.find(['\r', '\n']);
        out.push_str("data: ");
        out.push_str(&rest[..end.unwrap_or(rest.len())]);
        out.push('\n');
        let Some(end) = end else { return };
        let crlf = rest[end..].starts_with("\r\n");
        rest = &rest[end + if crlf { 2 } else { 1 }..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> Cursor {
        "e-7".parse().unwrap()
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_line_ending_ends_a_data_line() {
        for (body, lines) in [
            ("", "data: \n"),
            ("a", "data: a\n"),
            (" a", "data:  a\n"),
            ("a\n", "data: a\ndata: \n"),
            ("a\rb", "data: a\ndata: b\n"),
            ("a\r\nb", "data: a\ndata: b\n"),
            ("a\n\rb", "data: a\ndata: \ndata: b\n"),
            ("a\r\r\nb", "data: a\ndata: \ndata: b\n"),
            ("id: x\rretry: 1", "data: id: x\ndata: retry: 1\n"),
        ] {
            let frame = event(id(), None, body);
            assert_eq!(text(&frame), format!("id: e-7\n{lines}\n"), "{body:?}");
        }
    }

    #[test]
    fn a_name_is_only_ever_a_name() {
        for (name, line) in [
            ("push", "event: push\n"),
            ("", ""),
            ("open", "event: x-open\n"),
            ("error", "event: x-error\n"),
            ("message", "event: x-message\n"),
            ("hookrill.gap", "event: x-hookrill.gap\n"),
            ("a\rid: 1\n\0", "event: a\u{fffd}id: 1\u{fffd}\u{fffd}\n"),
            ("a\u{2028}id: 1\u{85}", "event: a\u{fffd}id: 1\u{fffd}\n"),
        ] {
            let frame = event(id(), Some(name), "b");
            assert_eq!(
                text(&frame),
                format!("id: e-7\n{line}data: b\n\n"),
                "{name:?}"
            );
        }
    }

    /// The data that a parser after the WHATWG text would dispatch.
    fn parsed(frame: &str) -> String {
        let unified = frame.replace("\r\n", "\n").replace('\r', "\n");
        let mut data = Vec::new();
        for line in unified.strip_suffix("\n\n").unwrap().split('\n') {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => assert_eq!(value, "e-7"),
                "data" => data.push(value.to_owned()),
                "event" => {}
                other => panic!("field {other:?} was injected"),
            }
        }
        data.join("\n")
    }

    proptest! {
        #[test]
        fn a_body_arrives_with_its_lines_and_nothing_else(
            body in "([a-z :\r\n\0é]|data:|id:|event:){0,60}",
            name in proptest::option::of("[a-z\r\n\0:]{0,9}"),
        ) {
            let frame = event(id(), name.as_deref(), &body);
            let expected = body.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(parsed(text(&frame)), expected);
        }
    }
}
