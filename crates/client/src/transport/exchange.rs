//! One connection, and the response that comes over it.
//!
//! Whoever reads the body also drives the connection, so no task is spawned
//! and nothing is read while nobody asks. Invariant: of a body that is not
//! asked for, at most [`BUFFER_BYTES_MAX`] bytes are read ahead, besides what
//! the kernel keeps.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, StatusCode, response::Parts};
use http_body::Body as _;
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    ConnectError,
    connect::{ByteStream, Connector},
};

/// hyper's buffer for reads; a response head has to fit into it.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

type Io = TokioIo<Box<dyn ByteStream>>;

/// There was no response, or not all of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke, or what came over it is not HTTP.
    #[error("the connection broke")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The URL is `http`, and what answers there speaks TLS.
    #[error("this port speaks TLS: its URL begins with https://")]
    NeedsTls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A response whose body is yet to be read.
pub(crate) struct Exchange {
    /// `None` once it is closed.
    connection: Option<Connection<Io, Full<Bytes>>>,
    /// Kept, since hyper closes a connection that can't be asked again.
    sender: SendRequest<Full<Bytes>>,
    pub(crate) head: Parts,
    body: Incoming,
}

/// A connection that waits for a request.
pub(crate) struct IdleConnection {
    connection: Connection<Io, Full<Bytes>>,
    sender: SendRequest<Full<Bytes>>,
    /// Set once what came first was a record of TLS.
    answers_in_tls: Arc<AtomicBool>,
}

impl IdleConnection {
    pub(crate) async fn open(connector: &Connector) -> Result<Self, ExchangeError> {
        let answers_in_tls = Arc::default();
        let stream: Box<dyn ByteStream> = Box::new(FirstByte {
            stream: connector.connect().await?,
            is_read: false,
            is_tls: Arc::clone(&answers_in_tls),
        });
        let stream = TokioIo::new(stream);
        let mut builder = Builder::new();
        let builder = builder.max_buf_size(BUFFER_BYTES_MAX);
        let (sender, connection) = builder.handshake(stream).await?;
        Ok(Self {
            connection,
            sender,
            answers_in_tls,
        })
    }

    /// Sends a request and reads the head of the response.
    pub(crate) async fn ask(
        self,
        request: Request<Full<Bytes>>,
    ) -> Result<Exchange, ExchangeError> {
        let mut sender = self.sender;
        let mut connection = Some(self.connection);
        let mut response = pin!(sender.send_request(request));
        let response = poll_fn(|cx| {
            drive(&mut connection, cx);
            response.as_mut().poll(cx)
        });
        let response = response.await.map_err(|error| {
            if self.answers_in_tls.load(Ordering::Relaxed) {
                ExchangeError::NeedsTls(error.into())
            } else {
                error.into()
            }
        })?;
        let (head, body) = response.into_parts();
        Ok(Exchange {
            connection,
            sender,
            head,
            body,
        })
    }

    /// Whether it still seems to be open.
    pub(crate) async fn is_open(&mut self) -> bool {
        let Self {
            connection, sender, ..
        } = self;
        // What has happened to it is seen by looking once.
        let ended = poll_fn(|cx| Poll::Ready(Pin::new(&mut *connection).poll(cx).is_ready()));
        !ended.await && sender.is_ready()
    }
}

impl Exchange {
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        if let Poll::Ready(data) = self.poll_body(cx) {
            return Poll::Ready(data);
        }
        drive(&mut self.connection, cx);
        match self.poll_body(cx) {
            Poll::Pending if self.connection.is_none() => Poll::Ready(None),
            polled => polled,
        }
    }

    /// The body up to so many bytes, and whether that is all of it.
    pub(crate) async fn read_body(
        &mut self,
        bytes_max: usize,
    ) -> Result<(Bytes, bool), ExchangeError> {
        let mut body = Vec::new();
        while let Some(data) = poll_fn(|cx| self.poll_data(cx)).await {
            let data = data?;
            let room = bytes_max - body.len();
            if data.len() > room {
                body.extend_from_slice(&data[..room]);
                return Ok((body.into(), false));
            }
            body.extend_from_slice(&data);
        }
        Ok((body.into(), true))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            // Trailers say nothing that anybody here wants to know.
            if let Ok(data) = frame?.into_data() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }

    /// The connection, if the body was read and it takes another request.
    pub(crate) async fn into_idle(mut self) -> Option<IdleConnection> {
        // What is left of a body would be waited for; without a reader hyper
        // closes the connection.
        drop(self.body);
        let is_ready = poll_fn(|cx| {
            drive(&mut self.connection, cx);
            match self.sender.poll_ready(cx) {
                Poll::Ready(ready) => Poll::Ready(ready.is_ok()),
                Poll::Pending if self.connection.is_none() => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        });
        if !is_ready.await {
            return None;
        }
        Some(IdleConnection {
            connection: self.connection?,
            sender: self.sender,
            answers_in_tls: Arc::default(),
        })
    }
}

/// A stream of which the first byte that comes is looked at: a server that speaks TLS
/// answers a request without it with an alert (RFC 8446, section 5.1), which hyper only
/// calls malformed.
struct FirstByte {
    stream: Box<dyn ByteStream>,
    is_read: bool,
    is_tls: Arc<AtomicBool>,
}

/// The content type of a record that is an alert; no response of HTTP begins with it.
const TLS_ALERT: u8 = 21;

impl AsyncRead for FirstByte {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        if let Some(first) = into.filled().get(before)
            && !self.is_read
        {
            self.is_read = true;
            self.is_tls.store(*first == TLS_ALERT, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FirstByte {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads and writes what is to be read and written; forgets the connection
/// once it is closed. Why it was is said by the response, or by its body.
fn drive(connection: &mut Option<Connection<Io, Full<Bytes>>>, cx: &mut Context<'_>) {
    let Some(open) = connection else { return };
    if Pin::new(open).poll(cx).is_ready() {
        *connection = None;
    }
}

impl From<hyper::Error> for ExchangeError {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error.into())
    }
}
