//! Bytes on their way out, with the chunk around them that HTTP/1.1 wants.
//!
//! A body of unknown length goes in chunks there (RFC 9112, section 7.1): the
//! length in hexadecimal, CRLF, the bytes, CRLF. It is put around a frame when
//! the frame is encoded, once for all subscribers; who wants the bytes alone
//! is given the part between.

use std::fmt::Write as _;

use bytes::Bytes;

/// The chunk that ends a body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const CRLF: &str = "\r\n";

/// Some of a body, whole and with its chunk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Chunk {
    framed: Bytes,
    /// How many bytes stand before the payload.
    header_bytes: u8,
}

/// Whether a body goes in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As HTTP/1.1 sends it.
    Chunked,
    /// As it is: HTTP/1.0 ends it by closing, HTTP/2 has frames of its own.
    Plain,
}

impl Chunk {
    /// Puts a chunk around `payload`, which is not empty: an empty chunk would
    /// end the body.
    #[must_use]
    pub fn new(payload: &[u8]) -> Self {
        debug_assert!(!payload.is_empty(), "an empty chunk ends the body");
        let mut header = String::with_capacity(2 * size_of::<usize>() + CRLF.len());
        _ = write!(header, "{:x}{CRLF}", payload.len());
        let framed = [header.as_bytes(), payload, CRLF.as_bytes()].concat();
        Self {
            framed: framed.into(),
            // At most sixteen digits and CRLF.
            header_bytes: header.len() as u8,
        }
    }

    /// The bytes as they go out.
    #[must_use]
    pub fn bytes(&self, framing: Framing) -> &[u8] {
        match framing {
            Framing::Chunked => &self.framed,
            Framing::Plain => &self.framed[self.payload_range()],
        }
    }

    /// What is left of those bytes once so many of them went out.
    #[must_use]
    pub fn rest(&self, framing: Framing, sent_bytes: usize) -> Bytes {
        match framing {
            Framing::Chunked => self.framed.slice(sent_bytes..),
            Framing::Plain => self.payload().slice(sent_bytes..),
        }
    }

    /// The bytes without the chunk.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.framed.slice(self.payload_range())
    }

    fn payload_range(&self) -> std::ops::Range<usize> {
        self.header_bytes.into()..self.framed.len() - CRLF.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_length_before_it_and_a_line_end_after_it() {
        for (length, header) in [
            (1, "1\r\n"),
            (15, "f\r\n"),
            (16, "10\r\n"),
            (4096, "1000\r\n"),
        ] {
            let payload = "x".repeat(length);
            let chunk = Chunk::new(payload.as_bytes());
            let framed = format!("{header}{payload}\r\n");
            assert_eq!(chunk.bytes(Framing::Chunked), framed.as_bytes());
            assert_eq!(chunk.bytes(Framing::Plain), payload.as_bytes());
            assert_eq!(chunk.payload(), payload);
        }
    }

    #[test]
    fn what_is_left_follows_what_was_sent() {
        let chunk = Chunk::new(b"hello");
        for framing in [Framing::Chunked, Framing::Plain] {
            let whole = chunk.bytes(framing).to_vec();
            for sent in 0..=whole.len() {
                assert_eq!(chunk.rest(framing, sent), whole[sent..]);
            }
        }
    }
}
