//! The head of a connection's first request, read before hyper has any part in it.
//!
//! hyper keeps tens of kilobytes for a connection, from its first byte on. A peer
//! that never sends a whole head costs no more here than what it has sent. Refuses
//! to judge: what can't be a request goes to hyper as it is, which says so.
//!
//! Invariant: of a head that does not end, at most [`HEAD_BYTES_MAX`] bytes are kept,
//! for at most [`HEAD_TIME_MAX`].

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

/// How long a peer may be connected before it sends its first byte.
const FIRST_BYTES_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a request head may take, and a connection wait for the next one.
pub(super) const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest request head in bytes; also what hyper holds for a peer that
/// does not read.
pub(super) const HEAD_BYTES_MAX: usize = 32 * 1024;
/// How an HTTP/2 connection with prior knowledge begins (RFC 9113, 3.4); no
/// HTTP/1 request does.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read at a time; most heads are shorter.
const READ_BYTES: usize = 1_024;

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FirstHead {
    pub(super) protocol: Protocol,
    /// What was read: at least the head, where that is not too long.
    pub(super) bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Reads up to the end of the first head.
///
/// # Errors
///
/// Where the peer leaves before that, or takes longer than it may.
pub(super) async fn read_first_head(stream: &TcpStream) -> io::Result<FirstHead> {
    let mut read = BytesMut::new();
    timeout(FIRST_BYTES_TIME_MAX, read_more(stream, &mut read)).await??;
    let deadline = Instant::now() + HEAD_TIME_MAX;
    let mut searched = 0;
    loop {
        if let Some(protocol) = protocol(&read, searched) {
            return Ok(FirstHead {
                protocol,
                bytes: read.freeze(),
            });
        }
        searched = read.len();
        timeout_at(deadline, read_more(stream, &mut read)).await??;
    }
}

/// What the peer speaks, once its head is complete; of `read`, the first `searched`
/// bytes had no end of it.
fn protocol(read: &[u8], searched: usize) -> Option<Protocol> {
    if read.starts_with(HTTP2_PREFACE) {
        return Some(Protocol::Http2);
    }
    if HTTP2_PREFACE.starts_with(read) {
        return None;
    }
    // A method begins with a letter, and an empty line may stand before it. What
    // does not, such as a TLS handshake, is answered at once.
    let is_begin = |&b: &u8| b.is_ascii_alphabetic() || b == b'\r' || b == b'\n';
    let begins = read.first().is_none_or(is_begin);
    let is_http1 = !begins || read.len() >= HEAD_BYTES_MAX || has_end(read, searched);
    is_http1.then_some(Protocol::Http1)
}

/// Whether a line ends and an empty one follows.
fn has_end(read: &[u8], searched: usize) -> bool {
    let from = searched.saturating_sub(b"\r\n\r".len());
    let new = &read[from..];
    memchr::memchr_iter(b'\n', new).any(|at| {
        let rest = &new[at + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}

async fn read_more(stream: &TcpStream, read: &mut BytesMut) -> io::Result<()> {
    loop {
        stream.readable().await?;
        // Only now, so that a silent peer costs nothing.
        read.reserve(READ_BYTES);
        match stream.try_read_buf(read) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_it_is_cut() {
        for (whole, expected) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], Protocol::Http1),
            (b"GET / HTTP/1.1\nHost: a\n\n", Protocol::Http1),
            (b"PRI / HTTP/1.1\r\n\r\n", Protocol::Http1),
            (HTTP2_PREFACE, Protocol::Http2),
        ] {
            for cut in 1..whole.len() {
                assert_eq!(protocol(&whole[..cut], cut - 1), None, "{cut}");
                assert_eq!(protocol(whole, cut), Some(expected), "{cut}");
            }
        }
    }

    #[test]
    fn what_is_no_request_or_too_long_is_not_waited_for() {
        for read in [&b"\x16\x03\x01"[..], b"\0", b" ", &[b'x'; HEAD_BYTES_MAX]] {
            assert_eq!(protocol(read, 0), Some(Protocol::Http1));
        }
    }
}
