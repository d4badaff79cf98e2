//! Compressed once, delivered to all: gzip (RFC 1952) out of ready parts.
//!
//! A [`Block`] is a piece of text, deflated on its own (RFC 1951) and ended on
//! a byte. It refers to nothing before itself, so a subscriber's stream is the
//! [`HEAD`], any blocks in any order, and the end of its [`Trailer`]: what was
//! deflated once serves everybody, wherever they began to listen.
//!
//! Refuses to grow: what deflating does not shorten is stored as it is.
//! Invariant: whoever has a block's bytes can inflate all of its text, without
//! waiting for what follows. So each ends as a sync flush does, with an empty
//! stored block: some inflaters (Go's) hand out what they have only there.

use std::cell::RefCell;

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Crc, FlushCompress};

/// What a gzip stream begins with: deflated, no name, no time, unknown system.
///
/// ```text
/// 0  1f 8b        magic
/// 2  08           deflate
/// 3  00           flags: none
/// 4  00 00 00 00  time: none
/// 8  00           extra flags: none
/// 9  ff           system: unknown
/// ```
pub const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Shorter texts are stored: a sync flush alone takes five bytes.
const DEFLATED_MIN: usize = 32;
/// Longer texts are stored: whoever deflates one holds up its thread, for some
/// five milliseconds a megabyte.
const DEFLATED_MAX: usize = 1024 * 1024;
/// The longest text of one stored block (RFC 1951, section 3.2.4).
const STORED_MAX: usize = 0xffff;
/// What goes before a stored block's text.
const STORED_HEAD: usize = 5;
/// The most that is kept of the room that a long text took.
const ROOM_KEPT_MAX: usize = 256 * 1024;

/// A text as part of any gzip stream.
#[derive(Debug, Clone)]
pub struct Block {
    /// Whole deflate blocks, none of them the last; empty for no text.
    pub bytes: Bytes,
    /// What the text adds to a stream's trailer.
    pub sum: Sum,
}

/// What a text adds to the trailer of a stream that it is in.
#[derive(Debug, Clone, Copy)]
pub struct Sum {
    /// The text's CRC-32.
    pub crc: u32,
    /// The text's length, modulo 2³².
    pub len: u32,
    /// What the CRC of all that came before is multiplied by: x^(8·len).
    shift: u32,
}

/// Makes a text part of gzip streams. At most five bytes longer than the text,
/// and five for each 65,535 bytes that have begun.
#[must_use]
pub fn block(plain: &[u8]) -> Block {
    let mut crc = Crc::new();
    crc.update(plain);
    Block {
        bytes: deflated(plain).unwrap_or_else(|| stored(plain)),
        sum: Sum {
            crc: crc.sum(),
            len: plain.len() as u32,
            shift: x_to_the_8(plain.len() as u64),
        },
    }
}

/// What one subscriber's stream has had so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trailer {
    crc: u32,
    len: u32,
}

impl Trailer {
    /// A block with this sum was sent.
    pub fn add(&mut self, sum: Sum) {
        // The CRC of two texts in a row: the first one's, moved on by as many
        // zero bytes as the second is long, and the second one's. As zlib's
        // `crc32_combine_op` does it.
        self.crc = product(self.crc, sum.shift) ^ sum.crc;
        self.len = self.len.wrapping_add(sum.len);
    }

    /// The end of the stream: an empty last block, and what lets the reader check that
    /// nothing is missing.
    #[must_use]
    pub fn finish(self) -> Bytes {
        let mut end = BytesMut::with_capacity(STORED_HEAD + 8);
        put_stored_head(&mut end, true, 0);
        end.put_u32_le(self.crc);
        end.put_u32_le(self.len);
        end.freeze()
    }
}

/// What deflating needs: some 300 KB, which take longer to lay out than a
/// webhook takes to deflate.
struct Deflater {
    state: Compress,
    room: Vec<u8>,
}

thread_local! {
    /// Scratch, and no state: each text begins with a reset, and comes out as
    /// it would from a new one.
    static DEFLATER: RefCell<Deflater> = RefCell::new(Deflater {
        // 0.16 of the bytes of GitHub's webhooks; level 9 takes half as long
        // again for no more, level 1 leaves 0.22.
        state: Compress::new(Compression::new(6), false),
        room: Vec::new(),
    });
}

/// The text deflated, if that makes it shorter.
fn deflated(plain: &[u8]) -> Option<Bytes> {
    if !(DEFLATED_MIN..=DEFLATED_MAX).contains(&plain.len()) {
        return None;
    }
    DEFLATER.with_borrow_mut(|deflater| deflater.deflate(plain))
}

impl Deflater {
    fn deflate(&mut self, plain: &[u8]) -> Option<Bytes> {
        self.state.reset();
        self.room.clear();
        self.room.shrink_to(ROOM_KEPT_MAX);
        self.room.reserve(stored_len(plain));
        let sync = FlushCompress::Sync;
        let flushed = self.state.compress_vec(plain, &mut self.room, sync);
        // With room to spare, all was taken in and flushed (zlib's manual,
        // `deflate`). Without, it is no shorter than stored.
        let shorter = flushed.is_ok()
            && self.state.total_in() == plain.len() as u64
            && self.room.len() < self.room.capacity()
            && self.room.len() < stored_len(plain);
        shorter.then(|| Bytes::copy_from_slice(&self.room))
    }
}

/// The text as it is, in stored blocks, and an empty one to end them.
fn stored(plain: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(stored_len(plain));
    for part in plain.chunks(STORED_MAX) {
        put_stored_head(&mut out, false, part.len() as u16);
        out.put_slice(part);
    }
    if !plain.is_empty() {
        put_stored_head(&mut out, false, 0);
    }
    out.freeze()
}

fn stored_len(plain: &[u8]) -> usize {
    match plain.len() {
        0 => 0,
        len => len + (len.div_ceil(STORED_MAX) + 1) * STORED_HEAD,
    }
}

/// RFC 1951, sections 3.2.3 and 3.2.4; what came before ends on a byte.
///
/// ```text
/// 0  whether it is the last block; its type, 0; padding
/// 1  length, u16
/// 3  length, inverted
/// ```
fn put_stored_head(out: &mut BytesMut, last: bool, len: u16) {
    out.put_u8(u8::from(last));
    out.put_u16_le(len);
    out.put_u16_le(!len);
}

/// CRC-32's polynomial without its x³² (RFC 1952, section 8). As there, the
/// highest bit is the coefficient of x⁰.
const POLYNOMIAL: u32 = 0xedb8_8320;
/// The polynomial 1.
const ONE: u32 = 1 << 31;
/// x^(2^k). As x^(2³²) is x again, the places repeat after the last.
const X_TO_THE_2_TO_THE: [u32; 32] = squares();

const fn squares() -> [u32; 32] {
    let mut squares = [ONE >> 1; 32];
    let mut k = 1;
    while k < squares.len() {
        squares[k] = product(squares[k - 1], squares[k - 1]);
        k += 1;
    }
    squares
}

/// The product of two polynomials over GF(2), modulo CRC-32's.
///
/// One step per bit and no branch: some 30 ns, and nothing to look up.
const fn product(a: u32, mut b: u32) -> u32 {
    let mut sum = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        sum ^= b & (a >> bit & 1).wrapping_neg();
        // Times x: up by one, and x³² is the rest of the polynomial.
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
    }
    sum
}

/// x^(8·n), by squares: multiplying by it appends `n` zero bytes.
fn x_to_the_8(mut n: u64) -> u32 {
    let mut power = ONE;
    let mut k = 3;
    while n > 0 {
        if n & 1 == 1 {
            power = product(power, X_TO_THE_2_TO_THE[k % 32]);
        }
        n >>= 1;
        k += 1;
    }
    power
}

#[cfg(test)]
mod tests;
