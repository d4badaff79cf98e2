//! Connections: accepted within bounds, told when to end, waited for.
//!
//! `axum::serve` keeps half a request head open for ever and waits without end
//! for open streams at shutdown, so the accept loop is our own; hyper parses
//! and axum routes every request as usual. Whoever comes is accepted: which
//! connections may stay is decided in `limits/connections.rs`. Invariant: a
//! connection that has not sent a whole request head is closed in bounded time.

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

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{Method, Request};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::{Service as HyperService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Layer as _, Service};

use super::{
    Gateway,
    cors::{AcrossOrigins, CrossOriginService, Page},
    dead_peers::{self, DeadPeerBounds, DeadPeers},
    first_head::{FirstHead, HEAD_BYTES_MAX, HEAD_TIME_MAX, Protocol, read_first_head},
    guarded_body::GuardedBody,
    hijack::{EventStream, Hijackable},
    host,
    limits::{ConnectionBounds, ConnectionRequests, ConnectionSlot, Connections, RequestGuard},
    ops,
    prefixed::Prefixed,
    problem::{ProblemDetails, closing},
    socket::{SocketSink, stream_writer},
    stall_timeout::{HTTP2_PING_EVERY, StallTimeout, StreamingFlag},
    stream_tasks::StreamTasks,
    streams,
};
use crate::{
    deliver::Fanout,
    subscribe::StreamBreaker,
    telemetry::{Route, Telemetry},
};

/// Streams on one HTTP/2 connection.
const HTTP2_STREAMS_MAX: u32 = 250;
/// After this an HTTP/2 connection takes no new requests; an idle one closes.
const HTTP2_AGE_MAX: Duration = Duration::from_secs(300);
/// How long accepting pauses when file descriptors or memory run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const NO_ROOM: &str = "no room for another connection; trying again";

/// Serves connections.
pub struct Server {
    gateway: Arc<Gateway>,
    router: CrossOriginService<Router>,
    telemetry: Arc<Telemetry>,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    fanout: Arc<Fanout<SocketSink>>,
    dead_peers: Arc<DeadPeers>,
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
    /// A server of this gateway's routes, with no more connections and streams
    /// than this process may have files open.
    #[must_use]
    pub fn new(gateway: &Arc<Gateway>) -> Self {
        let (tasks, cutting) = (TaskTracker::new(), CancellationToken::new());
        let telemetry = Arc::clone(&gateway.telemetry);
        Self {
            connections: Connections::new(bounds(gateway), Arc::clone(&telemetry)),
            router: AcrossOrigins(Arc::clone(gateway)).layer(gateway.routes()),
            gateway: Arc::clone(gateway),
            telemetry,
            fanout: Fanout::new(tasks.clone(), cutting.clone()),
            dead_peers: DeadPeers::new(dead_peer_bounds(gateway), Arc::clone(&gateway.telemetry)),
            tasks,
            closing: CancellationToken::new(),
            cutting,
        }
    }

    /// Accepts connections; to be dropped at shutdown.
    pub async fn accept(&self, listener: &TcpListener) -> Infallible {
        loop {
            let socket = self.connections.socket().await;
            match listener.accept().await {
                Ok((stream, peer)) => self.begin(stream, peer, socket),
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    self.telemetry.accept_pauses.increment(1);
                    if self.gateway.may_log_of(NO_ROOM, "accept", None) {
                        tracing::info!(%error, "{NO_ROOM}");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Looks for peers of `listener` that are gone and have not said so; to be
    /// dropped at shutdown.
    pub async fn watch_peers(&self, listener: &TcpListener) -> Infallible {
        match listener.local_addr() {
            Ok(listening) => dead_peers::watch(&self.dead_peers, listening).await,
            Err(_) => std::future::pending().await,
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

    fn begin(&self, stream: TcpStream, peer: SocketAddr, socket: OwnedSemaphorePermit) {
        let is_proxy = self.gateway.is_trusted_proxy(peer.ip());
        let slot = match self.connections.admit(peer.ip(), is_proxy, socket) {
            Ok(slot) => slot,
            Err(refused) => {
                self.telemetry.connection_refused(refused.reason());
                let (client, reason) = (peer.ip(), refused.reason());
                if (self.gateway).may_log_of("connection refused", reason, Some(client)) {
                    tracing::info!(%client, reason, "connection refused");
                }
                return;
            }
        };
        let connection = Connection {
            responder: Responder {
                gateway: Arc::clone(&self.gateway),
                router: self.router.clone(),
                requests: slot.requests().clone(),
                telemetry: Arc::clone(&self.telemetry),
            },
            tasks: self.tasks.clone(),
            fanout: Arc::clone(&self.fanout),
            dead_peers: Arc::clone(&self.dead_peers),
            closing: self.closing.clone(),
            cutting: self.cutting.clone(),
            slot,
        };
        self.tasks.spawn(connection.run(stream));
    }
}

fn dead_peer_bounds(gateway: &Gateway) -> DeadPeerBounds {
    let settings = gateway.streams.settings();
    DeadPeerBounds::new(settings.dead_peer_max, settings.heartbeat)
}

/// The bounds of connections; bounds the streams as well, and says so.
fn bounds(gateway: &Gateway) -> ConnectionBounds {
    let wanted = gateway.settings().subscribers_max;
    let open_files_max = open_files_max();
    let (bounds, streams) = ConnectionBounds::within(open_files_max, wanted);
    if streams < wanted {
        gateway.bound_streams(streams);
        say_fewer(
            gateway.settings().subscribers_max_is_written,
            open_files_max,
            wanted,
            streams,
        );
    }
    bounds
}

/// A number that nobody wrote is lowered without a warning.
fn say_fewer(is_written: bool, open_files_max: u64, wanted: usize, streams: usize) {
    if is_written {
        tracing::warn!(
            open_files_max,
            subscribers_max = wanted,
            streams,
            "fewer streams fit than configured: raise the hard limit of open files (ulimit -Hn)"
        );
    } else {
        tracing::info!(
            open_files_max,
            streams,
            "subscribers_max is lowered to what the limit of open files allows (ulimit -Hn)"
        );
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
    responder: Responder,
    tasks: TaskTracker,
    fanout: Arc<Fanout<SocketSink>>,
    dead_peers: Arc<DeadPeers>,
    closing: CancellationToken,
    cutting: CancellationToken,
    slot: ConnectionSlot,
}

/// A response whose stream takes its connection; put here by the service, and
/// found by the connection that calls it. Never locked while anything else is done.
type Hijack = Arc<Mutex<Takeover>>;

/// What ends hyper's part in an HTTP/1.1 connection.
#[derive(Default)]
struct Takeover {
    stream: Option<(GuardedResponse, EventStream)>,
    /// Of the page that is on its way, if any.
    breaker: Option<Arc<StreamBreaker>>,
}

/// A response that is counted as under way until it was sent.
type GuardedResponse = http::Response<GuardedBody>;

impl Connection {
    async fn run(self, stream: TcpStream) {
        // Frames are small and must not wait for more of them.
        _ = stream.set_nodelay(true);
        let evicted = self.slot.requests().clone().evicted();
        tokio::select! {
            biased;
            () = evicted => {}
            () = self.serve(stream) => {}
        }
    }

    async fn serve(self, stream: TcpStream) {
        let first = tokio::select! {
            first = read_first_head(&stream) => first,
            () = self.closing.cancelled() => return,
        };
        // Said nothing, or left.
        let Ok(FirstHead { protocol, bytes }) = first else {
            return;
        };
        // Boxed: a connection that never gets here makes no room for them.
        match protocol {
            Protocol::Http1 => Box::pin(self.http1(stream, bytes)).await,
            Protocol::Http2 => Box::pin(self.http2(stream, bytes)).await,
        }
    }

    async fn http1(self, stream: TcpStream, first: Bytes) {
        let hijack = Hijack::default();
        let stream = StallTimeout::new(stream, StreamingFlag::default());
        let io = TokioIo::new(Prefixed::new(first, stream));
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, self.http1_service(&hijack));
        tokio::select! {
            () = run_until_taken(&mut connection, &hijack) => {}
            () = self.closing.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    () = run_until_taken(&mut connection, &hijack) => {}
                    () = self.cutting.cancelled() => return,
                }
            }
        }
        let hijacked = hijack.lock().stream.take();
        if let Some((head, events)) = hijacked {
            self.hand_over(connection.into_parts(), &head, events);
        }
    }

    /// The routes; a response that carries a stream is never given to hyper.
    fn http1_service(
        &self,
        hijack: &Hijack,
    ) -> impl HyperService<
        Request<Incoming>,
        Response = GuardedResponse,
        Error = Infallible,
        Future: Send,
    > + Unpin
    + use<> {
        let (responder, hijack) = (self.responder.clone(), Arc::clone(hijack));
        service_fn(move |mut request: Request<Incoming>| {
            let version = request.version();
            if request.method() == Method::GET {
                request.extensions_mut().insert(Hijackable);
            }
            if streams::is_below(request.uri().path()) {
                let breaker = Arc::new(StreamBreaker::default());
                hijack.lock().breaker = Some(Arc::clone(&breaker));
                request.extensions_mut().insert(breaker);
            }
            let (answering, hijack) = (responder.answer(request, None), Arc::clone(&hijack));
            async move {
                let mut response = answering.await;
                let Some(stream) = EventStream::take_from(&mut response) else {
                    return Ok(response);
                };
                *response.version_mut() = version;
                hijack.lock().stream = Some((response, stream));
                std::future::pending().await
            }
        })
    }

    /// Goes on with the stream in another task: this one is larger.
    fn hand_over<S>(
        self,
        parts: http1::Parts<TokioIo<Prefixed<StallTimeout>>, S>,
        head: &GuardedResponse,
        stream: EventStream,
    ) {
        let (unread, io) = parts.io.into_inner().into_parts();
        // An earlier response that the peer has not read is gone with hyper.
        let Some(socket) = io.into_stream() else {
            return;
        };
        let read_ahead = [parts.read_buf, unread].concat();
        let permit = self.slot.into_stream();
        let dead_peers = self.dead_peers;
        let writer = stream_writer(socket, head, stream, &read_ahead, dead_peers, permit);
        self.fanout.write(writer);
    }

    async fn http2(self, stream: TcpStream, first: Bytes) {
        let streaming = StreamingFlag::default();
        let stream = StallTimeout::new(stream, streaming.clone());
        let io = TokioIo::new(Prefixed::new(first, stream));
        let tasks = StreamTasks::new(self.tasks.clone(), streaming.clone());
        let (responder, requests) = (self.responder.clone(), tasks.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            requests.prepare(&mut request);
            let answering = responder.answer(request, Some(streaming.clone()));
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let mut connection = pin!(
            http2::Builder::new(tasks)
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

/// What the routes will answer.
type Answering = <CrossOriginService<Router> as Service<axum::extract::Request>>::Future;

/// Answers the requests of one connection.
#[derive(Clone)]
struct Responder {
    gateway: Arc<Gateway>,
    router: CrossOriginService<Router>,
    requests: ConnectionRequests,
    telemetry: Arc<Telemetry>,
}

impl Responder {
    /// What is answered, which is counted. The connection has a request under way until
    /// the response is sent. `streaming` says of a connection whether it has streams.
    ///
    /// No `async fn`: each connection has room for one of these, and it would hold the
    /// request as well.
    fn answer(
        &self,
        request: Request<Incoming>,
        streaming: Option<StreamingFlag>,
    ) -> impl Future<Output = GuardedResponse> + Send + use<> {
        let telemetry = Arc::clone(&self.telemetry);
        let route = Route::of(request.uri().path());
        let routed = self.route(request);
        async move {
            let response = match routed {
                Ok((routed, guard)) => under_way(routed.await, guard, streaming),
                Err(refused) => *refused,
            };
            telemetry.responses.count(route, response.status().as_u16());
            response
        }
    }

    /// What the routes will answer, with the count of it as under way; or why they are
    /// not asked.
    fn route(
        &self,
        request: Request<Incoming>,
    ) -> Result<(Answering, RequestGuard), Box<GuardedResponse>> {
        let Some(guard) = self.requests.begin() else {
            return Err(self.refused(&request, ProblemDetails::busy()).into());
        };
        if let Some(refusal) = self.refusal(&request) {
            return Err(self.refused(&request, refusal).into());
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(guard.progress());
        // A router is always ready.
        Ok((self.router.clone().call(request), guard))
    }

    /// Why a request is not even routed.
    fn refusal<B>(&self, request: &Request<B>) -> Option<ProblemDetails> {
        if head_bytes(request) > HEAD_BYTES_MAX {
            return Some(ProblemDetails::head_too_long());
        }
        if let Err(error) = host::check(request) {
            return Some(error.into());
        }
        let is_busy = self.requests.only_operator() && !ops::is_operators(request.uri().path());
        is_busy.then(ProblemDetails::busy)
    }

    /// The response to a request that is not routed, after which the connection
    /// closes. A page can read it as well.
    fn refused<B>(&self, request: &Request<B>, problem: ProblemDetails) -> GuardedResponse {
        let mut response: Response = problem.into_response();
        self.gateway.mark_for(&Page::of(request), &mut response);
        closing(response, request.version()).map(|body| GuardedBody::new(body, None))
    }
}

/// The response, which counts as under way until it is sent.
fn under_way(
    response: Result<Response, Infallible>,
    mut guard: RequestGuard,
    streaming: Option<StreamingFlag>,
) -> GuardedResponse {
    if streaming.is_some_and(|streaming| streaming.is_streaming()) {
        guard.carries_stream();
    }
    let Ok(response) = response;
    response.map(|body| GuardedBody::new(body, Some(guard)))
}

/// About how long a head was.
fn head_bytes<B>(request: &Request<B>) -> usize {
    const PER_LINE: usize = ": \r\n".len();
    let headers = request.headers().iter();
    let lines = headers.map(|(name, value)| name.as_str().len() + value.len() + PER_LINE);
    let uri = request.uri();
    uri.path().len() + uri.query().map_or(0, str::len) + lines.sum::<usize>()
}

/// Runs the connection until it ends, a stream takes it, or its page is broken off.
async fn run_until_taken<C: Future + Unpin>(connection: &mut C, hijack: &Hijack) {
    poll_fn(|cx| {
        let ended = Pin::new(&mut *connection).poll(cx).is_ready();
        let takeover = hijack.lock();
        let is_broken = |breaker: &Arc<StreamBreaker>| breaker.is_broken_or_wakes(cx.waker());
        if ended || takeover.stream.is_some() || takeover.breaker.as_ref().is_some_and(is_broken) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
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

/// How many files this process may have open.
fn open_files_max() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
