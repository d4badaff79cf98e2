//! Connections: accepted within bounds, told when to end, waited for.
//!
//! `axum::serve` keeps half a request head open for ever and waits without end
//! for open streams at shutdown, so the accept loop is our own; hyper parses
//! and axum routes every request as usual. Invariant: a connection that has
//! not sent a whole request head is closed in bounded time.

use std::{
    convert::Infallible, future::poll_fn, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use http::Request;
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::{Service as HyperService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
    Gateway,
    patience::{Patient, Streaming},
};
use crate::telemetry::Telemetry;

/// Connections beyond those of subscribers, for ingest, health and admin.
pub const SPARE_CONNECTIONS: usize = 1_024;
/// How long a peer may be connected before its first bytes.
const FIRST_BYTES_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a request head may take, and a connection wait for the next one.
const HEAD_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest request head in bytes; also what hyper holds for a peer that
/// does not read.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Streams on one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 250;
/// After this an HTTP/2 connection takes no new requests; an idle one closes.
const HTTP2_AGE_MAX: Duration = Duration::from_secs(300);
/// How often an HTTP/2 peer has to prove that it is there.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(20);
/// How long accepting pauses when file descriptors or memory run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How an HTTP/2 connection with prior knowledge begins (RFC 9113, 3.4); no
/// HTTP/1 request does.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves connections.
pub struct Server {
    router: Router,
    telemetry: Arc<Telemetry>,
    connection_permits: Arc<Semaphore>,
    tasks: TaskTracker,
    /// No more requests: end when those under way have their answers.
    closing: CancellationToken,
    /// End now.
    cutting: CancellationToken,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that did not end in time and were cut.
    pub cut: usize,
}

impl Server {
    /// A server of this gateway's routes.
    #[must_use]
    pub fn new(gateway: &Arc<Gateway>) -> Self {
        let connections_max = gateway.settings.subscribers_max + SPARE_CONNECTIONS;
        Self {
            router: gateway.router(),
            telemetry: Arc::clone(&gateway.telemetry),
            connection_permits: Arc::new(Semaphore::new(connections_max)),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            cutting: CancellationToken::new(),
        }
    }

    /// Accepts connections; to be dropped at shutdown.
    pub async fn accept(&self, listener: &TcpListener) -> Infallible {
        loop {
            let permit = Arc::clone(&self.connection_permits).acquire_owned();
            let Ok(permit) = permit.await else {
                // Nobody closes the semaphore.
                return std::future::pending().await;
            };
            match listener.accept().await {
                Ok((stream, peer)) => self.begin(stream, peer, permit),
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    self.telemetry.accept_pauses.increment(1);
                    tracing::warn!(%error, "accepting pauses");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Lets requests under way finish, for at most `within`, then cuts what is
    /// left.
    pub async fn drain(&self, within: Duration) -> Drained {
        self.closing.cancel();
        self.tasks.close();
        if timeout(within, self.tasks.wait()).await.is_ok() {
            return Drained { cut: 0 };
        }
        let cut = self.tasks.len();
        self.cutting.cancel();
        self.tasks.wait().await;
        Drained { cut }
    }

    fn begin(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let connection = Connection {
            router: self.router.clone(),
            peer,
            tasks: self.tasks.clone(),
            closing: self.closing.clone(),
            cutting: self.cutting.clone(),
            streaming: Streaming::default(),
        };
        let telemetry = Arc::clone(&self.telemetry);
        self.tasks.spawn(async move {
            telemetry.connections.increment(1.0);
            connection.run(stream).await;
            telemetry.connections.decrement(1.0);
            drop(permit);
        });
    }
}

/// Whether an accept failed because of the one connection it was for.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

struct Connection {
    router: Router,
    peer: SocketAddr,
    tasks: TaskTracker,
    closing: CancellationToken,
    cutting: CancellationToken,
    streaming: Streaming,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        // Frames are small and must not wait for more of them.
        _ = stream.set_nodelay(true);
        let first = tokio::select! {
            first = timeout(FIRST_BYTES_TIME_MAX, first_bytes(&stream)) => first,
            () = self.closing.cancelled() => return,
        };
        match first {
            Ok(Ok(Protocol::Http1)) => self.http1(stream).await,
            Ok(Ok(Protocol::Http2)) => self.http2(stream).await,
            // Said nothing, or left.
            Ok(Err(_)) | Err(_) => {}
        }
    }

    fn socket(&self, stream: TcpStream) -> TokioIo<Patient> {
        TokioIo::new(Patient::new(stream, self.streaming.clone()))
    }

    fn service(
        &self,
    ) -> impl HyperService<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + use<> {
        let (router, peer, streaming) = (self.router.clone(), self.peer, self.streaming.clone());
        service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(streaming.clone());
            router.clone().oneshot(request)
        })
    }

    async fn http1(self, stream: TcpStream) {
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME_MAX)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(self.socket(stream), self.service())
        );
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.closing.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            _ = connection => {}
            () = self.cutting.cancelled() => {}
        }
    }

    async fn http2(self, stream: TcpStream) {
        let mut connection = pin!(
            http2::Builder::new(Tracked(self.tasks.clone()))
                .timer(TokioTimer::new())
                .max_concurrent_streams(HTTP2_STREAMS_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .max_send_buf_size(HEAD_BYTES_MAX)
                .keep_alive_interval(HTTP2_PING_EVERY)
                .keep_alive_timeout(HTTP2_PING_EVERY)
                .serve_connection(self.socket(stream), self.service())
        );
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.closing.cancelled() => {}
            () = sleep(HTTP2_AGE_MAX) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ = connection => {}
            () = self.cutting.cancelled() => {}
        }
    }
}

enum Protocol {
    Http1,
    Http2,
}

/// Looks at the first bytes without taking them.
async fn first_bytes(stream: &TcpStream) -> io::Result<Protocol> {
    /// Before another look at a preface that came in part; then ever longer.
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let mut first = [0; HTTP2_PREFACE.len()];
    let mut pause = LOOK_AGAIN;
    loop {
        let count =
            poll_fn(|cx| stream.poll_peek(cx, &mut tokio::io::ReadBuf::new(&mut first))).await?;
        let seen = &first[..count];
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !HTTP2_PREFACE.starts_with(seen) {
            return Ok(Protocol::Http1);
        }
        if seen == HTTP2_PREFACE {
            return Ok(Protocol::Http2);
        }
        sleep(pause).await;
        pause *= 2;
    }
}

/// Runs hyper's HTTP/2 tasks where the drain waits for them.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Raises this process's limit of open files as far as it may, and says what
/// it is now. Every connection takes one.
///
/// # Errors
///
/// The system's error where the limit can't be raised.
pub fn raise_open_files_limit() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(maximum.unwrap_or(u64::MAX))
}
