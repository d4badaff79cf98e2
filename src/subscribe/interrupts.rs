//! What wakes a stream besides its events: heartbeats, the drain, a revocation,
//! its token's deadline.
//!
//! Holds nothing of the stream itself, so that whoever writes it can wait for
//! this and for a socket in its own way.

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

use super::{context::StreamContext, heartbeats::HeartbeatCursor};

/// Wakes one stream, or one group of them.
pub struct Interrupts {
    context: Arc<StreamContext>,
    phase: usize,
    /// Boxed, since most streams of public topics have none.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Interrupts {
    pub(super) fn new(context: &Arc<StreamContext>, heartbeat: HeartbeatCursor) -> Self {
        Self {
            context: Arc::clone(context),
            phase: heartbeat.phase(),
            deadline: None,
        }
    }

    /// Wakes at this time too, and at no other.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        match (&mut self.deadline, deadline) {
            (Some(sleep), Some(at)) if sleep.deadline() == at => {}
            (Some(sleep), Some(at)) => sleep.as_mut().reset(at),
            (_, deadline) => self.deadline = deadline.map(|at| Box::pin(sleep_until(at))),
        }
    }

    /// Completes with the next interrupt after this call. Nothing is missed by
    /// whoever calls this, then polls the stream, and then waits.
    pub fn notified(&mut self) -> impl Future<Output = ()> + '_ {
        Interrupted {
            heartbeat: self.context.heartbeats.notified(self.phase),
            deadline: self.deadline.as_mut(),
        }
    }
}

pin_project_lite::pin_project! {
    /// By hand, as part of every subscriber's task: `select!` would take half
    /// as much memory again.
    struct Interrupted<'i> {
        #[pin]
        heartbeat: Notified<'i>,
        deadline: Option<&'i mut Pin<Box<Sleep>>>,
    }
}

impl Future for Interrupted<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let interrupted = self.project();
        if let Some(deadline) = interrupted.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(());
        }
        interrupted.heartbeat.poll(cx)
    }
}
