//! A subscriber's place on the channels of its topics.
//!
//! Invariant: whatever is published after a receiver was made is received, or
//! announced by [`Received::CatchUp`].

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::{Stream, StreamExt as _, stream::SelectAll};
use tokio::{
    sync::broadcast::{
        self,
        error::{RecvError, TryRecvError},
    },
    task::coop::unconstrained,
};
use tokio_stream::wrappers::BroadcastStream;

use super::{CHANNEL_SLICES, FrameSlice, Hub};

/// A subscriber's place on its channels; leaves them when dropped.
pub struct Receiver {
    hub: Arc<Hub>,
    names: Box<[Box<str>]>,
    channels: Channels,
}

pub(super) enum Channels {
    One(broadcast::Receiver<FrameSlice>),
    /// Several channels only wake: one event may be due on two of them, and
    /// between two channels there is no order.
    Many(SelectAll<BroadcastStream<FrameSlice>>),
    /// None, while another receiver listens in its place.
    Paused,
}

/// What a receiver found on its channels.
#[derive(Debug)]
pub enum Received {
    /// The next frames, in order, none left out.
    Frames(FrameSlice),
    /// Something was published or missed: the ring and the journal have it.
    CatchUp,
    /// Nothing, now.
    Empty,
}

impl Receiver {
    pub(super) fn new(hub: Arc<Hub>, names: Box<[Box<str>]>) -> Self {
        Self {
            channels: hub.join(&names),
            hub,
            names,
        }
    }

    /// Waits until something is received; never [`Received::Empty`].
    /// Cancel-safe.
    pub async fn recv(&mut self) -> Received {
        match &mut self.channels {
            Channels::One(receiver) => match receiver.recv().await {
                Ok(slice) => return Received::Frames(slice),
                Err(RecvError::Lagged(_)) => return Received::CatchUp,
                Err(RecvError::Closed) => {}
            },
            Channels::Many(streams) => {
                if streams.next().await.is_some() {
                    drain(streams);
                    return Received::CatchUp;
                }
            }
            Channels::Paused => {}
        }
        // Never: senders live as long as their receivers do.
        std::future::pending().await
    }

    /// What waits on the channels. Whatever was sent before this call is found.
    pub fn try_recv(&mut self) -> Received {
        match &mut self.channels {
            Channels::One(receiver) => match receiver.try_recv() {
                Ok(slice) => Received::Frames(slice),
                Err(TryRecvError::Lagged(_)) => Received::CatchUp,
                Err(TryRecvError::Empty | TryRecvError::Closed) => Received::Empty,
            },
            Channels::Many(streams) => {
                if drain(streams) {
                    Received::CatchUp
                } else {
                    Received::Empty
                }
            }
            Channels::Paused => Received::Empty,
        }
    }

    /// Whether this is one channel, which brings frames and does not only say
    /// that there are some.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self.channels, Channels::One(_))
    }

    /// The name of its one channel, where others listen to that as well.
    #[must_use]
    pub fn shared_channel(&self) -> Option<&str> {
        let (Channels::One(_), [name]) = (&self.channels, &*self.names) else {
            return None;
        };
        let listeners = self.hub.listeners(name);
        (listeners > 1).then_some(name)
    }

    /// Leaves the channels; nothing is received until [`Receiver::resume`].
    pub fn pause(&mut self) {
        self.channels = Channels::Paused;
        self.hub.forget_unused(&self.names);
    }

    /// Joins the channels again, as a new receiver would: for what is published
    /// from now on.
    pub fn resume(&mut self) {
        self.channels = self.hub.join(&self.names);
    }
}

/// Empties the channels; returns whether they had anything, or may have had.
/// Bounded, since the pump may go on sending.
fn drain(streams: &mut SelectAll<BroadcastStream<FrameSlice>>) -> bool {
    let bound = streams.len() * CHANNEL_SLICES;
    let mut received = false;
    for _ in 0..bound {
        match poll_now(streams) {
            Polled::Item => received = true,
            Polled::Nothing => return received,
            Polled::Unknown => return true,
        }
    }
    true
}

/// What one poll found.
#[derive(Debug, PartialEq, Eq)]
enum Polled {
    Item,
    /// Nothing was sent before the poll that was not received.
    Nothing,
    /// The stream asks to be polled again: while another thread is about to wake
    /// one of its channels, it can't see those that were woken before.
    Unknown,
}

fn poll_now(stream: &mut (impl Stream + Unpin)) -> Polled {
    let woken = Arc::new(WokenFlag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    // Unconstrained: a task that has used up its budget would otherwise find
    // nothing, whatever waits.
    let mut next = unconstrained(stream.next());
    match Pin::new(&mut next).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(Some(_)) => Polled::Item,
        Poll::Pending if woken.0.load(Ordering::Acquire) => Polled::Unknown,
        Poll::Ready(None) | Poll::Pending => Polled::Nothing,
    }
}

struct WokenFlag(AtomicBool);

impl Wake for WokenFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.pause();
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures_util::stream::{once, poll_fn};

    use super::*;

    #[test]
    fn a_stream_that_asks_to_be_polled_again_may_have_something() {
        let mut unsettled = poll_fn::<(), _>(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!(poll_now(&mut unsettled), Polled::Unknown);
        let mut quiet = poll_fn::<(), _>(|_| Poll::Pending);
        assert_eq!(poll_now(&mut quiet), Polled::Nothing);
        assert_eq!(poll_now(&mut once(ready(()))), Polled::Item);
    }
}
