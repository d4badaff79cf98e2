//! HTTP/1.1 by hand, so that tests see what is on the wire.

use std::str;

/// A whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, without the empty line behind them.
    pub head: String,
    /// The body, its chunks joined.
    pub body: Vec<u8>,
}

impl Response {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        Self::try_parse(bytes)
            .unwrap_or_else(|| panic!("no response: {:?}", String::from_utf8_lossy(bytes)))
    }

    /// Reads a response, of any version of HTTP, out of its bytes; `None` if
    /// they are none. An interim `100 Continue` before it is passed over.
    #[must_use]
    pub fn try_parse(bytes: &[u8]) -> Option<Self> {
        let end = find(bytes, b"\r\n\r\n")?;
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        if status == 100 {
            return Self::try_parse(&bytes[end + 4..]);
        }
        let mut body = bytes[end + 4..].to_vec();
        let lowercase = head.to_ascii_lowercase();
        if lowercase.contains("transfer-encoding: chunked") {
            let mut chunks = ChunkedDecoder::default();
            chunks.take(&body);
            body = chunks.body;
        }
        Some(Self { status, head, body })
    }

    /// The body, which is UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The body, which is JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.head, name)
    }

    /// The id of an event that was stored.
    pub fn id(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["id"].as_str().unwrap().to_owned()
    }
}

/// Undoes the chunked transfer coding (RFC 9112, section 7.1) as it comes.
#[derive(Default)]
pub struct ChunkedDecoder {
    waiting: Vec<u8>,
    /// What was decoded and not yet taken out.
    pub body: Vec<u8>,
    /// Whether the last chunk has come.
    pub ended: bool,
}

impl ChunkedDecoder {
    /// Whether no chunk has come in part.
    #[must_use]
    pub fn is_between_chunks(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Decodes what has come.
    pub fn take(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        while let Some(end) = find(&self.waiting, b"\r\n") {
            let size = str::from_utf8(&self.waiting[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let whole = end + 2 + size + 2;
            if self.waiting.len() < whole {
                return;
            }
            let chunk = &self.waiting[end + 2..whole - 2];
            self.body.extend_from_slice(chunk);
            self.waiting.drain(..whole);
            self.ended |= size == 0;
        }
    }
}

/// A request's head without its end: a line and these headers.
pub(crate) fn request_head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head
}

pub(crate) fn status_of(head: &str) -> u16 {
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.unwrap_or_else(|| panic!("no status: {head:?}"))
}

pub(crate) fn header_of<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}
