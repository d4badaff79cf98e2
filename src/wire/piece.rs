//! A piece of a stream, ready to go out: with its chunk, deflated or not.
//!
//! Invariant: pieces of one coding may follow each other in any order, and a
//! gzip stream ends with the trailer that their sums add up to.

use super::{
    Chunk,
    gzip::{self, Sum, Trailer},
};

/// How the bytes of a stream are coded (RFC 9110, section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// As they are.
    Identity,
    /// As one gzip stream.
    Gzip,
}

/// Some of a stream, coded and with its chunk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Piece {
    chunk: Chunk,
    sum: Option<Sum>,
}

/// What the end of a stream depends on: whether anything went out, and the sums
/// of a gzip stream.
#[derive(Debug, Default)]
pub struct CodingState {
    /// Of a gzip stream that has not ended.
    trailer: Option<Trailer>,
    begun: bool,
}

impl Coding {
    pub(super) const COUNT: usize = 2;
}

impl Piece {
    /// `text`, which is not empty, for the middle of a stream.
    #[must_use]
    pub fn new(text: &[u8], coding: Coding) -> Self {
        match coding {
            Coding::Identity => Self {
                chunk: Chunk::new(text),
                sum: None,
            },
            Coding::Gzip => {
                let block = gzip::block(text);
                Self {
                    chunk: Chunk::new(&block.bytes),
                    sum: Some(block.sum),
                }
            }
        }
    }

    /// `text`, which is not empty, and what a stream begins with.
    #[must_use]
    pub fn first(text: &[u8], coding: Coding) -> Self {
        match coding {
            Coding::Identity => Self::new(text, coding),
            Coding::Gzip => {
                let block = gzip::block(text);
                Self {
                    chunk: Chunk::new(&[&gzip::HEAD, &*block.bytes].concat()),
                    sum: Some(block.sum),
                }
            }
        }
    }

    /// The bytes.
    #[must_use]
    pub fn chunk(&self) -> &Chunk {
        &self.chunk
    }
}

impl CodingState {
    /// The state of a stream that has sent nothing.
    #[must_use]
    pub fn new(coding: Coding) -> Self {
        Self {
            trailer: (coding == Coding::Gzip).then(Trailer::default),
            begun: false,
        }
    }

    /// Counts a piece of this coding as sent.
    pub fn add(&mut self, piece: &Piece) {
        self.begun = true;
        if let (Some(trailer), Some(sum)) = (&mut self.trailer, piece.sum) {
            trailer.add(sum);
        }
    }

    /// Whether any piece was sent.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// The bytes that end the stream; `None` where there are none, or where
    /// they were handed out before.
    pub fn end(&mut self) -> Option<Piece> {
        let end = self.trailer.take()?.finish();
        let head: &[u8] = if self.begun { &[] } else { &gzip::HEAD };
        Some(Piece {
            chunk: Chunk::new(&[head, &end].concat()),
            sum: None,
        })
    }
}
