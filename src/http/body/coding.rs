//! The codings of a body (`Content-Encoding`, RFC 9110, section 8.4), and how each is
//! undone.
//!
//! Nothing is decoded here that was not asked for: these are readers, and each gives no
//! more bytes than a body may have. Invariant: the window of a decoder is no longer than
//! the longest of [`WINDOW_BYTES_MAX`] and a body.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use brotli_decompressor::Decompressor;
use bytes::{Buf as _, Bytes};
use flate2::{Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};
use http::{HeaderMap, header::CONTENT_ENCODING};
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// The most codings of one body.
pub(super) const CODINGS_MAX: usize = 3;
/// What a decoder of zstd may have to look back (RFC 9659), in bytes.
const WINDOW_BYTES_MAX: usize = 8 << 20;
/// What was coded twice may be so many times as long between the codings as it was sent.
/// What a coding leaves is hardly ever coded much shorter by another; but bytes that
/// decode to nothing take time, and may be coded to next to nothing.
const BETWEEN_FACTOR: usize = 4;
/// Up to this length it may be that in any case, in bytes.
const BETWEEN_BYTES_MIN: usize = 64 << 10;
/// How much is read from one decoder into the next, in bytes.
const STEP_BYTES: usize = 8 << 10;

/// A coding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyCoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings of a body, in the order in which they were applied; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct Codings(Vec<BodyCoding>);

/// A coding that nobody here undoes, or too many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct CodingUnknown;

impl Codings {
    /// What the headers say; `None`: the body is as it is.
    pub(in crate::http) fn from_headers(
        headers: &HeaderMap,
    ) -> Result<Option<Self>, CodingUnknown> {
        let mut codings = Vec::new();
        for line in headers.get_all(CONTENT_ENCODING) {
            let line = line.to_str().map_err(|_| CodingUnknown)?;
            for name in line.split(',') {
                codings.extend(coding(name.trim())?);
            }
        }
        if codings.len() > CODINGS_MAX {
            return Err(CodingUnknown);
        }
        Ok((!codings.is_empty()).then_some(Self(codings)))
    }

    /// Whether undoing them takes little memory: not the windows of brotli and zstd.
    pub(super) fn are_small(&self) -> bool {
        let is_small = |coding| matches!(coding, &BodyCoding::Gzip | &BodyCoding::Deflate);
        self.0.iter().all(is_small)
    }

    /// Reads what `sent` was before it was coded.
    pub(super) fn reader(&self, sent: Bytes, bytes_max: usize) -> CodedBody {
        let is_over = Arc::new(AtomicBool::new(false));
        let between_max = bytes_max.min(BETWEEN_BYTES_MIN + BETWEEN_FACTOR * sent.len());
        let mut layers_left = self.0.len();
        let mut input: Box<dyn BufRead + Send> = Box::new(sent.reader());
        for coding in self.0.iter().rev() {
            let decoder: Box<dyn Read + Send> = match coding {
                BodyCoding::Gzip => Box::new(MultiGzDecoder::new(input)),
                BodyCoding::Deflate => Box::new(Inflate::new(input)),
                BodyCoding::Brotli => Box::new(Brotli(Decompressor::new(input, STEP_BYTES))),
                BodyCoding::Zstd => Box::new(ZstdFrames::new(input, bytes_max)),
            };
            layers_left -= 1;
            let bounded = Bounded {
                inner: decoder,
                left: if layers_left == 0 {
                    bytes_max
                } else {
                    between_max
                },
                is_over: Arc::clone(&is_over),
            };
            input = Box::new(BufReader::with_capacity(STEP_BYTES, bounded));
        }
        CodedBody { input, is_over }
    }
}

fn coding(name: &str) -> Result<Option<BodyCoding>, CodingUnknown> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    Ok(Some(match () {
        () if name.is_empty() || is("identity") => return Ok(None),
        () if is("gzip") || is("x-gzip") => BodyCoding::Gzip,
        () if is("deflate") => BodyCoding::Deflate,
        () if is("br") => BodyCoding::Brotli,
        () if is("zstd") => BodyCoding::Zstd,
        () => return Err(CodingUnknown),
    }))
}

/// A body that is decoded as it is read.
pub(super) struct CodedBody {
    input: Box<dyn BufRead + Send>,
    is_over: Arc<AtomicBool>,
}

/// Why a body could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodedBodyError {
    /// It is longer than a body may be, at the end or between two codings.
    Long,
    /// It is not what its headers say.
    Broken,
}

impl CodedBody {
    /// Reads up to `bytes_max` bytes behind what is in `out`; returns whether that was
    /// all.
    pub(super) fn read_to(
        &mut self,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<bool, CodedBodyError> {
        loop {
            let ready = match self.input.fill_buf() {
                Ok(ready) => ready,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) if self.is_over.load(Ordering::Relaxed) => return Err(CodedBodyError::Long),
                Err(_) => return Err(CodedBodyError::Broken),
            };
            if ready.is_empty() {
                return Ok(true);
            }
            if out.len() + ready.len() > bytes_max {
                return Ok(false);
            }
            if out.len() + ready.len() > out.capacity() {
                let room = (2 * out.capacity()).clamp(STEP_BYTES.min(bytes_max), bytes_max);
                out.reserve_exact(room.saturating_sub(out.len()));
            }
            out.extend_from_slice(ready);
            let read = ready.len();
            self.input.consume(read);
        }
    }
}

/// Gives no more than so many bytes: between two codings as well, a few bytes could
/// become more than anybody has time for.
struct Bounded<R> {
    inner: R,
    left: usize,
    is_over: Arc<AtomicBool>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => {
                self.is_over.store(true, Ordering::Relaxed);
                return Err(ErrorKind::FileTooLarge.into());
            }
        }
        Ok(read)
    }
}

/// `deflate`: with the head of zlib, as RFC 9110 has it, or without, as many send it.
/// Unlike flate2's readers it does not take a body that was cut off for whole.
struct Inflate<R> {
    input: R,
    state: Option<Decompress>,
    is_ended: bool,
}

impl<R: BufRead> Inflate<R> {
    fn new(input: R) -> Self {
        Self {
            input,
            state: None,
            is_ended: false,
        }
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.is_ended && !out.is_empty() {
            let input = self.input.fill_buf()?;
            let is_cut = input.is_empty();
            let state = (self.state).get_or_insert_with(|| Decompress::new(has_zlib_head(input)));
            let (taken, given) = (state.total_in(), state.total_out());
            let status = state.decompress(input, out, FlushDecompress::None)?;
            let taken = (state.total_in() - taken) as usize;
            let given = (state.total_out() - given) as usize;
            self.input.consume(taken);
            self.is_ended = status == Status::StreamEnd;
            if self.is_ended {
                require_end(&mut self.input)?;
            }
            if given > 0 {
                return Ok(given);
            }
            if is_cut && !self.is_ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if taken == 0 && !self.is_ended {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(0)
    }
}

/// Reads a decoder's input to its end: what is below it may have a checksum there.
fn require_end(input: &mut impl BufRead) -> io::Result<()> {
    if input.fill_buf()?.is_empty() {
        Ok(())
    } else {
        Err(ErrorKind::InvalidData.into())
    }
}

/// `br` (RFC 7932).
struct Brotli<R: BufRead>(Decompressor<R>);

impl<R: BufRead> Read for Brotli<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        if read == 0 && !out.is_empty() {
            require_end(self.0.get_mut())?;
        }
        Ok(read)
    }
}

/// RFC 1950, section 2.2.
fn has_zlib_head(input: &[u8]) -> bool {
    match *input {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31)
        }
        _ => false,
    }
}

/// The frames of zstd (RFC 8878), one after the other; those to be skipped are.
struct ZstdFrames<R> {
    input: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    fn new(input: R, bytes_max: usize) -> Self {
        // What is compressed in one piece has a window as long as itself.
        let window_max = WINDOW_BYTES_MAX.max(bytes_max);
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(window_max as u64);
        Self {
            input,
            decoder,
            in_frame: false,
        }
    }

    fn begin_frame(&mut self) -> io::Result<()> {
        match self.decoder.init(&mut self.input) {
            Ok(()) => self.in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = u64::from(length);
                let mut skipped = (&mut self.input).take(length);
                if io::copy(&mut skipped, &mut io::sink())? < length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        let decoder = &self.decoder;
        let written = decoder.get_checksum_from_data();
        if written.is_some() && written != decoder.get_calculated_checksum() {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if self.input.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.begin_frame()?;
                continue;
            }
            let decoder = &mut self.decoder;
            while decoder.can_collect() == 0 && !decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = decoder.decode_blocks(&mut self.input, one);
                decoded.map_err(io::Error::other)?;
            }
            let read = decoder.read(out)?;
            let is_ended = decoder.is_finished() && decoder.can_collect() == 0;
            if is_ended {
                self.end_frame()?;
            }
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };
    use http::HeaderValue;
    use std::io::Write as _;

    use super::*;

    const PLAIN: &[u8] = b"{\"a\":\"plain\"}";
    const BYTES_MAX: usize = 1 << 20;

    fn codings(lines: &[&str]) -> Result<Option<Codings>, CodingUnknown> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(line).unwrap());
        }
        Codings::from_headers(&headers)
    }

    fn decoded(coding: &str, sent: &[u8], bytes_max: usize) -> Result<Vec<u8>, CodedBodyError> {
        let codings = codings(&[coding]).unwrap().unwrap();
        let mut reader = codings.reader(Bytes::copy_from_slice(sent), bytes_max);
        let mut out = Vec::new();
        if reader.read_to(&mut out, bytes_max)? {
            Ok(out)
        } else {
            Err(CodedBodyError::Long)
        }
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(plain: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// Made by Node's zlib.
    fn brotli() -> Vec<u8> {
        BASE64.decode(b"CwaAeyJhIjoicGxhaW4ifQM=").unwrap()
    }

    /// Blocks of one byte that is repeated (RFC 8878, section 3.1.1.2).
    fn zstd_of_zeros(blocks: usize, block_bytes: u32) -> Vec<u8> {
        // A window of 1 MiB, no length, no checksum.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3];
        for block in 1..=blocks {
            let head = block_bytes << 3 | 1 << 1 | u32::from(block == blocks);
            frame.extend(&head.to_le_bytes()[..3]);
            frame.push(0);
        }
        frame
    }

    #[test]
    fn each_coding_is_undone_alone_and_over_others() {
        // Of the `zstd` program, with a checksum, twice, and a frame to skip.
        let zstd = BASE64
            .decode(b"KLUv/QRo3QAAkHsiYSI6InBsYWluIiwiYiAifQIAUojwt9QBiGfCRA==")
            .unwrap();
        let one = format!("{{\"a\":\"plain\",\"b\":\"{}\"}}", ["plain"; 7].join(" "));
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        let frames = [&zstd[..], &skipped, &zstd].concat();
        let twice = [one.as_bytes(), one.as_bytes()].concat();
        for (coding, sent, plain) in [
            ("gzip", gzip(PLAIN), PLAIN),
            (
                "X-GZIP",
                [gzip(&PLAIN[..3]), gzip(&PLAIN[3..])].concat(),
                PLAIN,
            ),
            ("deflate", zlib(PLAIN), PLAIN),
            ("deflate", deflate(PLAIN), PLAIN),
            ("br", brotli(), PLAIN),
            ("zstd", zstd.clone(), one.as_bytes()),
            ("zstd", frames, &twice),
            ("zstd", zstd_of_zeros(2, 3), &[0; 6]),
            ("deflate, gzip", gzip(&zlib(PLAIN)), PLAIN),
            ("br,,identity, gzip", gzip(&brotli()), PLAIN),
            (
                "deflate, gzip, deflate",
                deflate(&gzip(&zlib(PLAIN))),
                PLAIN,
            ),
        ] {
            assert_eq!(
                decoded(coding, &sent, BYTES_MAX).as_deref(),
                Ok(plain),
                "{coding}"
            );
            for at in 1..sent.len() {
                let cut = decoded(coding, &sent[..at], BYTES_MAX);
                // Between two frames it ends well.
                assert_ne!(cut.as_deref(), Ok(plain), "{coding} cut at {at}");
            }
            assert_eq!(
                decoded(coding, b"{}", BYTES_MAX),
                Err(CodedBodyError::Broken),
                "{coding}"
            );
        }
        let mut damaged = zstd;
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(
            decoded("zstd", &damaged, BYTES_MAX),
            Err(CodedBodyError::Broken)
        );
    }

    #[test]
    fn a_coding_nobody_knows_and_too_many_are_refused() {
        for lines in [
            &["compress"][..],
            &["gzip, snappy"],
            &["gzip"; 4],
            &["gzip, gzip, gzip, br"],
            &["gz ip"],
            &["zstd;q=1"],
        ] {
            assert_eq!(codings(lines), Err(CodingUnknown), "{lines:?}");
        }
        for lines in [&[][..], &[""], &["identity"], &["identity", " "]] {
            assert_eq!(codings(lines), Ok(None), "{lines:?}");
        }
    }

    #[test]
    fn little_that_becomes_much_on_its_way_to_nothing_is_refused_before_it_takes_time() {
        let members = gzip(b"").repeat(BYTES_MAX / 20);
        let blocks = [0, 0, 0, 0xff, 0xff].repeat(BYTES_MAX / 5 - 1);
        for (coding, sent) in [
            ("gzip, gzip, gzip", gzip(&gzip(&members))),
            ("deflate, gzip, gzip", gzip(&gzip(&blocks))),
        ] {
            let read = decoded(coding, &sent, BYTES_MAX);
            assert_eq!(read, Err(CodedBodyError::Long), "{coding}, {}", sent.len());
        }
        // What was coded twice all the same.
        let plain: Vec<u8> = (0..BYTES_MAX).map(|n| (n / 7 % 251) as u8).collect();
        assert_eq!(
            decoded("gzip, gzip", &gzip(&gzip(&plain)), BYTES_MAX),
            Ok(plain)
        );
    }

    #[test]
    fn what_becomes_too_long_is_known_as_that_between_two_codings_too() {
        let zeros = vec![0; 4 << 20];
        let bomb = gzip(&zeros);
        for (coding, sent) in [
            ("gzip", bomb.clone()),
            ("deflate", zlib(&zeros)),
            ("zstd", zstd_of_zeros(64, 128 << 10)),
            ("gzip, gzip", gzip(&bomb)),
            ("zstd, gzip", gzip(&zstd_of_zeros(64, 128 << 10))),
            // Whatever the second one makes of it.
            ("br, gzip", bomb.clone()),
            (
                "zstd, gzip",
                gzip(
                    &[
                        [0x50, 0x2a, 0x4d, 0x18].as_slice(),
                        &(4_u32 << 20).to_le_bytes(),
                        &zeros,
                    ]
                    .concat(),
                ),
            ),
        ] {
            let read = decoded(coding, &sent, BYTES_MAX);
            let is_long = read == Err(CodedBodyError::Long);
            assert!(
                is_long || coding == "br, gzip" && read.is_err(),
                "{coding}: {read:?}"
            );
        }
        assert_eq!(
            decoded("gzip", &bomb, 4 << 20).map(|body| body.len()),
            Ok(4 << 20)
        );
        // A window of 512 MiB costs no memory: it is refused.
        let window = [0x28, 0xb5, 0x2f, 0xfd, 0, 19 << 3, 1, 0, 0];
        assert_eq!(
            decoded("zstd", &window, BYTES_MAX),
            Err(CodedBodyError::Broken)
        );
    }
}
