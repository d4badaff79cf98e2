//! What a stream is told beside its events: beats, the drain, its token's end.
//!
//! Holds nothing of the stream, so that a writer can wait for this and for the
//! socket in its own way.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    sync::futures::Notified,
    time::{Instant, Sleep, sleep_until},
};

use super::{Streams, feed::Feed, pulse::Ear};

/// What a stream is told beside its events: beats, the drain, its token's end.
pub struct Calls {
    streams: Arc<Streams>,
    phase: usize,
    /// Boxed, since most streams of public topics have none.
    end: Option<Pin<Box<Sleep>>>,
}

impl Calls {
    pub(super) fn of(streams: &Arc<Streams>, ear: Ear, end: Option<Instant>) -> Self {
        Self {
            streams: Arc::clone(streams),
            phase: ear.phase(),
            end: end.map(|at| Box::pin(sleep_until(at))),
        }
    }

    /// Calls when the token of `feed` next calls for a look. To be asked again
    /// after each call.
    pub fn heed(&mut self, feed: &Feed) {
        self.end_at(feed.deadline());
    }

    /// Calls at this time as well, and at no other.
    pub fn end_at(&mut self, end: Option<Instant>) {
        match (&mut self.end, end) {
            (Some(sleep), Some(at)) if sleep.deadline() == at => {}
            (Some(sleep), Some(at)) => sleep.as_mut().reset(at),
            (_, end) => self.end = end.map(|at| Box::pin(sleep_until(at))),
        }
    }

    /// Completes with the next call after this was made; [`Feed::step`] heeds
    /// it. To be made before that, so that none is overheard.
    pub fn hear(&mut self) -> impl Future<Output = ()> + '_ {
        Called {
            told: self.streams.pulse.next(self.phase),
            end: self.end.as_mut(),
        }
    }
}

pin_project_lite::pin_project! {
    /// By hand, as part of every subscriber's task: `select!` would take half
    /// as much memory again.
    struct Called<'c> {
        #[pin]
        told: Notified<'c>,
        end: Option<&'c mut Pin<Box<Sleep>>>,
    }
}

impl Future for Called<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let called = self.project();
        if let Some(end) = called.end
            && end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        called.told.poll(cx)
    }
}
