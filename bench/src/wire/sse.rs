//! Server-Sent Events, as far as a measurement reads them: which number an
//! event has, and how long its data is.
//!
//! Keeps no bodies: of a line that is split over reads only the beginning is
//! remembered. Invariant: an event arrives when its empty line does, as the
//! HTML standard has it ("Interpreting an event stream").

use memchr::{memchr, memmem};

/// So much of a line is looked at: the field's name, and the number that the
/// generator writes first into every body.
const BEGINNING_BYTES: usize = 96;

/// An event that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The number in its body.
    pub number: u32,
    /// The length of its data, in bytes.
    pub bytes: usize,
}

/// Finds the events in a stream.
#[derive(Debug)]
pub struct Events {
    beginning: [u8; BEGINNING_BYTES],
    /// How much of the current line came in earlier pieces.
    line_bytes: usize,
    /// Whether the line's last byte so far is a carriage return.
    return_last: bool,
    pending: Option<Arrival>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            beginning: [0; BEGINNING_BYTES],
            line_bytes: 0,
            return_last: false,
            pending: None,
        }
    }
}

impl Events {
    /// Takes a piece of the stream; `marker` stands before every number.
    pub fn feed(&mut self, mut input: &[u8], marker: &[u8], mut arrived: impl FnMut(Arrival)) {
        while let Some(end) = memchr(b'\n', input) {
            let line = without_return(&input[..end]);
            let event = match self.line_bytes {
                0 => self.line(line, line.len(), marker),
                _ => self.joined_line(&input[..end], marker),
            };
            if let Some(event) = event {
                arrived(event);
            }
            input = &input[end + 1..];
        }
        self.remember(input);
    }

    fn joined_line(&mut self, piece: &[u8], marker: &[u8]) -> Option<Arrival> {
        self.remember(piece);
        let bytes = self.line_bytes - usize::from(self.return_last);
        let beginning = self.beginning;
        self.line_bytes = 0;
        self.line(&beginning[..bytes.min(BEGINNING_BYTES)], bytes, marker)
    }

    fn remember(&mut self, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        if let Some(room) = self.beginning.get_mut(self.line_bytes..) {
            let length = room.len().min(piece.len());
            room[..length].copy_from_slice(&piece[..length]);
        }
        self.line_bytes += piece.len();
        self.return_last = *last == b'\r';
    }

    /// Takes a whole line, or the beginning of one that is `bytes` long.
    fn line(&mut self, line: &[u8], bytes: usize, marker: &[u8]) -> Option<Arrival> {
        if line.is_empty() {
            return self.pending.take();
        }
        let value = line.strip_prefix(b"data:")?;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let bytes = bytes - (line.len() - value.len());
        match &mut self.pending {
            // Lines of one event are joined by a line feed.
            Some(event) => event.bytes += bytes + 1,
            None => self.pending = number(value, marker).map(|number| Arrival { number, bytes }),
        }
        None
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn number(value: &[u8], marker: &[u8]) -> Option<u32> {
    let beginning = &value[..value.len().min(BEGINNING_BYTES)];
    let at = match beginning.starts_with(marker) {
        true => 0,
        false => memmem::find(beginning, marker)?,
    };
    let digits = beginning[at + marker.len()..].iter();
    let mut number: Option<u32> = None;
    for digit in digits.take_while(|byte| byte.is_ascii_digit()) {
        let so_far = number.unwrap_or(0).checked_mul(10)?;
        number = Some(so_far.checked_add(u32::from(digit - b'0'))?);
    }
    number
}
