//! Reads Server-Sent Events out of bytes, as the HTML standard says
//! ("9.2.6 Interpreting an event stream").
//!
//! Does no I/O: bytes are pushed in as they come, events are taken out.
//! Invariant: what is half there when the bytes end was never there.

use std::time::Duration;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Its name; without one, `message`.
    pub(super) name: String,
    /// Its data lines, with a line feed between each.
    pub(super) data: String,
    /// The last id that the stream gave, with this event or before it.
    pub(super) last_id: String,
}

/// A stream that is being read.
pub(super) struct Parser {
    /// Bytes of the line that has not ended yet.
    line: Vec<u8>,
    /// A carriage return ended the last line: a line feed belongs to it.
    after_return: bool,
    at_start: bool,
    name: String,
    data: String,
    last_id: String,
    /// What the stream asks clients to wait before they reconnect.
    pub(super) retry: Option<Duration>,
    bytes_max: usize,
}

/// An event is longer than the reader is ready to keep.
#[derive(Debug, thiserror::Error)]
#[error("an event is longer than {0} bytes")]
pub(super) struct TooLong(usize);

impl Parser {
    /// A stream from its beginning, continuing after `last_id`, whose events
    /// have at most about `bytes_max` bytes.
    pub(super) fn new(last_id: String, bytes_max: usize) -> Self {
        Self {
            line: Vec::new(),
            after_return: false,
            at_start: true,
            name: String::new(),
            data: String::new(),
            last_id,
            retry: None,
            bytes_max,
        }
    }

    /// Takes what came, and gives each event that is whole now to `emit`.
    pub(super) fn push<E: From<TooLong>>(
        &mut self,
        bytes: &[u8],
        mut emit: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        for part in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let (text, end) = match part.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                _ => (part, None),
            };
            let continues_return = self.after_return && part == b"\n";
            self.after_return = end == Some(b'\r');
            if continues_return {
                continue;
            }
            self.line.extend_from_slice(text);
            if self.line.len() + self.data.len() > self.bytes_max {
                return Err(TooLong(self.bytes_max).into());
            }
            if end.is_some()
                && let Some(event) = self.end_line()
            {
                emit(event)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut text = &*text;
        if std::mem::take(&mut self.at_start) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
        if text.is_empty() {
            return self.dispatch();
        }
        // A line that begins with a colon is a comment: its field is "".
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.last_id),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Event> {
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        Some(Event {
            name: if name.is_empty() {
                "message".to_owned()
            } else {
                name
            },
            data,
            last_id: self.last_id.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> (Vec<[String; 3]>, Option<Duration>) {
        let mut parser = Parser::new("before".to_owned(), 1000);
        let mut events = Vec::new();
        for chunk in chunks {
            parser
                .push(chunk, |event| {
                    events.push([event.name, event.data, event.last_id]);
                    Ok::<_, TooLong>(())
                })
                .unwrap();
        }
        (events, parser.retry)
    }

    #[test]
    fn a_stream_is_read_as_the_standard_says() {
        for (stream, expected) in [
            // The examples of the standard.
            (
                "data: YHOO\ndata: +2\ndata: 10\n\n",
                &[["message", "YHOO\n+2\n10", "before"]][..],
            ),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                &[
                    ["message", "first event", "1"],
                    ["message", "second event", ""],
                    ["message", " third event", ""],
                ],
            ),
            (
                "data\n\ndata\ndata\n\ndata:",
                &[["message", "", "before"], ["message", "\n", "before"]],
            ),
            (
                "data:test\n\ndata: test\n\n",
                &[["message", "test", "before"], ["message", "test", "before"]],
            ),
            // Names, ids and line ends.
            (
                "event: a\ndata: 1\n\ndata: 2\n\n",
                &[["a", "1", "before"], ["message", "2", "before"]],
            ),
            ("event: a\n\ndata: 2\n\n", &[["message", "2", "before"]]),
            (
                "data: 1\r\rdata: 2\r\n\r\ndata: 3\n\n",
                &[
                    ["message", "1", "before"],
                    ["message", "2", "before"],
                    ["message", "3", "before"],
                ],
            ),
            (
                "data: 1\r\ndata: 2\r\n\r\n",
                &[["message", "1\n2", "before"]],
            ),
            ("id: 1\0\ndata: x\n\n", &[["message", "x", "before"]]),
            ("id: 7\n\ndata: x\n\n", &[["message", "x", "7"]]),
            (
                "event:hookrill.cursor\nid:e-7\ndata:\n\n",
                &[["hookrill.cursor", "", "e-7"]],
            ),
            (
                "\u{feff}data: x\n\n\u{feff}data: y\n\n",
                &[["message", "x", "before"]],
            ),
            ("datax: 1\nDATA: 1\n data: 1\n:data: 1\n\n", &[]),
            ("data: a:b: c\n\n", &[["message", "a:b: c", "before"]]),
            // What did not end was never there.
            ("data: x\n", &[]),
            ("data: x", &[]),
        ] {
            let expected: Vec<_> = expected
                .iter()
                .map(|event| event.map(str::to_owned))
                .collect();
            assert_eq!(read(&[stream.as_bytes()]).0, expected, "{stream:?}");
            // One byte at a time comes to the same.
            let bytes: Vec<_> = stream.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes).0, expected, "{stream:?}, byte by byte");
        }
    }

    #[test]
    fn retry_is_taken_if_it_is_a_number() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (stream, expected) in [
            ("retry: 1500\n", ms(1500)),
            ("retry:7\nretry: x\nretry:\nretry: -1\nretry: 1s\n", ms(7)),
            ("retry: 99999999999999999999999\n", None),
            ("", None),
        ] {
            assert_eq!(read(&[stream.as_bytes()]).1, expected, "{stream:?}");
        }
    }

    #[test]
    fn an_endless_event_is_not_kept() {
        let push = |bytes: &[u8]| {
            let mut parser = Parser::new(String::new(), 100);
            let mut result = Ok(());
            for _ in 0..200 {
                result = result.and_then(|()| parser.push(bytes, |_| Ok::<_, TooLong>(())));
            }
            result
        };
        assert!(push(b"x").is_err());
        assert!(push(b"data:x\n").is_err());
        assert!(push(b"data:x\n\n").is_ok());
    }

    proptest! {
        #[test]
        fn chunks_do_not_matter(
            stream in "(data|event|id|retry|:|\r|\n|\r\n| |[a-z0-9\0\u{feff}]){0,60}",
            cut in 0_usize..60,
        ) {
            let (head, tail) = stream.as_bytes().split_at(cut.min(stream.len()));
            prop_assert_eq!(read(&[head, tail]), read(&[stream.as_bytes()]));
        }
    }
}
