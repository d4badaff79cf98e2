//! Connections: accepted within bounds, told when to end, waited for.
//!
//! `axum::serve` keeps half a request head open for ever and waits without end
//! for open streams at shutdown, so the accept loop is our own; hyper parses
//! and axum routes every request as usual. Invariant: a connection that has
//! not sent a whole request head is closed in bounded time.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo, response::Response};
use http::{Method, Request};
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::{Service as HyperService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
    Gateway,
    hijack::{EventStream, Hijackable},
    limits::ConnectionPermit,
    socket::{SocketSink, stream_writer},
    stall_timeout::{StallTimeout, StreamingFlag},
};
use crate::{deliver::Fanout, telemetry::Telemetry};

/// Connections beyond those of subscribers, for ingest, health and admin.
pub const SPARE_CONNECTIONS: usize = 1_024;
/// How long a peer may be connected before it sends its first byte.
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
/// How often an HTTP/2 peer has to answer a ping.
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
    fanout: Arc<Fanout<SocketSink>>,
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
        let connections_max = gateway.settings().subscribers_max + SPARE_CONNECTIONS;
        let (tasks, cutting) = (TaskTracker::new(), CancellationToken::new());
        Self {
            router: gateway.router(),
            telemetry: Arc::clone(&gateway.telemetry),
            connection_permits: Arc::new(Semaphore::new(connections_max)),
            fanout: Fanout::new(tasks.clone(), cutting.clone()),
            tasks,
            closing: CancellationToken::new(),
            cutting,
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
                    tracing::warn!(%error, "cannot accept connections; trying again shortly");
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
            fanout: Arc::clone(&self.fanout),
            closing: self.closing.clone(),
            cutting: self.cutting.clone(),
            permit: ConnectionPermit::new(Arc::clone(&self.telemetry), permit),
        };
        self.tasks.spawn(connection.run(stream));
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
    fanout: Arc<Fanout<SocketSink>>,
    closing: CancellationToken,
    cutting: CancellationToken,
    permit: ConnectionPermit,
}

/// A response whose stream takes its connection; put here by the service, and
/// found by the connection that calls it. Never locked while anything else is done.
type Hijack = Arc<Mutex<Option<(Response, EventStream)>>>;

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

    async fn http1(self, stream: TcpStream) {
        let hijack = Hijack::default();
        let io = TokioIo::new(StallTimeout::new(stream, StreamingFlag::default()));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, self.http1_service(&hijack));
        tokio::select! {
            () = run_until_hijacked(&mut connection, &hijack) => {}
            () = self.closing.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    () = run_until_hijacked(&mut connection, &hijack) => {}
                    () = self.cutting.cancelled() => return,
                }
            }
        }
        let hijacked = hijack.lock().take();
        if let Some((head, events)) = hijacked {
            self.hand_over(connection.into_parts(), &head, events);
        }
    }

    /// The routes; a response that carries a stream is never given to hyper.
    fn http1_service(
        &self,
        hijack: &Hijack,
    ) -> impl HyperService<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
    + Unpin
    + use<> {
        let (router, peer, hijack) = (self.router.clone(), self.peer, Arc::clone(hijack));
        service_fn(move |mut request: Request<Incoming>| {
            let version = request.version();
            if request.method() == Method::GET {
                request.extensions_mut().insert(Hijackable);
            }
            let answer = answer(&router, peer, request);
            let hijack = Arc::clone(&hijack);
            async move {
                let mut response = answer.await?;
                let Some(stream) = EventStream::take_from(&mut response) else {
                    return Ok(response);
                };
                *response.version_mut() = version;
                *hijack.lock() = Some((response, stream));
                std::future::pending().await
            }
        })
    }

    /// Goes on with the stream in another task: this one is larger.
    fn hand_over<S>(
        self,
        parts: http1::Parts<TokioIo<StallTimeout>, S>,
        head: &Response,
        stream: EventStream,
    ) {
        // An earlier response that the peer has not read is gone with hyper.
        let Some(socket) = parts.io.into_inner().into_stream() else {
            return;
        };
        let writer = stream_writer(socket, head, stream, &parts.read_buf, self.permit);
        self.fanout.write(writer);
    }

    async fn http2(self, stream: TcpStream) {
        let streaming = StreamingFlag::default();
        let io = TokioIo::new(StallTimeout::new(stream, streaming.clone()));
        let (router, peer) = (self.router.clone(), self.peer);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(streaming.clone());
            answer(&router, peer, request)
        });
        let mut connection = pin!(
            http2::Builder::new(Tracked(self.tasks.clone()))
                .timer(TokioTimer::new())
                .max_concurrent_streams(HTTP2_STREAMS_MAX)
                .max_header_list_size(HEAD_BYTES_MAX as u32)
                .max_send_buf_size(HEAD_BYTES_MAX)
                .keep_alive_interval(HTTP2_PING_EVERY)
                .keep_alive_timeout(HTTP2_PING_EVERY)
                .serve_connection(io, service)
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

/// What the routes answer.
fn answer(
    router: &Router,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    router.clone().oneshot(request)
}

/// Runs the connection until it ends or a stream takes it.
async fn run_until_hijacked<C: Future + Unpin>(connection: &mut C, hijack: &Hijack) {
    poll_fn(|cx| {
        let ended = Pin::new(&mut *connection).poll(cx).is_ready();
        if ended || hijack.lock().is_some() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

enum Protocol {
    Http1,
    Http2,
}

/// Reads the first bytes without taking them.
async fn first_bytes(stream: &TcpStream) -> io::Result<Protocol> {
    /// Before another look at a preface that came in part; then twice as long.
    const NEXT_LOOK: Duration = Duration::from_millis(20);
    let mut first = [0; HTTP2_PREFACE.len()];
    let mut pause = NEXT_LOOK;
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

/// Raises this process's limit of open files as far as it may, and returns it.
/// Every connection takes one.
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
