//! A stream over HTTP/1.1, written straight to its socket.
//!
//! The connection was taken back from hyper; the response's head goes out before
//! the stream, and as many pieces as wait in one write. An idle subscriber costs
//! little more than its socket.
//!
//! Invariant: nothing is queued here; a peer that does not read leaves its events
//! where they are, except the one that it has taken a part of.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http::{HeaderName, Version, header};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{
    dead_peers::{self, DeadPeers},
    hijack::{EventStream, StreamPermits},
    limits::ConnectionPermit,
};
use crate::{
    deliver::{Disconnected, Sink, StreamWriter, WriteOutcome},
    subscribe::Ending,
    wire::{Framing, LAST_CHUNK},
};

/// How much a subscriber may send after its request; it is discarded.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// The most pieces of one write.
const WRITE_PIECES_MAX: usize = 64;

/// The socket of one stream.
pub(super) struct SocketSink {
    socket: TcpStream,
    framing: Framing,
    /// How much the peer has sent that nobody asked for.
    input_bytes: usize,
    /// The peer is dead, or has sent too much.
    is_given_up: bool,
    dead_peers: Arc<DeadPeers>,
    _permits: (StreamPermits, ConnectionPermit),
}

/// A writer of `stream` to a connection that was taken back when `head` was due,
/// and on which `read_ahead` came after the request.
pub(super) fn stream_writer(
    socket: TcpStream,
    head: &http::Response<impl Sized>,
    stream: EventStream,
    read_ahead: &[u8],
    dead_peers: Arc<DeadPeers>,
    connection: ConnectionPermit,
) -> StreamWriter<SocketSink> {
    let framing = match head.version() {
        Version::HTTP_11 => Framing::Chunked,
        _ => Framing::Plain,
    };
    let EventStream {
        mut subscription,
        permits,
    } = stream;
    let head = head_bytes(head, framing);
    dead_peers.keep_alive(&socket);
    subscription.state.begin_body(&head, framing);
    let sink = SocketSink {
        socket,
        framing,
        input_bytes: read_ahead.len(),
        is_given_up: false,
        dead_peers,
        _permits: (permits, connection),
    };
    StreamWriter::new(subscription, sink)
}

impl Sink for SocketSink {
    const PIECES_MAX: usize = WRITE_PIECES_MAX;

    fn can_write(&self) -> bool {
        true
    }

    fn try_write(&mut self, batch: &mut impl Buf) -> Result<WriteOutcome, Disconnected> {
        let written = send(&self.socket, batch);
        let (offered, sent) = written.map_err(|error| self.disconnected(&error))?;
        batch.advance(sent);
        Ok(if sent < offered {
            WriteOutcome::Blocked
        } else {
            WriteOutcome::Flushed
        })
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Readiness by `poll`, here and below, has its place in the socket's
        // registration; as futures they would double the task.
        self.socket.poll_write_ready(cx).map(drop)
    }

    fn poll_disconnected(&mut self, cx: &mut Context<'_>) -> Poll<Disconnected> {
        loop {
            let readable = ready!(self.socket.poll_read_ready(cx));
            let discarded = readable
                .map_err(|error| self.disconnected(&error))
                .and_then(|()| self.discard_input());
            if let Err(disconnected) = discarded {
                return Poll::Ready(disconnected);
            }
        }
    }

    fn has_dead_peer(&mut self) -> bool {
        self.is_given_up |= self.dead_peers.has(&self.socket);
        self.is_given_up
    }

    fn was_given_up(&self) -> bool {
        self.is_given_up
    }

    async fn finish(&mut self, ending: Ending) -> Result<(), Disconnected> {
        if ending == Ending::Final && self.framing == Framing::Chunked {
            let last = self.socket.write_all(LAST_CHUNK).await;
            last.map_err(|_| Disconnected)?;
        }
        let shut_down = self.socket.shutdown().await;
        shut_down.map_err(|_| Disconnected)?;
        // To close on unread input would reset the connection, and the peer
        // could lose the end (RFC 9112, section 9.6).
        let Disconnected = poll_fn(|cx| self.poll_disconnected(cx)).await;
        Ok(())
    }
}

impl SocketSink {
    /// Notes whether the peer has left or was found dead.
    fn disconnected(&mut self, error: &io::Error) -> Disconnected {
        self.is_given_up |= dead_peers::is_dead(error);
        Disconnected
    }

    /// Throws away what the peer has sent; an error once that is too much, or the
    /// peer has left.
    fn discard_input(&mut self) -> Result<(), Disconnected> {
        let mut input = [0; 2048];
        while self.input_bytes <= INPUT_BYTES_MAX {
            match self.socket.try_read(&mut input) {
                Ok(0) => return Err(Disconnected),
                Ok(count) => self.input_bytes += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.disconnected(&error)),
            }
        }
        self.is_given_up = true;
        Err(Disconnected)
    }
}

/// One write of the first pieces of `batch`; how many bytes these have, and how
/// many of them were taken.
fn send(socket: &TcpStream, batch: &impl Buf) -> io::Result<(usize, usize)> {
    let mut pieces = [IoSlice::new(&[]); WRITE_PIECES_MAX];
    let count = batch.chunks_vectored(&mut pieces);
    send_pieces(socket, &pieces[..count])
}

fn send_pieces(socket: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<(usize, usize)> {
    let offered = pieces.iter().map(|piece| piece.len()).sum();
    let sent = match pieces {
        // One piece is the rule, and cheaper to send by itself.
        [piece] => socket.try_write(piece),
        pieces => socket.try_write_vectored(pieces),
    };
    match sent {
        Ok(sent) => Ok((offered, sent)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((offered, 0)),
        Err(error) => Err(error),
    }
}

/// The head of `response` as hyper would write it, with how the body is framed. The
/// connection ends with the stream: requests that were sent ahead are not
/// answered.
///
/// A body in chunks does not announce that: to Node's `fetch`, `connection: close`
/// makes a body complete that was cut off by the death of the gateway.
fn head_bytes(response: &http::Response<impl Sized>, framing: Framing) -> Vec<u8> {
    /// hyper normally sets these; here the head is written without it.
    const OF_THE_CONNECTION: [HeaderName; 3] = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    let (version, body) = match framing {
        Framing::Chunked => ("HTTP/1.1", "transfer-encoding: chunked\r\n\r\n"),
        Framing::Plain => ("HTTP/1.0", "connection: close\r\n\r\n"),
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
    head
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    use tokio::{net::TcpListener, sync::Semaphore};

    use super::*;
    use crate::deliver;
    #[cfg(target_os = "linux")]
    use crate::{
        http::{
            dead_peers::DeadPeerBounds,
            limits::{ConnectionBounds, Connections},
        },
        telemetry::Telemetry,
    };

    /// The most that one subscriber may take with a task of its own, and as the
    /// member of a group; that is the size of an allocation, and one byte more would
    /// take the next one up. In addition there are the socket's registration (256
    /// bytes), the timer of a token, the topics' names, and what the allocator
    /// adds.
    const ALONE_BYTES_MAX: usize = 1_000;
    const MEMBER_BYTES_MAX: usize = 448;

    #[test]
    fn a_subscriber_costs_little_alone_and_less_in_a_group() {
        let task = deliver::task_bytes::<SocketSink>();
        let member = size_of::<StreamWriter<SocketSink>>();
        assert!(
            member <= MEMBER_BYTES_MAX && task + member <= ALONE_BYTES_MAX,
            "a task of {task} bytes, a member of {member}"
        );
    }

    /// A stream's end of a connection, and the peer's.
    #[cfg(target_os = "linux")]
    async fn sink() -> (SocketSink, TcpStream) {
        use std::time::Duration;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap());
        let (accepted, connected) = tokio::join!(listener.accept(), peer);
        let (socket, address) = accepted.unwrap();
        let telemetry = Telemetry::new().unwrap();
        let (bounds, _) = ConnectionBounds::within(1_000, 10);
        let connections = Connections::new(bounds, Arc::clone(&telemetry));
        let permit = connections.socket().await;
        let Ok(slot) = connections.admit(address.ip(), false, permit) else {
            unreachable!("it is the first one");
        };
        let all = Arc::new(Semaphore::new(1));
        let permits = StreamPermits {
            _all: all.try_acquire_owned().unwrap(),
            _address: None,
            streaming: None,
        };
        let second = Duration::from_secs(1);
        let sink = SocketSink {
            socket,
            framing: Framing::Plain,
            input_bytes: 0,
            is_given_up: false,
            dead_peers: DeadPeers::new(DeadPeerBounds::new(second, second), telemetry),
            _permits: (permits, slot.into_stream()),
        };
        (sink, connected.unwrap())
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_peer_has_left_unless_it_was_found_dead_or_talks_without_end() {
        let (mut left, peer) = sink().await;
        drop(peer);
        let Disconnected = poll_fn(|cx| left.poll_disconnected(cx)).await;
        assert!(!left.has_dead_peer() && !left.was_given_up());

        let (mut dead, _peer) = sink().await;
        assert!(!dead.has_dead_peer());
        dead.dead_peers.find(&dead.socket);
        assert!(dead.has_dead_peer() && dead.was_given_up());

        let (mut flooded, mut flooding) = sink().await;
        let flood = vec![b'x'; INPUT_BYTES_MAX + 1];
        let disconnected = poll_fn(|cx| flooded.poll_disconnected(cx));
        let (written, Disconnected) = tokio::join!(flooding.write_all(&flood), disconnected);
        written.unwrap();
        assert!(flooded.was_given_up());

        let (mut timed_out, _other) = sink().await;
        _ = timed_out.disconnected(&io::ErrorKind::TimedOut.into());
        assert!(timed_out.was_given_up());
    }
}
