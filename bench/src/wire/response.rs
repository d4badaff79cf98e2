//! One HTTP/1.1 answer after the other (RFC 9112), fed in pieces.
//!
//! Knows the head's framing fields and no others; hands the body on as slices
//! of the input, without copying. Invariant: a byte is consumed once, and what
//! follows an answer's end is left to the next one.

use memchr::memmem;

use super::WireError;

const HEAD_BYTES_MAX: usize = 16 * 1024;
/// No server here sends chunks beyond this; more means lost framing.
const CHUNK_BYTES_MAX: u64 = 1 << 32;

/// Decodes answers on one connection.
#[derive(Debug, Default)]
pub struct Response {
    state: ReadState,
    head: Vec<u8>,
    status: u16,
    gzip: bool,
    close: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    #[default]
    Head,
    /// So many bytes of body are to come.
    Length(u64),
    /// The body lasts until the connection ends.
    Endless,
    /// In a chunk's size line; `extension` once its digits are over.
    ChunkSize {
        size: u64,
        extension: bool,
    },
    ChunkData(u64),
    /// The line end behind a chunk's data.
    ChunkEnd,
    /// The lines behind the last chunk; whether this one is empty so far.
    Trailer {
        empty: bool,
    },
    Done,
}

impl Response {
    /// The status of the answer whose head was read last; 0 before.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the head is over.
    #[must_use]
    pub fn has_head(&self) -> bool {
        self.state != ReadState::Head
    }

    /// Whether the body is compressed.
    #[must_use]
    pub fn is_gzip(&self) -> bool {
        self.gzip
    }

    /// Whether the server ends the connection behind this answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.close
    }

    /// Whether the whole answer was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == ReadState::Done
    }

    /// Forgets the answer, for the next one on the connection.
    pub fn reset(&mut self) {
        self.state = ReadState::Head;
        self.gzip = false;
        self.close = false;
        self.head.clear();
    }

    /// Takes input up to the end of the answer or of `input`; says how much it
    /// consumed. Pieces of the body go to `body`.
    ///
    /// # Errors
    ///
    /// [`WireError`] where it is not HTTP/1.1.
    pub fn feed(&mut self, input: &[u8], mut body: impl FnMut(&[u8])) -> Result<usize, WireError> {
        let mut at = 0;
        while at < input.len() && self.state != ReadState::Done {
            let rest = &input[at..];
            at += match self.state {
                ReadState::Head => self.take_head(rest)?,
                ReadState::Endless => pass(rest, u64::MAX, &mut body),
                ReadState::Length(left) => {
                    let passed = pass(rest, left, &mut body);
                    self.state = ReadState::after_length(left - passed as u64);
                    passed
                }
                ReadState::ChunkSize { size, extension } => {
                    self.chunk_size(rest, size, extension)?
                }
                ReadState::ChunkData(left) => {
                    let passed = pass(rest, left, &mut body);
                    self.state = match left - passed as u64 {
                        0 => ReadState::ChunkEnd,
                        left => ReadState::ChunkData(left),
                    };
                    passed
                }
                ReadState::ChunkEnd => self.chunk_end(rest[0])?,
                ReadState::Trailer { empty } => self.trailer(rest[0], empty),
                ReadState::Done => 0,
            };
        }
        Ok(at)
    }

    /// Takes input up to the end of the head only: it decides how the body is
    /// to be read. Says how much it consumed.
    ///
    /// # Errors
    ///
    /// [`WireError`] where it is not HTTP/1.1.
    pub fn feed_head(&mut self, input: &[u8]) -> Result<usize, WireError> {
        match self.state {
            ReadState::Head => self.take_head(input),
            _ => Ok(0),
        }
    }

    fn take_head(&mut self, input: &[u8]) -> Result<usize, WireError> {
        let before = self.head.len();
        self.head.extend_from_slice(input);
        let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else {
            if self.head.len() > HEAD_BYTES_MAX {
                return Err(WireError::HeadLong(HEAD_BYTES_MAX));
            }
            return Ok(input.len());
        };
        // Thousands of connections keep no head.
        let head = std::mem::take(&mut self.head);
        self.read_head(&String::from_utf8_lossy(&head[..end]))?;
        Ok(end + 4 - before)
    }

    fn read_head(&mut self, head: &str) -> Result<(), WireError> {
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let broken = || WireError::Head(status_line.to_owned());
        let after = status_line.strip_prefix("HTTP/1.").ok_or_else(broken)?;
        let status = after.get(2..5).and_then(|digits| digits.parse().ok());
        self.status = status.ok_or_else(broken)?;
        self.state = match self.status {
            // RFC 9112, section 6.3: these have no body.
            100..200 | 204 | 304 => ReadState::Done,
            _ => ReadState::Endless,
        };
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(broken)?;
            self.read_field(name, value.trim()).ok_or_else(broken)?;
        }
        Ok(())
    }

    fn read_field(&mut self, name: &str, value: &str) -> Option<()> {
        if name.eq_ignore_ascii_case("connection") {
            self.close = value.eq_ignore_ascii_case("close");
        }
        let chunked = matches!(self.state, ReadState::ChunkSize { .. });
        if self.state == ReadState::Done {
            return Some(());
        }
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            self.state = ReadState::CHUNK;
        } else if name.eq_ignore_ascii_case("content-length") && !chunked {
            self.state = ReadState::after_length(value.parse().ok()?);
        } else if name.eq_ignore_ascii_case("content-encoding") {
            self.gzip = value.eq_ignore_ascii_case("gzip");
        }
        Some(())
    }

    fn chunk_size(
        &mut self,
        input: &[u8],
        mut size: u64,
        mut extension: bool,
    ) -> Result<usize, WireError> {
        for (index, &byte) in input.iter().enumerate() {
            match (byte, char::from(byte).to_digit(16)) {
                (b'\n', _) => {
                    self.state = match size {
                        0 => ReadState::Trailer { empty: true },
                        size => ReadState::ChunkData(size),
                    };
                    return Ok(index + 1);
                }
                (_, Some(digit)) if !extension => size = size * 16 + u64::from(digit),
                (b'\r' | b';' | b' ', _) => extension = true,
                _ if extension => {}
                _ => return Err(WireError::Chunk),
            }
            if size > CHUNK_BYTES_MAX {
                return Err(WireError::Chunk);
            }
        }
        self.state = ReadState::ChunkSize { size, extension };
        Ok(input.len())
    }

    fn chunk_end(&mut self, byte: u8) -> Result<usize, WireError> {
        match byte {
            b'\r' => {}
            b'\n' => self.state = ReadState::CHUNK,
            _ => return Err(WireError::Chunk),
        }
        Ok(1)
    }

    fn trailer(&mut self, byte: u8, empty: bool) -> usize {
        self.state = match byte {
            b'\n' if empty => ReadState::Done,
            b'\n' => ReadState::Trailer { empty: true },
            b'\r' => self.state,
            _ => ReadState::Trailer { empty: false },
        };
        1
    }
}

impl ReadState {
    const CHUNK: ReadState = ReadState::ChunkSize {
        size: 0,
        extension: false,
    };

    fn after_length(left: u64) -> ReadState {
        match left {
            0 => ReadState::Done,
            left => ReadState::Length(left),
        }
    }
}

/// Hands on at most `most` bytes; how many it were.
fn pass(input: &[u8], most: u64, body: &mut impl FnMut(&[u8])) -> usize {
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    body(&input[..length]);
    length
}
