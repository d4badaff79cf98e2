//! Inflates a gzip stream (RFC 1952) as it arrives.
//!
//! What a sync flush completes is handed out at once. Invariant: one call gives
//! at most [`PIECE_BYTES`], whatever the input inflates to.

use bytes::{Buf as _, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

/// The most text that is inflated at once, in bytes.
const PIECE_BYTES: usize = 64 * 1024;
/// The largest window that deflate knows, as a power of two.
const WINDOW_BITS: u8 = 15;

/// A stream that is being inflated.
pub(crate) struct Inflater {
    state: Decompress,
    /// A member has ended, and another one may follow it.
    is_between: bool,
    piece: Vec<u8>,
}

/// These bytes are not gzip.
#[derive(Debug, thiserror::Error)]
#[error("the stream is not gzip")]
pub(crate) struct NotGzipError(#[source] Option<flate2::DecompressError>);

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            state: Decompress::new_gzip(WINDOW_BITS),
            is_between: false,
            piece: Vec::with_capacity(PIECE_BYTES),
        }
    }

    /// The next piece of text; empty if that needs more input than there is.
    /// The piece is inflated into the room that it has, which never grows.
    pub(crate) fn inflate(&mut self, input: &mut Bytes) -> Result<&[u8], NotGzipError> {
        self.piece.clear();
        loop {
            if self.is_between && !input.is_empty() {
                self.state = Decompress::new_gzip(WINDOW_BITS);
                self.is_between = false;
            }
            let (read, written) = (self.state.total_in(), self.piece.len());
            let inflated = self
                .state
                .decompress_vec(input, &mut self.piece, FlushDecompress::Sync);
            let status = inflated.map_err(|error| NotGzipError(Some(error)))?;
            let read =
                usize::try_from(self.state.total_in() - read).map_err(|_| NotGzipError(None))?;
            input.advance(read);
            self.is_between = status == Status::StreamEnd;
            let has_moved = read > 0 || self.piece.len() > written;
            let is_full = self.piece.len() == self.piece.capacity();
            if is_full || !has_moved || self.is_between && input.is_empty() {
                debug_assert!(self.piece.len() <= PIECE_BYTES);
                return Ok(&self.piece);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn inflated(inflater: &mut Inflater, bytes: &[u8]) -> Result<Vec<u8>, NotGzipError> {
        let mut input = Bytes::copy_from_slice(bytes);
        let mut text = Vec::new();
        loop {
            let piece = inflater.inflate(&mut input)?;
            if piece.is_empty() {
                assert!(input.is_empty());
                return Ok(text);
            }
            text.extend_from_slice(piece);
        }
    }

    #[test]
    fn each_flush_is_handed_out_at_once() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let mut inflater = Inflater::new();
        let mut sent = 0;
        for number in 0..100 {
            let text = format!("data: {number}\n\n");
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.flush().unwrap();
            let new = &encoder.get_ref()[sent..];
            assert_eq!(inflated(&mut inflater, new).unwrap(), text.as_bytes());
            sent = encoder.get_ref().len();
        }
    }

    #[test]
    fn members_follow_each_other_in_any_pieces() {
        let member = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let stream = [member("one "), member(""), member("two")].concat();
        for length in [1, 2, 7, stream.len()] {
            let mut inflater = Inflater::new();
            let mut text = Vec::new();
            for piece in stream.chunks(length) {
                text.extend(inflated(&mut inflater, piece).unwrap());
            }
            assert_eq!(text, b"one two");
        }
    }

    #[test]
    fn a_bomb_comes_in_small_pieces() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let zeros = vec![0; 1 << 20];
        for _ in 0..100 {
            encoder.write_all(&zeros).unwrap();
        }
        let mut bomb = Bytes::from(encoder.finish().unwrap());
        let mut inflater = Inflater::new();
        let mut bytes = 0;
        loop {
            let piece = inflater.inflate(&mut bomb).unwrap().len();
            assert!(piece <= PIECE_BYTES);
            bytes += piece;
            if piece == 0 {
                break;
            }
        }
        assert_eq!(bytes, 100 << 20);
        assert!(inflater.piece.capacity() == PIECE_BYTES);
    }

    #[test]
    fn what_is_not_gzip_is_an_error() {
        assert!(inflated(&mut Inflater::new(), b"data: x\n\n").is_err());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"x").unwrap();
        let mut broken = encoder.finish().unwrap();
        let last = broken.len() - 5;
        broken[last] ^= 1;
        assert!(inflated(&mut Inflater::new(), &broken).is_err());
    }
}
