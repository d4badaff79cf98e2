//! Reads Server-Sent Events out of bytes, as the HTML standard says (WHATWG
//! HTML, 9.2.5 "Parsing an event stream" and 9.2.6 "Interpreting an event
//! stream").
//!
//! Does no I/O: the caller passes the bytes of a response body as they arrive
//! and takes the events out, one by one. An event that lies whole in one piece
//! of input is not copied.
//!
//! Invariants: how the bytes are split into pieces changes nothing; an event is
//! there once its empty line is, so one that the stream's end cuts off never
//! was; the reader keeps no more than `event_bytes_max` bytes.

use std::{borrow::Cow, fmt, time::Duration};

use memchr::{memchr, memchr2};

/// How long an event may be unless the caller says otherwise, in bytes.
pub const EVENT_BYTES_MAX: usize = 16 << 20;

/// Buffers of this size or less are kept for the next event.
const BUFFER_BYTES_KEPT: usize = 64 << 10;
/// U+FEFF in UTF-8; one at the very beginning of a stream is not part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the events of one stream.
///
/// ```
/// use hookrill_client::sse::SseReader;
///
/// let mut reader = SseReader::new();
/// let mut seen = Vec::new();
/// for piece in [&b"id: 7\ndata: Hel"[..], b"lo\n\ndata: again\n", b"\n"] {
///     let mut input = piece;
///     while let Some(event) = reader.next(&mut input)? {
///         seen.push(format!("{} {}", event.id(), event.data()));
///     }
/// }
/// assert_eq!(seen, ["7 Hello", "7 again"]);
/// # Ok::<(), hookrill_client::sse::EventTooLong>(())
/// ```
pub struct SseReader {
    event_bytes_max: usize,
    /// The beginning of a line that has not ended yet.
    line: Vec<u8>,
    /// The value of the last `event` field of this block.
    name: Vec<u8>,
    /// The block's data lines with a line feed between each, from
    /// `data_start` on.
    data: Vec<u8>,
    data_start: usize,
    /// Whether `data` holds a line, which may be empty.
    has_data: bool,
    /// The value of the block's `id` field, if `has_id`.
    id: Vec<u8>,
    has_id: bool,
    last_id: Vec<u8>,
    retry: Option<Duration>,
    /// Whether nothing of the first line was interpreted yet.
    at_start: bool,
    /// The input ended with a carriage return: a line feed at the beginning of
    /// the next piece belongs to it.
    after_return: bool,
    /// The caller has the event in `name` and `data`.
    dispatched: bool,
    failed: bool,
}

/// An event, as long as the reader and the input are left alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SseEvent<'a> {
    id: &'a [u8],
    name: &'a [u8],
    data: &'a [u8],
}

/// An event or a line is longer than the reader may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {event_bytes_max} bytes")]
pub struct EventTooLong {
    /// The limit.
    pub event_bytes_max: usize,
}

impl<'a> SseEvent<'a> {
    /// The last id that the stream has set, with this event or before it;
    /// empty if none was.
    #[must_use]
    pub fn id(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.id)
    }

    /// The event's name; `message` if it has none.
    #[must_use]
    pub fn name(&self) -> Cow<'a, str> {
        match self.name {
            [] => Cow::Borrowed("message"),
            name => String::from_utf8_lossy(name),
        }
    }

    /// The data lines, with a line feed between each. Bytes that are not UTF-8
    /// become U+FFFD.
    #[must_use]
    pub fn data(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.data)
    }

    /// The data as it was sent.
    #[must_use]
    pub fn data_bytes(&self) -> &'a [u8] {
        self.data
    }
}

impl fmt::Debug for SseEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseEvent")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("data", &self.data())
            .finish()
    }
}

impl Default for SseReader {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SseReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it has buffered may be somebody's webhook.
        f.debug_struct("SseReader")
            .field("event_bytes_max", &self.event_bytes_max)
            .field("last_id", &self.last_id())
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

impl SseReader {
    /// A reader at the beginning of a stream, whose events have at most
    /// [`EVENT_BYTES_MAX`] bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            event_bytes_max: EVENT_BYTES_MAX,
            line: Vec::new(),
            name: Vec::new(),
            data: Vec::new(),
            data_start: 0,
            has_data: false,
            id: Vec::new(),
            has_id: false,
            last_id: Vec::new(),
            retry: None,
            at_start: true,
            after_return: false,
            dispatched: false,
            failed: false,
        }
    }

    /// Sets how long an event may be: its lines and fields together, in bytes.
    #[must_use]
    pub fn with_event_bytes_max(mut self, event_bytes_max: usize) -> Self {
        self.event_bytes_max = event_bytes_max;
        self
    }

    /// Sets the id that a former connection ended with. Events have it until
    /// the stream sets another one.
    #[must_use]
    pub fn with_last_id(mut self, last_id: impl Into<String>) -> Self {
        self.last_id = last_id.into().into_bytes();
        self
    }

    /// What to send as `Last-Event-ID` on the next connection; empty if the
    /// stream has set no id.
    #[must_use]
    pub fn last_id(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.last_id)
    }

    /// How long the stream asked to wait before the next connection.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next event out of `input`, which is moved on behind what was
    /// read. `None` once all of it was read.
    ///
    /// # Errors
    ///
    /// Once an event or a line is longer than the limit, and from then on.
    pub fn next<'r, 'i: 'r>(
        &'r mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<SseEvent<'r>>, EventTooLong> {
        self.check_length(0)?;
        self.begin();
        if self.after_return || !self.line.is_empty() {
            self.finish_line(input)?;
        }
        // Where all of the input is below the limit, so is each line of it.
        let is_short = self.kept_bytes() + input.len() <= self.event_bytes_max;
        // The block's data as long as it is one line, and in `input`.
        let mut borrowed: Option<&[u8]> = None;
        while let Some(line) = next_line(input, &mut self.after_return) {
            if line.is_empty() {
                if self.ends_event(borrowed.is_some()) {
                    return Ok(Some(self.dispatch(borrowed)));
                }
                continue;
            }
            if !is_short {
                self.check_length(line.len() + borrowed.map_or(0, <[u8]>::len))?;
            }
            let line = self.without_mark(line);
            let Some(value) = value_of(line, b"data") else {
                self.field(line);
                continue;
            };
            if self.has_data || borrowed.is_some() {
                self.keep_data(borrowed.take());
                self.push_data(value);
            } else {
                borrowed = Some(value);
            }
        }
        self.keep_data(borrowed);
        self.check_length(input.len())?;
        self.line.extend_from_slice(input);
        debug_assert!(self.kept_bytes() <= self.event_bytes_max);
        *input = &[];
        Ok(None)
    }

    /// Forgets the event that the caller had.
    fn begin(&mut self) {
        if !std::mem::take(&mut self.dispatched) {
            return;
        }
        self.name.clear();
        self.data.clear();
        self.data_start = 0;
        self.has_data = false;
        for buffer in [&mut self.data, &mut self.line] {
            if buffer.capacity() > BUFFER_BYTES_KEPT && buffer.is_empty() {
                *buffer = Vec::new();
            }
        }
    }

    /// Completes the line that the last piece ended in, as far as its end is
    /// in `input`.
    fn finish_line(&mut self, input: &mut &[u8]) -> Result<(), EventTooLong> {
        if self.after_return && !input.is_empty() {
            self.after_return = false;
            *input = input.strip_prefix(b"\n").unwrap_or(input);
        }
        if self.line.is_empty() {
            return Ok(());
        }
        let Some(rest) = next_line(input, &mut self.after_return) else {
            return Ok(());
        };
        self.check_length(rest.len())?;
        self.line.extend_from_slice(rest);
        let mut whole = std::mem::take(&mut self.line);
        let line = self.without_mark(&whole);
        match value_of(line, b"data") {
            // One line of data, as usual: it stays where it is.
            Some(value) if !self.has_data => {
                self.data_start = whole.len() - value.len();
                self.has_data = true;
                std::mem::swap(&mut self.data, &mut whole);
            }
            Some(value) => self.push_data(value),
            None => self.field(line),
        }
        whole.clear();
        self.line = whole;
        Ok(())
    }

    /// Takes the byte order mark off the stream's first line.
    fn without_mark<'l>(&mut self, line: &'l [u8]) -> &'l [u8] {
        if !std::mem::take(&mut self.at_start) {
            return line;
        }
        line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
    }

    /// Copies the data line that was found in the input.
    fn keep_data(&mut self, borrowed: Option<&[u8]>) {
        let Some(value) = borrowed else { return };
        debug_assert!(!self.has_data, "borrowed data is the block's only line");
        self.data.extend_from_slice(value);
        self.has_data = true;
    }

    fn push_data(&mut self, value: &[u8]) {
        debug_assert!(self.has_data, "a line feed stands between two lines");
        self.data.push(b'\n');
        self.data.extend_from_slice(value);
    }

    /// Takes a field other than `data`.
    fn field(&mut self, line: &[u8]) {
        if let Some(value) = value_of(line, b"id") {
            self.set_id(value);
        } else if let Some(value) = value_of(line, b"event") {
            self.name.clear();
            self.name.extend_from_slice(value);
        } else if let Some(value) = value_of(line, b"retry") {
            self.retry = milliseconds(value).or(self.retry);
        }
    }

    /// The standard ignores an id with a NUL.
    fn set_id(&mut self, value: &[u8]) {
        if memchr(0, value).is_none() {
            self.id.clear();
            self.id.extend_from_slice(value);
            self.has_id = true;
        }
    }

    /// Ends the block; returns whether it is an event, which needs data.
    fn ends_event(&mut self, has_borrowed_data: bool) -> bool {
        self.at_start = false;
        if std::mem::take(&mut self.has_id) {
            std::mem::swap(&mut self.last_id, &mut self.id);
            self.id.clear();
        }
        let is_event = has_borrowed_data || self.has_data;
        if !is_event {
            self.name.clear();
        }
        is_event
    }

    fn dispatch<'r>(&'r mut self, borrowed: Option<&'r [u8]>) -> SseEvent<'r> {
        self.dispatched = true;
        SseEvent {
            id: &self.last_id,
            name: &self.name,
            data: borrowed.unwrap_or(&self.data[self.data_start..]),
        }
    }

    fn kept_bytes(&self) -> usize {
        let data = self.data.len() - self.data_start;
        self.line.len() + self.name.len() + self.id.len() + data
    }

    /// Checks that so many bytes more may be kept.
    fn check_length(&mut self, more: usize) -> Result<(), EventTooLong> {
        self.failed |= self.kept_bytes().saturating_add(more) > self.event_bytes_max;
        if self.failed {
            return Err(EventTooLong {
                event_bytes_max: self.event_bytes_max,
            });
        }
        Ok(())
    }
}

/// Cuts the first line off `input`; `None` if it has no end there. A line ends
/// with a line feed, a carriage return, or both.
fn next_line<'i>(input: &mut &'i [u8], after_return: &mut bool) -> Option<&'i [u8]> {
    let end = match *input {
        // Most lines of a stream are data and the empty line behind it.
        [b'\n', ..] => 0,
        _ => memchr2(b'\n', b'\r', input)?,
    };
    let (line, rest) = input.split_at(end);
    *input = match rest {
        [b'\r', b'\n', rest @ ..] => rest,
        [b'\r'] => {
            *after_return = true;
            &[]
        }
        [_, rest @ ..] => rest,
        [] => &[],
    };
    Some(line)
}

/// The field's value, where the line is of this field. A comment begins with a
/// colon and is of none.
fn value_of<'l>(line: &'l [u8], field: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(field)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

fn milliseconds(value: &[u8]) -> Option<Duration> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = std::str::from_utf8(value).ok()?;
    digits.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
#[path = "sse/tests.rs"]
mod tests;
