//! A socket that gives up on a peer that does not read.
//!
//! A response has a bounded time to be taken, since a client that asks and does
//! not read would hold the connection for ever. A stream has no such bound: a slow
//! subscriber is not disconnected before its token ends.
//!
//! Invariants: the count of streams on a connection is that of its guards; a connection
//! on which this gives up says so before its streams are dropped.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

use super::dead_peers::is_dead;

/// How long a peer may take no byte of a response.
const STALL_TIME_MAX: Duration = Duration::from_secs(30);
/// How often an HTTP/2 peer has to answer a ping.
pub(super) const HTTP2_PING_EVERY: Duration = Duration::from_secs(20);

/// Whether a connection carries streams, and until when they may last.
#[derive(Debug, Clone, Default)]
pub(super) struct StreamingFlag(Arc<Mutex<OpenStreams>>);

#[derive(Debug, Default)]
struct OpenStreams {
    count: usize,
    /// When the last of them ends; `None` where one of them never does.
    end: Option<Instant>,
    /// Of the write that waits for its peer.
    stalled: Option<Waker>,
    /// To be cut instead of waiting.
    is_cut: bool,
    /// When the peer was last heard: it has sent something, or has left.
    heard_at: Option<Instant>,
    /// The peer does not answer or does not read.
    is_given_up: bool,
}

/// A stream that is being sent, until it is dropped.
#[derive(Debug)]
pub(super) struct StreamingGuard(StreamingFlag);

impl StreamingFlag {
    /// Counts a stream that lasts at most so long, until the guard is dropped.
    pub(super) fn begin(&self, lifetime: Option<Duration>) -> StreamingGuard {
        let end = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        self.with(|streams| {
            streams.end = if streams.count == 0 {
                end
            } else {
                streams.end.zip(end).map(|(one, other)| one.max(other))
            };
            streams.count += 1;
        });
        StreamingGuard(self.clone())
    }

    /// Whether there are streams now.
    pub(super) fn is_streaming(&self) -> bool {
        self.with(|streams| streams.count > 0)
    }

    /// When to give up on a peer that has not read since `stalled_at`; `None`:
    /// never.
    pub(super) fn stall_deadline(&self, stalled_at: Instant) -> Option<Instant> {
        self.with(|streams| {
            if streams.count == 0 {
                return Some(stalled_at + STALL_TIME_MAX);
            }
            streams.end.map(|end| end.max(stalled_at))
        })
    }

    /// Cuts the connection, if its peer reads nothing at all.
    pub(super) fn cut_if_stalled(&self) {
        let stalled = self.with(|streams| {
            let stalled = streams.stalled.take();
            streams.is_cut |= stalled.is_some();
            stalled
        });
        if let Some(waker) = stalled {
            waker.wake();
        }
    }

    /// Whether the connection ends because its peer does not answer: neither its pings,
    /// when nothing was heard of it between one and the next, nor as a socket.
    fn was_given_up(&self) -> bool {
        self.with(|streams| {
            let silence = streams.heard_at.map(|at| at.elapsed());
            streams.is_given_up || silence.is_some_and(|silence| silence >= HTTP2_PING_EVERY)
        })
    }

    /// The connection ends, and its peer has not left.
    pub(super) fn give_up(&self) {
        self.with(|streams| streams.is_given_up = true);
    }

    /// Notes what the socket says of the peer.
    fn note<T>(&self, result: &io::Result<T>) {
        self.with(|streams| match result {
            Err(error) if is_dead(error) => streams.is_given_up = true,
            _ => streams.heard_at = Some(Instant::now()),
        });
    }

    /// Whether the connection was cut; `waker` is woken when it is.
    fn is_cut_or_wakes(&self, waker: &Waker) -> bool {
        self.with(|streams| {
            streams.stalled = Some(waker.clone());
            streams.is_cut
        })
    }

    /// The peer reads on.
    fn reads_on(&self) {
        self.with(|streams| streams.stalled = None);
    }

    fn with<T>(&self, f: impl FnOnce(&mut OpenStreams) -> T) -> T {
        f(&mut self.0.lock())
    }
}

impl StreamingGuard {
    /// Whether the stream's peer was given up, and has not left; to be asked when the
    /// stream is dropped.
    pub(super) fn was_given_up(&self) -> bool {
        self.0.was_given_up()
    }
}

impl Drop for StreamingGuard {
    fn drop(&mut self) {
        self.0.with(|streams| {
            debug_assert!(streams.count > 0, "a guard is dropped once");
            streams.count = streams.count.saturating_sub(1);
        });
    }
}

/// A socket with a bound on stalled writes.
#[derive(Debug)]
pub(super) struct StallTimeout {
    stream: TcpStream,
    streaming: StreamingFlag,
    stall: Option<Stall>,
}

/// A write that waits for its peer.
#[derive(Debug)]
struct Stall {
    since: Instant,
    next_check: Pin<Box<Sleep>>,
}

impl StallTimeout {
    pub(super) fn new(stream: TcpStream, streaming: StreamingFlag) -> Self {
        Self {
            stream,
            streaming,
            stall: None,
        }
    }

    /// The socket, unless it still has something to write.
    pub(super) fn into_stream(self) -> Option<TcpStream> {
        self.stall.is_none().then_some(self.stream)
    }

    fn give_up(&self) -> io::Error {
        self.streaming.give_up();
        io::ErrorKind::TimedOut.into()
    }

    /// Passes on what a write came to, unless it stalls for too long.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(result) = &written {
            if result.is_err() {
                self.streaming.note(result);
            }
            if self.stall.take().is_some() {
                self.streaming.reads_on();
            }
            return written;
        }
        if self.streaming.is_cut_or_wakes(cx.waker()) {
            return Poll::Ready(Err(self.give_up()));
        }
        let stall = self.stall.get_or_insert_with(|| {
            let since = Instant::now();
            Stall {
                since,
                next_check: Box::pin(sleep_until(since + STALL_TIME_MAX)),
            }
        });
        loop {
            ready!(stall.next_check.as_mut().poll(cx));
            let now = Instant::now();
            let end = self.streaming.stall_deadline(stall.since);
            if end.is_some_and(|end| now >= end) {
                return Poll::Ready(Err(self.give_up()));
            }
            // Whether there is a stream, and how long it lasts, may change.
            let latest = now + STALL_TIME_MAX;
            let next = end.map_or(latest, |end| end.min(latest));
            stall.next_check.as_mut().reset(next);
        }
    }
}

impl AsyncRead for StallTimeout {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if let Poll::Ready(result) = &read {
            self.streaming.note(result);
        }
        read
    }
}

impl AsyncWrite for StallTimeout {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Both ends of a connection of which nobody reads.
    async fn connection(streaming: &StreamingFlag) -> (StallTimeout, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, peer) = tokio::join!(listener.accept(), peer);
        (
            StallTimeout::new(accepted.unwrap().0, streaming.clone()),
            peer.unwrap(),
        )
    }

    /// Writes until the peer would have to read; gives the seconds until the
    /// socket gives up.
    async fn gives_up_after(socket: &mut StallTimeout) -> u64 {
        let begin = Instant::now();
        let chunk = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = socket.write_all(&chunk).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        begin.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_nobody_reads_is_given_up() {
        let (mut socket, _peer) = connection(&StreamingFlag::default()).await;
        assert_eq!(gives_up_after(&mut socket).await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_stopped_is_cut_and_no_other() {
        let streaming = StreamingFlag::default();
        let (mut socket, _peer) = connection(&streaming).await;
        let _guard = streaming.begin(None);
        socket.write_all(b"taken").await.unwrap();
        streaming.cut_if_stalled();
        let begin = Instant::now();
        let chunk = vec![0; 1 << 20];
        let writes = async {
            loop {
                if let Err(error) = socket.write_all(&chunk).await {
                    break error.kind();
                }
            }
        };
        let hour = Duration::from_secs(3_600);
        let cut = async {
            tokio::time::sleep(hour).await;
            streaming.cut_if_stalled();
        };
        let (ended, ()) = tokio::join!(writes, cut);
        assert_eq!((ended, begin.elapsed()), (io::ErrorKind::TimedOut, hour));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_leaves_is_not_given_up_and_one_that_is_silent_or_takes_nothing_is() {
        let mut bytes = [0; 8];
        for is_reset in [false, true] {
            let streaming = StreamingFlag::default();
            let (mut socket, mut peer) = connection(&streaming).await;
            let guard = streaming.begin(None);
            peer.write_all(b"pong").await.unwrap();
            socket.read_exact(&mut bytes[..4]).await.unwrap();
            tokio::time::advance(Duration::from_secs(19)).await;
            assert!(!guard.was_given_up(), "it has time yet");
            tokio::time::advance(Duration::from_secs(2)).await;
            assert!(guard.was_given_up(), "it is silent");
            // What it has not read makes its system reset the connection.
            if is_reset {
                socket.write_all(b"unread").await.unwrap();
                peer.readable().await.unwrap();
            }
            drop(peer);
            let read = socket.read(&mut bytes).await;
            assert_eq!(read.is_err(), is_reset);
            assert!(!guard.was_given_up(), "it has left");
        }
        let streaming = StreamingFlag::default();
        let (mut socket, _peer) = connection(&streaming).await;
        let guard = streaming.begin(Some(Duration::from_secs(1)));
        gives_up_after(&mut socket).await;
        assert!(guard.was_given_up(), "it takes nothing");
    }

    #[test]
    fn an_error_of_the_system_tells_a_dead_peer_from_one_that_has_left() {
        for (kind, is_given_up) in [
            (io::ErrorKind::TimedOut, true),
            (io::ErrorKind::HostUnreachable, true),
            (io::ErrorKind::ConnectionReset, false),
            (io::ErrorKind::BrokenPipe, false),
        ] {
            let streaming = StreamingFlag::default();
            streaming.note::<()>(&Err(kind.into()));
            assert_eq!(streaming.was_given_up(), is_given_up, "{kind}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_given_up_when_its_token_ends() {
        let streaming = StreamingFlag::default();
        let (mut socket, _peer) = connection(&streaming).await;
        let _guard = streaming.begin(Some(Duration::from_secs(3_600)));
        assert_eq!(gives_up_after(&mut socket).await, 3_600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_an_end_waits_for_its_reader() {
        let streaming = StreamingFlag::default();
        let (mut socket, mut peer) = connection(&streaming).await;
        let guard = streaming.begin(None);
        let day = Duration::from_secs(24 * 3_600);
        let gave_up = tokio::time::timeout(day, gives_up_after(&mut socket)).await;
        assert!(gave_up.is_err());
        // Read again, it goes on; and once it is no stream, it has its time.
        let mut some = vec![0; 1 << 20];
        peer.read_exact(&mut some).await.unwrap();
        drop(guard);
        assert!(gives_up_after(&mut socket).await <= 30);
    }
}
