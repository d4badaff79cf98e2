//! A stream as the body of a response: for HTTP/2, and for servers that only took
//! the router.
//!
//! Pieces are of at most [`PIECE_BYTES_MAX`]: whoever serves the body queues a whole
//! piece, however little of it the peer takes.
//!
//! Runs the same loop as a socket's task, inside the body: polling the body polls
//! the loop, which puts one piece at a time where the body finds it. Invariant:
//! nothing is read ahead; a piece is taken only when the one before it was handed
//! out.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt as _, future::ready, stream::once};
use http_body::{Body, Frame};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    hijack::{EventStream, StreamPermits},
    stall_timeout::StreamingGuard,
};
use crate::{
    deliver::{Disconnected, Sink, StreamWriter, WriteOutcome, write_to_end},
    subscribe::Ending,
    wire::Framing,
};

/// The most bytes of one piece.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// How long whoever serves a body has to send what it was handed, before the body is
/// broken off: with that it drops what it has not sent.
const SEND_TIME: Duration = Duration::from_millis(50);

/// The stream was broken off; what came of it is not to be taken for all of it.
#[derive(Debug, thiserror::Error)]
#[error("the stream was broken off")]
pub(super) struct BrokenOff;

/// A body of `bytes` that is broken off behind them: for whoever is to come back.
pub(super) fn broken_off(bytes: Bytes) -> axum::body::Body {
    let end = async {
        sleep(SEND_TIME).await;
        Err(BrokenOff)
    };
    axum::body::Body::from_stream(once(ready(Ok(bytes))).chain(once(end)))
}

/// The piece that is on its way. Only locked while the body is polled.
type Slot = Arc<Mutex<Option<Bytes>>>;

type Writing = Pin<Box<dyn Future<Output = Result<(), Disconnected>> + Send>>;

/// The body of one stream.
pub(super) struct StreamBody {
    slot: Slot,
    /// `None` once the stream has ended.
    writing: Option<Writing>,
}

/// The end of a body into which its stream is written.
struct BodySink {
    slot: Slot,
    permits: StreamPermits,
}

impl StreamBody {
    pub(super) fn new(stream: EventStream) -> Self {
        let EventStream {
            mut subscription,
            permits,
        } = stream;
        // HTTP/2 has frames of its own, and a server puts chunks around a body.
        subscription.state.begin_body(&[], Framing::Plain);
        let slot = Slot::default();
        let sink = BodySink {
            slot: Arc::clone(&slot),
            permits,
        };
        let writer = StreamWriter::new(subscription, sink);
        Self {
            slot,
            writing: Some(Box::pin(write_to_end(writer))),
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if let Some(writing) = &mut self.writing
            && let Poll::Ready(written) = writing.as_mut().poll(cx)
        {
            self.writing = None;
            if written.is_err() {
                return Poll::Ready(Some(Err(BrokenOff)));
            }
        }
        let piece = self.slot.lock().take();
        match piece {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.writing.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Sink for BodySink {
    const PIECES_MAX: usize = 1;

    fn can_write(&self) -> bool {
        self.slot.lock().is_none()
    }

    fn try_write(&mut self, batch: &mut impl Buf) -> Result<WriteOutcome, Disconnected> {
        let bytes = batch.chunk().len().min(PIECE_BYTES_MAX);
        let previous = self.slot.lock().replace(batch.copy_to_bytes(bytes));
        debug_assert!(previous.is_none(), "one piece is on its way at a time");
        Ok(WriteOutcome::Flushed)
    }

    /// Whoever takes the piece polls the body again, and with it this.
    fn poll_writable(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        if self.can_write() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Whoever serves the body drops it when the peer leaves.
    fn poll_disconnected(&mut self, _cx: &mut Context<'_>) -> Poll<Disconnected> {
        Poll::Pending
    }

    /// So was its whole connection then; a server that only took the router says
    /// nothing of that.
    fn was_given_up(&self) -> bool {
        let streaming = self.permits.streaming.as_ref();
        streaming.is_some_and(StreamingGuard::was_given_up)
    }

    async fn finish(&mut self, ending: Ending) -> Result<(), Disconnected> {
        poll_fn(|cx| self.poll_writable(cx)).await;
        match ending {
            Ending::ComeBack => {
                sleep(SEND_TIME).await;
                Err(Disconnected)
            }
            Ending::Final => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        http::stall_timeout::StreamingFlag,
        subscribe::tests::{Way, fixture::Fixture},
    };

    #[tokio::test]
    async fn a_client_has_left_unless_its_connection_was_given_up() {
        for is_given_up in [false, true] {
            let second = Duration::from_secs(1);
            let fixture = Fixture::with(Way::Body, 1 << 20, 1 << 30, second).await;
            fixture.store_many("a", 2).await;
            fixture.told(2).await;
            let mut stuck = 0;
            for _ in 0..5 {
                let connection = StreamingFlag::default();
                let subscription = fixture.come_back("a", 1).await;
                stuck += usize::from(subscription.stuck.is_some());
                let all = Arc::new(Semaphore::new(1));
                let permits = StreamPermits {
                    _all: all.try_acquire_owned().unwrap(),
                    _address: None,
                    streaming: Some(connection.begin(None)),
                };
                let mut body = StreamBody::new(EventStream {
                    subscription,
                    permits,
                });
                let mut received = Vec::new();
                while !received.ends_with(b"xx\n\n") {
                    let frame = body.frame().await.unwrap().unwrap();
                    received.extend_from_slice(&frame.into_data().unwrap());
                }
                if is_given_up {
                    connection.give_up();
                }
            }
            assert_eq!(stuck, if is_given_up { 0 } else { 2 });
        }
    }
}
