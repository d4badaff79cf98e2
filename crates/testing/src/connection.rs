//! One connection for many requests, without a runtime.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use hookrill_client::sse::SseReader;

use crate::{
    Message, Response, WAIT_MAX,
    http::{header_of, request_head, status_of},
};

/// A connection that blocks, kept for many requests.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// # Errors
    ///
    /// If nobody listens there.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        let stream = BufReader::new(stream);
        Ok(Self { stream })
    }

    /// GETs a path.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request("GET", path, &[], "")
    }

    /// POSTs a body.
    ///
    /// # Errors
    ///
    /// If the connection is lost.
    pub fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Response> {
        self.request("POST", path, headers, body)
    }

    fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> io::Result<Response> {
        let begin = request_head(method, path, headers);
        let request = format!("{begin}Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.read_response()
    }

    fn read_response(&mut self) -> io::Result<Response> {
        let head = self.read_head()?;
        let length = header_of(&head, "content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.ok_or(io::ErrorKind::InvalidData)?];
        self.stream.read_exact(&mut body)?;
        let status = status_of(&head);
        Ok(Response { status, head, body })
    }

    /// Subscribes; the events come one by one, Hookrill's own too. In HTTP/1.0,
    /// which has no chunks.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the status is not 200.
    pub fn subscribe(
        mut self,
        path: &str,
    ) -> io::Result<impl Iterator<Item = io::Result<Message>>> {
        self.open_stream(path)?;
        let mut reader = SseReader::new();
        Ok(std::iter::from_fn(move || {
            next_message(&mut self.stream, &mut reader).transpose()
        }))
    }

    /// Subscribes; the stream's lines come as they are.
    ///
    /// # Errors
    ///
    /// If the connection is lost, or the status is not 200.
    pub fn lines(mut self, path: &str) -> io::Result<impl Iterator<Item = io::Result<String>>> {
        self.open_stream(path)?;
        Ok(self.stream.lines())
    }

    fn open_stream(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let head = self.read_head()?;
        if status_of(&head) != 200 {
            return Err(io::Error::other(head));
        }
        Ok(())
    }

    /// The status line and the headers.
    fn read_head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        head.truncate(head.len() - "\r\n\r\n".len());
        Ok(head)
    }
}

/// The next event; `None` at the stream's end.
fn next_message(
    stream: &mut BufReader<TcpStream>,
    reader: &mut SseReader,
) -> io::Result<Option<Message>> {
    loop {
        let bytes = stream.fill_buf()?;
        let mut unread = bytes;
        let event = reader.next(&mut unread).map_err(io::Error::other)?;
        let message = event.map(Message::from);
        let (read, ended) = (bytes.len() - unread.len(), bytes.is_empty());
        stream.consume(read);
        if message.is_some() || ended {
            return Ok(message);
        }
    }
}
