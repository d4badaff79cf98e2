//! Streams over HTTP/1.1, written straight to their sockets.
//!
//! hyper and axum parse, route and authorise a subscription like any request.
//! The response that comes out of all that carries the stream; its connection
//! is taken back from hyper, and a small task of its own writes the response's
//! head and then frames that all subscribers share, as many as wait in one
//! write; once it is live and has company, a bundle goes on with it. What hyper and axum held for the connection is gone by then, and so
//! an idle subscriber costs little more than its socket.
//!
//! Invariant: nothing is queued here; a peer that does not read leaves its
//! events where they are, save the one that it has taken a part of.

use std::{
    convert::Infallible,
    future::poll_fn,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use hookrill_core::Sequence;
use http::{HeaderName, Version, header};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{bundle::Bundles, limits::StreamSlot, patience::Held, server::Place};
use crate::{
    subscribe::{Feed, Given, Hand, Step, Subscription},
    wire::{Framing, LAST_CHUNK},
};

/// How much a subscriber may send after its request; it is thrown away.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// How long a stream that has ended waits for its peer to take what is left,
/// and then to leave.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(5);

/// A subscription and what it holds while it is open.
pub(super) struct Stream {
    pub(super) subscription: Subscription,
    pub(super) places: Places,
}

/// Its places among all streams, and among those of its address where that is
/// known; and the connection's patience, where the stream is a body.
pub(super) type Places = (OwnedSemaphorePermit, Option<StreamSlot>, Option<Held>);

/// Says of a request that its connection can be taken back from hyper.
#[derive(Debug, Clone, Copy)]
pub(super) struct Takeable;

/// A stream on its way through the layers, in its response's extensions.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<Stream>>>);

impl Stream {
    /// The stream as an ordinary body: a frame at a time, all clones of one.
    pub(super) fn into_body(self) -> Body {
        let frames = stream::unfold(self, |mut stream| async {
            let bytes = stream.subscription.next().await?;
            Some((Ok::<Bytes, Infallible>(bytes), stream))
        });
        Body::from_stream(frames)
    }

    /// The response that carries the stream to its connection.
    pub(super) fn riding_on(self, mut response: Response) -> Response {
        let carried = Carried(Arc::new(Mutex::new(Some(self))));
        response.extensions_mut().insert(carried);
        response
    }

    /// The stream that `response` carries.
    pub(super) fn carried_by(response: &mut Response) -> Option<Self> {
        let Carried(stream) = response.extensions_mut().remove()?;
        stream.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Writes one stream.
pub(super) struct Writer {
    socket: TcpStream,
    subscription: Subscription,
    framing: Framing,
    input: Input,
    cutting: CancellationToken,
    bundles: Arc<Bundles>,
    /// What is held until the connection is closed.
    _places: (Places, Place),
}

/// Why a peer is not written to any more.
#[derive(Debug)]
pub(super) struct Gone;

/// How a writer goes on that has written by itself.
enum Left {
    /// The stream has ended.
    ToEnd,
    /// A bundle of this channel can write it.
    ToJoin(Box<str>),
}

impl Writer {
    /// A writer of `stream` to a connection taken back after `head`, of which
    /// `read_ahead` came after the request; `cutting` ends it at once, and it keeps `place`
    /// until then.
    pub(super) fn new(
        socket: TcpStream,
        head: &Response,
        stream: Stream,
        read_ahead: &[u8],
        cutting: CancellationToken,
        place: Place,
        bundles: Arc<Bundles>,
    ) -> Box<Self> {
        let framing = match head.version() {
            Version::HTTP_11 => Framing::Chunked,
            _ => Framing::Plain,
        };
        let Stream {
            mut subscription,
            places,
        } = stream;
        let (feed, _) = subscription.split();
        feed.begin_with(&head_bytes(head, framing), framing);
        Box::new(Self {
            socket,
            subscription,
            framing,
            input: Input {
                bytes: read_ahead.len(),
            },
            cutting,
            bundles,
            _places: (places, place),
        })
    }

    /// Writes until the stream ends, the peer leaves, or a bundle goes on.
    pub(super) fn run(self: Box<Self>) -> impl Future<Output = ()> {
        // An `async fn` would keep its argument beside what it moved it to.
        let mut writer = self;
        async move {
            match writer.stream().await {
                Err(Gone) => {}
                Ok(Left::ToJoin(channel)) => {
                    let bundles = Arc::clone(&writer.bundles);
                    bundles.join(&channel, writer);
                }
                Ok(Left::ToEnd) => {
                    // Rare and larger than the rest: not part of every task.
                    let cutting = writer.cutting.clone();
                    let farewell = Box::pin(timeout(FAREWELL_TIME_MAX, writer.farewell()));
                    _ = cutting.run_until_cancelled_owned(farewell).await;
                }
            }
        }
    }

    /// What is written.
    pub(super) fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// What is written, for whoever listens for it.
    pub(super) fn subscription_mut(&mut self) -> &mut Subscription {
        &mut self.subscription
    }

    /// Whether the stream is to end: its token was revoked, or it would not be
    /// granted any more.
    pub(super) fn is_forbidden(&mut self) -> bool {
        let (feed, _) = self.subscription.split();
        feed.is_forbidden()
    }

    /// When its token calls for a look.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.subscription.deadline()
    }

    /// Heeds that deadline, with nothing pending: tells of the token's end. If
    /// that has come, it is [`Given::Part`], and the stream is to end by itself.
    pub(super) fn heed_deadline(&mut self, now: Instant) -> Result<Given, Gone> {
        let (feed, _) = self.subscription.split();
        if !feed.expires_after(now) {
            return Ok(Given::Part);
        }
        feed.give_notice();
        self.give_pending()
    }

    /// Gives what one hand holds for many.
    pub(super) fn give_of(&mut self, hand: &Hand) -> Result<Given, Gone> {
        let (feed, _) = self.subscription.split();
        let write = |pieces: &[IoSlice<'_>]| send(&self.socket, pieces);
        let given = feed.give_of(hand, self.framing, write);
        match given.map_err(|_| Gone)? {
            // A page may hold more than one write takes.
            Given::All => self.give_pending(),
            Given::Part => Ok(Given::Part),
        }
    }

    /// Gives what is ready.
    pub(super) fn give_pending(&mut self) -> Result<Given, Gone> {
        let (feed, _) = self.subscription.split();
        while feed.is_pending() {
            if give(feed, self.framing, &self.socket)? == Given::Part {
                return Ok(Given::Part);
            }
        }
        // Several slices that did not fit one write are left to the ring, and
        // the stream is to look there by itself.
        Ok(match feed.is_live() {
            true => Given::All,
            false => Given::Part,
        })
    }

    /// Gives a sign of life, which may claim `done`.
    pub(super) fn beat(&mut self, done: Sequence) -> Result<Given, Gone> {
        let (feed, _) = self.subscription.split();
        feed.beat(done);
        self.give_pending()
    }

    /// Ready when the peer has left.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        self.input.poll_gone(&self.socket, cx)
    }

    /// Writes until the stream has ended, or another can listen for it.
    async fn stream(&mut self) -> Result<Left, Gone> {
        let Self {
            socket,
            subscription,
            framing,
            input,
            ..
        } = self;
        let (feed, calls) = subscription.split();
        loop {
            calls.heed(feed);
            // Outlives many events: to listen anew for each costs more.
            let mut called = pin!(calls.hear());
            loop {
                let step = feed.step();
                if feed.has_ended() {
                    return Ok(Left::ToEnd);
                }
                let called = called.as_mut();
                let gone = |cx: &mut Context<'_>| input.poll_gone(socket, cx);
                let woken = match step {
                    Step::End => return Ok(Left::ToEnd),
                    Step::Break => return Err(Gone),
                    Step::Read => race(feed.read(), called, gone).await?,
                    Step::Wait if let Some(channel) = feed.shared_channel() => {
                        return Ok(Left::ToJoin(channel.into()));
                    }
                    Step::Wait => race(feed.news(), called, gone).await?,
                    Step::Give if give(feed, *framing, socket)? == Given::All => Woken::ByWork,
                    Step::Give => {
                        feed.let_go();
                        race(room(socket), called, gone).await?
                    }
                };
                if woken == Woken::ByCall {
                    break;
                }
            }
        }
    }

    /// Gives out what is left and ends the body.
    async fn farewell(&mut self) -> Result<(), Gone> {
        let (feed, _) = self.subscription.split();
        loop {
            match feed.step() {
                Step::Give if give(feed, self.framing, &self.socket)? == Given::All => {}
                Step::Give => room(&self.socket).await,
                Step::Break => return Err(Gone),
                Step::End | Step::Read | Step::Wait => break,
            }
        }
        if self.framing == Framing::Chunked {
            let last = self.socket.write_all(LAST_CHUNK).await;
            last.map_err(|_| Gone)?;
        }
        self.socket.shutdown().await.map_err(|_| Gone)?;
        // To close on unread input would reset the connection, and the peer
        // could lose the end (RFC 9112, section 9.6).
        let Gone = poll_fn(|cx| self.input.poll_gone(&self.socket, cx)).await;
        Ok(())
    }
}

fn give(feed: &mut Feed, framing: Framing, socket: &TcpStream) -> Result<Given, Gone> {
    let given = feed.give(framing, |pieces| send(socket, pieces));
    given.map_err(|_| Gone)
}

fn send(socket: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    match pieces {
        // One piece is the rule, and cheaper to send by itself.
        [piece] => socket.try_write(piece),
        pieces => socket.try_write_vectored(pieces),
    }
}

/// Waits until the peer takes more, or an error that the next write meets.
fn room(socket: &TcpStream) -> impl Future<Output = ()> {
    // Readiness by `poll`, here and below, has its place in the socket's
    // registration; as futures they would double the task.
    poll_fn(|cx| socket.poll_write_ready(cx).map(drop))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    ByWork,
    ByCall,
}

/// Waits for `work` or a call, as long as the peer is there.
async fn race(
    work: impl Future<Output = ()>,
    mut called: Pin<&mut impl Future<Output = ()>>,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<Gone>,
) -> Result<Woken, Gone> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if work.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(Woken::ByWork));
        }
        if called.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(Woken::ByCall));
        }
        gone(cx).map(Err)
    })
    .await
}

/// The head of `response`, as hyper would write it, with what says how the body
/// goes. The connection ends with the stream: what was sent ahead of its time
/// is not answered.
fn head_bytes(response: &Response, framing: Framing) -> Vec<u8> {
    /// hyper's to say, and here ours.
    const OF_THE_CONNECTION: [HeaderName; 3] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    let (version, body) = match framing {
        Framing::Chunked => ("HTTP/1.1", "transfer-encoding: chunked\r\n"),
        Framing::Plain => ("HTTP/1.0", ""),
    };
    let mut head = format!("{version} {}\r\n", response.status()).into_bytes();
    let headers = response.headers().iter();
    for (name, value) in headers.filter(|(name, _)| !OF_THE_CONNECTION.contains(name)) {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(body.as_bytes());
    head.extend_from_slice(b"connection: close\r\n\r\n");
    head
}

/// What the peer sends, which nobody asked for.
struct Input {
    bytes: usize,
}

impl Input {
    /// Ready when the peer has left, or has sent too much.
    fn poll_gone(&mut self, socket: &TcpStream, cx: &mut Context<'_>) -> Poll<Gone> {
        loop {
            let readable = ready!(socket.poll_read_ready(cx)).map_err(|_| Gone);
            if let Err(gone) = readable.and_then(|()| self.discard(socket)) {
                return Poll::Ready(gone);
            }
        }
    }

    /// Throws away what is there.
    fn discard(&mut self, socket: &TcpStream) -> Result<(), Gone> {
        let mut thrown_away = [0; 2048];
        while self.bytes <= INPUT_BYTES_MAX {
            match socket.try_read(&mut thrown_away) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.bytes += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        Err(Gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that one subscriber may take with a task of its own, and as
    /// the member of a bundle. Beside it there are the socket's registration
    /// (256 bytes), the timer of a token, the topics' names, and what the
    /// allocator adds.
    const ALONE_BYTES_MAX: usize = 1_000;
    const MEMBER_BYTES_MAX: usize = 600;

    #[test]
    fn a_subscriber_costs_little_alone_and_less_in_a_bundle() {
        fn size_of_task<F>(_: impl FnOnce(Box<Writer>) -> F) -> usize {
            size_of::<F>()
        }
        let (task, member) = (size_of_task(Writer::run), size_of::<Writer>());
        assert!(
            member <= MEMBER_BYTES_MAX && task + member <= ALONE_BYTES_MAX,
            "a task of {task} bytes, a member of {member}"
        );
    }
}
