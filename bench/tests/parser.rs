//! However a stream is split, framed and compressed, the same events are found
//! in it.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use hookrill_bench::wire::{Arrival, StreamDecoder};
use proptest::prelude::*;

const MARKER: &[u8] = br#"{"n":"#;

/// An event's number, and how much its body is filled up.
type Written = (u32, usize);

#[derive(Debug, Clone)]
struct Stream {
    events: Vec<Written>,
    line_end: &'static str,
    /// Between events: comments, ids, names, events without a number.
    between: &'static str,
    chunk_bytes: Option<usize>,
    gzip: Option<usize>,
    pieces: Vec<usize>,
}

fn streams() -> impl Strategy<Value = Stream> {
    let between = prop::sample::select(vec![
        "",
        ": comment\n",
        "id: 7-9\n",
        "retry: 1500\nevent: hookrill.cursor\nid: a-1\ndata: {}\n\n",
        ": {\"n\":5}\n\n",
    ]);
    (
        prop::collection::vec((any::<u32>(), 0..300_usize), 0..20),
        prop::sample::select(vec!["\n", "\r\n"]),
        between,
        prop::option::of(1..200_usize),
        prop::option::of(1..400_usize),
        prop::collection::vec(1..300_usize, 1..20),
    )
        .prop_map(
            |(events, line_end, between, chunk_bytes, gzip, pieces)| Stream {
                events,
                line_end,
                between,
                chunk_bytes,
                gzip,
                pieces,
            },
        )
}

fn body((number, fill): Written) -> String {
    format!(r#"{{"n":{number},"fill":"{}"}}"#, "x".repeat(fill))
}

impl Stream {
    fn text(&self) -> Vec<u8> {
        let mut text = String::new();
        for event in &self.events {
            text.push_str(self.between);
            text.push_str(&format!("data: {}\n\n", body(*event)));
        }
        text.replace('\n', self.line_end).into_bytes()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n".to_owned();
        let mut body = self.text();
        if let Some(flush_every) = self.gzip {
            head.push_str("Content-Encoding: gzip\r\n");
            body = compressed(&body, flush_every);
        }
        if let Some(bytes) = self.chunk_bytes {
            head.push_str("Transfer-Encoding: chunked\r\n");
            body = chunked(&body, bytes);
        }
        [head.as_bytes(), b"\r\n", &body].concat()
    }

    fn arrivals(&self) -> Vec<Arrival> {
        let bytes = self.bytes();
        let mut rest = bytes.as_slice();
        let mut subscription = StreamDecoder::default();
        let mut arrivals = Vec::new();
        for length in self.pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*length));
            let fed = subscription.feed(piece, MARKER, |arrival| arrivals.push(arrival));
            fed.expect("the stream is well-formed");
            rest = after;
        }
        arrivals
    }
}

fn compressed(body: &[u8], flush_every: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in body.chunks(flush_every) {
        encoder.write_all(piece).expect("a Vec takes all");
        encoder.flush().expect("a Vec takes all");
    }
    encoder.finish().expect("a Vec takes all")
}

fn chunked(body: &[u8], bytes: usize) -> Vec<u8> {
    let chunks = body.chunks(bytes).map(|chunk| {
        let head = format!("{:X};extension=1\r\n", chunk.len());
        [head.as_bytes(), chunk, b"\r\n"].concat()
    });
    let mut all: Vec<u8> = chunks.flatten().collect();
    all.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
    all
}

proptest! {
    #[test]
    fn a_stream_says_the_same_however_it_is_split(stream in streams()) {
        let expected: Vec<Arrival> = stream.events.iter().map(|event| Arrival {
            number: event.0,
            bytes: body(*event).len(),
        }).collect();
        prop_assert_eq!(stream.arrivals(), expected);
    }

    #[test]
    fn hostile_bytes_end_a_stream_and_not_the_generator(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let mut subscription = StreamDecoder::default();
        let _ = subscription.feed(&bytes, MARKER, |_| {});
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut behind_a_head = StreamDecoder::default();
        let _ = behind_a_head.feed(&[head.as_slice(), &bytes].concat(), MARKER, |_| {});
    }
}

#[test]
fn an_answer_that_is_no_stream_is_an_error_with_its_status() {
    let mut subscription = StreamDecoder::default();
    let fed = subscription.feed(b"HTTP/1.1 503 Busy\r\n\r\n", MARKER, |_| {});
    assert_eq!(
        fed.expect_err("it is no stream").to_string(),
        "the subscription was answered with status 503"
    );
}
