//! Subscribers that show all that a stream says.

use std::str;

use hookrill_client::sse::{SseEvent, SseReader};
use serde_json::Value;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::{
    ChunkedDecoder, WAIT_MAX,
    http::{find, status_of},
};

/// The fields that Hookrill writes. `SseReader` passes over others, as the
/// standard demands; none may be there.
const FIELDS: [&str; 4] = ["event", "id", "retry", "data"];

/// A subscription over HTTP/1.1, chunk by chunk.
pub struct Subscriber {
    /// The connection.
    pub stream: TcpStream,
    /// What has come and was not read yet.
    pub chunks: ChunkedDecoder,
    /// The response's status line and headers.
    pub head: String,
    /// The connection was closed between two chunks, without the last one.
    is_cut_off: bool,
    reader: SseReader,
    lines: SseLines,
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its name; `message` where the stream gives none.
    pub name: String,
    /// The last id up to it.
    pub id: String,
    /// Its data lines.
    pub data: String,
}

impl Message {
    /// The sequence in its id.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        let (_, sequence) = self.id.split_once('-').expect("a cursor has two parts");
        sequence.parse().unwrap()
    }
}

impl From<SseEvent<'_>> for Message {
    fn from(event: SseEvent<'_>) -> Self {
        Self {
            name: event.name().into_owned(),
            id: event.id().into_owned(),
            data: event.data().into_owned(),
        }
    }
}

impl Subscriber {
    /// Reads the head of a stream that was asked for.
    pub async fn over(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                break end;
            }
            let read = timeout(WAIT_MAX, stream.read_buf(&mut bytes)).await;
            let count = read.expect("a head comes").unwrap();
            assert_ne!(count, 0, "closed before the head");
        };
        let mut chunks = ChunkedDecoder::default();
        chunks.take(&bytes[end + 4..]);
        Self {
            stream,
            chunks,
            head: String::from_utf8(bytes[..end].to_vec()).unwrap(),
            is_cut_off: false,
            reader: SseReader::new(),
            lines: SseLines::default(),
        }
    }

    /// The response's status.
    #[must_use]
    pub fn status(&self) -> u16 {
        status_of(&self.head)
    }

    /// How long the stream has asked to wait before the next connection, in
    /// milliseconds, since this was last taken.
    pub fn take_retry(&mut self) -> Option<u64> {
        self.lines.retry.take()
    }

    /// The next event of any name; `None` at the end of the stream, complete or not.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let mut unread = &self.chunks.body[..];
            let event = self.reader.next(&mut unread).unwrap();
            let message = event.map(Message::from);
            let read = self.chunks.body.len() - unread.len();
            self.lines.check(self.chunks.body.drain(..read).as_slice());
            if message.is_some() {
                return message;
            }
            if self.chunks.ended || self.is_cut_off {
                return None;
            }
            self.receive().await;
        }
    }

    /// Waits for more of the stream.
    async fn receive(&mut self) {
        let mut bytes = Vec::with_capacity(64 * 1024);
        let read = timeout(WAIT_MAX, self.stream.read_buf(&mut bytes)).await;
        match read.expect("the stream goes on or ends") {
            Ok(0) if self.chunks.is_between_chunks() => self.is_cut_off = true,
            Ok(0) | Err(_) => panic!("cut off within a chunk"),
            Ok(_) => self.chunks.take(&bytes),
        }
    }

    /// The next events that are not Hookrill's own.
    pub async fn events(&mut self, count: usize) -> Vec<Message> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            let message = self.next().await.expect("the stream goes on");
            match &*message.name {
                "hookrill.cursor" => {}
                "hookrill.gap" => panic!("an unexpected gap: {}", message.data),
                _ => events.push(message),
            }
        }
        events
    }

    /// Waits for the end of a stream whose client is not to come back as it is, with
    /// nothing but heartbeats before it.
    pub async fn ended(&mut self) {
        self.has_no_more_events().await;
        assert!(self.chunks.ended, "cut off without the last chunk");
    }

    /// Waits until a stream is cut off whose client is to come back, with nothing
    /// but heartbeats before that.
    pub async fn cut_off(&mut self) {
        self.has_no_more_events().await;
        assert!(self.is_cut_off, "the last chunk came");
    }

    async fn has_no_more_events(&mut self) {
        while let Some(message) = self.next().await {
            let is_ours = matches!(&*message.name, "hookrill.cursor" | "hookrill.wait");
            assert!(is_ours, "{message:?}");
        }
    }

    /// The next line of an NDJSON stream that is not a cursor.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = find(&self.chunks.body, b"\n") {
                let line: Vec<u8> = self.chunks.body.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                let event: Value = serde_json::from_str(&line).expect("every line is JSON");
                if event["type"] != "hookrill.cursor" {
                    return line.trim_end().to_owned();
                }
                continue;
            }
            assert!(!self.chunks.ended, "the stream ended");
            self.receive().await;
        }
    }

    /// Waits for the opening cursor; returns its id.
    pub async fn opened(&mut self) -> String {
        let message = self.next().await.expect("a stream opens");
        assert_eq!(message.name, "hookrill.cursor");
        message.id
    }
}

/// Looks at the lines themselves: each has to be one of the fields that
/// Hookrill writes.
#[derive(Default)]
struct SseLines {
    unfinished: Vec<u8>,
    retry: Option<u64>,
}

impl SseLines {
    fn check(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.unfinished.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.check_line();
                self.unfinished.clear();
            }
        }
    }

    fn check_line(&mut self) {
        let line = str::from_utf8(&self.unfinished).unwrap().trim_end();
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        assert!(
            line.is_empty() || FIELDS.contains(&field),
            "a field {line:?}"
        );
        if field == "retry" {
            self.retry = Some(value.trim_start().parse().unwrap());
        }
    }
}
